"""Disturb a layer's neurons and run the rest of the network, to see whether the important ones carry the prediction."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from neucept.errors import InputError, check_whole
from neucept.progress import progress as show_progress
from neucept.recording.hooks import left_as_found
from neucept.recording.intervention import numbers_of
from neucept.recording.outputs import Output, logits_of

NORMALISATIONS = ("minmax", "rank", "maximum")
NORMS = (1, 2, float("inf"))
PROTECTED = ("top", "rest")


def ablate(
    tail: nn.Module,
    activations: Tensor | np.ndarray,
    labels: np.ndarray,
    scores: Mapping[str, np.ndarray],
    levels: Sequence[float],
    gammas: Sequence[float] = (4.0,),
    tops: Sequence[int | None] = (None,),
    normalise: str = "minmax",
    norm: float = 2,
    relative: bool = True,
    protect: str = "top",
    low: float = 0.0,
    axis: int | None = None,
    output: Output = None,
    batch_size: int = 1024,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure accuracy under noise that spares the neurons that a method calls important: the ablation test.

    An element i of the layer's output gets the base noise delta_i ~ U[low, 1], one draw an input, the same for every
    method, level, gamma and top. Weighted by 2^(-gamma s), s the importance of its neuron in [0, 1], it is rescaled to
    the norm that the level fixes, and added. The noise has the shape of the layer's output: where a neuron is a channel
    of a map, each of its positions has a noise of its own and all share its weight.

    Parameters
    ----------
    tail : Module
        The network from the layer's output on, as of `neucept.recording.subnetwork`; left as found.
    activations : Tensor or array
        (n, ...) outputs of the layer, as the tail takes them; for the input layer the inputs, with the network as tail.
        An array is taken in the precision of the tail.
    labels : array
        (n,) class numbers that a prediction should have.
    scores : mapping of str to array
        Importance of the neurons by any methods: (k,), or (C, k), whose row c is for the inputs of label c. k is the
        number of channels, or of elements.
    levels : sequence of float
        Norms of the noise.
    gammas : sequence of float
        The larger, the less noise for important neurons; from about 30 on, none.
    tops : sequence of int or None
        Importance is 1 for the first neurons, so many, and 0 for the rest (equal scores: the lower number first); None
        for continuous importance.
    normalise : {"minmax", "rank", "maximum"}
        How scores become continuous importance, class by class, see `normalised`.
    norm : {1, 2, inf}
        Which norm, over all elements of the layer's output.
    relative : bool
        Levels are multiples of the mean norm of the activations; otherwise absolute.
    protect : {"top", "rest"}
        ``rest`` is the converse: importance s becomes 1 - s, so that the noise falls on the important neurons.
    low : float
        The least base noise: 0 as published, where all noise is positive and so also shifts the layer; -1 for none of
        that shift.
    axis : int, optional
        Which axis of the activations counts the channels; by default the last one of three axes, else the second.
    output : None, str, int or callable
        Picks the logits out of what the tail returns, as in `neucept.record`.
    batch_size, seed : int
        Inputs at a time, which does not change the result but for rounding; of the base noise.
    progress : bool
        Show progress when it takes more than two seconds.

    Returns
    -------
    DataFrame
        One row a ``method``, ``top`` (0 for continuous importance), ``gamma``, ``level`` and ``class``, with the number
        of ``inputs`` of the class and the ``accuracy`` on them.

    Raises
    ------
    InputError
        For activations that the tail does not take or that are not finite, labels that are none of its classes, scores
        that fit no neurons, classes without a row of scores, tops that leave no neuron for the noise, and unknown
        options.

    References
    ----------
    Vu, Nguyen and Thai, "NeuCEPT", Appendix H.3, which leaves open gamma, the normalisation of scores and the norm.

    Examples
    --------
    Neuron 0 decides alone; noise of the activations' size leaves the prediction where that neuron is spared.

    >>> tail = nn.Linear(3, 2, bias=False)
    >>> _ = tail.weight.data.copy_(torch.tensor([[-1.0, 0, 0], [1, 0, 0]]))
    >>> Z = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    >>> scores = {"right": np.array([1, 0, 0]), "wrong": np.array([0, 1, 0])}
    >>> found = ablate(tail, Z, (Z[:, 0] > 0).numpy(), scores, [1.0], gammas=[10.0], tops=[1])
    >>> found.groupby("method")["accuracy"].min().round(1).to_dict()
    {'right': 1.0, 'wrong': 0.4}
    """
    options = {"normalise": (normalise, NORMALISATIONS), "norm": (norm, NORMS), "protect": (protect, PROTECTED)}
    for name, (given, known) in options.items():
        if given not in known:
            raise InputError(f"{name}={given!r}: expected one of {', '.join(map(repr, known))}.")
    levels, gammas, tops = (_listed(n, given) for n, given in [("levels", levels), ("gammas", gammas), ("tops", tops)])
    for name, given in {"levels": levels, "gammas": gammas}.items():
        if not all(_is_number(number) and np.isfinite(number) and number >= 0 for number in given):
            raise InputError(f"{name}={given}: expected finite numbers from 0 on.")
    if not low < 1:
        raise InputError(f"low={low}: expected less than 1, the largest base noise.")
    check_whole("batch_size", batch_size)
    activations, classes = _checked(tail, activations, output)
    if not activations.is_floating_point():
        raise InputError(f"The activations are {activations.dtype}, to which no noise can be added; expected floats.")
    _check_finite(activations, batch_size)
    labels = _class_numbers(labels, len(activations), classes)
    axis = _check(activations, labels, scores, tops, axis, spare=1)
    weights = {
        (method, top or 0, gamma): _weights(_importance(row, top, normalise), gamma, protect)
        for method, row in scores.items()
        for top in tops
        for gamma in gammas
    }
    unit = _mean_norm(activations, norm) if relative else 1.0
    rng = np.random.default_rng(seed)
    hits: dict[tuple[str, int, float, float], list[np.ndarray]] = {}
    with (
        left_as_found(tail) as device,
        show_progress("disturbing neurons", len(labels) * len(weights), progress) as advance,
    ):
        for rows in _batches(len(labels), batch_size):
            Z, label = activations[rows].to(device), labels[rows]
            base = torch.from_numpy(rng.uniform(low, 1, Z.shape)).to(device, Z.dtype)
            for cell, weight in weights.items():
                noise = base * _shaped(weight[label] if weight.ndim == 2 else weight[None], Z, axis)
                size = torch.linalg.vector_norm(noise.flatten(1), norm, dim=1, dtype=torch.float32)
                noise *= (unit / size.clamp_min(1e-30)).reshape(-1, *[1] * (Z.ndim - 1))
                for level in dict.fromkeys(levels):
                    hits.setdefault((*cell, level), []).append(_predict(tail, Z + level * noise, output) == label)
                advance(len(label))
    return _table(hits, ("method", "top", "gamma", "level"), labels, "accuracy")


def resample(
    tail: nn.Module,
    activations: Tensor | np.ndarray,
    scores: Mapping[str, np.ndarray],
    tops: Sequence[int],
    rows: np.ndarray | None = None,
    axis: int | None = None,
    output: Output = None,
    batch_size: int = 1024,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure which predictions hold on the important neurons alone, all others being those of another input.

    Each input gets the others of one input drawn from all, the same for every method and top. As
    `neucept.recording.agreement`, but from the layer on, so that hundreds of sets of neurons cost little.

    Parameters
    ----------
    tail, activations, axis, output, batch_size, progress
        As in `ablate`.
    scores : mapping of str to array
        Importance of the neurons by any methods: (k,), or (C, k), whose row c is for the inputs *predicted* as c.
    tops : sequence of int
        How many neurons stay, from the most important on.
    rows : array, optional
        Inputs to predict, by number or as a mask; all by default.
    seed : int
        Of the other inputs.

    Returns
    -------
    DataFrame
        One row a ``method``, ``top`` and ``class``, with the number of ``inputs`` predicted as the class, and the
        ``agreement``: the share of them still predicted so.

    Raises
    ------
    InputError
        For activations that the tail does not take or that are not finite, rows that are none of theirs, scores that
        fit no neurons, and tops that are not numbers of neurons.

    Examples
    --------
    >>> tail = nn.Linear(2, 2, bias=False)
    >>> Z = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    >>> _ = tail.weight.data.copy_(torch.tensor([[-1.0, 0], [1, 0]]))
    >>> resample(tail, Z, {"right": np.array([1, 0]), "wrong": np.array([0, 1])}, [1]).round(1)
      method  top  class  inputs  agreement
    0  right    1      0     197        1.0
    1  right    1      1     203        1.0
    2  wrong    1      0     197        0.5
    3  wrong    1      1     203        0.5
    """
    check_whole("batch_size", batch_size)
    tops = _listed("tops", tops)
    if any(top is None for top in tops):
        raise InputError(f"tops={tops}: expected numbers of neurons that stay; None, all by degrees, is for ablate.")
    activations, _ = _checked(tail, activations, output)
    _check_finite(activations, batch_size)
    n = len(activations)
    rows = np.arange(n) if rows is None else numbers_of(rows, n, "rows")
    if not len(rows):
        raise InputError("No inputs were given: rows is empty.")
    others = np.random.default_rng(seed).choice(n, size=len(rows), replace=len(rows) > n)
    hits: dict[tuple[str, int], list[np.ndarray]] = {}
    with left_as_found(tail) as device:
        parts = [_predict(tail, activations[rows[part]].to(device), output) for part in _batches(len(rows), batch_size)]
        expected = np.concatenate(parts)
        axis = _check(activations, expected, scores, tops, axis, spare=0)
        kept = {
            (method, top): torch.as_tensor(_importance(row, top) > 0) for method, row in scores.items() for top in tops
        }
        with show_progress("replacing neurons", len(rows) * len(kept), progress) as advance:
            for part, was in zip(_batches(len(rows), batch_size), parts, strict=True):
                mine, theirs = activations[rows[part]].to(device), activations[others[part]].to(device)
                for cell, mask in kept.items():
                    keep = _shaped(mask[was] if mask.ndim == 2 else mask[None], mine, axis)
                    hits.setdefault(cell, []).append(_predict(tail, torch.where(keep, mine, theirs), output) == was)
                    advance(len(was))
    return _table(hits, ("method", "top"), expected, "agreement")


def normalised(scores: np.ndarray, how: str = "minmax") -> np.ndarray:
    """Turn scores into importance in [0, 1], row by row.

    Parameters
    ----------
    scores : array
        (..., k).
    how : {"minmax", "rank", "maximum"}
        ``minmax``: the least is 0 and the largest 1. ``rank``: by the order alone, ties sharing their mean rank. With
        both, scores that are all equal give 0. ``maximum``: in proportion to the largest, negative scores being 0, so
        that scores that are all equal give 1, or 0 where none is positive.

    Examples
    --------
    >>> for how in NORMALISATIONS:
    ...     print(normalised(np.array([-2.0, 0, 0, 8]), how))
    [0.  0.2 0.2 1. ]
    [0.  0.5 0.5 1. ]
    [0. 0. 0. 1.]
    """
    if how not in NORMALISATIONS:
        raise InputError(f"normalise={how!r}: expected one of {', '.join(map(repr, NORMALISATIONS))}.")
    scores = np.asarray(scores, np.float64)
    if how == "rank":
        scores = rankdata(scores, axis=-1)
    least = 0.0 if how == "maximum" else scores.min(axis=-1, keepdims=True)
    above = (scores - least).clip(0)
    return np.asarray(above / np.maximum(above.max(axis=-1, keepdims=True), 1e-300))


def _importance(scores: np.ndarray, top: int | None, how: str = "minmax") -> np.ndarray:
    """Give the importance of neurons in [0, 1], (..., k): continuous, or 1 for the first ``top`` and 0 for the rest."""
    if top is None:
        return normalised(scores, how)
    first = np.argsort(-np.asarray(scores, np.float64), axis=-1, kind="stable")[..., :top]
    importance = np.zeros(np.shape(scores))
    np.put_along_axis(importance, first, 1.0, axis=-1)
    return importance


def _weights(importance: np.ndarray, gamma: float, protect: str) -> Tensor:
    """Give 2^(-gamma s) up to a factor, which the rescaling to a norm takes out again; the largest is 1."""
    power = -gamma * (importance if protect == "top" else 1 - importance)
    return torch.tensor(np.exp2(power - power.max(axis=-1, keepdims=True)))


def _shaped(values: Tensor, Z: Tensor, axis: int) -> Tensor:
    """Shape one value a neuron, (batch or 1, k), as the layer's output: an element each, or a channel each."""
    values = values.to(Z.device, Z.dtype if values.is_floating_point() else values.dtype)
    if values.shape[1] == Z[0].numel():
        return values.reshape(-1, *Z.shape[1:])
    return values.reshape([len(values) if d == 0 else -1 if d == axis else 1 for d in range(Z.ndim)])


def _predict(tail: nn.Module, Z: Tensor, output: Output) -> np.ndarray:
    return np.asarray(logits_of(tail(Z), output).argmax(1).cpu().numpy())


def _mean_norm(activations: Tensor, norm: float) -> float:
    return float(torch.linalg.vector_norm(activations.flatten(1), norm, dim=1, dtype=torch.float32).mean())


def _batches(n: int, batch_size: int) -> list[slice]:
    return [slice(start, start + batch_size) for start in range(0, n, batch_size)]


def _table(
    hits: Mapping[tuple[Any, ...], list[np.ndarray]], names: Sequence[str], labels: np.ndarray, measure: str
) -> pd.DataFrame:
    """Give a row a cell and class: how often it was hit."""
    inputs = np.bincount(labels)
    shares = {cell: np.bincount(labels, weights=np.concatenate(parts)) / inputs.clip(1) for cell, parts in hits.items()}
    rows = [(*cell, c, inputs[c], share[c]) for cell, share in shares.items() for c in np.flatnonzero(inputs)]
    return pd.DataFrame(rows, columns=[*names, "class", "inputs", measure])


def _listed(name: str, given: Any) -> list[Any]:
    if isinstance(given, str) or not isinstance(given, Iterable) or not (found := list(given)):
        raise InputError(f"{name}={given!r}: expected a list of at least one.")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real | np.ndarray | Tensor) and np.ndim(value) == 0  # type: ignore[arg-type]


def _checked(tail: nn.Module, activations: Any, output: Output) -> tuple[Tensor, int]:
    """Give activations as a tensor, and the number of classes; refuse activations that the tail does not take."""
    if not isinstance(tail, nn.Module):
        raise InputError(f"tail is a {type(tail).__name__}; expected a Module, as of neucept.recording.tail.")
    if isinstance(activations, np.ndarray):
        kinds = [p.dtype for p in tail.parameters() if p.is_floating_point()]
        activations = torch.tensor(activations, dtype=(*kinds, torch.float32)[0])
    if not isinstance(activations, Tensor) or activations.ndim < 2:
        got = f"shape {tuple(activations.shape)}" if isinstance(activations, Tensor) else type(activations).__name__
        raise InputError(f"activations: got {got}; expected a tensor (n, ...), what the layer returns.")
    if not len(activations):
        raise InputError("No inputs were given.")
    with left_as_found(tail) as device:
        try:
            logits = logits_of(tail(activations[:1].to(device)), output)
        except InputError:
            raise
        except Exception as error:  # a network of the user's may raise anything
            raise InputError(
                f"The tail does not take activations of shape {tuple(activations.shape)} and type {activations.dtype}:"
                f" {error}. Give the tail and the outputs of one and the same layer."
            ) from error
    return activations, logits.shape[1]


def _check_finite(activations: Tensor, batch_size: int) -> None:
    for part in _batches(len(activations), batch_size):
        finite = activations[part].isfinite().flatten(1).all(dim=1)
        if not finite.all():
            wrong = part.start + int((~finite).nonzero()[0])
            raise InputError(f"The activations of input {wrong} are not finite.")


def _class_numbers(labels: Any, n: int, classes: int) -> np.ndarray:
    given = np.asarray(labels)
    if given.shape != (n,):
        raise InputError(f"{n} activations but labels of shape {given.shape}; expected one an input, from 0 on.")
    if given.dtype.kind not in "biuf" or not (given == np.floor(given)).all() or (given < 0).any():
        raise InputError(f"The labels ({given.dtype}) are not class numbers: expected one an input, from 0 on, whole.")
    if given.max() >= classes:
        raise InputError(f"The labels go up to {given.max():g}, but the tail gives {classes} classes.")
    return given.astype(np.int64)


def _check(
    activations: Tensor,
    labels: np.ndarray,
    scores: Mapping[str, np.ndarray],
    tops: Sequence[int | None],
    axis: int | None,
    spare: int,
) -> int:
    """Give the axis of the channels; raise an InputError for scores or tops that do not fit."""
    if not isinstance(scores, Mapping) or not scores:
        raise InputError(f"scores={scores!r}: expected the scores of at least one method, {{name: (k,)}}.")
    if axis is None:
        axis = _axis_of(activations, {np.shape(given)[-1] for given in scores.values() if np.ndim(given)})
    axis = axis % activations.ndim
    possible = (activations.shape[axis], activations[0].numel())
    for method, given in scores.items():
        values = np.asarray(given)
        shape, rows = values.shape, labels.max() + 1
        if len(shape) not in (1, 2) or shape[-1] not in possible or (len(shape) == 2 and shape[0] < rows):
            raise InputError(
                f"The scores of '{method}' have shape {shape}; expected (k,) or a row for each of {rows} classes or"
                f" more, (C, k), with k = {possible[0]} channels (axis {axis}) or {possible[1]} elements."
            )
        if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
            raise InputError(f"The scores of '{method}' are not finite numbers.")
        for top in tops:
            whole = isinstance(top, numbers.Integral) and not isinstance(top, bool)
            if top is not None and not (whole and 0 < top <= shape[-1] - spare):
                raise InputError(f"tops={list(tops)}: expected numbers from 1 to {shape[-1] - spare}.")
    return axis


def _axis_of(activations: Tensor, lengths: set[int]) -> int:
    """Find the axis of the channels: the only one as long as the scores, or any where the scores are of elements."""
    axes = [d for d in range(1, activations.ndim) if {activations.shape[d]} == lengths]
    if len(axes) > 1 and activations[0].numel() not in lengths:
        raise InputError(
            f"Scores of {lengths.pop()} neurons fit the axes {axes} of activations {tuple(activations.shape)}: say"
            " which counts the channels, axis=."
        )
    return axes[0] if axes else 1
