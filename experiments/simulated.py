"""What experiments on simulated responses share: false discoveries and power of a selection."""

from __future__ import annotations

import numpy as np


def proportions(masks: np.ndarray, null: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the false discovery proportion and the power of selections, (L, g) masks of responses and groups.

    The proportion is 0 where nothing is selected, the power NaN where there is nothing to find.
    """
    false = (masks & null).sum(axis=1) / np.maximum(masks.sum(axis=1), 1)
    critical = (~null).sum(axis=1)
    power = np.where(critical > 0, (masks & ~null).sum(axis=1) / np.maximum(critical, 1), np.nan)
    return false, power


def half_width(values: np.ndarray) -> float:
    """Return the half-width of the 95% interval of a mean, by the normal approximation."""
    return float(1.96 * values.std(ddof=1) / np.sqrt(len(values)))
