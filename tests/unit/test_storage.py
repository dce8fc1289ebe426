"""Results are written whole or not at all, and read back as they were."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from neucept import InputError, storage


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
        read, opened = storage.open_folder(path, "Thing", lazy=lazy)
        assert np.isnan(read.pop("nan"))
        assert read == {k: v for k, v in facts.items() if k != "nan"} | {
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
    assert path.stat().st_mode & 0o777 == 0o755
    assert [p.name for p in path.parent.iterdir()] == ["result"]


def test_an_older_result_is_replaced_whole(tmp_path: Path) -> None:
    path = storage.save(tmp_path / "result", "Thing", {}, {"a": np.zeros(3), "b": np.ones(3)})
    (path / "note.txt").write_text("left over")
    storage.save(path, "Thing", {"new": 1}, {"c": np.zeros(2)})
    facts, arrays = storage.open_folder(path, "Thing")
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
    assert storage.open_folder(path, "Thing")[0] == {"old": 1}
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
        storage.open_folder(path, "Recording")
    with pytest.raises(InputError, match="missing is no saved Thing"):
        storage.open_folder(tmp_path / "missing", "Thing")
    (path / "000.npy").unlink()
    with pytest.raises(InputError, match="is no saved Thing"):
        storage.open_folder(path, "Thing")
    (path / "facts.json").write_text("{")
    with pytest.raises(InputError, match="is no saved Thing"):
        storage.open_folder(path, "Thing")
    (path / "facts.json").write_text(json.dumps([1]))
    with pytest.raises(InputError, match="is no saved Thing"):
        storage.open_folder(path, "Thing")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = storage.save(tmp_path / "result", "Thing", {}, {"a": np.zeros(3)})
    np.save(path / "000.npy", np.array([{"code": 1}]), allow_pickle=True)
    with pytest.raises(InputError, match="is no saved Thing"):
        storage.open_folder(path, "Thing")
