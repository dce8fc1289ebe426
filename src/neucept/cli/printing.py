"""What is printed in the terminal, and the tables written beside a report."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import neucept
from neucept.errors import InputError
from neucept.reports.calibration import units
from neucept.reports.phrases import family_name

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


def print_layers(table: pd.DataFrame) -> None:
    """Print the modules of a model."""
    grid = Table("layer", "type", "calls", "shape", "neurons")
    for row in table.to_dict("records"):
        shape = " x ".join(map(str, row["shape"]))
        grid.add_row(escape(row["layer"]), row["type"], str(row["calls"]), shape, str(row["neurons"]))
    console.print(grid)
    console.print("Shapes are those of one input. A layer with several calls is recorded as NAME#0, NAME#1, ...")


def print_calibrations(
    calibrations: Mapping[str, neucept.Calibration], widths: Mapping[str, int], precision: float
) -> None:
    """Print the realised precision and the power for each layer and family of simulated responses."""
    for layer, calibration in calibrations.items():
        title = escape(f"{layer}: {units(calibration, widths[layer])}; asked: {precision:g}")
        grid = Table("planted responses", *_HEADINGS, "unseen", title=title, title_justify="left")
        for row in calibration.table(precision).to_dict("records"):
            everything = row["family"] == "all"
            if everything:
                grid.add_section()
            cells = [family_name(row["family"]), *_calibrated(row), f"{row['unseen']:.3f}"]
            grid.add_row(*cells, style="bold" if everything else None)
        console.print(grid)
    console.print(
        "precision and power: realised on responses with known critical neurons, planted on the layer, by a model that "
        "had not seen the response; unseen: nor any of its kind; eq. (9): the knockoffs' own threshold. Pure noise has "
        "nothing to find: its precision is the share of responses for which nothing is selected."
    )


_HEADINGS = ("precision", "95% interval", "power", "eq. (9)")


def _calibrated(row: Mapping[Any, Any]) -> list[str]:
    power = "–" if pd.isna(row["power"]) else f"{row['power']:.2f}"
    return [f"{row['precision']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}", power, f"{row['uncalibrated']:.3f}"]


def print_results(critical: neucept.CriticalNeurons, mechanisms: neucept.Mechanisms) -> None:
    """Print the selection, its guarantee, and the mechanisms."""
    columns = ["layer", "neurons", "groups", "critical", "the most important"]
    selected = Table(*columns, title=escape(f"Neurons that decide '{critical.target_name}'"), title_justify="left")
    for layer, selection in critical.items():
        first = ", ".join(str(neuron) for neuron in selection.neurons[:8]) or "none"
        more = ", ..." if len(selection.neurons) > 8 else ""
        groups = len(selection.representatives)
        constant = int((selection.groups < 0).sum())
        neurons = f"{len(selection.groups)}" + (f" ({constant} constant)" if constant else "")
        sizes = [neurons, str(groups), str(len(selection.neurons))]
        selected.add_row(escape(layer), *sizes, first + more)
    console.print(selected)
    if any(len(s.representatives) < (s.groups >= 0).sum() for s in critical.values()):
        console.print("Neurons that cannot be told apart form a group; 'critical' counts groups and names one of each.")
    _print_guarantee(critical)
    judged = mechanisms.reliability
    columns = ["mechanism", "share"] + (["precision", "95% interval", "verdict"] if judged is not None else [])
    ways = Table(*columns, title="Mechanisms", title_justify="left")
    for number, share in enumerate(mechanisms.shares):
        cells = []
        if judged is not None:
            row = judged.set_index("mechanism").loc[number]
            interval = f"{row['low']:.1%} to {row['high']:.1%}"
            cells = [f"{row['precision']:.1%}", interval, str(row["verdict"])]
        ways.add_row(str(number), f"{share:.1%}", *cells)
    console.print(ways)
    if judged is None:
        console.print("Precision is not known: the labels of the data are not the classes of the model.")
    else:
        console.print(
            "precision: share of a mechanism's inputs whose label is the class, on inputs it was not found on."
        )


def _print_guarantee(critical: neucept.CriticalNeurons) -> None:
    calibrated = {layer: s for layer, s in critical.items() if s.calibration is not None}
    if not calibrated:
        console.print(str(next(iter(critical.values())).guarantee), markup=False, highlight=False)
        return
    grid = Table("layer", "asked", *_HEADINGS, title="Precision checked on the layers themselves", title_justify="left")
    for layer, selection in calibrated.items():
        assert selection.calibration is not None
        table = selection.calibration.table(selection.precision).set_index("family")
        grid.add_row(escape(layer), f"{selection.precision:g}", *_calibrated(table.loc["all"].to_dict()))
    console.print(grid)
    console.print(
        "precision and power: realised on planted responses with known critical neurons; eq. (9): the knockoffs' "
        "own threshold. 'neucept calibrate' shows them by kind."
    )


def write_tables(page: Path, **tables: pd.DataFrame) -> list[Path]:
    """Write tables beside the report: NAME.csv beside one of the default name, REPORT-NAME.csv beside another."""
    prefix = "" if page.stem in ("report", "calibration") else f"{page.stem}-"
    paths = [page.with_name(f"{prefix}{name}.csv") for name in tables]
    for path, table in zip(paths, tables.values(), strict=True):
        table.to_csv(path, index=False)
    return paths


def say_where(paths: Sequence[Path]) -> None:
    """Say which files were written."""
    console.print("Written:")
    for path in paths:
        console.print(f"  {path.resolve()}", markup=False, highlight=False, soft_wrap=True)
