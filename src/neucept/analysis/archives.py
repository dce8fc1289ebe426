"""A run as one file, and back. What is unpacked is data: no link, nothing outside, nothing that runs."""

from __future__ import annotations

import os
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from neucept import storage
from neucept.errors import InputError

MOST_BYTES = 2**36  # unpacked
_MOST_FILES = 200_000
_SAVED = {".npy", ".json"}  # what results are made of
_DRAWN = {".html", ".csv", ".parquet"}  # what people look at


def is_archive(path: Path) -> bool:
    """Tell whether a path names a packed run."""
    return path.suffix.lower() == ".zip" and not path.is_dir()


def pack(folder: Path, path: Path) -> Path:
    """Write a folder of results, with its pages and tables, to one file; whole or not at all.

    Raises
    ------
    InputError
        When ``path`` is no ``.zip``, or cannot be written.
    """
    if path.suffix.lower() != ".zip":
        raise InputError(f"path={str(path)!r}: expected the name of a file that ends with .zip.")
    if path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{path} lies in the folder that is to be packed; choose a place outside of it.")
    files = [
        Path(place) / name
        for place, folders, names in os.walk(folder)
        if not folders.sort() and not _is_draft(Path(place), folder)
        for name in sorted(names)
    ]
    with storage.new_file(path) as draft, zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in files:
            if file.suffix in _SAVED | _DRAWN and not file.is_symlink():
                archive.write(file, file.relative_to(folder).as_posix())
    return path


def _is_draft(place: Path, folder: Path) -> bool:
    return any(part.startswith(".neucept-") for part in place.relative_to(folder).parts)


def unpack(path: Path) -> tempfile.TemporaryDirectory[str]:
    """Unpack a run into ``run`` of a temporary folder, which is removed when the object that is returned is.

    Only what results are made of is unpacked: pages and tables of a stranger are left where they are.

    Raises
    ------
    InputError
        For what is no packed run, is damaged, or would leave its folder.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}. Give a run's folder, or the .zip that 'neucept pack' made of it.")
    target = tempfile.TemporaryDirectory(prefix="neucept-run-", ignore_cleanup_errors=True)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if PurePosixPath(one.filename).suffix in _SAVED]
            _check(members, path)
            for member in members:
                place = Path(target.name) / "run" / member.filename
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, place.open("xb") as file:
                    while part := source.read(2**20):
                        file.write(part)
    except (OSError, zipfile.BadZipFile, zlib.error, ValueError, RuntimeError, EOFError, NotImplementedError) as error:
        target.cleanup()
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is no packed run, or is damaged ({error}); pack it again: neucept pack RUN."
        ) from error
    return target


def _check(members: list[zipfile.ZipInfo], path: Path) -> None:
    """Refuse an archive that is no run, or would write elsewhere."""
    names = [member.filename for member in members]
    if "facts.json" not in names:
        raise InputError(f"{path} is no packed run: there is no facts.json in it. Pack one with 'neucept pack RUN'.")
    for member in members:
        parts = PurePosixPath(member.filename).parts
        outside = member.filename.startswith("/") or ".." in parts or "\\" in member.filename or ":" in member.filename
        if outside or stat.S_ISLNK(member.external_attr >> 16):
            raise InputError(f"{path} is no packed run: '{member.filename}' would be written outside of its folder.")
    size = sum(member.file_size for member in members)
    if len(set(names)) < len(names) or len(names) > _MOST_FILES or size > MOST_BYTES:
        raise InputError(
            f"{path} is no packed run: it holds {len(names)} files of {size / 2**30:.0f} GB, or names twice."
        )
