"""Remove and retrain (ROAR): networks trained afresh on images without the pixels that a method ranks highest.

The lower the test accuracy, the more the method had found. Attributions are of one network, trained on whole images,
for its predicted class; those of pathways have sparsity 90. A pixel's score is the sum over channels of |attribution|;
the highest are removed from training and test images, which take the mean colour there.

A network of eight layers with residual connections (16, 32, 64 channels, the first convolution of stride 2), on MNIST
(10,000 training images, 2 epochs) and on CIFAR-10 (8,000 training images, 4 epochs), 2,000 test images of each.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from common import HERE, Results, Scale, main
from pathway_common import attributions, ranked, removed
from tasks import tensors
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from neucept.training import accuracy, flip_and_shift, train

SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
METHODS = ("NeuronMCT", "NeuronIntGrad", "gradient", "integrated gradients", "GradCAM", "random")
# Task, name, training images, epochs.
DATA = {"mnist": ("lenet", "MNIST", 10_000, 2), "cifar10": ("vgg11", "CIFAR-10", 8_000, 4)}


class Block(nn.Module):
    """Two convolutions and a way round them."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))
        same = (channels, 1) == (width, stride)
        self.around = nn.Identity() if same else nn.Conv2d(channels, width, 1, stride, bias=False)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the feature maps, (n, width, height / stride, width / stride)."""
        return self.relu(self.two(self.one(x)) + self.around(x))


def resnet8(channels: int, seed: int) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        stem = nn.Sequential(nn.Conv2d(channels, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
        return nn.Sequential(stem, blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


@cache
def images(data: str, split: str, scale: Scale) -> tuple[Tensor, Tensor]:
    """Return inputs, whose mean colour is 0, and labels."""
    task, _, n_train, _ = DATA[data]
    n = {"train": n_train, "test": 2000}[split] // (5 if scale.reduced else 1)
    X, labels = tensors(task, split, scale.shared, n)
    if data == "mnist":  # not centred yet, unlike CIFAR-10
        X = (X - 0.1307) / 0.3081
    return X, torch.as_tensor(labels)


def fitted(data: str, X: Tensor, y: Tensor, seed: int) -> nn.Module:
    network = resnet8(X.shape[1], seed)
    augment = flip_and_shift(2, flip=data == "cifar10")
    settings = {"lr": 0.2, "batch_size": 100, "optimizer": "sgd", "weight_decay": 5e-4, "augment": augment}
    epochs = DATA[data][3]
    train(network, TensorDataset(X, y), epochs=epochs, seed=seed, mixed_precision=True, progress=False, **settings)
    return network


@cache
def orders(data: str, method: str, scale: Scale) -> dict[str, Tensor]:
    """Order the pixels of every image, {split: (n, pixels)}, the least first; kept on disk."""
    place = HERE / "recordings" / scale.name / f"roar-{data}-{method.replace(' ', '-')}.npz"
    if not place.exists():
        model = explained(data, scale)
        explain = None if method == "random" else attributions(model, 0.9, "1.2")[method]
        results = {}
        for split in ("train", "test"):
            parts = []
            for seed, x in enumerate(images(data, split, scale)[0].split(100)):
                with torch.no_grad():
                    classes = model(x).argmax(1)
                attribution = torch.ones_like(x) if explain is None else explain(x, classes)
                parts.append(ranked(attribution, seed).to(torch.int16))
            results[split] = torch.cat(parts).numpy()
        place.parent.mkdir(parents=True, exist_ok=True)
        np.savez(place, **results)
    with np.load(place) as kept:
        return {split: torch.from_numpy(kept[split]).long() for split in kept}


@cache
def explained(data: str, scale: Scale) -> nn.Module:
    """Return the network whose attributions are taken."""
    return fitted(data, *images(data, "train", scale), seed=100)


def measure(data: str, method: str, share: float, seed: int, scale: Scale) -> float:
    """Test accuracy of a network trained on what is left of the images."""
    sets = {}
    for split in ("train", "test"):
        X, y = images(data, split, scale)
        if share:
            order = orders(data, method, scale)[split]
            X = removed(X, order[:, order.shape[1] - round(share * order.shape[1]) :])
        sets[split] = X, y
    network = fitted(data, *sets["train"], seed)
    return round(accuracy(network, TensorDataset(*sets["test"])), 4)


def run(scale: Scale) -> dict:
    torch.set_flush_denormal(True)
    seeds, shares = (1, (0.5, 0.9)) if scale.reduced else (2, SHARES)
    wanted = [(data, "whole", 0.0) for data in DATA]
    wanted += [(data, method, share) for data in DATA for share in shares for method in METHODS]
    cells = {
        f"{data} {share} {seed} {method}": lambda a=(data, method, share, seed, scale): measure(*a)
        for seed in range(seeds)
        for data, method, share in wanted
    }
    return Results("roar", scale).fill(cells)


if __name__ == "__main__":
    main(__file__, run)
