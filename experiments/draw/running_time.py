"""Draw Table 2: running times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from common import Scale
from running_time import CAPTUM, NEUCEPT, WAYS, Found
from tasks import KINDS

PAPER = {  # seconds: NeuCEPT (one iteration), saliency, integrated gradients, DeepLIFT, gradient SHAP
    "lenet prior conv3": (3.18, 17.35, 79.59, 51.32, 31.42),
    "lenet prior linear0": (1.93, 16.25, 79.20, 20.12, 31.13),
    "lenet normal conv3": (2.86, 16.52, 79.95, 51.22, 31.03),
    "lenet normal linear0": (2.00, 15.47, 77.57, 19.93, 31.08),
    "lenet pkt conv3": (2.76, 16.00, 80.46, 50.49, 31.93),
    "lenet pkt linear0": (1.94, 15.53, 77.13, 20.05, 30.77),
    "vgg11 prior conv8": (20.86, 167.82, 379.16, 195.01, 355.65),
    "vgg11 prior conv9": (22.36, 180.6, 362.28, 183.97, 305.65),
    "vgg11 normal conv8": (26.12, 307.74, 709.38, 335.29, 708.50),
    "vgg11 normal conv9": (23.22, 307.87, 708.71, 309.38, 707.38),
    "vgg11 pkt conv8": (17.26, 223.24, 457.78, 263.63, 457.09),
    "vgg11 pkt conv9": (18.80, 222.50, 457.81, 220.53, 457.32),
}
LOOKS = dict(zip(KINDS, (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "D")), strict=True))


def draw(results: Found, path: Path, scale: Scale) -> None:
    """Draw the seconds of each method, one point per network and layer, beside the paper's."""
    rows = [*NEUCEPT, *(f"{method}, {way}" for method in CAPTUM for way in WAYS)]
    labels = [f"NeuCEPT, {row}" if row in NEUCEPT else row for row in rows]
    tasks = list(dict.fromkeys(key.split()[0] for key in results))
    figure, axes = plt.subplots(1, len(tasks), figsize=(11, 5.2), sharey=True, squeeze=False)
    for axis, task in zip(axes[0], tasks, strict=True):
        for kind, (colour, marker) in LOOKS.items():
            cells = {key: cell for key, cell in results.items() if key.startswith(f"{task} {kind} ")}
            points = [(_seconds(cell, row), y) for cell in cells.values() for y, row in enumerate(rows)]
            published = [(PAPER[key][i], y) for key in cells for i, y in _paper_rows(rows)]
            if cells:
                axis.scatter(*zip(*points, strict=True), s=22, color=colour, marker=marker, label=f"{kind} network")
                axis.scatter(*zip(*published, strict=True), s=60, color="black", marker="|", label="the paper's")
        axis.set(xscale="log", xlabel="seconds for one class", title="LeNet" if task == "lenet" else "VGG11")
        axis.grid(axis="x", color="#dddddd", lw=0.6)
        for line in (2.5, 5.5, 8.5, 11.5):
            axis.axhline(line, color="#bbbbbb", lw=0.6)
    axes[0, 0].set_yticks(range(len(rows)), labels)
    axes[0, 0].invert_yaxis()
    entries = dict(zip(*reversed(axes[0, 0].get_legend_handles_labels()), strict=True))
    figure.legend(entries.values(), entries.keys(), loc="lower center", ncols=4, frameon=False)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(path, dpi=85)
    plt.close(figure)


def _paper_rows(rows: list[str]) -> list[tuple[int, int]]:
    """Column of the paper's table, and row of the figure, of the methods as published."""
    return [(i, rows.index(name)) for i, name in enumerate(("one draw", *(f"{m}, one by one" for m in CAPTUM)))]


def _seconds(cell: dict[str, Any], row: str) -> float:
    return float(cell[row]["one" if row in NEUCEPT else "seconds"])
