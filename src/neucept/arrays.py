"""Numbers of any kind as tensors, and items stacked to a batch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import default_collate

from neucept.batches import check_dense
from neucept.errors import InputError

LABEL_KEYS = ("labels", "label", "targets", "target")  # of items that are mappings: labels, not inputs


def is_array(value: Any) -> bool:
    """Tell arrays, tensors and data frames from other data."""
    return isinstance(value, Tensor | np.ndarray | pd.DataFrame | pd.Series | pd.Categorical)


def is_tree(value: Any) -> bool:
    """Tell nested tuples and mappings of arrays, and lists of numbers or texts, from other data."""
    if isinstance(value, Mapping | tuple):
        return bool(value) and all(map(is_tree, value.values() if isinstance(value, Mapping) else value))
    if isinstance(value, list) and value:
        return isinstance(value[0], int | float | str | np.generic) or (
            isinstance(value[0], list) and is_tree(value[0])
        )
    return is_array(value)


def to_tensors(tree: Any, name: str) -> Any:
    """Give a tree of arrays as tensors, which share their memory where they can.

    Raises
    ------
    InputError
        For what is not numbers, one row per input.
    """
    if isinstance(tree, Mapping):
        return {key: to_tensors(part, str(key)) for key, part in tree.items()}
    if isinstance(tree, tuple):
        return tuple(to_tensors(part, name) for part in tree)
    if isinstance(tree, Tensor):
        check_dense(tree)
        if tree.ndim == 0:
            raise InputError(f"{name} is a single number; expected one row per input.")
        return tree.detach() if tree.requires_grad else tree
    return _tensor(_numbers(tree) if isinstance(tree, pd.DataFrame | pd.Series) else tree, name)


def _tensor(values: Any, name: str) -> Tensor:
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise InputError(f"{name} has masked values: fill them as the network was trained, such as {name}.filled(0).")
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(f"{name} has rows of different lengths: pad them, and give the attention mask.") from None
    if array.dtype.kind not in "biufc":
        raise InputError(f"{name} holds values of type {array.dtype}; expected numbers.")
    if isinstance(values, list) and array.dtype == np.float64:  # numbers of Python are taken as PyTorch takes them
        array = array.astype(np.float32)
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if array.ndim == 0:
        raise InputError(f"{name} is a single number; expected one row per input.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an array that may only be read: nothing here writes into it
        return torch.from_numpy(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False)))


def _numbers(frame: Any) -> np.ndarray:
    """Give a data frame or series of numbers as an array."""
    columns = frame.columns if isinstance(frame, pd.DataFrame) else [frame.name]
    kinds = frame.dtypes if isinstance(frame, pd.DataFrame) else [frame.dtype]
    labels = [str(name) for name in columns if str(name) in LABEL_KEYS]
    if labels and isinstance(frame, pd.DataFrame) and len(columns) > 1:
        raise InputError(
            f"The frame has a column '{labels[0]}', which looks like the labels. Give a pair:"
            f" (frame.drop(columns='{labels[0]}'), frame['{labels[0]}'])."
        )
    bad = [str(name) for name, kind in zip(columns, kinds, strict=True) if not pd.api.types.is_numeric_dtype(kind)]
    if bad:
        raise InputError(
            f"The frame has columns that are not numbers: {', '.join(bad[:5])}. Encode them as the network was trained"
            " on them, or drop them."
        )
    array: np.ndarray = frame.to_numpy(np.float64, na_value=np.nan)
    return array


def collate(items: Sequence[Any]) -> Any:
    """Stack items to a batch; lists of numbers are arrays, and parts that are None are left out.

    Raises
    ------
    InputError
        For items of different shapes, and parts that are neither tensors, arrays, numbers nor texts.
    """
    try:
        return default_collate([_item(item) for item in items])
    except (TypeError, RuntimeError, ValueError, KeyError) as error:
        raise InputError(
            f"The items cannot be stacked to a batch ({error}). Give tensors, arrays or numbers of the same shape, or a"
            " DataLoader whose collate_fn pads them."
        ) from error


def _item(item: Any) -> Any:
    if isinstance(item, Mapping):
        return {key: _item(value) for key, value in item.items() if value is not None}
    if isinstance(item, tuple):
        return tuple(_item(value) for value in item if value is not None)
    if isinstance(item, list) and item and isinstance(item[0], int | float | list) and not isinstance(item[0], bool):
        return torch.tensor(item)
    if isinstance(item, list):
        return tuple(_item(value) for value in item)
    return item
