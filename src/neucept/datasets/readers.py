"""The formats: a folder for each class, IDX files and .npz; and what is a split."""

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
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neucept.datasets.labels import Labels, number_labels
from neucept.datasets.pictures import SUFFIXES, Encoded, Picture, arrays_as_bytes
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
_NO_CLASSES = frozenset(["annotation", "annotations"])
_SYSTEM = re.compile(  # hidden files, and what systems put into folders and archives
    r"\..*|__MACOSX|@eaDir|\$RECYCLE\.BIN|System Volume Information|lost\+found|__pycache__|Thumbs\.db|desktop\.ini",
    re.I,
)
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
    labels : Labels
        Their classes, with the names.
    names : sequence of str
        Where each picture comes from, relative to the data: a file, or a file and a row in it.
    notices : tuple of str
        What was left out or decided, for the person to know.
    others : callable
        Gives pictures of the splits that were not asked for, encoded: all splits share a scale.
    """

    pictures: Picture | Encoded
    labels: Labels
    names: Sequence[str]
    notices: tuple[str, ...] = ()
    others: Callable[[], list[Any]] = list

    def __post_init__(self) -> None:
        if len(self.pictures) != len(self.labels.numbers):
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


# --- a folder for each class ------------------------------------------------------------------------------------------

_Member: TypeAlias = tuple[Path, tuple[str, ...]]  # an image, and the names on the way to it
_Place: TypeAlias = tuple[str | None, str, Path]  # split, class, image


def read_folder(path: Path, split: str | None, members: Sequence[_Member], notices: list[str]) -> Table:
    """Read a folder with one folder for each class, perhaps within folders of splits.

    Parameters
    ----------
    path : Path
        The folder. Classes are the folders that hold images, at any depth, numbered in the order of their names. Links
        are followed. Folders of splits ("train", "test_set", ...) may stand above the class folders or in them.
    split : str, optional
        Takes one of the splits; None and "all" take all.
    members, notices : list
        What :func:`find_images` found there.

    Raises
    ------
    InputError
        There are no images in class folders, no such split, or folders of splits stand beside others.
    """
    if not members:
        raise InputError(
            f"The folder {path} holds no images. Expected one folder per class with {' '.join(sorted(SUFFIXES))} files,"
            f" the four IDX files of MNIST, or parquet files.{''.join(f' ({notice})' for notice in notices)}"
        )
    places = _places(members, path, notices)
    if not places:
        raise InputError(f"The images in {path} lie in no class folders. Expected one folder per class.")
    names = sorted({name for _, name, _ in places})
    available = sorted({part for part, _, _ in places if part is not None})
    chosen: Sequence[str | None] = choose_split(available, split, path)
    number = {name: i for i, name in enumerate(names)}
    found = sorted((p for p in places if not available or p[0] in chosen), key=lambda p: (p[0] or "", number[p[1]]))
    files = [file for _, _, file in found]
    labels = np.array([number[name] for _, name, _ in found], np.int64)
    by_number = sorted(names, key=int) if all(re.fullmatch("[0-9]+", name) for name in names) else names
    if names != by_number:
        first = next(i for i, name in enumerate(names) if name != by_number[i])
        notices.append(
            f"class folders that are numbers are taken in alphabetical order, as torchvision's ImageFolder does: class"
            f" {first} is {names[first]!r}; give class_names= (--classes) in the network's order if that is another"
        )
    said = tuple(f"{path}: {notice}." for notice in notices)
    rest = [file for part, _, file in places if available and part not in chosen]
    own = [file.relative_to(path).as_posix() for file in files]
    return Table(Encoded(files, own), Labels(labels, tuple(names)), own, said, lambda: rest)


def find_images(path: Path) -> tuple[list[_Member], list[str]]:
    """Find the images below a folder, and say what else there is. Hidden and system files do not count."""
    images: list[tuple[str, ...]] = []
    folders: set[tuple[str, ...]] = set()
    left: Counter[str] = Counter()
    open_folders: list[tuple[tuple[str, ...], frozenset[tuple[int, int]]]] = [((), frozenset())]
    while open_folders:
        parts, above = open_folders.pop()
        folder = path.joinpath(*parts)
        try:
            facts = folder.stat()
            entries = list(folder.iterdir())
        except OSError as error:
            raise InputError(f"The folder {folder} cannot be read: {error}") from error
        if (facts.st_dev, facts.st_ino) in above:
            left["links back to a folder above"] += 1
            continue
        folders.add(parts)
        for entry in entries:
            if _SYSTEM.fullmatch(entry.name):
                continue
            if entry.is_dir():
                open_folders.append(((*parts, entry.name), above | {(facts.st_dev, facts.st_ino)}))
            elif not entry.is_file():
                left["broken links or special files"] += 1
            elif entry.suffix.lower() in SUFFIXES:
                images.append((*parts, entry.name))
            else:
                left[f"{entry.suffix.lower()} files" if entry.suffix else "files without a suffix"] += 1
    full = {image[:depth] for image in images for depth in range(len(image))} | {()}
    empty = sorted(parts for parts in folders - full if parts[:-1] in full)
    notices = [f"left out: {', '.join(f'{n} {what}' for what, n in sorted(left.items()))}"] if left else []
    if empty:
        listed = ", ".join("/".join(parts) for parts in empty[:5]) + (", ..." if len(empty) > 5 else "")
        notices.append(f"{len(empty)} folders hold no images and are no classes ({listed})")
    return [(path.joinpath(*image), image) for image in sorted(images)], notices


def _grouped(members: Sequence[_Member]) -> tuple[dict[str, list[_Member]], list[_Member]]:
    """Group images by the first folder on the way; and those that lie in none."""
    groups: defaultdict[str, list[_Member]] = defaultdict(list)
    for file, parts in members:
        groups[parts[0] if len(parts) > 1 else ""].append((file, parts[1:]))
    direct = groups.pop("", [])
    return dict(groups), direct


def _places(members: Sequence[_Member], path: Path, notices: list[str]) -> list[_Place]:
    """Tell splits from classes by the names of folders and by what they hold."""
    groups, direct = _grouped(members)
    for name in [name for name in groups if name.lower() in _NO_CLASSES and len(groups) > 1]:
        notices.append(f"left out: {len(groups.pop(name))} images in the folder {name!r}, which is no class")
    if direct:
        notices.append(f"left out: {len(direct)} images beside the folders")
    kinds = split_kinds(groups)
    classes = {name: {parts[0] for _, parts in inner if len(parts) > 1} for name, inner in groups.items()}
    splits = [name for name in kinds if classes[name]]
    if splits:
        return _in_splits(groups, splits, kinds, path, notices)
    if kinds and set(kinds) == set(groups):
        raise InputError(
            f"{path} has the splits {', '.join(groups)}, but their images lie in no class folders. Expected one folder"
            " per class in each."
        )
    nested = {name for name, inner in groups.items() if all(len(parts) > 1 for _, parts in inner)}
    if (
        len(groups) > 1
        and nested == set(groups)
        and all(set(split_kinds(below)) == below for below in classes.values())
    ):
        if any(len(parts) > 2 for inner in groups.values() for _, parts in inner):
            raise InputError(f"{path} holds several data sets ({', '.join(groups)}) with splits; name one of them.")
        return [(parts[0], name, file) for name, inner in groups.items() for file, parts in inner]
    for name, below in classes.items():
        if len(set(split_kinds(below).values())) > 1 and len(groups) > 1:
            notices.append(
                f"the folders {', '.join(sorted(split_kinds(below)))} in {name!r} are all taken as its images"
            )
    if len(groups) == 1 and nested:
        (wrapper, inner), *_ = groups.items()
        said: list[str] = []
        deeper = _places(inner, path, said)
        if len({name for _, name, _ in deeper}) > 1:
            notices += [
                f"all images lie in the folder {wrapper!r}; the folders in it are the classes",
                *said,
            ]
            return deeper
    return [(None, name, file) for name, inner in groups.items() for file, _ in inner]


def _in_splits(
    groups: dict[str, list[_Member]], splits: list[str], kinds: dict[str, str], path: Path, notices: list[str]
) -> list[_Place]:
    """Give the places of images where the first folders are splits."""
    said: dict[str, None] = {}
    inside: dict[str, list[_Place]] = {}
    for name, inner in groups.items():
        notes: list[str] = []
        inside[name] = [] if name in kinds and name not in splits else _places(inner, path / name, notes)
        said.update((note if "folders in it" in note else f"{name}: {note}", None) for note in notes)
    shared = {label for name in splits for _, label, _ in inside[name]}
    for name in groups:
        labels = {label for _, label, _ in inside[name]}
        if name in kinds and name not in splits:
            notices.append(f"left out: {len(groups[name])} images of the split {name!r} in no class folders")
        elif name not in kinds and not labels & shared:
            raise InputError(
                f"{path} holds folders of splits ({', '.join(splits)}) beside {name!r}, so it is not clear what the"
                f" classes are. Name the folder that holds the class folders ({path / splits[0]}), or move the others."
            )
    notices += said
    return [(name, label, file) for name, places in inside.items() for _, label, file in places]


# --- arrays -----------------------------------------------------------------------------------------------------------


def find_idx(path: Path) -> dict[str, tuple[Path, Path]]:
    """Find IDX files, {split: (images, labels)}; empty where the folder has none."""
    found: dict[str, tuple[Path, Path]] = {}
    for images in sorted(path.glob("*-images[-.]idx3-ubyte*")):
        prefix = images.name.split("-images")[0]
        for labels in sorted(path.glob(f"{prefix}-labels[-.]idx1-ubyte*")):
            if images.is_file() and labels.is_file():
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
    pictures = [_idx_array(images, 3) for images, _ in chosen]
    labels = number_labels(np.concatenate([_idx_array(labels, 1) for _, labels in chosen]), str(path))
    prefixes = [re.split("[-.]idx3", images.name)[0] for images, _ in chosen]
    names = [f"{name} row {row}" for name, part in zip(prefixes, pictures, strict=True) for row in range(len(part))]
    return Table(np.concatenate(pictures), labels, names)


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


def read_npz(path: Path, split: str | None, scale: object = None) -> Table:
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
    """
    try:
        _check_archive(path)
        with np.load(path, allow_pickle=False) as file:
            roles: defaultdict[str | None, dict[str, str]] = defaultdict(dict)
            for name in file.files:
                for role, part in _roles(name):
                    roles[part].setdefault(role, name)
            splits = sorted(part for part, both in roles.items() if part is not None and len(both) == 2)
            for role in () if splits else ("x", "y"):
                if role not in roles[None]:
                    wanted = " or ".join(repr(name) for name, meant in _ROLES.items() if meant == role)
                    raise InputError(f"{path} has no array {wanted}; it has {', '.join(file.files) or 'none'}.")
            chosen = choose_split(splits, split, path)
            parts: list[str | None] = list(splits) or [None]
            labels = {part: file[roles[part]["y"]] for part in parts}
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
    flat = {}
    for (part, values), images in zip(labels.items(), pictures, strict=True):
        flat[part] = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
        if flat[part].ndim != 1:
            number_labels(values, str(path))  # which says what is wrong
        if len(images) != len(flat[part]):
            raise InputError(f"There are {len(images)} pictures but {len(flat[part])} labels.")
    if len({values.dtype.kind in "US" for values in flat.values()}) > 1:
        raise InputError(f"The labels of {path} are texts in some splits and numbers in others; expected one of both.")
    every = number_labels(np.concatenate(list(flat.values())), str(path), names)  # classes are those of all splits
    ends = np.cumsum([len(values) for values in flat.values()])
    numbers = np.split(every.numbers, ends[:-1])
    taken = [i for i, part in enumerate(parts) if part is None or part in chosen]
    if len(shapes := {pictures[i].shape[1:] for i in taken}) > 1:
        raise InputError(f"The images in {path} have the shapes {shapes}; choose one split with split= (--split).")
    return Table(
        np.concatenate([pictures[i] for i in taken]),
        Labels(np.concatenate([numbers[i] for i in taken]), every.names, every.notice),
        [
            f"{path.name} {'row' if parts[i] is None else f'{parts[i]} row'} {row}"
            for i in taken
            for row in range(len(pictures[i]))
        ],
        (notice,) if notice else (),
    )


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
