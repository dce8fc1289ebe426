"""Calibrate a recorded layer: its neurons on some inputs, checked and prepared, and the calibration that is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from neucept.calibration.calibration import Calibration, calibrate_neurons
from neucept.errors import InputError, check_kind, check_precision
from neucept.knockoffs.preprocessing import Prepared, alive, check_width, prepare
from neucept.recording import Recording
from neucept.recording.recording import Target

FEWEST_INPUTS = 30


def prepared_neurons(
    activations: np.ndarray, rows: np.ndarray, groups: np.ndarray | None
) -> tuple[Prepared, np.ndarray | None]:
    """Prepare a layer's neurons on some rows.

    Parameters
    ----------
    activations : array
        (N, k) neurons of the layer on all inputs.
    rows : array
        (n,) row numbers.
    groups : array, optional
        (k,) group of each neuron, -1 to leave it out like a dead one.

    Returns
    -------
    Prepared
        One neuron of each set of collinear ones.
    array or None
        (p,) group of each of them, numbered from 0 on; None without groups.
    """
    prepared = prepare(_included(activations, rows, groups))
    return prepared, None if groups is None else renumbered(groups[prepared.representatives])


def check_neurons(layer: str, activations: np.ndarray, rows: np.ndarray, groups: np.ndarray | None) -> None:
    """Refuse a layer with activations that are not finite, with none that vary, or with too many."""
    X = _included(activations, rows, groups)
    check_width(X, f"Layer '{layer}'")
    finite = np.isfinite(X)
    if not finite.all():
        row, neuron = (int(i) for i in np.argwhere(~finite)[0])
        raise InputError(f"Neuron {neuron} of layer '{layer}' is {X[row, neuron]} at input {rows[row]}.")
    if not alive(X).any():
        which = "" if groups is None or (groups >= 0).all() else " that groups= includes"
        raise InputError(
            f"Layer '{layer}' is dead: its {X.shape[1]} neurons{which} are constant over the {len(X)} inputs."
            " Record another layer, or other inputs."
        )


def groups_of(layer: str, k: int, groups: Any) -> np.ndarray | None:
    """Return the groups of a layer, (k,), from one array or a mapping of layers; refuse other shapes and types."""
    given = groups.get(layer) if isinstance(groups, Mapping) else groups
    if given is None:
        return None
    given = np.asarray(given)
    if given.shape != (k,) or not np.issubdtype(given.dtype, np.integer):
        raise InputError(f"groups of layer '{layer}' has shape {given.shape}; expected ({k},) whole numbers.")
    return given


def renumbered(groups: np.ndarray) -> np.ndarray:
    """Renumber groups from 0 on in the order of their first member."""
    _, first, number = np.unique(groups, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[number])


def _included(activations: np.ndarray, rows: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    X = np.array(activations[rows])
    if groups is not None:
        X[:, groups < 0] = 0.0
    return X


def calibrate(
    recording: Recording,
    layer: str,
    precision: float = 0.9,
    target: Target | None = None,
    samples: str | np.ndarray | None = None,
    groups: np.ndarray | None = None,
    progress: bool = True,
) -> Calibration:
    """Measure which precision selections reach on a layer's own activations, and learn to reach the one asked for.

    Responses with known critical neurons are simulated on the layer: linear ones, random networks of several kinds,
    thresholds, products, squares, maxima and pure noise, with several numbers of critical neurons and noise levels. The
    evidence on each neuron is what fits of the response say of it: regressions on the neurons, their squares and
    products, random features, and a small network where there are enough inputs. From this evidence a model estimates
    the local false discovery rate: the probability that a neuron is null (Efron and others, 2001). Responses are
    evaluated by models that were not trained on them.

    The result is kept with the recording, and beside it on disk where it was saved, by layer, inputs and groups. It
    depends on neither target nor seed.

    Parameters
    ----------
    recording : Recording
        Of `neucept.record`.
    layer : str
        Its name.
    precision : float
        Only checked here; `Calibration.table` takes any.
    target : int, str or array, optional
        Determines the default inputs: those predicted as the class.
    samples : {"predicted", "all"}, mask or row numbers, optional
        Inputs to look at; all by default without a target.
    groups : array, optional
        (k,) group of each of the layer's neurons, -1 to leave it out; by default the finest that can be told apart.
        Nearly identical neurons count as one, whatever their groups.
    progress : bool
        Show progress when it takes more than two seconds.

    Returns
    -------
    Calibration

    References
    ----------
    Efron, Tibshirani, Storey and Tusher, "Empirical Bayes analysis of a microarray experiment", 2001. Sun and Cai,
    "Oracle and adaptive compound decision rules for false discovery rate control", 2007.

    Raises
    ------
    InputError
        Before any work, for an unknown layer or target, fewer than 30 inputs, activations that are not finite, or a
        layer whose neurons are all constant, or of which more than 6,000 vary.
    """
    check_precision(precision)
    check_kind("recording", recording, Recording, "what neucept.record returns")
    check_kind("layer", layer, str, "the name of a recorded layer")
    if isinstance(target, np.ndarray):
        recording.response(target)  # refuses what is no response of these inputs
    everything = np.zeros(len(recording))
    rows = recording.samples(everything if target is None else target, samples)
    if len(rows) < FEWEST_INPUTS:
        raise InputError(f"{len(rows)} inputs, but at least {FEWEST_INPUTS} are needed. Record more, or choose others.")
    activations = recording.activations(layer)
    groups = groups_of(layer, activations.shape[1], groups)
    check_neurons(layer, activations, rows, groups)
    prepared, given = prepared_neurons(activations, rows, groups)
    return cached_calibration(recording, layer, rows, prepared.Z, given, progress)


def cached_calibration(
    recording: Recording, layer: str, rows: np.ndarray, Z: np.ndarray, groups: np.ndarray | None, progress: bool = True
) -> Calibration:
    """Calibrate, or take the calibration kept with the recording for the same layer, inputs and groups."""
    sha = hashlib.sha256(f"4 {layer} {Z.shape}".encode())
    sha.update(np.ascontiguousarray(rows, np.int64).tobytes())
    sha.update(np.ascontiguousarray(Z, np.float32).tobytes())  # the key is the content, not its name
    if groups is not None:
        sha.update(np.ascontiguousarray(groups, np.int64).tobytes())
    key = sha.hexdigest()[:24]
    if key in recording.cache:
        known: Calibration = recording.cache[key]
        return known
    place = None if recording.path is None else recording.path / "calibrations" / key
    if place is not None and place.exists():
        calibration = Calibration.open(place)
    else:
        calibration = calibrate_neurons(Z, layer, groups, progress=progress)
        if place is not None:
            try:
                calibration.save(place)
            except (OSError, InputError):  # a recording that may only be read; kept in memory all the same
                place = None
    recording.cache[key] = calibration
    return calibration
