"""The page's plain words: numbers as a person says them, and the summary."""

from __future__ import annotations

import math

from neucept.mechanisms.n_clusters import ALPHA, STABLE
from neucept.reports.material import Judged, Material
from neucept.reports.selected import counted, listed, promise_clause


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
    table, K = material.guide.table, len(material.mechanisms)
    stability = table.loc[table["mechanisms"] == K, "stability"].to_numpy(float)
    if K < 2 or not len(stability) or not stability[0] < STABLE:
        return None
    return (
        f"The {K} clusters change from one half of the inputs to the other (stability {stability[0]:.2f}, 1 at best):"
        " read them as a rough division."
    )


def least_reliable(material: Material) -> tuple[int, Judged] | None:
    """Find the mechanism whose predictions are surely less reliable than the others, the worst if several are."""
    if not material.are_predictions:
        return None
    sure = [(i, row) for i, row in enumerate(material.judged or ()) if row.verdict == "less reliable"]
    return min(sure, key=lambda item: item[1].precision, default=None)


def about_reliability(material: Material) -> str | None:
    """Say which mechanism is the least reliable, or that none stands out."""
    if material.judged is None or len(material.mechanisms) < 2 or not material.are_predictions:
        return None
    worst = least_reliable(material)
    if worst is None:
        seen = [row.precision for row in material.judged if row.inputs]
        span = f"{percent(min(seen), 1)} to {percent(max(seen), 1)}"
        return f"No mechanism is surely less reliable than the others: their precision runs from {span}."
    name, row = worst
    share = percent(float(material.mechanisms.shares[name]))
    rest = percent(row.rest, 1 if row.high - row.low < 0.04 else None)
    right = between(*row.interval)
    return f"Mechanism {name} holds {share} of the predictions; {right} of them are right, against {rest} elsewhere."


def about_neurons(material: Material) -> str:
    """Say how many neurons were selected where, and what their precision rests on."""
    parts = [f"{counted(selection)} of {layer}" for layer, selection in material.critical.items()]
    levels = dict.fromkeys(f"{selection.precision:g}" for selection in material.critical.values())
    chosen = f"At a precision of {' / '.join(levels)}, {listed(parts)} are selected as critical."
    return f"{chosen} {promise_clause(material.critical)}"


def about_use(material: Material) -> str:
    """Say how many representative neurons the mechanisms rest on."""
    features = material.mechanisms.features
    beyond = sum(not feature.selected for feature in features)
    tail = f" {beyond} of them are beyond the selection: the precision asked does not cover them." if beyond else ""
    names = listed(material.mechanisms.layers)
    return f"Mechanisms are clusters of the activations of {len(features)} representative neurons at {names}.{tail}"
