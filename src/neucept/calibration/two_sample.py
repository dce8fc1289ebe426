"""Can neurons and their knockoffs be told apart? The assumption behind the knockoffs' own guarantee."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from threadpoolctl import threadpool_limits

from neucept.knockoffs import GaussianSampler, Sampler


def exchangeability(Z: np.ndarray, seed: int = 0, sampler: Sampler | None = None) -> tuple[float, float]:
    """Test whether neurons and knockoffs can be told apart: a classifier two-sample test under random swaps.

    Half of the rows have a random half of the pairs exchanged. If knockoffs were perfect, no classifier could tell
    those rows from the others.

    Parameters
    ----------
    Z : array
        (n, p) standardised neurons.
    seed : int
        Seed for knockoffs, swaps and folds.
    sampler : Sampler, optional
        Gaussian by default.

    Returns
    -------
    auc : float
        Area under the ROC curve on held-out rows; 0.5 for perfect knockoffs.
    p_value : float
        One-sided, normal approximation.
    """
    rng = np.random.default_rng([seed, 1985])  # a stream of its own, whatever made the data
    n, p = Z.shape
    drawing = sampler or GaussianSampler()
    drawing.fit(Z)
    Zk = drawing.draw(Z, rng)
    swap = np.zeros(p, bool)
    swap[rng.permutation(p)[: (p + 1) // 2]] = True
    label = rng.permutation(n) % 2
    exchanged = (label[:, None] == 1) & swap[None, :]
    X = np.hstack([np.where(exchanged, Zk, Z), np.where(exchanged, Z, Zk)])
    model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=8, random_state=seed)
    folds = StratifiedKFold(3, shuffle=True, random_state=seed)
    with threadpool_limits(1, "openmp"):  # its threads would not survive a fork
        score = cross_val_predict(model, X, label, cv=folds, method="predict_proba")[:, 1]
    auc = float(roc_auc_score(label, score))
    a, b = int((label == 1).sum()), int((label == 0).sum())
    return auc, float(norm.sf((auc - 0.5) / np.sqrt((a + b + 1) / (12 * a * b))))
