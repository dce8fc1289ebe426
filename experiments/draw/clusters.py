"""Draw Figures 7 and 9: entropy of clusters."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from clusters import KS, MAIN_TOP, Found
from common import Scale, interval
from read.clusters import METHODS, difference, tasks_in, values
from tasks import TASKS

PANELS = (("lenet", "even"), ("vgg11", "object"))  # the paper's
COLOURS = dict(
    zip(
        METHODS,
        ("#d55e00", "#e69f00", "#0072b2", "#56b4e9", "#332288", "#117733", "#999933", "#cc79a7", "#888888"),
        strict=True,
    )
)


def draw(results: Found, path: Path, scale: Scale) -> None:
    panels = [(t, layer, label) for t, label in PANELS if t in tasks_in(results) for layer, _ in TASKS[t].layers]
    figure, axes = plt.subplots(2, len(panels), figsize=(11, 6.2), sharex=True, squeeze=False)
    for column, (task, layer, label) in enumerate(panels):
        what = f"{layer} {label} {MAIN_TOP[task]} kmeans ce"
        curves_of(axes[0, column], {m: values(results, task, "pkt", what, m) for m in METHODS})
        curves_of(axes[1, column], {m: difference(results, task, what, m) for m in METHODS})
        network = "LeNet" if task == "lenet" else "VGG11"
        axes[0, column].set_title(f"{network} {layer}, {label}, top {MAIN_TOP[task]}", fontsize=10)
        axes[1, column].axhline(0, color="black", lw=0.8)
        axes[1, column].set(xlabel="number of clusters K", xticks=[1, 3, 5, 7, 9, 11])
    axes[0, 0].set_ylabel("CE of the PKT network (bits)")
    axes[1, 0].set_ylabel("CE, normal minus PKT (bits)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="lower center", ncols=5, fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0.09, 1, 1))
    figure.savefig(path, dpi=80)
    plt.close(figure)


def curves_of(axis: plt.Axes, series: dict[str, np.ndarray]) -> None:
    """Draw the mean over seeds of each method, and its interval."""
    means = np.array([one.mean(axis=0) for one in series.values()])
    axis.set_ylim(min(0.0, means.min()) - 0.15, means.max() + 0.25)
    for method, mean in zip(series, means, strict=True):
        style = "--" if method in ("random", "variance", "activation") else "-"
        ours = method.startswith("NeuCEPT")
        axis.plot(
            KS, mean, style, color=COLOURS[method], lw=2.4 if ours else 1.3, zorder=3 if ours else 2, label=method
        )
        if len(series[method]) > 2:  # an interval of two seeds would cover everything
            half = np.array([interval(one)[1] for one in series[method].T])
            axis.fill_between(KS, mean - half, mean + half, color=COLOURS[method], alpha=0.1, lw=0)
