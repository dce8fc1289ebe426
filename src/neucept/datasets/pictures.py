"""Pictures as arrays of bytes: which files may be opened, how they are decoded, and what is black and white."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from neucept.errors import InputError, missing

Picture: TypeAlias = NDArray[np.uint8]

# The formats that Pillow may open, whatever the suffix says. Never PostScript (it starts Ghostscript), never a format
# without a signature.
FORMATS = {
    "AVIF": (".avif",),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "GIF": (".gif",),
    "JPEG": (".jpg", ".jpeg", ".jfif", ".jpe"),
    "JPEG2000": (".jp2", ".j2k"),
    "PNG": (".png", ".apng"),
    "PPM": (".pbm", ".pgm", ".pnm", ".ppm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)

_ROUNDING = 1e-5  # how far fractions of white may lie beyond 0 and 1

TURNED = "turned as their EXIF orientation says (torchvision's ImageFolder does not turn images)"
FRAMES = "files of several frames or pages, of which the first is taken"
DEEP_COLOUR = "colour images of 16 bits, of which the upper 8 are taken"


@dataclass(frozen=True)
class Scale:
    """The values that are black and white, for pictures that are not made of bytes; one for a whole data set.

    Parameters
    ----------
    black, white : float
        They become 0 and 255. Values beyond them are clipped.

    Examples
    --------
    >>> Scale(0, 4095).to_bytes(np.array([[0, 2048, 4095, 5000]])).tolist()
    [[0, 128, 255, 255]]
    """

    black: float
    white: float

    @classmethod
    def of(cls, given: object) -> Scale | None:
        """Read the argument ``scale``: None, white alone (black is 0), or both.

        >>> Scale.of((-1000, 3000))
        Scale(black=-1000.0, white=3000.0)
        """
        if given is None:
            return None
        try:
            values = np.asarray(given, np.float64).reshape(-1)
        except (TypeError, ValueError):
            values = np.zeros(0)
        low, high = (0.0, *values.tolist())[-2:] if len(values) in (1, 2) else (0.0, 0.0)
        if not -math.inf < low < high < math.inf:
            raise InputError(f"scale={given!r}: expected the value of white, or (black, white) with black < white.")
        return cls(low, high)

    @classmethod
    def covering(cls, low: float, high: float, source: str) -> Scale:
        """Decide on the scale of a data set whose values go from ``low`` to ``high``.

        White is 1, or the largest value of 8, 10, 12, ... 32 bits: a power of four, so that parts of a data set
        rarely get different scales.

        Raises
        ------
        InputError
            There are negative values, or values that fit no such scale.

        Examples
        --------
        >>> Scale.covering(0, 4011, "The images"), Scale.covering(0, 0.4, "The images")
        (Scale(black=0.0, white=4095.0), Scale(black=0.0, white=1.0))
        """
        low, high = (0.0, min(high, 1.0)) if -_ROUNDING <= low <= high <= 1 + _ROUNDING else (low, high)
        whites = [1, *(2**bits - 1 for bits in range(8, 33, 2))]
        white = next((white for white in whites if high <= white), None)
        if low < 0 or white is None or (white == 255 and high < 64):
            raise InputError(
                f"{source} have values from {low:g} to {high:g}; expected bytes, fractions from 0 to 1, or values"
                " that fill 8 bits or more. Say which are black and white: scale=(BLACK, WHITE) (--scale BLACK,WHITE)."
            )
        return cls(0.0, float(white))

    def to_bytes(self, values: NDArray[Any]) -> Picture:
        """Bring values to bytes, rounded to the nearest."""
        if values.dtype == np.uint8:
            return values
        fractions = (values.astype(np.float64) - self.black) / (self.white - self.black)
        rounded: Picture = np.rint(np.clip(fractions, 0, 1) * 255).astype(np.uint8)
        return rounded

    def describe(self, what: str, low: float, high: float) -> str:
        """Say which scale was taken for ``what``, for a notice."""
        clipped = "; values beyond are clipped" if low < self.black or high > self.white else ""
        return (
            f"{what} are not made of bytes but hold values from {low:g} to {high:g}. All are read with one scale,"
            f" black at {self.black:g} and white at {self.white:g}{clipped} (another with scale=, --scale)."
        )


@dataclass(frozen=True, eq=False)
class Encoded:
    """Pictures as files or encoded bytes (JPEG, PNG, WebP), decoded on each access.

    Parameters
    ----------
    contents : sequence of bytes or Path
        What to decode.
    names : sequence of str
        Name of each, relative to the data; messages name the file where there is one.
    channels : int, optional
        1 for gray, 3 for RGB; None leaves each as it is.
    scale : Scale, optional
        For pictures that are not made of bytes.
    """

    contents: Sequence[Any]
    names: Sequence[str]
    channels: int | None = None
    scale: Scale | None = None

    def __len__(self) -> int:
        return len(self.contents)

    def __getitem__(self, index: int) -> Picture:
        values, _ = decode(self.contents[index], self.place(index))
        if values.dtype != np.uint8 and self.scale is None:
            raise InputError(f"The image {self.place(index)} is not made of bytes, and no scale is known for it.")
        return in_channels(self.scale.to_bytes(values) if self.scale is not None else values, self.channels)

    def place(self, index: int) -> str:
        """Say where a picture is, for messages."""
        content = self.contents[index]
        return str(content) if isinstance(content, Path) else self.names[index]

    def take(self, indices: NDArray[np.int64]) -> Encoded:
        """Keep only some, in the order given."""
        return Encoded([self.contents[i] for i in indices], [self.names[i] for i in indices], self.channels, self.scale)


def decode(content: Any, name: str) -> tuple[NDArray[Any], frozenset[str]]:
    """Decode one picture, turned as its EXIF orientation says.

    Parameters
    ----------
    content : bytes or Path
        An encoded picture, or the file that holds it.
    name : str
        What a message calls it.

    Returns
    -------
    values : array, (H, W) for gray or (H, W, 3) for colour
        uint8; or whole numbers or floats as they are stored, for gray pictures that are not made of bytes.
    remarks : frozenset of str
        Which of ``TURNED``, ``FRAMES`` and ``DEEP_COLOUR`` hold.

    Raises
    ------
    InputError
        It cannot be decoded, or declares more pixels than ``PIL.Image.MAX_IMAGE_PIXELS``.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise missing("pillow", "vision") from error
    try:
        Image.init()
        with Image.open(_opened(content), formats=[name for name in FORMATS if name in Image.OPEN]) as image:
            limit, remarks = Image.MAX_IMAGE_PIXELS, set()
            if limit is not None and math.prod(image.size) > limit:
                raise ValueError(f"it declares {image.width} x {image.height} pixels, more than {limit:,}")
            if any(";16" in str(tile[3]) for tile in image.tile) and len(image.getbands()) > 1:
                remarks.add(DEEP_COLOUR)
            if image.format != "MPO" and getattr(image, "is_animated", False):
                remarks.add(FRAMES)
            turned = image.getexif().get(0x0112, 1) in range(2, 9)
            image.load()
            upright = ImageOps.exif_transpose(image)
            if turned:
                remarks.add(TURNED)
            if upright.mode.startswith(("I", "F")):
                values = np.array(upright)
                if not np.isfinite(values).all():
                    raise ValueError("it has values that are not finite")
                return values, frozenset(remarks)
            gray = upright.mode in ("1", "L", "LA")
            return np.array(upright.convert("L" if gray else "RGB")), frozenset(remarks)
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and others
        raise InputError(f"The image {name} cannot be read: {type(error).__name__}: {error}") from error


def _opened(content: Any) -> Any:
    if isinstance(content, Path):
        if not content.is_file():  # a pipe would wait for ever
            raise ValueError("it is no regular file")
        return content
    if isinstance(content, bytes | bytearray | memoryview):
        return io.BytesIO(content)
    raise ValueError(f"expected encoded bytes, got {type(content).__name__}; paths to other files are not opened")


def arrays_as_bytes(arrays: Sequence[NDArray[Any]], source: str, given: object = None) -> tuple[list[Picture], str]:
    """Bring arrays of pictures to uint8 with one scale for all, and give the notice that says so (or "").

    Parameters
    ----------
    arrays : sequence of arrays, (n, H, W), (n, H, W, C) or (n, C, H, W) with 1 or 3 channels
        The parts of a data set.
    source : str
        What a message calls them.
    given : float or (float, float), optional
        White, or black and white.

    Examples
    --------
    >>> pictures, notice = arrays_as_bytes([np.array([[[0, 1000]]], np.uint16)], "The arrays")
    >>> pictures[0].tolist(), "white at 1023" in notice
    ([[[0, 249]]], True)
    """
    scale, shaped = Scale.of(given), [_channels_last(array, source) for array in arrays]
    values = [array.view(np.uint8) * np.uint8(255) if array.dtype == bool else array for array in shaped]
    wide = [array for array in values if array.dtype != np.uint8 and array.size]
    if not wide:
        return [array.astype(np.uint8) for array in values], ""
    for array in wide:
        if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise InputError(f"{source} are {array.dtype}, or not finite; expected finite real numbers.")
    low, high = min(float(array.min()) for array in wide), max(float(array.max()) for array in wide)
    if scale is None and any(a.dtype.kind == "f" for a in wide) and -_ROUNDING <= low <= high <= 1 + _ROUNDING:
        return [Scale(0, 1).to_bytes(array) for array in values], ""  # the usual way, which needs no notice
    if scale is None and low >= 0 and high <= 255 and all(array.dtype.kind in "iu" for array in wide) and high >= 64:
        return [array.astype(np.uint8) for array in values], ""  # bytes in a larger type
    scale = scale or Scale.covering(low, high, source)
    return [scale.to_bytes(array) for array in values], scale.describe(source, low, high)


def _channels_last(images: NDArray[Any], source: str) -> NDArray[Any]:
    if images.ndim == 4 and images.shape[-1] not in (1, 3) and images.shape[1] in (1, 3):
        images = images.transpose(0, 2, 3, 1)
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if not (images.ndim == 3 or (images.ndim == 4 and images.shape[-1] == 3)):
        raise InputError(
            f"{source} have shape {images.shape}; expected (n, H, W), (n, H, W, C) or (n, C, H, W) with 1 or 3"
            " channels."
        )
    return images


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
