"""What simulated responses say about a layer: which level of the local false discovery rate reaches a precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from neucept import storage
from neucept.calibration.evidence import PASSES, NullModel, features, group_importance, importance, proportions
from neucept.calibration.grouping import GOOD, resolution
from neucept.calibration.simulation import FAMILIES, NONE, Family, simulate
from neucept.knockoffs import knockoff_statistics, largest_set, select
from neucept.knockoffs.preprocessing import standardised
from neucept.progress import progress as show_progress

FOLDS = 8  # of the simulated responses, to evaluate each by a model that was not trained on it
DRAWS = 10  # sets of knockoffs for the evidence on each response
MOST_ROWS = 6000  # more rows make calibration slower, not better
LEVELS = np.round(np.concatenate([np.arange(0.005, 0.1, 0.005), np.arange(0.1, 0.96, 0.01)]), 3)


@dataclass(frozen=True, eq=False)
class Calibration:
    """What simulated responses say about the neurons of one layer.

    Attributes
    ----------
    layer : str
        Name of the layer.
    groups : array
        (p,) group of each of the p neurons (representatives of collinear ones): the finest groups that can be told
        apart in this layer.
    cut : float
        Where the average-linkage tree on 1 - |correlation| was cut: 0 for single neurons, NaN where groups were given.
    rows : array
        The rows on which responses were simulated.
    evidence : array
        (L, g, f) evidence on every group for every simulated response.
    null : array
        (L, g) whether the group has no part in the response.
    family : tuple of str
        (L,) family of each response.
    noise : array
        (L,) variance of the noise over that of the signal.
    gaussian : array
        (L, g) mean knockoff statistics of the simulated responses.
    power : float
        The power that the ranking of these groups could reach at a false discovery proportion of 0.1 when they were
        chosen; NaN where groups were given.
    """

    layer: str
    groups: np.ndarray
    cut: float
    rows: np.ndarray
    evidence: np.ndarray
    null: np.ndarray
    family: tuple[str, ...]
    noise: np.ndarray
    gaussian: np.ndarray
    power: float = float("nan")
    arrays: ClassVar[tuple[str, ...]] = ("groups", "rows", "evidence", "null", "noise", "gaussian")

    def __repr__(self) -> str:
        return (
            f"Calibration({self.layer}: {len(self.sizes)} groups of {len(self.groups)} neurons,"
            f" {len(self.family)} simulated responses)"
        )

    @cached_property
    def sizes(self) -> np.ndarray:
        """Neurons of each group, (g,)."""
        return np.bincount(self.groups)

    @cached_property
    def _levels(self) -> dict[float, float]:
        return {}

    @cached_property
    def model(self) -> NullModel:
        """The model of the local false discovery rate, trained on all simulated responses."""
        return NullModel().fit(self.evidence, self.null)

    @cached_property
    def held_out(self) -> np.ndarray:
        """Local false discovery rates for the simulated responses, (L, g), by models not trained on the response."""
        return self._predict_held_out(np.arange(len(self.family)) % FOLDS)

    @cached_property
    def held_out_families(self) -> np.ndarray:
        """The same, (L, g), by models trained on no response of the family; pure noise is in all trainings."""
        kinds = np.array(self.family)
        by_family = self._predict_held_out(np.unique(kinds, return_inverse=True)[1])
        return np.where((kinds == NONE)[:, None], self.held_out, by_family)

    def _predict_held_out(self, parts: np.ndarray) -> np.ndarray:
        result = np.ones(self.null.shape)
        for part in np.unique(parts):
            out = parts == part
            result[out] = NullModel().fit(self.evidence[~out], self.null[~out]).predict(self.evidence[out])
        return result

    def level(self, q: float) -> float:
        """Nominal level at which the realised false discovery rate is at most q, 0 if there is none.

        The largest level at which the false discovery rate on held-out responses, averaged over families, plus one
        standard deviation between families, is at most q: the guarantee should hold for a family that is worse than
        most.
        """
        if q in self._levels:
            return self._levels[q]
        best = 0.0
        for level in LEVELS[: np.searchsorted(LEVELS, q + 1e-9)]:
            false, _ = proportions(np.array([largest_set(row, level) for row in self.held_out]), self.null)
            rates = pd.Series(false).groupby(np.array(self.family)).mean()
            if rates.mean() + rates.std(ddof=0) > q:
                break
            best = float(level)
        self._levels[q] = best
        return best

    def table(self, precision: float = 0.9) -> pd.DataFrame:
        """Realised precision and power for each family of simulated responses.

        Parameters
        ----------
        precision : float
            The precision asked for.

        Returns
        -------
        DataFrame
            ``family``, ``responses``, ``precision`` (1 minus the mean false discovery proportion on held-out responses)
            with its 95% interval ``low`` and ``high``, ``power``; ``unseen``, the precision by a model that was trained
            on none of the family; ``uncalibrated``, that of eq. (9) on the mean statistic of Gaussian knockoffs. The
            last row is the mean over all responses.
        """
        level = self.level(1 - precision)
        masks = {
            "precision": np.array([largest_set(row, level) for row in self.held_out]),
            "unseen": np.array([largest_set(row, level) for row in self.held_out_families]),
            "uncalibrated": np.array([select(W, 1 - precision) for W in self.gaussian]),
        }
        frame = pd.DataFrame({name: proportions(mask, self.null)[0] for name, mask in masks.items()})
        frame["power"] = proportions(masks["precision"], self.null)[1]
        frame["family"] = self.family
        rows = []
        for name, part in [*frame.groupby("family", sort=False), ("all", frame)]:
            realised = 1 - part["precision"].mean()
            half = 1.96 * part["precision"].std(ddof=1) / np.sqrt(len(part))
            rows.append(
                {
                    "family": name,
                    "responses": len(part),
                    "precision": realised,
                    "low": max(0.0, realised - half),
                    "high": min(1.0, realised + half),
                    "power": part["power"].mean(),
                    "unseen": 1 - part["unseen"].mean(),
                    "uncalibrated": 1 - part["uncalibrated"].mean(),
                }
            )
        return pd.DataFrame(rows)

    def evidence_for(self, precision: float) -> str:
        """Say what the guarantee rests on."""
        table = self.table(precision).set_index("family")
        mean = table.loc["all"]
        kinds = ", ".join(name for name in table.index if name not in ("all", NONE))
        return (
            f"{self._told_apart()} {len(self.family)} responses with known critical neurons were simulated on the"
            f" layer's own activations ({kinds}; and pure noise). On held-out responses, the method reached a precision"
            f" of {mean['precision']:.3f} ({mean['low']:.3f} to {mean['high']:.3f}) where {precision:g} was asked for,"
            f" with a power of {mean['power']:.2f}; on families that it was not trained on, {mean['unseen']:.3f}; eq."
            f" (9) alone reaches {mean['uncalibrated']:.2f}. This is evidence for responses like these, not a proof."
        )

    @property
    def single(self) -> bool:
        """Whether every group is one neuron."""
        return len(self.sizes) == len(self.groups)

    def _told_apart(self) -> str:
        neurons, groups = len(self.groups), len(self.sizes)
        if np.isnan(self.cut):
            over = "Single neurons" if self.single else f"{groups} groups of {neurons} neurons"
            return f"The layer's groups were given ({over.lower()}); precision is over them."
        text = (
            "The layer's single neurons can be told apart."
            if self.single
            else f"The layer's {neurons} neurons can be told apart in {groups} groups only; precision is over groups."
        )
        if self.power < GOOD:
            text = (
                f"Little of this layer can be told apart, in single neurons or in groups: the ranking of its"
                f" {groups} {'neurons' if self.single else 'groups of neurons'} reaches a power of {self.power:.2f} at"
                " best."
            )
        return text

    def save(self, path: str | Path) -> Path:
        """Write to a folder; `Calibration.open` reads it."""
        facts = {"layer": self.layer, "cut": self.cut, "family": list(self.family), "power": self.power}
        return storage.save(path, "Calibration", facts, {name: getattr(self, name) for name in self.arrays})

    @classmethod
    def open(cls, path: str | Path) -> Calibration:
        """Open what `save` wrote."""
        with storage.opened(path, "Calibration") as (facts, arrays):
            power = facts.get("power", float("nan"))  # which the oldest do not hold
            return cls(layer=facts["layer"], cut=facts["cut"], family=tuple(facts["family"]), power=power, **arrays)


def gather(
    Z: np.ndarray, Y: np.ndarray, groups: np.ndarray, seed: int, advance: Callable[[int], None] = lambda steps: None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Gather the evidence on every group for some responses.

    Parameters
    ----------
    Z : array
        (n, p) standardised neurons.
    Y : array
        (n, L) responses.
    groups : array
        (p,) group of each.
    seed : int
        Seed for networks and knockoffs.
    advance : callable
        Called with 1 after every pass of the networks over the rows.

    Returns
    -------
    evidence : array
        (L, g, f).
    importance : array
        (L, p) of single neurons.
    W : array
        (draws, L, g) knockoff statistics.
    residual : array
        (L,).
    """
    Y = standardised(Y)
    single, residual = importance(Z, Y, seed, advance)
    alone = int(groups.max()) + 1 == len(groups)
    W = knockoff_statistics(Z, Y, draws=DRAWS, rng=np.random.default_rng([seed, 1]), groups=None if alone else groups)
    evidence = features(group_importance(single, groups), residual, W.mean(axis=0), np.bincount(groups))
    return evidence, single, W, residual


def calibrate_neurons(
    Z: np.ndarray,
    layer: str = "",
    groups: np.ndarray | None = None,
    families: Mapping[str, Family] = FAMILIES,
    progress: bool = True,
) -> Calibration:
    """Calibrate standardised neurons, (n, p); see `calibrate`."""
    rng = np.random.default_rng(20221)  # of the simulated responses, whatever target and seed
    rows = np.sort(rng.choice(len(Z), MOST_ROWS, replace=False)) if len(Z) > MOST_ROWS else np.arange(len(Z))
    Z = standardised(Z[rows])
    cut = power = float("nan")
    if groups is None:
        cut, groups, power = resolution(Z, rng)
    simulated = simulate(Z, groups, rng, families)
    with show_progress(f"calibrating {layer}".strip(), PASSES, progress) as advance:
        evidence, _, W, _ = gather(Z, simulated.Y, groups, 0, advance)
    known = simulated.null, simulated.family, simulated.noise
    return Calibration(layer, groups, cut, rows, evidence, *known, W.mean(axis=0), power)
