"""Numbers as text, and sentences on a selection of neurons that several sections share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pandas as pd

from neucept.calibration.simulation import NONE
from neucept.discovery import Selection
from neucept.mechanisms import Feature, Mechanisms, inputs_needed, wilson
from neucept.recording import Recording

LEVELS = (0.6, 0.7, 0.8, 0.9, 0.95)  # of precision, shown beside the one required
FEW = 10  # inputs of a mechanism below which nothing is said of it, unless a test does
_FAMILIES = {NONE: "pure noise", "all": "all together"}


def percent(share: float, decimals: int | None = None) -> str:
    """Write a share.

    >>> percent(0.614), percent(0.9925), percent(float("nan"))
    ('61%', '99.2%', '–')
    """
    if math.isnan(share):
        return "–"
    if share in (0, 1):
        decimals = 0
    if decimals is None:
        decimals = 1 if 0 < share < 0.05 or 0.95 < share < 1 else 0
    return f"{share * 100:.{decimals}f}%"


def between(share: float, low: float, high: float) -> str:
    """Write a share with its interval.

    >>> between(0.61, 0.52, 0.69), between(0.987, 0.978, 0.992)
    ('61% (52 to 69)', '98.7% (97.8 to 99.2)')
    """
    decimals = 1 if high - low < 0.04 else 0
    return f"{percent(share, decimals)} ({low * 100:.{decimals}f} to {high * 100:.{decimals}f})"


def p_value(p: float) -> str:
    """Write a p-value.

    >>> p_value(0.0), p_value(0.031)
    ('p < 0.001', 'p = 0.031')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def number(value: float) -> str:
    """Write a count.

    >>> number(10000)
    '10,000'
    """
    return f"{value:,.0f}"


def shorten(name: str, most: int) -> str:
    """Cut a name that is too long for its place.

    >>> shorten("golden retriever", 10)
    'golden re…'
    """
    return name if len(name) <= most else f"{name[: most - 1]}…"


def join(parts: Sequence[str]) -> str:
    """Join the items of a list.

    >>> join(["a", "b", "c"])
    'a, b and c'
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def features_called(mechanisms: Mechanisms) -> str:
    """Say what inputs were clustered by."""
    return "representative neurons" if mechanisms.space is None else "principal components"


def feature_label(feature: Feature, most: int = 2) -> str:
    """Name the members of a representative neuron, briefly.

    >>> feature_label(Feature("conv", (7, 21, 3, 4), True))
    '7+21+2 more'
    """
    if feature.component is not None:
        return f"PC {feature.component + 1}"
    first = "+".join(map(str, feature.neurons[:most]))
    return first if len(feature.neurons) <= most else f"{first}+{len(feature.neurons) - most} more"


def feature_title(feature: Feature, layers: int = 2) -> str:
    """Name a representative neuron in a heading; a principal component, where there is one layer, without it.

    >>> feature_title(Feature("conv", (7, 21), True))
    'conv:7+21'
    >>> feature_title(Feature("conv", (7, 21), False, (0.9, 0.1), 0))
    'conv PC 1 (7, 21)'
    >>> feature_title(Feature("conv", (7, 21), False, (0.9, 0.1), 0), layers=1)
    'PC 1 (7, 21)'
    """
    if feature.component is None:
        return feature.name
    short = f"PC {feature.component + 1} ({', '.join(map(str, feature.main_neurons))})"
    return short if layers == 1 else f"{feature.layer} {short}"


def unit_names(recording: Recording, feature: Feature, most: int = 2) -> str:
    """Join the names that a layer's units give to a representative neuron's members; empty for units without names."""
    names = [name for neuron in feature.main_neurons if (name := neuron_name(recording, feature.layer, neuron))]
    return " + ".join(names[:most]) + (f" + {len(names) - most} more" if len(names) > most else "")


def neuron_name(recording: Recording, layer: str, neuron: int) -> str:
    """Name that a layer's units give to a neuron; empty for units without names."""
    labels = recording.units[layer].labels or ()
    return str(labels[neuron]) if neuron < len(labels) else ""


def family_name(family: str) -> str:
    """Name a family of simulated responses.

    >>> family_name("none"), family_name("trees")
    ('pure noise', 'trees')
    """
    return _FAMILIES.get(family, family)


def layers_named(layers: Sequence[str]) -> str:
    """Name layers in a sentence.

    >>> layers_named(["10"]), layers_named(["10", "classifier.1"])
    ('layer 10', 'layers 10 and classifier.1')
    """
    return f"layer{'s' if len(layers) > 1 else ''} {join(layers)}"


def is_grouped(selection: Selection) -> bool:
    """Tell whether some neurons share a group, so that precision refers to groups."""
    return int((selection.groups >= 0).sum()) > len(selection.representatives)


def members(selection: Selection, neuron: int) -> list[int]:
    """Neurons of the group of one, itself first; it alone where it is constant."""
    group = selection.groups[neuron]
    same = np.flatnonzero(selection.groups == group) if group >= 0 else np.array([neuron])
    return [int(neuron), *(other for other in same.tolist() if other != neuron)]


def neurons_called(neurons: Iterable[int], names: Sequence[str] | np.ndarray | None) -> list[str]:
    """Name neurons: by the names of their layer, where it has some, or by number."""
    return [str(neuron if names is None else names[neuron]) for neuron in neurons]


def group_label(neurons: Sequence[int], most: int = 4, names: np.ndarray | None = None) -> str:
    """Name a neuron, or the members of its group, briefly.

    >>> group_label([7]), group_label([7, 21]), group_label([7, 3, 4, 9, 11, 12])
    ('neuron 7', 'neurons 7, 21', 'neurons 7, 3, 4, 9 and 2 more')
    """
    first = ", ".join(neurons_called(neurons[:most], names))
    more = f" and {len(neurons) - most} more" if len(neurons) > most else ""
    return f"neuron{'s' if len(neurons) > 1 else ''} {first}{more}"


def selected_count(selection: Selection) -> str:
    """Say how many of how many neurons or groups are selected."""
    chosen = len(selection.neurons)
    if not is_grouped(selection):
        return f"{chosen or 'none'} of the {len(selection.groups)} neurons"
    covered = int(np.isin(selection.groups, selection.groups[selection.neurons]).sum())
    neurons = f" ({covered} of {len(selection.groups)} neurons)" if chosen else ""
    return f"{chosen or 'none'} of the {len(selection.representatives)} groups of neurons{neurons}"


def grouping(selection: Selection) -> str | None:
    """Explain groups in a sentence; None where each neuron is a group of its own."""
    if not is_grouped(selection):
        return None
    groups, alive = len(selection.representatives), int((selection.groups >= 0).sum())
    if selection.calibration is not None and np.isnan(selection.calibration.cut):
        return f"Precision refers to the groups that were given: {groups} groups of {alive} neurons."
    copies = 0 if selection.calibration is None else alive - len(selection.calibration.groups)
    if copies and selection.calibration is not None and selection.calibration.single:
        return f"Near copies of a neuron count as one with it: {groups} neurons or sets of copies, of {alive} neurons."
    near = f", of which {copies} are near copies of others" if copies else ""
    return (
        f"Strongly correlated neurons cannot be distinguished and are treated as one group: {groups} groups of"
        f" {alive} neurons{near}. A critical group contains at least one critical neuron; which one is not determined."
    )


def why_none(selection: Selection) -> str:
    """Explain an empty selection, and say what would change it."""
    reason = selection.why_empty
    if selection.calibration is None:
        reason += " A lower precision or more inputs may select some."
    else:
        for precision in (level for level in LEVELS[::-1] if level < selection.precision):
            if chosen := len(selection.at(precision).neurons):
                reason += f" A precision of {precision:g}, fixed in advance, would select {chosen}."
                break
    return f"An empty selection is a valid result. {reason} The ranking is not affected."


def guarantee_clause(selections: Mapping[str, Selection]) -> str:
    """Say in a sentence or two what the precision of some layers is based on."""
    calibrated = [s for s in selections.values() if s.calibration is not None]
    others = [s for s in selections.values() if s.calibration is None]
    parts = []
    if calibrated:
        where = _where(calibrated, len(selections))
        tables = [s.calibration.table(s.precision).set_index("family") for s in calibrated if s.calibration is not None]
        means = join([f"{table['precision'].tolist()[-1]:.2f}" for table in tables])
        families = pd.concat([table.drop(index="all")["precision"] for table in tables])
        lowest, worst = min(zip(families.tolist(), map(str, families.index.tolist()), strict=True))
        power = max(float(table["power"].tolist()[-1]) for table in tables)
        empty = " Hardly anything was selected there, and an empty selection counts as precise." if power < 0.05 else ""
        parts.append(
            f"On responses simulated on {where}, the realised precision was {means} on average and {lowest:.2f} for"
            f" the worst family ({family_name(worst)}).{empty} This is evidence, not a proof."
        )
    if others:
        for short in dict.fromkeys(s.guarantee.short for s in others):
            where = _where([s for s in others if s.guarantee.short == short], len(selections))
            parts.append(f"On {where}: {short[0].lower()}{short[1:]}")
    return " ".join(parts)


def _where(some: Sequence[Selection], total: int) -> str:
    if len(some) == total:
        return "this layer" if total == 1 else "these layers"
    return layers_named([selection.layer for selection in some])


# How precision compares with confidence, for a report, an audit and the terminal


def about_mechanism(row: Any) -> str:
    """Say how the precision of a mechanism compares with what its confidence says; empty where nothing stands out.

    Parameters
    ----------
    row : object
        With ``mechanism``, ``class_name``, and the columns of `neucept.reliability` that compare with confidence.
    """
    which = f"Mechanism {row.mechanism} of class '{row.class_name}'"
    right = f"is right in {between(row.precision, row.low, row.high)}"
    own, others = "", "inputs of the class with such confidence are right in"
    if np.isfinite(getattr(row, "confidence", np.nan)):
        own = f"; the network's own confidence is {percent(row.confidence)} there, and"
    if row.confidence_verdict == "overconfident":
        says = percent(_says(row))
        if row.precision < row.expected_low:
            if own:
                return f"{which} {right}{own} {others} {says} (overconfident)."
            return f"{which} {right} where its confidence says {says} (overconfident)."
        return f"{which} {right}{own or ' where'} other classes are right in {says} at this confidence (overconfident)."
    if row.confidence_verdict == "unsure":
        if own:
            return (
                f"{which} {right}, the rest of the class in {percent(row.rest)}{own} {others} {percent(row.expected)}"
                " (unsure)."
            )
        says = f"and its confidence says so ({percent(row.expected)})"
        return f"{which} {right}, the rest of the class in {percent(row.rest)}, {says} (unsure)."
    return ""


def verdict_words(verdict: Any, confidence_verdict: Any) -> str:
    """Say both verdicts on a mechanism: against the rest of its class, and against its confidence.

    >>> verdict_words("more reliable", "too few to tell")
    'more reliable; too few of equal confidence to say more'
    >>> verdict_words("", "as confident as right"), verdict_words("less reliable", "unsure")
    ('as confident as right', 'less reliable; unsure')
    """
    known = [words for words in (verdict, confidence_verdict) if isinstance(words, str) and words]
    if known == ["more reliable", "too few to tell"]:
        known[1] = "too few of equal confidence to say more"
    return "; ".join(known)


def judgement(verdict: str, confidence_verdict: str) -> tuple[str, Literal["plain", "good", "bad"]]:
    """Say both verdicts on a mechanism, and whether they are an alarm, good news, or neither.

    >>> judgement("less reliable", "unsure"), judgement("", "overconfident"), judgement("", "")
    (('less reliable; unsure', 'plain'), ('overconfident', 'bad'), ('no clear difference', 'plain'))
    """
    words = "; ".join(filter(None, [verdict, confidence_verdict])) or "no clear difference"
    if confidence_verdict == "overconfident" or (verdict == "less reliable" and confidence_verdict != "unsure"):
        return words, "bad"
    good = verdict == "more reliable" or confidence_verdict == "as confident as right"
    return words, "good" if good and confidence_verdict not in ("unsure", "underconfident") else "plain"


def too_few(inputs: int) -> str:
    """Say that there are too few inputs to say anything of a mechanism; empty where there are enough.

    >>> too_few(3), too_few(10)
    ('3 inputs: too few to say anything', '')
    """
    if inputs >= FEW:
        return ""
    return f"{inputs} input{'' if inputs == 1 else 's'}: too few to say anything"


def _says(row: Any) -> float:
    """Precision that the confidence of an overconfident mechanism says, or would say in other classes."""
    return float(row.expected if row.precision < row.expected_low else row.expected_elsewhere)


def confidence_findings(table: pd.DataFrame, most: int = 5, most_unsure: int | None = None) -> list[str]:
    """Say where a network is confidently wrong or unsure, and what cannot be said.

    Parameters
    ----------
    table : DataFrame
        One row per mechanism: ``class``, ``mechanism`` and, with labels, the columns of `neucept.reliability`.
    most : int
        Number of mechanisms named of each kind.
    most_unsure : int, optional
        Another number for those that are unsure.

    Returns
    -------
    list of str
        Whether mechanisms tell errors no better than confidence does (with ``auc_confidence`` and ``auc_mechanisms``),
        a confidence that is too high in whole classes, then the alarm; never empty.
    """
    if "confidence_verdict" not in table or not (table["confidence_verdict"] != "").any():
        needed = inputs_needed(0.9, tests=max(len(table), 1))
        return [
            "Without labels nobody can say how often a mechanism is right, nor whether the network is confidently wrong"
            f" there. Labels of at least {number(needed)} inputs of a mechanism, and of as many others of its class,"
            " show a precision that is 10 points below a confidence of 90%."
        ]
    rows: list[Any] = [
        SimpleNamespace(**{"class_name": row["class"], **{str(key): value for key, value in row.items()}})
        for row in table.to_dict("records")
    ]
    alarms = [row for row in rows if row.confidence_verdict == "overconfident"]
    alarms.sort(key=lambda row: row.judged * (row.precision - _says(row)))
    unsure = [row for row in rows if row.confidence_verdict == "unsure"]
    told = [row for row in rows if row.confidence_verdict in _TOLD]
    few = [row for row in rows if row.confidence_verdict == "too few to tell"]
    better = [row for row in few if getattr(row, "verdict", "") == "more reliable"]
    few = [row for row in few if getattr(row, "verdict", "") != "more reliable"]
    alone = [row for row in rows if row.confidence_verdict == "nothing to compare"]
    said = [*_no_better(table), *_too_confident(table), *_named(alarms, most)]
    if told and not alarms:
        which = "None of the mechanisms" if len(told) == len(rows) else f"Of {len(told)} mechanisms to be judged, none"
        said.append(f"{which} is less reliable than the confidence, calibrated within its class, says.")
    said += _named(unsure, most if most_unsure is None else most_unsure)
    if alone:
        first = f"Mechanism {alone[0].mechanism} of class '{alone[0].class_name}'"
        which = f"{first} is" if len(alone) == 1 else f"{len(alone)} mechanisms are"
        said.append(
            f"{which} as good as alone at {'its' if len(alone) == 1 else 'their'} confidence in the class; compared"
            " with other classes there is no alarm."
        )
    if few:
        best = max(few, key=lambda row: row.comparable / row.needed)
        one = f"mechanism {best.mechanism} of class '{best.class_name}'"
        which = one if len(few) == 1 else f"{len(few)} mechanisms, of which {one} is nearest to enough"
        said.append(
            f"There are too few inputs to judge {which}: {number(best.comparable)} can be compared with others of equal"
            f" confidence, and {number(best.needed)} are needed to see a precision that is 10 points too low."
        )
    if any(row.confidence_verdict == "no probability" for row in rows):
        said.append("The outputs are no probabilities, so that precision cannot be compared with a confidence.")
    if better and not said:
        said.append(
            f"{len(better)} mechanisms are more reliable than the rest of their class; too few inputs are of equal"
            " confidence to say more."
        )
    return said


def _no_better(table: pd.DataFrame) -> list[str]:
    """Say on which classes mechanisms add nothing to confidence for telling errors."""
    if not {"auc_confidence", "auc_mechanisms"} <= set(table):
        return []
    areas = table.groupby("class", sort=False)[["auc_confidence", "auc_mechanisms"]].first().dropna()
    alone, both = areas["auc_confidence"], areas["auc_mechanisms"]
    equal = areas[(alone >= 0.5) & (both - alone < _GAIN)]
    if equal.empty:
        return []
    middle = equal.median()
    where = f"On '{equal.index[0]}'" if len(equal) == 1 else f"On {len(equal)} of {len(areas)} classes"
    return [
        f"{where} mechanisms tell errors no better than the network's own confidence does"
        f" ({'AUC' if len(equal) == 1 else 'median AUC'} {middle['auc_mechanisms']:.2f} and"
        f" {middle['auc_confidence']:.2f})."
    ]


def _too_confident(table: pd.DataFrame) -> list[str]:
    """Say where the mean confidence lies above the interval of the precision of a whole class."""
    if "confidence" not in table:
        return []
    known = table[table["confidence"].notna() & (table["judged"] > 0)]
    classes = known.groupby("class", sort=False)
    too_sure = []
    for name, rows in classes:
        n = int(rows["judged"].sum())
        right, sure = ((rows["judged"] * rows[column]).sum() / n for column in ("precision", "confidence"))
        if sure > wilson(right * n, n, 1 - 0.05 / len(classes))[1]:
            too_sure.append((sure - right, name, right, sure))
    if not too_sure:
        return []
    _, name, right, sure = max(too_sure, key=lambda one: one[0])
    said = f"On '{name}' the network is right in {percent(right)} and {percent(sure)} confident"
    where = "" if len(too_sure) == 1 else f", and so on {len(too_sure)} of {len(classes)} classes (this is the worst)"
    return [f"{said}{where}: too confident as a whole."]


def _named(rows: Sequence[Any], most: int) -> list[str]:
    """Describe the first mechanisms of a kind, and count the others."""
    more = f"{len(rows) - most} more mechanisms are {rows[0].confidence_verdict}." if len(rows) > most else ""
    return [*map(about_mechanism, rows[:most]), *([more] if more else [])]


_GAIN = 0.01  # of the area under the curve, from which mechanisms tell errors better than confidence
_TOLD = ("overconfident", "underconfident", "unsure", "as confident as right")
