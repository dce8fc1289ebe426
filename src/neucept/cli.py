"""The command line: parses, calls, prints."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import neucept
from neucept.datasets import ImageDataset, load_data
from neucept.demo import run_demo
from neucept.errors import InputError, closest
from neucept.models import default_layers, load_function, load_model, preprocessing
from neucept.recording import list_layers
from neucept.recording.recording import RESPONSES

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Which neurons of a network decide, in which different ways, and which of those ways are unreliable.",
)
_console = Console()
_errors = Console(stderr=True)

ModelOption = Annotated[
    str, typer.Option("--model", help="package.module:factory, file.py:factory, torchvision:NAME or timm:NAME.")
]
WeightsOption = Annotated[
    str | None,
    typer.Option("--weights", help="A .safetensors or .pt file; 'pretrained' for torchvision's and timm's own."),
]
ClassesNumberOption = Annotated[int | None, typer.Option("--n-classes", help="Number of outputs, for the factory.")]
_DATA_HELP = "A folder with one folder a class, MNIST's IDX files, an .npz or a .parquet file."
DataOption = Annotated[Path, typer.Option("--data", help=_DATA_HELP)]
OptionalDataOption = Annotated[Path | None, typer.Option("--data", help=_DATA_HELP)]
SplitOption = Annotated[str | None, typer.Option(help="Part of the data, such as test, or all.")]
LimitOption = Annotated[int | None, typer.Option(help="Take a random sample of so many inputs, by class.")]
SizeOption = Annotated[int | None, typer.Option(help="Height and width to resize to.")]
ChannelsOption = Annotated[int | None, typer.Option(help="1 for gray, 3 for colour; as the images are by default.")]
MeanOption = Annotated[str | None, typer.Option(help="For normalisation, on [0, 1]: a number a channel, 0.5,0.5,0.5.")]
StdOption = Annotated[str | None, typer.Option(help="For normalisation: one number a channel.")]
TransformOption = Annotated[
    str | None, typer.Option(help="file.py:function, from a PIL image to a tensor; replaces size, mean and std.")
]
SkipOption = Annotated[bool, typer.Option("--skip-unreadable", help="Leave unreadable images out, with a warning.")]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same result.")]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, ...; the CPU by default.")]


@app.command()
def demo(
    digits: Annotated[Path | None, typer.Option(help="Folder with MNIST's IDX files, for all 70,000 digits.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the pages.")] = Path("demo"),
    seed: SeedOption = 0,
) -> None:
    """Train the paper's LeNets on real digits and find their mechanisms; takes a few minutes."""
    with _clear_errors():
        _writable(out / "report.html")
        run_demo(out, digits=digits, seed=seed)


@app.command()
def layers(
    model: ModelOption,
    data: OptionalDataOption = None,
    shape: Annotated[str | None, typer.Option(help="Instead of --data: shape of one input, such as 3,224,224.")] = None,
    weights: WeightsOption = None,
    n_classes: ClassesNumberOption = None,
    split: SplitOption = None,
    size: SizeOption = None,
    channels: ChannelsOption = None,
    transform: TransformOption = None,
    skip_unreadable: SkipOption = False,
) -> None:
    """List a model's modules, with shape and number of neurons, to choose from."""
    with _clear_errors():
        network = load_model(model, weights, n_classes)
        if data is not None:
            options = {"split": split, "limit": 1, "size": size, "channels": channels}
            options |= {"on_unreadable": "skip" if skip_unreadable else "error"}
            inputs = _load(model, network, data, options, transform)[0][0][None]
        elif shape is not None:
            inputs = torch.zeros(1, *_integers(shape))
        else:
            raise InputError("Say what an input looks like: --data PATH, or --shape 3,224,224.")
        table = _layers_of(network, inputs)
        grid = Table("layer", "type", "calls", "shape", "neurons")
        for row in table.to_dict("records"):
            shape_text = " x ".join(map(str, row["shape"]))
            grid.add_row(row["layer"], row["type"], str(row["calls"]), shape_text, str(row["neurons"]))
        _console.print(grid)
        _console.print("Shapes are those of one input. A layer with several calls is recorded as NAME#0, NAME#1, ...")


@app.command()
def run(
    model: ModelOption,
    data: DataOption,
    weights: WeightsOption = None,
    layers: Annotated[str | None, typer.Option(help="Names with commas between; see 'neucept layers'.")] = None,
    target: Annotated[str | None, typer.Option(help="Class by number or name; by default the most predicted.")] = None,
    precision: Annotated[float, typer.Option(help="1 minus the false discovery rate, between 0 and 1.")] = 0.9,
    mechanisms: Annotated[str, typer.Option(help="How many, or 'auto'.")] = "5",
    compactness: Annotated[int, typer.Option(help="Most neurons of a layer that mechanisms are learned from.")] = 10,
    response: Annotated[str, typer.Option(help="What is explained: logit, margin or log_prob.")] = "logit",
    draws: Annotated[int, typer.Option(help="Sets of knockoffs.")] = 50,
    out: Annotated[Path, typer.Option(help="Folder to write to, or an .html file.")] = Path("neucept-report"),
    n_classes: ClassesNumberOption = None,
    split: SplitOption = None,
    limit: LimitOption = None,
    size: SizeOption = None,
    channels: ChannelsOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    transform: TransformOption = None,
    classes: Annotated[str | None, typer.Option(help="Names of the classes in label order, commas between.")] = None,
    skip_unreadable: SkipOption = False,
    device: DeviceOption = None,
    batch_size: Annotated[int, typer.Option(help="Inputs at a time.")] = 256,
    seed: SeedOption = 0,
) -> None:
    """From a trained network and labelled pictures to a page about its mechanisms."""
    with _clear_errors():
        page = _writable(out if out.suffix == ".html" else out / "report.html")
        n_mechanisms = _check_settings(precision, mechanisms, compactness, draws, response, device)
        network = load_model(model, weights, n_classes)
        if weights is None and model.startswith(("torchvision:", "timm:")):
            warnings.warn("No weights are given: this network is untrained. Use --weights.", stacklevel=1)
        names = _words(classes)
        options: dict[str, Any] = {"split": split, "limit": limit, "size": size, "channels": channels, "seed": seed}
        options |= {"mean": _floats(mean), "std": _floats(std), "class_names": names}
        options |= {"on_unreadable": "skip" if skip_unreadable else "error"}
        pictures = _load(model, network, data, options, transform)
        if n_mechanisms != "auto" and int(n_mechanisms) > len(pictures):
            raise InputError(f"{n_mechanisms} mechanisms were asked of {len(pictures)} inputs; ask for fewer.")
        table = _layers_of(network, pictures[0][0][None])
        chosen = _words(layers) or default_layers(table)
        if layers is None:
            _console.print(f"Layers: {', '.join(chosen)} (chosen; others with --layers, see 'neucept layers').")
        if target is not None:  # one input tells whether the layers and the target exist
            first = neucept.record(network, pictures.take([0]), layers=chosen, class_names=names, device=device)
            first.class_number(target)
        recording = neucept.record(
            network, pictures, layers=chosen, class_names=names, device=device, batch_size=batch_size
        )
        number = _target(recording, target)
        critical = neucept.discover(
            recording, target=number, precision=precision, response=response, draws=draws, seed=seed
        )
        if n_mechanisms == "auto":
            n_mechanisms = _suggested(recording, critical, compactness, seed)
        found = neucept.learn(recording, critical, n_mechanisms=n_mechanisms, compactness=compactness, seed=seed)
        _print_results(critical, found)
        neucept.report(recording, critical, found, data=pictures, model=network, path=page)
        _say_where([page, *_write_tables(page, critical=critical.table(), mechanisms=found.table())])


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Print what is wrong with the input in red and leave with 2; print warnings in yellow."""
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            yield
        except (InputError, OSError) as error:
            _errors.print(f"Error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(2) from None


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    _errors.print(f"Warning: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def _writable(page: Path) -> Path:
    """Make the folder of a page, and see before any work that files can be written there."""
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=page.parent):
            pass
        if page.exists():
            with page.open("ab"):
                pass
    except OSError as error:
        raise InputError(f"Cannot write to {page}: {error.strerror}. Choose another place with --out.") from error
    return page


def _check_settings(
    precision: float, mechanisms: str, compactness: int, draws: int, response: str, device: str | None
) -> int | str:
    """Check what can be checked before anything is loaded; give the number of mechanisms."""
    if not 0 < precision < 1:
        raise InputError(f"--precision {precision:g}: expected a number between 0 and 1, such as 0.9.")
    if mechanisms != "auto" and not (mechanisms.isdigit() and int(mechanisms) > 0):
        raise InputError(f"--mechanisms {mechanisms}: expected a number from 1 on, or auto.")
    for name, value in (("--compactness", compactness), ("--draws", draws)):
        if value < 1:
            raise InputError(f"{name} {value}: expected a number from 1 on.")
    if response not in RESPONSES:
        raise InputError(
            f"--response {response}: expected one of {', '.join(RESPONSES)}.{closest(response, RESPONSES)}"
        )
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {device} cannot be used: {str(error).splitlines()[0]}") from error
    return mechanisms if mechanisms == "auto" else int(mechanisms)


def _load(spec: str, model: nn.Module, path: Path, options: dict[str, Any], transform: str | None) -> ImageDataset:
    """Load data with the transform asked for, or the one that the published network was trained with."""
    function = load_function(transform) if transform is not None else None
    if function is None and all(options.get(name) is None for name in ("size", "channels", "mean", "std")):
        function = preprocessing(spec, model)
        if function is not None:
            _console.print(f"Images are prepared as {spec} asks; --size, --mean and --std replace that.", markup=False)
    return load_data(path, transform=function, **options)


def _layers_of(model: nn.Module, inputs: Tensor) -> pd.DataFrame:
    """List the layers on one input, and with that see that the model takes it."""
    try:
        return list_layers(model, inputs)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"The model does not take an input of shape {tuple(inputs.shape[1:])}: {error}. "
            "Bring images to the shape it was trained on: --size, --channels or --transform."
        ) from error


def _target(recording: neucept.Recording, target: str | None) -> int:
    """Find the class asked for, or the one most predicted."""
    if target is not None:
        return recording.class_number(target)
    counts = np.bincount(recording.predictions, minlength=len(recording.class_names))
    number = int(counts.argmax())
    _console.print(
        f"Target: {recording.class_names[number]!r}, predicted for {counts[number]} of {len(recording)} inputs "
        "(the most; others with --target).",
        markup=False,
    )
    return number


def _suggested(recording: neucept.Recording, critical: neucept.CriticalNeurons, compactness: int, seed: int) -> int:
    """Choose a number of mechanisms, and say why."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what there is to warn of is said when the mechanisms are learned
        one = neucept.learn(recording, critical, n_mechanisms=1, compactness=compactness, seed=seed)
    choice = neucept.choose_n_mechanisms(one, seed=seed)
    _console.print(str(choice), markup=False)
    return choice.suggested


def _print_results(critical: neucept.CriticalNeurons, mechanisms: neucept.Mechanisms) -> None:
    selected = Table(
        "layer", "neurons", "critical", "the most important", title=f"Neurons that decide {critical.target_name!r}"
    )
    for layer, selection in critical.items():
        first = ", ".join(str(neuron) for neuron in selection.neurons[:8]) or "none"
        selected.add_row(layer, str(len(selection.groups)), str(len(selection.neurons)), first)
    _console.print(selected)
    judged = mechanisms.reliability
    columns = ["mechanism", "share"] + (["precision", "95% interval", ""] if judged is not None else [])
    ways = Table(*columns, title="Mechanisms")
    for number, share in enumerate(mechanisms.shares):
        cells = []
        if judged is not None:
            row = judged.set_index("mechanism").loc[number]
            cells = [f"{row['precision']:.1%}", f"{row['low']:.1%} to {row['high']:.1%}", str(row["verdict"])]
        ways.add_row(str(number), f"{share:.1%}", *cells)
    _console.print(ways)
    if judged is None:
        _console.print("Precision is not known: the labels of the data are not the classes of the model.")


def _write_tables(page: Path, **tables: pd.DataFrame) -> list[Path]:
    """Write tables beside the page: NAME.csv beside report.html, PAGE-NAME.csv beside another."""
    prefix = "" if page.name == "report.html" else f"{page.stem}-"
    paths = [page.with_name(f"{prefix}{name}.csv") for name in tables]
    for path, table in zip(paths, tables.values(), strict=True):
        table.to_csv(path, index=False)
    return paths


def _say_where(paths: Sequence[Path]) -> None:
    _console.print("Written:")
    for path in paths:
        _console.print(f"  {path.resolve()}", markup=False, highlight=False, soft_wrap=True)


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _floats(text: str | None) -> list[float] | None:
    try:
        return None if text is None else [float(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"{text!r}: expected numbers with commas between, such as 0.5,0.5,0.5.") from None


def _integers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"{text!r}: expected whole numbers with commas between, such as 3,224,224.") from None
