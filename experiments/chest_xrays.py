"""Figure 11: an unreliable subclass of the prediction "pneumonia" on chest X-rays.

Three networks that examples/chest_xray.py trains, on its test images.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import HERE, PROJECT, Results, Scale, main
from discovery import quiet
from image_mechanisms import apart, by_random, reliability_of, rounded
from scipy.stats import mannwhitneyu

import neucept
from neucept.datasets import ImageDataset, load_data
from neucept.models import load_model
from neucept.pathways import NeuronMCT, PathwayGradient

LAYERS, K, LEVEL = ("features.13", "classifier.1"), 5, 0.6  # the level is the paper's, it does not say K
SEEDS, SIZE, HALVINGS, TYPICAL = 3, 64, 20, 8
CLASSES = ("normal", "pneumonia")
BORDER = 8  # of the 64 pixels, on each side


@cache
def xrays(scale: Scale) -> ImageDataset:
    return load_data(xray_file(scale), split="test", size=SIZE, class_names=CLASSES, progress=False)


def xray_file(scale: Scale) -> Path:
    return scale.shared / "data" / "chest-xray" / "chest-xray-160.parquet"


def xray_network(seed: int, scale: Scale) -> torch.nn.Module:
    """Return the example's network, trained by the example where it is missing."""
    script = PROJECT / "examples" / "chest_xray.py"
    weights = HERE / "networks" / scale.name / "chest-xray" / f"{seed}.safetensors"
    if not weights.exists():
        weights.parent.mkdir(parents=True, exist_ok=True)
        options = ["--seed", str(seed), "--out", str(weights), "--epochs", "2" if scale.reduced else "6"]
        subprocess.run([sys.executable, str(script), str(xray_file(scale)), *options], check=True)
    return load_model(f"{script}:small_cnn", weights=weights).eval()


def picked_on_one_half(recording: neucept.Recording, critical: Any) -> dict[str, Any]:
    """Pick the least reliable mechanism on one half of the inputs and judge it on the other, both ways.

    The half that it is judged on has neither found nor picked it, so that picking the least does not make it look
    less reliable than it is.
    """
    rows = recording.samples(1)
    hits, judged, lowest = [], [], []
    for seed in range(HALVINGS):
        halves = np.array_split(np.random.default_rng(200 + seed).permutation(rows), 2)
        right = n = 0
        for mine, other in (halves, halves[::-1]):
            results = quiet(neucept.learn, recording, critical, K, reduce="top", samples=np.sort(mine))
            truth = recording.labels[results.samples] == 1
            here = [truth[results.labels == m].mean() for m in range(len(results))]
            least = int(np.argmin(here))
            chosen = np.sort(other)[results.assign(recording, np.sort(other))[0] == least]
            lowest.append(float(here[least]))
            right, n = right + int((recording.labels[chosen] == 1).sum()), n + len(chosen)
        hits.append(right)
        judged.append(n)
    return {
        "precision": rounded(sum(hits) / sum(judged)),
        "judged": rounded(np.mean(judged)),
        "as picked": rounded(np.mean(lowest)),
    }


def border_share(network: torch.nn.Module, data: ImageDataset, rows: np.ndarray) -> np.ndarray:
    """Share of each input's pathway gradient that lies in the border, (m,)."""
    images = torch.stack([data[int(i)][0] for i in rows])
    method = PathwayGradient(NeuronMCT(network), sparsity=0.9)
    target = torch.ones(len(images), dtype=torch.long)
    parts = zip(images.split(64), target.split(64), strict=True)
    maps = torch.cat([method.attribute(x, target=t).detach() for x, t in parts]).abs().sum(1)
    inside = maps[:, BORDER:-BORDER, BORDER:-BORDER].sum((1, 2))
    return (1 - inside / maps.sum((1, 2)).clamp_min(1e-12)).numpy()


def xrays_of(seed: int, scale: Scale) -> dict[str, Any]:
    """Measure the mechanisms of one network's pneumonia."""
    network, data = xray_network(seed, scale), xrays(scale)
    recording = neucept.record(network, data, LAYERS, progress=False)
    critical = quiet(neucept.discover, recording, "pneumonia", precision=LEVEL, progress=False)
    mechanisms = quiet(neucept.learn, recording, critical, K, reduce="top")
    rows = mechanisms.samples
    right = {"right": (recording.labels[rows] == 1).astype(float)}
    groups = mechanisms.cross_fitted
    shares = border_share(network, data, rows)
    measured = reliability_of(recording, mechanisms)
    least = int(np.argmin([row[2] for row in measured["mechanisms"]]))
    return {
        "accuracy": rounded((recording.predictions == recording.labels).mean()),
        "selected": {layer: [len(critical.at(precision=p)[layer].neurons) for p in (0.9, LEVEL)] for layer in critical},
        "neurons": {layer: len(critical[layer].groups) for layer in critical},
        **measured,
        "suggested": neucept.choose_n_mechanisms(mechanisms, range(2, 7), progress=False).suggested,
        "picked": picked_on_one_half(recording, critical),
        "right": [rounded(v) for v in apart(right["right"], groups)],
        "random": by_random(recording, mechanisms, right),
        "border": {
            "area": rounded(1 - (1 - 2 * BORDER / SIZE) ** 2),
            "least": rounded(shares[groups == least].mean()),
            "others": rounded(shares[(groups != least) & (groups >= 0)].mean()),
            "p": rounded(mannwhitneyu(shares[groups == least], shares[(groups != least) & (groups >= 0)]).pvalue),
        },
        "typical": [rows[mechanisms.typical(m, TYPICAL)].tolist() for m in range(len(mechanisms))],
        "typical right": [
            right["right"][mechanisms.typical(m, TYPICAL)].astype(int).tolist() for m in range(len(mechanisms))
        ],
    }


def run(scale: Scale) -> dict:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    cells = {f"network {seed}": lambda s=seed: xrays_of(s, scale) for seed in range(1 if scale.reduced else SEEDS)}
    return Results("chest_xrays", scale).fill(cells)


if __name__ == "__main__":
    main(__file__, run)
