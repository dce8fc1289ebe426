"""Pictures of attributions over the images that they explain: arrays of bytes, made with NumPy alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from neucept.datasets.pictures import Picture, in_channels, picture_of
from neucept.errors import InputError
from neucept.pathways.gradient import signed_map

# Red and blue are distinguishable with any common colour vision; zero is a light grey.
HIGH, LOW, ZERO = (np.array(rgb, float) for rgb in ((214, 69, 61), (47, 111, 196), (246, 247, 249)))
_DARK, _LIGHT = 64.0, 240.0  # greys of the darkest and the lightest pixels of an image under the colours


def picture(
    attribution: Tensor | np.ndarray,
    images: Tensor | np.ndarray | Sequence[Any] | None = None,
    *,
    quantile: float = 0.99,
    together: bool = False,
) -> Picture:
    """Draw signed attributions over greyed images: red where an increase raises the response, blue where it lowers it.

    The channel of largest magnitude is drawn, with its sign; see `signed_map`. The stronger an attribution is, the
    less of the image shows through.

    Parameters
    ----------
    attribution : Tensor or array
        (n, channels, H, W) or, with one channel, (n, H, W).
    images : Tensor, array or sequence of either, optional
        n images. Arrays of bytes, (H, W) or (H, W, 3), are drawn as they are. Anything else is in the units of a
        network, (channels, H, W) or (H, W) with one or three channels: each image is scaled from its smallest to its
        largest value, so that mean and deviation need not be known. Images of another size are resized to that of the
        attribution. None draws on white.
    quantile : float
        In (0, 1]: quantile of the magnitudes at which the colour is full, so that a few large values do not leave all
        others pale.
    together : bool
        Use one scale for all pictures, so that they can be compared; otherwise each has its own.

    Returns
    -------
    array
        (n, H, W, 3) uint8; ``PIL.Image.fromarray(pictures[0]).save("picture.png")`` writes one.

    Raises
    ------
    InputError
        For other shapes, another number of images, values that are not finite, or a quantile outside (0, 1].

    Examples
    --------
    >>> attribution = torch.tensor([[[[1.0, 0.0, -1.0]]]])
    >>> picture(attribution).tolist()
    [[[[214, 69, 61], [246, 247, 249], [47, 111, 196]]]]
    >>> picture(attribution, np.array([[[0, 0, 255]]], np.uint8)).tolist()
    [[[[214, 69, 61], [64, 64, 64], [47, 111, 196]]]]
    """
    if not 0 < quantile <= 1:
        raise InputError(f"quantile={quantile!r}: expected a share above 0 and up to 1, such as 0.99.")
    values = _signed_values(attribution)
    strength = (values / _full_colour(values, quantile, together)).clip(-1, 1)[..., None]
    grounds: Any = ZERO if images is None else np.stack(list(_grounds(images, len(values), values.shape[1:])))
    drawn = grounds + np.abs(strength) * (np.where(strength > 0, HIGH, LOW) - grounds)
    return np.asarray(np.rint(drawn), np.uint8)


def _signed_values(attribution: Tensor | np.ndarray) -> np.ndarray:
    """Return one signed value per pixel, (n, H, W)."""
    given = torch.as_tensor(attribution).detach().cpu()
    if given.ndim not in (3, 4) or not given.numel():
        raise InputError(f"The attribution has the shape {tuple(given.shape)}; expected (n, channels, H, W).")
    values = (signed_map(given)[:, 0] if given.ndim == 4 else given).double().numpy()
    if not np.isfinite(values).all():
        raise InputError("The attribution holds values that are not finite; it cannot be drawn.")
    return np.asarray(values)


def _full_colour(values: np.ndarray, quantile: float, together: bool) -> np.ndarray:
    """Return the magnitude at which each picture's colour is full, (n, 1, 1)."""
    sizes = np.abs(values).reshape(1 if together else len(values), -1)
    limits = np.quantile(sizes, quantile, axis=1)
    # Where nearly all values are zero, the largest: the rest should still be visible.
    limits = np.where(limits > 0, limits, sizes.max(axis=1))
    return np.asarray(np.where(limits > 0, limits, 1.0)[:, None, None])


def _grounds(images: Any, n: int, size: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield each image in grey, (H, W, 1), light enough for the colours to stand out."""
    if len(images) != n:
        raise InputError(f"There are {len(images)} images for {n} attributions.")
    for image in images:
        is_picture = isinstance(image, np.ndarray) and image.dtype == np.uint8
        grey = in_channels(image if is_picture else picture_of(torch.as_tensor(image)), 1)
        if grey.ndim != 2:
            raise InputError(f"A picture has the shape {grey.shape}; expected (H, W) or (H, W, 3).")
        pixels = torch.from_numpy(grey.astype(np.float32))[None, None]
        if grey.shape != tuple(size):
            pixels = interpolate(pixels, tuple(size), mode="bilinear", antialias=True, align_corners=False)
        yield _DARK + (_LIGHT - _DARK) * pixels[0, 0, :, :, None].numpy() / 255
