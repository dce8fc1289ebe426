"""Batches of inputs, with labels where there are any, from whatever holds the data."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sized
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
    default_convert,
)

from neucept.errors import InputError


def count(data: Any) -> int | None:
    """How many inputs there are; None where the data does not say."""
    if isinstance(data, DataLoader):
        return _count_of_loader(data)
    if (whole := _in_memory(data)) is not None:
        return _length(whole[0])
    return len(data) if isinstance(data, Sized) else None


def by_number(data: Any, collated: bool = False) -> Any:
    """Give what holds the inputs by number: the dataset of a DataLoader that keeps its order, other data as they are.

    Parameters
    ----------
    data : any
        Of a recording.
    collated : bool
        Whether inputs are put together to batches from there, so that a DataLoader must not do it in a way of its own.

    Raises
    ------
    InputError
        For a DataLoader whose inputs may be others than those of its dataset by number.
    """
    if not isinstance(data, DataLoader):
        return data
    groups: Any = data.batch_sampler
    own = groups is not None and type(groups) is not BatchSampler
    if own or not isinstance(data.sampler if groups is None else groups.sampler, SequentialSampler):
        raise InputError(
            "data is a DataLoader that shuffles, or has a sampler of its own, so its inputs may not be those of the"
            " recording's rows. Give shuffle=False, or the Dataset itself."
        )
    if collated and data.collate_fn not in (default_collate, default_convert):
        raise InputError(
            "data is a DataLoader with a collate_fn of its own, which inputs by number do not go through. Give a"
            " Dataset whose items are as the model takes them."
        )
    return data.dataset


def batches(data: Any, batch_size: int) -> Iterator[tuple[Any, Tensor | None]]:
    """Yield (inputs, labels) in batches, in the order of the data.

    Parameters
    ----------
    data : Dataset, DataLoader, tensor, tuple or mapping of tensors, or (inputs, labels)
        A Dataset or DataLoader gives inputs or pairs (input, label): a pair is one when its second part is one whole
        number for each input. Inputs are tensors, tuples (positional) or dicts (keywords), and so may be those given
        as a whole.
    batch_size : int
        Inputs in a batch; a DataLoader has its own.

    Raises
    ------
    InputError
        For data of another kind, or labels that are not as many as the inputs, or not whole.
    """
    if isinstance(data, DataLoader):
        if isinstance(data.sampler, RandomSampler):
            warnings.warn(
                "The DataLoader shuffles: row i of the recording is not input i of its dataset. Use shuffle=False where"
                " inputs are to be found again, as for the pictures of a report.",
                stacklevel=3,
            )
        yield from map(_split, data)
    elif (whole := _in_memory(data)) is not None:
        inputs, labels = whole
        for start in range(0, _length(inputs), batch_size):
            rows = slice(start, start + batch_size)
            yield _part(inputs, rows), None if labels is None else labels[rows]
    elif isinstance(data, Dataset) or (hasattr(data, "__getitem__") and isinstance(data, Sized)):
        # A generator of its own: a DataLoader draws a number from the global one, even where it does not shuffle.
        loader: DataLoader[Any] = DataLoader(data, batch_size, shuffle=False, generator=torch.Generator())  # type: ignore[arg-type]
        yield from map(_split, loader)
    else:
        raise InputError(
            f"data is a {type(data).__name__}; expected a Dataset, a DataLoader, a tensor (n, ...), or a pair"
            " (inputs, labels)."
        )


def _in_memory(data: Any) -> tuple[Any, Tensor | None] | None:
    """Find inputs and labels that are given as tensors or arrays of all inputs; None for other data."""
    pair = isinstance(data, tuple | list) and len(data) == 2 and _is_tensor(data[1]) and np.ndim(data[1]) == 1
    if pair and (_is_tensor(data[0]) or isinstance(data[0], tuple | Mapping)):
        labels = torch.as_tensor(data[1])
        if labels.is_floating_point() and not bool((labels == labels.round()).all()):
            raise InputError("The labels of the pair (inputs, labels) must be class numbers, but they are not whole.")
        inputs, n = data[0], _length(data[0])
        if n != len(labels):
            raise InputError(f"{n} inputs but {len(labels)} labels were given.")
        return inputs, labels.long()
    if _is_tensor(data) or (isinstance(data, tuple) and data and all(map(_is_tensor, data))):
        return data, None
    if isinstance(data, Mapping) and data and all(map(_is_tensor, data.values())):
        return data, None
    return None


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def _length(inputs: Any) -> int:
    """Count the inputs in a tensor, or in each of a tuple or mapping of tensors."""
    if _is_tensor(inputs):
        return len(inputs)
    parts = list(inputs.values()) if isinstance(inputs, Mapping) else list(inputs)
    lengths = sorted({_length(part) for part in parts})
    if len(lengths) != 1:
        raise InputError(f"The parts of the inputs differ in length: {', '.join(map(str, lengths))}.")
    return lengths[0]


def _part(inputs: Any, rows: slice) -> Any:
    if _is_tensor(inputs):
        return torch.as_tensor(inputs[rows])
    if isinstance(inputs, Mapping):
        return {name: _part(value, rows) for name, value in inputs.items()}
    return tuple(_part(value, rows) for value in inputs)


def _count_of_loader(loader: DataLoader[Any]) -> int | None:
    """Count the inputs that a DataLoader gives, which its sampler decides on; None where it does not say."""
    if loader.batch_size is None or type(loader.batch_sampler) is not BatchSampler:
        return None
    source = loader.dataset if isinstance(loader.dataset, IterableDataset) else loader.sampler
    if not isinstance(source, Sized):
        return None
    return len(source) - len(source) % loader.batch_size if loader.drop_last else len(source)


def _split(batch: Any) -> tuple[Any, Tensor | None]:
    if isinstance(batch, list | tuple):
        if len(batch) == 1:
            return batch[0], None
        if len(batch) == 2 and are_labels(batch[1]):
            return batch[0], batch[1].reshape(-1).long()
        return tuple(batch), None
    return batch, None


def are_labels(values: Any) -> bool:
    """Tell whether the second parts of a batch are labels: one whole number for each input."""
    if not isinstance(values, Tensor) or not (values.ndim == 1 or values.shape[1:] == (1,)):
        return False
    return not values.is_floating_point() or bool((values == values.round()).all())


def to_device(inputs: Any, device: torch.device) -> Any:
    """Move a tensor, or every tensor of a tuple, list or dict."""
    if isinstance(inputs, Tensor):
        return inputs.to(device, non_blocking=True)
    if isinstance(inputs, Mapping):
        return {name: to_device(value, device) for name, value in inputs.items()}
    if isinstance(inputs, tuple | list):
        return tuple(to_device(value, device) for value in inputs)
    return inputs


def forward(model: nn.Module, inputs: Any) -> Any:
    """Call a model on inputs of any kind: a tensor, a tuple (positional) or a mapping (keywords)."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, tuple):
        return model(*inputs)
    return model(inputs)
