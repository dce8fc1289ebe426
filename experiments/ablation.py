"""Figures 8 and 13 to 17: accuracy under noise that spares the neurons a method calls important (Appendix H.3).

The paper does not say which networks, gamma, normalisation of scores and norm it used. Here: the networks with prior
knowledge (pkt) and without (normal), both; gamma 2 and 8; noise of 0 to 8 times the layer's mean L2 norm; for
continuous scores their ranks, so that methods differ by the order of neurons alone. A sweep changes each of these by
itself, and has the converse, noise on the important neurons. The published noise, U[0, 1] before weighting, is never
negative and so shifts the layer; beside it stands noise of both signs, U[-1, 1]. Noise for an input is weighted by the
scores for its true class, which come from the test inputs predicted as the class (from all test inputs for the
published NeuCEPT). A curve is summarised by its mean over the levels, its area.
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
from common import Results, Scale, main, shown
from networks import TASKS, pairs, recorded, tensors, trained
from PIL import Image

import neucept
from neucept import rankings
from neucept.ablation import ablate
from neucept.recording import list_layers
from neucept.recording.tail import tail

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


def methods(seed: int) -> list[rankings.Method]:
    """Give the methods compared."""
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
def scored(task: str, seed: int, kind: str, scale: Scale) -> dict[str, dict[str, np.ndarray]]:
    """Give {layer: {method: (2, k) scores, a row a class}}."""
    recording, network = recorded(task, seed, kind, scale), trained(task, seed, scale)[kind]
    X, _ = tensors(task, "test", scale.shared, scale.inputs)
    subjects = [rankings.Subject.of(recording, label, network, X) for label in (0, 1)]
    found = {m.name: [m.scores(subject) for subject in subjects] for m in methods(seed)}
    return {
        layer: {name: np.stack([one[layer] for one in both]) for name, both in found.items()}
        for layer in recording.layers
    }


def outputs(recording: neucept.Recording, layer: str, network: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Shape the recorded neurons as the layer's output, which holds one position a channel in all layers looked at."""
    shape = list_layers(network, inputs[:1]).set_index("layer")["shape"][layer]
    return torch.from_numpy(np.array(recording.activations(layer))).reshape(-1, *shape)


def measure(task: str, seed: int, kind: str, name: str, scale: Scale) -> dict:
    """Give {"settings": names, "areas": {method: [...]}}, the curves that are drawn, and the same for the sweep."""
    recording, network = recorded(task, seed, kind, scale), trained(task, seed, scale)[kind]
    layer = dict(TASKS[task].layers)[name]
    Z = outputs(recording, layer, network, tensors(task, "test", scale.shared, scale.inputs)[0])
    assert recording.labels is not None
    rest, scores = tail(network, layer), scored(task, seed, kind, scale)[layer]

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
        for kind, (name, _) in product(KINDS, TASKS[task].layers):
            cells[f"{task} {seed} {kind} {name}"] = lambda a=(task, seed, kind, name, scale): measure(*a)
    return Results("ablation", scale).fill(cells)


COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#b8a600", "#e69f00", "#cc79a7", "#56b4e9", "#8c6d31", "#999999")
STYLES = ("-", "-", "-", "-", "-", (0, (4, 2)), (0, (1, 1.5)), "-.", "-.", "--")
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
        cells = [cell["curves"] for key, cell in found.items() if key.split()[2:] == ["pkt", layer]]
        for axis, (title, (signs, gamma, classes)) in zip(row, PANELS.items(), strict=True):
            names = [setting((signs, gamma, label)) for label in classes]
            methods = cells[0][names[0]]
            plot(axis, LEVELS, {m: np.mean([c[n][m] for c in cells for n in names], axis=0) for m in methods})
            axis.set_ylim(0, 1.02)
            if row[0] is axes[0, 0]:
                axis.set_title(title, fontsize=10)
        row[0].set_ylabel(f"{layer}, top {DRAWN[task]}\naccuracy")
    save(figure, path, "norm of the noise, in mean norms of the layer's output")


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
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="lower center", ncol=5, fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0.7 / height, 1, 1))
    figure.savefig(path, dpi=90)
    plt.close(figure)
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


def areas(found: dict, names: tuple[str, ...], part: str | None = None) -> pd.DataFrame:
    """Give one row a network, setting and method, with its area and the parts of the setting."""
    rows = []
    for key, cell in found.items():
        task, seed, kind, layer = key.split()
        chosen = cell[part] if part else cell
        for method, values in chosen["areas"].items():
            for which, value in zip(chosen["settings"], values, strict=True):
                parts = dict(zip(names, which.split(" | "), strict=True))
                words = "continuous" if parts["top"] == "0" else "top k"
                rows.append({"task": task, "seed": seed, "layer": layer, "kind": kind, "method": method, "area": value})
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


def verdict(table: pd.DataFrame) -> str:
    """Say whether NeuCEPT is best, and how far it is from random neurons."""
    won = best(table)
    settings, ours = int(won.sum()), int(won[list(OURS)].sum())
    other = won.drop(list(OURS)).index[0]
    by_seed = table.groupby(["task", "method", "seed"])["area"].mean()
    gains = [
        f"{name} {shown((by_seed[task, name] - by_seed[task, 'random']).to_list(), 3)} ({task})"
        for name in OURS
        for task in table["task"].unique()
    ]
    return (
        f"the claim {'holds' if ours > settings / 2 else 'does not hold'}: of {settings} settings (layer, network,"
        f" neurons, gamma, class; means over seeds), NeuCEPT is best in {won[OURS[0]]} and its published form in"
        f" {won[OURS[1]]} (together {settings * 2 / len(won):.0f} by chance), {other} in {won[other]}. Area above"
        f" that of random neurons: {', '.join(gains)}."
    )


def finding(found: dict) -> str:
    table = areas(found, ("signs", "top", "gamma", "class"))
    positive, both = (table[table["signs"] == signs] for signs in SIGNS)
    spread = positive.groupby(["seed", "layer", "kind", "top", "gamma", "method"])["area"].agg(["min", "max"])
    gap = (spread["max"] - spread["min"]).mean()
    sweep = areas(found, ("change", "top"), "sweep")
    signed = sweep[sweep["method"] == "integrated gradients"].groupby("change")["area"].mean()
    lines = [
        "Area under accuracy against noise (mean accuracy over noise of 0 to 8 mean norms), mean over pkt and normal"
        " networks, gamma 2 and 8, both classes and all k. With the published noise:\n",
        *by_column(positive),
        f"\nSo {verdict(positive)} As this noise is never negative it shifts the layer, and one class gains what the"
        f" other loses: areas of the two classes differ by {gap:.2f} on average. Signed attributions put the neurons"
        " that speak against the class last, where most of that noise goes: integrated gradients have an area of"
        f" {signed[next(iter(SWEEP))]:.2f} with their first neurons spared, of {signed['converse']:.2f} with the noise"
        " on them. With noise of both signs:\n",
        *by_column(both),
        f"\nHere {verdict(both)}\n",
        "One thing changed at a time from gamma 8, L2 norm, ranks and published noise (mean over networks, layers,"
        " classes, top k and continuous). In the converse the noise falls on the important neurons: less is better.\n",
        *by_change(sweep),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.modules[__name__])
