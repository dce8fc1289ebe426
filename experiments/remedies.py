"""What repairs the precision of critical neurons on real layers? The remedies, each on the same planted responses.

    python experiments/remedies.py [--shared ../shared]

Equation (9) on one draw of knockoffs, with a Gaussian sampler, a mixture of ten Gaussians and predicted conditional
means; and the model of the probability of being null on the knockoff statistics alone, on the importance in a learnt
network alone, and on both (the default). Those that learn are judged on responses they never saw, at the level that
`discover` would take.
Results: experiments/results/remedies.json and docs/remedies.md.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from promise import load

import neucept
from neucept.calibration.local_fdr import proportions
from neucept.calibration.simulation import plant
from neucept.knockoffs import knockoff_statistics, largest_set, prepare, select

RESULTS = Path(__file__).parent / "results" / "remedies.json"
CELLS = [
    ("lenet-pkt-1", "feature_extractor.7", 0),
    ("lenet-pkt-1", "classifier.1", 0),
    ("vgg11-pkt-0", "features.28", 0),
]
QS = (0.1, 0.2)
KNOCKOFFS = slice(8, 12)  # columns of the evidence that come from knockoffs
NETWORK = slice(0, 8)


def measure(recording: neucept.Recording, layer: str, label: int) -> dict:
    calibration = neucept.calibrate(recording, layer, target=label)
    prepared = prepare(np.asarray(recording.activations(layer)[recording.samples(label)]))
    planted = plant(prepared.Z, calibration.groups, np.random.default_rng(5))
    groups = None if calibration.cut == 0 else calibration.groups
    result: dict = {}

    def keep(name: str, masks: np.ndarray, null: np.ndarray, q: float) -> None:
        false, power = proportions(masks, null)
        half = 1.96 * false.std(ddof=1) / np.sqrt(len(false))
        result[f"{name} | {q}"] = [round(float(x), 4) for x in (false.mean(), half, np.nanmean(power))]

    for name, sampler in {
        "eq. (9), Gaussian": "gaussian",
        "eq. (9), mixture of Gaussians": "mixture",
        "eq. (9), conditional means": "conditional",
    }.items():
        if sampler == "conditional" and groups is not None:
            continue  # knows no groups
        rng = np.random.default_rng(1)
        W = knockoff_statistics(prepared.Z, planted.Y, sampler=sampler, draws=1, rng=rng, groups=groups)[0]
        for q in QS:
            keep(name, np.array([select(w, q) for w in W]), planted.null, q)
    for name, columns in {
        "calibrated, knockoffs alone": KNOCKOFFS,
        "calibrated, network alone": NETWORK,
        "calibrated, both (default)": slice(None),
    }.items():
        variant = replace(calibration, evidence=calibration.evidence[..., columns])
        for q in QS:
            keep(name, np.array([largest_set(row, variant.level(q)) for row in variant.judged]), variant.null, q)
    return result


def page(results: dict) -> str:
    """Write the results as a page in Markdown."""
    lines = [
        "# What repairs the precision?",
        "",
        "Made by `python experiments/remedies.py`. False discovery rate with its 95% interval, and power, at a level",
        "of 0.1 and 0.2, over 132 responses planted on the inputs predicted as one class.",
        "",
        "| layer | remedy | FDR at 0.1 | power | FDR at 0.2 | power |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for key, row in results.items():
        for name in dict.fromkeys(cell.rsplit(" | ", 1)[0] for cell in row):
            cells = [row[f"{name} | {q}"] for q in QS]
            shown = " | ".join(f"{fdr:.3f} ± {half:.3f} | {power:.2f}" for fdr, half, power in cells)
            lines.append(f"| {key.replace(' | ', ', ')} | {name} | {shown} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--recordings", type=Path, default=Path("experiments/recordings"))
    arguments = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, layer, label in CELLS:
        key = f"{name} | {layer} | class {label}"
        if key not in results:
            results[key] = measure(load(name, arguments.shared, arguments.recordings), layer, label)
            RESULTS.write_text(json.dumps(results, indent=1))
            (RESULTS.parents[2] / "docs" / "remedies.md").write_text(page(results))
            print(key, *(f"{cell}: {values}" for cell, values in results[key].items()), sep="\n  ", flush=True)


if __name__ == "__main__":
    main()
