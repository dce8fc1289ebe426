"""Numbers of the figures and tables from results/probes.json."""

from __future__ import annotations

from typing import Any

import numpy as np
from common import interval
from probes import LAYERS


def values(
    results: dict[str, Any], task: str, name: str, paper: str, pooling: str, labels: str, what: str
) -> list[float]:
    name = "-" if paper == "pixels" else name
    keys = [key.split() for key in results]
    if not any(key[0] == task and key[3:] == [paper, pooling] for key in keys):
        pooling = "unpooled"
    return [results[" ".join(k)][labels][what] for k in keys if [k[0], *k[2:]] == [task, name, paper, pooling]]


def gap(results: dict[str, Any], task: str, paper: str, pooling: str, labels: str, what: str = "loss") -> list[float]:
    """Return B minus A of every pair that has both."""
    seeds = [key.split()[1] for key in results if key.split()[0] == task]
    keys = [[f"{task} {seed} {name} {paper} {pooling}" for name in ("B", "A")] for seed in dict.fromkeys(seeds)]
    return [results[b][labels][what] - results[a][labels][what] for b, a in keys if a in results and b in results]


def probed(results: dict[str, Any], task: str, pooling: str) -> list[str]:
    """Layers that both networks of a pair at least were probed at."""
    return [paper for paper in LAYERS[task] if paper != "pixels" and gap(results, task, paper, pooling, "10")]


def side(values: list[float]) -> int:
    """1 where the interval of B minus A lies above zero, -1 below, 0 where it holds zero; of two, where both lie."""
    mean, half = interval(values)
    if len(values) < 3:
        return 1 if min(values) > 0 else -1 if max(values) < 0 else 0
    return int(np.sign(mean)) if abs(mean) > half else 0


def holds(results: dict[str, Any], task: str) -> str:
    """Whether the labels of the prior task tell A from B, and more so than those of the task, at every layer."""
    unpooled = [(paper, "unpooled") for paper in probed(results, task, "unpooled")]
    where = unpooled + [(paper, "pooled") for paper in probed(results, task, "pooled")]
    tell = []
    for paper, pooling in where:
        two, ten = (gap(results, task, paper, pooling, labels) for labels in ("2", "10"))
        tell.append(side(ten) > 0 and np.mean(ten) > abs(np.mean(two)))
    return "yes" if all(tell) else "partly" if any(tell) else "no"
