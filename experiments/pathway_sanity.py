"""Sanity check: attributions have to change when weights are drawn anew, layer by layer from the last to the first.

Weights are drawn from a normal distribution of the same deviation, batch normalisation is as untrained, and the layers
above stay random. Each map is compared with that of the trained network, for the class that this one
predicts: Spearman's correlation and SSIM of magnitudes, the greatest of the channels. A good method forgets.

Pathways have sparsity 90, not 70 as in the paper: fewer than 30% of this network's neurons contribute at all (most are
dead or lose in a max-pooling), so that a pathway of sparsity 70 holds them all and its gradient is the plain gradient.
"""

from __future__ import annotations

import sys
from copy import deepcopy
from pathlib import Path

import matplotlib
import numpy as np
import torch
from common import Results, Scale, interval, main, shown
from pathway_common import COLOURS, DASHED, attributions, cifar, mean, vgg11
from scipy.stats import rankdata
from skimage.metrics import structural_similarity
from torch import Tensor, nn

from neucept.pathways import signed_map

matplotlib.use("Agg")
from matplotlib import pyplot as plt

TITLE = "Sanity check: cascading randomisation"
CLAIM = (
    "Pathway gradients depend on the network's weights: their similarity to the original maps falls as layers are drawn"
    " anew (|Spearman|, ResNet50, sparsity 70, first to last step: NeuronMCT 0.504 to 0.116, NeuronIntGrad 0.514 to"
    " 0.151, gradient 0.485 to 0.042, guided backpropagation 0.991 to 0.149)."
)
SPARSITY = 0.9
METHODS = ("NeuronMCT", "NeuronIntGrad", "gradient", "gradient x input", "integrated gradients")
METHODS += ("guided backpropagation", "GradCAM")
MEASURES = {"spearman": "abs. Spearman", "ssim": "SSIM"}


def layers(model: nn.Module) -> list[str]:
    """Name the layers with weights, the last first."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)][::-1]


def randomised(model: nn.Module, steps: int, seed: int) -> nn.Module:
    """Copy a network, its last so many layers drawn anew, each with the batch normalisation that follows."""
    copy = deepcopy(model)
    chosen, drawing = layers(model)[:steps], False
    generator = torch.Generator().manual_seed(seed)
    modules = [(name, m) for name, m in copy.named_modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.BatchNorm2d)]
    for name, module in modules:
        if isinstance(module, nn.BatchNorm2d):
            if drawing:
                module.reset_parameters()
            continue
        drawing = name in chosen
        if drawing:
            weight = module.weight.data
            weight.copy_(weight.std() * torch.randn(weight.shape, generator=generator))
            if module.bias is not None:
                module.bias.data.zero_()
    return copy


def maps(model: nn.Module, images: Tensor, classes: Tensor) -> dict[str, np.ndarray]:
    """Give each method's magnitudes, (n, height, width), scaled to [0, 1] image by image."""
    methods = attributions(model, SPARSITY)
    found = {}
    for name in METHODS:
        parts = [methods[name](x, c) for x, c in zip(images.split(20), classes.split(20), strict=True)]
        magnitude = signed_map(torch.cat(parts)).abs()[:, 0]
        found[name] = (magnitude / magnitude.amax((1, 2), keepdim=True).clamp(min=1e-30)).double().numpy()
    return found


def similarity(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Compare maps, (n, height, width); means over images. With a map of one value the correlation counts as 0."""
    ranks = [rankdata(x.reshape(len(x), -1), axis=1) for x in (a, b)]
    x, y = (rank - rank.mean(1, keepdims=True) for rank in ranks)
    product = np.sqrt((x * x).sum(1) * (y * y).sum(1))
    rho = np.divide((x * y).sum(1), product, out=np.zeros(len(x)), where=product > 0)
    ssim = [structural_similarity(p, q, data_range=1.0, gaussian_weights=True) for p, q in zip(a, b, strict=True)]
    return {"spearman": mean(np.abs(rho)), "ssim": mean(ssim)}


def run(scale: Scale) -> dict:
    torch.set_flush_denormal(True)
    n, seeds = (20, 2) if scale.reduced else (100, 3)
    model, images = vgg11(scale), cifar(scale, n)
    with torch.no_grad():
        classes = model(images).argmax(1)
    original: dict[str, np.ndarray] = {}

    def measure(steps: int, seed: int) -> dict:
        if not original:
            original.update(maps(model, images, classes))
        after = maps(randomised(model, steps, seed), images, classes)
        return {name: similarity(original[name], after[name]) for name in METHODS}

    numbers = range(1, len(layers(model)) + 1, 3 if scale.reduced else 1)
    cells = {f"vgg11 {seed} {steps}": lambda a=(steps, seed): measure(*a) for seed in range(seeds) for steps in numbers}
    return Results("pathway_sanity", scale).fill(cells)


def steps_of(found: dict) -> list[int]:
    return sorted({int(key.split()[2]) for key in found})


def values(found: dict, method: str, measure: str, steps: int) -> list[float]:
    return [cell[method][measure] for key, cell in found.items() if int(key.split()[2]) == steps]


def draw(found: dict, path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.3), layout="constrained")
    steps = steps_of(found)
    for axis, (measure, words) in zip(axes, MEASURES.items(), strict=True):
        for method in METHODS:
            means, halves = np.transpose([interval(values(found, method, measure, step)) for step in steps])
            style = {"color": COLOURS[method], "linestyle": "--" if method in DASHED else "-"}
            axis.plot([0, *steps], [1, *means], marker=".", label=method, **style)
            axis.fill_between(steps, means - halves, means + halves, color=COLOURS[method], alpha=0.12, linewidth=0)
        axis.set(title=words, xlabel="layers drawn anew, from the last", ylim=(-0.05, 1.03))
        axis.set_ylabel("similarity to the trained network's map")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def finding(found: dict) -> str:
    steps = steps_of(found)
    told = [steps[0], steps[len(steps) // 2], steps[-1]]
    seeds = len({key.split()[1] for key in found})
    lines = [
        f"VGG11 on CIFAR-10, sparsity {SPARSITY:.0%}, {seeds} draws of weights, means over images; intervals over"
        " draws.\n",
        "| | "
        + " | ".join(f"{words}, {step} layer{'s' * (step > 1)}" for words in MEASURES.values() for step in told)
        + " |",
        "|---" * (1 + 2 * len(told)) + "|",
    ]
    for method in METHODS:
        cells = [shown(values(found, method, measure, step)) for measure in MEASURES for step in told]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    last = {method: float(np.mean(values(found, method, "spearman", told[-1]))) for method in METHODS}
    first = {method: float(np.mean(values(found, method, "spearman", told[0]))) for method in METHODS}
    ours = METHODS[:2]
    fell = all(last[method] < first[method] for method in ours)
    below = [m for m in METHODS[2:] if all(last[method] < last[m] for method in ours)]
    courses = " and of ".join(f"{method} goes from {first[method]:.2f} to {last[method]:.2f}" for method in ours)
    return "\n".join(
        [
            *lines,
            "",
            f"From the first step to the last, |Spearman| of {courses}:"
            f" the claim that pathway gradients follow the weights {'holds' if fell else 'does not hold'}. With all"
            f" layers random both are below {', '.join(below) or 'none of the others'}.",
        ]
    )


if __name__ == "__main__":
    main(sys.modules[__name__])
