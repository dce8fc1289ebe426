"""What `run` and `audit` keep in their folder, so that it can be opened again."""

from __future__ import annotations

import importlib.util
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

import neucept
from neucept.analysis import Analysis, Audit
from neucept.analysis.one_class import keep_analysis
from neucept.analysis.run_folder import keep_thumbnails, plain, writing
from neucept.cli.provenance import provenance
from neucept.cli.subject import Subject
from neucept.cli.terminal import console, write_table
from neucept.inputs import Inputs


def keep_run(
    context: typer.Context,
    subject: Subject,
    out: Path,
    batch_size: int,
    target: str | None,
    n_mechanisms: int | None,
    settings: Mapping[str, Any],
    overwrite: bool,
) -> Analysis:
    """Analyse one class and keep it; what the folder holds already of the same network and data is not made again."""
    kept = {name: plain(value) for name, value in settings.items()}
    kept |= {"layers": subject.layers, "stability": 0, "neurons": "auto", "task": subject.task}
    kept |= {"output": plain(subject.output), "class_names": subject.class_names}
    inputs = Inputs.of(subject.recorded, subject.network)
    asked = [] if target is None else [target]
    options: dict[str, Any] = {"provenance": provenance(context), "asked": asked, "overwrite": overwrite}
    with writing(out, subject.network, inputs, kept, **options) as folder:
        recording, number = subject.record(batch_size, target, n_mechanisms, folder / "recording")
        keep_thumbnails(folder, inputs)
        known = Audit.open(folder)
        done = [one for one in known.outcomes if one.target == number and not one.reason]
        if done:
            console.print(f"'{done[0].name}' was analysed before, by the same settings: its results are used.")
            return known.analysis(number)
        started = time.monotonic()
        analysis = neucept.analyse(
            subject.network,
            subject.pictures,
            subject.layers,
            number,
            recording=recording,
            **dict(settings),
        )
        keep_analysis(folder, analysis, time.monotonic() - started)
    return analysis


def write_inputs(out: Path) -> list[Path]:
    """Write the table of the inputs of a run: as .csv, and as .parquet where that can be written."""
    table = Audit.open(out).inputs
    suffixes = [".csv", *([".parquet"] if importlib.util.find_spec("pyarrow") else [])]
    return [write_table(out / f"inputs{suffix}", table) for suffix in suffixes]


def say_what_next(out: Path, target: str | None = None) -> None:
    """Say which commands answer further questions from the run alone."""
    run = shlex.quote(str(out))
    one = "" if target is None else f" --target {shlex.quote(target)}"
    console.print("Without running the network again:")
    for command in (f"show {run}", f"report {run}{one or ' --target CLASS'} --precision 0.7", f"pack {run}"):
        console.print(f"  neucept {command}", markup=False, highlight=False, soft_wrap=True)
    console.print("With new inputs:")
    for command in (f"assign {run} --data NEW", f"drift {run} --data NEW"):
        console.print(f"  neucept {command}", markup=False, highlight=False, soft_wrap=True)
