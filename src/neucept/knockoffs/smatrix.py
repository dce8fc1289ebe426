"""How far apart a knockoff may be from its original: the matrix D, diagonal or in blocks.

With m copies, neurons and knockoffs have a joint covariance if and only if ``A = (m + 1) / m Sigma - D`` is positive
semidefinite. Its eigenvalues are those of D, m times over, and those of m A.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neucept.errors import InputError, closest
from neucept.knockoffs import kernels

_CHUNK = 64  # coordinates between two updates of the whole inverse


def s_matrix(Sigma: np.ndarray, method: str = "mvr", groups: np.ndarray | None = None, copies: int = 1) -> np.ndarray:
    """Choose D for a correlation matrix.

    Parameters
    ----------
    Sigma : array
        (p, p) positive definite correlation matrix.
    method : {"mvr", "maxent", "sdp", "equicorrelated"}
        Minimum variance-based reconstructability, the default, and maximum entropy (Spector and Janson, 2022), the
        semidefinite programme and equal s (Candes and others, 2018).
    groups : array, optional
        (p,) group number of each neuron; D has a full block for each group (Dai and Barber, 2016).
        Not for ``sdp``.
    copies : int
        Knockoffs of each neuron in one draw.

    Returns
    -------
    array
        (p, p), zero between groups.

    Examples
    --------
    >>> Sigma = np.array([[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> s_matrix(Sigma, "equicorrelated").round(2).diagonal().tolist()
    [0.4, 0.4, 0.4]
    >>> s_matrix(Sigma, "maxent", groups=np.array([0, 0, 1])).round(2).tolist()  # a group may leave its own as a whole
    [[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if method not in METHODS:
        raise InputError(f"s={method!r}: expected one of {', '.join(map(repr, METHODS))}.{closest(method, METHODS)}")
    p = len(Sigma)
    if groups is None or len(np.unique(groups)) == p:
        return np.diag(METHODS[method](Sigma, copies=copies))
    if method not in _BLOCKS:
        raise InputError(f"s={method!r} knows no groups: use one of {', '.join(map(repr, _BLOCKS))}.")
    return _BLOCKS[method](Sigma, [np.flatnonzero(groups == g) for g in np.unique(groups)], copies)


def equicorrelated(Sigma: np.ndarray, copies: int = 1) -> np.ndarray:
    """Give all neurons the same s, the largest possible up to 1, (p,)."""
    if not len(Sigma):
        return np.zeros(0)
    lowest = float(np.linalg.eigvalsh(Sigma)[0])
    return np.full(len(Sigma), min(1.0, (copies + 1) / copies * lowest))


def mvr(Sigma: np.ndarray, sweeps: int = 100, tolerance: float = 1e-4, copies: int = 1) -> np.ndarray:
    """Find s of the minimum variance-based reconstructability (Spector and Janson, 2022).

    Minimises ``m^2 sum(1 / s) + tr(A^-1)``, for one copy ``tr((2 Sigma - diag(s))^-1) + sum(1 / s)``: the trace of the
    inverse covariance of neurons and knockoffs together up to a factor. With d more at coordinate j,
    ``tr((A - d e_j e_j')^-1) = tr(A^-1) + d |A^-1 e_j|^2 / (1 - d A^-1_jj)``, so the best d has a closed form.

    Parameters
    ----------
    Sigma : array
        (p, p) positive definite correlation matrix.
    sweeps : int
        Most rounds over all coordinates.
    tolerance : float
        Stop when no s changes by a larger share in a round.
    copies : int
        Knockoffs of each neuron in one draw, m.

    Returns
    -------
    array
        (p,), all positive, with A positive definite.

    Examples
    --------
    >>> mvr(np.eye(3)).round(6).tolist()
    [1.0, 1.0, 1.0]
    """
    return _descend(Sigma, kernels.MVR, copies, sweeps, tolerance)


def maximum_entropy(Sigma: np.ndarray, sweeps: int = 100, tolerance: float = 1e-4, copies: int = 1) -> np.ndarray:
    """Find s of maximum entropy: the largest ``m sum(log s) + log det A``; parameters as for `mvr`."""
    return _descend(Sigma, kernels.MAXENT, copies, sweeps, tolerance)


def semidefinite(Sigma: np.ndarray, sweeps: int = 100, tolerance: float = 1e-5, copies: int = 1) -> np.ndarray:
    """Find s of the semidefinite programme: the largest ``sum(s)`` with 0 <= s <= 1 and A positive semidefinite.

    Coordinate ascent on ``sum(s) + b log det A`` with b going to zero (Askari and others, 2021); ``tolerance`` is the
    last b. The sum comes within a percent of the best.
    """
    decay = (tolerance / 0.5) ** (1 / max(sweeps - 5, 1))
    barriers = [max(0.5 * decay**k, tolerance) for k in range(sweeps)]
    return _descend(Sigma, kernels.SDP, copies, sweeps, 0.0, barriers)


def _descend(
    Sigma: np.ndarray, rule: int, copies: int, sweeps: int, tolerance: float, barriers: list[float] | None = None
) -> np.ndarray:
    p = len(Sigma)
    Sigma = np.asarray(Sigma, np.float64)
    s = equicorrelated(Sigma, copies) / 2
    for sweep in range(sweeps if p else 0):
        inverse = np.linalg.inv((copies + 1) / copies * Sigma - np.diag(s))  # anew, so that rounding does not pile up
        before = s.copy()
        for first in range(0, p, _CHUNK):
            slab = np.ascontiguousarray(inverse[first : first + _CHUNK])
            barrier = barriers[sweep] if barriers else 0.0
            rows, factors = kernels.coordinate_steps(slab, first, s, rule, float(copies), barrier)
            inverse += (rows.T * factors) @ rows
        if barriers is None and np.all(np.abs(s - before) <= tolerance * before):
            break
    return s


def _equicorrelated_blocks(Sigma: np.ndarray, blocks: list[np.ndarray], copies: int) -> np.ndarray:
    """``D = c blockdiag(Sigma)``, c the largest possible up to 1 (Dai and Barber, 2016)."""
    D = np.zeros_like(Sigma)
    root = np.zeros_like(Sigma)
    for block in blocks:
        inside = np.ix_(block, block)
        D[inside] = Sigma[inside]
        root[inside] = _power(Sigma[inside], -0.5)
    lowest = float(np.linalg.eigvalsh(root @ Sigma @ root)[0])
    return D * min(1.0, (copies + 1) / copies * lowest)


def _best_blocks(minimise_trace: bool) -> Callable[[np.ndarray, list[np.ndarray], int], np.ndarray]:
    """Make a function that improves one whole block at a time.

    With X the block of A^-1 and the others fixed, ``B = D + X^-1`` does not depend on the block, and D may be anything
    between 0 and B. Entropy, ``m log det D + log det(B - D)``, is largest at ``D = m / (m + 1) B``. The trace, up to a
    constant ``m^2 tr(D^-1) + tr(M (B - D)^-1)`` with ``M = X^-1 (A^-2) X^-1``, is smallest where
    ``D^-1 = B^-1 + (B^-1 M B^-1)^(1/2) / m``. Both are the steps of single neurons when the block is 1 x 1.
    """

    def solve(Sigma: np.ndarray, blocks: list[np.ndarray], copies: int) -> np.ndarray:
        D = _equicorrelated_blocks(Sigma, blocks, copies) / 2
        for _ in range(100):
            inverse = np.linalg.inv((copies + 1) / copies * Sigma - D)
            largest = 0.0
            for block in blocks:
                inside = np.ix_(block, block)
                rows = inverse[block]
                X_inverse = np.linalg.inv(rows[:, block])
                B = _symmetric(D[inside] + X_inverse)
                if minimise_trace:
                    B_inverse = np.linalg.inv(B)
                    half = B_inverse @ X_inverse @ rows  # its square, half half', is B^-1 M B^-1
                    new = _symmetric(np.linalg.inv(B_inverse + _power(half @ half.T, 0.5) / copies))
                else:
                    new = B * (copies / (copies + 1))
                step = new - D[inside]
                # (A - step)^-1 by Woodbury's identity, without inverting the step, which may be singular.
                inverse += rows.T @ np.linalg.solve(np.eye(len(block)) - step @ rows[:, block], step) @ rows
                largest = max(largest, float(np.abs(step).max() / np.abs(new).max()))
                D[inside] = new
            if largest <= 1e-4:
                break
        return D

    return solve


def _symmetric(A: np.ndarray) -> np.ndarray:
    return np.asarray((A + A.T) / 2)


def _power(A: np.ndarray, exponent: float) -> np.ndarray:
    """Power of a symmetric positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(_symmetric(A))
    values = values.clip(values[-1] * 1e-14)
    return np.asarray((vectors * values**exponent) @ vectors.T)


METHODS: dict[str, Callable[..., np.ndarray]] = {
    "mvr": mvr,
    "maxent": maximum_entropy,
    "sdp": semidefinite,
    "equicorrelated": equicorrelated,
}
_BLOCKS = {
    "mvr": _best_blocks(minimise_trace=True),
    "maxent": _best_blocks(minimise_trace=False),
    "equicorrelated": _equicorrelated_blocks,
}
