"""Where data lie, checked before anything is read or imported."""

from __future__ import annotations

from pathlib import Path

from neucept.errors import InputError, closest

FORMATS = (
    "a folder with one folder of images per class, a folder with MNIST's IDX files, an .npz file (x, y), "
    "or a .parquet file (image, label)"
)
SUFFIXES = (".npz", ".parquet")


def check_place(path: Path) -> None:
    """Raise an InputError unless there is a folder, or a file of a format that is read."""
    if not path.exists():
        near = closest(path.name, [other.name for other in path.parent.iterdir()]) if path.parent.is_dir() else ""
        raise InputError(f"There are no data at {path}.{near} Expected {FORMATS}.")
    if not path.is_dir() and not (path.is_file() and path.suffix.lower() in SUFFIXES):
        raise InputError(f"The format of {path} is not known. Expected {FORMATS}.")
