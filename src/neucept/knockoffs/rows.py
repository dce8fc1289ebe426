"""Knockoff statistics the plain way: draw the rows, fit, compare. Serves any sampler and any statistic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neucept.knockoffs.samplers import Sampler
from neucept.knockoffs.statistics import Statistic


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
