"""The formats: a folder a class, IDX files and .npz."""

from __future__ import annotations

import gzip
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neucept.datasets.pictures import Encoded, Picture
from neucept.errors import InputError, closest

_SUFFIXES = frozenset([".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"])
_SPLITS = frozenset(["train", "training", "val", "valid", "validation", "dev", "test", "testing"])
_IDX_SPLITS = {"train": "train", "t10k": "test", "test": "test"}


@dataclass(frozen=True, eq=False)
class Table:
    """What a file holds, before any sample is drawn.

    Parameters
    ----------
    pictures : array of uint8, (n, H, W) or (n, H, W, 3), or Encoded
        The pictures.
    labels : array of int64, (n,)
        Their classes.
    class_names : tuple of str, optional
        The names of the classes, where the file says them.
    """

    pictures: Picture | Encoded
    labels: NDArray[np.int64]
    class_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.pictures) != len(self.labels):
            raise InputError(f"There are {len(self.pictures)} pictures but {len(self.labels)} labels.")


def read_folder(path: Path, split: str | None) -> Table:
    """Read a folder with one folder a class, or one a split that holds one a class.

    Parameters
    ----------
    path : Path
        The folder. Classes are numbered in the order of their names; folders in them are searched too.
    split : str, optional
        Takes one of the folders "train", "val", "test" and the like; None and "all" take all.
    """
    folders = _folders(path)
    if folders and all(folder.name.lower() in _SPLITS for folder in folders):
        chosen = set(choose_split([folder.name for folder in folders], split, path))
        roots = [folder for folder in folders if folder.name in chosen]
        names = sorted({entry.name for folder in folders for entry in _folders(folder)})
    else:
        choose_split([], split, path)
        roots = [path]
        names = [folder.name for folder in folders]
    found = [
        (file, label)
        for root in roots
        for label, name in enumerate(names)
        for file in sorted((root / name).rglob("*"))
        if file.suffix.lower() in _SUFFIXES and not _is_hidden(file)
    ]
    if not found:
        raise InputError(
            f"The folder {path} holds no images. Expected one folder a class with {' '.join(sorted(_SUFFIXES))} files, "
            "the four IDX files of MNIST, or parquet files."
        )
    files, labels = zip(*found, strict=True)
    return Table(Encoded(files, [str(file) for file in files]), np.array(labels, dtype=np.int64), tuple(names))


def find_idx(path: Path) -> dict[str, tuple[Path, Path]]:
    """Find IDX files, {split: (images, labels)}; empty where the folder has none."""
    found: dict[str, tuple[Path, Path]] = {}
    for images in sorted(path.glob("*-images[-.]idx3-ubyte*")):
        prefix = images.name.split("-images")[0]
        for labels in sorted(path.glob(f"{prefix}-labels[-.]idx1-ubyte*")):
            found[_IDX_SPLITS.get(prefix, prefix)] = (images, labels)
    return found


def read_idx(path: Path, split: str | None) -> Table:
    """Read MNIST's IDX files, packed with gzip or not; split is "train", "test" or "all".

    Parameters
    ----------
    path : Path
        The folder that holds them.
    split : str, optional
        Takes one of the two.
    """
    files = find_idx(path)
    chosen = [files[name] for name in choose_split(list(files), split, path)]
    pictures = np.concatenate([_idx_array(images, 3) for images, _ in chosen])
    labels = np.concatenate([_idx_array(labels, 1) for _, labels in chosen]).astype(np.int64)
    return Table(pictures, labels)


def read_npz(path: Path, split: str | None) -> Table:
    """Read an .npz file with arrays ``x`` (or ``images``), ``y`` (or ``labels``) and perhaps ``class_names``.

    Parameters
    ----------
    path : Path
        The file. Images are (n, H, W), (n, H, W, C) or (n, C, H, W) with 1 or 3 channels, of uint8 or of floats in
        [0, 1], which are rounded to 256 levels; labels are whole numbers from 0, or names.
    split : str, optional
        Takes ``x_train`` and ``y_train``, say, instead of ``x`` and ``y``.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} cannot be read as an .npz file of plain arrays: {error}") from error
    splits = sorted({name.split("_", 1)[1] for name in arrays if name.startswith(("x_", "images_"))})
    chosen: Sequence[str | None] = choose_split(splits, split, path) if splits else [None]
    if not splits:
        choose_split([], split, path)
    pictures = [_array(arrays, ("x", "images"), part, path) for part in chosen]
    labels = np.concatenate([_array(arrays, ("y", "labels"), part, path).reshape(-1) for part in chosen])
    named = tuple(arrays["class_names"].astype(str).tolist()) if "class_names" in arrays else None
    if named is None and labels.dtype.kind in "OUS":  # classes are those of all splits
        named = text_classes([_array(arrays, ("y", "labels"), part, path).reshape(-1) for part in splits or [None]])
    numbers, names = number_labels(labels, str(path), named)
    return Table(np.concatenate([_as_bytes(array, path) for array in pictures]), numbers, names)


def choose_split(available: Sequence[str], split: str | None, path: Path) -> list[str]:
    """Take the splits that were asked for: all for "all", and for None, which warns where there are several.

    Raises
    ------
    InputError
        There is no such split.
    """
    if split is None and len(available) > 1:
        warnings.warn(
            f"{path} has the splits {', '.join(available)}, and all are taken: what the network was trained on, too. "
            "Choose one with split= (--split), or say 'all'.",
            stacklevel=2,
        )
    if split is None or split == "all":
        return list(available)
    if split in available:
        return [split]
    has = f"the splits {', '.join(map(repr, available))}" if available else "no splits"
    raise InputError(f"{path} has no split {split!r}; it has {has}.{closest(split, available)}")


def text_classes(parts: Iterable[NDArray[Any]]) -> tuple[str, ...] | None:
    """Collect the classes of labels that are names, of all splits, in their order; None where they are numbers."""
    texts = [part.astype(str) for part in parts if part.dtype.kind in "OUS"]
    return tuple(np.unique(np.concatenate(texts)).tolist()) if texts else None


def number_labels(
    labels: NDArray[Any], source: str, class_names: tuple[str, ...] | None, *others: tuple[str, ...]
) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:
    """Turn labels into numbers from 0: names into those of their places among the class names.

    Classes may also be called otherwise (by identifiers, say), all of them in one way.

    Raises
    ------
    InputError
        A name is not among the class names, or numbers are not whole.
    """
    if labels.dtype.kind in "OUS":
        found, place = np.unique(labels.astype(str), return_inverse=True)
        known = tuple(found.tolist()) if class_names is None else class_names
        ways = [known, *others]
        called = next((way for way in ways if set(found.tolist()) <= set(way)), known)
        for name in found.tolist():
            if name not in called:
                raise InputError(
                    f"{source} has the label {name!r}, which is not among its class names {', '.join(known[:10])}."
                    f"{closest(name, known)}"
                )
        return np.array([called.index(name) for name in found.tolist()], np.int64)[place], known
    if labels.dtype.kind not in "iub" and not np.array_equal(labels, np.rint(labels)):
        raise InputError(f"The labels of {source} are not whole numbers: {labels[labels != np.rint(labels)][0]}, say.")
    return labels.astype(np.int64), class_names


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not _is_hidden(entry))


def _is_hidden(entry: Path) -> bool:
    return entry.name.startswith(".") or entry.name == "__MACOSX"  # what a Mac puts into archives


def _idx_array(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read one IDX file: two zero bytes, the type (8 for bytes), the number of dimensions, sizes, data."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be unpacked: {error}") from error
    header = 4 + 4 * dimensions
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) < header:
        raise InputError(f"{path} is no IDX file of bytes with {dimensions} dimensions.")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) - header != int(np.prod(shape)):
        raise InputError(f"{path} is cut short: its header promises {shape}, it holds {len(content) - header} bytes.")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _array(arrays: dict[str, NDArray[Any]], names: Iterable[str], split: str | None, path: Path) -> NDArray[Any]:
    wanted = [name if split is None else f"{name}_{split}" for name in names]
    for name in wanted:
        if name in arrays:
            return arrays[name]
    raise InputError(f"{path} has no array {' or '.join(map(repr, wanted))}; it has {', '.join(arrays) or 'none'}.")


def _as_bytes(images: NDArray[Any], path: Path) -> Picture:
    """Bring images to uint8, (n, H, W) or (n, H, W, 3)."""
    if images.ndim == 4 and images.shape[-1] not in (1, 3) and images.shape[1] in (1, 3):
        images = images.transpose(0, 2, 3, 1)
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if not (images.ndim == 3 or (images.ndim == 4 and images.shape[-1] == 3)):
        raise InputError(
            f"The images in {path} have shape {images.shape}; expected (n, H, W), (n, H, W, C) or (n, C, H, W) "
            "with 1 or 3 channels."
        )
    if images.dtype == np.uint8:
        return images
    low, high = (images.min(), images.max()) if images.size else (0, 0)
    if np.issubdtype(images.dtype, np.floating) and low >= 0 and high <= 1:
        rounded: Picture = np.rint(images * 255).astype(np.uint8)
        return rounded
    raise InputError(
        f"The images in {path} are {images.dtype} from {low} to {high}; expected uint8, or floats in [0, 1]. "
        "Store pixels, and give mean and deviation as options."
    )
