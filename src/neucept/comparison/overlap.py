"""How far two partitions of the same inputs agree, from their contingency table alone."""

from __future__ import annotations

import numpy as np
from scipy.stats import hypergeom
from sklearn.metrics.cluster import expected_mutual_information


def contingency(a: np.ndarray, b: np.ndarray, counts: tuple[int, int]) -> np.ndarray:
    """Count the inputs of each pair of clusters, (K_a, K_b); rows with a negative label are left out.

    >>> contingency(np.array([0, 0, 1, -1]), np.array([1, 1, 0, 0]), (2, 2)).tolist()
    [[0, 2], [1, 0]]
    """
    both = (a >= 0) & (b >= 0)
    table = np.zeros(counts, dtype=np.int64)
    np.add.at(table, (a[both], b[both]), 1)
    return table


def jaccard(table: np.ndarray) -> np.ndarray:
    """Share of the inputs of either cluster that are in both, (..., K_a, K_b); 0 where neither has any.

    >>> jaccard(np.array([[2, 1], [0, 3]])).round(2).tolist()
    [[0.67, 0.17], [0.0, 0.75]]
    """
    either = table.sum(axis=-1, keepdims=True) + table.sum(axis=-2, keepdims=True) - table
    return np.asarray(table / np.maximum(either, 1))


def beyond_chance(table: np.ndarray) -> np.ndarray:
    """Corrected p-value of each overlap: probability of at least that overlap between unrelated partitions, (K_a, K_b).

    Over all permutations of one partition an overlap has a hypergeometric distribution, so the permutation test is
    computed exactly. With Holm's correction over all pairs, the probability that unrelated partitions show any overlap
    significant at 5% is at most 5%.

    >>> beyond_chance(np.array([[50, 0], [0, 50]]))[0].round(3).tolist()
    [0.0, 1.0]
    """
    rows, columns, total = table.sum(axis=1), table.sum(axis=0), int(table.sum())
    p = hypergeom.sf(table - 1, total, rows[:, None], columns[None, :]).ravel()
    order = np.argsort(p, kind="stable")
    corrected = np.maximum.accumulate(np.minimum(p[order] * (len(p) - np.arange(len(p))), 1.0))
    result = np.empty(len(p))
    result[order] = corrected
    return result.reshape(table.shape)


def resampled(table: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Contingency tables of bootstrap samples of the inputs, (draws, K_a, K_b)."""
    total = int(table.sum())
    drawn = np.random.default_rng(seed).multinomial(total, table.ravel() / total, size=draws)
    return np.asarray(drawn.reshape(draws, *table.shape))


def adjusted_information(table: np.ndarray, tables: np.ndarray) -> tuple[float, float, float]:
    """Mutual information of two partitions, adjusted for chance, with its 95% interval.

    1 for equal partitions, 0 in expectation for unrelated ones. The interval is 1.96 standard deviations over
    resampled tables, around the value: inputs drawn twice look like agreement, which would shift percentiles upward.

    Parameters
    ----------
    table : array
        (K_a, K_b).
    tables : array
        (draws, K_a, K_b) of `resampled`.

    Examples
    --------
    >>> equal = np.diag([3, 4, 5])
    >>> adjusted_information(equal, resampled(equal, 20, 0))
    (1.0, 1.0, 1.0)
    """
    filled = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    if filled.shape == (1, 1):
        return 1.0, 1.0, 1.0
    expected = expected_mutual_information(filled, int(table.sum()))
    value = float(_adjusted(table, expected))
    half = 1.96 * float(_adjusted(tables, expected).std())
    return value, value - half, min(1.0, value + half)


def _adjusted(table: np.ndarray, expected: float) -> np.ndarray:
    joint = table / table.sum(axis=(-2, -1), keepdims=True)
    rows, columns = (_entropy(joint.sum(axis=axis)) for axis in (-1, -2))
    information = rows + columns - _entropy(joint.reshape(*joint.shape[:-2], -1))
    most = (rows + columns) / 2
    # With one cluster on both sides, which a resampled table may have, the partitions cannot disagree.
    certain = most - expected <= 1e-12
    return np.asarray(np.where(certain, 1.0, (information - expected) / np.where(certain, 1.0, most - expected)))


def _entropy(shares: np.ndarray) -> np.ndarray:
    """Entropy over the last axis, in nats."""
    return np.asarray(-(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=-1))
