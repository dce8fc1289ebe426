"""Knockoff statistics for many draws and responses: from Gram matrices where possible, from rows where not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeGuard

import numpy as np
from threadpoolctl import threadpool_limits

from neucept.errors import InputError, check_has, one_of
from neucept.knockoffs.aggregation import name_of
from neucept.knockoffs.moments import Moments, grams, total
from neucept.knockoffs.preprocessing import standardised
from neucept.knockoffs.samplers import SAMPLERS, Law, Sampler, SamplerName
from neucept.knockoffs.statistics import STATISTICS, GramStatistic, Statistic, StatisticName

_BATCH = 2**22  # numbers in the Gram matrices that are held at a time
_OF_GRAMS = ("importance", "compare", "join", "folds")  # what Gram matrices need of a statistic ...
_OF_MOMENTS = ("fit", "draw", "fit_moments")  # ... and moments without rows of a sampler


def knockoff_statistics(
    Z: np.ndarray | Moments | Sequence[Moments],
    Y: np.ndarray | None = None,
    *,
    sampler: SamplerName | Sampler = "gaussian",
    statistic: StatisticName | Statistic | GramStatistic = "lasso",
    draws: int = 50,
    rng: np.random.Generator,
    groups: np.ndarray | None = None,
    copies: int = 1,
    s: str = "mvr",
    advance: Callable[[int], None] = lambda steps: None,
) -> np.ndarray:
    """Statistics W of several draws of knockoffs, for any number of responses.

    All responses share the neurons and knockoffs of a draw. With a Gaussian or mixture sampler and a statistic of
    `STATISTICS`, a draw costs as much for a million rows as for a thousand. Each draw has a generator of its own: but
    for rounding, W of such a statistic does not depend on how many responses, threads or draws there are beside it.

    Parameters
    ----------
    Z : array, Moments or sequence of Moments
        (n, p) neurons; or moments of neurons and responses, of several folds where the statistic needs them.
    Y : array, optional
        (n, L) or (n,) responses; not with moments.
    sampler : str or Sampler
        A name of `SAMPLERS`, or an object; an object has its own groups, copies and s, which must agree with these.
    statistic : str, Statistic or GramStatistic
        A name of `STATISTICS`, or an object: a `Statistic` compares rows, a `GramStatistic` Gram matrices.
    draws : int
        Sets of knockoffs.
    rng : Generator
        Each draw uses a generator spawned from it.
    groups : array, optional
        (p,) group number of each neuron, from 0 to g - 1: group knockoffs, and one statistic for each group.
    copies : int
        Knockoffs of each neuron in one draw.
    s : str
        How far knockoffs are from their neurons, see `s_matrix`.
    advance : callable, optional
        Called with the number of completed draws.

    Returns
    -------
    array
        (draws, L, g); p instead of g without groups. Zero for constant responses and neurons.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> Z = rng.standard_normal((500, 40))
    >>> W = knockoff_statistics(Z, Z[:, :20].sum(axis=1), draws=3, rng=rng)
    >>> W.shape, bool((W[..., :20] > 0).all())
    ((3, 1, 40), True)
    """
    check_parts(sampler, statistic)
    comparing = STATISTICS[statistic] if isinstance(statistic, str) else statistic
    folds = comparing.folds if _is_of_grams(comparing) else 1
    fold_rng, *generators = rng.spawn(draws + 1)
    if not isinstance(Z, np.ndarray):
        moments = _standardised([Z] if isinstance(Z, Moments) else list(Z))
        p, L = moments[0].p, len(moments[0].mean) - moments[0].p
        groups = _checked(groups, p)
        drawing: Any = _sampler_of(sampler, groups, copies, s)
        check_has("statistic", comparing, _OF_GRAMS, "a statistic of moments without rows (GramStatistic)")
        check_has("sampler", drawing, _OF_MOMENTS, "a sampler of moments without rows (such as GaussianSampler)")
        assert _is_of_grams(comparing)
        if folds > 1 and len(moments) < 2:
            raise InputError("This statistic is cross-validated: give a list of Moments, one for each fold.")
        with threadpool_limits(1, "blas"):
            whole = total(moments)
            drawing.fit_moments(whole)
            kept = moments if folds > 1 else [whole]
            draw = GramDraws([Part(m, drawing.laws[0], k) for k, m in enumerate(kept)]).draw
            return _from_grams(draw, comparing, p, L, groups, copies, generators, advance)
    Z, Y = _columns(Z), _columns(Y if Y is not None else np.zeros((len(Z), 0)))
    p, L = Z.shape[1], Y.shape[1]
    groups = _checked(groups, p)
    if not p:
        return np.zeros((draws, L, 0))
    drawing = _sampler_of(sampler, groups, copies, s)
    if not _is_of_grams(comparing):
        if copies > 1:
            raise InputError("A statistic of rows compares a neuron with one knockoff: copies=1.")
        parts = [row_statistics(Z, y, drawing, comparing, draws, r) for y, r in zip(Y.T, rng.spawn(L), strict=True)]
        return _of_groups(np.stack(parts, axis=1) if parts else np.zeros((draws, 0, p)), groups, np.add)
    fold_of = fold_rng.permutation(len(Z)) % min(folds, len(Z))
    with threadpool_limits(1, "blas"):
        drawing.fit(Z)
        laws = getattr(drawing, "laws", None)
        if laws is not None:
            labels = np.zeros(len(Z), np.intp) if drawing.labels is None else drawing.labels
            rows = [(k, f, (labels == k) & (fold_of == f)) for k in range(len(laws)) for f in range(folds)]
            draw = GramDraws([Part(Moments.of(Z[r], Y[r]), laws[k], f) for k, f, r in rows if r.any()]).draw
        else:
            draw = partial(_draw_rows, Z, Y, fold_of, drawing, copies)
        return _from_grams(draw, comparing, p, L, groups, copies, generators, advance)


def check_parts(sampler: str | Sampler, statistic: str | Statistic | GramStatistic) -> None:
    """Refuse unknown names, and objects that lack what is needed of a sampler or statistic, naming it."""
    if isinstance(sampler, str):
        one_of("sampler", sampler, SAMPLERS)
    else:
        check_has("sampler", sampler, ("fit", "draw"), "a sampler (neucept.knockoffs.Sampler)")
    if isinstance(statistic, str):
        one_of("statistic", statistic, STATISTICS)
    elif hasattr(statistic, "importance"):
        check_has("statistic", statistic, _OF_GRAMS, "a statistic of Gram matrices (neucept.knockoffs.GramStatistic)")
    elif not callable(statistic) or isinstance(statistic, type):
        raise InputError(
            f"statistic={statistic!r} can neither be called with (Z, Zk, y, rng), as a neucept.knockoffs.Statistic,"
            " nor has it an 'importance', as a GramStatistic."
        )


def _is_of_grams(statistic: Statistic | GramStatistic) -> TypeGuard[GramStatistic]:
    return all(hasattr(statistic, name) for name in _OF_GRAMS)


def _sampler_of(given: str | Sampler, groups: np.ndarray | None, copies: int, s: str) -> Sampler:
    """Make a sampler by name; refuse one whose knockoffs are not those that would be compared."""
    if isinstance(given, str):
        made = SAMPLERS[given]
        options = {"groups": groups, "copies": copies, "s": s}
        sampler: Sampler = made(**{name: value for name, value in options.items() if name in made.options})
        return sampler
    drawn, own = getattr(given, "copies", 1), getattr(given, "groups", None)
    if drawn != copies:
        raise InputError(f"The sampler {name_of(given)!r} draws {drawn} knockoffs of each neuron, but copies={copies}.")
    if own is not None and not np.array_equal(own, np.arange(len(own)) if groups is None else groups):
        raise InputError(
            f"The sampler {name_of(given)!r} draws knockoffs of groups; the same must be given as groups=."
        )
    return given


def _from_grams(
    draw: Callable[[np.random.Generator], list[Moments]],
    statistic: GramStatistic,
    p: int,
    L: int,
    groups: np.ndarray | None,
    copies: int,
    generators: Sequence[np.random.Generator],
    advance: Callable[[int], None],
) -> np.ndarray:
    m = (copies + 1) * p
    size = max(1, _BATCH // max(m * m * (2 * statistic.folds - 1), 1))
    W = []
    for batch in (generators[first : first + size] for first in range(0, len(generators), size)):
        drawn = [draw(generator) for generator in batch]
        orders = np.stack([generator.permutation(m) for generator in batch])
        batch_grams = grams(drawn, p, orders)
        alive = np.diagonal(batch_grams.G, axis1=1, axis2=2) > 0
        importance = np.where(alive[:, None], statistic.importance(batch_grams), 0.0)
        importance = importance.reshape(len(batch), L, copies + 1, p)
        W.append(statistic.compare(_of_groups(importance, groups, statistic.join)))
        advance(len(batch))
    return np.concatenate(W)


def _of_groups(values: np.ndarray, groups: np.ndarray | None, join: np.ufunc) -> np.ndarray:
    """Join values of neurons, (..., p), to values of groups, (..., g)."""
    if groups is None:
        return values
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], np.arange(groups.max() + 1))
    return np.asarray(join.reduceat(values[..., order], starts, axis=-1))


def _columns(X: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and variance 1, in double precision; constant ones are 0."""
    X = np.asarray(X)
    X = X[:, None] if X.ndim == 1 else X
    if not np.isfinite(X).all():
        raise InputError("Neurons and responses must be finite.")
    if not len(X):
        raise InputError("No rows to draw knockoffs of.")
    return standardised(X)


def _standardised(folds: list[Moments]) -> list[Moments]:
    """Moments of folds in the units of the whole: its columns have mean 0 and variance 1."""
    whole = total(folds)
    if len(folds) == 1:
        return [whole.standardised()]
    scale = np.sqrt(np.diag(whole.standardised().scatter) / np.maximum(np.diag(whole.scatter), 1e-300))
    return [Moments(f.n, (f.mean - whole.mean) * scale, f.scatter * np.outer(scale, scale), f.p) for f in folds if f.n]


def _checked(groups: np.ndarray | None, p: int) -> np.ndarray | None:
    if groups is None:
        return None
    groups = np.asarray(groups)
    if groups.shape != (p,) or not np.array_equal(np.unique(groups), np.arange(groups.max(initial=-1) + 1)):
        raise InputError(f"groups must number the {p} neurons from 0 on without a gap; got shape {groups.shape}.")
    return groups


# ---- rows -----------------------------------------------------------------------------------------------------------


def row_statistics(
    Z: np.ndarray,
    y: np.ndarray,
    sampler: Sampler,
    statistic: Statistic,
    draws: int,
    rng: np.random.Generator,
    advance: Callable[[int], None] = lambda steps: None,
) -> np.ndarray:
    """Statistics of several draws of knockoffs, the plain way: draw the rows, fit, compare.

    Parameters
    ----------
    Z : array
        (n, p) standardised neurons.
    y : array
        (n,) response.
    sampler, statistic : Sampler, Statistic
        What draws and what compares.
    draws : int
        How many sets of knockoffs.
    rng : Generator
        Each draw uses a generator spawned from it.
    advance : callable
        Called with 1 after every draw.

    Returns
    -------
    array
        (draws, p); all zero for a constant response, which needs no neuron.
    """
    W = np.zeros((draws, Z.shape[1]))
    y = standardised(y)
    if Z.shape[1] == 0 or not y.any():
        return W
    sampler.fit(Z)
    for i, generator in enumerate(rng.spawn(draws)):
        w = np.asarray(statistic(Z, _knockoffs(Z, sampler, 1, generator), y, generator), np.float64)
        if w.shape != W.shape[1:] or not np.isfinite(w).all():
            raise InputError(
                f"The statistic {name_of(statistic)!r} returned shape {w.shape}; expected {W.shape[1:]} finite numbers."
            )
        W[i] = w
        advance(1)
    return W


def _knockoffs(Z: np.ndarray, sampler: Sampler, copies: int, rng: np.random.Generator) -> np.ndarray:
    Zk = np.asarray(sampler.draw(Z, rng))
    expected = (len(Z), copies * Z.shape[1])
    if Zk.shape != expected or not np.isfinite(Zk).all():
        raise InputError(
            f"The sampler {name_of(sampler)!r} drew shape {Zk.shape}; expected {expected}, finite: one knockoff of each"
            " neuron and row, copy after copy."
        )
    return Zk


def _draw_rows(
    Z: np.ndarray, Y: np.ndarray, fold_of: np.ndarray, sampler: Sampler, copies: int, rng: np.random.Generator
) -> list[Moments]:
    X = np.hstack([Z, _knockoffs(Z, sampler, copies, rng)])
    return [Moments.of(X[fold_of == f], Y[fold_of == f]) for f in range(fold_of.max() + 1)]


# ---- Gram matrices --------------------------------------------------------------------------------------------------


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
        varying = values > values.max(initial=0.0) * max(p, 1) * np.finfo(np.float64).eps * 4
        varying &= np.arange(p) >= p - (n - 1)
        root = np.sqrt(values[varying])
        self.R = vectors[:, varying].T * root[:, None]
        self.y = (vectors[:, varying] / root).T @ moments.scatter[:p, p:]
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
