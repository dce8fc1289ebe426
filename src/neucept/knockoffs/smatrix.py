"""How far apart a knockoff may be from its original: the diagonal s."""

from __future__ import annotations

import numpy as np


def mvr(Sigma: np.ndarray, sweeps: int = 100, tolerance: float = 1e-6) -> np.ndarray:
    """Find s of the minimum variance-based reconstructability (Spector and Janson, 2022).

    Minimises ``tr((2 Sigma - diag(s))^-1) + sum(1 / s)``, which is the trace of the inverse covariance of neurons and
    knockoffs together up to a factor, by exact steps along one coordinate at a time: with A = 2 Sigma - diag(s),
    ``tr((A - d e_j e_j')^-1) = tr(A^-1) + d |A^-1 e_j|^2 / (1 - d A^-1_jj)``, so the best d has a closed form.

    Parameters
    ----------
    Sigma : array
        (p, p) positive definite correlation matrix.
    sweeps : int
        Most rounds over all coordinates.
    tolerance : float
        Stop when no s changes by more in a round.

    Returns
    -------
    array
        (p,), all positive, with ``2 Sigma - diag(s)`` positive definite.

    Examples
    --------
    >>> mvr(np.eye(3)).round(6).tolist()
    [1.0, 1.0, 1.0]
    """
    p = len(Sigma)
    s = np.full(p, min(1.0, float(np.linalg.eigvalsh(Sigma)[0])) if p else 0.0)
    for _ in range(sweeps):
        inverse = np.linalg.inv(2 * Sigma - np.diag(s))  # anew each round, so that rounding does not pile up
        before = s.copy()
        for j in range(p):
            column = inverse[:, j].copy()
            root = np.sqrt(column @ column)
            step = (1 - root * s[j]) / (root + column[j])
            s[j] += step
            inverse += np.outer(column, column * (step / (1 - step * column[j])))
        if np.abs(s - before).max(initial=0.0) <= tolerance:
            break
    return s
