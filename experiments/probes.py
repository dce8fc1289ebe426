"""Figure 10: linear probes at every layer, for the labels that a network was trained on and for finer ones.

A probe is a multinomial logistic regression on a layer's standardised activations, unpooled (every element) or pooled
(the mean of each channel). It is fitted on one random half of the test inputs and measured on the other; its penalty is
the best of four on a fifth of the first half. Pixels are those of the input, the same for all networks.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from common import Results, Scale, main, shown
from networks import TASKS, pairs, tensors, trained
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import neucept

mpl.use("Agg")
import matplotlib.pyplot as plt

TITLE = "Linear probes see the mechanisms only with the labels of the mechanisms (Figure 10)"
CLAIM = (
    "Probes on the labels of the task (2) hardly differ between LeNet(A), with prior knowledge, and LeNet(B), without;"
    " probes on the labels of the prior task (10) do: A's layers are more linearly separable."
)
KINDS = {"A": "pkt", "B": "normal"}
LAYERS = {  # after the activation function; pixels first
    "lenet": {
        "pixels": "input",
        "conv1": "feature_extractor.1",
        "conv2": "feature_extractor.4",
        "conv3": "feature_extractor.7",
        "linear0": "classifier.1",
    },
    "vgg11": {"conv6": "features.20", "conv7": "features.24", "conv8": "features.28", "conv9": "features.31"},
}
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)  # C of scikit-learn: the smaller, the stronger
POOLINGS = {"unpooled": "element", "pooled": "channel"}


@lru_cache(maxsize=2)  # one network in both poolings: some hundred megabytes
def recorded(task: str, seed: int, name: str, pooling: str, scale: Scale) -> neucept.Recording:
    X, _ = tensors(task, "test", scale.shared, scale.inputs)
    network = trained(task, seed, scale)[KINDS[name]]
    return neucept.record(network, X, list(LAYERS[task].values()), neurons=POOLINGS[pooling], progress=False)


def probe(Z: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, float]:
    """Cross-entropy (nats) and accuracy on inputs that the probe was not fitted on."""
    order = np.random.default_rng(seed).permutation(len(Z))
    fitted, measured = np.array_split(order, 2)
    for_penalty, chosen_on = fitted[len(fitted) // 5 :], fitted[: len(fitted) // 5]

    def fit(rows: np.ndarray, C: float) -> Any:
        regression = LogisticRegression(C=C, max_iter=300, tol=1e-3)
        return make_pipeline(StandardScaler(), regression).fit(Z[rows], labels[rows])

    def loss(model: Any, rows: np.ndarray) -> float:
        return float(log_loss(labels[rows], model.predict_proba(Z[rows]), labels=model.classes_))

    best = min(PENALTIES, key=lambda C: loss(fit(for_penalty, C), chosen_on))
    model = fit(fitted, best)
    accuracy = float(np.mean(model.predict(Z[measured]) == labels[measured]))
    return {"loss": round(loss(model, measured), 4), "accuracy": round(accuracy, 4), "C": best, "width": Z.shape[1]}


def measure(task: str, seed: int, name: str, paper: str, pooling: str, scale: Scale) -> dict[str, Any]:
    _, fine = tensors(task, "test", scale.shared, scale.inputs)
    Z = np.asarray(recorded(task, seed, name, pooling, scale).activations(LAYERS[task][paper]))
    return {"2": probe(Z, TASKS[task].coarse(fine), seed), "10": probe(Z, fine, seed)}


def run(scale: Scale) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for task, seed in pairs(scale, *LAYERS):
        for name in KINDS:
            for paper in LAYERS[task]:
                if paper == "pixels" and name == "B":
                    continue
                for pooling in POOLINGS:
                    if pooling == "pooled" and (paper in ("pixels", "conv3", "linear0", "conv8", "conv9")):
                        continue  # one element a channel: the same
                    key = f"{task} {seed} {'-' if paper == 'pixels' else name} {paper} {pooling}"
                    cells[key] = lambda t=task, s=seed, n=name, p=paper, w=pooling: measure(t, s, n, p, w, scale)
    return Results("probes", scale).fill(cells)


def values(
    found: dict[str, Any], task: str, name: str, paper: str, pooling: str, labels: str, what: str
) -> list[float]:
    name = "-" if paper == "pixels" else name
    keys = [key.split() for key in found]
    if not any(key[0] == task and key[3:] == [paper, pooling] for key in keys):
        pooling = "unpooled"
    return [found[" ".join(k)][labels][what] for k in keys if [k[0], *k[2:]] == [task, name, paper, pooling]]


def draw(found: dict[str, Any], path: Path) -> None:
    tasks = [task for task in LAYERS if any(key.startswith(task) for key in found)]
    figure, axes = plt.subplots(len(tasks), 2, figsize=(9, 3.2 * len(tasks)), squeeze=False, layout="constrained")
    styles = {("A", "2"): ("#0072B2", "--", "o"), ("B", "2"): ("#D55E00", "--", "s")}
    styles |= {("A", "10"): ("#0072B2", "-", "o"), ("B", "10"): ("#D55E00", "-", "s")}
    for row, task in zip(axes, tasks, strict=True):
        for axis, what in zip(row, ("loss", "accuracy"), strict=True):
            papers = list(LAYERS[task])
            for (name, labels), (colour, line, marker) in styles.items():
                points = [values(found, task, name, paper, "unpooled", labels, what) for paper in papers]
                mean = [float(np.mean(part)) for part in points]
                words = f"network {name}, {labels} labels"
                axis.plot(papers, mean, line, color=colour, marker=marker, ms=4, lw=1.5, label=words)
                for at, part in enumerate(points):
                    axis.plot([at] * len(part), part, ".", color=colour, ms=3, alpha=0.5)
            axis.set_ylabel("held-out loss (nats)" if what == "loss" else "held-out accuracy")
            axis.set_xlabel(f"layer of {'LeNet' if task == 'lenet' else 'VGG11'}, unpooled")
            axis.grid(axis="y", alpha=0.3)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), fontsize=8, ncols=4, loc="outside upper center")
    figure.savefig(path, dpi=105)
    plt.close(figure)


def finding(found: dict[str, Any]) -> str:
    lines = [
        "| layer | labels | loss, A | loss, B | accuracy, A | accuracy, B |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    tasks = [task for task in LAYERS if any(key.startswith(task) for key in found)]
    for task in tasks:
        for paper in LAYERS[task]:
            poolings = ("unpooled", "pooled") if any(k.endswith(f"{paper} pooled") for k in found) else ("unpooled",)
            for pooling in poolings:
                for labels in ("2", "10"):
                    columns = [
                        values(found, task, name, paper, pooling, labels, what)
                        for what in ("loss", "accuracy")
                        for name in KINDS
                    ]
                    said = " | ".join(shown(column, 3) for column in columns)
                    lines.append(f"| {task}, {paper}{', pooled' * (pooling == 'pooled')} | {labels} | {said} |")
    return "\n".join([*lines, "", *(verdict(found, task) for task in tasks)])


def verdict(found: dict[str, Any], task: str) -> str:
    """Say where A and B differ, and by how much more on the labels of the prior task."""
    parts, largest, wins = [], {}, {}
    for labels in ("2", "10"):
        gaps = {}
        for paper in LAYERS[task]:
            if paper != "pixels":
                a, b = (np.array(values(found, task, name, paper, "unpooled", labels, "loss")) for name in KINDS)
                gaps[paper] = b - a
        said = ", ".join(f"{paper} {gap.mean():+.3f}" for paper, gap in gaps.items())
        parts.append(f"on {labels} labels {said}")
        largest[labels] = max(abs(float(gap.mean())) for gap in gaps.values())
        together = np.concatenate(list(gaps.values()))
        wins[labels] = f"{(together > 0).sum()} of {len(together)}"
    more = largest["10"] > largest["2"]
    tell = "tell more, as claimed" if more else "do not tell more"
    return (
        f"{task}: loss of B minus that of A {'; '.join(parts)}. A's is smaller in {wins['2']} pairs and layers on 2"
        f" labels and in {wins['10']} on 10. The largest difference is {largest['10'] / largest['2']:.1f} times as"
        f" large on 10 labels as on 2: the labels of the prior task {tell}. That the labels of the task hardly tell the"
        " networks apart is as true as the first differences are small."
    )


if __name__ == "__main__":
    main(sys.modules[__name__])
