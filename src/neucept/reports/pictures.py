"""Thumbnails of the inputs, as data URIs: nothing is loaded when the page is opened."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neucept.datasets import Scaling
from neucept.datasets.pictures import picture_of
from neucept.errors import InputError, missing
from neucept.recording.batches import by_number

SIDE = 112  # pixels; larger pictures are scaled down to it
SPRITE_SIDE = 32
PIXELATED = 64  # pictures up to this side are shown with sharp pixels
Box = Sequence[int]


class Pictures:
    """The inputs of a recording as pictures.

    Parameters
    ----------
    data : ImageDataset, Dataset, tensor or (inputs, labels)
        Aligned with the recording's rows. What has ``.picture(i)`` gives uint8 (H, W) or (H, W, 3); otherwise item i
        is a tensor (C, H, W) or (H, W) of one or three channels, scaled from its smallest to its largest value.
    """

    def __init__(self, data: Any):
        self._data = data
        self.of_tensors = not hasattr(data, "picture")
        transform = getattr(data, "transform", None)
        self._whole = self.of_tensors or transform is None or isinstance(transform, Scaling)
        self.picture = lru_cache(maxsize=512)(self._picture)
        self.thumbnail = lru_cache(maxsize=None)(self._thumbnail)

    def _picture(self, row: int) -> np.ndarray:
        return picture_of(self.input(row)) if self.of_tensors else np.asarray(self._data.picture(row))

    def input(self, row: int) -> Tensor:
        """Give the input as the network takes it."""
        return _item(self._data, row)

    def seen(self, row: int) -> np.ndarray:
        """Give the picture with the edges that the network saw: an unknown transform may have cut some off."""
        return self.picture(row) if self._whole else picture_of(self.input(row))

    def _thumbnail(self, row: int) -> tuple[str, bool]:
        return encode(self.picture(row))

    def seen_thumbnail(self, row: int) -> tuple[str, bool]:
        """Give what `seen` gives as a data URI, and whether its pixels should be shown sharp."""
        return self.thumbnail(row) if self._whole else encode(self.seen(row))

    def crop(self, row: int, box: Box, size: tuple[int, int]) -> tuple[str, bool]:
        """Cut out a box (top, left, bottom, right) of an input of a size (H, W), as a data URI."""
        picture = self.seen(row)
        height, width = picture.shape[0] / size[0], picture.shape[1] / size[1]
        top, left = int(box[0] * height), int(box[1] * width)
        bottom, right = int(np.ceil(box[2] * height)), int(np.ceil(box[3] * width))
        return encode(picture[top:bottom, left:right])

    def sprite(self, rows: Sequence[int]) -> tuple[str, int]:
        """Join small thumbnails of many inputs in one picture: a data URI, and how many stand in a line."""
        image = _pillow()
        line = int(np.ceil(np.sqrt(max(len(rows), 1))))
        sheet = image.new("RGB", (line * SPRITE_SIDE, -(-len(rows) // line) * SPRITE_SIDE))
        for number, row in enumerate(rows):
            small = image.fromarray(self._picture(row)).convert("RGB").resize((SPRITE_SIDE, SPRITE_SIDE))
            sheet.paste(small, (number % line * SPRITE_SIDE, number // line * SPRITE_SIDE))
        return _uri(sheet, "JPEG", quality=72), line


def open_pictures(data: Any, inputs: int) -> Pictures | None:
    """Look whether some data are pictures.

    Returns
    -------
    Pictures or None
        None for no data, and for data that are not images.

    Raises
    ------
    InputError
        When the data are shuffled, or do not have one item for each input of the recording.
    """
    if data is None:
        return None
    data = by_number(data)
    if (
        isinstance(data, tuple | list)
        and len(data) == 2
        and all(isinstance(part, Tensor | np.ndarray) for part in data)
    ):
        data = data[0]
    if not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        raise InputError(f"data is a {type(data).__name__}; the page needs data[i], such as a Dataset or a tensor.")
    if len(data) != inputs:
        raise InputError(f"data has {len(data)} inputs, but the recording {inputs}; give the data that were recorded.")
    if not hasattr(data, "picture"):
        try:
            picture_of(_item(data, 0))
        except (InputError, TypeError):
            return None
    _pillow()
    return Pictures(data)


def encode(picture: np.ndarray) -> tuple[str, bool]:
    """Encode a picture for the page: a data URI, and whether its pixels should be shown sharp."""
    image = _pillow().fromarray(np.ascontiguousarray(picture))
    sharp = max(image.size) <= PIXELATED
    image.thumbnail((SIDE, SIDE))
    if image.mode == "L" and sharp:
        return _uri(image, "PNG", optimize=True), sharp
    return _uri(image, "JPEG", quality=84 if sharp else 80, subsampling=0 if sharp else 2), sharp


def _item(data: Any, row: int) -> Tensor:
    item = data[row]
    if isinstance(item, tuple | list):
        item = item[0]
    if not isinstance(item, Tensor | np.ndarray):
        raise TypeError(f"item {row} is a {type(item).__name__}, no tensor")
    return torch.as_tensor(item)


def _uri(image: Any, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise missing("pillow", "report") from error
    return Image
