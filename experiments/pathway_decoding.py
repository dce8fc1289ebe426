"""Pathway decoding: the image that most excites a network of which only the pathway of one input is left.

From grey noise, steepest ascent of the response (the logit of the class predicted for the input) under the mask of the
input's pathway, sparsity 98, with penalties on total variation and size and a shift by a few pixels before each step.
Decoded images are then given to the whole network: does it predict the class? And are they more like their own input
than like other inputs of the same predicted class?
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from common import HERE, Results, Scale, main
from pathway_common import chunks, cifar, efficientnet, imagenet, vgg11
from torch import Tensor, nn

from neucept.pathways import NeuronIntGrad, Pathway, RandomPathway

SPARSITY = 0.98
PENALTY = 0.1  # tried on eight images that are not among those measured
METHODS: dict[str, Callable] = {"NeuronIntGrad": NeuronIntGrad, "random": RandomPathway}
CHUNK, SHOWN = 8, 8


def decoded(model: nn.Module, pathway: Pathway, shape: tuple[int, ...], steps: int, seed: int) -> Tensor:
    """Return the images, (n, channels, height, width), that most excite the masked network."""
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
    """Decode the pathways of a chunk of images and give {method: what the whole network says}, one value per image."""
    results, pictures = {}, {"input": images}
    for method in METHODS:
        pathway, x = decoded_by(method, model, images, start, steps)
        probabilities = model(x).softmax(1).gather(1, pathway.target[:, None])[:, 0]
        results[method] = {
            "recovered": (model(x).argmax(1) == pathway.target).int().tolist(),
            "probability": [round(p, 4) for p in probabilities.tolist()],
            "cosine": [round(c, 4) for c in nn.functional.cosine_similarity(x.flatten(1), images.flatten(1)).tolist()],
            "masked response": [round(s, 3) for s in pathway.response(model, x).share.tolist()],
        }
        pictures[method] = x
    if start == 0:  # to be drawn
        keep(pictures, name, scale)
    return results


def decoded_by(method: str, model: nn.Module, images: Tensor, start: int, steps: int) -> tuple[Pathway, Tensor]:
    pathway = METHODS[method](model).score(images).select(SPARSITY)
    with torch.enable_grad():
        return pathway, decoded(model, pathway, tuple(images.shape), steps, start)


@torch.no_grad()
def own(model: nn.Module, images: Tensor, steps: int) -> dict[str, list[float]]:
    """Compare each image's decoded one with the image itself, with others predicted as its class, and with the rest.

    Cosines, one value per image whose class others have too: is its own input shown, or only its class?
    """
    parts = [decoded_by("NeuronIntGrad", model, images[p], p.start, steps) for p in chunks(len(images), CHUNK)]
    x, classes = (torch.cat(column) for column in zip(*((x, pathway.target) for pathway, x in parts), strict=True))
    cosine = nn.functional.normalize(x.flatten(1)) @ nn.functional.normalize(images.flatten(1)).T
    same, itself = classes[:, None] == classes, torch.eye(len(images), dtype=torch.bool)
    alike = same & ~itself
    some = alike.any(1)
    means = {
        "itself": cosine.diagonal(),
        "its class": (cosine * alike).sum(1) / alike.sum(1),
        "other classes": (cosine * ~same).sum(1) / (~same).sum(1),
    }
    return {what: [round(value, 4) for value in values[some].tolist()] for what, values in means.items()}


def picture_file(name: str, scale: Scale) -> Path:
    folder = HERE / "recordings" / scale.name
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"decoded-{name}.npz"


def keep(pictures: dict[str, Tensor], name: str, scale: Scale) -> None:
    np.savez(picture_file(name, scale), **{kind: x.half().numpy() for kind, x in pictures.items()})


def setting(name: str, scale: Scale) -> tuple[nn.Module, Tensor, int]:
    """Return a network, its images and the number of steps."""
    if name == "vgg11":
        return vgg11(scale), cifar(scale, 8 if scale.reduced else 96), 40 if scale.reduced else 80
    return efficientnet(), imagenet(scale, CHUNK)[0], 60


def run(scale: Scale) -> dict:
    torch.set_flush_denormal(True)
    cells = {}
    for name in ("vgg11",) if scale.reduced else ("efficientnet-lite0", "vgg11"):
        model, images, steps = setting(name, scale)
        for p in chunks(len(images), CHUNK):
            cells[f"{name} {p.start}"] = lambda a=(name, model, images[p], p.start, steps, scale): measure(*a)
    cells["own vgg11"] = lambda: own(model, images, steps)  # the last of the loop
    return Results("pathway_decoding", scale).fill(cells)


def pictures_of(name: str, scale: Scale) -> dict[str, np.ndarray]:
    """Return the first images and what was decoded from their pathways; decoded again where the file is gone."""
    if not picture_file(name, scale).exists():
        torch.set_flush_denormal(True)
        model, images, steps = setting(name, scale)
        first = images[:CHUNK]
        keep({"input": first} | {m: decoded_by(m, model, first, 0, steps)[1] for m in METHODS}, name, scale)
    with np.load(picture_file(name, scale)) as kept:
        return {kind: kept[kind] for kind in kept}


if __name__ == "__main__":
    main(__file__, run)
