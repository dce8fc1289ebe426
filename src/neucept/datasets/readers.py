"""What a file holds, what is a split, and the formats of arrays: IDX files and .npz."""

from __future__ import annotations

import gzip
import re
import struct
import warnings
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neucept.datasets.labels import Labels, number_labels
from neucept.datasets.pictures import Encoded, Picture, arrays_as_bytes
from neucept.errors import InputError, closest

_KINDS = {
    "train": ("train", "training", "trn"),
    "validation": ("val", "valid", "validation", "dev", "development"),
    "test": ("test", "testing", "tst"),
    "evaluation": ("eval", "evaluation"),
}
_KIND_OF = {word: kind for kind, words in _KINDS.items() for word in words}
_GLUED = re.compile(f"({'|'.join(sorted(_KIND_OF, key=len, reverse=True))})(?:sets?|data|dataset|images?|imgs?)")
_FILLERS = re.compile("sets?|data(set)?|split|seg|raw|files|folder|images?|imgs?|photos")
_IDX_SPLITS = {"t10k": "test"}
_ROLES = {"x": "x", "images": "x", "y": "y", "labels": "y"}
_NAMES = ("class_names", "label_names", "target_names", "classes", "names")
_MOST_BYTES, _MOST_RATIO = 2**30, 100  # beyond both, a file unpacks to so much more than it is that it is refused


@dataclass(frozen=True, eq=False)
class Table:
    """What a file holds, before any sample is drawn.

    Parameters
    ----------
    pictures : array of uint8, (n, H, W) or (n, H, W, 3), or Encoded
        The pictures.
    labels : Labels or None
        Their classes, with the names; None where there are none, or none were asked for.
    names : sequence of str
        Where each picture comes from, relative to the data: a file, or a file and a row in it.
    notices : tuple of str
        What was left out or decided, for the person to know.
    others : callable
        Gives pictures of the splits that were not asked for, encoded: all splits share a scale.
    """

    pictures: Picture | Encoded
    labels: Labels | None
    names: Sequence[str]
    notices: tuple[str, ...] = ()
    others: Callable[[], list[Any]] = list

    def __post_init__(self) -> None:
        if self.labels is not None and len(self.pictures) != len(self.labels.numbers):
            raise InputError(f"There are {len(self.pictures)} pictures but {len(self.labels.numbers)} labels.")


def split_kinds(names: Iterable[str]) -> dict[str, str]:
    """Recognise names of splits: {name: "train", "validation", "test" or "evaluation"}.

    Words beside the split's are allowed where they mean nothing ("set", a year), or where several names share them.

    Examples
    --------
    >>> split_kinds(["training_set", "TestImages", "val2017", "cat", "a train"])
    {'training_set': 'train', 'TestImages': 'test', 'val2017': 'validation'}
    >>> split_kinds(["pets_train", "pets_test"])
    {'pets_train': 'train', 'pets_test': 'test'}
    """
    kinds: dict[str, str] = {}
    beside: dict[str, tuple[str, ...]] = {}
    for name in names:
        words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+", name)]
        words = [match[1] if (match := _GLUED.fullmatch(word)) else word for word in words]
        found = [word for word in words if word in _KIND_OF]
        if len(found) == 1:
            kinds[name] = _KIND_OF[found[0]]
            beside[name] = tuple(w for w in words if not _FILLERS.fullmatch(w) and w not in found and not w.isdigit())
    shared = Counter(beside.values())
    return {name: kind for name, kind in kinds.items() if not beside[name] or shared[beside[name]] > 1}


def choose_split(available: Sequence[str], split: str | None, path: Path) -> list[str]:
    """Take the splits that were asked for: all for "all", and for None, which warns where there are several.

    A split is found by its name, or by another name of the same kind: "val" and "validation", "train" and
    "training_set".

    Raises
    ------
    InputError
        There is no such split, or several are of that kind.
    """
    if split is not None and not isinstance(split, str):
        raise InputError(f"split={split!r}: expected a name, such as 'test'.")
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
    kinds, asked = split_kinds(available), split_kinds([split])
    alike = [name for name in available if asked and kinds.get(name) == asked[split]]
    if len(alike) == 1:
        return alike
    listed = ", ".join(map(repr, available))
    if alike:
        raise InputError(f"{path} has several splits that split={split!r} may mean, of {listed}. Give its whole name.")
    has = f"the splits {listed}" if available else "no splits"
    raise InputError(f"{path} has no split {split!r}; it has {has}.{closest(split, available)}")


def check_unpacked(declared: int, stored: int, source: str | Path) -> None:
    """Raise InputError where a file says that it unpacks to over a gibibyte and over 100 times its size."""
    if declared > _MOST_BYTES and declared > _MOST_RATIO * stored:
        raise InputError(
            f"{source} declares {declared:,} bytes of data but has {stored:,} bytes: unpacking it could fill the"
            " memory, so it is not read. Store the data with less compression if this is right."
        )


def find_idx(path: Path, labelled: bool = True) -> dict[str, tuple[Path, Path | None]]:
    """Find IDX files, {split: (images, labels)}; empty where the folder has none, or none with labels as asked."""
    found: dict[str, tuple[Path, Path | None]] = {}
    for images in filter(Path.is_file, sorted(path.glob("*-images[-.]idx3-ubyte*"))):
        prefix = images.name.split("-images")[0]
        labels = [file for file in sorted(path.glob(f"{prefix}-labels[-.]idx1-ubyte*")) if file.is_file()]
        if labels or not labelled:
            found[_IDX_SPLITS.get(prefix, prefix)] = (images, labels[-1] if labels else None)
    return found


def read_idx(path: Path, split: str | None, labels: str = "required") -> Table:
    """Read MNIST's IDX files, packed with gzip or not; split is "train", "test" or "all".

    Parameters
    ----------
    path : Path
        The folder that holds them.
    split : str, optional
        Takes one of the two.
    labels : {"required", "optional", "ignored"}
        Whether labels must be there, or are not looked at.
    """
    files = find_idx(path, labels == "required")
    chosen = [files[name] for name in choose_split(list(files), split, path)]
    pictures = [_idx_array(images, 3) for images, _ in chosen]
    given = [] if labels == "ignored" else [_idx_array(file, 1) for _, file in chosen if file is not None]
    read = number_labels(np.concatenate(given), str(path)) if len(given) == len(chosen) else None
    prefixes = [re.split("[-.]idx3", images.name)[0] for images, _ in chosen]
    names = [f"{name} row {row}" for name, part in zip(prefixes, pictures, strict=True) for row in range(len(part))]
    return Table(np.concatenate(pictures), read, names)


def _idx_array(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read one IDX file: two zero bytes, the type (8 for bytes), the number of dimensions, sizes, data."""
    length = 4 + 4 * dimensions
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(length)
            if header[:4] != bytes([0, 0, 8, dimensions]) or len(header) < length:
                raise InputError(f"{path} is no IDX file of bytes with {dimensions} dimensions.")
            shape = struct.unpack(f">{dimensions}I", header[4:])
            size = int(np.prod(shape, dtype=object))
            check_unpacked(size, path.stat().st_size, path)
            content = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be unpacked: {error}") from error
    if len(content) != size:
        raise InputError(
            f"{path} is cut short: its header promises {shape}, it holds {len(content)} bytes."
            if len(content) < size
            else f"{path} holds more than the {shape} that its header promises."
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def read_npz(path: Path, split: str | None, scale: object = None, labels: str = "required") -> Table:
    """Read an .npz file with arrays ``x`` (or ``images``), ``y`` (or ``labels``) and perhaps ``class_names``.

    Parameters
    ----------
    path : Path
        The file. Images are (n, H, W), (n, H, W, C) or (n, C, H, W) with 1 or 3 channels, of uint8, floats in [0, 1],
        or other numbers, which get one scale for the whole file; labels as :func:`number_labels` takes them.
    split : str, optional
        Takes ``x_train`` and ``y_train`` (or ``train_images`` and ``train_labels``), say, instead of ``x`` and ``y``.
    scale : float or (float, float), optional
        White, or black and white.
    labels : {"required", "optional", "ignored"}
        Whether labels must be there, or are not looked at.
    """
    needed = ("x", "y") if labels == "required" else ("x",)
    try:
        _check_archive(path)
        with np.load(path, allow_pickle=False) as file:
            roles: defaultdict[str | None, dict[str, str]] = defaultdict(dict)
            for name in file.files:
                for role, part in _roles(name):
                    roles[part].setdefault(role, name)
            splits = sorted(part for part, both in roles.items() if part is not None and set(needed) <= set(both))
            for role in () if splits else needed:
                if role not in roles[None]:
                    wanted = " or ".join(repr(name) for name, meant in _ROLES.items() if meant == role)
                    raise InputError(f"{path} has no array {wanted}; it has {', '.join(file.files) or 'none'}.")
            chosen = choose_split(splits, split, path)
            parts: list[str | None] = list(splits) or [None]
            known = {part: file[roles[part]["y"]] for part in parts if "y" in roles[part] and labels != "ignored"}
            arrays = {part: file[roles[part]["x"]] for part in parts}  # of all splits: they share a scale
            given = next((file[name] for name in _NAMES if name in file.files), None)
    except InputError:
        raise
    except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} cannot be read as an .npz file of plain arrays: {error}") from error
    except (MemoryError, NotImplementedError, RuntimeError) as error:  # too large, an unknown packing, a password
        raise InputError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    names = given.astype(str).tolist() if given is not None and given.ndim == 1 and given.dtype.kind in "USiu" else None
    pictures, notice = arrays_as_bytes(list(arrays.values()), f"The images in {path}", scale)
    taken = [i for i, part in enumerate(parts) if part is None or part in chosen]
    if len(shapes := {pictures[i].shape[1:] for i in taken}) > 1:
        raise InputError(f"The images in {path} have the shapes {shapes}; choose one split with split= (--split).")
    read = None
    if all(parts[i] in known for i in taken):
        counts = {part: len(images) for part, images in zip(parts, pictures, strict=True)}
        read = _labels_of_splits(known, counts, [parts[i] for i in taken], str(path), names)
    places = [
        f"{path.name} {'row' if parts[i] is None else f'{parts[i]} row'} {row}"
        for i in taken
        for row in range(len(pictures[i]))
    ]
    return Table(np.concatenate([pictures[i] for i in taken]), read, places, (notice,) if notice else ())


def _labels_of_splits(
    known: dict[str | None, NDArray[Any]],
    counts: dict[str | None, int],
    taken: Sequence[str | None],
    source: str,
    names: Sequence[str] | None,
) -> Labels:
    """Read the labels of the splits taken; classes are those of all splits."""
    flat = {}
    for part, values in known.items():
        flat[part] = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
        if flat[part].ndim != 1:
            number_labels(values, source)  # which says what is wrong
        if counts[part] != len(flat[part]):
            raise InputError(f"There are {counts[part]} pictures but {len(flat[part])} labels.")
    if len({values.dtype.kind in "US" for values in flat.values()}) > 1:
        raise InputError(
            f"The labels of {source} are texts in some splits and numbers in others; expected one of both."
        )
    every = number_labels(np.concatenate(list(flat.values())), source, names)
    ends = np.cumsum([len(values) for values in flat.values()])
    numbers = dict(zip(flat, np.split(every.numbers, ends[:-1]), strict=True))
    return Labels(np.concatenate([numbers[part] for part in taken]), every.names, every.notice)


def _roles(name: str) -> list[tuple[str, str | None]]:
    """Find out what an array's name says: ("x", "train") for pictures of a split, ("y", None) for all labels."""
    lower = name.lower()
    if lower in _ROLES:
        return [(_ROLES[lower], None)]
    first, _, rest = name.partition("_")
    before, _, last = name.rpartition("_")
    either = ((first, rest), (last, before))
    return [(_ROLES[role.lower()], part) for role, part in either if role.lower() in _ROLES and part]


def _check_archive(path: Path) -> None:
    """Compare what the arrays of an .npz declare with what is stored, before anything is unpacked."""
    if not zipfile.is_zipfile(path):
        return  # np.load says what is wrong
    with zipfile.ZipFile(path) as archive:
        check_unpacked(sum(member.file_size for member in archive.infolist()), path.stat().st_size, path)
        for member in archive.infolist():
            with archive.open(member) as file:
                if not member.filename.endswith(".npy"):
                    continue
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
                if int(np.prod(shape, dtype=object)) * dtype.itemsize > member.file_size and not dtype.hasobject:
                    raise InputError(f"{path} is damaged: {member.filename} declares more data than it holds.")
