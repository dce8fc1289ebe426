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

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import matplotlib as mpl
import numpy as np
from common import Results, Scale, Verdict, interval, main, shown
from networks import TASKS, pairs, recorded, tensors, trained
from scipy.cluster.hierarchy import cut_tree, ward
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.mixture import GaussianMixture

from neucept.evaluation.metrics import cluster_entropy
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

mpl.use("Agg")
import matplotlib.pyplot as plt

TITLE = "Clusters by critical neurons (Figures 7 and 9)"
CLAIM = (
    "Clusters of activations of NeuCEPT's neurons have a low entropy of the fine classes (CE) in PKT networks, lowest"
    " at K = 5 on MNIST, and NeuCEPT's CE is consistently higher in normal networks, while the difference of other"
    " methods fluctuates around 0 at some layers."
)
KS = range(1, 13)
SHOWN_K = 5
TOPS = {"lenet": (5, 10, 20), "lenet-five": (10,), "vgg11": (30, 100)}
MAIN_TOP = {"lenet": 10, "lenet-five": 10, "vgg11": 30}
PANELS = (("lenet", "even"), ("vgg11", "object"))  # the paper's
NAMES = {
    "lenet": "LeNet",
    "lenet-five": "LeNet, multiples of five (a task of the published code alone)",
    "vgg11": "VGG11 (one of the pairs is that of ../shared/models)",
}
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
OURS = [NeuCEPT()]
METHODS = list(dict.fromkeys(m.name.partition(" #")[0] for m in (*OURS, *OTHERS)))
Found = dict[str, dict]


def kmeans(V: np.ndarray, W: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give the clusters of V, and of W by the same centres, for each K."""
    for K in KS:
        found = KMeans(K, n_init=2, random_state=0).fit(V)
        yield found.labels_, found.predict(W)


def gmm(V: np.ndarray, W: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give the likeliest components of V, and of W, for each K."""
    kind = "full" if V.shape[1] <= 30 else "diag"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for K in KS:
            found = GaussianMixture(K, covariance_type=kind, max_iter=50, tol=1e-2, reg_covar=1e-3, random_state=0)
            yield found.fit_predict(V), found.predict(W)


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
    found = {"ce": [cluster_entropy(fine, labels) for labels in clusters]}
    if more:
        half = len(Z) // 2  # the inputs are in random order
        apart = find(standard(Z[:half], Z[:half]), standard(Z[half:], Z[:half]))
        found["held out"] = [cluster_entropy(fine[half:], labels) for _, labels in apart]
        found["ami"] = [adjusted_mutual_info_score(fine, labels) for labels in clusters]
    return found


def measure(task: str, seed: int, kind: str, methods: Sequence[Method], scale: Scale) -> dict[str, dict[str, str]]:
    """Measure one network: {"layer class top clusterer measure": {method: a number for each K}}."""
    X, fine = tensors(task, "test", scale.shared, scale.inputs)
    recording = recorded(task, seed, kind, scale)
    model = trained(task, seed, scale)[kind]
    found: dict[str, dict[str, str]] = {}
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
                        found.setdefault(key, {})[family] = " ".join(f"{x:.3f}" for x in mean)
    return found


def run(scale: Scale) -> Found:
    wanted: dict[str, Callable[[], dict]] = {}
    for task, seed in pairs(scale):
        for kind in ("pkt", "normal"):
            others = OTHERS[: FEW_SETS - RANDOM_SETS] if scale.reduced else OTHERS
            for group, methods in (("others", others), ("NeuCEPT", OURS)):
                wanted[f"{task} {seed} {kind} {group}"] = partial(measure, task, seed, kind, methods, scale)
    return Results("clusters", scale).fill(wanted)


def values(found: Found, task: str, kind: str, what: str, method: str) -> np.ndarray:
    """Give a measure for each seed and K, (seeds, 12); ``what`` is the key in a cell."""
    group = "NeuCEPT" if method == OURS[0].name else "others"
    cells = [
        cell for key, cell in sorted(found.items()) if key.startswith(f"{task} ") and key.endswith(f"{kind} {group}")
    ]
    return np.array([[float(x) for x in cell[what][method].split()] for cell in cells])


def difference(found: Found, task: str, what: str, method: str) -> np.ndarray:
    """Give normal minus PKT, seed by seed, (seeds, 12)."""
    return values(found, task, "normal", what, method) - values(found, task, "pkt", what, method)


def tasks_in(found: Found) -> list[str]:
    return [task for task in TASKS if any(key.startswith(f"{task} ") for key in found)]


COLOURS = dict(
    zip(
        METHODS,
        ("#d55e00", "#e69f00", "#0072b2", "#56b4e9", "#332288", "#117733", "#999933", "#cc79a7", "#888888"),
        strict=True,
    )
)


def draw(found: Found, path: Path) -> None:
    panels = [(t, layer, label) for t, label in PANELS if t in tasks_in(found) for layer, _ in TASKS[t].layers]
    figure, axes = plt.subplots(2, len(panels), figsize=(11, 6.2), sharex=True, squeeze=False)
    for column, (task, layer, label) in enumerate(panels):
        what = f"{layer} {label} {MAIN_TOP[task]} kmeans ce"
        curves_of(axes[0, column], {m: values(found, task, "pkt", what, m) for m in METHODS})
        curves_of(axes[1, column], {m: difference(found, task, what, m) for m in METHODS})
        network = "LeNet" if task == "lenet" else "VGG11"
        axes[0, column].set_title(f"{network} {layer}, {label}, top {MAIN_TOP[task]}", fontsize=10)
        axes[1, column].axhline(0, color="black", lw=0.8)
        axes[1, column].set(xlabel="number of clusters K", xticks=[1, 3, 5, 7, 9, 11])
    axes[0, 0].set_ylabel("CE of the PKT network (bits)")
    axes[1, 0].set_ylabel("CE, normal minus PKT (bits)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="lower center", ncols=5, fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0.09, 1, 1))
    figure.savefig(path, dpi=80)
    plt.close(figure)


def curves_of(axis: plt.Axes, series: dict[str, np.ndarray]) -> None:
    """Draw the mean over seeds of each method, and its interval."""
    means = np.array([one.mean(axis=0) for one in series.values()])
    axis.set_ylim(min(0.0, means.min()) - 0.15, means.max() + 0.25)
    for method, mean in zip(series, means, strict=True):
        style = "--" if method in ("random", "variance", "activation") else "-"
        ours = method.startswith("NeuCEPT")
        axis.plot(
            KS, mean, style, color=COLOURS[method], lw=2.4 if ours else 1.3, zorder=3 if ours else 2, label=method
        )
        if len(series[method]) > 2:  # an interval of two seeds would cover everything
            half = np.array([interval(one)[1] for one in series[method].T])
            axis.fill_between(KS, mean - half, mean + half, color=COLOURS[method], alpha=0.1, lw=0)


def places(task: str) -> list[tuple[str, str]]:
    return [(layer, label.replace(" ", "-")) for layer, _ in TASKS[task].layers for label in TASKS[task].classes]


def at_k(series: np.ndarray) -> np.ndarray:
    """One number a seed, at K = 5."""
    return series[:, SHOWN_K - 1]


def table(heads: Sequence[str], cell: Callable[[str, str], str]) -> list[str]:
    """Write a table of a row a method and a column a case."""
    rows = [[method, *(cell(method, head) for head in heads)] for method in METHODS]
    return ["| " + " | ".join(row) + " |" for row in (["neurons by", *heads], ["---"] * (len(heads) + 1), *rows)]


def main_table(found: Found, task: str) -> list[str]:
    """CE of both networks and their difference, K-means."""
    top, heads = MAIN_TOP[task], [f"{layer} {label}" for layer, label in places(task)]

    def entropies(method: str, head: str) -> str:
        what = f"{head} {top} kmeans ce"
        pkt, normal = (at_k(values(found, task, kind, what, method)).mean() for kind in ("pkt", "normal"))
        return f"{pkt:.2f} / {normal:.2f}, {shown(at_k(difference(found, task, what, method)))}"

    return table(heads, entropies)


def held_out_table(found: Found, task: str) -> list[str]:
    """CE held out of both networks, and AMI of both."""
    heads = [f"{layer} {label}" for layer, label in places(task)]

    def others(method: str, head: str) -> str:
        what = [f"{head} {MAIN_TOP[task]} kmeans {measure}" for measure in ("held-out", "ami")]
        means = [
            " / ".join(f"{at_k(values(found, task, kind, one, method)).mean():.2f}" for kind in ("pkt", "normal"))
            for one in what
        ]
        return "; ".join(means)

    return table(heads, others)


def all_clusterers_table(found: Found, task: str) -> list[str]:
    """CE of PKT networks and the difference for every clusterer and number of neurons, mean over layers and classes."""
    known = {key for name, cell in found.items() if name.startswith(f"{task} ") for key in cell}
    case = " ".join(places(task)[0])
    settings = [(c, top) for c in CLUSTERERS for top in TOPS[task] if f"{case} {top} {c} ce" in known]
    heads = [f"{clusterer}, top {top}" for clusterer, top in settings]

    def cell(method: str, head: str) -> str:
        clusterer, top = settings[heads.index(head)]
        keys = [f"{layer} {label} {top} {clusterer} ce" for layer, label in places(task)]
        pkt = np.mean([at_k(values(found, task, "pkt", key, method)).mean() for key in keys])
        return f"{pkt:.2f}, {np.mean([at_k(difference(found, task, key, method)).mean() for key in keys]):+.2f}"

    return table(heads, cell)


def entropies_at_k(found: Found, task: str) -> tuple[dict[str, list[float]], dict[str, np.ndarray]]:
    """Give CE of PKT networks, a number a case, and differences, (cases, seeds), by method."""
    keys = [f"{layer} {label} {MAIN_TOP[task]} kmeans ce" for layer, label in places(task)]
    pkt = {m: [float(at_k(values(found, task, "pkt", key, m)).mean()) for key in keys] for m in METHODS}
    return pkt, {m: np.array([at_k(difference(found, task, key, m)) for key in keys]) for m in METHODS}


def against_variance(found: Found, task: str) -> np.ndarray:
    """Differences of ours at the first layer, both classes together, minus those of the largest variance, by seed."""
    _, differences = entropies_at_k(found, task)
    return (differences[METHODS[0]][:2] - differences["variance"][:2]).sum(axis=0)


def counts(found: Found, task: str, method: str) -> dict[str, int]:
    """Count the cases in which a method's difference is above 0, surely above 0, and its CE the lowest of all."""
    pkt, differences = entropies_at_k(found, task)
    mine = differences[method]
    return {
        "cases": len(mine),
        "above": int((mine.mean(axis=1) > 0).sum()),
        "surely": sum(interval(one)[0] > interval(one)[1] for one in mine),
        "lowest": sum(pkt[method][i] <= min(pkt[m][i] for m in METHODS) for i in range(len(mine))),
    }


def n_pairs(found: Found, task: str) -> int:
    return entropies_at_k(found, task)[1][METHODS[0]].shape[1]


def verdicts(found: Found) -> list[Verdict]:
    lines = []
    for task in tasks_in(found):
        ours, n = counts(found, task, METHODS[0]), n_pairs(found, task)
        layer, other = places(task)[0][0], [m for m in METHODS if not m.startswith("NeuCEPT")]
        always = [m for m in other if counts(found, task, m)["above"] == ours["cases"]]
        lines.append(
            Verdict(
                f"Figures 7 and 9, {NAMES[task]}",
                "CE lowest by NeuCEPT's neurons, and consistently higher in normal networks; others fluctuate",
                f"{n} pairs: CE lowest in {ours['lowest']} of {ours['cases']} cases; higher in normal networks in"
                f" {ours['above']} ({ours['surely']} beyond the interval), as it is for {len(always)} of"
                f" {len(other)} others; {layer} minus variance {shown(against_variance(found, task))} bits",
                "partly" if ours["above"] == ours["cases"] else "no",
            )
        )
    return lines


def in_words(found: Found, task: str) -> list[str]:
    """Say in numbers whether the claims hold."""
    n, pkt = n_pairs(found, task), entropies_at_k(found, task)[0]
    lines = [""]
    for method in METHODS[:2]:
        mine = counts(found, task, method)
        lines.append(
            f"- **{method}**: the difference is above 0 in {mine['above']} of {mine['cases']} cases ({mine['surely']}"
            f" beyond the interval); its CE in PKT networks is the lowest of all {len(METHODS)} methods in"
            f" {mine['lowest']}."
        )
    gap = against_variance(found, task)
    layer = places(task)[0][0]
    mean, half = interval(gap)
    beyond = n > 2 and mean > half
    lines.append(
        f"- At {layer}, both classes together, our difference minus that of the neurons of largest variance is"
        f" {shown(gap)} bits: {'above' if mean > 0 else 'not above'} it on average,"
        f" {'and' if beyond else 'not'} beyond chance with {n} pairs."
    )
    always = [m for m in METHODS[2:] if counts(found, task, m)["above"] == len(places(task))]
    lines.append(
        f"- Other methods whose difference is above 0 in every case: {', '.join(always) or 'none'}."
        + (
            " Random neurons too: there the difference is one of the networks, not of the neurons."
            * ("random" in always)
        )
    )
    keys = [f"{layer} {label} {MAIN_TOP[task]} kmeans ce" for layer, label in places(task)]
    means = [values(found, task, "pkt", key, METHODS[0]).mean(axis=0) for key in keys]
    lowest_at = [int(KS[int(curve.argmin())]) for curve in means]
    bend_at = [int(KS[int(np.diff(curve, 2).argmax()) + 1]) for curve in means]
    heads = [" ".join(place) for place in places(task)]
    at = ", ".join(f"{k} ({head})" for k, head in zip(lowest_at, heads, strict=True))
    bends = ", ".join(f"{k} ({head})" for k, head in zip(bend_at, heads, strict=True))
    lines.append(
        f"- Lowest CE at K = 5: {'holds' if set(lowest_at) == {5} else 'does not hold'}. As CE falls with K by itself,"
        f" it is lowest at K = {at}; the curve bends most at K = {bends}."
    )
    alike = [m for m in METHODS[2:] if sum(np.allclose(pkt[m], other) for other in pkt.values()) > 1]
    if alike:
        lines.append(
            f"- {', '.join(alike)} name the same first neurons in every case: so little of the network follows the"
            " layer that they compute the same."
        )
    return lines


def finding(found: Found) -> str:
    parts: list[str] = []
    for task in tasks_in(found):
        heading = f"**{NAMES[task]}**, {n_pairs(found, task)} pairs"
        parts += ["", heading, *in_words(found, task), ""]
        parts += [f"CE (bits) of PKT / normal, their difference: K-means, K = {SHOWN_K}, top {MAIN_TOP[task]}", ""]
        parts += main_table(found, task)
        parts += ["", "<details><summary>Held out, AMI, other clusterers and numbers of neurons</summary>", ""]
        parts += ["Clusters found on one half of the inputs, CE on the other (the ranking saw both), PKT / normal; AMI"]
        parts += ["with the fine classes, PKT / normal", "", *held_out_table(found, task), ""]
        parts += ["CE of PKT networks and the difference, mean over layers and classes", ""]
        parts += [*all_clusterers_table(found, task), "", "</details>"]
    return "\n".join(parts)


if __name__ == "__main__":
    main(sys.modules[__name__])
