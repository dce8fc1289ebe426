"""Explainability power (Section 3.1): how much of the response the first neurons of each ranking keep.

Neurons are added in the order of each method. Two measures: the held-out share of the variance of the margin (the
class's logit minus the other's, over the test inputs predicted as the class) that they predict, by ridge regression on
themselves and on kernel features; and the share of predictions that stay when all other neurons of the layer are those
of another test input. Means over the two classes.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from ablation import KINDS, OURS, outputs, panels, plot, save, scored
from common import Results, Scale, main, shown
from networks import TASKS, pairs, recorded, tensors, trained

import neucept
from neucept.ablation import resample
from neucept.recording.tail import tail
from neucept.sufficiency import held_out_r2

TITLE = "Explainability power: what the first neurons keep of the response"
CLAIM = (
    "The neurons that NeuCEPT selects hold the information that determines the prediction: given them, the layer's"
    " other neurons add nothing (explainability power, Section 3.1)."
)
COUNTS = (1, 2, 3, 5, 8, 12, 20, 30, 50)  # and all
KERNEL_COUNTS = (3, 8, 20, 50)
SHOWN = 20
MEASURES = {"linear": "linear R²", "kernel": "kernel R²", "agreement": "predictions that stay"}


def measure(task: str, seed: int, kind: str, name: str, scale: Scale) -> dict:
    """Give {measure: {method: values}}, a value a number of neurons, the last one with all."""
    recording, network = recorded(task, seed, kind, scale), trained(task, seed, scale)[kind]
    layer = dict(TASKS[task].layers)[name]
    Z = outputs(recording, layer, network, tensors(task, "test", scale.shared, scale.inputs)[0])
    scores, k = scored(task, seed, kind, scale)[layer], Z.shape[1]
    fitted = 300 if scale.reduced else 600
    found: dict = {
        "linear": r2(recording, layer, scores, (*COUNTS, k), fitted, nonlinear=False),
        "kernel": r2(recording, layer, scores, (*KERNEL_COUNTS, k), fitted, nonlinear=True),
    }
    held = resample(tail(network, layer), Z, scores, (*COUNTS, k), progress=False, seed=seed)
    mean = held.groupby(["top", "method"], sort=False)["agreement"].mean().unstack(sort=False)
    return found | {"agreement": mean.round(4).to_dict("list")}


def r2(
    recording: neucept.Recording,
    layer: str,
    scores: dict[str, np.ndarray],
    counts: tuple[int, ...],
    fitted: int,
    nonlinear: bool,
) -> dict[str, list[float]]:
    """Give {method: R2 for each number of neurons}, mean of the classes."""
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
    cells = {
        f"{task} {seed} {kind} {name}": lambda a=(task, seed, kind, name, scale): measure(*a)
        for task, seed in pairs(scale, "lenet", "vgg11")
        for kind, (name, _) in product(KINDS, TASKS[task].layers)
    }
    return Results("explainability", scale).fill(cells)


def draw(found: dict, path: Path) -> None:
    layers = list(dict.fromkeys(key.split()[3] for key in found))
    figure, axes = panels(len(MEASURES), len(layers), 2.5)
    for row, (kind, words) in zip(axes, MEASURES.items(), strict=True):
        for axis, layer in zip(row, layers, strict=True):
            cells = [cell[kind] for key, cell in found.items() if key.split()[3] == layer]
            counts = KERNEL_COUNTS if kind == "kernel" else COUNTS
            plot(axis, counts, {m: np.mean([cell[m][:-1] for cell in cells], axis=0) for m in cells[0]})
            whole = np.mean([next(iter(cell.values()))[-1] for cell in cells])
            axis.axhline(whole, color="black", linewidth=0.8, linestyle=":")
            axis.set_xscale("log")
            axis.set_xticks([1, 3, 8, 20, 50], ["1", "3", "8", "20", "50"], minor=False)
            axis.minorticks_off()
            axis.set_ylim(0.35 if kind == "agreement" else -0.1, 1.03)
            if row[0] is axes[0, 0]:
                axis.set_title(layer, fontsize=10)
        row[0].set_ylabel(words)
    save(figure, path, "number of neurons kept (dotted: all neurons of the layer)")


def table_of(found: dict) -> pd.DataFrame:
    rows = []
    for key, cell in found.items():
        task, seed, kind, layer = key.split()
        for measure_name, by_method in cell.items():
            counts = KERNEL_COUNTS if measure_name == "kernel" else COUNTS
            for method, values in by_method.items():
                which = {"task": task, "seed": seed, "kind": kind, "layer": layer, "measure": measure_name}
                pairs_of = zip((*counts, "all"), values, strict=True)
                rows += [which | {"method": method, "count": str(n), "value": value} for n, value in pairs_of]
    return pd.DataFrame(rows)


def finding(found: dict) -> str:
    table = table_of(found)
    some = table[table["count"] != "all"]
    whole = table[table["count"] == "all"].groupby(["measure", "layer"])["value"].mean()
    layers = list(table["layer"].unique())
    columns = [(m, layer) for m in ("kernel", "agreement") for layer in layers]
    lines = [
        f"Mean over pkt and normal networks and both classes, with {SHOWN} neurons.\n",
        "| method | " + " | ".join(f"{MEASURES[m]}, {layer}" for m, layer in columns) + " |",
        "| --- |" + " --- |" * len(columns),
    ]
    at = some[some["count"] == str(SHOWN)].groupby(["method", "measure", "layer", "seed"])["value"].mean()
    for method in table["method"].unique():
        lines.append(
            f"| {method} | " + " | ".join(shown(at[method, m, layer].to_list()) for m, layer in columns) + " |"
        )
    lines.append("| all neurons | " + " | ".join(f"{whole[m, layer]:.2f}" for m, layer in columns) + " |")
    mean = at.groupby(["method", "measure"]).mean()["NeuCEPT"]
    share, stays = mean["kernel"] / whole["kernel"].mean(), mean["agreement"]
    claim = (
        f"With its first {SHOWN} neurons, NeuCEPT keeps {share:.2f} of the variance that all neurons predict (kernel),"
        f" and {stays:.2f} of the predictions stay with the others resampled: that these add nothing"
        f" {'holds' if stays > 0.95 else 'does not hold'} for so few neurons."
    )
    sentences = [claim] + [judged(some, m, words) for m, words in MEASURES.items()]
    return "\n".join([*lines, "", *sentences])


def judged(table: pd.DataFrame, kind: str, words: str) -> str:
    """Say how often NeuCEPT is best by one measure, and how far it is from random neurons."""
    mine = table[table["measure"] == kind]
    mean = mine.groupby(["layer", "kind", "count", "method"], sort=False)["value"].mean().unstack(sort=False)
    won = mean.idxmax(axis=1).value_counts().reindex(mean.columns, fill_value=0).sort_values(ascending=False)
    by_seed = mine.groupby(["task", "method", "seed"])["value"].mean()
    gains = [
        f"{name} {shown((by_seed[task, name] - by_seed[task, 'random']).to_list(), 3)} ({task})"
        for name in OURS
        for task in mine["task"].unique()
    ]
    other = won.drop(list(OURS)).index[0]
    return (
        f"By {words}, of {won.sum()} settings (layer, network, number of neurons), NeuCEPT is best in {won[OURS[0]]},"
        f" its published form in {won[OURS[1]]}, {other} in {won[other]}; above random neurons: {', '.join(gains)}."
    )


if __name__ == "__main__":
    main(sys.modules[__name__])
