"""The inputs that activate critical neurons most, and the part of them that each responds to."""

from __future__ import annotations

import numpy as np

from neucept.analysis import Analysis, TopInputs
from neucept.mechanisms import Feature
from neucept.recording.regions import SHARE
from neucept.reports.components import caption, crop, described, image
from neucept.reports.figures.canvas import colour
from neucept.reports.html import Html, tag, text
from neucept.reports.phrases import feature_label, group_label, members, number


def gallery(analysis: Analysis) -> Html:
    """Show the inputs that activate each representative neuron most, with the regions where a model was given."""
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
    if left := len(analysis.mechanisms.features) - len(analysis.top_inputs):
        words.append(f"{left} further neurons are not shown.")
    mechanism = dict(zip(analysis.rows.tolist(), analysis.mechanisms.labels.tolist(), strict=True))
    blocks = [_neuron(analysis, top, mechanism) for top in analysis.top_inputs]
    return text(tag("p", " ".join(words), class_="note"), tag("div", *blocks, class_="neurons"))


def _neuron(analysis: Analysis, top: TopInputs, mechanism: dict[int, int]) -> Html:
    pictures, size = analysis.pictures, analysis.input_size
    assert pictures is not None
    feature = analysis.mechanisms.features[top.feature]
    tiles = []
    for place, (row, name) in enumerate(zip(top.rows.tolist(), analysis.label_names(top.rows), strict=True)):
        words = described(row, name)
        if top.boxes is None or size is None:
            whole, cut = [image(pictures.whole[row], words)], None
        else:
            box = top.boxes[place]
            whole = [image(pictures.seen[row], words), _frame(box, size)]
            cut = tag("div", image(crop(pictures.seen[row], box, size), f"region of {words}"), class_="crop")
        label = mechanism.get(row)
        dot = tag("span", class_="chip", style=f"background:{colour(label)}") if label is not None else None
        said = words + (f", mechanism {label}" if label is not None else "")
        parts = [tag("div", *whole, class_="whole"), cut, caption(row, name, dot)]
        tiles.append(tag("figure", *parts, class_="tile", title=said))
    remarks = [] if feature.selected else ["not selected"]
    if correlated := _correlated(analysis, feature):
        remarks.append(f"grouped with {group_label(correlated)}")
    small = tag("small", "; ".join(remarks)) if remarks else None
    title = tag("h3", f"{feature.layer}:{feature_label(feature)}", " ", small)
    return tag("article", title, tag("div", *tiles, class_="tiles"), class_="neuron")


def _correlated(analysis: Analysis, feature: Feature) -> list[int]:
    """Other members of the group that a single representative neuron stands for."""
    selection = analysis.critical.get(feature.layer)
    if selection is None or len(feature.neurons) > 1:
        return []
    return members(selection, feature.neurons[0])[1:]


def _frame(box: np.ndarray, size: tuple[int, int]) -> Html:
    """Draw a box over a picture that fills a square, keeping its aspect ratio."""
    height, width = size
    top, left, bottom, right = (int(edge) for edge in box)
    shape = tag("rect", x=left, y=top, width=right - left, height=bottom - top, class_="frame")
    return tag("svg", shape, viewBox=f"0 0 {width} {height}", aria_hidden="true")
