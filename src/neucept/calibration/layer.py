"""The neurons of a layer on some inputs, checked and prepared: what is calibrated is what is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neucept.errors import InputError
from neucept.knockoffs.preprocessing import Prepared, alive, prepare
from neucept.recording import Recording

FEWEST_INPUTS = 30


def prepared_neurons(
    recording: Recording, layer: str, rows: np.ndarray, groups: np.ndarray | None
) -> tuple[Prepared, np.ndarray | None]:
    """Prepare a layer's neurons on some rows.

    Parameters
    ----------
    recording, layer
        Where they are.
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
    prepared = prepare(_included(recording, layer, rows, groups))
    return prepared, None if groups is None else renumbered(groups[prepared.representatives])


def check_neurons(recording: Recording, layer: str, rows: np.ndarray, groups: np.ndarray | None) -> None:
    """Refuse a layer with activations that are not finite, or with none that vary."""
    X = _included(recording, layer, rows, groups)
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


def groups_of(recording: Recording, layer: str, groups: Any) -> np.ndarray | None:
    """Give the groups of a layer, (k,), of one array or of a mapping of layers; refuse other shapes and types."""
    given = groups.get(layer) if isinstance(groups, Mapping) else groups
    if given is None:
        return None
    given, k = np.asarray(given), recording.activations(layer).shape[1]
    if given.shape != (k,) or not np.issubdtype(given.dtype, np.integer):
        raise InputError(f"groups of layer '{layer}' has shape {given.shape}; expected ({k},) whole numbers.")
    return given


def renumbered(groups: np.ndarray) -> np.ndarray:
    """Renumber groups from 0 on in the order of their first member."""
    _, first, number = np.unique(groups, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[number])


def _included(recording: Recording, layer: str, rows: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    X = np.array(recording.activations(layer)[rows])
    if groups is not None:
        X[:, groups < 0] = 0.0
    return X
