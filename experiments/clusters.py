"""Compare neurons by the clusters they show in networks with and without prior knowledge (Figures 7 and 9).

    python experiments/clusters.py [--reduced]

The inputs predicted as a coarse class are clustered by the activations of the first neurons of a ranking, and the
clusters' entropy CE (bits) of the fine classes is measured, for networks with prior knowledge (PKT) and without
(normal). What was chosen: activations standardised for every method alike; attributions with zeros at the layer as
baseline, as in the published code; K-means on all inputs, the better of two starts; Gaussian mixtures (full
covariances up to 30 neurons, diagonal above) and Ward's agglomeration on the same random 2,000 inputs for every method
(a first look: 500, and the middle number of neurons alone).
"Held out": clusters found on one half of the inputs and measured on the other. AMI: adjusted mutual information with
the fine classes, which does not rise with the number of clusters by itself as CE falls.

The neurons of `neucept.discover` by default have cells of their own, "... NeuCEPT", so that they can be measured anew.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product

import numpy as np
from common import Results, Scale, main
from networks import pairs, recorded, trained
from scipy.cluster.hierarchy import cut_tree, ward
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.mixture import GaussianMixture
from tasks import TASKS, tensors

from neucept import metrics
from neucept.rankings import (
    Activation,
    DeepLift,
    GradientShap,
    IntegratedGradients,
    Method,
    NeuCEPT,
    Random,
    Saliency,
    Variance,
    rank,
)

KS = range(1, 13)
TOPS = {"lenet": (5, 10, 20), "lenet-five": (10,), "vgg11": (30, 100)}
MAIN_TOP = {"lenet": 10, "lenet-five": 10, "vgg11": 30}
RANDOM_SETS, FEW_SETS = 10, 3  # random sets of neurons for K-means, and for the slower clusterers
OTHERS = [
    NeuCEPT.published(),
    IntegratedGradients(baseline="zero"),
    DeepLift(baseline="zero"),
    GradientShap(baseline="zero", samples=20),
    Saliency(),
    Activation(),
    Variance(),
    *(Random(seed, f"random #{seed}") for seed in range(RANDOM_SETS)),
]
OURS = [NeuCEPT(order="information", name="NeuCEPT")]
Found = dict[str, dict]


def kmeans(V: np.ndarray, W: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Return the clusters of V, and of W by the same centres, for each K."""
    for K in KS:
        results = KMeans(K, n_init=2, random_state=0).fit(V)
        yield results.labels_, results.predict(W)


def gmm(V: np.ndarray, W: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Return the likeliest components of V, and of W, for each K."""
    kind = "full" if V.shape[1] <= 30 else "diag"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for K in KS:
            results = GaussianMixture(K, covariance_type=kind, max_iter=50, tol=1e-2, reg_covar=1e-3, random_state=0)
            yield results.fit_predict(V), results.predict(W)


def agglomerative(V: np.ndarray, W: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cut one tree of V at each K; W goes to the nearest centroid."""
    cuts = cut_tree(ward(V), KS)
    for K, labels in zip(KS, cuts.T, strict=True):
        centroids = np.stack([V[labels == c].mean(axis=0) for c in range(K)])
        yield labels, cdist(W, centroids).argmin(axis=1)


CLUSTERERS: dict[str, Callable] = {"kmeans": kmeans, "gmm": gmm, "agglomerative": agglomerative}


def standard(Z: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Standardise neurons by the mean and deviation of ``like``; one that is constant there becomes 0."""
    deviation = like.std(axis=0)
    return (Z - like.mean(axis=0)) / np.where(deviation > 0, deviation, np.inf)


def curves(Z: np.ndarray, fine: np.ndarray, clusterer: str, more: bool) -> dict[str, list[float]]:
    """Measure CE for each K; with ``more`` also AMI, and CE held out."""
    find = CLUSTERERS[clusterer]
    V = standard(Z, Z)
    clusters = [labels for labels, _ in find(V, V[:1])]
    results = {"ce": [metrics.cluster_entropy(fine, labels) for labels in clusters]}
    if more:
        half = len(Z) // 2  # the inputs are in random order
        apart = find(standard(Z[:half], Z[:half]), standard(Z[half:], Z[:half]))
        results["held out"] = [metrics.cluster_entropy(fine[half:], labels) for _, labels in apart]
        results["ami"] = [adjusted_mutual_info_score(fine, labels) for labels in clusters]
    return results


def measure(task: str, seed: int, kind: str, methods: Sequence[Method], scale: Scale) -> dict[str, dict[str, str]]:
    """Measure one network: {"layer class top clusterer measure": {method: a number for each K}}."""
    X, fine = tensors(task, "test", scale.shared, scale.inputs)
    recording = recorded(task, seed, kind, scale)
    model = trained(task, seed, scale)[kind]
    results: dict[str, dict[str, str]] = {}
    for number, label in enumerate(TASKS[task].classes):
        table = rank(recording, number, methods, model, X)
        rows = recording.samples(number)
        for name, layer in TASKS[task].layers:
            Z = np.asarray(recording.activations(layer)[rows], np.float64)
            orders = {m: part["neuron"].to_numpy() for m, part in table[table["layer"] == layer].groupby("method")}
            for top, clusterer in product((MAIN_TOP[task],) if scale.reduced else TOPS[task], CLUSTERERS):
                most = len(rows) if clusterer == "kmeans" else 500 if scale.reduced else 2000
                parts: dict[str, list[dict[str, list[float]]]] = {}
                for method, order in orders.items():
                    family, _, copy = method.partition(" #")
                    if not copy or clusterer == "kmeans" or int(copy) < FEW_SETS:
                        one = curves(Z[:most, order[:top]], fine[rows][:most], clusterer, top == MAIN_TOP[task])
                        parts.setdefault(family, []).append(one)
                for family, several in parts.items():
                    for what in several[0]:
                        mean = np.mean([one[what] for one in several], axis=0)
                        key = f"{name} {label.replace(' ', '-')} {top} {clusterer} {what.replace(' ', '-')}"
                        results.setdefault(key, {})[family] = " ".join(f"{x:.3f}" for x in mean)
    return results


def run(scale: Scale) -> Found:
    wanted: dict[str, Callable[[], dict]] = {}
    for task, seed in pairs(scale):
        for kind in ("pkt", "normal"):
            others = OTHERS[: FEW_SETS - RANDOM_SETS] if scale.reduced else OTHERS
            for group, methods in (("others", others), ("NeuCEPT", OURS)):
                wanted[f"{task} {seed} {kind} {group}"] = partial(measure, task, seed, kind, methods, scale)
    return Results("clusters", scale).fill(wanted)


if __name__ == "__main__":
    main(__file__, run)
