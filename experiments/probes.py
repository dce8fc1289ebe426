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
from common import Results, Scale, Verdict, interval, main, shown
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
            axis.set_xlabel(f"layer of {model(task)}, unpooled")
            axis.grid(axis="y", alpha=0.3)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), fontsize=8, ncols=4, loc="outside upper center")
    figure.savefig(path, dpi=105)
    plt.close(figure)


def model(task: str) -> str:
    return TASKS[task].architecture.__name__


def gap(found: dict[str, Any], task: str, paper: str, pooling: str, labels: str, what: str = "loss") -> list[float]:
    """Give B minus A of every pair that has both."""
    seeds = [key.split()[1] for key in found if key.split()[0] == task]
    keys = [[f"{task} {seed} {name} {paper} {pooling}" for name in ("B", "A")] for seed in dict.fromkeys(seeds)]
    return [found[b][labels][what] - found[a][labels][what] for b, a in keys if a in found and b in found]


def probed(found: dict[str, Any], task: str, pooling: str) -> list[str]:
    """Layers that both networks of a pair at least were probed at."""
    return [paper for paper in LAYERS[task] if paper != "pixels" and gap(found, task, paper, pooling, "10")]


def side(values: list[float]) -> int:
    """1 where the interval of B minus A lies above zero, -1 below, 0 where it holds zero; of two, where both lie."""
    mean, half = interval(values)
    if len(values) < 3:
        return 1 if min(values) > 0 else -1 if max(values) < 0 else 0
    return int(np.sign(mean)) if abs(mean) > half else 0


def signed(values: list[float]) -> str:
    text = shown(values, 3)
    return text if text.startswith("-") else f"+{text}"


def pairs_of(found: dict[str, Any], task: str) -> str:
    count = max((len(gap(found, task, paper, "unpooled", "10")) for paper in LAYERS[task]), default=0)
    return f"{count} pair{'s' * (count != 1)} of {model(task)}s"


def holds(found: dict[str, Any], task: str) -> str:
    """Whether the labels of the prior task tell A from B, and more so than those of the task, at every layer."""
    unpooled = [(paper, "unpooled") for paper in probed(found, task, "unpooled")]
    where = unpooled + [(paper, "pooled") for paper in probed(found, task, "pooled")]
    tell = []
    for paper, pooling in where:
        two, ten = (gap(found, task, paper, pooling, labels) for labels in ("2", "10"))
        tell.append(side(ten) > 0 and np.mean(ten) > abs(np.mean(two)))
    return "yes" if all(tell) else "partly" if any(tell) else "no"


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    rows = []
    for task in LAYERS:
        layers = probed(found, task, "unpooled")
        if not layers:
            continue
        chosen = [layers[0], layers[-1]] if len(layers) > 1 else layers
        said = " and ".join(
            f"{signed(gap(found, task, paper, 'unpooled', '10'))} on 10 labels,"
            f" {signed(gap(found, task, paper, 'unpooled', '2'))} on 2 at {paper}"
            for paper in chosen[::-1]
        )
        rows.append(
            Verdict(
                "Figure 10" if task == "lenet" else f"Figure 10 with {model(task)}",
                "linear probes differ between A and B on the 10 labels of the prior task, hardly on the 2 of the task",
                f"loss of B minus A {said} ({pairs_of(found, task)})",
                holds(found, task) if task == "lenet" else "not in the paper",
            )
        )
    return rows


def finding(found: dict[str, Any]) -> str:
    tasks = [task for task in LAYERS if probed(found, task, "unpooled")]
    lines = [" ".join(verdict(found, task) for task in tasks), ""]
    lines += [
        "Held-out loss (nats) and accuracy of B minus those of A, paired, probes on every element of a layer:\n",
        "| layer | loss, 2 labels | loss, 10 labels | accuracy, 2 labels | accuracy, 10 labels |",
        "| --- " * 5 + "|",
        *(gap_row(found, task, paper, "unpooled") for task in tasks for paper in probed(found, task, "unpooled")),
        "",
        "<details><summary>Pooled probes, and the losses and accuracies themselves</summary>\n",
        "Pooled: the mean of each channel. B minus A:\n",
        "| layer | loss, 2 labels | loss, 10 labels | accuracy, 2 labels | accuracy, 10 labels |",
        "| --- " * 5 + "|",
        *(gap_row(found, task, paper, "pooled") for task in tasks for paper in probed(found, task, "pooled")),
        "",
        "| layer | labels | loss, A | loss, B | accuracy, A | accuracy, B |",
        "| --- " * 6 + "|",
    ]
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
                    said = " | ".join(shown(column, 3) if column else "–" for column in columns)
                    words = f"{model(task)}, {paper}{', pooled' * (pooling == 'pooled')}"
                    lines.append(f"| {words} | {labels} | {said} |")
    return "\n".join([*lines, "", "</details>"])


def gap_row(found: dict[str, Any], task: str, paper: str, pooling: str) -> str:
    cells = [
        signed(gap(found, task, paper, pooling, labels, what))
        for what in ("loss", "accuracy")
        for labels in ("2", "10")
    ]
    return f"| {model(task)}, {paper} | {' | '.join(cells)} |"


def verdict(found: dict[str, Any], task: str) -> str:
    """Say at which layers A and B differ, on which labels, and whether pooled probes agree."""
    layers = probed(found, task, "unpooled")
    of = {n: {paper: side(gap(found, task, paper, "unpooled", n)) for paper in layers} for n in ("2", "10")}

    def those(labels: str, sign: int) -> str:
        return ", ".join(
            f"{paper} {signed(gap(found, task, paper, 'unpooled', labels))}"
            for paper in layers
            if of[labels][paper] == sign
        )

    apart = those("10", 1)
    words = {"yes": "tell", "partly": "mostly tell", "no": "do not tell"}[holds(found, task)]
    text = [
        f"Probes on the 10 labels of the prior task {words} A from B, more clearly than probes on the 2 labels of the"
        f" task ({pairs_of(found, task)}). On 10 labels the loss of B is larger at {apart}"
        if apart
        else f"Probes on the 10 labels of the prior task do not surely tell A from B ({pairs_of(found, task)})"
    ]
    if unclear := those("10", 0):
        text.append(f"; not shown to differ at {unclear}")
    if against := those("10", -1):
        text.append(f"; smaller at {against}")
    largest = max(layers, key=lambda paper: abs(np.mean(gap(found, task, paper, "unpooled", "2"))))
    shown_on_2 = [f"larger at {those('2', 1)}"] * bool(those("2", 1)) + [f"smaller at {those('2', -1)}"] * bool(
        those("2", -1)
    )
    text.append(
        f". On 2 labels it is {' and '.join(shown_on_2)}; elsewhere not shown to differ."
        if shown_on_2
        else f". On 2 labels no layer is shown to differ (the most: {largest}"
        f" {signed(gap(found, task, largest, 'unpooled', '2'))})."
    )
    otherwise = []
    for paper in probed(found, task, "pooled"):
        two, ten = (gap(found, task, paper, "pooled", labels) for labels in ("2", "10"))
        if side(ten) <= 0 or np.mean(ten) <= abs(np.mean(two)):
            otherwise.append(f"{signed(two)} on 2 labels, {signed(ten)} on 10 at {paper}")
    if otherwise:
        text.append(
            " Probes on the mean of each channel (pooled), where a layer has maps, do not bear it out: B minus A is"
            f" {'; '.join(otherwise)}."
        )
    return "".join(text)


if __name__ == "__main__":
    main(sys.modules[__name__])
