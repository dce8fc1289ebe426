"""Moments of neurons and responses: all that Gram-space knockoffs need, gathered in one pass over the data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neucept import storage
from neucept.errors import InputError


@dataclass(frozen=True)
class Moments:
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
        mean = A.mean(axis=0) if len(A) else np.zeros(A.shape[1])
        centred = A - mean
        return cls(len(A), mean, centred.T @ centred, Z.shape[1])

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

    def standardised(self) -> Moments:
        """Moments of the same columns with mean 0 and variance 1; constant ones become 0."""
        deviation = self.deviation
        size = np.maximum(np.abs(self.mean), deviation)
        inverse = np.where(deviation > 1e-7 * np.maximum(size, 1e-30), 1 / np.maximum(deviation, 1e-300), 0.0)
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
