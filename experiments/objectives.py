"""Compare objectives and orders by what the first neurons show of a network's prior knowledge.

Pairwise is Algorithm 1, sequential equation (3); with calibration (the default) and by knockoffs alone. (Equation (10)
is in non_redundancy.py.) Each gives ten neurons of the third convolution in two orders: the ranking (each neuron adds
what it can to those before it) and by the mean statistic of single neurons, as published. CE (bits) of five mechanisms
(K-means) on the test digits predicted as the class; beside them the ten neurons of largest variance.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from common import Results, Scale, main, shown
from networks import CONV3, LINEAR0, TASKS, pairs, recorded, tensors
from sklearn.cluster import KMeans

import neucept
from neucept.metrics import cluster_entropy

TITLE = "Objectives and orders"
CLAIM = (
    "Equation (3), the critical neurons of the next layer's critical neurons, is the aim; Algorithm 1 solves each layer"
    " against the output instead, because (3) is too costly, and orders neurons one by one."
)
WAYS = [(objective, calibration) for objective in ("pairwise", "sequential") for calibration in ("auto", None)]


def measure(task: str, seed: int, kind: str, scale: Scale) -> dict[str, float]:
    """Give CE by class, objective, calibration and order."""
    _, fine = tensors(task, "test", scale.shared, scale.inputs)
    recording = recorded(task, seed, kind, scale)
    found = {}
    for label, name in enumerate(TASKS[task].classes):
        rows = recording.samples(label)
        Z = np.asarray(recording.activations(CONV3)[rows], np.float64)

        def entropy(neurons: np.ndarray, Z: np.ndarray = Z, rows: np.ndarray = rows) -> float:
            V = (Z[:, neurons] - Z[:, neurons].mean(axis=0)) / np.maximum(Z[:, neurons].std(axis=0), 1e-9)
            return round(cluster_entropy(fine[rows], KMeans(5, n_init=4, random_state=0).fit_predict(V)), 4)

        found[f"{name} variance"] = entropy(np.argsort(-Z.var(axis=0))[:10])
        for objective, calibration in WAYS:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", neucept.NothingSelectedWarning)
                critical = neucept.discover(
                    recording,
                    label,
                    layers=[CONV3, LINEAR0],
                    objective=objective,
                    calibration=calibration,
                    progress=False,
                )[CONV3]
            way = f"{objective}, {'calibrated' if calibration else 'knockoffs alone'}"
            found[f"{name} {way}, in order"] = entropy(critical.ranking[:10])
            found[f"{name} {way}, by statistic"] = entropy(np.argsort(-critical.mean_statistic)[:10])
            found[f"{name} {way}, selected"] = len(critical.neurons)
    return found


def run(scale: Scale) -> dict:
    wanted: dict[str, Callable[[], dict]] = {}
    for task, seed in pairs(scale, "lenet"):
        for kind in ("pkt", "normal"):
            wanted[f"{task} {seed} {kind}"] = partial(measure, task, seed, kind, scale)
    return Results("objectives", scale).fill(wanted)


def draw(found: dict, path: Path) -> None:
    """Nothing: a table says it."""


def finding(found: dict) -> str:
    def values(kind: str, key: str) -> np.ndarray:
        return np.array([cell[key] for name, cell in sorted(found.items()) if name.endswith(f" {kind}")])

    classes = TASKS["lenet"].classes
    names = [key.partition(" ")[2] for key in next(iter(found.values())) if key.startswith(classes[0])]
    lines = [
        "| the ten neurons of conv3 by | even, PKT / normal | odd, PKT / normal | differences together | selected |",
        "|---|---|---|---|---|",
    ]
    for name in names:
        if name.endswith("selected"):
            continue
        pkt, normal = ([values(kind, f"{label} {name}") for label in classes] for kind in ("pkt", "normal"))
        total = sum(n - p for n, p in zip(normal, pkt, strict=True))
        cells = [f"{p.mean():.2f} / {n.mean():.2f}" for p, n in zip(pkt, normal, strict=True)]
        chosen = f"{name.rpartition(', ')[0]}, selected"
        count = f"{np.mean([values('pkt', f'{label} {chosen}') for label in classes]):.0f}" if chosen in names else ""
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {shown(total)} | {count} |")
    return (
        f"CE in bits, {len(values('pkt', f'{classes[0]} variance'))} pairs of networks trained afresh.\n\n"
        + "\n".join(lines)
    )


if __name__ == "__main__":
    main(sys.modules[__name__])
