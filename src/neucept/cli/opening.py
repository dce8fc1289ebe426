"""Commands on runs that are there: show, report, assign, drift, compare, pack. Only assign and drift run a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from neucept.cli import options
from neucept.cli.arguments import check_device, check_numbers, check_report_packages, check_run, how_many, page_at
from neucept.cli.commands import app
from neucept.cli.terminal import clear_errors, say_where, write_table, write_tables
from neucept.errors import InputError

Run = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="Folder of 'neucept run' or 'neucept audit', or the .zip made of it."),
]
OneTarget = Annotated[str | None, typer.Option("--target", metavar="CLASS", help="By number or name.")]


@app.command()
def show(
    run: Run,
    target: OneTarget = None,
    name: Annotated[
        str | None,
        typer.Option("--input", metavar="NAME|ROW", help="Say all that is known of one input, by its file or row."),
    ] = None,
    flags: Annotated[
        bool, typer.Option("--flags", help="List the inputs that should be looked at, with the reason.")
    ] = False,
) -> None:
    """Print what a run found, without the network or the data."""
    with clear_errors():
        check_run(run)
        from neucept.cli import reopened

        reopened.show(run, target, name, flags)


@app.command()
def report(
    run: Run,
    target: OneTarget = None,
    precision: Annotated[
        float | None, typer.Option(metavar="P", help="Select critical neurons at another precision.")
    ] = None,
    mechanisms: Annotated[str | None, typer.Option(metavar="K", help="Another number of mechanisms, or auto.")] = None,
    pages: options.Pages = 25,
    out: Annotated[
        Path | None, typer.Option(metavar="PATH", help="An .html file, or a folder; by default in the run's folder.")
    ] = None,
) -> None:
    """Draw a run again: another class, precision or number of mechanisms, without the network or the data."""
    with clear_errors():
        check_run(run)
        check_report_packages()
        check_numbers(0.9 if precision is None else precision)
        number: int | Literal["auto"] | None = None
        if mechanisms is not None:
            number = how_many(mechanisms) or "auto"
        from neucept.cli import reopened

        say_where(reopened.draw(run, target, precision, number, pages, out))


NewData = Annotated[
    Path,
    typer.Option("--data", metavar="PATH", help="New inputs: a folder of images, with classes or without, or one."),
]
ModelAgain = Annotated[
    str | None, typer.Option("--model", metavar="SPEC", help="The network, where it is no longer where it was.")
]
WeightsAgain = Annotated[
    str | None, typer.Option("--weights", metavar="FILE", help="Its weights, where they are no longer where they were.")
]


@app.command()
def assign(
    run: Run,
    data: NewData,
    model: ModelAgain = None,
    weights: WeightsAgain = None,
    device: options.Device = None,
    batch_size: options.BatchSize = 256,
    split: options.Split = None,
    limit: options.Limit = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="A .csv or .parquet file.")] = Path("neucept-assigned.csv"),
) -> None:
    """Say what new inputs are predicted as, by which mechanism, how reliable that is, and which are unlike all."""
    with clear_errors():
        if out.suffix not in (".csv", ".parquet"):
            raise InputError(f"--out {out}: expected a file that ends with .csv or .parquet.")
        check_run(run)
        check_numbers(batch_size=batch_size)
        check_device(device)
        from neucept.cli import reopened

        new = reopened.new_inputs(run, data, model, weights, device, batch_size, split, limit)
        table = new.audit.assign(new.recording)
        reopened.print_assigned(table)
        say_where([write_table(out, table)])


@app.command()
def drift(
    run: Run,
    data: NewData,
    model: ModelAgain = None,
    weights: WeightsAgain = None,
    device: options.Device = None,
    batch_size: options.BatchSize = 256,
    split: options.Split = None,
    limit: options.Limit = None,
    out: options.Out = Path("neucept-drift"),
) -> None:
    """Compare new inputs with those of a run: mechanisms, classes, confidence, and how many are unlike all."""
    with clear_errors():
        check_run(run)
        check_numbers(batch_size=batch_size)
        check_device(device)
        page = page_at(out, "drift.html")
        import neucept
        from neucept.cli import reopened

        new = reopened.new_inputs(run, data, model, weights, device, batch_size, split, limit)
        result = neucept.drift(new.audit, new.recording)
        reopened.print_drift(result)
        neucept.report(result, data=new.pictures, path=page)
        tables = {"mechanisms": result.mechanisms, "classes": result.classes, "inputs": result.assigned}
        say_where([page, *write_tables(page, **tables)])


@app.command()
def compare(
    run: Run,
    other: Annotated[Path, typer.Argument(metavar="OTHER", help="A run of another network on the same inputs.")],
    target: OneTarget = None,
    names: Annotated[
        str | None, typer.Option("--names", metavar="A,B", help="What to call the two; by default as their folders.")
    ] = None,
    out: options.Out = Path("neucept-comparison"),
) -> None:
    """Compare two networks on the same inputs: matched mechanisms, and what each has that the other lacks."""
    with clear_errors():
        check_run(run)
        check_run(other)
        page = page_at(out, "comparison.html")
        from neucept.cli import reopened

        say_where(reopened.compare(run, other, target, names, page))


@app.command()
def pack(
    run: Run,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The .zip to write; by default beside the folder.")
    ] = None,
) -> None:
    """Write a run to one file, to be sent to a colleague; every command here reads it."""
    with clear_errors():
        check_run(run)
        from neucept.analysis import Audit

        say_where([Audit.open(run).pack(out or Path(f"{run.resolve()}.zip"))])
