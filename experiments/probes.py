"""Figure 10: linear probes at every layer, for the labels that a network was trained on and for finer ones.

A probe is a multinomial logistic regression on a layer's standardised activations, unpooled (every element) or pooled
(the mean of each channel). It is fitted on one random half of the test inputs and measured on the other; its penalty is
the best of four on a fifth of the first half. Pixels are those of the input, the same for all networks.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from common import Results, Scale, main
from networks import pairs, trained
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tasks import TASKS, tensors

import neucept

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
                        continue  # one element per channel: the same
                    key = f"{task} {seed} {'-' if paper == 'pixels' else name} {paper} {pooling}"
                    cells[key] = lambda t=task, s=seed, n=name, p=paper, w=pooling: measure(t, s, n, p, w, scale)
    return Results("probes", scale).fill(cells)


if __name__ == "__main__":
    main(__file__, run)
