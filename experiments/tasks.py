"""The tasks of the experiments: data, layers, classes and training of their networks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from neucept.datasets import ImageDataset, load_data
from neucept.models import VGG11, LeNet
from neucept.training import flip_and_shift

ANIMALS = (2, 3, 4, 5, 6, 7)
KINDS = ("prior", "pkt", "normal")


@dataclass(frozen=True)
class Task:
    """A coarse task on a data set, and how its networks are trained."""

    architecture: type[nn.Module]
    data: str  # folder
    layers: tuple[tuple[str, str], ...]  # the paper's name and the module's
    classes: tuple[str, str]
    positive: tuple[int, ...]  # fine classes that are the coarse class 1
    epochs: tuple[int, int, int]  # prior, PKT, normal
    frozen: tuple[str, ...] = ()

    def coarse(self, labels: np.ndarray) -> np.ndarray:
        """Return the coarse labels of fine ones."""
        return np.isin(labels, self.positive).astype(np.int64)

    @property
    def model(self) -> str:
        """Name of the architecture."""
        return self.architecture.__name__

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of the training."""
        if self.architecture is LeNet:
            return {"lr": 1e-3, "batch_size": 64}
        return {
            "lr": 0.1,
            "batch_size": 128,
            "optimizer": "sgd",
            "weight_decay": 5e-4,
            "augment": flip_and_shift(4),
            "mixed_precision": True,
            "prior_settings": {"label_smoothing": 0.1},
        }


CONV3, LINEAR0 = "feature_extractor.7", "classifier.1"
CONV8, CONV9 = "features.28", "features.31"
LENET_LAYERS = (("conv3", CONV3), ("linear0", LINEAR0))
SIX_CONVOLUTIONS = tuple(f"features.{i}" for i in range(21))
TASKS = {
    "lenet": Task(LeNet, "MNIST", LENET_LAYERS, ("even", "odd"), (1, 3, 5, 7, 9), (6, 6, 6)),
    "lenet-five": Task(LeNet, "MNIST", LENET_LAYERS, ("other", "multiple of five"), (0, 5), (6, 6, 6)),
    "vgg11": Task(
        VGG11,
        "cifar10",
        (("conv8", CONV8), ("conv9", CONV9)),
        ("object", "animal"),
        ANIMALS,
        (24, 6, 12),
        SIX_CONVOLUTIONS,
    ),
}


@cache
def dataset(task: str, split: str, shared: Path) -> ImageDataset:
    """Return the images as the networks take them, with their fine labels."""
    if TASKS[task].architecture is LeNet:
        return load_data(shared / "data" / "MNIST", split=split, size=32, progress=False)
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    return load_data(shared / "data" / "cifar10", split=split, mean=mean, std=std, progress=False)


@cache
def tensors(task: str, split: str, shared: Path, most: int = 10**9) -> tuple[torch.Tensor, np.ndarray]:
    """Return inputs, (n, ...), and their fine labels, in one fixed random order (the files are sorted by class)."""
    data = dataset(task, split, shared)
    order = np.random.default_rng(20).permutation(len(data))[:most]
    batches = DataLoader(data, batch_size=1000, sampler=order.tolist())
    return torch.cat([images for images, _ in batches]), np.asarray(data.labels)[order]
