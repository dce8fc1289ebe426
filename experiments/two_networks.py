"""Figure 2: two LeNets with like outputs and explanations, told apart by the point clouds of their critical neurons.

LeNet(A) is trained with prior knowledge of the digits (PKT), LeNet(B) from a fresh start. Explanations are gradients
and integrated gradients of the logit of the class that both predict; point clouds are the ten first-ranked neurons of a
layer, scaled, over the inputs that a network predicts as a class; mechanisms are five, learnt on both layers.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from common import Results, Scale, Verdict, interval, main, shown
from networks import TASKS, recorded, tensors, trained
from scipy import stats
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_mutual_info_score, silhouette_score

import neucept
from neucept.comparison import compare

mpl.use("Agg")
import matplotlib.pyplot as plt

TITLE = "Two networks with like outputs, unlike mechanisms (Figure 2)"
CLAIM = (
    "Predictions and feature attributions hardly tell LeNet(A), with prior knowledge of the digits, from LeNet(B),"
    " without; the activations of critical neurons do: those of A lie in more distinct clusters of one digit each."
)
KINDS = {"A": "pkt", "B": "normal"}
EXPLAINED = 400  # inputs whose explanations are compared
DRAWN = 400  # inputs of a point cloud in the figure
STEPS = 24  # of integrated gradients
METHODS = ("gradient", "integrated gradients")
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#000000")
MARKERS = "os^Dv"
POINTS = {"ten": "ten critical neurons", "all": "all neurons"}


@cache
def discovered(seed: int, kind: str, label: int, scale: Scale) -> neucept.CriticalNeurons:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", neucept.NothingSelectedWarning)
        return neucept.discover(recorded("lenet", seed, kind, scale), label, progress=False)


@cache
def mechanisms(seed: int, kind: str, label: int, scale: Scale) -> neucept.Mechanisms:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*beyond the selection")
        return neucept.learn(recorded("lenet", seed, kind, scale), discovered(seed, kind, label, scale), 5)


@cache
def attributions(seed: int, kind: str, scale: Scale) -> dict[str, np.ndarray]:
    """Explain the first inputs, (n, pixels) for each method, for the logit of the predicted class."""
    X = tensors("lenet", "test", scale.shared, scale.inputs)[0][:EXPLAINED]
    network = trained("lenet", seed, scale)[kind]
    with torch.no_grad():
        classes = network(X).argmax(1)

    def gradients(inputs: torch.Tensor) -> torch.Tensor:
        inputs = inputs.clone().requires_grad_()
        logits = network(inputs).gather(1, classes[:, None])
        return torch.autograd.grad(logits.sum(), inputs)[0]

    middles = (np.arange(STEPS) + 0.5) / STEPS  # baseline: a black picture
    integrated = X * torch.stack([gradients(float(t) * X) for t in middles]).mean(0)
    return {"gradient": gradients(X).flatten(1).numpy(), METHODS[1]: integrated.flatten(1).numpy()}


def alike(one: np.ndarray, other: np.ndarray, rows: np.ndarray, digits: np.ndarray) -> dict[str, float]:
    """Mean correlation of two networks' maps of the same input, of two inputs, and of two of one digit."""
    a, b = (maps - maps.mean(axis=1, keepdims=True) for maps in (one[rows], other[rows]))
    a, b = (maps / np.maximum(np.linalg.norm(maps, axis=1, keepdims=True), 1e-12) for maps in (a, b))
    correlation = a @ b.T
    apart = ~np.eye(len(rows), dtype=bool)
    of_one_digit = apart & (digits[rows][:, None] == digits[rows][None, :])
    return {
        "same input": round(float(np.diag(correlation).mean()), 4),
        "another of the digit": round(float(correlation[of_one_digit].mean()), 4),
        "any other": round(float(correlation[apart].mean()), 4),
    }


def outputs(seed: int, scale: Scale) -> dict[str, Any]:
    """Accuracy and agreement of A and B, and how alike their explanations are; beside A and B those of two Bs."""
    digits = tensors("lenet", "test", scale.shared, scale.inputs)[1][:EXPLAINED]
    networks = {"A": (seed, "pkt"), "B": (seed, "normal"), "another B": (seed + 1, "normal")}
    found: dict[str, Any] = {}
    for first, second in (("A", "B"), *[("B", "another B")] * (seed + 1 < scale.lenets)):
        one, other = (recorded("lenet", *networks[name], scale) for name in (first, second))
        same = one.predictions == other.predictions
        rows = np.flatnonzero(same[:EXPLAINED])
        maps = [attributions(*networks[name], scale) for name in (first, second)]
        found[f"{first}, {second}"] = {
            "agreement": round(float(same.mean()), 4),
            **{method: alike(maps[0][method], maps[1][method], rows, digits) for method in METHODS},
        }
        found |= {
            f"accuracy {name}": round(float((r.predictions == r.labels).mean()), 4)
            for name, r in ((first, one), (second, other))
        }
    return found


def cloud(seed: int, name: str, paper: str, layer: str, label: int, scale: Scale) -> dict[str, Any]:
    """How far the digits are apart in the ten most important neurons of a layer; points of the figure."""
    recording = recorded("lenet", seed, KINDS[name], scale)
    critical = discovered(seed, KINDS[name], label, scale)
    rows = critical.samples
    digits = tensors("lenet", "test", scale.shared, scale.inputs)[1][rows]
    # Digits of the other class are errors: a few points, no cloud of their own.
    rows, digits = rows[digits % 2 == label], digits[digits % 2 == label]
    V = np.asarray(recording.activations(layer)[rows], np.float64)
    V = (V - V.mean(axis=0)) / np.maximum(V.std(axis=0), 1e-9)
    top = V[:, critical[layer].ranking[:10]]
    plane = PCA(2, random_state=0).fit_transform(top)

    def separation(points: np.ndarray) -> dict[str, float]:
        clusters = KMeans(5, n_init=10, random_state=0).fit_predict(points)
        return {
            "silhouette": round(float(silhouette_score(points, digits, sample_size=3000, random_state=0)), 4),
            "ami": round(float(adjusted_mutual_info_score(digits, clusters)), 4),
        }

    drawn = slice(0, DRAWN if seed == 0 and label == 0 else 0)
    return {
        "ten": separation(top),
        "plane": separation(plane),
        "all": separation(V),
        "x": plane[drawn, 0].round(2).tolist(),
        "y": plane[drawn, 1].round(2).tolist(),
        "digit": digits[drawn].tolist(),
    }


def compared(seed: int, label: int, scale: Scale) -> dict[str, Any]:
    """Mechanisms of A against those of B, and each against those of another network of its kind."""
    digits = tensors("lenet", "test", scale.shared, scale.inputs)[1]
    found: dict[str, Any] = {}
    pairs = {"A, B": ((seed, "pkt"), (seed, "normal"))}
    if seed + 1 < scale.lenets:
        pairs |= {f"{n}, another {n}": ((seed, kind), (seed + 1, kind)) for n, kind in KINDS.items()}
    for words, (one, other) in pairs.items():
        recordings = recorded("lenet", *one, scale), recorded("lenet", *other, scale)
        pair = mechanisms(*one, label, scale), mechanisms(*other, label, scale)
        result = compare(*pair, names=("one", "other"), recordings=recordings)
        value, low, high = result.agreement
        found[words] = {
            "ami": round(value, 4),
            "low": round(low, 4),
            "high": round(high, 4),
            "matched": len(result.matches),
            "moved": round(result.moved, 4),
            "jaccard": round(float(np.mean([result.jaccard[m] for m in result.matches] or [0.0])), 4),
        }
    for name, kind in KINDS.items():
        found_here = mechanisms(seed, kind, label, scale)
        mine = digits[found_here.samples]
        repeated = found_here.cross_fitted
        found[name] = {
            "ce": round(neucept.metrics.cluster_entropy(mine, found_here.labels), 4),
            "ami with the digit": round(float(adjusted_mutual_info_score(mine, found_here.labels)), 4),
            "ami with itself": round(float(adjusted_mutual_info_score(found_here.labels, repeated)), 4),
        }
    return found


def run(scale: Scale) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for seed in range(scale.lenets):
        cells[f"outputs {seed}"] = lambda s=seed: outputs(s, scale)
        for label in (0, 1):
            for name in KINDS:
                for paper, layer in TASKS["lenet"].layers:
                    key = f"cloud {seed} {name} {paper} {label}"
                    cells[key] = lambda s=seed, n=name, p=paper, y=layer, c=label: cloud(s, n, p, y, c, scale)
            cells[f"compared {seed} {label}"] = lambda s=seed, c=label: compared(s, c, scale)
    return Results("two_networks", scale).fill(cells)


def gathered(found: dict[str, Any], kind: str) -> list[tuple[list[str], Any]]:
    return [(key.split()[1:], cell) for key, cell in found.items() if key.startswith(f"{kind} ")]


def draw(found: dict[str, Any], path: Path) -> None:
    papers = [paper for paper, _ in TASKS["lenet"].layers]
    figure, axes = plt.subplots(2, 4, figsize=(11.6, 6), width_ratios=(0.75, 1, 1, 0.75), layout="constrained")
    outside, inside = axes[:, 0]
    columns = {"predictions": ("agreement",), **{name: (name, "same input") for name in METHODS}}
    for number, path_of in enumerate(columns.values()):
        for shift, (words, marker, fill) in enumerate((("A, B", "o", "#0072B2"), ("B, another B", "s", "#E69F00"))):
            y = over_seeds(found, "outputs", words, *path_of)
            label = words.replace(", ", " and ") if number == 0 else None
            outside.plot([number + 0.24 * (shift - 0.5)] * len(y), y, marker, color=fill, ms=5, label=label)
    outside.set_xticks(
        range(3), ["predictions\nalike", "gradients,\ncorrelation", "int. grad.,\ncorrelation"], fontsize=8
    )
    outside.set_title("outputs and explanations", fontsize=9)
    outside.legend(fontsize=7, loc="lower right")
    kinds = ("A, another A", "A, B", "B, another B")
    for number, words in enumerate(kinds):
        y = over_seeds(found, "compared", words, "ami")
        inside.plot([number] * len(y), y, "o", color="#0072B2", ms=5)
    inside.set_xticks(range(3), ["A and\nanother A", "A and B", "B and\nanother B"], fontsize=8)
    inside.set_title("mechanisms: AMI of two networks", fontsize=9)
    for axis in (outside, inside):
        axis.set_xlim(-0.5, 2.5)
        axis.set_ylim(0, 1.03)
        axis.tick_params(labelsize=8)
        axis.grid(axis="y", alpha=0.3)
    for row, paper in enumerate(papers):
        for column, name in enumerate(KINDS, 1):
            cell, axis = found[f"cloud 0 {name} {paper} 0"], axes[row, column]
            x, y, digit = (np.array(cell[part]) for part in ("x", "y", "digit"))
            for colour, marker, value in zip(COLOURS, MARKERS, range(0, 10, 2), strict=True):
                mine = digit == value
                axis.scatter(x[mine], y[mine], s=9, c=colour, marker=marker, linewidths=0, alpha=0.75, label=str(value))
            axis.set_title(f"LeNet({name}), {paper}: silhouette {cell['ten']['silhouette']:.2f}", fontsize=9)
            axis.set_xlabel("first component", fontsize=8)
            axis.set_ylabel("second component", fontsize=8)
            axis.set_xticks([])
            axis.set_yticks([])
        axis = axes[row, 3]
        for parts, cell in gathered(found, "cloud"):
            if parts[2] == paper:
                at = "AB".index(parts[1]) + 0.12 * (int(parts[3]) - 0.5)
                first = parts[0] == "0" and parts[1] == "A"
                marker, fill = ("o", "#0072B2") if parts[3] == "0" else ("s", "#E69F00")
                words = TASKS["lenet"].classes[int(parts[3])] if first else None
                axis.plot(at, cell["ten"]["ami"], marker, color=fill, ms=5, label=words)
        axis.set_xticks([0, 1], ["LeNet(A)", "LeNet(B)"], fontsize=8)
        axis.set_xlim(-0.5, 1.5)
        axis.set_ylim(0, 1.03)
        axis.set_ylabel("AMI of five clusters and digit", fontsize=8)
        axis.set_title(f"all networks, {paper}", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.grid(axis="y", alpha=0.3)
    axes[0, 1].legend(title="digit", fontsize=7, title_fontsize=7, markerscale=1.6, loc="best", framealpha=0.8)
    axes[0, 3].legend(fontsize=7, loc="upper right")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def over_seeds(found: dict[str, Any], kind: str, *path: str, part: tuple[str, ...] = ()) -> list[float]:
    """One value a seed, the mean over the classes, of cells that hold it; ``part`` chooses clouds."""
    values: dict[str, list[float]] = {}
    for parts, cell in gathered(found, kind):
        for key in path:
            cell = cell.get(key) if isinstance(cell, dict) else None
        if cell is not None and parts[1 : 1 + len(part)] == list(part):
            values.setdefault(parts[0], []).append(cell)
    return [float(np.mean(mine)) for mine in values.values()]


def seeds(found: dict[str, Any]) -> list[int]:
    return sorted({int(parts[0]) for parts, _ in gathered(found, "outputs")})


def jackknife(found: dict[str, Any], of: Callable[[dict[str, Any]], float]) -> tuple[float, float]:
    """Estimate and half-width of its 95% interval, leaving out one network of each kind at a time.

    A network s is in the pairs (s - 1, s) and (s, s + 1) of like networks, so that their values are not independent.
    """
    known = seeds(found)
    whole = of(found)
    if len(known) < 3:
        return whole, float("nan")
    left = np.array([of(without(found, seed)) for seed in known])
    n = len(known)
    deviation = np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum())
    return whole, float(stats.t.ppf(0.975, n - 1) * deviation)


def without(found: dict[str, Any], seed: int) -> dict[str, Any]:
    """Leave out what was measured on the networks of a seed."""
    rest: dict[str, Any] = {}
    for key, cell in found.items():
        kind, its_seed = key.split()[:2]
        if int(its_seed) == seed:
            continue
        if kind in ("outputs", "compared") and int(its_seed) == seed - 1:
            cell = {name: value for name, value in cell.items() if "another" not in name}
        rest[key] = cell
    return rest


def over_pairs(found: dict[str, Any], kind: str, words: str, *path: str) -> tuple[float, float]:
    """Mean over pairs of networks with its half-width."""
    return jackknife(found, lambda part: _mean(over_seeds(part, kind, words, *path)))


def apart(found: dict[str, Any], kind: str, one: str, other: str, *path: str) -> tuple[float, float]:
    """Mean over pairs of one sort minus that over pairs of another, with its half-width."""

    def of(part: dict[str, Any]) -> float:
        return _mean(over_seeds(part, kind, one, *path)) - _mean(over_seeds(part, kind, other, *path))

    return jackknife(found, of)


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def gap(found: dict[str, Any], points: str, paper: str, measure: str) -> list[float]:
    """Give A minus B of each pair, the mean over the classes."""
    sides = []
    for name in KINDS:
        values: dict[str, list[float]] = {}
        for parts, cell in gathered(found, "cloud"):
            if parts[1:3] == [name, paper]:
                values.setdefault(parts[0], []).append(cell[points][measure])
        sides.append({seed: float(np.mean(mine)) for seed, mine in values.items()})
    return [sides[0][seed] - sides[1][seed] for seed in sides[0] if seed in sides[1]]


def written(value: tuple[float, float], digits: int = 2, sign: bool = False) -> str:
    mean, half = value
    if np.isnan(mean):
        return "–"
    text = f"{mean:{'+' * sign}.{digits}f}"
    return text if np.isnan(half) else f"{text} ± {half:.{digits}f}"


def surely(value: tuple[float, float]) -> bool:
    """Whether the interval lies on one side of zero; without an interval the mean decides."""
    return bool(abs(value[0]) > np.nan_to_num(value[1]))


def measurably(value: tuple[float, float]) -> bool:
    """Whether there is an interval, and it lies on one side of zero."""
    return bool(abs(value[0]) > value[1])


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    if not seeds(found):
        return []
    networks = f"{2 * len(seeds(found))} LeNets"
    rows = []
    tells = {m: apart(found, "outputs", "B, another B", "A, B", m, "same input") for m in METHODS}
    alike = apart(found, "outputs", "B, another B", "A, B", "agreement")
    told = [m for m in METHODS if surely(tells[m])]
    maps = "; ".join(
        f"{m}s correlate {written(over_pairs(found, 'outputs', 'A, B', m, 'same input'))} and"
        f" {written(over_pairs(found, 'outputs', 'B, another B', m, 'same input'))}".replace("gradientss", "gradients")
        for m in METHODS
    )
    rows.append(
        Verdict(
            "Figure 2, outputs and explanations",
            "predictions and attributions hardly tell LeNet(A) from LeNet(B)",
            f"A and B, beside two Bs: {_mean(over_seeds(found, 'outputs', 'A, B', 'agreement')):.1%} and"
            f" {_mean(over_seeds(found, 'outputs', 'B, another B', 'agreement')):.1%} of predictions alike; {maps}"
            f" ({networks})",
            "no" if measurably(alike) else "partly" if told else "yes",
        )
    )
    gaps = {paper: gap(found, "ten", paper, "silhouette") for paper, _ in TASKS["lenet"].layers}
    if all(gaps.values()):
        shows = [min(values) > 0 and surely(interval(values)) for values in gaps.values()]
        said = ", ".join(f"{shown(values)} at {paper}" for paper, values in gaps.items())
        rows.append(
            Verdict(
                "Figure 2, critical neurons",
                "in A's critical neurons the digits lie in more distinct clusters than in B's",
                f"silhouette of the digits in ten neurons, A minus B: {said} ({networks})",
                "yes" if all(shows) else "partly" if any(shows) else "no",
            )
        )
    return rows


def finding(found: dict[str, Any]) -> str:
    def pairs_row(words: str, kind: str, *path: str, digits: int = 2) -> str:
        cells = [written(over_pairs(found, kind, k, *path), digits) for k in ("A, another A", "A, B", "B, another B")]
        return f"| {words} | {' | '.join(cells)} |"

    count = len(seeds(found))
    lines = [
        judged(found),
        "",
        f"Two networks compared ({count} pairs A and B, {max(count - 1, 0)} of each other sort; explanations of two As"
        " were not compared):\n",
        "| | A and another A | A and B | B and another B |",
        "| --- | --- | --- | --- |",
        pairs_row("predictions alike", "outputs", "agreement", digits=3),
        *(pairs_row(f"correlation of their {m.removesuffix('s')}s", "outputs", m, "same input") for m in METHODS),
        pairs_row("AMI of their mechanisms", "compared", "ami"),
        "",
        "How far the digits lie apart (silhouette), the mean of both classes:\n",
        "| | LeNet(A) | LeNet(B) | A minus B |",
        "| --- | --- | --- | --- |",
    ]
    lines += [cloud_row(found, paper, points, "silhouette") for paper, _ in TASKS["lenet"].layers for points in POINTS]
    return "\n".join([*lines, "", *further(found)])


def cloud_row(found: dict[str, Any], paper: str, points: str, measure: str, said: str = "") -> str:
    columns = [over_seeds(found, "cloud", points, measure, part=(n, paper)) for n in KINDS]
    columns.append(gap(found, points, paper, measure))
    cells = [shown(values) if values else "–" for values in columns]
    return f"| {paper}, {POINTS[points]}{said} | {' | '.join(cells)} |"


def judged(found: dict[str, Any]) -> str:
    """Say which half of the claim holds."""
    gaps = [gap(found, "ten", paper, "silhouette") for paper, _ in TASKS["lenet"].layers]
    shows = all(values and min(values) > 0 and surely(interval(values)) for values in gaps)
    alike = measurably(apart(found, "outputs", "B, another B", "A, B", "agreement"))
    tells = {m: surely(apart(found, "outputs", "B, another B", "A, B", m, "same input")) for m in METHODS}
    told, unclear = ([f"{m.removesuffix('s')}s" for m in METHODS if tells[m] == which] for which in (True, False))
    said = [f"{' and '.join(told)} do, against the claim"] * bool(told)
    said += [f"{' and '.join(unclear)} are not shown to"] * bool(unclear)
    return (
        f"The critical neurons {'tell' if shows else 'do not always tell'} LeNet(A) from LeNet(B), as claimed: in the"
        f" first ten of a layer the digits lie further apart in A. Predictions {'tell' if alike else 'do not tell'}"
        f" them apart, as claimed; of the attributions, {', '.join(said)} ({2 * len(seeds(found))} LeNets)."
        if not alike
        else f" them apart, against the claim; of the attributions, {', '.join(said)} ({2 * len(seeds(found))} LeNets)."
    )


def beyond(found: dict[str, Any]) -> list[str]:
    """Say what the differences are, whether all neurons show them, and how mechanisms agree."""
    papers = [paper for paper, _ in TASKS["lenet"].layers]
    lines = []
    for m in METHODS:
        difference = apart(found, "outputs", "B, another B", "A, B", m, "same input")
        lines.append(
            f"- {m[:1].upper()}{m[1:].removesuffix('s')}s of an input: the correlation between two Bs minus that"
            f" between A and B is {written(difference, sign=True)}."
        )
    ten, everything = ({p: gap(found, points, p, "silhouette") for p in papers} for points in POINTS)
    if all(ten.values()):
        each = ", ".join(f"{np.mean(ten[p]):.2f} and {np.mean(everything[p]):.2f} at {p}" for p in papers)
        by_ami = ", ".join(
            f"{_mean(gap(found, 'ten', p, 'ami')):.2f} and {_mean(gap(found, 'all', p, 'ami')):.2f} at {p}"
            for p in papers
        )
        lines.append(
            f"- {'All neurons of a layer show it too. ' * all(np.mean(v) > 0 for v in everything.values())}A minus B in"
            f" ten neurons and in all is {each} by silhouette (which falls with the number of neurons by itself), and"
            f" {by_ami} by the AMI of five clusters and digit."
        )
    ours, between, others = (
        over_pairs(found, "compared", words, "ami") for words in ("A, another A", "A, B", "B, another B")
    )
    line = (
        f"- Mechanisms agree by {written(ours)} between two As, {written(between)} between A and B and"
        f" {written(others)} between two Bs (adjusted mutual information)"
    )
    if surely(apart(found, "compared", "A, another A", "A, B", "ami")) and not surely(
        apart(found, "compared", "A, B", "B, another B", "ami")
    ):
        line += ": As are like each other, while A and B are not shown to be less alike than two Bs"
    return [*lines, f"{line}."]


def further(found: dict[str, Any]) -> list[str]:
    """Write the other measures."""
    lines = [
        "<details><summary>Explanations of different inputs; AMI of clusters and digit; what two networks share"
        "</summary>\n",
        "Pairs of like networks, s and s + 1, share networks; intervals leave out one network of each kind at a time"
        " (jackknife).\n",
        *beyond(found),
        "",
        "| correlation of the maps of | A and B | B and another B |",
        "| --- | --- | --- |",
    ]
    for method in METHODS:
        for what in ("same input", "another of the digit", "any other"):
            cells = [written(over_pairs(found, "outputs", p, method, what)) for p in ("A, B", "B, another B")]
            lines.append(f"| {method}: {what} | {' | '.join(cells)} |")
    lines += ["", "| | LeNet(A) | LeNet(B) | A minus B |", "| --- | --- | --- | --- |"]
    accuracy = [over_seeds(found, "outputs", f"accuracy {n}") for n in KINDS]
    lines.append(f"| accuracy | {' | '.join(shown(values, 3) for values in accuracy)} | |")
    for paper, _ in TASKS["lenet"].layers:
        for points in POINTS:
            lines.append(cloud_row(found, paper, points, "ami", ": AMI of five clusters and digit"))
    for what, words in (
        ("ce", "CE of the mechanisms (bits)"),
        ("ami with the digit", "AMI of the mechanisms and digit"),
        ("ami with itself", "AMI of the mechanisms and themselves, found again on other halves"),
    ):
        cells = [over_seeds(found, "compared", n, what) for n in KINDS]
        lines.append(f"| {words} | {' | '.join(shown(values) if values else '–' for values in cells)} | |")
    lines += ["", "| mechanisms | A and another A | A and B | B and another B |", "| --- | --- | --- | --- |"]
    for what, words in (
        ("matched", "matched, of 5"),
        ("jaccard", "Jaccard index of matched ones"),
        ("moved", "share of inputs outside matched pairs"),
    ):
        kinds = ("A, another A", "A, B", "B, another B")
        lines.append(f"| {words} | {' | '.join(written(over_pairs(found, 'compared', k, what)) for k in kinds)} |")
    return [*lines, "", "</details>"]


if __name__ == "__main__":
    main(sys.modules[__name__])
