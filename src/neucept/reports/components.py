"""Small parts that several sections share: embedded figures, tiles of pictures, bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neucept.reports.graph import activation_strip
from neucept.reports.html import Child, Html, tag
from neucept.reports.material import Material
from neucept.reports.palette import colour


def plot(figure: Any, words: str, class_: str = "") -> Html:
    """Embed a Plotly figure; the page's script draws it when it comes near the view.

    Parameters
    ----------
    figure : plotly Figure
        With a height.
    words : str
        What it shows, for screen readers.
    class_ : str
        Further classes of the element.
    """
    spec = Html(figure.to_json().replace("<", "\\u003c"))
    style = f"height:{figure.layout.height}px"
    data = tag("script", spec, type="application/json")
    return tag("div", data, class_=f"figure {class_}".strip(), role="img", aria_label=words, style=style)


def section(identifier: str, heading: str, *children: Child) -> Html:
    """Write one section of the page; the table of contents leads to its identifier."""
    return tag("section", tag("h2", heading), *children, id=identifier)


def chip(number: int) -> Html:
    """Show the colour of a mechanism."""
    return tag("span", class_="chip", style=f"background:{colour(number)}", aria_hidden="true")


def mechanism_name(number: int) -> Html:
    """Name a mechanism, with its colour; -1 is none."""
    return tag("span", chip(number), f"mechanism {number}" if number >= 0 else "none", class_="named")


def tile(material: Material, position: int) -> Html:
    """Show one clustered input: its picture, its activations as a strip, its number and label.

    Parameters
    ----------
    material : Material
        With pictures.
    position : int
        In ``mechanisms.samples``.
    """
    assert material.pictures is not None
    row = int(material.rows[position])
    label = material.label_names(np.array([row]))[0]
    wrong = bool(material.wrong[position])
    words = f"input {row}" + (f", labelled {label}" if label else "") + (", wrongly predicted" if wrong else "")
    levels, breaks = shown_levels(material, material.levels[position])
    uri, sharp = material.pictures.thumbnail(row)
    return tag(
        "figure",
        image(uri, sharp, words),
        activation_strip(levels, breaks, f"activations of {words}"),
        tag("figcaption", tag("b", label) if label else None, " ", tag("span", f"#{row}", class_="row")),
        class_="tile wrong" if wrong else "tile",
        title=words,
    )


def image(uri: str, sharp: bool, words: str) -> Html:
    """Show an encoded picture."""
    return tag("img", src=uri, alt=words, class_="sharp" if sharp else None)


def shown_levels(material: Material, levels: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Levels of the features that graphs show, in their order, and where a new layer begins."""
    columns = material.shown
    breaks = np.cumsum([0, *(len(column) for column in columns)])[:-1].tolist()
    return levels[[feature for column in columns for feature in column]], breaks


def interval_bar(value: float, low: float, high: float, reference: float, start: float, fill: str) -> Html:
    """Draw a share with its interval on a line from ``start`` to 1; a tick marks the reference.

    Parameters
    ----------
    value, low, high : float
        The share and its interval.
    reference : float
        The share of all.
    start : float
        Where the line begins.
    fill : str
        Colour.
    """

    def at(share: float) -> float:
        return round(4 + 152 * (max(share, start) - start) / (1 - start), 1)

    return tag(
        "svg",
        tag("title", f"{value:.1%}, interval {low:.1%} to {high:.1%}; all together {reference:.1%}"),
        tag("line", x1=4, x2=156, y1=10, y2=10, class_="axis"),
        tag("line", x1=at(reference), x2=at(reference), y1=2, y2=18, class_="reference"),
        tag("line", x1=at(low), x2=at(high), y1=10, y2=10, stroke=fill, class_="interval"),
        tag("circle", cx=at(value), cy=10, r=4.5, fill=fill),
        viewBox="0 0 160 20",
        class_="interval-bar",
        role="img",
    )


def share_bar(shares: Sequence[tuple[str, float, str]], words: str) -> Html:
    """Draw parts of a whole: (name, share, colour) each."""
    parts = [
        tag("span", style=f"width:{share * 100:.2f}%;background:{fill}", title=f"{name}: {share:.0%}")
        for name, share, fill in shares
    ]
    return tag("div", *parts, class_="shares", role="img", aria_label=words)
