"""For each layer: which neurons are critical, on what promise, and how far they go."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from neucept.discovery import Selection
from neucept.reports import figures
from neucept.reports.calibration import calibration_panel
from neucept.reports.components import plot, section
from neucept.reports.html import Html, table, tag, text
from neucept.reports.material import Material
from neucept.reports.phrases import number
from neucept.reports.selected import counted, grouping, is_grouped, members, why_none

_MEASURES = {
    "r2_linear": "R², linear",
    "r2_nonlinear": "R², nonlinear",
    "agreement_mean": "agreement, others at their mean",
    "agreement_resampled": "agreement, others resampled",
}
_KNOCKOFF = (
    "W compares each neuron with a knockoff of its own: a random stand-in that relates to the other neurons in the same"
    " way but carries nothing about the target. Far above zero, the neuron tells something that the others do not."
)
_CALIBRATED = (
    "The probability that a neuron is critical is learnt from responses with known critical neurons, planted on the"
    " layer's own activations. It weighs two things: the importance of the neuron, which is how strongly a small"
    " network that has learnt the target depends on it, and how far the neuron beats its knockoff (W), a random"
    " stand-in that relates to the other neurons in the same way but carries nothing about the target."
)
_SPREAD = "Dots are means over the draws, lines the middle 90% of them."


def layers_section(material: Material) -> Html:
    """Ranked neurons, promise, calibration, stability and sufficiency of each layer."""
    selections = list(material.critical.values())
    notes = []
    if any(selection.calibration is not None for selection in selections):
        notes.append(_CALIBRATED)
    if any(selection.calibration is None for selection in selections):
        notes.append(f"{_KNOCKOFF} {_SPREAD}")
    heading = "Critical neurons, layer by layer"
    blocks = [_layer(material, selection) for selection in selections]
    return section("layers", heading, *(tag("p", note, class_="note") for note in notes), *blocks)


RANKED = (
    "Mechanisms use the first neurons of the ranking, in which each adds what it can to those before it; here below"
    " they stand by the evidence."
)


def _layer(material: Material, selection: Selection) -> Html:
    promise = selection.promise
    grouped = grouping(selection)
    parts = [
        tag("h3", selection.layer),
        tag("p", _selected(selection), class_="claim"),
        tag("p", grouped, class_="claim") if grouped else None,
        _ranking(selection),
        _members(selection),
        tag(
            "div",
            tag("div", tag("h4", "What is promised"), tag("p", promise.claim), class_="half"),
            tag("div", tag("h4", "On what evidence"), tag("p", promise.evidence or "None."), class_="half"),
            class_="promise",
        ),
        calibration_panel(selection),
        _sufficiency(material, selection.layer),
    ]
    return tag("article", *parts, class_="card layer")


def _selected(selection: Selection) -> str:
    dead = int((selection.groups < 0).sum())
    constant = f" ({dead} neurons are constant)" if dead else ""
    first = f"At a precision of {selection.precision:g}, {counted(selection)} are selected{constant}."
    if not len(selection.neurons):
        first += f" {why_none(selection)}"
    draws, stability = len(selection.statistics), selection.stability
    if math.isnan(stability):
        return f"{first} {RANKED} One draw only, so the stability of an order by knockoffs is not known."
    return (
        f"{first} {RANKED} Orders by W of two of the {draws} draws correlate at {stability:.2f} on average (1 at best)."
    )


def _ranking(selection: Selection) -> Html:
    """Draw the first neurons by what decided on them, and say where the selection ends."""
    units = "groups" if is_grouped(selection) else "neurons"
    count, chosen = len(selection.representatives), len(selection.neurons)
    ranked = f"the first {units} of {selection.layer}, the surest first; {counted(selection)} are selected"
    if selection.calibration is not None and selection.local_fdr is not None:
        level = selection.calibration.level(selection.q)
        shown = min(max(figures.MOST_JUDGED, chosen), count)
        words = _how_many(shown, count, units)
        needed = f"that the calibration found to be needed for a precision of {selection.precision:g}"
        if level == 0:
            words += f" There is no mean probability {needed}."
        elif chosen:
            words += f" Selected is the longest head with the mean of {1 - level:.1%} {needed}."
        else:
            words += f" None reaches the probability of {1 - level:.1%} {needed}."
        figure = figures.ranked_neurons(selection)
        return text(plot(figure, f"Probability of {ranked}", "wide"), tag("p", words, class_="small"))
    shown = min(figures.MOST_RANKED, count)
    words = _how_many(shown, count, units)
    if chosen:
        smallest = f"{selection.mean_statistic[selection.neurons].min():.3g}"
        beyond = not np.isin(selection.neurons, selection.surest[:shown]).all()
        words += (
            f" More are selected than are shown, down to a mean W of {smallest}."
            if beyond
            else f" The dotted line is the smallest mean W among the selected, {smallest}."
        )
    figure = figures.ranked_statistics(selection)
    return text(plot(figure, f"Mean statistic of {ranked}", "wide"), tag("p", words, class_="small"))


def _how_many(shown: int, count: int, units: str) -> str:
    return f"The first {number(shown)} of {number(count)} {units}." if shown < count else f"All {units} that vary."


def _members(selection: Selection) -> Html | None:
    """List the neurons of each selected group."""
    if not is_grouped(selection) or not len(selection.neurons):
        return None
    rows = [members(selection, neuron) for neuron in selection.neurons.tolist()]
    listed = (tag("li", ", ".join(map(str, neurons))) for neurons in rows)
    many = f"The neurons of the {len(rows)} selected groups" if len(rows) > 1 else "The neurons of the selected group"
    note = "In the order of the ranking; the first named of a group stands for it on this page."
    listing = tag("ol", *listed, class_="members")
    return tag("details", tag("summary", many), tag("p", note, class_="small"), listing, open=len(rows) <= 12)


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
    words = (
        "R² is the share of the response's variance that the neurons predict on inputs that the fit did not see."
        " Selected and top neurons were chosen on all of them, which flatters these where inputs are few for so many"
        f" neurons: here {len(material.critical.samples):,} for {len(material.critical[layer].groups):,}."
    )
    if "agreement_mean" in measures:
        words += " Agreement is the share of predictions that stay when the layer's other neurons are replaced."
    elif material.model is None:
        words += (
            " With the model (model=), the page also shows how many predictions stay when other neurons are replaced."
        )
    if is_grouped(material.critical[layer]):
        words += " The selected are all neurons of the selected groups."
    made = table(head, cells, f"Sufficiency of the neurons of {layer}", range(1, len(head)))
    return tag("div", heading, made, tag("p", words, class_="small"))


def _bar(value: float) -> Html:
    if pd.isna(value):
        return tag("span", "–")
    width = 100 * min(max(float(value), 0.0), 1.0)
    return tag("span", tag("i", style=f"width:{width:.0f}%"), tag("b", f"{value:.2f}"), class_="meter")
