"""Compare two networks mechanism by mechanism."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit

from neucept.comparison.comparison import ELSEWHERE, Comparison, contingency, jaccard
from neucept.errors import InputError, check_whole
from neucept.mechanisms import Mechanisms
from neucept.mechanisms.confidence import log_odds
from neucept.recording import Recording
from neucept.recording.task import Classes


def compare(
    a: Mechanisms,
    b: Mechanisms,
    names: tuple[str, str] = ("A", "B"),
    recordings: tuple[Recording, Recording] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Compare the mechanisms by which two networks reach the same prediction.

    Mechanisms are matched one to one by the Jaccard index of their inputs, on the inputs that both networks predict as
    the class. An overlap counts only if it is larger than expected between unrelated partitions of the same sizes.

    Mechanisms do not store the number of recorded inputs or the names of the other classes. Give the recordings to
    check that both belong to the same inputs and classes.

    Parameters
    ----------
    a, b : Mechanisms
        Of `neucept.learn`, for the same class, on recordings of the same inputs in the same order.
    names : (str, str)
        Names of the networks, for tables and figures.
    recordings : (Recording, Recording), optional
        The recordings that the mechanisms were learned from. Their classes, lengths and labels must agree. They add
        accuracies, the share of equal predictions, and how sure either network is.
    draws : int
        Number of bootstrap samples of the inputs, for intervals. Both clusterings are held fixed.
    seed : int
        Seed for the bootstrap.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        For different targets, no common inputs, or recordings of other inputs or of other mechanisms.

    Examples
    --------
    >>> from neucept import learn
    >>> neurons = np.repeat([0.0, 3.0, 20.0], [40, 30, 20])[:, None] + np.linspace(0, 0.1, 90)[:, None]
    >>> logits = np.tile([1.0, 0.0], (90, 1))
    >>> recording = Recording({"hidden": neurons}, logits, None, ("cat", "dog"))
    >>> a, b = (learn(recording, {"hidden": [0]}, K, target="cat") for K in (3, 2))
    >>> compare(a, b).movements()
           B 0  B 1  not B
    A 0     40    0      0
    A 1     30    0      0
    A 2      0   20      0
    not A    0    0      0
    """
    for name, given in (("a", a), ("b", b)):
        if not isinstance(given, Mechanisms):
            raise InputError(f"{name} is a {type(given).__name__}; expected Mechanisms, of neucept.learn.")
    names = _checked_names(names)
    draws = check_whole("draws", draws, 2)
    if (a.target, a.target_name) != (b.target, b.target_name):
        raise InputError(
            f"The mechanisms of {names[0]} explain '{a.target_name}', those of {names[1]} '{b.target_name}'. Learn"
            " both for the same target, with the same class_names in both recordings."
        )
    outputs, right = _checked_recordings(a, b, names, recordings)
    rows = np.union1d(a.samples, b.samples)
    labels = np.full((len(rows), 2), ELSEWHERE)
    typicality = np.zeros((len(rows), 2))
    for side, mechanisms in enumerate((a, b)):
        at = np.searchsorted(rows, mechanisms.samples)
        labels[at, side] = mechanisms.labels
        typicality[at, side] = mechanisms.typicality
    if not (labels >= 0).all(axis=1).any():
        raise InputError(
            f"No input has a mechanism in both networks: {len(a.samples)} inputs of {names[0]} and {len(b.samples)} of"
            f" {names[1]}, none of them the same. Learn both on recordings of the same inputs."
        )
    return Comparison(
        names=names,
        target=a.target,
        target_name=a.target_name,
        counts=(len(a), len(b)),
        rows=rows,
        labels=labels,
        typicality=typicality,
        repeated=(_repeated(a), _repeated(b)),
        right=None if right is None else right[rows],
        confidence=None if recordings is None else _confidence(recordings, a.target, rows),
        outputs=outputs,
        settings={"draws": draws, "seed": int(seed)},
    )


def _checked_names(names: Any) -> tuple[str, str]:
    given = tuple(names) if isinstance(names, tuple | list) else ()
    if len(given) != 2 or not all(isinstance(name, str) and name for name in given) or given[0] == given[1]:
        raise InputError(f"names={names!r}: expected two different names, such as ('with priors', 'without').")
    return given[0], given[1]


def _checked_recordings(
    a: Mechanisms, b: Mechanisms, names: tuple[str, str], recordings: Any
) -> tuple[dict[str, float], np.ndarray | None]:
    """Check recordings; give figures on the outputs of both networks, and which inputs are labelled as the target."""
    if recordings is None:
        return {}, None
    pair = tuple(recordings) if isinstance(recordings, tuple | list) else ()
    if len(pair) != 2 or not all(isinstance(one, Recording) for one in pair):
        raise InputError("recordings= expects the two Recordings that the mechanisms were learnt on, a's first.")
    one, other = pair
    if len(one) != len(other):
        raise InputError(
            f"{names[0]} was recorded on {len(one)} inputs, {names[1]} on {len(other)}: record both on the same inputs,"
            " in the same order."
        )
    if one.class_names != other.class_names:
        raise InputError(
            f"The classes of the recordings differ: {', '.join(one.class_names[:5])} and"
            f" {', '.join(other.class_names[:5])}. Networks are compared on one task."
        )
    if one.labels is not None and other.labels is not None and (one.labels != other.labels).any():
        first = int(np.argwhere(one.labels != other.labels)[0][0])
        raise InputError(
            f"The labels of the recordings differ, first at input {first} ({one.labels[first]} and"
            f" {other.labels[first]}): record both networks on the same inputs, in the same order."
        )
    for name, mechanisms, recording in zip(names, (a, b), pair, strict=True):
        if not mechanisms.learnt_on(recording):
            raise InputError(f"The mechanisms of {name} were not learnt on the recording given for it.")
    labels, target = one.labels if one.labels is not None else other.labels, a.target
    if isinstance(one.task, Classes):
        if labels is not None and (labels.min() < 0 or labels.max() >= len(one.class_names)):
            labels = None
        one_hot = labels is not None and labels.ndim == 2
        predicted = [recording.predictions for recording in pair]
        truth = labels.argmax(axis=1) if one_hot and labels is not None else labels
    else:  # outputs of other tasks are compared as to whether they predict the target
        predicted = [] if target is None else [recording.predicted(target) for recording in pair]
        truth = None if target is None or labels is None else one.right(target, labels)
    outputs = {"inputs": float(len(one))}
    if predicted:
        outputs["agreement"] = float((predicted[0] == predicted[1]).mean())
    if predicted and truth is not None:
        outputs |= {f"accuracy_{x}": float((own == truth).mean()) for x, own in zip("ab", predicted, strict=True)}
    return outputs, None if target is None or labels is None else one.right(target, labels)


def _confidence(recordings: tuple[Recording, Recording], target: Any, rows: np.ndarray) -> np.ndarray | None:
    """Read how sure either network is of the target, (u, 2); None where there are no probabilities."""
    if target is None:
        return None
    odds = [log_odds(recording, target, rows) for recording in recordings]
    return None if odds[0] is None or odds[1] is None else expit(np.stack([odds[0], odds[1]], axis=1))


def _repeated(mechanisms: Mechanisms) -> np.ndarray:
    """Jaccard index of each mechanism with itself, found on the halves that its inputs are not in, (K,)."""
    K = len(mechanisms)
    return np.asarray(np.diag(jaccard(contingency(mechanisms.labels, mechanisms.cross_fitted, (K, K)))))
