"""The commands: demo, layers, run, audit and calibrate. What is heavy is imported when arguments are checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

import neucept
from neucept.cli import options
from neucept.cli.arguments import (
    check_folder,
    check_names,
    check_numbers,
    check_report_packages,
    check_subject,
    how_many,
    integers,
    page_at,
    words,
)
from neucept.cli.terminal import clear_errors, console, say_where, write_tables
from neucept.datasets.places import check_place
from neucept.errors import InputError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    """Print the version and leave, for ``--version``."""
    if asked:
        typer.echo(f"neucept {neucept.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Which neurons of a network decide, in which different ways, and which of those ways are unreliable."""


def _discovery(
    objective: str, response: str, no_calibration: bool, draws: int, order: str | None, effect: float | None
) -> dict[str, Any]:
    """Give the arguments of `neucept.discover` that `run` and `audit` share."""
    calibration = None if no_calibration else "auto"
    of_neurons = {"order": order, "effect": effect}
    return {"objective": objective, "response": response, "calibration": calibration, "draws": draws, **of_neurons}


@app.command()
def demo(
    digits: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Folder with MNIST's IDX files, for all 70,000 digits.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="PATH", help="Folder for the reports.")] = Path("demo"),
    seed: options.Seed = 0,
) -> None:
    """Train the paper's LeNets on real digits and find their mechanisms; takes a few minutes."""
    with clear_errors():
        page_at(out / "pkt.html")
        if digits is not None:
            check_place(digits)
        from neucept.demo import run_demo

        run_demo(out, digits=digits, seed=seed)


@app.command()
def layers(
    model: options.Model,
    data: options.OptionalData = None,
    shape: Annotated[
        str | None,
        typer.Option(metavar="C,H,W", help="Instead of --data: shape of one input, such as 3,224,224."),
    ] = None,
    weights: options.Weights = None,
    n_classes: options.NClasses = None,
    split: options.Split = None,
    size: options.Size = None,
    channels: options.Channels = None,
    transform: options.Transform = None,
    skip_unreadable: options.SkipUnreadable = False,
) -> None:
    """List a model's modules, with shape and number of neurons, to choose from."""
    with clear_errors():
        if data is None and shape is None:
            raise InputError("Say what an input looks like: --data PATH, or --shape 3,224,224.")
        check_subject(model, weights, data, transform)
        sizes = [] if shape is None else integers(shape)
        import torch

        from neucept.cli.printing import print_layers
        from neucept.cli.subject import Inputs, layers_of
        from neucept.models import load_model

        network = load_model(model, weights, n_classes)
        if data is not None:
            inputs = Inputs(
                data,
                split=split,
                limit=1,
                size=size,
                channels=channels,
                transform=transform,
                skip_unreadable=skip_unreadable,
            )
            example = inputs.load(model, network)[0][0][None]
        else:
            example = torch.zeros(1, *sizes)
        print_layers(layers_of(network, example))


@app.command()
def run(
    context: typer.Context,
    model: options.Model,
    data: options.Data,
    weights: options.Weights = None,
    n_classes: options.NClasses = None,
    output: options.Output = None,
    task: options.Task = "auto",
    device: options.Device = None,
    batch_size: options.BatchSize = 256,
    split: options.Split = None,
    limit: options.Limit = None,
    size: options.Size = None,
    channels: options.Channels = None,
    mean: options.Mean = None,
    std: options.Std = None,
    scale: options.Scale = None,
    transform: options.Transform = None,
    classes: options.Classes = None,
    classes_in_order: options.ClassesInOrder = False,
    skip_unreadable: options.SkipUnreadable = False,
    layers: options.Layers = None,
    target: options.Target = None,
    precision: options.Precision = 0.9,
    objective: options.Objective = "pairwise",
    response: options.Response = "logit",
    no_calibration: options.NoCalibration = False,
    order: options.Order = None,
    effect: options.Effect = None,
    draws: options.Draws = 50,
    mechanisms: options.NMechanisms = "auto",
    reduce: options.Reduce = None,
    compactness: options.Compactness = 10,
    overwrite: options.Overwrite = False,
    out: options.Folder = Path("neucept-report"),
    seed: options.Seed = 0,
) -> None:
    """Analyse one class of a trained network: its critical neurons, its mechanisms, a report, a run to open again.

    A second class of the same network and data, in the same folder, is not recorded again.
    """
    with clear_errors():
        page = page_at(check_folder(out))
        check_numbers(precision, seed, compactness=compactness, draws=draws, batch_size=batch_size)
        check_names(task=task, objective=objective, response=response, order=order, reduce=reduce)
        n_mechanisms = how_many(mechanisms)
        check_subject(model, weights, data, transform, device, mean=mean, std=std, scale=scale)
        from neucept.cli.keeping import keep_run, say_what_next, write_inputs
        from neucept.cli.printing import print_results
        from neucept.cli.subject import Inputs, Subject

        inputs = Inputs(data, split, limit, size, channels, mean, std, transform, classes, skip_unreadable, seed, scale)
        inputs = replace(inputs, classes_in_order=classes_in_order)
        subject = Subject.of(model, weights, n_classes, inputs, layers, target, device, output, task)
        discovery = _discovery(objective, response, no_calibration, draws, order, effect)
        learning = {"compactness": compactness, "reduce": reduce}
        settings: dict[str, Any] = {"precision": precision, "n_mechanisms": n_mechanisms or "auto", "seed": seed}
        settings |= {"discovery": discovery, "learning": learning}
        analysis = keep_run(context, subject, out, batch_size, target, n_mechanisms, settings, overwrite)
        print_results(analysis.critical, analysis.mechanisms, analysis.error_detection)
        console.print(f"How many mechanisms? {analysis.n_clusters}", markup=False)
        neucept.report(analysis, path=page)
        tables = {"critical": analysis.critical.table(), "mechanisms": analysis.mechanisms.table()}
        written = [page, *write_tables(page, **tables), *write_inputs(out)]
        say_where(written)
        say_what_next(out, analysis.target_name)


@app.command()
def audit(
    context: typer.Context,
    model: options.Model,
    data: options.Data,
    weights: options.Weights = None,
    n_classes: options.NClasses = None,
    output: options.Output = None,
    task: options.Task = "auto",
    device: options.Device = None,
    batch_size: options.BatchSize = 256,
    split: options.Split = None,
    limit: options.Limit = None,
    size: options.Size = None,
    channels: options.Channels = None,
    mean: options.Mean = None,
    std: options.Std = None,
    scale: options.Scale = None,
    transform: options.Transform = None,
    classes: options.Classes = None,
    classes_in_order: options.ClassesInOrder = False,
    skip_unreadable: options.SkipUnreadable = False,
    layers: options.Layers = None,
    target: options.Targets = None,
    precision: options.Precision = 0.9,
    objective: options.Objective = "pairwise",
    response: options.Response = "logit",
    order: options.Order = None,
    effect: options.Effect = None,
    no_calibration: options.NoCalibration = False,
    draws: options.Draws = 50,
    mechanisms: options.NMechanisms = "auto",
    reduce: options.Reduce = None,
    compactness: options.Compactness = 10,
    stability: options.Stability = 10,
    workers: options.Workers = None,
    overwrite: options.Overwrite = False,
    pages: options.Pages = 25,
    out: options.Folder = Path("neucept-audit"),
    seed: options.Seed = 0,
) -> None:
    """Audit every class: where a network is confidently wrong, where unsure, and why; the worst first.

    The same command goes on where it was interrupted.
    """
    with clear_errors():
        check_report_packages()
        at_least_one = {"compactness": compactness, "draws": draws, "batch_size": batch_size, "workers": workers}
        check_numbers(precision, seed, **at_least_one)
        check_names(task=task, objective=objective, response=response, order=order, reduce=reduce)
        n_mechanisms = how_many(mechanisms)
        check_subject(model, weights, data, transform, device, mean=mean, std=std, scale=scale)
        from neucept.cli.keeping import say_what_next, write_inputs
        from neucept.cli.printing import print_audit
        from neucept.cli.provenance import provenance
        from neucept.cli.subject import Inputs, Subject

        asked = words(target)
        inputs = Inputs(data, split, limit, size, channels, mean, std, transform, classes, skip_unreadable, seed, scale)
        inputs = replace(inputs, classes_in_order=classes_in_order)
        subject = Subject.of(model, weights, n_classes, inputs, layers, asked, device, output, task)
        result = neucept.audit(
            subject.network,
            subject.recorded,
            subject.layers,
            asked,
            precision=precision,
            n_mechanisms=n_mechanisms or "auto",
            stability=stability,
            out=out,
            overwrite=overwrite,
            provenance=provenance(context),
            workers=workers,
            output=subject.output,
            task=task,
            class_names=subject.class_names,
            device=device,
            batch_size=batch_size,
            discovery=_discovery(objective, response, no_calibration, draws, order, effect),
            learning={"compactness": compactness, "reduce": reduce},
            seed=seed,
        )
        print_audit(result)
        page = result.report(pages=pages, keep_pages=True)
        tables = write_tables(page, mechanisms=result.table, classes=result.classes)
        say_where([page, *tables, *write_inputs(out)])
        say_what_next(out)


@app.command()
def calibrate(
    model: options.Model,
    data: options.Data,
    weights: options.Weights = None,
    n_classes: options.NClasses = None,
    output: options.Output = None,
    task: options.Task = "auto",
    device: options.Device = None,
    batch_size: options.BatchSize = 256,
    split: options.Split = None,
    limit: options.Limit = None,
    size: options.Size = None,
    channels: options.Channels = None,
    mean: options.Mean = None,
    std: options.Std = None,
    scale: options.Scale = None,
    transform: options.Transform = None,
    classes: options.Classes = None,
    classes_in_order: options.ClassesInOrder = False,
    skip_unreadable: options.SkipUnreadable = False,
    layers: options.Layers = None,
    target: options.Target = None,
    precision: options.Precision = 0.9,
    out: options.Out = Path("neucept-calibration"),
    seed: options.Seed = 0,
) -> None:
    """Check what a precision is worth on your layers, with responses whose critical neurons are known.

    Looks at the inputs predicted as the target, as 'neucept run' does.
    """
    with clear_errors():
        page = page_at(out, "calibration.html")
        check_numbers(precision, seed, batch_size=batch_size)
        check_names(task=task)
        check_subject(model, weights, data, transform, device, mean=mean, std=std, scale=scale)
        from neucept.cli.calibrating import calibrate_layers
        from neucept.cli.subject import Inputs, Subject

        inputs = Inputs(data, split, limit, size, channels, mean, std, transform, classes, skip_unreadable, seed, scale)
        inputs = replace(inputs, classes_in_order=classes_in_order)
        subject = Subject.of(model, weights, n_classes, inputs, layers, target, device, output, task)
        recording, number = subject.record(batch_size, target)
        say_where(calibrate_layers(recording, subject.layers, number, precision, page, seed))
