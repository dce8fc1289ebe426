"""Input degradation: remove the pixels of least attribution first (LeRF), or those of most first (MoRF).

A pixel's score is the sum over channels of |attribution|; the paper's single-channel maps take the channel of largest
magnitude, which the cells "channel" compare. A removed pixel takes the mean colour of the training set, or
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
from common import Results, Scale, Verdict, interval, main, shown
from pathway_common import COLOURS, DASHED, Attribution, attributions, chunks, cifar, mean, ranked, removed, vgg11
from torch import Tensor, nn

from neucept.pathways import signed_map

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
# Neuron methods and gradients, at 1, 5 and 10%, in the paper.
PUBLISHED = {"pathway gradients": (0.039, 0.10, 0.15), "gradient": (0.216, 0.39, 0.54)}
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


def by_one_channel(model: nn.Module, methods: dict[str, Attribution], images: Tensor, seed: int) -> dict:
    """Give {fill: {method: LeRF changes}} as `measure`, pixels ranked by the channel of largest magnitude."""
    chosen = {name: methods[name] for name in PATHWAYS + PEERS}
    one = {name: lambda x, c, m=method: signed_map(m(x, c)) for name, method in chosen.items()}
    found = measure(model, one, images, seed)
    return {fill: {name: cell[name]["LeRF"] for name in chosen} for fill, cell in found.items()}


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
    for p in () if scale.reduced else chunks(100, CHUNK):
        cells[f"channel {p.start}"] = lambda p=p: by_one_channel(model, methods, images[p], p.start)
    return Results("pathway_degradation", scale).fill(cells)


def values(found: dict, fill: str, method: str, order: str, share: float) -> list[float]:
    return [cell[fill][method][order][SHARES.index(share)] for cell in cells_of(found, "vgg11").values()]


def cells_of(found: dict, kind: str) -> dict[str, dict]:
    """Give {number of the first image: cell}: "vgg11", or "channel" with the other rank."""
    return {key.split()[1]: cell for key, cell in found.items() if key.split()[0] == kind}


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


def differences(found: dict, fill: str, peer: str) -> dict[tuple[str, float], list[float]]:
    """Give {(method, share): LeRF of the pathway's gradient minus that of a peer}, on the same images."""
    return {
        (ours, share): np.subtract(
            values(found, fill, ours, "LeRF", share), values(found, fill, peer, "LeRF", share)
        ).tolist()
        for ours in PATHWAYS
        for share in SHOWN
    }


def counts(found: dict, fill: str, peer: str) -> dict[str, int]:
    """Count the comparisons: in how many the change is less than a peer's, less or more beyond the interval."""
    compared = [interval(d) for d in differences(found, fill, peer).values()]
    return {
        "of": len(compared),
        "less": sum(middle < 0 for middle, _ in compared),
        "surely less": sum(middle < -half for middle, half in compared),
        "surely more": sum(middle > half for middle, half in compared),
    }


def told(found: dict, fill: str, peer: str) -> str:
    n = counts(found, fill, peer)
    if n["less"] == 0:
        return f"more in {n['of']} of {n['of']}, beyond the interval in {n['surely more']}"
    more = f", more beyond it in {n['surely more']}" if n["surely more"] else ""
    return f"less in {n['less']} of {n['of']}, beyond the interval in {n['surely less']}{more}"


def at_first(found: dict, fill: str, peer: str) -> str:
    """Write the changes of NeuronMCT and of a peer with the least share removed."""
    ours, other = (shown(values(found, fill, method, "LeRF", SHOWN[0]), 3) for method in ("NeuronMCT", peer))
    return f"{ours} against {other}"


def outcome(found: dict) -> str:
    all_counts = [counts(found, fill, "gradient") for fill in FILLS]
    if all(n["surely less"] == n["of"] for n in all_counts):
        return "yes"
    return "partly" if all(n["less"] > n["of"] / 2 and not n["surely more"] for n in all_counts) else "no"


def smaller(found: dict) -> str:
    """Say so where the effect is less than a third of the paper's, with the least share removed."""
    ours = -np.mean(differences(found, FILLS[0], "gradient")["NeuronMCT", SHOWN[0]])
    paper = PUBLISHED["gradient"][0] - PUBLISHED["pathway gradients"][0]
    return ", with a far smaller effect than the paper's" if ours < paper / 3 else ""


def verdicts(found: dict) -> list[Verdict]:
    n = CHUNK * len(cells_of(found, "vgg11"))
    if n < 2 * CHUNK:
        return []
    mean_colour, another = FILLS
    return [
        Verdict(
            "LeRF, against gradients",
            "the change is less at 1, 5 and 10% removed (at 1%: 0.039 against 0.216)",
            f"at 1% {at_first(found, mean_colour, 'gradient')}; {told(found, mean_colour, 'gradient')}"
            f" (another image's pixels: {told(found, another, 'gradient')}; VGG11, {n} images)",
            outcome(found),
        ),
        Verdict(
            "LeRF, against integrated gradients",
            "nothing in the text we have; a question of ours",
            f"pixels filled with the mean colour, their baseline: {told(found, mean_colour, 'integrated gradients')};"
            f" with another image's pixels: {told(found, another, 'integrated gradients')} ({n} images)",
            "not in the paper",
        ),
    ]


def finding(found: dict) -> str:
    n = CHUNK * len(cells_of(found, "vgg11"))
    mean_colour, another = FILLS
    words = {"yes": "holds", "partly": "holds in part", "no": "does not hold"}[outcome(found)]
    lines = [
        f"The claim against gradients {words}{smaller(found)}. Of six comparisons (two"
        f" methods, three shares) the change is {told(found, mean_colour, 'gradient')}; with another image's pixels in"
        f" the place of the mean colour {told(found, another, 'gradient')}. At 1% it is"
        f" {at_first(found, mean_colour, 'gradient')} (NeuronMCT, gradient); in the paper 0.039 against 0.216.\n",
        "| LeRF, share removed | " + " | ".join(f"{fill}, {share:.0%}" for fill in FILLS for share in SHOWN) + " |",
        "|---" * (1 + 2 * len(SHOWN)) + "|",
    ]
    for method in (*PATHWAYS, *PEERS, "GradCAM", "random"):
        cells = [shown(values(found, fill, method, "LeRF", share), 3) for fill in FILLS for share in SHOWN]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    for name, published in PUBLISHED.items():
        lines.append(f"| the paper, {name} | " + " | ".join(f"{v:.3f}" for v in published) + " | " * len(SHOWN) + " |")
    best = [f"{share:.0%} ({fill})" for fill in FILLS for share in SHOWN if cam_is_least(found, fill, share)]
    morf = [
        f"{method} {shown(values(found, mean_colour, method, 'MoRF', SHOWN[-1]), 3)}"
        for method in (*PATHWAYS, "gradient", "integrated gradients")
    ]
    lines += [
        "",
        f"{n} test images, VGG11 with a pathway of sparsity {SPARSITY:.0%}, abs. change of probability / probability,"
        " intervals over images.",
        "Against integrated gradients the text that we have of the paper claims nothing; it is a question of ours. With"
        " the mean colour, which is their baseline, the change with pathway gradients is"
        f" {told(found, mean_colour, 'integrated gradients')}; with another image's pixels it is"
        f" {told(found, another, 'integrated gradients')}."
        + f" With the most relevant pixels removed first, the changes at 10% (mean colour) are {', '.join(morf)}:"
        f" pathway gradients are {morf_told(found)} gradients there."
        + (f" GradCAM changes the response less than both pathway gradients at {' and '.join(best)}." if best else ""),
        "",
        "<details><summary>All methods, most relevant first, differences, and how pixels are ranked</summary>\n",
    ]
    for fill in FILLS:
        head = f"| {fill} | " + " | ".join(f"{order} {share:.0%}" for order in ORDERS for share in SHOWN)
        lines += [head + " |", "|---" * (1 + len(ORDERS) * len(SHOWN)) + "|"]
        for method in COLOURS:
            cells = [shown(values(found, fill, method, order, share), 3) for order in ORDERS for share in SHOWN]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
        lines.append("")
    lines += ["| LeRF, difference | " + " | ".join(f"{m}, {s:.0%}" for m in PATHWAYS for s in SHOWN) + " |"]
    lines += ["|---" * (1 + len(PATHWAYS) * len(SHOWN)) + "|"]
    for fill in FILLS:
        for peer in PEERS:
            cells = [shown(d, 3) for d in differences(found, fill, peer).values()]
            lines.append(f"| minus {peer}, {fill} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *by_rank(found), "</details>"])


def morf_told(found: dict) -> str:
    """Say whether any pathway gradient is told apart from gradients, most relevant first, mean colour."""
    compared = [
        interval(
            np.subtract(
                values(found, FILLS[0], ours, "MoRF", share), values(found, FILLS[0], "gradient", "MoRF", share)
            ).tolist()
        )
        for ours in PATHWAYS
        for share in SHOWN
    ]
    apart = sum(abs(middle) > half for middle, half in compared)
    return f"told apart in {apart} of {len(compared)} comparisons from" if apart else "not told apart from"


def cam_is_least(found: dict, fill: str, share: float) -> bool:
    ours, cam = (
        [np.mean(values(found, fill, method, "LeRF", share)) for method in names] for names in (PATHWAYS, ["GradCAM"])
    )
    return bool(cam[0] < min(ours))


def by_rank(found: dict) -> list[str]:
    """Tell what ranking pixels by the channel of largest magnitude changes, where that was measured."""
    kept, sums = cells_of(found, "channel"), cells_of(found, "vgg11")
    both = [start for start in kept if start in sums]
    ranks = "Pixels are ranked by the sum over channels of abs. attribution; single-channel maps, by their definition,"
    ranks += " take the channel of largest magnitude."
    if len(both) < 2:
        return [ranks, ""]
    changes = {
        (fill, method, share): [
            kept[start][fill][method][i] - sums[start][fill][method]["LeRF"][i]
            for start in both
            for i in [SHARES.index(share)]
        ]
        for fill in FILLS
        for method in PATHWAYS + PEERS
        for share in SHOWN
    }
    largest = max(changes.values(), key=lambda d: abs(np.mean(d)))
    beyond = sum(abs(middle) > half for middle, half in map(interval, changes.values()))
    return [
        f"{ranks} Ranked by that one, on the first {CHUNK * len(both)} images, LeRF changes by at most"
        f" {shown(largest, 3)} ({len(changes)} means: both fillings, {len(PATHWAYS + PEERS)} methods, three shares;"
        f" {beyond} beyond the interval, where chance alone gives one or two).",
        "",
    ]


if __name__ == "__main__":
    main(sys.modules[__name__])
