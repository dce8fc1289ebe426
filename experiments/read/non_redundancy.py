"""Numbers of the figures and tables from results/non_redundancy.json."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from common import interval
from non_redundancy import WAYS
from tasks import TASKS


def column(results: dict[str, Any], where: tuple[str, str, str], *path: str) -> list[float]:
    """One value per seed, the mean over the classes, at a task, layer and kind of network."""
    values: dict[str, list[float]] = {}
    for key, cell in results.items():
        task, seed, kind, paper, _ = key.split()
        if (task, paper, kind) == where:
            for part in path:
                cell = cell[part]
            if cell is not None:  # a class of a prior network has no finer labels
                values.setdefault(seed, []).append(cell)
    return [float(np.mean(group)) for group in values.values()]


def places(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    keys = [key.split() for key in results]
    return list(dict.fromkeys((key[0], key[3], key[2]) for key in keys))


def label(place: tuple[str, str, str]) -> str:
    task, paper, kind = place
    return f"{TASKS[task].model} {'PKT' if kind == 'pkt' else kind}, {paper}"


Measure = Callable[[dict[str, Any], str], float]
# Of a cell and a way; with the sign of ours minus global that the paper's claim implies. Shares in percent.
MEASURES: dict[str, tuple[Measure, int]] = {
    "redundant": (lambda cell, way: cell[way]["redundant"], -1),
    "beyond": (lambda cell, way: 100 * cell[way]["beyond the other's neurons"], 1),
    "changed": (lambda cell, way: 100 * (1 - cell["agreement"][f"without {way} only"]), 1),
}
CASES = {"Two classes": ("pkt", "normal"), "Ten classes": ("prior",)}


def by_network(results: dict[str, Any], case: str, of: Measure, way: str) -> list[float]:
    """One value per network, the mean of its layers and classes."""
    values: dict[str, list[float]] = {}
    for key, cell in results.items():
        if key.split()[2] in CASES[case]:
            values.setdefault(" ".join(key.split()[:3]), []).append(of(cell, way))
    return [float(np.mean(group)) for group in values.values()]


def apart(results: dict[str, Any], case: str, measure: str) -> list[float]:
    """Ours minus global, one value per network."""
    of = MEASURES[measure][0]
    ours_, others = (by_network(results, case, of, way) for way in WAYS)
    return np.subtract(ours_, others).tolist()


def sides(results: dict[str, Any], case: str) -> dict[str, tuple[int, bool]]:
    """Whether each measure points the paper's way (1) or the other (-1) on average, and whether that is shown."""
    directions = {}
    for measure, (_, sign) in MEASURES.items():
        values = apart(results, case, measure)
        mean, half = interval(values)
        directions[measure] = (int(np.sign(mean)) * sign, len(values) > 2 and abs(mean) > half)
    return directions


def holds(results: dict[str, Any], case: str) -> str:
    """Yes or no where the shown measures agree; where none is shown, no if most point the other way."""
    directions = sides(results, case).values()
    for_it = [side for side, clear in directions if clear]
    if for_it:
        return "yes" if min(for_it) > 0 else "no" if max(for_it) < 0 else "partly"
    return "no" if sum(side for side, _ in directions) < 0 else "partly"


def cases(results: dict[str, Any]) -> list[str]:
    return [case for case in CASES if by_network(results, case, next(iter(MEASURES.values()))[0], "ours")]
