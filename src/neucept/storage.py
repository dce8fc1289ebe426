"""Save and open results: a folder of arrays and one JSON file, written whole or not at all, no pickle."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from neucept.errors import InputError

_FACTS = "facts.json"


@contextmanager
def new_folder(path: str | Path, kind: str) -> Iterator[Path]:
    """Fill a folder that appears at ``path`` when the block ends well, and not at all when it fails.

    An older result of the same kind is replaced; anything else that lies there is an error before the work starts.
    """
    path = Path(path)
    if path.exists() and not _holds(path, kind):
        raise InputError(f"{path} exists and is no saved {kind}; choose another path or remove it.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise InputError(f"Cannot write to {path}: {error.strerror}. Choose a folder that is writable.") from None
    try:
        yield draft
        draft.chmod(0o755)
        if path.exists():
            old = draft.with_name(draft.name + ".old")
            path.rename(old)
            draft.rename(path)
            shutil.rmtree(old)
        else:
            draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _holds(path: Path, kind: str) -> bool:
    try:
        return bool(json.loads((path / _FACTS).read_text())["kind"] == kind)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def save(path: str | Path, kind: str, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray | None]) -> Path:
    """Write one result to a folder: ``facts`` as JSON, each array as an ``.npy`` file.

    Parameters
    ----------
    path : path
        The folder to make.
    kind : str
        What it is, checked when opened.
    facts : mapping
        What JSON can hold.
    arrays : mapping of name to array
        Names may be anything; a None is left out.
    """
    with new_folder(path, kind) as draft:
        write(draft, kind, facts, arrays)
    return Path(path)


def write(folder: Path, kind: str, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray | None]) -> None:
    """Write facts and arrays into a folder that exists; an array that lies there already is only listed."""
    names = {}
    for number, (name, array) in enumerate((n, a) for n, a in arrays.items() if a is not None):
        file = f"{number:03d}.npy"
        # Resolved: behind a relative path or a link, the array's own file would be written over.
        lies = Path(array.filename).resolve().parent if isinstance(array, np.memmap) and array.filename else None
        if isinstance(array, np.memmap) and array.filename and lies == folder.resolve():
            array.flush()
            file = Path(array.filename).name
        else:
            np.save(folder / file, np.asarray(array), allow_pickle=False)
        names[name] = file
    text = json.dumps({"kind": kind, "format": 1, "facts": dict(facts), "arrays": names}, indent=1, default=_plain)
    (folder / _FACTS).write_text(text)


def _plain(value: Any) -> Any:
    """Write NumPy's numbers and small arrays as JSON's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


def open_folder(path: str | Path, kind: str, lazy: bool = False) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what `save` wrote; ``lazy`` maps the arrays from disk instead of loading them.

    Raises
    ------
    InputError
        When the folder is missing, incomplete or holds something else.
    """
    path = Path(path)
    try:
        index = json.loads((path / _FACTS).read_text())
        if index["kind"] != kind:
            raise InputError(f"{path} holds a saved {index['kind']}, not a {kind}.")
        mode: Any = "r" if lazy else None
        arrays = {
            name: np.load(path / file, mmap_mode=mode, allow_pickle=False) for name, file in index["arrays"].items()
        }
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no saved {kind} ({error}); give the folder that .save() made.") from None
    return index["facts"], arrays
