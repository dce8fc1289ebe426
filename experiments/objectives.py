"""Compare the objectives by what their critical neurons show of a network's prior knowledge.

    python experiments/objectives.py [--shared ../shared]

Pairwise is Algorithm 1, sequential equation (3), global equation (10). CE (bits) of five mechanisms (K-means on ten
neurons of the third convolution) of three LeNets with prior knowledge (PKT) and three without, on the test digits
predicted as the class; beside them the ten neurons of largest variance and ten random ones (mean of 20). Results:
experiments/results/objectives.json.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
from promise import load

import neucept
from neucept.datasets import load_data
from neucept.mechanisms.clustering import cluster
from neucept.metrics import cluster_entropy

RESULTS = Path(__file__).parent / "results" / "objectives.json"
LAYERS = ["feature_extractor.7", "classifier.1"]


def measure(recording: neucept.Recording, digits: np.ndarray, label: int) -> dict[str, float]:
    rows = recording.samples(label)
    Z = np.asarray(recording.activations(LAYERS[0])[rows], np.float64)

    def entropy(neurons: np.ndarray) -> float:
        V = (Z[:, neurons] - Z[:, neurons].mean(axis=0)) / Z[:, neurons].std(axis=0)
        return round(cluster_entropy(digits[rows], cluster(V, 5, "kmeans", 0)[0]), 4)

    rng = np.random.default_rng(0)
    found = {
        "largest variance": entropy(np.argsort(-Z.var(axis=0))[:10]),
        "random": round(float(np.mean([entropy(rng.permutation(Z.shape[1])[:10]) for _ in range(20)])), 4),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", neucept.NothingSelectedWarning)
        for objective in ("pairwise", "sequential", "global"):
            for calibration in ("auto", None):
                critical = neucept.discover(
                    recording, label, layers=LAYERS, objective=objective, calibration=calibration, progress=False
                )
                name = f"{objective}, {'calibrated' if calibration else 'knockoffs alone'}"
                found[name] = entropy(critical[LAYERS[0]].ranking[:10])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--recordings", type=Path, default=Path("experiments/recordings"))
    arguments = parser.parse_args()
    digits = load_data(arguments.shared / "data" / "MNIST", split="test", progress=False).labels
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for kind in ("pkt", "normal"):
        for number in range(3):
            for label in (0, 1):
                key = f"{kind} | {number} | class {label}"
                if key not in results:
                    recording = load(f"lenet-{kind}-{number}", arguments.shared, arguments.recordings)
                    results[key] = measure(recording, digits, label)
                    RESULTS.write_text(json.dumps(results, indent=1))
    for name in next(iter(results.values())):
        for label in (0, 1):
            pkt, normal = (
                [results[f"{kind} | {number} | class {label}"][name] for number in range(3)]
                for kind in ("pkt", "normal")
            )
            difference = np.subtract(normal, pkt)
            print(
                f"{name}, class {label}: PKT {np.mean(pkt):.2f}, normal {np.mean(normal):.2f}, smallest difference"
                f" {difference.min():.2f}"
            )


if __name__ == "__main__":
    main()
