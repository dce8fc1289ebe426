"""The critical neurons of each layer: guarantee, evidence, how much of the response they carry, what activates them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from neucept.analysis import Analysis, TopInputs
from neucept.discovery import Selection
from neucept.recording.regions import SHARE
from neucept.reports import figures
from neucept.reports.calibration import calibration_panel
from neucept.reports.components import Html, crop, image, plot, table, tag, term, text
from neucept.reports.figures.canvas import colour
from neucept.reports.inputs import shown_inputs
from neucept.reports.phrases import (
    group_label,
    grouping,
    is_grouped,
    members,
    neuron_name,
    neurons_called,
    number,
    selected_count,
    why_none,
)

_MEASURES = {
    "r2_linear": ("R²", "R², linear"),
    "r2_nonlinear": ("R²", "R², nonlinear"),
    "agreement_mean": ("agreement", "agreement, mean ablation"),
    "agreement_resampled": ("agreement", "agreement, resample ablation"),
}
_CURVES = {
    "agreement_resampled": "predictions kept, all others taken from another input",
    "agreement_constant": "predictions kept, all others at constants learnt to keep them",
    "r2_linear": "R² of a linear fit",
}
_KNOCKOFF = (
    "The statistic W compares each neuron with its knockoff: a random stand-in that has the same relation to the other"
    " neurons but no relation to the target. A large positive W means that the neuron carries information about the"
    " target that the others do not. Dots are means over the draws, lines the middle 90%."
)
_CALIBRATED = (
    "The probability that a neuron is critical is learned from simulated responses whose critical neurons are known,"
    " planted on the layer's own activations. It combines what fits of the target say of the neuron: regressions on"
    " the neurons, their squares and products, random features, and a small network where there are enough inputs."
)
_ORDERS = {
    "sufficient": "puts those first that let the network keep its predictions while all others are another input's",
    "robust": "puts those first to whose change the margin is most sensitive under noise",
    "contribution": "puts those first whose linear contribution to the response is largest",
    "information": "places each neuron by what it adds to those before it",
    "evidence": "puts the surest first",
}


def layer_cards(analysis: Analysis) -> Html:
    """Show selection, guarantee, calibration, stability and sufficiency of each layer."""
    selections = list(analysis.critical.values())
    notes = []
    if any(selection.calibration is not None for selection in selections):
        notes.append(_CALIBRATED)
    if any(selection.calibration is None for selection in selections):
        notes.append(_KNOCKOFF)
    cards = [_layer(analysis, selection) for selection in selections]
    return text(*(tag("p", note, class_="note") for note in notes), *cards)


def _layer(analysis: Analysis, selection: Selection) -> Html:
    guarantee = selection.guarantee
    groups = grouping(selection)
    parts = [
        tag("h3", selection.layer),
        tag("p", _selected(selection), class_="claim"),
        tag("p", groups, class_="claim") if groups else None,
        _ranking(selection),
        _members(selection),
        tag(
            "div",
            tag("div", tag("h4", "Guarantee"), tag("p", guarantee.claim), class_="half"),
            tag("div", tag("h4", "Evidence"), tag("p", guarantee.evidence or "None."), class_="half"),
            class_="promise",
        ),
        calibration_panel(selection),
        _sufficiency(analysis, selection.layer),
    ]
    return tag("article", *parts, class_="card layer")


def _selected(selection: Selection) -> str:
    dead = int((selection.groups < 0).sum())
    constant = f" ({dead} neurons are constant)" if dead else ""
    first = f"At a required precision of {selection.precision:g}, {selected_count(selection)} are selected{constant}."
    if not len(selection.neurons):
        first += f" {why_none(selection)}"
    ranked = f"The ranking ({selection.by}) {_ORDERS[selection.by]}; the figure below sorts neurons by the evidence."
    if selection.kept is not None:
        ranked = f"{_suffices(selection)} {ranked}"
    draws, stability = len(selection.statistics), selection.stability
    if math.isnan(stability):
        return f"{first} {ranked} With a single draw, the stability of the order by W is unknown."
    return (
        f"{first} {ranked} Orders by W of two of the {draws} draws have a rank correlation of {stability:.2f} on"
        " average (at best 1)."
    )


def _suffices(selection: Selection) -> str:
    """Say how many neurons suffice for most predictions, and how many of them are selected."""
    enough = selection.sufficient(0.9)
    if selection.kept is None or selection.kept[-1] < 0.9:
        return "No number of neurons keeps 90% of the predictions while all others are those of another input."
    return (
        f"{number(len(enough))} neurons keep {selection.kept[len(enough)]:.0%} of the predictions while all others are"
        f" those of another input; {number(int(selection.is_selected[enough].sum()))} of these are selected."
    )


def _ranking(selection: Selection) -> Html:
    """Draw the first neurons by what they were selected by, and say where the selection ends."""
    units = "groups" if is_grouped(selection) else "neurons"
    count, chosen = len(selection.representatives), len(selection.neurons)
    ranked = f"the first {units} of {selection.layer}, strongest evidence first; {selected_count(selection)} selected"
    if selection.calibration is not None and selection.local_fdr is not None:
        level = selection.calibration.level(selection.q)
        shown = min(max(figures.MOST_JUDGED, chosen), count)
        words = _how_many(shown, count, units)
        required = f"that calibration found to be required for a precision of {selection.precision:g}"
        if level == 0:
            words += f" No mean probability reaches the level {required}."
        elif chosen:
            words += (
                f" The selection is the longest run from the left whose mean probability is at least"
                f" {1 - level:.1%}, the level {required}."
            )
        else:
            words += f" No candidate reaches {1 - level:.1%}, the level {required}."
        figure = figures.ranked_neurons(selection)
        return text(plot(figure, f"Probability of {ranked}", "wide"), tag("p", words, class_="small"))
    shown = min(figures.MOST_RANKED, count)
    words = _how_many(shown, count, units)
    if chosen:
        smallest = f"{selection.mean_statistic[selection.neurons].min():.3g}"
        words += (
            f" The dotted line is the smallest mean W of the selected, {smallest}."
            if np.isin(selection.neurons, selection.surest[:shown]).all()
            else f" More are selected than shown, down to a mean W of {smallest}."
        )
    figure = figures.ranked_statistics(selection)
    return text(plot(figure, f"Mean statistic of {ranked}", "wide"), tag("p", words, class_="small"))


def _how_many(shown: int, count: int, units: str) -> str:
    if shown < count:
        return f"The first {number(shown)} of {number(count)} {units}."
    return f"All {units} that are not constant."


def _members(selection: Selection) -> Html | None:
    """List the neurons of each selected group."""
    if not is_grouped(selection) or not len(selection.neurons):
        return None
    groups = [members(selection, neuron) for neuron in selection.neurons.tolist()]
    items = (tag("li", ", ".join(neurons_called(neurons, selection.names))) for neurons in groups)
    title = f"Neurons of the {len(groups)} selected groups" if len(groups) > 1 else "Neurons of the selected group"
    note = "In the order of the ranking; the first neuron of a group represents it in this report."
    lines = tag("ol", *items, class_="members")
    return tag("details", tag("summary", title), tag("p", note, class_="small"), lines, open=len(groups) <= 12)


def _sufficiency(analysis: Analysis, layer: str) -> Html | None:
    heading = tag("h4", "Sufficiency: how much of the response they carry")
    if analysis.sufficiency is None:
        words = "Not measured: the values of the custom response are not part of the results. Give sufficiency=."
        return tag("div", heading, tag("p", words, class_="small"))
    rows = analysis.sufficiency[analysis.sufficiency["layer"] == layer]
    if rows.empty:
        return None
    curves = rows[rows["method"] != ""] if "method" in rows else rows[:0]
    rows = rows.drop(curves.index)
    measures = [name for name in _MEASURES if name in rows and rows[name].notna().any()]
    cells = [[row["neurons"], int(row["count"]), *(_bar(row[name]) for name in measures)] for _, row in rows.iterrows()]
    head = ["neurons", "number", *(term(*_MEASURES[name]) for name in measures)]
    selection = analysis.critical[layer]
    words = (
        "R² is the share of the response's variance predicted on held-out inputs. Selected and top neurons were chosen"
        " on all inputs, so their R² is optimistic where there are few inputs for many neurons: here"
        f" {len(analysis.critical.samples):,} inputs for {len(selection.groups):,} neurons."
    )
    if "agreement_mean" in measures:
        words += " Agreement is the share of predictions that do not change when the layer's other neurons are ablated."
    elif not analysis.has_model:
        words += " With the model (model=), the share of predictions that survive ablation is shown too."
    if is_grouped(selection):
        words += " “Selected” are all neurons of the selected groups."
    made = table(head, cells, f"Sufficiency of the neurons of {layer}", range(1, len(head)))
    return tag("div", heading, made, tag("p", words, class_="small"), _by_number(curves, layer))


def _by_number(rows: pd.DataFrame, layer: str) -> Html | None:
    """Draw both sufficiencies by number of neurons, beside other orders."""
    drawn = [
        text(
            tag("p", f"{title[0].upper()}{title[1:]}", class_="small"),
            plot(figures.by_number(rows, name, title), f"{title}, by number of the first neurons of {layer}"),
        )
        for name, title in _CURVES.items()
        if len(rows) and rows[name].notna().any()
    ]
    if not drawn:
        return None
    words = (
        "By number of the first neurons. Information (R²) and intervention (what the network still predicts) are two"
        " sufficiencies: a fit needs each piece of information once, the network reads every copy. “random” is a single"
        " draw; it begins with the random neurons of the table, which are none of the top ones where there are enough."
    )
    if rows["agreement_resampled"].notna().any():
        words += " Predictions are judged on inputs that the order “sufficient” was not found on."
    return text(tag("div", *drawn, class_="curves"), tag("p", words, class_="small"))


def _bar(value: float) -> Html:
    if pd.isna(value):
        return tag("span", "–")
    width = 100 * min(max(float(value), 0.0), 1.0)
    return tag("span", tag("i", style=f"width:{width:.0f}%"), tag("b", f"{value:.2f}"), class_="meter")


# What activates them


def gallery(analysis: Analysis) -> Html:
    """Show the inputs that activate each critical neuron most, with the regions where a model was given."""
    if analysis.pictures is None:
        note = (
            "This report has no pictures. They are shown where the data (data=) are images: a Dataset or a tensor of"
            " images (C, H, W) in the order of the recording. With the model (model=), the regions that neurons respond"
            " to are shown too."
        )
        return tag("p", note, class_="note")
    words = [f"Inputs of highest activation among all {number(len(analysis.recording))} recorded inputs."]
    if any(top.boxes is not None for top in analysis.top_inputs):
        words.append(
            f"The frame, enlarged below the picture, is the smallest box that contains {SHARE:.0%} of the neuron's"
            " absolute gradient."
        )
    else:
        words.append("With the model (model=), the regions that neurons respond to are shown too.")
    words.append("A coloured dot marks the mechanism of an analysed input.")
    mechanism = dict(zip(analysis.rows.tolist(), analysis.mechanisms.labels.tolist(), strict=True))
    layers = [
        _layer_gallery(analysis, layer, mechanism) for layer in dict.fromkeys(t.layer for t in analysis.top_inputs)
    ]
    return text(tag("p", " ".join(words), class_="note"), *layers)


def _layer_gallery(analysis: Analysis, layer: str, mechanism: dict[int, int]) -> Html:
    """Show the neurons of a layer: first those that were selected, then others that set a mechanism apart."""
    own = [top for top in analysis.top_inputs if top.layer == layer]
    chosen, others = [top for top in own if top.selected], [top for top in own if not top.selected]
    blocks: list[Html] = []
    if chosen:
        blocks.append(tag("h3", term("critical neuron", f"Critical neurons of {layer}")))
        if left := _selected_elsewhere(analysis, layer, chosen):
            blocks.append(
                tag("p", f"In the order of the ranking. {left} more are selected and not shown.", class_="note")
            )
        blocks.append(tag("div", *(_neuron(analysis, top, mechanism) for top in chosen), class_="neurons"))
    if others:
        heading = f"Other neurons of {layer}"
        small = tag("small", term("not selected"), " as critical; they set a mechanism apart, or lead the ranking")
        blocks.append(tag("h3", heading, " ", small))
        blocks.append(tag("div", *(_neuron(analysis, top, mechanism) for top in others), class_="neurons"))
    return tag("div", *blocks, class_="gallery")


def _selected_elsewhere(analysis: Analysis, layer: str, chosen: list[TopInputs]) -> int:
    """Count the selected neurons or groups of a layer of which none is shown."""
    selection = analysis.critical.get(layer)
    if selection is None:
        return 0
    shown = selection.groups[[top.neuron for top in chosen]]
    return int((~np.isin(selection.groups[selection.neurons], shown)).sum())


def _neuron(analysis: Analysis, top: TopInputs, mechanism: dict[int, int]) -> Html:
    pictures, size = analysis.pictures, analysis.input_size
    assert pictures is not None
    tiles = []
    known = shown_inputs(analysis.recording, top.rows, analysis.label_names(top.rows))
    for place, (row, one) in enumerate(zip(top.rows.tolist(), known, strict=True)):
        if top.boxes is None or size is None:
            whole, cut = [image(pictures.whole[row], one.words)], None
        else:
            box = top.boxes[place]
            whole = [image(pictures.seen[row], one.words), _frame(box, size)]
            cut = tag("div", image(crop(pictures.seen[row], box, size), f"region of {one.name}"), class_="crop")
        label = mechanism.get(row)
        dot = tag("span", class_="chip", style=f"background:{colour(label)}") if label is not None else None
        said = one.words + (f", mechanism {label}" if label is not None else "")
        parts = [tag("div", *whole, class_="whole"), cut, one.caption(dot)]
        tiles.append(tag("figure", *parts, class_="tile", title=said))
    named = neuron_name(analysis.recording, top.layer, top.neuron)
    selection = analysis.critical.get(top.layer)
    correlated = [] if selection is None else members(selection, top.neuron)[1:]
    names = analysis.recording.neuron_names(top.layer)
    grouped = [f"grouped with {group_label(correlated, names=names)}"] if correlated else []
    remarks = ([named] if named else []) + grouped
    small = tag("small", "; ".join(remarks)) if remarks else None
    title = tag("h4", f"Neuron {top.neuron}", " ", small)
    return tag("article", title, tag("div", *tiles, class_="tiles"), class_="neuron")


def _frame(box: np.ndarray, size: tuple[int, int]) -> Html:
    """Draw a box over a picture that fills a square, keeping its aspect ratio."""
    height, width = size
    top, left, bottom, right = (int(edge) for edge in box)
    shape = tag("rect", x=left, y=top, width=right - left, height=bottom - top, class_="frame")
    return tag("svg", shape, viewBox=f"0 0 {width} {height}", aria_hidden="true")
