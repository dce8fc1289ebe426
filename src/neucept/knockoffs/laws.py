"""The law of Gaussian knockoffs given their neurons: what rows and Gram matrices are both drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neucept.knockoffs.smatrix import s_matrix

_FLOOR = 1e-5  # smallest eigenvalue of a correlation matrix that knockoffs are made from


@dataclass(frozen=True)
class Law:
    """Knockoffs of m copies given a row z of neurons: mean ``mean + (z - mean) P``, covariance ``root root'``.

    Attributes
    ----------
    mean : array
        (p,) means of the neurons.
    P : array
        (p, m p), copy after copy: ``I - Sigma^-1 D`` for each.
    root : array
        (m p, m p) with ``root root' = V``: within a copy ``2 D - D Sigma^-1 D``, between two ``D - D Sigma^-1 D``.
    """

    mean: np.ndarray
    P: np.ndarray
    root: np.ndarray

    @property
    def copies(self) -> int:
        """Knockoffs of each neuron in one draw."""
        return self.P.shape[1] // max(len(self.P), 1) if len(self.P) else 1

    def draw(self, Z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw knockoffs of (n, p) rows: (n, m p)."""
        noise = rng.standard_normal((len(Z), len(self.root))) @ self.root.T
        return np.asarray(np.tile(self.mean, self.copies) + (Z - self.mean) @ self.P + noise)


def gaussian_law(
    mean: np.ndarray, Sigma: np.ndarray, s: str = "mvr", groups: np.ndarray | None = None, copies: int = 1
) -> Law:
    """Law of the knockoffs of Gaussian neurons (Candes and others, 2018, section 3.1.1).

    Parameters
    ----------
    mean : array
        (p,) means of the neurons.
    Sigma : array
        (p, p) their covariance.
    s : str
        How D is chosen, see `s_matrix`.
    groups : array, optional
        (p,) group number of each neuron, for group knockoffs.
    copies : int
        Knockoffs of each neuron in one draw (Gimenez and Zou, 2019).
    """
    p = len(Sigma)
    scale = np.sqrt(np.where(np.diag(Sigma) > 0, np.diag(Sigma), 1.0))
    correlation = well_inside(Sigma / np.outer(scale, scale))
    D = s_matrix(correlation, s, groups, copies)
    solved = np.linalg.solve(correlation, D) if p else D
    # The mean of the copies' noise has covariance (m C + D) / m with C = D - D Sigma^-1 D; around it each copy has
    # noise of covariance D. An orthogonal matrix H whose first column is constant separates the two.
    mean_root = _root((copies + 1) * D - copies * (D @ solved))
    if copies == 1:
        root = mean_root
    else:
        H = np.linalg.qr(np.column_stack([np.ones(copies), np.eye(copies)[:, : copies - 1]]))[0]
        root = np.hstack([np.kron(H[:, :1], mean_root), np.kron(H[:, 1:], _root(D))])
    P = (np.eye(p) - solved) * (scale / scale[:, None])
    return Law(np.asarray(mean, np.float64), np.tile(P, copies), np.tile(scale, copies)[:, None] * root)


def shrunk(scatter: np.ndarray, n: int) -> np.ndarray:
    """Covariance of standardised neurons, shrunk to the identity, from their moments alone.

    Oracle-approximating shrinkage (Chen and others, 2010), which needs no rows; variances are 1 again afterwards.

    Parameters
    ----------
    scatter : array
        (p, p) sums of products of the centred columns.
    n : int
        Rows.
    """
    p = len(scatter)
    S = scatter / max(n, 1)
    np.fill_diagonal(S, np.where(np.diag(S) > 0, np.diag(S), 1.0))
    scale = np.sqrt(np.diag(S))
    S = S / np.outer(scale, scale)
    if p < 2:
        return np.asarray(S)
    size = float(np.mean(S**2))
    excess = (n + 1) * (size - 1 / p)
    share = 1.0 if excess <= 0 else min((size + 1) / excess, 1.0)
    return well_inside((1 - share) * S + share * np.eye(p))


def well_inside(correlation: np.ndarray) -> np.ndarray:
    """Shrink a correlation matrix further where exact dependencies leave an eigenvalue near zero, or below."""
    if not len(correlation):
        return correlation
    lowest = float(np.linalg.eigvalsh(correlation)[0])
    share = max((_FLOOR - lowest) / (1 - lowest), 0.0) if lowest < _FLOOR else 0.0
    return np.asarray((1 - share) * correlation + share * np.eye(len(correlation)))


def _root(V: np.ndarray) -> np.ndarray:
    """Matrix R with R R' = V, negative rounding errors of V's eigenvalues cut off."""
    values, vectors = np.linalg.eigh((V + V.T) / 2) if len(V) else (np.zeros(0), V)
    return np.asarray(vectors * np.sqrt(values.clip(0)))
