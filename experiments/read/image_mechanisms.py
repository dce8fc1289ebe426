"""How the results on real images are written."""

from __future__ import annotations

from typing import Any


def least_and_most(cell: dict[str, Any]) -> str:
    rows = sorted(cell["mechanisms"], key=lambda row: row[2])
    ends = rows if len(rows) < 2 else (rows[0], rows[-1])
    return ", ".join(f"{row[2]:.0%} ({row[3]:.0%} to {row[4]:.0%})" for row in ends)


def p_words(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def selected(cell: dict[str, Any]) -> str:
    """Return the numbers of neurons critical at 0.9 and at 0.6, layer by layer."""
    return "; ".join(f"{a}, {b} of {cell['neurons'][layer]}" for layer, (a, b) in cell["selected"].items())
