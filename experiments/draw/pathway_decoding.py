"""Draw images decoded from pathways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Scale
from matplotlib import pyplot as plt
from pathway_decoding import SHOWN, pictures_of
from PIL import Image
from read.pathway_decoding import NETWORKS, networks_of

MEAN, DEVIATION = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2470, 0.2435, 0.2616])


def draw(results: dict[str, Any], path: Path, scale: Scale) -> None:
    pictures = {name: pictures_of(name, scale) for name in networks_of(results)}
    rows = [(name, kind) for name, kept in pictures.items() for kind in kept]
    figure, axes = plt.subplots(len(rows), SHOWN, figsize=(9, 1.2 * len(rows)), layout="constrained")
    for line, (name, kind) in zip(axes, rows, strict=True):
        for axis, x in zip(line, pictures[name][kind], strict=False):
            axis.imshow(coloured(x.astype(np.float32), name, kind), interpolation="nearest")
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(kind, fontsize=8)
        if kind == "input":
            line[0].set_title(NETWORKS[name], fontsize=9, loc="left")
    figure.savefig(path, dpi=90)
    plt.close(figure)
    with Image.open(path) as picture:  # noise does not compress in all its colours
        few = picture.convert("RGB").quantize(256)
    few.save(path, optimize=True)


def coloured(x: np.ndarray, name: str, kind: str) -> np.ndarray:
    """Turn a network's input, (3, height, width), into colours; a decoded one is stretched to three deviations."""
    if kind != "input":
        return np.clip(0.5 + (x - x.mean()) / (6 * x.std() + 1e-9), 0, 1).transpose(1, 2, 0)
    if name == "vgg11":
        x = x * DEVIATION.numpy()[:, None, None] + MEAN.numpy()[:, None, None]
    else:
        x = (x + 1) / 2
    return np.clip(x, 0, 1).transpose(1, 2, 0)
