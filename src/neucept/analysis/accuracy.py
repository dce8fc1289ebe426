"""How often a network is right on some inputs, what it confuses, and whether that is plausible."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from neucept.mechanisms import wilson
from neucept.recording import Recording
from neucept.recording.task import Classes


def right_inputs(recording: Recording) -> np.ndarray | None:
    """Whether each input is classified right, (n,); None where nobody can say."""
    labels = recording.labels
    if labels is None or not isinstance(recording.task, Classes) or labels.ndim != 1 or labels.dtype.kind == "f":
        return None
    return np.asarray(recording.predictions == labels)


def confusion(recording: Recording) -> np.ndarray | None:
    """Count inputs by label and prediction, (C, C); labels that are no class of the model are left out."""
    if right_inputs(recording) is None:
        return None
    assert recording.labels is not None
    C = len(recording.class_names)
    known = (recording.labels >= 0) & (recording.labels < C)
    pairs = recording.labels[known] * C + recording.predictions[known]
    return np.bincount(pairs, minlength=C * C).reshape(C, C)


def accuracy_with_interval(recording: Recording) -> tuple[float, float, float] | None:
    """Share of all inputs that are classified right, with Wilson's 95% interval; None where nobody can say."""
    right = right_inputs(recording)
    return None if right is None else (float(right.mean()), *wilson(int(right.sum()), len(right)))


def implausible(recording: Recording) -> str:
    """Say what speaks against the accuracy of a network on some data; empty where nothing does.

    An accuracy is implausible where it is not above what chance and the shares of the classes allow: naming any class,
    or always the most frequent one. The usual reasons are inputs that are not normalised as in the training, and
    classes in another order; the sentence says so where another order explains the labels.

    Examples
    --------
    >>> labels = np.arange(300) % 3
    >>> Z, logits = np.ones((300, 1), np.float32), np.eye(3, dtype=np.float32)[(labels + 1) % 3]
    >>> print(implausible(Recording({"hidden": Z}, logits, labels, ("a", "b", "c"))))  # doctest: +ELLIPSIS
    The network is right in 0.0% of 300 inputs (0.0 to 1.3), ... class 'a' is called 'b'...
    """
    right, counts = right_inputs(recording), confusion(recording)
    if right is None or counts is None or not len(right):
        return ""
    n, C = len(right), len(counts)
    share, (low, high) = float(right.mean()), wilson(int(right.sum()), n)
    largest = int(counts.sum(axis=1).argmax())
    shares = float(counts[largest].sum() / n), 1 / C
    if low > max(shares):
        return ""
    names = recording.class_names
    why = f"always naming '{names[largest]}'" if shares[0] >= shares[1] else f"naming one of {C} classes by chance"
    said = (
        f"The network is right in {share:.1%} of {n:,} inputs ({low * 100:.1f} to {high * 100:.1f}), no better than"
        f" {why} ({max(shares):.1%})."
    )
    rows, columns = linear_sum_assignment(-counts)
    reordered = float(counts[rows, columns].sum() / n)
    moved = [(i, j) for i, j in zip(rows.tolist(), columns.tolist(), strict=True) if i != j and counts[i, j]]
    if moved and wilson(round(reordered * n), n)[0] > max(2 * high, 1.5 * max(shares)):
        i, j = max(moved, key=lambda pair: counts[pair])
        said += f" With its classes in another order it would be right in {reordered:.1%}: class '{names[i]}' is called"
        return (
            f"{said} '{names[j]}', for instance. Give the names in the order of the outputs (class_names=, --classes)."
        )
    return (
        f"{said} Check that the inputs are normalised as in its training (--mean, --std), that its classes are in the"
        " order of the labels, and that its weights are loaded."
    )
