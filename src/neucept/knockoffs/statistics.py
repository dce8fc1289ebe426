"""Statistics: how much more a response depends on a neuron than on its knockoffs, mostly from Gram matrices alone.

Exchanging a neuron and its knockoff exchanges their importances and changes nothing else, in distribution: columns are
scaled by their own deviations, lambda and the noise estimate look at all columns alike, and the solver visits them in
a random order, so that one which stops early favours none.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV as RowLassoCV
from sklearn.model_selection import KFold

from neucept.knockoffs import kernels
from neucept.knockoffs.moments import Grams, Moments, grams

SMALLEST_NOISE = 0.1  # of a response's deviation: a lasso without noise would have no penalty, and keep all columns


class Statistic(Protocol):
    """What compares rows of neurons with rows of knockoffs: any function or object that can be called like this.

    It can be given as ``statistic=`` to `neucept.discover`, `KnockoffFilter` and `knockoff_statistics`. A statistic
    that looks at the data through correlations only is much faster as a `GramStatistic`.

    Examples
    --------
    >>> def correlation(Z, Zk, y, rng):
    ...     return np.abs(Z.T @ y) / len(y) - np.abs(Zk.T @ y) / len(y)
    >>> from neucept.knockoffs import knockoff_statistics
    >>> rng = np.random.default_rng(0)
    >>> Z = rng.standard_normal((400, 8))
    >>> W = knockoff_statistics(Z, Z[:, 0] - Z[:, 1], statistic=correlation, draws=2, rng=rng)
    >>> (W.mean(axis=(0, 1)) > 0.3).tolist()
    [True, True, False, False, False, False, False, False]
    """

    def __call__(self, Z: np.ndarray, Zk: np.ndarray, y: np.ndarray, rng: np.random.Generator, /) -> np.ndarray:
        """Give W, (p,), from (n, p) standardised neurons, (n, p) knockoffs and an (n,) standardised response.

        Exchanging Z_j and Zk_j must change the sign of W_j and nothing else, in distribution.
        """
        ...


def contrast(importance: np.ndarray) -> np.ndarray:
    """W from the importances of neurons and their knockoffs.

    The difference between the largest importance and the median of the others (Gimenez and Zou, 2019), positive when
    the neuron has the largest, negative when a knockoff has, 0 when the largest is not unique. With one copy this is
    ``W_j = |b_j| - |b_{j+p}|``.

    Parameters
    ----------
    importance : array
        (..., 1 + copies, g), neurons first.

    Returns
    -------
    array
        (..., g)

    Examples
    --------
    >>> contrast(np.array([[3.0, 1.0], [2.0, 4.0]])).tolist()
    [1.0, -3.0]
    >>> contrast(np.array([[3.0, 1.0], [2.0, 4.0], [0.0, 1.0]])).tolist()
    [2.0, -3.0]
    """
    ordered = np.sort(importance, axis=-2)
    size = ordered[..., -1, :] - np.median(ordered[..., :-1, :], axis=-2)
    unique = ordered[..., -1, :] > ordered[..., -2, :]
    wins = importance[..., 0, :] == ordered[..., -1, :]
    return np.where(unique, np.where(wins, size, -size), 0.0)


def signed_maximum(importance: np.ndarray) -> np.ndarray:
    """W as the largest importance of all, with the sign as in `contrast`; same shapes."""
    return np.asarray(np.sign(contrast(importance)) * importance.max(axis=-2))


class GramStatistic(ABC):
    """A statistic that looks at the data only through Gram matrices.

    Subclasses define `importance`; exchanging a neuron and its knockoff must exchange their importances and change
    nothing else, in distribution.

    Attributes
    ----------
    folds : int
        Folds for cross-validation; 1 for none.
    join : ufunc
        Makes the importance of a group from those of its members.
    compare : callable
        Makes W of importances, `contrast` or `signed_maximum`.

    Examples
    --------
    >>> class Squared(GramStatistic):
    ...     def importance(self, grams):
    ...         return grams.c**2
    >>> from neucept.knockoffs import knockoff_statistics
    >>> rng = np.random.default_rng(0)
    >>> Z = rng.standard_normal((400, 8))
    >>> W = knockoff_statistics(Z, Z[:, 0] - Z[:, 1], statistic=Squared(), draws=2, rng=rng)
    >>> (W.mean(axis=(0, 1)) > 0.3).tolist()
    [True, True, False, False, False, False, False, False]
    """

    folds: int = 1
    join: np.ufunc = np.add
    compare: Callable[[np.ndarray], np.ndarray] = staticmethod(contrast)

    @abstractmethod
    def importance(self, grams: Grams) -> np.ndarray:
        """Give the importance of every column for every response, (draws, L, m), not negative."""

    def __call__(self, Z: np.ndarray, Zk: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Give W, (p,), from rows: (n, p) neurons, (n, copies p) knockoffs and an (n,) response."""
        n, p = Z.shape
        X = np.hstack([Z, Zk])
        order = rng.permutation(X.shape[1])[None]
        fold_of = rng.permutation(n) % min(self.folds, n)
        moments = [Moments.of(X[fold_of == f], y[fold_of == f]) for f in range(fold_of.max() + 1)]
        return self.compare(self.importance(grams([moments], p, order)).reshape(-1, p))


class LassoFixed(GramStatistic):
    """Size of the lasso's coefficients at ``lambda = factor * sigma * sqrt(2 log(m) / n)`` for m columns.

    Parameters
    ----------
    factor : float
        1 is the universal penalty; less lets more columns in.
    gap : float
        Duality gap that the solver stops at, as a share of the objective.
    sweeps : int
        Most rounds over the columns.
    """

    def __init__(self, factor: float = 0.6, gap: float = 1e-6, sweeps: int = 1000):
        self.factor, self.gap, self.sweeps = factor, gap, sweeps

    def importance(self, grams: Grams) -> np.ndarray:
        """See `GramStatistic`."""
        penalties = self.factor * noise(grams) * universal(grams)
        B = np.zeros(grams.c.shape)
        kernels.lasso_many(grams.G, grams.c, grams.orders, penalties, B, self.gap, self.sweeps)
        return np.abs(B)


class Lasso(GramStatistic):
    """Size of the lasso's coefficients at the lambda of the least Mallows' Cp: no folds, and nearly the same lambda.

    ``Cp = |y - X b|^2 / sigma^2 + 2 #{b != 0}`` estimates the error of prediction (Zou, Hastie and Tibshirani, 2007).
    It looks at all columns alike. Its power is that of cross-validation, at a tenth of the cost; that of a fixed lambda
    is lower where many neurons matter.

    Parameters
    ----------
    factors : sequence of float
        Lambdas in units of ``sigma * sqrt(2 log(m) / n)``, falling.
    gap, sweeps
        As for `LassoFixed`.
    """

    def __init__(
        self,
        factors: Sequence[float] = (1.0, 0.6, 0.36, 0.2, 0.1),
        gap: float = 1e-6,
        sweeps: int = 1000,
    ):
        self.factors, self.gap, self.sweeps = factors, gap, sweeps

    def importance(self, grams: Grams) -> np.ndarray:
        """See `GramStatistic`."""
        sigma = noise(grams)
        B = np.zeros(grams.c.shape)
        best = np.full(sigma.shape, np.inf)
        result = np.zeros(B.shape)
        for factor in self.factors:
            penalties = factor * sigma * universal(grams)
            kernels.lasso_many(grams.G, grams.c, grams.orders, penalties, B, self.gap, self.sweeps)
            left = 1 - 2 * np.sum(B * grams.c, axis=2) + np.sum((B @ grams.G) * B, axis=2)
            cp = grams.n * left / sigma**2 + 2 * np.sum(B != 0, axis=2)
            better = cp < best
            best[better] = cp[better]
            result[better] = np.abs(B[better])
        return result


class LassoCV(GramStatistic):
    """Size of the lasso's coefficients at the lambda of least cross-validated error, as in the literature.

    Parameters
    ----------
    folds : int
        Number of folds of random rows.
    lambdas : int
        Length of the grid, from the smallest lambda at which no column has a coefficient downwards.
    ratio : float
        Smallest lambda over largest.
    gap, sweeps
        As for `LassoFixed`.
    """

    def __init__(self, folds: int = 5, lambdas: int = 30, ratio: float = 1e-3, gap: float = 1e-4, sweeps: int = 1000):
        self.folds, self.lambdas, self.ratio, self.gap, self.sweeps = folds, lambdas, ratio, gap, sweeps

    def importance(self, grams: Grams) -> np.ndarray:
        """See `GramStatistic`."""
        grid = _grid(grams, self.lambdas, self.ratio)
        errors = np.zeros(grid.shape)
        for fold in grams.folds:
            deviation = np.sqrt(fold.y.clip(1e-300))
            c = fold.c / deviation[:, :, None]
            B = np.zeros(c.shape)
            for k, penalties in enumerate(grid):
                kernels.lasso_many(fold.G, c, grams.orders, penalties / deviation, B, self.gap, self.sweeps)
                b = B * deviation[:, :, None]
                quadratic = np.sum((b @ fold.left_G) * b, axis=2)
                errors[k] += fold.left_y - 2 * np.sum(b * fold.left_c, axis=2) + quadratic
        best = errors.argmin(axis=0)
        B = np.zeros(grams.c.shape)
        result = np.zeros(grams.c.shape)
        for k in range(best.max(initial=0) + 1):  # down the path, for warm starts
            kernels.lasso_many(grams.G, grams.c, grams.orders, grid[k], B, self.gap, self.sweeps)
            result[best == k] = np.abs(B[best == k])
        return result


class LassoMax(GramStatistic):
    """The largest lambda at which a column has a coefficient in the lasso, on a grid; see `LassoCV` for parameters.

    The statistic is the signed maximum: the larger of the two lambdas, with the sign of the winner.
    """

    join = np.maximum
    compare = staticmethod(signed_maximum)

    def __init__(self, lambdas: int = 100, ratio: float = 1e-2, gap: float = 1e-4, sweeps: int = 1000):
        self.lambdas, self.ratio, self.gap, self.sweeps = lambdas, ratio, gap, sweeps

    def importance(self, grams: Grams) -> np.ndarray:
        """See `GramStatistic`."""
        B = np.zeros(grams.c.shape)
        entry = np.zeros(grams.c.shape)
        for penalties in _grid(grams, self.lambdas, self.ratio):
            kernels.lasso_many(grams.G, grams.c, grams.orders, penalties, B, self.gap, self.sweeps)
            entry = np.where((entry == 0) & (B != 0), penalties[:, :, None], entry)
        return entry


class Ridge(GramStatistic):
    """Size of ridge coefficients; the penalty is the ratio of noise to the mean signal of a column."""

    def importance(self, grams: Grams) -> np.ndarray:
        """See `GramStatistic`."""
        variance = noise(grams) ** 2
        m = grams.G.shape[-1]
        penalties = m * variance / (grams.n * np.maximum(1 - variance, 0.01))
        values, vectors = np.linalg.eigh(grams.G)
        along = grams.c @ vectors
        return np.asarray(
            np.abs((along / (values.clip(0)[:, None] + penalties[:, :, None])) @ vectors.transpose(0, 2, 1))
        )


class LeastSquares(GramStatistic):
    """Size of least squares coefficients, those of smallest norm where they are not unique."""

    def importance(self, grams: Grams) -> np.ndarray:
        """See `GramStatistic`."""
        return np.asarray(np.abs(grams.c @ np.linalg.pinv(grams.G, rcond=1e-9, hermitian=True)))


class Marginal(GramStatistic):
    """Size of the correlation with the response."""

    def importance(self, grams: Grams) -> np.ndarray:
        """See `GramStatistic`."""
        return np.asarray(np.abs(grams.c))


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
        b = np.abs(RowLassoCV(alphas=30, cv=folds, precompute=n > 2 * p, tol=1e-6).fit(X, y).coef_)
    return np.asarray(np.where(swap, -1.0, 1.0) * (b[:p] - b[p:]))


def universal(grams: Grams) -> float:
    """Guess how large the largest correlation of noise with m columns is: ``sqrt(2 log(m) / n)``."""
    return float(np.sqrt(2 * np.log(max(grams.G.shape[-1], 2)) / max(grams.n, 1)))


def noise(grams: Grams) -> np.ndarray:
    """Deviation of the noise of each response as a share of its own, (draws, L), at least `SMALLEST_NOISE`.

    From the residuals of least squares on all columns where at least 50 degrees of freedom are left, otherwise from the
    scaled lasso (Sun and Zhang, 2012).
    """
    m = grams.G.shape[-1]
    degrees = grams.n - 1 - m
    if degrees >= 50:
        b = np.linalg.solve(grams.G + 1e-9 * np.eye(m), grams.c.transpose(0, 2, 1))
        left = 1 - np.sum(b.transpose(0, 2, 1) * grams.c, axis=2)
        sigma = np.sqrt(left.clip(0) * (grams.n / degrees))
    else:
        sigma = np.ones(grams.c.shape[:2])
        moving = np.ones(sigma.shape, bool)  # each on its own, so that none depends on what else is in the batch
        B = np.zeros(grams.c.shape)
        for _ in range(20):
            penalties = np.maximum(sigma, SMALLEST_NOISE) * universal(grams)
            kernels.lasso_many(grams.G, grams.c, grams.orders, penalties, B, 1e-4, 1000)
            left = 1 - 2 * np.sum(B * grams.c, axis=2) + np.sum((B @ grams.G) * B, axis=2)
            before, sigma = sigma, np.where(moving, np.sqrt(left.clip(0)), sigma)
            moving &= np.abs(sigma - before) > 1e-3
            if not moving.any():
                break
    return np.asarray(sigma.clip(SMALLEST_NOISE, 1.0))


def _grid(grams: Grams, lambdas: int, ratio: float) -> np.ndarray:
    """Penalties, (lambdas, draws, L), from the smallest that leaves no column in, down."""
    largest = np.abs(grams.c).max(axis=2, initial=1e-12)
    return np.asarray(np.geomspace(1.0, ratio, lambdas)[:, None, None] * largest)


StatisticName = Literal["lasso", "lasso_fixed", "lasso_cv", "lasso_max", "ridge", "least_squares", "marginal"]
STATISTICS: dict[str, GramStatistic] = {
    "lasso": Lasso(),
    "lasso_fixed": LassoFixed(),
    "lasso_cv": LassoCV(),
    "lasso_max": LassoMax(),
    "ridge": Ridge(),
    "least_squares": LeastSquares(),
    "marginal": Marginal(),
}
