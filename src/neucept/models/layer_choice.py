"""Which layers to look at where none are named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from neucept.errors import InputError

# modules that pass on the output of the one before them, or means of it
_PASSIVE = ("Pool", "Dropout", "Identity", "Flatten")
_ACTIVATIONS = ("ReLU", "GELU", "SiLU", "ELU", "Tanh", "Sigmoid", "Swish", "Mish")


@dataclass(frozen=True)
class _Row:
    kind: str
    shape: tuple[int, ...]


def default_layers(table: pd.DataFrame, n_outputs: int | None = None) -> list[str]:
    """Choose the last map and the last hidden vector before the outputs, as the paper does.

    Parameters
    ----------
    table : DataFrame
        Of :func:`neucept.recording.list_layers`: layer, type, shape, neurons, calls, in the order of the calls.
    n_outputs : int, optional
        Number of classes of the model. Where no layer returns vectors, maps with this many channels are taken for the
        outputs.

    Returns
    -------
    list of str
        One or two layers, each called once. A map has a shape of two or more numbers (channels and space, or
        tokens), a vector of one.

    Raises
    ------
    InputError
        The model has neither.

    Examples
    --------
    >>> import torch
    >>> from neucept.models import LeNet
    >>> from neucept.recording import list_layers
    >>> default_layers(list_layers(LeNet(), torch.zeros(1, 1, 32, 32)))
    ['feature_extractor.7', 'classifier.1']
    """
    rows = {row["layer"]: _Row(row["type"], row["shape"]) for row in table.to_dict("records") if row["calls"] == 1}
    active = {name: row for name, row in rows.items() if not any(word in row.kind for word in _PASSIVE)}
    maps = [name for name, row in active.items() if len(row.shape) >= 2]
    if n_outputs is not None and not any(len(row.shape) == 1 for row in active.values()):
        # The outputs may be means of maps, one per class.
        maps = [name for name in maps if active[name].shape[0] != n_outputs] or maps
    containers = {name.rpartition(".")[0] for name in rows}
    vectors = [name for name, row in active.items() if len(row.shape) == 1 and name not in containers]
    linear = [name for name in vectors if "Linear" in active[name].kind]
    outputs = (linear or vectors)[-1:]
    hidden = vectors[: vectors.index(outputs[0])] if outputs else []
    chosen = [_innermost(name, active) for name in maps[-1:]] + hidden[-1:]
    if not chosen:
        raise InputError("The model has no hidden layer that is called once. Say which to take: --layers NAME.")
    return chosen


def early_layer(table: pd.DataFrame) -> str | None:
    """Choose a layer that sees the inputs nearly as they are: the first activation function; None where there is none.

    It is recorded beside the layers that are analysed. Noise, other sensors and other data sets show there, where late
    layers have learnt to look away.

    Examples
    --------
    >>> import torch
    >>> from neucept.models import VGG11
    >>> from neucept.recording import list_layers
    >>> early_layer(list_layers(VGG11(n_classes=2), torch.zeros(1, 3, 32, 32)))
    'features.2'
    """
    for row in table.to_dict("records"):
        if row["calls"] == 1 and row["neurons"] > 1 and any(word in row["type"] for word in _ACTIVATIONS):
            return str(row["layer"])
    return None


def _innermost(name: str, rows: Mapping[str, _Row]) -> str:
    """Name the last module of a Sequential, whose output is that of the whole."""
    parts = [other for other in rows if other.rpartition(".")[0] == name]
    if rows[name].kind == "Sequential" and parts and rows[parts[-1]].shape == rows[name].shape:
        return _innermost(parts[-1], rows)
    return name
