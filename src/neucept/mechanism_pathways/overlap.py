"""Overlaps of many pathways with each other, computed from packed masks; arrays only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

_BYTES = 2**14  # of each packed mask that are unpacked at a time


class PathwayComparison(NamedTuple):
    """The result of `compare_pathways`.

    Attributes
    ----------
    similarity, similarity_critical : array
        (m, m) Jaccard overlaps of each pair of inputs, over all neurons and over marked ones.
    shares : array
        (K, N) share of each mechanism's inputs whose pathway contains each neuron.
    within_by_site, others_by_site : array
        (S, K) `within_and_others` of each site separately.
    """

    similarity: np.ndarray
    similarity_critical: np.ndarray
    shares: np.ndarray
    within_by_site: np.ndarray
    others_by_site: np.ndarray


def compare_pathways(packed: np.ndarray, labels: np.ndarray, K: int, marked: Sequence[np.ndarray]) -> PathwayComparison:
    """Compare the pathways of m inputs, every pair.

    Parameters
    ----------
    packed : array
        (m, bytes) masks over the N neurons of all sites, eight per byte, as `numpy.packbits` writes them.
    labels : array
        (m,) mechanism of each input.
    K : int
        Number of mechanisms.
    marked : sequence of array
        By site, (neurons,) bool, the critical neurons.

    Examples
    --------
    >>> masks = np.array([[1, 1, 0], [1, 0, 1], [0, 0, 1]], bool)
    >>> marked = [np.array([True, True]), np.array([False])]
    >>> comparison = compare_pathways(np.packbits(masks, axis=1), np.array([0, 0, 1]), 2, marked)
    >>> comparison.similarity.round(2).tolist()
    [[1.0, 0.33, 0.0], [0.33, 1.0, 0.5], [0.0, 0.5, 1.0]]
    >>> comparison.similarity_critical.tolist(), comparison.shares.tolist()
    ([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, nan]], [[1.0, 0.5, 0.5], [0.0, 0.0, 1.0]])
    >>> comparison.within_by_site.tolist(), comparison.others_by_site.tolist()
    ([[0.5, nan], [0.0, nan]], [[0.0, 0.0], [0.5, 0.5]])
    """
    m = len(packed)
    members = np.stack([labels == k for k in range(K)]).astype(np.float32)
    shares, by_site = [], []
    both, both_marked = np.zeros((m, m)), np.zeros((m, m))
    start = 0
    for critical in marked:
        site = np.zeros((m, m))
        for first, bits in _bits(packed, start, start + len(critical)):
            site += bits @ bits.T
            shares.append(members @ bits)
            bits = bits[:, critical[first - start :][: bits.shape[1]]]
            both_marked += bits @ bits.T
        both += site
        by_site.append(within_and_others(_jaccard(site), labels, K))
        start += len(critical)
    counts = members.sum(1, keepdims=True)
    within, others = (np.stack(part) for part in zip(*by_site, strict=True))
    whole = np.concatenate(shares, axis=1) / counts
    return PathwayComparison(_jaccard(both), _jaccard(both_marked), whole, within, others)


def _bits(packed: np.ndarray, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
    """Unpack some columns in parts: the number of the first column, and (m, columns) of 0 and 1."""
    for first in range(start, stop, _BYTES * 8):
        last = min(first + _BYTES * 8, stop)
        bits = np.unpackbits(packed[:, first // 8 : -(-last // 8)], axis=1)
        yield first, bits[:, first % 8 : first % 8 + last - first].astype(np.float32)


def _jaccard(both: np.ndarray) -> np.ndarray:
    sizes = both.diagonal()
    either = sizes[:, None] + sizes - both
    return np.asarray(np.divide(both, either, out=np.full(both.shape, np.nan), where=either > 0))


def mean_overlap(similarity: np.ndarray, labels: np.ndarray, K: int) -> np.ndarray:
    """Return the mean similarity of two different inputs for each pair of mechanisms, (K, K); NaN without any pair."""
    sums, pairs = _sums(similarity, labels, K)
    return np.asarray(np.divide(sums, pairs, out=np.full((K, K), np.nan), where=pairs > 0))


def within_and_others(similarity: np.ndarray, labels: np.ndarray, K: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean similarity of inputs of a mechanism with each other, (K,), and with all other inputs, (K,)."""
    sums, pairs = _sums(similarity, labels, K)
    return _split(sums, pairs)


def permutation_test(
    similarity: np.ndarray, labels: np.ndarray, K: int, permutations: int, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Test whether pathways overlap more within mechanisms than between them, by permuting the labels.

    Returns
    -------
    array, float
        (K,) p-values of single mechanisms, by the similarity within minus that with others; and the p-value of all
        pairs within mechanisms minus all pairs between them. One-sided; the observed labels count as one permutation.
        1 where there is nothing to compare.
    """
    observed = _excess(similarity, labels, K)
    as_extreme = np.ones(K + 1)
    for _ in range(permutations):
        # Equal up to rounding: a permutation that only renames the partition is as extreme as the observed one.
        as_extreme += ~(_excess(similarity, rng.permutation(labels), K) < observed - 1e-12)
    p_values = as_extreme / (permutations + 1)
    return p_values[:K], float(p_values[K])


def _excess(similarity: np.ndarray, labels: np.ndarray, K: int) -> np.ndarray:
    """Return the overlap within minus that with others, (K + 1,): for each mechanism, and for all pairs."""
    sums, pairs = _sums(similarity, labels, K)
    within, others = _split(sums, pairs)
    inside = np.eye(K, dtype=bool)
    with np.errstate(invalid="ignore"):
        every = sums[inside].sum() / pairs[inside].sum() - sums[~inside].sum() / pairs[~inside].sum()
    return np.append(within - others, every)


def _sums(similarity: np.ndarray, labels: np.ndarray, K: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of similarities and the number of ordered pairs with one, for each two mechanisms, (K, K)."""
    members = (labels[:, None] == np.arange(K)).astype(float)
    known = np.isfinite(similarity)
    np.fill_diagonal(known, False)
    filled = np.where(known, similarity, 0.0)
    return members.T @ filled @ members, members.T @ known.astype(float) @ members


def _split(sums: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    own_sums, own_pairs = sums.diagonal(), pairs.diagonal()
    with np.errstate(invalid="ignore"):
        return own_sums / own_pairs, (sums.sum(1) - own_sums) / (pairs.sum(1) - own_pairs)
