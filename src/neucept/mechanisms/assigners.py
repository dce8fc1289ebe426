"""Which mechanism an input belongs to, and how far it lies from each: for clusters of any kind."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.special import softmax


class Assigner(Protocol):
    """What assigns rows of (n, f) scaled neurons to K mechanisms."""

    def labels(self, V: np.ndarray) -> np.ndarray:
        """Give the mechanism of each row, (n,)."""
        ...

    def distances(self, V: np.ndarray) -> np.ndarray:
        """Give the distance of each row to each mechanism, (n, K)."""
        ...

    def representation(self, V: np.ndarray) -> np.ndarray:
        """Give the explained representation E of each row, (n, K)."""
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """Give what the constructor needs, by the names of its arguments."""
        ...


class Centres:
    """The nearest centre (K-means); E are the distances to the centres."""

    kind = "distances"

    def __init__(self, centres: np.ndarray):
        self.centres = centres

    def labels(self, V: np.ndarray) -> np.ndarray:
        """Nearest centre."""
        return np.asarray(self.distances(V).argmin(axis=1))

    def distances(self, V: np.ndarray) -> np.ndarray:
        """Euclidean distances to the centres."""
        return np.asarray(cdist(V, self.centres))

    representation = distances

    def arrays(self) -> dict[str, np.ndarray]:
        """Give the centres."""
        return {"centres": self.centres}


class Gaussians:
    """The component of the largest posterior (Gaussian mixture); E are the posteriors."""

    kind = "posteriors"

    def __init__(self, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray):
        self.weights, self.means, self.covariances = weights, means, covariances
        self._roots = np.linalg.cholesky(covariances)

    def labels(self, V: np.ndarray) -> np.ndarray:
        """Component of the largest posterior."""
        return np.asarray(self.representation(V).argmax(axis=1))

    def distances(self, V: np.ndarray) -> np.ndarray:
        """Mahalanobis distances to the components."""
        parts = [np.linalg.solve(R, (V - m).T) for R, m in zip(self._roots, self.means, strict=True)]
        return np.stack([np.sqrt((part**2).sum(axis=0)) for part in parts], axis=1)

    def representation(self, V: np.ndarray) -> np.ndarray:
        """Posterior probabilities of the components."""
        volume = np.log(np.diagonal(self._roots, axis1=1, axis2=2)).sum(axis=1)
        return np.asarray(softmax(np.log(self.weights) - volume - self.distances(V) ** 2 / 2, axis=1))

    def arrays(self) -> dict[str, np.ndarray]:
        """Give weights, means and covariances."""
        return {"weights": self.weights, "means": self.means, "covariances": self.covariances}


class Neighbours:
    """The mechanism of the nearest known input, for clusterers that cannot predict; E are memberships.

    The distance to a mechanism is the mean distance to its ten nearest known inputs, an input itself left out.
    """

    kind = "memberships"
    nearest = 10

    def __init__(self, V: np.ndarray, found: np.ndarray):
        self.V, self.found = V, found
        self._tree = cKDTree(V)
        self._trees = [cKDTree(V[found == label]) for label in range(found.max() + 1)]

    def labels(self, V: np.ndarray) -> np.ndarray:
        """Mechanism of the nearest known input."""
        return np.asarray(self.found[self._tree.query(V)[1]])

    def distances(self, V: np.ndarray) -> np.ndarray:
        """Mean distances to the nearest members."""
        columns = []
        for tree in self._trees:
            distance, _ = tree.query(V, k=list(range(1, min(self.nearest + 1, tree.n) + 1)))
            itself = distance[:, 0] < 1e-12
            others = distance[:, 1:].mean(axis=1) if tree.n > 1 else distance[:, 0]
            columns.append(np.where(itself, others, distance[:, : self.nearest].mean(axis=1)))
        return np.stack(columns, axis=1)

    def representation(self, V: np.ndarray) -> np.ndarray:
        """One for the mechanism of the nearest known input, zero elsewhere."""
        return np.asarray((self.labels(V)[:, None] == np.arange(len(self._trees))).astype(float))

    def arrays(self) -> dict[str, np.ndarray]:
        """Give the known inputs and their mechanisms."""
        return {"V": self.V, "found": self.found}


ASSIGNERS: dict[str, type] = {cls.kind: cls for cls in (Centres, Gaussians, Neighbours)}
