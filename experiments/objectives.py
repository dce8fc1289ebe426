"""Compare objectives and orders by what the first neurons show of a network's prior knowledge.

Pairwise is Algorithm 1, sequential equation (3); with calibration (the default) and by knockoffs alone. (Equation (10)
is in non_redundancy.py.) Each gives ten neurons of the third convolution in two orders: the ranking (each neuron adds
what it can to those before it) and by the mean statistic of single neurons, as published. CE (bits) of five mechanisms
(K-means) on the test digits predicted as the class; beside them the ten neurons of largest variance.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from common import Results, Scale, Verdict, interval, main, shown
from networks import CONV3, LINEAR0, TASKS, pairs, recorded, tensors
from sklearn.cluster import KMeans

import neucept
from neucept.evaluation.metrics import cluster_entropy

TITLE = "Objectives and orders"
CLAIM = (
    "Equation (3), at each layer the neurons that determine the critical neurons of the next, is the aim. Algorithm 1"
    " solves each layer against the output instead, because (3) is too costly, and returns a set of neurons for each"
    " layer. The paper compares the two by theory only (Corollary 1), and says nothing of an order of the neurons."
)
WAYS = [(objective, calibration) for objective in ("pairwise", "sequential") for calibration in ("auto", None)]


def measure(task: str, seed: int, kind: str, scale: Scale) -> dict[str, float]:
    """Give CE by class, objective, calibration and order."""
    _, fine = tensors(task, "test", scale.shared, scale.inputs)
    recording = recorded(task, seed, kind, scale)
    found = {}
    for label, name in enumerate(TASKS[task].classes):
        rows = recording.samples(label)
        Z = np.asarray(recording.activations(CONV3)[rows], np.float64)

        def entropy(neurons: np.ndarray, Z: np.ndarray = Z, rows: np.ndarray = rows) -> float:
            V = (Z[:, neurons] - Z[:, neurons].mean(axis=0)) / np.maximum(Z[:, neurons].std(axis=0), 1e-9)
            return round(cluster_entropy(fine[rows], KMeans(5, n_init=4, random_state=0).fit_predict(V)), 4)

        found[f"{name} variance"] = entropy(np.argsort(-Z.var(axis=0))[:10])
        for objective, calibration in WAYS:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", neucept.NothingSelectedWarning)
                critical = neucept.discover(
                    recording,
                    label,
                    layers=[CONV3, LINEAR0],
                    objective=objective,
                    calibration=calibration,
                    progress=False,
                )[CONV3]
            way = f"{objective}, {'calibrated' if calibration else 'knockoffs alone'}"
            found[f"{name} {way}, in order"] = entropy(critical.ranking[:10])
            found[f"{name} {way}, by statistic"] = entropy(np.argsort(-critical.mean_statistic)[:10])
            found[f"{name} {way}, selected"] = len(critical.neurons)
    return found


def run(scale: Scale) -> dict:
    wanted: dict[str, Callable[[], dict]] = {}
    for task, seed in pairs(scale, "lenet"):
        for kind in ("pkt", "normal"):
            wanted[f"{task} {seed} {kind}"] = partial(measure, task, seed, kind, scale)
    return Results("objectives", scale).fill(wanted)


def draw(found: dict, path: Path) -> None:
    """Nothing: a table says it."""


DEFAULT = "pairwise, calibrated, in order"


def differences(found: dict, way: str) -> dict[str, float]:
    """CE of the normal network minus that of the PKT network, both classes together, for each pair that has both."""
    classes = TASKS["lenet"].classes

    def total(seed: str, kind: str) -> float:
        return sum(found[f"lenet {seed} {kind}"][f"{label} {way}"] for label in classes)

    seeds = dict.fromkeys(key.split()[1] for key in found)
    whole = [seed for seed in seeds if all(f"lenet {seed} {kind}" in found for kind in ("pkt", "normal"))]
    return {seed: total(seed, "normal") - total(seed, "pkt") for seed in whole}


def minus(found: dict, way: str, other: str) -> list[float]:
    """How much larger the difference is by one way than by another, a value a pair."""
    one, two = differences(found, way), differences(found, other)
    return [one[seed] - two[seed] for seed in one]


def names(found: dict, ending: str = "") -> list[str]:
    """Ways of ranking in the cells."""
    first = TASKS["lenet"].classes[0]
    ways = [key.partition(" ")[2] for key in next(iter(found.values())) if key.startswith(f"{first} ")]
    return [way for way in ways if way.endswith(ending) and not way.endswith("selected")]


def signed(values: list[float]) -> str:
    text = shown(values)
    return text if text.startswith("-") else f"+{text}"


def counts(found: dict, way: str) -> list[int]:
    """Numbers of neurons selected, a value a network and class."""
    chosen = f"{way.rpartition(', ')[0]}, selected"
    return [cell[f"{label} {chosen}"] for cell in found.values() for label in TASKS["lenet"].classes]


def networks(found: dict) -> str:
    count = len(differences(found, "variance"))
    return f"{2 * count} LeNets, {count} pair{'s' * (count != 1)}"


def verdicts(found: dict) -> list[Verdict]:
    if not found or not differences(found, "variance"):
        return []
    best = max(names(found, "in order"), key=lambda way: np.mean(list(differences(found, way).values())))
    return [
        Verdict(
            "Equation (3), Algorithm 1",
            "solving against the output instead of (3) keeps the precision; their clusters are not compared",
            "CE difference at conv3 beyond that by variance (bits): the default"
            f" {signed(minus(found, DEFAULT, 'variance'))}, the best of four"
            f" ({best.removesuffix(', in order')}) {signed(minus(found, best, 'variance'))} ({networks(found)})",
            "not in the paper",
        )
    ]


def finding(found: dict) -> str:
    return "\n".join([judged(found), "", *table(found, [*names(found, "in order"), "variance"]), "", *further(found)])


def judged(found: dict) -> str:
    """Say where the default stands."""
    ordered = names(found, "in order")
    means = {way: np.mean(list(differences(found, way).values())) for way in ordered}
    place = sorted(ordered, key=lambda way: means[way]).index(DEFAULT)
    lower = "the least" if place == 0 else "the largest" if place == len(ordered) - 1 else "neither least nor largest"
    mean, half = interval(minus(found, DEFAULT, "variance"))
    clear = len(found) > 4 and mean > half
    rest = [minus(found, way, "variance") for way in ordered if way != DEFAULT]
    others = sum(interval(values)[0] > interval(values)[1] for values in rest)
    chosen = counts(found, DEFAULT)
    return (
        f"The default ({DEFAULT}) has {lower} difference of CE, normal minus PKT networks, of the four ways in order of"
        f" the ranking: {shown(list(differences(found, DEFAULT).values()))} bits. Beside the ten neurons of largest"
        f" variance it is {signed(minus(found, DEFAULT, 'variance'))}, {'' if clear else 'not '}shown to be above zero;"
        f" of the three others {others} {'is' if others == 1 else 'are'}. What the calibrated default selects varies"
        f" much between networks: {min(chosen)} to {max(chosen)} of 120 neurons, with a median of"
        f" {np.median(chosen):.0f} over networks and classes ({networks(found)})."
    )


def table(found: dict, ways: list[str]) -> list[str]:
    classes = TASKS["lenet"].classes

    def mean(kind: str, key: str) -> float:
        return float(np.mean([cell[key] for name, cell in found.items() if name.endswith(f" {kind}")]))

    lines = [
        "CE of five mechanisms on ten neurons of conv3 (bits); the difference, normal minus PKT, is of both classes"
        " together:\n",
        "| ten neurons by | even: PKT / normal | odd: PKT / normal | difference | minus the default's"
        " | minus variance's | selected |",
        "|---|---|---|---|---|---|---|",
    ]
    for way in ways:
        cells = [" / ".join(f"{mean(kind, f'{label} {way}'):.2f}" for kind in ("pkt", "normal")) for label in classes]
        cells.append(shown(list(differences(found, way).values())))
        cells += ["" if way == other else signed(minus(found, way, other)) for other in (DEFAULT, "variance")]
        chosen = [] if way == "variance" else counts(found, way)
        cells.append(f"{np.mean(chosen):.0f} ({min(chosen)} to {max(chosen)})" if chosen else "")
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return lines


def further(found: dict) -> list[str]:
    return [
        "<details><summary>Neurons in order of the mean statistic, as published</summary>\n",
        *table(found, names(found, "by statistic")),
        "",
        "</details>",
    ]


if __name__ == "__main__":
    main(sys.modules[__name__])
