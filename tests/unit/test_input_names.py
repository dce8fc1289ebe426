"""Names of inputs: what a name says leads to the input, in every format, and through every step that keeps inputs."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset

import neucept
from neucept import InputError, Inputs, Recording
from neucept.datasets import ImageDataset, load_data
from tests.unit.test_dataset_files import png

GRAYS = list(range(0, 240, 20))  # a gray of its own for each picture
LABELS = [i % 2 for i in range(len(GRAYS))]


def folder(root: Path) -> Callable[[str], int]:
    for i, gray in enumerate(GRAYS):
        file = root / "train" / "ab"[LABELS[i]] / f"é {i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(gray))
    return lambda name: int(np.asarray(Image.open(root / name))[0, 0])


def npz(root: Path) -> Callable[[str], int]:
    images = np.stack([np.full((4, 4), gray, np.uint8) for gray in GRAYS])
    root.mkdir()
    np.savez(root / "d.npz", x_train=images[:5], y_train=LABELS[:5], x_test=images[5:], y_test=LABELS[5:])

    def find(name: str) -> int:
        file, split, word, row = name.split()
        assert word == "row"
        return int(np.load(root / file)[f"x_{split}"][int(row)][0, 0])

    return find


def table(root: Path, **columns: Any) -> pd.DataFrame:
    root.mkdir()
    frame = pd.DataFrame({"image": [png(gray) for gray in GRAYS], "label": LABELS, **columns})
    frame[:5].to_parquet(root / "train-00000-of-00001.parquet")
    frame[5:].to_parquet(root / "test-00000-of-00001.parquet")
    return frame


def parquet(root: Path) -> Callable[[str], int]:
    table(root)

    def find(name: str) -> int:
        file, row = name.split(" row ")
        content = pd.read_parquet(root / file)["image"].iloc[int(row)]
        return int(np.asarray(Image.open(io.BytesIO(content)))[0, 0])

    return find


def hugging_face(root: Path) -> Callable[[str], int]:
    images = [{"bytes": png(gray), "path": f"photo {gray}.jpg"} for gray in GRAYS]
    table(root, image=images)
    return lambda name: int(name.split()[1].removesuffix(".jpg"))


def files(root: Path) -> Callable[[str], int]:
    table(root, file=[f"{gray}.png" for gray in GRAYS])
    return lambda name: int(name.removesuffix(".png"))


def idx(root: Path) -> Callable[[str], int]:
    root.mkdir()
    for prefix, rows in (("train", range(5)), ("t10k", range(5, len(GRAYS)))):
        pixels = np.stack([np.full((4, 4), GRAYS[i], np.uint8) for i in rows])
        header = bytes([0, 0, 8, 3, 0, 0, 0, len(rows), 0, 0, 0, 4, 0, 0, 0, 4])
        (root / f"{prefix}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        labels = bytes([LABELS[i] for i in rows])
        (root / f"{prefix}-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, len(rows)]) + labels)

    def find(name: str) -> int:
        file, row = name.split(" row ")
        return (root / f"{file}-idx3-ubyte").read_bytes()[16 + 16 * int(row)]

    return find


@pytest.mark.parametrize("form", [folder, npz, parquet, hugging_face, files, idx])
@pytest.mark.parametrize("limit", [None, 7])
def test_a_name_leads_to_the_picture(tmp_path: Path, form: Callable[[Path], Any], limit: int | None) -> None:
    find = form(tmp_path / "d")
    path = tmp_path / "d" / "d.npz" if form is npz else tmp_path / "d"
    data = load_data(path, split="all", limit=limit, progress=False)
    assert data.names is not None and len(set(data.names)) == len(data) == (limit or len(GRAYS))
    for some in (data, data.take([5, 0, 3]), data.take(data.labels == 1), data.relabel(data.labels, ["x", "y"])):
        assert some.names is not None
        assert [find(name) for name in some.names] == [int(some.picture(i)[0, 0]) for i in range(len(some))]
    recording = neucept.record(network(16), data, ["1"], batch_size=4, progress=False)
    assert recording.names == Inputs.of(data).names == tuple(data.names)


def test_pictures_of_a_sheet(tmp_path: Path) -> None:
    sheet = np.kron(np.array(GRAYS[:4], np.uint8).reshape(2, 2), np.ones((4, 4), np.uint8))
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "PNG")
    frame = pd.DataFrame({"sheet": [buffer.getvalue()] * 2, "labels": [[0, 1, 0], [1, 1]]})
    frame.to_parquet(tmp_path / "s.parquet")
    data = load_data(tmp_path / "s.parquet", progress=False)
    assert data.names is not None and list(data.names)[2:4] == [
        "s.parquet row 0 picture 2",
        "s.parquet row 1 picture 0",
    ]
    frame.assign(names=[list("abc"), list("de")]).to_parquet(tmp_path / "s.parquet")
    assert list(load_data(tmp_path / "s.parquet", progress=False).names or ()) == list("abcde")


@pytest.mark.parametrize("given", [["1.png"] * len(GRAYS), [None, *[f"{i}.png" for i in range(1, len(GRAYS))]]])
def test_names_that_lead_nowhere_are_not_taken(tmp_path: Path, given: list[Any]) -> None:
    table(tmp_path / "d", file=given)
    names = load_data(tmp_path / "d", split="train", progress=False).names
    assert names is not None and names[1] == "train-00000-of-00001.parquet row 1"


def network(inputs: int = 3) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 3), nn.ReLU(), nn.Linear(3, 2))


class Items(Dataset[Any]):
    """Four items with attributes."""

    def __init__(self, **attributes: Any) -> None:
        for name, value in attributes.items():
            setattr(self, name, value)

    def __len__(self) -> int:
        """Four."""
        return 4

    def __getitem__(self, row: int) -> Any:
        """Give a pair."""
        return torch.full((3,), float(row)), row % 2


FRAME = pd.DataFrame(np.eye(4), columns=list("abcd"))
NAMED = Items(names=["a", "b", "c", "d"])
CARRIES: dict[str, tuple[Any, tuple[str, ...] | None]] = {
    "names": (NAMED, ("a", "b", "c", "d")),
    "array of names": (Items(names=np.array(["a", "b", "c", "d"])), ("a", "b", "c", "d")),
    "paths": (Items(names=[Path("x") / str(i) for i in range(4)]), ("x/0", "x/1", "x/2", "x/3")),
    "names of classes": (Items(names=["even", "odd"]), None),
    "names that are numbers": (Items(names=[1, 2, 3, 4]), None),
    "a name of the data": (Items(name="digits"), None),
    "a name that is no name of a row": (Items(name=lambda: "digits"), None),
    "name of a row": (Items(name=lambda row: f"id {row}"), ("id 0", "id 1", "id 2", "id 3")),
    "ImageFolder": (Items(root="p", samples=[(f"p/c/{i}", 0) for i in range(4)]), ("c/0", "c/1", "c/2", "c/3")),
    "ImageFolder's imgs": (Items(imgs=[(f"/p/{i}", 0) for i in range(4)]), ("/p/0", "/p/1", "/p/2", "/p/3")),
    "samples that are no paths": (Items(samples=[(torch.zeros(1), 0)] * 4), None),
    "part": (Subset(NAMED, [3, 1]), ("d", "b")),
    "part of a part": (Subset(Subset(NAMED, [3, 1]), [1]), ("b",)),
    "several": (ConcatDataset([NAMED, NAMED]), ("a", "b", "c", "d") * 2),
    "several, one without": (ConcatDataset([NAMED, Items()]), None),
    "loader": (DataLoader(NAMED, 3), ("a", "b", "c", "d")),
    "loader that drops": (DataLoader(NAMED, 3, drop_last=True), ("a", "b", "c")),
    "loader that shuffles": (DataLoader(NAMED, 3, shuffle=True), None),
    "tensor": (torch.zeros(4, 3), None),
    "tensors": (TensorDataset(torch.zeros(4, 3)), None),
    "frame": (FRAME, None),
    "texts": (FRAME.set_axis(list("wxyz")), ("w", "x", "y", "z")),
    "part of a frame": (FRAME.iloc[[2, 0]], ("row 2", "row 0")),
    "index with a name": (FRAME.iloc[2:].rename_axis("patient"), ("patient 2", "patient 3")),
    "several levels": (FRAME.iloc[:2].set_axis(pd.MultiIndex.from_product([["u"], [0, 1]])), ("u, 0", "u, 1")),
    "frame and labels": ((FRAME.iloc[2:], np.array([0, 1])), ("row 2", "row 3")),
    "array and labels with an index": ((np.eye(2), pd.Series([0, 1], list("pq"))), ("p", "q")),
    "keywords": ({"input": FRAME.set_axis(list("wxyz"))}, ("w", "x", "y", "z")),
}  # fmt: skip


@pytest.mark.parametrize(("data", "names"), CARRIES.values(), ids=list(CARRIES))
def test_names_that_data_carry(data: Any, names: tuple[str, ...] | None) -> None:
    inputs = Inputs.of(data)
    assert inputs.names == names
    assert inputs.name(1 % len(inputs)) == ("#1" if names is None else names[1 % len(inputs)])


def test_torchvisions_image_folder(tmp_path: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    folder(tmp_path)
    names = Inputs.of(datasets.ImageFolder(tmp_path / "train")).names
    assert names is not None and sorted(names) == sorted(f"{'ab'[LABELS[i]]}/é {i}.png" for i in range(len(GRAYS)))


@pytest.mark.parametrize("stored", [False, True])
def test_a_recording_keeps_names(tmp_path: Path, stored: bool) -> None:
    odd = ["a/ä 1.png", "", "名前.jpg", "bad \udcff.png"]  # Linux gives bytes that are no UTF-8 so
    store = tmp_path / "r" if stored else None
    recording = neucept.record(network(), Items(names=odd), ["1"], batch_size=3, store=store, progress=False)
    if not stored:
        recording.save(tmp_path / "r")
    opened = Recording.open(tmp_path / "r")
    assert opened.names == recording.names == tuple(odd) and opened.name(2) == odd[2]
    assert np.array_equal(opened.activations("1"), recording.activations("1"))
    assert opened.subset(np.array([3, 1])).names == ("bad \udcff.png", "")
    assert opened.subset(opened.labels == 0).names == ("a/ä 1.png", "名前.jpg")
    assert Recording.open(opened.save(tmp_path / "again")).names == tuple(odd)


def test_a_recording_without_names(tmp_path: Path) -> None:
    recording = neucept.record(network(), torch.zeros(4, 3), ["1"], progress=False)
    opened = Recording.open(recording.save(tmp_path / "r"))
    assert opened.names is None and opened.name(3) == "#3" and opened.subset(np.array([1])).names is None
    with pytest.raises(InputError, match="2 rows of 'names' but 4 of the logits"):
        Recording(recording.neurons, recording.logits, None, recording.class_names, names=("a", "b"))
    with pytest.raises(InputError, match="2 pictures but 1 names"):
        ImageDataset.from_array(np.zeros((2, 4, 4), np.uint8), [0, 1], names=["a"])
