"""What is clustered: single neurons, means of several, or weighted combinations of a layer's neurons."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.cluster import FeatureAgglomeration

from neucept.errors import InputError
from neucept.knockoffs.preprocessing import standardised
from neucept.recording import Recording
from neucept.short_repr import ShortRepr

_NAMED = 3  # neurons in the name of a combination
_ROWS = 4096  # inputs read at a time


@dataclass(frozen=True, repr=False)
class Feature(ShortRepr):
    """A coordinate in which inputs are clustered: a neuron, the mean of several, or a weighted sum of a layer's.

    Attributes
    ----------
    layer : str
        Where.
    neurons : tuple of int
        Its members; those of a weighted sum with the largest share in it come first.
    selected : bool
        Whether all of them are critical neurons at the precision asked.
    weights : tuple of float or None
        Factor of each member's activation; None for the mean.
    component : int or None
        Which principal component of a weighted space it is the part of, 0 the largest; None for the others.

    Examples
    --------
    >>> Feature("conv3", (7, 21), True).name
    'conv3:7+21'
    >>> Feature("conv3", (7, 21, 3, 4), False, (0.5, -0.4, 0.3, 0.1), 1).name
    'conv3 component 2 (7, 21, 3)'
    """

    layer: str
    neurons: tuple[int, ...]
    selected: bool
    weights: tuple[float, ...] | None = None
    component: int | None = None

    @property
    def name(self) -> str:
        """Layer and neurons, as in tables."""
        return self.named(())

    def named(self, names: Sequence[str]) -> str:
        """As `name`, with the names of the layer's neurons where there are some."""
        own = [names[neuron] if neuron < len(names) else str(neuron) for neuron in self.neurons]
        if self.component is None:
            return f"{self.layer}:{'+'.join(own)}"
        return f"{self.layer} component {self.component + 1} ({', '.join(own[:_NAMED])})"

    @property
    def main_neurons(self) -> tuple[int, ...]:
        """The members, or of a weighted sum those that it is named after."""
        return self.neurons if self.weights is None else self.neurons[:_NAMED]


def representatives(recording: Recording, features: Sequence[Feature], rows: np.ndarray | None = None) -> np.ndarray:
    """Compute features from activations, (n, f): the mean of the members of each, or their weighted sum."""
    columns: list[np.ndarray] = [np.zeros(0)] * len(features)
    weighted: dict[str, list[int]] = {}
    for number, feature in enumerate(features):
        Z = recording.activations(feature.layer)
        if max(feature.neurons) >= Z.shape[1]:
            raise InputError(
                f"Layer '{feature.layer}' has {Z.shape[1]} neurons here, but neuron {max(feature.neurons)} is needed."
            )
        if feature.weights is not None:
            weighted.setdefault(feature.layer, []).append(number)
            continue
        members = Z[:, list(feature.neurons)] if rows is None else Z[np.ix_(rows, np.array(feature.neurons))]
        columns[number] = members.mean(axis=1, dtype=np.float64)
    for layer, numbers in weighted.items():
        Z = recording.activations(layer)
        W = np.zeros((Z.shape[1], len(numbers)))
        for column, number in enumerate(numbers):
            W[list(features[number].neurons), column] = features[number].weights
        used = np.flatnonzero(W.any(axis=1))
        chosen = np.arange(len(Z)) if rows is None else np.asarray(rows)
        parts = [
            np.asarray(Z[np.ix_(chosen[start : start + _ROWS], used)], np.float64) @ W[used]
            for start in range(0, max(len(chosen), 1), _ROWS)
        ]
        for number, column in zip(numbers, np.concatenate(parts).T, strict=True):
            columns[number] = column
    return np.stack(columns, axis=1)


def reduce_layers(
    recording: Recording, neurons: Mapping[str, Any], reduce: str, sizes: Mapping[str, int], rows: np.ndarray
) -> tuple[Feature, ...]:
    """Reduce the neurons of each layer to a few representatives: ``reduce`` is ``top`` or ``agglomerate``."""
    features: list[Feature] = []
    for layer, given in neurons.items():
        features += _reduce(recording, given, layer, reduce, sizes[layer], rows)
    if not features:
        raise InputError(
            "No neuron is selected at any layer, so there is nothing to agglomerate. Use reduce='top' (the ranking"
            " is valid all the same) or a lower precision: critical.at(precision=...)."
            if reduce == "agglomerate"
            else "critical holds no neuron of any layer; give at least one."
        )
    return tuple(features)


def _reduce(recording: Recording, given: Any, layer: str, reduce: str, size: int, rows: np.ndarray) -> list[Feature]:
    if isinstance(critical_neurons := getattr(given, "neurons", None), np.ndarray):
        selected = set(critical_neurons.tolist())
        # In the order that names no information twice, whatever the order of the ranking.
        ordered = given.ranked("information")[: len(given.representatives)]
        ordered = ordered if reduce == "top" else ordered[np.isin(ordered, critical_neurons)]
    else:
        ordered = by_hand(given, layer, recording.activations(layer).shape[1])
        selected = set(ordered.tolist())
    if reduce == "top":
        chosen = ordered[:size]
        beyond = [neuron for neuron in chosen.tolist() if neuron not in selected]
        if beyond:
            warnings.warn(
                f"{len(beyond)} of the {len(chosen)} neurons used at layer '{layer}' are beyond the selection, which"
                f" has {len(selected)}: the guarantee does not cover them.",
                stacklevel=4,
            )
        return [Feature(layer, (int(neuron),), int(neuron) in selected) for neuron in chosen]
    if len(ordered) <= size or len(ordered) < 2:
        return [Feature(layer, (int(neuron),), True) for neuron in ordered]
    Z = standardised(recording.activations(layer)[np.ix_(rows, ordered)])
    groups = FeatureAgglomeration(n_clusters=size).fit(Z).labels_
    firsts = list(dict.fromkeys(groups.tolist()))  # groups in the order of their most important neuron
    return [Feature(layer, tuple(int(n) for n in ordered[groups == group]), True) for group in firsts]


def by_hand(given: Any, layer: str, width: int) -> np.ndarray:
    """Read neuron numbers, or a mask, that a person gave."""
    neurons = np.asarray(given).ravel()
    if neurons.dtype == bool and len(neurons) == width:
        return np.flatnonzero(neurons)
    if neurons.dtype.kind not in "iuf" and neurons.size:
        got = f"a mask of {len(neurons)} was given" if neurons.dtype == bool else f"{neurons.flat[0]!r} was given"
    elif len(wrong := neurons[(neurons < 0) | (neurons >= width) | (neurons != np.floor(neurons))]):
        got = f"neuron {wrong[0]} was given"
    elif len(np.unique(neurons)) < len(neurons):
        twice = neurons[np.argmax([neuron in neurons[:i] for i, neuron in enumerate(neurons)])]
        got = f"neuron {twice:.0f} was given twice"
    else:
        return neurons.astype(np.intp)
    raise InputError(f"Layer '{layer}' has {width} neurons, 0 to {width - 1}; {got}.")
