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
from common import HERE, Results, Scale, Verdict, interval, main
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
OURS = METHODS[:2]
# Task, name, training images, epochs.
DATA = {"mnist": ("lenet", "MNIST", 10_000, 2), "cifar10": ("vgg11", "CIFAR-10", 8_000, 4)}
# Percent right in the paper, CIFAR-10, at some shares; 0 is whole images.
PUBLISHED: dict[str, dict[float, float]] = {
    "NeuronMCT": {0: 84.36, 0.1: 74.43, 0.3: 67.80, 0.5: 65.48, 0.7: 57.87, 0.9: 44.39},
    "NeuronIntGrad": {0.1: 75.11, 0.3: 67.33, 0.5: 61.71, 0.7: 56.90, 0.9: 47.98},
    "GradCAM": {0.1: 74.65, 0.3: 69.99, 0.5: 63.27, 0.7: 58.03, 0.9: 47.58},
    "gradient": {0.9: 75.5},
}


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


def by_seed(found: dict, data: str, method: str, share: float) -> dict[int, float]:
    """Give {seed: accuracy in percent}."""
    keys = {key: key.split(maxsplit=3) for key in found}
    return {int(k[2]): 100 * found[key] for key, k in keys.items() if [k[0], k[1], k[3]] == [data, str(share), method]}


def values(found: dict, data: str, method: str, share: float) -> list[float]:
    return list(by_seed(found, data, method, share).values())


def shares_of(found: dict, data: str) -> list[float]:
    """Give the shares at which every method has been measured."""
    return [share for share in SHARES if all(values(found, data, method, share) for method in METHODS)]


def draw(found: dict, path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.3), layout="constrained")
    for axis, (data, (_, words, *_)) in zip(axes, DATA.items(), strict=True):
        whole = values(found, data, "whole", 0.0)
        shares = shares_of(found, data)
        for number, method in enumerate(METHODS):
            cells = [whole, *(values(found, data, method, share) for share in shares)]
            x = np.array([0, *(100 * share for share in shares)])
            style = {"color": COLOURS[method], "linestyle": "--" if method in DASHED else "-"}
            axis.plot(x, [interval(cell)[0] for cell in cells], label=method, **style)
            for place, cell in zip(x[1:], cells[1:], strict=True):
                axis.plot([place + 0.6 * (number - 2.5)] * len(cell), cell, ".", color=COLOURS[method], markersize=5)
        axis.set(title=words, xlabel="pixels removed (%)", ylabel="test accuracy after retraining (%)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=9)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def difference(found: dict, data: str, a: str, b: str) -> tuple[float, float]:
    """Mean over the shares of a's accuracy minus b's, and half of its 95% interval over networks (t, pooled).

    Only of networks, by their seed, that both have; of one network a share there is no interval.
    """
    rows = []
    for share in shares_of(found, data):
        ours, theirs = by_seed(found, data, a, share), by_seed(found, data, b, share)
        rows.append(np.array([ours[seed] - theirs[seed] for seed in ours if seed in theirs]))
    rows = [row for row in rows if len(row)]
    if not rows:
        return float("nan"), float("nan")
    mean = float(np.mean([row.mean() for row in rows]))
    freedom = sum(len(row) - 1 for row in rows)
    if not freedom:
        return mean, float("nan")
    variance = sum(float(np.square(row - row.mean()).sum()) for row in rows) / freedom
    error = np.sqrt(variance * sum(1 / len(row) for row in rows)) / len(rows)
    return mean, float(stats.t.ppf(0.975, freedom) * error)


def signed(mean: float, half: float) -> str:
    return f"{mean:+.1f}" if np.isnan(half) else f"{mean:+.1f} ± {half:.1f}"


def complete(found: dict, data: str) -> bool:
    networks = {len(values(found, data, method, share)) for method in METHODS for share in SHARES}
    return len(networks) == 1 and networks.pop() > 0


def outcome(found: dict, data: str) -> str:
    """Say whether both, one or none of the pathway gradients leave less accuracy than gradients, surely."""
    less = [difference(found, data, ours, "gradient") for ours in OURS]
    surely = [mean < -half for mean, half in less]
    if all(surely) and complete(found, data):
        return "yes"
    return "partly" if any(surely) else "no"


def amount(found: dict, data: str) -> str:
    """Write how many networks each figure is of."""
    numbers = [len(values(found, data, method, share)) for method in METHODS for share in shares_of(found, data)]
    low, high = min(numbers), max(numbers)
    count = f"{low}" if low == high else f"{low} to {high}"
    count += f" network{'s' * (high > 1)} a figure" + ", which gives no interval" * (high == 1)
    return count + ("" if complete(found, data) else ", not complete yet")


def verdicts(found: dict) -> list[Verdict]:
    told = []
    for data in DATA:
        if not shares_of(found, data):
            continue
        against = " and ".join(f"{ours} {signed(*difference(found, data, ours, 'gradient'))}" for ours in OURS)
        last = shares_of(found, data)[-1]
        ours, theirs = (np.mean(values(found, data, method, last)) for method in ("NeuronMCT", "gradient"))
        told.append(
            Verdict(
                f"ROAR, {DATA[data][1]}",
                "retrained without their pixels, networks are less accurate than without those of gradients (90%"
                " removed: 44.4% against 75.5%)"
                if data == "cifar10"
                else "nothing: its networks are of CIFAR-10",
                f"{against} points against gradients, mean of all shares; {last:.0%} removed {ours:.1f}% (NeuronMCT)"
                f" against {theirs:.1f}%; whole images {whole(found, data)} ({amount(found, data)})",
                outcome(found, data) if data == "cifar10" else "not in the paper",
            )
        )
    return told[::-1]


def whole(found: dict, data: str) -> str:
    accuracies = values(found, data, "whole", 0.0)
    return f"{np.mean(accuracies):.1f}%" if accuracies else "not measured yet"


def finding(found: dict) -> str:
    parts = [headline(found)]
    measured = [data for data in reversed(DATA) if shares_of(found, data)]
    for data in measured:
        if data == measured[-1] and len(measured) > 1:
            parts.append(f"<details><summary>{DATA[data][1]}, and one method against the other</summary>")
        parts += [table(found, data), against_chance(found, data)]
    parts += [compared(found, data) for data in measured]
    return "\n\n".join(parts + ["</details>"] * (len(measured) > 1))


def headline(found: dict) -> str:
    """Say whether the claim holds on CIFAR-10, with which networks, and how they differ from the paper's."""
    _, words, n_train, epochs = DATA["cifar10"]
    sizes = (
        f"The networks are small because of the machine (2 cores): eight layers, trained on {n_train:,} images for"
        f" {epochs} epochs. With whole images of CIFAR-10 they get {whole(found, 'cifar10')} of 2,000 test images"
        " right, the paper's 84.4%, so accuracies compare with each other, not with the paper's."
        f" On MNIST ({DATA['mnist'][2]:,} images, {DATA['mnist'][3]} epochs) {whole(found, 'mnist')}; the paper has no"
        " MNIST."
    )
    if not shares_of(found, "cifar10"):
        return f"Not measured on {words}, the paper's data, yet: started again, it goes on where it stopped. {sizes}"
    word = {"yes": "holds", "partly": "holds in part", "no": "is not shown"}[outcome(found, "cifar10")]
    against = " and ".join(f"{ours} {signed(*difference(found, 'cifar10', ours, 'gradient'))}" for ours in OURS)
    return (
        f"The claim against gradients {word} on {words}. Accuracy without the pixels of pathway gradients, minus that"
        f" without those of gradients: {against} points (mean over"
        f" {', '.join(f'{share:.0%}' for share in shares_of(found, 'cifar10'))} removed;"
        f" {amount(found, 'cifar10')}; lower is better). {sizes}"
    )


def table(found: dict, data: str) -> str:
    shares = shares_of(found, data)
    published = " the paper: 10, 50, 90% |" if data == "cifar10" else ""
    head = f"| {DATA[data][1]}, accuracy (%) | " + " | ".join(f"{share:.0%} removed" for share in shares)
    lines = [head + f" | minus gradient, mean |{published}", "|---" * (2 + len(shares) + bool(published)) + "|"]
    for method in METHODS:
        cells = [f"{np.mean(values(found, data, method, share)):.1f}" for share in shares]
        cells.append("" if method == "gradient" else signed(*difference(found, data, method, "gradient")))
        if published:
            known = PUBLISHED.get(method, {})
            cells.append(", ".join(f"{known[s]:.1f}" if s in known else "–" for s in (0.1, 0.5, 0.9)) if known else "")
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def against_chance(found: dict, data: str) -> str:
    both = " and ".join(f"{signed(*difference(found, data, ours, 'random'))} ({ours})" for ours in OURS)
    return f"Against removing as many pixels at random: {both} points, mean of all shares."


def compared(found: dict, data: str) -> str:
    """Say from which methods the pathway gradients are told apart: lower accuracy is better."""
    told = []
    if np.isnan(difference(found, data, OURS[0], "gradient")[1]):
        return f"{DATA[data][1]}: {amount(found, data)}."
    for ours in OURS:
        places: dict[str, list[str]] = {"below": [], "above": [], "not told apart from": []}
        for other in METHODS[2:]:
            mean, half = difference(found, data, ours, other)
            places["below" if mean < -half else "above" if mean > half else "not told apart from"].append(other)
        told.append(
            f"{ours} is " + ", ".join(f"{word} {' and '.join(names)}" for word, names in places.items() if names)
        )
    return f"{DATA[data][1]}, accuracy over all shares, {amount(found, data)}: {'; '.join(told)}."


if __name__ == "__main__":
    main(sys.modules[__name__])
