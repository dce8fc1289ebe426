"""Numbers of any kind as tensors, items stacked to a batch, and labels of any kind as numbers."""

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

LABEL_KEYS = ("labels", "label", "label_ids", "targets", "target")  # of items that are mappings: labels, not inputs


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
    pairs = zip(columns, kinds, strict=True)
    bad = [f"{name} ({kind})" for name, kind in pairs if not pd.api.types.is_numeric_dtype(kind)]
    if bad:
        raise InputError(
            f"The frame has columns that are not numbers: {', '.join(bad[:5])}{', ...' if len(bad) > 5 else ''}. Encode"
            " them as the network was trained on them (numbers that are kept as objects: .astype(float)), or drop them."
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


def read_labels(labels: Any, class_names: Sequence[str] | None = None) -> np.ndarray:
    """Read labels of any kind.

    Parameters
    ----------
    labels : tensor, array, series or list
        (n,) or (n, 1) whole numbers or booleans: class numbers. Texts: names of classes. Categories of a data frame:
        class numbers, in the order of the categories. (n,) other numbers: values of a regression. (n, C): one column
        per class of a multi-label task.
    class_names : sequence of str, optional
        In the order of the network's outputs; needed for texts.

    Returns
    -------
    array
        int64 where all are whole numbers, else float64.

    Raises
    ------
    InputError
        For labels of another shape or kind, missing ones, and names that are not known.

    Examples
    --------
    >>> read_labels(["cat", "dog", "cat"], ["dog", "cat"]).tolist(), read_labels([0.5, 2.0]).tolist()
    ([1, 0, 1], [0.5, 2.0])
    """
    if isinstance(getattr(labels, "dtype", None), pd.CategoricalDtype):
        series: Any = pd.Series(labels)
        if series.isna().any():
            raise InputError(f"The label of input {int(series.isna().argmax())} is missing.")
        if class_names is not None and set(map(str, series.cat.categories)) <= set(class_names):
            return _class_numbers(series.astype(str).to_numpy(), class_names)
        return np.asarray(series.cat.codes, np.int64)
    array: np.ndarray = labels.detach().cpu().float().numpy() if _is_half(labels) else np.asarray(labels)
    if array.dtype == object:  # numbers may come in it, and missing labels
        missing = np.flatnonzero([label is None or label != label for label in array.ravel()])
        if len(missing):
            raise InputError(f"The label of input {missing[0]} is missing.")
        array = np.array(array.tolist())
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    if array.dtype.kind in "OU":
        return _class_numbers(array, class_names)
    if array.dtype.kind not in "biuf" or array.ndim not in (1, 2):
        raise InputError(
            f"The labels have shape {array.shape} and type {array.dtype}; expected one number or name per input (n,),"
            " or one column per class (n, C)."
        )
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if not np.isfinite(array).all():
        raise InputError(f"The label of input {int(np.argwhere(~np.isfinite(array))[0][0])} is not finite.")
    if array.dtype.kind in "biu" or (array == np.round(array)).all():
        return array.astype(np.int64)
    return array.astype(np.float64)


def _class_numbers(texts: np.ndarray, class_names: Sequence[str] | None) -> np.ndarray:
    if texts.ndim != 1:
        raise InputError(f"The labels are texts of shape {texts.shape}; expected one name per input (n,).")
    names = [str(text) for text in texts]
    if class_names is None:
        known = ", ".join(sorted(set(names))[:5])
        raise InputError(
            f"The labels are texts ({known}): which output of the network is which is not known. Give class_names=, the"
            " names in the order of the outputs."
        )
    number = {str(name): i for i, name in enumerate(class_names)}
    strange = next((name for name in names if name not in number), None)
    if strange is not None:
        raise InputError(f"The label '{strange}' is none of the class names: {', '.join(list(number)[:20])}.")
    return np.array([number[name] for name in names], np.int64)


def _is_half(values: Any) -> bool:
    return isinstance(values, Tensor) and values.dtype in (torch.bfloat16, torch.float16)


def categories(labels: Any) -> tuple[str, ...] | None:
    """Names of the classes that labels of a data frame carry: its columns, or the categories of one; else None."""
    if isinstance(labels, pd.DataFrame):
        return tuple(map(str, labels.columns)) if labels.shape[1] > 1 else None
    kind = getattr(labels, "dtype", None)
    return tuple(map(str, kind.categories)) if isinstance(kind, pd.CategoricalDtype) else None
