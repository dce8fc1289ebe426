"""Samplers draw knockoffs of rows: fitted once to a layer, drawn many times."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from sklearn.covariance import ledoit_wolf

from neucept.knockoffs.smatrix import mvr


class Sampler(Protocol):
    """What draws knockoffs."""

    def fit(self, Z: np.ndarray) -> Sampler:
        """Learn the distribution of (n, p) standardised neurons."""
        ...

    def draw(self, Z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw one set of knockoffs, (n, p), of the rows it was fitted to."""
        ...


class GaussianSampler:
    """Gaussian Model-X knockoffs, row by row: ``Zk = Z P + U``, rows of U iid N(0, V).

    With Sigma the Ledoit-Wolf covariance of the standardised neurons and D = diag(s), s by MVR:
    ``P = I - Sigma^-1 D`` and ``V = 2 D - D Sigma^-1 D`` (Candes and others, 2018, section 3.1.1).
    """

    def fit(self, Z: np.ndarray) -> GaussianSampler:
        """Estimate the covariance of (n, p) standardised neurons and what follows from it."""
        Sigma, _ = ledoit_wolf(Z, assume_centered=True)
        # Exact dependencies, when n is large, leave almost no shrinkage: keep Sigma well inside the positive cone.
        lowest = float(np.linalg.eigvalsh(Sigma)[0])
        floor = 1e-5
        if lowest < floor:
            share = (floor - lowest) / (1 - lowest)
            Sigma = (1 - share) * Sigma + share * np.eye(len(Sigma))
        scale = np.sqrt(np.diag(Sigma))
        self.Sigma = Sigma / np.outer(scale, scale)
        self.s = mvr(self.Sigma)
        solved = np.linalg.solve(self.Sigma, np.diag(self.s))
        self.P = np.eye(len(Sigma)) - solved
        V = 2 * np.diag(self.s) - self.s[:, None] * solved
        values, vectors = np.linalg.eigh((V + V.T) / 2)
        self.root = vectors * np.sqrt(np.clip(values, 0, None))  # V = root root'
        return self

    def draw(self, Z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw knockoffs of (n, p) rows."""
        return np.asarray(Z @ self.P + rng.standard_normal(Z.shape) @ self.root.T)


SAMPLERS = {"gaussian": GaussianSampler}
