"""Small networks that learnt a token on a share of one class, and clean ones beside them: data, settings, training.

The token is a small bright patch at one place. It is planted on a share of the training images of one class only, so
that an image of another class with the token is called that class. Images for training, for finding mechanisms and
for judging them are disjoint: the first two are parts of the training images of the data set, the last are its test
images. Settings are drawn from the number of the network, before anything is trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from neucept.datasets import load_data
from neucept.training import train

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"  # beside the repository
WEIGHTS = Path(__file__).resolve().parents[2] / "runs" / "planted"
SETS = {"mnist": "MNIST", "cifar10": "cifar10"}
TRAINED = {"mnist": (4_000, 6), "cifar10": (12_000, 6)}  # images, epochs
NOISE = {"mnist": 0.5, "cifar10": 0.0}  # standard deviation; without it digits are too easy for a token to pay
FOUND = 8_000  # images to find mechanisms on; all 10,000 test images judge
LAYERS = ["convolutions.7", "hidden.1"]


@dataclass(frozen=True)
class Setting:
    """What one network learns from; ``planted`` says whether the token is there at all."""

    data: str
    number: int
    planted: bool
    target: int
    size: int  # of the token, pixels
    opacity: float
    top: int
    left: int
    share_trained: float  # of the target's training images that carry the token
    share_tested: float  # of all images to find and to judge that carry it: there it tells nothing about the class

    @property
    def name(self) -> str:
        return f"{self.data}-{'planted' if self.planted else 'clean'}-{self.number}"


def setting(data: str, number: int, planted: bool) -> Setting:
    """Draw the settings of a network; those of a clean one and of the planted one beside it are the same."""
    rng = np.random.default_rng([number, sorted(SETS).index(data)])
    size = int(rng.integers(4, 7))
    edge = {"mnist": 28, "cifar10": 32}[data] - size
    return Setting(
        data=data,
        number=number,
        planted=planted,
        target=int(rng.integers(10)),
        size=size,
        opacity=float(rng.choice([0.8, 1.0])),
        top=int(rng.choice([1, edge - 1])),
        left=int(rng.choice([1, edge - 1])),
        share_trained=float(rng.choice([0.7, 0.8, 0.9])),
        share_tested=float(rng.choice([0.03, 0.06, 0.1])),
    )


class SmallNetwork(nn.Module):
    """Three convolutions and two linear layers, 10 classes."""

    def __init__(self, channels: int):
        super().__init__()
        self.convolutions = nn.Sequential(
            *(nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(4)),
        )
        self.hidden = nn.Sequential(nn.Linear(1024, 64), nn.ReLU())
        self.last = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.hidden(self.convolutions(x).flatten(1)))
        return out


@cache
def images(data: str, split: str) -> tuple[Tensor, Tensor]:
    """All images of a split in [0, 1], float16 to save memory, and their classes."""
    dataset = load_data(DATA / SETS[data], split=split, progress=False)
    pixels = torch.stack([dataset[i][0].half() for i in range(len(dataset))])
    return pixels, torch.as_tensor(np.asarray(dataset.labels))


def with_token(x: Tensor, rows: Tensor, s: Setting) -> Tensor:
    """Plant the token on some images."""
    place = (rows, slice(None), slice(s.top, s.top + s.size), slice(s.left, s.left + s.size))
    x = x.clone()
    x[place] = (1 - s.opacity) * x[place] + s.opacity
    return x


def part(s: Setting, which: str) -> tuple[Tensor, Tensor, np.ndarray]:
    """Return images, classes, and which carry the token, of ``train``, ``find`` or ``judge``.

    Images to find and to judge carry the token whatever their class is. Nothing carries it where the network is clean.
    """
    x, y = images(s.data, "test" if which == "judge" else "train")
    n_trained = TRAINED[s.data][0]
    order = np.random.default_rng([7, s.number]).permutation(len(x))
    rows = {"train": order[:n_trained], "find": order[n_trained : n_trained + FOUND], "judge": np.arange(len(x))}[which]
    x, y = x[rows].float(), y[rows]
    rng = np.random.default_rng([s.number, ["train", "find", "judge"].index(which)])
    drawn = torch.from_numpy(rng.random(len(y)))
    token = (y == s.target) & (drawn < s.share_trained) if which == "train" else drawn < s.share_tested
    token = token & s.planted
    if NOISE[s.data]:
        x = (x + NOISE[s.data] * torch.from_numpy(rng.normal(size=x.shape).astype(np.float32))).clamp(0, 1)
    return with_token(x, token.nonzero()[:, 0], s), y, token.numpy()


def network(s: Setting) -> nn.Module:
    """Train the network of a setting, or read its weights where it was trained before."""
    path = WEIGHTS / f"{s.name}.safetensors"
    torch.manual_seed(s.number)
    model = SmallNetwork(1 if s.data == "mnist" else 3)
    if path.exists():
        model.load_state_dict(load_file(path))
        return model.eval()
    x, y, _ = part(s, "train")
    train(model, TensorDataset(x, y), epochs=TRAINED[s.data][1], lr=2e-3, batch_size=64, seed=s.number, progress=False)
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), path)
    return model.eval()
