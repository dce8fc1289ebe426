"""Labels of any kind as numbers: class numbers, names, categories, values of a regression, several labels at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neucept.errors import InputError


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
