"""Simulated responses with known critical neurons, computed from a layer's own activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neucept.knockoffs.preprocessing import standardised
from neucept.short_repr import ShortRepr

Family = Callable[[np.ndarray, np.random.Generator], np.ndarray]
NONE = "none"  # the family of responses that depend on no neuron
SHARES = (0.07, 0.15, 0.35, 0.7)  # shares of the groups that are critical
NOISES = (0.0, 0.25, 1.0)  # variance of the noise over that of the signal


def _weights(k: int, rng: np.random.Generator) -> np.ndarray:
    return rng.choice([-1.0, 1.0], k) * rng.uniform(0.5, 1.5, k)


def _hidden(X: np.ndarray, width: int, rng: np.random.Generator) -> np.ndarray:
    H = X @ rng.standard_normal((X.shape[1], width))
    return np.asarray(H / np.maximum(H.std(axis=0), 1e-9) + rng.standard_normal(width) * 0.5)


def _linear(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(X @ _weights(X.shape[1], rng))


def _relu(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(np.maximum(_hidden(X, 16, rng), 0) @ rng.standard_normal(16))


def _tanh(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(np.tanh(_hidden(X, 16, rng)) @ rng.standard_normal(16))


def _relu_relu(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _relu(np.maximum(_hidden(X, 16, rng), 0), rng)


def _thresholds(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.asarray((rng.standard_normal(X.shape[1]) * 0.5 < X) @ _weights(X.shape[1], rng))


def _products(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    k = X.shape[1]
    half = (k + 1) // 2
    pairs = (X[:, :half] * X[:, -half:]) @ rng.standard_normal(half)
    return np.asarray(pairs + 0.5 * X @ rng.standard_normal(k))


def _squares(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    k = X.shape[1]
    return np.asarray(0.5 * X**2 @ rng.standard_normal(k) + X @ rng.standard_normal(k))


def _maxima(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    k = X.shape[1]
    signed = X * rng.choice([-1.0, 1.0], k)
    parts = np.arange(k) % max(1, k // 4)
    return np.asarray(sum(signed[:, parts == part].max(axis=1) for part in range(parts.max() + 1)))


def _sines(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(np.sin(1.5 * _hidden(X, 8, rng)) @ rng.standard_normal(8) + X @ _weights(X.shape[1], rng) * 0.2)


def _deep(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _tanh(np.tanh(_hidden(np.maximum(_hidden(X, 24, rng), 0), 16, rng)), rng)


def _gates(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    H = _hidden(X, 16, rng)
    return np.asarray((H[:, :8] / (1 + np.exp(-2 * H[:, 8:]))) @ rng.standard_normal(8))


def _perceptrons(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.asarray((_hidden(X, 24, rng) > 0) @ rng.standard_normal(24))


def _trees(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    total = np.zeros(len(X))
    for _ in range(max(4, X.shape[1])):
        cell = np.ones(len(X), bool)
        for neuron in rng.choice(X.shape[1], min(2, X.shape[1]), replace=False):
            cell &= (X[:, neuron] > rng.choice(X[:, neuron])) == (rng.random() < 0.5)
        total += cell * rng.standard_normal()
    total += sum((X[:, j] > np.median(X[:, j])) * w for j, w in enumerate(_weights(X.shape[1], rng))) * 0.5
    return total


FAMILIES: Mapping[str, Family] = {
    "linear": _linear,
    "ReLU network": _relu,
    "tanh network": _tanh,
    "deep ReLU network": _relu_relu,
    "thresholds": _thresholds,
    "products": _products,
    "squares": _squares,
    "maxima": _maxima,
    "trees": _trees,
}
"""Families of responses that layers are calibrated on."""

HELD_OUT: Mapping[str, Family] = {
    "sines": _sines,
    "three-layer network": _deep,
    "gates": _gates,
    "perceptrons": _perceptrons,
}
"""Families that no layer is calibrated on: to test the calibrated guarantee."""


@dataclass(frozen=True, repr=False)
class Simulated(ShortRepr):
    """Simulated responses with known critical neurons.

    Attributes
    ----------
    Y : array
        (n, L) responses, mean 0 and variance 1.
    null : array
        (L, g) whether a group of neurons has no part in a response.
    family : tuple of str
        (L,) family of each; ``none`` for pure noise.
    noise : array
        (L,) variance of the noise over that of the signal.
    """

    Y: np.ndarray
    null: np.ndarray
    family: tuple[str, ...]
    noise: np.ndarray


def simulate(
    Z: np.ndarray,
    groups: np.ndarray,
    rng: np.random.Generator,
    families: Mapping[str, Family] = FAMILIES,
    shares: Sequence[float] = SHARES,
    noises: Sequence[float] = NOISES,
    nothing: int = 24,
    repeats: int = 1,
) -> Simulated:
    """Simulate a response for each family, share of critical groups and noise level.

    The response depends on one to three neurons of each critical group, among those that vary over these inputs.

    Parameters
    ----------
    Z : array
        (n, p) standardised neurons.
    groups : array
        (p,) group of each, 0 to g - 1.
    rng : Generator
        Source of all random choices.
    families, shares, noises
        What to simulate: every combination.
    nothing : int
        Number of responses of pure noise.
    repeats : int
        How often each combination is simulated, with other neurons.
    """
    n, count = len(Z), int(groups.max()) + 1
    varies = Z.std(axis=0) > 0.5  # a rare neuron may be silent on a sample of the inputs
    members = [np.flatnonzero((groups == g) & varies) for g in range(count)]
    possible = np.flatnonzero([len(m) > 0 for m in members])
    Y, null, names, noise_of = [], [], [], []
    for name, family in families.items():
        for share in shares:
            for noise in [level for level in noises for _ in range(repeats)]:
                chosen = rng.choice(possible, min(len(possible), max(3, round(share * count))), replace=False)
                neurons = [rng.permutation(members[g])[: rng.integers(1, 4)] for g in chosen]
                y = family(Z[:, np.concatenate(neurons)], rng)
                y = standardised(y) + np.sqrt(noise) * rng.standard_normal(n)
                Y.append(y)
                null.append(~np.isin(np.arange(count), chosen))
                names.append(name)
                noise_of.append(noise)
    for i in range(nothing):  # normal, heavy-tailed, and two values
        Y.append((rng.standard_normal(n), rng.standard_t(3, n), rng.choice([-1.0, 1.0], n))[i % 3])
        null.append(np.ones(count, bool))
        names.append(NONE)
        noise_of.append(np.inf)
    return Simulated(standardised(np.stack(Y, axis=1)), np.array(null), tuple(names), np.array(noise_of))
