"""Which neurons carry the decision: orders of NeuCEPT beside other methods, by three measures.

    python experiments/orders.py [--groups given fresh vgg11] [--page]

*Kept*: share of predictions that stay with the first neurons from the input and all others from another input, on
inputs that ``sufficient``, ``robust``, saliency and learnt gates were not found on (the other orders saw them).
*Constant*: the same with the others at constants that were learnt to keep them, half of the inputs of the class. *R²*:
share of the logit's variance that a linear fit on the first neurons predicts on other inputs. *Noise*: area under
accuracy against noise of both signs, and against the published noise, which is never negative, that spares the neurons
that an order calls important (gamma 8, levels as in ``ablation.py``, by ranks and by the first neurons; 2,000 test
inputs). The networks of ../shared/models ("given") are those that the orders were chosen on; "fresh" pairs were trained
for the experiments, and measured once. NeuCEPT without calibration, 20 draws, for the orders by information and
evidence. Writes docs/orders.md.
"""

from __future__ import annotations

import argparse
import importlib
from functools import partial
from typing import Any

import numpy as np
import torch
from ablation import GAMMAS, LEVELS, SIGNS, Against, outputs
from common import PROJECT, SHARED, Results, Scale, scale
from discovery import quiet
from networks import trained
from spaces import given
from tasks import TASKS, tensors
from torch import nn
from torch.utils.data import TensorDataset

import neucept
from neucept import rankings
from neucept.discovery import ORDERS
from neucept.recording import tail

GROUPS: dict[str, list[tuple[str, int]]] = {
    "given": [("lenet", 0), ("lenet", 1), ("lenet", 2), ("vgg11", 0)],
    "fresh": [("lenet", seed) for seed in range(5)],
    "vgg11": [("vgg11", 0)],
}
KINDS = ("pkt", "normal")
COUNTS = {"lenet": [5, 10, 20, 40], "vgg11": [10, 30, 60, 100]}
INPUTS = 2000  # in the tests by noise


def network(group: str, task: str, seed: int, kind: str, scale: Scale) -> nn.Module:
    return given(f"{task}-{kind}-{seed}", 2, scale.shared) if group == "given" else trained(task, seed, scale)[kind]


def measure(group: str, task: str, seed: int, kind: str, scale: Scale) -> dict[str, Any]:
    """Measure every order on one network: {layer: {"kept" | "constant" | "r2": {order: by number}, noise: {order}}}."""
    model = network(group, task, seed, kind, scale)
    X, fine = tensors(task, "test", scale.shared, scale.inputs)
    labels = TASKS[task].coarse(fine)
    data = TensorDataset(X, torch.as_tensor(labels))
    layers = [layer for _, layer in TASKS[task].layers]
    recording = neucept.record(model, data, layers=layers, progress=False)
    by_class = [discovered(recording, number, model, data) for number in (0, 1)]
    subjects = [rankings.Subject.of(recording, number, model, X) for number in (0, 1)]
    others = (rankings.Saliency(), rankings.IntegratedGradients(), rankings.Variance(), rankings.Random(), Against())
    beside = {method.name: [method.scores(subject) for subject in subjects] for method in others}
    results = {}
    for name, layer in TASKS[task].layers:
        carried = [carries(recording, number, by_class[number], layer, model, data, task) for number in (0, 1)]
        share = np.array([np.mean(recording.predictions == number) for number in (0, 1)])
        cell: dict[str, Any] = {
            measure: {
                order: [
                    round(float(share @ both), 4)
                    for both in zip(*(one[measure][order] for one in carried), strict=True)
                ]
                for order in carried[0][measure]
            }
            for measure in carried[0]
        }
        scores = {order: np.stack([places(one[layer].ranked(order)) for one in by_class]) for order in ORDERS}
        scores |= {method: np.stack([one[layer] for one in both]) for method, both in beside.items()}
        cell |= noise(model, recording, layer, scores, X, labels, COUNTS[task][2])
        enough = [one[layer].sufficient(0.9) for one in by_class]
        cell["suffice"] = [len(one) for one in enough]
        cell["of these selected"] = [
            int(one[layer].is_selected[few].sum()) for one, few in zip(by_class, enough, strict=True)
        ]
        results[name] = cell
    return results


def discovered(recording: neucept.Recording, number: int, model: nn.Module, data: Any) -> neucept.CriticalNeurons:
    """Discover the critical neurons of a class, with every order."""
    options: dict[str, Any] = {"calibration": None, "draws": 20, "effect": False, "progress": False}
    critical = quiet(neucept.discover, recording, number, model=model, data=data, **options)
    for order in ("robust", "contribution"):
        critical = critical.ordered(order, recording, model, data)
    return critical.ordered("sufficient")


def carries(
    recording: neucept.Recording,
    number: int,
    critical: neucept.CriticalNeurons,
    layer: str,
    model: nn.Module,
    data: Any,
    task: str,
) -> dict[str, dict[str, list[float]]]:
    """Both sufficiencies by number of neurons, {measure: {order: [by number]}}."""
    beside = {order: {layer: critical[layer].ranked(order)} for order in ORDERS[:-1]}
    options = {"target": number, "counts": COUNTS[task], "gates": True, "beside": beside, "progress": False}
    table = neucept.sufficiency(recording, {layer: critical[layer].ranking}, model, data, **options)
    table = table[table["method"] != ""].replace({"method": {"critical": "sufficient"}})
    measures = {"kept": "agreement_resampled", "constant": "agreement_constant", "r2": "r2_linear"}
    return {
        measure: {str(method): rows[column].tolist() for method, rows in table.groupby("method", sort=False)}
        for measure, column in measures.items()
    }


def places(ranking: np.ndarray) -> np.ndarray:
    return -np.argsort(ranking).astype(float)  # the inverse of a permutation is the place of each neuron


def noise(
    model: nn.Module,
    recording: neucept.Recording,
    layer: str,
    scores: dict[str, np.ndarray],
    X: torch.Tensor,
    labels: np.ndarray,
    top: int,
) -> dict[str, dict[str, float]]:
    """Area under accuracy against noise, {sign of the noise: {order: area}}."""
    Z = outputs(recording, layer, model, X)[:INPUTS]
    areas = {}
    for signs, low in SIGNS.items():
        options = {"gammas": [max(GAMMAS)], "tops": (top, None), "normalise": "rank", "low": low, "progress": False}
        table = neucept.ablation.ablate(tail(model, layer), Z, labels[:INPUTS], scores, LEVELS, **options)
        curves = table.groupby(["method", "level"])["accuracy"].mean().unstack()
        area = np.trapezoid(curves, curves.columns) / curves.columns[-1]
        areas[f"noise, {signs}"] = dict(zip(curves.index, area.round(4).tolist(), strict=True))
    return areas


def run(scale: Scale, groups: tuple[str, ...] = ("given", "fresh")) -> dict[str, Any]:
    cells = {
        f"{group} {task} {seed} {kind}": partial(measure, group, task, seed, kind, scale)
        for group in groups
        for task, seed in GROUPS[group]
        for kind in KINDS
    }
    results = Results("orders", scale)
    results.fill(cells)
    return results.cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", nargs="*", default=["given", "fresh"], help="given, fresh, vgg11")
    parser.add_argument("--page", action="store_true", help="write the page from the results that are there")
    options = parser.parse_args()
    chosen = scale(False, SHARED)
    results = Results("orders", chosen).cells if options.page else run(chosen, tuple(options.groups))
    page = importlib.import_module("tell.orders").tell(results)
    (PROJECT / "docs" / "orders.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    main()
