"""Pathway gradients over images, beside the gradient and integrated gradients: docs/pathways.png.

    python experiments/pathway_pictures.py [--shared ../shared] [--images 5] [--out docs/pathways.png]

EfficientNet-Lite0 with its ImageNet weights, on images that it predicts rightly, drawn at random; the response is the
logit of the predicted class. Each attribution is scaled by itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import torch
from common import PROJECT, scale
from pathway_common import attributions, efficientnet, imagenet
from torch import Tensor

from neucept.pathways import picture

matplotlib.use("Agg")
from matplotlib import pyplot as plt

SPARSITY = 0.9
METHODS = ("NeuronIntGrad", "NeuronMCT", "integrated gradients", "gradient")
NAMES = {
    "NeuronIntGrad": "pathway gradient\n(NeuronIntGrad)",
    "NeuronMCT": "pathway gradient\n(NeuronMCT)",
    "integrated gradients": "integrated\ngradients",
}
DRAWN = 20  # images, of which some are predicted rightly
FIRST = 1  # of those; the very first is of a person's body


def drawn(images: Tensor, shown: dict[str, np.ndarray]) -> plt.Figure:
    """Draw a row for the images, and one for each method's pictures, (n, H, W, 3)."""
    pixels = ((images + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    rows = {"image": pixels} | shown
    n = len(pixels)
    figure, axes = plt.subplots(len(rows), n, figsize=(1.55 * n + 1.45, 1.55 * len(rows)), squeeze=False)
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        for axis, one in zip(line, pictures, strict=True):
            axis.imshow(one)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        words = NAMES.get(name, name)
        line[0].set_ylabel(words, rotation=0, ha="right", va="center", fontsize=9, labelpad=8)
    figure.subplots_adjust(
        left=1.45 / (1.55 * n + 1.45), right=0.998, top=0.998, bottom=0.002, wspace=0.03, hspace=0.03
    )
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=PROJECT.parent / "shared")
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "pathways.png")
    options = parser.parse_args()
    model = efficientnet()
    images, labels = imagenet(scale(False, options.shared), DRAWN)
    with torch.no_grad():
        predicted = torch.cat([model(part) for part in images.split(10)]).argmax(1)
    right = np.flatnonzero(labels == predicted.numpy())[FIRST:][: options.images]
    images, classes = images[right], predicted[right]
    methods = attributions(model, SPARSITY, cam_layer="blocks.6")
    shown = {name: picture(methods[name](images, classes), images) for name in METHODS}
    figure = drawn(images, shown)
    figure.savefig(options.out, dpi=90, pil_kwargs={"optimize": True})
    print(options.out)


if __name__ == "__main__":
    main()
