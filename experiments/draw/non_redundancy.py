"""Draw Appendix G: redundancy of mechanisms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import Scale
from non_redundancy import WAYS
from read.non_redundancy import column, label, places


def draw(results: dict[str, Any], path: Path, scale: Scale) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(9.2, 3.9), layout="constrained")
    where = places(results)
    at = np.arange(len(where))
    colours = {"ours": "#0072B2", "global": "#E69F00", "random": "#999999"}
    panels = (
        ("predictions that change", lambda way: ("agreement", f"without {way} only"), ("ours", "global", "random")),
        ("said beyond the other's ten neurons", lambda way: (way, "beyond the other's neurons"), WAYS),
        ("CE of the mechanisms (bits)", lambda way: (way, "ce"), WAYS),
    )
    for axis, (words, path_of, ways) in zip(axes, panels, strict=True):
        for number, way in enumerate(ways):
            values = [column(results, place, *path_of(way)) for place in where]
            if words == "predictions that change":
                values = [[1 - v for v in part] for part in values]
            width = 0.8 / len(ways)
            place_of_bar = at + (number - (len(ways) - 1) / 2) * width
            axis.barh(place_of_bar, [np.mean(v) if v else 0.0 for v in values], width, color=colours[way], label=way)
            for y, part in zip(place_of_bar, values, strict=True):
                axis.plot(part, [y] * len(part), ".", color="black", ms=3)
        axis.set_yticks(at, [label(place) for place in where] if axis is axes[0] else [""] * len(at), fontsize=8)
        axis.invert_yaxis()
        axis.set_xlabel(words, fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_title("resampled: neurons of one set only", fontsize=9)
    axes[1].set_title("share of the margin's variance", fontsize=9)
    axes[0].legend(fontsize=7, loc="lower right")
    figure.savefig(path, dpi=105)
    plt.close(figure)
