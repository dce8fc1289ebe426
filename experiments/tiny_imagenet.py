"""Images of 22 ImageNet classes in Tiny ImageNet, how EfficientNet-Lite0 sees them, and what can be seen in them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import torch
from common import HERE, Scale
from pathway_common import efficientnet
from PIL import Image

import neucept
from neucept.datasets import ImageDataset, load_data

CLASSES = ("goldfish", "bee")
LAYERS = {  # as in Figure 5: the last layers before the last two halvings of the map; and the last block
    "inner": {"blocks.2": 5, "blocks.4": 3},
    "last": {"blocks.6": 10},
}
SIZE = 128
VISIBLE = {  # name to words
    "brightness": "brightness",
    "green to red": "colour from green to red",
    "blue to yellow": "colour from blue to yellow",
    "colour": "strength of colour",
    "contrast": "contrast",
    "detail": "fine detail",
    "object": "share of the picture that the object's box takes",
    "off centre": "distance of the box from the centre",
}


def enlarged(picture: Image.Image) -> torch.Tensor:
    """Prepare a picture for the network: bicubic, to [-1, 1]."""
    pixels = np.array(picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return torch.from_numpy(pixels).permute(2, 0, 1) / 127.5 - 1


@cache
def photographs(scale: Scale) -> tuple[ImageDataset, np.ndarray]:
    """Return the images, labelled by ImageNet's 1,000 classes, and the box of the object of each, (n, 4)."""
    place = scale.shared / "data"
    file = place / "tiny-imagenet" / "tiny-imagenet-22.parquet"
    data = load_data(file, split="all", channels=3, transform=enlarged, progress=False)
    table = pd.read_parquet(file, columns=["wnid", "bbox"])
    known = pd.read_parquet(place / "imagenet-samples" / "imagenet-samples-224.parquet", columns=["wnid", "name"])
    twice = known["name"].duplicated(keep=False)
    names = [f"{name} ({i})" if twice[i] else name for i, name in enumerate(known["name"])]
    number = {wnid: i for i, wnid in enumerate(sorted(known["wnid"]))}
    data, boxes = data.relabel(table["wnid"].map(number).to_numpy(), names), np.stack(table["bbox"].to_numpy())
    if scale.reduced:
        first = np.flatnonzero(data.labels == names.index(CLASSES[0]))
        others = np.flatnonzero(data.labels != names.index(CLASSES[0]))
        rows = np.r_[first, np.random.default_rng(0).permutation(others)[:600]]
        return data.take(rows), boxes[rows]
    return data, boxes


@cache
def recorded(reading: str, scale: Scale) -> neucept.Recording:
    """Return what the network does on all images, its classes all 1,000 or the 22."""
    place = HERE / "recordings" / scale.name / "efficientnet-tiny-imagenet"
    if not place.exists():
        network = efficientnet().to(memory_format=torch.channels_last)
        place.parent.mkdir(parents=True, exist_ok=True)
        layers = [layer for chosen in LAYERS.values() for layer in chosen]
        neucept.record(network, photographs(scale)[0], layers, batch_size=16, store=place)
    whole = neucept.Recording.open(place)
    if reading == "1000":
        return whole
    classes = np.unique(whole.labels)
    return replace(
        whole,
        logits=np.ascontiguousarray(whole.logits[:, classes]),
        labels=np.searchsorted(classes, whole.labels),
        class_names=tuple(whole.class_names[c] for c in classes),
        path=None,
        cache={},
    )


@cache
def visible(scale: Scale) -> dict[str, np.ndarray]:
    """Count what a person may see in each image; colours in CIELAB."""
    from skimage.color import rgb2lab  # an optional dependency, of measuring alone

    data, boxes = photographs(scale)
    results: dict[str, list[float]] = {name: [] for name in VISIBLE}
    for i, (x0, y0, x1, y1) in enumerate(boxes.astype(float)):
        picture = data.picture(i)
        lab = rgb2lab(np.asarray(picture))
        light = lab[..., 0]
        side = picture.shape[0]
        values = (
            light.mean(),
            lab[..., 1].mean(),
            lab[..., 2].mean(),
            np.hypot(lab[..., 1], lab[..., 2]).mean(),
            light.std(),
            np.abs(np.diff(light, axis=0)).mean() + np.abs(np.diff(light, axis=1)).mean(),
            (x1 - x0 + 1) * (y1 - y0 + 1) / side**2,
            np.hypot((x0 + x1 + 1) / 2 - side / 2, (y0 + y1 + 1) / 2 - side / 2) / side,
        )
        for name, value in zip(VISIBLE, values, strict=True):
            results[name].append(float(value))
    return {name: np.asarray(values) for name, values in results.items()}
