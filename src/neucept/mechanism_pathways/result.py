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
_ARRAYS = ("rows", "labels", "similarity", "similarity_critical", "p_values", "gradients")


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
    gradients : array or None
        (K, *input shape) mean pathway gradient of each mechanism's most typical inputs; None where the inputs are not
        one floating-point tensor.
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
    gradients: np.ndarray | None
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
        facts, arrays = storage.open_folder(path, _KIND)
        found = {
            kind: {name.removeprefix(f"{kind} "): a for name, a in arrays.items() if name.startswith(f"{kind} ")}
            for kind in ("mean", "critical")
        }
        fields: dict[str, Any] = {name: arrays.get(name) for name in _ARRAYS} | facts
        return cls(mean_pathways=found["mean"], critical=found["critical"], **fields)
