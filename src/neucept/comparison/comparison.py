"""The noun: the mechanisms of two networks on the same inputs, matched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.stats import hypergeom
from sklearn.metrics.cluster import expected_mutual_information

from neucept import storage
from neucept.short_repr import shortened

NONE, ELSEWHERE = -1, -2  # labels of inputs that a clusterer assigned to none, and that a network does not predict so
LEVEL = 0.05


@dataclass(frozen=True, repr=False, eq=False)
class Comparison:
    """Mechanisms of two networks on the same inputs; made by `neucept.compare`.

    Attributes
    ----------
    names : (str, str)
        Names of the networks.
    target : int or None
        The class that the mechanisms of both explain; None for an array response.
    target_name : str
        Its name.
    counts : (int, int)
        Number of mechanisms of each network.
    rows : array
        (u,) inputs that belong to a mechanism of at least one network.
    labels : array
        (u, 2) mechanism of each input in either network; -1 where a clusterer left it unassigned, -2 where the network
        does not predict the class.
    typicality : array
        (u, 2) typicality of each input in its mechanism; 0 where it has none.
    repeated : (array, array)
        For each mechanism of either network, its Jaccard index with itself when it is found again on other halves of
        the inputs: the limit that chance sets even within one network.
    right : array or None
        (u,) whether each input is labelled as the target; None without labels.
    confidence : array or None
        (u, 2) probability that either network itself gives the target, not calibrated; None without recordings, and
        for outputs that are no probabilities.
    outputs : mapping of str to float
        ``inputs``, ``agreement`` (share of equal predictions), ``accuracy_a`` and ``accuracy_b``, where recordings
        were given.
    settings : mapping
        Number of draws and seed of the bootstrap.
    """

    names: tuple[str, str]
    target: int | str | None
    target_name: str
    counts: tuple[int, int]
    rows: np.ndarray
    labels: np.ndarray
    typicality: np.ndarray
    repeated: tuple[np.ndarray, np.ndarray]
    right: np.ndarray | None = None
    confidence: np.ndarray | None = None
    outputs: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        value, low, high = self.agreement
        sides = " and ".join(f"{n} of {name!r}" for n, name in zip(self.counts, self.names, strict=True))
        return shortened(
            f"Comparison({sides} for {self.target_name!r}: {len(self.matches)} matched,"
            f" AMI {value:.2f} ({low:.2f} to {high:.2f}) on {self.common.sum()} inputs)"
        )

    @property
    def common(self) -> np.ndarray:
        """Mask of the inputs that have a mechanism in both networks, (u,)."""
        return np.asarray((self.labels >= 0).all(axis=1))

    @property
    def only(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows that only the first, and only the second network predicts as the class."""
        missing = self.labels == ELSEWHERE
        return self.rows[missing[:, 1]], self.rows[missing[:, 0]]

    @cached_property
    def contingency(self) -> np.ndarray:
        """Inputs of each pair of mechanisms, (K_a, K_b)."""
        return contingency(self.labels[:, 0], self.labels[:, 1], self.counts)

    @cached_property
    def jaccard(self) -> np.ndarray:
        """Jaccard index of each pair of mechanisms on the inputs that both networks predict so, (K_a, K_b)."""
        return jaccard(self.contingency)

    @cached_property
    def p_values(self) -> np.ndarray:
        """Corrected p-value of each overlap, (K_a, K_b), see `neucept.comparison.comparison.beyond_chance`."""
        return beyond_chance(self.contingency)

    @cached_property
    def related(self) -> np.ndarray:
        """Whether each pair of mechanisms overlaps more than chance, at 5% corrected, (K_a, K_b).

        Where a network has a single mechanism, there is nothing to test: every mechanism of the other network that
        shares inputs with it counts as overlapping.
        """
        return np.asarray(self.contingency > 0 if min(self.counts) == 1 else self.p_values < LEVEL)

    @cached_property
    def _resampled(self) -> np.ndarray:
        return resampled(self.contingency, self.settings["draws"], self.settings["seed"])

    @cached_property
    def agreement(self) -> tuple[float, float, float]:
        """Adjusted mutual information of the two partitions, with its 95% bootstrap interval over inputs."""
        return adjusted_information(self.contingency, self._resampled)

    @cached_property
    def matches(self) -> list[tuple[int, int]]:
        """Matched pairs: the one-to-one assignment with the largest sum of Jaccard indices.

        Pairs that do not overlap more than chance are left out.
        """
        pairs = zip(*linear_sum_assignment(-self.jaccard), strict=True)
        return [(int(i), int(j)) for i, j in pairs if self.related[i, j]]

    @property
    def alone(self) -> tuple[list[int], list[int]]:
        """Mechanisms of the first and of the second network that overlap none of the other network more than chance."""
        none = ~self.related
        return np.flatnonzero(none.all(axis=1)).tolist(), np.flatnonzero(none.all(axis=0)).tolist()

    @property
    def churn(self) -> float:
        """Share of the common inputs that are outside matched pairs of mechanisms.

        Matching is one to one: of a mechanism that the other network splits, all but the matched part counts as churn.
        With 3 mechanisms against 5, at least two have no match, however well the partitions agree. `table` tells
        whether inputs change their group or a mechanism is only split: a part has the verdict ``overlaps``, and nearly
        all of it is ``inside`` its nearest.
        """
        return float(1 - sum(self.contingency[pair] for pair in self.matches) / self.contingency.sum())

    def table(self) -> pd.DataFrame:
        """One row for each mechanism of either network.

        Returns
        -------
        DataFrame
            ``network``, ``mechanism``, ``inputs`` (all of it), ``common`` (those that the other network predicts as the
            class too); ``match``, the other network's mechanism that it is matched with (-1 if none), with ``jaccard``,
            ``low`` and ``high`` (95%, bootstrap over inputs; both clusterings held fixed), and ``p_corrected`` of that
            overlap; ``repeated``, the index that the mechanism has with itself when it is found again;
            ``nearest``, the mechanism of the other network with the largest Jaccard index (of those beyond chance,
            where there are any), ``inside``, the share of its common inputs that lie there; ``verdict``: ``matched``,
            ``overlaps`` (beyond chance, but others match better, as where one mechanism is divided into several) or
            ``alone``. Overlaps are tested exactly, with
            Holm's correction over all pairs: being beyond chance says that two mechanisms are related, the Jaccard
            index says how alike they are. Without a match ``jaccard`` to ``p_corrected`` are those of ``nearest``.
        """
        low, high = np.quantile(jaccard(self._resampled), [0.025, 0.975], axis=0)
        rows = []
        for side, K in enumerate(self.counts):
            partner = {pair[side]: pair[1 - side] for pair in self.matches}
            for k in range(K):
                indices, related, overlap = (
                    (part[k] if side == 0 else part[:, k]) for part in (self.jaccard, self.related, self.contingency)
                )
                nearest = int(np.where(related | ~related.any(), indices, -1.0).argmax())
                shown = partner.get(k, nearest)
                cell = (k, shown) if side == 0 else (shown, k)
                rows.append(
                    {
                        "network": self.names[side],
                        "mechanism": k,
                        "inputs": int((self.labels[:, side] == k).sum()),
                        "common": int(overlap.sum()),
                        "match": partner.get(k, -1),
                        "jaccard": float(self.jaccard[cell]),
                        "low": float(low[cell]),
                        "high": float(high[cell]),
                        "p_corrected": float(self.p_values[cell]),
                        "repeated": float(self.repeated[side][k]),
                        "nearest": nearest,
                        "inside": float(overlap[nearest] / max(overlap.sum(), 1)),
                        "verdict": "matched" if k in partner else "overlaps" if related.any() else "alone",
                    }
                )
        return pd.DataFrame(rows)

    def movements(self) -> pd.DataFrame:
        """Count the inputs of each mechanism of the first network (rows) in each of the second (columns).

        The last row and column hold the inputs that only the other network predicts as the class. Unassigned inputs,
        where a clusterer leaves some, come before them.
        """
        sides = []
        for side, (name, K) in enumerate(zip(self.names, self.counts, strict=True)):
            loose = [NONE] if (self.labels[:, side] == NONE).any() else []
            words = [f"{name} {k}" for k in range(K)] + [f"{name}: no mechanism"] * len(loose)
            sides.append(([*range(K), *loose, ELSEWHERE], [*words, f"not {name}"]))
        (of_a, words_a), (of_b, words_b) = sides
        counts = [[int(((self.labels[:, 0] == i) & (self.labels[:, 1] == j)).sum()) for j in of_b] for i in of_a]
        return pd.DataFrame(counts, index=words_a, columns=words_b)

    def save(self, path: str | Path) -> Path:
        """Write to a folder; `Comparison.open` reads it."""
        facts = {name: getattr(self, name) for name in ("names", "target", "target_name", "counts")}
        facts |= {name: dict(getattr(self, name)) for name in ("outputs", "settings")}
        arrays = {name: getattr(self, name) for name in ("rows", "labels", "typicality", "right", "confidence")}
        arrays |= {"repeated a": self.repeated[0], "repeated b": self.repeated[1]}
        return storage.save(path, "Comparison", facts, arrays)

    @classmethod
    def open(cls, path: str | Path) -> Comparison:
        """Open what `save` wrote."""
        with storage.opened(path, "Comparison") as (facts, arrays):
            fields: dict[str, Any] = facts | {name: tuple(facts[name]) for name in ("names", "counts")} | arrays
            repeated = fields.pop("repeated a"), fields.pop("repeated b")
            return cls(repeated=repeated, **fields)


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
