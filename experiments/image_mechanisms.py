"""What the experiments on real images share: mechanisms judged by labels, by chance and by the margin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kruskal

import neucept

RANDOM, PERMUTATIONS = 20, 2000


def rounded(value: float) -> float:
    """Keep four digits, of small numbers too."""
    return float(f"{float(value):.4g}")


def apart(values: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Share of the variance of ranks that lies between groups, and Kruskal and Wallis's p-value; NaN is left out."""
    known = (groups >= 0) & np.isfinite(values)
    parts = [values[known & (groups == group)] for group in np.unique(groups[known])]
    n = sum(map(len, parts))
    if len(parts) < 2 or np.ptp(values[known]) == 0:
        return 0.0, 1.0
    statistic, p = kruskal(*parts)
    return float(max(0.0, (statistic - len(parts) + 1) / (n - len(parts)))), float(p)


def beyond_confidence(right: np.ndarray, groups: np.ndarray, margin: np.ndarray) -> float:
    """Return the p-value that mechanisms say nothing of being right beyond the margin (permuted within its tenths)."""
    tenth = np.argsort(np.argsort(margin, kind="stable")) * 10 // len(margin)
    rng = np.random.default_rng(0)
    observed, larger = apart(right, groups)[0], 0
    blocks = [np.flatnonzero(tenth == t) for t in range(10)]
    shuffled = groups.copy()
    for _ in range(PERMUTATIONS):
        for block in blocks:
            shuffled[block] = rng.permutation(groups[block])
        larger += apart(right, shuffled)[0] >= observed - 1e-12
    return (1 + larger) / (1 + PERMUTATIONS)


def reliability_of(recording: neucept.Recording, mechanisms: neucept.Mechanisms) -> dict[str, Any]:
    """Precision of each mechanism and of the whole class, and whether they say more than the margin."""
    table = neucept.reliability(recording, mechanisms)
    rows = mechanisms.samples
    right = (recording.labels[rows] == mechanisms.target).astype(float)
    columns = ["share", "judged", "precision", "low", "high", "p_corrected"]
    margin = recording.response(mechanisms.target, "margin")[rows]
    return {
        "inputs": len(rows),
        "precision": rounded(right.mean()),
        "mechanisms": [[rounded(v) for v in row] for row in table[columns].to_numpy()],
        "verdicts": table["verdict"].tolist(),
        "beyond margin": rounded(beyond_confidence(right, mechanisms.cross_fitted, margin)),
    }


def by_random(
    recording: neucept.Recording, mechanisms: neucept.Mechanisms, values: Mapping[str, np.ndarray]
) -> dict[str, list[float]]:
    """Measure the same of mechanisms by as many random neurons of each layer."""
    rng = np.random.default_rng(1)
    shares: dict[str, list[float]] = {name: [] for name in values}
    counts = pd.Series([feature.layer for feature in mechanisms.features]).value_counts(sort=False)
    for _ in range(RANDOM):
        neurons = {
            layer: rng.choice(recording.activations(layer).shape[1], count, replace=False)
            for layer, count in counts.items()
        }
        other = neucept.learn(
            recording, neurons, len(mechanisms), compactness=20, samples=mechanisms.samples, target=mechanisms.target
        )
        for name, value in values.items():
            shares[name].append(rounded(apart(value, other.cross_fitted)[0]))
    return shares
