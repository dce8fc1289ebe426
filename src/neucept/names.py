"""Names of inputs: the file, row or index that a person finds an input by. The one place that decides what they are."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch.utils.data import ConcatDataset, Subset


def name_of(names: Sequence[str] | None, row: int) -> str:
    """Name an input; ``#row`` where it has no name.

    Examples
    --------
    >>> name_of(("cat/1.png", "dog/7.png"), 1), name_of(None, 17)
    ('dog/7.png', '#17')
    """
    return f"#{row}" if names is None else names[row]


def names_of_source(source: Any, n: int) -> tuple[str, ...] | None:
    """Find the names that a Dataset or another sequence of n items carries.

    Parameters
    ----------
    source : any
        Looked at in this order: ``names``, n texts; ``name(row)``; ``samples`` or ``imgs``, pairs that begin with a
        path, as torchvision's ImageFolder has them, taken relative to ``root``. Parts (`torch.utils.data.Subset`) and
        concatenations are followed.
    n : int
        Number of inputs; attributes of another length mean something else.

    Returns
    -------
    tuple of str or None

    Examples
    --------
    >>> class Photos:
    ...     root, samples = "photos", [("photos/cat/1.png", 0), ("photos/dog/7.png", 1)]
    >>> names_of_source(Photos(), 2)
    ('cat/1.png', 'dog/7.png')
    """
    if isinstance(source, Subset):
        inner = names_of_source(source.dataset, len(source.dataset))  # type: ignore[arg-type]
        return None if inner is None else tuple(inner[int(row)] for row in source.indices)
    if isinstance(source, ConcatDataset):
        parts = [names_of_source(part, len(part)) for part in source.datasets]  # type: ignore[arg-type]
        return None if any(part is None for part in parts) else tuple(name for part in parts if part for name in part)
    if (names := _texts(getattr(source, "names", None), n)) is not None:
        return names
    name = getattr(source, "name", None)
    if callable(name) and _takes_a_row(name):
        return tuple(str(name(row)) for row in range(n))
    for pairs in (getattr(source, "samples", None), getattr(source, "imgs", None)):
        if isinstance(pairs, Sequence) and len(pairs) == n and all(map(_begins_with_path, pairs)):
            root = getattr(source, "root", None)
            return tuple(_relative(os.fspath(pair[0]), root) for pair in pairs)
    return None


def names_of_arrays(tree: Any) -> tuple[str, ...] | None:
    """Name the rows of a data frame, or of the first one among several arrays, by its index.

    Numbers get the name of the index before them, or "row"; the index 0, 1, 2, ... is no name.

    Examples
    --------
    >>> names_of_arrays(pd.DataFrame({"age": [31, 40]}, index=["ann", "bob"]))
    ('ann', 'bob')
    >>> names_of_arrays(pd.DataFrame({"age": [31, 40]}).iloc[[1]])
    ('row 1',)
    """
    if isinstance(tree, Mapping | tuple):
        found = map(names_of_arrays, tree.values() if isinstance(tree, Mapping) else tree)
        return next((names for names in found if names is not None), None)
    if not isinstance(tree, pd.DataFrame | pd.Series):
        return None
    index = tree.index
    if index.equals(pd.RangeIndex(len(index))):
        return None
    if isinstance(index, pd.MultiIndex):
        return tuple(", ".join(map(str, key)) for key in index)
    before = "" if index.inferred_type == "string" else f"{'row' if index.name is None else index.name} "
    return tuple(f"{before}{key}" for key in index)


def pack(names: Sequence[str] | None) -> dict[str, np.ndarray | None]:
    """Give names as two arrays to save: their bytes in UTF-8, joined, and where each ends.

    Examples
    --------
    >>> packed = pack(["é", "b"])
    >>> packed["names/ends"].tolist(), unpack(packed)
    ([2, 3], ('é', 'b'))
    """
    if names is None:
        return {}
    encoded = [name.encode("utf-8", "surrogatepass") for name in names]  # file names need not be UTF-8
    ends = np.cumsum([len(one) for one in encoded], dtype=np.int64)
    return {"names/bytes": np.frombuffer(b"".join(encoded), np.uint8), "names/ends": ends}


def unpack(arrays: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Read what `pack` gave; None where there is nothing of it."""
    if "names/ends" not in arrays:
        return None
    joined, ends = np.asarray(arrays["names/bytes"]).tobytes(), np.asarray(arrays["names/ends"]).tolist()
    if ends != sorted(ends) or (ends[-1] if ends else 0) != len(joined):
        raise ValueError("the names do not end where their bytes do")
    return tuple(
        joined[start:end].decode("utf-8", "surrogatepass") for start, end in zip([0, *ends], ends, strict=False)
    )


def _texts(given: Any, n: int) -> tuple[str, ...] | None:
    """Read n texts; None for what is something else by the same name."""
    if isinstance(given, str | bytes | Mapping) or not hasattr(given, "__len__") or not hasattr(given, "__getitem__"):
        return None
    if len(given) != n:
        return None
    names = list(given)
    return tuple(map(str, names)) if all(isinstance(name, str | os.PathLike) for name in names) else None


def _takes_a_row(name: Callable[..., Any]) -> bool:
    try:
        inspect.signature(name).bind(0)
    except (TypeError, ValueError):
        return False
    return True


def _begins_with_path(pair: Any) -> bool:
    return isinstance(pair, tuple | list) and len(pair) > 0 and isinstance(pair[0], str | os.PathLike)


def _relative(file: str, root: Any) -> str:
    base = os.path.join(os.fspath(root), "") if isinstance(root, str | os.PathLike) else ""
    return (file.removeprefix(base) if base else file).replace(os.sep, "/")
