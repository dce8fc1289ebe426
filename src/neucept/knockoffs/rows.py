"""Knockoff statistics the plain way: draw the rows, fit, compare. Serves any sampler and any statistic."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Protocol

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV
from sklearn.model_selection import KFold

from neucept.knockoffs.samplers import Sampler


class Statistic(Protocol):
    """What compares rows of neurons with rows of knockoffs."""

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
        b = np.abs(LassoCV(alphas=30, cv=folds, precompute=n > 2 * p, tol=1e-6).fit(X, y).coef_)
    return np.asarray(np.where(swap, -1.0, 1.0) * (b[:p] - b[p:]))


def row_statistics(
    Z: np.ndarray,
    y: np.ndarray,
    sampler: Sampler,
    statistic: Statistic,
    draws: int,
    rng: np.random.Generator,
    advance: Callable[[int], None] = lambda steps: None,
) -> np.ndarray:
    """Statistics of several draws of knockoffs.

    Parameters
    ----------
    Z : array
        (n, p) standardised neurons.
    y : array
        (n,) response.
    sampler, statistic : Sampler, Statistic
        What draws and what compares.
    draws : int
        How many sets of knockoffs.
    rng : Generator
        Each draw has a generator of its own, spawned from this one.
    advance : callable
        Told of every draw that is done.

    Returns
    -------
    array
        (draws, p); all zero for a constant response, which needs no neuron.
    """
    deviation = y.std()
    if Z.shape[1] == 0 or not deviation > 1e-9 * max(float(np.abs(y).max(initial=0.0)), 1e-30):
        return np.zeros((draws, Z.shape[1]))
    y = (y - y.mean()) / deviation
    sampler = sampler.fit(Z)
    W = np.empty((draws, Z.shape[1]))
    for i, generator in enumerate(rng.spawn(draws)):
        W[i] = statistic(Z, sampler.draw(Z, generator), y, generator)
        advance(1)
    return W
