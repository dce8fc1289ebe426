"""Knockoffs without rows: exact draws of the moments of neurons, knockoffs and responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neucept.knockoffs.laws import Law
from neucept.knockoffs.moments import Moments


@dataclass(frozen=True)
class Part:
    """Rows of one fold whose knockoffs follow one law.

    Attributes
    ----------
    moments : Moments
        Of the neurons and responses of these rows.
    law : Law
        Of their knockoffs.
    fold : int
        The fold that they belong to.
    """

    moments: Moments
    law: Law
    fold: int = 0


class GramDraws:
    """Draw the moments of ``[Z, Zk, Y]`` with exactly the distribution that knockoffs drawn row by row give them.

    Knockoffs are ``Zk = mean + (Z - mean) P + U``, rows of U iid N(0, V). Let ``Z_c = Q R`` be the centred neurons, Q
    orthonormal of r columns. ``Q'U`` has r rows iid N(0, V), the mean of U is N(0, V / n), and the rest of U is, but
    for a rotation, ``T root'``, T'T an independent Wishart matrix of n - 1 - r degrees of freedom. So the few rows

        neurons  [ R ]    knockoffs  [ R P + E root' ]    response  [ Q'y               ]
                 [ 0 ]               [     T root'   ]              [ |y - Q Q'y| o     ]

    have the moments of all n: o, the direction of what the neurons leave of the response, is uniform. Dead and
    collinear neurons only make r smaller, and a response that is linear in the neurons leaves nothing. No draw costs
    more for more rows of data.

    Neurons, knockoffs and any one response are drawn jointly. Several responses share the neurons' part and o, so what
    is drawn for one does not depend on which others there are; the products of knockoffs with two responses do not
    have the joint distribution of rows, which no statistic of one response looks at.

    Parameters
    ----------
    parts : sequence of Part
        All rows, by fold and law.
    """

    def __init__(self, parts: Sequence[Part]):
        self.folds = 1 + max(part.fold for part in parts)
        self._parts = [(part, _Factor(part.moments)) for part in parts if part.moments.n]

    def draw(self, rng: np.random.Generator) -> list[Moments]:
        """Draw once: moments of ``[Z, Zk, Y]``, knockoffs copy after copy, for each fold."""
        drawn: list[Moments | None] = [None] * self.folds
        for part, factor in self._parts:
            moments = factor.draw(part.law, rng)
            before = drawn[part.fold]
            drawn[part.fold] = moments if before is None else before + moments
        return [moments for moments in drawn if moments is not None]


class _Factor:
    """Coordinates of neurons and responses in an orthonormal basis of the space that the neurons span."""

    def __init__(self, moments: Moments):
        self.moments = moments
        n, p = moments.n, moments.p
        values, vectors = np.linalg.eigh(moments.scatter[:p, :p])
        # Directions without any variance (dependent neurons) have no row in R.
        there = values > values.max(initial=0.0) * max(p, 1) * np.finfo(np.float64).eps * 4
        there &= np.arange(p) >= p - (n - 1)
        root = np.sqrt(values[there])
        self.R = vectors[:, there].T * root[:, None]
        self.y = (vectors[:, there] / root).T @ moments.scatter[:p, p:]
        left = np.diag(moments.scatter)[p:] - np.sum(self.y**2, axis=0)
        self.y_left = np.sqrt(left.clip(0)) if n - 1 > len(self.R) else np.zeros(len(left))

    def draw(self, law: Law, rng: np.random.Generator) -> Moments:
        n, p = self.moments.n, self.moments.p
        r, k = len(self.R), len(law.root)
        mean = rng.standard_normal(k) / np.sqrt(n)
        inside = rng.standard_normal((r, k))
        outside, o = _outside(n - 1 - r, k, rng)
        noise = np.vstack([inside, outside]) @ law.root.T
        rows = np.zeros((r + len(outside), p + k + len(self.y_left)))
        rows[:r, :p] = self.R
        rows[:, p : p + k] = noise
        rows[:r, p : p + k] += self.R @ law.P
        rows[:r, p + k :] = self.y
        rows[r:, p + k :] = np.outer(o, self.y_left)
        scatter = rows.T @ rows
        scatter[:p, :p] = self.moments.scatter[:p, :p]
        scatter[p + k :, p + k :] = self.moments.scatter[p:, p:]
        neurons = self.moments.mean[:p]
        knockoffs = np.tile(law.mean, law.copies) + (neurons - law.mean) @ law.P + law.root @ mean
        return Moments(n, np.concatenate([neurons, knockoffs, self.moments.mean[p:]]), scatter, p + k)


def _outside(degrees: int, k: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw T, (min(degrees, k), k), whose T'T is Wishart of so many degrees of freedom, and a direction's coordinates.

    T stands for a (degrees, k) matrix H of standard normal numbers; a fixed unit vector times H has the distribution
    of o T, where o is the part of a uniform direction that lies in the columns of H.
    """
    rows = min(degrees, k)
    if rows <= 0:
        return np.zeros((0, k)), np.zeros(0)
    if degrees < k:
        T = rng.standard_normal((degrees, k))
    else:  # Bartlett's decomposition
        T = np.triu(rng.standard_normal((k, k)), 1)
        T[np.diag_indices(k)] = np.sqrt(rng.chisquare(degrees - np.arange(k)))
    direction = rng.standard_normal(rows)
    beyond = rng.chisquare(degrees - k) if degrees > k else 0.0
    return T, direction / np.sqrt(direction @ direction + beyond)
