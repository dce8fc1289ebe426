"""Numbers of the figures and tables from results/objectives.json."""

from __future__ import annotations

from typing import Any

from tasks import TASKS


def differences(results: dict[str, Any], way: str) -> dict[str, float]:
    """CE of the normal network minus that of the PKT network, both classes together, for each pair that has both."""
    classes = TASKS["lenet"].classes

    def total(seed: str, kind: str) -> float:
        return sum(results[f"lenet {seed} {kind}"][f"{label} {way}"] for label in classes)

    seeds = dict.fromkeys(key.split()[1] for key in results)
    whole = [seed for seed in seeds if all(f"lenet {seed} {kind}" in results for kind in ("pkt", "normal"))]
    return {seed: total(seed, "normal") - total(seed, "pkt") for seed in whole}


def minus(results: dict[str, Any], way: str, other: str) -> list[float]:
    """How much larger the difference is by one way than by another, one value per pair."""
    one, two = differences(results, way), differences(results, other)
    return [one[seed] - two[seed] for seed in one]


def names(results: dict[str, Any], ending: str = "") -> list[str]:
    """Ways of ranking in the cells."""
    first = TASKS["lenet"].classes[0]
    ways = [key.partition(" ")[2] for key in next(iter(results.values())) if key.startswith(f"{first} ")]
    return [way for way in ways if way.endswith(ending) and not way.endswith("selected")]


def counts(results: dict[str, Any], way: str) -> list[int]:
    """Numbers of neurons selected, one value per network and class."""
    chosen = f"{way.rpartition(', ')[0]}, selected"
    return [cell[f"{label} {chosen}"] for cell in results.values() for label in TASKS["lenet"].classes]
