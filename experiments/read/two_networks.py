"""Numbers of the figures and tables from results/two_networks.json."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats
from two_networks import KINDS


def gathered(results: dict[str, Any], kind: str) -> list[tuple[list[str], Any]]:
    return [(key.split()[1:], cell) for key, cell in results.items() if key.startswith(f"{kind} ")]


def over_seeds(results: dict[str, Any], kind: str, *path: str, part: tuple[str, ...] = ()) -> list[float]:
    """One value per seed, the mean over the classes, of cells that hold it; ``part`` chooses clouds."""
    values: dict[str, list[float]] = {}
    for parts, cell in gathered(results, kind):
        for key in path:
            cell = cell.get(key) if isinstance(cell, dict) else None
        if cell is not None and parts[1 : 1 + len(part)] == list(part):
            values.setdefault(parts[0], []).append(cell)
    return [float(np.mean(group)) for group in values.values()]


def seeds(results: dict[str, Any]) -> list[int]:
    return sorted({int(parts[0]) for parts, _ in gathered(results, "outputs")})


def jackknife(results: dict[str, Any], of: Callable[[dict[str, Any]], float]) -> tuple[float, float]:
    """Estimate and half-width of its 95% interval, leaving out one network of each kind at a time.

    A network s is in the pairs (s - 1, s) and (s, s + 1) of like networks, so that their values are not independent.
    """
    known = seeds(results)
    whole = of(results)
    if len(known) < 3:
        return whole, float("nan")
    left = np.array([of(without(results, seed)) for seed in known])
    n = len(known)
    deviation = np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum())
    return whole, float(stats.t.ppf(0.975, n - 1) * deviation)


def without(results: dict[str, Any], seed: int) -> dict[str, Any]:
    """Leave out what was measured on the networks of a seed."""
    rest: dict[str, Any] = {}
    for key, cell in results.items():
        kind, its_seed = key.split()[:2]
        if int(its_seed) == seed:
            continue
        if kind in ("outputs", "compared") and int(its_seed) == seed - 1:
            cell = {name: value for name, value in cell.items() if "another" not in name}
        rest[key] = cell
    return rest


def over_pairs(results: dict[str, Any], kind: str, words: str, *path: str) -> tuple[float, float]:
    """Mean over pairs of networks with its half-width."""
    return jackknife(results, lambda part: mean(over_seeds(part, kind, words, *path)))


def apart(results: dict[str, Any], kind: str, one: str, other: str, *path: str) -> tuple[float, float]:
    """Mean over pairs of one sort minus that over pairs of another, with its half-width."""

    def of(part: dict[str, Any]) -> float:
        return mean(over_seeds(part, kind, one, *path)) - mean(over_seeds(part, kind, other, *path))

    return jackknife(results, of)


def mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def gap(results: dict[str, Any], points: str, paper: str, measure: str) -> list[float]:
    """Return A minus B of each pair, the mean over the classes."""
    sides = []
    for name in KINDS:
        values: dict[str, list[float]] = {}
        for parts, cell in gathered(results, "cloud"):
            if parts[1:3] == [name, paper]:
                values.setdefault(parts[0], []).append(cell[points][measure])
        sides.append({seed: float(np.mean(group)) for seed, group in values.items()})
    return [sides[0][seed] - sides[1][seed] for seed in sides[0] if seed in sides[1]]


def surely(value: tuple[float, float]) -> bool:
    """Whether the interval lies on one side of zero; without an interval the mean decides."""
    return bool(abs(value[0]) > np.nan_to_num(value[1]))


def measurably(value: tuple[float, float]) -> bool:
    """Whether there is an interval, and it lies on one side of zero."""
    return bool(abs(value[0]) > value[1])
