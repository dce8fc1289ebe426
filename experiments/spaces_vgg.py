"""Spaces of mechanisms on VGG11s, and what `experiments/spaces.py` needs of both architectures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from common import PROJECT, Scale
from discovery import quiet
from safetensors.torch import load_file
from scipy.stats import chi2_contingency
from sklearn.metrics import adjusted_mutual_info_score
from tasks import CONV8, CONV9, TASKS, tensors
from torch import nn
from torch.utils.data import TensorDataset

import neucept

VGG_LAYERS = {"conv8": [CONV8], "conv9": [CONV9], "both": [CONV8, CONV9]}
FRESH_VGG = PROJECT / "runs" / "fresh-vgg"
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


def again_and_entropy(
    found: Sequence[np.ndarray], parts: Sequence[np.ndarray], rows: np.ndarray, fine: np.ndarray
) -> list[float]:
    """AMI of the mechanisms of two halves on all inputs, and CE of each half by the mechanisms of the other."""
    a, b = found
    entropies = [
        neucept.metrics.cluster_entropy(fine[part], labels[part]) for part, labels in zip(parts, (b, a), strict=True)
    ]
    return [round(adjusted_mutual_info_score(a[rows], b[rows]), 4), round(float(np.mean(entropies)), 4)]


def vgg_network(group: str, kind: str, scale: Scale) -> nn.Module:
    """Return a VGG11 that lies with the data, or one trained afresh."""
    classes = 10 if kind == "prior" else 2
    if group == "given":
        return given(f"vgg11-{kind}-0", classes, scale.shared)
    network: nn.Module = TASKS["vgg11"].architecture(n_classes=classes)
    network.load_state_dict(load_file(FRESH_VGG / f"{kind}.safetensors"))
    return network.eval()


def vgg_pair(group: str, kind: str, scale: Scale) -> dict[str, dict[str, list[float]]]:
    """Measure spaces that take no critical neurons on the objects of one VGG11: {layer: {space: [again, CE]}}."""
    X, fine = tensors("vgg11", "test", scale.shared, scale.inputs)
    data = TensorDataset(X, torch.as_tensor(TASKS["vgg11"].coarse(fine)))
    recording = neucept.record(vgg_network(group, kind, scale), data, VGG_LAYERS["both"], progress=False)
    rows = recording.samples(0)
    parts = halves(rows)
    results: dict[str, dict[str, list[float]]] = {}
    for (name, layers), space in product(VGG_LAYERS.items(), ("variance", "contribution", "all")):
        found = []
        for part in parts:
            critical: Mapping[str, Any] = {la: range(recording.activations(la).shape[1]) for la in layers}
            if space == "variance":
                critical = largest_variance(recording, part, layers)
            reduce = "top" if space == "variance" else space
            found.append(
                neucept.learn(recording, critical, K, reduce=reduce, samples=part, target=0).assign(recording)[0]
            )
        results.setdefault(name, {})[space] = again_and_entropy(found, parts, rows, fine)
    return results


def real_classes(space: str, method: str, scale: Scale, group: str = "given") -> dict[str, Any]:
    """Learn the mechanisms of ten classes on one half each, K chosen there, and judge them on the other half."""
    X, labels = tensors("vgg11", "test", scale.shared, scale.inputs)
    model, data = vgg_network(group, "prior", scale), TensorDataset(X, torch.as_tensor(labels))
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
                "confidence": list(mechanisms.reliability["confidence_verdict"]),
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
