"""Experiments: every one can be run and put on the page, and what was measured survives an interruption."""

import ast
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def common(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(FOLDER))
    module = importlib.import_module("common")
    monkeypatch.setattr(module, "HERE", tmp_path)
    yield module
    sys.modules.pop("common")


def named() -> list[str]:
    """Names of the experiments on the page."""
    found: list[str] = []
    for node in ast.parse((FOLDER / "everything.py").read_text()).body:
        value = getattr(node, "value", None)
        if isinstance(value, ast.Tuple):
            found += [element.value for element in value.elts if isinstance(element, ast.Constant)]
    return found


@pytest.mark.parametrize("name", named())
def test_every_experiment_of_the_page_has_its_parts(name: str) -> None:
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    constants = {t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if hasattr(t, "id")}
    assert {"run", "draw", "finding", "verdicts"} <= functions
    assert {"TITLE", "CLAIM"} <= constants


def test_there_are_experiments() -> None:
    assert len(named()) >= 15


def test_what_was_measured_survives_an_interruption(common: ModuleType) -> None:
    scale = common.scale(reduced=True)
    measured: list[str] = []

    def cell(name: str) -> dict[str, str]:
        measured.append(name)
        if name == "b" and measured.count("b") == 1:
            raise KeyboardInterrupt
        return {"is": name}

    wanted = {name: (lambda name=name: cell(name)) for name in "abc"}
    with pytest.raises(KeyboardInterrupt):
        common.Results("trial", scale).fill(wanted)
    path = common.HERE / "results" / "reduced" / "trial.json"
    assert json.loads(path.read_text()) == {"a": {"is": "a"}}
    assert list(common.Results("trial", scale).fill(wanted)) == ["a", "b", "c"]
    assert measured == ["a", "b", "b", "c"]
    assert [p.name for p in path.parent.iterdir()] == ["trial.json"]


def test_an_interval_covers_the_mean_as_often_as_it_says(common: ModuleType) -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        mean, half = common.interval(rng.normal(3, 2, 5))
        covered += abs(mean - 3) <= half
    assert 0.935 < covered / 2000 < 0.965
    assert np.isnan(common.interval([1.0])[1])
    assert common.shown([1.0]) == "1.00" and common.shown([1.0, 1.0, 1.0]) == "1.00 ± 0.00"
    assert common.shown([3.0, 1.0]) == "2.00 (1.00 to 3.00)"  # an interval of two values says nothing
