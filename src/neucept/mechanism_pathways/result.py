"""The noun: pathways of the mechanisms of one target."""

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
        Of the mechanisms.
    n_mechanisms : int
        K.
    rows, labels : array
        (m,) rows of the recording whose pathways were selected, drawn at random; the mechanism of each.
    mean_pathways : mapping of str to array
        By site in forward order, (K, *shape): share of the mechanism's inputs whose pathway contains each neuron.
    critical : mapping of str to array
        By site, (*shape) bool: the critical neurons of the recorded layers. Sites without any are left out.
    similarity : array
        (m, m) Jaccard overlap of the pathways of each two inputs.
    similarity_critical : array
        (m, m) the same, looking at critical neurons alone; NaN where neither pathway holds one.
    p_values : array
        (K,) whether the pathways of a mechanism overlap each other more than those of others: permutation test.
    p_value : float
        The same for all mechanisms together.
    within_by_site, others_by_site : array
        (S, K) mean Jaccard overlap of two inputs of a mechanism, and of one of it and one of any other, of each of the
        S sites by itself; NaN where no two pathways hold a neuron there. See `by_site`.
    typical_rows, typical_labels : array
        (t,) rows of the recording of the most typical inputs of each mechanism, mechanism by mechanism, the most
        typical first; the mechanism of each.
    typical_gradients : array or None
        (t, *input shape) their pathway gradients; None where the inputs are not one floating-point tensor.
    settings : mapping
        What the result depends on.
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
        """As `overlap`, looking at critical neurons alone."""
        return pd.DataFrame(mean_overlap(self.similarity_critical, self.labels, len(self)))

    @property
    def critical_pathways(self) -> dict[str, np.ndarray]:
        """Mean pathways restricted to the critical neurons, by site, (K, *shape): zero for all other neurons."""
        return {site: self.mean_pathways[site] * mask for site, mask in self.critical.items()}

    @property
    def gradients(self) -> np.ndarray | None:
        """Mean pathway gradient of each mechanism's most typical inputs, (K, *input shape); None as above."""
        found = self.typical_gradients
        if found is None:
            return None
        return np.stack([found[self.typical_labels == k].mean(axis=0) for k in range(len(self))])

    def table(self) -> pd.DataFrame:
        """One row a mechanism.

        Returns
        -------
        DataFrame
            ``mechanism``, ``inputs``, overlap ``within`` and with the ``others``, ``p_value`` and ``p_corrected``
            (Bonferroni) of the first being larger, ``within_critical`` and ``others_critical`` (critical neurons
            alone), ``kept_critical`` (share of the critical neurons that a pathway holds on average) and ``kept_rest``
            (share of the other neurons of the same sites).
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
        """One row a mechanism and site, in forward order.

        Returns
        -------
        DataFrame
            ``mechanism``, ``site``, how many ``neurons`` it has, the share of them that a pathway of the mechanism has
            ``kept`` on average, overlap ``within`` and with the ``others`` at this site alone, how many neurons are
            ``critical``, and ``kept_critical``, as `kept`, of those alone (NaN where there are none).
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
        """One row a mechanism and critical neuron: the pathways restricted to critical neurons.

        A channel, all places of which are critical, is one neuron; ``kept`` is then the mean over its places.

        Returns
        -------
        DataFrame
            ``mechanism``, ``site``, ``neuron`` (its channel or number), the share of the mechanism's pathways that
            have it ``kept``, and the same share of the inputs of all ``others`` together.
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
            found = {
                kind: {name.removeprefix(f"{kind} "): a for name, a in arrays.items() if name.startswith(f"{kind} ")}
                for kind in ("mean", "critical")
            }
            fields: dict[str, Any] = {name: arrays.get(name) for name in _ARRAYS} | facts
            return cls(mean_pathways=found["mean"], critical=found["critical"], **fields)


def critical_groups(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find which marked neurons of a site, (*shape) bool, are one channel.

    Returns
    -------
    array, array
        For each neuron, (size,), the number of its channel, or its own where channels are not marked as a whole; -1
        where it is not marked. The numbers that occur.

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
