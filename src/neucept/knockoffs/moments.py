"""Moments of neurons and responses: all that Gram-space knockoffs need, gathered in one pass over the data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from neucept import storage
from neucept.errors import InputError
from neucept.knockoffs.preprocessing import centre, is_rounding
from neucept.short_repr import ShortRepr


@dataclass(frozen=True, repr=False)
class Moments(ShortRepr):
    """Count, means and centred cross-products of the columns of ``[Z, Y]``.

    Moments of two parts of the data add up to those of the whole: ``a + b``. Their size does not depend on n.

    Attributes
    ----------
    n : int
        Rows.
    mean : array
        (p + L,) means.
    scatter : array
        (p + L, p + L) sums of products of the centred columns.
    p : int
        How many of the columns are neurons; the others are responses.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> Z, Y = rng.normal(size=(50, 3)), rng.normal(size=(50, 2))
    >>> halves = Moments.of(Z[:20], Y[:20]) + Moments.of(Z[20:], Y[20:])
    >>> np.allclose(halves.scatter, Moments.of(Z, Y).scatter)
    True
    """

    n: int
    mean: np.ndarray
    scatter: np.ndarray
    p: int

    @classmethod
    def of(cls, Z: np.ndarray, Y: np.ndarray) -> Moments:
        """Moments of (n, p) neurons and (n, L) or (n,) responses, held in memory."""
        Y = Y[:, None] if Y.ndim == 1 else Y
        A = np.hstack([np.asarray(Z, np.float64), np.asarray(Y, np.float64)])
        with np.errstate(over="ignore"):
            mean, centred = centre(A) if len(A) else (np.zeros(A.shape[1]), A)
            scatter = centred.T @ centred
        if not np.isfinite(scatter).all():
            raise InputError("Neurons and responses must be finite, and their squares, too: give them in other units.")
        return cls(len(A), mean, scatter, Z.shape[1])

    @classmethod
    def stream(cls, parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> Moments:
        """Moments of data that comes in parts, each (rows, p) and (rows, L); only one part is held at a time."""
        total: Moments | None = None
        for Z, Y in parts:
            part = cls.of(Z, Y)
            total = part if total is None else total + part
        if total is None:
            raise InputError("No rows to take moments of.")
        return total

    def __add__(self, other: Moments) -> Moments:
        if self.p != other.p or len(self.mean) != len(other.mean):
            raise InputError(
                f"Moments of {self.p} neurons and {len(self.mean) - self.p} responses cannot be added to those of"
                f" {other.p} and {len(other.mean) - other.p}."
            )
        n = self.n + other.n
        if n == 0:
            return self
        shift = other.mean - self.mean
        scatter = self.scatter + other.scatter + np.outer(shift, shift) * (self.n * other.n / n)
        return Moments(n, self.mean + shift * (other.n / n), scatter, self.p)

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviations of the columns, (p + L,)."""
        return np.asarray(np.sqrt(np.diag(self.scatter).clip(0) / max(self.n, 1)))

    @property
    def inverse_deviation(self) -> np.ndarray:
        """One over the standard deviations of the columns, (p + L,); 0 for constant ones."""
        deviation = self.deviation
        constant = is_rounding(deviation, np.maximum(np.abs(self.mean), deviation))
        return np.asarray(np.where(constant, 0.0, 1 / np.where(constant, 1.0, deviation)))

    def standardised(self) -> Moments:
        """Moments of the same columns with mean 0 and variance 1; constant ones become 0."""
        inverse = self.inverse_deviation
        scatter = self.scatter * np.outer(inverse, inverse)
        return Moments(self.n, np.zeros_like(self.mean), scatter, self.p)

    def save(self, path: str | Path) -> Path:
        """Write to a folder; `Moments.open` reads it."""
        return storage.save(path, "Moments", {"n": self.n, "p": self.p}, {"mean": self.mean, "scatter": self.scatter})

    @classmethod
    def open(cls, path: str | Path) -> Moments:
        """Open what `save` wrote."""
        with storage.opened(path, "Moments") as (facts, arrays):
            return cls(facts["n"], arrays["mean"], arrays["scatter"], facts["p"])


@dataclass(frozen=True, repr=False)
class Grams(ShortRepr):
    """Gram matrices of several draws, neurons and knockoffs (m columns) and responses scaled to variance 1.

    Attributes
    ----------
    n : int
        Rows of data.
    G : array
        (draws, m, m) correlations of the columns; zero where a column is constant.
    c : array
        (draws, L, m) correlations of the responses with them.
    orders : array
        (draws, m) a random order of the columns.
    folds : sequence of Fold
        For cross-validation; empty without.
    """

    n: int
    G: np.ndarray
    c: np.ndarray
    orders: np.ndarray
    folds: Sequence[Fold] = field(default=())


@dataclass(frozen=True)
class Fold:
    """One fold left out: second moments, in the units of the whole, of the rest (about its mean) and of the fold.

    Attributes
    ----------
    G, c, y : array
        (draws, m, m), (draws, L, m) and (draws, L) of the rows that are fitted.
    left_G, left_c, left_y : array
        The same of those left out, about the mean of the others.
    """

    G: np.ndarray
    c: np.ndarray
    y: np.ndarray
    left_G: np.ndarray
    left_c: np.ndarray
    left_y: np.ndarray


def grams(drawn: Sequence[Sequence[Moments]], p: int, orders: np.ndarray) -> Grams:
    """Scale and stack the moments of several draws.

    Parameters
    ----------
    drawn : sequence of sequence of Moments
        Of ``[Z, Zk, Y]`` with all but Y as neurons: for each draw, for each fold.
    p : int
        Neurons without their knockoffs; one that is constant has no knockoffs either.
    orders : array
        (draws, m) orders of the columns.
    """
    wholes = [total(folds) for folds in drawn]
    m, n = wholes[0].p, wholes[0].n
    scales = np.stack([whole.inverse_deviation for whole in wholes])
    scales[:, :m] *= np.tile(scales[:, :p] > 0, m // max(p, 1))
    second = np.stack([whole.scatter for whole in wholes]) * (scales[:, :, None] * scales[:, None, :] / max(n, 1))
    folds = []
    for f in range(len(drawn[0]) if len(drawn[0]) > 1 else 0):
        fitted, left = [], []
        for draw, scale in zip(drawn, scales, strict=True):
            rest = total([*draw[:f], *draw[f + 1 :]])
            shift = draw[f].mean - rest.mean
            outer = np.outer(scale, scale)
            fitted.append(rest.scatter * outer / max(rest.n, 1))
            left.append((draw[f].scatter + draw[f].n * np.outer(shift, shift)) * outer / max(draw[f].n, 1))
        folds.append(Fold(*_split(np.stack(fitted), m), *_split(np.stack(left), m)))
    G, c, _ = _split(second, m)
    return Grams(n, G, c, orders, folds)


def total(parts: Sequence[Moments]) -> Moments:
    """Add up the moments of parts of the data."""
    whole, *others = parts
    for other in others:
        whole = whole + other
    return whole


def _split(second: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split into products of columns (draws, m, m), with responses (draws, L, m), squares of responses (draws, L)."""
    squares = np.diagonal(second, axis1=1, axis2=2)[:, m:]
    return np.ascontiguousarray(second[:, :m, :m]), np.ascontiguousarray(second[:, m:, :m]), squares
