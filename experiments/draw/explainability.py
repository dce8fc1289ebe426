"""Draw Section 3.1: what the first neurons keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import Scale
from draw.ablation import panels, plot, save
from explainability import COUNTS, KERNEL_COUNTS
from read.explainability import MEASURES, of_rankings


def draw(results: dict[str, Any], path: Path, scale: Scale) -> None:
    results = of_rankings(results)
    layers = list(dict.fromkeys(key.split()[3] for key in results))
    figure, axes = panels(len(MEASURES), len(layers), 2.5)
    for row, (kind, words) in zip(axes, MEASURES.items(), strict=True):
        for axis, layer in zip(row, layers, strict=True):
            cells = [cell[kind] for key, cell in results.items() if key.split()[3] == layer]
            counts = KERNEL_COUNTS if kind == "kernel" else COUNTS
            plot(axis, counts, {m: np.mean([cell[m][:-1] for cell in cells], axis=0) for m in cells[0]})
            whole = np.mean([next(iter(cell.values()))[-1] for cell in cells])
            axis.axhline(whole, color="black", linewidth=0.8, linestyle=":")
            axis.set_xscale("log")
            axis.set_xticks([1, 3, 8, 20, 50], ["1", "3", "8", "20", "50"], minor=False)
            axis.minorticks_off()
            axis.set_ylim(0.35 if kind == "agreement" else -0.1, 1.03)
            if row[0] is axes[0, 0]:
                axis.set_title(layer, fontsize=10)
        row[0].set_ylabel(words)
    save(figure, path, "number of neurons kept (dotted: all neurons of the layer)")
