"""What every result shows at a prompt is one short line, however much it holds."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import neucept
from neucept.analysis import TopInputs
from neucept.knockoffs import KnockoffFilter
from neucept.pathways import NeuronMCT
from neucept.recording import Encoder
from neucept.short_repr import LONGEST, shortened


def own(value: Any) -> bool:
    """Whether a value is of a class of this package that says what it is."""
    return type(value).__module__.split(".")[0] == "neucept" and not inspect.isroutine(value)


def reachable(value: Any, path: str, seen: set[int], depth: int = 6) -> Iterator[tuple[str, Any]]:
    """A result, and every object of the package that its public attributes give."""
    if id(value) in seen or not depth:
        return
    seen.add(id(value))
    if own(value):
        yield path, value
        for name in (name for name in dir(type(value)) if not name.startswith("_")):
            if isinstance(inspect.getattr_static(type(value), name, None), property):
                yield from reachable(getattr(value, name), f"{path}.{name}", seen, depth - 1)
    if own(value) and dataclasses.is_dataclass(value):
        for one in dataclasses.fields(value):
            if not one.name.startswith("_"):
                yield from reachable(getattr(value, one.name), f"{path}.{one.name}", seen, depth - 1)
    elif isinstance(value, dict | tuple | list):
        for part in value.values() if isinstance(value, dict) else value[:3]:
            yield from reachable(part, f"{path}[]", seen, depth - 1)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One of each noun, of many layers with long names, many neurons and inputs."""
    torch.manual_seed(0)
    names = [f"a_stage_of_the_network_{i}" for i in range(6)]
    blocks = [nn.Sequential(nn.Linear(40, 40), nn.ReLU()) for _ in names]
    model = nn.Sequential()
    for name, block in zip(names, blocks, strict=True):
        model.add_module(name, block)
    model.add_module("head", nn.Linear(40, 2))
    X = 3 * torch.randn(400, 40)
    with torch.no_grad():
        model.head.bias -= model(X).mean(0)
    y = model(X).argmax(1)
    frame = pd.DataFrame(X.numpy(), columns=[f"a column with a long name {i}" for i in range(40)])
    classes = [f"a class with a very long name, number {i}" for i in range(2)]
    recording = neucept.record(model, (frame, y), ["input", *names], class_names=classes, progress=False)
    critical = neucept.discover(
        recording, 1, calibration=None, draws=20, precision=0.5, model=model, data=X, progress=False
    )
    mechanisms = neucept.learn(recording, critical, "auto")
    paths = neucept.trace_pathways(mechanisms, model, X, progress=False)
    plain = {"draws": 5, "calibration": None}
    audit = neucept.audit(
        model,
        (frame, y),
        names[:2],
        class_names=classes,
        stability=0,
        workers=1,
        progress=False,
        discovery=plain,
    )
    return {
        "Recording": recording,
        "CriticalNeurons": critical,
        "Selection": critical["input"],
        "Guarantee": critical["input"].guarantee,
        "Calibration": neucept.calibrate(recording, names[0], target=1, progress=False),
        "Mechanisms": mechanisms,
        "NumberOfClusters": neucept.choose_n_mechanisms(mechanisms, range(1, 3)),
        "MechanismPathways": paths,
        "Comparison": neucept.compare(mechanisms, mechanisms, ("the one network", "the other network")),
        "Analysis": neucept.analyse(
            model, X, recording=recording, critical=critical, mechanisms=mechanisms, pathways=False, progress=False
        ),
        "Audit": audit,
        "Inputs": neucept.Inputs.of((frame, y)),
        "PriorTraining": neucept.PriorTraining(model, model, None, tuple(map(str, range(100)))),
        "Batch": neucept.Inputs.of((frame, y))[:5],
        "Encoder": Encoder(model.forward, names=list(frame)),
        "NeuronScores": NeuronMCT(model).score(X[:3]),
        "Pathway": NeuronMCT(model).score(X[:3]).select(sparsity=0.5),
        "of a Dataset": neucept.Inputs.of(TensorDataset(X, y)),
        "KnockoffFilter": KnockoffFilter(),
        "Novelty": neucept.Novelty.fit(recording),
        "Drift": neucept.drift(audit, (frame, y)),
        "TopInputs": TopInputs("conv", 3, True, np.arange(50), np.zeros((50, 4))),
    }


def test_every_noun_is_here(results: dict[str, Any]) -> None:
    """Every public class that is made for people to look at; an error and a warning are not."""
    public = {name for name in neucept.__all__ if inspect.isclass(getattr(neucept, name))}
    public -= {"InputError", "NothingSelectedWarning"}
    kinds = {getattr(neucept, name) for name in public}
    assert kinds == {type(result) for result in results.values()} & kinds


def test_all_of_them_and_their_parts_are_one_short_line(results: dict[str, Any]) -> None:
    seen: set[int] = set()
    lines = {path: repr(value) for name, result in results.items() for path, value in reachable(result, name, seen)}
    assert len(lines) > 30
    long = {path: said for path, said in lines.items() if len(said) > LONGEST or "\n" in said or "array(" in said}
    assert long == {}


def test_it_says_what_matters(results: dict[str, Any]) -> None:
    assert repr(results["Recording"]).startswith("Recording(400 inputs, 2 classes; input (40 neurons)")
    assert "at precision 0.5" in repr(results["CriticalNeurons"]) and " of 40" in repr(results["CriticalNeurons"])
    assert "(400, 40)" in repr(results["Inputs"]) and "(5, 40)" in repr(results["Batch"])
    assert repr(results["Encoder"]).startswith("Encoder(encode=<forward>")


@pytest.mark.parametrize("text", ["Thing(" + "x" * 300 + ")", "a\nb", "{'" + "y" * 200 + "'}"])
def test_a_line_is_cut_and_closed(text: str) -> None:
    said = shortened(text)
    assert len(said) <= LONGEST and "\n" not in said and (said[-1] == text[-1])
    assert shortened(said) == said
