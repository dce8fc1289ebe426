"""The main job on real networks and all test digits of MNIST: mechanisms follow what a network knows.

Six LeNets tell even from odd digits; three of them (pkt) were taught the ten digits before. Mechanisms of one answer,
found without any label, should tell digits apart better (lower CE) where the network knows them, and better by critical
neurons than by random ones. Everything is looked at on the test inputs that the network predicts as the class.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from torch import nn

from neucept import NothingSelectedWarning, Recording, discover, learn, record
from neucept.evaluation.metrics import cluster_entropy
from neucept.mechanisms.clustering import cluster

pytestmark = pytest.mark.shared

LAYERS = ("feature_extractor.7", "classifier.1")
TOP, K, REPETITIONS = 10, 5, 20


def of_critical(recording: Recording, critical: Any, layer: str, digits: np.ndarray) -> float:
    """CE of the mechanisms of the first ten neurons that name nothing twice, by the public calls."""
    top = {layer: critical[layer].ranked("information")[:TOP]}
    mechanisms = learn(recording, top, K, target=critical.target)
    np.testing.assert_array_equal(mechanisms.samples, critical.samples)
    return cluster_entropy(digits[mechanisms.samples], mechanisms.labels)


def of_random(recording: Recording, critical: Any, layer: str, digits: np.ndarray) -> float:
    """Mean CE of ten random neurons, clustered in the same way but without what `learn` adds."""
    Z = recording.activations(layer)[critical.samples].astype(float)
    Z = (Z - Z.mean(axis=0)) / Z.std(axis=0)
    rng = np.random.default_rng(0)
    draws = [rng.choice(Z.shape[1], TOP, replace=False) for _ in range(REPETITIONS)]
    labels = [cluster(Z[:, neurons], K, "kmeans", seed=0)[0] for neurons in draws]
    return float(np.mean([cluster_entropy(digits[critical.samples], one) for one in labels]))


def test_mechanisms_of_networks_with_prior_knowledge_follow_the_digits(
    lenets: dict[str, nn.Module], test_digits: Any
) -> None:
    found: dict[tuple[str, int, str], list[float]] = {}
    for name, network in lenets.items():
        kind = name.split("-")[1]
        recording = record(network, (test_digits.images, test_digits.odd), LAYERS, progress=False)
        assert (recording.predictions == recording.labels).mean() > 0.985
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NothingSelectedWarning)
            by_class = discover(recording, [0, 1], calibration=None, draws=10, progress=False)
        for target, critical in by_class.items():
            for layer in LAYERS:
                given = (recording, critical, layer, test_digits.digits)
                found.setdefault((layer, target, kind), []).append(of_critical(*given))
                if kind == "pkt":
                    found.setdefault((layer, target, "random"), []).append(of_random(*given))
    for layer in LAYERS:
        for target in (0, 1):
            of = {kind: found[layer, target, kind] for kind in ("pkt", "normal", "random")}
            assert all(len(values) == 3 for values in of.values())
            pkt, normal, random = (float(np.mean(of[kind])) for kind in ("pkt", "normal", "random"))
            print(f"{layer}, class {target}: pkt {pkt:.3f}, normal {normal:.3f}, random (pkt) {random:.3f} bits")
            assert pkt < normal
            assert pkt < random
