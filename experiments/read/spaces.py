"""Numbers of docs/mechanism-space.md from results/spaces.json."""

from __future__ import annotations

from typing import Any

import numpy as np


def more_than_one(cells: dict[str, Any]) -> int:
    return sum(cell["K"] > 1 for cell in cells.values())


def called_less(cells: dict[str, Any]) -> tuple[int, int]:
    """Count the mechanisms called less reliable, and those of them below their class on the other half."""
    below = [
        cell["other"][k] < cell["class"]
        for cell in cells.values()
        for k, verdict in enumerate(cell["verdicts"])
        if verdict == "less reliable"
    ]
    return len(below), sum(below)


def seeds(results: dict[str, Any], group: str, layer: str, method: str, space: str) -> list[str]:
    """Return the pairs of which both networks were measured in a space."""
    known = [key.split()[1] for key in results if key.startswith(f"{group} ") and key.endswith(f"pkt {method}")]
    cells = {seed: [results.get(f"{group} {seed} {kind} {method}", {}) for kind in ("pkt", "normal")] for seed in known}
    return [seed for seed, both in cells.items() if all(space in cell.get(layer, {}) for cell in both)]


def pairs(results: dict[str, Any], group: str, method: str) -> int:
    return len(seeds(results, group, "both", method, "all"))


def values(
    results: dict[str, Any], group: str, layer: str, method: str, space: str, of: list[str] | None = None
) -> np.ndarray:
    """Return (pairs, 2 networks, 2 measures): again and CE of PKT and normal."""
    return np.array(
        [
            [results[f"{group} {seed} {kind} {method}"][layer][space] for kind in ("pkt", "normal")]
            for seed in (seeds(results, group, layer, method, space) if of is None else of)
        ]
    )


def of_classes(cell: dict[str, Any]) -> list[str]:
    """Sum up the ten classes, both ways."""
    counts = [one["K"] for one in cell.values()]
    error = [
        np.average(np.abs(np.subtract(one["own"], one["other"])), weights=one["shares"][: len(one["own"])])
        for one in cell.values()
    ]
    whole = [abs(float(np.average(one["own"], weights=one["shares"])) - one["class"]) for one in cell.values()]
    differ = sum(one["p"] < 0.05 for one in cell.values())
    less, below = called_less(cell)
    ways = len(cell)
    return [
        f"{min(counts)} to {max(counts)}",
        f"{more_than_one(cell)} of {ways}",
        f"{np.mean([one['stability'] for one in cell.values()]):.2f}",
        f"{np.mean(error):.3f}",
        f"{np.mean(whole):.3f}",
        f"{differ} of {ways}",
        f"{less}; {below} below",
        alarms(cell),
    ]


def alarms(cell: dict[str, Any]) -> str:
    verdicts = [verdict for one in cell.values() for verdict in one.get("confidence", ())]
    return f"{verdicts.count('overconfident')} of {len(verdicts)}" if verdicts else "–"


def pair_cells(results: dict[str, Any]) -> dict[str, int]:
    """Count the single layers of VGG11s of two classes that are found again with an AMI of at least .85."""
    cells = [cell[layer] for key, cell in results.items() if key.startswith("pair ") for layer in ("conv8", "conv9")]
    count = {f"pair_{space}": sum(c[space][0] >= 0.85 for c in cells) for space in ("contribution", "all")}
    return count | {"pair_cells": len(cells)}
