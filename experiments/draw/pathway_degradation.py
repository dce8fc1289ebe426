"""Draw change of the response against pixels removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import Scale, interval
from matplotlib import pyplot as plt
from pathway_common import COLOURS, DASHED
from pathway_degradation import FILLS, PATHWAYS, PEERS, SHARES
from read.pathway_degradation import ORDERS, values


def draw(results: dict[str, Any], path: Path, scale: Scale) -> None:
    figure, axes = plt.subplots(2, 2, figsize=(11, 6.4), sharey=True, sharex=True, layout="constrained")
    x = 100 * np.array(SHARES)
    for row, fill in zip(axes, FILLS, strict=True):
        for axis, (order, words) in zip(row, ORDERS.items(), strict=True):
            for method, colour in COLOURS.items():
                means, halves = np.transpose(
                    [interval(values(results, fill, method, order, share)) for share in SHARES]
                )
                axis.plot(x, means, color=colour, marker=".", label=method, linestyle="--" if method in DASHED else "-")
                if method in PATHWAYS + PEERS:
                    axis.fill_between(x, means - halves, means + halves, color=colour, alpha=0.15, linewidth=0)
            axis.set(title=f"{order}: {words}; {fill}", xscale="log")
            axis.set_xticks(x, [f"{100 * share:.0f}" for share in SHARES])
            axis.minorticks_off()
        row[0].set_ylabel("|change of probability| / probability")
    for axis in axes[1]:
        axis.set(xlabel="pixels removed (%)", ylim=(0, 1.05))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=9)
    figure.savefig(path, dpi=80)
    plt.close(figure)
