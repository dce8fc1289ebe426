"""Numbers of the figures and tables from results/chest_xrays.json."""

from __future__ import annotations

from typing import Any

from neucept.mechanisms import wilson


def networks(results: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for key, cell in results.items() if key.startswith("network")]


def random_as_good(cell: dict[str, Any]) -> int:
    """Count the sets of random neurons whose mechanisms say as much of being right."""
    return sum(value >= cell["right"][0] for value in cell["random"]["right"])


def picked_interval(cell: dict[str, Any]) -> tuple[float, float]:
    judged = round(cell["picked"]["judged"])
    return wilson(round(judged * cell["picked"]["precision"]), judged)


def unreliable(cells: list[dict[str, Any]]) -> bool:
    """Return whether the least reliable mechanism of each network is less reliable than its class."""
    return all(picked_interval(cell)[1] < cell["precision"] for cell in cells)


def beyond_margin(cells: list[dict[str, Any]]) -> int:
    return sum(cell["beyond margin"] < 0.05 for cell in cells)
