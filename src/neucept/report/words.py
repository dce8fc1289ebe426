"""The page's plain words: numbers as a person says them, and the summary."""

from __future__ import annotations

import math

import pandas as pd

from neucept.mechanisms.choice import ALPHA, STABLE
from neucept.report.material import Material


def percent(share: float, decimals: int | None = None) -> str:
    """Write a share.

    >>> percent(0.614), percent(0.9925), percent(float("nan"))
    ('61%', '99.2%', '–')
    """
    if math.isnan(share):
        return "–"
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


def title(material: Material) -> str:
    """Title of the page."""
    target = material.mechanisms.target_name if material.critical.target is None else material.critical.target_name
    return material.title or f"How {material.model_name} decides “{target}”"


def about_inputs(material: Material) -> str:
    """Say what was looked at, and how often it is right."""
    m, n = len(material.rows), len(material.recording)
    target = material.critical.target_name
    if material.are_predictions:
        first = f"{material.model_name} predicts “{target}” for {number(m)} of {number(n)} inputs"
        if material.overall is None:
            return f"{first}. The recording has no labels of the model's classes, so how many are right is not known."
        return f"{first}; {between(*material.overall)} of these predictions are right."
    first = f"This page looks at {number(m)} of {number(n)} inputs of {material.model_name}"
    if material.critical.target is None:
        return f"{first}, and at what decides a response of your own."
    if material.overall is None:
        return f"{first}, and at what decides “{target}”."
    return f"{first}, and at what decides “{target}”; {between(*material.overall)} of the inputs are labelled so."


def about_number(material: Material) -> str:
    """Say how many mechanisms there are, and whether there is more than one."""
    K, guide = len(material.mechanisms), material.guide
    if K == 1:
        more = guide.p_one <= ALPHA
        tail = f" although the test rules out a single one ({p_value(guide.p_one)})" if more else ""
        return f"The inputs are treated as one mechanism{tail}."
    if guide.p_one > ALPHA:
        return (
            f"A single mechanism cannot be refuted ({p_value(guide.p_one)}): the {K} groups below may be slices of one"
            " cloud rather than different ways of deciding."
        )
    other = f"; the guide suggests {guide.suggested}" if guide.suggested != K else ""
    return f"The inputs fall into {K} mechanisms{other}, and the test rules out a single one ({p_value(guide.p_one)})."


def about_stability(material: Material) -> str | None:
    """Warn of clusters that do not come again on other halves of the inputs."""
    table = material.guide.table.set_index("mechanisms")
    K = len(material.mechanisms)
    if K < 2 or K not in table.index or not table.loc[K, "stability"] < STABLE:
        return None
    return (
        f"The {K} clusters change from one half of the inputs to the other (stability {table.loc[K, 'stability']:.2f}, of"
        " 1 at best): read them as a rough division."
    )


def least_reliable(material: Material) -> tuple[int, pd.Series] | None:
    """Find the mechanism that is surely less reliable than the others, the worst if several are."""
    if material.reliability is None:
        return None
    sure = material.reliability[material.reliability["verdict"] == "less reliable"]
    if sure.empty:
        return None
    worst = sure["precision"].idxmin()
    return int(worst), sure.loc[worst]


def about_reliability(material: Material) -> str | None:
    """Say which mechanism is the least reliable, or that none stands out."""
    known, K = material.reliability, len(material.mechanisms)
    if known is None or K < 2:
        return None
    verb = "are right" if material.are_predictions else "are labelled so"
    worst = least_reliable(material)
    if worst is None:
        seen = known.dropna(subset=["precision"])
        span = f"{percent(seen['precision'].min(), 1)} to {percent(seen['precision'].max(), 1)}"
        return f"No mechanism is surely less reliable than the others: their precision runs from {span}."
    name, row = worst
    held = "predictions" if material.are_predictions else "inputs"
    rest = percent(row["rest"], 1 if row["high"] - row["low"] < 0.04 else None)
    return (
        f"Mechanism {name} holds {percent(row['share'])} of the {held}; {between(row['precision'], row['low'], row['high'])}"
        f" of them {verb}, against {rest} elsewhere."
    )


def about_neurons(material: Material) -> str:
    """Say how many neurons were selected where."""
    parts = [
        f"{len(selection.neurons) or 'none'} of the {len(selection.groups)} neurons of {layer}"
        for layer, selection in material.critical.items()
    ]
    levels = dict.fromkeys(f"{selection.precision:g}" for selection in material.critical.values())
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"At a precision of {' / '.join(levels)}, {listed} are selected as critical."


def about_use(material: Material) -> str:
    """Say how many representative neurons the mechanisms rest on."""
    features = material.mechanisms.features
    beyond = sum(not feature.selected for feature in features)
    tail = f" {beyond} of them are beyond the selection: the precision asked does not cover them." if beyond else ""
    names = ", ".join(material.mechanisms.layers)
    return f"Mechanisms are clusters of the activations of {len(features)} representative neurons at {names}.{tail}"
