"""Save and open results: a folder of arrays and one JSON file, written whole or not at all, no pickle.

Format
------
A saved result is a folder:

``facts.json``
    A JSON object in UTF-8 with these keys:

    ``kind``
        What was saved, such as ``"Recording"``.
    ``format``
        The number of the format, 2.
    ``version``
        The version of neucept that wrote it.
    ``facts``
        An object with all that is not an array; its keys depend on the kind.
    ``arrays``
        An object: name of an array -> ``{"file": "000.npy", "shape": [300, 6], "dtype": "<f4"}``. A file is named
        without a folder and lies beside ``facts.json``.
    ``digest``
        The first 16 hexadecimal digits of the SHA-256 of ``[kind, facts, arrays]``, written by ``json.dumps`` with
        sorted keys. It shows whether the file is complete.
``000.npy``, ``001.npy``, ...
    The arrays in NumPy's format, without Python objects.

Format 1 (neucept 0.1) has no ``version`` and no ``digest``, and ``arrays`` holds file names alone. It still opens.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from neucept.errors import InputError

FORMAT = 2
_FACTS = "facts.json"
# What reading damaged or hostile files raises, from json, NumPy and the nouns that are built from them.
_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    EOFError,
    OverflowError,
    MemoryError,
    RecursionError,
)


def as_path(path: Any) -> Path:
    """Return a path, or raise an InputError for what is none."""
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"path={path!r}: expected the path of a folder.")
    return Path(path)


@contextmanager
def new_folder(path: str | Path, kind: str) -> Iterator[Path]:
    """Fill a folder that appears at ``path`` when the block ends well, and not at all when it fails.

    An older result of the same kind is replaced. Anything else at ``path`` is an error before the work starts.

    Parameters
    ----------
    path : path
        The folder to make.
    kind : str
        What it will hold.

    Yields
    ------
    Path
        A draft folder beside it.

    Raises
    ------
    InputError
        Before the block, when something else lies at ``path`` or nothing can be written there; after it, when the
        disk is full.
    """
    path = as_path(path)
    try:
        if path.is_symlink():
            path = path.resolve()  # what the link names is written, and the link stays
        if path.exists() and not _holds(path, kind):
            raise InputError(f"{path} exists and is no saved {kind}; choose another path or remove it.")
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".neucept-{secrets.token_hex(8)}")  # short: the result may have a long name
        draft.mkdir()  # with the permissions that the user's umask asks for
    except OSError as error:
        raise InputError(f"Cannot write to {path}: {error.strerror}. Choose a folder that is writable.") from None
    try:
        yield draft
        if path.exists():
            old = draft.with_name(draft.name + ".old")
            path.rename(old)
            try:
                draft.rename(path)
            except BaseException:
                old.rename(path)
                raise
            shutil.rmtree(old)
        else:
            draft.rename(path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free = shutil.disk_usage(path.parent).free / 2**20
        raise InputError(f"Cannot write to {path}: {error.strerror} ({free:,.0f} MB are free).") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Fill a file that replaces the one at ``path`` when the block ends well, and not at all when it fails.

    Parameters
    ----------
    path : path
        The file.

    Yields
    ------
    Path
        A draft beside it, with the same suffix.

    Raises
    ------
    InputError
        When nothing can be written there, or the disk is full.
    """
    path = as_path(path)
    draft = path.with_name(f".neucept-{secrets.token_hex(8)}{path.suffix}")
    try:
        yield draft
        draft.replace(path)
    except OSError as error:
        raise InputError(f"Cannot write to {path}: {error.strerror}. Choose a place that is writable.") from error
    finally:
        draft.unlink(missing_ok=True)


def _holds(path: Path, kind: str) -> bool:
    try:
        return bool(json.loads((path / _FACTS).read_text("utf-8"))["kind"] == kind)
    except _DAMAGE:
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
    return as_path(path)


def write(folder: Path, kind: str, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray | None]) -> None:
    """Write facts and arrays into a folder that exists; an array that lies there already is only listed."""
    index: dict[str, Any] = {}
    for number, (name, array) in enumerate((n, a) for n, a in arrays.items() if a is not None):
        file = f"{number:03d}.npy"
        # Resolved: behind a relative path or a link, the array's own file would be overwritten.
        lies = Path(array.filename).resolve().parent if isinstance(array, np.memmap) and array.filename else None
        if isinstance(array, np.memmap) and array.filename and lies == folder.resolve():
            array.flush()
            file = Path(array.filename).name
        else:
            np.save(folder / file, np.asarray(array), allow_pickle=False)
        plain = np.asarray(array)
        index[name] = {"file": file, "shape": list(plain.shape), "dtype": plain.dtype.str}
    content = json.loads(json.dumps({"kind": kind, "facts": dict(facts), "arrays": index}, default=_plain))
    content |= {"format": FORMAT, "version": version("neucept"), "digest": _digest(content)}
    (folder / _FACTS).write_text(json.dumps(content, indent=1), "utf-8")


def _plain(value: Any) -> Any:
    """Write NumPy's numbers and small arrays as JSON's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps([content[key] for key in ("kind", "facts", "arrays")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def opened(path: str | Path, kind: str, lazy: bool = False) -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """Read what `save` wrote, for a block that builds the result from it.

    Parameters
    ----------
    path : path
        The folder.
    kind : str
        What it must hold.
    lazy : bool
        Map the arrays from disk instead of loading them.

    Yields
    ------
    facts : dict
        As saved.
    arrays : dict of str to array
        By name.

    Raises
    ------
    InputError
        When the folder is missing, damaged, of a newer format or holds something else, and when the block cannot
        build the result from it.

    Examples
    --------
    >>> import tempfile
    >>> folder = save(Path(tempfile.mkdtemp()) / "thing", "Thing", {"name": "a"}, {"x": np.arange(3)})
    >>> with opened(folder, "Thing") as (facts, arrays):
    ...     print(facts["name"], arrays["x"])
    a [0 1 2]
    """
    path = as_path(path)
    try:
        content = _read_facts(path, kind)
        arrays = {name: _read_array(path, entry, lazy) for name, entry in content["arrays"].items()}
        yield content["facts"], arrays
    except InputError:
        raise
    except _DAMAGE as error:
        said = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise InputError(
            f"{path} is no saved {kind}, or is damaged ({said}); give the folder that .save() made."
        ) from (error)


def _read_facts(path: Path, kind: str) -> dict[str, Any]:
    if not (path / _FACTS).is_file():
        raise InputError(f"{path} is no saved {kind} (there is no {_FACTS}); give the folder that .save() made.")
    content: dict[str, Any] = json.loads((path / _FACTS).read_text("utf-8"))
    number = content["format"]
    if isinstance(number, int) and number > FORMAT:
        writer = f"neucept {content['version']}" if "version" in content else "a newer version of neucept"
        raise InputError(
            f"{path} was written by {writer} in format {number}; neucept {version('neucept')} reads formats 1 to"
            f" {FORMAT}. Update neucept to open it: pip install --upgrade neucept"
        )
    if type(number) is not int or number < 1:
        raise ValueError(f"format {number!r}")
    if content["kind"] != kind:
        raise InputError(f"{path} holds a saved {content['kind']}, not a {kind}.")
    if not isinstance(content["facts"], dict) or not isinstance(content["arrays"], dict):
        raise ValueError(f"{_FACTS} is incomplete")
    if number == 1:
        content["arrays"] = {name: {"file": file} for name, file in content["arrays"].items()}
    elif content["digest"] != _digest(content):
        raise ValueError(f"{_FACTS} is not as it was written")
    return content


def _read_array(folder: Path, entry: Mapping[str, Any], lazy: bool) -> np.ndarray:
    file = folder / entry["file"]
    if Path(entry["file"]).name != entry["file"] or file.resolve().parent != folder.resolve():
        raise ValueError(f"the array file {entry['file']!r} lies outside the folder")
    if not file.is_file():
        raise ValueError(f"the array file {file.name} is missing")
    with np.errstate(over="ignore"):  # of a shape that no file can hold
        array = np.load(file, mmap_mode="r", allow_pickle=False)  # mapped first: a shape beyond the file is refused
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{file.name} is no array")
    described = {"shape": list(array.shape), "dtype": array.dtype.str}
    if any(entry.get(key, value) != value for key, value in described.items()):
        raise ValueError(f"{file.name} is not the array that was saved")
    return array if lazy else np.array(array)
