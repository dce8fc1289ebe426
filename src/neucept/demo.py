"""The main use on real handwritten digits: from training to reports on mechanisms.

The experiment of the NeuCEPT paper: two networks answer one question, "even or odd?". One of them learned the ten
digits first (prior-knowledge training, PKT), the other did not. Mechanisms of the first should be the digits, which
the clusters' entropy (CE, in bits; 0 where each mechanism is one digit) measures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.decomposition import PCA
from torch import nn

import neucept
from neucept.datasets import ImageDataset, load_digits
from neucept.knockoffs.preprocessing import standardised
from neucept.mechanisms.clustering import cluster
from neucept.mechanisms.spaces import contribution_weights
from neucept.models import LeNet
from neucept.progress import progress as show_progress
from neucept.threads import one_thread
from neucept.training import accuracy, train_with_prior

LAYERS = {"feature_extractor.7": "third convolution", "classifier.1": "first linear layer"}
NUMBERS = (1, 2, 3, 5, 8, 12)  # of mechanisms, K
COMPONENTS = 10  # in which inputs are clustered
CLASSES = ("even", "odd")
KINDS = ("alike", "weighted", "variance")  # what counts: all neurons alike, by contribution, by variance
SUMMARY = 5  # the K of the summary
TASKS = {
    "prior": "ten digits",
    "PKT": "even or odd, pretrained on the ten digits",
    "normal": "even or odd, trained from scratch",
}


@dataclass(frozen=True)
class Demo:
    """Results of the demonstration.

    Parameters
    ----------
    entropies : DataFrame
        CE in bits by network ("PKT", "normal"), layer, target ("even", "odd"), K, and ``neurons``, how all neurons
        of the layer count: "alike" (as in `neucept.learn` by default), "weighted" (by contribution) or "variance" (as
        they are, so that those of largest variance count most).
    accuracies : dict of str to float
        Test accuracy of the networks "prior", "PKT" and "normal".
    pages : tuple of Path
        The reports.
    table : Path
        The entropies as CSV.
    """

    entropies: pd.DataFrame
    accuracies: dict[str, float]
    pages: tuple[Path, ...]
    table: Path


def run_demo(
    out: str | Path, digits: str | Path | None = None, seed: int = 0, progress: bool = True, epochs: int | None = None
) -> Demo:
    """Train LeNet on digits and on even or odd, find the neurons that decide and their mechanisms.

    Parameters
    ----------
    out : str or Path
        Folder for the reports and the table.
    digits : str or Path, optional
        Folder with MNIST's IDX files; 5,000 digits that a package carries by default.
    seed : int
        Seed for the split, the trainings, the knockoffs and the clusters.
    progress : bool
        Show progress.
    epochs : int, optional
        Passes over the digits in each of the three trainings; 20, or 4 where all of MNIST is given.

    Returns
    -------
    Demo
        The results, which are also printed.

    Raises
    ------
    InputError
        There are no digits, or `out` is not writable.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with one_thread():  # for networks this small, several threads wait for each other more than they work
        return _run(out, digits, seed, progress, epochs)


def _run(out: Path, digits: str | Path | None, seed: int, progress: bool, epochs: int | None) -> Demo:
    console = Console()
    train, test = load_digits(digits, seed=seed)
    console.print(f"{len(train):,} digits to train on, {len(test):,} held out.")
    trained = train_with_prior(
        LeNet, train, _parity(train), epochs=epochs or (4 if digits else 20), seed=seed, progress=progress
    )
    assert trained.normal is not None  # asked for
    sizes = [sum(p.numel() for p in model.parameters()) for model in (trained.prior, trained.pkt, trained.normal)]
    assert sizes == [61_706, 61_026, 61_026], sizes
    networks = {"PKT": trained.pkt, "normal": trained.normal}
    accuracies = {"prior": accuracy(trained.prior, test)}
    accuracies |= {name: accuracy(model, _parity(test)) for name, model in networks.items()}
    for name, what in TASKS.items():
        console.print(f"  {name}: test accuracy {accuracies[name]:.1%} ({what}).")
    frames, pages = [], []
    for name, model in networks.items():
        console.print(f"Analysing the {name} network.")
        page = out / f"{name.lower()}.html"
        frames.append(_examine(model, test, page, seed, progress).assign(network=name))
        pages.append(page)
    entropies = pd.concat(frames, ignore_index=True)
    table = out / "entropies.csv"
    entropies.to_csv(table, index=False)
    _print_entropies(console, entropies)
    _print_summary(console, entropies, accuracies)
    console.print("Written (reports open in any browser):")
    for path in (*pages, table):
        console.print(f"  {path.resolve()}", markup=False, highlight=False, soft_wrap=True)
    return Demo(entropies, accuracies, tuple(pages), table)


def _examine(model: nn.Module, digits: ImageDataset, page: Path, seed: int, progress: bool) -> pd.DataFrame:
    """Record, discover, learn and report for one network; measure CE for both classes."""
    data = _parity(digits)
    recording = neucept.record(model, data, layers=list(LAYERS), progress=progress)
    critical = neucept.discover(recording, CLASSES[0], model=model, data=data, seed=seed, progress=progress)
    total = len(CLASSES) * len(LAYERS) * len(NUMBERS) * len(KINDS)
    with show_progress("measuring the entropy of mechanisms", total, progress) as advance:
        frames = [_entropies(recording, target, digits.labels, seed, advance) for target in CLASSES]
    # The digits, not even and odd: the report shows which of them each mechanism holds.
    analysis = neucept.analyse(model, digits, recording=recording, critical=critical, seed=seed, progress=progress)
    neucept.report(analysis, path=page)
    return pd.concat(frames, ignore_index=True)


def _entropies(
    recording: neucept.Recording,
    target: str,
    digits: NDArray[np.int64],
    seed: int,
    advance: Callable[[int], None],
) -> pd.DataFrame:
    """Measure CE of mechanisms of all neurons: alike, by contribution, and by variance."""
    rows = []
    samples = recording.samples(target)
    response = recording.response(target)[samples]
    for layer in recording.layers:
        values = recording.activations(layer)[samples].astype(np.float64)
        scaled = standardised(values)
        weighted = scaled * contribution_weights(scaled, response)
        spaces = {kind: _components(V, seed) for kind, V in zip(KINDS, (scaled, weighted, values), strict=True)}
        for number in NUMBERS:
            for kind, V in spaces.items():
                labels, _ = cluster(V, number, "kmeans", seed)
                rows.append((layer, target, kind, number, neucept.metrics.cluster_entropy(digits[samples], labels)))
                advance(1)
    return pd.DataFrame(rows, columns=["layer", "target", "neurons", "K", "CE"])


def _components(V: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """First principal components of weighted neurons, (n, d)."""
    d = min(COMPONENTS, V.shape[1], len(V) - 1)
    return np.asarray(PCA(d, svd_solver="full", random_state=seed).fit_transform(V))


def _parity(digits: ImageDataset) -> ImageDataset:
    return digits.relabel(digits.labels % 2, CLASSES)


def _print_entropies(console: Console, entropies: pd.DataFrame) -> None:
    by_cell = entropies.set_index(["layer", "target", "K", "network", "neurons"])["CE"].sort_index()
    for layer, what in LAYERS.items():
        for target in CLASSES:
            title = f"CE (bits) of the mechanisms of {target!r}, {what} ({layer})"
            columns = [f"{network}\n{kind}" for network in ("PKT", "normal") for kind in KINDS]
            table = Table("K", *columns, title=title, title_justify="left")
            for number in NUMBERS:
                row = by_cell[layer, target, number]
                cells = [row[network, kind] for network in ("PKT", "normal") for kind in KINDS]
                table.add_row(str(number), *(f"{cell:.2f}" for cell in cells))
            console.print(table)
    console.print(
        "Lower means that mechanisms separate the digits better; compare along a row. All neurons of a layer, "
        f"{COMPONENTS} components: each alike (the default), weighted by what it contributes to the decision, and "
        "as it is, so that those of largest variance count most."
    )


def _print_summary(console: Console, entropies: pd.DataFrame, accuracies: Mapping[str, float]) -> None:
    at = entropies[entropies["K"] == SUMMARY] if (entropies["K"] == SUMMARY).any() else entropies
    means = at.groupby(["network", "neurons"])["CE"].mean()
    table = Table(
        "network",
        "test accuracy",
        *KINDS,
        title=f"Summary: CE (bits) of {SUMMARY} mechanisms, mean of the four tables",
        title_justify="left",
    )
    for network in ("PKT", "normal"):
        cells = [f"{means[network, kind]:.2f}" for kind in KINDS]
        table.add_row(network, f"{accuracies[network]:.1%}", *cells)
    console.print(table)
    behind = [name for name in ("PKT", "normal") if means[name, "alike"] >= means[name, "variance"]]
    if behind:
        console.print(
            f"On the {' and the '.join(behind)} network, neurons of largest variance separate the digits as well or"
            " better: nearly every neuron of these layers tells digits apart, whether or not it decides between even"
            " and odd, and those that vary most do so whether or not the network asks for the digit."
        )
