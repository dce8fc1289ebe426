"""Draw similarity of maps as weights are drawn anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import Scale, interval
from matplotlib import pyplot as plt
from pathway_common import COLOURS, DASHED
from pathway_sanity import METHODS
from read.pathway_sanity import MEASURES, steps_of, values


def draw(results: dict[str, Any], path: Path, scale: Scale) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.3), layout="constrained")
    steps = steps_of(results)
    for axis, (measure, words) in zip(axes, MEASURES.items(), strict=True):
        for method in METHODS:
            means, halves = np.transpose([interval(values(results, method, measure, step)) for step in steps])
            style = {"color": COLOURS[method], "linestyle": "--" if method in DASHED else "-"}
            axis.plot([0, *steps], [1, *means], marker=".", label=method, **style)
            axis.fill_between(steps, means - halves, means + halves, color=COLOURS[method], alpha=0.12, linewidth=0)
        axis.set(title=words, xlabel="layers drawn anew, from the last", ylim=(-0.05, 1.03))
        axis.set_ylabel("similarity to the trained network's map")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
    figure.savefig(path, dpi=90)
    plt.close(figure)
