"""Weighted spaces: all live neurons of some layers, each counting as much as it matters, on principal components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV

from neucept.discovery import Selection
from neucept.errors import InputError
from neucept.knockoffs.preprocessing import deviations, standardised
from neucept.mechanisms.features import Feature, by_hand
from neucept.recording import Recording
from neucept.short_repr import ShortRepr
from neucept.vocabulary import SpaceName

REGULARISATION = 0.1  # of the covariances of a mixture, for coordinates of mean variance 1
_EXACT = 1000  # rows or columns up to which principal components are computed by a full decomposition


@dataclass(frozen=True, eq=False, repr=False)
class Space(ShortRepr):
    """All live neurons of some layers, weighted, and projected on d principal components.

    Attributes
    ----------
    layers : tuple of str
        The L layers.
    layer : array
        (p,) number of the layer of each neuron.
    neurons : array
        (p,) its number in the layer, ascending within a layer.
    selected : array
        (p,) whether it is a critical neuron at the precision asked.
    weights : array
        (p, d) its weight in each component, per unit of activation.
    mean, deviation : array
        (p,) of its activation over the clustered inputs.
    centres : array
        (K, p) its mean activation in each mechanism; no rows before inputs are clustered.
    """

    layers: tuple[str, ...]
    layer: np.ndarray
    neurons: np.ndarray
    selected: np.ndarray
    weights: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    centres: np.ndarray

    @property
    def names(self) -> list[str]:
        """Layer and number of each neuron."""
        return self.named({})

    def named(self, names: Mapping[str, Sequence[str]]) -> list[str]:
        """Layer and name of each neuron, or its number where the layer has no names."""
        pairs = zip((self.layers[layer] for layer in self.layer), self.neurons.tolist(), strict=True)
        return [f"{layer}:{names[layer][neuron] if layer in names else neuron}" for layer, neuron in pairs]

    def features(self) -> tuple[Feature, ...]:
        """Give the part of each layer in each component, L x d features, layer by layer."""
        features = []
        for number, layer in enumerate(self.layers):
            own = np.flatnonzero(self.layer == number)
            for component in range(self.weights.shape[1]):
                share = np.abs(self.weights[own, component]) * self.deviation[own]
                order = own[np.argsort(-share, kind="stable")]
                neurons, weights = self.neurons[order].tolist(), self.weights[order, component].tolist()
                every = bool(self.selected[order].all())
                features.append(Feature(layer, tuple(neurons), every, tuple(weights), component))
        return tuple(features)

    def join(self, parts: np.ndarray) -> np.ndarray:
        """Add the layers' parts, (n, L x d) centred features, to the coordinates, (n, d)."""
        return np.asarray(parts.reshape(len(parts), len(self.layers), -1).sum(axis=1))

    def activations(self, recording: Recording, rows: np.ndarray) -> np.ndarray:
        """Read the neurons of some inputs, (n, p) float64."""
        parts = [
            np.asarray(recording.activations(layer)[np.ix_(rows, self.neurons[self.layer == number])], np.float64)
            for number, layer in enumerate(self.layers)
        ]
        return np.hstack(parts)

    def mechanism_means(self, recording: Recording, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Average the neurons over the inputs of each mechanism, (K, p)."""
        return np.stack(
            [self.activations(recording, rows[labels == k]).mean(axis=0) for k in range(int(labels.max()) + 1)]
        )

    def split_distance(self, difference: np.ndarray, metric: np.ndarray | None = None) -> np.ndarray:
        """Split squared distances in the space among neurons.

        Parameters
        ----------
        difference : array
            (n, p) differences of activations, such as of inputs and the centre of their mechanism.
        metric : array, optional
            (d, d) inverse covariance for Mahalanobis distances.

        Returns
        -------
        array
            (n, p) contribution of each neuron: it sums to the squared distance, and is negative where a neuron makes
            the distance smaller.
        """
        offset = difference @ self.weights
        offset = offset if metric is None else offset @ metric
        return np.asarray(difference * (offset @ self.weights.T))


def build_space(
    recording: Recording,
    critical: Mapping[str, Any],
    name: SpaceName,
    components: int,
    rows: np.ndarray,
    response: np.ndarray | None = None,
    metrics: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
) -> Space:
    """Weigh the live neurons of some layers and find the principal components.

    Parameters
    ----------
    recording : Recording
        The activations.
    critical : mapping of str to Selection or neurons
        The layers; ``posterior`` needs selections with a calibration.
    name : {"contribution", "posterior", "metric", "all"}
        What neurons are weighted by, see `neucept.learn`.
    components : int
        d, at most; less where there are fewer neurons or inputs.
    rows : array
        (m,) the inputs to cluster.
    response : array, optional
        (m,) for ``contribution``.
    metrics : mapping of str to array, optional
        {layer: (k, k) M} for ``metric``, see `neucept.mechanisms.metric.layer_metrics`.
    seed : int
        Seed for randomised decompositions, of more than a thousand inputs by a thousand neurons.

    Returns
    -------
    Space
        Each layer scaled to the same total variance, the coordinates to a mean variance of 1.

    Raises
    ------
    InputError
        When no neuron varies or has weight, or activations are not finite.
    """
    parts, maps, kept = [], [], []
    for layer, given in critical.items():
        Z = np.asarray(recording.activations(layer)[rows], np.float64)
        if not np.isfinite(Z).all():
            row, column = np.argwhere(~np.isfinite(Z))[0]
            raise InputError(
                f"Neuron {layer}:{column} is {Z[row, column]} at input {row} of those to cluster; leave that input or"
                " neuron out."
            )
        deviation = deviations(recording.activations(layer)[rows])
        live = np.flatnonzero(deviation > 0)
        if not len(live):
            continue
        if name == "metric":
            B = _root(metrics[layer][np.ix_(live, live)] * np.outer(deviation[live], deviation[live]))  # type: ignore[index]
            V = standardised(Z[:, live]) @ B
        else:
            B = _neuron_weights(name, given, layer, standardised(Z[:, live]), live, response)[:, None]
            V = standardised(Z[:, live]) * B.T
        size = float(np.sqrt((V**2).sum() / len(V)))
        if size > 0:
            kept.append(
                (layer, live, Z[:, live].mean(axis=0), deviation[live], _selected(given, layer, Z.shape[1])[live])
            )
            parts.append(V / size)
            maps.append(B / size / deviation[live][:, None])
    if not parts:
        raise InputError(
            f"reduce='{name}': no neuron of {', '.join(critical)} has any weight on these {len(rows)} inputs (all are"
            " constant, or none matters). Use reduce='top' or other layers."
        )
    joined = np.hstack(parts)
    d = min(components, joined.shape[1], len(joined) - 1)
    exact = min(joined.shape) <= _EXACT
    pca = PCA(d, svd_solver="full" if exact else "randomized", random_state=seed).fit(joined)
    directions = pca.components_.T * np.sqrt(d / max(float(pca.explained_variance_.sum()), 1e-300))
    edges = np.cumsum([0, *(V.shape[1] for V in parts)])
    weights = [
        one @ directions[start:stop] if name == "metric" else one * directions[start:stop]
        for one, start, stop in zip(maps, edges[:-1], edges[1:], strict=True)
    ]
    columns = list(zip(*kept, strict=True))
    return Space(
        layers=tuple(columns[0]),
        layer=np.repeat(np.arange(len(kept)), [len(live) for live in columns[1]]),
        neurons=np.concatenate(columns[1]),
        selected=np.concatenate(columns[4]),
        weights=np.vstack(weights),
        mean=np.concatenate(columns[2]),
        deviation=np.concatenate(columns[3]),
        centres=np.zeros((0, sum(map(len, columns[1])))),
    )


def check_posterior(critical: Mapping[str, Any]) -> None:
    """Raise an InputError unless every layer has local false discovery rates."""
    for layer, given in critical.items():
        if not isinstance(given, Selection) or given.local_fdr is None:
            raise InputError(
                "reduce='posterior' weighs neurons by their probability of being critical, which a calibration gives;"
                f" layer '{layer}' has none. Use neucept.discover with calibration='auto', or reduce='contribution'."
            )


def _neuron_weights(
    name: str, given: Any, layer: str, Z: np.ndarray, live: np.ndarray, response: np.ndarray | None
) -> np.ndarray:
    """Give the weight of each live neuron, standardised, (p,)."""
    if name == "contribution":
        assert response is not None
        return contribution_weights(Z, response)
    if name == "posterior":
        return np.asarray(1 - given.local_fdr[live])
    return np.ones(len(live))


def contribution_weights(Z: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Ridge coefficient of each standardised neuron, (n, p), for the standardised response, (p,)."""
    return np.asarray(RidgeCV(np.logspace(-4, 4, 9)).fit(Z, standardised(response)).coef_)


def _selected(given: Any, layer: str, width: int) -> np.ndarray:
    """Say which neurons of a layer are critical, (k,) bool: members of selected groups, or those given by hand."""
    if isinstance(given, Selection):
        return np.isin(given.groups, given.groups[given.neurons])
    selected = np.zeros(width, bool)
    selected[by_hand(given, layer, width)] = True
    return selected


def _root(M: np.ndarray) -> np.ndarray:
    """Give B with B @ B.T = M for a positive semidefinite M, singular ones too: (p, rank)."""
    values, vectors = np.linalg.eigh((M + M.T) / 2)
    positive = values > max(float(values[-1]), 0.0) * 1e-12 if len(values) else np.zeros(0, bool)
    return np.asarray(vectors[:, positive] * np.sqrt(values[positive]))
