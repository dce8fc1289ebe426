"""Figures 8 and 13 to 17: accuracy under noise that spares the neurons a method calls important (Appendix H.3).

The paper does not say which networks, gamma, normalisation of scores and norm it used. Here: the networks with prior
knowledge (pkt) and without (normal), both; gamma 2 and 8; noise of 0 to 8 times the layer's mean L2 norm; for
continuous scores their ranks, so that methods differ by the order of neurons alone. A sweep changes each of these by
itself, and has the converse, noise on the important neurons. The published noise, U[0, 1] before weighting, is never
negative and so shifts the layer; beside it stands noise of both signs, U[-1, 1]. Noise for an input is weighted by the
scores for its true class, which come from the test inputs predicted as the class (from all test inputs for the
published NeuCEPT). A curve is summarised by its mean over the levels, its area. NeuCEPT ranks so that no information is
named twice; "by evidence" ranks each neuron by the evidence on itself, as the other methods do. Random neurons: mean of
several orders.
"""

from __future__ import annotations

import sys
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from common import Results, Scale, Verdict, main, shown
from networks import TASKS, pairs, recorded, tensors, trained
from PIL import Image

import neucept
from neucept import rankings
from neucept.evaluation.ablation import ablate
from neucept.recording import list_layers
from neucept.recording.subnetwork import tail

mpl.use("Agg")
import matplotlib.pyplot as plt

TITLE = "Ablation: noise that spares the important neurons"
CLAIM = (
    "Accuracy falls less when noise spares the neurons that NeuCEPT finds than those of other methods, in most of the"
    " experiments (Figures 8 and 13 to 17)."
)
KINDS = ("pkt", "normal")
LEVELS = (0, 1, 2, 3, 4, 6, 8)  # multiples of the layer's mean norm
GAMMAS = (2, 8)
SIGNS = {"positive": 0.0, "both": -1.0}  # the least base noise
TOPS = {"lenet": (5, 10, 20, None), "vgg11": (30, 100, None)}
DRAWN = {"lenet": 10, "vgg11": 30}
OURS = ("NeuCEPT", "NeuCEPT, published")
BY_EVIDENCE = "NeuCEPT, by evidence"
MORE = " more"  # the group of methods measured in cells of their own
RANDOM_ORDERS = 6
MAGNITUDES = "IG, magnitudes"  # the others sum signed attributions
SWEEP: dict[str, dict] = {
    "gamma 8, L2, ranks": {},
    **{f"gamma {gamma}": {"gammas": [gamma]} for gamma in (1, 2, 4, 16)},
    "L1 norm": {"norm": 1},
    "largest element": {"norm": float("inf")},
    "scores min-max": {"normalise": "minmax"},
    "scores by maximum": {"normalise": "maximum"},
    "converse": {"protect": "rest"},
}


def methods(seed: int, group: str) -> list[rankings.Method]:
    """Give the methods compared, in two groups that are measured apart under the same noise."""
    if group == MORE:
        orders = [rankings.Random(seed=100 * seed + i, name=f"random #{i}") for i in range(1, RANDOM_ORDERS)]
        return [rankings.NeuCEPT(order="evidence", name=BY_EVIDENCE), *orders]
    return [
        rankings.NeuCEPT(),
        rankings.NeuCEPT.published(),
        rankings.Saliency(),
        rankings.IntegratedGradients(),
        rankings.IntegratedGradients(absolute=True, name=MAGNITUDES),
        rankings.DeepLift(),
        rankings.GradientShap(),
        rankings.Activation(),
        rankings.Variance(),
        rankings.Random(seed=seed),
    ]


@cache
def scored(task: str, seed: int, kind: str, scale: Scale, group: str = "") -> dict[str, dict[str, np.ndarray]]:
    """Give {layer: {method: (2, k) scores, a row a class}}."""
    recording, network = recorded(task, seed, kind, scale), trained(task, seed, scale)[kind]
    X, _ = tensors(task, "test", scale.shared, scale.inputs)
    subjects = [rankings.Subject.of(recording, label, network, X) for label in (0, 1)]
    found = {m.name: [m.scores(subject) for subject in subjects] for m in methods(seed, group)}
    return {
        layer: {name: np.stack([one[layer] for one in both]) for name, both in found.items()}
        for layer in recording.layers
    }


def outputs(recording: neucept.Recording, layer: str, network: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Shape the recorded neurons as the layer's output, which holds one position a channel in all layers looked at."""
    shape = list_layers(network, inputs[:1]).set_index("layer")["shape"][layer]
    return torch.from_numpy(np.array(recording.activations(layer))).reshape(-1, *shape)


def measure(task: str, seed: int, kind: str, name: str, group: str, scale: Scale) -> dict:
    """Give {"settings": names, "areas": {method: [...]}}, the curves that are drawn, and the same for the sweep."""
    recording, network = recorded(task, seed, kind, scale), trained(task, seed, scale)[kind]
    layer = dict(TASKS[task].layers)[name]
    Z = outputs(recording, layer, network, tensors(task, "test", scale.shared, scale.inputs)[0])
    assert recording.labels is not None
    rest, scores = tail(network, layer), scored(task, seed, kind, scale, group)[layer]

    def table(inputs: int, **changed: Any) -> pd.DataFrame:
        options = {"gammas": [8], "normalise": "rank", "tops": (DRAWN[task], None), "progress": False} | changed
        return ablate(rest, Z[:inputs], recording.labels[:inputs], scores, LEVELS, **options)

    draws = 1 if scale.reduced else 3
    tables = {
        signs: pd.concat([table(len(Z), gammas=GAMMAS, tops=TOPS[task], low=low, seed=draw) for draw in range(draws)])
        for signs, low in SIGNS.items()
    }
    keys = ["top", "gamma", "class"]
    main_curves = pd.concat({signs: curves(one, keys) for signs, one in tables.items()}, names=["signs"])
    sweep = {change: curves(table(len(Z) // 4, **options), ["top"]) for change, options in SWEEP.items()}
    drawn = main_curves.xs(DRAWN[task], level="top").round(4)
    return {
        **summary(main_curves),
        "curves": {
            setting(key): by.droplevel([*range(by.index.nlevels - 1)]).T.to_dict("list")
            for key, by in drawn.groupby(level=[0, 1, 2], sort=False)
        }
        if kind == "pkt"
        else {},
        "sweep": summary(pd.concat(sweep, names=["change"])),
    }


def curves(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Give accuracy with a column a level, and a row a setting and method."""
    return table.groupby([*keys, "method", "level"], sort=False)["accuracy"].mean().unstack(sort=False)


def summary(by_setting: pd.DataFrame) -> dict:
    """Give the settings, and the area of each method in each of them."""
    area = np.trapezoid(by_setting, by_setting.columns) / by_setting.columns[-1]
    wide = pd.Series(area.round(4), by_setting.index).unstack("method", sort=False)
    return {"settings": [setting(key) for key in wide.index], "areas": wide.to_dict("list")}


def setting(key: tuple) -> str:
    return " | ".join(map(str, key))


def run(scale: Scale) -> dict:
    cells = {}
    for task, seed in pairs(scale, "lenet", "vgg11"):
        for kind, (name, _), group in product(KINDS, TASKS[task].layers, ("",) if scale.reduced else ("", MORE)):
            cells[f"{task} {seed} {kind} {name}{group}"] = lambda a=(task, seed, kind, name, group, scale): measure(*a)
    return Results("ablation", scale).fill(cells)


COLOURS = (
    "#000000",
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#b8a600",
    "#e69f00",
    "#cc79a7",
    "#56b4e9",
    "#8c6d31",
    "#999999",
    "#000000",
)
STYLES = ("-", "-", "-", "-", "-", (0, (4, 2)), (0, (1, 1.5)), "-.", "-.", "--", (0, (3, 1)))
PANELS = {  # signs, gamma, classes
    "γ = 2": ("positive", 2, (0, 1)),
    "γ = 8": ("positive", 8, (0, 1)),
    "γ = 8, class 0": ("positive", 8, (0,)),
    "γ = 8, class 1": ("positive", 8, (1,)),
    "γ = 8, both signs": ("both", 8, (0, 1)),
}


def draw(found: dict, path: Path) -> None:
    layers = list(dict.fromkeys((key.split()[0], key.split()[3]) for key in found))
    figure, axes = panels(len(layers), len(PANELS), 2)
    for row, (task, layer) in zip(axes, layers, strict=True):
        cells = [curves_of(found, key) for key in found if key.split()[2:] == ["pkt", layer]]
        for axis, (title, (signs, gamma, classes)) in zip(row, PANELS.items(), strict=True):
            names = [setting((signs, gamma, label)) for label in classes]
            methods = cells[0][names[0]]
            plot(axis, LEVELS, {m: np.mean([c[n][m] for c in cells for n in names], axis=0) for m in methods})
            axis.set_ylim(0, 1.02)
            if row[0] is axes[0, 0]:
                axis.set_title(title, fontsize=10)
        row[0].set_ylabel(f"{layer}, top {DRAWN[task]}\naccuracy")
    save(figure, path, "norm of the noise, in mean norms of the layer's output")


def curves_of(found: dict, key: str) -> dict[str, dict[str, list[float]]]:
    """Give {setting: {method: curve}} of a network and layer, with the second group's where it is there."""
    more = found.get(f"{key}{MORE}", {}).get("curves", {})
    by_evidence = {name: {BY_EVIDENCE: curves[BY_EVIDENCE]} for name, curves in more.items()}
    return {name: curves | by_evidence.get(name, {}) for name, curves in found[key]["curves"].items()}


def panels(rows: int, columns: int, height: float) -> tuple[Any, Any]:
    """Make a figure of panels of a height in inches, 11.5 inches wide; each row has an axis in common."""
    size = (11.5, height * rows + 1)
    return plt.subplots(rows, columns, figsize=size, sharex=True, sharey="row", squeeze=False)


def plot(axis: Any, x: Any, by_method: dict[str, np.ndarray]) -> None:
    """Draw a line a method, NeuCEPT's thick."""
    for (method, y), colour, style in zip(by_method.items(), COLOURS, STYLES, strict=False):
        axis.plot(x, y, color=colour, linestyle=style, linewidth=2.4 if method in OURS else 1.1, label=method)
    axis.grid(alpha=0.3)


def save(figure: Any, path: Path, label: str) -> None:
    """Write a figure of panels with a label of all x axes and one legend below, in 256 colours."""
    height = figure.get_figheight()
    figure.supxlabel(label, y=0.55 / height, fontsize=10)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="lower center", ncol=6, fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0.7 / height, 1, 1))
    figure.savefig(path, dpi=90)
    plt.close(figure)
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


def areas(found: dict, names: tuple[str, ...], part: str | None = None) -> pd.DataFrame:
    """Give one row a network, setting and method, with its area and the parts of the setting."""
    rows = []
    for key, cell in found.items():
        task, seed, kind, layer = key.split()[:4]
        chosen = cell[part] if part else cell
        for method, values in chosen["areas"].items():
            for which, value in zip(chosen["settings"], values, strict=True):
                parts = dict(zip(names, which.split(" | "), strict=True))
                words = "continuous" if parts["top"] == "0" else "top k"
                family = method.partition(" #")[0]
                rows.append({"task": task, "seed": seed, "layer": layer, "kind": kind, "method": family, "area": value})
                rows[-1] |= {"column": f"{layer}, {words}", "setting": f"{layer} {kind} {which}", **parts}
    return pd.DataFrame(rows)


def best(table: pd.DataFrame) -> pd.Series:
    """Count the settings in which each method has the largest area, mean over the seeds; most often first."""
    mean = table.groupby(["setting", "method"], sort=False)["area"].mean().unstack(sort=False)
    return mean.idxmax(axis=1).value_counts().reindex(mean.columns, fill_value=0).sort_values(ascending=False)


def by_column(table: pd.DataFrame) -> list[str]:
    """Write areas as a table, methods by columns."""
    columns = list(table["column"].unique())
    lines = ["| method | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    for method, rows in table.groupby("method", sort=False):
        cells = rows.groupby(["column", "seed"])["area"].mean()
        lines.append(f"| {method} | " + " | ".join(shown(cells[column].to_list()) for column in columns) + " |")
    return lines


def by_change(table: pd.DataFrame) -> list[str]:
    """Write areas as a table, what was changed by methods."""
    methods = list(table["method"].unique())
    lines = ["| changed | " + " | ".join(methods) + " | NeuCEPT, either form, is best in |"]
    lines.append("| --- |" + " --- |" * (len(methods) + 1))
    for change, rows in table.groupby("change", sort=False):
        mean = rows.groupby("method")["area"].mean()
        won = best(rows.assign(area=-rows["area"] if change == "converse" else rows["area"]))
        cells = " | ".join(f"{mean[method]:.2f}" for method in methods)
        lines.append(f"| {change} | {cells} | {won[list(OURS)].sum()} of {won.sum()} |")
    return lines


def by_layer(table: pd.DataFrame) -> pd.DataFrame:
    """Area of each method at each layer, one row a method: the mean over seeds of a network's mean over settings."""
    cells = table.groupby(["method", "layer", "seed"], sort=False)["area"].mean()
    wide = cells.groupby(["method", "layer"], sort=False).mean().unstack("layer", sort=False)
    return wide.assign(**{"mean of layers": wide.mean(axis=1)}).sort_values("mean of layers", ascending=False)


def by_layer_table(table: pd.DataFrame) -> list[str]:
    wide = by_layer(table)
    ranks = wide.rank(ascending=False, method="min").astype(int)
    lines = ["| method | " + " | ".join(wide.columns) + " |", "|---" * (1 + len(wide.columns)) + "|"]
    for method, row in wide.iterrows():
        cells = [f"{value:.3f} ({ranks.loc[method, column]})" for column, value in row.items()]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return lines


def paired(table: pd.DataFrame, method: str, other: str) -> str:
    """Write by layer how far a method's area is from another's, paired by network."""
    area = table.groupby(["layer", "method", "seed"])["area"].mean()
    layers = table["layer"].unique()
    return ", ".join(
        f"{layer} {shown((area[layer, method] - area[layer, other]).to_list(), 3)}"
        for layer in layers
        if method in area[layer]
    )


def place(table: pd.DataFrame, method: str) -> int:
    """Give a method's place, 1 for the largest area on average over the layers."""
    return list(by_layer(table).index).index(method) + 1


def won(table: pd.DataFrame, method: str) -> int:
    """Count the settings in which no other method has a larger area, mean over the seeds."""
    mean = table.groupby(["setting", "method"], sort=False)["area"].mean().unstack(sort=False)
    return int((mean[method] >= mean.max(axis=1)).sum())


def parts(found: dict) -> dict[str, pd.DataFrame]:
    """Give the main settings' areas by the sign of the noise, of the methods that were measured everywhere."""
    table = areas(found, ("signs", "top", "gamma", "class"))
    networks = table.groupby("method", sort=False)[["task", "seed", "kind", "layer"]].agg(tuple)
    whole = {method: len(set(zip(*row, strict=True))) for method, row in networks.iterrows()}
    table = table[table["method"].map(whole) == max(whole.values())]
    return {signs: table[table["signs"] == signs] for signs in SIGNS}


ARCHITECTURE = {"lenet": "LeNets", "vgg11": "VGG11s"}
WORDS = {"positive": "the published noise", "both": "noise of both signs"}


def verdicts(found: dict) -> list[Verdict]:
    tables = parts(found)
    told, best_two = [], []
    for signs, table in tables.items():
        ours = min((m for m in (*OURS, BY_EVIDENCE) if m in set(table["method"])), key=lambda m: place(table, m))
        number, settings = table["method"].nunique(), table["setting"].nunique()
        best_two.append(place(table, OURS[0]) <= 2)
        told.append(
            f"{WORDS[signs]}: ours {place(table, OURS[0])} of {number} on average over layers (best form: {ours},"
            f" {place(table, ours)}), best in {won(table, OURS[0])} of {settings} settings;"
            f" first: {by_layer(table).index[0]}"
        )
    claim = "accuracy falls least when noise spares NeuCEPT's neurons, in most experiments"
    holds = "yes" if all(best_two) else "partly" if any(best_two) else "no"
    return [Verdict("Figures 8 and 13 to 17", claim, "; ".join(told), holds)]


def finding(found: dict) -> str:
    tables = parts(found)
    pairs_of = ", ".join(
        f"{rows['seed'].nunique()} pair(s) of {ARCHITECTURE[task]}"
        for task, rows in tables["both"].groupby("task", sort=False)
    )
    held = all(place(table, OURS[0]) <= 2 for table in tables.values())
    lines = [
        f"The claim {'holds' if held else 'does not hold'} ({pairs_of}). Area under accuracy against noise (mean"
        " accuracy over noise of 0 to 8 mean norms), mean over PKT and normal networks, gamma 2 and 8, both classes,"
        " all top k and continuous scores (by rank); in brackets the place among the methods.",
    ]
    for signs, table in tables.items():
        ours = [m for m in (*OURS, BY_EVIDENCE) if m in set(table["method"])]
        lines += ["", f"With {WORDS[signs]}:", "", *by_layer_table(table), ""]
        lines += [
            f"- {method}: place {place(table, method)} on average, "
            f"{'within' if place(table, method) <= 2 else 'not within'} the best two; best or as good in"
            f" {won(table, method)} of {table['setting'].nunique()} settings. Minus saliency:"
            f" {paired(table, method, 'saliency')}; minus random neurons: {paired(table, method, 'random')}."
            for method in ours
        ]
    return "\n".join([*lines, "", *details(found, tables)])


def details(found: dict, tables: dict[str, pd.DataFrame]) -> list[str]:
    """Tell more: tables of all columns, the sweep, and the converse."""
    positive = tables["positive"]
    spread = positive.groupby(["seed", "layer", "kind", "top", "gamma", "method"])["area"].agg(["min", "max"])
    sweep = areas({k: c for k, c in found.items() if not k.endswith(MORE)}, ("change", "top"), "sweep")
    by_change_area = sweep.groupby(["change", "method"])["area"].mean()
    signed, converse = by_change_area.xs("integrated gradients", level="method"), by_change_area["converse"]
    return [
        "As the published noise is never negative it shifts the layer, and one class gains what the other loses: areas"
        f" of the two classes differ by {(spread['max'] - spread['min']).mean():.2f} on average, so that even random"
        " neurons come out well or badly by the direction of that shift. Signed attributions put the neurons that speak"
        " against the class last, where most of that noise goes: integrated gradients have an area of"
        f" {signed[next(iter(SWEEP))]:.2f} with their first neurons spared, of {signed['converse']:.2f} with the noise"
        " on them. In the converse, noise on the important neurons alone, the neurons of"
        f" {converse.idxmin()} hurt most ({converse.min():.2f}; NeuCEPT {converse['NeuCEPT']:.2f}, random"
        f" {converse['random']:.2f}).",
        "",
        "<details><summary>By top k and continuous scores; each choice changed by itself; the converse</summary>",
        "",
        *(line for signs in SIGNS for line in (f"With {WORDS[signs]}:", "", *by_column(tables[signs]), "")),
        "One thing changed at a time from gamma 8, L2 norm, ranks and published noise (mean over networks, layers,"
        " classes, top k and continuous). In the converse the noise falls on the important neurons: less is better.",
        "",
        *by_change(sweep),
        "",
        "</details>",
    ]


if __name__ == "__main__":
    main(sys.modules[__name__])
