"""What the commands on runs do: open, print, draw, and record new inputs as those of the run were."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from rich.markup import escape
from rich.table import Table
from torch import nn

import neucept
from neucept.analysis import Audit
from neucept.analysis.archives import is_archive
from neucept.analysis.assignment import UNLIKE, record_again
from neucept.analysis.run_folder import hash_weights
from neucept.cli.arguments import page_at, words
from neucept.cli.printing import print_accuracy, print_audit, print_results
from neucept.cli.provenance import hash_of_code, is_code_file
from neucept.cli.subject import Inputs
from neucept.cli.terminal import console, write_tables
from neucept.datasets import ImageDataset, UnlabelledImages
from neucept.errors import InputError, closest
from neucept.models import load_model
from neucept.recording import Recording
from neucept.reports.phrases import percent

_LISTED = 20  # inputs that the terminal lists


def show(run: Path, target: str | None, name: str | None, flags: bool) -> None:
    """Print what a run found: of all classes, of one, of one input, or the inputs with flags."""
    audit = Audit.open(run)
    if name is not None:
        print_one(audit, name)
    elif flags:
        print_flags(audit.inputs)
    elif target is None and len(audit.outcomes) > 1:
        print_made(audit)
        print_audit(audit)
    else:
        print_made(audit)
        print_accuracy(audit.recording)
        outcome = audit.outcomes[0] if target is None and audit.outcomes else audit.outcome(target or 0)
        if outcome.reason:
            raise InputError(f"'{outcome.name}' was not audited: {outcome.reason}")
        analysis = audit.analysis(outcome.target)
        print_results(analysis.critical, analysis.mechanisms, analysis.error_detection)
        console.print(f"How many mechanisms? {analysis.n_clusters}", markup=False)


def print_made(audit: Audit) -> None:
    """Print of what, when and how a run was made."""
    made = audit.provenance
    if "command" in made:
        versions = made.get("versions", {})
        console.print(f"{made['command']}", markup=False, highlight=False)
        console.print(
            f"in {made['folder']}, {made['date']}, neucept {versions.get('neucept')}, torch {versions.get('torch')}",
            markup=False,
            highlight=False,
        )
    kept = "small pictures kept" if audit.thumbnails is not None else "no pictures kept"
    console.print(f"{audit.model_name}, {len(audit.recording):,} inputs, {kept}.", markup=False, highlight=False)


def find_row(table: pd.DataFrame, name: str) -> int:
    """Find an input by its name, the end of its name, or its row."""
    known = table["input"].astype(str)
    for hits in (known == name, known.str.endswith(f"/{name}"), known.str.rsplit("/").str[-1] == name):
        if (n := int(hits.sum())) == 1:
            return int(hits.to_numpy().argmax())
        if n > 1:
            several = ", ".join(known[hits].head(3))
            raise InputError(f"--input {name}: {n} inputs are called so ({several}, ...); give more of the name.")
    row = name.removeprefix("#")
    if row.isdigit() and int(row) < len(table):
        return int(row)
    raise InputError(f"--input {name}: no input of this run is called so.{closest(name, known.tolist()[:5000])}")


def print_one(audit: Audit, name: str) -> None:
    """Print all that is known of one input."""
    row = find_row(audit.inputs, name)
    grid = Table(show_header=False)
    for key, value in audit.inputs.iloc[row].items():
        shown = f"{value:.3f}" if isinstance(value, float) else str(value)
        if shown not in ("nan", ""):
            grid.add_row(str(key), escape(shown))
    predicted = audit.recording.predictions[row]
    for outcome in audit.outcomes:
        if outcome.target == predicted and not outcome.reason:
            mechanisms = audit.mechanisms[outcome.target]
            one = mechanisms.explain(audit.recording.subset(np.array([row]))).iloc[0]
            grid.add_row("neurons that set its mechanism apart", escape(str(one["deciding"])))
            grid.add_row("neurons that take it from the centre", escape(str(one["distant"])))
    console.print(grid)


def print_flags(table: pd.DataFrame) -> None:
    """Print how many inputs have each flag, and the first of them."""
    counts = table["flags"].str.split("; ").explode()
    for flag, n in counts[counts != ""].value_counts().items():
        console.print(f"{n:,} of {len(table):,}: {flag}", highlight=False)
    chosen = table[table["flags"].str.contains("unlike|overconfident", regex=True)]
    print_rows(chosen.sort_values("confidence", ascending=False, kind="stable"))


def print_rows(table: pd.DataFrame) -> None:
    """Print inputs, a row each."""
    if not len(table):
        return
    grid = Table("input", "predicted", "confidence", "mechanism", "precision", "flags")
    for row in table.head(_LISTED).to_dict("records"):
        sure = "–" if pd.isna(row["confidence"]) else percent(row["confidence"], 0)
        known = "–" if pd.isna(row["precision"]) else percent(row["precision"], 0)
        mechanism = "–" if row["mechanism"] < 0 else str(int(row["mechanism"]))
        grid.add_row(escape(str(row["input"])), escape(str(row["prediction"])), sure, mechanism, known, row["flags"])
    console.print(grid)
    if len(table) > _LISTED:
        console.print(f"The first {_LISTED} of {len(table):,}; all are in the table of the inputs.")


def print_assigned(table: pd.DataFrame) -> None:
    """Print what new inputs are predicted as, and which should be looked at."""
    unlike = int((table["p_unlike"] <= UNLIKE).sum())
    console.print(
        f"{len(table):,} inputs; {unlike:,} are unlike all that were recorded (where all are like them, about"
        f" {UNLIKE:.0%} are called so).",
        highlight=False,
    )
    counts = table["prediction"].value_counts().head(10)
    console.print(
        f"Predicted: {', '.join(f'{name} {n}' for name, n in counts.items())}.", markup=False, highlight=False
    )
    worst = table["precision"].isna() | table["flags"].str.contains("overconfident")
    print_rows(table.assign(worst=~worst).sort_values(["worst", "p_unlike"], kind="stable"))


def print_drift(drift: neucept.Drift) -> None:
    """Print what has changed."""
    for said in drift.findings:
        console.print(said, markup=False, highlight=False)


def draw(
    run: Path,
    target: str | None,
    precision: float | None,
    n_mechanisms: int | Literal["auto"] | None,
    pages: int,
    out: Path | None,
) -> list[Path]:
    """Draw the page of a class, or the index of all; say which files were written."""
    audit = Audit.open(run)
    if target is None and precision is None and n_mechanisms is None and len(audit.outcomes) > 1:
        page = page_at(_beside(run) if out is None else out, "index.html")
        return [audit.report(page, pages=pages), *write_tables(page, mechanisms=audit.table, classes=audit.classes)]
    analysis = audit.analysis(target, precision=precision, n_mechanisms=n_mechanisms)
    said = "report"
    if target is not None or len(audit.outcomes) > 1:
        said += f"-{audit.outcome(analysis.mechanisms.target).folder}"  # type: ignore[arg-type]
    said += "" if precision is None else f"-precision-{precision:g}"
    said += "" if n_mechanisms is None else f"-mechanisms-{n_mechanisms}"
    page = page_at(_beside(run) if out is None else out, f"{said}.html")
    print_results(analysis.critical, analysis.mechanisms, analysis.error_detection)
    neucept.report(analysis, path=page)
    tables = {"critical": analysis.critical.table(), "mechanisms": analysis.mechanisms.table()}
    return [page, *write_tables(page, **tables)]


def _beside(run: Path) -> Path:
    """Where pages of a run are put: in its folder, or beside its file."""
    return run.with_suffix("") if is_archive(run) else run


def compare(run: Path, other: Path, target: str | None, names: str | None, page: Path) -> list[Path]:
    """Compare two runs on the same inputs; say which files were written."""
    one, two = Audit.open(run), Audit.open(other)
    called = words(names) or [path.resolve().name.removesuffix(".zip") for path in (run, other)]
    if len(called) != 2 or called[0] == called[1]:
        called = [f"{called[0]} (A)", f"{called[-1]} (B)"]
    first = one.analysis(target)
    second = two.analysis(first.target_name if target is None else target)
    same = first.recording.names == second.recording.names or None in (first.recording.names, second.recording.names)
    if len(first.recording) != len(second.recording) or not same:
        raise InputError(
            f"{run} and {other} are of different inputs ({len(first.recording):,} and {len(second.recording):,}); make"
            " both runs with the same --data, --split, --limit and --seed."
        )
    recordings = (first.recording, second.recording)
    result = neucept.compare(first.mechanisms, second.mechanisms, recordings=recordings, names=(called[0], called[1]))
    console.print(str(result), markup=False, highlight=False)
    neucept.report(result, data=one.thumbnails, path=page)
    return [page, *write_tables(page, matches=result.table())]


@dataclass(frozen=True)
class NewInputs:
    """A run, and new inputs recorded as those of the run were."""

    audit: Audit
    recording: Recording
    pictures: ImageDataset | UnlabelledImages


def new_inputs(
    run: Path,
    data: Path,
    model: str | None,
    weights: str | None,
    device: str | None,
    batch_size: int,
    split: str | None,
    limit: int | None,
) -> NewInputs:
    """Load the network of a run, and record new inputs with it."""
    audit = Audit.open(run)
    made: dict[str, Any] = dict(audit.provenance.get("options", {}))
    if "data" not in made:  # how inputs are prepared is not known: a guess would give wrong answers without a word
        raise InputError(
            f"{run} was not made by a command, so it does not say how its inputs were prepared. Assign new ones in"
            " Python: neucept.Audit.open(RUN).assign(data, model), or neucept.drift(audit, data, model)."
        )
    network, spec = network_of(audit, is_archive(run), model, weights)
    if is_archive(run) and made.get("transform"):
        raise InputError(
            f"{run} was made with --transform, whose code is not run from a packed run: unpack it, or run anew."
        )
    same: dict[str, Any] = {name: made.get(name) for name in ("size", "channels", "mean", "std", "scale", "transform")}
    skip = bool(made.get("skip_unreadable", False))
    source = Inputs(data, split, limit, skip_unreadable=skip, **same)
    pictures = source.load_new(spec, network, audit.recording.class_names)
    recording = record_again(audit.recording, pictures, network, device=device, batch_size=batch_size)
    return NewInputs(audit, recording, pictures)


def network_of(audit: Audit, archived: bool, model: str | None, weights: str | None) -> tuple[nn.Module, str]:
    """Load the network that a run was made with, as the run says or as it is said now, and check that it is the one.

    Code that a run names is imported only where the run is a folder of one's own, and the file is as it was.
    """
    made: dict[str, Any] = dict(audit.provenance.get("options", {}))
    known, held = str(made.get("model", "")), made.get("weights")
    again = f"The run was made with --model {known}" + (f" --weights {held}." if held else ".")
    if model is None:
        published = known.startswith(("torchvision:", "timm:"))
        if not published and (archived or not is_code_file(known)):
            raise InputError(f"Code that a run names is not run unasked: say --model (and --weights). {again}")
        if is_code_file(known) and hash_of_code(known) != audit.provenance.get("model_sha256"):
            raise InputError(
                f"The code of the network is gone, or has changed since: say --model if it will do. {again}"
            )
        model = known
    if weights is None and held is not None:
        if held != "pretrained" and not Path(str(held)).is_file():
            raise InputError(f"The weights are no longer at {held}: say where they are with --weights.")
        weights = str(held)
    network = load_model(model, weights, made.get("n_classes"))
    if audit.content.get("network") not in ("", hash_weights(network)):
        raise InputError(f"This network has other weights than the recorded one. {again}")
    return network, model
