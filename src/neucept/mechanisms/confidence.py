"""A network's own confidence: read from its outputs, calibrated, and used to find errors alone and with mechanisms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, logit, logsumexp
from scipy.stats import rankdata

from neucept.errors import InputError
from neucept.recording import Recording
from neucept.recording.task import Binary, Classes, MultiLabel
from neucept.short_repr import ShortRepr

FOLDS = 5
SEGMENTS = 8  # of the calibration map


def log_odds(recording: Recording, target: Any, rows: np.ndarray | None = None) -> np.ndarray | None:
    """Return the network's own confidence in a target, as log odds.

    Parameters
    ----------
    recording : Recording
        From `neucept.record`.
    target : int or str
        A target of the recording's task.
    rows : array of int, optional
        Rows of the recording; all by default.

    Returns
    -------
    array or None
        (n,) logarithm of p / (1 - p), p the softmax of the logits (classes, yes or no) or the sigmoid of the label's
        logit (several labels). It is computed from the logits, so it does not saturate where p is 1 in floating point.
        A task of your own may have a method ``log_odds(outputs, target)``. None for a regression and for scores, which
        are no probabilities, for a single class, and for other tasks of your own.

    Raises
    ------
    InputError
        When a task of your own gives anything but (n,) finite numbers.

    Examples
    --------
    >>> recording = Recording({"hidden": np.ones((2, 1))}, np.array([[0.0, 0.0], [0.0, 90.0]]), None, ("a", "b"))
    >>> log_odds(recording, "b")
    array([ 0., 90.])
    """
    outputs = np.asarray(recording.logits if rows is None else recording.logits[rows], np.float64)
    task, target = recording.task, recording.class_number(target)
    if callable(own := getattr(task, "log_odds", None)):
        return _checked(np.asarray(own(outputs, target)), len(outputs), task.name)
    if type(task) is MultiLabel:
        return outputs[:, int(target)]
    if type(task) in (Classes, Binary):
        if outputs.shape[1] < 2:
            return None
        number = int(target)
        return np.asarray(outputs[:, number] - logsumexp(np.delete(outputs, number, axis=1), axis=1))
    return None


def _checked(odds: np.ndarray, n: int, task: str) -> np.ndarray:
    """Raise an InputError unless what a user's task says is one finite number per input."""
    if odds.shape != (n,) or odds.dtype.kind not in "biuf":
        raise InputError(
            f"log_odds of the task '{task}' gave {odds.dtype} of shape {odds.shape}; expected one number per input,"
            f" ({n},)."
        )
    if len(wrong := np.flatnonzero(~np.isfinite(odds))):
        raise InputError(
            f"log_odds of the task '{task}' gave {odds[wrong[0]]} at input {wrong[0]}; expected finite numbers. Compute"
            " them from logits, or keep probabilities away from 0 and 1."
        )
    return odds.astype(np.float64)


def confidence_elsewhere(recording: Recording, target: Any, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the network's confidence in its predictions of all other targets, and whether they are right.

    Parameters
    ----------
    recording : Recording
        Of a task with probabilities.
    target : int
        The target that is left out.
    labels : array
        True classes of all inputs, as `Recording.right` takes them.

    Returns
    -------
    odds, right : array
        (N,) log odds of each prediction, and whether it is right: one per input for classes, and one for each label
        that is predicted for several labels.
    """
    odds, right = [np.empty(0)], [np.empty(0, bool)]
    classes = recording.predictions if recording.single_label else None
    for other in range(recording.logits.shape[1]):
        if other == target:
            continue
        rows = np.flatnonzero(recording.predicted(other) if classes is None else classes == other)
        true, own = recording.right(other, labels), log_odds(recording, other, rows)
        if len(rows) and true is not None and own is not None:
            odds.append(own)
            right.append(true[rows])
    return np.concatenate(odds), np.concatenate(right)


def calibrate_confidence(odds: np.ndarray, right: np.ndarray, folds: int = FOLDS, seed: int = 0) -> np.ndarray:
    """Calibrate confidence, cross-fitted: the map that judges an input is fitted without it.

    The map is a logistic regression [1]_ on a piecewise linear function of the log odds that never falls. Its slopes
    are pulled towards each other, so that few inputs give Platt's straight line, and many any monotone curve, as
    isotonic regression [2]_ does. Unlike that it is smooth and never says exactly 1: on six true curves its divergence
    from the truth at 1,000 inputs is 1.4 to 3.9 thousandths of a nat (a jump: 23), isotonic regression's 31 to 59, with
    a beta prior 4.7 to 8.5 (a jump: 6), a straight line's .6 to 53. It must not fall: where larger
    confidence goes with *more* errors it becomes a constant, so that those errors stand against the confidence instead
    of being explained by it.

    Parameters
    ----------
    odds : array
        (n,) log odds of the network, see `log_odds`.
    right : array of bool
        (n,) whether the target is true.
    folds : int
        Number of folds.
    seed : int
        Seed for the folds.

    Returns
    -------
    array
        (n,) calibrated probability that the target is true.

    References
    ----------
    .. [1] J. Platt (1999), Probabilistic outputs for support vector machines; with his smoothed targets. With one
       parameter it is temperature scaling, C. Guo, G. Pleiss, Y. Sun and K. Weinberger (2017), On calibration of modern
       neural networks, ICML.
    .. [2] B. Zadrozny and C. Elkan (2002), Transforming classifier scores into accurate multiclass probability
       estimates, KDD.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> odds = 3 * rng.normal(size=2000)
    >>> right = rng.random(2000) < expit(odds / 2)  # twice too sure
    >>> bool(np.abs(calibrate_confidence(odds, right) - expit(odds / 2)).mean() < 0.02)
    True
    """
    odds, right = np.asarray(odds, np.float64), np.asarray(right, bool)
    result = np.empty(len(odds))
    for fitted, judged in _folds(len(odds), folds, seed):
        result[judged] = fit_map(odds[fitted], right[fitted])(odds[judged])
    return result


@dataclass(frozen=True, repr=False)
class ErrorDetection(ShortRepr):
    """How well errors are found by confidence alone, and by confidence with the mechanism.

    Attributes
    ----------
    curve : DataFrame
        ``by`` ("confidence" or "confidence and mechanism"), ``checked`` (share of inputs, the most suspect first),
        ``errors_found`` (share of all errors among them) and ``false_alarms`` (share of the right ones among them):
        the last two are the ROC curve.
    auc : Mapping of str to float
        Area under the ROC curve of each; 0.5 is chance.
    inputs, errors : int
        Number of inputs judged, and of errors among them.
    """

    curve: pd.DataFrame
    auc: Mapping[str, float]
    inputs: int
    errors: int


def detect_errors(
    odds: np.ndarray, right: np.ndarray, labels: np.ndarray, folds: int = FOLDS, seed: int = 0
) -> ErrorDetection:
    """Find errors by confidence alone and by confidence with the group of an input, cross-fitted.

    With the group: log odds of the calibrated confidence plus one number per group, fitted on the other folds with a
    prior that pulls it towards 0. Inputs are ranked within their fold: a fold with more errors than the others is
    judged by a map fitted with fewer, so that values of several folds, ranked together, would say less than chance.
    Parameters as in `compare_confidence`; inputs of no group are left out.

    Raises
    ------
    InputError
        Where all inputs are right, or all wrong: there is nothing to find.
    """
    known = labels >= 0
    odds, right, labels = odds[known], right[known], labels[known]
    if not len(right):
        raise InputError("No input was judged: a clusterer found no clusters on half of the inputs. Give more of them.")
    if right.all() or not right.any():
        raise InputError(f"All {len(right)} inputs judged are {'right' if right.any() else 'wrong'}: nothing to find.")
    suspicion = np.empty(len(odds))
    for fitted, judged in _folds(len(odds), folds, seed):
        calibrated = fit_map(odds[fitted], right[fitted])
        known_odds = logit(calibrated(odds[fitted]))
        shift = np.zeros(int(labels.max()) + 1)
        for mechanism in range(len(shift)):
            inside = labels[fitted] == mechanism
            shift[mechanism] = _shift(known_odds[inside], right[fitted][inside])
        suspicion[judged] = rankdata(-logit(calibrated(odds[judged])) - shift[labels[judged]]) / (len(judged) + 1)
    curves = {"confidence": _roc(-odds, ~right), "confidence and mechanism": _roc(suspicion, ~right)}
    auc = {by: float(np.trapezoid(curve["errors_found"], curve["false_alarms"])) for by, curve in curves.items()}
    curve = pd.concat([curve.assign(by=by) for by, curve in curves.items()], ignore_index=True)
    return ErrorDetection(
        curve[["by", "checked", "errors_found", "false_alarms"]], auc, len(right), int((~right).sum())
    )


def _folds(n: int, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to fit and rows to judge, of each fold."""
    parts = np.array_split(np.random.default_rng(seed).permutation(n), min(folds, max(n, 1)))
    none = np.empty(0, int)
    return [(np.concatenate([none, *parts[:i], *parts[i + 1 :]]), parts[i]) for i in range(len(parts))]


@dataclass(frozen=True, eq=False, repr=False)
class CalibrationMap(ShortRepr):
    """A calibration map: logit p = offset + slopes over segments of the log odds, none negative."""

    knots: np.ndarray
    coefficients: np.ndarray

    def __call__(self, odds: np.ndarray) -> np.ndarray:
        """Probability that the target is true, for log odds of the network."""
        return np.asarray(expit(_ramps(odds, self.knots) @ self.coefficients))


def _ramps(odds: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Make a column of ones, and one per segment that rises from 0 to 1 over it."""
    columns = [np.ones(len(odds))]
    for low, high in pairwise(knots):
        columns.append(np.clip((odds - low) / (high - low), 0, 1))
    return np.stack(columns, axis=1)


def fit_map(odds: np.ndarray, right: np.ndarray) -> CalibrationMap:
    """Fit a monotone, smooth calibration map by penalised maximum likelihood."""
    n, hits = len(odds), int(right.sum())
    if n == 0:
        return CalibrationMap(np.zeros(1), np.zeros(1))
    targets = np.where(right, (hits + 1) / (hits + 2), 1 / (n - hits + 2))  # Platt's
    segments = int(np.clip(n // 25, 1, SEGMENTS))
    knots = np.unique(np.quantile(odds, np.linspace(0, 1, segments + 1)))
    widths = np.diff(knots) / _spread(odds)
    parts = np.array_split(np.argsort(odds, kind="stable"), min(n, 256))  # inputs of nearly equal confidence together
    X = _ramps(np.array([odds[part].mean() for part in parts]), knots)
    weight = np.array([len(part) for part in parts], float)
    share = np.array([targets[part].mean() for part in parts])
    differences = np.diff(np.eye(len(widths)), axis=0) / widths if len(widths) > 1 else np.zeros((0, len(widths)))
    penalty = np.zeros((X.shape[1], X.shape[1]))
    penalty[1:, 1:] = differences.T @ differences

    unit = np.append(
        1.0, np.minimum(widths, 1.0)
    )  # of a coefficient: narrow segments would be searched in steps too long
    X, penalty = X * unit, penalty * np.outer(unit, unit)

    def loss(c: np.ndarray) -> tuple[float, np.ndarray]:
        u = X @ c
        value = weight @ (np.logaddexp(0, u) - share * u) + c @ penalty @ c / 2
        return float(value), X.T @ (weight * (expit(u) - share)) + penalty @ c

    start = np.concatenate([[logit(np.clip(targets.mean(), 1e-6, 1 - 1e-6))], np.full(len(widths), 1e-3)])
    bounds = [(None, None)] + [(0, None)] * len(widths)
    return CalibrationMap(knots, minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x * unit)


def _spread(odds: np.ndarray) -> float:
    """Scale of log odds: the standard deviation, unless a few far ones make it larger than most inputs span."""
    most = float(np.subtract(*np.quantile(odds, [0.95, 0.05])))
    spread = float(odds.std())
    return (min(spread, most) if most > 0 else spread) or 1.0


def _shift(odds: np.ndarray, right: np.ndarray) -> float:
    """Find what to add to the log odds of a group so that they predict its precision; normal prior, deviation 2."""
    value = 0.0
    for _ in range(50):
        p = expit(odds + value)
        step = (right.sum() - p.sum() - value / 4) / ((p * (1 - p)).sum() + 1 / 4)
        value += float(np.clip(step, -1, 1))
    return value


def _roc(suspicion: np.ndarray, wrong: np.ndarray) -> pd.DataFrame:
    """ROC curve, ties together."""
    order = np.argsort(-suspicion, kind="stable")
    last = np.flatnonzero(np.append(np.diff(suspicion[order]) != 0, True))
    found, alarms = np.cumsum(wrong[order])[last], np.cumsum(~wrong[order])[last]
    return pd.DataFrame(
        {
            "checked": np.append(0, (last + 1) / len(wrong)),
            "errors_found": np.append(0, found / wrong.sum()),
            "false_alarms": np.append(0, alarms / (~wrong).sum()),
        }
    )
