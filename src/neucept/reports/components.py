"""Components that several sections share: figures, pictures, bars, and the graph of activations (Figure 5)."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape, unescape
from itertools import pairwise
from typing import Any, Union

import numpy as np

from neucept.errors import missing
from neucept.reports.figures.canvas import colour
from neucept.reports.glossary import TERMS

STRONG = 1.5  # deviations from the mean at which the colour is full
SIDE = 112  # pixels; larger pictures are scaled down to it
_PIXELATED = 64  # pictures up to this side are shown with sharp pixels
_STEP, _ROW, _RADIUS = 122, 27, 9


def plot(figure: Any, words: str, class_: str = "") -> Html:
    """Embed a Plotly figure; the report's script draws it when it comes near the view.

    Parameters
    ----------
    figure : plotly Figure
        With a height.
    words : str
        Description for screen readers.
    class_ : str
        Further classes of the element.
    """
    spec = Html(figure.to_json().replace("<", "\\u003c"))
    style = f"height:{figure.layout.height}px"
    data = tag("script", spec, type="application/json")
    return tag("div", data, class_=f"figure {class_}".strip(), role="img", aria_label=words, style=style)


def chip(number: int) -> Html:
    """Show the colour of a mechanism."""
    return tag("span", class_="chip", style=f"background:{colour(number)}", aria_hidden="true")


def statistics(tiles: Sequence[tuple[Child, str, str]]) -> Html:
    """Show a line of numbers: (name, value, detail) each."""
    cells = (tag("div", tag("dt", _named(n)), tag("dd", v, tag("small", d))) for n, v, d in tiles)
    return tag("dl", *cells, class_="stats")


def facts(known: Sequence[tuple[Child, Child]]) -> Html:
    """Show a line of facts: (name, value) each."""
    return tag("dl", *(tag("div", tag("dt", _named(n)), tag("dd", v)) for n, v in known), class_="facts")


def term(word: str, shown: str | None = None) -> Html:
    """Write a word of the glossary, which the page then explains; ``shown`` is what stands there, the word by default.

    >>> term("null")
    '<span data-term="null" title="Not critical.">null</span>'
    """
    return tag("span", word if shown is None else shown, data_term=word, title=TERMS[word])


def badge(words: str, kind: str = "plain") -> Html:
    """Show a verdict; parts that semicolons divide are explained one by one.

    Parameters
    ----------
    words : str
        Such as ``less reliable; unsure``.
    kind : {"plain", "good", "bad"}
        Its colour.
    """
    parts: list[Child] = []
    for part in words.split("; "):
        known = next((word for word in (part, part.partition(",")[0]) if word in TERMS), None)
        shown = "too few of equal confidence to say more" if parts and part == "too few to tell" else part
        parts += ["; " if parts else None, shown if known is None else term(known, shown)]
    return tag("span", *parts, class_=f"verdict {kind}")


def _named(cell: Child) -> Child:
    """Explain a heading that is a word of the glossary."""
    return term(cell) if isinstance(cell, str) and not isinstance(cell, Html) and cell in TERMS else cell


def definitions(terms: dict[str, str]) -> Html:
    """List terms with their meanings."""
    return tag("dl", *(tag("div", tag("dt", term), tag("dd", said)) for term, said in terms.items()), class_="words")


# Pictures


def image(picture: np.ndarray, words: str) -> Html:
    """Show a picture, (H, W) or (H, W, 3) of uint8, scaled down to a thumbnail; ``words`` is its alternative text."""
    thumbnail = _pillow().fromarray(np.ascontiguousarray(picture))
    sharp = max(thumbnail.size) <= _PIXELATED
    thumbnail.thumbnail((SIDE, SIDE))
    if thumbnail.mode == "L" and sharp:
        uri = _uri(thumbnail, "PNG", optimize=True)
    else:
        uri = _uri(thumbnail, "JPEG", quality=84 if sharp else 80, subsampling=0 if sharp else 2)
    return tag("img", src=uri, alt=words, class_="sharp" if sharp else None)


def crop(picture: np.ndarray, box: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """Cut a box (top, left, bottom, right) of an input of a size (H, W) out of its picture."""
    height, width = picture.shape[0] / size[0], picture.shape[1] / size[1]
    top, left = int(box[0] * height), int(box[1] * width)
    bottom, right = int(np.ceil(box[2] * height)), int(np.ceil(box[3] * width))
    return picture[top:bottom, left:right]


def sprite(icons: np.ndarray) -> Html:
    """Join icons, (m, side, side, 3) of uint8, in one sheet that the script shows parts of beside the pointer."""
    side, line = icons.shape[1], int(np.ceil(np.sqrt(max(len(icons), 1))))
    sheet = _pillow().new("RGB", (line * side, -(-len(icons) // line) * side))
    for number, icon in enumerate(icons):
        sheet.paste(_pillow().fromarray(icon), (number % line * side, number // line * side))
    style = f"background-image:url({_uri(sheet, 'JPEG', quality=72)})"
    return tag("div", id="sprite", hidden=True, data_line=line, style=style)


def _uri(picture: Any, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise missing("pillow", "report") from error
    return Image


# Bars


def interval_bar(
    value: float, low: float, high: float, reference: float, start: float, fill: str, of: str = "all together"
) -> Html:
    """Draw a share with its interval on a line from ``start`` to 1; a tick marks the reference, and ``of`` names it."""

    def at(share: float) -> float:
        return round(4 + 152 * (max(share, start) - start) / (1 - start), 1)

    return tag(
        "svg",
        tag("title", f"{value:.1%}, interval {low:.1%} to {high:.1%}; {of} {reference:.1%}"),
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


# Activations


@dataclass(frozen=True)
class Column:
    """One layer of the graph: its name, labels of its neurons, and their standardized activations (NaN: unknown).

    Neurons that are not ``solid`` have a dashed outline; all are by default.
    """

    name: str
    neurons: Sequence[str]
    levels: np.ndarray
    solid: Sequence[bool] = ()


def activation_graph(columns: Sequence[Column], title: str) -> Html:
    """Draw columns of neurons, joined by faint lines; red is above the mean of all inputs, blue below.

    Parameters
    ----------
    columns : sequence of Column
        The layers in their order; the last one is the output.
    title : str
        Description for screen readers.
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
        solid = column.solid or [True] * len(spots)
        for neuron, level, (x, y), whole in zip(column.neurons, column.levels, spots, solid, strict=True):
            nodes.append(_node(neuron, float(level), x, y, column.name, whole))
    inner = [tag("title", title), *lines, *nodes]
    return tag("svg", *inner, viewBox=f"0 0 {width} {height}", role="img", class_="graph", style=f"max-width:{width}px")


def activation_strip(levels: np.ndarray, breaks: Sequence[int], title: str) -> Html:
    """Draw the activations of one input as a line of small cells, red above the mean, blue below.

    Parameters
    ----------
    levels : array
        (f,) standardized.
    breaks : sequence of int
        Where a new layer begins.
    title : str
        Description for screen readers.
    """
    x, cells = 0, [tag("title", title)]
    for number, level in enumerate(levels):
        x += 2 if number in breaks and number else 0
        kind, opacity = _paint(float(level))
        cells.append(tag("rect", x=x, width=4, height=7, class_=kind, fill_opacity=opacity))
        x += 4
    return tag("svg", text(*cells), viewBox=f"0 0 {x} 7", class_="strip", role="img", preserveAspectRatio="none")


def _node(neuron: str, level: float, x: float, y: float, layer: str, solid: bool) -> Html:
    kind, opacity = _paint(level)
    known = np.isfinite(level)
    unit = neuron if neuron.startswith("PC ") else f"neuron {neuron}"
    words = f"{layer}, {unit}: {level:+.1f} deviations" if known else layer
    words += "" if solid else ", not selected"
    place: dict[str, str | float] = {"cx": x, "cy": f"{y:g}", "r": _RADIUS}
    return tag(
        "g",
        tag("title", words),
        tag("circle", class_="ground" if solid else "ground dashed", **place),
        tag("circle", class_=kind, fill_opacity=opacity, **place) if known else None,
        tag("text", neuron, x=x - _RADIUS - 4, y=f"{y + 3.5:g}", class_="neuron"),
    )


def _paint(level: float) -> tuple[str, str]:
    """Class and opacity of a standardized activation; the style sheet has the colours.

    >>> _paint(-3.0), _paint(0.0)[1]
    (('low', '1'), '0')
    """
    strength = min(abs(level) / STRONG, 1.0) if np.isfinite(level) else 0.0
    return ("high" if level > 0 else "low"), f"{strength:.2g}"


_EMPTY = frozenset({"img", "br", "hr", "meta"})


class Html(str):
    """Text that is HTML already; any other text is escaped where it meets a tag."""

    __slots__ = ()


Child = Union[str, int, float, None, "Iterable[Child]"]


def text(*children: Child) -> Html:
    """Join pieces; plain text is escaped, None is nothing.

    >>> text("a < b", None, tag("br"))
    'a &lt; b<br>'
    """
    parts: list[str] = []
    for child in children:
        if isinstance(child, Html):
            parts.append(child)
        elif isinstance(child, str | int | float):
            parts.append(escape(str(child), quote=False))
        elif child is not None:
            parts.append(text(*child))
    return Html("".join(parts))


def tag(name: str, *children: Child, **attributes: str | float | bool | None) -> Html:
    """Write one element.

    Parameters
    ----------
    name : str
        Of the element.
    *children : str, Html, number, None, or an iterable of those
        What stands in it.
    **attributes : str, number, bool or None
        ``class_`` is class, ``aria_label`` is aria-label; True is a bare name, False and None are left out.

    Examples
    --------
    >>> tag("p", "1 < 2", class_="note", hidden=True)
    '<p class="note" hidden>1 &lt; 2</p>'
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        words.append(key if value is True else f'{key}="{escape(str(value))}"')
    opening = f"<{' '.join(words)}>"
    return Html(opening if name in _EMPTY else f"{opening}{text(*children)}</{name}>")


def table(
    head: Iterable[Child],
    rows: Iterable[Iterable[Child]],
    caption: str,
    numbers: Iterable[int] = (),
    stacked: bool = False,
) -> Html:
    """Write a table that scrolls within itself where the page is narrow.

    Parameters
    ----------
    head : iterable
        Titles of the columns; words of the glossary are explained.
    rows : iterable of iterables
        Cells.
    caption : str
        What it shows; read by screen readers.
    numbers : iterable of int
        Columns that hold numbers, set to the right.
    stacked : bool
        On a phone, show each row as a block with the titles beside its cells, instead of scrolling.
    """
    right, titles = set(numbers), [text(_named(cell)) for cell in head]
    style = {True: "number", False: None}
    top = tag("tr", *(tag("th", cell, scope="col", class_=style[i in right]) for i, cell in enumerate(titles)))
    plain = [unescape(re.sub("<[^>]*>", "", title)) or None if stacked else None for title in titles]
    body = (
        tag(
            "tr",
            *(
                tag("td", cell, class_=style[i in right], data_title=title)
                for i, (cell, title) in enumerate(zip(row, plain, strict=True))
            ),
        )
        for row in rows
    )
    inner = tag("table", tag("caption", caption), tag("thead", top), tag("tbody", *body))
    kind = "scroll stacked" if stacked else "scroll"
    return tag("div", inner, class_=kind, tabindex=0, role="region", aria_label=caption)
