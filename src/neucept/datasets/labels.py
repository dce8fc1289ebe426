"""Labels: class numbers and names from whatever files hold, and samples that keep the share of each class."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from neucept.errors import InputError, check_whole, closest

_FEW = 1000  # labels below this are class numbers; larger ones too where at least a tenth of the numbers occurs

_NUMBER = re.compile("0|[1-9][0-9]*")


@dataclass(frozen=True, eq=False)
class Labels:
    """Class numbers with the names of the classes.

    Parameters
    ----------
    numbers : array of int64, (n,)
        Class of each input.
    names : tuple of str
        Name of each class, by its number.
    notice : str
        What the reader decided and a person should know; or "".
    """

    numbers: NDArray[np.int64]
    names: tuple[str, ...]
    notice: str = ""

    def strange_to(self, names: Sequence[str]) -> bool:
        """Whether the classes have names, and none of them is among those given."""
        return self.names != numbered(self.numbers) and not set(self.names) & set(_names(names))

    def named(self, given: Sequence[str] | None, source: str) -> Labels:
        """Take the class names that a person gives.

        Where the data's own names are among them, the numbers follow these; otherwise the names replace the data's,
        in their order.

        Raises
        ------
        InputError
            Only some of the data's names are among them, or the numbers of names differ.

        Examples
        --------
        >>> labels = Labels(np.array([0, 1, 1]), ("cat", "dog"))
        >>> labels.named(["dog", "cat"], "d").numbers, labels.named(["Katze", "Hund"], "d").names
        (array([1, 0, 0]), ('Katze', 'Hund'))
        """
        if given is None:
            return self
        known = _names(given)
        strange = [name for name in self.names if name not in known]
        if not strange:
            check_labels(np.zeros(0, np.int64), known)
            places = np.array([known.index(name) for name in self.names], np.int64)
            return Labels(places[self.numbers], known, self.notice)
        check_labels(self.numbers, known)
        if self.names != numbered(self.numbers):
            if len(strange) < len(self.names):
                raise InputError(
                    f"The class {strange[0]!r} of {source} is not among the class names given, but others of its"
                    f" classes are.{closest(strange[0], known)}"
                )
            if len(known) != len(self.names):
                raise InputError(
                    f"{source} has {len(self.names)} classes ({', '.join(self.names[:5])}, ...), but {len(known)} other"
                    " class names were given: which is which is not known. Give one name per class, in their order."
                )
        return Labels(self.numbers, known, self.notice)


def number_labels(values: Any, source: str, names: Sequence[str] | None = None, *others: Sequence[str]) -> Labels:
    """Turn labels into class numbers from 0.

    Parameters
    ----------
    values : array-like, (n,)
        Whole numbers (of any type), truth values, or texts.
    source : str
        What a message calls them.
    names : sequence of str, optional
        The classes' names by number, where the file says them.
    *others : sequences of str
        Other ways to call the classes (identifiers, say); the texts follow one way throughout.

    Returns
    -------
    Labels
        Texts are numbered by their places among the names, or in alphabetical order. Whole numbers are class numbers;
        where they are identifiers (large, with few distinct values), the distinct values become the classes.

    Raises
    ------
    InputError
        A label is missing, negative, not whole, or a text that is not among the names.

    Examples
    --------
    >>> number_labels(["b", "a", "b"], "d").numbers, number_labels([2.0, 0.0], "d").names
    (array([1, 0, 1]), ('0', '1', '2'))
    >>> number_labels([10000001, 7, 7], "d").names, number_labels([True, False], "d").names
    (('7', '10000001'), ('False', 'True'))
    """
    labels = _plain(values, source)
    known = _names(names) if names is not None else None
    if labels.dtype.kind == "U":
        distinct, places = np.unique(labels, return_inverse=True)
        if known is not None or not all(_NUMBER.fullmatch(text) for text in distinct):
            return _by_name(distinct.tolist(), places, source, known, others)
        labels = np.array([int(text) for text in distinct], dtype=object)[places]
    if labels.dtype.kind == "b":
        return Labels(labels.astype(np.int64), known or ("False", "True"))
    distinct, places = np.unique(labels, return_inverse=True)
    if not len(labels):
        return Labels(labels.astype(np.int64), known or ())
    smallest, largest = int(distinct[0]), int(distinct[-1])
    if smallest < 0:
        raise InputError(
            f"The labels of {source} go from {smallest} to {largest}; expected class numbers from 0 upwards. A negative"
            " number often stands for a missing label: remove those inputs, or number the classes from 0."
        )
    few = largest < max(_FEW, 10 * len(distinct))
    if known is not None and (few or largest < len(known) or len(distinct) != len(known)):
        numbers = np.array([min(int(label), 2**62) for label in distinct.tolist()], np.int64)[places]
        check_labels(numbers, known)
        return Labels(numbers, known)
    if known is None and few:
        return Labels(labels.astype(np.int64), tuple(str(label) for label in range(largest + 1)))
    return Labels(
        places.astype(np.int64),
        known or tuple(str(int(label)) for label in distinct),
        f"The labels of {source} are identifiers from {smallest} to {largest}: their {len(distinct)} distinct values"
        " are numbered in their order and taken as the classes.",
    )


def _names(given: Any) -> tuple[str, ...]:
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise InputError(f"class_names={given!r}: expected a list of names.")
    return tuple(str(name) for name in given)


def _plain(values: Any, source: str) -> NDArray[Any]:
    """Give labels as one array of whole numbers, truth values or texts."""
    try:
        labels = np.asarray(values)
    except ValueError as error:
        raise InputError(f"The labels of {source} are no array: {error}") from error
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InputError(
            f"The labels of {source} have shape {labels.shape}; expected one class per input, (n,). For rows of zeros"
            " with a single one, give labels.argmax(1)."
        )
    if labels.dtype.kind in "ST":
        labels = np.char.decode(labels, "utf-8", "replace") if labels.dtype.kind == "S" else labels.astype(str)
    if labels.dtype.kind in "OfU":
        absent = pd.isna(pd.Series(labels)).to_numpy()
        if labels.dtype.kind != "f":
            absent = absent | np.array([isinstance(label, str) and not label for label in labels.tolist()], dtype=bool)
        if absent.any():
            raise InputError(f"{source} has {int(absent.sum())} rows without a label. Remove them.")
    if labels.dtype.kind == "O":
        kinds = {bytes: "text", str: "text", bool: "bool", np.bool_: "bool"}
        types = {kinds.get(type(value), "number") for value in labels.tolist()}
        if len(types) > 1:
            raise InputError(f"The labels of {source} are of several types; expected numbers, or texts, alone.")
        if types == {"text"}:
            texts = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in labels.tolist()]
            labels = np.array(texts, dtype=str)
        elif types == {"bool"}:
            labels = labels.astype(bool)
    if labels.dtype.kind in "Of":
        wrong = next((value for value in labels.tolist() if not _is_whole(value)), None)
        if wrong is not None:
            raise InputError(f"The labels of {source} are not whole numbers: {wrong}, say.")
        labels = np.array([int(value) for value in labels.tolist()], dtype=object)
    if labels.dtype.kind not in "iubUO":
        raise InputError(f"The labels of {source} are {labels.dtype}; expected whole numbers or texts.")
    return labels


def _is_whole(value: Any) -> bool:
    try:
        return bool(int(value) == value)
    except (TypeError, ValueError, OverflowError):
        return False


def _by_name(
    distinct: list[str],
    places: NDArray[np.int64],
    source: str,
    known: tuple[str, ...] | None,
    others: Sequence[Sequence[str]],
) -> Labels:
    names = tuple(distinct) if known is None else known
    called = next((way for way in (names, *others) if set(distinct) <= set(way)), names)
    for name in distinct:
        if name not in called:
            raise InputError(
                f"{source} has the label {name!r}, which is not among its class names {', '.join(names[:10])}."
                f"{closest(name, names)}"
            )
    order = {name: number for number, name in reversed(list(enumerate(called)))}
    return Labels(np.array([order[name] for name in distinct], np.int64)[places], names)


def numbered(labels: NDArray[np.int64]) -> tuple[str, ...]:
    """Name classes by their numbers.

    Examples
    --------
    >>> numbered(np.array([0, 2]))
    ('0', '1', '2')
    """
    return tuple(str(label) for label in range(int(labels.max()) + 1)) if len(labels) else ()


def distinct_names(names: Sequence[str]) -> tuple[str, ...]:
    """Tell classes of one name apart by their numbers.

    Examples
    --------
    >>> distinct_names(["crane", "bee", "crane"])
    ('crane (0)', 'bee', 'crane (2)')
    """
    counts = Counter(names)
    return tuple(name if counts[name] == 1 else f"{name} ({label})" for label, name in enumerate(names))


def check_labels(labels: NDArray[np.int64], class_names: Sequence[str]) -> None:
    """Raise InputError where a label is negative or has no name, or a name appears twice."""
    if len(labels) and (labels.min() < 0 or labels.max() >= len(class_names)):
        raise InputError(
            f"The labels go from {labels.min()} to {labels.max()}, but there are {len(class_names)} class names, "
            "for the labels from 0 upwards."
        )
    if len(set(class_names)) < len(class_names):
        name, count = Counter(class_names).most_common(1)[0]
        raise InputError(f"The class name {name!r} appears {count} times; each class needs its own.")


def stratified_sample(labels: NDArray[np.int64], size: int, seed: int = 0) -> NDArray[np.int64]:
    """Draw some inputs at random, each class in its share.

    Parameters
    ----------
    labels : array, (n,)
        Class of each input; files are often sorted by it, so a slice would not do.
    size : int
        How many to draw; all, where there are no more.
    seed : int
        For the draw.

    Returns
    -------
    array of int, (min(size, n),)
        Indices, ascending. A class with q inputs gets ``size * q / n``, up or down to a whole number.

    Raises
    ------
    InputError
        `size` is less than 1.

    Examples
    --------
    >>> labels = np.repeat([0, 1], [60, 30])
    >>> np.bincount(labels[stratified_sample(labels, 9)])
    array([6, 3])
    """
    check_whole("limit", size)
    check_whole("seed", seed, 0)
    labels = np.asarray(labels)
    if size >= len(labels):
        return np.arange(len(labels))
    generator = np.random.default_rng(seed)
    classes, counts = np.unique(labels, return_counts=True)
    shares = size * counts / len(labels)
    sizes = np.floor(shares).astype(int)
    remainders = shares - sizes + 1e-9 * generator.random(len(classes))  # equal remainders: by lot
    sizes[np.argsort(-remainders)[: size - sizes.sum()]] += 1
    drawn = [
        generator.choice(np.flatnonzero(labels == label), count, replace=False)
        for label, count in zip(classes, sizes, strict=True)
    ]
    return np.sort(np.concatenate(drawn)).astype(np.int64)


def stratified_split(
    labels: NDArray[np.int64], held_out: float, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split inputs at random into two parts that have the same share of each class.

    Parameters
    ----------
    labels : array, (n,)
        Class of each input.
    held_out : float
        Fraction, between 0 and 1, of the second part.
    seed : int
        For the draw.

    Returns
    -------
    first, second : arrays of int
        Indices, ascending; together all of 0 to n - 1.

    Raises
    ------
    InputError
        The fraction leaves one of the parts empty.

    Examples
    --------
    >>> first, second = stratified_split(np.repeat([0, 1], 10), held_out=0.3)
    >>> len(first), len(second)
    (14, 6)
    """
    size = round(held_out * len(labels))
    if not 0 < size < len(labels):
        raise InputError(f"held_out={held_out} leaves one part of {len(labels)} inputs empty; it must lie in (0, 1).")
    second = stratified_sample(labels, size, seed)
    return np.setdiff1d(np.arange(len(labels)), second), second
