"""Compare the spaces in which mechanisms are clustered: are they found again, and do they show the fine classes.

    python experiments/spaces.py [--groups given fresh vgg11] [--page]

LeNets, the inputs predicted "even", K = 5: critical neurons, weights, components and clusters are all found anew on
each random half of the inputs. *Again*: AMI of the two halves' mechanisms, both assigned to all inputs. *CE*: bits of
the digit that the mechanisms of one half leave on the other half. The networks of ../shared/models ("given") are those
that the spaces were worked out on; "fresh" pairs were trained for this alone (seeds that no other experiment uses), and
measured once. VGG11 with ten classes (given; test images): mechanisms of each class learnt on one half with the number
chosen there, their precision on that half and on the other. Writes docs/mechanism-space.md.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import product
from typing import Any

import numpy as np
import torch
from common import PROJECT, SHARED, Results, Scale, scale
from discovery import quiet
from networks import trained
from safetensors.torch import load_file
from scipy.stats import chi2_contingency
from sklearn.metrics import adjusted_mutual_info_score
from tasks import CONV3, CONV8, CONV9, LINEAR0, TASKS, tensors
from torch import nn
from torch.utils.data import TensorDataset

import neucept

GIVEN, FRESH = range(3), range(10, 13)
LAYERS = {"conv3": [CONV3], "linear0": [LINEAR0], "both": [CONV3, LINEAR0]}
METHODS = ("kmeans", "gmm")
WEIGHTED = ("contribution", "posterior", "metric", "all")
SPACES = ("top", "variance", *WEIGHTED)
DISCOVERED = ("top", "posterior")  # need critical neurons, discovered on one half: one way only, for want of time
K = 5


def given(name: str, classes: int, shared: Any) -> nn.Module:
    """Return a network that lies with the data."""
    network: nn.Module = TASKS[name.partition("-")[0]].architecture(n_classes=classes)
    network.load_state_dict(load_file(shared / "models" / f"{name}.safetensors"))
    return network.eval()


def halves(rows: np.ndarray) -> list[np.ndarray]:
    return np.array_split(np.random.default_rng(0).permutation(rows), 2)


def largest_variance(recording: neucept.Recording, rows: np.ndarray, layers: list[str]) -> dict[str, np.ndarray]:
    return {layer: np.argsort(-np.var(recording.activations(layer)[rows], axis=0))[:10] for layer in layers}


@lru_cache(1)
def discovered(group: str, seed: int, kind: str, scale: Scale) -> tuple[Any, ...]:
    """Return model, data, recording, and the halves of the even inputs with their critical neurons."""
    of_group = {
        "given": partial(given, f"lenet-{kind}-{seed}", 2, scale.shared),
        "fresh": lambda: trained("lenet", seed, scale)[kind],
    }
    model = of_group[group]()
    X, digits = tensors("lenet", "test", scale.shared, scale.inputs)
    data = TensorDataset(X, torch.as_tensor(TASKS["lenet"].coarse(digits)))
    recording = neucept.record(model, data, LAYERS["both"], progress=False)
    parts = halves(recording.samples(0))
    critical = [quiet(neucept.discover, recording, 0, samples=part, progress=False) for part in parts]
    return model, data, recording, parts, critical


def spaces(group: str, seed: int, kind: str, method: str, scale: Scale) -> dict[str, dict[str, list[float]]]:
    """Measure every space on one LeNet: {layer: {space: [again, CE]}}."""
    model, data, recording, parts, critical = discovered(group, seed, kind, scale)
    _, digits = tensors("lenet", "test", scale.shared, scale.inputs)
    rows = np.concatenate(parts)
    results: dict[str, dict[str, list[float]]] = {}
    for (name, layers), space in product(LAYERS.items(), SPACES):
        found = []
        for part, own in zip(parts, critical, strict=True):
            options: dict[str, Any] = {"method": method, "layers": layers, "samples": part, "target": 0}
            if space == "variance":
                mechanisms = neucept.learn(recording, largest_variance(recording, part, layers), K, **options)
            else:
                options |= {"model": model, "data": data} if space == "metric" else {}
                mechanisms = quiet(neucept.learn, recording, own, K, reduce=space, **options)
            found.append(mechanisms.assign(recording)[0])
        a, b = found
        entropies = [
            neucept.metrics.cluster_entropy(digits[part], labels[part])
            for part, labels in zip(parts, (b, a), strict=True)
        ]
        again = adjusted_mutual_info_score(a[rows], b[rows])
        results.setdefault(name, {})[space] = [round(again, 4), round(float(np.mean(entropies)), 4)]
    return results


def real_classes(space: str, method: str, scale: Scale) -> dict[str, Any]:
    """Learn the mechanisms of ten classes on one half each, K chosen there, and judge them on the other half."""
    X, labels = tensors("vgg11", "test", scale.shared, scale.inputs)
    model, data = given("vgg11-prior-0", 10, scale.shared), TensorDataset(X, torch.as_tensor(labels))
    recording = neucept.record(model, data, [CONV8, CONV9], progress=False)
    every = {layer: range(recording.activations(layer).shape[1]) for layer in recording.layers}
    results = {}
    for number in range(10):
        rows, right = recording.samples(number), recording.labels == number
        both_ways = (halves(rows), halves(rows)[::-1])
        for way, (own, other) in enumerate(both_ways[: 1 if space in DISCOVERED else 2]):
            critical: Mapping[str, Any] | neucept.CriticalNeurons = every
            if space in DISCOVERED:
                critical = quiet(neucept.discover, recording, number, samples=own, progress=False)
            network_too = {"model": model, "data": data} if space == "metric" else {}
            options: dict[str, Any] = {"samples": own, "target": number, **network_too}
            mechanisms = quiet(neucept.learn, recording, critical, "auto", method, space, **options)
            again = mechanisms.assign(recording)[0]
            found = mechanisms.n_clusters
            results[f"{number} {way}"] = {
                "K": len(mechanisms),
                "stability": round(float(found.table.set_index("mechanisms")["stability"][len(mechanisms)]), 3),
                "shares": [round(float(share), 3) for share in mechanisms.shares],
                "own": [round(float(right[own_of].mean()), 4) for own_of in members(mechanisms.samples, mechanisms)],
                "other": [round(float(right[one].mean()), 4) for one in members(other, again[other])],
                "class": round(float(right[other].mean()), 4),
                "p": p_value(right[other], again[other]),
                "verdicts": list(mechanisms.reliability["verdict"]),
            }
    return results


def members(rows: np.ndarray, mechanisms: Any) -> list[np.ndarray]:
    """Return the rows of each mechanism."""
    labels = getattr(mechanisms, "labels", mechanisms)
    return [rows[labels == k] for k in range(int(labels.max()) + 1)]


def p_value(right: np.ndarray, labels: np.ndarray) -> float:
    """Test whether mechanisms differ in precision (chi-squared)."""
    counts = np.array([[(right & (labels == k)).sum(), (~right & (labels == k)).sum()] for k in np.unique(labels)])
    if len(counts) < 2 or (counts.sum(axis=0) == 0).any():
        return 1.0
    return float(f"{chi2_contingency(counts)[1]:.3g}")


def run(scale: Scale, groups: Sequence[str] = ("given", "fresh", "vgg11")) -> dict[str, Any]:
    cells: dict[str, Callable[[], Any]] = {}
    for group, seeds in (("given", GIVEN), ("fresh", FRESH)):
        for seed, kind, method in product(seeds, ("pkt", "normal"), METHODS):
            cells[f"{group} {seed} {kind} {method}"] = partial(spaces, group, seed, kind, method, scale)
    for space, method in (("contribution", "gmm"), ("all", "gmm"), ("contribution", "kmeans"), ("top", "kmeans")):
        cells[f"vgg11 {space} {method}"] = partial(real_classes, space, method, scale)
    return Results("spaces", scale).fill({key: cell for key, cell in cells.items() if key.split()[0] in groups})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", nargs="*", default=["given", "fresh", "vgg11"], help="only these networks")
    parser.add_argument("--page", action="store_true", help="only write docs/mechanism-space.md from what is there")
    options = parser.parse_args()
    chosen = scale(reduced=False, shared=SHARED)
    results = Results("spaces", chosen).cells if options.page else run(chosen, options.groups)
    page = importlib.import_module("tell.spaces").tell(results)
    (PROJECT / "docs" / "mechanism-space.md").write_text(page + "\n")


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    main()
