"""Numbers of the figures and tables from results/pathway_overlap.json."""

from __future__ import annotations

from typing import Any

import numpy as np
from pathway_overlap import CONTRIBUTION, METHODS

NETWORKS = {"efficientnet-lite0": "EfficientNet-Lite0, ImageNet", "vgg11": "VGG11, CIFAR-10"}
# Routing as it is defined: which part of the pathway, and its name in the table.
ROUTED_ROWS = {
    ("DGR (ones)", "whole"): "DGR from ones",
    ("DGR (random)", "above zero"): "DGR from random, gates above zero",
    ("DGR (random)", "whole"): "DGR from random, filled up to 10%",
}


def label(method: str) -> str:
    return f"{method}, fast variant" if method.startswith("DGR") else method


def of(results: dict[str, Any], network: str, sparsity: float) -> list[dict[str, Any]]:
    return [cell[str(sparsity)] for key, cell in results.items() if key.split()[0] == network]


def measured(results: dict[str, Any]) -> list[str]:
    return [network for network in NETWORKS if of(results, network, 0.9)][::-1]


def short(network: str) -> str:
    return NETWORKS[network].split(",")[0]


def images_of(results: dict[str, Any], network: str) -> int:
    return {"efficientnet-lite0": 1, "vgg11": 4}[network] * len(of(results, network, 0.9))


def overlaps(results: dict[str, Any], network: str, a: str, b: str) -> list[float]:
    pair = " and ".join(sorted((a, b), key=METHODS.index))
    return [cell["overlap"][pair] for cell in of(results, network, 0.9)]


def routed(results: dict[str, Any], method: str, what: str, *more: str) -> list[float]:
    """Return percentages, one value per image, of routing as it is defined; ``more`` leads to what is nested."""
    values = []
    for key, cell in results.items():
        if key.startswith("defined "):
            value = cell[method][what]
            for name in more:
                value = value[name]
            values += [100 * one for one in value]
    return values


def no_dead(results: dict[str, Any], network: str) -> bool:
    return all(cell["dead"][method] == 0 for cell in of(results, network, 0.9) for method in CONTRIBUTION)


def agree_more(results: dict[str, Any], network: str, method: str) -> bool:
    """Whether the contributions overlap with each other more than either with a method, by means over images."""
    between = np.mean(overlaps(results, network, *CONTRIBUTION))
    return bool(between > max(np.mean(overlaps(results, network, method, one)) for one in CONTRIBUTION))


def above_others(results: dict[str, Any]) -> bool:
    """Whether contributions agree more with each other, on VGG11, than either with routing or with random pathways."""
    between = 100 * np.mean(overlaps(results, "vgg11", *CONTRIBUTION))
    others = [np.mean(routed(results, *row, "overlap", one)) for row in ROUTED_ROWS for one in CONTRIBUTION]
    return bool(between > max(others)) and agree_more(results, "vgg11", "random")
