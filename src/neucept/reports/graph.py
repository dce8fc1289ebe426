"""The red and blue graph of Figure 5: representative neurons, layer by layer, to the output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from neucept.reports.html import Html, tag

STRONG = 1.5  # deviations from the mean at which the colour is full
_STEP, _ROW, _RADIUS = 128, 27, 9


@dataclass(frozen=True)
class Column:
    """One layer of the graph.

    Attributes
    ----------
    name : str
        Of the layer.
    neurons : sequence of str
        Their labels.
    levels : array
        Activation of each in deviations from the mean of all inputs; NaN where it is not known.
    """

    name: str
    neurons: Sequence[str]
    levels: np.ndarray


def activation_graph(columns: Sequence[Column], title: str) -> Html:
    """Draw columns of neurons, joined by faint lines; red is above the mean of all inputs, blue below.

    Parameters
    ----------
    columns : sequence of Column
        The layers in their order; the last one is the output.
    title : str
        Read by screen readers.

    Returns
    -------
    Html
        An ``<svg>``.
    """
    rows = max(len(column.neurons) for column in columns)
    width, height = _STEP * (len(columns) - 1) + 150, rows * _ROW + 34
    places = []
    for number, column in enumerate(columns):
        top = 30 + (rows - len(column.neurons)) * _ROW / 2 + _ROW / 2
        places.append([(75 + number * _STEP, top + i * _ROW) for i in range(len(column.neurons))])
    lines = []
    for left, right in pairwise(places):
        path = "".join(f"M{a[0]} {a[1]:g}L{b[0]} {b[1]:g}" for a in left for b in right)
        lines.append(tag("path", d=path, class_="edges"))
    nodes = []
    for column, spots in zip(columns, places, strict=True):
        short = column.name if len(column.name) <= 20 else f"…{column.name[-19:]}"
        heading = tag("text", short, tag("title", column.name), x=spots[0][0], y=14, class_="layer")
        nodes.append(heading)
        for neuron, level, (x, y) in zip(column.neurons, column.levels, spots, strict=True):
            nodes.append(_node(neuron, float(level), x, y, column.name))
    inner = [tag("title", title), *lines, *nodes]
    return tag("svg", *inner, viewBox=f"0 0 {width} {height}", role="img", class_="graph", style=f"max-width:{width}px")


def activation_strip(levels: np.ndarray, breaks: Sequence[int], title: str) -> Html:
    """Draw the activation of one input as a line of small cells, red above the mean, blue below.

    Parameters
    ----------
    levels : array
        (f,) in deviations.
    breaks : sequence of int
        Where a new layer begins.
    title : str
        Read by screen readers.
    """
    x, cells = 0, []
    for number, level in enumerate(levels):
        x += 2 if number in breaks and number else 0
        kind, opacity = _paint(float(level))
        cells.append(tag("rect", x=x, width=4, height=7, class_=kind, fill_opacity=opacity))
        x += 4
    return tag(
        "svg", tag("title", title), *cells, viewBox=f"0 0 {x} 7", class_="strip", role="img", preserveAspectRatio="none"
    )


def _node(neuron: str, level: float, x: float, y: float, layer: str) -> Html:
    kind, opacity = _paint(level)
    known = np.isfinite(level)
    words = f"{layer}, neuron {neuron}: {level:+.1f} deviations" if known else layer
    place: dict[str, str | float] = {"cx": x, "cy": f"{y:g}", "r": _RADIUS}
    return tag(
        "g",
        tag("title", words),
        tag("circle", class_="ground", **place),
        tag("circle", class_=kind, fill_opacity=opacity, **place) if known else None,
        tag("text", neuron, x=x - _RADIUS - 4, y=f"{y + 3.5:g}", class_="neuron"),
    )


def _paint(level: float) -> tuple[str, str]:
    """Class and opacity of an activation in deviations; the style sheet has the colours.

    >>> _paint(-3.0), _paint(0.0)[1]
    (('low', '1'), '0')
    """
    strength = min(abs(level) / STRONG, 1.0) if np.isfinite(level) else 0.0
    return ("high" if level > 0 else "low"), f"{strength:.2g}"
