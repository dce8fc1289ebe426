"""New inputs, whose labels may not be known: what is read without them, and when labels are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import neucept
from neucept import InputError, Inputs
from neucept.datasets import ImageDataset, UnlabelledImages, load_data
from tests.unit.test_dataset_files import png, put, quiet


def folder(root: Path) -> Any:
    return put(root, "10.png", "9.png", "note.txt")


def deep(root: Path) -> Any:
    return put(root, "10.png", "9.png", "in/2.png", "in/er/1.png")


def splits(root: Path) -> Any:
    return put(root, "test/10.png", "test/9.png")


def file(root: Path) -> Any:
    return put(root, "9.png") / "9.png"


def several(root: Path) -> Any:
    put(root, "9.png", "10.png")
    return [root / "9.png", str(root / "10.png")]


def npz(root: Path) -> Any:
    root.mkdir()
    np.savez(root / "new.npz", x=np.zeros((3, 4, 4), np.uint8))
    return root / "new.npz"


def parquet(root: Path) -> Any:
    root.mkdir()
    pd.DataFrame({"image": [png(), png()]}).to_parquet(root / "new.parquet")
    return root


def hidden(root: Path) -> Any:
    """As test sets of competitions are."""
    root.mkdir()
    pd.DataFrame({"image": [png(), png()], "label": [-1, -1]}).to_parquet(root / "new.parquet")
    return root / "new.parquet"


def idx(root: Path) -> Any:
    root.mkdir()
    (root / "t10k-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 4, *[0] * 32]))
    return root


FORMS = {
    folder: ["9.png", "10.png"],
    deep: ["9.png", "10.png", "in/2.png", "in/er/1.png"],
    splits: ["test/9.png", "test/10.png"],
    file: ["9.png"],
    several: ["9.png", "10.png"],
    npz: ["new.npz row 0", "new.npz row 1", "new.npz row 2"],
    parquet: ["new.parquet row 0", "new.parquet row 1"],
    hidden: ["new.parquet row 0", "new.parquet row 1"],
    idx: ["t10k-images row 0", "t10k-images row 1"],
}


@pytest.mark.parametrize("labels", ["optional", "ignored"])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_without_labels(tmp_path: Path, form: Callable[[Path], Any], labels: Any) -> None:
    path = form(tmp_path / "new")
    data, _ = quiet(path, labels=labels, size=8)
    assert isinstance(data, UnlabelledImages) and data.labels is None and data.names is not None
    names = [name.removeprefix(f"{tmp_path}/new/") for name in data.names]  # of files as they are given
    assert names == FORMS[form]
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.ReLU(), nn.Linear(3, 2))
    recording = neucept.record(network, data, ["2"], batch_size=2, progress=False)
    assert recording.labels is None and recording.names == tuple(data.names)
    inputs = Inputs.of(data)
    assert inputs.labels is None and inputs.picture(0) is not None and inputs.picture(0).shape == (4, 4)
    assert len(quiet(path, labels=labels, limit=1)[0]) == 1 and len(data.take([0])) == 1
    if form is deep:  # there is a folder, which is a class: images beside it are left out, and a warning says so
        return
    with pytest.raises(InputError, match=r"class folder|without a label|no array 'y'|'label'|holds no images|negative"):
        load_data(path, progress=False)


def labelled_folder(root: Path) -> Any:
    return put(root, "cat/0.png", "dog/1.png", "dog/2.png")


def labelled_npz(root: Path) -> Any:
    root.mkdir()
    np.savez(root / "d.npz", x=np.zeros((3, 4, 4), np.uint8), y=[0, 1, 1], class_names=["cat", "dog"])
    return root / "d.npz"


def labelled_parquet(root: Path) -> Any:
    root.mkdir()
    pd.DataFrame({"image": [png()] * 3, "label": ["cat", "dog", "dog"]}).to_parquet(root / "d.parquet")
    return root


@pytest.mark.parametrize("form", [labelled_folder, labelled_npz, labelled_parquet])
def test_labels_that_are_there_are_kept_unless_ignored(tmp_path: Path, form: Callable[[Path], Any]) -> None:
    path = form(tmp_path / "d")
    data = load_data(path, labels="optional", progress=False)
    assert isinstance(data, ImageDataset) and data.labels.tolist() == [0, 1, 1] and data.class_names == ("cat", "dog")
    data = load_data(path, labels="optional", class_names=["dog", "cow", "cat"], progress=False)
    assert isinstance(data, ImageDataset) and data.labels.tolist() == [2, 0, 0]
    ignored = load_data(path, labels="ignored", progress=False)
    assert ignored.labels is None and len(ignored) == 3
    bare = data.without_labels()
    assert bare.labels is None and bare.names == data.names and torch.equal(bare[1], data[1][0])


def test_folders_that_are_no_classes_of_the_network(tmp_path: Path) -> None:
    put(tmp_path, "monday/0.png", "tuesday/1.png")
    data, said = quiet(tmp_path, labels="optional", class_names=["cat", "dog"])
    assert data.labels is None and list(data.names or ()) == ["monday/0.png", "tuesday/1.png"]
    assert "No class of" in said and "(monday, tuesday)" in said and "no labels are taken" in said


def test_images_beside_class_folders(tmp_path: Path) -> None:
    put(tmp_path, "cat/0.png", "dog/1.png", "2.png")
    data, said = quiet(tmp_path, labels="optional")
    assert data.labels is None and len(data) == 3 and "1 of 3 images lie in no folder" in said
    with pytest.warns(UserWarning, match="left out: 1 images beside"):
        assert len(load_data(tmp_path, progress=False)) == 2


def test_one_split_of_new_inputs(tmp_path: Path) -> None:
    put(tmp_path, "train/0.png", "test/1.png", "test/2.png")
    assert len(load_data(tmp_path, labels="optional", split="test", progress=False)) == 2
    with pytest.raises(InputError, match="has no split 'val'"):
        load_data(tmp_path, labels="optional", split="val", progress=False)


def test_a_split_without_labels_beside_one_with_them(tmp_path: Path) -> None:
    images = np.zeros((2, 4, 4), np.uint8)
    np.savez(tmp_path / "d.npz", x_train=images, y_train=[0, 1], x_test=images)
    assert load_data(tmp_path / "d.npz", labels="optional", split="test", progress=False).labels is None
    data = load_data(tmp_path / "d.npz", labels="optional", split="train", progress=False)
    assert data.labels is not None and data.labels.tolist() == [0, 1]
    with pytest.raises(InputError, match="no split 'test'; it has the splits 'train'"):
        load_data(tmp_path / "d.npz", split="test", progress=False)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (["a.png", "missing.png"], "missing.png is no image file"),
        (["a.png", "note.txt"], "note.txt is no image file"),
        (["a.png", "."], "is no image file"),
        (["missing.png"], "There are no data at"),
    ],
)
def test_several_paths(tmp_path: Path, path: list[str], said: str) -> None:
    put(tmp_path, "a.png", "note.txt")
    with pytest.raises(InputError, match=said):
        load_data([tmp_path / one for one in path], labels="optional", progress=False)


def test_wrong_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="labels='no': expected one of"):
        load_data(put(tmp_path, "a/0.png"), labels="no")  # type: ignore[call-overload]
    with pytest.raises(InputError, match="holds no images"):
        load_data(put(tmp_path / "empty", "a.txt"), labels="optional")
    with pytest.raises(InputError, match=r"a\.png cannot be read"):
        (put(tmp_path, "a.png") / "a.png").write_bytes(b"no image")
        load_data(tmp_path / "a.png", labels="optional", progress=False)
