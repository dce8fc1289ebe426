"""A table of (kind of file x what is right): scales, folders, labels, formats, and what must never be opened."""

import io
import json
import os
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image, features

import neucept
from neucept.datasets import DataSource, ImageDataset, load_data
from neucept.datasets.labels import number_labels
from neucept.datasets.readers import split_kinds
from neucept.errors import InputError

RAMP = np.linspace(0, 1, 256).reshape(16, 16)


def quiet(path: Path, **options: Any) -> tuple[ImageDataset, str]:
    """Load, and give all warnings as one text."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = load_data(path, progress=False, **options)
    return data, "\n".join(str(warning.message) for warning in caught)


def png(value: int = 0, size: tuple[int, int] = (4, 4)) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", size, value).save(buffer, "PNG")
    return buffer.getvalue()


def put(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        if file.endswith("/"):
            (root / file).mkdir(exist_ok=True)
        elif file.endswith((".txt", ".xml", ".dcm")):
            (root / file).write_text("no picture")
        else:
            (root / file).write_bytes(png())
    return root


def deep_png(values: np.ndarray) -> bytes:
    """Write a PNG of 16 bits per channel, which Pillow cannot."""
    height, width, channels = values.shape
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)),
        (b"IDAT", zlib.compress(raw)),
        (b"IEND", b""),
    ]
    packed = [struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


# --- scales -----------------------------------------------------------------------------------------------------------

WIDE = [  # type, suffix, brightest value of the set, value that must be white
    ("uint16", ".png", 4095, 4095),
    ("uint16", ".tif", 4000, 4095),
    ("uint16", ".tif", 65535, 65535),
    ("uint16", ".png", 900, 1023),
    ("uint16", ".png", 255, 255),
    ("int32", ".tif", 16000, 16383),
    ("int32", ".tif", 100_000, 2**18 - 1),
    ("float32", ".tif", 1.0, 1),
    ("float32", ".tif", 0.5, 1),
    ("float32", ".tif", 255.0, 255),
    ("float32", ".tif", 3000.0, 4095),
]


@pytest.mark.parametrize(("dtype", "suffix", "brightest", "white"), WIDE)
@pytest.mark.parametrize("form", ["folder", "parquet", "npz", "array"])
def test_one_scale_for_a_data_set(
    tmp_path: Path, dtype: str, suffix: str, brightest: float, white: float, form: str
) -> None:
    images = np.stack([RAMP * brightest * share for share in (0.1, 1, 0.5)]).astype(dtype)
    if form in ("npz", "array"):
        np.savez(tmp_path / "d.npz", x=images, y=[0, 1, 1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = load_data(tmp_path / "d.npz") if form == "npz" else ImageDataset.from_array(images, [0, 1, 1])
    else:
        encoded = []
        for i, image in enumerate(images):
            file = tmp_path / ("a" if i == 0 else "b") / f"{i}{suffix}"
            file.parent.mkdir(exist_ok=True)
            Image.fromarray(image).save(file)
            encoded.append(file.read_bytes())
        if form == "parquet":
            pd.DataFrame({"image": encoded, "label": [0, 1, 1]}).to_parquet(tmp_path / "d.parquet")
        data, said = quiet(tmp_path / "d.parquet" if form == "parquet" else tmp_path)
        assert f"white at {white:g}" in said and "3 of 3 images" in said
    for i, image in enumerate(images):
        assert np.abs(data.picture(i) - image.astype(float) * 255 / white).max() <= 0.51


def test_the_scale_may_be_given_and_is_kept_for_pictures_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i, high in enumerate((500, 3000)):
        (tmp_path / "abc"[i]).mkdir()
        Image.fromarray((RAMP * (high + 1000) - 1000).astype("float32")).save(tmp_path / "abc"[i] / "0.tif")
    with pytest.raises(InputError, match=r"values from -1000 to 3000; .* scale=\(BLACK, WHITE\)"):
        load_data(tmp_path, progress=False)
    for kept in (2**30, 10):
        monkeypatch.setattr("neucept.datasets.decoding._KEPT_BYTES", kept)
        data, said = quiet(tmp_path, scale=(-1000, 1000), size=(16, 16))
        assert "black at -1000 and white at 1000; values beyond are clipped" in said
        assert np.abs(data.picture(0) - np.clip(RAMP * 1500 / 2000, 0, 1) * 255).max() <= 1
        assert data.picture(1).max() == 255
    for wrong in (0, "16 bits", (3, 1), (1, 2, 3), float("nan")):
        with pytest.raises(InputError, match="expected the value of white"):
            load_data(tmp_path, scale=wrong)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full((3, 4, 4), 1.5), "values from 1.5 to 1.5; expected"),
        (np.full((3, 4, 4), 16, np.uint16), "values from 16 to 16; expected"),
        (np.full((3, 4, 4), np.nan), "not finite"),
        (np.full((3, 4, 4), 1e12), "values from 1e"),
        (np.full((3, 4, 4), -1), "values from -1"),
        (np.full((3, 4, 4), "a"), "expected finite real numbers"),
        (np.full((3, 4, 4), 1j), "expected finite real numbers"),
    ],
)
def test_values_that_fit_no_scale(tmp_path: Path, values: np.ndarray, said: str) -> None:
    np.savez(tmp_path / "d.npz", x=values, y=[0, 1, 1])
    with pytest.raises(InputError, match=said):
        load_data(tmp_path / "d.npz")


def test_all_splits_of_an_npz_share_the_scale(tmp_path: Path) -> None:
    train, test = (np.stack([RAMP, RAMP]) * high for high in (4000, 200))
    np.savez(tmp_path / "d.npz", x_train=train, y_train=[0, 1], x_test=test, y_test=[0, 1])
    data, said = quiet(tmp_path / "d.npz", split="test")
    assert data.picture(0).max() == round(200 * 255 / 4095) and "white at 4095" in said


def test_truth_values_are_black_and_white() -> None:
    data = ImageDataset.from_array(np.array([[[True, False]]]), [0])
    assert data.picture(0).tolist() == [[255, 0]]


def test_colour_of_16_bits(tmp_path: Path) -> None:
    for name in "ab":
        put(tmp_path, f"{name}/0.png").joinpath(name, "0.png").write_bytes(deep_png(np.full((4, 4, 3), 65535)))
    data, said = quiet(tmp_path)
    assert data.picture(0).min() == 255 and "2 of 2 images: colour images of 16 bits" in said
    for name in "ab":
        (tmp_path / name / "0.png").write_bytes(deep_png(np.full((4, 4, 3), 4095)))  # 12 bits: 16 levels are left
    with pytest.raises(InputError, match="colour images of 16 bits hold values below 4096"):
        load_data(tmp_path, progress=False)


# --- orientation, frames, formats -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("form", ["folder", "parquet"])
def test_exif_orientation_is_applied_and_said(tmp_path: Path, suffix: str, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8] = 255  # left is white: after a turn clockwise, above is white
    put(tmp_path, "a/0.png", "b/0.png")
    for name in "ab":
        (tmp_path / name / "0.png").unlink()
        Image.fromarray(pixels).save(tmp_path / name / f"1{suffix}", exif=exif, quality=95)
    if form == "parquet":
        contents = [(tmp_path / name / f"1{suffix}").read_bytes() for name in "ab"]
        pd.DataFrame({"image": contents, "label": [0, 1]}).to_parquet(tmp_path / "d.parquet")
    data, said = quiet(tmp_path / "d.parquet" if form == "parquet" else tmp_path)
    assert data.picture(0).shape == (16, 8, 3)
    assert data.picture(0)[:7].mean() > 200 and data.picture(0)[9:].mean() < 50
    if suffix != ".tif":  # Pillow turns those itself
        assert "2 of 2 images: turned as their EXIF orientation says" in said


SUFFIXES = [".jfif", ".JPG", ".jpe", ".bmp", ".dib", ".gif", ".TIF", ".ppm", ".pgm", ".webp", ".avif", ".jp2", ".apng"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_suffixes_that_are_read(tmp_path: Path, suffix: str) -> None:
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    kinds = {".jfif": "JPEG", ".jpe": "JPEG", ".apng": "PNG", ".dib": "DIB", ".pgm": "PPM"}
    put(tmp_path, "a/0.png")
    Image.new("L", (4, 4), 200).save(tmp_path / "a" / f"1{suffix}", kinds.get(suffix))
    data, said = quiet(tmp_path)
    assert len(data) == 2 and abs(int(data.picture(1).mean()) - 200) <= 3 and not said


def test_other_formats_are_not_opened_whatever_their_suffix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a/0.png", "b/0.png")
    ran = tmp_path / "ran"
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *args, **kwargs: ran.touch())
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n"
    (tmp_path / "b" / "1.jpg").write_bytes(postscript)
    with pytest.raises(InputError, match=r"b/1.jpg cannot be read: UnidentifiedImageError"):
        load_data(tmp_path, progress=False)
    data, said = quiet(tmp_path, on_unreadable="skip")
    assert len(data) == 2 and "1 of 3 images cannot be read" in said and not ran.exists()
    pd.DataFrame({"image": [png(), postscript], "label": [0, 1]}).to_parquet(tmp_path / "d.parquet")
    with pytest.raises(InputError, match=r"d.parquet row 1 cannot be read"):
        load_data(tmp_path / "d.parquet", progress=False)


def test_of_several_frames_the_first_is_taken_and_said(tmp_path: Path) -> None:
    put(tmp_path, "a/0.png")
    frames = [Image.new("L", (4, 4), value) for value in (10, 200)]
    frames[0].save(tmp_path / "a" / "1.tif", save_all=True, append_images=frames[1:])
    data, said = quiet(tmp_path)
    assert data.picture(1).max() == 10 and "1 of 2 images: files of several frames" in said


# --- bombs and what hangs ---------------------------------------------------------------------------------------------


def test_pictures_that_declare_too_many_pixels(tmp_path: Path) -> None:
    put(tmp_path, "a/0.png")
    whole = bytearray(png())
    whole[16:24] = struct.pack(">II", 20_000, 20_000)
    whole[29:33] = struct.pack(">I", zlib.crc32(whole[12:29]))
    (tmp_path / "a" / "1.png").write_bytes(whole)
    with pytest.raises(InputError, match=r"a/1.png cannot be read"):
        quiet(tmp_path)
    whole[16:24] = struct.pack(">II", 10_000, 10_000)  # Pillow warns alone
    whole[29:33] = struct.pack(">I", zlib.crc32(whole[12:29]))
    (tmp_path / "a" / "1.png").write_bytes(whole)
    with pytest.raises(InputError, match=r"declares 10000 x 10000 pixels"):
        quiet(tmp_path)


def bomb(path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (2**11, 2**10, 2**10)}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as file:
            file.write(header.getvalue())
            for _ in range(2**7):
                file.write(bytes(2**24))
        with archive.open("y.npy", "w") as file:
            np.lib.format.write_array(file, np.zeros(2**11, np.int64))


def test_archives_that_unpack_to_far_more_than_they_are(tmp_path: Path) -> None:
    bomb(tmp_path / "bomb.npz")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**12, 28, 28)})
    with zipfile.ZipFile(tmp_path / "shape.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(1000))
    gz = zlib.compressobj(9, zlib.DEFLATED, 31)
    idx = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**22, 28, 28)
    put(tmp_path, "idx/").joinpath("idx", "train-images-idx3-ubyte.gz").write_bytes(gz.compress(idx) + gz.flush())
    (tmp_path / "idx" / "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 1, 0]))
    tracemalloc.start()
    for name, said in (
        ("bomb.npz", "declares .* bytes of data but has"),
        ("shape.npz", "damaged"),
        ("idx", "declares"),
    ):
        with pytest.raises(InputError, match=said):
            load_data(tmp_path / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26


def test_pipes_and_broken_links_are_left_out_and_loops_end(tmp_path: Path) -> None:
    root = put(tmp_path / "data", "a/0.png", "b/0.png")
    os.mkfifo(root / "a" / "pipe.png")
    (root / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (root / "b" / "loop").symlink_to(root)
    put(tmp_path / "elsewhere", "1.png", "deep/2.png")
    (root / "c").symlink_to(tmp_path / "elsewhere")
    (root / "b" / "more").symlink_to(tmp_path / "elsewhere" / "deep")
    data, said = quiet(root)
    assert data.class_names == ("a", "b", "c") and data.labels.tolist() == [0, 1, 1, 2, 2]
    assert "1 links back to a folder above" in said and "2 broken links or special files" in said
    os.mkfifo(tmp_path / "pipe.npz")
    for name in ("pipe.npz",):
        with pytest.raises(InputError, match="is not known"):
            load_data(tmp_path / name)


# --- folders ----------------------------------------------------------------------------------------------------------

TWO = ("cat/0.png", "dog/0.png")
FOLDERS: list[tuple[Sequence[str], dict[str, Any], Sequence[str], int, str]] = [
    # files, options, class names, images, said
    (
        [f"{s}/{f}" for s in ("training_set", "test_set") for f in TWO],
        {},
        ["cat", "dog"],
        4,
        "splits test_set, training",
    ),
    ([f"{s}/{f}" for s in ("training_set", "test_set") for f in TWO], {"split": "train"}, ["cat", "dog"], 2, ""),
    ([f"{s}/{f}" for s in ("Train", "Valid", "Test") for f in TWO], {"split": "val"}, ["cat", "dog"], 2, ""),
    ([f"{s}/{f}" for s in ("train2017", "val2017") for f in TWO], {"split": "validation"}, ["cat", "dog"], 2, ""),
    (
        [f"seg_{s}/seg_{s}/{f}" for s in ("train", "test") for f in TWO],
        {"split": "test"},
        ["cat", "dog"],
        2,
        "",
    ),
    ([f"pets_{s}/{f}" for s in ("train", "test") for f in TWO], {"split": "test"}, ["cat", "dog"], 2, ""),
    ([f"data/{s}/{f}" for s in ("train", "test") for f in TWO], {"split": "test"}, ["cat", "dog"], 2, "folders in it"),
    ([f"train/{f}" for f in TWO], {}, ["cat", "dog"], 2, ""),
    ([f"train/{f}" for f in TWO], {"split": "train"}, ["cat", "dog"], 2, ""),
    ([f"train/{f}" for f in TWO] + ["test/1.png"], {}, ["cat", "dog"], 2, "1 images of the split 'test' in no class"),
    (["cat/train/0.png", "cat/test/0.png", "dog/train/0.png"], {"split": "train"}, ["cat", "dog"], 2, ""),
    ([f"PetImages/{f}" for f in TWO], {}, ["cat", "dog"], 2, "all images lie in the folder 'PetImages'"),
    ([f"images/{f}" for f in TWO] + ["annotations/cat.xml"], {}, ["cat", "dog"], 2, "annotations"),
    ([*TWO, "annotations/masks/0.png"], {}, ["cat", "dog"], 2, "1 images in the folder 'annotations'"),
    ([*TWO, "labels/0.txt", "labels/1.txt", "empty/"], {}, ["cat", "dog"], 2, "2 folders hold no images"),
    ([*TWO, "cat/a.dcm", "cat/b.dcm", "readme.txt"], {}, ["cat", "dog"], 2, "2 .dcm files, 1 .txt files"),
    ([*TWO, "cover.png"], {}, ["cat", "dog"], 2, "1 images beside the folders"),
    ([*TWO, ".git/0.png", "__MACOSX/cat/0.png", "@eaDir/0.png", "cat/.0.png"], {}, ["cat", "dog"], 2, ""),
    (["car/0.png", "plane/0.png", "train/0.png"], {}, ["car", "plane", "train"], 3, ""),  # a train is a class here
    (["cat/tabby/0.png", "cat/black/1.png", "dog/0.png"], {}, ["cat", "dog"], 3, ""),
    (["0/a.png", "10/a.png", "2/a.png"], {}, ["0", "10", "2"], 3, "class 1 is '10'"),
    (["0/a.png", "10/a.png", "2/a.png"], {"class_names": ["0", "1", "2", "10"]}, ["0", "1", "2", "10"], 3, "numbers"),
]


@pytest.mark.parametrize(("files", "options", "names", "count", "said"), FOLDERS)
def test_folders(
    tmp_path: Path, files: Sequence[str], options: dict[str, Any], names: Sequence[str], count: int, said: str
) -> None:
    data, warned = quiet(put(tmp_path / "d", *files), **options)
    assert list(data.class_names) == list(names) and len(data) == count
    assert said in warned if said else not warned


@pytest.mark.parametrize(
    ("files", "options", "said"),
    [
        (["train/cat/0.png", "test/cat/0.png", "docs/0.png"], {}, r"folders of splits \(test, train\).* 'docs'"),
        (["train/cat/0.png", "dog/0.png"], {}, "not clear what the classes are"),
        (["train/0.png", "test/0.png"], {}, "lie in no class folders"),
        (["0.png", "1.png"], {}, "lie in no class folders"),
        (["cat/a.txt"], {}, r"holds no images.*left out: 1 .txt"),
        (["train1/cat/0.png", "train2/cat/0.png"], {"split": "train"}, "several splits that split='train' may mean"),
        (list(TWO), {"class_names": ["cat", "dgo"]}, "class 'dog' .* not among the class names.*'dgo'"),
        (list(TWO), {"class_names": ["x", "y", "z"]}, "2 classes .* but 3 other class names"),
        (list(TWO), {"class_names": "cat"}, "expected a list of names"),
    ],
)
def test_folders_that_are_refused(tmp_path: Path, files: Sequence[str], options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        quiet(put(tmp_path / "d", *files), **options)


def test_class_names_of_the_data_are_renumbered_and_others_replace_them(tmp_path: Path) -> None:
    put(tmp_path, *TWO, "dog/1.png")
    assert load_data(tmp_path, class_names=["dog", "cat"], progress=False).labels.tolist() == [1, 0, 0]
    assert load_data(tmp_path, class_names=["Katze", "Hund"], progress=False).labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize("name", ["contest", "trainer", "latest", "cat", "test drive train", "training camp", ""])
def test_words_that_are_no_splits(name: str) -> None:
    assert split_kinds([name]) == {}


# --- labels -----------------------------------------------------------------------------------------------------------

LABELS: list[tuple[Any, Any]] = [  # labels, then (numbers, names) or what the message says
    ([0, 2, 2], ([0, 2, 2], ("0", "1", "2"))),
    ([999, 0], ([999, 0], tuple(map(str, range(1000))))),
    ([10**7 + 1] * 2 + [7], ([1, 1, 0], ("7", "10000001"))),
    (np.array([2**64 - 1, 5], np.uint64), ([1, 0], ("5", "18446744073709551615"))),
    ([1e18, 0.0], ([1, 0], ("0", "1000000000000000000"))),
    (list(range(20_000)), (list(range(20_000)), tuple(map(str, range(20_000))))),
    ([True, False], ([1, 0], ("False", "True"))),
    (np.array([True, False], object), ([1, 0], ("False", "True"))),
    ([1.0, 0.0], ([1, 0], ("0", "1"))),
    (np.array([1, 0], np.float16), ([1, 0], ("0", "1"))),
    (["b", "a"], ([1, 0], ("a", "b"))),
    ([b"b", b"a"], ([1, 0], ("a", "b"))),
    (np.array(["ü", "a"], object), ([1, 0], ("a", "ü"))),
    (np.array([b"b", b"a"], object), ([1, 0], ("a", "b"))),
    (["10", "2", "0"], ([10, 2, 0], tuple(map(str, range(11))))),
    (["007", "7"], ([0, 1], ("007", "7"))),
    ([[1], [0]], ([1, 0], ("0", "1"))),
    ([-1, 1], "go from -1 to 1.*negative"),
    ([0.5, 1], "not whole numbers: 0.5"),
    ([float("inf"), 1], "not whole numbers: inf"),
    ([float("nan"), 1], "1 rows without a label"),
    (np.array(["a", None], object), "1 rows without a label"),
    (["a", ""], "1 rows without a label"),
    (np.array([1, None, None], object), "2 rows without a label"),
    (np.array(["a", 1], object), "several types"),
    ([[0, 1], [1, 0]], r"shape \(2, 2\).*argmax"),
    (np.array(["2020-01-01"], "M8[D]"), "are datetime64.*expected whole numbers or texts"),
    (np.array([1j]), "are complex128"),
    (np.array([[1, 2], [3]], object), "not whole numbers"),
]


@pytest.mark.parametrize(("labels", "right"), LABELS, ids=range(len(LABELS)))
def test_labels(labels: Any, right: Any) -> None:
    if isinstance(right, str):
        with pytest.raises(InputError, match=right):
            number_labels(labels, "d")
        with pytest.raises(InputError, match=right):
            ImageDataset.from_array(np.zeros((len(labels), 4, 4), np.uint8), labels)
        return
    read = number_labels(labels, "d")
    assert (read.numbers.tolist(), read.names) == right and read.numbers.dtype == np.int64
    assert ("identifiers" in read.notice) == (
        right[1] != tuple(map(str, range(len(right[1])))) and right[1][0].isdigit() and right[1][0] != "007"
    )


def test_identifiers_take_the_names_of_the_file_where_they_are_as_many() -> None:
    assert number_labels([50_000, 7_000], "d", ["x", "y"]).numbers.tolist() == [1, 0]
    for labels in ([50_000, 7_000, 7_001], [0, 2]):
        with pytest.raises(InputError, match="but there are 2 class names"):
            number_labels(labels, "d", ["x", "y"])


def test_names_in_an_npz_and_arrays_by_split(tmp_path: Path) -> None:
    images = np.zeros((2, 4, 4), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=[1, 0], label_names=["x", "y"])
    np.savez(tmp_path / "b.npz", train_images=images, train_labels=[[1], [0]], val_images=images, val_labels=[[1], [1]])
    np.savez(tmp_path / "c.npz", x=images, y=[1, 0], x_mean=images)
    assert load_data(tmp_path / "a.npz").class_names == ("x", "y")
    assert load_data(tmp_path / "b.npz", split="validation").labels.tolist() == [1, 1]
    assert len(load_data(tmp_path / "c.npz")) == 2
    np.savez(tmp_path / "d.npz", x_a=images, y_a=["cat", "dog"], x_b=images, y_b=[1, 0])
    with pytest.raises(InputError, match="texts in some splits and numbers in others"):
        quiet(tmp_path / "d.npz")


# --- parquet ----------------------------------------------------------------------------------------------------------


def hugging_face(
    path: Path, values: Sequence[int], label: str = "label", image: str = "image", names: Any = None
) -> None:
    """Write a shard as Hugging Face's ``datasets`` does: structs of bytes, and class names in the schema."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {"names": names or ["zebra", "ant"], "_type": "ClassLabel"}
    table = pa.table(
        {
            image: pa.array([{"bytes": png(v), "path": f"{v}.png"} for v in values]),
            label: pa.array([v % 2 for v in values], pa.int64()),
        }
    )
    info = {"info": {"features": {image: {"_type": "Image"}, label: kind}}}
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(info)}), path)


@pytest.mark.parametrize("folder", ["", "data/", "plain_text/"])
@pytest.mark.parametrize(("image", "label"), [("image", "label"), ("img", "label"), ("photo", "species")])
def test_hugging_face_shards(tmp_path: Path, folder: str, image: str, label: str) -> None:
    root = put(tmp_path / "repo", "README.txt")
    for shard, values in enumerate(([1, 2], [3])):
        hugging_face(root / f"{folder}train-{shard:05}-of-00002.parquet", values, label, image)
    hugging_face(root / f"{folder}test-00000-of-00001-0123456789abcdef.parquet", [5, 6], label, image)
    train, _ = quiet(root, split="train")
    assert train.class_names == ("zebra", "ant") and train.labels.tolist() == [1, 0, 1]
    assert [train.picture(i).max() for i in range(3)] == [1, 2, 3]
    assert len(quiet(root, split="test")[0]) == 2
    both, said = quiet(root)
    assert len(both) == 5 and "has the splits test, train" in said
    (root / f"{folder}train-00000-of-00002.parquet").unlink()
    assert "1 of 2 files of train: the others are missing" in quiet(root, split="train")[1]


def test_parquet_files_of_several_sets_and_of_parts(tmp_path: Path) -> None:
    for part in range(3):
        hugging_face(tmp_path / "spark" / f"part-{part:05}-f00.parquet", [part])
        hugging_face(tmp_path / "splits" / ("train", "test", "val")[part] / "0000.parquet", [part])
    assert len(quiet(tmp_path / "spark")[0]) == 3 and not quiet(tmp_path / "spark")[1]
    assert len(quiet(tmp_path / "splits", split="validation")[0]) == 1
    with pytest.raises(InputError, match="parquet files of several data sets"):
        load_data(tmp_path)
    hugging_face(tmp_path / "one" / "train-00000-of-00001.parquet", [1])
    assert len(quiet(tmp_path / "one" / "train-00000-of-00001.parquet", split="train")[0]) == 1


def test_labels_of_a_test_split_that_are_not_given(tmp_path: Path) -> None:
    frame = pd.DataFrame({"image": [png()] * 4, "label": [1, 0, -1, -1], "split": ["train", "train", "test", "test"]})
    frame.to_parquet(tmp_path / "d.parquet")
    assert load_data(tmp_path / "d.parquet", split="train", progress=False).labels.tolist() == [1, 0]
    with pytest.raises(InputError, match="negative number often stands for a missing label"):
        load_data(tmp_path / "d.parquet", split="test", progress=False)


def test_texts_in_an_image_column_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = put(tmp_path, "secret.png") / "secret.png"
    for i, column in enumerate(([str(secret)], [{"bytes": None, "path": str(secret)}], [[1, 2]])):
        pd.DataFrame({"image": column, "label": [0]}).to_parquet(tmp_path / f"{i}.parquet")
        monkeypatch.setattr(Path, "open", lambda *args, **kwargs: pytest.fail("a path was opened"))
        with pytest.raises(InputError, match="expected encoded bytes, got"):
            load_data(tmp_path / f"{i}.parquet", progress=False)
        monkeypatch.undo()


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("writer", ["pandas", "arrow"])
def test_categories_keep_their_order(tmp_path: Path, ordered: bool, writer: str) -> None:
    order = ["low", "mid", "high", "highest"]  # the last never occurs
    if writer == "pandas":
        labels = pd.Categorical(["high", "low", "mid"], categories=order, ordered=ordered)
        pd.DataFrame({"image": [png()] * 3, "label": labels}).to_parquet(tmp_path / "d.parquet")
    else:
        column = pa.DictionaryArray.from_arrays(pa.array([2, 0, 1], pa.int8()), pa.array(order), ordered=ordered)
        pq.write_table(pa.table({"image": [png()] * 3, "label": column}), tmp_path / "d.parquet")
    data = load_data(tmp_path / "d.parquet", progress=False)
    assert data.class_names == tuple(order) and data.labels.tolist() == [2, 0, 1]
    numbers = pd.Categorical([2, 0, 1], categories=[2, 0, 1], ordered=ordered)  # stored as plain numbers, by pandas too
    pd.DataFrame({"image": [png()] * 3, "label": numbers}).to_parquet(tmp_path / "n.parquet")
    assert load_data(tmp_path / "n.parquet", progress=False).labels.tolist() == [2, 0, 1]


def test_categories_of_several_files_are_the_same_for_each_split(tmp_path: Path) -> None:
    for name, values in (("train", ["b", "a"]), ("test", ["c", "a"])):
        labels = pd.Categorical(values, categories=values)
        pd.DataFrame({"image": [png()] * 2, "label": labels}).to_parquet(tmp_path / f"{name}.parquet")
    train, test = (load_data(tmp_path, split=split, progress=False) for split in ("train", "test"))
    assert train.class_names == test.class_names == ("c", "a", "b")
    assert (train.labels.tolist(), test.labels.tolist()) == ([2, 1], [0, 1])


def test_columns_that_may_mean_several_things(tmp_path: Path) -> None:
    kind = {"names": ["x", "y"], "_type": "ClassLabel"}
    info = {"info": {"features": {"image": {"_type": "Image"}, "fine": kind, "coarse": kind}}}
    table = pa.table({"image": [png()], "fine": [0], "coarse": [1]})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(info)}), tmp_path / "d.parquet")
    with pytest.raises(InputError, match=r"Several may be meant \(fine, coarse\)"):
        load_data(tmp_path / "d.parquet")


# --- the protocol -----------------------------------------------------------------------------------------------------


def test_a_data_source_is_recorded_with_its_labels_and_names() -> None:
    class Source:
        labels = np.arange(40) % 2
        class_names = ("even", "odd")

        def __len__(self) -> int:
            return 40

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            if index >= 40:
                raise IndexError(index)
            return torch.full((1, 2, 2), float(index)), int(self.labels[index])

        def picture(self, index: int) -> np.ndarray:
            return np.full((2, 2), index, np.uint8)

    assert isinstance(Source(), DataSource) and not isinstance([1, 2], DataSource)
    assert isinstance(ImageDataset.from_array(np.zeros((2, 4, 4), np.uint8), [0, 1]), DataSource)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    recording = neucept.record(network, Source(), layers=["2"], progress=False)
    assert recording.class_names == ("even", "odd") and recording.labels.tolist() == Source.labels.tolist()


def test_rows_that_do_not_exist() -> None:
    data = ImageDataset.from_array(np.zeros((3, 4, 4), np.uint8), [0, 1, 1])
    assert len(data.take([])) == 0 and data.take([-1]).labels.tolist() == [1]
    for rows in ([3], [0.5], [True], [[0]], ["a"]):
        with pytest.raises(InputError, match="row numbers below 3"):
            data.take(rows)


@pytest.mark.parametrize("form", ["folder", "parquet", "shards"])
def test_splits_and_samples_share_the_scale(tmp_path: Path, form: str) -> None:
    rows = []
    for split, high in (("train", 4000), ("test", 300)):
        for name in ("a", "b"):
            put(tmp_path / "d", f"{split}/{name}/0.tif")
            file = tmp_path / "d" / split / name / "0.tif"
            Image.fromarray((RAMP * high).astype("uint16")).save(file)
            rows.append({"image": file.read_bytes(), "label": "ab".index(name), "split": split})
    frame, path = pd.DataFrame(rows), tmp_path / "d"
    if form == "parquet":
        path = tmp_path / "d.parquet"
        frame.to_parquet(path)
    elif form == "shards":
        path = tmp_path / "shards"
        path.mkdir()
        for split, part in frame.groupby("split"):
            part.drop(columns="split").to_parquet(path / f"{split}-00000-of-00001.parquet", index=False)
    data, said = quiet(path, split="test")
    assert "white at 4095" in said and data.picture(0).max() == round(300 / 4095 * 255)
    assert "white at 4095" in quiet(path, split="test", limit=1)[1]


def test_pictures_and_labels_that_no_data_set_holds() -> None:
    with pytest.raises(InputError, match=r"pictures are float64; expected bytes"):
        neucept.datasets.Scaling()(np.zeros((1, 4, 4)))
    with pytest.raises(InputError, match="labels are float64; expected class numbers"):
        ImageDataset(neucept.datasets.images.Stored(np.zeros((2, 4, 4), np.uint8)), np.array([0.5, 1]), ("a", "b"))


IMAGES = np.zeros((2, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "options", "said"),
    [
        ({"x_a": np.zeros((2, 5, 5), np.uint8), "y_a": [0, 1], "x_b": IMAGES, "y_b": [0, 1]}, {}, "have the shapes"),
        ({"x": IMAGES, "y": 0}, {}, "labels .* have shape"),
        ({"x": 0, "y": [0]}, {}, "images .* have shape"),
        ({"x": IMAGES, "y": np.zeros(2, [("a", int)])}, {}, "expected whole numbers or texts"),
        ({"x": IMAGES, "y": [0, 1]}, {"split": 1}, "split=1: expected a name"),
        ({"x": IMAGES, "y": [0, 1]}, {"limit": 1, "seed": -1}, "seed=-1: expected a whole number"),
        ({"x": IMAGES, "y": [0, 1]}, {"limit": 2.5}, "limit=2.5: expected a whole number"),
        ({"x": IMAGES, "y": [0, 1]}, {"size": (1, 2, 3)}, "size=.* is not possible"),
        ({"x": IMAGES, "y": [0, 1]}, {"size": "8"}, "size='8' is not possible"),
        ({"x": IMAGES, "y": [0, 1]}, {"channels": "3"}, "channels='3' is not possible"),
        ({"x": IMAGES, "y": [0, 1]}, {"mean": 0.5}, "mean=0.5: expected one number per channel"),
        ({"x": IMAGES, "y": [0, 1]}, {"mean": (125.3,)}, r"mean=\(125.3,\): expected numbers from 0 to 1"),
        ({"x": IMAGES, "y": [0, 1]}, {"mean": (-0.5,)}, r"scaled to \[0, 1\]"),
        ({"x": IMAGES, "y": [0, 1]}, {"std": (0,)}, "above 0"),
        ({"x": IMAGES, "y": [0, 1]}, {"class_names": 5}, "expected a list of names"),
        ({"x": IMAGES, "y": [0, 1]}, {"class_names": []}, "but there are 0 class names"),
    ],
)
def test_wrong_arrays_and_options(tmp_path: Path, arrays: dict[str, Any], options: dict[str, Any], said: str) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(InputError, match=said):
        quiet(tmp_path / "d.npz", **options)


@pytest.mark.parametrize("path", [None, 5, b"a", [3], []])
def test_what_is_no_path(path: Any) -> None:
    with pytest.raises(InputError, match="expected the path of a folder or file"):
        load_data(path)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array([[1, 2], [0]]), "not whole numbers"),
        (pa.array([{"a": 1}, {"a": 2}]), "not whole numbers"),
        (pa.array([None, 1]), "1 rows without a label"),
        (pa.array([True, None]), "1 rows without a label"),
        (pa.array(["x", None]).dictionary_encode(), "1 rows without a label"),
        (pa.array([0, 1], pa.date32()), "not whole numbers|expected whole numbers or texts"),
    ],
)
def test_columns_that_are_no_labels(tmp_path: Path, column: pa.Array, said: str) -> None:
    pq.write_table(pa.table({"image": [png()] * 2, "label": column}), tmp_path / "d.parquet")
    with pytest.raises(InputError, match=said):
        load_data(tmp_path / "d.parquet", progress=False)


def test_splits_that_are_numbers_or_missing(tmp_path: Path) -> None:
    for splits, asked, count in (([0, 1, 1], "1", 2), (["a", None, "b"], "a", 1), (["a", None, "b"], "all", 3)):
        frame = pd.DataFrame({"image": [png()] * 3, "label": [0, 1, 1], "split": splits})
        frame.to_parquet(tmp_path / "d.parquet")
        assert len(load_data(tmp_path / "d.parquet", split=asked, progress=False)) == count


@pytest.mark.parametrize(
    "metadata", [b"{", b"[]", b'{"info": null}', b'{"info": {"features": {"label": {"names": 5}}}}']
)
def test_features_that_cannot_be_read_are_none(tmp_path: Path, metadata: bytes) -> None:
    table = pa.table({"image": [png()] * 2, "label": [0, 1]}).replace_schema_metadata({"huggingface": metadata})
    pq.write_table(table, tmp_path / "d.parquet")
    assert load_data(tmp_path / "d.parquet", progress=False).class_names == ("0", "1")


def test_the_scale_is_an_option_of_the_commands(tmp_path: Path) -> None:
    from neucept.cli.subject import Inputs

    np.savez(tmp_path / "d.npz", x=np.full((2, 4, 4), 500.0), y=[0, 1])
    for text, value in (("1000", 128), ("-1000,1000", 191)):
        with pytest.warns(UserWarning, match="All are read with one scale"):
            data = Inputs(tmp_path / "d.npz", scale=text).load("file.py:network", torch.nn.Linear(1, 1))
        assert data.picture(0).max() == value


def test_fractions_may_miss_white_by_rounding(tmp_path: Path) -> None:
    images = np.stack([RAMP, RAMP]) * (1 + 1e-6) - 1e-7
    assert ImageDataset.from_array(images, [0, 1]).picture(0).max() == 255
    put(tmp_path, "a/0.tif")
    Image.fromarray(images[0].astype("float32")).save(tmp_path / "a" / "0.tif")
    assert "white at 1;" in quiet(tmp_path)[1]
