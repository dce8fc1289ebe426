"""Clusters from scikit-learn, or a clusterer of the user's, numbered from the largest to the smallest."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from neucept.errors import InputError
from neucept.mechanisms.assigners import Assigner, Centres, Gaussians, Neighbours

METHODS = ("kmeans", "gmm", "agglomerative")
MOST_FOR_AGGLOMERATION = 20_000  # inputs; its memory grows with their square


def cluster(V: np.ndarray, n_mechanisms: int, method: Any, seed: int) -> tuple[np.ndarray, Assigner]:
    """Cluster the rows of V.

    Parameters
    ----------
    V : array
        (n, f).
    n_mechanisms : int
        K; a clusterer of the user's decides for itself.
    method : {"kmeans", "gmm", "agglomerative"} or a scikit-learn clusterer
        With ``fit_predict``; it is cloned, not changed.
    seed : int
        For the methods named here; a clusterer of the user's has its own.

    Returns
    -------
    labels : array
        (n,), 0 for the largest cluster; -1 where a clusterer assigns none.
    assigner : Assigner
        Assigns further rows.
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
                n_mechanisms, covariance_type=kind, n_init=3, max_iter=300, reg_covar=1e-4, random_state=seed
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
    found = np.asarray(clone(method, safe=False).fit_predict(V))
    if found.shape != (len(V),) or not (found >= 0).any():
        raise InputError(
            f"{type(method).__name__} assigned none of the {len(V)} inputs to a cluster; change its settings."
        )
    labels, _ = _by_size(found)
    known = labels >= 0
    return labels, Neighbours(V[known], labels[known])


def check_method(method: Any) -> None:
    """Raise an InputError unless `cluster` can use the method."""
    usable = method in METHODS if isinstance(method, str) else hasattr(method, "fit_predict")
    if not usable or isinstance(method, type):
        raise InputError(
            f"method={method!r}: expected one of {', '.join(map(repr, METHODS))} or a scikit-learn clusterer with"
            " fit_predict."
        )


def _by_size(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Renumber clusters from the largest to the smallest; also the old number of each new one."""
    names = np.unique(found[found >= 0])
    sizes = np.array([np.sum(found == name) for name in names])
    order = names[np.argsort(-sizes, kind="stable")]
    new = np.full(order.max(initial=0) + 1, -1)
    new[order] = np.arange(len(order))
    return np.where(found >= 0, new[found], -1), order
