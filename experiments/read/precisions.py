"""Numbers of the figures and tables from results/precisions.json."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from common import interval
from precisions import GAUSSIAN_LEVELS, PRECISIONS

SHORT = 0.05  # what a single cell may miss by chance


def column(results: dict[str, Any], kind: str, task: str, paper: str, *path: str, of: str | None = None) -> list[float]:
    """One value per seed, the mean over classes (and over kinds of network, unless ``of`` names one)."""
    values: dict[str, list[float]] = {}
    for key, cell in results.items():
        name, its_task, seed, network, its_paper, _ = key.split()
        if (name, its_task, its_paper) == (kind, task, paper) and of in (None, network):
            for part in path:
                cell = cell[part]
            if cell is not None:
                values.setdefault(seed, []).append(cell)
    return [float(np.mean(group)) for group in values.values()]


def tasks_of(results: dict[str, Any]) -> list[str]:
    return [task for task in PRECISIONS if any(key.split()[1] == task for key in results)]


def by_network(
    results: dict[str, Any], kind: str, of: Callable[[dict[str, Any]], float], task: str = ""
) -> list[float]:
    """One value per network, the mean over its layers and classes."""
    values: dict[str, list[float]] = {}
    for key, cell in results.items():
        if key.split()[0] == kind and key.split()[1].startswith(task):
            values.setdefault(" ".join(key.split()[1:4]), []).append(of(cell))
    return [float(np.mean(group)) for group in values.values()]


def realised(results: dict[str, Any], task: str, name: str, asked: float | None = None) -> list[float]:
    """Precision on simulated responses at the precision asked (by default the lowest), one value per network."""
    return by_network(results, "swept", lambda cell: cell[str(asked or PRECISIONS[task][0])][name], task)


def missed(results: dict[str, Any], task: str, name: str) -> tuple[int, int]:
    """Cells (network, layer, class, precision) whose precision falls short of the one asked by more than SHORT."""
    short = [
        p - cell[str(p)][name]
        for key, cell in results.items()
        if key.startswith(f"swept {task}")
        for p in PRECISIONS[task]
    ]
    return sum(one > SHORT for one in short), len(short)


def keeps(results: dict[str, Any], task: str, name: str) -> bool:
    """Whether no precision asked is above the interval of the realised one; of two networks, above their mean."""
    values = {asked: realised(results, task, name, asked) for asked in PRECISIONS[task]}
    tops = {asked: sum(interval(one)) if len(one) > 2 else np.mean(one) for asked, one in values.items()}
    return all(top >= asked for asked, top in tops.items())


def of_task(results: dict[str, Any], task: str) -> dict[str, Any]:
    return {key: cell for key, cell in results.items() if key.split()[1] == task}


def loose(results: dict[str, Any], way: str, what: str, paper: str = "") -> list[float]:
    """FDR minus q, or power, on Gaussian neurons, few inputs; one value per network, the mean of both levels."""

    def of(cell: dict[str, Any]) -> float:
        cells = [(cell[f"few inputs {way} {p}"], 1 - p) for p in GAUSSIAN_LEVELS]
        return float(np.mean([part["fdr"] - q if what == "fdr" else part["power"] for part, q in cells]))

    return by_network({key: cell for key, cell in results.items() if paper in key}, "gaussian", of)


def exceeded(results: dict[str, Any], way: str) -> tuple[int, int]:
    """Cells on Gaussian neurons, the loose estimate, whose FDR is above q by more than SHORT."""
    over = [
        cell[f"few inputs {way} {p}"]["fdr"] - (1 - p)
        for key, cell in results.items()
        if key.startswith("gaussian ")
        for p in GAUSSIAN_LEVELS
    ]
    return sum(one > SHORT for one in over), len(over)


def supported(results: dict[str, Any]) -> bool:
    """Whether the mean FDR with the loose estimate is not shown to be above q, and surely not by SHORT."""
    mean, half = interval(loose(results, "estimated", "fdr"))
    return mean - np.nan_to_num(half) <= 0 and mean + np.nan_to_num(half) <= SHORT


def gained(results: dict[str, Any], what: str) -> list[float]:
    """Return what the loose estimate changes, one value per network."""
    return np.subtract(loose(results, "estimated", what), loose(results, "exact", what)).tolist()


def lost(results: dict[str, Any]) -> bool:
    mean, half = interval(gained(results, "power"))
    return bool(mean + np.nan_to_num(half) < 0)
