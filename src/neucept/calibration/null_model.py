"""The local false discovery rate: the probability that a group of neurons is null, given the evidence on it.

The term is Efron's (Efron and others, 2001). Here a classifier estimates it from simulated responses, for which the
null groups are known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from neucept.short_repr import ShortRepr

BENDS = 5  # of each bent line, its ends with them
MOST_GROUPS = 20_000  # that the model is trained on: more make it slower, not better
PENALTY = 50.0  # on the squared coefficients of standardised columns


@dataclass(frozen=True, eq=False, repr=False)
class NullModel(ShortRepr):
    """Logistic regression on bent lines: the local false discovery rate of a group from its evidence.

    Every column of the evidence has a piecewise linear function of its own, with bends at the column's quartiles.

    Attributes
    ----------
    knots : array
        (5, f) quartiles of the columns, the smallest and largest value with them.
    weights : array
        (3, 4 f + 1) mean, scale and coefficient of each piece; the last is the offset.
    """

    knots: np.ndarray
    weights: np.ndarray

    @classmethod
    def fit(cls, evidence: np.ndarray, null: np.ndarray, start: NullModel | None = None) -> NullModel:
        """Train on (L, g, f) evidence and (L, g) groups that are known to be null or not.

        With a model to start from, its bends are used, and two rounds of Newton's method are enough.
        """
        X, y = evidence.reshape(-1, evidence.shape[-1]), null.ravel()
        if len(y) > MOST_GROUPS:
            chosen = np.random.default_rng(0).choice(len(y), MOST_GROUPS, replace=False)
            X, y = X[chosen], y[chosen]
        knots = np.quantile(X, np.linspace(0, 1, BENDS), axis=0).astype(np.float32) if start is None else start.knots
        B = _bent(X, knots)
        if start is None:
            share = float(np.clip(y.mean(), 1e-3, 1 - 1e-3))
            mean, scale, w = B.mean(axis=0), B.std(axis=0).clip(1e-3), np.zeros(B.shape[1] + 1)
            w[-1] = np.log(share / (1 - share))
        else:
            mean, scale, w = start.weights[0, :-1], start.weights[1, :-1], start.weights[2]
        B = np.hstack([(B - mean) / scale, np.ones((len(B), 1))]).astype(np.float32)
        penalty = np.append(np.full(B.shape[1] - 1, PENALTY), 1e-6)
        with threadpool_limits(1, "blas"):
            for _ in range(12 if start is None else 2):
                p = 1 / (1 + np.exp(-(B @ w.astype(np.float32)).astype(np.float64)))
                weighted = B * np.sqrt(np.maximum(p * (1 - p), 1e-4)).astype(np.float32)[:, None]
                hessian = (weighted.T @ weighted).astype(np.float64) + np.diag(penalty)
                step = np.linalg.solve(hessian, B.T @ (y - p).astype(np.float32) - penalty * w)
                w = w + step
                if np.abs(step).max() < 1e-3:
                    break
        return cls(knots, np.stack([np.append(mean, 0.0), np.append(scale, 1.0), w]))

    def predict(self, evidence: np.ndarray) -> np.ndarray:
        """Estimate the local false discovery rate of each group, (L, g)."""
        mean, scale, w = self.weights
        score = [((_bent(X, self.knots) - mean[:-1]) / scale[:-1]) @ w[:-1] + w[-1] for X in evidence]
        return np.asarray(1 / (1 + np.exp(-np.stack(score))))


def _bent(X: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Position between each two knots, from 0 to 1, (rows, 4 f)."""
    low, high = knots[:-1, None], knots[1:, None]
    part = (X.astype(np.float32) - low) / np.maximum(high - low, np.float32(1e-6))
    return np.asarray(np.hstack(list(part.clip(0, 1))))


FOLDS = 5  # of the simulated responses, to evaluate each by a model that was not trained on it


def held_out(evidence: np.ndarray, null: np.ndarray, parts: np.ndarray | None = None) -> np.ndarray:
    """Local false discovery rates, (L, g), of responses by models that were trained on other parts of them.

    Parameters
    ----------
    evidence : array
        (L, g, f) of `Layer.describe`.
    null : array
        (L, g) groups that are known to be null.
    parts : array, optional
        (L,) part of each response; by default five folds.
    """
    parts = np.arange(len(null)) % FOLDS if parts is None else parts
    start = NullModel.fit(evidence, null)
    result = np.ones(null.shape)
    for part in np.unique(parts):
        out = parts == part
        result[out] = NullModel.fit(evidence[~out], null[~out], start).predict(evidence[out])
    return result


def boosted_trees(evidence: np.ndarray, null: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Local false discovery rates, (L, g), each by trees trained on other parts: the model of version 0.1.

    It gives results that these versions saved the calibration that they had.
    """
    result = np.ones(null.shape)
    for part in np.unique(parts):
        out = parts == part
        y = null[~out].ravel()
        model = HistGradientBoostingClassifier(
            max_iter=80,
            max_leaf_nodes=8,
            learning_rate=0.08,
            l2_regularization=10.0,
            min_samples_leaf=min(100, max(1, y.size // 20)),
            early_stopping=False,
            random_state=0,
        )
        with threadpool_limits(1, "openmp"):  # its threads would not survive a fork
            model.fit(evidence[~out].reshape(-1, evidence.shape[-1]), y)
            flat = model.predict_proba(evidence[out].reshape(-1, evidence.shape[-1]))[:, 1]
        result[out] = flat.reshape(null[out].shape)
    return result


def proportions(masks: np.ndarray, null: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the false discovery proportion (0 for no discovery) and power (NaN with nothing to find) of (L, g) masks."""
    false = (masks & null).sum(axis=1) / np.maximum(masks.sum(axis=1), 1)
    critical = (~null).sum(axis=1)
    power = np.where(critical > 0, (masks & ~null).sum(axis=1) / np.maximum(critical, 1), np.nan)
    return np.asarray(false), np.asarray(power)
