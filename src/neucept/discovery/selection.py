"""Results: the critical neurons of one layer, and of a target at every layer."""

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
from neucept.errors import InputError, check_precision, closest
from neucept.knockoffs.aggregation import (
    RULES,
    Guarantee,
    LocalFDR,
    OneDraw,
    Rule,
    apply_rule,
    frequency,
    name_of,
    rule_of,
    stopped_evalues,
)

Promise = Guarantee  # its name in version 0.1


@dataclass(frozen=True, eq=False)
class Selection:
    """Critical neurons of one layer.

    Attributes
    ----------
    layer : str
        Name of the layer.
    precision : float
        The precision asked for: 1 minus the false discovery rate.
    statistics : array
        (draws, k) W of every neuron; members of a group share the value of its representative, dead neurons have 0.
    groups : array
        (k,) group number of each neuron: neurons that cannot be told apart share one, dead ones have -1.
    representatives : array
        (g,) the neuron that stands for each group.
    rule : Rule
        How neurons are selected: by `LocalFDR` on a calibrated layer.
    importance : array or None
        (k,) root mean square gradient of the learnt response with respect to each neuron, with a calibration.
    order : array or None
        Representatives in the order of what each adds to those before it, about the critical neurons of the next layer
        (of this layer, for the last), see `neucept.discovery.layer`. None: the order of the statistic.
    """

    layer: str
    precision: float
    statistics: np.ndarray
    groups: np.ndarray
    representatives: np.ndarray
    rule: Rule = field(repr=False)
    importance: np.ndarray | None = None
    order: np.ndarray | None = None

    @property
    def q(self) -> float:
        """Level of the false discovery rate, 1 - precision."""
        return 1 - self.precision

    @property
    def calibration(self) -> Calibration | None:
        """What simulated responses said about this layer; None where it was not calibrated."""
        known = self.rule.calibration if isinstance(self.rule, LocalFDR) else None
        return known if isinstance(known, Calibration) else None

    @cached_property
    def local_fdr(self) -> np.ndarray | None:
        """Local false discovery rate: the probability that a neuron's group is null, (k,); None without calibration.

        It is 1 for dead neurons.
        """
        return self._spread(self.rule.local_fdr, dead=1.0) if isinstance(self.rule, LocalFDR) else None

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
        """One neuron of each group in the order of the evidence: by local fdr and importance, or by mean statistic.

        A calibrated selection is a head of it; one by e-values nearly is.
        """
        keys = (-self.mean_statistic,)
        if self.local_fdr is not None and self.importance is not None:
            keys = (-self.importance, self.local_fdr)  # type: ignore[assignment]
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
        chosen = set(self.representatives[apply_rule(self.rule, self._W, self.q)].tolist())
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
    def guarantee(self) -> Guarantee:
        """What holds of `neurons`, and on what evidence."""
        return self.rule.guarantee(self.precision)

    promise = guarantee  # its name in version 0.1

    @property
    def why_empty(self) -> str:
        """Say what a selection at this precision would have needed, for one that is empty."""
        guarantee, groups = self.guarantee, len(self.representatives)
        if guarantee.required is not None and self.local_fdr is not None:
            best = f"{100 * (1 - float(self.local_fdr.min())):.3g}%"
            best = f"{'an' if best.startswith(('8', '11', '18')) else 'a'} {best}"
            if guarantee.required >= 1:
                return f"The strongest candidate has {best} probability of being critical; no probability is enough."
            return (
                f"The strongest candidate has {best} probability of being critical; this layer's calibration requires"
                f" {100 * guarantee.required:.3g}%."
            )
        few = f", more than the layer's {groups} groups of neurons" if guarantee.smallest > groups else ""
        unit = "neuron" if guarantee.smallest == 1 else "neurons"
        return f"The smallest possible selection there has {guarantee.smallest} {unit}{few}."

    def at(self, precision: float) -> Selection:
        """Select at another precision, from the same draws.

        The guarantee is that of a precision chosen before looking; trying several and keeping one is not covered.
        """
        return replace(self, precision=check_precision(precision))

    def table(self) -> pd.DataFrame:
        """One row per neuron, most important first: its statistics, group, and whether it is selected."""
        order = self.ranking
        probability = {} if self.local_fdr is None else {"local_fdr": self.local_fdr[order]}
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

    def _spread(self, values: np.ndarray, dead: float = 0.0) -> np.ndarray:
        return np.where(self.groups >= 0, np.append(values, dead)[self.groups], dead)

    def __repr__(self) -> str:
        return (
            f"Selection({self.layer}: {len(self.neurons)} of {len(self.groups)} neurons at precision"
            f" {self.precision:g})"
        )


@dataclass(frozen=True, repr=False, eq=False)
class CriticalNeurons(Mapping[str, Selection]):
    """Critical neurons of a target at each layer: a mapping of layer to `Selection`.

    Attributes
    ----------
    selections : mapping of str to Selection
        In the order of the recording.
    target : int, str or None
        The class number, or the text of a regression's range; None for an array response.
    target_name : str
        Its name.
    response : str
        ``logit``, ``margin``, ``log_prob`` or ``array``.
    samples : array
        Rows of the recording that were used.
    settings : mapping
        All other settings that the result depends on.
    """

    selections: Mapping[str, Selection]
    target: int | str | None
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
            "layers": [[layer, s.precision, name_of(s.rule)] for layer, s in self.items()],
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
            arrays |= {f"{name}/{layer}": getattr(s, name) for name in (*_ARRAYS, "local_fdr")}
            arrays |= {f"calibration {name}/{layer}": getattr(s.calibration, name, None) for name in Calibration.arrays}
        return storage.save(path, "CriticalNeurons", facts, arrays)

    @classmethod
    def open(cls, path: str | Path, rule: Rule | None = None) -> CriticalNeurons:
        """Open what `save` wrote; ``rule`` is needed where neurons were selected by a rule of the user's own.

        Raises
        ------
        InputError
            When the folder is no saved result, or names a rule that is not known.
        """
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
            selections = {}
            for layer, precision, name in facts.pop("layers"):
                parts = {part: arrays.get(f"{part}/{layer}") for part in _ARRAYS}
                draws = len(arrays[f"statistics/{layer}"])
                if layer in calibrations:
                    kept = "local_fdr" if f"local_fdr/{layer}" in arrays else "null_probability"  # in version 0.1
                    local_fdr = arrays[f"{kept}/{layer}"][arrays[f"representatives/{layer}"]]
                    decides: Rule = LocalFDR(calibrations[layer], local_fdr)
                elif name in (*RULES, OneDraw.name):
                    decides = rule_of(name, draws)
                elif rule is not None and name_of(rule) == name:
                    decides = rule_of(rule, draws)
                else:
                    raise InputError(
                        f"{path} was selected by the rule {name!r}: give that object,"
                        f" CriticalNeurons.open({str(path)!r}, rule=...)."
                    )
                selections[layer] = Selection(layer, precision, rule=decides, **parts)  # type: ignore[arg-type]
            return cls(selections=selections, samples=arrays["samples"], **facts)


_ARRAYS = ("statistics", "groups", "representatives", "importance", "order")


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


def neurons_by_layer(layers: Sequence[str], critical: Any) -> Mapping[str, Any]:
    """Read critical neurons, a ranking by any method, or neurons by hand.

    Parameters
    ----------
    layers : sequence of str
        The recorded layers.
    critical : CriticalNeurons, DataFrame, mapping or array
        Of `neucept.discover` for one target; the rows of one method of `neucept.rankings.rank`; {layer: neurons}, most
        important first; neurons alone where one layer was recorded.

    Returns
    -------
    mapping
        {layer: selection or neuron numbers}.

    Raises
    ------
    InputError
        For anything else.
    """
    if isinstance(critical, pd.DataFrame):
        lacking = [column for column in ("layer", "neuron", "method", "rank") if column not in critical]
        methods = [] if lacking else list(critical["method"].unique())
        if lacking or len(methods) != 1:
            got = f"it lacks the column {lacking[0]!r}" if lacking else f"it has the methods {methods}"
            raise InputError(
                f"critical is a table, but not a ranking by one method: {got}. Give the rows of one method of what"
                " neucept.rankings.rank returns: table[table.method == NAME]."
            )
        ordered = critical.sort_values("rank", kind="stable")
        return {
            layer: ordered.loc[ordered["layer"] == layer, "neuron"].to_numpy() for layer in critical["layer"].unique()
        }
    if isinstance(critical, Mapping):
        return critical
    if isinstance(critical, np.ndarray | list | tuple | range):
        if len(layers) == 1:
            return {layers[0]: critical}
        raise InputError(
            f"critical is one list of neurons, but {len(layers)} layers were recorded: give"
            f" {{layer: neurons}}, with layers among {', '.join(layers)}."
        )
    raise InputError(
        f"critical is a {type(critical).__name__}; expected what neucept.discover returns for one target, a ranking of"
        " neucept.rankings.rank, or {layer: neuron numbers}."
    )
