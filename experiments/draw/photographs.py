"""Draw Figures 5 and 12: pictures of mechanisms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import Scale
from draw.image_mechanisms import COLOURS, pictures_in
from photographs import TYPICAL, K
from read.photographs import drawn
from tiny_imagenet import photographs


def draw(results: dict[str, Any], path: Path, scale: Scale) -> None:
    """Draw typical pictures of each mechanism of the last block, and the neuron that tells two of them apart."""
    cells = drawn(results)
    figure = plt.figure(figsize=(7 * len(cells), 5.6), layout="constrained")
    for part, (name, cell) in zip(np.atleast_1d(figure.subfigures(1, len(cells))), cells.items(), strict=True):
        pictures, neuron = part.subfigures(2, 1, height_ratios=(3.7, 1.6))
        pictures.suptitle(f'predicted "{name}": {cell["inputs"]} images, {cell["precision"]:.0%} right', fontsize=11)
        for m, row in enumerate(pictures.subplots(K, TYPICAL)):
            share, _, precision, low, high, _ = cell["mechanisms"][m]
            words = f"{m + 1}: {share:.0%} of them\nright: {precision:.0%}\n({low:.0%} to {high:.0%})"
            words += f"\nbox: {cell['visible means']['object'][m]:.0%}"
            pictures_in(row, photographs(scale)[0], cell["typical"][m], cell["typical right"][m], words)
        histogram(neuron.subplots(), cell["telling"])
    figure.savefig(path, dpi=100)
    plt.close(figure)


def histogram(axis: Any, told: dict) -> None:
    middles = (np.array(told["edges"][1:]) + told["edges"][:-1]) / 2
    kinds = (f"mechanism {told['high'] + 1}", f"mechanism {told['low'] + 1}", "all")
    for counts, words, colour in zip(told["counts"], kinds, (*COLOURS[:2], "#999999"), strict=True):
        axis.plot(middles, np.array(counts) / sum(counts), color=colour, label=words, drawstyle="steps-mid")
    axis.set_xlabel(f"activation of {told['neuron']}, place {told['place']} of {told['of']} by its mean", fontsize=9)
    axis.set_ylabel("share of images", fontsize=9)
    axis.set_yticks([])
    axis.tick_params(labelsize=8)
    axis.legend(fontsize=8, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
