"""Numbers of the figures and tables from results/running_time.json."""

from __future__ import annotations

from typing import Any


def is_cheaper(cell: dict[str, Any]) -> bool:
    """Whether 50 draws for all classes take less time than saliency of all inputs for each class, in batches."""
    saliency = min(cell[f"saliency, {way}"]["seconds"] for way in ("whole network", "cut"))
    return bool(cell["50 draws"]["all"] < cell["classes"] * saliency)
