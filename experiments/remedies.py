"""What restores the precision of critical neurons on real layers? The remedies, each on the same simulated responses.

    python experiments/remedies.py [--shared ../shared] [--page]

Equation (9) on one draw of knockoffs, with a Gaussian sampler, a mixture of ten Gaussians and predicted conditional
means; and the model of the local false discovery rate on the knockoff statistics alone, on the importance in a trained
network alone, and on both (the default). Those that learn are judged on responses that they never saw, at the level
that `discover` would take. Results: experiments/results/remedies.json, and docs/remedies.md, written from it.
"""

from __future__ import annotations

import argparse
import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import HERE, PROJECT, SHARED, Results
from common import scale as scale_of
from promise import load
from simulated import half_width, proportions

import neucept
from neucept.calibration import simulate
from neucept.knockoffs import knockoff_statistics, largest_set, prepare, select

CELLS = [
    ("lenet-pkt-1", "feature_extractor.7", 0),
    ("lenet-pkt-1", "classifier.1", 0),
    ("vgg11-pkt-0", "features.28", 0),
]
QS = (0.1, 0.2)
KNOCKOFFS = slice(8, 12)  # columns of the evidence that come from knockoffs
NETWORK = slice(0, 8)


def measure(recording: neucept.Recording, layer: str, label: int) -> dict[str, list[float]]:
    """Return, for each remedy and q, the false discovery rate, its half-width and the power."""
    calibration = neucept.calibrate(recording, layer, target=label)
    prepared = prepare(np.asarray(recording.activations(layer)[recording.samples(label)]))
    simulated = simulate(prepared.Z, calibration.groups, np.random.default_rng(5))
    groups = None if calibration.cut == 0 else calibration.groups
    result: dict[str, list[float]] = {}

    def keep(name: str, masks: np.ndarray, null: np.ndarray, q: float) -> None:
        false, power = proportions(masks, null)
        result[f"{name} | {q}"] = [round(float(x), 4) for x in (false.mean(), half_width(false), np.nanmean(power))]

    for name, sampler in {
        "eq. (9), Gaussian": "gaussian",
        "eq. (9), mixture of Gaussians": "mixture",
        "eq. (9), conditional means": "conditional",
    }.items():
        if sampler == "conditional" and groups is not None:
            continue  # knows no groups
        rng = np.random.default_rng(1)
        W = knockoff_statistics(prepared.Z, simulated.Y, sampler=sampler, draws=1, rng=rng, groups=groups)[0]
        for q in QS:
            keep(name, np.array([select(w, q) for w in W]), simulated.null, q)
    for name, columns in {
        "calibrated, knockoffs alone": KNOCKOFFS,
        "calibrated, network alone": NETWORK,
        "calibrated, both (default)": slice(None),
    }.items():
        variant = replace(calibration, evidence=calibration.evidence[..., columns])
        for q in QS:
            keep(name, np.array([largest_set(row, variant.level(q)) for row in variant.held_out]), variant.null, q)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of the data")
    parser.add_argument("--recordings", type=Path, default=HERE / "recordings")
    parser.add_argument("--page", action="store_true", help="only write docs/remedies.md from results that are there")
    options = parser.parse_args()
    results = Results("remedies", scale_of(reduced=False))
    if not options.page:
        results.fill(
            {
                f"{name} | {layer} | class {label}": (
                    lambda n=name, y=layer, c=label: measure(load(n, options.shared, options.recordings), y, c)
                )
                for name, layer, label in CELLS
            }
        )
    page = importlib.import_module("tell.remedies").tell(results.cells)
    (PROJECT / "docs" / "remedies.md").write_text(page + "\n")


if __name__ == "__main__":
    main()
