"""Results: the critical neurons of one layer, and of a target at every layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from neucept import storage
from neucept.calibration.calibration import Calibration
from neucept.discovery.effects import Effects, EffectTest
from neucept.discovery.orders import Aim
from neucept.discovery.witness import Witness
from neucept.errors import InputError, check_precision, check_real, closest, one_of
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
from neucept.recording import Recording
from neucept.recording.outputs import Output
from neucept.short_repr import shortened
from neucept.vocabulary import ORDERS, OrderName

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
    orders : mapping of str to array
        Further orders that are known, by name, see `neucept.discover`: (p,) neurons.
    by : str
        The order of `ranking`.
    kept : array or None
        (p + 1,) share of predictions that stay with the first 0, 1, ..., p neurons of the order ``sufficient``, all
        others being those of another input; on inputs that the order was not found on.
    effects : Effects or None
        What the network does without each neuron, see `neucept.discovery.effects`.
    names : array or None
        (k,) names of the neurons, where their units give some: ``names[neurons]`` are those selected.
    """

    layer: str
    precision: float
    statistics: np.ndarray
    groups: np.ndarray
    representatives: np.ndarray
    rule: Rule = field(repr=False)
    importance: np.ndarray | None = None
    order: np.ndarray | None = None
    orders: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    by: str = "information"
    kept: np.ndarray | None = field(default=None, repr=False)
    effects: Effects | None = field(default=None, repr=False)
    names: np.ndarray | None = field(default=None, repr=False)

    @property
    def q(self) -> float:
        """Level of the false discovery rate, 1 - precision."""
        return 1 - self.precision

    @property
    def calibration(self) -> Calibration | None:
        """What simulated responses said about this layer; None where it was not calibrated."""
        rule = self._evidence
        known = rule.calibration if isinstance(rule, LocalFDR) else None
        return known if isinstance(known, Calibration) else None

    @cached_property
    def local_fdr(self) -> np.ndarray | None:
        """Local false discovery rate: the probability that a neuron's group is null, (k,); None without calibration.

        It is 1 for dead neurons.
        """
        rule = self._evidence
        return self._spread(rule.local_fdr, dead=1.0) if isinstance(rule, LocalFDR) else None

    @cached_property
    def mean_statistic(self) -> np.ndarray:
        """Mean of W over the draws, (k,)."""
        return np.asarray(self.statistics.mean(axis=0))

    @cached_property
    def ranking(self) -> np.ndarray:
        """All neurons, most important first, in the order that `by` names; see `ranked`."""
        return self.ranked(self.by)

    def ranked(self, order: str) -> np.ndarray:
        """Give all neurons in one of the orders, (k,).

        Parameters
        ----------
        order : str
            ``information``: one of each group, by what each adds to those before it, then those that add nothing by the
            mean statistic, then the other members of groups. ``evidence``: as `surest`, then the other members.
            ``contribution``, ``robust``, ``sufficient``: every neuron by itself, where this order is known. Dead
            neurons are last.

        Raises
        ------
        InputError
            For an order that is not known.
        """
        one_of("order", order, ORDERS)
        if order in ("information", "evidence"):
            first = self.surest if order == "evidence" else self.order
        elif order in self.orders:
            first = self.orders[order]
        else:
            needs = "recording" if order == "contribution" else "recording, model, data"
            raise InputError(
                f"The order '{order}' of layer '{self.layer}' is not known yet; there are"
                f" {', '.join(self.known_orders)}. To find it without a new discovery, call"
                f' critical = critical.ordered("{order}", {needs}).'
            )
        place = np.full(len(self.groups), len(self.groups))
        if first is not None:
            place[first] = np.arange(len(first))
        kind = np.where(self.groups < 0, 2, 1)
        kind[self.representatives] = 0
        if order in self.orders:
            return np.lexsort((-self.mean_statistic, kind, place))
        return np.lexsort((-self.mean_statistic, place, kind))

    @property
    def known_orders(self) -> tuple[str, ...]:
        """Names of the orders that can be asked for with `ranked`."""
        return tuple(name for name in ORDERS if name in ("information", "evidence") or name in self.orders)

    @cached_property
    def is_selected(self) -> np.ndarray:
        """Whether the group of each neuron is selected, (k,) bool."""
        return np.isin(self.groups, self.groups[self.neurons])

    def sufficient(self, share: float = 0.9) -> np.ndarray:
        """Give the first neurons of the order ``sufficient`` that keep a share of the predictions.

        Parameters
        ----------
        share : float
            Of predictions that stay when all other neurons are those of another input.

        Returns
        -------
        array
            Neurons, the one that carries most first; all that vary where even they keep less.

        Raises
        ------
        InputError
            When the order is not known.
        """
        order = self.ranked("sufficient")
        assert self.kept is not None  # it comes with the order
        enough = np.flatnonzero(self.kept >= check_real("share", share, 0, 1 + 1e-9))
        return order[: int(enough[0]) if len(enough) else len(self.kept) - 1]

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

    def table(self, by: str = "neuron") -> pd.DataFrame:
        """One row per neuron or group, most important first.

        Parameters
        ----------
        by : {"neuron", "group"}
            What a row is. The row of a group holds the statistics of the neuron that stands for it, how many neurons it
            has (``members``), and the effect of all of them together.

        Returns
        -------
        DataFrame
            ``layer``, ``neuron``, ``name`` (where neurons have names), ``local_fdr`` (with a calibration),
            ``statistic``, ``evalue``, ``frequency``, ``group``, ``selected``, and ``rank_`` with the name of each order
            that is known, from 1. Only where the network was run (``model`` and ``data``): ``kept``, the share of
            predictions that stay with this neuron and those before it in the order ``sufficient``; ``sufficiency``, how
            much of that the neuron adds, as a share of what all add; ``effect``, ``effect_low``, ``effect_high``,
            ``effect_given``, ``effect_given_low``,
            ``effect_given_high`` and ``changed``, see `Effects`.
        """
        order = self.ranking
        if one_of("by", by, ("neuron", "group")) == "group":
            order = order[np.isin(order, self.representatives)]
        probability = {} if self.local_fdr is None else {"local_fdr": self.local_fdr[order]}
        ranks = {f"rank_{name}": (np.argsort(self.ranked(name)) + 1)[order] for name in self.known_orders}
        selected = np.isin(order, self.neurons) if by == "neuron" else self.is_selected[order]
        table = pd.DataFrame(
            {
                "layer": self.layer,
                "neuron": order,
                **({} if self.names is None else {"name": self.names[order]}),
                **probability,
                "statistic": self.mean_statistic[order],
                "evalue": self.evalues[order],
                "frequency": self.frequency[order],
                "group": self.groups[order],
                "selected": selected,
                **ranks,
            }
        )
        if by == "group":
            table["members"] = np.bincount(self.groups[self.groups >= 0])[self.groups[order]]
        elif self.kept is not None:
            place = ranks["rank_sufficient"] - 1
            kept = np.append(self.kept, np.full(len(self.groups), np.nan))
            gain = np.append(np.diff(self.kept), np.full(len(self.groups), 0.0))
            table["kept"] = kept[place + 1]
            table["sufficiency"] = gain[place] / max(self.kept[-1] - self.kept[0], 1e-12)
        if self.effects is not None:
            table = table.assign(**self._effect_columns(self.effects, order, by))
        return table

    def _effect_columns(self, effects: Effects, order: np.ndarray, by: str) -> dict[str, np.ndarray]:
        names: tuple[str, ...]
        if by == "group":
            place, names = self.groups[order], ("group_alone", "group_low", "group_high", "group_given")
        else:
            place, names = order, ("alone", "alone_low", "alone_high", "given", "given_low", "given_high")
        columns = ("effect", "effect_low", "effect_high", "effect_given", "effect_given_low", "effect_given_high")
        values = {column: getattr(effects, name)[place] for column, name in zip(columns, names, strict=False)}
        return {**values, "changed": (effects.group_changed if by == "group" else effects.changed)[place]}

    @property
    def _evidence(self) -> Rule:
        """The rule that holds the evidence, which an effect may have overruled."""
        base = self.rule.base if isinstance(self.rule, EffectTest) else self.rule
        return self.rule if base is None else base

    @property
    def _W(self) -> np.ndarray:
        return self.statistics[:, self.representatives]

    def _spread(self, values: np.ndarray, dead: float = 0.0) -> np.ndarray:
        return np.where(self.groups >= 0, np.append(values, dead)[self.groups], dead)

    def __repr__(self) -> str:
        found = (
            f"Selection({self.layer}: {len(self.neurons)} of {len(self.groups)} neurons at precision {self.precision:g}"
        )
        return shortened(f"{found}{'' if self.kept is None else self._sufficient_in_short()})")

    def _sufficient_in_short(self) -> str:
        enough = self.sufficient(0.9)
        kept = "" if self.kept is None or self.kept[len(enough)] >= 0.9 else " do not"
        return f"; {len(enough)}{kept} suffice for 90%"

    @property
    def suffices(self) -> str:
        """Say how many neurons keep 90% of the predictions, and how many of these are selected; empty if not known.

        Where even all that vary keep less, it says so: those that are constant on the target's inputs, but not on
        others, are taken from another input as well.
        """
        if self.kept is None:
            return ""
        enough = self.sufficient(0.9)
        if self.kept[len(enough)] < 0.9:
            return (
                f"; all {len(enough)} that vary keep {self.kept[-1]:.0%} of the predictions: those that are constant on"
                " these inputs carry the rest"
            )
        return (
            f"; of the {len(enough)} that suffice for 90% of the predictions, {self.is_selected[enough].sum()} selected"
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
        found = ", ".join(f"{layer}: {len(s.neurons)} of {len(s.groups)}" for layer, s in self.items())
        levels = {s.precision for s in self.values()}
        asked = f" at precision {levels.pop():g}" if len(levels) == 1 else ""
        return shortened(f"CriticalNeurons(target {self.target_name!r}{asked}; {found})")

    def at(self, precision: float | Mapping[str, float]) -> CriticalNeurons:
        """Select at another precision (one for all layers or {layer: precision}), from the same draws."""
        levels = precisions(precision, list(self), {layer: s.precision for layer, s in self.items()})
        return replace(self, selections={layer: selection.at(levels[layer]) for layer, selection in self.items()})

    def ordered(
        self,
        order: OrderName,
        recording: Recording | None = None,
        model: nn.Module | None = None,
        data: Any = None,
        output: Output = None,
        seed: int | None = None,
    ) -> CriticalNeurons:
        """Put the neurons in another order, without discovering anew; the selection stays.

        Parameters
        ----------
        order : {"information", "evidence", "contribution", "robust", "sufficient"}
            See `neucept.discover`.
        recording : Recording, optional
            The recorded one, for orders that are not known yet.
        model, data : Module and data of any kind, optional
            The recorded ones, for ``robust`` and ``sufficient``.
        output : None, str, int or callable
            As in `neucept.record`; that of the recording by default.
        seed : int, optional
            Seed for inputs and noise; by default that of the discovery, by which `neucept.sufficiency` knows on which
            inputs the order was not found.

        Raises
        ------
        InputError
            When what the order needs is missing, or the network cannot be cut at a layer.
        """
        one_of("order", order, ORDERS)
        selections, seed = dict(self.selections), int(self.settings.get("seed", 0)) if seed is None else seed
        missing = [layer for layer, selection in self.items() if order not in selection.known_orders]
        if missing and recording is None:
            selections[missing[0]].ranked(order)  # says what is missing
        if missing and recording is not None:
            witness = Witness.of(recording, missing, model, data, output, order)
            for layer in missing:
                aim = None if self.target is None else Aim(recording, self.target, self.response)
                selections[layer] = witness.order(selections[layer], aim, self.samples, order, seed)
        return replace(self, selections={layer: replace(s, by=order) for layer, s in selections.items()})

    def table(self, by: str = "neuron") -> pd.DataFrame:
        """All neurons, or groups, of all layers, see `Selection.table`."""
        table = pd.concat([selection.table(by) for selection in self.selections.values()], ignore_index=True)
        if "name" in table:
            table.insert(2, "name", table.pop("name").fillna(""))
        return table

    def save(self, path: str | Path) -> Path:
        """Write to a folder; `CriticalNeurons.open` reads it."""
        facts = {
            "layers": [[layer, s.precision, name_of(s._evidence)] for layer, s in self.items()],
            "by": {layer: s.by for layer, s in self.items()},
            "effect": {layer: s.rule.size for layer, s in self.items() if isinstance(s.rule, EffectTest)},
            "calibrations": {
                layer: [c.layer, c.cut, list(c.family), c.power]
                for layer, s in self.items()
                if (c := s.calibration) is not None
            },
            "names": {layer: s.names.tolist() for layer, s in self.items() if s.names is not None},
            **{name: getattr(self, name) for name in ("target", "target_name", "response")},
            "settings": dict(self.settings),
        }
        arrays: dict[str, np.ndarray | None] = {"samples": self.samples}
        for layer, s in self.items():
            arrays |= {f"{name}/{layer}": getattr(s, name) for name in (*_ARRAYS, "local_fdr")}
            arrays |= {f"order {name}/{layer}": order for name, order in s.orders.items()} | {f"kept/{layer}": s.kept}
            if s.effects is not None:
                arrays |= {f"effect {name}/{layer}": array for name, array in s.effects.arrays().items()}
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
                layer: Calibration.of(
                    of,
                    cut,
                    kinds,
                    {
                        name.removeprefix("calibration ").removesuffix(f"/{layer}"): array
                        for name, array in arrays.items()
                        if name.startswith("calibration ") and name.endswith(f"/{layer}")
                    },
                    *power,
                )
                for layer, (of, cut, kinds, *power) in facts.pop("calibrations").items()
            }
            selections = {}
            by, sizes, called = facts.pop("by", {}), facts.pop("effect", {}), facts.pop("names", {})
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
                known = {name: arrays.get(f"order {name}/{layer}") for name in ORDERS}
                measured = {name: arrays.get(f"effect {name}/{layer}") for name in Effects.names()}
                effects = None if measured["alone"] is None else Effects(**measured)  # type: ignore[arg-type]
                if layer in sizes and effects is not None:
                    decides = EffectTest(sizes[layer], effects.p_values(sizes[layer]), decides)
                selections[layer] = Selection(
                    layer,
                    precision,
                    rule=decides,
                    **parts,  # type: ignore[arg-type]
                    orders={name: order for name, order in known.items() if order is not None},
                    by=by.get(layer, "information"),
                    kept=arrays.get(f"kept/{layer}"),
                    effects=effects,
                    names=np.array(called[layer]) if layer in called else None,
                )
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
