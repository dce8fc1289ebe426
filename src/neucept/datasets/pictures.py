"""Pictures as arrays of bytes: kept decoded, or decoded when they are asked for."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from neucept.errors import InputError, missing
from neucept.progress import progress

Picture: TypeAlias = NDArray[np.uint8]

_KEPT_BYTES = 2**30  # decoded pictures are kept in memory up to this size, otherwise decoded again when needed
_NAMED = 5  # unreadable images that a message names


class Pictures(Protocol):
    """A sequence of pictures, each (H, W) or (H, W, 3) of uint8."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Picture: ...

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


@dataclass(frozen=True, eq=False)
class Encoded:
    """Pictures as files or encoded bytes (JPEG, PNG, WebP), decoded on each access.

    Parameters
    ----------
    contents : sequence of bytes or Path
        What to decode.
    names : sequence of str
        What a message calls each of them.
    channels : int, optional
        1 for gray, 3 for RGB; None leaves each as it is.
    """

    contents: Sequence[bytes | Path]
    names: Sequence[str]
    channels: int | None = None

    def __len__(self) -> int:
        return len(self.contents)

    def __getitem__(self, index: int) -> Picture:
        return in_channels(decode(self.contents[index], self.names[index]), self.channels)

    def take(self, indices: NDArray[np.int64]) -> Encoded:
        """Keep only some, in the order given."""
        return Encoded([self.contents[i] for i in indices], [self.names[i] for i in indices], self.channels)


def decode(content: bytes | Path, name: str) -> Picture:
    """Decode one picture.

    Parameters
    ----------
    content : bytes or Path
        An encoded picture, or the file that holds it.
    name : str
        What a message calls it.

    Returns
    -------
    array of uint8, (H, W) for gray or (H, W, 3) for colour
        The picture.

    Raises
    ------
    InputError
        It cannot be decoded.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise missing("pillow", "vision") from error
    try:
        with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
            image.load()
            if image.mode.startswith("I;16"):
                return (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
            if image.mode in ("I", "F"):
                return _from_wide(np.asarray(image))
            gray = image.mode in ("1", "L", "LA")
            return np.asarray(image.convert("L" if gray else "RGB"))
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and others
        raise InputError(f"The image {name} cannot be read: {type(error).__name__}: {error}") from error


def _from_wide(values: np.ndarray) -> Picture:
    """Bring gray values of 32 bits to bytes: those to 255 as they are, of 16 bits, or fractions of white.

    >>> _from_wide(np.array([[0.0, 0.5, 1.0]])).tolist(), _from_wide(np.array([[0, 65535]])).tolist()
    ([[0, 128, 255]], [[0, 255]])
    """
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not (low >= 0 and high <= 65535):
        raise ValueError(f"gray values from {low:g} to {high:g}; expected 0 to 1, 255 or 65535")
    if np.issubdtype(values.dtype, np.floating) and high <= 1:
        values = values * 255
    elif high > 255:
        values = values // 256
    gray: Picture = np.rint(values).astype(np.uint8)
    return gray


def in_channels(picture: Picture, channels: int | None) -> Picture:
    """Turn pictures to gray or to colour.

    Parameters
    ----------
    picture : array of uint8, (..., H, W) or (..., H, W, 3)
        One or several.
    channels : int, optional
        1 for gray (luma of ITU-R 601), 3 for RGB, None for as it is.

    Examples
    --------
    >>> in_channels(np.zeros((4, 5), np.uint8), 3).shape
    (4, 5, 3)
    """
    colour = picture.ndim >= 3 and picture.shape[-1] == 3
    if channels == 3 and not colour:
        return np.repeat(picture[..., None], 3, axis=-1)
    if channels == 1 and colour:
        luma: Picture = np.rint(picture @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
        return luma
    return picture


def picture_of(image: Tensor) -> Picture:
    """Scale a tensor (C, H, W) or (H, W) to uint8, from its smallest to its largest value.

    Raises
    ------
    InputError
        When it is no image of one or three channels.

    Examples
    --------
    >>> import torch
    >>> picture_of(torch.tensor([[[-1.0, 0.0], [1.0, 1.0]]])).tolist()
    [[0, 127], [255, 255]]
    """
    pixels = image[None] if image.ndim == 2 else image
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3) or min(pixels.shape[1:]) < 2:
        raise InputError(f"A tensor of shape {tuple(image.shape)} is no image (C, H, W) of one or three channels.")
    values = pixels.detach().float().cpu().numpy()
    low, high = values.min(), values.max()
    scaled = ((values - low) / max(high - low, 1e-12) * 255).astype(np.uint8)
    return np.asarray(scaled[0] if len(scaled) == 1 else scaled.transpose(1, 2, 0))


def read_pictures(
    encoded: Encoded, channels: int | None = None, on_unreadable: str = "error", show: bool = True
) -> tuple[Pictures, NDArray[np.int64]]:
    """Decode pictures, so that an unreadable one is known before any work is done with them.

    Parameters
    ----------
    encoded : Encoded
        The pictures.
    channels : int, optional
        1 or 3; None takes 1 where all are gray and 3 otherwise.
    on_unreadable : {"error", "skip"}
        What to do about a picture that cannot be decoded; "skip" warns with the number and the names.
    show : bool
        Whether to show progress.

    Returns
    -------
    pictures : Pictures
        In memory up to a gibibyte, decoded anew on each access beyond.
    readable : array of int
        Indices of those that could be decoded.

    Raises
    ------
    InputError
        A picture cannot be decoded, or none can.
    """
    arrays: list[Picture] = []
    readable, unreadable = [], []
    kept_bytes, shapes = 0, set()
    with progress("Reading images", len(encoded), show) as advance:
        for i in range(len(encoded)):
            try:
                picture = encoded[i]
            except InputError as error:
                if on_unreadable == "error" or isinstance(error.__cause__, ImportError):
                    hint = " To go on without such images, ask to skip them (--skip-unreadable)."
                    raise InputError(str(error) + hint) from error
                unreadable.append(encoded.names[i])
            else:
                readable.append(i)
                shapes.add(picture.shape)
                kept_bytes += picture.nbytes
                if kept_bytes <= _KEPT_BYTES:
                    arrays.append(picture)
            advance(1)
    if not readable:
        raise InputError(f"None of the {len(encoded)} images can be read; the first is {encoded.names[0]}.")
    if unreadable:
        listed = ", ".join(unreadable[:_NAMED]) + (" and others" if len(unreadable) > _NAMED else "")
        warnings.warn(f"{len(unreadable)} of {len(encoded)} images cannot be read, left out: {listed}", stacklevel=3)
    channels = channels or (3 if any(len(shape) == 3 for shape in shapes) else 1)
    indices = np.array(readable, dtype=np.int64)
    if len(arrays) < len(readable):
        kept = encoded.take(indices)
        return Encoded(kept.contents, kept.names, channels), indices
    arrays = [in_channels(picture, channels) for picture in arrays]
    same = len({shape[:2] for shape in shapes}) == 1
    return Stored(np.stack(arrays)) if same else Mixed(arrays), indices
