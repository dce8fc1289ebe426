"""Figures 5 and 12: mechanisms of the predictions "goldfish" and "bee", seen and counted.

EfficientNet-Lite0 with its ImageNet weights on the 12,100 images of 22 ImageNet classes in Tiny ImageNet, 64 x 64
pixels, enlarged. Its predictions are read twice: the class with the largest of all 1,000 logits, and that with the
largest of the 22 logits of these classes, a network of 22 classes that is more often wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from common import Results, Scale, main
from discovery import quiet
from image_mechanisms import apart, by_random, reliability_of, rounded
from scipy.stats import mannwhitneyu
from sklearn.metrics import adjusted_mutual_info_score
from tiny_imagenet import CLASSES, LAYERS, recorded, visible

import neucept

READINGS = ("22", "1000")  # classes to choose from
K, LEVEL = 4, 0.6  # the paper's for Inception-v3
TYPICAL, HALVINGS = 8, 2
SPACES = ("contribution", "all")  # the default, and the control


def photographs_of(name: str, reading: str, which: str, scale: Scale) -> dict[str, Any]:
    """Measure the mechanisms of one class at some layers."""
    recording, layers = recorded(reading, scale), LAYERS[which]
    rows = recording.samples(name)
    critical = quiet(neucept.discover, recording, name, list(layers), precision=LEVEL, progress=False)
    mechanisms = quiet(neucept.learn, recording, critical, K, reduce="top", compactness=dict(layers))
    choice = neucept.choose_n_mechanisms(mechanisms, range(2, 7), progress=False)
    alone = neucept.sufficiency(recording, critical, progress=False)
    number = recording.class_number(name)
    wrong = pd.Series([recording.class_names[c] for c in recording.labels[rows] if c != number]).value_counts()
    right = {"right": (recording.labels[rows] == number).astype(float)}
    # Of images of the class alone: others look different, and one mechanism has more of them.
    seen = {key: np.where(right["right"] > 0, values[rows], np.nan) for key, values in visible(scale).items()}
    groups = mechanisms.cross_fitted
    means = [[rounded(np.nanmean(values[groups == m])) for m in range(K)] for values in seen.values()]
    return {
        "selected": {layer: [len(critical.at(precision=p)[layer].neurons) for p in (0.9, LEVEL)] for layer in layers},
        "neurons": {layer: len(critical[layer].groups) for layer in layers},
        **reliability_of(recording, mechanisms),
        "wrong": {str(key): int(count) for key, count in wrong.head(3).items()},
        "labelled": int((recording.labels == number).sum()),
        "suggested": choice.suggested,
        "p one": rounded(choice.p_one),
        "stability": {str(r.mechanisms): rounded(r.stability) for r in choice.table.itertuples()},
        "r2": {f"{r.layer} {r.neurons}": rounded(r.r2_nonlinear) for r in alone.itertuples()},
        "visible": {k: [rounded(v) for v in apart(values, groups)] for k, values in seen.items()},
        "visible means": dict(zip(seen, means, strict=True)),
        "right": [rounded(v) for v in apart(right["right"], groups)],
        "random": by_random(recording, mechanisms, seen | right),
        "telling": telling_neuron(recording, mechanisms),
        "typical": [rows[mechanisms.typical(m, TYPICAL)].tolist() for m in range(K)],
        "typical right": [right["right"][mechanisms.typical(m, TYPICAL)].astype(int).tolist() for m in range(K)],
    }


def telling_neuron(recording: neucept.Recording, mechanisms: neucept.Mechanisms) -> dict[str, Any]:
    """Find the neuron that tells two mechanisms apart best (Figure 12), and its place by mean activation.

    Mechanisms of inputs they were not found on. AUC: how often an input of the one lies above one of the other.
    """
    best: dict[str, Any] = {"auc": 0.0}
    groups = mechanisms.cross_fitted
    for column, feature in enumerate(mechanisms.features):
        values = mechanisms.values[:, column]
        for one in range(len(mechanisms)):
            for other in range(len(mechanisms)):
                a, b = values[groups == one], values[groups == other]
                if one == other or not len(a) or not len(b):
                    continue
                auc = float(mannwhitneyu(a, b).statistic / len(a) / len(b))
                if auc > best["auc"]:
                    means = recording.activations(feature.layer)[mechanisms.samples].mean(axis=0)
                    edges = np.histogram_bin_edges(values, 24)
                    best = {
                        "neuron": feature.name,
                        "high": one,
                        "low": other,
                        "auc": rounded(auc),
                        "place": int((means > means[feature.neurons[0]]).sum()) + 1,
                        "of": len(means),
                        "edges": [rounded(e) for e in edges],
                        "counts": [np.histogram(v, edges)[0].tolist() for v in (a, b, values)],
                    }
    return best


def found_again(recording: neucept.Recording, name: str, layers: Mapping[str, int]) -> dict[str, list[float]]:
    """Halve the inputs, find neurons and mechanisms on each half, and compare them on all: AMI, shared neurons."""
    rows = recording.samples(name)
    result: dict[str, list[float]] = {"AMI": [], "shared neurons": []}
    for halves in halvings(rows):
        parts = []
        for half in halves:
            critical = quiet(neucept.discover, recording, name, list(layers), samples=half, progress=False)
            parts.append(quiet(neucept.learn, recording, critical, K, reduce="top", compactness=dict(layers)))
        one, other = (part.assign(recording, rows)[0] for part in parts)
        names = [{feature.name for feature in part.features} for part in parts]
        result["AMI"].append(rounded(adjusted_mutual_info_score(one, other)))
        result["shared neurons"].append(rounded(len(names[0] & names[1]) / len(names[0])))
    return result


def all_found_again(recording: neucept.Recording, name: str, layers: Mapping[str, int], space: str) -> dict[str, Any]:
    """Find mechanisms in a weighted space, which takes no critical neurons, on each half, and compare them on all.

    With K mechanisms, and with the number that the first half suggests.
    """
    rows = recording.samples(name)
    every = {layer: range(recording.activations(layer).shape[1]) for layer in layers}
    result: dict[str, Any] = {"AMI": [], "AMI auto": [], "K auto": []}
    for halves in halvings(rows):
        for number in (K, "auto"):
            parts: list[neucept.Mechanisms] = []
            for half in halves:
                count = len(parts[0]) if parts else number
                options = {"reduce": space, "samples": half, "target": name}
                parts.append(neucept.learn(recording, every, count, **options))
            one, other = (part.assign(recording, rows)[0] for part in parts)
            ami = rounded(adjusted_mutual_info_score(one, other))
            result["AMI" if number == K else "AMI auto"].append(ami)
        result["K auto"].append(len(parts[0]))
    return result


def halvings(rows: np.ndarray) -> list[list[np.ndarray]]:
    orders = [np.random.default_rng(100 + seed).permutation(rows) for seed in range(HALVINGS)]
    return [[np.sort(half) for half in np.array_split(order, 2)] for order in orders]


def run(scale: Scale) -> dict:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    names, readings = (CLASSES[:1], READINGS[:1]) if scale.reduced else (CLASSES, READINGS)
    cells: dict[str, Any] = {
        f"{name} {reading} {which}": lambda a=(name, reading, which, scale): photographs_of(*a)
        for reading in readings
        for name in names
        for which in LAYERS
    }
    if not scale.reduced:
        cells |= {
            f"again {name} {which}": lambda n=name, w=which: found_again(recorded("22", scale), n, LAYERS[w])
            for name in names
            for which in LAYERS
        }
        cells |= {
            f"again {name} {which} {space}": lambda n=name, w=which, s=space: all_found_again(
                recorded("22", scale), n, LAYERS[w], s
            )
            for name in names
            for which in LAYERS
            for space in SPACES
        }
    return Results("photographs", scale).fill(cells)


if __name__ == "__main__":
    main(__file__, run)
