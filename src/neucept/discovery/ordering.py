"""The order of importance: a greedy ranking of neurons that together explain the responses."""

from __future__ import annotations

import numpy as np

from neucept.knockoffs.preprocessing import standardised

ALIKE = 1e-3  # share of a neuron's variance that those before it must leave unexplained
LEAST = 1e-6  # share of the responses' variance that a neuron must add to be in the order


def forward_order(Z: np.ndarray, Y: np.ndarray, weights: np.ndarray, local_fdr: np.ndarray | None = None) -> np.ndarray:
    """Order neurons by how much of the responses' variance each adds to those before it.

    The greedy solution of equation (3) of the NeuCEPT paper, with the variance of the responses that a set of neurons
    explains linearly in the place of the information that it has on them. Unlike an order by a statistic of single
    neurons, it does not repeat the same information.

    Parameters
    ----------
    Z : array
        (n, p) neurons.
    Y : array
        (n, R) responses; each is scaled to variance 1.
    weights : array
        (R,) of the responses, not negative.
    local_fdr : array, optional
        (p,) probability that a neuron is null; what it adds counts less accordingly.

    Returns
    -------
    array
        At most p neurons, in order; those that add nothing are left out.

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
    trust = np.ones(len(G)) if local_fdr is None else 1.0 - local_fdr
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
