"""Pictures of the inputs that a report shows, as arrays of bytes, and where they are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from neucept.datasets import Scaling
from neucept.datasets.pictures import picture_of
from neucept.errors import InputError
from neucept.recording.batches import by_number

ICON = 32  # pixels of a side


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of some inputs, each (H, W) or (H, W, 3) of uint8.

    Attributes
    ----------
    whole : mapping of int to array
        By row of the recording: the input as a person sees it.
    seen : mapping of int to array
        With the edges that the network saw, where a transform may have cut some off; only where boxes refer to them.
    icons : array
        (m, 32, 32, 3) of the inputs on the map, in its order.
    means : array or None
        (K, H, W) or (K, H, W, 3): mean of the most typical inputs of each mechanism, behind its mean pathway gradient.
    """

    whole: Mapping[int, np.ndarray]
    seen: Mapping[int, np.ndarray]
    icons: np.ndarray
    means: np.ndarray | None = None

    def arrays(self) -> dict[str, np.ndarray | None]:
        """Give the pictures as few arrays, by name."""
        packed: dict[str, np.ndarray | None] = {"icons": self.icons, "mean inputs": self.means}
        for name in ("whole", "seen"):
            some: Mapping[int, np.ndarray] = getattr(self, name)
            shapes = [(row, *picture.shape, *[0] * (3 - picture.ndim)) for row, picture in some.items()]
            packed[f"{name} shapes"] = np.array(shapes, np.int64).reshape(-1, 4)
            packed[f"{name} pixels"] = np.concatenate([np.empty(0, np.uint8), *(p.ravel() for p in some.values())])
        return packed

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Pictures | None:
        """Put pictures together from `arrays`; None where there are none."""
        if "icons" not in arrays:
            return None
        parts = {}
        for name in ("whole", "seen"):
            shapes, pixels = arrays[f"{name} shapes"], arrays[f"{name} pixels"]
            ends = np.cumsum([np.prod(shape[shape > 0]) for shape in shapes[:, 1:]]).astype(int)
            cut = np.split(pixels, ends[:-1]) if len(ends) else []
            parts[name] = {
                int(row): flat.reshape([side for side in shape if side])
                for (row, *shape), flat in zip(shapes.tolist(), cut, strict=True)
            }
        return cls(**parts, icons=arrays["icons"], means=arrays.get("mean inputs"))


class Source:
    """The inputs of a recording, by row: as the network takes them and as a person sees them.

    Parameters
    ----------
    data : ImageDataset, Dataset, tensor or (inputs, labels)
        What has ``.picture(i)`` gives uint8 (H, W) or (H, W, 3); otherwise item i is a tensor (C, H, W) or (H, W) of
        one or three channels, scaled from its smallest to its largest value.
    """

    def __init__(self, data: Any):
        self._data = data
        transform = getattr(data, "transform", None)
        self._own = hasattr(data, "picture")
        self._uncut = not self._own or transform is None or isinstance(transform, Scaling)
        self.picture = lru_cache(maxsize=512)(self._picture)

    def __len__(self) -> int:
        return len(self._data)

    def _picture(self, row: int) -> np.ndarray:
        return np.asarray(self._data.picture(row)) if self._own else picture_of(self.input(row))

    def input(self, row: int) -> Tensor:
        """Give the input as the network takes it."""
        return _item(self._data, row)

    def seen(self, row: int) -> np.ndarray:
        """Give the picture with the edges that the network saw: an unknown transform may have cut some off."""
        return self.picture(row) if self._uncut else picture_of(self.input(row))

    def mean(self, rows: np.ndarray) -> np.ndarray:
        """Give the picture of the mean of some inputs."""
        return picture_of(torch.stack([self.input(int(row)) for row in rows]).float().mean(0))

    def collect(self, whole: Iterable[int], seen: Iterable[int], icons: Iterable[int], means: Any = None) -> Pictures:
        """Read the pictures of some rows."""
        small = [_icon(self._picture(row)) for row in icons]
        return Pictures(
            {row: self.picture(row) for row in whole},
            {row: self.seen(row) for row in seen},
            np.stack(small) if small else np.empty((0, ICON, ICON, 3), np.uint8),
            means,
        )


def open_images(data: Any, n: int) -> Source | None:
    """Open data as images.

    Returns
    -------
    Source or None
        None for no data, and for data that are not images.

    Raises
    ------
    InputError
        When the data are shuffled, or do not have one item for each of the n inputs of the recording.
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
    if len(data) != n:
        raise InputError(f"data has {len(data)} inputs, but the recording {n}; give the data that were recorded.")
    if not hasattr(data, "picture"):
        try:
            picture_of(_item(data, 0))
        except (InputError, TypeError):
            return None
    return Source(data)


def _item(data: Any, row: int) -> Tensor:
    item = data[row]
    if isinstance(item, tuple | list):
        item = item[0]
    if not isinstance(item, Tensor | np.ndarray):
        raise TypeError(f"item {row} is a {type(item).__name__}, no tensor")
    return torch.as_tensor(item)


def _icon(picture: np.ndarray) -> np.ndarray:
    """Reduce a picture to (32, 32, 3)."""
    pixels = torch.from_numpy(np.array(picture))
    pixels = pixels.expand(3, *pixels.shape) if pixels.ndim == 2 else pixels.permute(2, 0, 1)
    small = interpolate(pixels[None].float(), (ICON, ICON), mode="bicubic", antialias=True, align_corners=False)
    return np.asarray(small[0].round().clamp(0, 255).permute(1, 2, 0).to(torch.uint8).numpy())
