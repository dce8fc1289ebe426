"""Numbers of the figures and tables from results/pathway_decoding.json."""

from __future__ import annotations

from typing import Any

import numpy as np
from common import clearly_above_zero
from pathway_decoding import METHODS

NETWORKS = {"vgg11": "VGG11, CIFAR-10", "efficientnet-lite0": "EfficientNet-Lite0, ImageNet"}


def networks_of(results: dict[str, Any]) -> list[str]:
    return [name for name in NETWORKS if f"{name} 0" in results]


def values(results: dict[str, Any], name: str, method: str, what: str) -> list[float]:
    return [v for key, cell in results.items() if key.split()[0] == name for v in cell[method][what]]


def more(a: list[float], b: list[float]) -> list[float]:
    return np.subtract(a, b).tolist()


def is_more(a: list[float], b: list[float]) -> bool:
    """Whether the interval of the paired difference lies above zero."""
    return clearly_above_zero(more(a, b))


def outcome(results: dict[str, Any], name: str) -> str:
    """Return yes if decoded images show the class more than chance does, and their own input more than others of it."""
    kinds = [[values(results, name, method, what) for method in METHODS] for what in ("probability", "cosine")]
    above_chance = [is_more(*pair) for pair in kinds]
    own = results.get(f"own {name}")
    itself = own is not None and is_more(own["itself"], own["its class"])
    return "no" if not any(above_chance) else "yes" if all(above_chance) and itself else "partly"
