"""Which mechanisms are unreliable: their precision on inputs they were not found on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.stats import fisher_exact, norm

from neucept.errors import InputError
from neucept.mechanisms.clustering import cluster
from neucept.mechanisms.mechanisms import Mechanisms
from neucept.recording import Recording


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


def cross_fitted_labels(V: np.ndarray, labels: np.ndarray, n_mechanisms: int, method: Any, seed: int) -> np.ndarray:
    """Assign each input by clusters found on the half that it is not in, numbered as the mechanisms they match best.

    Parameters
    ----------
    V : array
        (m, f) what is clustered.
    labels : array
        (m,) mechanisms found on all inputs.
    n_mechanisms, method, seed
        How they were found.

    Returns
    -------
    array
        (m,) mechanism of each input; -1 where none matches, and where nothing was found on the other half.
    """
    result = np.full(len(V), -1)
    order = np.random.default_rng(seed).permutation(len(V))
    halves = order[: len(V) // 2], order[len(V) // 2 :]
    K = int(labels.max()) + 1
    for found_on, judged_on in (halves, halves[::-1]):
        if len(found_on) < 2:
            continue
        try:
            found, assigner = cluster(V[found_on], min(n_mechanisms, len(found_on)), method, seed)
        except InputError:  # a clusterer of the user's may assign none of a half
            continue
        known = (found >= 0) & (labels[found_on] >= 0)
        overlap = np.zeros((int(found.max()) + 1, K))
        np.add.at(overlap, (found[known], labels[found_on][known]), 1)
        rows, columns = linear_sum_assignment(-overlap)
        match = np.full(len(overlap), -1)
        match[rows] = columns
        result[judged_on] = match[assigner.labels(V[judged_on])]
    return result


def reliability(
    recording: Recording, mechanisms: Mechanisms, labels: np.ndarray | None = None, confidence: float = 0.95
) -> pd.DataFrame:
    """Precision of each mechanism on inputs it was not found on.

    Cross-fitted: mechanisms are found on one random half of the inputs and judged on the other, both ways. The
    critical neurons stay as they are; neither they nor the clusters have seen a label.

    Parameters
    ----------
    recording : Recording
        The one that the mechanisms were learnt on.
    mechanisms : Mechanisms
        Of one class.
    labels : array, optional
        (n,) true classes; those of the recording by default.
    confidence : float
        Of Wilson's interval.

    Returns
    -------
    DataFrame
        A row a mechanism: ``share``, ``judged`` (inputs it was judged on), ``precision`` (share of them whose label is
        the target), ``low`` and ``high`` (Wilson), ``p_value`` (Fisher's exact test against the other mechanisms),
        ``p_corrected`` (Bonferroni, for the number of mechanisms), ``verdict`` (``less reliable``, ``more
        reliable`` or empty, at 5% corrected) and ``agreement`` (share of judged inputs that the mechanisms found on
        all inputs put into the same one). The interval is the pointwise one of each mechanism.

    Raises
    ------
    InputError
        Without labels, with labels that are no classes of the model, for a target that is no class, or for mechanisms
        that were learnt on another recording.
    """
    if not 0 < confidence < 1:
        raise InputError(f"confidence={confidence!r}: expected a share between 0 and 1, such as 0.95.")
    labels = recording.labels if labels is None else np.asarray(labels)
    if labels is None:
        raise InputError("Reliability needs the true classes: record labelled data, or give labels=.")
    if mechanisms.target is None:
        raise InputError("Reliability is that of a class's predictions; these mechanisms belong to no class.")
    if labels.shape != (len(recording),):
        raise InputError(f"labels has shape {labels.shape}; expected ({len(recording)},).")
    if labels.dtype == object and all(isinstance(label, int | np.integer) for label in labels):
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "biuf" or not np.array_equal(labels, np.floor(labels)):
        raise InputError(f"labels= are {labels.dtype}; expected class numbers, whole and none missing.")
    if not mechanisms.learnt_on(recording):
        raise InputError(
            "These mechanisms were learnt on another recording. For other inputs, mechanisms.assign(recording) gives"
            " the mechanism of each."
        )
    if labels.min() < 0 or labels.max() >= len(recording.class_names):
        raise InputError(
            f"Labels run from {labels.min()} to {labels.max()}, but the model has {len(recording.class_names)} classes."
            " Give labels= in the model's own classes."
        )
    right = labels[mechanisms.samples] == mechanisms.target
    judged = mechanisms.cross_fitted
    K = len(mechanisms)
    rows = []
    for mechanism in range(K):
        mine = judged == mechanism
        others = (judged >= 0) & ~mine
        hits = int(right[mine].sum())
        low, high = wilson(hits, int(mine.sum()), confidence)
        table = [[hits, int(mine.sum()) - hits], [int(right[others].sum()), int((~right[others]).sum())]]
        rows.append(
            {
                "mechanism": mechanism,
                "share": float(mechanisms.shares[mechanism]),
                "judged": int(mine.sum()),
                "precision": hits / mine.sum() if mine.any() else float("nan"),
                "low": low,
                "high": high,
                "p_value": float(fisher_exact(table)[1]),
                "rest": float(right[others].mean()) if others.any() else float("nan"),
                "agreement": float((mechanisms.labels[mine] == mechanism).mean()) if mine.any() else float("nan"),
            }
        )
    frame = pd.DataFrame(rows)
    frame["p_corrected"] = np.minimum(frame["p_value"] * K, 1.0)
    sure = frame["p_corrected"] < 0.05
    frame["verdict"] = np.where(
        sure, np.where(frame["precision"] < frame["rest"], "less reliable", "more reliable"), ""
    )
    columns = [
        "mechanism",
        "share",
        "judged",
        "precision",
        "low",
        "high",
        "p_value",
        "p_corrected",
        "verdict",
        "agreement",
    ]
    return frame[columns]
