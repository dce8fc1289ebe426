"""Draw Figure 10: linear probes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import Scale
from probes import LAYERS
from read.probes import values
from tasks import TASKS


def draw(results: dict[str, Any], path: Path, scale: Scale) -> None:
    tasks = [task for task in LAYERS if any(key.startswith(task) for key in results)]
    figure, axes = plt.subplots(len(tasks), 2, figsize=(9, 3.2 * len(tasks)), squeeze=False, layout="constrained")
    styles = {("A", "2"): ("#0072B2", "--", "o"), ("B", "2"): ("#D55E00", "--", "s")}
    styles |= {("A", "10"): ("#0072B2", "-", "o"), ("B", "10"): ("#D55E00", "-", "s")}
    for row, task in zip(axes, tasks, strict=True):
        for axis, what in zip(row, ("loss", "accuracy"), strict=True):
            papers = list(LAYERS[task])
            for (name, labels), (colour, line, marker) in styles.items():
                points = [values(results, task, name, paper, "unpooled", labels, what) for paper in papers]
                mean = [float(np.mean(part)) for part in points]
                words = f"network {name}, {labels} labels"
                axis.plot(papers, mean, line, color=colour, marker=marker, ms=4, lw=1.5, label=words)
                for at, part in enumerate(points):
                    axis.plot([at] * len(part), part, ".", color=colour, ms=3, alpha=0.5)
            axis.set_ylabel("held-out loss (nats)" if what == "loss" else "held-out accuracy")
            axis.set_xlabel(f"layer of {TASKS[task].model}, unpooled")
            axis.grid(axis="y", alpha=0.3)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), fontsize=8, ncols=4, loc="outside upper center")
    figure.savefig(path, dpi=105)
    plt.close(figure)
