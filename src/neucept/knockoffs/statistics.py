"""Statistics: how much more a response needs a neuron than its knockoff."""

from __future__ import annotations

import warnings
from typing import Protocol

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV
from sklearn.model_selection import KFold


class Statistic(Protocol):
    """What compares neurons with their knockoffs."""

    def __call__(self, Z: np.ndarray, Zk: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Give W, (p,), from (n, p) neurons, (n, p) knockoffs and an (n,) response.

        Exchanging Z_j and Zk_j must change the sign of W_j and nothing else, in distribution.
        """
        ...


def lasso(Z: np.ndarray, Zk: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lasso coefficient difference ``W_j = |b_j| - |b_{j+p}|``, lambda by 5-fold cross-validation.

    Parameters
    ----------
    Z, Zk : array
        (n, p) standardised neurons and their knockoffs.
    y : array
        (n,) standardised response.
    rng : Generator
        Shuffles the folds, and decides for each pair which of the two comes first, so that a solver that stops early
        cannot favour originals.
    """
    n, p = Z.shape
    swap = rng.random(p) < 0.5
    X = np.hstack([np.where(swap, Zk, Z), np.where(swap, Z, Zk)])
    folds = KFold(5, shuffle=True, random_state=int(rng.integers(2**31)))
    with warnings.catch_warnings():  # at the smallest lambdas of the grid; cross-validation judges them as they are
        warnings.simplefilter("ignore", ConvergenceWarning)
        b = np.abs(LassoCV(alphas=30, cv=folds, precompute=n > 2 * p).fit(X, y).coef_)
    return np.where(swap, -1.0, 1.0) * (b[:p] - b[p:])


STATISTICS: dict[str, Statistic] = {"lasso": lasso}
