"""What several tests share: small networks, a recording, and the trained LeNets with the digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neucept.recording import Recording

LENETS = [f"lenet-{kind}-{number}" for kind in ("pkt", "normal") for number in range(3)]


@dataclass(frozen=True)
class Digits:
    """MNIST's 10,000 test digits, 32 x 32, with their digit and whether it is odd."""

    images: Tensor
    digits: np.ndarray

    @property
    def odd(self) -> np.ndarray:
        return self.digits % 2


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with trained networks and data beside the project."""
    folder = Path(__file__).parents[1].parent / "shared"
    if not (folder / "models").is_dir() or not (folder / "data").is_dir():
        pytest.skip(f"the trained networks and data are not there: {folder}")
    return folder


@pytest.fixture(scope="session")
def lenets(shared: Path) -> dict[str, nn.Module]:
    """Three LeNets that tell even from odd digits with prior knowledge (pkt) and three without (normal)."""
    from safetensors.torch import load_file

    from neucept.models import LeNet

    networks = {}
    for name in LENETS:
        network = LeNet(2)
        network.load_state_dict(load_file(shared / "models" / f"{name}.safetensors"))
        networks[name] = network.eval()
    return networks


@pytest.fixture(scope="session")
def test_digits(shared: Path) -> Digits:
    from neucept.datasets import load_data

    data = load_data(shared / "data" / "MNIST", split="test", size=32, progress=False)
    images = torch.stack([data[i][0] for i in range(len(data))])
    return Digits(images, np.asarray(data.labels))


@pytest.fixture
def global_random() -> Callable[[], tuple[bytes, bytes]]:
    """The state of the global random generators, which nothing may touch."""
    return lambda: (torch.get_rng_state().numpy().tobytes(), np.random.get_state()[1].tobytes())  # noqa: NPY002


@pytest.fixture
def cnn() -> nn.Sequential:
    """A convolution with normalisation and in-place ReLU, another with dropout, and a linear layer; three classes."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 6, 3),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(6 * 4 * 4, 3),
    )
    network[1].running_mean.uniform_(-1, 1)
    network[1].running_var.uniform_(0.5, 2)
    return network


@pytest.fixture
def images() -> Tensor:
    return torch.randn(11, 2, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))


@pytest.fixture
def make_recording() -> Callable[..., Recording]:
    """A recording of given neurons: ``make_recording(Z, logits=..., labels=...)`` or with layers by name."""

    def make(
        neurons: np.ndarray | dict[str, np.ndarray],
        logits: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        class_names: tuple[str, ...] | None = None,
    ) -> Recording:
        layers = neurons if isinstance(neurons, dict) else {"hidden": neurons}
        layers = {name: np.asarray(Z, np.float32) for name, Z in layers.items()}
        n = len(next(iter(layers.values())))
        if logits is None:  # everything is predicted as class 1
            logits = np.stack([-np.ones(n), np.ones(n)], axis=1)
        names = class_names or tuple(map(str, range(logits.shape[1])))
        return Recording(layers, np.asarray(logits, np.float32), labels, names)

    return make


@pytest.fixture
def three_groups(make_recording: Callable[..., Recording]) -> tuple[Recording, np.ndarray]:
    """300 inputs of class 1 in three groups of 150, 90 and 60 that six neurons tell apart, and the group of each.

    The network is right on all of the first two groups but on half of the third.
    """
    rng = np.random.default_rng(3)
    groups = np.repeat([0, 1, 2], [150, 90, 60])
    centres = np.array([[4, 0, 0, 1, 0, 1], [0, 4, 0, 0, 1, 1], [0, 0, 4, 0, 0, 1]])
    Z = centres[groups] + 0.3 * rng.normal(size=(300, 6))
    labels = np.ones(300, dtype=np.int64)
    labels[np.flatnonzero(groups == 2)[::2]] = 0
    order = rng.permutation(300)
    return make_recording(Z[order], labels=labels[order], class_names=("cat", "dog")), groups[order]
