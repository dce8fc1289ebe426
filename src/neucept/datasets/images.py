"""A data set of labelled pictures, as a network wants them and as a person sees them.

Anything that has what :class:`DataSource` lists can be recorded, explained and reported in place of an
:class:`ImageDataset`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

from neucept.datasets.labels import check_labels, number_labels
from neucept.datasets.pictures import Picture, arrays_as_bytes
from neucept.errors import InputError, missing


@runtime_checkable
class DataSource(Protocol):
    """What an object must have to be used as labelled pictures, by ``record``, ``report`` and all that take data.

    ``len(source)`` is the number n of inputs, and ``source[i]`` a pair (tensor as the network takes it, label). Only
    these two are needed by the network; the others name the classes and show the pictures.

    Attributes
    ----------
    labels : array of int, (n,)
        Class of each input.
    class_names : sequence of str
        Name of each class, by its number.
    names : sequence of str, (n,), optional
        Where each input comes from, so that a person finds it again; or a method ``name(i)``.

    Examples
    --------
    >>> class Stripes:
    ...     labels = np.arange(40) % 2
    ...     class_names = ("upright", "flat")
    ...
    ...     def __len__(self):
    ...         return len(self.labels)
    ...
    ...     def picture(self, i):
    ...         upright = np.tile(np.array([0, 255], np.uint8), (8, 4))
    ...         return upright if self.labels[i] == 0 else upright.T
    ...
    ...     def __getitem__(self, i):
    ...         return torch.from_numpy(self.picture(i) / 255).float()[None], int(self.labels[i])
    >>> isinstance(Stripes(), DataSource)
    True
    >>> import neucept
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3), torch.nn.Linear(3, 2))
    >>> recording = neucept.record(network, Stripes(), layers=["1"], progress=False)
    >>> recording.class_names, np.bincount(recording.labels)
    (('upright', 'flat'), array([20, 20]))
    """

    labels: Any
    class_names: Any

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Tensor, int]: ...

    def picture(self, index: int, /) -> Picture:
        """Give the picture as a person sees it: uint8, (H, W) or (H, W, 3)."""
        ...


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


@dataclass(frozen=True)
class Scaling:
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


@dataclass(frozen=True, eq=False)
class ImageDataset(Dataset[tuple[Tensor, int]]):
    """Pictures with labels: ``dataset[i]`` is (tensor (C, H, W), label).

    Parameters
    ----------
    pictures : Pictures
        A sequence of arrays of uint8, (H, W) or (H, W, 3); :class:`Stored` for an array.
    labels : array of int64, (n,)
        Class of each picture.
    class_names : tuple of str
        Name of each class, by its number.
    transform : Scaling or callable
        :class:`Scaling`, or any function from a PIL image to a tensor (C, H, W), such as torchvision's.
    names : sequence of str, optional
        (n,), where each picture comes from: a file, a row.

    Raises
    ------
    InputError
        The numbers of pictures, labels and names differ, or a label has no class name.

    Examples
    --------
    >>> pictures = np.zeros((4, 28, 28), np.uint8)
    >>> dataset = ImageDataset.from_array(pictures, [0, 1, 1, 0], ("even", "odd"), Scaling(size=(32, 32)))
    >>> tensor, label = dataset[1]
    >>> tensor.shape, label, dataset.picture(1).shape
    (torch.Size([1, 32, 32]), 1, (28, 28))
    """

    pictures: Pictures
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    transform: Scaling | Callable[[Any], Tensor] = Scaling()
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if len(self.pictures) != len(self.labels):
            raise InputError(f"There are {len(self.pictures)} pictures but {len(self.labels)} labels.")
        if self.names is not None and len(self.names) != len(self.labels):
            raise InputError(f"There are {len(self.labels)} pictures but {len(self.names)} names.")
        labels = np.asarray(self.labels)
        if labels.dtype.kind not in "iu":
            raise InputError(
                f"The labels are {labels.dtype}; expected class numbers. ImageDataset.from_array reads others."
            )
        object.__setattr__(self, "labels", labels.astype(np.int64))
        check_labels(self.labels, self.class_names)

    @classmethod
    def from_array(
        cls,
        pixels: NDArray[Any],
        labels: Sequence[Any] | NDArray[Any],
        class_names: Sequence[str] | None = None,
        transform: Scaling | Callable[[Any], Tensor] | None = None,
        scale: float | tuple[float, float] | None = None,
        names: Sequence[str] | None = None,
    ) -> ImageDataset:
        """Wrap pictures in an array.

        Parameters
        ----------
        pixels : array, (n, H, W), (n, H, W, C) or (n, C, H, W) with 1 or 3 channels
            The pictures: uint8, floats in [0, 1], or other numbers, for which one scale is taken, with a warning
            that says which.
        labels : sequence of int or str, (n,)
            Their classes.
        class_names : sequence of str, optional
            The classes' names; their numbers by default.
        transform : Scaling or callable, optional
            See :class:`ImageDataset`.
        scale : float or (float, float), optional
            White, or black and white, of pixels that are not bytes.
        names : sequence of str, optional
            (n,), where each picture comes from.

        Raises
        ------
        InputError
            The pixels or the labels cannot be read as such.
        """
        try:
            array = np.asarray(pixels)
        except ValueError as error:
            raise InputError(f"The pixels are no array: {error}") from error
        (pictures,), notice = arrays_as_bytes([array], "The pixels", scale)
        read = number_labels(labels, "the array", class_names)
        for note in filter(None, (notice, read.notice)):
            warnings.warn(note, stacklevel=2)
        return cls(Stored(pictures), read.numbers, read.names, transform or Scaling(), names)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._tensors([index])[0], int(self.labels[index])

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, int]]:
        """Fetch a batch at once, which a DataLoader does where it can."""
        return list(zip(self._tensors(indices), self.labels[list(indices)].tolist(), strict=True))

    def picture(self, index: int) -> Picture:
        """Give the picture before resizing and normalisation: uint8, (H, W) or (H, W, 3)."""
        return self.pictures[index]

    def take(self, indices: Sequence[int] | NDArray[Any]) -> ImageDataset:
        """Keep only some inputs, in the order given (indices, or a boolean mask of length n)."""
        chosen = np.asarray(indices)
        if chosen.dtype == bool and chosen.shape == self.labels.shape:
            chosen = np.flatnonzero(chosen)
        rows = chosen.ndim == 1 and (not chosen.size or chosen.dtype.kind in "iu")
        if not rows or (chosen.size and not -len(self) <= chosen.min() <= chosen.max() < len(self)):
            raise InputError(f"Expected row numbers below {len(self)}, or a mask of as many truth values.")
        chosen = chosen.astype(np.int64)
        names = None if self.names is None else tuple(self.names[i] for i in chosen)
        return replace(self, pictures=self.pictures.take(chosen), labels=self.labels[chosen], names=names)

    def relabel(self, labels: Sequence[int] | NDArray[Any], class_names: Sequence[str]) -> ImageDataset:
        """Ask another question about the same pictures.

        Parameters
        ----------
        labels : sequence of int or str, (n,)
            The new classes.
        class_names : sequence of str
            Their names.
        """
        read = number_labels(labels, "the new question", class_names)
        return replace(self, labels=read.numbers, class_names=read.names)

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
