"""Is the precision asked of `discover` the precision realised, on real layers? Networks and families not tuned on.

    python experiments/promise.py [--shared ../shared] [--seed 0]

On each layer, responses of families that no layer is calibrated on (sines, three-layer networks, gates, trees), and new
ones of the families that it is, are planted on the inputs predicted as one class; `neucept.discover` looks for them as
it would for a logit. Beside its default stands what the literature does: Gaussian knockoffs with a lasso, eq. (9).
Results: experiments/results/promise.json, resumed where it stopped, and docs/promise.md, made from it.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

import neucept
from neucept.calibration.local_fdr import proportions
from neucept.calibration.simulation import FAMILIES, HELD_OUT, plant
from neucept.datasets import load_data
from neucept.knockoffs import prepare
from neucept.models import VGG11, LeNet

RESULTS = Path(__file__).parent / "results" / "promise.json"
LENET, VGG = ("feature_extractor.7", "classifier.1"), ("features.28", "features.31")
# The method was worked out on lenet-pkt-0, lenet-normal-0, lenet-normal-1 and some classes of both VGG11s.
CELLS = [
    *(("lenet-pkt-1", layer, label) for layer in LENET for label in (0, 1)),
    *(("lenet-normal-2", layer, label) for layer in LENET for label in (0, 1)),
    *(("lenet-prior-1", layer, label) for layer in LENET for label in (3,)),
    *(("vgg11-pkt-0", layer, label) for layer in VGG for label in (0, 1)),
    *(("vgg11-normal-0", layer, label) for layer in VGG for label in (0, 1)),
]
QS = (0.1, 0.2, 0.4)


def load(name: str, shared: Path, folder: Path) -> neucept.Recording:
    if (folder / name).exists():
        return neucept.Recording.open(folder / name)
    kind = name.split("-")[1]
    classes = 10 if kind == "prior" else 2
    if name.startswith("lenet"):
        model, layers = LeNet(classes), LENET
        data = load_data(shared / "data" / "MNIST", split="test", size=32)
    else:
        model, layers = VGG11(classes), VGG
        mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
        data = load_data(shared / "data" / "cifar10", split="test", mean=mean, std=std)
    weights = load_file(shared / "models" / f"{name}.safetensors")
    model.load_state_dict({key: value.float() for key, value in weights.items()})
    recording = neucept.record(model, data, layers=list(layers))
    recording.save(folder / name)
    return recording


def measure(recording: neucept.Recording, layer: str, label: int, seed: int) -> dict:
    started = time.perf_counter()
    rows = recording.samples(label)
    calibration = neucept.calibrate(recording, layer, target=label)
    seconds = time.perf_counter() - started
    prepared = prepare(np.asarray(recording.activations(layer)[rows]))
    rng = np.random.default_rng([77, seed])
    result: dict = {
        "inputs": len(rows),
        "neurons": prepared.Z.shape[1],
        "groups": len(calibration.sizes),
        "calibration_seconds": round(seconds, 1),
    }
    for which, families in {"held-out families": HELD_OUT, "calibrated families": FAMILIES}.items():
        planted = plant(prepared.Z, calibration.groups, rng, families)
        responses = []
        for y in planted.Y.T:
            response = np.zeros(len(recording))
            response[rows] = y
            responses.append(response)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", neucept.NothingSelectedWarning)
            default = neucept.discover(recording, responses, layers=[layer], samples=rows, seed=seed + 1)
            plain = neucept.discover(
                recording,
                responses,
                layers=[layer],
                samples=rows,
                seed=seed + 1,
                calibration=None,
                draws=1,
                groups=default[0][layer].groups,
            )
        kinds = np.array(planted.family)
        for name, found in {"default": default, "eq. (9)": plain}.items():
            for q in QS:
                masks = np.zeros(planted.null.shape, bool)
                for i, critical in found.items():
                    selection = critical[layer].at(1 - q)
                    masks[i, default[0][layer].groups[selection.neurons]] = True
                false, power = proportions(masks, planted.null)
                result[f"{which} | {name} | {q}"] = {
                    "fdr": round(float(false.mean()), 4),
                    "half": round(float(1.96 * false.std(ddof=1) / np.sqrt(len(false))), 4),
                    "power": round(float(np.nanmean(power)), 4),
                    "responses": len(false),
                    "by_family": {kind: round(float(false[kinds == kind].mean()), 3) for kind in dict.fromkeys(kinds)},
                }
    return result


INTRODUCTION = """\
# Is the precision asked the precision realised?

Made by `python experiments/promise.py` from `experiments/results/promise.json`. On each layer, responses with known
critical neurons are planted on the activations of the inputs predicted as one class. *Held out*: families that no layer
is calibrated on (sines, three-layer networks, gates, perceptrons, and pure noise). *Calibrated*: new responses of the
families that it is (linear, ReLU, tanh and deep ReLU networks, thresholds, products, squares, maxima, trees, noise).
FDR is 1 minus precision, with its 95% interval; power is the share of critical groups found. *Default* is `discover` as
it comes; *eq. (9)* is one draw of Gaussian knockoffs with a lasso, over the same groups.

| network, layer, class | inputs | groups | q | held out: FDR | power | eq. (9): FDR | power | calibrated: FDR | (9) |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def page(results: dict) -> str:
    """Write the results as a page in Markdown."""

    def rate(cell: dict) -> str:
        return f"{cell['fdr']:.3f} ± {cell['half']:.3f}"

    lines = []
    for key, row in results.items():
        name, layer, label, _ = key.split(" | ")
        for q in QS:
            held, plain, known, known_plain = (
                row[f"{families} | {way} | {q}"]
                for families in ("held-out families", "calibrated families")
                for way in ("default", "eq. (9)")
            )
            groups = f"{row['groups']} of {row['neurons']}"
            lines.append(
                f"| {name}, {layer}, {label} | {row['inputs']} | {groups} | {q} | {rate(held)}"
                f" | {held['power']:.2f} | {rate(plain)} | {plain['power']:.2f} | {rate(known)} | {rate(known_plain)} |"
            )
    lines += ["", "Mean over all cells of a kind of network:", ""]
    lines += ["| networks | asked | held out: FDR | power | eq. (9): FDR |", "| --- | --- | --- | --- | --- |"]
    broken = total = 0
    for kind in ("lenet", "vgg11"):
        rows = [row for key, row in results.items() if key.startswith(kind)]
        for q in QS:
            held_cells = [row[f"held-out families | default | {q}"] for row in rows]
            plain_cells = [row[f"held-out families | eq. (9) | {q}"] for row in rows]
            fdr, power = (np.mean([cell[what] for cell in held_cells] or [np.nan]) for what in ("fdr", "power"))
            peer = np.mean([cell["fdr"] for cell in plain_cells] or [np.nan])
            lines.append(f"| {kind} | {q} | {fdr:.3f} | {power:.2f} | {peer:.3f} |")
            cells = held_cells + [row[f"calibrated families | default | {q}"] for row in rows]
            total += len(cells)
            broken += sum(cell["fdr"] - cell["half"] > q for cell in cells)
    lines += ["", f"Cells of the default whose 95% interval lies above the level asked: {broken} of {total}.", ""]
    worst = [
        f"- {family}, asked {q}: {fdr} ({key.rsplit(' | ', 1)[0]})"
        for key, row in results.items()
        for q in QS
        for family, fdr in row[f"calibrated families | default | {q}"]["by_family"].items()
        if fdr > 1.5 * q
    ]
    if worst:
        lines += [
            "Single families (12 responses each) with a mean of more than one and a half times the level asked:",
            "",
        ]
        lines += [*worst, ""]
    return INTRODUCTION + "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--recordings", type=Path, default=Path("experiments/recordings"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, layer, label in CELLS:
        key = f"{name} | {layer} | class {label} | seed {arguments.seed}"
        if key in results:
            continue
        results[key] = measure(load(name, arguments.shared, arguments.recordings), layer, label, arguments.seed)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1))
        (RESULTS.parents[2] / "docs" / "promise.md").write_text(page(results))
        row = results[key]
        cells = {q: row[f"held-out families | default | {q}"] for q in QS}
        shown = " ".join(f"{q}: {cell['fdr']:.3f}/{cell['power']:.2f}" for q, cell in cells.items())
        print(f"{key}: {row['groups']} groups; realised FDR / power at {shown}", flush=True)


if __name__ == "__main__":
    main()
