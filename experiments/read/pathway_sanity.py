"""Numbers of the figures and tables from results/pathway_sanity.json."""

from __future__ import annotations

from typing import Any

import numpy as np
from common import above_zero
from pathway_sanity import METHODS

OURS = METHODS[:2]
MEASURES = {"spearman": "abs. Spearman", "ssim": "SSIM"}
# First and last step, in the paper.
PUBLISHED = {
    "NeuronMCT": (0.504, 0.116),
    "NeuronIntGrad": (0.514, 0.151),
    "gradient": (0.485, 0.042),
    "guided backpropagation": (0.991, 0.149),
}


def runs(results: dict[str, Any]) -> dict[tuple[int, int], dict]:
    """Return {(draw, layers drawn anew): {method: {measure: value}}}."""
    return {(int(key.split()[1]), int(key.split()[2])): c for key, c in results.items() if key.startswith("vgg11 ")}


def steps_of(results: dict[str, Any]) -> list[int]:
    return sorted({steps for _, steps in runs(results)})


def values(results: dict[str, Any], method: str, measure: str, steps: int) -> list[float]:
    return [cell[method][measure] for (_, step), cell in runs(results).items() if step == steps]


def paired(results: dict[str, Any], a: tuple[str, int], b: tuple[str, int]) -> list[float]:
    """Return |Spearman| of a, a method and a step, minus that of b, in each draw that has both."""
    cells = runs(results)
    draws = [d for d in sorted({d for d, _ in cells}) if (d, a[1]) in cells and (d, b[1]) in cells]
    return [cells[d, a[1]][a[0]]["spearman"] - cells[d, b[1]][b[0]]["spearman"] for d in draws]


def outcome(results: dict[str, Any]) -> tuple[str, bool, bool]:
    """Return whether the claim holds, whether similarity falls, and whether it reaches the gradient's at the end."""
    steps = steps_of(results)
    fell = all(above_zero(paired(results, (m, steps[0]), (m, steps[-1]))) for m in OURS)
    reached = not any(above_zero(paired(results, (m, steps[-1]), ("gradient", steps[-1]))) for m in OURS)
    ended = all(np.mean(values(results, m, "spearman", steps[-1])) < 1.5 * PUBLISHED[m][1] for m in OURS)
    return ("yes" if fell and reached and ended else "partly" if fell else "no"), fell, reached
