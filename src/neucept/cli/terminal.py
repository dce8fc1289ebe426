"""The terminal: errors and warnings of a command, and the files that it wrote. Imports nothing heavy."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from neucept.errors import InputError

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
        table.to_csv(path, index=False)
    return paths


def say_where(paths: Sequence[Path]) -> None:
    """Say which files were written."""
    console.print("Written:")
    for path in paths:
        console.print(f"  {path.resolve()}", markup=False, highlight=False, soft_wrap=True)
