"""Experiments: all of them measure, draw and tell; what was measured survives an interruption and makes the page."""

import ast
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import neucept

FOLDER = Path(__file__).parents[2] / "experiments"
CODE = sorted(FOLDER.rglob("*.py"))
NAMES = [
    path.stem for path in sorted((FOLDER / "tell").glob("*.py")) if (FOLDER / f"results/{path.stem}.json").exists()
]


@pytest.fixture
def experiments(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Import experiments as their own command does, and forget them afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and Path(str(sys.modules[name].__file__)).is_relative_to(
            FOLDER
        ):
            del sys.modules[name]


@pytest.fixture
def common(experiments: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    module = importlib.import_module("common")
    monkeypatch.setattr(module, "HERE", tmp_path)
    return module


def results(name: str) -> dict:
    return json.loads((FOLDER / "results" / f"{name}.json").read_text())


def test_every_experiment_of_the_page_is_told(experiments: None) -> None:
    page = importlib.import_module("page")
    assert set(page.NEUCEPT + page.PATHWAYS) <= set(NAMES)
    assert len(page.NEUCEPT + page.PATHWAYS) >= 19


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_measures_draws_and_tells(name: str) -> None:
    def functions(path: Path) -> set[str]:
        return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}

    assert functions(FOLDER / f"{name}.py") & {"run", "main"}
    assert "tell" in functions(FOLDER / "tell" / f"{name}.py")
    drawing = FOLDER / "draw" / f"{name}.py"
    assert not drawing.exists() or "draw" in functions(drawing)
    assert drawing.exists() == (FOLDER.parent / "docs" / "figures" / f"{name}.png").exists()


@pytest.mark.parametrize("name", NAMES)
def test_what_was_measured_is_what_the_pages_tell(experiments: None, name: str) -> None:
    telling = importlib.import_module(f"tell.{name}")
    told = telling.tell(results(name))
    assert not re.search(r"\{\w|\bnan\b|\bNone\b", told)
    pages = "".join(
        (FOLDER.parent / "docs" / f"{page}.md").read_text()
        for page in ("results", "promise", "remedies", "mechanism-space", "orders")
    )
    pages += (FOLDER / "results" / "validity.md").read_text()
    assert told.strip() in pages
    if hasattr(telling, "claims"):
        claims = telling.claims(results(name))
        assert claims
        anchor = importlib.import_module("template").Template(name).anchor
        for claim in claims:
            assert claim.what and claim.source and any(character.isdigit() for character in claim.value)
            assert f"| {' | '.join(claim.row(anchor))} |" in pages


def test_a_claim_holds_or_not(experiments: None) -> None:
    claim = importlib.import_module("claims").Claim
    with pytest.raises(ValueError, match="perhaps"):
        claim(what="accuracy is high", source="Table 1", value="99%", holds="perhaps")


def test_a_template_wants_all_its_fields_and_no_others(
    experiments: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = importlib.import_module("template")
    (tmp_path / "trial.md").write_text("## A trial: of two\n\n{one} and {two:.2f}\n\n=== more\nmore {one}\n")
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    template = module.Template("trial")
    assert (template.title, template.anchor) == ("A trial: of two", "a-trial-of-two")
    assert template.fill(one="one", two=2) == "## A trial: of two\n\none and 2.00"
    assert template.fill("more", one=1) == "more 1"
    for fields in ({"one": 1}, {"one": 1, "two": 2, "three": 3}):
        with pytest.raises(KeyError, match="missing or not used"):
            template.fill(**fields)


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_an_experiment_is_short_and_calls_what_is_public(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 200
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert all(name.name == "neucept" or not name.name.startswith("neucept") for name in node.names)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("neucept"):
            module = importlib.import_module(node.module)
            for name in node.names:
                assert name.name in getattr(module, "__all__", ()), f"{node.module}.{name.name}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "neucept":
            assert node.attr in neucept.__all__, f"neucept.{node.attr}"
        if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self"):
            assert not node.attr.startswith("_") or re.fullmatch("__(name|file|init|all)__", node.attr), node.attr


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


def test_values_are_written_with_their_interval(common: ModuleType) -> None:
    assert common.plus_minus([1.0]) == "1.00" and common.plus_minus([1.0, 1.0, 1.0]) == "1.00 ± 0.00"
    assert common.plus_minus([3.0, 1.0]) == "2.00 (1.00 to 3.00)"  # an interval of two values says nothing
    assert common.signed([3.0, 1.0], 1) == "+2.0 (1.0 to 3.0)" and common.signed([-1.0]) == "-1.00"
    assert common.plus_minus([]) == "–"
