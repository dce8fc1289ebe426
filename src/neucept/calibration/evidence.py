"""The evidence on groups of neurons: how strongly a response depends on each, in closed form and by a network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from threadpoolctl import threadpool_limits

from neucept.calibration.learnt_response import PASSES, Advance, importance, nothing
from neucept.knockoffs.preprocessing import standardised

STRONGEST = 32  # neurons whose products with all others are looked at, and that count as rivals
DIRECTIONS = 512  # random features
QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of a neuron, at which a response may jump
SLOPES = 256  # inputs at which slopes of the random features are taken
ENOUGH = 24  # inputs for each neuron from which on a network learns more than random features
PARTS = {
    "regression": slice(0, 10),
    "squares": slice(10, 19),
    "random features": slice(19, 31),
    "products": slice(31, 35),
    "steps": slice(35, 38),
    "layer": slice(38, 42),
    "network": slice(42, 50),
}
"""Columns of the evidence, see `Layer.describe`, by what they look at; networks are not always there."""


class Ridge:
    """Ridge regression on the columns of X for many responses, and what each column adds to the others.

    Parameters
    ----------
    X : array
        (n, m) standardised columns.
    penalty : float
        Added to the variances, which are 1.
    """

    def __init__(self, X: np.ndarray, penalty: float):
        self.X, self.penalty = X, penalty
        n, m = X.shape
        self.dual = m > n  # the smaller of the two equal systems of equations
        gram = X @ X.T / n if self.dual else X.T @ X / n
        gram[np.diag_indices_from(gram)] += penalty
        self._inverse = np.linalg.inv(gram)
        size = min(n, m)
        self.degrees = size - penalty * float(np.trace(self._inverse))

    def fit(self, Y: np.ndarray) -> np.ndarray:
        """Coefficients, (m, L)."""
        if self.dual:
            return np.asarray(self.X.T @ (self._inverse @ Y) / len(self.X))
        return np.asarray(self._inverse @ (self.X.T @ Y) / len(self.X))

    @cached_property
    def along(self) -> np.ndarray:
        """X times the inverse of its penalised covariance, (n, m)."""
        return np.asarray(self._inverse @ self.X if self.dual else self.X @ self._inverse)

    def inverse(self, columns: np.ndarray) -> np.ndarray:
        """Block of the inverse of the penalised covariance."""
        if not self.dual:
            return np.asarray(self._inverse[np.ix_(columns, columns)])
        part = self.X[:, columns]
        return np.asarray((np.eye(len(columns)) - part.T @ self.along[:, columns] / len(part)) / self.penalty)

    @cached_property
    def diagonal(self) -> np.ndarray:
        """Diagonal of that inverse, (m,): 1 over the variance that the other columns leave."""
        if not self.dual:
            return np.diag(self._inverse).copy()
        return np.asarray((1 - np.einsum("nm,nm->m", self.X, self.along) / len(self.X)) / self.penalty)

    def adds(self, coefficients: np.ndarray, blocks: list[np.ndarray]) -> np.ndarray:
        """Variance that each block of columns adds to all others, a column, (L, blocks)."""
        result = np.empty((coefficients.shape[1], len(blocks)))
        for k, block in enumerate(blocks):
            own = coefficients[block]
            if len(block) == 1:
                result[:, k] = own[0] ** 2 / self.diagonal[block[0]]
            else:
                result[:, k] = np.sum(own * np.linalg.solve(self.inverse(block), own), axis=0) / len(block)
        return result


@dataclass
class Found:
    """What was found out about some responses.

    Attributes
    ----------
    linear, squares : array
        (p, L) and (2p, L) coefficients of the two regressions.
    noise : array
        (2, L) what they leave of the variance.
    of_neurons : dict
        (L, p) evidence on single neurons: ``slope`` and ``spread`` of the random features, ``alone`` (correlation),
        ``product`` and ``products``, ``step``.
    error : array
        (L,) generalised cross-validated error of the random features.
    strongest : array
        (L, K) neurons of the largest slope.
    network : tuple of array or None
        Slope, spread, (L, p), and training error, (L,), of a network.
    """

    linear: np.ndarray
    squares: np.ndarray
    noise: np.ndarray
    of_neurons: dict[str, np.ndarray]
    error: np.ndarray
    strongest: np.ndarray
    network: tuple[np.ndarray, np.ndarray, np.ndarray] | None

    @property
    def importance(self) -> np.ndarray:
        """Root mean square slope of what was learnt, (L, p)."""
        return self.of_neurons["slope"] if self.network is None else self.network[0]


class Layer:
    """A layer's neurons on some inputs, prepared for responses of any kind and number.

    Everything is in closed form but for a network, which is trained where there are inputs enough for it.

    Parameters
    ----------
    Z : array
        (n, p) standardised neurons.
    seed : int
        Seed of random features and networks.
    network : bool, optional
        Train networks; by default where there are at least 24 inputs for each neuron.
    """

    def __init__(self, Z: np.ndarray, seed: int = 0, network: bool | None = None):
        n, p = Z.shape
        self.Z, self.seed = np.ascontiguousarray(Z, np.float64), seed
        self.network = n >= ENOUGH * p if network is None else network
        self._single = self.Z.astype(np.float32)
        with threadpool_limits(1, "blas"):
            self._lines = Ridge(self.Z, max(1e-4, 0.05 * (p / n) ** 2))
            squares = standardised(self.Z**2)
            squares = standardised(squares - self.Z @ self._lines.fit(squares))
            self._curves = Ridge(np.hstack([self.Z, squares]), max(1e-3, 0.05 * (2 * p / n) ** 2))
            self._unique = standardised(self._lines.along).astype(np.float32)
            self._alike = np.abs(self._single.T @ self._single) / np.float32(n)
            np.fill_diagonal(self._alike, 0)
            self._prepare_directions(np.random.default_rng([seed, 7]))

    def _prepare_directions(self, rng: np.random.Generator) -> None:
        n, p = self.Z.shape
        weights = rng.standard_normal((p, DIRECTIONS)).astype(np.float32)
        H = self._single @ weights
        size = np.maximum(H.std(axis=0), np.float32(1e-6))
        H = H / size + rng.standard_normal(DIRECTIONS).astype(np.float32) * np.float32(0.5)
        rows = rng.permutation(n)[:SLOPES]
        self._bent: np.ndarray = (H[rows] > 0).astype(np.float32)
        np.maximum(H, 0, out=H)
        H -= H.mean(axis=0)
        scale = np.maximum(H.std(axis=0), np.float32(1e-6))
        self._weights = np.ascontiguousarray((weights / (size * scale)).T)
        F = np.hstack([self._single, H / scale])
        self._dual = F.shape[1] > n
        gram = (F @ F.T if self._dual else F.T @ F) / np.float32(n)
        values, self._vectors = np.linalg.eigh(gram.astype(np.float64))
        self._values, self._features = values.clip(1e-9), F

    def find(self, Y: np.ndarray, advance: Advance = nothing) -> Found:
        """Collect the evidence on each neuron for standardised responses, (n, L)."""
        with threadpool_limits(1, "blas"):
            n, p = self.Z.shape
            linear, squares = self._lines.fit(Y), self._curves.fit(Y)
            left = np.stack([Y - self.Z @ linear, Y - self._curves.X @ squares])
            degrees = np.array([self._lines.degrees, self._curves.degrees])
            noise = np.sum(left**2, axis=1) / np.maximum(n - degrees - 1, 0.1 * n)[:, None]
            noise = np.maximum(noise, 1e-4)
            rest = left[1].astype(np.float32)
            slope, spread, error = self._slopes(Y, advance)
            strongest = np.argpartition(-slope, min(STRONGEST, p) - 1, axis=1)[:, :STRONGEST]
            product, products = self._products(rest, noise[1], strongest, advance)
            of_neurons = {
                "slope": slope,
                "spread": spread,
                "alone": np.abs(self.Z.T @ Y / n).T,
                "product": product,
                "products": products,
                "step": self._steps(rest, noise[1]),
            }
        network = importance(self.Z, Y, self.seed, advance) if self.network else None
        return Found(linear, squares, noise, of_neurons, error, strongest, network)

    def passes(self, responses: int) -> int:
        """How often `find` calls ``advance(1)``."""
        return 2 * responses + PASSES * self.network

    def _slopes(self, Y: np.ndarray, advance: Advance) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ridge regression on neurons and random features: root mean square slope, its deviation, error."""
        n, p = self.Z.shape
        F, values = self._features, self._values
        along = self._vectors.T @ (Y if self._dual else F.T @ Y.astype(np.float32)) / (np.sqrt(n) if self._dual else n)
        power = along**2 / (1 if self._dual else values[:, None])  # share of the variance along each direction
        everything = np.mean(Y**2, axis=0)
        penalties = np.geomspace(1e-3, 10, 9)
        errors = np.empty((len(penalties), Y.shape[1]))
        for i, penalty in enumerate(penalties):
            kept = values / (values + penalty)
            left = everything - power.T @ (1 - (1 - kept) ** 2)
            errors[i] = left / max(1 - kept.sum() / n, 0.02) ** 2
        penalty = penalties[errors.argmin(axis=0)]
        b = self._vectors @ (along / (values[:, None] + penalty))
        b = (F.T @ (b / np.sqrt(n)).astype(np.float32)) if self._dual else b.astype(np.float32)
        slope, spread = np.empty((Y.shape[1], p)), np.empty((Y.shape[1], p))
        for i in range(Y.shape[1]):
            slopes = (self._bent * b[p:, i]) @ self._weights + b[:p, i]
            slope[i], spread[i] = np.sqrt(np.mean(slopes**2, axis=0)), slopes.std(axis=0)
            advance(1)
        return slope, spread, np.asarray(errors.min(axis=0).clip(1e-4))

    def _products(
        self, rest: np.ndarray, noise: np.ndarray, strongest: np.ndarray, advance: Advance
    ) -> tuple[np.ndarray, np.ndarray]:
        """Largest t value, and the mean of the three largest, of what is unique in a neuron times a strong one."""
        unique = np.ascontiguousarray(self._unique.T)
        size = unique**2
        largest, three = np.zeros((len(strongest), len(unique))), np.zeros((len(strongest), len(unique)))
        few = min(3, strongest.shape[1])
        for i, strong in enumerate(strongest):
            others = self._single[:, strong]
            t = np.abs(unique @ (others * rest[:, i : i + 1]))
            t /= np.sqrt(size @ others**2 * np.float32(noise[i]) + np.float32(1e-6))
            t[strong, np.arange(len(strong))] = 0
            three[i] = np.partition(t, -few, axis=1)[:, -few:].mean(axis=1)
            largest[i] = t.max(axis=1)
            advance(1)
        return largest, three

    def _steps(self, rest: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Largest t value of a jump of the response at a quantile of the neuron."""
        n = len(rest)
        found = np.zeros((rest.shape[1], self.Z.shape[1]))
        for level in np.quantile(self.Z, QUANTILES, axis=0):
            jumps = (level < self.Z).astype(np.float64)
            jumps -= jumps.mean(axis=0)
            jumps -= self._curves.X @ self._curves.fit(jumps)
            deviation = np.sqrt(np.mean(jumps**2, axis=0))
            jumps = np.where(deviation > 1e-3, jumps / np.maximum(deviation, 1e-3), 0).astype(np.float32)
            np.maximum(found, np.abs(rest.T @ jumps), out=found)
        return np.asarray(found / np.sqrt(n * noise)[:, None])

    def describe(self, found: Found, groups: np.ndarray) -> np.ndarray:
        """Describe the evidence on groups of neurons, free of units: (L, g, f) from (p,) groups."""
        n, p = self.Z.shape
        g, L = int(groups.max()) + 1, len(found.error)
        members = [np.flatnonzero(groups == k) for k in range(g)] if g < p else list(np.argsort(groups)[:, None])
        few = max(1, g // 20)
        neurons = found.of_neurons

        def of_groups(values: np.ndarray) -> np.ndarray:
            return joined(np.maximum, values, groups)

        def largest(values: np.ndarray) -> np.ndarray:
            return np.asarray(np.log(np.sort(values, axis=1)[:, -few:].mean(axis=1, keepdims=True) + 1e-3))

        with threadpool_limits(1, "blas"):
            effect = np.abs(found.linear) / np.sqrt(self._lines.diagonal)[:, None]
            line = self._lines.adds(found.linear, members)
            curve = self._curves.adds(found.squares, [np.r_[m, m + p] for m in members])
            square = self._curves.adds(found.squares, [m + p for m in members])
        t = effect.T * np.sqrt(n / found.noise[0])[:, None]
        line_t, curve_t, square_t = (
            n * part / noise[:, None] for part, noise in zip((line, curve, square), found.noise[[0, 1, 1]], strict=True)
        )
        slope, spread = group_importance(neurons["slope"], groups), group_importance(neurons["spread"], groups)
        product, step = of_groups(neurons["product"]), of_groups(neurons["step"])
        alike = self._alike.copy()
        for m in members:
            alike[np.ix_(m, m)] = 0
        inside = self._alike - alike
        columns = [
            np.log(line_t + 1e-3),
            *_relative(np.sqrt(line)),
            np.log(of_groups(t) + 1e-2),
            np.log(np.sqrt(line) + 1e-6) - np.log(self._rivals(effect.T, found.strongest, alike, groups) + 1e-6),
            np.log(found.noise[0])[:, None],
            np.log(curve_t + 1e-3),
            np.log(square_t + 1e-3),
            *_relative(np.sqrt(curve))[:2],
            _log_rank(curve),
            _log_rank(square),
            largest(square_t),
            np.log(found.noise[1])[:, None],
            np.log(found.noise[1] / found.noise[0])[:, None],
            *_relative(slope),
            spread / (slope + 1e-9),
            *_relative(spread)[:2],
            np.log(found.error)[:, None],
            _log_rank(of_groups(neurons["alone"])),
            np.log(slope + 1e-9) - np.log(self._rivals(neurons["slope"], found.strongest, alike, groups) + 1e-9),
            product,
            of_groups(neurons["products"]),
            _log_rank(product),
            largest(product),
            step,
            _log_rank(step),
            largest(step),
            np.log(np.bincount(groups))[None, :],
            -np.log(-of_groups(-self._lines.diagonal[None, :])),
            of_groups(alike.max(axis=1)[None, :]),
            of_groups(inside.max(axis=1)[None, :]),
        ]
        if found.network is not None:
            learnt, varied, error = found.network
            learnt, varied = group_importance(learnt, groups) + 1e-6, group_importance(varied, groups)
            columns += [*_relative(learnt), varied / learnt, np.log(np.clip(error, 1e-3, 2))[:, None]]
        return np.stack([np.broadcast_to(column, (L, g)) for column in columns], axis=-1).astype(np.float32)

    def _rivals(self, values: np.ndarray, strongest: np.ndarray, alike: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Give the strongest neuron of another group, by how alike it is, (L, g)."""
        result = np.empty(values.shape)
        for i, strong in enumerate(strongest):
            result[i] = (alike[:, strong] * values[i, strong]).max(axis=1)
        return joined(np.maximum, result, groups)


def gather(
    Z: np.ndarray, Y: np.ndarray, groups: np.ndarray, seed: int = 0, network: bool | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Gather the evidence on groups of neurons for some responses.

    Parameters
    ----------
    Z : array
        (n, p) neurons.
    Y : array
        (n, L) responses.
    groups : array
        (p,) group of each neuron, from 0 on.
    seed : int
        Seed of random features and networks.
    network : bool, optional
        See `Layer`.

    Returns
    -------
    evidence : array
        (L, g, f); `PARTS` says what its columns look at.
    importance : array
        (L, p) root mean square slope of what was learnt, of single neurons.
    """
    layer = Layer(standardised(Z), seed, network)
    found = layer.find(standardised(Y))
    return layer.describe(found, groups), found.importance


def group_importance(importance: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Root of the summed squares over a group's members, (L, g), from (L, p)."""
    return np.asarray(np.sqrt(joined(np.add, importance**2, groups)))


def joined(how: np.ufunc, values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Join values of neurons, (L, p), to values of groups, (L, g)."""
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], np.arange(groups.max() + 1))
    return np.asarray(how.reduceat(values[:, order], starts, axis=1))


def _relative(values: np.ndarray) -> list[np.ndarray]:
    """Logarithms relative to the top, the middle and the bottom, the rank, and how far apart these are."""
    g = values.shape[1]
    small = 1e-9
    ordered = np.sort(values, axis=1)
    top = ordered[:, -max(1, g // 20) :].mean(axis=1, keepdims=True) + small
    middle = np.median(values, axis=1, keepdims=True) + small
    bottom = ordered[:, : max(1, g // 4)].mean(axis=1, keepdims=True) + small
    log = np.log(values + small)
    parts = [log - np.log(top), log - np.log(middle), log - np.log(bottom), _log_rank(values)]
    return [*parts, np.log(top / middle), np.log(top / bottom)]


def _log_rank(values: np.ndarray) -> np.ndarray:
    """Logit of the rank from the top, (L, g)."""
    rank = (np.argsort(np.argsort(-values, axis=1), axis=1) + 0.5) / values.shape[1]
    return np.asarray(np.log(rank / (1 - rank + 1e-9)))
