"""Compare objectives and orders by what the first neurons show of a network's prior knowledge.

Pairwise is Algorithm 1, sequential equation (3); with calibration (the default) and by knockoffs alone. (Equation (10)
is in non_redundancy.py.) Each gives ten neurons of the third convolution in two orders: the ranking (each neuron adds
what it can to those before it) and by the mean statistic of single neurons, as published. CE (bits) of five mechanisms
(K-means) on the test digits predicted as the class; beside them the ten neurons of largest variance.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from common import Results, Scale, main
from discovery import discovered
from networks import pairs, recorded
from sklearn.cluster import KMeans
from tasks import CONV3, LINEAR0, TASKS, tensors

from neucept import metrics

WAYS = [(objective, calibration) for objective in ("pairwise", "sequential") for calibration in ("auto", None)]


def measure(task: str, seed: int, kind: str, scale: Scale) -> dict[str, float]:
    """Return CE by class, objective, calibration and order."""
    _, fine = tensors(task, "test", scale.shared, scale.inputs)
    recording = recorded(task, seed, kind, scale)
    results = {}
    for label, name in enumerate(TASKS[task].classes):
        rows = recording.samples(label)
        Z = np.asarray(recording.activations(CONV3)[rows], np.float64)

        def entropy(neurons: np.ndarray, Z: np.ndarray = Z, rows: np.ndarray = rows) -> float:
            V = (Z[:, neurons] - Z[:, neurons].mean(axis=0)) / np.maximum(Z[:, neurons].std(axis=0), 1e-9)
            return round(metrics.cluster_entropy(fine[rows], KMeans(5, n_init=4, random_state=0).fit_predict(V)), 4)

        results[f"{name} variance"] = entropy(np.argsort(-Z.var(axis=0))[:10])
        for objective, calibration in WAYS:
            options = {"layers": (CONV3, LINEAR0), "objective": objective, "calibration": calibration}
            critical = discovered(task, seed, kind, label, scale, **options)[CONV3]
            way = f"{objective}, {'calibrated' if calibration else 'knockoffs alone'}"
            results[f"{name} {way}, in order"] = entropy(critical.ranked("information")[:10])
            results[f"{name} {way}, by statistic"] = entropy(np.argsort(-critical.mean_statistic)[:10])
            results[f"{name} {way}, selected"] = len(critical.neurons)
    return results


def run(scale: Scale) -> dict:
    wanted: dict[str, Callable[[], dict]] = {}
    for task, seed in pairs(scale, "lenet"):
        for kind in ("pkt", "normal"):
            wanted[f"{task} {seed} {kind}"] = partial(measure, task, seed, kind, scale)
    return Results("objectives", scale).fill(wanted)


if __name__ == "__main__":
    main(__file__, run)
