"""Which mechanisms are unreliable or confidently wrong: their precision on inputs that they were not fitted to."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import fisher_exact, norm

from neucept.errors import InputError, check_kind
from neucept.inputs import read_labels
from neucept.mechanisms.confidence import ErrorDetection, confidence_elsewhere, detect_errors, log_odds
from neucept.mechanisms.mechanisms import Mechanisms
from neucept.mechanisms.overconfidence import compare_confidence, compare_elsewhere, confidence_verdicts, corrected
from neucept.recording import Recording
from neucept.recording.task import Classes


def wilson(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share.

    >>> tuple(round(x, 3) for x in wilson(9, 10))
    (0.596, 0.982)
    >>> wilson(0, 0)
    (0.0, 1.0)
    """
    if n == 0:
        return 0.0, 1.0
    z = norm.ppf((1 + confidence) / 2)
    share, spread = successes / n, z * z / n
    middle = share + spread / 2
    half = z * np.sqrt(share * (1 - share) / n + spread / (4 * n))
    low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    return max(0.0, float(low)), min(1.0, float(high))


def reliability(
    recording: Recording, mechanisms: Mechanisms, labels: np.ndarray | None = None, confidence: float = 0.95
) -> pd.DataFrame:
    """Precision of each mechanism on inputs that it was not fitted to, beside what the network's confidence predicts.

    Cross-fitted: the clusters of one random half of the inputs are judged on the other half, both ways. The critical
    neurons stay as they are; neither they nor the clusters depend on a label. Only the number of mechanisms may, where
    ``n_mechanisms="auto"`` chose it by reliability: then every p-value is corrected for all the numbers that were
    compared as well, so that the verdicts hold whichever of them the labels chose.

    A mechanism that is right less often than others may be one of unsure predictions: the network's own confidence,
    its probability of the target, then says so too. The alarm is a mechanism whose precision is *below what that
    confidence predicts*: there the network is confidently wrong. Confidence is calibrated on the same inputs by a map
    that may not fall, fitted without the input judged; precision is compared with it among inputs of equal confidence.
    Inputs count as independent: keep one of copies, augmented inputs or neighbouring frames.
    See `neucept.mechanisms.compare_confidence` for the method and its sources, and
    `neucept.mechanisms.correct_over_classes` where several classes are looked at.

    Parameters
    ----------
    recording : Recording
        The recording that the mechanisms were learnt on.
    mechanisms : Mechanisms
        Of one class, or of another target of the recording's task.
    labels : array, optional
        (n,) true classes, or values of a regression; (n, C) for several labels per input. Those of the recording by
        default.
    confidence : float
        Level of Wilson's interval, and of that of the expected precision.

    Returns
    -------
    DataFrame
        One row per mechanism: ``share``, ``judged`` (number of inputs it was judged on), ``precision`` (share of them
        of which the target is true), ``low`` and ``high`` (Wilson's interval, pointwise), ``rest`` (precision of all
        other mechanisms together), ``p_value`` (Fisher's exact test of the two precisions), ``p_corrected``
        (Bonferroni, for mechanisms and numbers compared), ``verdict`` (``less reliable``, ``more reliable`` or empty,
        at 5% corrected) and ``agreement`` (share of the judged inputs that are in the same mechanism when all inputs
        are clustered together). Then the comparison with confidence: ``confidence`` (mean probability that the network
        itself gives the target, on the judged inputs; not calibrated), ``expected`` (precision that the confidence
        predicts), ``expected_low`` and ``expected_high`` (interval for the calibration's error), ``p_confidence``
        (exact stratified test of precision against confidence, two-sided, corrected over mechanisms by Holm's method,
        and for the numbers compared), ``p_confidence_raw`` (the same, not corrected), ``looks`` (how many numbers of
        mechanisms were compared by these labels; 1 where none were), ``comparable`` (for how many inputs those of the
        mechanism count, beside others of equal confidence; 0 for a single mechanism, to be compared with nothing),
        ``needed`` (how many of them it takes to see a precision 10 points below the expected one with a probability of
        80%), ``expected_elsewhere`` (precision of predictions of other classes at the same confidence),
        ``p_elsewhere`` (whether the odds of an error are more than 5 times theirs, not corrected) and
        ``confidence_verdict``: ``overconfident`` (the alarm), ``underconfident``, ``unsure`` (less reliable
        than the rest, and the confidence says so), ``as confident as right``, ``too few to tell`` (fewer than needed),
        ``nothing to compare`` (none other of the class as confident, as with a single mechanism),
        ``no probability`` (a regression, scores, and tasks of your own without ``log_odds``; numbers are NaN there).

    Raises
    ------
    InputError
        Without labels, with labels that are no classes of the model, for a target that is no class, or for mechanisms
        that were learnt on another recording.
    """
    check_kind("recording", recording, Recording, "what neucept.record returns")
    right = _right(recording, mechanisms, labels, confidence)
    judged, K = mechanisms.cross_fitted, len(mechanisms)
    rows = []
    for mechanism in range(K):
        inside = judged == mechanism
        others = (judged >= 0) & ~inside
        n, hits = int(inside.sum()), int(right[inside].sum())
        low, high = wilson(hits, n, confidence)
        table = [[hits, n - hits], [int(right[others].sum()), int((~right[others]).sum())]]
        rows.append(
            {
                "mechanism": mechanism,
                "share": float(mechanisms.shares[mechanism]),
                "judged": n,
                "precision": hits / n if n else float("nan"),
                "low": low,
                "high": high,
                "rest": float(right[others].mean()) if others.any() else float("nan"),
                "p_value": float(fisher_exact(table)[1]),
                "agreement": float((mechanisms.labels[inside] == mechanism).mean()) if n else float("nan"),
            }
        )
    frame = pd.DataFrame(rows)
    agreement = frame.pop("agreement")
    looks = 1 if mechanisms.n_clusters is None else mechanisms.n_clusters.looks
    frame["p_corrected"] = np.minimum(frame["p_value"] * K * looks, 1.0)
    less = np.where(frame["precision"] < frame["rest"], "less reliable", "more reliable")
    frame["verdict"] = np.where(frame["p_corrected"] < 0.05, less, "")
    frame["agreement"] = agreement
    frame = pd.concat([frame, _against_confidence(recording, mechanisms, right, labels, confidence)], axis=1)
    frame = corrected(frame.assign(looks=looks))
    frame["confidence_verdict"] = confidence_verdicts(frame)
    return frame


def _against_confidence(
    recording: Recording, mechanisms: Mechanisms, right: np.ndarray, labels: Any, confidence: float
) -> pd.DataFrame:
    """Compare each mechanism with the confidence within its class, and with that of other classes."""
    target, judged, K = mechanisms.target, mechanisms.cross_fitted, len(mechanisms)
    assert target is not None
    odds = log_odds(recording, target, mechanisms.samples)
    known = judged >= 0
    within = compare_confidence(None if odds is None else odds[known], right[known], judged[known], K, confidence)
    elsewhere = np.empty(0), np.empty(0, bool)
    if odds is not None:
        elsewhere = confidence_elsewhere(recording, target, _labels(recording, labels))
    predicted = recording.predicted(target)[mechanisms.samples]
    own = [
        float(expit(odds[judged == k]).mean()) if odds is not None and (judged == k).any() else np.nan for k in range(K)
    ]
    within.insert(0, "confidence", own)
    against = compare_elsewhere(odds, right, np.where(predicted, judged, -1), K, elsewhere)
    return pd.concat([within, against], axis=1)


def error_detection(recording: Recording, mechanisms: Mechanisms, labels: np.ndarray | None = None) -> ErrorDetection:
    """Compare how well errors are found by confidence alone, and by confidence with the mechanism of an input.

    Cross-fitted twice: the mechanism of an input is that by the clusters of the half of the inputs that it is not in,
    and what is learnt of labels is learnt on other inputs (five folds).

    Parameters
    ----------
    recording : Recording
        The recording that the mechanisms were learnt on.
    mechanisms : Mechanisms
        Of one class, or of another target with a probability.
    labels : array, optional
        As in `reliability`.

    Returns
    -------
    ErrorDetection
        ROC curves and the areas under them.

    Raises
    ------
    InputError
        As `reliability` does; also for outputs that are no probabilities, and where no input is wrong or none right.
    """
    right = _right(recording, mechanisms, labels, 0.95)
    odds = log_odds(recording, mechanisms.target, mechanisms.samples)
    if odds is None:
        raise InputError(
            f"The outputs of a {recording.task.name} task are no probabilities, so there is no confidence to find"
            " errors by. A task of your own may have a method log_odds(outputs, target)."
        )
    return detect_errors(odds, right, mechanisms.cross_fitted)


def _right(recording: Recording, mechanisms: Mechanisms, labels: Any, confidence: float) -> np.ndarray:
    """Check the arguments, and say which of the clustered inputs are labelled as the target, (m,)."""
    if not isinstance(confidence, Real) or not 0 < float(confidence) < 1:
        raise InputError(f"confidence={confidence!r}: expected a share between 0 and 1, such as 0.95.")
    if not isinstance(mechanisms, Mechanisms):
        raise InputError(f"mechanisms is a {type(mechanisms).__name__}; expected what neucept.learn returns.")
    if recording.labels is None and labels is None:
        raise InputError(
            "Reliability needs the true classes: record labelled data, or give labels=. Without them nobody can say how"
            " often a mechanism is right, nor whether the network is confidently wrong there."
        )
    if mechanisms.target is None:
        raise InputError("Reliability is about the predictions of a class; these mechanisms belong to no class.")
    labels = _labels(recording, labels)
    if len(labels) != len(recording):
        raise InputError(f"labels has shape {labels.shape}; expected ({len(recording)},).")
    if not mechanisms.learnt_on(recording):
        raise InputError(
            "These mechanisms were learnt on another recording. For other inputs, mechanisms.assign(recording) gives"
            " the mechanism of each."
        )
    classes = isinstance(recording.task, Classes) and labels.ndim == 1
    if classes and labels.dtype.kind == "f":
        raise InputError(f"labels= are {labels.dtype}; expected class numbers, whole and none missing.")
    if classes and labels.min() < 0:
        raise InputError(
            f"The label of input {int(labels.argmin())} is {labels.min()}: expected class numbers, 0 to"
            f" {len(recording.class_names) - 1}. If some inputs have no label, leave them out before learning:"
            " recording.subset(rows)."
        )
    if classes and labels.max() >= len(recording.class_names):
        raise InputError(
            f"Labels run from {labels.min()} to {labels.max()}, but the model has {len(recording.class_names)} classes."
            " Give labels= in the model's own classes."
        )
    right = recording.right(mechanisms.target, labels)
    if right is None:
        raise InputError(f"The labels do not say whether '{mechanisms.target_name}' is true of an input.")
    return np.asarray(right[mechanisms.samples])


def _labels(recording: Recording, labels: Any) -> np.ndarray:
    """Read the labels given, or those recorded."""
    return read_labels(recording.labels if labels is None else labels, recording.class_names)
