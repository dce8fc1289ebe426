"""What a user writes, checked with ``mypy --strict`` by test_types.py; it is not run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

import neucept
from neucept import CriticalNeurons, InputError, Mechanisms, Recording, rankings
from neucept.knockoffs import GaussianSampler, KnockoffFilter
from neucept.pathways import NeuronMCT, NeuronScores, Pathway, PathwayGradient


class Peak:
    """A ranking of the user's."""

    name = "largest activation"

    def scores(self, subject: rankings.Subject) -> dict[str, np.ndarray]:
        return {layer: subject.activations(layer).max(axis=0) for layer in subject.layers}


def study(model: nn.Module, data: Tensor, folder: Path) -> pd.DataFrame:
    recording: Recording = neucept.record(model, data, layers=["0", "2"], progress=False)
    recording = Recording.open(recording.save(folder / "recording"))
    critical = neucept.discover(recording, target=1, precision=0.9, draws=5, progress=False)
    one: CriticalNeurons = critical
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
    gradient: Tensor = PathwayGradient(NeuronMCT(model), sparsity=0.9).attribute(images)
    return gradient


def statistics(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    chosen = KnockoffFilter(fdr=0.2, sampler=GaussianSampler(), random_state=0).fit(X, y)
    return np.asarray(chosen.get_support())


def careful(model: nn.Module) -> None:
    try:
        neucept.record(model, torch.zeros(4, 3), layers=["nowhere"])
    except InputError as error:
        print(error)
