"""Local false discovery rates: the probability that a group of neurons is null, given the evidence on it.

The term is Efron's (Efron and others, 2001). Here a classifier estimates it from simulated responses, for which the
null groups are known.
"""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits


def group_importance(importance: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Root of the summed squares over a group's members, (L, g), from (L, p)."""
    total = np.zeros((len(importance), int(groups.max()) + 1))
    np.add.at(total.T, groups, (importance**2).T)
    return np.sqrt(total)


def features(importance: np.ndarray, residual: np.ndarray, W: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Describe the evidence for every group of every response, free of units.

    Parameters
    ----------
    importance : array
        (L, g) of `group_importance`.
    residual : array
        (L,) training error of the networks that gave the importance.
    W : array
        (L, g) mean knockoff statistics.
    sizes : array
        (g,) neurons of each group.

    Returns
    -------
    array
        (L, g, 12).
    """
    g = importance.shape[1]
    small = 1e-12
    ordered = np.sort(importance, axis=1)
    top = ordered[:, -max(1, g // 20) :].mean(axis=1, keepdims=True) + small
    middle = np.median(importance, axis=1, keepdims=True) + small
    bottom = ordered[:, : max(1, g // 4)].mean(axis=1, keepdims=True) + small
    log = np.log(importance + small)
    against = np.maximum(-W.min(axis=1, keepdims=True), 0) + 1e-9
    most = np.maximum(W.max(axis=1, keepdims=True), 1e-9)
    columns = (
        log - np.log(top),
        log - np.log(middle),
        log - np.log(bottom),
        _log_rank(importance),
        np.log(top / middle),
        np.log(top / bottom),
        np.log(np.clip(residual, 1e-3, 2))[:, None],
        np.log(sizes)[None, :],
        np.arcsinh(W / against),
        W / most,
        _log_rank(W),
        np.log(most / against),
    )
    return np.stack([np.broadcast_to(column, importance.shape) for column in columns], axis=-1)


def _log_rank(values: np.ndarray) -> np.ndarray:
    """Logit of the rank from the top, (L, g)."""
    rank = (np.argsort(np.argsort(-values, axis=1), axis=1) + 0.5) / values.shape[1]
    return np.asarray(np.log(rank / (1 - rank + 1e-9)))


class NullModel:
    """Boosted trees that estimate the local false discovery rate of a group from its evidence."""

    def fit(self, evidence: np.ndarray, null: np.ndarray) -> NullModel:
        """Train on (L, g, f) evidence and (L, g) groups that are known to be null or not."""
        self._model = HistGradientBoostingClassifier(
            max_iter=80,
            max_leaf_nodes=8,
            learning_rate=0.08,
            l2_regularization=10.0,
            min_samples_leaf=min(100, max(1, null.size // 20)),
            early_stopping=False,
            random_state=0,
        )
        self._constant = float(null.mean()) if null.all() or not null.any() else None
        if self._constant is None:
            with threadpool_limits(1, "openmp"):  # its threads would not survive a fork
                self._model.fit(evidence.reshape(-1, evidence.shape[-1]), null.ravel())
        return self

    def predict(self, evidence: np.ndarray) -> np.ndarray:
        """Estimate the local false discovery rate of each group, (L, g)."""
        if self._constant is not None:
            return np.full(evidence.shape[:2], self._constant)
        with threadpool_limits(1, "openmp"):
            flat = self._model.predict_proba(evidence.reshape(-1, evidence.shape[-1]))[:, 1]
        return np.asarray(flat.reshape(evidence.shape[:2]))


def proportions(masks: np.ndarray, null: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the false discovery proportion (0 for no discovery) and power (NaN with nothing to find) of (L, g) masks."""
    false = (masks & null).sum(axis=1) / np.maximum(masks.sum(axis=1), 1)
    critical = (~null).sum(axis=1)
    power = np.where(critical > 0, (masks & ~null).sum(axis=1) / np.maximum(critical, 1), np.nan)
    return np.asarray(false), np.asarray(power)
