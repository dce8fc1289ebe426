"""Appendix G: are mechanisms on globally important neurons redundant for one prediction.

The global objective (10) looks for the neurons that tell most about all later layers, on all inputs; ours (2) for those
that tell most about one class's logit, on the inputs predicted as it. So the objective and the inputs differ at once,
and what is measured is the effect of both. Of each the ten first-ranked neurons of a layer are taken, and five
mechanisms learnt on the inputs predicted as the class. A neuron is used by the prediction if the prediction changes
when the neuron is replaced by what another input has there (resampled). A mechanism is called redundant if its label is
not shown, at 5%, to explain something of what the other ten neurons leave unexplained of the margin: the margin is
predicted from them (kernel ridge regression, five folds), and the residual's mean in the mechanism is compared with
that of as many inputs drawn at random (permutation test, Holm's correction). That is judged beside its converse: what
our mechanisms explain beyond the globally important neurons. CE does not measure redundancy: prior labels that the
prediction does not use lower it too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from common import Results, Scale, main
from discovery import discovered, quiet
from networks import pairs, recorded, trained
from regression import unexplained
from sklearn.metrics import adjusted_mutual_info_score
from tasks import TASKS, tensors

import neucept
from neucept.comparison import compare
from neucept.recording import agreement

# With two classes the later layers are about little but the one decision; with ten, a class is a small part of them.
CLASSES = {"pkt": (0, 1), "normal": (0, 1), "prior": (3, 8)}
KINDS = {"lenet": ("pkt", "normal", "prior"), "vgg11": ("pkt", "normal")}
WAYS = ("ours", "global")
TOP = 10
PERMUTATIONS = 2000
JUDGED = 3000  # inputs for the regressions
PREDICTED = 500  # inputs for the network


# Discovers for all later neurons and logits on all inputs; calibrated, so that the draws do not matter.
GLOBALLY = {"objective": "global", "samples": "all", "draws": 1}


def explained_beyond(residual: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Share of the response's variance that mechanisms explain beyond some neurons, and a corrected p-value of each."""
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
    selections = {
        "ours": discovered(task, seed, kind, label, scale)[layer],
        "global": discovered(task, seed, kind, 0, scale, **GLOBALLY)[layer],
    }
    top = {way: selection.ranked("information")[:TOP] for way, selection in selections.items()}
    options = {"reduce": "top", "compactness": TOP, "target": label, "samples": "predicted"}
    learnt = {way: quiet(neucept.learn, recording, {layer: s}, 5, **options) for way, s in selections.items()}
    rng = np.random.default_rng(0)
    rows = learnt["ours"].samples
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
    compared = compare(learnt["ours"], learnt["global"], names=WAYS)
    result: dict[str, Any] = {
        "shared neurons": len(np.intersect1d(*top.values())),
        "selected": {way: len(selection.neurons) for way, selection in selections.items()},
        "agreement": {name: round(resampled, 4) for name, (_, resampled) in stays.items()},
        "mechanisms, AMI": round(compared.agreement[0], 4),
        "mechanisms unmatched": 5 - len(compared.matches),
    }
    residuals = {way: unexplained(Z[:, neurons], y) for way, neurons in top.items()}
    for way, other in (WAYS, WAYS[::-1]):
        labels = learnt[way].labels
        beyond, p = explained_beyond(residuals[other], labels[judged])
        digits = fine[rows]
        result[way] = {
            "ce": None if kind == "prior" else round(neucept.metrics.cluster_entropy(digits, labels), 4),
            "ami": None if kind == "prior" else round(float(adjusted_mutual_info_score(digits, labels)), 4),
            "r2": round(float(1 - np.mean(residuals[way] ** 2)), 4),
            "of the margin": round(explained_beyond((y - y.mean()) / y.std(), labels[judged])[0], 4),
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


if __name__ == "__main__":
    main(__file__, run)
