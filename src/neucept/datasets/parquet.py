"""Parquet files: one row per picture, or one row per sheet of pictures; with the class names of Hugging Face."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neucept.datasets.labels import Labels, distinct_names, number_labels
from neucept.datasets.pictures import Encoded, Picture, decode
from neucept.datasets.readers import Table, check_unpacked, choose_split, split_kinds
from neucept.errors import InputError, missing

_IMAGES, _LABELS = ("image", "img"), ("label", "labels")
_SHARD = re.compile(r"(?P<split>.*?)[-_.]?(?P<number>\d+)-of-(?P<count>\d+)(-[0-9a-f]+)?")
_PART = re.compile(r"(?P<split>.*?)[-_.]?\d{3,}([-_.].*)?")  # part-00000-..., 0000, train_0001


def find_parquet(path: Path, deep: bool = False) -> dict[str, list[Path]]:
    """Find the parquet files of a folder, {split: shards}, by the names of files and folders.

    Parameters
    ----------
    path : Path
        The folder.
    deep : bool
        Whether to look into the folders below too.

    Raises
    ------
    InputError
        The files belong to several data sets.
    """
    files = [file for file in sorted(path.rglob("*.parquet") if deep else path.glob("*.parquet")) if file.is_file()]
    files = [file for file in files if not any(part.startswith(".") for part in file.relative_to(path).parts)]
    found: dict[str, list[Path]] = {}
    homes = set()
    for file in files:
        folder = file.parent.name if file.parent != path else ""
        of_split = folder if split_kinds([folder]) else ""
        homes.add(file.parent.parent if of_split else file.parent)
        found.setdefault(of_split or _split_of(file), []).append(file)
    if len(homes) > 1:
        listed = ", ".join(str(home) for home in sorted(homes)[:5])
        raise InputError(f"{path} holds parquet files of several data sets, in {listed}; name one of these folders.")
    return found


def _split_of(file: Path) -> str:
    match = _SHARD.fullmatch(file.stem) or _PART.fullmatch(file.stem)
    return match["split"] if match else file.stem


def read_parquet(files: dict[str, list[Path]], split: str | None, at: Path, labels: str = "required") -> Table:
    """Read parquet files with columns ``image`` and ``label``, or ``sheet`` and ``labels``.

    Parameters
    ----------
    files : dict of str to list of Path
        The shards of each split.
    split : str, optional
        Takes the files of one split, or the rows whose column ``split`` says so; None and "all" take all.
    at : Path
        What the user named.
    labels : {"required", "optional", "ignored"}
        Whether labels must be there, or are not looked at. Rows without a label are an error, unless none has one and
        labels are not required.

    Notes
    -----
    ``image`` (or ``img``) holds encoded bytes (JPEG, PNG, WebP), or a dict whose ``bytes`` does; texts are never opened
    as paths. ``sheet`` holds pictures packed into one square grid per row, row by row, and ``labels`` their labels.
    Class names come from ``classes.txt`` beside the file (one per line in label order, or an identifier, a tab and the
    names), from the features that Hugging Face writes into the file, from the order of categories, or from a column
    ``name``.
    """
    chosen = choose_split(list(files), split, at) if len(files) > 1 else list(files)
    every = [file for shards in files.values() for file in shards]
    taken = [file for name in chosen for file in files[name]]
    notices = tuple(note for name in chosen if (note := _absent(files[name], name)))
    schema = _schema(every[0])
    features = _features(schema)
    image, label = _columns(schema, features, every[0], labels)
    names = _class_names(every[0], features.get(label or "", {}).get("names"))
    frames = {file: _rows(file, image if file in taken else None, label) for file in every}
    columns = {file: frame.pop(label) for file, frame in frames.items()} if label is not None else {}
    read = pd.concat([frames[file] for file in taken], ignore_index=True)
    given = np.concatenate([_objects(columns[file]) for file in taken]) if columns else np.full(len(read), None)
    rows = np.full(len(read), True)
    if len(files) == 1:
        if "split" in read:
            of_row = np.array(["none" if pd.isna(name) else str(name) for name in read["split"]], dtype=object)
            rows = np.isin(of_row, choose_split(list(dict.fromkeys(of_row)), split, at))
        else:
            own = _split_of(every[0])
            choose_split([own] if split_kinds([own]) else [], split, at)
    unused, read = read[~rows], read[rows]
    places = [f"{_shown(file, at)} row {row}" for row, file in zip(read["row"], read["at"], strict=True)]
    if image == "sheet":
        parts = [np.asarray(row) for row in given[rows]]
        pictures = _cut(read["sheet"], parts, places)
        inputs = [f"{place} picture {i}" for place, part in zip(places, parts, strict=True) for i in range(len(part))]
        if "names" in read:
            inputs = _own([name for row in read["names"] for name in row], inputs)
        of_sheets = None if labels == "ignored" else number_labels(np.concatenate(parts), str(at), names)
        return Table(pictures, of_sheets, inputs, notices)
    inputs = _own(read["file"] if "file" in read else _paths(read[image]), places)
    numbers: Labels | None
    if not columns or (labels == "optional" and not any(map(_is_label, given[rows]))):
        numbers = None
    elif names is None and "name" in read:
        numbers = _named_by_column(given, rows, read["name"], str(at))
    else:
        numbers = _number(columns, given, rows, names, str(at), every[0])
    closed = [file for file in every if file not in taken]
    return Table(
        Encoded(_bytes(read[image]), inputs),
        numbers,
        inputs,
        notices,
        lambda: _bytes(unused[image]) + [content for file in closed for content in _first_images(file, image)],
    )


def _bytes(column: Iterable[Any]) -> list[Any]:
    return [value.get("bytes") if isinstance(value, dict) else value for value in column]


def _paths(column: Iterable[Any]) -> list[Any]:
    """Give the paths that Hugging Face's images carry, which are names alone and never opened."""
    return [value.get("path") if isinstance(value, dict) else None for value in column]


def _own(names: Iterable[Any], places: list[str]) -> list[str]:
    """Take names that the data carries, where each input has one of its own; the places in the files otherwise."""
    given = [name for name in names if isinstance(name, str) and name]
    return given if len(given) == len(set(given)) == len(places) else places


def _shown(file: str, at: Path) -> str:
    return Path(file).relative_to(at).as_posix() if file != str(at) else at.name


def _first_images(path: Path, image: str) -> list[Any]:
    """Read some images of a file that was not asked for."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        batch = next(file.iter_batches(batch_size=64, columns=[image]), None)
        return [] if batch is None else _bytes(batch.column(0).to_pylist())


def _number(
    columns: dict[Path, pd.Series[Any]],
    labels: np.ndarray,
    rows: np.ndarray,
    names: tuple[str, ...] | None,
    source: str,
    first: Path,
) -> Labels:
    """Give the labels of the rows taken class numbers, by the classes of all files and all rows."""
    categories = [c.cat.categories for c in columns.values() if isinstance(c.dtype, pd.CategoricalDtype)]
    if len(categories) == len(columns) and (names is None or categories[0].inferred_type == "string"):
        labels = np.array([None if pd.isna(label) else str(label) for label in labels], dtype=object)
        names = names or tuple(dict.fromkeys(str(name) for of_file in categories for name in of_file))
    if names is not None:
        return number_labels(labels[rows], source, names, *_also_called(first))
    others = np.concatenate([labels[~rows], *(_objects(column) for column in columns.values())])
    usable = [label for label in others.tolist() if _is_label(label)]
    read = number_labels(_array([*labels[rows].tolist(), *usable]), source)
    return Labels(read.numbers[: int(rows.sum())], read.names, read.notice)


def _named_by_column(labels: np.ndarray, rows: np.ndarray, names: pd.Series[Any], source: str) -> Labels:
    """Read labels that have a name beside them: whole numbers take the name of their first row."""
    read = number_labels(labels[rows], source)
    if pd.api.types.infer_dtype(labels[rows]) != "integer":
        return read
    in_order = list(read.names)
    for number, name in reversed(list(zip(read.numbers.tolist(), names.tolist(), strict=True))):
        in_order[number] = str(name)
    return Labels(read.numbers, distinct_names(in_order), read.notice)


def _is_label(value: Any) -> bool:
    """Whether a label of rows that are not taken says anything of the classes; those of a test split often do not."""
    return np.ndim(value) == 0 and not (pd.isna(value) or value == "" or (isinstance(value, int) and value < 0))


def _array(values: Sequence[Any]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array


def _objects(column: pd.Series[Any]) -> np.ndarray:
    return _array(column.tolist())


def _schema(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise missing("pyarrow", "vision") from error
    try:
        facts = pyarrow.parquet.read_metadata(path)
        groups = [facts.row_group(i) for i in range(facts.num_row_groups)]
        check_unpacked(sum(group.total_byte_size for group in groups), path.stat().st_size, path)
        return pyarrow.parquet.read_schema(path)
    except InputError:
        raise
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise InputError(f"{path} cannot be read as a parquet file: {error}") from error


def _features(schema: Any) -> dict[str, dict[str, Any]]:
    """Read the features that Hugging Face's ``datasets`` writes beside the columns; {} where there are none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _columns(
    schema: Any, features: dict[str, dict[str, Any]], path: Path, labels: str = "required"
) -> tuple[str, str | None]:
    """Find the columns of the images and the labels; None for labels that are not there, or not asked for."""
    if {"sheet", "labels"} <= set(schema.names):
        return "sheet", "labels"
    found = []
    for known, kind in ((_IMAGES, "Image"), (_LABELS, "ClassLabel")):
        typed = [name for name in schema.names if features.get(name, {}).get("_type") == kind]
        named = [name for name in known if name in schema.names]
        found.append(named[:1] or typed)
    if labels == "ignored" or (labels == "optional" and not found[1]):
        found[1] = [""]
    if any(len(names) != 1 for names in found):
        several = next((names for names in found if len(names) > 1), [])
        hint = f" Several may be meant ({', '.join(several)}): rename one." if several else ""
        raise InputError(
            f"{path} has the columns {', '.join(schema.names)}; expected 'image' (encoded bytes)"
            f"{' and' if labels == 'required' else ', perhaps with'} 'label'.{hint}"
        )
    return found[0][0], found[1][0] or None


def _rows(path: Path, image: str | None, label: str | None) -> pd.DataFrame:
    """Read the columns that count, with the place of each row; only the labels where ``image`` is None."""
    columns = _schema(path).names
    needed = {name for name in (image, label) if name is not None}
    if not needed <= set(columns):
        raise InputError(
            f"The parquet files have different columns: {path} has {', '.join(columns)}, without"
            f" {' or '.join(sorted(needed - set(columns)))}. Choose one file."
        )
    wanted = needed | (set() if image is None else {"split", "file", "name", "names"})
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            table = file.read(columns=[name for name in wanted if name in columns])
        rows: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    except (OSError, ValueError, TypeError, pyarrow.ArrowException) as error:
        raise InputError(f"{path} cannot be read as a parquet file: {error}") from error
    return rows.assign(row=np.arange(len(rows)), at=str(path))


def _absent(files: Sequence[Path], name: str) -> str:
    """Say which shards of a split are not there, as their names count them."""
    matches = [match for file in files if (match := _SHARD.fullmatch(file.stem))]
    counts = {int(match["count"]) for match in matches}
    if matches and counts != {len(matches)}:
        part = name or "the data"
        return f"{files[0].parent} has {len(matches)} of {max(counts)} files of {part}: the others are missing."
    return ""


def _cut(sheets: pd.Series[Any], labels: Sequence[np.ndarray], places: Sequence[str]) -> Picture:
    """Cut sheets, square grids of pictures, into the pictures."""
    pieces = []
    for content, of_sheet, name in zip(sheets, labels, places, strict=True):
        sheet = decode(content, name)[0]
        if sheet.dtype != np.uint8:
            raise InputError(f"The sheet {name} is not made of bytes; store sheets with 8 bits.")
        side = int(np.ceil(np.sqrt(len(of_sheet))))
        height, width = sheet.shape[0] // side, sheet.shape[1] // side
        grid = sheet.reshape(side, height, side, width, *sheet.shape[2:]).swapaxes(1, 2)
        pieces.append(grid.reshape(side * side, height, width, *sheet.shape[2:])[: len(of_sheet)])
    return np.concatenate(pieces)


def _class_names(path: Path, of_features: Any) -> tuple[str, ...] | None:
    """Find class names in classes.txt, or in the features that Hugging Face writes."""
    if lines := _lines(path):
        return distinct_names([line[-1].split(",")[0].strip() if len(line) > 1 else line[0].strip() for line in lines])
    if isinstance(of_features, list) and of_features:
        return distinct_names([str(name) for name in of_features])
    return None


def _also_called(path: Path) -> tuple[tuple[str, ...], ...]:
    """Give what labels that are texts may call the classes, too: identifiers, and all their names."""
    lines = _lines(path)
    return tuple(line[0].strip() for line in lines), tuple(line[-1].strip() for line in lines)


def _lines(path: Path) -> list[list[str]]:
    beside = path.with_name("classes.txt")
    if not beside.is_file():
        return []
    return [line.split("\t") for line in beside.read_text(encoding="utf-8").splitlines() if line.strip()]
