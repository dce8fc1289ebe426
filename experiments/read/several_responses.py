"""Numbers of the figures and tables from results/several_responses.json."""

from __future__ import annotations

from typing import Any

import numpy as np
from several_responses import QS


def rates(results: dict[str, Any], way: str, q: float, which: int) -> list[float]:
    """FDR (0) or power (1), one value per network, the mean over its layers."""
    values: dict[str, list[float]] = {}
    for key, cell in results.items():
        values.setdefault(" ".join(key.split()[:2]), []).append(cell[f"{way} {q}"][which])
    return [float(np.mean(group)) for group in values.values()]


def above(results: dict[str, Any], way: str) -> int:
    """How many cells (layer, q) have an FDR above q."""
    return sum(cell[f"{way} {q}"][0] > q for cell in results.values() for q in QS)
