"""The inputs of a recording, by number, whatever holds them: the one place that decides what data means.

Everything that takes data holds an `Inputs`, made by `Inputs.of`, and asks it for batches, single rows, labels and
pictures. What a network is given is a `Batch`.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
)

from neucept.arrays import LABEL_KEYS, categories, collate, is_array, is_tree, read_labels, to_tensors
from neucept.batches import Batch, map_tree, tensors_of
from neucept.errors import InputError
from neucept.names import name_of, names_of_arrays, names_of_source
from neucept.short_repr import ShortRepr

__all__ = ["LABEL_KEYS", "Batch", "Inputs", "map_tree", "read_labels", "tensors_of"]

_PICTURES_FOR_SCALE = 64  # inputs whose values give the scale of the pictures of tensors
Rows = slice | Sequence[int] | np.ndarray | Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Inputs(ShortRepr):
    """The inputs of a recording, by number; made by `Inputs.of`.

    Attributes
    ----------
    source : any
        What holds the inputs: a tree of arrays, a Dataset or a DataLoader.
    n : int or None
        Number of inputs; None for streams that do not say.
    given_labels : array, list or None
        Labels that were given apart from the inputs.
    class_names : tuple of str or None
        Names of the classes, where the data carries them.
    given_names : tuple of str or None
        Names of the inputs, from the index of a data frame; see `names`.
    takes : tuple of (int, int or None)
        How many positional arguments the network requires, and how many it takes at most (None: any number). It
        decides whether the last of several parts is a further input or the label.
    columns : tuple of str or None
        Names of the features, where the inputs are a data frame.
    """

    source: Any
    n: int | None
    given_labels: Any = None
    class_names: tuple[str, ...] | None = None
    given_names: tuple[str, ...] | None = None
    takes: tuple[int, int | None] = (0, None)
    columns: tuple[str, ...] | None = None
    _kept: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, data: Any, model: nn.Module | None = None, labels: Any = None) -> Inputs:
        """Read data of any kind.

        Parameters
        ----------
        data : Inputs, tensor, array, frame, mapping, tuple, Dataset or DataLoader
            A tensor or array (n, ...); a data frame of numbers, one row per input; a mapping of arrays (keyword
            inputs); a tuple of arrays: several positional inputs, or (inputs, labels); a Dataset, list or other
            sequence of items; a DataLoader. An item is an input or a pair (input, label), and an input is a tensor, a
            tuple (positional) or a mapping (keywords). In mappings, ``labels``, ``label``, ``targets`` and ``target``
            are labels.
        model : Module, optional
            The network. Where the last of several parts could be an input or the label, the number of arguments that
            the network takes decides; only where both are possible, one whole number per input is a label, and so is
            a matrix of zeros and ones that is no mask of tokens (one 1 in each row, or another number of columns).
        labels : array, optional
            (n,) or (n, C); all of ``data`` are then inputs.

        Raises
        ------
        InputError
            For data of another kind, parts of different lengths, columns that are not numbers, or labels that are not
            as many as the inputs.

        Examples
        --------
        >>> inputs = Inputs.of((torch.zeros(6, 3), torch.arange(6) % 2))
        >>> inputs.n, inputs.labels.tolist(), inputs[[0, 5]].n
        (6, [0, 1, 0, 1, 0, 1], 2)
        """
        takes = _arguments(model) if model is not None else (0, None)
        if isinstance(data, Inputs):
            inputs = data if model is None else replace(data, takes=takes)
        elif isinstance(data, DataLoader):
            inputs = cls(data, _count_of_loader(data), None, _class_names(data.dataset), takes=takes)
        else:
            arrays = cls._in_memory(data, takes)
            inputs = cls._items(data, takes) if arrays is None else arrays
        if labels is not None:
            if isinstance(labels, str | Mapping) or not hasattr(labels, "__len__"):
                raise InputError(f"labels is a {type(labels).__name__}; expected one per input, (n,) or (n, C).")
            inputs = replace(inputs, given_labels=labels, class_names=inputs.class_names or categories(labels))
        if inputs.given_labels is not None and inputs.n is not None and len(inputs.given_labels) != inputs.n:
            raise InputError(f"{inputs.n} inputs but {len(inputs.given_labels)} labels were given.")
        return inputs

    @classmethod
    def _in_memory(cls, data: Any, takes: tuple[int, int | None]) -> Inputs | None:
        """Read arrays that hold all inputs; None for other data."""
        pair = isinstance(data, list) and len(data) == 2 and all(map(is_array, data)) and np.ndim(data[1]) == 1
        if isinstance(data, tuple) and len(data) == 2 and data[1] is None:  # inputs without labels
            data = data[:1]
        if isinstance(data, Mapping) and data and is_tree(data):
            keys = [key for key in data if key in LABEL_KEYS]
            given: Any = {k: v for k, v in data.items() if k not in keys[:1]}
            labels = data[keys[0]] if keys else None
        elif (isinstance(data, tuple) and data and all(map(is_tree, data))) or pair:
            parts, labels = _split(tuple(data), takes)
            given = parts[0] if len(parts) == 1 else tuple(parts)
        elif is_array(data):
            given, labels = data, None
        else:
            return None
        tree = to_tensors(given, "data")
        lengths = sorted({len(tensor) for tensor in tensors_of(tree)})
        if len(lengths) != 1:
            raise InputError(f"The parts of the inputs differ in length: {', '.join(map(str, lengths))}.")
        return cls(tree, lengths[0], labels, categories(labels), names_of_arrays(data), takes, _columns(given))

    @classmethod
    def _items(cls, data: Any, takes: tuple[int, int | None]) -> Inputs:
        """Read a Dataset or another sequence of items."""
        items = isinstance(data, Dataset) or (hasattr(data, "__getitem__") and isinstance(data, Sized))
        if not items or isinstance(data, str | bytes | Mapping | nn.Module) or hasattr(data, "tocsr"):
            raise InputError(
                f"data is a {type(data).__name__}; expected a tensor or array (n, ...), a data frame, a mapping or"
                " tuple of them, a pair (inputs, labels), a Dataset or a DataLoader."
            )
        if isinstance(data, IterableDataset):
            raise InputError("data is an IterableDataset: give it in a DataLoader, which says how batches are made.")
        if not isinstance(data, Sized):
            raise InputError(f"data is a {type(data).__name__} that has no length: give it __len__.")
        return cls(data, len(data), None, _class_names(data), takes=takes)

    @property
    def by_tensor(self) -> bool:
        """Whether tensors hold all inputs."""
        return isinstance(self.source, Tensor | dict | tuple)

    @cached_property
    def dataset(self) -> Any:
        """What holds the inputs by number: the Dataset of a DataLoader, other data as they are.

        Raises
        ------
        InputError
            For a DataLoader whose inputs may be others than those of its Dataset by number.
        """
        if not isinstance(self.source, DataLoader):
            return self.source
        groups: Any = self.source.batch_sampler
        own = groups is not None and type(groups) is not BatchSampler
        in_order = isinstance(self.source.sampler if groups is None else groups.sampler, SequentialSampler)
        if own or not in_order or isinstance(self.source.dataset, IterableDataset):
            raise InputError(
                "data is a DataLoader that shuffles, streams or has a sampler of its own, so its inputs may not be"
                " those of the recording's rows. Give shuffle=False, or the Dataset itself."
            )
        return self.source.dataset

    @cached_property
    def labels(self) -> np.ndarray | None:
        """Labels that are known without reading the inputs, (n,) or (n, C); None where there are none."""
        held = self.given_labels
        if held is None and not self.by_tensor:
            source = self.source.dataset if isinstance(self.source, DataLoader) else self.source
            held = next((getattr(source, name) for name in LABEL_KEYS if hasattr(source, name)), None)
            if held is None or callable(held) or np.shape(held)[:1] != (self.n,):
                return None
        if held is None:
            return None
        labels: np.ndarray = read_labels(held, self.class_names)
        return labels

    @cached_property
    def names(self) -> tuple[str, ...] | None:
        """Name of each input, by which a person finds it again, (n,); None where the data names none.

        The index of a data frame, unless it is 0, 1, 2, ...; ``names``, ``name(row)``, or the paths in ``samples`` of a
        Dataset. Inputs of a DataLoader that shuffles or streams have no names, because they come in another order.
        """
        if self.by_tensor or self.n is None:
            return self.given_names
        try:
            source = self.dataset
        except InputError:
            return None
        names = names_of_source(source, len(source))
        return names if names is None else names[: self.n]  # a DataLoader may drop the last batch

    def name(self, row: int) -> str:
        """Name of an input; ``#row`` where it has none."""
        return name_of(self.names, row)

    def batches(self, size: int) -> Iterator[tuple[Batch, Any]]:
        """Iterate over all inputs in order.

        Parameters
        ----------
        size : int
            Inputs per batch; a DataLoader has its own.

        Yields
        ------
        batch : Batch
        labels : tensor, list or None
            As the data gives them; `read_labels` joins and checks them.
        """
        if isinstance(self.source, DataLoader):
            if isinstance(self.source.sampler, RandomSampler):
                warnings.warn(
                    "The DataLoader shuffles: row i of the recording is not input i of its dataset. Use shuffle=False"
                    " where inputs are to be found again, as for the pictures of a report.",
                    stacklevel=3,
                )
            pairs: Iterator[tuple[Batch, Any]] = map(self._read, self.source)
        elif self.by_tensor:
            assert self.n is not None
            slices = (slice(start, start + size) for start in range(0, self.n, size))
            pairs = ((Batch(self.source).part(rows).fresh(), None) for rows in slices)
        else:
            # A generator of its own: a DataLoader draws a number from the global one, even without shuffling.
            loader: DataLoader[Any] = DataLoader(
                self.source, size, shuffle=False, generator=torch.Generator(), collate_fn=collate
            )
            pairs = map(self._read, loader)
        done = 0
        for batch, labels in pairs:
            if self.given_labels is not None:
                labels = _cut(self.given_labels, slice(done, done + batch.n))
            done += batch.n
            yield batch, labels

    def __len__(self) -> int:
        if self.n is None:
            raise InputError("The data does not say how many inputs it holds.")
        return self.n

    def __getitem__(self, rows: Rows) -> Batch:
        """Select inputs by number, without their labels.

        Raises
        ------
        InputError
            When the inputs cannot be found by number, see `dataset`.
        """
        source = self.dataset
        if isinstance(rows, slice):
            rows = np.arange(len(self))[rows]
        numbers = np.asarray(rows).reshape(-1)
        if numbers.dtype == bool:
            numbers = np.flatnonzero(numbers)
        if self.by_tensor:
            return Batch(source).part(torch.from_numpy(numbers.astype(np.int64))).fresh()
        stack: Any = self.source.collate_fn if isinstance(self.source, DataLoader) else collate
        return self._read(stack([source[int(row)] for row in numbers]))[0]

    def picture(self, row: int) -> np.ndarray | None:
        """Input as a picture, uint8 (H, W) or (H, W, 3); None where it is none.

        What holds the inputs may have a ``picture(row)`` of its own. Tensors (C, H, W) or (H, W) of one or three
        channels are scaled by the smallest and largest value of a sample of all inputs: one scale for all pictures.
        """
        source = self.dataset
        if hasattr(source, "picture"):
            return np.asarray(source.picture(row))
        image = self._image(row)
        if image is None:
            return None
        if "scale" not in self._kept:
            rows = np.unique(np.linspace(0, len(self) - 1, min(len(self), _PICTURES_FOR_SCALE)).astype(int))
            sample = [part for part in (self._image(int(number)) for number in rows) if part is not None]
            self._kept["scale"] = min(float(x.min()) for x in sample), max(float(x.max()) for x in sample)
        low, high = self._kept["scale"]
        scaled = (image - low).clamp(min=0) / max(high - low, 1e-12)
        pixels: np.ndarray = (scaled.clamp(max=1) * 255).round().to(torch.uint8).movedim(0, -1).numpy()
        return pixels[..., 0] if pixels.shape[-1] == 1 else pixels

    def _image(self, row: int) -> Tensor | None:
        """Return an input as (1 or 3, H, W) float32; None where it is no image."""
        tree = self[[row]].tree
        tensor = next(tensors_of(tree), None)
        if tensor is None or tensor.ndim not in (3, 4) or tensor.is_complex():
            return None
        image = tensor[0].detach().cpu().float()
        image = image[None] if image.ndim == 2 else image
        return image if image.shape[0] in (1, 3) and min(image.shape[1:]) > 1 else None

    def text(self, row: int) -> str | None:
        """Input as a text, where what holds the inputs has ``text(row)``; None elsewhere."""
        read = getattr(self.dataset, "text", None)
        return str(read(row)) if callable(read) else None

    def _read(self, item: Any) -> tuple[Batch, Any]:
        """Read what a collate function gave for a batch: inputs and labels."""
        item = map_tree(lambda tensor: tensor, item)  # mappings of any kind become dicts
        if isinstance(item, dict):
            keys = [key for key in item if key in LABEL_KEYS]
            labels = item[keys[0]] if keys else None
            return Batch({k: v for k, v in item.items() if k not in keys[:1]}), labels
        if not isinstance(item, tuple | list):
            return Batch(item), None
        parts, labels = _split(tuple(item), self.takes)
        if len(parts) == 1:
            inner, _ = self._read(parts[0]) if isinstance(parts[0], dict) else (Batch(parts[0]), None)
            return (Batch(tuple(inner.tree)) if isinstance(inner.tree, list) else inner), labels
        return Batch(parts), labels


def _arguments(model: nn.Module) -> tuple[int, int | None]:
    """Count the positional arguments that a network requires, and those that it takes at most (None: any number)."""
    while isinstance(model, nn.DataParallel) or hasattr(model, "_orig_mod"):
        inner: Any = model.module if isinstance(model, nn.DataParallel) else model._orig_mod
        model = inner
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError, AttributeError):
        return 0, None
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return 0, None
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    # An argument whose default is True, 0 or "mean" is a setting, no input.
    positional = [one for one in positional if one.default is one.empty or one.default is None]
    return sum(one.default is one.empty for one in positional), len(positional)


def _split(parts: tuple[Any, ...], takes: tuple[int, int | None]) -> tuple[tuple[Any, ...], Any]:
    """Tell inputs from labels in the parts of a batch or of all data; see `Inputs.of`."""
    required, most = takes
    n = len(parts)
    if n == 1:
        return parts, None
    if n == 2 and isinstance(parts[0], tuple | list | Mapping) and not isinstance(parts[1], tuple | Mapping):
        return parts[:1], parts[1]  # a collate function gives tuples as lists
    if most is not None and n > most + 1:
        raise InputError(
            f"The data gives {n} parts for each input, but the network takes {most} arguments and there may be one"
            " label. Leave out what neither is."
        )
    if (most is not None and n > most) or (n != required and _are_labels(parts[-1], parts[0])):
        return parts[:-1], parts[-1]
    return parts, None


def _are_labels(values: Any, first: Any) -> bool:
    """Tell whether the last parts of a batch are labels, where they may be a further input too.

    They are one whole number, category or name for each input (some may be missing), or a matrix of zeros and ones that
    is no mask of tokens: one 1 in each row, or another number of columns than there are tokens.
    """
    if isinstance(values, list):
        return bool(values) and all(isinstance(value, str | int) for value in values)
    if isinstance(getattr(values, "dtype", None), pd.CategoricalDtype):
        return True
    if not is_array(values) or np.ndim(values) not in (1, 2):
        return False
    array = values.detach().cpu().float().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.ndim == 1 or array.shape[1] == 1:
        return array.dtype.kind != "f" or bool(((array == np.round(array)) | np.isnan(array)).all())
    if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        return False
    tokens = is_array(first) and np.ndim(first) in (2, 3) and np.shape(first)[1] == array.shape[1]
    return not tokens or bool((array.sum(axis=1) == 1).all())


def _columns(given: Any) -> tuple[str, ...] | None:
    """Names of the columns of inputs that are one data frame, alone or as a keyword."""
    if isinstance(given, Mapping) and len(given) == 1:
        given = next(iter(given.values()))
    return tuple(map(str, given.columns)) if isinstance(given, pd.DataFrame) else None


def _cut(labels: Any, rows: slice) -> Any:
    return labels.iloc[rows] if isinstance(labels, pd.Series) else labels[rows]


def _class_names(source: Any) -> tuple[str, ...] | None:
    while isinstance(source, Subset):
        source = source.dataset
    names = getattr(source, "class_names", None) or getattr(source, "classes", None)
    return tuple(map(str, names)) if names is not None and not isinstance(names, str) else None


def _count_of_loader(loader: DataLoader[Any]) -> int | None:
    """Count the inputs that a DataLoader gives, which its sampler decides on; None where it does not say."""
    if loader.batch_size is None or type(loader.batch_sampler) is not BatchSampler:
        return None
    source = loader.dataset if isinstance(loader.dataset, IterableDataset) else loader.sampler
    if not isinstance(source, Sized):
        return None
    return len(source) - len(source) % loader.batch_size if loader.drop_last else len(source)
