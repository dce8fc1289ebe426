"""The main job on real networks and all of MNIST's test digits: mechanisms of networks with prior knowledge follow digits.

Six LeNets tell even from odd digits; three of them (pkt) were taught the ten digits before. Mechanisms of one answer,
found without any label, should tell digits apart better (lower CE) where the network knows them, and better by critical
neurons than by random ones.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from torch import nn

from neucept import NothingSelectedWarning, Recording, discover, learn, record
from neucept.metrics import cluster_entropy

pytestmark = pytest.mark.shared

LAYERS = ("feature_extractor.7", "classifier.1")
TOP, K, REPETITIONS = 10, 5, 20


def entropy(recording: Recording, neurons: Any, layer: str, target: int, digits: np.ndarray) -> float:
    """CE of K-means with five centres on some neurons, over the inputs that the network predicts as the class."""
    mechanisms = learn(recording, {layer: neurons}, K, target=target)
    return cluster_entropy(digits[mechanisms.samples], mechanisms.labels)


def random_entropy(recording: Recording, layer: str, target: int, digits: np.ndarray) -> float:
    """The mean of it over draws of ten random neurons."""
    rng, k = np.random.default_rng(0), recording.activations(layer).shape[1]
    draws = [rng.choice(k, TOP, replace=False) for _ in range(REPETITIONS)]
    return float(np.mean([entropy(recording, neurons, layer, target, digits) for neurons in draws]))


def test_mechanisms_of_networks_with_prior_knowledge_follow_the_digits(
    lenets: dict[str, nn.Module], test_digits: Any
) -> None:
    rows = []
    for name, network in lenets.items():
        recording = record(network, (test_digits.images, test_digits.odd), LAYERS, progress=False)
        assert (recording.predictions == recording.labels).mean() > 0.985
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NothingSelectedWarning)
            found = discover(recording, [0, 1], calibration=None, draws=10, progress=False)
        for target, critical in found.items():
            for layer in LAYERS:
                what = recording, layer, target, test_digits.digits
                row = {"kind": name.split("-")[1], "case": (layer, target)}
                row["critical"] = entropy(recording, critical[layer].ranking[:TOP], *what[1:])
                if row["kind"] == "pkt":
                    row["random"] = random_entropy(*what)
                rows.append(row)

    def mean(case: tuple[str, int], kind: str, of: str) -> float:
        values = [row[of] for row in rows if row["case"] == case and row["kind"] == kind]
        assert len(values) == 3
        return float(np.mean(values))

    for case in sorted({row["case"] for row in rows}):
        pkt, normal, random = (
            mean(case, "pkt", "critical"),
            mean(case, "normal", "critical"),
            mean(case, "pkt", "random"),
        )
        print(f"{case}: pkt {pkt:.3f}, normal {normal:.3f}, random neurons of pkt {random:.3f} bits")
        assert pkt < normal, case
        assert pkt < random, case
