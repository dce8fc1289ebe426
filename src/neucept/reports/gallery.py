"""The critical neurons used: the inputs that activate each most, and the part of them that it responds to."""

from __future__ import annotations

import numpy as np
import torch

from neucept.mechanisms import Feature
from neucept.progress import progress as show_progress
from neucept.recording.regions import SHARE, activating_regions
from neucept.reports.components import image, section
from neucept.reports.html import Html, tag
from neucept.reports.material import Material, feature_label, pooling_of
from neucept.reports.palette import colour
from neucept.reports.phrases import number
from neucept.reports.pictures import Pictures
from neucept.reports.selected import group_label, members

NEURONS = 20
IMAGES = 6


def gallery_section(material: Material, progress: bool = True) -> Html:
    """Show the inputs that activate each representative neuron most, with crops where there is a model."""
    heading = "What activates the critical neurons"
    if material.pictures is None:
        note = (
            "This page has no pictures. Give report() the data that were recorded, data=, where they are images (a"
            " Dataset or a tensor of images (C, H, W), aligned with the recording), and the model, model=, for the"
            " regions that neurons respond to."
        )
        return section("gallery", heading, tag("p", note, class_="note"))
    chosen = [feature for layer in material.mechanisms.layers for feature in _first(material, layer)]
    blocks, cropped = [], False
    with show_progress("looking for what activates neurons", len(chosen), progress) as advance:
        for feature in chosen:
            block, has_crops = _neuron(material, material.pictures, feature)
            blocks.append(block)
            cropped |= has_crops
            advance(1)
    left = len(material.mechanisms.features) - len(chosen)
    words = [
        f"Of all {number(len(material.recording))} recorded inputs, those of the highest activation, highest first."
    ]
    if cropped:
        words.append(f"The frame, enlarged below, is the smallest box that holds {SHARE:.0%} of the neuron's gradient.")
    else:
        words.append("With the model (model=), the page also shows the region of each that the neuron responds to.")
    words.append("A coloured dot is the mechanism of an input that the page looks at.")
    if left:
        words.append(f"{left} further neurons are left out.")
    return section("gallery", heading, tag("p", " ".join(words), class_="note"), tag("div", *blocks, class_="neurons"))


def _first(material: Material, layer: str) -> list[Feature]:
    """Features of a layer that are shown: those ranked first, as many at each layer."""
    mine = [feature for feature in material.mechanisms.features if feature.layer == layer]
    return mine[: max(NEURONS // len(material.mechanisms.layers), 2)]


def _neuron(material: Material, pictures: Pictures, feature: Feature) -> tuple[Html, bool]:
    recording = material.recording
    values = np.asarray(recording.activations(feature.layer)[:, list(feature.neurons)]).mean(axis=1)
    rows = np.argsort(-values, kind="stable")[:IMAGES]
    boxes, size = _boxes(material, pictures, feature, rows)
    mechanism = dict(zip(material.rows.tolist(), material.mechanisms.labels.tolist(), strict=True))
    names = material.label_names(rows)
    tiles = []
    for place, (row, name) in enumerate(zip(rows.tolist(), names, strict=True)):
        words = f"input {row}" + (f", labelled {name}" if name else "")
        uri, sharp = pictures.seen_thumbnail(row) if boxes is not None else pictures.thumbnail(row)
        whole = [image(uri, sharp, words)]
        cut = None
        if boxes is not None:
            whole.append(_frame(boxes[place], size))
            cut = tag("div", image(*pictures.crop(row, boxes[place], size), f"region of {words}"), class_="crop")
        label = mechanism.get(row)
        dot = tag("span", class_="chip", style=f"background:{colour(label)}") if label is not None else None
        said = words + (f", mechanism {label}" if label is not None else "")
        caption = tag("figcaption", dot, tag("b", name) if name else None, " ", tag("span", f"#{row}", class_="row"))
        tiles.append(tag("figure", tag("div", *whole, class_="whole"), cut, caption, class_="tile", title=said))
    remarks = [] if feature.selected else ["beyond the selection"]
    if moving := _moving_with(material, feature):
        remarks.append(f"moves with {group_label(moving)}")
    title = tag(
        "h3", f"{feature.layer}:{feature_label(feature)}", " ", tag("small", "; ".join(remarks)) if remarks else None
    )
    return tag("article", title, tag("div", *tiles, class_="tiles"), class_="neuron"), boxes is not None


def _moving_with(material: Material, feature: Feature) -> list[int]:
    """Other members of the group that a single representative neuron stands for."""
    selection = material.critical.get(feature.layer)
    if selection is None or len(feature.neurons) > 1:
        return []
    return members(selection, feature.neurons[0])[1:]


def _boxes(
    material: Material, pictures: Pictures, feature: Feature, rows: np.ndarray
) -> tuple[np.ndarray | None, tuple[int, int]]:
    """Regions of some inputs (n, 4) and the inputs' size (H, W); None where they cannot be had."""
    pooling = pooling_of(material.recording, feature.layer)
    if material.model is None or pooling == "callable":
        return None, (0, 0)
    batch = torch.stack([pictures.input(int(row)) for row in rows])
    if batch.ndim != 4:
        return None, (0, 0)
    boxes = activating_regions(material.model, batch, feature.layer, feature.neurons, pooling)
    return boxes, (batch.shape[2], batch.shape[3])


def _frame(box: np.ndarray, size: tuple[int, int]) -> Html:
    """Draw a box over a picture that fills a square, keeping its sides' ratio."""
    height, width = size
    top, left, bottom, right = (int(edge) for edge in box)
    shape = tag("rect", x=left, y=top, width=right - left, height=bottom - top, class_="frame")
    return tag("svg", shape, viewBox=f"0 0 {width} {height}", aria_hidden="true")
