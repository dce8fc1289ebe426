"""Explainability power (Section 3.1): how much of the response the first neurons of each ranking keep.

Neurons are added in the order of each method. Two measures: the held-out share of the variance of the margin (the
class's logit minus the other's, over the test inputs predicted as the class) that they predict, by ridge regression on
themselves and on kernel features; and the share of predictions that stay when all other neurons of the layer are those
of another test input. Means over the two classes. Beside the rankings, the set that NeuCEPT selects at a precision of
0.9 (its default), by `neucept.evaluation.sufficiency`: R2 of the response it was selected for, the class's logit.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from ablation import KINDS, MAGNITUDES, OURS, outputs, panels, plot, save, scored
from common import Results, Scale, Verdict, interval, main, shown
from networks import TASKS, pairs, recorded, tensors, trained

import neucept
from neucept.evaluation.ablation import resample
from neucept.evaluation.sufficiency import held_out_r2
from neucept.recording import tail

TITLE = "Explainability power: what the first neurons keep of the response"
CLAIM = (
    "The neurons that NeuCEPT selects hold the information that determines the prediction: given them, the layer's"
    " other neurons add nothing (explainability power, Section 3.1)."
)
COUNTS = (1, 2, 3, 5, 8, 12, 20, 30, 50)  # and all
KERNEL_COUNTS = (3, 8, 20, 50)
SHOWN = 20
ENOUGH = 0.99  # of the R2 of all neurons, and of the predictions: less, and the others do add something
SELECTED = "selected"  # first word of the cells of the selection
COLUMNS = [
    (0, "selected"),
    *product((1,), ("selected", "top 10", "10 random", "all alive")),
    *product((2,), ("selected", "top 10", "10 random")),
]
BESIDE = ("saliency", "NeuCEPT, published", "random")
ROWS = ("NeuCEPT", "NeuCEPT, published", "saliency", MAGNITUDES, "variance", "random")
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


def selected(task: str, seed: int, kind: str, scale: Scale) -> dict:
    """Give {layer: {set of neurons: [count, kernel R2, predictions that stay]}}, means of the classes."""
    recording, network = recorded(task, seed, kind, scale), trained(task, seed, scale)[kind]
    X, _ = tensors(task, "test", scale.shared, scale.inputs)
    tables = []
    for label in (0, 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", neucept.NothingSelectedWarning)
            critical = neucept.discover(recording, label, progress=False)
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
    tasks = ("lenet",) if scale.reduced else ("lenet", "vgg11")
    cells = {
        f"{task} {seed} {kind} {name}": lambda a=(task, seed, kind, name, scale): measure(*a)
        for task, seed in pairs(scale, *tasks)
        for kind, (name, _) in product(KINDS, TASKS[task].layers)
    }
    for (task, seed), kind in product(pairs(scale, *tasks), KINDS):
        cells[f"{SELECTED} {task} {seed} {kind}"] = lambda a=(task, seed, kind, scale): selected(*a)
    return Results("explainability", scale).fill(cells)


def of_rankings(found: dict) -> dict:
    """Leave out the cells of the selection."""
    return {key: cell for key, cell in found.items() if not key.startswith(SELECTED)}


def draw(found: dict, path: Path) -> None:
    found = of_rankings(found)
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
    for key, cell in of_rankings(found).items():
        task, seed, kind, layer = key.split()
        for measure_name, by_method in cell.items():
            counts = KERNEL_COUNTS if measure_name == "kernel" else COUNTS
            for method, values in by_method.items():
                which = {"task": task, "seed": seed, "kind": kind, "layer": layer, "measure": measure_name}
                pairs_of = zip((*counts, "all"), values, strict=True)
                rows += [which | {"method": method, "count": str(n), "value": value} for n, value in pairs_of]
    return pd.DataFrame(rows)


def model(task: str) -> str:
    return TASKS[task].architecture.__name__


def networks(found: dict, only: Callable[[str], bool] = lambda key: True) -> str:
    """Say how many networks cells are of."""
    known = {tuple(key.removeprefix(f"{SELECTED} ").split()[:3]) for key in found if only(key)}
    count = {task: sum(name == task for name, _, _ in known) for task in ("lenet", "vgg11")}
    return " and ".join(f"{n} {model(task)}{'s' * (n > 1)}" for task, n in count.items() if n)


def kept(found: dict) -> tuple[list[float], list[float], list[float]]:
    """Give what the selection at 0.9 keeps, a value a network: share of the neurons, of the R2, of predictions."""
    shares: list[list[float]] = [[], [], []]
    for key, cell in found.items():
        if key.startswith(SELECTED):
            pairs_of = [(by_set["selected"], by_set["all alive"]) for by_set in cell.values()]
            shares[0].append(float(np.mean([one[0] / every[0] for one, every in pairs_of])))
            shares[1].append(float(np.mean([one[1] / every[1] for one, every in pairs_of])))
            shares[2].append(float(np.mean([one[2] for one, _ in pairs_of])))
    return shares[0], shares[1], shares[2]


def first(table: pd.DataFrame, method: str = "NeuCEPT") -> tuple[list[float], list[float]]:
    """Give the share of the R2 (kernel) and of predictions that the first neurons keep, a value a network."""
    layers = table.groupby(["task", "seed", "kind"])["layer"].transform("nunique")
    mine = table[(table["method"] == method) & (layers == layers.max())]  # networks that are measured whole
    by = mine.groupby(["measure", "count", "task", "seed", "kind"])["value"].mean()
    some, every = by["kernel", str(SHOWN)], by["kernel", "all"]
    return (some / every).to_list(), by["agreement", str(SHOWN)].to_list()


def enough(shares: list[list[float]]) -> bool:
    """Whether intervals of all shares reach what is taken to be everything."""
    return all(np.mean(values) + np.nan_to_num(interval(values)[1]) >= ENOUGH for values in shares)


def beside(table: pd.DataFrame, kind: str, other: str) -> list[float]:
    """Give NeuCEPT minus another method with the first neurons, a value a network."""
    layers = table.groupby(["task", "seed", "kind"])["layer"].transform("nunique")
    at = table[(table["count"] == str(SHOWN)) & (table["measure"] == kind) & (layers == layers.max())]
    each = at.groupby(["method", "task", "seed", "kind"])["value"].mean()
    return (each["NeuCEPT"] - each[other]).to_list()


def signed(values: list[float]) -> str:
    text = shown(values)
    return text if text.startswith("-") else f"+{text}"


def verdicts(found: dict) -> list[Verdict]:
    rows = []
    table = table_of(found)
    counts, *shares = kept(found)
    if counts:
        rows.append(
            Verdict(
                "Section 3.1, the selection",
                "given the selected neurons, the layer's others add nothing to the prediction",
                f"selected at 0.9 ({np.mean(counts):.0%} of the neurons): {shown(shares[0])} of the R² of all, and"
                f" {shown(shares[1])} of predictions stay with the others resampled"
                f" ({networks(found, lambda key: key.startswith(SELECTED))})",
                "yes" if enough(shares) else "no",
            )
        )
    if len(table):
        r2_kept, stay = first(table)
        rows.append(
            Verdict(
                f"Section 3.1, the first {SHOWN} neurons",
                "nothing on how many of the first neurons are enough",
                f"{shown(r2_kept)} of the R² of all (random neurons {shown(first(table, 'random')[0])}); {shown(stay)}"
                f" of predictions stay with the others resampled ({networks(of_rankings(found))})",
                "not in the paper",
            )
        )
    return rows


def finding(found: dict) -> str:
    table = table_of(found)
    parts = []
    if any(key.startswith(SELECTED) for key in found):
        parts += of_selection(found)
    if len(table):
        parts += of_first(table, found)
    return "\n".join(parts)


def of_selection(found: dict) -> list[str]:
    """Say what the set selected at 0.9 keeps."""
    counts, *shares = kept(found)
    lines = [
        f"The neurons that NeuCEPT selects at 0.9, {np.mean(counts):.0%} of a layer on average,"
        f" {'do' if enough(shares) else 'do not'} hold all that determines the prediction: they predict"
        f" {shown(shares[0])} of the variance that all neurons do (kernel R² of the logit), and {shown(shares[1])} of"
        " the predictions stay when the others are those of another input"
        f" ({networks(found, lambda key: key.startswith(SELECTED))}). Means of two classes; one for which nothing is"
        " selected at 0.9, as happens at VGG11's layers of some 30 to 60 groups, counts with 0.",
        "",
        "| layer | neurons selected | R²: selected | first 10 | 10 random | all | predictions that stay: selected"
        " | first 10 | 10 random |",
        "| --- " * 9 + "|",
    ]
    by_layer: dict[tuple[str, str], list[dict]] = {}
    for key, cell in found.items():
        if key.startswith(SELECTED):
            for name, by_set in cell.items():
                by_layer.setdefault((key.split()[1], name), []).append(by_set)
    for (task, name), cells in by_layer.items():
        of = [[cell[which][at] for cell in cells] for at, which in COLUMNS]
        said = " | ".join(shown(values, 0 if at == 0 else 2) for values, (at, _) in zip(of, COLUMNS, strict=True))
        lines.append(f"| {model(task)}, {name} | {said} |")
    return [*lines, ""]


def of_first(table: pd.DataFrame, found: dict) -> list[str]:
    """Say what the first neurons of each ranking keep."""
    r2_kept, stay = first(table)
    alone = not any(key.startswith(SELECTED) for key in found)
    text = (
        f"The first {SHOWN} neurons of NeuCEPT's ranking {'do' if enough([r2_kept, stay]) else 'do not'} hold all that"
        f" determines the prediction: they predict {shown(r2_kept)} of the variance of the margin that all neurons do"
        f" (kernel R²), and {shown(stay)} of the predictions stay when the others are those of another input, as about"
        f" half do by chance ({networks(of_rankings(found))})."
    )
    if alone:
        text += " Tested are the first neurons of the rankings, not the set that is selected at a precision."
    lines = [text, "", *first_table(table, ROWS), ""]
    lines += [
        f"<details><summary>Other methods with {SHOWN} neurons, and how often each is best</summary>\n",
        *first_table(table, tuple(table["method"].unique())),
        "",
        *(
            f"- By {MEASURES[kind]} with {SHOWN} neurons, NeuCEPT is"
            f" {' and '.join(f'{signed(beside(table, kind, other))} beside {other}' for other in BESIDE)}, paired."
            for kind in ("kernel", "agreement")
        ),
        *(judged(table[table["count"] != "all"], m, words) for m, words in MEASURES.items()),
        "",
        "</details>",
    ]
    return lines


def first_table(table: pd.DataFrame, methods: tuple[str, ...]) -> list[str]:
    layers = list(table["layer"].unique())
    columns = [(m, layer) for m in ("kernel", "agreement") for layer in layers]
    by = table.groupby(["count", "method", "measure", "layer", "seed"])["value"].mean()
    lines = [
        "| method | " + " | ".join(f"{MEASURES[m]}, {layer}" for m, layer in columns) + " |",
        "| --- |" + " --- |" * len(columns),
    ]
    for method in methods:
        cells = [shown(by[str(SHOWN), method, m, layer].to_list()) for m, layer in columns]
        lines.append(f"| {method}, first {SHOWN} | {' | '.join(cells)} |")
    cells = [shown(by["all", "NeuCEPT", m, layer].to_list()) for m, layer in columns]
    return [*lines, f"| all neurons | {' | '.join(cells)} |"]


def judged(table: pd.DataFrame, kind: str, words: str) -> str:
    """Say how often NeuCEPT is best by one measure, and how far it is from random neurons."""
    mine = table[table["measure"] == kind]
    mean = mine.groupby(["layer", "kind", "count", "method"], sort=False)["value"].mean().unstack(sort=False)
    won = mean.idxmax(axis=1).value_counts().reindex(mean.columns, fill_value=0).sort_values(ascending=False)
    by_seed = mine.groupby(["task", "method", "seed"])["value"].mean()
    gains = [
        f"{name} {signed((by_seed[task, name] - by_seed[task, 'random']).to_list())} ({model(task)})"
        for name in OURS
        for task in mine["task"].unique()
    ]
    other = won.drop(list(OURS)).index[0]
    return (
        f"- By {words}, of {won.sum()} settings (layer, kind of network, number of neurons; means over seeds), NeuCEPT"
        f" is best in {won[OURS[0]]}, its published form in {won[OURS[1]]}, {other} in {won[other]}. Above random"
        f" neurons: {', '.join(gains)}."
    )


if __name__ == "__main__":
    main(sys.modules[__name__])
