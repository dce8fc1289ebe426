"""Figure 11: an unreliable subclass of the prediction "pneumonia" on chest X-rays.

Three networks that examples/chest_xray.py trains, on its test images.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from common import HERE, PROJECT, Results, Scale, Verdict, main, shown
from image_mechanisms import (
    COLOURS,
    RANDOM,
    apart,
    by_random,
    least_and_most,
    p_words,
    pictures_in,
    quiet,
    reliability_of,
    rounded,
)
from scipy.stats import mannwhitneyu

import neucept
from neucept.datasets import ImageDataset, load_data
from neucept.mechanisms import wilson
from neucept.models import load_model
from neucept.pathways import NeuronMCT, PathwayGradient

mpl.use("Agg")
import matplotlib.pyplot as plt

TITLE = "An unreliable subclass of X-rays (Figure 11)"
CLAIM = (
    "A mechanism of CheXNet's pneumonia predictions is right in 36.7% (150 images), the whole class in 60.6%; its"
    " explanations lie at the boundary of the image instead of in the lung."
)
LAYERS, K, LEVEL = ("features.13", "classifier.1"), 5, 0.6  # the level is the paper's, it does not say K
SEEDS, SIZE, HALVINGS, TYPICAL = 3, 64, 20, 8
CLASSES = ("normal", "pneumonia")
BORDER = 8  # of the 64 pixels, on each side


@cache
def xrays(scale: Scale) -> ImageDataset:
    return load_data(xray_file(scale), split="test", size=SIZE, class_names=CLASSES, progress=False)


def xray_file(scale: Scale) -> Path:
    return scale.shared / "data" / "chest-xray" / "chest-xray-160.parquet"


def xray_network(seed: int, scale: Scale) -> torch.nn.Module:
    """Give the example's network, trained by the example where it is missing."""
    script = PROJECT / "examples" / "chest_xray.py"
    weights = HERE / "networks" / scale.name / "chest-xray" / f"{seed}.safetensors"
    if not weights.exists():
        weights.parent.mkdir(parents=True, exist_ok=True)
        options = ["--seed", str(seed), "--out", str(weights), "--epochs", "2" if scale.reduced else "6"]
        subprocess.run([sys.executable, str(script), str(xray_file(scale)), *options], check=True)
    return load_model(f"{script}:small_cnn", weights=weights).eval()


def picked_on_one_half(recording: neucept.Recording, critical: Any) -> dict[str, Any]:
    """Pick the least reliable mechanism on one half of the inputs and judge it on the other, both ways.

    The half that it is judged on has neither found nor picked it, so that picking the least does not make it look
    less reliable than it is.
    """
    rows = recording.samples(1)
    hits, judged, lowest = [], [], []
    for seed in range(HALVINGS):
        halves = np.array_split(np.random.default_rng(200 + seed).permutation(rows), 2)
        right = n = 0
        for mine, other in (halves, halves[::-1]):
            found = quiet(neucept.learn, recording, critical, K, samples=np.sort(mine))
            truth = recording.labels[found.samples] == 1
            here = [truth[found.labels == m].mean() for m in range(len(found))]
            least = int(np.argmin(here))
            chosen = np.sort(other)[found.assign(recording, np.sort(other))[0] == least]
            lowest.append(float(here[least]))
            right, n = right + int((recording.labels[chosen] == 1).sum()), n + len(chosen)
        hits.append(right)
        judged.append(n)
    return {
        "precision": rounded(sum(hits) / sum(judged)),
        "judged": rounded(np.mean(judged)),
        "as picked": rounded(np.mean(lowest)),
    }


def border_share(network: torch.nn.Module, data: ImageDataset, rows: np.ndarray) -> np.ndarray:
    """Share of each input's pathway gradient that lies in the border, (m,)."""
    images = torch.stack([data[int(i)][0] for i in rows])
    method = PathwayGradient(NeuronMCT(network), sparsity=0.9)
    target = torch.ones(len(images), dtype=torch.long)
    parts = zip(images.split(64), target.split(64), strict=True)
    maps = torch.cat([method.attribute(x, target=t).detach() for x, t in parts]).abs().sum(1)
    inside = maps[:, BORDER:-BORDER, BORDER:-BORDER].sum((1, 2))
    return (1 - inside / maps.sum((1, 2)).clamp_min(1e-12)).numpy()


def xrays_of(seed: int, scale: Scale) -> dict[str, Any]:
    """Measure the mechanisms of one network's pneumonia."""
    network, data = xray_network(seed, scale), xrays(scale)
    recording = neucept.record(network, data, LAYERS, progress=False)
    critical = quiet(neucept.discover, recording, "pneumonia", precision=LEVEL, progress=False)
    mechanisms = quiet(neucept.learn, recording, critical, K)
    rows = mechanisms.samples
    right = {"right": (recording.labels[rows] == 1).astype(float)}
    groups = mechanisms.cross_fitted
    shares = border_share(network, data, rows)
    measured = reliability_of(recording, mechanisms)
    least = int(np.argmin([row[2] for row in measured["mechanisms"]]))
    return {
        "accuracy": rounded((recording.predictions == recording.labels).mean()),
        "selected": {layer: [len(critical.at(precision=p)[layer].neurons) for p in (0.9, LEVEL)] for layer in critical},
        "neurons": {layer: len(critical[layer].groups) for layer in critical},
        **measured,
        "suggested": neucept.choose_n_mechanisms(mechanisms, range(2, 7), progress=False).suggested,
        "picked": picked_on_one_half(recording, critical),
        "right": [rounded(v) for v in apart(right["right"], groups)],
        "random": by_random(recording, mechanisms, right),
        "border": {
            "area": rounded(1 - (1 - 2 * BORDER / SIZE) ** 2),
            "least": rounded(shares[groups == least].mean()),
            "others": rounded(shares[(groups != least) & (groups >= 0)].mean()),
            "p": rounded(mannwhitneyu(shares[groups == least], shares[(groups != least) & (groups >= 0)]).pvalue),
        },
        "typical": [rows[mechanisms.typical(m, TYPICAL)].tolist() for m in range(len(mechanisms))],
        "typical right": [
            right["right"][mechanisms.typical(m, TYPICAL)].astype(int).tolist() for m in range(len(mechanisms))
        ],
    }


def run(scale: Scale) -> dict:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    cells = {f"network {seed}": lambda s=seed: xrays_of(s, scale) for seed in range(1 if scale.reduced else SEEDS)}
    return Results("chest_xrays", scale).fill(cells) | {"scale": scale}  # for the pictures


def networks(found: dict) -> list[dict]:
    return [cell for key, cell in found.items() if key.startswith("network")]


def draw(found: dict, path: Path) -> None:
    """Draw the precision of each mechanism, and typical X-rays of the first network's."""
    cells = networks(found)
    figure = plt.figure(figsize=(12, 4.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.25, 1))
    precisions(left.subplots(), cells)
    right.suptitle("network 1, from the least to the most reliable mechanism", fontsize=10)
    cell = cells[0]
    order = np.argsort([row[2] for row in cell["mechanisms"]])
    for m, row in zip(order, right.subplots(len(order), TYPICAL), strict=True):
        words = f"right: {cell['mechanisms'][m][2]:.0%}"
        pictures_in(row, xrays(found["scale"]), cell["typical"][m], cell["typical right"][m], words)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def precisions(axis: Any, cells: list[dict]) -> None:
    for number, (cell, colour) in enumerate(zip(cells, COLOURS, strict=False)):
        rows = np.array(sorted(cell["mechanisms"], key=lambda row: row[2]))
        x = number + 0.15 * (np.arange(len(rows)) - (len(rows) - 1) / 2)
        errors = np.abs(rows[:, [3, 4]].T - rows[:, 2])
        axis.errorbar(x, rows[:, 2], errors, fmt="o", color=colour, capsize=3, label="a mechanism" * (not number))
        first = not number
        line, cross = "whole class" * first, "least reliable, picked on other images" * first
        axis.plot([number - 0.42, number + 0.42], [cell["precision"]] * 2, color="black", linewidth=1, label=line)
        axis.plot([x[0] - 0.07], [cell["picked"]["precision"]], "x", color="black", markersize=8, label=cross)
    axis.set_xticks(range(len(cells)), [f"network {i + 1}" for i in range(len(cells))])
    axis.set_ylim(0, 1.03)
    axis.set_ylabel('share of "pneumonia" that are right')
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=3)


def finding(found: dict) -> str:
    cells = networks(found)
    return "\n".join([*table(cells), "", *sentences(cells)])


def table(cells: list[dict]) -> list[str]:
    lines = [
        "Not CheXNet and its data, but the small network of the [example](../README.md#on-your-own-model), trained from"
        f" {len(cells)} seed{'s' * (len(cells) > 1)}, on its 624 test images of children (a mean of"
        f" {np.mean([cell['accuracy'] for cell in cells]):.1%} right); {K} mechanisms, as the paper does not say how"
        " many it took. The least reliable one is picked on one half of the images and judged on the other, both ways"
        f" (mean of {HALVINGS} halvings, interval for their mean count).\n",
        "| network | predicted pneumonia | right | critical at 0.9 and 0.6 | least reliable, on images that did not"
        " pick it | least and most reliable of all images | more than the margin says, p | as much by random neurons |"
        " explanation in the border: least reliable, others |",
        "| --- |" + " --- |" * 8,
    ]
    for number, cell in enumerate(cells, 1):
        low, high = picked_interval(cell)
        border = cell["border"]
        selected = "; ".join(f"{a}, {b} of {cell['neurons'][layer]}" for layer, (a, b) in cell["selected"].items())
        lines.append(
            f"| {number} | {cell['inputs']} | {cell['precision']:.1%} | {selected} |"
            f" {cell['picked']['precision']:.1%} ({low:.0%} to {high:.0%}) of {cell['picked']['judged']:.0f} |"
            f" {least_and_most(cell)} | {p_words(cell['beyond margin'])} | {random_as_good(cell)} of {RANDOM} |"
            f" {border['least']:.0%}, {border['others']:.0%} (p {p_words(border['p'])}) |"
        )
    return lines


def random_as_good(cell: dict) -> int:
    """Count the sets of random neurons whose mechanisms say as much of being right."""
    return sum(value >= cell["right"][0] for value in cell["random"]["right"])


def picked_interval(cell: dict) -> tuple[float, float]:
    judged = round(cell["picked"]["judged"])
    return wilson(round(judged * cell["picked"]["precision"]), judged)


def percent(cells: list[dict]) -> tuple[str, str]:
    """Write the precision of the least reliable mechanism, and of the class."""
    return shown([100 * c["picked"]["precision"] for c in cells], 1), shown([100 * c["precision"] for c in cells], 1)


def sentences(cells: list[dict]) -> list[str]:
    least, whole = percent(cells)
    more = sum(cell["border"]["least"] > cell["border"]["others"] and cell["border"]["p"] < 0.05 for cell in cells)
    beyond = beyond_margin(cells)
    rare = sum(random_as_good(cell) <= RANDOM // 20 for cell in cells)
    least_border, others_border = (np.mean([cell["border"][which] for cell in cells]) for which in ("least", "others"))
    area = cells[0]["border"]["area"]
    there = "is there" if unreliable(cells) else "is not sure"
    boundary = "is not what marks it here" if least_border < area else "carries more than its share"
    return [
        f"- **The unreliable subclass {there}:** {least}% of it are right, {whole}% of the class, on images that"
        f" neither found nor picked it (networks: {len(cells)}).",
        "- **What it takes to find it:** at equal margin (the logit less the other), mechanisms say more of being right"
        f" in {beyond} of {len(cells)} networks; where they do not, the subclass is where the network is unsure anyway."
        " Mechanisms by random neurons of the same layers say less of being right (in at least"
        f" {RANDOM - RANDOM // 20} of {RANDOM} draws) in {rare} of {len(cells)} networks; in the others it does not"
        " take critical neurons.",
        f"- **The boundary:** in {more} of {len(cells)} networks, more of its explanation (pathway gradients) lies in"
        f" the border: {least_border:.0%}, of the others {others_border:.0%}. The border is {area:.0%} of the picture,"
        f" so it {boundary}.",
        "\nFigure: intervals are 95% (Wilson), each mechanism judged on images that it was not found on. Right: the"
        " most typical X-rays of each mechanism; red: normal ones that the network calls pneumonia.",
    ]


def unreliable(cells: list[dict]) -> bool:
    """Say whether the least reliable mechanism of each network is less reliable than its class."""
    return all(picked_interval(cell)[1] < cell["precision"] for cell in cells)


def beyond_margin(cells: list[dict]) -> int:
    return sum(cell["beyond margin"] < 0.05 for cell in cells)


def verdicts(found: dict) -> list[Verdict]:
    cells = networks(found)
    least, whole = percent(cells)
    return [
        Verdict(
            "Figure 11",
            "one mechanism of pneumonia is right in 36.7%, the class in 60.6%",
            f"another network: {least}%, the class {whole}% ({len(cells)} networks; more than their margin says in"
            f" {beyond_margin(cells)})",
            "yes" if unreliable(cells) else "no",
        )
    ]


if __name__ == "__main__":
    main(sys.modules[__name__])
