"""Draw Appendices F and H.2: precision asked and realised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import Scale
from precisions import PRECISIONS
from read.precisions import column, tasks_of
from tasks import TASKS


def draw(results: dict[str, Any], path: Path, scale: Scale) -> None:
    tasks = tasks_of(results)
    figure, axes = plt.subplots(len(tasks), 3, figsize=(9.2, 3.2 * len(tasks)), squeeze=False, layout="constrained")
    for row, task in zip(axes, tasks, strict=True):
        asked = PRECISIONS[task]
        for (paper, _), line in zip(TASKS[task].layers, ("--", "-"), strict=True):

            def mean(*names: str, of: str | None = None, paper: str = paper, task: str = task) -> list[float]:
                columns = [column(results, "swept", task, paper, str(p), *names, of=of) for p in PRECISIONS[task]]
                return [float(np.mean(c)) if c else np.nan for c in columns]

            style = {"ls": line, "ms": 4, "lw": 1.5}
            row[0].plot(asked, mean("precision"), "o", color="#0072B2", label=f"calibrated, {paper}", **style)
            row[0].plot(asked, mean("uncalibrated"), "s", color="#D55E00", label=f"eq. (9), {paper}", **style)
            for way, marker, colour in (("ours", "o", "#0072B2"), ("published", "s", "#D55E00")):
                row[1].plot(asked, mean(f"selected, {way}"), marker, color=colour, label=f"{way}, {paper}", **style)
                entropy_of = mean(f"CE, {way}", of="pkt")
                row[2].plot(asked, entropy_of, marker, color=colour, label=f"{way}, {paper}", **style)
        row[0].plot(asked, asked, color="grey", lw=1, label="as asked")
        labels = ("precision on planted responses", "neurons or groups selected", "CE of five mechanisms, PKT (bits)")
        for axis, words in zip(row, labels, strict=True):
            axis.set_xlabel(f"precision asked, {TASKS[task].model}", fontsize=8)
            axis.set_ylabel(words, fontsize=8)
            axis.tick_params(labelsize=8)
            axis.grid(alpha=0.3)
        row[1].set_ylim(bottom=0)
        row[2].set_ylim(bottom=0)
    for axis in axes[:, :2].ravel():
        axis.legend(fontsize=6.5, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, handlelength=3)
    figure.savefig(path, dpi=105)
    plt.close(figure)
