"""What a user writes, checked with ``mypy --strict`` by test_types.py; it is not run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

import neucept
from neucept import Analysis, CriticalNeurons, InputError, Mechanisms, Recording, rankings
from neucept.inputs import Inputs
from neucept.knockoffs import GaussianSampler, Guarantee, KnockoffFilter
from neucept.pathways import NeuronMCT, NeuronScores, Pathway, PathwayGradient
from neucept.recording import Channels, MultiLabel
from neucept.reports import Html, tag


class Peak:
    """A ranking of the user's."""

    name = "largest activation"

    def scores(self, subject: rankings.Subject) -> dict[str, np.ndarray]:
        return {layer: subject.activations(layer).max(axis=0) for layer in subject.layers}


class Permutation:
    """A knockoff sampler of the user's."""

    def fit(self, Z: np.ndarray) -> Permutation:
        return self

    def draw(self, Z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rng.permuted(Z, axis=0)


class TopFive:
    """A selection rule of the user's."""

    def select(self, W: np.ndarray, q: float) -> np.ndarray:
        return np.isin(np.arange(W.shape[1]), np.argsort(-W.mean(axis=0))[:5])

    def guarantee(self, precision: float) -> Guarantee:
        return Guarantee(precision, "No guarantee: five neurons are always selected.", "")


class Thresholds:
    """A clusterer of the user's."""

    def fit_predict(self, V: np.ndarray) -> np.ndarray:
        return (V[:, 0] > 0).astype(int)


class Peaks:
    """Units of the user's."""

    name = "peaks"
    labels = None

    def read(self, output: Tensor, module: nn.Module | None = None, mask: Tensor | None = None) -> Tensor:
        return output.amax(dim=(2, 3))

    def spread(self, values: Tensor, like: Tensor, module: nn.Module | None = None) -> Tensor:
        return values[..., None, None].expand_as(like)


class Size:
    """A report section of the user's."""

    title = "Size"
    anchor = "size"

    def render(self, analysis: Analysis) -> Html | None:
        return tag("p", f"{len(analysis.recording)} inputs")


def extended(model: nn.Module, data: Tensor) -> Path:
    inputs: Inputs = Inputs.of(data)
    recording = neucept.record(model, inputs, layers=["0"], neurons={"0": Peaks()}, task=MultiLabel(threshold=0.3))
    other = neucept.record(model, data, layers=["0"], neurons=Channels(axis=1))
    print(len(other), recording.verify(model, data))
    critical: CriticalNeurons = neucept.discover(
        recording, 0, sampler=Permutation(), aggregate=TopFive(), calibration=None
    )
    mechanisms = neucept.learn(recording, critical, method=Thresholds())
    analysis = neucept.analyse(model, data, recording=recording, critical=critical, mechanisms=mechanisms)
    return neucept.report(analysis, sections=[Size()])


def study(model: nn.Module, data: Tensor, folder: Path) -> pd.DataFrame:
    recording: Recording = neucept.record(model, data, layers=["0", "2"], progress=False)
    recording = Recording.open(recording.save(folder / "recording"))
    one = neucept.discover(recording, target=1, precision=0.9, draws=5, progress=False)
    several: dict[int, CriticalNeurons] = neucept.discover(recording, [0, 1], progress=False)
    print(len(several[0]["0"].neurons))
    selected: np.ndarray = one["0"].neurons
    print(len(selected), one.at(precision=0.8))
    mechanisms: Mechanisms = neucept.learn(recording, one, n_mechanisms=3, seed=1)
    table: pd.DataFrame = neucept.reliability(recording, mechanisms)
    page: Path = neucept.report(recording, one, mechanisms, path=folder / "report.html")
    print(page.name, neucept.choose_n_mechanisms(mechanisms))
    order = rankings.rank(recording, 1, [Peak(), rankings.Variance()])
    return pd.concat([table, order])


def pathways(model: nn.Module, images: Tensor) -> Tensor:
    scores: NeuronScores = NeuronMCT(model).score(images, target=1)
    pathway: Pathway = scores.select(sparsity=0.9)
    print(pathway.dead_share(), pathway.overlap(pathway))
    return PathwayGradient(NeuronMCT(model), sparsity=0.9).attribute(images)


def statistics(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    chosen = KnockoffFilter(fdr=0.2, sampler=GaussianSampler(), random_state=0).fit(X, y)
    return np.asarray(chosen.get_support())


def careful(model: nn.Module) -> None:
    try:
        neucept.record(model, torch.zeros(4, 3), layers=["nowhere"])
    except InputError as error:
        print(error)
