"""Results are written whole or not at all, and read back as they were."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from neucept import Comparison, CriticalNeurons, InputError, Mechanisms, Recording, compare, discover, learn, storage
from neucept.knockoffs.moments import Moments
from neucept.mechanism_pathways import MechanismPathways, trace_pathways
from neucept.pathways import NeuronMCT, NeuronScores, Pathway


def read(path: Path, kind: str, lazy: bool = False) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with storage.opened(path, kind, lazy=lazy) as (facts, arrays):
        return facts, arrays


def test_save_and_open(tmp_path: Path) -> None:
    arrays = {
        "neurons/conv 1/a.b#0": np.arange(6, dtype=np.float32).reshape(2, 3),
        "empty": np.zeros((0, 4)),
        "nothing": None,
        "bools": np.array([True, False]),
    }
    facts = {"name": "Katze, 猫", "none": None, "number": 1.5, "list": [1, [2, "x"]], "nan": float("nan")}
    numbers = {"int": np.int64(3), "float": np.float32(0.5), "array": np.arange(3), "bool": np.bool_(True)}
    path = storage.save(tmp_path / "deep" / "er" / "result", "Thing", facts | numbers, arrays)
    for lazy in (False, True):
        saved, opened = read(path, "Thing", lazy)
        assert np.isnan(saved.pop("nan"))
        assert saved == {k: v for k, v in facts.items() if k != "nan"} | {
            "int": 3,
            "float": 0.5,
            "array": [0, 1, 2],
            "bool": True,
        }
        assert set(opened) == set(arrays) - {"nothing"}
        for name, array in opened.items():
            assert array.dtype == arrays[name].dtype
            np.testing.assert_array_equal(array, arrays[name])
        assert isinstance(opened["bools"], np.memmap) == lazy
    assert [p.name for p in path.parent.iterdir()] == ["result"]


def test_an_older_result_is_replaced_whole(tmp_path: Path) -> None:
    path = storage.save(tmp_path / "result", "Thing", {}, {"a": np.zeros(3), "b": np.ones(3)})
    (path / "note.txt").write_text("left over")
    storage.save(path, "Thing", {"new": 1}, {"c": np.zeros(2)})
    facts, arrays = read(path, "Thing")
    assert facts == {"new": 1} and list(arrays) == ["c"]
    assert sorted(p.name for p in path.iterdir()) == ["000.npy", "facts.json"]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = storage.save(tmp_path / "result", "Thing", {"old": 1}, {"a": np.zeros(3)})
    with pytest.raises(ValueError, match=r"allow_pickle|Object arrays"):
        storage.save(path, "Thing", {}, {"a": np.ones(2), "objects": np.array([object()])})
    with pytest.raises(TypeError, match="a set cannot be written as JSON"):
        storage.save(path, "Thing", {"set": {1}}, {})
    with pytest.raises(KeyboardInterrupt), storage.new_folder(path, "Thing") as draft:
        (draft / "half").write_text("done")
        raise KeyboardInterrupt
    assert read(path, "Thing")[0] == {"old": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_what_lies_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "photo").write_text("mine")
    storage.save(tmp_path / "other", "Other", {}, {})
    for name in ("file", "folder", "other"):
        with pytest.raises(InputError, match=f"{name} exists and is no saved Thing; choose another path or remove it"):
            storage.save(tmp_path / name, "Thing", {}, {})
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "photo").read_text() == "mine"
    with pytest.raises(InputError, match=r"Cannot write to .*below"):
        storage.save(tmp_path / "file" / "below", "Thing", {}, {})


def test_errors_of_opening_say_what_lies_there(tmp_path: Path) -> None:
    path = storage.save(tmp_path / "result", "Thing", {}, {"a": np.zeros(3)})
    with pytest.raises(InputError, match="holds a saved Thing, not a Recording"):
        read(path, "Recording")
    with pytest.raises(InputError, match="missing is no saved Thing"):
        read(tmp_path / "missing", "Thing")
    (path / "000.npy").unlink()
    with pytest.raises(InputError, match="is no saved Thing"):
        read(path, "Thing")
    (path / "facts.json").write_text("{")
    with pytest.raises(InputError, match="is no saved Thing"):
        read(path, "Thing")
    (path / "facts.json").write_text(json.dumps([1]))
    with pytest.raises(InputError, match="is no saved Thing"):
        read(path, "Thing")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = storage.save(tmp_path / "result", "Thing", {}, {"a": np.zeros(3)})
    np.save(path / "000.npy", np.array([{"code": 1}]), allow_pickle=True)
    with pytest.raises(InputError, match="is no saved Thing"):
        read(path, "Thing")


# ---- damage: every noun, every damage -------------------------------------------------------------------------------


def index(path: Path, **changes: Any) -> None:
    """Change keys of facts.json, so that its digest fits; None removes a key."""
    content = json.loads((path / "facts.json").read_text()) | changes
    content["digest"] = storage._digest(content)
    kept = {key: value for key, value in content.items() if key not in changes or changes[key] is not None}
    (path / "facts.json").write_text(json.dumps(kept))


def entries(path: Path, **changes: Any) -> dict[str, Any]:
    """The table of arrays, with the first array's entry changed."""
    arrays = json.loads((path / "facts.json").read_text())["arrays"]
    first = next(iter(arrays))
    return {**arrays, first: {**arrays[first], **changes}}


def header(path: Path, shape: tuple[int, ...]) -> None:
    """Write an array file whose header promises more than it holds."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
        file.write(bytes(800))


def outside(path: Path) -> None:
    shutil.copy(path / "000.npy", path.parent / "other.npy")
    index(path, arrays=entries(path, file="../other.npy"))


def by_link(path: Path) -> None:
    (path / "000.npy").rename(path.parent / "other.npy")
    (path / "000.npy").symlink_to(path.parent / "other.npy")


def pipe(path: Path) -> None:
    (path / "000.npy").unlink()
    os.mkfifo(path / "000.npy")


def zipped(path: Path) -> None:
    np.savez(path / "other.npz", x=np.zeros(3))
    (path / "other.npz").rename(path / "000.npy")


def without(path: Path, key: str) -> None:
    content = json.loads((path / "facts.json").read_text())
    first = next(iter(content[key]))
    index(path, **{key: {name: value for name, value in content[key].items() if name != first}})


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "empty array": lambda path: (path / "000.npy").write_bytes(b""),
    "array cut short": lambda path: os.truncate(path / "000.npy", 130),
    "array missing": lambda path: (path / "000.npy").unlink(),
    "array of noise": lambda path: (path / "000.npy").write_bytes(os.urandom(500)),
    "array of objects": lambda path: np.save(path / "000.npy", np.array([{1}]), allow_pickle=True),
    "archive for an array": zipped,
    "array of another shape": lambda path: np.save(path / "000.npy", np.zeros((7, 7, 7))),
    "array of 10^12": lambda path: header(path / "000.npy", (10**12,)),
    "array of 10^30": lambda path: header(path / "000.npy", (10**15, 10**15)),
    "array is a folder": lambda path: ((path / "000.npy").unlink(), (path / "000.npy").mkdir()),
    "array is a pipe": pipe,
    "array outside": outside,
    "array by a link": by_link,
    "array's file is no name": lambda path: index(path, arrays=entries(path, file=3)),
    "array's file is ..": lambda path: index(path, arrays=entries(path, file="..")),
    "array unnamed": lambda path: index(path, arrays={"x": {}}),
    "no facts.json": lambda path: (path / "facts.json").unlink(),
    "facts.json empty": lambda path: (path / "facts.json").write_text(""),
    "facts.json is a list": lambda path: (path / "facts.json").write_text("[1]"),
    "facts.json is noise": lambda path: (path / "facts.json").write_bytes(os.urandom(500)),
    "facts.json deep": lambda path: (path / "facts.json").write_text('{"kind":' + "[" * 100_000 + "]" * 100_000 + "}"),
    "facts.json edited": lambda path: (path / "facts.json").write_text(
        (path / "facts.json").read_text().replace('"shape": [', '"shape": [1,', 1)
    ),
    "no facts": lambda path: index(path, facts=None),
    "no arrays": lambda path: index(path, arrays=None),
    "facts of nothing": lambda path: index(path, facts={}),
    "facts are a list": lambda path: index(path, facts=[]),
    "arrays are a list": lambda path: index(path, arrays=[]),
    "a fact less": lambda path: without(path, "facts"),
    "an array less": lambda path: without(path, "arrays"),
    "no format": lambda path: index(path, format=None),
    "format 0": lambda path: index(path, format=0),
    "format in words": lambda path: index(path, format="two"),
    "format true": lambda path: index(path, format=True),
    "another kind": lambda path: index(path, kind="Other"),
    "kind is a list": lambda path: index(path, kind=[1]),
}


@pytest.fixture(scope="module")
def nouns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Callable[[Path], Any]]]:
    """A saved result of every kind, and what opens it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("nouns")
    model, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(80, 6)
    hidden = model[:2](x).detach().numpy()
    recording = Recording({"1": hidden}, model(x).detach().numpy(), np.arange(80) % 2, ("cat", "dog"))
    critical = discover(recording, 0, samples="all", calibration=None, draws=2, progress=False)
    mechanisms = learn(recording, {"1": [0, 1]}, 2, target=0, samples="all")
    scores = NeuronMCT(model).score(x[:4])
    traced = trace_pathways(mechanisms, model, x, progress=False)
    return {
        "recording": (recording.save(folder / "recording"), Recording.open),
        "critical": (critical.save(folder / "critical"), CriticalNeurons.open),
        "mechanisms": (mechanisms.save(folder / "mechanisms"), Mechanisms.open),
        "comparison": (compare(mechanisms, mechanisms).save(folder / "comparison"), Comparison.open),
        "pathways": (traced.save(folder / "pathways"), MechanismPathways.open),
        "scores": (scores.save(folder / "scores"), NeuronScores.open),
        "pathway": (scores.select(0.5).save(folder / "pathway"), Pathway.open),
        "moments": (Moments.of(hidden, hidden[:, :1]).save(folder / "moments"), Moments.open),
    }


NOUNS = ("recording", "critical", "mechanisms", "comparison", "pathways", "scores", "pathway", "moments")
# Kinds whose first array is one that they may lack.
OPTIONAL = {("pathways", "an array less"), ("scores", "an array less")}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("noun", NOUNS)
def test_damaged_results_are_refused(
    nouns: dict[str, tuple[Path, Callable[[Path], Any]]], noun: str, damage: str, tmp_path: Path
) -> None:
    saved, opens = nouns[noun]
    opens(saved)
    copy = tmp_path / "copy"
    shutil.copytree(saved, copy)
    DAMAGE[damage](copy)
    if (noun, damage) in OPTIONAL:
        opens(copy)
        return
    with pytest.raises(InputError, match=r"copy (is no saved|holds a saved)"):
        opens(copy)


@pytest.mark.parametrize("noun", NOUNS)
def test_results_of_the_first_format_open(
    nouns: dict[str, tuple[Path, Callable[[Path], Any]]], noun: str, tmp_path: Path
) -> None:
    saved, opens = nouns[noun]
    copy = tmp_path / "copy"
    shutil.copytree(saved, copy)
    content = json.loads((copy / "facts.json").read_text())
    old = {"kind": content["kind"], "format": 1, "facts": content["facts"]}
    old["arrays"] = {name: entry["file"] for name, entry in content["arrays"].items()}
    (copy / "facts.json").write_text(json.dumps(old))
    assert contents(opens(copy)) == contents(opens(saved))


def contents(value: Any) -> Any:
    """Everything that a result holds, but for where it lies."""
    if isinstance(value, Tensor):
        value = value.numpy()
    if isinstance(value, pd.DataFrame):
        return value.to_csv()
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, dict):
        return {str(key): contents(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [contents(part) for part in value]
    if hasattr(value, "__dict__"):
        return {name: contents(part) for name, part in vars(value).items() if name not in ("path", "folder")}
    return repr(value)


def test_a_newer_format_is_named(tmp_path: Path) -> None:
    path = storage.save(tmp_path / "result", "Thing", {}, {"a": np.zeros(3)})
    content = json.loads((path / "facts.json").read_text())
    assert (content["format"], content["version"]) == (2, version("neucept"))
    for changes, writer in (({"version": "7.1"}, "neucept 7.1"), ({}, f"neucept {version('neucept')}")):
        index(path, format=999, **changes)
        with pytest.raises(
            InputError, match=rf"was written by {writer} in format 999; neucept .* reads formats 1 to 2"
        ):
            read(path, "Thing")
        index(path, format=2, version=version("neucept"))
    index(path, format=999, version=None)
    with pytest.raises(InputError, match=r"by a newer version of neucept in format 999.*pip install --upgrade neucept"):
        read(path, "Thing")


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_that_the_umask_asks_for(tmp_path: Path, mask: int) -> None:
    old = os.umask(mask)
    try:
        path = storage.save(tmp_path / "result", "Thing", {}, {"a": np.zeros(3)})
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o777 & ~mask
    assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o666 & ~mask}


def test_links_and_long_names(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for number in range(2):  # where the target is missing, and where it is a result
        storage.save(tmp_path / "link", "Thing", {"number": number}, {})
        assert (tmp_path / "link").is_symlink() and read(tmp_path / "target", "Thing")[0] == {"number": number}
    long = storage.save(tmp_path / ("x" * 255), "Thing", {}, {})
    assert read(long, "Thing") == ({}, {})
    with pytest.raises(InputError, match=r"Cannot write to .*name too long"):
        storage.save(tmp_path / ("x" * 256), "Thing", {}, {})


def test_a_full_disk_is_said_and_leaves_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **settings: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    storage.save(tmp_path / "result", "Thing", {"old": 1}, {})
    monkeypatch.setattr(np, "save", full)
    with pytest.raises(InputError, match=r"Cannot write to .*result: No space left on device \(.* MB are free\)"):
        storage.save(tmp_path / "result", "Thing", {}, {"a": np.zeros(3)})
    assert read(tmp_path / "result", "Thing")[0] == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["result"]
