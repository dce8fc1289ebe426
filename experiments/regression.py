"""How much of a response some neurons predict, on inputs that the regression was not fitted on."""

from __future__ import annotations

import numpy as np
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def unexplained(Z: np.ndarray, y: np.ndarray, nonlinear: bool = True) -> np.ndarray:
    """Return the residuals of a response in units of its standard deviation, (n,).

    Ridge regression, five folds, on the neurons themselves or on 300 Gaussian kernel features of them.
    """
    steps = [StandardScaler(), RidgeCV(np.logspace(-4, 4, 9))]
    if nonlinear:
        steps.insert(1, Nystroem(gamma=0.5 / Z.shape[1], n_components=min(300, len(Z) // 2), random_state=0))
    predicted = cross_val_predict(make_pipeline(*steps), Z, y, cv=KFold(5, shuffle=True, random_state=0))
    return np.asarray((y - predicted) / y.std())


def held_out_r2(Z: np.ndarray, y: np.ndarray, nonlinear: bool) -> float:
    """Return the share of the variance of y that the neurons predict; NaN for a constant response."""
    if np.ptp(y) == 0:
        return float("nan")
    return float(1 - np.mean(unexplained(Z, y, nonlinear) ** 2))
