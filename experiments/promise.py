"""Is the precision asked of `discover` the precision realised, on real layers? Networks and families not tuned on.

    python experiments/promise.py [--shared ../shared] [--seed 0] [--page]

On each layer, responses of families that no layer is calibrated on (sines, three-layer networks, gates, trees), and new
ones of the families that it is calibrated on, are simulated on the inputs predicted as one class; `neucept.discover`
looks for their neurons as it would for a logit's (with one draw of knockoffs, on which a calibrated selection does not
depend). Its default is compared with what the literature does: Gaussian
knockoffs with a lasso, eq. (9). Results: experiments/results/promise.json, continued where it stopped, and
docs/promise.md, written from it.
"""

from __future__ import annotations

import argparse
import importlib
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from common import HERE, PROJECT, SHARED, Results
from common import scale as scale_of
from networks import recorded
from safetensors.torch import load_file
from simulated import half_width, proportions
from tasks import CONV3, CONV8, CONV9, LINEAR0, TASKS, dataset

import neucept
from neucept.calibration import FAMILIES, HELD_OUT, simulate
from neucept.knockoffs import prepare

# The method was worked out on lenet-pkt-0, lenet-normal-0 and layers of the three VGG11s without "fresh".
CELLS = [
    *(("lenet-pkt-1", layer, label) for layer in (CONV3, LINEAR0) for label in (0, 1)),
    *(("lenet-normal-2", layer, label) for layer in (CONV3, LINEAR0) for label in (0, 1)),
    *(("lenet-prior-1", layer, 3) for layer in (CONV3, LINEAR0)),
    *(("vgg11-pkt-0", layer, label) for layer in (CONV8, CONV9) for label in (0, 1)),
    *(("vgg11-normal-0", layer, label) for layer in (CONV8, CONV9) for label in (0, 1)),
    # Nothing was chosen on these: trained afresh, once all was settled.
    *((f"fresh-lenet-{seed}-pkt", CONV3, seed % 2) for seed in range(5)),
    *((f"fresh-lenet-{seed}-normal", LINEAR0, seed % 2) for seed in range(5)),
    *((f"fresh-vgg11-0-{kind}", layer, 1) for kind in ("pkt", "normal") for layer in (CONV8, CONV9)),
]
QS = (0.1, 0.2, 0.4)


def load(name: str, shared: Path, folder: Path) -> neucept.Recording:
    """Return the recording of a network trained before, such as "lenet-pkt-1", on all test inputs."""
    if not (folder / name).exists() and name.startswith("fresh-"):
        _, task, seed, kind = name.split("-")
        recorded(task, int(seed), kind, scale_of(reduced=False, shared=shared)).save(folder / name)
    elif not (folder / name).exists():
        task, kind, _ = name.split("-")
        model = TASKS[task].architecture(n_classes=10 if kind == "prior" else 2)
        weights = load_file(shared / "models" / f"{name}.safetensors")
        model.load_state_dict({key: value.float() for key, value in weights.items()})
        layers = [layer for _, layer in TASKS[task].layers]
        neucept.record(model, dataset(task, "test", shared), layers=layers).save(folder / name)
    return neucept.Recording.open(folder / name)


def measure(recording: neucept.Recording, layer: str, label: int, seed: int) -> dict[str, Any]:
    """Return, for each kind of responses, way and q, the false discovery rate and the power."""
    started = time.process_time()
    rows = recording.samples(label)
    calibration = neucept.calibrate(recording, layer, target=label)
    seconds = time.process_time() - started
    prepared = prepare(np.asarray(recording.activations(layer)[rows]))
    rng = np.random.default_rng([77, seed])
    result: dict[str, Any] = {
        "inputs": len(rows),
        "neurons": prepared.Z.shape[1],
        "groups": len(calibration.sizes),
        "calibration_seconds": round(seconds, 1),
    }
    for which, families in {"held-out families": HELD_OUT, "calibrated families": FAMILIES}.items():
        simulated = simulate(prepared.Z, calibration.groups, rng, families)
        responses = []
        for y in simulated.Y.T:
            response = np.zeros(len(recording))
            response[rows] = y
            responses.append(response)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", neucept.NothingSelectedWarning)
            default = neucept.discover(recording, responses, layers=[layer], samples=rows, seed=seed + 1, draws=1)
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
        kinds = np.array(simulated.family)
        for name, by_response in {"default": default, "eq. (9)": plain}.items():
            for q in QS:
                masks = np.zeros(simulated.null.shape, bool)
                for i, critical in by_response.items():
                    selection = critical[layer].at(1 - q)
                    masks[i, default[0][layer].groups[selection.neurons]] = True
                false, power = proportions(masks, simulated.null)
                right = (masks & ~simulated.null) / calibration.sizes
                critical = (~simulated.null).sum(axis=1)
                localised = (right.sum(axis=1) / np.maximum(critical, 1))[critical > 0]
                result[f"{which} | {name} | {q}"] = {
                    "fdr": round(float(false.mean()), 4),
                    "half": round(half_width(false), 4),
                    "power": round(float(np.nanmean(power)), 4),
                    "localised": round(float(localised.mean()), 4),
                    "responses": len(false),
                    "by_family": {kind: round(float(false[kinds == kind].mean()), 3) for kind in dict.fromkeys(kinds)},
                }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of the data")
    parser.add_argument("--recordings", type=Path, default=HERE / "recordings")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", action="store_true", help="only write docs/promise.md from results that are there")
    options = parser.parse_args()
    results = Results("promise", scale_of(reduced=False))
    if not options.page:
        results.fill(
            {
                f"{name} | {layer} | class {label} | seed {options.seed}": (
                    lambda n=name, y=layer, c=label: measure(
                        load(n, options.shared, options.recordings), y, c, options.seed
                    )
                )
                for name, layer, label in CELLS
            }
        )
    page = importlib.import_module("tell.promise").tell(results.cells)
    (PROJECT / "docs" / "promise.md").write_text(page + "\n")


if __name__ == "__main__":
    main()
