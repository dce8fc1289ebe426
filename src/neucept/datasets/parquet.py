"""Parquet files: a row a picture, or a row a sheet of pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from neucept.datasets.pictures import Encoded, Picture, decode
from neucept.datasets.readers import Table, choose_split, number_labels, text_classes
from neucept.errors import InputError, missing


def read_parquet(paths: dict[str, Path], split: str | None, at: Path) -> Table:
    """Read parquet files with columns ``image`` and ``label``, or ``sheet`` and ``labels``.

    Parameters
    ----------
    paths : dict of str to Path
        One file, or one for each split.
    split : str, optional
        Takes one file of several, or the rows whose column ``split`` says so; None and "all" take all.
    at : Path
        What the user named.

    Notes
    -----
    ``image`` holds encoded bytes (JPEG, PNG, WebP), or a dict whose ``bytes`` does. ``sheet`` holds pictures a
    row packed into one square grid, row by row, and ``labels`` their labels. Class names come from ``classes.txt``
    beside the file (one a line in label order, or an identifier, a tab and the names) or from a column ``name``.
    """
    chosen = choose_split(list(paths), split, at) if len(paths) > 1 else list(paths)
    classes = text_classes([found for path in paths.values() if (found := _labels(path)) is not None])
    tables = [_parquet_file(paths[name], split if len(paths) == 1 else "all", classes) for name in chosen]
    if len(tables) == 1:
        return tables[0]
    labels = np.concatenate([table.labels for table in tables])
    names = max((table.class_names for table in tables), key=lambda names: len(names or ()))
    if all(isinstance(table.pictures, np.ndarray) for table in tables):
        return Table(np.concatenate([np.asarray(table.pictures) for table in tables]), labels, names)
    encoded = [table.pictures for table in tables if isinstance(table.pictures, Encoded)]
    if len(encoded) < len(tables):
        raise InputError(f"The parquet files of {at} have different columns; choose one file.")
    contents = [content for pictures in encoded for content in pictures.contents]
    return Table(Encoded(contents, [name for e in encoded for name in e.names]), labels, names)


def _labels(path: Path) -> np.ndarray | None:
    """Read the labels of all rows; None where the file has no such column, or cannot be read."""
    try:
        return pd.read_parquet(path, columns=["label"])["label"].dropna().to_numpy()
    except (ImportError, KeyError, OSError, ValueError):  # which is said when the file is read
        return None


def _parquet_file(path: Path, split: str | None, classes: tuple[str, ...] | None) -> Table:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise missing("pyarrow", "vision") from error
    try:
        columns = pyarrow.parquet.read_schema(path).names
        known = [name for name in ("image", "label", "sheet", "labels", "split", "file", "name") if name in columns]
        rows = pd.read_parquet(path, columns=known)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a parquet file: {error}") from error
    sheets = {"sheet", "labels"} <= set(columns)
    if not sheets and not {"image", "label"} <= set(columns):
        raise InputError(f"{path} has the columns {', '.join(columns)}; expected 'image' (encoded bytes) and 'label'.")
    class_names = _class_names(path, rows)
    if "split" in columns:
        chosen = choose_split(list(rows["split"].unique()), split, path)
        rows = rows[rows["split"].isin(chosen)]
    else:
        choose_split([], split, path)
    names = [f"in row {row} of {path}" for row in rows.index]
    if sheets:
        labels = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows["labels"]])
        return Table(_cut(rows, names), labels, class_names)
    if "file" in columns:
        names = [f"{file} ({name})" for file, name in zip(rows["file"], names, strict=True)]
    contents = [value["bytes"] if isinstance(value, dict) else value for value in rows["image"]]
    if rows["label"].isna().any():
        raise InputError(f"{path} has {int(rows['label'].isna().sum())} rows without a label.")
    labels = rows["label"].to_numpy()
    if class_names is None and labels.dtype.kind in "OUS":
        class_names = classes
    return Table(Encoded(contents, names), *number_labels(labels, str(path), class_names, *_also_called(path)))


def _cut(rows: pd.DataFrame, names: Sequence[str]) -> Picture:
    """Cut sheets, square grids of pictures, into the pictures."""
    pieces = []
    for content, labels, name in zip(rows["sheet"], rows["labels"], names, strict=True):
        sheet = decode(content, name)
        side = int(np.ceil(np.sqrt(len(labels))))
        height, width = sheet.shape[0] // side, sheet.shape[1] // side
        grid = sheet.reshape(side, height, side, width, *sheet.shape[2:]).swapaxes(1, 2)
        pieces.append(grid.reshape(side * side, height, width, *sheet.shape[2:])[: len(labels)])
    return np.concatenate(pieces)


def _class_names(path: Path, rows: pd.DataFrame) -> tuple[str, ...] | None:
    """Find class names in classes.txt or in the column ``name``."""
    if lines := _lines(path):
        return _unique([line[-1].split(",")[0].strip() if len(line) > 1 else line[0].strip() for line in lines])
    if "name" in rows and "label" in rows and pd.api.types.is_integer_dtype(rows["label"]):
        by_label = rows.drop_duplicates("label").set_index("label")["name"]
        return _unique([str(by_label.get(label, label)) for label in range(int(by_label.index.max()) + 1)])
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


def _unique(names: list[str]) -> tuple[str, ...]:
    """Tell classes of one name apart by their numbers."""
    counts = Counter(names)
    return tuple(name if counts[name] == 1 else f"{name} ({label})" for label, name in enumerate(names))
