"""Draw Figures 8 and 13 to 17: accuracy against noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from ablation import BY_EVIDENCE, DRAWN, LEVELS, MORE, setting
from common import Scale
from PIL import Image
from read.ablation import OURS

COLOURS = (
    "#000000",
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#b8a600",
    "#e69f00",
    "#cc79a7",
    "#56b4e9",
    "#8c6d31",
    "#999999",
    "#000000",
)
STYLES = ("-", "-", "-", "-", "-", (0, (4, 2)), (0, (1, 1.5)), "-.", "-.", "--", (0, (3, 1)))
PANELS = {  # signs, gamma, classes
    "γ = 2": ("positive", 2, (0, 1)),
    "γ = 8": ("positive", 8, (0, 1)),
    "γ = 8, class 0": ("positive", 8, (0,)),
    "γ = 8, class 1": ("positive", 8, (1,)),
    "γ = 8, both signs": ("both", 8, (0, 1)),
}


def draw(results: dict[str, Any], path: Path, scale: Scale) -> None:
    layers = list(dict.fromkeys((key.split()[0], key.split()[3]) for key in results))
    figure, axes = panels(len(layers), len(PANELS), 2)
    for row, (task, layer) in zip(axes, layers, strict=True):
        cells = [curves_of(results, key) for key in results if key.split()[2:] == ["pkt", layer]]
        for axis, (title, (signs, gamma, classes)) in zip(row, PANELS.items(), strict=True):
            names = [setting((signs, gamma, label)) for label in classes]
            methods = cells[0][names[0]]
            plot(axis, LEVELS, {m: np.mean([c[n][m] for c in cells for n in names], axis=0) for m in methods})
            axis.set_ylim(0, 1.02)
            if row[0] is axes[0, 0]:
                axis.set_title(title, fontsize=10)
        row[0].set_ylabel(f"{layer}, top {DRAWN[task]}\naccuracy")
    save(figure, path, "norm of the noise, in mean norms of the layer's output")


def curves_of(results: dict[str, Any], key: str) -> dict[str, dict[str, list[float]]]:
    """Return {setting: {method: curve}} of a network and layer, with the second group's where it is there."""
    more = results.get(f"{key}{MORE}", {}).get("curves", {})
    by_evidence = {name: {BY_EVIDENCE: curves[BY_EVIDENCE]} for name, curves in more.items()}
    return {name: curves | by_evidence.get(name, {}) for name, curves in results[key]["curves"].items()}


def panels(rows: int, columns: int, height: float) -> tuple[Any, Any]:
    """Make a figure of panels of a height in inches, 11.5 inches wide; each row has an axis in common."""
    size = (11.5, height * rows + 1)
    return plt.subplots(rows, columns, figsize=size, sharex=True, sharey="row", squeeze=False)


def plot(axis: Any, x: Any, by_method: dict[str, np.ndarray]) -> None:
    """Draw one line per method, NeuCEPT's thick."""
    for (method, y), colour, style in zip(by_method.items(), COLOURS, STYLES, strict=False):
        axis.plot(x, y, color=colour, linestyle=style, linewidth=2.4 if method in OURS else 1.1, label=method)
    axis.grid(alpha=0.3)


def save(figure: Any, path: Path, label: str) -> None:
    """Write a figure of panels with a label of all x axes and one legend below, in 256 colours."""
    height = figure.get_figheight()
    figure.supxlabel(label, y=0.55 / height, fontsize=10)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="lower center", ncol=6, fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0.7 / height, 1, 1))
    figure.savefig(path, dpi=90)
    plt.close(figure)
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)
