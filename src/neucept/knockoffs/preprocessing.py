"""What has to be looked at before any knockoff is drawn: dead neurons, and neurons that cannot be told apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

COLLINEAR = 0.99  # neurons whose absolute correlation is above form one group
DEAD = -1  # group number of a neuron that is constant over the inputs
_VARIES = 1e-6  # least deviation of a living neuron, in units of its largest magnitude
_CONSTANT = 1e-9  # the same of any column of numbers; below, rounding is all there is


@dataclass(frozen=True)
class Prepared:
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
    """Tell which columns of (n, k) activations vary over the inputs, (k,)."""
    return _varying(X, _VARIES)


def standardised(X: np.ndarray) -> np.ndarray:
    """Give columns mean 0 and variance 1, whatever their scale; constant ones are 0.

    >>> standardised(np.array([[1e-20, 3.0], [3e-20, 3.0]])).round(9).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    X = np.asarray(X, np.float64)
    centred = X - X.mean(axis=0)
    deviation = np.where(_varying(X, _CONSTANT), np.sqrt(np.mean(centred**2, axis=0)), np.inf)
    return np.asarray(centred / deviation)


def _varying(X: np.ndarray, least: float) -> np.ndarray:
    X = np.asarray(X, np.float64)
    return np.asarray(X.std(axis=0) > least * np.maximum(np.abs(X).max(axis=0, initial=0.0), 1e-30))


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
    X = np.asarray(X, dtype=np.float64)
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
