"""Draw Figure 2: two networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import Scale
from read.two_networks import gathered, over_seeds
from tasks import TASKS
from two_networks import KINDS, METHODS

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#000000")
MARKERS = "os^Dv"


def draw(results: dict[str, Any], path: Path, scale: Scale) -> None:
    papers = [paper for paper, _ in TASKS["lenet"].layers]
    figure, axes = plt.subplots(2, 4, figsize=(11.6, 6), width_ratios=(0.75, 1, 1, 0.75), layout="constrained")
    outside, inside = axes[:, 0]
    columns = {"predictions": ("agreement",), **{name: (name, "same input") for name in METHODS}}
    for number, path_of in enumerate(columns.values()):
        for shift, (words, marker, fill) in enumerate((("A, B", "o", "#0072B2"), ("B, another B", "s", "#E69F00"))):
            y = over_seeds(results, "outputs", words, *path_of)
            label = words.replace(", ", " and ") if number == 0 else None
            outside.plot([number + 0.24 * (shift - 0.5)] * len(y), y, marker, color=fill, ms=5, label=label)
    outside.set_xticks(
        range(3), ["predictions\nalike", "gradients,\ncorrelation", "int. grad.,\ncorrelation"], fontsize=8
    )
    outside.set_title("outputs and explanations", fontsize=9)
    outside.legend(fontsize=7, loc="lower right")
    kinds = ("A, another A", "A, B", "B, another B")
    for number, words in enumerate(kinds):
        y = over_seeds(results, "compared", words, "ami")
        inside.plot([number] * len(y), y, "o", color="#0072B2", ms=5)
    inside.set_xticks(range(3), ["A and\nanother A", "A and B", "B and\nanother B"], fontsize=8)
    inside.set_title("mechanisms: AMI of two networks", fontsize=9)
    for axis in (outside, inside):
        axis.set_xlim(-0.5, 2.5)
        axis.set_ylim(0, 1.03)
        axis.tick_params(labelsize=8)
        axis.grid(axis="y", alpha=0.3)
    for row, paper in enumerate(papers):
        for column, name in enumerate(KINDS, 1):
            cell, axis = results[f"cloud 0 {name} {paper} 0"], axes[row, column]
            x, y, digit = (np.array(cell[part]) for part in ("x", "y", "digit"))
            for colour, marker, value in zip(COLOURS, MARKERS, range(0, 10, 2), strict=True):
                points = digit == value
                axis.scatter(
                    x[points], y[points], s=9, c=colour, marker=marker, linewidths=0, alpha=0.75, label=str(value)
                )
            axis.set_title(f"LeNet({name}), {paper}: silhouette {cell['ten']['silhouette']:.2f}", fontsize=9)
            axis.set_xlabel("first component", fontsize=8)
            axis.set_ylabel("second component", fontsize=8)
            axis.set_xticks([])
            axis.set_yticks([])
        axis = axes[row, 3]
        for parts, cell in gathered(results, "cloud"):
            if parts[2] == paper:
                at = "AB".index(parts[1]) + 0.12 * (int(parts[3]) - 0.5)
                first = parts[0] == "0" and parts[1] == "A"
                marker, fill = ("o", "#0072B2") if parts[3] == "0" else ("s", "#E69F00")
                words = TASKS["lenet"].classes[int(parts[3])] if first else None
                axis.plot(at, cell["ten"]["ami"], marker, color=fill, ms=5, label=words)
        axis.set_xticks([0, 1], ["LeNet(A)", "LeNet(B)"], fontsize=8)
        axis.set_xlim(-0.5, 1.5)
        axis.set_ylim(0, 1.03)
        axis.set_ylabel("AMI of five clusters and digit", fontsize=8)
        axis.set_title(f"all networks, {paper}", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.grid(axis="y", alpha=0.3)
    axes[0, 1].legend(title="digit", fontsize=7, title_fontsize=7, markerscale=1.6, loc="best", framealpha=0.8)
    axes[0, 3].legend(fontsize=7, loc="upper right")
    figure.savefig(path, dpi=100)
    plt.close(figure)
