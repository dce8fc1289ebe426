"""Compare two networks mechanism by mechanism."""

from __future__ import annotations

from typing import Any

import numpy as np

from neucept.comparison.comparison import ELSEWHERE, Comparison
from neucept.comparison.overlap import contingency, jaccard
from neucept.errors import InputError
from neucept.mechanisms import Mechanisms
from neucept.recording import Recording


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
    the class. An overlap counts only where it is larger than unrelated divisions of the same sizes would show.

    Mechanisms hold neither how many inputs were recorded nor the names of the other classes: that both are of the same
    inputs and classes is taken on trust, unless recordings are given, too.

    Parameters
    ----------
    a, b : Mechanisms
        Of `neucept.learn`, for the same class, on recordings of the same inputs in the same order.
    names : (str, str)
        Of the networks, for tables and figures.
    recordings : (Recording, Recording), optional
        Those that the mechanisms were learnt on. They are checked to be of the same classes and inputs, as far as their
        length and labels tell, and bring accuracies and the share of predictions alike.
    draws : int
        Bootstrap samples of the inputs for intervals. Both clusterings are held fixed.
    seed : int
        Of the bootstrap.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        For other targets, no common inputs, or recordings of other inputs or that the mechanisms do not belong to.

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
    if isinstance(draws, bool) or not isinstance(draws, int | np.integer) or draws < 2:
        raise InputError(f"draws={draws!r}: expected a whole number from 2 on.")
    if (a.target, a.target_name) != (b.target, b.target_name):
        raise InputError(
            f"The mechanisms of {names[0]} are of '{a.target_name}', those of {names[1]} of '{b.target_name}'. Learn"
            " both for the same class, with the same class_names in both recordings."
        )
    outputs, known = _checked_recordings(a, b, names, recordings)
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
        right=None if known is None or a.target is None else known[rows] == a.target,
        outputs=outputs,
        settings={"draws": int(draws), "seed": int(seed)},
    )


def _checked_names(names: Any) -> tuple[str, str]:
    given = tuple(names) if isinstance(names, tuple | list) else ()
    if len(given) != 2 or not all(isinstance(name, str) and name for name in given) or given[0] == given[1]:
        raise InputError(f"names={names!r}: expected two different names, such as ('with priors', 'without').")
    return given[0], given[1]


def _checked_recordings(
    a: Mechanisms, b: Mechanisms, names: tuple[str, str], recordings: Any
) -> tuple[dict[str, float], np.ndarray | None]:
    """Check recordings; give the outputs of both networks, and the labels of the inputs where they are known."""
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
        first = int(np.flatnonzero(one.labels != other.labels)[0])
        raise InputError(
            f"The labels of the recordings differ, first at input {first} ({one.labels[first]} and"
            f" {other.labels[first]}): record both networks on the same inputs, in the same order."
        )
    for name, mechanisms, recording in zip(names, (a, b), pair, strict=True):
        if not mechanisms.learnt_on(recording):
            raise InputError(f"The mechanisms of {name} were not learnt on the recording given for it.")
    labels = one.labels if one.labels is not None else other.labels
    outputs = {"inputs": float(len(one)), "agreement": float((one.predictions == other.predictions).mean())}
    if labels is not None and labels.min() >= 0 and labels.max() < len(one.class_names):
        outputs |= {f"accuracy_{x}": float((r.predictions == labels).mean()) for x, r in zip("ab", pair, strict=True)}
        return outputs, labels
    return outputs, None


def _repeated(mechanisms: Mechanisms) -> np.ndarray:
    """Jaccard index of each mechanism with itself, found on the halves that its inputs are not in, (K,)."""
    K = len(mechanisms)
    return np.asarray(np.diag(jaccard(contingency(mechanisms.labels, mechanisms.cross_fitted, (K, K)))))
