"""Draw accuracy after retraining."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import Scale, interval
from matplotlib import pyplot as plt
from pathway_common import COLOURS, DASHED
from read.roar import shares_of, values
from roar import DATA, METHODS


def draw(results: dict[str, Any], path: Path, scale: Scale) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.3), layout="constrained")
    for axis, (data, (_, words, *_)) in zip(axes, DATA.items(), strict=True):
        whole = values(results, data, "whole", 0.0)
        shares = shares_of(results, data)
        for number, method in enumerate(METHODS):
            cells = [whole, *(values(results, data, method, share) for share in shares)]
            x = np.array([0, *(100 * share for share in shares)])
            style = {"color": COLOURS[method], "linestyle": "--" if method in DASHED else "-"}
            axis.plot(x, [interval(cell)[0] for cell in cells], label=method, **style)
            for place, cell in zip(x[1:], cells[1:], strict=True):
                axis.plot([place + 0.6 * (number - 2.5)] * len(cell), cell, ".", color=COLOURS[method], markersize=5)
        axis.set(title=words, xlabel="pixels removed (%)", ylabel="test accuracy after retraining (%)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=9)
    figure.savefig(path, dpi=90)
    plt.close(figure)
