"""Pictures in memory, how they become tensors, and what all data sets of pictures share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from neucept.datasets.pictures import Picture
from neucept.errors import InputError, missing
from neucept.short_repr import ShortRepr


class Pictures(Protocol):
    """A sequence of pictures, each (H, W) or (H, W, 3) of uint8."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Picture: ...

    def take(self, indices: NDArray[np.int64]) -> Pictures:
        """Keep only some, in the order given."""
        ...


@dataclass(frozen=True, eq=False)
class Stored:
    """Pictures of one size in one array.

    Parameters
    ----------
    pixels : array of uint8, (n, H, W) or (n, H, W, 3)
        The pictures.
    """

    pixels: Picture

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Picture:
        picture: Picture = self.pixels[index]
        return picture

    def take(self, indices: NDArray[np.int64]) -> Stored:
        """Keep only some, in the order given."""
        return Stored(self.pixels[indices])


@dataclass(frozen=True, eq=False)
class Mixed:
    """Pictures of several sizes, decoded.

    Parameters
    ----------
    arrays : list of arrays of uint8
        The pictures.
    """

    arrays: list[Picture]

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, index: int) -> Picture:
        return self.arrays[index]

    def take(self, indices: NDArray[np.int64]) -> Mixed:
        """Keep only some, in the order given."""
        return Mixed([self.arrays[i] for i in indices])


@dataclass(frozen=True, repr=False)
class Scaling(ShortRepr):
    """The default transform: bytes to [0, 1], resized and normalised where asked.

    Parameters
    ----------
    size : (int, int), optional
        Height and width to resize to (bilinear, antialiased); the aspect ratio is not kept.
    mean, std : tuple of float, optional
        One number a channel, subtracted and divided by after scaling to [0, 1].

    Examples
    --------
    >>> Scaling(size=(32, 32))(np.zeros((5, 28, 28), np.uint8)).shape
    torch.Size([5, 1, 32, 32])
    """

    size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __call__(self, pictures: Picture) -> Tensor:
        """Transform pictures (n, H, W) or (n, H, W, 3) of uint8 to a tensor (n, C, H, W) of float32."""
        if pictures.dtype != np.uint8:
            raise InputError(
                f"The pictures are {pictures.dtype}; expected bytes (uint8). ImageDataset.from_array reads others."
            )
        pixels = torch.from_numpy(np.array(pictures))  # a copy: the pictures may be read-only
        pixels = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
        scaled = pixels.float() / 255
        if self.size is not None and tuple(scaled.shape[-2:]) != self.size:
            scaled = interpolate(scaled, self.size, mode="bilinear", antialias=True, align_corners=False)
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) not in (1, scaled.shape[1]):
                raise InputError(f"{name} has {len(values)} numbers for pictures of {scaled.shape[1]} channels.")
        if self.mean is not None:
            scaled = scaled - torch.tensor(self.mean).view(1, -1, 1, 1)
        if self.std is not None:
            scaled = scaled / torch.tensor(self.std).view(1, -1, 1, 1)
        return scaled.contiguous()


UNCHANGED = Scaling()  # bytes to [0, 1] alone


class Tensors:
    """What data sets of pictures share: pictures with names, shown to a person and transformed for a network."""

    pictures: Pictures
    transform: Scaling | Callable[[Any], Tensor]
    names: Sequence[str] | None

    def __len__(self) -> int:
        return len(self.pictures)

    def picture(self, index: int) -> Picture:
        """Give the picture before resizing and normalisation: uint8, (H, W) or (H, W, 3)."""
        return self.pictures[index]

    def _part(self, indices: Sequence[int] | NDArray[Any]) -> tuple[NDArray[np.int64], Pictures, Sequence[str] | None]:
        """Read row numbers or a mask, and keep the pictures and names of these rows."""
        chosen = np.asarray(indices)
        if chosen.dtype == bool and chosen.shape == (len(self),):
            chosen = np.flatnonzero(chosen)
        rows = chosen.ndim == 1 and (not chosen.size or chosen.dtype.kind in "iu")
        if not rows or (chosen.size and not -len(self) <= chosen.min() <= chosen.max() < len(self)):
            raise InputError(f"Expected row numbers below {len(self)}, or a mask of as many truth values.")
        chosen = chosen.astype(np.int64)
        names = None if self.names is None else tuple(self.names[i] for i in chosen)
        return chosen, self.pictures.take(chosen), names

    def _check_names(self) -> None:
        if self.names is not None and len(self.names) != len(self):
            raise InputError(f"There are {len(self)} pictures but {len(self.names)} names.")

    def _transformed(self, index: int) -> Tensor:
        try:
            tensor = self.transform(_as_image(self.pictures[index]))
        except Exception as error:  # whatever a transform of the user's does
            raise InputError(f"The transform failed on image {index}: {type(error).__name__}: {error}") from error
        if not isinstance(tensor, Tensor):
            raise InputError(f"The transform gave a {type(tensor).__name__} for image {index}; expected a tensor.")
        return tensor

    def _tensors(self, indices: Sequence[int]) -> Tensor | list[Tensor]:
        if not isinstance(self.transform, Scaling):
            tensors = [self._transformed(i) for i in indices]
            shapes = list(dict.fromkeys(tuple(tensor.shape) for tensor in tensors))
            if len(shapes) > 1:
                raise InputError(
                    f"The transform gives tensors of different shapes, {shapes[0]} and {shapes[1]}; a network needs"
                    " one: let it resize, or crop."
                )
            return tensors
        if isinstance(self.pictures, Stored):
            return self.transform(self.pictures.pixels[list(indices)])
        return [self.transform(self.pictures[i][None])[0] for i in indices]


def _as_image(picture: Picture) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise missing("pillow", "vision") from error
    return Image.fromarray(picture)
