"""Input degradation: remove the pixels of least attribution first (LeRF), or those of most first (MoRF).

A pixel's score is the sum over channels of |attribution|. A removed pixel takes the mean colour of the training set, or
the colour of another test image at that place: the mean colour is the baseline of integrated gradients and of DeepLift,
and a pixel that has it already is no loss to anyone, which methods that multiply by the input know and others do not.
Measured is |change of probability| / probability of the predicted class: VGG11, 500 test images of CIFAR-10.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch
from common import Results, Scale, interval, main, shown
from pathway_common import COLOURS, DASHED, Attribution, attributions, chunks, cifar, mean, ranked, removed, vgg11
from torch import Tensor, nn

matplotlib.use("Agg")
from matplotlib import pyplot as plt

TITLE = "Input degradation"
CLAIM = (
    "Pathway gradients point out what matters: removing the pixels that they rank lowest changes the response less than"
    " with gradients (|change of probability| / probability on CIFAR-10 at 1, 5 and 10% removed: 0.039, 0.10, 0.15,"
    " against 0.216, 0.39, 0.54)."
)
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
FILLS = ("mean colour", "another image")
ORDERS = {"LeRF": "least relevant first", "MoRF": "most relevant first"}
SPARSITY = 0.9
CHUNK = 10
PATHWAYS, PEERS, SHOWN = ("NeuronMCT", "NeuronIntGrad"), ("gradient", "integrated gradients"), (0.01, 0.05, 0.1)


def measure(model: nn.Module, methods: dict[str, Attribution], images: Tensor, seed: int) -> dict:
    """Give {fill: {method: {order: change at each share}}}, means over the images."""
    with torch.no_grad():
        whole, classes = model(images).softmax(1).max(1)
    maps = {name: method(images, classes) for name, method in methods.items()}
    maps["random"] = torch.ones_like(images)  # equal scores come in random order
    ranks = {name: ranked(attribution, seed) for name, attribution in maps.items()}
    found = {}
    for fill, values in zip(FILLS, (torch.zeros_like(images), images.roll(1, 0)), strict=True):

        def changes(order: Tensor, values: Tensor = values) -> list[float]:
            counts = [round(share * order.shape[1]) for share in SHARES]
            degraded = [removed(images, order[:, :count], values) for count in counts]
            return [mean(changed(model, x, classes, whole)) for x in degraded]

        found[fill] = {name: {"LeRF": changes(r), "MoRF": changes(r.flip(1))} for name, r in ranks.items()}
    return found


@torch.no_grad()
def changed(model: nn.Module, images: Tensor, classes: Tensor, whole: Tensor) -> Tensor:
    """Give |change of probability| / probability, (n,)."""
    after = model(images).softmax(1).gather(1, classes[:, None])[:, 0]
    return (after - whole).abs() / whole


def run(scale: Scale) -> dict:
    torch.set_flush_denormal(True)
    n = 40 if scale.reduced else 500
    model, images = vgg11(scale), cifar(scale, n)
    methods = attributions(model, SPARSITY)
    cells = {f"vgg11 {p.start}": lambda p=p: measure(model, methods, images[p], p.start) for p in chunks(n, CHUNK)}
    return Results("pathway_degradation", scale).fill(cells)


def values(found: dict, fill: str, method: str, order: str, share: float) -> list[float]:
    return [cell[fill][method][order][SHARES.index(share)] for cell in found.values()]


def draw(found: dict, path: Path) -> None:
    figure, axes = plt.subplots(2, 2, figsize=(11, 6.4), sharey=True, sharex=True, layout="constrained")
    x = 100 * np.array(SHARES)
    for row, fill in zip(axes, FILLS, strict=True):
        for axis, (order, words) in zip(row, ORDERS.items(), strict=True):
            for method, colour in COLOURS.items():
                means, halves = np.transpose([interval(values(found, fill, method, order, share)) for share in SHARES])
                axis.plot(x, means, color=colour, marker=".", label=method, linestyle="--" if method in DASHED else "-")
                if method in PATHWAYS + PEERS:
                    axis.fill_between(x, means - halves, means + halves, color=colour, alpha=0.15, linewidth=0)
            axis.set(title=f"{order}: {words}; {fill}", xscale="log")
            axis.set_xticks(x, [f"{100 * share:.0f}" for share in SHARES])
            axis.minorticks_off()
        row[0].set_ylabel("|change of probability| / probability")
    for axis in axes[1]:
        axis.set(xlabel="pixels removed (%)", ylim=(0, 1.05))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=9)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def finding(found: dict) -> str:
    parts = [
        f"{CHUNK * len(found)} test images, VGG11; pathways of sparsity {SPARSITY:.0%}; |change of probability| /"
        " probability, intervals over images."
    ]
    for fill in FILLS:
        head = f"| removed pixels: {fill} | "
        lines = [
            head + " | ".join(f"{order} {100 * share:.0f}%" for order in ORDERS for share in SHOWN) + " |",
            "|---" * (1 + len(ORDERS) * len(SHOWN)) + "|",
        ]
        for method in COLOURS:
            cells = [shown(values(found, fill, method, order, share), 3) for order in ORDERS for share in SHOWN]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
        parts += ["\n".join(lines), verdict(found, fill)]
    return "\n\n".join(parts)


def verdict(found: dict, fill: str) -> str:
    """Compare pathway gradients with gradients and integrated gradients, LeRF, on the same images."""
    told = []
    for peer in PEERS:
        differences = {
            ours: [
                np.subtract(values(found, fill, ours, "LeRF", share), values(found, fill, peer, "LeRF", share)).tolist()
                for share in SHOWN
            ]
            for ours in PATHWAYS
        }
        words = "; ".join(f"{ours} {', '.join(shown(d, 3) for d in each)}" for ours, each in differences.items())
        compared = [interval(d) for each in differences.values() for d in each]
        less = sum(middle < 0 for middle, _ in compared)
        surely = sum(middle < -half for middle, half in compared)
        more = sum(middle > half for middle, half in compared)
        outcome = "holds" if surely == len(compared) else "does not hold" if more else "is not shown throughout"
        told.append(
            f"The claim against {peer} {outcome}: of {len(compared)} comparisons the change is less in {less}, beyond"
            f" the interval in {surely}, and more beyond it in {more} (differences {words})."
        )
    shares = ", ".join(f"{100 * share:.0f}%" for share in SHOWN)
    return f"LeRF at {shares}, removed pixels: {fill}. " + " ".join(told)


if __name__ == "__main__":
    main(sys.modules[__name__])
