"""Overlaps of many pathways with each other, from packed masks; arrays alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

_BYTES = 2**14  # of each packed mask that are looked at together


class Compared(NamedTuple):
    """What `compared` finds.

    Attributes
    ----------
    similarity, similarity_critical : array
        (m, m) Jaccard overlaps of each two inputs, of all neurons and of marked ones.
    shares : array
        (K, N) share of each mechanism's inputs that hold each neuron.
    within_by_site, others_by_site : array
        (S, K) `within_and_others` of each site by itself.
    """

    similarity: np.ndarray
    similarity_critical: np.ndarray
    shares: np.ndarray
    within_by_site: np.ndarray
    others_by_site: np.ndarray


def compared(packed: np.ndarray, labels: np.ndarray, K: int, marked: Sequence[np.ndarray]) -> Compared:
    """Compare the pathways of m inputs, each with each.

    Parameters
    ----------
    packed : array
        (m, bytes) masks over the N neurons of all sites, eight a byte, as `numpy.packbits` writes them.
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
    >>> found = compared(np.packbits(masks, axis=1), np.array([0, 0, 1]), 2, marked)
    >>> found.similarity.round(2).tolist()
    [[1.0, 0.33, 0.0], [0.33, 1.0, 0.5], [0.0, 0.5, 1.0]]
    >>> found.similarity_critical.tolist(), found.shares.tolist()
    ([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, nan]], [[1.0, 0.5, 0.5], [0.0, 0.0, 1.0]])
    >>> found.within_by_site.tolist(), found.others_by_site.tolist()
    ([[0.5, nan], [0.0, nan]], [[0.0, 0.0], [0.5, 0.5]])
    """
    m = len(packed)
    mine = np.stack([labels == k for k in range(K)]).astype(np.float32)
    shares, by_site = [], []
    both, both_marked = np.zeros((m, m)), np.zeros((m, m))
    start = 0
    for critical in marked:
        here = np.zeros((m, m))
        for first, bits in _bits(packed, start, start + len(critical)):
            here += bits @ bits.T
            shares.append(mine @ bits)
            bits = bits[:, critical[first - start :][: bits.shape[1]]]
            both_marked += bits @ bits.T
        both += here
        by_site.append(within_and_others(_jaccard(here), labels, K))
        start += len(critical)
    counts = mine.sum(1, keepdims=True)
    within, others = (np.stack(part) for part in zip(*by_site, strict=True))
    whole = np.concatenate(shares, axis=1) / counts
    return Compared(_jaccard(both), _jaccard(both_marked), whole, within, others)


def _bits(packed: np.ndarray, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
    """Unpack some columns, a part at a time: the first of them, and (m, columns) of 0 and 1."""
    for first in range(start, stop, _BYTES * 8):
        last = min(first + _BYTES * 8, stop)
        bits = np.unpackbits(packed[:, first // 8 : -(-last // 8)], axis=1)
        yield first, bits[:, first % 8 : first % 8 + last - first].astype(np.float32)


def _jaccard(both: np.ndarray) -> np.ndarray:
    sizes = both.diagonal()
    either = sizes[:, None] + sizes - both
    return np.asarray(np.divide(both, either, out=np.full(both.shape, np.nan), where=either > 0))


def mean_overlap(similarity: np.ndarray, labels: np.ndarray, K: int) -> np.ndarray:
    """Mean similarity of two different inputs of each two mechanisms, (K, K); NaN where there are no two."""
    sums, pairs = _summed(similarity, labels, K)
    return np.asarray(np.divide(sums, pairs, out=np.full((K, K), np.nan), where=pairs > 0))


def within_and_others(similarity: np.ndarray, labels: np.ndarray, K: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean similarity of two inputs of each mechanism, (K,), and of one of it and one of any other, (K,)."""
    sums, pairs = _summed(similarity, labels, K)
    return _split(sums, pairs)


def permutation_test(
    similarity: np.ndarray, labels: np.ndarray, K: int, permutations: int, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Test whether pathways overlap more within mechanisms than between them, by permuting the labels.

    Returns
    -------
    array, float
        (K,) p-values of single mechanisms, within less with the others; that of all pairs within less all between.
        One-sided; the labels as they are count as one permutation. 1 where there is nothing to compare.
    """
    seen = _excess(similarity, labels, K)
    reached = np.ones(K + 1)
    for _ in range(permutations):
        # Up to rounding equal: a permutation that only renames the same partition is as extreme as what was seen.
        reached += ~(_excess(similarity, rng.permutation(labels), K) < seen - 1e-12)
    p_values = reached / (permutations + 1)
    return p_values[:K], float(p_values[K])


def _excess(similarity: np.ndarray, labels: np.ndarray, K: int) -> np.ndarray:
    """How much more inputs overlap within than without, (K + 1,): for each mechanism, and for all pairs."""
    sums, pairs = _summed(similarity, labels, K)
    within, others = _split(sums, pairs)
    inside = np.eye(K, dtype=bool)
    with np.errstate(invalid="ignore"):
        every = sums[inside].sum() / pairs[inside].sum() - sums[~inside].sum() / pairs[~inside].sum()
    return np.append(within - others, every)


def _summed(similarity: np.ndarray, labels: np.ndarray, K: int) -> tuple[np.ndarray, np.ndarray]:
    """Sum of the similarities, and number of ordered pairs that have one, for each two mechanisms, (K, K)."""
    mine = (labels[:, None] == np.arange(K)).astype(float)
    known = np.isfinite(similarity)
    np.fill_diagonal(known, False)
    filled = np.where(known, similarity, 0.0)
    return mine.T @ filled @ mine, mine.T @ known.astype(float) @ mine


def _split(sums: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    own_sums, own_pairs = sums.diagonal(), pairs.diagonal()
    with np.errstate(invalid="ignore"):
        return own_sums / own_pairs, (sums.sum(1) - own_sums) / (pairs.sum(1) - own_pairs)
