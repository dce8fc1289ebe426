"""Wrong input, one table of (public call, argument, value): a sentence, before any work, and nothing is changed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import neucept
from neucept import ablation
from neucept.pathways import NeuronMCT, PathwayGradient
from neucept.rankings import Activation, rank
from neucept.recording import agreement, list_layers, tail
from neucept.recording.regions import activating_regions

torch.manual_seed(0)
MODEL = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).train()
IMAGES, X, Y = torch.randn(9, 1, 8, 8), torch.randn(120, 6), torch.arange(120) % 3
MAPS = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 2))
RECORDING = neucept.record(MODEL, (X, Y), ["1"], progress=False)
TARGET = int(np.bincount(RECORDING.predictions).argmax())
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    CRITICAL = neucept.discover(RECORDING, TARGET, samples="all", calibration=None, draws=2, progress=False)
MECHANISMS = neucept.learn(RECORDING, {"1": range(4)}, 2, target=TARGET, samples="all")
ACTIVATIONS = RECORDING.activations("1")

WHOLE, REAL = [-1, 1.5, "x", [1], float("nan")], [-1, "x", float("nan"), [1]]
THING = object()
TABLE: list[tuple[Callable[..., Any], dict[str, Any], dict[str, list[Any]]]] = [
    (
        neucept.record,
        {"model": MODEL, "data": X, "layers": ["1"], "progress": False},
        {
            "model": [None, 3, nn.Linear, "x"],
            "data": [None, 3, "x", [], {}, THING, X[:0], X[:, :2], float("nan")],
            "layers": [None, [], "1", ["9"], ["1", "1"], [None], [3], 3],
            "neurons": [3, "x", THING, {"9": "element"}, None],
            "output": ["x", 7, lambda returned: None],
            "batch_size": [*WHOLE, 0, None],
            "class_names": [3, "abc", ["a"], ["a", "a", "b"]],
            "task": [None, "x", 3, {}],
            "device": ["x", 3.5],
            "store": [3, ""],
        },
    ),
    (list_layers, {"model": MODEL, "inputs": X}, {"model": [None, 3], "inputs": [None, 3, "x", X[:0], X[:, :2]]}),
    (
        neucept.discover,
        {"recording": RECORDING, "target": TARGET, "samples": "all", "calibration": None, "draws": 2},
        {
            "recording": [None, 3, X],
            "target": [None, -1, 99, "x", 1.5, THING],
            "layers": [[], ["9"], "1", 3],
            "precision": [0, 1, -1, "x", float("nan"), None, {"9": 0.5}],
            "samples": ["x", [], [-1], [10**6], THING],
            "response": ["x", None, 3],
            "objective": ["x", None],
            "sampler": ["x", None, 3],
            "statistic": ["x", None, 3],
            "aggregate": ["x", None, 3],
            "calibration": ["x", 3],
            "draws": [*WHOLE, 0, None],
            "seed": ["x", 1.5, None],
        },
    ),
    (
        neucept.learn,
        {"recording": RECORDING, "critical": {"1": range(4)}, "n_mechanisms": 2, "target": TARGET, "samples": "all"},
        {
            "recording": [None, 3],
            "critical": [None, 3, {}, {"9": [1]}, {"1": []}, {"1": [99]}, {"1": [-1]}, "x"],
            "n_mechanisms": [*WHOLE, 0, None, 10**6],
            "method": ["x", None, 3],
            "reduce": ["x", 3],
            "samples": ["x", [], [-1], [10**6]],
            "target": [-1, 99, "x"],
        },
    ),
    (
        neucept.reliability,
        {"recording": RECORDING, "mechanisms": MECHANISMS},
        {"recording": [None, 3], "mechanisms": [None, 3], "labels": ["x", [], [1]], "confidence": [*REAL, 0, 1, None]},
    ),
    (
        neucept.sufficiency,
        {"recording": RECORDING, "critical": CRITICAL, "model": MODEL, "data": X, "progress": False},
        {
            "recording": [None, 3],
            "critical": [None, 3, {}, {"9": [1]}],
            "model": [3, "x"],
            "data": [3, X[:5]],
            "top": WHOLE,
        },
    ),
    (neucept.compare, {"a": MECHANISMS, "b": MECHANISMS}, {"a": [None, 3], "b": [None, 3], "draws": WHOLE}),
    (
        neucept.trace_pathways,
        {"mechanisms": MECHANISMS, "model": MODEL, "data": X, "progress": False},
        {"mechanisms": [None, 3], "model": [None, 3], "data": [None, 3, X[:5]], "sparsity": [*REAL, None]},
    ),
    (
        rank,
        {"recording": RECORDING, "target": TARGET, "methods": [Activation()]},
        {"recording": [None, 3], "target": [None, 99, "x"], "methods": [None, [], 3, ["x"]], "layers": [["9"], []]},
    ),
    (tail, {"model": MODEL, "layer": "1"}, {"model": [None, 3], "layer": [None, 3, "9", ""]}),
    (
        ablation.resample,
        {"tail": tail(MODEL, "1"), "activations": ACTIVATIONS, "scores": {"a": np.arange(8.0)}, "tops": [2]},
        {
            "tail": [None, 3],
            "activations": [None, 3, "x"],
            "scores": [None, {}, {"a": [1.0]}],
            "tops": [None, [], [-1]],
        },
    ),
    (
        activating_regions,
        {"model": MAPS, "inputs": IMAGES, "layer": "0", "neuron": 0},
        {
            "model": [None, 3],
            "inputs": [None, 3, "x", IMAGES[:0]],
            "layer": [None, "9", 3],
            "neuron": [None, -1, 99, "x", 1.5],
            "share": [*REAL, None],
            "batch_size": [*WHOLE, 0],
        },
    ),
    (neucept.Recording.open, {}, {"path": ["nowhere", None, 3]}),
    (neucept.Mechanisms.open, {}, {"path": ["nowhere", None, 3]}),
    (neucept.CriticalNeurons.open, {}, {"path": ["nowhere", None, 3]}),
    (RECORDING.save, {}, {"path": [None, 3, ""]}),
    (RECORDING.activations, {}, {"layer": [None, 3, "9"]}),
]
ROWS = [
    pytest.param(call, {**right, name: value}, id=f"{call.__qualname__}-{name}-{str(value)[:12]!r}")
    for call, right, wrong in TABLE
    for name, values in wrong.items()
    for value in values
]


def state(model: nn.Module) -> list[Any]:
    return [
        *((module.training, len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()),
        *(value.tolist() for value in model.state_dict().values()),
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("call", "given"), ROWS)
def test_wrong_input_is_refused(
    call: Callable[..., Any], given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = state(MODEL), state(MAPS)
    with pytest.raises(neucept.InputError):
        call(**given)
    assert (state(MODEL), state(MAPS)) == before
    assert not list(tmp_path.iterdir())


ANYTHING = ["nonsense", -1, float("nan"), {}, THING, 3.7, np.zeros((2, 2)), torch.zeros(0), {"zz": 1}]
SCORER = NeuronMCT(MODEL)
KINDS: list[tuple[Callable[..., Any], dict[str, Any], tuple[str, ...]]] = [
    (
        neucept.calibrate,
        {"recording": RECORDING, "layer": "1"},
        ("recording", "layer", "precision", "target"),
    ),
    (neucept.choose_n_mechanisms, {"mechanisms": MECHANISMS}, ("mechanisms",)),
    (
        agreement,
        {"model": MODEL, "data": (X, Y), "recording": RECORDING, "layer": "1", "kept": {"a": [0]}, "rows": [0, 1]},
        ("model", "data", "recording", "layer", "rows", "batch_size", "seed"),
    ),
    (
        neucept.report,
        {"recording": RECORDING, "critical": CRITICAL, "mechanisms": MECHANISMS},
        ("recording", "critical", "mechanisms"),
    ),
    (neucept.analyse, {"model": MODEL, "data": (X, Y), "layers": ["1"], "target": TARGET}, ("model", "data", "layers")),
    (SCORER.score, {"inputs": X[:3]}, ("inputs",)),
    (PathwayGradient(SCORER, 0.5).attribute, {"inputs": X[:3]}, ("inputs",)),
    (NeuronMCT, {"model": MODEL}, ("model", "activations", "internal_batch_size")),
    (PathwayGradient, {"method": SCORER}, ("method", "sparsity")),
    (SCORER.score(X[:3]).select, {}, ("sparsity",)),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("call", "given", "argument"),
    [(call, given, argument) for call, given, arguments in KINDS for argument in arguments],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__qualname__", ""),
)
def test_values_of_no_kind_that_a_call_takes(call: Callable[..., Any], given: dict[str, Any], argument: str) -> None:
    before = state(MODEL)
    for value in ANYTHING:
        with pytest.raises(neucept.InputError):
            call(**{**given, argument: value})
    assert state(MODEL) == before
