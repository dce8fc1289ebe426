"""A little HTML: tags as a function, with everything escaped that is not HTML already."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Union

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


def table(head: Iterable[Child], rows: Iterable[Iterable[Child]], caption: str, numbers: Iterable[int] = ()) -> Html:
    """Write a table that scrolls within itself where the page is narrow.

    Parameters
    ----------
    head : iterable
        Titles of the columns.
    rows : iterable of iterables
        Cells.
    caption : str
        What it shows; read by screen readers.
    numbers : iterable of int
        Columns that hold numbers, set to the right.
    """
    right = set(numbers)
    style = {True: "number", False: None}
    top = tag("tr", *(tag("th", cell, scope="col", class_=style[i in right]) for i, cell in enumerate(head)))
    body = (tag("tr", *(tag("td", cell, class_=style[i in right]) for i, cell in enumerate(row))) for row in rows)
    inner = tag("table", tag("caption", caption), tag("thead", top), tag("tbody", *body))
    return tag("div", inner, class_="scroll", tabindex=0, role="region", aria_label=caption)
