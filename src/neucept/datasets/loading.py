"""Any of the formats, as an ImageDataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from neucept.datasets.images import ImageDataset, Scaling, check_labels, numbered
from neucept.datasets.parquet import read_parquet
from neucept.datasets.pictures import Encoded, Mixed, Pictures, Stored, in_channels, read_pictures
from neucept.datasets.readers import Table, find_idx, read_folder, read_idx, read_npz
from neucept.datasets.sampling import stratified_sample
from neucept.errors import InputError, closest

_FORMATS = (
    "a folder with one folder of images a class, a folder with MNIST's IDX files, an .npz file (x, y), "
    "or a .parquet file (image, label)"
)


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
    on_unreadable: str = "error",
    seed: int = 0,
    progress: bool = True,
) -> ImageDataset:
    """Load labelled pictures.

    Parameters
    ----------
    path : str or Path
        A folder with one folder of images a class (perhaps within folders ``train``, ``test``); a folder with MNIST's
        IDX files, packed or not; an ``.npz`` file with ``x`` and ``y``; a ``.parquet`` file with encoded bytes in
        ``image`` and classes in ``label``, or a folder with one such file a split.
    split : str, optional
        "train" or "test", say, where the data say which is which; "all" takes all, and so does None, with a warning.
    limit : int, optional
        Take a random sample of so many, each class in its share.
    size : int or (int, int), optional
        Height and width to resize to (bilinear, antialiased).
    channels : {1, 3}, optional
        1 for gray, 3 for colour. None takes gray where every picture is.
    mean, std : sequence of float, optional
        For normalisation, one number a channel, on the scale of [0, 1].
    transform : callable, optional
        From a PIL image to a tensor (C, H, W), instead of `size`, `mean` and `std`.
    class_names : sequence of str, optional
        Names of the classes in label order, instead of those the data say.
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
        raise InputError(f"channels={channels} is not possible; expected 1 (gray) or 3 (colour).")
    if on_unreadable not in ("error", "skip"):
        raise InputError(f"on_unreadable={on_unreadable!r} is not possible; expected 'error' or 'skip'.")
    if transform is not None and not (size is None and mean is None and std is None):
        raise InputError("Give either a transform, or size, mean and std: the transform replaces them.")
    table = _read(Path(path), split)
    names = tuple(class_names) if class_names is not None else table.class_names or numbered(table.labels)
    check_labels(table.labels, names)
    chosen = np.arange(len(table.labels)) if limit is None else stratified_sample(table.labels, limit, seed)
    if len(chosen) == 0:
        raise InputError(f"{path} holds no inputs.")
    pictures: Pictures
    if isinstance(table.pictures, Encoded):
        pictures, readable = read_pictures(table.pictures.take(chosen), channels, on_unreadable, progress)
        chosen = chosen[readable]
    else:
        pictures = Stored(in_channels(table.pictures[chosen], channels))
    height_width = (size, size) if isinstance(size, int) else size
    scaling = Scaling(height_width, _numbers(mean), _numbers(std))
    if transform is None:
        _check_sizes(pictures, scaling)
    return ImageDataset(pictures, table.labels[chosen], names, transform or scaling)


def _read(path: Path, split: str | None) -> Table:
    """Find out the format and read it."""
    if not path.exists():
        near = closest(path.name, [other.name for other in path.parent.iterdir()]) if path.parent.is_dir() else ""
        raise InputError(f"There are no data at {path}.{near} Expected {_FORMATS}.")
    if path.is_dir():
        for folder in (path, path / "raw", path / "MNIST" / "raw"):
            if folder.is_dir() and find_idx(folder):
                return read_idx(folder, split)
        files = {file.stem: file for file in sorted(path.glob("*.parquet"))}
        return read_parquet(files, split, path) if files else read_folder(path, split)
    if path.suffix == ".npz":
        return read_npz(path, split)
    if path.suffix == ".parquet":
        return read_parquet({path.stem: path}, split, path)
    raise InputError(f"The format of {path} is not known. Expected {_FORMATS}.")


def _check_sizes(pictures: Pictures, scaling: Scaling) -> None:
    """Try the transform on one picture, and see that all give tensors of one shape."""
    if scaling.size is not None and min(scaling.size) < 1:
        raise InputError(f"size={scaling.size} is not possible; expected at least one pixel each way.")
    scaling(pictures[0][None])
    if scaling.size is None and not isinstance(pictures, Stored):
        shapes = {pictures[i].shape[:2] for i in range(len(pictures))} if isinstance(pictures, Mixed) else set()
        listed = ", ".join(f"{height} x {width}" for height, width in sorted(shapes)[:3])
        examples = f" ({listed}{', ...' if len(shapes) > 3 else ''})" if listed else ""
        raise InputError(f"The images have different sizes{examples}. Say which one to bring them to: size (--size N).")


def _numbers(values: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(float(value) for value in values)
