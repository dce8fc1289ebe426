"""What simulated responses say about a layer: which level of the local false discovery rate reaches a precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from neucept import storage
from neucept.calibration.evidence import Layer
from neucept.calibration.grouping import LITTLE, RESPONSES, Resolution, null_groups, resolution
from neucept.calibration.null_model import NullModel, boosted_trees, held_out, proportions
from neucept.calibration.simulation import FAMILIES, NOISES, NONE, SHARES, Family, simulate
from neucept.knockoffs import knockoff_statistics, largest_set, select
from neucept.knockoffs.preprocessing import standardised
from neucept.progress import progress as show_progress
from neucept.short_repr import shortened

REPEATS = 3  # responses of each family, share of critical neurons and noise: 36 a family
NOTHING = 36  # responses of pure noise
COMPARED = 4  # one response in so many is given to equation (9), to compare
MOST_COMPARED = 1000  # neurons; the knockoffs of more would take longer than all else
MOST_ROWS = 6000  # more rows make calibration slower, not better
MOST_NUMBERS = 6_000_000  # so that fewer rows of a wide layer are taken, 2,000 at least
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
    null : array
        (L, g) whether the group has no part in the response.
    family : tuple of str
        (L,) family of each response.
    noise : array
        (L,) variance of the noise over that of the signal.
    gaussian : array
        (L, g) statistics of one draw of Gaussian knockoffs, for one response in four; NaN for the others, and in layers
        of more than 1,000 neurons.
    held_out : array
        (L, g) local false discovery rates by models that were not trained on the response.
    held_out_families : array
        The same by models that were trained on no response of the family; pure noise is in all trainings.
    knots, weights : array
        The `NullModel`, trained on all simulated responses.
    power : float
        The power that the ranking of these groups could reach at a false discovery proportion of 0.1 when they were
        chosen; NaN where groups were given.
    """

    layer: str
    groups: np.ndarray
    cut: float
    rows: np.ndarray
    null: np.ndarray
    family: tuple[str, ...]
    noise: np.ndarray
    gaussian: np.ndarray
    held_out: np.ndarray
    held_out_families: np.ndarray
    knots: np.ndarray
    weights: np.ndarray
    power: float = float("nan")
    arrays: ClassVar[tuple[str, ...]] = (
        *("groups", "rows", "null", "noise", "gaussian"),
        *("held_out", "held_out_families", "knots", "weights"),
    )

    def __repr__(self) -> str:
        return shortened(
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
        return NullModel(self.knots, self.weights)

    def level(self, q: float) -> float:
        """Nominal level at which the realised false discovery rate is at most q, 0 if there is none.

        The largest level at which the false discovery rate on held-out responses is at most q for every family. That of
        a family, of some 36 responses, is drawn towards the mean of all families by as much as chance alone would take
        it away (James and Stein).
        """
        if q in self._levels:
            return self._levels[q]
        best = 0.0
        order = np.argsort(self.held_out, axis=1, kind="stable")
        number = np.arange(1, order.shape[1] + 1)
        mean = np.cumsum(np.take_along_axis(self.held_out, order, axis=1), axis=1) / number
        false = np.cumsum(np.take_along_axis(self.null, order, axis=1), axis=1) / number
        for level in LEVELS[: np.searchsorted(LEVELS, q + 1e-9)]:
            selected = np.sum(mean <= level, axis=1)  # the means rise: the size of `largest_set`
            taken = np.take_along_axis(false, np.maximum(selected - 1, 0)[:, None], axis=1)[:, 0]
            if worst(np.where(selected > 0, taken, 0.0), self.family) > q:
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
            "uncalibrated": np.array([select(W, 1 - precision) for W in np.nan_to_num(self.gaussian)]),
        }
        frame = pd.DataFrame({name: proportions(mask, self.null)[0] for name, mask in masks.items()})
        frame.loc[np.isnan(self.gaussian).any(axis=1), "uncalibrated"] = np.nan
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
        reached = mean["uncalibrated"]
        compared = "" if np.isnan(reached) else f"; eq. (9) alone reaches {reached:.2f}"
        kinds = ", ".join(name for name in table.index if name not in ("all", NONE))
        return (
            f"{self._told_apart()} {len(self.family)} responses with known critical neurons were simulated on the"
            f" layer's own activations ({kinds}; and pure noise). On held-out responses, the method reached a precision"
            f" of {mean['precision']:.3f} ({mean['low']:.3f} to {mean['high']:.3f}) where {precision:g} was asked for,"
            f" with a power of {mean['power']:.2f}; on families that it was not trained on, {mean['unseen']:.3f}"
            f"{compared}. This is evidence for responses like these, not a proof."
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
        if self.power < LITTLE:
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
        """Open what `save` wrote; calibrations of version 0.1 and 0.2, too."""
        with storage.opened(path, "Calibration") as (facts, arrays):
            return cls.of(facts["layer"], facts["cut"], facts["family"], arrays, facts.get("power"))

    @classmethod
    def of(
        cls, layer: str, cut: float, family: Sequence[str], arrays: Mapping[str, np.ndarray], power: float | None = None
    ) -> Calibration:
        """Make one of what was saved, by this version or an earlier one, which had other evidence."""
        own = {name: arrays[name] for name in cls.arrays if name in arrays}
        if "evidence" in arrays:
            null, kinds = arrays["null"], np.array(family)
            seen = boosted_trees(arrays["evidence"], null, np.arange(len(kinds)) % 8)
            unseen = boosted_trees(arrays["evidence"], null, np.unique(kinds, return_inverse=True)[1])
            own["held_out"] = seen
            own["held_out_families"] = np.where((kinds == NONE)[:, None], seen, unseen)
            own["knots"] = own["weights"] = np.zeros((0, 0))  # it serves what was found with it, nothing new
        nan = float("nan")  # which the oldest do not hold
        return cls(layer=layer, cut=cut, family=tuple(family), power=nan if power is None else power, **own)


def worst(false: np.ndarray, family: Sequence[str]) -> float:
    """Give the false discovery rate of the worst family, each drawn towards their mean."""
    by_family = pd.Series(false).groupby(np.array(family))
    rates, chance = by_family.mean(), float((by_family.var(ddof=1) / by_family.size()).mean())
    between = max(0.0, float(rates.var(ddof=1)) - chance)
    share = between / (between + chance) if between > 0 else 0.0
    return float(rates.mean() + share * (rates.max() - rates.mean()))


def calibrate_neurons(
    Z: np.ndarray,
    layer: str = "",
    groups: np.ndarray | None = None,
    families: Mapping[str, Family] = FAMILIES,
    progress: bool = True,
) -> Calibration:
    """Calibrate standardised neurons, (n, p); see `calibrate`."""
    rng = np.random.default_rng(20221)  # of the simulated responses, whatever target and seed
    most = min(MOST_ROWS, max(2000, MOST_NUMBERS // max(Z.shape[1], 1)))
    rows = np.sort(rng.choice(len(Z), most, replace=False)) if len(Z) > most else np.arange(len(Z))
    Z = standardised(Z[rows])
    cut = power = float("nan")
    single: Resolution | None = None
    examined = Layer(Z)
    responses = REPEATS * len(families) * len(SHARES) * len(NOISES) + NOTHING
    steps = examined.passes(responses) + (examined.passes(RESPONSES) if groups is None else 0)
    with show_progress(f"calibrating {layer}".strip(), steps, progress) as advance:
        if groups is None:
            single = resolution(examined, rng, advance)
            cut, groups, power = single.cut, single.groups, single.power
        simulated = simulate(Z, groups, rng, families, nothing=NOTHING, repeats=REPEATS)
        evidence = examined.describe(examined.find(simulated.Y, advance), groups)
    null, family, noise = simulated.null, simulated.family, simulated.noise
    if single is not None:  # the responses on single neurons serve as well
        evidence = np.concatenate([evidence, examined.describe(single.found, groups)])
        null = np.concatenate([null, null_groups(single.simulated.null, groups)])
        family, noise = family + single.simulated.family, np.concatenate([noise, single.simulated.noise])
    model = NullModel.fit(evidence, null)
    kinds = np.array(family)
    seen = held_out(evidence, null)
    unseen = held_out(evidence, null, np.unique(kinds, return_inverse=True)[1])
    unseen = np.where((kinds == NONE)[:, None], seen, unseen)  # pure noise is in all trainings
    gaussian = np.full(null.shape, np.nan)
    if Z.shape[1] <= MOST_COMPARED:
        some = np.arange(0, simulated.Y.shape[1], COMPARED)
        alone = int(groups.max()) + 1 == len(groups)
        gaussian[some] = knockoff_statistics(
            Z,
            simulated.Y[:, some],
            draws=1,
            rng=np.random.default_rng([0, 1]),
            groups=None if alone else groups,
        )[0]
    return Calibration(
        layer, groups, cut, rows, null, family, noise, gaussian, seen, unseen, model.knots, model.weights, power
    )
