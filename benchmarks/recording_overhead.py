"""What recording costs: the time of a recorded forward pass over that of the bare one, LeNet and VGG11, batch 256.

Both run in evaluation mode without gradients over the same batches, alternating, in one process. Run with
``python benchmarks/recording_overhead.py``; it prints a table and writes ``recording_overhead.json`` beside itself.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import neucept
from neucept.models import VGG11, LeNet

BATCH = 256
CASES = {
    "LeNet": (LeNet, (1, 32, 32), 16, ["feature_extractor.7", "classifier.1"]),
    "VGG11": (VGG11, (3, 32, 32), 2, ["features.28", "features.31"]),
}  # network, shape of an input, batches, layers recorded


def bare(model: nn.Module, inputs: Tensor) -> Tensor:
    model.eval()
    with torch.no_grad():
        return torch.cat([model(batch) for batch in inputs.split(BATCH)])


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure(name: str, repetitions: int) -> dict[str, float]:
    """Return median and quartiles of the ratio of two consecutive runs, which take turns in going first."""
    network, shape, batches, layers = CASES[name]
    torch.manual_seed(0)
    model, inputs = network(2), torch.rand(batches * BATCH, *shape)

    def recorded() -> neucept.Recording:
        return neucept.record(model, inputs, layers=layers, batch_size=BATCH, progress=False)

    assert np.array_equal(recorded().logits, bare(model, inputs).numpy())  # warms both up, and they do the same work
    ratios = []
    for repetition in range(repetitions):
        if repetition % 2:
            ratios.append(seconds(recorded) / seconds(lambda: bare(model, inputs)))
        else:
            without = seconds(lambda: bare(model, inputs))
            ratios.append(seconds(recorded) / without)
    low, median, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return {
        "median": round(float(median), 4),
        "quartile_low": round(float(low), 4),
        "quartile_high": round(float(high), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=31)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"recorded / bare, batch {BATCH}, {options.repetitions} repetitions, {options.threads} threads")
    print(f"{'network':<10}{'median':>8}   quartiles")
    results = {}
    for name in CASES:
        results[name] = measure(name, options.repetitions)
        row = results[name]
        print(f"{name:<10}{row['median']:>8.3f}   {row['quartile_low']:.3f} to {row['quartile_high']:.3f}", flush=True)
    facts = {"batch": BATCH, "repetitions": options.repetitions, "threads": options.threads, "torch": torch.__version__}
    text = json.dumps({**facts, "recorded_over_bare": results}, indent=1)
    Path(__file__).with_suffix(".json").write_text(text + "\n")


if __name__ == "__main__":
    main()
