"""Clusters of inputs: from scikit-learn or a clusterer of the user's, and the assignment of further inputs to them."""

from __future__ import annotations

import warnings
from typing import Any, Literal, Protocol

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.special import softmax
from sklearn.base import clone
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from neucept.errors import InputError, closest

METHODS = ("kmeans", "gmm", "agglomerative")
REGULARISATION = 1e-4  # of the covariances of a mixture, for neurons of variance 1
MOST_FOR_AGGLOMERATION = 20_000  # inputs; its memory grows with their square


class Clusterer(Protocol):
    """What ``neucept.learn(method=...)`` takes besides the names: any clusterer of scikit-learn, or one of your own.

    ``fit_predict`` is required. A copy is fitted, so the object given stays as it is. Two more methods are used where
    the clusterer has them:

    ``predict(V)``
        (n,) cluster of each row of new inputs, with the numbers of ``fit_predict``; a negative number for none.
        Without it, a new input belongs to the cluster of its nearest known input.
    ``predict_proba(V)``
        (n, K) probability of each cluster, by their numbers. It gives the explained representation; without it,
        memberships do (one for the cluster assigned, zero for the others).

    Examples
    --------
    >>> class Sign:
    ...     def fit_predict(self, V):
    ...         return self.predict(V)
    ...     def predict(self, V):
    ...         return (V[:, 0] > 0).astype(int)
    >>> labels, assigner = cluster(np.array([[3.0], [-1.0], [-2.0]]), 2, Sign(), seed=0)
    >>> labels  # the larger cluster, of negative numbers, is mechanism 0
    array([1, 0, 0])
    >>> assigner.predict(np.array([[-0.1], [0.1]]))  # by predict: the nearest known input of both is -1
    array([0, 1])
    """

    def fit_predict(self, V: np.ndarray, /) -> np.ndarray:
        """Cluster (n, f) scaled neurons; give the cluster of each row, (n,) whole numbers, negative for none."""
        ...


Method = Literal["kmeans", "gmm", "agglomerative"] | Clusterer


class Assigner(Protocol):
    """What assigns rows of (n, f) scaled neurons to K mechanisms, with the words of scikit-learn."""

    def predict(self, V: np.ndarray) -> np.ndarray:
        """Give the mechanism of each row, (n,); -1 for none."""
        ...

    def transform(self, V: np.ndarray) -> np.ndarray:
        """Give the explained representation E of each row, (n, K)."""
        ...

    def distances(self, V: np.ndarray) -> np.ndarray:
        """Give the distance of each row to each mechanism, (n, K)."""
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """Give the arguments of the constructor by their names."""
        ...


class Centres:
    """The nearest centre (K-means); E are the distances to the centres."""

    kind = "distances"

    def __init__(self, centres: np.ndarray):
        self.centres = centres

    def predict(self, V: np.ndarray) -> np.ndarray:
        """Nearest centre."""
        return np.asarray(self.distances(V).argmin(axis=1))

    def distances(self, V: np.ndarray) -> np.ndarray:
        """Euclidean distances to the centres."""
        return np.asarray(cdist(V, self.centres))

    transform = distances

    def arrays(self) -> dict[str, np.ndarray]:
        """Give the centres."""
        return {"centres": self.centres}


class Gaussians:
    """The component with the largest posterior (Gaussian mixture); E are the posteriors."""

    kind = "posteriors"

    def __init__(self, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray):
        self.weights, self.means, self.covariances = weights, means, covariances
        self._roots = np.linalg.cholesky(covariances)

    def predict(self, V: np.ndarray) -> np.ndarray:
        """Component with the largest posterior."""
        return np.asarray(self.transform(V).argmax(axis=1))

    def transform(self, V: np.ndarray) -> np.ndarray:
        """Posterior probabilities of the components."""
        volume = np.log(np.diagonal(self._roots, axis1=1, axis2=2)).sum(axis=1)
        return np.asarray(softmax(np.log(self.weights) - volume - self.distances(V) ** 2 / 2, axis=1))

    def distances(self, V: np.ndarray) -> np.ndarray:
        """Mahalanobis distances to the components."""
        parts = [np.linalg.solve(R, (V - m).T) for R, m in zip(self._roots, self.means, strict=True)]
        return np.stack([np.sqrt((part**2).sum(axis=0)) for part in parts], axis=1)

    def arrays(self) -> dict[str, np.ndarray]:
        """Give weights, means and covariances."""
        return {"weights": self.weights, "means": self.means, "covariances": self.covariances}


class Neighbours:
    """The mechanism of the nearest known input, for clusterers that cannot predict; E are memberships.

    The distance to a mechanism is the mean distance to its ten nearest known inputs, an input itself left out.
    """

    kind = "memberships"
    nearest = 10

    def __init__(self, V: np.ndarray, labels: np.ndarray):
        self.V, self.labels = V, labels
        self._tree = cKDTree(V)
        self._trees = [cKDTree(V[labels == label]) for label in range(labels.max() + 1)]

    def predict(self, V: np.ndarray) -> np.ndarray:
        """Mechanism of the nearest known input."""
        return np.asarray(self.labels[self._tree.query(V)[1]])

    def transform(self, V: np.ndarray) -> np.ndarray:
        """One for the mechanism assigned, zero elsewhere."""
        return np.asarray((self.predict(V)[:, None] == np.arange(len(self._trees))).astype(float))

    def distances(self, V: np.ndarray) -> np.ndarray:
        """Mean distances to the nearest members."""
        columns = []
        for tree in self._trees:
            distance, _ = tree.query(V, k=list(range(1, min(self.nearest + 1, tree.n) + 1)))
            itself = distance[:, 0] < 1e-12
            others = distance[:, 1:].mean(axis=1) if tree.n > 1 else distance[:, 0]
            columns.append(np.where(itself, others, distance[:, : self.nearest].mean(axis=1)))
        return np.stack(columns, axis=1)

    def arrays(self) -> dict[str, np.ndarray]:
        """Give the known inputs and their mechanisms."""
        return {"V": self.V, "labels": self.labels}


class OwnPredictions(Neighbours):
    """The mechanism that a clusterer's own ``predict`` gives; distances as for `Neighbours`.

    Parameters
    ----------
    V, labels
        Known inputs and their mechanisms, as for `Neighbours`.
    clusterer : Clusterer
        Fitted, with ``predict``.
    order : array
        (K,) the clusterer's number of each mechanism.
    """

    def __init__(self, V: np.ndarray, labels: np.ndarray, clusterer: Any, order: np.ndarray):
        super().__init__(V, labels)
        self.clusterer, self.order = clusterer, order

    def predict(self, V: np.ndarray) -> np.ndarray:
        """Mechanism by the clusterer's ``predict``; -1 for what it assigns to none, or to a cluster without inputs."""
        given = _ask(self.clusterer, "predict", V, (len(V),))
        same = given[:, None] == self.order
        return np.where(same.any(axis=1), same.argmax(axis=1), -1)

    def transform(self, V: np.ndarray) -> np.ndarray:
        """Probabilities by the clusterer's ``predict_proba``, or memberships where it has none."""
        if not hasattr(self.clusterer, "predict_proba"):
            return super().transform(V)
        return _ask(self.clusterer, "predict_proba", V, (len(V), None))[:, self.order]


ASSIGNERS: dict[str, type] = {cls.kind: cls for cls in (Centres, Gaussians, Neighbours)}


def cluster(
    V: np.ndarray, n_mechanisms: int, method: Method, seed: int, regularisation: float = REGULARISATION
) -> tuple[np.ndarray, Assigner]:
    """Cluster the rows of V.

    Parameters
    ----------
    V : array
        (n, f).
    n_mechanisms : int
        K; a clusterer of the user's decides for itself.
    method : {"kmeans", "gmm", "agglomerative"} or Clusterer
        A clusterer is copied, not changed.
    seed : int
        For the three methods with a name; a clusterer of the user's has its own.
    regularisation : float
        Added to the variances of a mixture's components.

    Returns
    -------
    labels : array
        (n,), 0 for the largest cluster; -1 where a clusterer assigns none.
    assigner : Assigner
        Assigns further rows.

    Raises
    ------
    InputError
        Too many inputs for agglomeration, or a clusterer that fails or assigns no input.
    """
    if method == "kmeans":
        kmeans = KMeans(n_mechanisms, n_init=10, random_state=seed)
        labels, order = _by_size(kmeans.fit_predict(V))
        return labels, Centres(kmeans.cluster_centers_[order])
    if method == "gmm":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            kind = "full" if V.shape[1] <= 30 else "diag"
            gmm = GaussianMixture(
                n_mechanisms, covariance_type=kind, n_init=3, max_iter=300, reg_covar=regularisation, random_state=seed
            ).fit(V)
        labels, order = _by_size(gmm.predict(V))  # a component that is nobody's largest posterior is no mechanism
        covariances = gmm.covariances_ if kind == "full" else np.stack([np.diag(c) for c in gmm.covariances_])
        return labels, Gaussians(gmm.weights_[order], gmm.means_[order], covariances[order])
    if method == "agglomerative":
        if len(V) > MOST_FOR_AGGLOMERATION:
            raise InputError(
                f"method='agglomerative' with {len(V)} inputs: its memory grows with their square. Give samples= of at"
                f" most {MOST_FOR_AGGLOMERATION}, or use 'kmeans' or 'gmm'."
            )
        labels, _ = _by_size(AgglomerativeClustering(n_mechanisms).fit_predict(V))
        return labels, Neighbours(V, labels)
    clusterer = clone(method, safe=False)
    labels, order = _by_size(_ask(clusterer, "fit_predict", V, (len(V),)))
    known = labels >= 0
    if not known.any():
        raise InputError(
            f"{type(method).__name__} assigned none of the {len(V)} inputs to a cluster; change its settings."
        )
    if hasattr(clusterer, "predict"):
        return labels, OwnPredictions(V[known], labels[known], clusterer, order)
    return labels, Neighbours(V[known], labels[known])


def check_method(method: object) -> None:
    """Raise an InputError unless `cluster` can use the method."""
    usable = method in METHODS if isinstance(method, str) else callable(getattr(method, "fit_predict", None))
    if not usable or isinstance(method, type):
        raise InputError(
            f"method={method!r}: expected one of {', '.join(map(repr, METHODS))} or a clusterer with fit_predict, such"
            f" as those of scikit-learn.{closest(method, METHODS) if isinstance(method, str) else ''}"
        )


def cross_fitted_labels(
    V: np.ndarray,
    labels: np.ndarray,
    n_mechanisms: int,
    method: Method,
    seed: int,
    regularisation: float = REGULARISATION,
) -> np.ndarray:
    """Assign each input by the clusters of the half that it is not in, numbered as the mechanisms they match best.

    Parameters
    ----------
    V : array
        (m, f) what is clustered.
    labels : array
        (m,) mechanisms of all inputs together.
    n_mechanisms, method, seed, regularisation
        How these were learnt.

    Returns
    -------
    array
        (m,) mechanism of each input; -1 where none matches, and where the other half has no clusters.
    """
    result = np.full(len(V), -1)
    order = np.random.default_rng(seed).permutation(len(V))
    halves = order[: len(V) // 2], order[len(V) // 2 :]
    K = int(labels.max()) + 1
    for fitted, judged in (halves, halves[::-1]):
        if len(fitted) < 2:
            continue
        try:
            own, assigner = cluster(V[fitted], min(n_mechanisms, len(fitted)), method, seed, regularisation)
            predicted = assigner.predict(V[judged])
        except InputError:  # a clusterer of the user's may assign no input of a half
            continue
        known = (own >= 0) & (labels[fitted] >= 0)
        overlap = np.zeros((int(own.max()) + 1, K))
        np.add.at(overlap, (own[known], labels[fitted][known]), 1)
        rows, columns = linear_sum_assignment(-overlap)
        match = np.full(len(overlap) + 1, -1)  # the last is for inputs that belong to no cluster, -1
        match[rows] = columns
        result[judged] = match[predicted]
    return result


def _ask(clusterer: Any, what: str, V: np.ndarray, shape: tuple[int | None, ...]) -> np.ndarray:
    """Call a method of the user's clusterer; an InputError says what went wrong."""
    name = f"{type(clusterer).__name__}.{what}"
    try:
        given = np.asarray(getattr(clusterer, what)(V))
    except Exception as error:  # whatever the user's code raises
        raise InputError(f"{name} failed on {len(V)} inputs: {type(error).__name__}: {error}") from error
    right = given.ndim == len(shape) and all(size in (None, n) for n, size in zip(given.shape, shape, strict=True))
    whole = given.dtype.kind in "biu" or (given.dtype.kind == "f" and bool((given == np.floor(given)).all()))
    if not right or not (whole or (what == "predict_proba" and given.dtype.kind == "f")):
        wanted = "probabilities (n, clusters)" if what == "predict_proba" else "one whole number per input"
        raise InputError(f"{name} gave {given.dtype} of shape {given.shape} for {len(V)} inputs; expected {wanted}.")
    return given if what == "predict_proba" else given.astype(np.intp)


def _by_size(clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Renumber clusters from the largest to the smallest; also the old number of each new one."""
    names, sizes = np.unique(clusters[clusters >= 0], return_counts=True)
    if not len(names):
        return np.full(len(clusters), -1), names
    by_size = np.argsort(-sizes, kind="stable")
    place = np.argsort(by_size)
    old = np.minimum(np.searchsorted(names, clusters), len(names) - 1)
    return np.where(clusters >= 0, place[old], -1), names[by_size]
