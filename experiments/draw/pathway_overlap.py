"""Draw dead neurons and overlap of pathways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import Scale, interval
from matplotlib import pyplot as plt
from pathway_overlap import METHODS, SITES, SPARSITIES
from read.pathway_overlap import NETWORKS, label, of

COLOURS = ("#0072B2", "#D55E00", "#009E73")


def draw(results: dict[str, Any], path: Path, scale: Scale) -> None:
    figure, axes = plt.subplots(2, 3, figsize=(11, 6.6), width_ratios=(1.15, 1, 1), layout="constrained")
    for row, (network, words) in zip(axes, NETWORKS.items(), strict=True):
        for i, sparsity in enumerate(SPARSITIES):
            cells = of(results, network, sparsity)
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
        cells = of(results, network, 0.9)
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
