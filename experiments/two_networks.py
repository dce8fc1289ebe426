"""Figure 2: two LeNets with like outputs and explanations, told apart by the point clouds of their critical neurons.

LeNet(A) is trained with prior knowledge of the digits (PKT), LeNet(B) from a fresh start. Explanations are gradients
and integrated gradients of the logit of the class that both predict; point clouds are the ten first-ranked neurons of a
layer, scaled, over the inputs that a network predicts as a class; mechanisms are five, learnt on both layers.
"""

from __future__ import annotations

import sys
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from common import Results, Scale, main, shown
from networks import TASKS, recorded, tensors, trained
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
    " without; the activations of critical neurons do: those of A lie in clusters of one digit each."
)
KINDS = {"A": "pkt", "B": "normal"}
EXPLAINED = 400  # inputs whose explanations are compared
DRAWN = 400  # inputs of a point cloud in the figure
STEPS = 24  # of integrated gradients
METHODS = ("gradient", "integrated gradients")
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#000000")
MARKERS = "os^Dv"


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
    figure, axes = plt.subplots(2, 3, figsize=(9, 6), width_ratios=(1, 1, 0.8), layout="constrained")
    for row, paper in enumerate(papers):
        for column, name in enumerate(KINDS):
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
        axis = axes[row, 2]
        for parts, cell in gathered(found, "cloud"):
            if parts[2] == paper:
                at = "AB".index(parts[1]) + 0.12 * (int(parts[3]) - 0.5)
                first = parts[0] == "0" and parts[1] == "A"
                marker, fill = ("o", "#0072B2") if parts[3] == "0" else ("s", "#E69F00")
                words = TASKS["lenet"].classes[int(parts[3])] if first else None
                axis.plot(at, cell["ten"]["ami"], marker, color=fill, ms=5, label=words)
        axis.set_xticks([0, 1], ["LeNet(A)", "LeNet(B)"], fontsize=8)
        axis.set_xlim(-0.5, 1.5)
        axis.set_ylim(0, 1)
        axis.set_ylabel("AMI of five clusters and digit", fontsize=8)
        axis.set_title(f"all networks, {paper}", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.grid(axis="y", alpha=0.3)
    axes[0, 0].legend(title="digit", fontsize=7, title_fontsize=7, markerscale=1.6, loc="best", framealpha=0.8)
    axes[0, 2].legend(fontsize=7, loc="upper right")
    figure.savefig(path, dpi=110)
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


def finding(found: dict[str, Any]) -> str:
    def row(words: str, columns: list[list[float]], digits: int = 2) -> str:
        return f"| {words} | {' | '.join(shown(values, digits) for values in columns)} |"

    networks = ("A, B", "B, another B")
    lines = ["| outputs and explanations | A and B | B and another B |", "| --- | --- | --- |"]
    lines.append(row("predictions alike", [over_seeds(found, "outputs", p, "agreement") for p in networks], 3))
    for method in METHODS:
        for what in ("same input", "another of the digit", "any other"):
            columns = [over_seeds(found, "outputs", p, method, what) for p in networks]
            lines.append(row(f"correlation of the {method}: {what}", columns))
    lines += ["", "| separation | LeNet(A) | LeNet(B) |", "| --- | --- | --- |"]
    lines.append(row("accuracy", [over_seeds(found, "outputs", f"accuracy {n}") for n in KINDS], 3))
    for paper, _ in TASKS["lenet"].layers:
        for points, words in (("ten", "ten critical neurons"), ("all", "all neurons")):
            for measure, said in (
                ("silhouette", "silhouette of the digits"),
                ("ami", "AMI of five clusters and digit"),
            ):
                columns = [over_seeds(found, "cloud", points, measure, part=(n, paper)) for n in KINDS]
                lines.append(row(f"{paper}, {words}: {said}", columns))
    for what, words in (
        ("ce", "CE of the mechanisms (bits)"),
        ("ami with the digit", "AMI of the mechanisms and digit"),
        ("ami with itself", "AMI of the mechanisms and themselves, found again on other halves"),
    ):
        lines.append(row(words, [over_seeds(found, "compared", n, what) for n in KINDS]))
    lines += ["", "| mechanisms compared | A and B | A and another A | B and another B |", "| --- | --- | --- | --- |"]
    for what, words in (
        ("ami", "adjusted mutual information"),
        ("matched", "mechanisms matched, of 5"),
        ("jaccard", "Jaccard index of matched ones"),
        ("moved", "share of inputs outside matched pairs"),
    ):
        kinds = ("A, B", "A, another A", "B, another B")
        lines.append(row(words, [over_seeds(found, "compared", k, what) for k in kinds]))
    return "\n".join([*lines, "", verdict(found)])


def verdict(found: dict[str, Any]) -> str:
    def mean(*path: str) -> float:
        return float(np.mean(over_seeds(found, "outputs", *path)))

    said = []
    for method in METHODS:
        same, digit = (mean("A, B", method, what) for what in ("same input", "another of the digit"))
        reference = mean("B, another B", method, "same input")
        said.append(f"{same:.2f} by {method} ({digit:.2f} for two inputs of a digit, {reference:.2f} between two Bs)")
    apart = []
    for points in ("ten", "all"):
        sides = [
            [over_seeds(found, "cloud", points, "silhouette", part=(n, paper)) for n in KINDS]
            for paper, _ in TASKS["lenet"].layers
        ]
        differences = [np.subtract(*side) for side in sides]
        wins = ", ".join(
            f"{(d > 0).sum()} of {len(d)} at {paper} ({d.mean():+.2f})"
            for d, (paper, _) in zip(differences, TASKS["lenet"].layers, strict=True)
        )
        apart.append((wins, all((d > 0).all() for d in differences)))
    own, other = (float(np.mean(over_seeds(found, "compared", k, "ami"))) for k in ("A, another A", "A, B"))
    holds = "holds in every pair" if apart[0][1] else "does not hold in every pair"
    return (
        f"{mean('A, B', 'agreement'):.1%} of the predictions of A and B are alike; accuracies are"
        f" {mean('accuracy A'):.3f} and {mean('accuracy B'):.3f}. Explanations of an input by A and B correlate"
        f" {' and '.join(said)}. The digits lie further apart in the critical neurons of A than of B (silhouette, mean"
        f" difference) in {apart[0][0]} of the pairs: this part of the claim {holds}. In all neurons of a layer they do"
        f" in {apart[1][0]}, so that it is not the selection that shows it. Mechanisms of A agree with those of another"
        f" A by {own:.2f} and with those of B by {other:.2f} (adjusted mutual information)."
    )


if __name__ == "__main__":
    main(sys.modules[__name__])
