"""Decode encoded pictures once, so that unreadable ones and their scale are known before any work is done with them."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neucept.datasets.pictures import DEEP_COLOUR, Encoded, Scale, decode, in_channels
from neucept.datasets.tensors import Mixed, Pictures, Stored
from neucept.errors import InputError
from neucept.progress import progress as show_progress

_KEPT_BYTES = 2**30  # decoded pictures are kept in memory up to this size, otherwise decoded again when needed
_LOOKED_AT = 256  # pictures of the other splits, and beyond the limit, that take part in the choice of the scale
_NAMED = 5  # unreadable images that a message names


def read_pictures(
    encoded: Encoded,
    channels: int | None,
    on_unreadable: str,
    show: bool,
    scale: object = None,
    others: Callable[[], Sequence[Any]] = tuple,
) -> tuple[Pictures, NDArray[np.int64], list[str]]:
    """Decode pictures, so that unreadable ones and the scale of all are known before any work is done with them.

    Parameters
    ----------
    encoded : Encoded
        The pictures.
    channels : int, optional
        1 or 3; None takes 1 where all are gray and 3 otherwise.
    on_unreadable : {"error", "skip"}
        What to do about a picture that cannot be decoded.
    show : bool
        Whether to show progress.
    scale : float or (float, float), optional
        White, or black and white, of pictures that are not made of bytes.
    others : callable
        Gives encoded pictures of the same data set that are not asked for; some of them take part in the choice of
        the scale, so that parts of a data set get the same.

    Returns
    -------
    pictures : Pictures
        In memory up to a gibibyte, decoded anew on each access beyond.
    readable : array of int
        Indices of those that could be decoded.
    notices : list of str
        What was left out, turned or scaled.

    Raises
    ------
    InputError
        A picture cannot be decoded, or none can; or no scale fits all.
    """
    arrays: list[NDArray[Any]] = []
    readable, unreadable, colour = [], [], False
    kept_bytes, sizes, remarks = 0, set(), Counter[str]()
    wide, low, high, brightest = 0, np.inf, -np.inf, 0  # of the pictures that are not made of bytes
    with show_progress("Reading images", len(encoded), show) as advance:
        for i in range(len(encoded)):
            try:
                values, said = decode(encoded.contents[i], encoded.place(i))
            except InputError as error:
                if on_unreadable == "error" or isinstance(error.__cause__, ImportError):
                    hint = " To go on without such images, ask to skip them (--skip-unreadable)."
                    raise InputError(str(error) + hint) from error
                unreadable.append(encoded.place(i))
            else:
                readable.append(i)
                sizes.add(values.shape[:2])
                colour |= values.ndim == 3
                remarks.update(said)
                if values.dtype != np.uint8:
                    wide, low, high = wide + 1, min(low, float(values.min())), max(high, float(values.max()))
                elif DEEP_COLOUR in said:
                    brightest = max(brightest, int(values.max()))
                kept_bytes += values.nbytes
                if kept_bytes <= _KEPT_BYTES:
                    arrays.append(values)
            advance(1)
    if not readable:
        raise InputError(f"None of the {len(encoded)} images can be read; the first is {encoded.place(0)}.")
    notices = [f"{count} of {len(readable)} images: {remark}." for remark, count in sorted(remarks.items())]
    if unreadable:
        listed = ", ".join(unreadable[:_NAMED]) + (" and others" if len(unreadable) > _NAMED else "")
        notices.append(f"{len(unreadable)} of {len(encoded)} images cannot be read, left out: {listed}")
    if 0 < brightest < 64:
        raise InputError(
            f"The colour images of 16 bits hold values below {256 * (brightest + 1)} alone, of which too little is left"
            " in the upper 8 bits. Store them with 8 bits per channel."
        )
    shared = Scale.of(scale)
    if wide:
        shared = shared or _scale_with(others(), low, high)
        notices.append(shared.describe(f"{wide} of {len(readable)} images", low, high))
    elif shared is not None:
        notices.append(f"scale={scale} changes nothing: all images are made of bytes.")
    channels = channels or (3 if colour else 1)
    indices = np.array(readable, dtype=np.int64)
    if len(arrays) < len(readable):
        kept = encoded.take(indices)
        return Encoded(kept.contents, kept.names, channels, shared), indices, notices
    decoded = [in_channels(shared.to_bytes(a) if shared is not None else a, channels) for a in arrays]
    return Stored(np.stack(decoded)) if len(sizes) == 1 else Mixed(decoded), indices, notices


def _scale_with(others: Sequence[Any], low: float, high: float) -> Scale:
    """Decide on the scale of pictures with values from low to high, and of some of the others of their data set."""
    for i in np.linspace(0, len(others) - 1, min(len(others), _LOOKED_AT)).astype(int):
        with contextlib.suppress(InputError):
            values, _ = decode(others[i], "")
            if values.dtype != np.uint8:
                low, high = min(low, float(values.min())), max(high, float(values.max()))
    return Scale.covering(low, high, "The images")
