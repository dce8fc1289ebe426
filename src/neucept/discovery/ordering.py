"""The order of importance: which neurons, taken one after the other, say most of what the responses say."""

from __future__ import annotations

import numpy as np

from neucept.knockoffs.preprocessing import standardised

ALIKE = 1e-3  # share of its variance that a neuron must have beyond those before it
LEAST = 1e-6  # share of the responses' variance that a neuron must add to be worth a place


def forward_order(Z: np.ndarray, Y: np.ndarray, weights: np.ndarray, doubt: np.ndarray | None = None) -> np.ndarray:
    """Order neurons by how much of the responses' variance each adds to those before it.

    The greedy solution of equation (3) of the NeuCEPT paper, with the variance of the responses that a set of neurons
    explains linearly in the place of the information that it has on them. Unlike an order by a statistic of single
    neurons, it does not name the same information twice.

    Parameters
    ----------
    Z : array
        (n, p) neurons.
    Y : array
        (n, R) responses; each is scaled to variance 1.
    weights : array
        (R,) of the responses, not negative.
    doubt : array, optional
        (p,) probability that a neuron is null, which lessens what it is taken to add.

    Returns
    -------
    array
        Neurons that add anything, the first first; p of them at most.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> a, b, noise = rng.normal(size=(3, 200))
    >>> Z = np.column_stack([noise, a, a + 0.1 * noise, b])
    >>> forward_order(Z, np.column_stack([2 * a, b]), np.array([2.0, 1.0])).tolist()
    [1, 3]
    """
    Z, Y = standardised(Z), standardised(Y) * np.sqrt(weights)
    G, C = Z.T @ Z / len(Z), Z.T @ Y / len(Z)
    trust = np.ones(len(G)) if doubt is None else 1.0 - doubt
    alive = np.diag(G) > 0.5
    enough = LEAST * float(weights.sum())
    order: list[int] = []
    while True:
        own = np.diag(G)
        free = alive & (own > ALIKE)
        free[order] = False
        gain = np.where(free, (C**2).sum(axis=1) / np.maximum(own, ALIKE), 0.0)
        believed = np.where(gain > enough, gain, 0.0) * trust
        best = int(np.argmax(believed))
        if not believed[best] > 0:
            return np.array(order, dtype=np.intp)
        order.append(best)
        share = G[:, best] / G[best, best]
        C = C - np.outer(share, C[best])
        G = G - np.outer(share, G[best])
