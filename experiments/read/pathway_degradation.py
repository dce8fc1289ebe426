"""Numbers of the figures and tables from results/pathway_degradation.json."""

from __future__ import annotations

from typing import Any

import numpy as np
from common import interval
from pathway_degradation import FILLS, PATHWAYS, PEERS, SHARES, SHOWN

ORDERS = {"LeRF": "least relevant first", "MoRF": "most relevant first"}


def values(results: dict[str, Any], fill: str, method: str, order: str, share: float) -> list[float]:
    return [cell[fill][method][order][SHARES.index(share)] for cell in cells_of(results, "vgg11").values()]


def cells_of(results: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return {number of the first image: cell}: "vgg11", or "channel" with the other rank."""
    return {key.split()[1]: cell for key, cell in results.items() if key.split()[0] == kind}


def differences(results: dict[str, Any], fill: str, peer: str) -> dict[tuple[str, float], list[float]]:
    """Return {(method, share): LeRF of the pathway's gradient minus that of a peer}, on the same images."""
    return {
        (ours, share): np.subtract(
            values(results, fill, ours, "LeRF", share), values(results, fill, peer, "LeRF", share)
        ).tolist()
        for ours in PATHWAYS
        for share in SHOWN
    }


def counts(results: dict[str, Any], fill: str, peer: str) -> dict[str, int]:
    """Count the comparisons: in how many the change is less than a peer's, less or more beyond the interval."""
    compared = [interval(d) for d in differences(results, fill, peer).values()]
    return {
        "of": len(compared),
        "less": sum(middle < 0 for middle, _ in compared),
        "surely less": sum(middle < -half for middle, half in compared),
        "surely more": sum(middle > half for middle, half in compared),
    }


def outcome(results: dict[str, Any]) -> str:
    all_counts = [counts(results, fill, "gradient") for fill in FILLS]
    if all(n["surely less"] == n["of"] for n in all_counts):
        return "yes"
    return "partly" if all(n["less"] > n["of"] / 2 and not n["surely more"] for n in all_counts) else "no"


def cam_is_least(results: dict[str, Any], fill: str, share: float) -> bool:
    ours, cam = (
        [np.mean(values(results, fill, method, "LeRF", share)) for method in names] for names in (PATHWAYS, ["GradCAM"])
    )
    return bool(cam[0] < min(ours))


def most_first(results: dict[str, Any], fill: str) -> list[list[float]]:
    """Return MoRF of each pathway's gradient minus that of the gradient, for every method and share."""
    return [
        np.subtract(
            values(results, fill, ours, "MoRF", share), values(results, fill, "gradient", "MoRF", share)
        ).tolist()
        for ours in PATHWAYS
        for share in SHOWN
    ]


def by_channel(results: dict[str, Any]) -> dict[tuple[str, str, float], list[float]]:
    """Return LeRF with pixels ranked by one channel minus LeRF by the sum of channels, {} where not measured."""
    kept, sums = cells_of(results, "channel"), cells_of(results, "vgg11")
    both = [start for start in kept if start in sums]
    if len(both) < 2:
        return {}
    return {
        (fill, method, share): [
            kept[start][fill][method][SHARES.index(share)] - sums[start][fill][method]["LeRF"][SHARES.index(share)]
            for start in both
        ]
        for fill in FILLS
        for method in PATHWAYS + PEERS
        for share in SHOWN
    }
