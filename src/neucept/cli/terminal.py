"""The terminal: errors and warnings of a command, and the files that it wrote. Imports nothing heavy."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from neucept import storage
from neucept.errors import InputError, missing

if TYPE_CHECKING:
    import pandas as pd

console = Console()
_errors = Console(stderr=True)


@contextmanager
def clear_errors() -> Iterator[None]:
    """Print what is wrong with the input in red and leave with 2; print warnings in yellow."""
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            yield
        except (InputError, OSError) as error:
            _errors.print(f"Error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(2) from None


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    said = str(message).replace(" with .at(precision=...)", "").replace(": critical.at(precision=...)", "")  # Python's
    _errors.print(f"Warning: {said}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def write_tables(page: Path, **tables: pd.DataFrame) -> list[Path]:
    """Write tables beside the report: NAME.csv beside one of the default name, REPORT-NAME.csv beside another."""
    prefix = "" if page.stem in ("report", "calibration", "index") else f"{page.stem}-"
    paths = [page.with_name(f"{prefix}{name}.csv") for name in tables]
    for path, table in zip(paths, tables.values(), strict=True):
        write_table(path, table)
    return paths


def write_table(path: Path, table: pd.DataFrame) -> Path:
    """Write a table to a .csv or .parquet file, whole or not at all."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
    with storage.new_file(path) as draft:
        if path.suffix == ".parquet":
            if importlib.util.find_spec("pyarrow") is None:
                raise missing("pyarrow", "vision")
            table.to_parquet(draft, index=False)
        else:
            table.to_csv(draft, index=False)
    return path


def say_where(paths: Sequence[Path]) -> None:
    """Say which files were written."""
    console.print("Written:")
    for path in paths:
        console.print(f"  {path.resolve()}", markup=False, highlight=False, soft_wrap=True)
