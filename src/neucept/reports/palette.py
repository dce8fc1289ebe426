"""Colours of the page and its figures, told apart by colour-blind people too."""

from __future__ import annotations

# Paul Tol's bright scheme, reordered; readable on white and on near-black.
MECHANISMS = ("#4477AA", "#EE6677", "#228833", "#CCA02C", "#AA3377", "#3BB5D6", "#8C6D4F")
SYMBOLS = ("circle", "diamond", "square", "cross", "triangle-up", "star")
ACCENT = "#3B6FD4"
MUTED = "#8A939E"
TEXT = "#7A838E"  # reads on light and dark; the page's style sheet sharpens it
GRID = "rgba(128, 138, 150, 0.25)"


def colour(number: int) -> str:
    """Colour of a mechanism or label; grey for -1, which is none."""
    return MUTED if number < 0 else MECHANISMS[number % len(MECHANISMS)]


def symbol(number: int) -> str:
    """Marker of a mechanism or label: colours that come again have another shape.

    >>> symbol(0), symbol(7)
    ('circle', 'diamond')
    """
    return SYMBOLS[max(number, 0) // len(MECHANISMS) % len(SYMBOLS)]
