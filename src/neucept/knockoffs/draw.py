"""Knockoff statistics for many draws and responses: from Gram matrices where possible, from rows where not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from neucept.errors import InputError, closest
from neucept.knockoffs.gram import GramDraws, Part
from neucept.knockoffs.moments import Moments
from neucept.knockoffs.preprocessing import standardised
from neucept.knockoffs.rows import row_statistics
from neucept.knockoffs.samplers import SAMPLERS, GaussianSampler, Sampler
from neucept.knockoffs.statistics import STATISTICS, GramStatistic, grams

_BATCH = 2**22  # numbers in the Gram matrices that are held at a time


def knockoff_statistics(
    Z: np.ndarray | Moments | Sequence[Moments],
    Y: np.ndarray | None = None,
    *,
    sampler: Any = "gaussian",
    statistic: Any = "lasso",
    draws: int = 50,
    rng: np.random.Generator,
    groups: np.ndarray | None = None,
    copies: int = 1,
    s: str = "mvr",
    advance: Callable[[int], None] | None = None,
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
        Of `SAMPLERS`; one that is given as an object has its own groups, copies and s, which must agree with these.
    statistic : str, GramStatistic or callable
        Of `STATISTICS`; a callable compares rows, see `neucept.knockoffs.rows.Statistic`.
    draws : int
        Sets of knockoffs.
    rng : Generator
        Whose spawned generators are used.
    groups : array, optional
        (p,) group number of each neuron, from 0 to g - 1: group knockoffs, and one statistic for each group.
    copies : int
        Knockoffs of each neuron in one draw.
    s : str
        How far knockoffs are from their neurons, see `s_matrix`.
    advance : callable, optional
        Told how many draws are done.

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
    if isinstance(statistic, str):
        statistic = STATISTICS[_known(statistic, STATISTICS, "statistic")]
    folds = getattr(statistic, "folds", 1)
    fold_rng, *generators = rng.spawn(draws + 1)
    if not isinstance(Z, np.ndarray):
        moments = _standardised([Z] if isinstance(Z, Moments) else list(Z))
        p, L = moments[0].p, len(moments[0].mean) - moments[0].p
        groups = _checked(groups, p)
        if isinstance(sampler, str):
            sampler = SAMPLERS[_known(sampler, SAMPLERS, "sampler")](groups=groups, copies=copies, s=s)
        else:
            _check_agrees(sampler, copies, groups)
        if not isinstance(sampler, GaussianSampler) or not isinstance(statistic, GramStatistic):
            raise InputError("Moments alone serve the Gaussian sampler and Gram statistics only; others need rows.")
        if folds > 1 and len(moments) < 2:
            raise InputError("This statistic is cross-validated: give a list of Moments, one for each fold.")
        with threadpool_limits(1, "blas"):
            whole = moments[0] if len(moments) == 1 else _total(moments)
            sampler.fit_moments(whole)
            kept = moments if folds > 1 else [whole]
            draw = GramDraws([Part(m, sampler.laws[0], k) for k, m in enumerate(kept)]).draw
            return _from_grams(draw, statistic, p, L, groups, copies, generators, advance)
    Z, Y = _standard(Z), _standard(Y if Y is not None else np.zeros((len(Z), 0)))
    p, L = Z.shape[1], Y.shape[1]
    groups = _checked(groups, p)
    if not p:
        return np.zeros((draws, L, 0))
    if isinstance(sampler, str):
        options = {"copies": copies} if sampler == "conditional" else {"groups": groups, "copies": copies, "s": s}
        sampler = SAMPLERS[_known(sampler, SAMPLERS, "sampler")](**options)
    else:
        _check_agrees(sampler, copies, groups)
    if not isinstance(statistic, GramStatistic):
        if groups is not None or copies > 1:
            raise InputError("Statistics of rows know neither groups nor several copies.")
        parts = [row_statistics(Z, y, sampler, statistic, draws, r) for y, r in zip(Y.T, rng.spawn(L), strict=True)]
        return np.stack(parts, axis=1) if parts else np.zeros((draws, 0, p))
    fold_of = fold_rng.permutation(len(Z)) % min(folds, len(Z))
    with threadpool_limits(1, "blas"):
        sampler.fit(Z)
        if hasattr(sampler, "laws"):
            labels = np.zeros(len(Z), np.intp) if sampler.labels is None else sampler.labels
            rows = [(k, f, (labels == k) & (fold_of == f)) for k in range(len(sampler.laws)) for f in range(folds)]
            draw = GramDraws([Part(Moments.of(Z[r], Y[r]), sampler.laws[k], f) for k, f, r in rows if r.any()]).draw
        else:
            draw = partial(_draw_rows, Z, Y, fold_of, sampler)
        return _from_grams(draw, statistic, p, L, groups, copies, generators, advance)


def _draw_rows(
    Z: np.ndarray, Y: np.ndarray, fold_of: np.ndarray, sampler: Sampler, rng: np.random.Generator
) -> list[Moments]:
    X = np.hstack([Z, sampler.draw(Z, rng)])
    return [Moments.of(X[fold_of == f], Y[fold_of == f]) for f in range(fold_of.max() + 1)]


def _from_grams(
    draw: Callable[[np.random.Generator], list[Moments]],
    statistic: GramStatistic,
    p: int,
    L: int,
    groups: np.ndarray | None,
    copies: int,
    generators: Sequence[np.random.Generator],
    advance: Callable[[int], None] | None,
) -> np.ndarray:
    m = (copies + 1) * p
    W = []
    for batch in _batches(generators, max(1, _BATCH // max(m * m * (2 * statistic.folds - 1), 1))):
        drawn = [draw(generator) for generator in batch]
        orders = np.stack([generator.permutation(m) for generator in batch])
        batch_grams = grams(drawn, p, orders)
        alive = np.diagonal(batch_grams.G, axis1=1, axis2=2) > 0
        importance = np.where(alive[:, None], statistic.importance(batch_grams), 0.0)
        importance = importance.reshape(len(batch), L, copies + 1, p)
        if groups is not None:
            order = np.argsort(groups, kind="stable")
            starts = np.searchsorted(groups[order], np.arange(groups.max() + 1))
            importance = statistic.join.reduceat(importance[..., order], starts, axis=-1)
        W.append(statistic.compare(importance))
        if advance is not None:
            advance(len(batch))
    return np.concatenate(W)


def _batches(generators: Sequence[np.random.Generator], size: int) -> Iterator[Sequence[np.random.Generator]]:
    for first in range(0, len(generators), size):
        yield generators[first : first + size]


def _standard(X: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and variance 1, in double precision; constant ones are 0."""
    X = np.asarray(X, np.float64)
    X = X[:, None] if X.ndim == 1 else X
    if not np.isfinite(X).all():
        raise InputError("Neurons and responses must be finite.")
    if not len(X):
        raise InputError("No rows to draw knockoffs of.")
    return standardised(X)


def _total(moments: Sequence[Moments]) -> Moments:
    total = moments[0]
    for other in moments[1:]:
        total = total + other
    return total


def _standardised(folds: list[Moments]) -> list[Moments]:
    """Moments of folds in the units of the whole: its columns have mean 0 and variance 1."""
    whole = _total(folds)
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


def _check_agrees(sampler: Any, copies: int, groups: np.ndarray | None) -> None:
    """Refuse a sampler whose knockoffs are not those that would be compared."""
    drawn, own = getattr(sampler, "copies", 1), getattr(sampler, "groups", None)
    if drawn != copies:
        raise InputError(f"The sampler draws {drawn} knockoffs of each neuron, but copies={copies}.")
    if own is not None and not np.array_equal(own, np.arange(len(own)) if groups is None else groups):
        raise InputError("The sampler draws knockoffs of groups; the same must be given as groups=.")


def _known(given: str, known: Mapping[str, Any], what: str) -> str:
    if given not in known:
        raise InputError(f"{what}={given!r}: expected one of {', '.join(map(repr, known))}.{closest(given, known)}")
    return given
