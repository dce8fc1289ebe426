"""Are inputs of another kind told from new inputs of the same kind? By `neucept.novelty`, and by the outputs alone.

    python benchmarks/novelty/measure.py [--shared ../shared] [--weights FILE]

A VGG11 that tells the ten classes of CIFAR-10 apart, test images: one random half is recorded, the other stands for
new inputs of the same kind. Area under the ROC curve between these and inputs of another kind, for several choices of
layers, beside maximum softmax probability and the energy of the logits; and the share of the other half that is
called unlike at the level 0.05. Repeated over splits; results go to novelty.json beside this file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from scipy.special import logsumexp
from scipy.stats import t
from sklearn.metrics import roc_auc_score

import neucept
from neucept.datasets import load_data
from neucept.models import VGG11
from neucept.novelty import Novelty

HERE = Path(__file__).parent
MEAN, STD = np.array([0.4914, 0.4822, 0.4465]), np.array([0.247, 0.2435, 0.2616])
LAYERS = ("features.2", "features.10", "features.20", "features.28", "features.31")
CHOICES = {
    "last map": ("features.31",),
    "last two": ("features.28", "features.31"),
    "one early, the last": ("features.2", "features.31"),
    "early, middle, last": ("features.2", "features.20", "features.31"),
    "all five": LAYERS,
}
EACH, SPLITS = 1000, 5


def normalised(pixels: np.ndarray) -> torch.Tensor:
    """From (n, 32, 32, 3) in [0, 1] to what the network takes."""
    return torch.from_numpy(((pixels - MEAN) / STD).astype(np.float32)).permute(0, 3, 1, 2)


def other_kinds(shared: Path, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Inputs of other kinds, (EACH, 32, 32, 3) in [0, 1] each; ``pixels`` are images of the same kind."""
    rng = np.random.default_rng(0)
    digits = load_data(shared / "data" / "MNIST", split="test", size=32, limit=EACH, progress=False)
    gray = np.stack([digits[i][0][0].numpy() for i in range(len(digits))])
    images = torch.from_numpy(pixels[:EACH]).permute(0, 3, 1, 2)
    blurred = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(images, (2, 2, 2, 2), "reflect"), 5, 1)
    grain = pixels[:EACH] + rng.normal(0, 0.15, pixels[:EACH].shape)
    return {
        "uniform noise": rng.random((EACH, 32, 32, 3)),
        "Gaussian noise": (0.5 + 0.25 * rng.normal(size=(EACH, 32, 32, 3))).clip(0, 1),
        "MNIST": np.repeat(gray[..., None], 3, axis=-1),
        "inverted colours": 1 - pixels[:EACH],
        "blurred (5 x 5)": blurred.permute(0, 2, 3, 1).numpy(),
        "noise added (0.15)": grain.clip(0, 1),
        "low contrast (0.3)": 0.5 + 0.3 * (pixels[:EACH] - 0.5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=HERE.parents[2] / "shared")
    parser.add_argument("--weights", type=Path, help="weights of a VGG11; by default those beside the data")
    parser.add_argument("--name", default="given")
    options = parser.parse_args()
    network = VGG11(n_classes=10).eval()
    state = load_file(options.weights or options.shared / "models" / "vgg11-prior-0.safetensors")
    network.load_state_dict(state)
    data = load_data(options.shared / "data" / "cifar10", split="test", progress=False)
    pixels = np.stack([np.asarray(data.picture(i), np.float64) / 255 for i in range(len(data))])
    order = np.random.default_rng(1).permutation(len(pixels))

    def recorded(images: np.ndarray) -> neucept.Recording:
        return neucept.record(network, normalised(images), list(LAYERS), progress=False)

    everything = recorded(pixels[order])
    kinds = {name: recorded(images) for name, images in other_kinds(options.shared, pixels[order[5000:]]).items()}
    cells: dict[str, dict[str, list[float]]] = {}

    def keep(method: str, column: str, value: float) -> None:
        cells.setdefault(method, {}).setdefault(column, []).append(float(value))

    for split in range(SPLITS):
        rows = np.random.default_rng(100 + split).permutation(len(pixels))
        known, new = everything.subset(np.sort(rows[:5000])), everything.subset(np.sort(rows[5000:]))
        for method, layers in CHOICES.items():
            novelty = Novelty.fit(known, layers, seed=split)
            same = novelty.scores(new)
            keep(method, "flagged of the same kind", (novelty.p_values(new) <= 0.05).mean())
            for kind, other in kinds.items():
                auc(keep, method, kind, same, novelty.scores(other))
        for method, score in {"maximum softmax probability": softmax, "energy": energy}.items():
            for kind, other in kinds.items():
                auc(keep, method, kind, score(new), score(other))
    summary = {method: {column: interval(values) for column, values in row.items()} for method, row in cells.items()}
    path = HERE / "novelty.json"
    held: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**held, options.name: summary}, indent=1) + "\n")
    columns = list(summary["last map"])
    print("| " + " | ".join(["", *columns]) + " |\n|" + " --- |" * (len(columns) + 1))
    for method, row in summary.items():
        shown = [f"{row[column][0]:.3f} ± {row[column][1]:.3f}" if column in row else "–" for column in columns]
        print("| " + " | ".join([method, *shown]) + " |")


def auc(keep: Any, method: str, kind: str, same: np.ndarray, other: np.ndarray) -> None:
    keep(method, kind, roc_auc_score(np.repeat([0, 1], [len(same), len(other)]), np.concatenate([same, other])))


def softmax(recording: neucept.Recording) -> np.ndarray:
    logits = recording.logits.astype(np.float64)
    return np.asarray(-(logits.max(axis=1) - logsumexp(logits, axis=1)))


def energy(recording: neucept.Recording) -> np.ndarray:
    return np.asarray(-logsumexp(recording.logits.astype(np.float64), axis=1))


def interval(values: list[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95% interval over splits."""
    x = np.array(values)
    return float(x.mean()), float(t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))


if __name__ == "__main__":
    main()
