"""Pathway decoding: the image that most excites a network of which only the pathway of one input is left.

From grey noise, steepest ascent of the response (the logit of the class predicted for the input) under the mask of the
input's pathway, sparsity 98, with penalties on total variation and size and a shift by a few pixels before each step.
Decoded images are then given to the whole network: does it predict the class?
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import torch
from common import HERE, Results, Scale, interval, main
from pathway_common import chunks, cifar, efficientnet, imagenet, vgg11
from torch import Tensor, nn

from neucept.pathways import NeuronIntGrad, Pathway, RandomPathway

matplotlib.use("Agg")
from matplotlib import pyplot as plt

TITLE = "Pathway decoding"
CLAIM = "Images decoded from an input's pathway show the features of that input that the pathway encodes (sparsity 98)."
SPARSITY = 0.98
PENALTY = 0.1  # tried on eight images that are not among those measured
METHODS: dict[str, Callable] = {"NeuronIntGrad": NeuronIntGrad, "random": RandomPathway}
NETWORKS = {"vgg11": "VGG11, CIFAR-10", "efficientnet-lite0": "EfficientNet-Lite0, ImageNet"}
MEAN, DEVIATION = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2470, 0.2435, 0.2616])
CHUNK, SHOWN = 8, 8


def decoded(model: nn.Module, pathway: Pathway, shape: tuple[int, ...], steps: int, seed: int) -> Tensor:
    """Give the images, (n, channels, height, width), that most excite the masked network."""
    generator = torch.Generator().manual_seed(seed)
    x = 0.1 * torch.randn(shape, generator=generator)
    x.requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.05)
    reach = shape[-1] // 16
    with pathway.masked(model) as masked:
        for _ in range(steps):
            shift = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
            logits = masked(x.roll(shift, (2, 3)))
            response = logits.gather(1, pathway.target[:, None])[:, 0]
            penalty = PENALTY * (variation(x) + 0.05 * x.square().mean((1, 2, 3)))
            loss = penalty - response / pathway.whole_response.abs()
            optimizer.zero_grad()
            loss.sum().backward()
            optimizer.step()
    return x.detach()


def variation(x: Tensor) -> Tensor:
    """Mean of squared differences of neighbours, (n,)."""
    return x.diff(dim=2).square().mean((1, 2, 3)) + x.diff(dim=3).square().mean((1, 2, 3))


@torch.no_grad()
def measure(name: str, model: nn.Module, images: Tensor, start: int, steps: int, scale: Scale) -> dict:
    """Decode the pathways of a chunk of images and give {method: what the whole network says}, a value an image."""
    found, pictures = {}, {"input": images.half().numpy()}
    for method, make in METHODS.items():
        pathway = make(model).score(images).select(SPARSITY)
        with torch.enable_grad():
            x = decoded(model, pathway, tuple(images.shape), steps, start)
        probabilities = model(x).softmax(1).gather(1, pathway.target[:, None])[:, 0]
        found[method] = {
            "recovered": (model(x).argmax(1) == pathway.target).int().tolist(),
            "probability": [round(p, 4) for p in probabilities.tolist()],
            "cosine": [round(c, 4) for c in nn.functional.cosine_similarity(x.flatten(1), images.flatten(1)).tolist()],
            "masked response": [round(s, 3) for s in pathway.response(model, x).share.tolist()],
        }
        pictures[method] = x.half().numpy()
    if start == 0:  # to be drawn
        np.savez(shown_at(name, scale), **pictures)
    return found


def shown_at(name: str, scale: Scale) -> Path:
    folder = HERE / "recordings" / scale.name
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"decoded-{name}.npz"


def run(scale: Scale) -> dict:
    torch.set_flush_denormal(True)
    n, steps = (8, 40) if scale.reduced else (96, 80)
    vgg, small = vgg11(scale), cifar(scale, n)
    cells = {
        f"vgg11 {p.start}": lambda p=p: measure("vgg11", vgg, small[p], p.start, steps, scale) for p in chunks(n, CHUNK)
    }
    if not scale.reduced:
        large, pictures = efficientnet(), imagenet(scale, CHUNK)[0]
        cells["efficientnet-lite0 0"] = lambda: measure("efficientnet-lite0", large, pictures, 0, 60, scale)
    found = Results("pathway_decoding", scale).fill(cells)
    found["pictures"] = {name: str(shown_at(name, scale)) for name in NETWORKS if shown_at(name, scale).exists()}
    return found


def draw(found: dict, path: Path) -> None:
    pictures = {name: np.load(place) for name, place in found["pictures"].items()}
    rows = [(name, kind) for name, kept in pictures.items() for kind in kept]
    figure, axes = plt.subplots(len(rows), SHOWN, figsize=(9, 1.2 * len(rows)), layout="constrained")
    for line, (name, kind) in zip(axes, rows, strict=True):
        for axis, x in zip(line, pictures[name][kind], strict=False):
            axis.imshow(coloured(x.astype(np.float32), name, kind), interpolation="nearest")
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(kind, fontsize=8)
        if kind == "input":
            line[0].set_title(NETWORKS[name], fontsize=9, loc="left")
    figure.savefig(path, dpi=90)
    plt.close(figure)


def coloured(x: np.ndarray, name: str, kind: str) -> np.ndarray:
    """Turn a network's input, (3, height, width), into colours; a decoded one is stretched to three deviations."""
    if kind != "input":
        return np.clip(0.5 + (x - x.mean()) / (6 * x.std() + 1e-9), 0, 1).transpose(1, 2, 0)
    if name == "vgg11":
        x = x * DEVIATION.numpy()[:, None, None] + MEAN.numpy()[:, None, None]
    else:
        x = (x + 1) / 2
    return np.clip(x, 0, 1).transpose(1, 2, 0)


def values(found: dict, name: str, method: str, what: str) -> list[float]:
    return [v for key, cell in found.items() if key.split()[0] == name for v in cell[method][what]]


def finding(found: dict) -> str:
    parts = [
        "Intervals over images; the picture shows the first eight. The masked response is what the decoded image gets"
        " from the masked network, as a share of the whole network's response to the input."
    ]
    for name, words in NETWORKS.items():
        if not values(found, name, "random", "recovered"):
            continue
        lines = [
            f"| {words} | images | masked response | class recovered | its probability | cosine with the input |",
            "|---" * 6 + "|",
        ]
        for method in METHODS:
            recovered = values(found, name, method, "recovered")
            lines.append(
                f"| {method} pathway | {len(recovered)} | {plus_minus(values(found, name, method, 'masked response'))}"
                f" | {100 * np.mean(recovered):.0f}% ({wilson(recovered)})"
                f" | {plus_minus(values(found, name, method, 'probability'))}"
                f" | {plus_minus(values(found, name, method, 'cosine'))} |"
            )
        parts += ["\n".join(lines), verdict(found, name)]
    return "\n\n".join(parts)


def verdict(found: dict, name: str) -> str:
    """Compare pathways of NeuronIntGrad with random ones, image by image."""
    told = []
    for what, words in (
        ("probability", "the whole network's probability of the class"),
        ("cosine", "the cosine with the input"),
    ):
        ours, chance = (np.array(values(found, name, method, what)) for method in METHODS)
        mean, half = interval(ours - chance)
        told.append(f"{words} is {mean:+.2f} ± {half:.2f} ({'more' if mean > half else 'not shown to be more'})")
    return (
        f"{NETWORKS[name]}, images decoded from pathways of NeuronIntGrad against those from random pathways: "
        + "; ".join(told)
        + "."
    )


def plus_minus(numbers: list[float]) -> str:
    mean, half = interval(numbers)
    return f"{mean:.2f} ± {half:.2f}"


def wilson(hits: list[float]) -> str:
    """Give the 95% interval of a share, in percent."""
    from scipy.stats import binomtest

    low, high = binomtest(int(sum(hits)), len(hits)).proportion_ci(method="wilson")
    return f"{100 * low:.0f} to {100 * high:.0f}%"


if __name__ == "__main__":
    main(sys.modules[__name__])
