"""What restores the precision of critical neurons on real layers? The remedies, on simulated responses.

    python experiments/remedies.py [--shared ../shared] [--page]

Equation (9) on one draw of knockoffs, with a Gaussian sampler, a mixture of ten Gaussians and predicted conditional
means; and the model of the local false discovery rate on parts of the evidence, with a third of the responses, and on
all (the default, which trains networks where there are inputs enough). Those that learn are judged on responses that
they never saw, at the level that `discover` would take. Results: experiments/results/remedies.json, and
docs/remedies.md, written from it.
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
from neucept.calibration import PARTS, gather, held_out, simulate
from neucept.knockoffs import knockoff_statistics, largest_set, prepare, select

CELLS = [
    ("lenet-pkt-1", "feature_extractor.7", 0),
    ("lenet-pkt-1", "classifier.1", 0),
    ("vgg11-pkt-0", "features.28", 0),
]
QS = (0.1, 0.2)
VARIANTS = {
    "regression alone": {"squares", "random features", "products", "steps", "network"},
    "without random features": {"random features"},
    "without products": {"products"},
    "without steps": {"steps"},
    "without a network": {"network"},
    "all (default)": set(),
}  # parts of the evidence that are left out


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
    rng = np.random.default_rng(6)
    many = simulate(prepared.Z, calibration.groups, rng, nothing=36, repeats=3)
    evidence, _ = gather(prepared.Z, many.Y, calibration.groups)
    for name, without in VARIANTS.items():
        columns = np.concatenate([np.r_[part] for part_name, part in PARTS.items() if part_name not in without])
        columns = columns[columns < evidence.shape[2]]
        for share, rows in {"": slice(None), ", a third of the responses": slice(None, None, 3)}.items():
            if share and without:
                continue
            null = many.null[rows]
            variant = replace(
                calibration,
                held_out=held_out(evidence[rows][..., columns], null),
                null=null,
                family=many.family[rows],
            )
            for q in QS:
                masks = np.array([largest_set(row, variant.level(q)) for row in variant.held_out])
                keep(f"calibrated, {name}{share}", masks, null, q)
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
