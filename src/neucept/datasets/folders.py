"""Folders of images: one for each class, perhaps within folders of splits; or images without classes."""

from __future__ import annotations

import contextlib
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from neucept.datasets.labels import Labels
from neucept.datasets.pictures import SUFFIXES, Encoded
from neucept.datasets.readers import Table, choose_split, split_kinds
from neucept.errors import InputError

_NO_CLASSES = frozenset(["annotation", "annotations"])
_SYSTEM = re.compile(  # hidden files, and what systems put into folders and archives
    r"\..*|__MACOSX|@eaDir|\$RECYCLE\.BIN|System Volume Information|lost\+found|__pycache__|Thumbs\.db|desktop\.ini",
    re.I,
)


_Member: TypeAlias = tuple[Path, tuple[str, ...]]  # an image, and the names on the way to it
_Place: TypeAlias = tuple[str | None, str, Path]  # split, class, image


def read_folder(
    path: Path, split: str | None, members: Sequence[_Member], notices: list[str], labels: str = "required"
) -> Table:
    """Read a folder with one folder for each class, perhaps within folders of splits; or without classes.

    Parameters
    ----------
    path : Path
        The folder. Classes are the folders that hold images, at any depth, numbered in the order of their names. Links
        are followed. Folders of splits ("train", "test_set", ...) may stand above the class folders or in them.
    split : str, optional
        Takes one of the splits; None and "all" take all.
    members, notices : list
        What :func:`find_images` found there.
    labels : {"required", "optional", "ignored"}
        Without class folders, or with images beside them, all images below the folder are taken, without labels, in
        natural order, unless labels are required.

    Raises
    ------
    InputError
        There are no images (in class folders, where labels are required), no such split, or folders of splits stand
        beside others.
    """
    if not members:
        raise InputError(
            f"The folder {path} holds no images. Expected one folder per class with {' '.join(sorted(SUFFIXES))} files,"
            f" the four IDX files of MNIST, or parquet files.{''.join(f' ({notice})' for notice in notices)}"
        )
    if labels == "optional":
        beside = sum(len(parts) == 1 for _, parts in members)
        if not beside:
            with contextlib.suppress(InputError):
                return read_folder(path, split, members, list(notices))
        elif beside < len(members):
            said = f"{beside} of {len(members)} images lie in no folder, so folders are not taken as classes"
            notices = [*notices, said]
    if labels != "required":
        return _without_classes(path, split, members, notices)
    places = _places(members, path, notices)
    if not places:
        raise InputError(f"The images in {path} lie in no class folders. Expected one folder per class.")
    names = sorted({name for _, name, _ in places})
    available = sorted({part for part, _, _ in places if part is not None})
    chosen: Sequence[str | None] = choose_split(available, split, path)
    number = {name: i for i, name in enumerate(names)}
    found = sorted((p for p in places if not available or p[0] in chosen), key=lambda p: (p[0] or "", number[p[1]]))
    files = [file for _, _, file in found]
    numbers = np.array([number[name] for _, name, _ in found], np.int64)
    by_number = sorted(names, key=int) if all(re.fullmatch("[0-9]+", name) for name in names) else names
    if names != by_number:
        first = next(i for i, name in enumerate(names) if name != by_number[i])
        notices.append(
            f"class folders that are numbers are taken in alphabetical order, as torchvision's ImageFolder does: class"
            f" {first} is {names[first]!r}; give class_names= (--classes) in the network's order if that is another"
        )
    notes = tuple(f"{path}: {notice}." for notice in notices)
    rest = [file for part, _, file in places if available and part not in chosen]
    own = [file.relative_to(path).as_posix() for file in files]
    return Table(Encoded(files, own), Labels(numbers, tuple(names)), own, notes, lambda: rest)


def _without_classes(path: Path, split: str | None, members: Sequence[_Member], notices: list[str]) -> Table:
    """Take all images below a folder, in natural order: 2 before 10."""
    groups, _ = _grouped(members)
    chosen = choose_split(list(split_kinds(groups)), split, path)
    everything = split is None or split == "all"
    taken = [(file, parts) for file, parts in members if everything or parts[0] in chosen]
    return read_files([file for file, _ in sorted(taken, key=lambda one: natural(one[1]))], path, notices)


def read_files(files: Sequence[Path], path: Path | None = None, notices: Sequence[str] = ()) -> Table:
    """Take images without labels, named as they are given or relative to ``path``."""
    names = [(file if path is None else file.relative_to(path)).as_posix() for file in files]
    return Table(Encoded(files, names), None, names, tuple(f"{path}: {notice}." for notice in notices))


def natural(parts: Sequence[str]) -> list[list[tuple[int, int, str]]]:
    """Key to sort names so that numbers in them count as numbers.

    Examples
    --------
    >>> sorted(["10.png", "b.png", "2.png"], key=lambda name: natural([name]))
    ['2.png', '10.png', 'b.png']
    """
    pieces = [re.findall("[0-9]+|[^0-9]+", part) for part in parts]
    return [[(0, int(p), p) if p.isdecimal() else (1, 0, p.casefold()) for p in part] for part in pieces]


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
