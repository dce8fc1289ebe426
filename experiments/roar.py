"""Remove and retrain (ROAR): networks trained afresh on images without the pixels that a method ranks highest.

The lower the test accuracy, the more the method had found. Attributions are of one network, trained on whole images,
for its predicted class; those of pathways have sparsity 90. A pixel's score is the sum over channels of |attribution|;
the highest are removed from training and test images, which take the mean colour there.

A network of eight layers with residual connections (16, 32, 64 channels, the first convolution of stride 2), on MNIST
(10,000 training images, 2 epochs) and on CIFAR-10 (8,000 training images, 4 epochs), 2,000 test images of each.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
from common import HERE, Results, Scale, interval, main
from networks import tensors
from pathway_common import COLOURS, DASHED, attributions, ranked, removed
from scipy import stats
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from neucept.training import accuracy, flip_and_shift, train

matplotlib.use("Agg")
from matplotlib import pyplot as plt

TITLE = "Remove and retrain (ROAR)"
CLAIM = (
    "Pixels that pathway gradients rank highest matter: without them a network trained afresh is less accurate than"
    " without those of gradients (CIFAR-10, ResNet8, 84.4% with all; 10, 50, 90% removed: NeuronMCT 74.4, 65.5, 44.4%,"
    " NeuronIntGrad 75.1, 61.7, 48.0%, GradCAM 74.7, 63.3, 47.6%; gradients with 90% removed 75.5%)."
)
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
        """Give the feature maps, (n, width, height / stride, width / stride)."""
        return self.relu(self.two(self.one(x)) + self.around(x))


def resnet8(channels: int, seed: int) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        stem = nn.Sequential(nn.Conv2d(channels, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
        return nn.Sequential(stem, blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


@cache
def images(data: str, split: str, scale: Scale) -> tuple[Tensor, Tensor]:
    """Give inputs, whose mean colour is 0, and labels."""
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
        found = {}
        for split in ("train", "test"):
            parts = []
            for seed, x in enumerate(images(data, split, scale)[0].split(100)):
                with torch.no_grad():
                    classes = model(x).argmax(1)
                attribution = torch.ones_like(x) if explain is None else explain(x, classes)
                parts.append(ranked(attribution, seed).to(torch.int16))
            found[split] = torch.cat(parts).numpy()
        place.parent.mkdir(parents=True, exist_ok=True)
        np.savez(place, **found)
    with np.load(place) as kept:
        return {split: torch.from_numpy(kept[split]).long() for split in kept}


@cache
def explained(data: str, scale: Scale) -> nn.Module:
    """Give the network whose attributions are taken."""
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


def values(found: dict, data: str, method: str, share: float) -> list[float]:
    """Accuracies in percent, one a seed."""
    wanted = [data, str(share), method]
    return [100 * v for key, v in found.items() if [*key.split(maxsplit=3)[:2], key.split(maxsplit=3)[3]] == wanted]


def shares_of(found: dict) -> list[float]:
    return sorted({float(key.split()[1]) for key in found} - {0.0})


def draw(found: dict, path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.3), layout="constrained")
    for axis, (data, (_, words, *_)) in zip(axes, DATA.items(), strict=True):
        whole = values(found, data, "whole", 0.0)
        for number, method in enumerate(METHODS):
            cells = [whole, *(values(found, data, method, share) for share in shares_of(found))]
            x = np.array([0, *(100 * share for share in shares_of(found))])
            style = {"color": COLOURS[method], "linestyle": "--" if method in DASHED else "-"}
            axis.plot(x, [interval(cell)[0] for cell in cells], label=method, **style)
            for place, cell in zip(x[1:], cells[1:], strict=True):
                axis.plot([place + 0.6 * (number - 2.5)] * len(cell), cell, ".", color=COLOURS[method], markersize=5)
        axis.set(title=words, xlabel="pixels removed (%)", ylabel="test accuracy after retraining (%)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=9)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def finding(found: dict) -> str:
    seeds = len({key.split()[2] for key in found})
    parts = [f"Accuracy in percent, means of {seeds} networks; one explained network a data set."]
    for data, (_, words, *_) in DATA.items():
        shares = shares_of(found)
        whole = np.mean(values(found, data, "whole", 0.0))
        head = f"| {words}, whole images {whole:.1f} | " + " | ".join(f"{100 * share:.0f}% removed" for share in shares)
        lines = [head + " | minus gradient, mean of all shares |", "|---" * (2 + len(shares)) + "|"]
        for method in METHODS:
            cells = [f"{np.mean(values(found, data, method, share)):.1f}" for share in shares]
            mean, half = difference(found, data, method, "gradient")
            cells.append("" if method == "gradient" else f"{mean:+.1f} ± {half:.1f}")
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
        parts += ["\n".join(lines), verdict(found, data)]
    return "\n\n".join(parts)


def difference(found: dict, data: str, a: str, b: str) -> tuple[float, float]:
    """Mean over the shares of a's accuracy minus b's, and half of its 95% interval over networks (t, pooled)."""
    d = np.array([np.subtract(values(found, data, a, s), values(found, data, b, s)) for s in shares_of(found)])
    freedom = d.size - len(d)
    if freedom == 0:
        return float(d.mean()), float("nan")
    variance = np.square(d - d.mean(1, keepdims=True)).sum() / freedom
    return float(d.mean()), float(stats.t.ppf(0.975, freedom) * np.sqrt(variance / d.size))


def verdict(found: dict, data: str) -> str:
    """Say against which methods the pathway gradients find more: lower accuracy is better."""
    told = []
    for ours in METHODS[:2]:
        outcome: dict[str, list[str]] = {"below": [], "above": [], "not told apart from": []}
        for other in METHODS[2:]:
            mean, half = difference(found, data, ours, other)
            outcome["below" if mean < -half else "above" if mean > half else "not told apart from"].append(other)
        told.append(
            f"{ours} is " + ", ".join(f"{word} {' and '.join(names)}" for word, names in outcome.items() if names)
        )
    claimed = [sum(difference(found, data, ours, "gradient")) < 0 for ours in METHODS[:2]]
    return (
        f"{DATA[data][1]}, accuracy over all shares: {'; '.join(told)}. The claim against gradients"
        f" {'holds for both' if all(claimed) else 'holds for one of the two' if any(claimed) else 'is not shown'}."
    )


if __name__ == "__main__":
    main(sys.modules[__name__])
