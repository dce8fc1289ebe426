"""Preparation of neurons before any knockoff is drawn: scale, dead neurons, and neurons that are nearly identical."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from neucept.errors import InputError
from neucept.short_repr import ShortRepr

COLLINEAR = 0.99  # neurons whose absolute correlation is above form one group
DEAD = -1  # group number of a neuron that is constant over the inputs
MOST_NEURONS = 6000  # that can be compared with each other
_ROUNDING = 2.0  # standard deviation of rounding errors, in units of the type's precision at the largest magnitude
_REST = 1e-12  # mean of a centred column, in standard deviations, that is too large to be left


def check_width(X: np.ndarray, what: str) -> None:
    """Refuse more columns that vary than can be compared with each other, before anything is done with them.

    Parameters
    ----------
    X : array
        (n, k) numbers.
    what : str
        What they are, such as "Layer 'conv1'": the subject of the sentence.
    """
    if X.shape[1] <= MOST_NEURONS:
        return
    step = 1024
    number = sum(int(alive(X[:, first : first + step]).sum()) for first in range(0, X.shape[1], step))
    if number > MOST_NEURONS:
        memory, hours = 240 * number**2 / 1e9, 0.11 * (number / 5000) ** 3
        raise InputError(
            f"{what} has {number:,} neurons or features that vary, but all are compared with each other, which is done"
            f" for {MOST_NEURONS:,} at most: these would take some {memory:,.0f} GB of memory and {hours:,.1f} hours."
            " Leave some out (groups= with -1), take the mean over positions of a convolution, or choose a later layer."
        )


@dataclass(frozen=True, repr=False)
class Prepared(ShortRepr):
    """Standardised representatives of the groups of a layer's neurons.

    Attributes
    ----------
    Z : array
        (n, g), mean 0 and variance 1 in every column: one neuron of each group.
    groups : array
        (k,) group number of every neuron, `DEAD` for constant ones.
    representatives : array
        (g,) the neuron that stands for each group.
    """

    Z: np.ndarray
    groups: np.ndarray
    representatives: np.ndarray


def alive(X: np.ndarray) -> np.ndarray:
    """Tell which columns of (n, k) numbers vary over the rows, (k,).

    A column is constant when its standard deviation is no more than rounding in its type, whatever its offset or unit.

    >>> seconds = 1.7e9 + np.arange(4.0)
    >>> alive(np.column_stack([seconds, np.full(4, 0.1), 1e-20 * seconds])).tolist()
    [True, False, True]
    """
    return np.asarray(deviations(X) > 0)


def deviations(X: np.ndarray) -> np.ndarray:
    """Give the standard deviations of the columns of (n, k) numbers, (k,); exactly 0 for constant ones, see `alive`."""
    _, deviation, exponent = _spread(X)
    return np.asarray(np.ldexp(deviation, exponent))


def standardised(X: np.ndarray) -> np.ndarray:
    """Give the columns of (n, k) or (n,) numbers mean 0 and variance 1, whatever their scale; constant ones are 0.

    >>> standardised(np.array([[1e-20, 3.0], [3e-20, 3.0]])).round(9).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    centred, deviation, _ = _spread(X)
    return np.asarray(centred / np.where(deviation > 0, deviation, np.inf))


def centre(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take the mean from the columns of X, twice where a large offset left some of it; (means, centred columns)."""
    mean = X.mean(axis=0)
    centred = X - mean
    rest = centred.mean(axis=0)
    rest = np.where(np.abs(rest) > _REST * np.sqrt(np.mean(centred**2, axis=0)), rest, 0.0)
    return (mean + rest, centred - rest) if rest.any() else (mean, centred)


def is_rounding(deviation: np.ndarray, size: np.ndarray, dtype: np.dtype[Any] | type = np.float64) -> np.ndarray:
    """Tell which standard deviations of columns with values up to ``size`` are rounding errors of their type."""
    precision = np.finfo(dtype if np.issubdtype(dtype, np.floating) else np.float64).eps
    return np.asarray(deviation <= _ROUNDING * float(precision) * size)


def unit_size(X: np.ndarray) -> np.ndarray:
    """Divide by a power of two that brings the largest magnitude to 0.5 to 1: sums and squares cannot overflow."""
    X = np.asarray(X, np.float64)
    return np.asarray(np.ldexp(X, -np.frexp(np.abs(X).max(initial=0.0))[1]))


def _spread(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centred columns and their deviations, both divided by 2 to the power of exponents that are returned, too."""
    X = np.asarray(X)
    dtype = X.dtype
    X = np.asarray(X, np.float64)
    size = np.abs(X).max(axis=0, initial=0.0)
    fraction, exponent = np.frexp(size)
    _, centred = centre(np.ldexp(X, -exponent))  # exact, and no square overflows or vanishes
    deviation = np.sqrt(np.mean(centred**2, axis=0))
    return centred, np.where(is_rounding(deviation, fraction, dtype), 0.0, deviation), exponent


def prepare(X: np.ndarray, collinear: float = COLLINEAR) -> Prepared:
    """Leave out dead neurons, join collinear ones, standardise.

    Parameters
    ----------
    X : array
        (n, k) activations, finite.
    collinear : float
        Neurons joined by a chain of absolute correlations above this are one group (paper, Appendix F: choosing
        between highly correlated features costs power). The member that correlates most with the others represents it.

    Examples
    --------
    >>> x = np.array([[0.0, 5.0, 0.0], [1.0, 5.0, 2.0], [5.0, 5.0, 10.0]])
    >>> prepare(x).groups.tolist()  # the second is constant, the third is twice the first
    [0, -1, 0]
    """
    X = np.asarray(X)
    check_width(X, "The data")
    living = np.flatnonzero(alive(X))
    Z = standardised(X[:, living])
    similar = np.abs(Z.T @ Z) / max(len(Z), 1)
    _, component = connected_components(csr_array(similar > collinear), directed=False)
    # Groups are numbered in the order of their first neuron.
    _, first, number = np.unique(component, return_index=True, return_inverse=True)
    number = np.argsort(np.argsort(first))[number]
    groups = np.full(X.shape[1], DEAD)
    groups[living] = number
    members = [np.flatnonzero(number == g) for g in range(len(first))]
    chosen = np.array([m[np.argmax(similar[np.ix_(m, m)].sum(axis=1).round(9))] for m in members], dtype=np.intp)
    return Prepared(np.ascontiguousarray(Z[:, chosen]), groups, living[chosen])
