"""The result of `neucept.trace_pathways`: pathways of the mechanisms of one target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from neucept import storage
from neucept.short_repr import shortened

_KIND = "MechanismPathways"
_ARRAYS = (
    *("rows", "labels", "similarity", "similarity_critical", "p_values", "within_by_site", "others_by_site"),
    *("typical_rows", "typical_labels", "typical_gradients"),
)


@dataclass(frozen=True, repr=False, eq=False)
class MechanismPathways:
    """The pathways of the mechanisms of one target; made by `neucept.trace_pathways`.

    Attributes
    ----------
    target_name : str
        Name of the mechanisms' target.
    n_mechanisms : int
        Number K of mechanisms.
    rows, labels : array
        (m,) rows of the recording, drawn at random, whose pathways were selected; the mechanism of each.
    mean_pathways : mapping of str to array
        By site in forward order, (K, *shape): share of a mechanism's inputs whose pathway contains each neuron.
    critical : mapping of str to array
        By site, (*shape) bool: the critical neurons of the recorded layers. Sites without any are left out.
    similarity : array
        (m, m) Jaccard overlap of the pathways of each pair of inputs.
    similarity_critical : array
        (m, m) the same over critical neurons only; NaN where neither pathway contains one.
    p_values : array
        (K,) p-values of a permutation test: pathways of a mechanism overlap each other more than those of others.
    p_value : float
        The p-value for all mechanisms together.
    within_by_site, others_by_site : array
        (S, K) mean Jaccard overlap of a mechanism's inputs with each other, and with all other inputs, at each of the S
        sites separately; NaN where no two pathways contain a neuron there. See `by_site`.
    typical_rows, typical_labels : array
        (t,) rows of the most typical inputs, by mechanism and with the most typical first; the mechanism of each.
    typical_gradients : array or None
        (t, *input shape) their pathway gradients; None where the inputs are not one floating-point tensor.
    settings : mapping
        The arguments on which the result depends.
    """

    target_name: str
    n_mechanisms: int
    rows: np.ndarray
    labels: np.ndarray
    mean_pathways: Mapping[str, np.ndarray]
    critical: Mapping[str, np.ndarray]
    similarity: np.ndarray
    similarity_critical: np.ndarray
    p_values: np.ndarray
    p_value: float
    within_by_site: np.ndarray
    others_by_site: np.ndarray
    typical_rows: np.ndarray
    typical_labels: np.ndarray
    typical_gradients: np.ndarray | None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.n_mechanisms

    def __repr__(self) -> str:
        overlap = self.overlap.to_numpy()
        own = " ".join(f"{value:.2f}" for value in overlap.diagonal())
        found = f"{len(self)} of {self.target_name!r}; overlap within {own}; p = {self.p_value:.2g}"
        return shortened(f"MechanismPathways({found})")

    @property
    def overlap(self) -> pd.DataFrame:
        """Mean Jaccard overlap of two inputs, one of each mechanism, (K, K); the diagonal is within a mechanism."""
        return pd.DataFrame(mean_overlap(self.similarity, self.labels, len(self)))

    @property
    def overlap_critical(self) -> pd.DataFrame:
        """As `overlap`, over critical neurons only."""
        return pd.DataFrame(mean_overlap(self.similarity_critical, self.labels, len(self)))

    @property
    def critical_pathways(self) -> dict[str, np.ndarray]:
        """Mean pathways restricted to the critical neurons, by site, (K, *shape): zero for all other neurons."""
        return {site: self.mean_pathways[site] * mask for site, mask in self.critical.items()}

    @property
    def gradients(self) -> np.ndarray | None:
        """Mean pathway gradient of each mechanism's most typical inputs, (K, *input shape), or None."""
        gradients = self.typical_gradients
        if gradients is None:
            return None
        return np.stack([gradients[self.typical_labels == k].mean(axis=0) for k in range(len(self))])

    def table(self) -> pd.DataFrame:
        """Tabulate the mechanisms.

        Returns
        -------
        DataFrame
            One row per mechanism: ``mechanism``, ``inputs``, overlap ``within`` and with the ``others``, ``p_value``
            and ``p_corrected`` (Bonferroni) of the test that the former is larger, ``within_critical`` and
            ``others_critical`` (critical neurons only), ``kept_critical`` (mean share of the critical neurons that a
            pathway contains) and ``kept_rest`` (the same share for the other neurons of these sites).
        """
        table = pd.DataFrame({"mechanism": range(len(self)), "inputs": np.bincount(self.labels, minlength=len(self))})
        table["within"], table["others"] = within_and_others(self.similarity, self.labels, len(self))
        table["p_value"] = self.p_values
        table["p_corrected"] = np.minimum(self.p_values * len(self), 1.0)
        critical = within_and_others(self.similarity_critical, self.labels, len(self))
        table["within_critical"], table["others_critical"] = critical
        for name, wanted in (("kept_critical", True), ("kept_rest", False)):
            shares = [self.mean_pathways[site][:, mask == wanted] for site, mask in self.critical.items()]
            some = any(share.size for share in shares)
            table[name] = np.concatenate(shares, axis=1).mean(axis=1) if some else np.nan
        return table

    def by_site(self) -> pd.DataFrame:
        """Tabulate each mechanism and site, in forward order.

        Returns
        -------
        DataFrame
            One row per mechanism and site: ``mechanism``, ``site``, its number of ``neurons``, the mean share of them
            that a pathway of the mechanism has ``kept``, overlap ``within`` the mechanism and with the ``others`` at
            this site, the number of ``critical`` neurons, and the mean share of those that is kept,
            ``kept_critical`` (NaN where there are none).
        """
        rows = []
        for k in range(len(self)):
            for number, (site, shares) in enumerate(self.mean_pathways.items()):
                mask = self.critical.get(site, np.zeros(shares.shape[1:], bool))
                some = float(shares[k][mask].mean()) if mask.any() else np.nan
                overlap = (self.within_by_site[number, k], self.others_by_site[number, k])
                rows.append((k, site, mask.size, float(shares[k].mean()), *overlap, int(mask.sum()), some))
        columns = ["mechanism", "site", "neurons", "kept", "within", "others", "critical", "kept_critical"]
        return pd.DataFrame(rows, columns=columns)

    def by_critical_neuron(self) -> pd.DataFrame:
        """Tabulate each mechanism and critical neuron: the pathways restricted to critical neurons.

        A channel whose positions are all critical is one neuron; ``kept`` is then the mean over its positions.

        Returns
        -------
        DataFrame
            One row per mechanism and neuron: ``mechanism``, ``site``, ``neuron`` (its channel or number), the share of
            the mechanism's pathways that have it ``kept``, and the same share for all ``others`` together.
        """
        counts = np.bincount(self.labels, minlength=len(self))
        rows = []
        for site, mask in self.critical.items():
            groups, numbers = critical_groups(mask)
            shares = self.mean_pathways[site].reshape(len(self), -1)
            kept = np.stack([shares[:, groups == number].mean(axis=1) for number in numbers], axis=1)
            with np.errstate(invalid="ignore"):  # a single mechanism has no others
                others = (counts @ kept - counts[:, None] * kept) / (counts.sum() - counts)[:, None]
            rows += [
                (k, site, int(number), float(kept[k, i]), float(others[k, i]))
                for k in range(len(self))
                for i, number in enumerate(numbers)
            ]
        table = pd.DataFrame(rows, columns=["mechanism", "site", "neuron", "kept", "others"])
        return table.sort_values("mechanism", kind="stable", ignore_index=True)

    def save(self, path: str | Path) -> Path:
        """Write to a folder; `MechanismPathways.open` reads it."""
        names = ("target_name", "n_mechanisms", "p_value")
        facts = {name: getattr(self, name) for name in names} | {"settings": dict(self.settings)}
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {f"mean {site}": share for site, share in self.mean_pathways.items()}
        arrays |= {f"critical {site}": mask for site, mask in self.critical.items()}
        return storage.save(path, _KIND, facts, arrays)

    @classmethod
    def open(cls, path: str | Path) -> MechanismPathways:
        """Open what `save` wrote."""
        with storage.opened(path, _KIND) as (facts, arrays):
            by_site = {
                kind: {name.removeprefix(f"{kind} "): a for name, a in arrays.items() if name.startswith(f"{kind} ")}
                for kind in ("mean", "critical")
            }
            fields: dict[str, Any] = {name: arrays.get(name) for name in _ARRAYS} | facts
            return cls(mean_pathways=by_site["mean"], critical=by_site["critical"], **fields)


def critical_groups(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Group the marked neurons of a site, (*shape) bool, into channels.

    Returns
    -------
    array, array
        For each neuron, (size,), the number of its channel, or its own number where channels are not marked as a
        whole; -1 where it is not marked. And the numbers that occur.

    Examples
    --------
    >>> groups, numbers = critical_groups(np.array([[[True, True]], [[False, False]]]))
    >>> groups.tolist(), numbers.tolist()
    ([0, 0, -1, -1], [0])
    >>> critical_groups(np.array([[True, False], [False, False]]))[0].tolist()
    [0, -1, -1, -1]
    """
    own = np.arange(mask.size)
    for axis in range(mask.ndim):
        rest = tuple(other for other in range(mask.ndim) if other != axis)
        if rest and np.array_equal(mask, np.broadcast_to(mask.any(axis=rest, keepdims=True), mask.shape)):
            own = np.indices(mask.shape)[axis].ravel()
            break
    groups = np.where(mask.ravel(), own, -1)
    return groups, np.unique(groups[groups >= 0])


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
