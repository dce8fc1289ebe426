"""Random samples that keep the share of each class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neucept.errors import InputError


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
    if size < 1:
        raise InputError(f"At least one input must be drawn, not {size}.")
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
