"""Explainability power (Section 3.1): how much of the response the first neurons of each ranking keep.

Neurons are added in the order of each method. Two measures: the held-out share of the variance of the margin (the
class's logit minus the other's, over the test inputs predicted as the class) that they predict, by ridge regression on
themselves and on kernel features; and the share of predictions that stay when all other neurons of the layer are those
of another test input. Means over the two classes. Beside the rankings, the set that NeuCEPT selects at a precision of
0.9 (its default), by `neucept.sufficiency`: R2 of the response it was selected for, the class's logit.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
from ablation import KINDS, outputs, scored
from common import Results, Scale, main
from discovery import discovered
from networks import pairs, recorded, trained
from regression import held_out_r2
from tasks import TASKS, tensors

import neucept
from neucept.recording import tail

COUNTS = (1, 2, 3, 5, 8, 12, 20, 30, 50)  # and all
KERNEL_COUNTS = (3, 8, 20, 50)
SELECTED = "selected"  # first word of the cells of the selection


def measure(task: str, seed: int, kind: str, name: str, scale: Scale) -> dict:
    """Return {measure: {method: values}}, one value per number of neurons, the last one with all."""
    recording, network = recorded(task, seed, kind, scale), trained(task, seed, scale)[kind]
    layer = dict(TASKS[task].layers)[name]
    Z = outputs(recording, layer, network, tensors(task, "test", scale.shared, scale.inputs)[0])
    scores, k = scored(task, seed, kind, scale)[layer], Z.shape[1]
    fitted = 300 if scale.reduced else 600
    results: dict = {
        "linear": r2(recording, layer, scores, (*COUNTS, k), fitted, nonlinear=False),
        "kernel": r2(recording, layer, scores, (*KERNEL_COUNTS, k), fitted, nonlinear=True),
    }
    held = neucept.ablation.resample(tail(network, layer), Z, scores, (*COUNTS, k), progress=False, seed=seed)
    mean = held.groupby(["top", "method"], sort=False)["agreement"].mean().unstack(sort=False)
    return results | {"agreement": mean.round(4).to_dict("list")}


def selected(task: str, seed: int, kind: str, scale: Scale) -> dict:
    """Return {layer: {set of neurons: [count, kernel R2, predictions that stay]}}, means of the classes."""
    recording, network = recorded(task, seed, kind, scale), trained(task, seed, scale)[kind]
    X, _ = tensors(task, "test", scale.shared, scale.inputs)
    tables = []
    for label in (0, 1):
        critical = discovered(task, seed, kind, label, scale)
        tables.append(neucept.sufficiency(recording, critical, network, X, progress=False, seed=seed))
    columns = ["count", "r2_nonlinear", "agreement_resampled"]
    mean = pd.concat(tables).groupby(["layer", "neurons"], sort=False)[columns].mean().round(4)
    return {
        name: {neurons: row.to_list() for neurons, row in mean.loc[layer].iterrows()}
        for name, layer in TASKS[task].layers
    }


def r2(
    recording: neucept.Recording,
    layer: str,
    scores: dict[str, np.ndarray],
    counts: tuple[int, ...],
    fitted: int,
    nonlinear: bool,
) -> dict[str, list[float]]:
    """Return {method: R2 for each number of neurons}, mean of the classes."""
    known: dict[tuple, float] = {}  # rankings often begin with the same neurons, and all end with the same set

    def of(label: int, neurons: np.ndarray) -> float:
        key = (label, *sorted(neurons.tolist()))
        if key not in known:
            rows = recording.samples(label)[:fitted]
            Z = np.asarray(recording.activations(layer)[rows], np.float64)[:, list(key[1:])]
            known[key] = held_out_r2(Z, recording.response(label, "margin")[rows], nonlinear)
        return known[key]

    order = {method: np.argsort(-by_class, axis=1, kind="stable") for method, by_class in scores.items()}
    return {
        method: [round(float(np.mean([of(c, row[:count]) for c, row in enumerate(rows)])), 4) for count in counts]
        for method, rows in order.items()
    }


def run(scale: Scale) -> dict:
    tasks = ("lenet",) if scale.reduced else ("lenet", "vgg11")
    cells = {
        f"{task} {seed} {kind} {name}": lambda a=(task, seed, kind, name, scale): measure(*a)
        for task, seed in pairs(scale, *tasks)
        for kind, (name, _) in product(KINDS, TASKS[task].layers)
    }
    for (task, seed), kind in product(pairs(scale, *tasks), KINDS):
        cells[f"{SELECTED} {task} {seed} {kind}"] = lambda a=(task, seed, kind, scale): selected(*a)
    return Results("explainability", scale).fill(cells)


if __name__ == "__main__":
    main(__file__, run)
