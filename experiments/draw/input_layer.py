"""Draw Figure 18: accuracy against noise on the pixels."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from ablation import GAMMAS, SIGNS, setting
from common import Scale
from draw.ablation import panels, plot, save
from input_layer import LEVELS


def draw(results: dict[str, Any], path: Path, scale: Scale) -> None:
    figure, axes = panels(2, 4, 2.8)
    columns = list(product((0, 100), GAMMAS))
    for row, signs in zip(axes, SIGNS, strict=True):
        for axis, (top, gamma) in zip(row, columns, strict=True):
            name = setting((signs, top, gamma))
            cells = [cell["curves"][name] for cell in results.values()]
            plot(axis, LEVELS, {method: np.mean([cell[method] for cell in cells], axis=0) for method in cells[0]})
            axis.set_ylim(0, 1.02)
            axis.set_title(f"{f'top {top}' if top else 'continuous'}, γ = {gamma}", fontsize=10)
        row[0].set_ylabel(f"accuracy, {'positive noise' if signs == 'positive' else 'noise of both signs'}")
    save(figure, path, "norm of the noise, in mean norms of the images")
