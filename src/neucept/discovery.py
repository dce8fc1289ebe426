"""Find the neurons that decide: NeuCEPT-discovery, Algorithm 1, on a Recording."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neucept import storage
from neucept.calibration.calibration import Calibration, cached_calibration, gather, renumbered
from neucept.calibration.evidence import select as select_by_probability
from neucept.errors import InputError, check_precision, closest
from neucept.knockoffs import (
    SAMPLERS,
    STATISTICS,
    e_bh,
    evalues,
    frequency,
    knockoff_statistics,
    levels_for,
    prepare,
    select,
    smallest_selection,
)
from neucept.progress import progress as show_progress
from neucept.recording import Recording
from neucept.recording.recording import Target

AGGREGATES = ("evalue", "frequency")
OBJECTIVES = ("pairwise", "sequential", "global")
MOST_RESPONSES = 15  # of the next layer's critical neurons that equation (3) looks at
FEWEST_INPUTS = 30


class NothingSelectedWarning(UserWarning):
    """No neuron of a layer is selected at the precision asked; that is an answer."""


@dataclass(frozen=True)
class Promise:
    """What is promised of a selection, and on what evidence.

    Attributes
    ----------
    precision : float
        The level asked.
    claim : str
        What holds, in a sentence.
    evidence : str
        Why one should believe it, and what was not checked.
    """

    precision: float
    claim: str
    evidence: str

    def __str__(self) -> str:
        return f"{self.claim} {self.evidence}"


@dataclass(frozen=True)
class Selection:
    """Critical neurons of one layer.

    Attributes
    ----------
    layer : str
        Its name.
    precision : float
        The level asked: 1 minus the false discovery rate.
    statistics : array
        (draws, k) W of every neuron; members of a group share the value of its representative, dead neurons have 0.
    groups : array
        (k,) group number of each neuron: neurons that cannot be told apart share one, dead ones have -1.
    representatives : array
        (g,) the neuron that stands for each group.
    aggregate : str
        How the draws were joined where nothing was calibrated: ``evalue`` or ``frequency``; one draw is equation (9).
    calibration : Calibration or None
        What planted responses said about this layer; None for the knockoffs' own threshold.
    importance : array or None
        (k,) root mean square gradient of the learnt response with respect to each neuron, with a calibration.
    null_probability : array or None
        (k,) probability that the neuron's group is null, with a calibration; 1 for dead neurons.
    """

    layer: str
    precision: float
    statistics: np.ndarray
    groups: np.ndarray
    representatives: np.ndarray
    aggregate: str
    calibration: Calibration | None = field(default=None, repr=False)
    importance: np.ndarray | None = None
    null_probability: np.ndarray | None = None

    @property
    def q(self) -> float:
        """Level of the false discovery rate, 1 - precision."""
        return 1 - self.precision

    @cached_property
    def mean_statistic(self) -> np.ndarray:
        """Mean of W over the draws, (k,)."""
        return np.asarray(self.statistics.mean(axis=0))

    @cached_property
    def ranking(self) -> np.ndarray:
        """All neurons, most important first.

        One of each group by the mean statistic (by the probability of being null, with a calibration), then the other
        members, then dead neurons.
        """
        kind = np.where(self.groups < 0, 2, 1)
        kind[self.representatives] = 0
        if self.null_probability is None or self.importance is None:
            return np.lexsort((-self.mean_statistic, kind))
        return np.lexsort((-self.importance, self.null_probability, kind))

    @cached_property
    def evalues(self) -> np.ndarray:
        """E-values at the levels fixed for this precision, (k,); 0 for dead neurons."""
        return self._spread(evalues(self._W, levels_for(self.q, len(self.representatives))))

    @cached_property
    def frequency(self) -> np.ndarray:
        """Share of draws that select each neuron at this precision, (k,); the paper's count, without guarantee."""
        return self._spread(frequency(self._W, self.q))

    @cached_property
    def neurons(self) -> np.ndarray:
        """Selected neurons, most important first, one of each group; may be empty."""
        if self.calibration is not None and self.null_probability is not None:
            mask = select_by_probability(self.null_probability[self.representatives], self.calibration.level(self.q))
        elif len(self.statistics) == 1:
            mask = select(self._W[0], self.q)
        elif self.aggregate == "evalue":
            mask = e_bh(self.evalues[self.representatives], self.q)
        else:
            mask = self.frequency[self.representatives] > 0.5
        chosen = set(self.representatives[mask].tolist())
        return np.array([neuron for neuron in self.ranking if neuron in chosen], dtype=np.intp)

    @property
    def stability(self) -> float:
        """Mean Spearman correlation of the rankings of two draws; NaN with a single one."""
        W = pd.DataFrame(self._W.T)
        if W.shape[1] < 2 or W.shape[0] < 2:
            return float("nan")
        correlation = W.corr(method="spearman").to_numpy()
        return float(correlation[np.triu_indices_from(correlation, 1)].mean())

    @property
    def promise(self) -> Promise:
        """What is promised of `neurons`, and on what evidence."""
        if self.calibration is not None:
            unit = "neurons" if self.calibration.cut == 0 else "groups of neurons"
            return Promise(
                self.precision,
                f"Of the selected {unit}, at least {self.precision:g} are not null, on average over responses like those"
                " planted.",
                self.calibration.evidence_for(self.precision),
            )
        share = f"at least {self.precision:g} of the selected neurons (one a group) are not null, in expectation"
        if len(self.statistics) > 1 and self.aggregate == "frequency":
            return Promise(
                self.precision,
                "No promise: how often a neuron is selected over several draws bounds no error rate.",
                "",
            )
        by = "equation (9), one draw" if len(self.statistics) == 1 else "e-BH over e-values of all draws"
        return Promise(
            self.precision,
            f"If the layer's neurons are jointly Gaussian, {share} ({by}).",
            "This condition was not checked on this layer. Activations of real networks are not Gaussian, and the"
            " realised precision can be lower; the order of the neurons is more reliable than the cut.",
        )

    def at(self, precision: float) -> Selection:
        """Select at another precision, from the same draws.

        The promise is that of a precision chosen before looking; trying several and keeping one is not covered.
        """
        return replace(self, precision=check_precision(precision))

    def table(self) -> pd.DataFrame:
        """One row a neuron, most important first: its statistics, group, and whether it is selected."""
        order = self.ranking
        probability = {} if self.null_probability is None else {"null_probability": self.null_probability[order]}
        return pd.DataFrame(
            {
                "layer": self.layer,
                "neuron": order,
                **probability,
                "statistic": self.mean_statistic[order],
                "evalue": self.evalues[order],
                "frequency": self.frequency[order],
                "group": self.groups[order],
                "selected": np.isin(order, self.neurons),
            }
        )

    @property
    def _W(self) -> np.ndarray:
        return self.statistics[:, self.representatives]

    def _spread(self, values: np.ndarray) -> np.ndarray:
        return np.where(self.groups >= 0, np.append(values, 0.0)[self.groups], 0.0)

    def __repr__(self) -> str:
        return f"Selection({self.layer}: {len(self.neurons)} of {len(self.groups)} neurons at precision {self.precision:g})"


@dataclass(frozen=True, repr=False)
class CriticalNeurons(Mapping[str, Selection]):
    """Critical neurons of a target at each layer: a mapping of layer to `Selection`.

    Attributes
    ----------
    selections : mapping of str to Selection
        In the order of the recording.
    target : int or None
        The class number; None for an array response.
    target_name : str
        Its name.
    response : str
        ``logit``, ``margin``, ``log_prob`` or ``array``.
    samples : array
        Rows of the recording that were looked at.
    settings : mapping
        Everything else that the result depends on.
    """

    selections: Mapping[str, Selection]
    target: int | None
    target_name: str
    response: str
    samples: np.ndarray
    settings: Mapping[str, Any]

    def __getitem__(self, layer: str) -> Selection:
        if layer not in self.selections:
            raise KeyError(f"'{layer}': there are {', '.join(self.selections)}.{closest(layer, self.selections)}")
        return self.selections[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self.selections)

    def __len__(self) -> int:
        return len(self.selections)

    def __repr__(self) -> str:
        return f"CriticalNeurons(target {self.target_name!r}; {', '.join(map(repr, self.selections.values()))})"

    def at(self, precision: float | Mapping[str, float]) -> CriticalNeurons:
        """Select at another precision (one for all layers or {layer: precision}), from the same draws."""
        levels = _precisions(precision, list(self), {layer: s.precision for layer, s in self.items()})
        return replace(self, selections={layer: selection.at(levels[layer]) for layer, selection in self.items()})

    def table(self) -> pd.DataFrame:
        """All neurons of all layers, see `Selection.table`."""
        return pd.concat([selection.table() for selection in self.selections.values()], ignore_index=True)

    def save(self, path: str | Path) -> Path:
        """Write to a folder; `CriticalNeurons.open` reads it."""
        facts = {
            "layers": [[layer, s.precision, s.aggregate] for layer, s in self.items()],
            "calibrations": {
                layer: [c.layer, c.cut, list(c.family)] for layer, s in self.items() if (c := s.calibration) is not None
            },
            **{name: getattr(self, name) for name in ("target", "target_name", "response")},
            "settings": dict(self.settings),
        }
        arrays: dict[str, np.ndarray | None] = {"samples": self.samples}
        for layer, s in self.items():
            arrays |= {f"{name}/{layer}": getattr(s, name) for name in _ARRAYS}
            arrays |= {f"calibration {name}/{layer}": getattr(s.calibration, name, None) for name in Calibration.arrays}
        return storage.save(path, "CriticalNeurons", facts, arrays)

    @classmethod
    def open(cls, path: str | Path) -> CriticalNeurons:
        """Open what `save` wrote."""
        facts, arrays = storage.open_folder(path, "CriticalNeurons")
        calibrations = {
            layer: Calibration(
                of, cut=cut, family=tuple(kinds), **{n: arrays[f"calibration {n}/{layer}"] for n in Calibration.arrays}
            )
            for layer, (of, cut, kinds) in facts.pop("calibrations").items()
        }
        selections = {
            layer: Selection(
                layer,
                precision,
                aggregate=aggregate,
                calibration=calibrations.get(layer),
                **{name: arrays.get(f"{name}/{layer}") for name in _ARRAYS},  # type: ignore[arg-type]
            )
            for layer, precision, aggregate in facts.pop("layers")
        }
        return cls(selections=selections, samples=arrays["samples"], **facts)


_ARRAYS = ("statistics", "groups", "representatives", "importance", "null_probability")


def discover(
    recording: Recording,
    target: Target | list[int] | list[str],
    layers: Sequence[str] | None = None,
    precision: float | Mapping[str, float] = 0.9,
    samples: str | np.ndarray | None = None,
    response: str = "logit",
    objective: str = "pairwise",
    sampler: str = "gaussian",
    statistic: str = "lasso",
    aggregate: str = "evalue",
    groups: np.ndarray | Mapping[str, np.ndarray] | None = None,
    calibration: str | None = "auto",
    draws: int = 50,
    seed: int = 0,
    progress: bool = True,
) -> Any:  # CriticalNeurons, or a dict of them for a list of targets
    """Find the critical neurons of a target: NeuCEPT-discovery (Algorithm 1).

    At each layer, the Markov blanket of the response is estimated with control of the precision (one minus the false
    discovery rate). By default the layer is calibrated first (`neucept.calibrate`): what a precision is worth is learnt
    from responses with known critical neurons, planted on the layer's own activations. ``calibration=None`` leaves the
    decision to Model-X knockoffs alone, whose promise holds for Gaussian neurons only.

    Parameters
    ----------
    recording : Recording
        Of `neucept.record`.
    target : int, str, list or array
        A class by number or name, a list of them, or an (n,) array: any response.
    layers : sequence of str, optional
        By default all that are recorded; in the order of the network.
    precision : float or mapping
        In (0, 1), for all layers or {layer: precision}; layers not named there have 0.9.
    samples : {"predicted", "all"}, mask or row numbers
        Inputs to look at: those predicted as the class (the default for a class) or all (for an array).
    response : {"logit", "margin", "log_prob"}
        What of the class is to be explained.
    objective : {"pairwise", "sequential", "global"}
        ``pairwise``: every layer against the target (Algorithm 1). ``sequential``: the last layer against the target,
        every other against the first 15 critical neurons of the next (equation (3)). ``global``: every layer against
        all neurons of the later layers and all logits (equation (10)).
    sampler : str
        How knockoffs are drawn, see `neucept.knockoffs.SAMPLERS`.
    statistic : str
        What compares a neuron with its knockoff, see `neucept.knockoffs.STATISTICS`.
    aggregate : {"evalue", "frequency"}
        How draws are joined without calibration. ``frequency`` (selected in more than half of them), as published,
        guarantees nothing.
    groups : array or mapping of layer to array, optional
        (k,) group of each neuron, -1 to leave it out; precision is then over groups. By default calibration finds the
        finest groups that can be told apart (single neurons where possible).
    calibration : "auto" or None
        Kept with the recording for the same layer and inputs; None skips it.
    draws : int
        Sets of knockoffs; one alone is equation (9) itself.
    seed : int
        The same seed gives the same result, whatever other layers or targets are asked with it.
    progress : bool
        Show progress when it takes more than two seconds.

    Returns
    -------
    CriticalNeurons, or {target: CriticalNeurons} for a list of targets
        An empty selection comes with a `NothingSelectedWarning`.

    Raises
    ------
    InputError
        Before any work, for unknown layers or targets, impossible options, fewer than 30 inputs, activations that are
        not finite, or a layer whose neurons are all constant.

    References
    ----------
    Vu, Nguyen and Thai, "NeuCEPT", Algorithm 1 and equation (9). Candes, Fan, Janson and Lv, "Panning for gold", 2018.
    Ren and Barber, "Derandomised knockoffs: leveraging e-values", 2023.
    """
    options = {"sampler": sampler, "statistic": statistic, "aggregate": aggregate, "objective": objective}
    for (name, given), known in zip(options.items(), (SAMPLERS, STATISTICS, AGGREGATES, OBJECTIVES), strict=True):
        if given not in known:
            raise InputError(f"{name}={given!r}: expected one of {', '.join(map(repr, known))}.")
    if calibration not in ("auto", None):
        raise InputError(f"calibration={calibration!r}: expected 'auto' or None.")
    if draws < 1:
        raise InputError(f"draws={draws}: expected at least 1.")
    layers = list(recording.layers if layers is None else layers)
    if not layers:
        raise InputError("layers=[]: expected names of recorded layers.")
    for layer in layers:
        recording.activations(layer)
    levels = _precisions(precision, layers, dict.fromkeys(layers, 0.9))
    given_groups = {layer: _groups_of(recording, layer, groups) for layer in layers}
    targets: list[Any] = target if isinstance(target, list) else [target]
    if not targets:
        raise InputError("target=[]: expected a class, a list of classes or an array.")
    jobs = [_Job.of(recording, one, samples, response) for one in targets]
    for job in jobs:
        for layer in layers:
            _check_alive(layer, np.asarray(recording.activations(layer)[job.rows]), job.rows)
    # Targets on the same inputs share calibration, networks and knockoffs.
    by_rows: dict[bytes, list[_Job]] = {}
    for job in jobs:
        by_rows.setdefault(job.rows.tobytes(), []).append(job)
    examiners = {
        rows: {
            layer: Examiner.of(recording, layer, group[0].rows, given_groups[layer], calibration is not None, progress)
            for layer in layers
        }
        for rows, group in by_rows.items()
    }
    settings = {
        "samples": samples if isinstance(samples, str) else "default" if samples is None else "chosen",
        "draws": draws,
        "seed": seed,
        "calibration": calibration,
        **options,
    }
    with show_progress("drawing knockoffs", len(jobs) * len(layers), progress) as advance:
        for rows, group in by_rows.items():
            for layer in reversed(layers):
                examiner = examiners[rows][layer]
                responses = [job.responses(recording, layers, layer, objective) for job in group]
                found = examiner.examine(responses, sampler, statistic, draws, seed)
                for job, parts in zip(group, found, strict=True):
                    job.selections[layer] = Selection(
                        layer, levels[layer], aggregate=aggregate, calibration=examiner.calibration, **parts
                    )
                    advance(1)
    results = {}
    for number, job in enumerate(jobs):
        for layer in layers:
            _warn_if_empty(job.selections[layer])
        is_array = isinstance(job.target, np.ndarray)
        results[number if is_array else job.target] = CriticalNeurons(
            selections={layer: job.selections[layer] for layer in layers},
            target=None if is_array else recording.class_number(job.target),
            target_name=job.name,
            response="array" if is_array else response,
            samples=job.rows,
            settings=settings,
        )
    return results if isinstance(target, list) else next(iter(results.values()))


@dataclass(frozen=True)
class _Job:
    """One target on its inputs."""

    target: Any
    name: str
    rows: np.ndarray
    y: np.ndarray
    selections: dict[str, Selection] = field(default_factory=dict)

    @classmethod
    def of(cls, recording: Recording, target: Any, samples: Any, response: str) -> _Job:
        rows = recording.samples(target, samples)
        y = recording.response(target, response)[rows]
        name = "response" if isinstance(target, np.ndarray) else recording.class_names[recording.class_number(target)]
        if len(rows) < FEWEST_INPUTS:
            which = "" if samples is not None or isinstance(target, np.ndarray) else f" predicted as '{name}'"
            raise InputError(
                f"{len(rows)} inputs{which}, but at least {FEWEST_INPUTS} are needed (a few times the number of neurons"
                " is better). Record more inputs, or use samples='all'."
            )
        return cls(target, name, rows, y)

    def responses(
        self, recording: Recording, layers: Sequence[str], layer: str, objective: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Responses of a layer, (n, R), and their weights, (R,), for an objective."""
        later = layers[list(layers).index(layer) + 1 :]
        if objective == "global":
            parts = [np.asarray(recording.activations(name)[self.rows], np.float64) for name in later]
            Y = np.hstack([*parts, np.asarray(recording.logits[self.rows], np.float64)])
            Y = Y[:, Y.std(axis=0) > 1e-9]
            return Y, np.full(Y.shape[1], 1 / Y.shape[1])
        if objective == "pairwise" or not later:
            return self.y[:, None], np.ones(1)
        following = self.selections[later[0]]
        neurons = (following.neurons if len(following.neurons) else following.ranking)[:MOST_RESPONSES]
        weights = following.importance if following.importance is not None else following.mean_statistic.clip(0)
        chosen = weights[neurons] + 1e-12
        return np.asarray(
            recording.activations(later[0])[np.ix_(self.rows, neurons)], np.float64
        ), chosen / chosen.sum()


@dataclass(frozen=True)
class Examiner:
    """One layer on some inputs, ready to be asked about any responses.

    Attributes
    ----------
    layer : str
        Its name.
    Z : array
        (n, p) standardised neurons, one of each set of collinear ones.
    neurons : array
        (p,) their numbers in the layer.
    member_of : array
        (k,) column of Z that stands for each neuron of the layer, -1 for dead ones.
    groups : array
        (p,) group of each column.
    calibration : Calibration or None
        What planted responses said.
    """

    layer: str
    Z: np.ndarray
    neurons: np.ndarray
    member_of: np.ndarray
    groups: np.ndarray
    calibration: Calibration | None

    @classmethod
    def of(
        cls,
        recording: Recording,
        layer: str,
        rows: np.ndarray,
        groups: np.ndarray | None,
        calibrated: bool,
        progress: bool,
    ) -> Examiner:
        """Prepare a layer and calibrate it, or take the calibration kept with the recording."""
        X = np.array(recording.activations(layer)[rows], np.float64)
        if groups is not None:
            X[:, groups < 0] = 0.0  # left out like dead neurons
        prepared = prepare(X)
        given = None if groups is None else renumbered(groups[prepared.representatives])
        calibration = cached_calibration(recording, layer, rows, prepared.Z, given, progress) if calibrated else None
        if calibration is not None:
            given = calibration.groups
        elif given is None:
            given = np.arange(prepared.Z.shape[1])
        return cls(layer, prepared.Z, prepared.representatives, prepared.groups, given, calibration)

    def examine(
        self,
        responses: Sequence[tuple[np.ndarray, np.ndarray]],
        sampler: str,
        statistic: str,
        draws: int,
        seed: int,
    ) -> list[dict[str, Any]]:
        """Ask about several targets, each with (n, R) responses and (R,) weights: the fields of a `Selection` of each.

        A group is null for a target when it is null for all of its responses, so that the weighted mean of the
        responses' probabilities bounds that of the target.
        """
        Y = np.hstack([part for part, _ in responses])
        rng = np.random.default_rng([seed, zlib.crc32(self.layer.encode())])
        g = int(self.groups.max()) + 1
        alone = g == len(self.groups)
        W = knockoff_statistics(
            self.Z, Y, sampler=sampler, statistic=statistic, draws=draws, rng=rng, groups=None if alone else self.groups
        )
        if self.calibration is not None:
            rows = self.calibration.rows
            evidence, single, _, _ = gather(self.Z[rows], Y[rows], self.groups, seed)
            probability = self.calibration.model.predict(evidence)
        found, start = [], 0
        for part, weights in responses:
            mine = slice(start, start + part.shape[1])
            start += part.shape[1]
            joined = np.tensordot(W[:, mine], weights, axes=(1, 0))  # (draws, g)
            strength = weights @ single[mine] if self.calibration is not None else None
            best = self._representatives(strength if strength is not None else np.abs(self.Z.T @ (part @ weights)))
            fields: dict[str, Any] = {
                "statistics": self._spread(joined, 0.0),
                "groups": self._spread(np.arange(g), -1),
                "representatives": self.neurons[best],
            }
            if self.calibration is not None and strength is not None:
                fields["importance"] = np.where(self.member_of >= 0, np.append(strength, 0.0)[self.member_of], 0.0)
                fields["null_probability"] = self._spread(weights @ probability[mine], 1.0)
            found.append(fields)
        return found

    def _representatives(self, strength: np.ndarray) -> np.ndarray:
        """Strongest column of each group, (g,)."""
        order = np.lexsort((-strength, self.groups))
        return np.asarray(order[np.unique(self.groups[order], return_index=True)[1]])

    def _spread(self, of_groups: np.ndarray, dead: float) -> np.ndarray:
        """From values of groups, (..., g), to values of the layer's neurons, (..., k)."""
        padded = np.concatenate([of_groups, np.full_like(of_groups[..., :1], dead)], axis=-1)
        group = np.where(self.member_of >= 0, np.append(self.groups, 0)[self.member_of], -1)
        return np.asarray(padded[..., group])


def _precisions(
    given: float | Mapping[str, float], layers: Sequence[str], default: Mapping[str, float]
) -> dict[str, float]:
    if not isinstance(given, Mapping):
        return dict.fromkeys(layers, check_precision(given))
    for layer in given:
        if layer not in layers:
            raise InputError(f"precision= names layer '{layer}', which is not looked at.{closest(layer, layers)}")
    return {layer: check_precision(given.get(layer, default[layer])) for layer in layers}


def _groups_of(recording: Recording, layer: str, groups: Any) -> np.ndarray | None:
    given = groups.get(layer) if isinstance(groups, Mapping) else groups
    if given is None:
        return None
    given, k = np.asarray(given), recording.activations(layer).shape[1]
    if given.shape != (k,) or not np.issubdtype(given.dtype, np.integer):
        raise InputError(f"groups of layer '{layer}' has shape {given.shape}; expected ({k},) whole numbers.")
    return given


def _check_alive(layer: str, Z: np.ndarray, rows: np.ndarray) -> None:
    finite = np.isfinite(Z)
    if not finite.all():
        row, neuron = (int(i) for i in np.argwhere(~finite)[0])
        raise InputError(f"Neuron {neuron} of layer '{layer}' is {Z[row, neuron]} at input {rows[row]}.")
    if not (Z.max(axis=0) > Z.min(axis=0)).any():
        raise InputError(
            f"Layer '{layer}' is dead: its {Z.shape[1]} neurons are constant over the {len(Z)} inputs."
            " Record another layer, or other inputs."
        )


def _warn_if_empty(selection: Selection) -> None:
    if len(selection.neurons):
        return
    where = f"No neuron of layer '{selection.layer}' is selected at precision {selection.precision:g}."
    if selection.calibration is not None:
        most = float(1 - selection.null_probability.min()) if selection.null_probability is not None else 0.0
        why = (
            f"The likeliest one is not null with probability {most:.2f}, and this layer's calibration asks for"
            f" {1 - selection.calibration.level(selection.q):.3f}; one neuron is the smallest possible selection."
        )
    else:
        smallest, groups = smallest_selection(selection.q), len(selection.representatives)
        cannot = f", more than the layer's {groups} groups of neurons" if smallest > groups else ""
        why = f"The smallest possible selection there has {smallest} neurons{cannot}."
    warnings.warn(
        f"{where} {why} Try a lower precision with .at(precision=...), more inputs, or another response. The ranking"
        " holds all the same.",
        NothingSelectedWarning,
        stacklevel=3,
    )


__all__ = ["CriticalNeurons", "NothingSelectedWarning", "Promise", "Selection", "discover"]
