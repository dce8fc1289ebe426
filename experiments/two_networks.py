"""Figure 2: two LeNets with like outputs and explanations, told apart by the point clouds of their critical neurons.

LeNet(A) is trained with prior knowledge of the digits (PKT), LeNet(B) from a fresh start. Explanations are gradients
and integrated gradients of the logit of the class that both predict; point clouds are the ten first-ranked neurons of a
layer, scaled, over the inputs that a network predicts as a class; mechanisms are five, learnt on both layers.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from common import Results, Scale, main
from discovery import discovered, quiet
from networks import recorded, trained
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_mutual_info_score, silhouette_score
from tasks import TASKS, tensors

import neucept
from neucept.comparison import compare

KINDS = {"A": "pkt", "B": "normal"}
EXPLAINED = 400  # inputs whose explanations are compared
DRAWN = 400  # inputs of a point cloud in the figure
STEPS = 24  # of integrated gradients
METHODS = ("gradient", "integrated gradients")


@cache
def mechanisms(seed: int, kind: str, label: int, scale: Scale) -> neucept.Mechanisms:
    recording, critical = recorded("lenet", seed, kind, scale), discovered("lenet", seed, kind, label, scale)
    return quiet(neucept.learn, recording, critical, 5, reduce="top")


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
    results: dict[str, Any] = {}
    for first, second in (("A", "B"), *[("B", "another B")] * (seed + 1 < scale.lenets)):
        one, other = (recorded("lenet", *networks[name], scale) for name in (first, second))
        same = one.predictions == other.predictions
        rows = np.flatnonzero(same[:EXPLAINED])
        maps = [attributions(*networks[name], scale) for name in (first, second)]
        results[f"{first}, {second}"] = {
            "agreement": round(float(same.mean()), 4),
            **{method: alike(maps[0][method], maps[1][method], rows, digits) for method in METHODS},
        }
        results |= {
            f"accuracy {name}": round(float((r.predictions == r.labels).mean()), 4)
            for name, r in ((first, one), (second, other))
        }
    return results


def cloud(seed: int, name: str, paper: str, layer: str, label: int, scale: Scale) -> dict[str, Any]:
    """How far the digits are apart in the ten most important neurons of a layer; points of the figure."""
    recording = recorded("lenet", seed, KINDS[name], scale)
    critical = discovered("lenet", seed, KINDS[name], label, scale)
    rows = critical.samples
    digits = tensors("lenet", "test", scale.shared, scale.inputs)[1][rows]
    # Digits of the other class are errors: a few points, no cloud of their own.
    rows, digits = rows[digits % 2 == label], digits[digits % 2 == label]
    V = np.asarray(recording.activations(layer)[rows], np.float64)
    V = (V - V.mean(axis=0)) / np.maximum(V.std(axis=0), 1e-9)
    top = V[:, critical[layer].ranked("information")[:10]]
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
    results: dict[str, Any] = {}
    pairs = {"A, B": ((seed, "pkt"), (seed, "normal"))}
    if seed + 1 < scale.lenets:
        pairs |= {f"{n}, another {n}": ((seed, kind), (seed + 1, kind)) for n, kind in KINDS.items()}
    for words, (one, other) in pairs.items():
        recordings = recorded("lenet", *one, scale), recorded("lenet", *other, scale)
        pair = mechanisms(*one, label, scale), mechanisms(*other, label, scale)
        result = compare(*pair, names=("one", "other"), recordings=recordings)
        value, low, high = result.agreement
        results[words] = {
            "ami": round(value, 4),
            "low": round(low, 4),
            "high": round(high, 4),
            "matched": len(result.matches),
            "moved": round(result.churn, 4),
            "jaccard": round(float(np.mean([result.jaccard[m] for m in result.matches] or [0.0])), 4),
        }
    for name, kind in KINDS.items():
        learnt = mechanisms(seed, kind, label, scale)
        fine, repeated = digits[learnt.samples], learnt.cross_fitted
        results[name] = {
            "ce": round(neucept.metrics.cluster_entropy(fine, learnt.labels), 4),
            "ami with the digit": round(float(adjusted_mutual_info_score(fine, learnt.labels)), 4),
            "ami with itself": round(float(adjusted_mutual_info_score(learnt.labels, repeated)), 4),
        }
    return results


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


if __name__ == "__main__":
    main(__file__, run)
