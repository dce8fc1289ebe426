"""The promise, checked on the user's own layer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from neucept import storage
from neucept.calibration.grouping import GOOD, resolution
from neucept.calibration.importance import PASSES, importance
from neucept.calibration.layer import FEWEST_INPUTS, check_neurons, groups_of, prepared_neurons
from neucept.calibration.local_fdr import NullModel, features, group_importance, proportions
from neucept.calibration.simulation import FAMILIES, NONE, Family, plant
from neucept.errors import InputError, check_precision
from neucept.knockoffs import knockoff_statistics, largest_set, select
from neucept.knockoffs.preprocessing import standardised
from neucept.progress import progress as show_progress
from neucept.recording import Recording
from neucept.recording.recording import Target

FOLDS = 8  # of the planted responses, to judge each by a model that never saw it
DRAWS = 10  # of knockoffs, for the evidence on each response
MOST_ROWS = 6000  # more make calibration slower, not better
LEVELS = np.round(np.concatenate([np.arange(0.005, 0.1, 0.005), np.arange(0.1, 0.96, 0.01)]), 3)


@dataclass(frozen=True, eq=False)
class Calibration:
    """What planted responses say about the neurons of one layer.

    Attributes
    ----------
    layer : str
        Its name.
    groups : array
        (p,) group of each of the p neurons looked at (representatives of collinear ones): the finest that this layer
        lets us tell apart.
    cut : float
        Of the average-linkage tree on 1 - |correlation|, 0 for single neurons; NaN where groups were given.
    rows : array
        Rows, of those looked at, on which responses were planted.
    evidence : array
        (L, g, f) evidence on every group of every planted response.
    null : array
        (L, g) whether the group has no part in the response.
    family : tuple of str
        (L,) kind of each response.
    noise : array
        (L,) variance of the noise over that of the signal.
    gaussian : array
        (L, g) mean knockoff statistics of the planted responses, without any repair.
    power : float
        What the ranking of these groups could reach at a false discovery proportion of 0.1, when they were chosen; NaN
        where groups were given.
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
            f" {len(self.family)} planted responses)"
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
        """The model of the probability that a group is null, of all planted responses."""
        return NullModel().fit(self.evidence, self.null)

    @cached_property
    def judged(self) -> np.ndarray:
        """Probabilities of being null of the planted responses, (L, g), each by a model that never saw the response."""
        return self._judge(np.arange(len(self.family)) % FOLDS)

    @cached_property
    def judged_unseen(self) -> np.ndarray:
        """The same, (L, g), each by a model that saw no response of its family; pure noise is no family."""
        kinds = np.array(self.family)
        by_family = self._judge(np.unique(kinds, return_inverse=True)[1])
        return np.where((kinds == NONE)[:, None], self.judged, by_family)

    def _judge(self, parts: np.ndarray) -> np.ndarray:
        result = np.ones(self.null.shape)
        for part in np.unique(parts):
            mine = parts == part
            result[mine] = NullModel().fit(self.evidence[~mine], self.null[~mine]).predict(self.evidence[mine])
        return result

    def level(self, q: float) -> float:
        """Nominal level at which the realised false discovery rate is at most q, 0 if there is none.

        The largest at which the mean over the families of what is realised on responses that the model never saw, plus
        one standard deviation between families, is at most q: a family that is worse than most should do.
        """
        if q in self._levels:
            return self._levels[q]
        best = 0.0
        for level in LEVELS[: np.searchsorted(LEVELS, q + 1e-9)]:
            false, _ = proportions(np.array([largest_set(row, level) for row in self.judged]), self.null)
            rates = pd.Series(false).groupby(np.array(self.family)).mean()
            if rates.mean() + rates.std(ddof=0) > q:
                break
            best = float(level)
        self._levels[q] = best
        return best

    def table(self, precision: float = 0.9) -> pd.DataFrame:
        """Realised precision and power for each family of planted responses.

        Parameters
        ----------
        precision : float
            Asked.

        Returns
        -------
        DataFrame
            ``family``, ``responses``, ``precision`` (1 minus the mean false discovery proportion, on responses that the
            model never saw) with its 95% interval ``low`` and ``high``, ``power``; ``unseen``, the precision by a model
            that saw none of the family; ``uncalibrated``, that of eq. (9) on the mean statistic of Gaussian knockoffs.
            The last row is the mean over all responses.
        """
        level = self.level(1 - precision)
        masks = {
            "precision": np.array([largest_set(row, level) for row in self.judged]),
            "unseen": np.array([largest_set(row, level) for row in self.judged_unseen]),
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
        """Say what the promise rests on."""
        table = self.table(precision).set_index("family")
        mean = table.loc["all"]
        kinds = ", ".join(name for name in table.index if name not in ("all", NONE))
        return (
            f"{self._told_apart()} {len(self.family)} responses with known critical neurons were planted on its own"
            f" activations ({kinds}; and pure noise). Asked for {precision:g} on responses not seen before, the method"
            f" realised a precision of {mean['precision']:.3f} ({mean['low']:.3f} to {mean['high']:.3f}) with a power"
            f" of {mean['power']:.2f}, and {mean['unseen']:.3f} on families that it had not seen; eq. (9) alone"
            f" realises {mean['uncalibrated']:.2f}. This is evidence for responses like these, not a proof."
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
        found = (
            "The layer's single neurons can be told apart."
            if self.single
            else f"The layer's {neurons} neurons can be told apart in {groups} groups only; precision is over groups."
        )
        if self.power < GOOD:
            found = (
                f"Little of this layer can be told apart, in single neurons or in groups: the ranking of its"
                f" {groups} {'neurons' if self.single else 'groups of neurons'} reaches a power of {self.power:.2f} at"
                " best."
            )
        return found

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
    """Gather the evidence on the groups of some responses.

    Parameters
    ----------
    Z : array
        (n, p) standardised neurons.
    Y : array
        (n, L) responses.
    groups : array
        (p,) group of each.
    seed : int
        Of networks and knockoffs.
    advance : callable
        Told of every pass of the networks over the rows.

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
    rng = np.random.default_rng(20221)  # of the responses planted; neither target nor seed has a part in it
    rows = np.sort(rng.choice(len(Z), MOST_ROWS, replace=False)) if len(Z) > MOST_ROWS else np.arange(len(Z))
    Z = standardised(Z[rows])
    cut = power = float("nan")
    if groups is None:
        cut, groups, power = resolution(Z, rng)
    planted = plant(Z, groups, rng, families)
    with show_progress(f"calibrating {layer}".strip(), PASSES, progress) as advance:
        evidence, _, W, _ = gather(Z, planted.Y, groups, 0, advance)
    found = evidence, planted.null, planted.family, planted.noise, W.mean(axis=0)
    return Calibration(layer, groups, cut, rows, *found, power)


def calibrate(
    recording: Recording,
    layer: str,
    precision: float = 0.9,
    target: Target | None = None,
    samples: str | np.ndarray | None = None,
    groups: np.ndarray | None = None,
    progress: bool = True,
) -> Calibration:
    """Check on a layer's own activations what precision is realised when some is asked, and learn to keep it.

    Responses whose critical neurons are known are planted on the layer: linear ones, random networks of several kinds,
    thresholds, products, squares, maxima and pure noise, of several sizes and noises. From the evidence on each neuron
    (how strongly a network that has learnt the response depends on it; by how much it beats its knockoffs) a model
    learns the probability that a neuron is null; families are judged by models that never saw them.

    The result is kept with the recording (and beside it on disk where it was saved), by layer, inputs and groups;
    neither the target nor a seed has a part in it.

    Parameters
    ----------
    recording : Recording
        Of `neucept.record`.
    layer : str
        Its name.
    precision : float
        Only checked here; `Calibration.table` takes any.
    target : int, str or array, optional
        Decides on the default inputs: those predicted as the class.
    samples : {"predicted", "all"}, mask or row numbers, optional
        Inputs to look at; all by default without a target.
    groups : array, optional
        (k,) group of each of the layer's neurons, -1 to leave it out; by default the finest that can be told apart.
        Neurons that are nearly the same are one, whatever their groups.
    progress : bool
        Show progress when it takes more than two seconds.

    Returns
    -------
    Calibration

    Raises
    ------
    InputError
        Before any work, for an unknown layer or target, fewer than 30 inputs, activations that are not finite, or a
        layer whose neurons are all constant.
    """
    check_precision(precision)
    everything = np.zeros(len(recording))
    rows = recording.samples(everything if target is None else target, samples)
    if len(rows) < FEWEST_INPUTS:
        raise InputError(f"{len(rows)} inputs, but at least {FEWEST_INPUTS} are needed. Record more, or choose others.")
    groups = groups_of(recording, layer, groups)
    check_neurons(recording, layer, rows, groups)
    prepared, mine = prepared_neurons(recording, layer, rows, groups)
    return cached_calibration(recording, layer, rows, prepared.Z, mine, progress)


def cached_calibration(
    recording: Recording, layer: str, rows: np.ndarray, Z: np.ndarray, groups: np.ndarray | None, progress: bool = True
) -> Calibration:
    """Calibrate, or take what was kept with the recording for the same layer, inputs and groups."""
    sha = hashlib.sha256(f"3 {layer} {Z.shape}".encode())
    sha.update(np.ascontiguousarray(rows, np.int64).tobytes())
    sha.update(np.ascontiguousarray(Z, np.float32).tobytes())  # the key is the content, not its name
    if groups is not None:
        sha.update(np.ascontiguousarray(groups, np.int64).tobytes())
    key = sha.hexdigest()[:24]
    if key in recording.cache:
        known: Calibration = recording.cache[key]
        return known
    place = None if recording.path is None else recording.path / "calibrations" / key
    if place is not None and place.exists():
        calibration = Calibration.open(place)
    else:
        calibration = calibrate_neurons(Z, layer, groups, progress=progress)
        if place is not None:
            try:
                calibration.save(place)
            except (OSError, InputError):  # a recording that may only be read; kept in memory all the same
                place = None
    recording.cache[key] = calibration
    return calibration
