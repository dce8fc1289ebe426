"""The inputs in the plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

MOST = 2000  # inputs on a map
FEW = 50, 800  # inputs for which t-SNE is worth its time


@dataclass(frozen=True, eq=False)
class Embedding:
    """Some inputs in the plane.

    Attributes
    ----------
    positions : array
        (m,) which rows were taken, ascending.
    coordinates : array
        (m, 2).
    method : str
        ``t-SNE``, ``PCA``, or ``jitter`` for a single neuron: its activation, spread at random along the other axis.
    explained : tuple of float
        Share of the variance that each axis explains, for ``PCA``.
    n, n_features : int
        How many inputs there were, and neurons.
    """

    positions: np.ndarray
    coordinates: np.ndarray
    method: str
    explained: tuple[float, ...]
    n: int
    n_features: int

    def facts(self) -> dict[str, Any]:
        """All but the arrays, for JSON."""
        return {name: getattr(self, name) for name in ("method", "explained", "n", "n_features")}

    def arrays(self) -> dict[str, np.ndarray]:
        """Give the arrays by name."""
        return {"map positions": self.positions, "map coordinates": self.coordinates}

    @classmethod
    def of(cls, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Embedding:
        """Put an embedding together from `facts` and `arrays`."""
        fields: dict[str, Any] = {**facts, "explained": tuple(facts["explained"])}
        return cls(positions=arrays["map positions"], coordinates=arrays["map coordinates"], **fields)


def embed(V: np.ndarray, seed: int = 0, most: int = MOST) -> Embedding:
    """Embed inputs in the plane: t-SNE for 50 to 800 of them, principal components otherwise.

    Parameters
    ----------
    V : array
        (n, f) scaled neurons.
    seed : int
        Seed for the sample and for t-SNE.
    most : int
        Number of inputs to embed; of more, a random sample is taken.

    Examples
    --------
    >>> embed(np.random.default_rng(0).normal(size=(30, 4))).coordinates.shape
    (30, 2)
    """
    n, f = V.shape
    positions = np.arange(n)
    if n > most:
        positions = np.sort(np.random.default_rng(seed).choice(n, most, replace=False))
    sample = V[positions]
    explained: tuple[float, ...] = ()
    if FEW[0] <= n <= FEW[1] and f > 2:
        method = "t-SNE"
        coordinates = TSNE(perplexity=min(30, n / 4), init="pca", max_iter=500, random_state=seed).fit_transform(sample)
    elif f == 1:
        method = "jitter"
        noise = np.random.default_rng(seed).uniform(-1, 1, len(sample))
        coordinates = np.stack([sample[:, 0], noise], axis=1)
    else:
        method = "PCA"
        pca = PCA(min(2, n), random_state=seed).fit(V)
        explained = tuple(map(float, pca.explained_variance_ratio_))
        coordinates = pca.transform(sample)
    return Embedding(positions, coordinates, method, explained, n, f)
