"""Numbers of the figures and tables from results/photographs.json."""

from __future__ import annotations

from typing import Any

from tiny_imagenet import CLASSES, VISIBLE


def drawn(results: dict[str, Any]) -> dict[str, Any]:
    """Return the cells of the figure, by class."""
    return {name: results[f"{name} 22 last"] for name in CLASSES if f"{name} 22 last" in results}


def measured_cells(results: dict[str, Any]) -> dict[str, Any]:
    return {key: cell for key, cell in results.items() if key.split()[0] in CLASSES}


def tests(cells: dict[str, Any]) -> list[tuple[str, str, float, int]]:
    """Return (cell, what is seen, corrected p-value, random sets that differ as much) of all tests."""
    count = len(cells) * len(VISIBLE)
    return [
        (key, what, min(1.0, p * count), sum(other >= share for other in cell["random"][what]))
        for key, cell in cells.items()
        for what, (share, p) in cell["visible"].items()
    ]


def agreement(results: dict[str, Any]) -> list[float]:
    """Return the AMI of mechanisms of the ten first neurons found on two halves of the images, for every halving."""
    return [value for cell in found_again(results) for value in cell["AMI"]]


def found_again(results: dict[str, Any], space: str = "") -> list[dict[str, Any]]:
    """Return the cells of what was found on two halves, of the ten first neurons or in a space of all neurons."""
    return [cell for key, cell in results.items() if key.startswith("again") and " ".join(key.split()[3:]) == space]
