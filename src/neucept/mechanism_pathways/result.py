"""The result of `neucept.trace_pathways`: pathways of the mechanisms of one target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neucept import storage
from neucept.mechanism_pathways.overlap import mean_overlap, within_and_others

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
        return f"MechanismPathways({len(self)} of {self.target_name!r}; overlap within {own}; p = {self.p_value:.2g})"

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
