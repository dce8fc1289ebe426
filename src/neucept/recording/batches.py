"""Batches of inputs, with labels where there are any, from whatever holds the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from neucept.errors import InputError


def count(data: Any) -> int | None:
    """How many inputs there are; None where the data does not say."""
    if isinstance(data, DataLoader):
        data = data.dataset
    if _is_labelled_pair(data):
        return len(data[1])
    return len(data) if isinstance(data, Sized) else None


def batches(data: Any, batch_size: int) -> Iterator[tuple[Any, Tensor | None]]:
    """Yield (inputs, labels) in batches, in the order of the data.

    Parameters
    ----------
    data : Dataset, DataLoader, tensor, array or (inputs, labels)
        A Dataset or DataLoader gives inputs or pairs (input, label): a pair is one when its second part is one whole
        number for each input. Inputs are tensors, tuples (positional) or dicts (keywords).
    batch_size : int
        Inputs in a batch; a DataLoader has its own.

    Raises
    ------
    InputError
        For data of another kind.
    """
    if isinstance(data, np.ndarray):
        data = torch.from_numpy(data)
    if isinstance(data, Tensor):
        yield from ((part, None) for part in data.split(batch_size))
    elif _is_labelled_pair(data):
        inputs, labels = (torch.as_tensor(part) for part in data)
        if len(inputs) != len(labels):
            raise InputError(f"{len(inputs)} inputs but {len(labels)} labels were given.")
        yield from zip(inputs.split(batch_size), labels.split(batch_size), strict=True)
    elif isinstance(data, DataLoader):
        yield from map(_split, data)
    elif isinstance(data, Dataset) or (hasattr(data, "__getitem__") and isinstance(data, Sized)):
        loader: DataLoader[Any] = DataLoader(data, batch_size=batch_size, shuffle=False)  # type: ignore[arg-type]
        yield from map(_split, loader)
    else:
        raise InputError(
            f"data is a {type(data).__name__}; expected a Dataset, a DataLoader, a tensor (n, ...) or a pair of tensors"
            " (inputs, labels)."
        )


def _is_labelled_pair(data: Any) -> bool:
    return (
        isinstance(data, tuple | list)
        and len(data) == 2
        and all(isinstance(part, Tensor | np.ndarray) for part in data)
        and np.ndim(data[1]) == 1
    )


def _split(batch: Any) -> tuple[Any, Tensor | None]:
    if isinstance(batch, list | tuple):
        if len(batch) == 1:
            return batch[0], None
        last = batch[-1]
        if len(batch) == 2 and isinstance(last, Tensor) and (last.ndim == 1 or last.shape[1:] == (1,)):
            labels = last.reshape(-1)
            if not labels.is_floating_point() or bool((labels == labels.round()).all()):
                return batch[0], labels.long()
        return tuple(batch), None
    return batch, None


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
