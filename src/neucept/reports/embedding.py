"""Inputs in the plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

MOST = 2000  # inputs on a map
FEW = 50, 800  # inputs for which t-SNE is worth its time


@dataclass(frozen=True)
class Embedding:
    """Some inputs in the plane.

    Attributes
    ----------
    positions : array
        (m,) which rows were taken, ascending.
    coordinates : array
        (m, 2).
    axes : (str, str)
        Titles of the axes.
    words : str
        How it was made and how to read it.
    """

    positions: np.ndarray
    coordinates: np.ndarray
    axes: tuple[str, str]
    words: str


def embed(V: np.ndarray, seed: int = 0, most: int = MOST) -> Embedding:
    """Bring inputs into the plane: t-SNE where there are 50 to 800 of them, principal components otherwise.

    Parameters
    ----------
    V : array
        (n, f) scaled neurons.
    seed : int
        Of the sample and of t-SNE.
    most : int
        Inputs shown.

    Examples
    --------
    >>> embed(np.random.default_rng(0).normal(size=(30, 4))).coordinates.shape
    (30, 2)
    """
    n, f = V.shape
    positions = np.arange(n)
    if n > most:
        positions = np.sort(np.random.default_rng(seed).choice(n, most, replace=False))
    shown = V[positions]
    sample = f"{len(positions):,} of the {n:,} inputs, drawn at random. " if n > most else f"All {n:,} inputs. "
    if FEW[0] <= n <= FEW[1] and f > 2:
        coordinates = TSNE(perplexity=min(30, n / 4), init="pca", max_iter=500, random_state=seed).fit_transform(shown)
        words = (
            f"{sample}t-SNE of the {f} representative neurons: neighbours are alike, but distances between islands and"
            " their sizes mean nothing."
        )
        return Embedding(positions, coordinates, ("t-SNE 1", "t-SNE 2"), words)
    if f == 1:
        noise = np.random.default_rng(seed).uniform(-1, 1, len(shown))
        words = f"{sample}The one representative neuron, spread at random from top to bottom."
        return Embedding(positions, np.stack([shown[:, 0], noise], axis=1), ("activation", ""), words)
    pca = PCA(min(2, n), random_state=seed).fit(V)
    held = pca.explained_variance_ratio_
    words = (
        f"{sample}The first two principal components of the {f} representative neurons hold {held.sum():.0%} of their"
        " variance: groups that overlap here may be apart in other directions."
    )
    axes = tuple(f"component {i + 1} ({share:.0%})" for i, share in enumerate(held))
    return Embedding(positions, pca.transform(shown), (axes[0], axes[1]), words)
