"""A data set of labelled pictures, as a network wants them and as a person sees them.

Anything that has what :class:`DataSource` lists can be recorded, explained and reported in place of an
:class:`ImageDataset`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from neucept.datasets.labels import check_labels, number_labels
from neucept.datasets.pictures import Picture, arrays_as_bytes
from neucept.datasets.tensors import UNCHANGED, Pictures, Scaling, Stored, Tensors
from neucept.errors import InputError
from neucept.short_repr import ShortRepr


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
    >>> import torch
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


@dataclass(frozen=True, eq=False)
class UnlabelledImages(Tensors, Dataset[Tensor]):
    """Pictures without labels: ``dataset[i]`` is a tensor (C, H, W).

    Parameters
    ----------
    pictures, transform, names
        As of :class:`ImageDataset`.

    Attributes
    ----------
    labels : None
        There are none.

    Examples
    --------
    >>> dataset = UnlabelledImages(Stored(np.zeros((4, 28, 28), np.uint8)), names=["a", "b", "c", "d"])
    >>> dataset[1].shape, dataset.take([3, 0]).names, dataset.labels
    (torch.Size([1, 28, 28]), ('d', 'a'), None)
    """

    pictures: Pictures
    transform: Scaling | Callable[[Any], Tensor] = UNCHANGED
    names: Sequence[str] | None = None
    labels: ClassVar[None] = None

    def __post_init__(self) -> None:
        self._check_names()

    def __getitem__(self, index: int) -> Tensor:
        return self._tensors([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Tensor]:
        """Fetch a batch at once, which a DataLoader does where it can."""
        return list(self._tensors(indices))

    def take(self, indices: Sequence[int] | NDArray[Any]) -> UnlabelledImages:
        """Keep only some inputs, in the order given (indices, or a boolean mask of length n)."""
        _, pictures, names = self._part(indices)
        return replace(self, pictures=pictures, names=names)


@dataclass(frozen=True, eq=False, repr=False)
class ImageDataset(ShortRepr, Tensors, Dataset[tuple[Tensor, int]]):
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
    transform: Scaling | Callable[[Any], Tensor] = UNCHANGED
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if len(self.pictures) != len(self.labels):
            raise InputError(f"There are {len(self.pictures)} pictures but {len(self.labels)} labels.")
        self._check_names()
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
        return cls(Stored(pictures), read.numbers, read.names, transform or UNCHANGED, names)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._tensors([index])[0], int(self.labels[index])

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, int]]:
        """Fetch a batch at once, which a DataLoader does where it can."""
        return list(zip(self._tensors(indices), self.labels[list(indices)].tolist(), strict=True))

    def take(self, indices: Sequence[int] | NDArray[Any]) -> ImageDataset:
        """Keep only some inputs, in the order given (indices, or a boolean mask of length n)."""
        rows, pictures, names = self._part(indices)
        return replace(self, pictures=pictures, labels=self.labels[rows], names=names)

    def without_labels(self) -> UnlabelledImages:
        """Leave out the labels."""
        return UnlabelledImages(self.pictures, self.transform, self.names)

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
