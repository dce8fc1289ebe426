"""Draw Figure 11: precision of mechanisms, and their X-rays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from chest_xrays import TYPICAL, xrays
from common import Scale
from draw.image_mechanisms import COLOURS, pictures_in
from read.chest_xrays import networks


def draw(results: dict[str, Any], path: Path, scale: Scale) -> None:
    """Draw the precision of each mechanism, and typical X-rays of the first network's."""
    cells = networks(results)
    figure = plt.figure(figsize=(12, 4.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.25, 1))
    precisions(left.subplots(), cells)
    right.suptitle("network 1, from the least to the most reliable mechanism", fontsize=10)
    cell = cells[0]
    order = np.argsort([row[2] for row in cell["mechanisms"]])
    for m, row in zip(order, right.subplots(len(order), TYPICAL), strict=True):
        words = f"right: {cell['mechanisms'][m][2]:.0%}"
        pictures_in(row, xrays(scale), cell["typical"][m], cell["typical right"][m], words)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def precisions(axis: Any, cells: list[dict[str, Any]]) -> None:
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
