"""Appendix G: are mechanisms on globally important neurons redundant for one prediction.

The global objective (10) looks for the neurons that tell most about all later layers, on all inputs; ours (2) for those
that tell most about one class's logit, on the inputs predicted as it. So the objective and the inputs differ at once,
and what is measured is the effect of both. Of each the ten first-ranked neurons of a layer are taken, and five
mechanisms learnt on the inputs predicted as the class. A neuron is used by the prediction if the prediction changes
when the neuron is replaced by what another input has there (resampled). A mechanism is called redundant if its label is
not shown, at 5%, to say something of what the other ten neurons leave unexplained of the margin: the margin is
predicted from them (kernel ridge regression, five folds), and the residual's mean in the mechanism is compared with
that of as many inputs drawn at random (permutation test, Holm's correction). That is judged beside its converse: what
our mechanisms say beyond the globally important neurons. CE does not measure redundancy: prior labels that the
prediction does not use lower it too.
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
from common import Results, Scale, Verdict, interval, main, shown
from networks import TASKS, pairs, recorded, tensors, trained
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import RidgeCV
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import neucept
from neucept.comparison import compare
from neucept.recording import agreement

mpl.use("Agg")
import matplotlib.pyplot as plt

TITLE = "The global objective and ours: which mechanisms the prediction does not use (Appendix G)"
CLAIM = (
    "Neurons that tell most about the whole network hold information that is too much for one prediction, so that"
    " mechanisms on them are prone to redundancy; the critical neurons of the class are not."
)
# With two classes the later layers are about little but the one decision; with ten, a class is a small part of them.
CLASSES = {"pkt": (0, 1), "normal": (0, 1), "prior": (3, 8)}
KINDS = {"lenet": ("pkt", "normal", "prior"), "vgg11": ("pkt", "normal")}
WAYS = ("ours", "global")
TOP = 10
PERMUTATIONS = 2000
JUDGED = 3000  # inputs for the regressions
PREDICTED = 500  # inputs for the network


@cache
def ours(task: str, seed: int, kind: str, label: int, scale: Scale) -> neucept.CriticalNeurons:
    return _discovered(task, seed, kind, label, scale)


@cache
def globally(task: str, seed: int, kind: str, scale: Scale) -> neucept.CriticalNeurons:
    """Discover for all later neurons and logits on all inputs; calibrated, so that the draws do not matter."""
    return _discovered(task, seed, kind, 0, scale, objective="global", samples="all", draws=1)


def _discovered(task: str, seed: int, kind: str, label: int, scale: Scale, **options: Any) -> neucept.CriticalNeurons:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", neucept.NothingSelectedWarning)
        return neucept.discover(recorded(task, seed, kind, scale), label, progress=False, **options)


def unexplained(Z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Give what neurons leave of a response on inputs not fitted on, in its deviations, (n,)."""
    kernel = Nystroem(gamma=0.5 / Z.shape[1], n_components=min(300, len(Z) // 2), random_state=0)
    regression = make_pipeline(StandardScaler(), kernel, RidgeCV(np.logspace(-4, 4, 9)))
    predicted = cross_val_predict(regression, Z, y, cv=KFold(5, shuffle=True, random_state=0))
    return np.asarray((y - predicted) / y.std())


def said_beyond(residual: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Share of the response's variance that mechanisms say beyond some neurons, and a corrected p-value of each."""
    K = int(labels.max()) + 1
    members = (labels[None, :] == np.arange(K)[:, None]).astype(float)
    sizes = members.sum(axis=1)
    centred = residual - residual.mean()
    means = members @ centred / sizes
    rng = np.random.default_rng(0)
    drawn = np.stack([members @ rng.permutation(centred) / sizes for _ in range(PERMUTATIONS)])
    p = (1 + (np.abs(drawn) >= np.abs(means)).sum(axis=0)) / (1 + PERMUTATIONS)
    order = np.argsort(p)
    corrected = np.empty(K)
    corrected[order] = np.maximum.accumulate(np.minimum(p[order] * (K - np.arange(K)), 1))
    by_chance = float((sizes * drawn**2).sum(axis=1).mean()) / len(residual)
    return float((sizes * means**2).sum() / len(residual)) - by_chance, corrected


def measure(task: str, seed: int, kind: str, paper: str, label: int, scale: Scale) -> dict[str, Any]:
    layer = dict(TASKS[task].layers)[paper]
    recording = recorded(task, seed, kind, scale)
    X, fine = tensors(task, "test", scale.shared, scale.inputs)
    network = trained(task, seed, scale)[kind]
    discovered = {"ours": ours(task, seed, kind, label, scale), "global": globally(task, seed, kind, scale)}
    selections = {way: critical[layer] for way, critical in discovered.items()}
    top = {way: selection.ranking[:TOP] for way, selection in selections.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*beyond the selection")
        found = {
            way: neucept.learn(recording, {layer: selection}, 5, compactness=TOP, target=label, samples="predicted")
            for way, selection in selections.items()
        }
    rng = np.random.default_rng(0)
    rows = found["ours"].samples
    judged = np.sort(rng.choice(len(rows), min(JUDGED, len(rows)), replace=False))
    y = recording.response(label, "margin")[rows[judged]]
    Z = np.asarray(recording.activations(layer)[rows[judged]], np.float64)
    everything = np.flatnonzero(selections["ours"].groups >= 0)
    only = {"ours": np.setdiff1d(top["ours"], top["global"]), "global": np.setdiff1d(top["global"], top["ours"])}
    others = np.setdiff1d(everything, np.concatenate(list(top.values())))
    only["random"] = rng.choice(others, min(len(only["ours"]), len(others)), replace=False)
    kept = {f"without {name} only": np.setdiff1d(everything, neurons) for name, neurons in only.items()}
    kept |= {f"{way} alone": neurons for way, neurons in top.items()}
    predicted = np.sort(rng.choice(rows, min(PREDICTED // 2 if scale.reduced else PREDICTED, len(rows)), replace=False))
    stays = agreement(network, X, recording, layer, kept, predicted)
    compared = compare(found["ours"], found["global"], names=WAYS)
    result: dict[str, Any] = {
        "shared neurons": len(np.intersect1d(*top.values())),
        "selected": {way: len(selection.neurons) for way, selection in selections.items()},
        "agreement": {name: round(resampled, 4) for name, (_, resampled) in stays.items()},
        "mechanisms, AMI": round(compared.agreement[0], 4),
        "mechanisms unmatched": 5 - len(compared.matches),
    }
    residuals = {way: unexplained(Z[:, neurons], y) for way, neurons in top.items()}
    for way, other in (WAYS, WAYS[::-1]):
        labels = found[way].labels
        beyond, p = said_beyond(residuals[other], labels[judged])
        digits = fine[rows]
        result[way] = {
            "ce": None if kind == "prior" else round(neucept.metrics.cluster_entropy(digits, labels), 4),
            "ami": None if kind == "prior" else round(float(adjusted_mutual_info_score(digits, labels)), 4),
            "r2": round(float(1 - np.mean(residuals[way] ** 2)), 4),
            "of the margin": round(said_beyond((y - y.mean()) / y.std(), labels[judged])[0], 4),
            "beyond the other's neurons": round(beyond, 5),
            "redundant": int((p >= 0.05).sum()),
        }
    return result


def run(scale: Scale) -> dict[str, Any]:
    cells = {
        f"{task} {seed} {kind} {paper} {label}": lambda t=task, s=seed, k=kind, p=paper, c=label: measure(
            t, s, k, p, c, scale
        )
        for task, seed in pairs(scale, *(("lenet",) if scale.reduced else KINDS))
        for kind in KINDS[task]
        for label in CLASSES[kind]
        for paper, _ in TASKS[task].layers
    }
    return Results("non_redundancy", scale).fill(cells)


def column(found: dict[str, Any], where: tuple[str, str, str], *path: str) -> list[float]:
    """One value a seed, the mean over the classes, at a task, layer and kind of network."""
    values: dict[str, list[float]] = {}
    for key, cell in found.items():
        task, seed, kind, paper, _ = key.split()
        if (task, paper, kind) == where:
            for part in path:
                cell = cell[part]
            if cell is not None:  # a class of a prior network has no finer labels
                values.setdefault(seed, []).append(cell)
    return [float(np.mean(mine)) for mine in values.values()]


def places(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    keys = [key.split() for key in found]
    return list(dict.fromkeys((key[0], key[3], key[2]) for key in keys))


def draw(found: dict[str, Any], path: Path) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(9.2, 3.9), layout="constrained")
    where = places(found)
    at = np.arange(len(where))
    colours = {"ours": "#0072B2", "global": "#E69F00", "random": "#999999"}
    panels = (
        ("predictions that change", lambda way: ("agreement", f"without {way} only"), ("ours", "global", "random")),
        ("said beyond the other's ten neurons", lambda way: (way, "beyond the other's neurons"), WAYS),
        ("CE of the mechanisms (bits)", lambda way: (way, "ce"), WAYS),
    )
    for axis, (words, path_of, ways) in zip(axes, panels, strict=True):
        for number, way in enumerate(ways):
            values = [column(found, place, *path_of(way)) for place in where]
            if words == "predictions that change":
                values = [[1 - v for v in part] for part in values]
            width = 0.8 / len(ways)
            place_of_bar = at + (number - (len(ways) - 1) / 2) * width
            axis.barh(place_of_bar, [np.mean(v) if v else 0.0 for v in values], width, color=colours[way], label=way)
            for y, part in zip(place_of_bar, values, strict=True):
                axis.plot(part, [y] * len(part), ".", color="black", ms=3)
        axis.set_yticks(at, [named(place) for place in where] if axis is axes[0] else [""] * len(at), fontsize=8)
        axis.invert_yaxis()
        axis.set_xlabel(words, fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_title("resampled: neurons of one set only", fontsize=9)
    axes[1].set_title("share of the margin's variance", fontsize=9)
    axes[0].legend(fontsize=7, loc="lower right")
    figure.savefig(path, dpi=105)
    plt.close(figure)


def named(place: tuple[str, str, str]) -> str:
    task, paper, kind = place
    return f"{TASKS[task].architecture.__name__} {'PKT' if kind == 'pkt' else kind}, {paper}"


# Each with the sign of ours minus global that the paper's claim implies; shares in percent.
MEASURES: dict[str, tuple[Callable[[dict[str, Any], str], float], int]] = {
    "mechanisms not shown (at 5%) to say anything beyond the other's ten neurons, of 5": (
        lambda cell, way: cell[way]["redundant"],
        -1,
    ),
    "share of the margin's variance that mechanisms say beyond the other's ten neurons (%)": (
        lambda cell, way: 100 * cell[way]["beyond the other's neurons"],
        1,
    ),
    "predictions that change when the neurons of one set only are resampled (%)": (
        lambda cell, way: 100 * (1 - cell["agreement"][f"without {way} only"]),
        1,
    ),
}
COUNTS = ("none", "one", "two", "all")
CASES = {"Two classes": ("pkt", "normal"), "Ten classes": ("prior",)}


def by_network(found: dict[str, Any], case: str, of: Callable[[dict[str, Any], str], float], way: str) -> list[float]:
    """One value a network, the mean of its layers and classes."""
    values: dict[str, list[float]] = {}
    for key, cell in found.items():
        if key.split()[2] in CASES[case]:
            values.setdefault(" ".join(key.split()[:3]), []).append(of(cell, way))
    return [float(np.mean(mine)) for mine in values.values()]


def apart(found: dict[str, Any], case: str, measure: str) -> list[float]:
    """Ours minus global, a value a network."""
    of = MEASURES[measure][0]
    ours_, others = (by_network(found, case, of, way) for way in WAYS)
    return np.subtract(ours_, others).tolist()


def sides(found: dict[str, Any], case: str) -> dict[str, tuple[int, bool]]:
    """Whether each measure points the paper's way (1) or the other (-1) on average, and whether that is shown."""
    found_sides = {}
    for measure, (_, sign) in MEASURES.items():
        values = apart(found, case, measure)
        mean, half = interval(values)
        found_sides[measure] = (int(np.sign(mean)) * sign, len(values) > 2 and abs(mean) > half)
    return found_sides


def holds(found: dict[str, Any], case: str) -> str:
    """Yes or no where the shown measures agree; where none is shown, no if most point the other way."""
    found_sides = sides(found, case).values()
    for_it = [side for side, clear in found_sides if clear]
    if for_it:
        return "yes" if min(for_it) > 0 else "no" if max(for_it) < 0 else "partly"
    return "no" if sum(side for side, _ in found_sides) < 0 else "partly"


def signed(values: list[float], digits: int = 2) -> str:
    text = shown(values, digits)
    return text if text.startswith("-") else f"+{text}"


def cases(found: dict[str, Any]) -> list[str]:
    return [case for case in CASES if by_network(found, case, next(iter(MEASURES.values()))[0], "ours")]


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    rows = []
    for case in cases(found):
        redundant, beyond, changed = (apart(found, case, measure) for measure in MEASURES)
        rows.append(
            Verdict(
                f"Appendix G, {case.lower()}",
                "mechanisms on globally important neurons are prone to redundancy, ours are not",
                f"ours minus global: {signed(redundant, 1)} of 5 mechanisms not shown to add anything,"
                f" {signed(beyond, 1)}% of the margin's variance added, {signed(changed, 1)}% of predictions changed"
                f" ({len(changed)} network{'s' * (len(changed) > 1)})",
                holds(found, case),
            )
        )
    return rows


def finding(found: dict[str, Any]) -> str:
    here = cases(found)
    lines = [
        " ".join(judged(found, case) for case in here),
        "",
        "Ours is discovered on the inputs predicted as the class and the global objective on all inputs: the objective"
        " and the inputs differ at once. Mean over networks, layers and classes; the difference is paired:\n",
        "| | " + " | ".join(f"{case}: ours | global | ours minus global" for case in here) + " |",
        "| --- |" + " --- | --- | --- |" * len(here),
    ]
    for measure, (of, _) in MEASURES.items():
        cells = []
        for case in here:
            cells += [f"{np.mean(by_network(found, case, of, way)):.2f}" for way in WAYS]
            cells.append(signed(apart(found, case, measure)))
        lines.append(f"| {measure} | {' | '.join(cells)} |")
    cells = []
    for case in here:
        others = by_network(found, case, lambda cell, _: 100 * (1 - cell["agreement"]["without random only"]), "")
        cells.append(f"{np.mean(others):.2f} | | ")
    lines.append(
        "| the same with as many neurons, drawn at random, that neither ranks among its ten (%) | "
        f"{' | '.join(cells)} |"
    )
    return "\n".join([*lines, "", *further(found)])


def judged(found: dict[str, Any], case: str) -> str:
    """Say which way the measures point."""
    count = len(apart(found, case, next(iter(MEASURES))))
    head = {
        "yes": "the claim is borne out",
        "partly": "the claim is borne out in part",
        "no": "the claim is not borne out, our mechanisms are as redundant as the global ones or more",
    }[holds(found, case)]
    found_sides = list(sides(found, case).values())
    clear = sum(one for _, one in found_sides)
    other_way = sum(side < 0 for side, _ in found_sides)
    kept = (
        "too few networks for intervals" if count < 3 else f"{COUNTS[clear]} of the three is shown to differ from zero"
    )
    return (
        f"{case} ({count} network{'s' * (count > 1)}): {head}; of three differences {COUNTS[other_way]}"
        f" point{'s' * (other_way < 2)} against it ({kept})."
    )


def further(found: dict[str, Any]) -> list[str]:
    where = places(found)
    lines = [
        "<details><summary>By network and layer; cluster entropy (CE)</summary>\n",
        "CE by itself says nothing about redundancy. Prior networks have no labels finer than their classes.\n",
        "| | " + " | ".join(named(place) for place in where) + " |",
        "| --- " * (len(where) + 1) + "|",
    ]

    def row(words: str, *path: str, digits: int = 2) -> None:
        columns = [column(found, place, *path) for place in where]
        lines.append(f"| {words} | {' | '.join(shown(values, digits) if values else '–' for values in columns)} |")

    row("neurons in both sets of ten", "shared neurons", digits=1)
    row("AMI of the mechanisms of both", "mechanisms, AMI")
    row("mechanisms without a match, of 5", "mechanisms unmatched", digits=1)
    for name, words in (
        ("ours", "the neurons that only ours ranks among its ten"),
        ("global", "the neurons that only the global objective does"),
        ("random", "as many others, drawn at random,"),
    ):
        row(f"predictions that stay when {words} are resampled", "agreement", f"without {name} only", digits=3)
    for name in WAYS:
        row(f"predictions that stay with all but the ten of {name} resampled", "agreement", f"{name} alone")
    for way, other in (WAYS, WAYS[::-1]):
        row(f"{way}: margin predicted by the ten neurons (held-out R²)", way, "r2")
        row(f"{way}: share of the margin that the mechanisms say", way, "of the margin")
        row(f"{way}: share they say beyond the ten of {other}", way, "beyond the other's neurons", digits=4)
        row(f"{way}: mechanisms not shown to say anything beyond those, of 5", way, "redundant", digits=1)
        row(f"{way}: CE of the fine labels (bits)", way, "ce")
        row(f"{way}: AMI with the fine labels", way, "ami")
    return [*lines, "", "</details>"]


if __name__ == "__main__":
    main(sys.modules[__name__])
