"""Pictures from every format, samples by class, and errors that name the file."""

import gzip
import io
import struct
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from neucept.datasets import (
    ImageDataset,
    Scaling,
    decoding,
    load_data,
    load_digits,
    stratified_sample,
    stratified_split,
)
from neucept.errors import InputError

RNG = np.random.default_rng(0)


def pixels(n: int, *shape: int) -> np.ndarray:
    return RNG.integers(0, 256, (n, *shape), dtype=np.uint8)


def png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def write_idx(folder: Path, prefix: str, images: np.ndarray, labels: np.ndarray, packed: bool) -> None:
    for kind, array in (("images-idx3", images), ("labels-idx1", labels.astype(np.uint8))):
        content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
        name = folder / f"{prefix}-{kind}-ubyte{'.gz' if packed else ''}"
        name.write_bytes(gzip.compress(content) if packed else content)


@pytest.fixture
def folder(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """A folder with one folder a class: gray and colour pictures of 6 x 8 pixels."""
    written = {}
    for name, shape in (("cat", (6, 8)), ("dog", (6, 8, 3))):
        (tmp_path / "animals" / name).mkdir(parents=True)
        for i, picture in enumerate(pixels(3, *shape)):
            Image.fromarray(picture).save(tmp_path / "animals" / name / f"{i}.png")
            written[f"{name}/{i}"] = picture
    return tmp_path / "animals", written


def test_a_folder_a_class(folder: tuple[Path, dict[str, np.ndarray]]) -> None:
    path, written = folder
    (path / "cat" / "notes.txt").write_text("no picture")
    data = load_data(path)
    assert data.class_names == ("cat", "dog")
    assert data.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.labels.dtype == np.int64
    assert np.array_equal(data.picture(4), written["dog/1"])
    assert np.array_equal(data.picture(0), np.repeat(written["cat/0"][..., None], 3, axis=2))  # gray among colour
    tensor, label = data[4]
    assert label == 1
    assert torch.allclose(tensor, torch.from_numpy(written["dog/1"]).permute(2, 0, 1) / 255)
    gray = load_data(path, channels=1)
    assert gray[4][0].shape == (1, 6, 8)
    pillows = np.asarray(Image.fromarray(written["dog/1"]).convert("L"))
    assert np.abs(gray.picture(4).astype(int) - pillows).max() <= 1


def test_folders_of_splits(folder: tuple[Path, dict[str, np.ndarray]], tmp_path: Path) -> None:
    path, _ = folder
    (tmp_path / "root").mkdir()
    path.rename(tmp_path / "root" / "train")
    (tmp_path / "root" / "test" / "dog").mkdir(parents=True)
    Image.fromarray(pixels(1, 6, 8)[0]).save(tmp_path / "root" / "test" / "dog" / "9.png")
    test = load_data(tmp_path / "root", split="test")
    assert (len(test), test.labels.tolist(), test.class_names) == (1, [1], ("cat", "dog"))
    assert len(load_data(tmp_path / "root", split="all")) == 7
    with pytest.warns(UserWarning, match="has the splits test, train, and all are taken"):
        assert len(load_data(tmp_path / "root")) == 7
    with pytest.raises(InputError, match=r"no split 'tset'; it has the splits 'test', 'train'. Did you mean 'test'"):
        load_data(tmp_path / "root", split="tset")


@pytest.mark.parametrize("packed", [True, False])
def test_idx_files(tmp_path: Path, packed: bool) -> None:
    train, test = pixels(7, 5, 4), pixels(3, 5, 4)
    write_idx(tmp_path, "train", train, np.arange(7) % 2, packed)
    write_idx(tmp_path, "t10k", test, np.array([1, 0, 1]), packed)
    data = load_data(tmp_path, split="test")
    assert data.labels.tolist() == [1, 0, 1]
    assert np.array_equal(np.stack([data.picture(i) for i in range(3)]), test)
    assert len(load_data(tmp_path, split="all")) == 10
    assert data.class_names == ("0", "1")


def test_an_idx_file_cut_short(tmp_path: Path) -> None:
    write_idx(tmp_path, "train", pixels(7, 5, 4), np.arange(7), packed=False)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte is cut short: its header promises \(7, 5, 4\)"):
        load_data(tmp_path)


@pytest.mark.parametrize("layout", ["nhw", "nhwc", "nchw", "float"])
def test_npz(tmp_path: Path, layout: str) -> None:
    images = pixels(4, 6, 5) if layout in ("nhw", "float") else pixels(4, 6, 5, 3)
    stored = {"nhw": images, "nhwc": images, "nchw": np.moveaxis(images, -1, 1), "float": images / 255}[layout]
    np.savez(tmp_path / "d.npz", images=stored, labels=[0, 1, 2, 1], class_names=["a", "b", "c"])
    data = load_data(tmp_path / "d.npz")
    assert np.array_equal(np.stack([data.picture(i) for i in range(4)]), images)
    assert data.class_names == ("a", "b", "c")


def test_npz_with_splits_and_names_for_labels(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "d.npz",
        x_train=pixels(4, 6, 5),
        y_train=["b", "a", "a", "b"],
        x_test=pixels(2, 6, 5),
        y_test=["a", "a"],
    )
    train = load_data(tmp_path / "d.npz", split="train")
    assert (train.labels.tolist(), train.class_names) == ([1, 0, 0, 1], ("a", "b"))


def test_names_for_labels_are_numbered_by_the_class_names(tmp_path: Path) -> None:
    names, labels = ["cat", "ant", "bee"], ["bee", "cat", "ant", "bee"]
    np.savez(tmp_path / "d.npz", x=pixels(4, 6, 5), y=labels, class_names=names)
    rows = pd.DataFrame({"image": [png(i) for i in pixels(4, 4, 4)], "label": labels})
    rows.to_parquet(tmp_path / "d.parquet")
    (tmp_path / "classes.txt").write_text("\n".join(names))
    for file in ("d.npz", "d.parquet"):
        data = load_data(tmp_path / file)
        assert [data.class_names[label] for label in data.labels] == labels and data.class_names == tuple(names)
    np.savez(tmp_path / "b.npz", x=pixels(4, 6, 5), y=np.array(labels, "S"), class_names=np.array(names, "S"))
    assert load_data(tmp_path / "b.npz").labels.tolist() == data.labels.tolist()
    (tmp_path / "classes.txt").write_text("cat\tcat, Felis catus\nant\tant, emmet\nbee\tbee\n")
    assert load_data(tmp_path / "d.parquet").labels.tolist() == data.labels.tolist()
    rows.assign(label=["bee", "cat, Felis catus", "ant, emmet", "bee"]).to_parquet(tmp_path / "full.parquet")
    assert load_data(tmp_path / "full.parquet").labels.tolist() == data.labels.tolist()
    (tmp_path / "classes.txt").write_text("cat\nant\nbeet\n")
    with pytest.raises(InputError, match=r"the label 'bee', which is not among its class names.*Did you mean 'beet'"):
        load_data(tmp_path / "d.parquet")


def test_texts_beside_numbers_are_no_names_of_theirs(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=pixels(4, 6, 5), y=[0, 1, 0, 1], labels=["dog", "cat"])
    assert load_data(tmp_path / "d.npz").class_names == ("0", "1")


def test_a_split_with_some_of_the_classes_keeps_the_numbers_of_all(tmp_path: Path) -> None:
    parts = {"train": ["ant", "bee", "cat"], "validation": ["cat", "bee"]}
    arrays = {f"x_{name}": pixels(len(labels), 4, 4) for name, labels in parts.items()}
    np.savez(tmp_path / "d.npz", **arrays, **{f"y_{name}": labels for name, labels in parts.items()})
    (tmp_path / "files").mkdir()
    frames = []
    for name, labels in parts.items():
        frame = pd.DataFrame({"image": [png(i) for i in pixels(len(labels), 4, 4)], "label": labels, "split": name})
        frame.drop(columns="split").to_parquet(tmp_path / "files" / f"{name}.parquet")
        frames.append(frame)
    pd.concat(frames).to_parquet(tmp_path / "one.parquet")
    for path in ("d.npz", "files", "one.parquet"):
        data = load_data(tmp_path / path, split="validation")
        assert data.class_names == ("ant", "bee", "cat") and data.labels.tolist() == [2, 1]
        both = load_data(tmp_path / path, split="all")
        assert [both.class_names[label] for label in both.labels] == [*parts["train"], *parts["validation"]]


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_gray_values_of_32_bits(tmp_path: Path, dtype: str) -> None:
    ramp = np.linspace(0, 1, 20).reshape(4, 5)
    values = (ramp if dtype == "float32" else np.rint(ramp * 65535)).astype(dtype)
    (tmp_path / "a").mkdir()
    Image.fromarray(values).save(tmp_path / "a" / "0.tif")
    picture = load_data(tmp_path, progress=False).picture(0)
    assert np.abs(picture - ramp * 255).max() <= 1
    Image.fromarray(values - 1).save(tmp_path / "a" / "0.tif")
    with pytest.raises(InputError, match="The images have values from -1 to"):
        load_data(tmp_path, progress=False)


def test_what_a_mac_adds_to_archives_is_left_out(folder: tuple[Path, dict[str, np.ndarray]]) -> None:
    path, _ = folder
    known = load_data(path)
    for name in ("__MACOSX", known.class_names[0]):
        (path / name).mkdir(exist_ok=True)
        (path / name / "._0.png").write_bytes(b"no picture")
    assert load_data(path).class_names == known.class_names and len(load_data(path)) == len(known)


def test_damaged_archives(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=pixels(4, 6, 5), y=[0, 1, 0, 1])
    whole = (tmp_path / "d.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, pixels(4, 6, 5))
    for name in ("cut", "one"):
        with pytest.raises(InputError, match=f"{name}.npz cannot be read as an .npz file"):
            load_data(tmp_path / f"{name}.npz")
    packed = bytearray(
        gzip.compress(bytes([0, 0, 8, 3]) + struct.pack(">3I", 40, 60, 50) + pixels(1, 120000).tobytes())
    )
    packed[5000:6000] = bytes(1000)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(packed)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"\0" * 9)
    with pytest.raises(InputError, match="cannot be unpacked"):
        load_data(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": pixels(2, 4, 4)}, "has no array 'y' or 'labels'; it has x"),
        ({"x": pixels(2, 4, 4), "y": [0, 1, 1]}, "2 pictures but 3 labels"),
        ({"x": pixels(2, 4, 4) * 1.0 - 300, "y": [0, 1]}, "have values from -.* expected bytes, fractions from 0 to 1"),
        ({"x": pixels(2, 4), "y": [0, 1]}, r"have shape \(2, 4\); expected"),
        ({"x": pixels(2, 4, 4), "y": [0, -1]}, "labels of .* go from -1 to 0"),
        ({"x": pixels(2, 4, 4), "y": [0, 0.5]}, "not whole numbers"),
        ({"x": np.array([None, 3]), "y": [0, 1]}, "plain arrays"),
    ],
)
def test_npz_that_cannot_be_used(tmp_path: Path, arrays: dict[str, object], said: str) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(InputError, match=said):
        load_data(tmp_path / "d.npz")


def test_parquet(tmp_path: Path) -> None:
    images = pixels(6, 4, 4, 3)
    rows = {"image": [png(i) for i in images], "label": [0, 0, 1, 1, 0, 1], "split": ["train"] * 4 + ["val"] * 2}
    pd.DataFrame(rows).to_parquet(tmp_path / "d.parquet")
    (tmp_path / "classes.txt").write_text("n01\tgoldfish, Carassius auratus\nn02\tlion, king of beasts\n")
    data = load_data(tmp_path / "d.parquet", split="val")
    assert data.class_names == ("goldfish", "lion")
    assert data.labels.tolist() == [0, 1]
    assert np.array_equal(data.picture(1), images[5])
    assert load_data(tmp_path / "d.parquet", split="all", class_names=["x", "y"]).class_names == ("x", "y")
    with pytest.raises(InputError, match="no split 'test'; it has the splits 'train', 'val'"):
        load_data(tmp_path / "d.parquet", split="test")
    with pytest.raises(InputError, match="labels go from 0 to 1, but there are 1 class names"):
        load_data(tmp_path / "d.parquet", split="all", class_names=["x"])


def test_parquet_names_by_column_and_bytes_in_dicts(tmp_path: Path) -> None:
    rows = {
        "image": [{"bytes": png(i), "path": None} for i in pixels(3, 4, 4)],
        "label": [0, 1, 2],
        "name": ["crane", "bee", "crane"],
    }
    pd.DataFrame(rows).to_parquet(tmp_path / "d.parquet")
    assert load_data(tmp_path / "d.parquet").class_names == ("crane (0)", "bee", "crane (2)")


def test_parquet_sheets(tmp_path: Path) -> None:
    images = pixels(8, 5, 5, 3)
    sheets = [
        np.concatenate([np.concatenate(list(images[k + 2 * r : k + 2 * r + 2]), axis=1) for r in range(2)])
        for k in (0, 4)
    ]
    rows = {"sheet": [png(s) for s in sheets], "labels": [[0, 1, 0, 1], [1, 1, 0, 0]]}
    (tmp_path / "cifar").mkdir()
    pd.DataFrame(rows).to_parquet(tmp_path / "cifar" / "test.parquet")
    pd.DataFrame(rows).iloc[:1].to_parquet(tmp_path / "cifar" / "train.parquet")
    data = load_data(tmp_path / "cifar", split="test")
    assert data.labels.tolist() == [0, 1, 0, 1, 1, 1, 0, 0]
    assert np.array_equal(np.stack([data.picture(i) for i in range(8)]), images)
    assert len(load_data(tmp_path / "cifar", split="all")) == 12


def test_an_unreadable_image_is_named(folder: tuple[Path, dict[str, np.ndarray]]) -> None:
    path, _ = folder
    whole = (path / "dog" / "1.png").read_bytes()
    (path / "dog" / "1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"dog/1.png cannot be read.*skip"):
        load_data(path)
    with pytest.warns(UserWarning, match=r"1 of 6 images cannot be read, left out: .*dog/1.png"):
        data = load_data(path, on_unreadable="skip")
    assert data.labels.tolist() == [0, 0, 0, 1, 1]
    for file in path.rglob("*.png"):
        file.write_bytes(b"no picture")
    with pytest.raises(InputError, match="None of the 6 images can be read"):
        load_data(path, on_unreadable="skip")


def test_an_unreadable_row_is_named(tmp_path: Path) -> None:
    pd.DataFrame({"image": [png(pixels(1, 4, 4)[0]), b"noise"], "label": [0, 1]}).to_parquet(tmp_path / "d.parquet")
    with pytest.raises(InputError, match=r"d.parquet row 1 cannot be read"):
        load_data(tmp_path / "d.parquet")


def test_pictures_of_several_sizes(folder: tuple[Path, dict[str, np.ndarray]]) -> None:
    path, _ = folder
    Image.fromarray(pixels(1, 9, 7)[0]).save(path / "cat" / "big.png")
    with pytest.raises(InputError, match=r"different sizes \(6 x 8, 9 x 7\). Say which one"):
        load_data(path)
    data = load_data(path, size=12)
    assert next(iter(DataLoader(data, len(data))))[0].shape == (7, 3, 12, 12)
    assert data.picture(3).shape == (9, 7, 3)


def test_pictures_too_many_to_keep_are_decoded_again(
    folder: tuple[Path, dict[str, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = folder
    kept = load_data(path)
    monkeypatch.setattr(decoding, "_KEPT_BYTES", 100)
    lazy = load_data(path, size=(6, 8))
    assert type(lazy.pictures).__name__ == "Encoded"
    for i in range(6):
        assert torch.equal(kept[i][0], lazy[i][0])


def test_resizing_is_pillows_antialiased_bilinear() -> None:
    picture = pixels(1, 28, 28)[0]
    ours = Scaling(size=(16, 16))(picture[None])[0, 0] * 255
    theirs = np.asarray(Image.fromarray(picture).resize((16, 16), Image.Resampling.BILINEAR), dtype=float)
    assert np.abs(ours.numpy() - theirs).max() < 1


def test_normalisation_and_batches_equal_singles() -> None:
    data = ImageDataset.from_array(
        pixels(5, 6, 6, 3), [0, 1, 1, 0, 2], transform=Scaling((8, 8), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    )
    batch, labels = next(iter(DataLoader(data, 5)))
    assert labels.tolist() == [0, 1, 1, 0, 2]
    for i in range(5):
        assert torch.equal(batch[i], data[i][0])
    plain = ImageDataset.from_array(data.pictures.pixels, data.labels, transform=Scaling((8, 8)))[2][0]
    assert torch.allclose(data[2][0][1], (plain[1] - 0.4) / 0.3)
    with pytest.raises(InputError, match="mean has 3 numbers for pictures of 1 channels"):
        Scaling(mean=(0.1, 0.2, 0.3))(pixels(2, 4, 4))


def test_a_transform_of_the_users_gets_a_pil_image(folder: tuple[Path, dict[str, np.ndarray]]) -> None:
    path, _ = folder
    data = load_data(path, transform=lambda image: torch.tensor([float(image.size[0]), image.size[1]]))
    assert data[0][0].tolist() == [8.0, 6.0]
    with pytest.raises(InputError, match="either a transform, or size"):
        load_data(path, transform=lambda image: image, size=8)
    with pytest.raises(InputError, match=r"The transform gave a .*Image.* for image 0; expected a tensor"):
        load_data(path, transform=lambda image: image)[0]
    with pytest.raises(InputError, match="The transform failed on image 1: KeyError: 'size'"):
        load_data(path, transform=lambda image: {}["size"])[1]
    widths = iter(range(1, 9))
    with pytest.raises(InputError, match=r"different shapes, \(1,\) and \(2,\)"):
        load_data(path, transform=lambda image: torch.zeros(next(widths))).__getitems__([0, 1])


def test_limit_is_a_stratified_sample_by_seed(tmp_path: Path) -> None:
    images, labels = pixels(90, 2, 2), np.repeat([0, 1, 2], [60, 20, 10])
    np.savez(tmp_path / "d.npz", x=images, y=labels)
    first, again, other = (load_data(tmp_path / "d.npz", limit=18, seed=seed) for seed in (0, 0, 1))
    assert np.bincount(first.labels).tolist() == [12, 4, 2]
    assert np.array_equal(first.pictures.pixels, again.pictures.pixels)
    assert not np.array_equal(first.pictures.pixels, other.pictures.pixels)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.integers(1, 70), st.integers(0, 5))
def test_samples_keep_the_shares(labels: list[int], size: int, seed: int) -> None:
    drawn = stratified_sample(np.array(labels), size, seed)
    assert len(drawn) == len(set(drawn.tolist())) == min(size, len(labels))
    for label in set(labels):
        share = labels.count(label) * len(drawn) / len(labels)
        assert abs(sum(labels[i] == label for i in drawn) - share) < 1


def test_splits_are_a_partition() -> None:
    labels = np.repeat([0, 1], [30, 10])
    first, second = stratified_split(labels, 0.4, seed=3)
    assert sorted([*first, *second]) == list(range(40))
    assert np.bincount(labels[second]).tolist() == [12, 4]
    with pytest.raises(InputError, match="leaves one part"):
        stratified_split(labels, 1.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"channels": 2}, "expected 1 .gray. or 3"),
        ({"on_unreadable": "ignore"}, "expected one of 'error', 'skip'"),
        ({"limit": 0}, "limit=0: expected a whole number"),
        ({"size": 0}, "at least one pixel"),
        ({"mean": (0.5, 0.5)}, "mean has 2 numbers for pictures of 3 channels"),
        ({"class_names": ["same", "same"]}, "'same' appears 2 times"),
    ],
)
def test_options_that_are_not_possible(
    folder: tuple[Path, dict[str, np.ndarray]], options: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        load_data(folder[0], **options)


def test_paths_that_hold_no_data(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "table.csv").write_text("1,2")
    for name, said in (
        ("digit", "Did you mean 'digits'"),
        ("digits", "holds no images"),
        ("table.csv", "format of .* is not known"),
    ):
        with pytest.raises(InputError, match=said):
            load_data(tmp_path / name)


def test_relabel_and_take() -> None:
    digits = ImageDataset.from_array(pixels(6, 4, 4), range(6))
    parity = digits.relabel(digits.labels % 2, ("even", "odd")).take(digits.labels > 2)
    assert parity.labels.tolist() == [1, 0, 1]
    assert np.array_equal(parity.picture(0), digits.picture(3))


def test_digits_need_neither_torchvision_nor_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torchvision", "PIL", "pyarrow"):
        monkeypatch.setitem(sys.modules, name, None)
    train, test = load_digits()
    assert np.bincount(train.labels).tolist() == [300] * 10
    assert np.bincount(test.labels).tolist() == [200] * 10
    assert train[0][0].shape == (1, 32, 32)
    kept = {train.picture(i).tobytes() for i in range(len(train))}
    assert sum(test.picture(i).tobytes() in kept for i in range(len(test))) == 0


def test_what_is_not_installed_is_named(
    folder: tuple[Path, dict[str, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(InputError, match=r"pillow, which is not installed: pip install 'neucept\[vision\]'"):
        load_data(folder[0], on_unreadable="skip")


@pytest.mark.shared
def test_real_files(shared: Path) -> None:
    mnist = load_data(shared / "data" / "MNIST" / "raw", split="test", size=32)
    assert np.bincount(mnist.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    cifar = load_data(shared / "data" / "cifar10", split="test")
    assert cifar.class_names[:2] == ("airplane", "automobile")
    assert np.bincount(cifar.labels).tolist() == [1000] * 10
    xray = load_data(shared / "data" / "chest-xray" / "chest-xray-160.parquet", split="test", size=64)
    assert (len(xray), xray[0][0].shape) == (624, (1, 64, 64))
    tiny = load_data(shared / "data" / "tiny-imagenet" / "tiny-imagenet-22.parquet", split="val", limit=44)
    assert tiny.class_names[9] == "golden retriever"
    assert np.bincount(tiny.labels).tolist() == [2] * 22
    assert tiny[0][0].shape == (3, 64, 64)
    with pytest.raises(InputError, match="different sizes"):
        load_data(shared / "data" / "imagenet-samples" / "imagenet-samples-224.parquet", limit=20)
