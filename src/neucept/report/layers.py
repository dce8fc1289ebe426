"""For each layer: which neurons are critical, on what promise, and how far they go."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from neucept.discovery import Selection
from neucept.knockoffs import smallest_selection
from neucept.report import figures
from neucept.report.markup import Html, table, tag
from neucept.report.material import Material
from neucept.report.pieces import plot, section
from neucept.report.words import number

_MEASURES = {
    "r2_linear": "R², linear",
    "r2_nonlinear": "R², nonlinear",
    "agreement_mean": "agreement, others at their mean",
    "agreement_resampled": "agreement, others resampled",
}


def layers_section(material: Material) -> Html:
    """Ranked statistics, promise, stability and sufficiency of each layer."""
    note = (
        "W compares each neuron with a knockoff of its own: a random stand-in that relates to the other neurons in the"
        " same way but carries nothing about the target. Far above zero, the neuron tells something that the others do"
        " not. Dots are means over the draws, lines the middle 90% of them."
    )
    blocks = [_layer(material, selection) for selection in material.critical.values()]
    return section("layers", "Critical neurons, layer by layer", tag("p", note, class_="note"), *blocks)


def _layer(material: Material, selection: Selection) -> Html:
    promise = selection.promise
    chosen = len(selection.neurons)
    words = (
        f"Mean statistic of the first neurons of {selection.layer}, most important first; {chosen} of"
        f" {len(selection.groups)} are selected"
    )
    parts = [
        tag("h3", selection.layer),
        tag("p", _selected(selection), class_="claim"),
        plot(figures.ranked_statistics(selection), words, "wide"),
        _shown(selection),
        tag(
            "div",
            tag("div", tag("h4", "What is promised"), tag("p", promise.claim), class_="half"),
            tag("div", tag("h4", "On what evidence"), tag("p", promise.evidence or "None."), class_="half"),
            class_="promise",
        ),
        _sufficiency(material, selection.layer),
    ]
    return tag("article", *parts, class_="card layer")


def _selected(selection: Selection) -> str:
    k, dead = len(selection.groups), int((selection.groups < 0).sum())
    groups = len(selection.representatives)
    facts = [f"{number(k)} neurons" + (f", {dead} of them constant" if dead else "")]
    if groups < k - dead:
        facts.append(f"{groups} groups that can be told apart")
    first = f"{len(selection.neurons)} selected at a precision of {selection.precision:g} ({'; '.join(facts)})."
    if not len(selection.neurons):
        smallest = smallest_selection(selection.q)
        first = (
            f"No neuron is selected at a precision of {selection.precision:g} ({'; '.join(facts)}): an answer, not an"
            f" error. The smallest possible selection has {smallest} neurons; a lower precision or more inputs may"
            " select some. The ranking holds all the same."
        )
    draws = len(selection.statistics)
    stability = selection.stability
    if math.isnan(stability):
        return f"{first} One draw only, so the stability of the ranking is not known."
    return f"{first} Rankings of two of the {draws} draws correlate at {stability:.2f} on average (1 at best)."


def _shown(selection: Selection) -> Html:
    count = len(selection.representatives)
    shown = min(figures.MOST_RANKED, count)
    words = (
        f"The first {shown} of {count} groups of neurons are shown."
        if shown < count
        else "All neurons that vary are shown."
    )
    if len(selection.neurons):
        smallest = f"{selection.mean_statistic[selection.neurons].min():.3g}"
        beyond = not np.isin(selection.neurons, selection.ranking[:shown]).all()
        words += (
            f" More are selected than are shown, down to a mean W of {smallest}."
            if beyond
            else f" The dotted line is the smallest mean W among the selected, {smallest}."
        )
    return tag("p", words, class_="small")


def _sufficiency(material: Material, layer: str) -> Html | None:
    heading = tag("h4", "How much of the response they carry")
    if material.sufficiency is None:
        words = "Not measured: the results do not hold the response of an array target. Give sufficiency=."
        return tag("div", heading, tag("p", words, class_="small"))
    rows = material.sufficiency[material.sufficiency["layer"] == layer]
    if rows.empty:
        return None
    measures = [name for name in _MEASURES if name in rows and rows[name].notna().any()]
    cells = [[row["neurons"], int(row["count"]), *(_bar(row[name]) for name in measures)] for _, row in rows.iterrows()]
    head = ["neurons", "how many", *(_MEASURES[name] for name in measures)]
    words = "R² is the share of the response's variance that the neurons predict on held-out inputs."
    if "agreement_mean" in measures:
        words += " Agreement is the share of predictions that stay when the layer's other neurons are replaced."
    elif material.model is None:
        words += (
            " With the model (model=), the page also shows how many predictions stay when other neurons are replaced."
        )
    made = table(head, cells, f"Sufficiency of the neurons of {layer}", range(1, len(head)))
    return tag("div", heading, made, tag("p", words, class_="small"))


def _bar(value: float) -> Html:
    if pd.isna(value):
        return tag("span", "–")
    width = 100 * min(max(float(value), 0.0), 1.0)
    return tag("span", tag("i", style=f"width:{width:.0f}%"), tag("b", f"{value:.2f}"), class_="meter")
