"""Time the methods (Table 2).

    python experiments/running_time.py [--reduced]

Six networks (of each task's last pair), two layers each, all test inputs, one process: run it alone. Attributions in
three ways: as in the published code (the network cut at the layer, one image at a time), by Captum's classes for layers
on the whole network, and by `neucept.rankings` (the network cut, in batches of 256). A method that would take more than
some seconds is timed on a random part of the inputs and scaled, for its time is linear in their number, which is
checked on LeNet. Attributions include the forward pass up to the layer; NeuCEPT needs one recording, which is timed
apart. Passes are counted in inputs that go through the whole network, through its rest after the layer, and back.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from common import Results, Scale, main
from networks import pairs, trained
from tasks import KINDS, TASKS, tensors
from torch import Tensor, fx, nn

import neucept
from neucept.rankings import Activation, DeepLift, GradientShap, IntegratedGradients, Method, Saliency, Variance, rank

CAPTUM: dict[str, Callable[..., Method]] = {
    "saliency": Saliency,
    "integrated gradients": IntegratedGradients,
    "DeepLIFT": DeepLift,
    "gradient SHAP": partial(GradientShap, samples=50, stdevs=1e-4),  # of the published code
}
WAYS: dict[str, dict[str, Any]] = {
    "one by one": {"baseline": "zero", "batch_size": 1},
    "whole network": {"whole": True, "batch_size": 64},
    "cut": {"baseline": "zero"},
}
NEUCEPT: dict[str, dict[str, Any]] = {
    "one draw": {"calibration": None, "draws": 1},
    "50 draws": {"calibration": None, "aggregate": "frequency"},
    "calibrated": {},
}
STARTED = f"{time.strftime('%Y-%m-%d %H:%M')}, {os.getpid()}"  # cells of one run have it in common
Found = dict[str, dict]


@contextmanager
def counted(model: nn.Module) -> Iterator[dict[str, int]]:
    """Count inputs that go through the network or a copy, through a part that was cut off, and back."""
    counts = {"whole": 0, "rest": 0, "back": 0}

    def back(gradient: Tensor) -> None:
        counts["back"] += len(gradient)

    def forth(module: nn.Module, given: Any, returned: Any) -> None:
        if isinstance(module, fx.GraphModule | type(model)):
            counts["rest" if isinstance(module, fx.GraphModule) else "whole"] += len(returned)
            if returned.requires_grad:
                returned.register_hook(back)

    handle = nn.modules.module.register_module_forward_hook(forth)
    try:
        yield counts
    finally:
        handle.remove()


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def attribute(
    method: Any, recording: neucept.Recording, model: nn.Module, X: Tensor, budget: float
) -> dict[str, float]:
    """Time a method on all inputs, or on as many as the budget allows, scaled; and count passes an input.

    What is done once, with the first batch, is left out: the network is cut or copied there, and checked.
    """

    def work(n: int) -> tuple[float, dict[str, int]]:
        with counted(model) as counts:
            return seconds(lambda: rank(recording, 0, [method], model, X, rows=np.arange(n))), counts

    n, first = len(recording), method.batch_size
    work(first)
    once, before = work(first)
    used = min(n, max(3 * first, int(budget * first / once)))
    took, after = work(used)
    each = {part: round((after[part] - before[part]) / (used - first), 2) for part in after}
    return {"seconds": round((took - once) * n / (used - first), 3), "inputs": used, **each}


def discover(recording: neucept.Recording, settings: dict[str, Any], target: Any) -> float:
    fresh = replace(recording, cache={})  # a calibration kept from before would cost nothing
    return round(seconds(lambda: neucept.discover(fresh, target, samples="all", progress=False, **settings)), 3)


@cache
def compiled() -> None:
    """Compile what is compiled at its first use, on a small recording."""
    rng = np.random.default_rng(0)
    Z, logits = rng.normal(size=(300, 12)).astype(np.float32), rng.normal(size=(300, 2)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", neucept.NothingSelectedWarning)
        for settings in NEUCEPT.values():
            discover(neucept.Recording({"layer": Z}, logits, None, ("a", "b")), settings, 0)


def measure(task: str, kind: str, name: str, layer: str, scale: Scale) -> dict[str, Any]:
    X, _ = tensors(task, "test", scale.shared, scale.inputs)
    model = trained(task, pairs(scale, task)[-1][1], scale)[kind]
    record = partial(neucept.record, model, layers=[layer], progress=False)
    record(X[:256])
    compiled()
    results: dict[str, Any] = {"recording": round(seconds(lambda: record(X)), 3)}
    recording = record(X)
    classes = list(range(len(recording.class_names)))
    results |= {"inputs": len(X), "classes": len(classes), "neurons": recording.activations(layer).shape[1]}
    results |= {"threads": torch.get_num_threads(), "process": STARTED, "load before": round(os.getloadavg()[0], 1)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", neucept.NothingSelectedWarning)
        for variant, settings in NEUCEPT.items():
            results[variant] = {"one": discover(recording, settings, 0), "all": discover(recording, settings, classes)}
    for simple in (Activation(), Variance()):
        results[simple.name] = round(seconds(partial(rank, recording, 0, [simple])), 4)
    for method, make in CAPTUM.items():
        for way, options in WAYS.items():
            if scale.reduced and way == "whole network":
                options = {**options, "batch_size": 16}
            results[f"{method}, {way}"] = attribute(make(**options), recording, model, X, 1 if scale.reduced else 4)
    if task == "lenet" and kind == "pkt":
        results["growth"] = growth(recording, model, X)
    return results


def growth(recording: neucept.Recording, model: nn.Module, X: Tensor) -> float:
    """Time of all inputs over that of a fifth, integrated gradients, cut: 5 if linear."""

    def work(n: int) -> Any:
        return rank(recording, 0, [IntegratedGradients()], model, X, rows=np.arange(n))

    n = len(recording)
    few, whole = (min(seconds(partial(work, part)) for _ in range(3)) for part in (n // 5, n))
    return round(whole / few, 2)


def run(scale: Scale) -> Found:
    cells = {
        f"{task} {kind} {name}": partial(measure, task, kind, name, layer, scale)
        for task in ("lenet", "vgg11")
        for kind in (("pkt",) if scale.reduced else KINDS)
        for name, layer in TASKS[task].layers
    }
    return Results("running_time", scale).fill(cells)


if __name__ == "__main__":
    main(__file__, run)
