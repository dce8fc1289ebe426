"""The nouns: critical neurons of one layer, and of a target at every layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neucept import storage
from neucept.calibration.calibration import Calibration
from neucept.calibration.local_fdr import select as select_by_probability
from neucept.errors import InputError, check_precision, closest
from neucept.knockoffs import e_bh, frequency, select, stopped_evalues


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


@dataclass(frozen=True, eq=False)
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
    order : array or None
        Representatives that say most of what the critical neurons of the next layer looked at say (of this layer, for
        the last), each beyond those before it, see `neucept.discovery.ordering`; None: in the order of the statistic.
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
    order: np.ndarray | None = None

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

        One of each group in their `order`, then those that add nothing to it by the mean statistic, then the other
        members of groups, then dead neurons.
        """
        place = np.full(len(self.groups), len(self.groups))
        if self.order is not None:
            place[self.order] = np.arange(len(self.order))
        kind = np.where(self.groups < 0, 2, 1)
        kind[self.representatives] = 0
        return np.lexsort((-self.mean_statistic, place, kind))

    @cached_property
    def surest(self) -> np.ndarray:
        """One neuron of each group, by the evidence: the least probably null first, or of the largest mean statistic.

        What is selected is a head of it (with several draws alone, nearly).
        """
        keys = (-self.mean_statistic,)
        if self.null_probability is not None and self.importance is not None:
            keys = (-self.importance, self.null_probability)  # type: ignore[assignment]
        order = np.lexsort(keys)
        return np.asarray(order[np.isin(order, self.representatives)])

    @cached_property
    def evalues(self) -> np.ndarray:
        """E-values at the level fixed for this precision, (k,); 0 for dead neurons."""
        return self._spread(stopped_evalues(self._W, self.q))

    @cached_property
    def frequency(self) -> np.ndarray:
        """Share of draws that select each neuron at this precision, (k,); the paper's count, without guarantee."""
        return self._spread(frequency(self._W, self.q))

    @cached_property
    def neurons(self) -> np.ndarray:
        """Selected neurons, most important first, one of each group; may be empty."""
        if self.calibration is not None and self.null_probability is not None:
            level = self.calibration.level(self.q)
            mask = select_by_probability(self.null_probability[self.representatives], level)
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
            unit = "neurons" if self.calibration.single else "groups of neurons"
            return Promise(
                self.precision,
                f"Of the selected {unit}, at least {self.precision:g} are not null, on average over responses like"
                " those planted.",
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
        found = f"{len(self.neurons)} of {len(self.groups)} neurons"
        return f"Selection({self.layer}: {found} at precision {self.precision:g})"


@dataclass(frozen=True, repr=False, eq=False)
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
        levels = precisions(precision, list(self), {layer: s.precision for layer, s in self.items()})
        return replace(self, selections={layer: selection.at(levels[layer]) for layer, selection in self.items()})

    def table(self) -> pd.DataFrame:
        """All neurons of all layers, see `Selection.table`."""
        return pd.concat([selection.table() for selection in self.selections.values()], ignore_index=True)

    def save(self, path: str | Path) -> Path:
        """Write to a folder; `CriticalNeurons.open` reads it."""
        facts = {
            "layers": [[layer, s.precision, s.aggregate] for layer, s in self.items()],
            "calibrations": {
                layer: [c.layer, c.cut, list(c.family), c.power]
                for layer, s in self.items()
                if (c := s.calibration) is not None
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
        with storage.opened(path, "CriticalNeurons") as (facts, arrays):
            calibrations = {
                layer: Calibration(
                    of,
                    cut=cut,
                    family=tuple(kinds),
                    power=power[0] if power else float("nan"),  # which the oldest do not hold
                    **{n: arrays[f"calibration {n}/{layer}"] for n in Calibration.arrays},
                )
                for layer, (of, cut, kinds, *power) in facts.pop("calibrations").items()
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


_ARRAYS = ("statistics", "groups", "representatives", "importance", "null_probability", "order")


def precisions(
    given: float | Mapping[str, float], layers: Sequence[str], default: Mapping[str, float]
) -> dict[str, float]:
    """Give each layer its precision; raise an InputError for unknown layers and impossible precisions."""
    if not isinstance(given, Mapping):
        return dict.fromkeys(layers, check_precision(given))
    for layer in given:
        if layer not in layers:
            raise InputError(f"precision= names layer '{layer}', which is not looked at.{closest(layer, layers)}")
    return {layer: check_precision(given.get(layer, default[layer])) for layer in layers}
