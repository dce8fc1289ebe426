"""Find the neurons that decide: NeuCEPT-discovery, Algorithm 1, on a Recording."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import pandas as pd

from neucept import storage
from neucept.errors import InputError, closest
from neucept.knockoffs import (
    SAMPLERS,
    STATISTICS,
    e_bh,
    evalues,
    frequency,
    levels_for,
    prepare,
    row_statistics,
    select,
    smallest_selection,
)
from neucept.progress import progress as show_progress
from neucept.recording import Recording
from neucept.recording.recording import Target

AGGREGATES = ("evalue", "frequency")
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
        How the draws were joined: ``evalue`` or ``frequency``; one draw is equation (9) itself.
    """

    layer: str
    precision: float
    statistics: np.ndarray
    groups: np.ndarray
    representatives: np.ndarray
    aggregate: str

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
        """All neurons, most important first: representatives by mean statistic, then the other members, then dead ones."""
        kind = np.where(self.groups < 0, 2, 1)
        kind[self.representatives] = 0
        return np.lexsort((-self.mean_statistic, kind))

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
        if len(self.statistics) == 1:
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
        share = f"at least {self.precision:g} of the selected neurons (one a group) are not null, in expectation"
        if len(self.statistics) > 1 and self.aggregate == "frequency":
            return Promise(
                self.precision, "No promise: how often a neuron is selected over several draws bounds no error rate.", ""
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
        return replace(self, precision=_check_precision(precision))

    def table(self) -> pd.DataFrame:
        """One row a neuron, most important first: neuron, statistic, evalue, frequency, group, selected."""
        order = self.ranking
        return pd.DataFrame(
            {
                "layer": self.layer,
                "neuron": order,
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
            **{name: getattr(self, name) for name in ("target", "target_name", "response")},
            "settings": dict(self.settings),
        }
        arrays: dict[str, np.ndarray | None] = {"samples": self.samples}
        for layer, s in self.items():
            arrays.update({f"{name}/{layer}": getattr(s, name) for name in ("statistics", "groups", "representatives")})
        return storage.save(path, "CriticalNeurons", facts, arrays)

    @classmethod
    def open(cls, path: str | Path) -> CriticalNeurons:
        """Open what `save` wrote."""
        facts, arrays = storage.open_folder(path, "CriticalNeurons")
        selections = {
            layer: Selection(
                layer,
                precision,
                *(arrays[f"{name}/{layer}"] for name in ("statistics", "groups", "representatives")),
                aggregate,
            )
            for layer, precision, aggregate in facts.pop("layers")
        }
        return cls(selections=selections, samples=arrays["samples"], **facts)


@overload
def discover(recording: Recording, target: int | str | np.ndarray, **options: Any) -> CriticalNeurons: ...
@overload
def discover(
    recording: Recording, target: list[int] | list[str], **options: Any
) -> dict[int | str, CriticalNeurons]: ...
def discover(
    recording: Recording,
    target: Target | list[int] | list[str],
    layers: Sequence[str] | None = None,
    precision: float | Mapping[str, float] = 0.9,
    samples: str | np.ndarray | None = None,
    response: str = "logit",
    sampler: str = "gaussian",
    statistic: str = "lasso",
    aggregate: str = "evalue",
    draws: int = 50,
    seed: int = 0,
    progress: bool = True,
) -> CriticalNeurons | dict[int | str, CriticalNeurons]:
    """Find the critical neurons of a target: NeuCEPT-discovery (Algorithm 1).

    At each layer, the Markov blanket of the response is estimated by Model-X knockoffs, with control of the precision
    (one minus the false discovery rate).

    Parameters
    ----------
    recording : Recording
        Of `neucept.record`.
    target : int, str, list or array
        A class by number or name, a list of them, or an (n,) array: any response.
    layers : sequence of str, optional
        By default all that are recorded.
    precision : float or mapping
        In (0, 1), for all layers or {layer: precision}; layers not named there have 0.9.
    samples : {"predicted", "all"}, mask or row numbers
        Inputs to look at: those predicted as the class (the default for a class) or all (for an array).
    response : {"logit", "margin", "log_prob"}
        What of the class is to be explained.
    sampler : {"gaussian"}
        How knockoffs are drawn.
    statistic : {"lasso"}
        What compares a neuron with its knockoff.
    aggregate : {"evalue", "frequency"}
        How draws are joined. ``frequency`` (selected in more than half of them), as published, guarantees nothing.
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
    options = dict(sampler=sampler, statistic=statistic, aggregate=aggregate)
    for (name, given), known in zip(options.items(), (SAMPLERS, STATISTICS, AGGREGATES), strict=True):
        if given not in known:
            raise InputError(f"{name}={given!r}: expected one of {', '.join(map(repr, known))}.")
    if draws < 1:
        raise InputError(f"draws={draws}: expected at least 1.")
    layers = list(recording.layers if layers is None else layers)
    for layer in layers:
        recording.activations(layer)
    levels = _precisions(precision, layers, dict.fromkeys(layers, 0.9))
    targets: list[Any] = target if isinstance(target, list) else [target]
    if not targets:
        raise InputError("target=[]: expected a class, a list of classes or an array.")
    jobs = []
    for one in targets:
        rows = recording.samples(one, samples)
        y = recording.response(one, response)[rows]
        if len(rows) < FEWEST_INPUTS:
            which = "" if samples is not None or isinstance(one, np.ndarray) else f" predicted as '{_name(recording, one)}'"
            raise InputError(
                f"{len(rows)} inputs{which}, but at least {FEWEST_INPUTS} are needed (a few times the number of neurons"
                " is better). Record more inputs, or use samples='all'."
            )
        for layer in layers:
            _check_alive(layer, np.asarray(recording.activations(layer)[rows]), rows)
        jobs.append((one, rows, y))
    found: dict[Any, CriticalNeurons] = {}
    with show_progress("drawing knockoffs", len(jobs) * len(layers) * draws, progress) as advance:
        for number, (one, rows, y) in enumerate(jobs):
            selections = {}
            for layer in layers:
                prepared = prepare(recording.activations(layer)[rows])
                rng = np.random.default_rng([seed, zlib.crc32(layer.encode())])
                W = row_statistics(
                    prepared.Z, y, SAMPLERS[sampler](), STATISTICS[statistic], draws, rng, advance=advance
                )
                spread = np.hstack([W, np.zeros((draws, 1))])[:, prepared.groups]
                selections[layer] = Selection(
                    layer, levels[layer], spread, prepared.groups, prepared.representatives, aggregate
                )
                _warn_if_empty(selections[layer])
            is_array = isinstance(one, np.ndarray)
            found[number if is_array else one] = CriticalNeurons(
                selections=selections,
                target=None if is_array else recording.class_number(one),
                target_name="response" if is_array else _name(recording, one),
                response="array" if is_array else response,
                samples=rows,
                settings={
                    "samples": samples if isinstance(samples, str) else "default" if samples is None else "chosen",
                    "draws": draws,
                    "seed": seed,
                    **options,
                },
            )
    return found if isinstance(target, list) else next(iter(found.values()))


def _name(recording: Recording, target: int | str) -> str:
    return recording.class_names[recording.class_number(target)]


def _check_precision(precision: Any) -> float:
    if isinstance(precision, bool) or not isinstance(precision, int | float | np.number) or not 0 < precision < 1:
        raise InputError(f"precision={precision!r}: expected a number between 0 and 1, such as 0.9 (10% false discoveries).")
    return float(precision)


def _precisions(
    given: float | Mapping[str, float], layers: Sequence[str], default: Mapping[str, float]
) -> dict[str, float]:
    if not isinstance(given, Mapping):
        return dict.fromkeys(layers, _check_precision(given))
    for layer in given:
        if layer not in layers:
            raise InputError(f"precision= names layer '{layer}', which is not looked at.{closest(layer, layers)}")
    return {layer: _check_precision(given.get(layer, default[layer])) for layer in layers}


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
    smallest = smallest_selection(selection.q)
    groups = len(selection.representatives)
    cannot = f", more than the layer's {groups} groups of neurons" if smallest > groups else ""
    warnings.warn(
        f"No neuron of layer '{selection.layer}' is selected at precision {selection.precision:g}. The smallest possible"
        f" selection there has {smallest} neurons{cannot}; try a lower precision with .at(precision=...), more inputs,"
        " or another response. The ranking holds all the same.",
        NothingSelectedWarning,
        stacklevel=3,
    )


__all__ = ["CriticalNeurons", "NothingSelectedWarning", "Promise", "Selection", "discover"]
