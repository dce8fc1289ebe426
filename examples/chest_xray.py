"""Train a small network on chest X-rays, for `neucept run` to look at.

    python examples/chest_xray.py PATH/chest-xray-160.parquet

The parquet file has the columns `image` (encoded bytes), `label` (0 normal, 1 pneumonia) and `split` (train or test).
It writes `chest_xray.safetensors`; a few minutes on two cores. Then:

    neucept run --model examples/chest_xray.py:small_cnn --weights chest_xray.safetensors \
        --data PATH/chest-xray-160.parquet --split test --size 64 --classes normal,pneumonia --target pneumonia
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from neucept.datasets import load_data
from neucept.training import accuracy, flip_and_shift, train

CLASSES = ("normal", "pneumonia")
SIZE = 64  # height and width that the network is trained on
NORMALISED = 0.5, 0.25  # mean and standard deviation of the pixels, roughly


class SmallCNN(nn.Module):
    """Four convolutions and two linear layers for gray pictures in [0, 1]: 98,746 parameters with 2 outputs.

    Parameters
    ----------
    n_classes : int
        Number of outputs.
    """

    def __init__(self, n_classes: int = 2) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_block(1, 24, stride=2),
            *_block(24, 48),
            nn.MaxPool2d(2),
            *_block(48, 64),
            nn.MaxPool2d(2),
            *_block(64, 96),
        )
        self.classifier = nn.Sequential(nn.Linear(96, 48), nn.ReLU(), nn.Dropout(0.3), nn.Linear(48, n_classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Give the logits, (n, n_classes), of images (n, 1, H, W)."""
        mean, deviation = NORMALISED
        maps = self.features((images - mean) / deviation)
        logits: torch.Tensor = self.classifier(maps.mean(dim=(2, 3)))
        return logits


def small_cnn(n_classes: int = 2) -> SmallCNN:
    """Build the network; what `--model examples/chest_xray.py:small_cnn` calls."""
    return SmallCNN(n_classes)


def _block(channels: int, width: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]


def main() -> None:
    """Train, test and save."""
    parser = argparse.ArgumentParser(description="Train a small network on chest X-rays.")
    parser.add_argument("data", type=Path, help="the parquet file")
    parser.add_argument("--out", type=Path, default=Path("chest_xray.safetensors"), help="file for the weights")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    parts = [load_data(arguments.data, split=split, size=SIZE, class_names=CLASSES) for split in ("train", "test")]
    torch.manual_seed(arguments.seed)
    network = small_cnn()
    size = sum(parameter.numel() for parameter in network.parameters())
    print(f"{size:,} parameters; {len(parts[0]):,} X-rays to train on, {len(parts[1]):,} to test.")
    train(
        network,
        parts[0],
        epochs=arguments.epochs,
        lr=0.05,
        optimizer="sgd",
        weight_decay=5e-4,
        augment=flip_and_shift(4, flip=False),
        seed=arguments.seed,
    )
    for name, part in zip(("train", "test"), parts, strict=True):
        print(f"{accuracy(network, part):.1%} of the {name} X-rays right")
    save_file(network.state_dict(), arguments.out)
    print(f"Written: {arguments.out.resolve()}")


if __name__ == "__main__":
    main()
