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
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from common import Results, Scale, Verdict, main
from networks import KINDS, TASKS, pairs, tensors, trained
from torch import Tensor, fx, nn

import neucept
from neucept.rankings import Activation, DeepLift, GradientShap, IntegratedGradients, Method, Saliency, Variance, rank

mpl.use("Agg")
import matplotlib.pyplot as plt

TITLE = "Running time (Table 2)"
CLAIM = (
    "For 10,000 inputs one iteration of NeuCEPT takes 1.9 to 26 seconds on the cores of a CPU; Saliency, Integrated"
    " Gradients, DeepLIFT and GradientSHAP take 15 to 709 seconds on a GPU, one image at a time."
)
PAPER = {  # seconds: NeuCEPT (one iteration), saliency, integrated gradients, DeepLIFT, gradient SHAP
    "lenet prior conv3": (3.18, 17.35, 79.59, 51.32, 31.42),
    "lenet prior linear0": (1.93, 16.25, 79.20, 20.12, 31.13),
    "lenet normal conv3": (2.86, 16.52, 79.95, 51.22, 31.03),
    "lenet normal linear0": (2.00, 15.47, 77.57, 19.93, 31.08),
    "lenet pkt conv3": (2.76, 16.00, 80.46, 50.49, 31.93),
    "lenet pkt linear0": (1.94, 15.53, 77.13, 20.05, 30.77),
    "vgg11 prior conv8": (20.86, 167.82, 379.16, 195.01, 355.65),
    "vgg11 prior conv9": (22.36, 180.6, 362.28, 183.97, 305.65),
    "vgg11 normal conv8": (26.12, 307.74, 709.38, 335.29, 708.50),
    "vgg11 normal conv9": (23.22, 307.87, 708.71, 309.38, 707.38),
    "vgg11 pkt conv8": (17.26, 223.24, 457.78, 263.63, 457.09),
    "vgg11 pkt conv9": (18.80, 222.50, 457.81, 220.53, 457.32),
}
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
LOOKS = dict(zip(KINDS, (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "D")), strict=True))
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
    found: dict[str, Any] = {"recording": round(seconds(lambda: record(X)), 3)}
    recording = record(X)
    classes = list(range(len(recording.class_names)))
    found |= {"inputs": len(X), "classes": len(classes), "neurons": recording.activations(layer).shape[1]}
    found |= {"threads": torch.get_num_threads(), "process": STARTED, "load before": round(os.getloadavg()[0], 1)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", neucept.NothingSelectedWarning)
        for variant, settings in NEUCEPT.items():
            found[variant] = {"one": discover(recording, settings, 0), "all": discover(recording, settings, classes)}
    for simple in (Activation(), Variance()):
        found[simple.name] = round(seconds(partial(rank, recording, 0, [simple])), 4)
    for method, make in CAPTUM.items():
        for way, options in WAYS.items():
            if scale.reduced and way == "whole network":
                options = {**options, "batch_size": 16}
            found[f"{method}, {way}"] = attribute(make(**options), recording, model, X, 1 if scale.reduced else 4)
    if task == "lenet" and kind == "pkt":
        found["growth"] = growth(recording, model, X)
    return found


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


def draw(found: Found, path: Path) -> None:
    """Seconds of each method, a point a network and layer, beside the paper's."""
    rows = [*NEUCEPT, *(f"{method}, {way}" for method in CAPTUM for way in WAYS)]
    labels = [f"NeuCEPT, {row}" if row in NEUCEPT else row for row in rows]
    tasks = list(dict.fromkeys(key.split()[0] for key in found))
    figure, axes = plt.subplots(1, len(tasks), figsize=(11, 5.2), sharey=True, squeeze=False)
    for axis, task in zip(axes[0], tasks, strict=True):
        for kind, (colour, marker) in LOOKS.items():
            cells = {key: cell for key, cell in found.items() if key.startswith(f"{task} {kind} ")}
            points = [(_seconds(cell, row), y) for cell in cells.values() for y, row in enumerate(rows)]
            published = [(PAPER[key][i], y) for key in cells for i, y in _paper_rows(rows)]
            if cells:
                axis.scatter(*zip(*points, strict=True), s=22, color=colour, marker=marker, label=f"{kind} network")
                axis.scatter(*zip(*published, strict=True), s=60, color="black", marker="|", label="the paper's")
        axis.set(xscale="log", xlabel="seconds for one class", title="LeNet" if task == "lenet" else "VGG11")
        axis.grid(axis="x", color="#dddddd", lw=0.6)
        for line in (2.5, 5.5, 8.5, 11.5):
            axis.axhline(line, color="#bbbbbb", lw=0.6)
    axes[0, 0].set_yticks(range(len(rows)), labels)
    axes[0, 0].invert_yaxis()
    entries = dict(zip(*reversed(axes[0, 0].get_legend_handles_labels()), strict=True))
    figure.legend(entries.values(), entries.keys(), loc="lower center", ncols=4, frameon=False)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(path, dpi=85)
    plt.close(figure)


def _paper_rows(rows: list[str]) -> list[tuple[int, int]]:
    """Column of the paper's table, and row of the figure, of the methods as published."""
    return [(i, rows.index(name)) for i, name in enumerate(("one draw", *(f"{m}, one by one" for m in CAPTUM)))]


def _seconds(cell: dict[str, Any], row: str) -> float:
    return float(cell[row]["one" if row in NEUCEPT else "seconds"])


def verdicts(found: Found) -> list[Verdict]:
    less = [cell["50 draws"]["all"] < cell["classes"] * cheapest(cell) for cell in found.values()]
    one = [cell["one draw"]["one"] for cell in found.values()]
    slow = [cell[f"{m}, one by one"]["seconds"] for cell in found.values() for m in CAPTUM]
    return [
        Verdict(
            "Table 2",
            "an iteration takes 1.9 to 26 s, attributions image by image 15 to 709 s (on a GPU)",
            f"{min(one):.2g} to {max(one):.2g} s beyond one recording, {min(slow):.3g} to {max(slow):.3g} s on the same"
            f" CPU; all classes, 50 draws, cost less than batched saliency of them in {sum(less)} of {len(less)} cases",
            "yes" if max(one) < min(slow) else "partly",
        )
    ]


def cheapest(cell: dict[str, Any]) -> float:
    """Seconds of saliency for one class, all inputs in batches, the faster of the two ways."""
    return float(min(cell[f"saliency, {way}"]["seconds"] for way in ("whole network", "cut")))


def finding(found: Found) -> str:
    first = next(iter(found.values()))
    runs = len({cell["process"] for cell in found.values()})
    load = max(cell["load before"] for cell in found.values())
    simple = max(cell[name] for cell in found.values() for name in ("activation", "variance"))
    lines = [
        f"Seconds for one class on {first['inputs']:,} inputs, {first['threads']} thread(s) of a CPU, in {runs} run(s);"
        f" the machine's load before a cell, that of the cell before it included, was at most {load}. NeuCEPT: one draw"
        " (the paper's one iteration) / 50 draws / calibrated, on all inputs. Attributions: one image at a time as in"
        " the published code / Captum's classes for layers on the whole network / cut, in batches. Methods that take"
        " longer than some seconds were timed on a random part of the inputs and scaled. Activation and variance take"
        f" at most {simple:.2g} s.",
        "",
        "| network, layer | recording | NeuCEPT | NeuCEPT, all classes | " + " | ".join(CAPTUM) + " |",
        "|---" * (4 + len(CAPTUM)) + "|",
    ]
    for key, cell in found.items():
        ours = [" / ".join(f"{cell[variant][part]:.3g}" for variant in NEUCEPT) for part in ("one", "all")]
        theirs = [" / ".join(f"{cell[f'{m}, {way}']['seconds']:.3g}" for way in WAYS) for m in CAPTUM]
        lines.append(f"| {key} | {cell['recording']:.3g} | " + " | ".join(ours + theirs) + " |")
    lines += ["", *passes(found), "", *in_words(found)]
    return "\n".join(lines)


def passes(found: Found) -> list[str]:
    """Tell the passes an input, of one network of each architecture."""
    lines = [
        "Passes an input, for one class: through the whole network / its rest after the layer / back. NeuCEPT: one"
        " through the whole network for any number of classes, layers and draws. Attributions: as many again, and as"
        " long, for every further class.",
        "",
        "| network, layer | way | " + " | ".join(CAPTUM) + " |",
        "|---" * (2 + len(CAPTUM)) + "|",
    ]
    for key in (key for key in found if "pkt" in key):
        for way in WAYS:
            cells = [found[key][f"{m}, {way}"] for m in CAPTUM]
            counts = [" / ".join(f"{cell[part]:.4g}" for part in ("whole", "rest", "back")) for cell in cells]
            lines.append(f"| {key} | {way} | " + " | ".join(counts) + " |")
    return lines


def in_words(found: Found) -> list[str]:
    lines: list[str] = []
    total = {key: {v: cell["recording"] + cell[v]["one"] for v in NEUCEPT} for key, cell in found.items()}
    for way in WAYS:
        faster = {
            variant: sum(
                total[key][variant] < min(cell[f"{m}, {way}"]["seconds"] for m in CAPTUM) for key, cell in found.items()
            )
            for variant in NEUCEPT
        }
        counts = ", ".join(f"{variant} in {number}" for variant, number in faster.items())
        lines.append(
            f"- Faster, its recording included, than all four attributions ({way}), of {len(found)} cases: {counts}."
        )
    gains = [
        cell[f"{m}, whole network"]["seconds"] / cell[f"{m}, cut"]["seconds"] for cell in found.values() for m in CAPTUM
    ]
    lines.append(
        f"- Cutting the network at the layer makes attributions {min(gains):.1f} to {max(gains):.0f} times faster than"
        f" Captum's classes for layers (median {np.median(gains):.0f})."
    )
    lines += all_classes(found)
    for key, cell in found.items():
        if "growth" in cell:
            lines.append(f"- Integrated gradients, {key}: five times the inputs take {cell['growth']} times as long.")
    return lines


def all_classes(found: Found) -> list[str]:
    """Hold 50 draws for all classes against saliency for all classes, of every input or of each class's own."""
    lines = [
        "",
        "All classes, beyond the one recording: NeuCEPT with 50 draws, against saliency (Captum on the whole network /"
        " cut, both in batches) of all inputs for each class, and of each class's own inputs, together one time all.",
        "",
        "| network, layer | classes | NeuCEPT | saliency, all inputs | own inputs |",
        "|---|---|---|---|---|",
    ]
    less = []
    for key, cell in found.items():
        once = [cell[f"saliency, {way}"]["seconds"] for way in ("whole network", "cut")]
        ours, k = cell["50 draws"]["all"], cell["classes"]
        less.append(ours < k * cheapest(cell))
        shown = [" / ".join(f"{seconds:.3g}" for seconds in row) for row in ([k * s for s in once], once)]
        lines.append(f"| {key} | {k} | {ours:.3g} | {shown[0]} | {shown[1]} |")
    return [
        *lines,
        "",
        f"- Less than saliency of all inputs for each class, cut or not: in {sum(less)} of {len(less)}.",
    ]


if __name__ == "__main__":
    main(sys.modules[__name__])
