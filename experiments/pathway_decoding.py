"""Pathway decoding: the image that most excites a network of which only the pathway of one input is left.

From grey noise, steepest ascent of the response (the logit of the class predicted for the input) under the mask of the
input's pathway, sparsity 98, with penalties on total variation and size and a shift by a few pixels before each step.
Decoded images are then given to the whole network: does it predict the class? And are they more like their own input
than like other inputs of the same predicted class?
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import torch
from common import HERE, Results, Scale, Verdict, interval, main
from common import scale as reduced_or_full
from pathway_common import chunks, cifar, efficientnet, imagenet, vgg11
from PIL import Image
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
    found, pictures = {}, {"input": images}
    for method in METHODS:
        pathway, x = decoded_by(method, model, images, start, steps)
        probabilities = model(x).softmax(1).gather(1, pathway.target[:, None])[:, 0]
        found[method] = {
            "recovered": (model(x).argmax(1) == pathway.target).int().tolist(),
            "probability": [round(p, 4) for p in probabilities.tolist()],
            "cosine": [round(c, 4) for c in nn.functional.cosine_similarity(x.flatten(1), images.flatten(1)).tolist()],
            "masked response": [round(s, 3) for s in pathway.response(model, x).share.tolist()],
        }
        pictures[method] = x
    if start == 0:  # to be drawn
        keep(pictures, name, scale)
    return found


def decoded_by(method: str, model: nn.Module, images: Tensor, start: int, steps: int) -> tuple[Pathway, Tensor]:
    pathway = METHODS[method](model).score(images).select(SPARSITY)
    with torch.enable_grad():
        return pathway, decoded(model, pathway, tuple(images.shape), steps, start)


@torch.no_grad()
def own(model: nn.Module, images: Tensor, steps: int) -> dict[str, list[float]]:
    """Compare each image's decoded one with the image itself, with others predicted as its class, and with the rest.

    Cosines, a value an image whose class others have too: does a decoded image show its own input, or only its class?
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


def shown_at(name: str, scale: Scale) -> Path:
    folder = HERE / "recordings" / scale.name
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"decoded-{name}.npz"


def keep(pictures: dict[str, Tensor], name: str, scale: Scale) -> None:
    np.savez(shown_at(name, scale), **{kind: x.half().numpy() for kind, x in pictures.items()})


def setting(name: str, scale: Scale) -> tuple[nn.Module, Tensor, int]:
    """Give a network, its images and the number of steps."""
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
    found = Results("pathway_decoding", scale).fill(cells)
    return found | {"pictures": {name: str(shown_at(name, scale)) for name in networks_of(found)}}


def networks_of(found: dict) -> list[str]:
    return [name for name in NETWORKS if f"{name} 0" in found]


def pictures_of(name: str, found: dict) -> dict[str, np.ndarray]:
    """Give the first images and what was decoded from their pathways; decoded again where the file is gone."""
    chosen = reduced_or_full("reduced" in found.get("pictures", {}).get(name, ""))
    if not shown_at(name, chosen).exists():
        torch.set_flush_denormal(True)
        model, images, steps = setting(name, chosen)
        first = images[:CHUNK]
        again = {method: decoded_by(method, model, first, 0, steps)[1] for method in METHODS}
        keep({"input": first} | again, name, chosen)
    with np.load(shown_at(name, chosen)) as kept:
        return {kind: kept[kind] for kind in kept}


def draw(found: dict, path: Path) -> None:
    pictures = {name: pictures_of(name, found) for name in networks_of(found)}
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
    with Image.open(path) as picture:  # noise does not compress in all its colours
        few = picture.convert("RGB").quantize(256)
    few.save(path, optimize=True)


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


def recovered(found: dict, name: str, method: str) -> str:
    hits = values(found, name, method, "recovered")
    return f"{100 * np.mean(hits):.0f}% ({wilson(hits)})"


def surely_more(a: list[float], b: list[float]) -> bool:
    mean, half = interval(np.subtract(a, b).tolist())
    return bool(mean > half)


def outcome(found: dict, name: str) -> str:
    """Say yes if decoded images show the class more than chance does, and their own input more than others of it."""
    kinds = [[values(found, name, method, what) for method in METHODS] for what in ("probability", "cosine")]
    above_chance = [surely_more(*pair) for pair in kinds]
    own = found.get(f"own {name}")
    itself = own is not None and surely_more(own["itself"], own["its class"])
    return "no" if not any(above_chance) else "yes" if all(above_chance) and itself else "partly"


def verdicts(found: dict) -> list[Verdict]:
    told = []
    for name in networks_of(found):
        ours, chance = METHODS
        n = len(values(found, name, ours, "recovered"))
        measured = (
            f"class recovered {recovered(found, name, ours)}, from random pathways {recovered(found, name, chance)}"
        )
        measured += f"; cosine with the input {plus_minus(values(found, name, ours, 'cosine'))}"
        if f"own {name}" in found:
            measured += f", with others of its class {plus_minus(found[f'own {name}']['its class'])}"
        told.append(
            Verdict(
                f"Pathway decoding, {NETWORKS[name]}",
                "decoded images show the features of the input that its pathway encodes",
                f"{measured} ({n} images{'; the ascent is not finished' if unfinished(found, name) else ''})",
                outcome(found, name),
            )
        )
    return told


def finding(found: dict) -> str:
    words = {"yes": "holds", "partly": "holds in part", "no": "is not shown"}
    names = networks_of(found)
    lines = [
        " ".join(
            f"On {NETWORKS[name]}, the claim {words[outcome(found, name)]}: the whole network recognises the class in"
            f" {recovered(found, name, 'NeuronIntGrad')} of the"
            f" {len(values(found, name, 'random', 'recovered'))} decoded images, from random pathways in"
            f" {recovered(found, name, 'random')}{unfinished(found, name)}."
            for name in names
        )
        + "\n",
        "| | images | masked response | class recovered | its probability | cosine with the input |",
        "|---" * 6 + "|",
    ]
    for name in names:
        for method in METHODS:
            n = len(values(found, name, method, "recovered"))
            cells = [
                plus_minus(values(found, name, method, what)) for what in ("masked response", "probability", "cosine")
            ]
            lines.append(
                f"| {NETWORKS[name]}, {method} pathway | {n} | {cells[0]} | {recovered(found, name, method)}"
                f" | {cells[1]} | {cells[2]} |"
            )
    return "\n".join([*lines, "", *itself(found), *details(found)])


def unfinished(found: dict, name: str) -> str:
    """Say so where the ascent did not even get the masked network to answer as it answers to the input."""
    reached = float(np.mean(values(found, name, "NeuronIntGrad", "masked response")))
    if reached >= 1:
        return ""
    return (
        f"; but the ascent reaches only {reached:.2f} of the response to the input there and leaves most of the noise"
        " it began with, so this says little of the claim"
    )


def itself(found: dict) -> list[str]:
    """Tell whether a decoded image shows its own input or only its class."""
    told = []
    for name, words in NETWORKS.items():
        if f"own {name}" in found:
            own = found[f"own {name}"]
            mean, half = interval(np.subtract(own["itself"], own["its class"]).tolist())
            told += [
                f"Its own input or only its class? {words}: the cosine of a decoded image with its own input is"
                f" {plus_minus(own['itself'])}, with other inputs predicted as its class"
                f" {plus_minus(own['its class'])}, with inputs of other classes {plus_minus(own['other classes'])}"
                f" (own minus class {mean:+.2f} ± {half:.2f}, {len(own['itself'])} images).",
                "",
            ]
    return told


def details(found: dict) -> list[str]:
    names = networks_of(found)
    return [
        "<details><summary>What is shown, and the differences</summary>\n",
        "The picture shows the first eight images. The masked response is what the decoded image gets from the masked"
        " network, as a share of the whole network's response to the input. A random pathway lets almost no response"
        " through, so nothing can be decoded from it and the noise stays: it says what the measures give to noise, and"
        " is no rival. Intervals over images.\n",
        *[difference(found, name) + "\n" for name in names],
        "</details>",
    ]


def difference(found: dict, name: str) -> str:
    """Compare pathways of NeuronIntGrad with random ones, image by image."""
    told = []
    for what, words in (
        ("probability", "the whole network's probability of the class"),
        ("cosine", "the cosine with the input"),
    ):
        ours, chance = (values(found, name, method, what) for method in METHODS)
        mean, half = interval(np.subtract(ours, chance).tolist())
        more = "more" if surely_more(ours, chance) else "not shown to be more"
        told.append(f"{words} is {mean:+.2f} ± {half:.2f} ({more})")
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
