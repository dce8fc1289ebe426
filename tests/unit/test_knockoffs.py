"""Thresholds, e-values, s-matrices and rows of knockoffs, against definitions written out plainly."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neucept.errors import InputError
from neucept.knockoffs import (
    GaussianSampler,
    Moments,
    e_bh,
    evalues,
    frequency,
    lasso,
    mvr,
    prepare,
    row_statistics,
    select,
    smallest_selection,
    stopped_evalues,
    threshold,
)
from neucept.knockoffs.preprocessing import standardised

STATISTICS = hnp.arrays(np.float64, st.integers(1, 40), elements=st.integers(-6, 12).map(float))  # many ties and zeros
LEVELS = st.sampled_from([0.05, 0.1, 0.2, 0.25, 1 / 3, 0.5, 0.9])


# ---- equation (9) ---------------------------------------------------------------------------------------------------


def plain_threshold(W: np.ndarray, q: float) -> float:
    """Equation (9) by trying every level, in exact arithmetic of whole numbers."""
    for t in sorted({abs(w) for w in W if w != 0}):
        above, below = sum(w >= t for w in W), sum(w <= -t for w in W)
        if (1 + below) / max(1, above) <= q + 1e-12:
            return float(t)
    return math.inf


@given(STATISTICS, LEVELS)
@settings(max_examples=300, deadline=None)
def test_threshold_is_equation_9(W: np.ndarray, q: float) -> None:
    assert threshold(W, q) == plain_threshold(W, q)
    np.testing.assert_array_equal(select(W, q), plain_threshold(W, q) <= W)


@given(STATISTICS, LEVELS, st.randoms(use_true_random=False), st.sampled_from([1e-6, 0.5, 3.0, 1e8]))
@settings(max_examples=100, deadline=None)
def test_selection_follows_order_and_ignores_scale(W: np.ndarray, q: float, random: object, scale: float) -> None:
    order = np.random.default_rng(len(W)).permutation(len(W))
    np.testing.assert_array_equal(select(W[order] * scale, q), select(W, q)[order])


@given(STATISTICS, LEVELS, LEVELS)
@settings(max_examples=100, deadline=None)
def test_a_lower_precision_selects_no_less(W: np.ndarray, a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    assert not (select(W, low) & ~select(W, high)).any()


@given(STATISTICS, LEVELS)
@settings(max_examples=100, deadline=None)
def test_a_selection_is_all_of_equal_values_positive_and_large_enough(W: np.ndarray, q: float) -> None:
    chosen = select(W, q)
    assume(chosen.any())
    assert chosen.sum() >= smallest_selection(q)
    assert (W[chosen] > 0).all()
    assert not np.isin(W[~chosen], W[chosen]).any()


@pytest.mark.parametrize(("q", "smallest"), [(0.1, 10), (0.2, 5), (0.5, 2), (1 / 3, 3), (0.15, 7), (1 - 0.9, 10)])
def test_smallest_selection(q: float, smallest: int) -> None:
    assert smallest_selection(q) == smallest
    assert select(np.ones(smallest), q).all()
    assert not select(np.ones(smallest - 1), q).any()


# ---- many draws -----------------------------------------------------------------------------------------------------


def test_frequency_is_the_share_of_draws() -> None:
    W = np.array([[5.0, 4, 3, 2, -1], [5.0, 4, 3, -2, -1], [5.0, 4, -3, 2, 1]])
    each = np.array([select(w, 0.5) for w in W])
    assert 0 < each.mean() < 1
    np.testing.assert_allclose(frequency(W, 0.5), each.sum(axis=0) / 3)


def plain_evalues(W: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    e = np.zeros(W.shape[1])
    for w in W:
        for level in levels:
            T = plain_threshold(w, level)
            for j, value in enumerate(w):
                if value >= T:
                    e[j] += len(w) / (1 + sum(other <= -T for other in w))
    return e / (len(W) * len(levels))


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 25)), elements=st.integers(-3, 12).map(float)),
    st.sampled_from([(0.1,), (0.5,), (0.25, 0.5), (0.05, 0.1)]),
)
@settings(max_examples=100, deadline=None)
def test_evalues_equal_their_definition(W: np.ndarray, levels: tuple[float, ...]) -> None:
    np.testing.assert_allclose(evalues(W, levels), plain_evalues(W, levels), rtol=1e-12)


E_VALUES = hnp.arrays(np.float64, st.integers(1, 30), elements=st.integers(0, 60).map(float))


@given(E_VALUES, LEVELS)
@settings(max_examples=200, deadline=None)
def test_e_bh_equals_its_definition(e: np.ndarray, q: float) -> None:
    p, ordered = len(e), sorted(e, reverse=True)
    k = max((k for k in range(1, p + 1) if ordered[k - 1] * k * q >= p - 1e-9), default=0)
    expected = np.array([value >= ordered[k - 1] if k else False for value in e])
    np.testing.assert_array_equal(e_bh(e, q), expected)


@given(E_VALUES, LEVELS, LEVELS, st.integers(0, 29), st.integers(0, 50))
@settings(max_examples=200, deadline=None)
def test_e_bh_is_monotone(e: np.ndarray, a: float, b: float, j: int, more: int) -> None:
    """A higher level, or a higher e-value, takes nothing out of the selection."""
    assert not (e_bh(e, min(a, b)) & ~e_bh(e, max(a, b))).any()
    higher = e.copy()
    higher[j % len(e)] += more
    assert not (e_bh(e, a) & ~e_bh(higher, a)).any()


def test_one_draw_by_evalues_selects_what_equation_9_does() -> None:
    """With the same level for the threshold and for e-BH (Ren and Barber, 2023, section 3)."""
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(100):
        W = rng.normal(size=40) + np.where(np.arange(40) < 20, 3, 0)
        for q in (0.1, 0.2):
            np.testing.assert_array_equal(e_bh(evalues(W[None], [q]), q), select(W, q))
            found += select(W, q).any()
    assert found > 100


# ---- s-matrix and Gaussian rows -------------------------------------------------------------------------------------


def correlation(p: int, seed: int, rank: int | None = None) -> np.ndarray:
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(p, rank or p))
    Sigma = loadings @ loadings.T + (0.3 if rank else 0.05) * np.eye(p)
    scale = np.sqrt(np.diag(Sigma))
    return Sigma / np.outer(scale, scale)


SIGMAS = {
    "identity": np.eye(4),
    "equal": np.full((6, 6), 0.7) + 0.3 * np.eye(6),
    "autoregressive": 0.9 ** np.abs(np.subtract.outer(np.arange(8), np.arange(8))),
    "random": correlation(7, 0),
    "few factors": correlation(12, 1, rank=2),
    "nearly singular": np.array([[1, 0.999], [0.999, 1]]),
}


def mvr_loss(Sigma: np.ndarray, s: np.ndarray) -> float:
    """The trace of the inverse covariance of neurons and knockoffs together."""
    D = np.diag(s)
    joint = np.block([[Sigma, Sigma - D], [Sigma - D, Sigma]])
    if np.linalg.eigvalsh(joint)[0] <= 1e-12:
        return math.inf
    return float(np.trace(np.linalg.inv(joint)))


@pytest.mark.parametrize("name", SIGMAS)
def test_mvr_is_optimal(name: str) -> None:
    """Its loss is that of a convex problem: no small step in any direction lowers it."""
    Sigma = SIGMAS[name]
    s = mvr(Sigma)
    assert (s > 0).all() and np.linalg.eigvalsh(2 * Sigma - np.diag(s))[0] > 0
    best = mvr_loss(Sigma, s)
    rng = np.random.default_rng(0)
    directions = [*np.eye(len(s)), *rng.normal(size=(30, len(s)))]
    for direction in directions:
        for size in (0.1, 0.01):
            for sign in (-1, 1):
                other = s * (1 + sign * size * direction)
                if (other > 0).all():
                    assert mvr_loss(Sigma, other) >= best * (1 - 1e-6)


def test_mvr_of_one_factor_in_closed_form() -> None:
    """p = 2 with correlation r: by symmetry s is the same for both, and a line search over it finds no better."""
    for r in (0.3, 0.8):
        Sigma = np.array([[1, r], [r, 1]])
        grid = np.linspace(0.01, min(2 * (1 - r), 2) - 1e-6, 20_000)
        loss = 1 / (2 * (1 + r) - grid) + 1 / (2 * (1 - r) - grid) + 2 / grid
        np.testing.assert_allclose(mvr(Sigma), grid[loss.argmin()], atol=1e-3)


@pytest.mark.parametrize("name", ["equal", "autoregressive", "few factors"])
def test_moments_of_gaussian_knockoffs(name: str) -> None:
    """Neurons and knockoffs are exchangeable: joint covariance [[Sigma, Sigma - D], [Sigma - D, Sigma]], mean zero."""
    Sigma = SIGMAS[name]
    p, n = len(Sigma), 60_000
    rng = np.random.default_rng(1)
    Z = rng.normal(size=(n, p)) @ np.linalg.cholesky(Sigma).T
    sampler = GaussianSampler().fit(Z)
    np.testing.assert_allclose(sampler.Sigma, Sigma, atol=0.02)
    Zk = sampler.draw(Z, rng)
    s = mvr(sampler.Sigma)
    joint = np.cov(np.hstack([Z, Zk]).T)
    off = Sigma - np.diag(s)
    np.testing.assert_allclose(joint, np.block([[Sigma, off], [off, Sigma]]), atol=0.025)  # 6 standard errors
    np.testing.assert_allclose(Zk.mean(axis=0), 0, atol=0.025)
    assert s.mean() > 0.05 and np.abs(np.diag(joint[:p, p:]) - 1).min() > 0.02  # knockoffs are no copies


def test_draws_given_the_neurons() -> None:
    """Given Z, knockoffs are Gaussian around Z P with covariance V, the same for every row."""
    rng = np.random.default_rng(2)
    Z = rng.normal(size=(300, 5)) @ np.linalg.cholesky(correlation(5, 3)).T
    Z = (Z - Z.mean(axis=0)) / Z.std(axis=0)
    sampler = GaussianSampler().fit(Z)
    Sigma, D = sampler.Sigma, np.diag(mvr(sampler.Sigma))
    draws = np.stack([sampler.draw(Z, rng) for _ in range(400)])
    solved = np.linalg.solve(Sigma, D)
    noise = draws - Z @ (np.eye(5) - solved)
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=0.3)  # 1,500 cells of 400 draws
    flat = noise.reshape(-1, 5)
    np.testing.assert_allclose(flat.T @ flat / len(flat), 2 * D - D @ solved, atol=0.02)


@pytest.mark.parametrize("n", [20, 400])
def test_degenerate_neurons_still_have_knockoffs(n: int) -> None:
    """More neurons than inputs, and neurons that are sums of others."""
    rng = np.random.default_rng(4)
    Z = rng.normal(size=(n, 30))
    Z = np.hstack([Z, Z[:, :5] + Z[:, 5:10]])
    Z = (Z - Z.mean(axis=0)) / Z.std(axis=0)
    Zk = GaussianSampler().fit(Z).draw(Z, rng)
    assert np.isfinite(Zk).all()
    assert 0.5 < Zk.std() < 1.5


# ---- hygiene --------------------------------------------------------------------------------------------------------


def layer(n: int = 400, k: int = 12, seed: int = 0) -> np.ndarray:
    """Neurons of which 3 is constant, 7 is 1 turned round, 9 is 2 with a little noise, and 10 twice 9."""
    X = np.random.default_rng(seed).normal(size=(n, k))
    X[:, 3] = 4.2
    X[:, 7] = 5 - 3 * X[:, 1]
    X[:, 9] = X[:, 2] + 0.01 * X[:, 9]
    X[:, 10] = 2 * X[:, 9]
    return X


def test_dead_and_collinear_neurons() -> None:
    prepared = prepare(layer())
    groups = prepared.groups
    assert groups[3] == -1 and (np.delete(groups, 3) >= 0).all()
    assert groups[1] == groups[7] and groups[2] == groups[9] == groups[10]
    assert len(np.unique(groups[groups >= 0])) == groups.max() + 1 == 8 == prepared.Z.shape[1]
    assert [groups[r] for r in prepared.representatives] == list(range(8))
    np.testing.assert_allclose(prepared.Z.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(prepared.Z.std(axis=0), 1, rtol=1e-12)
    for column, neuron in zip(prepared.Z.T, prepared.representatives, strict=True):
        assert np.corrcoef(column, layer()[:, neuron])[0, 1] == pytest.approx(1)


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_preparation_ignores_scale_and_shift_and_follows_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = layer(200, seed=seed)
    first = prepare(X)
    again = prepare(X * 10.0 ** rng.uniform(-4, 4, 12) * rng.choice([-1, 1], 12))
    np.testing.assert_array_equal(again.groups, first.groups)
    alone = np.bincount(first.groups[first.groups >= 0]) == 1
    np.testing.assert_array_equal(again.representatives[alone], first.representatives[alone])
    np.testing.assert_allclose(np.abs(again.Z[:, alone]), np.abs(first.Z[:, alone]), atol=1e-6)
    shifted = prepare(X + rng.uniform(-10, 10, 12))
    np.testing.assert_array_equal(shifted.groups, first.groups)
    np.testing.assert_allclose(shifted.Z[:, alone], first.Z[:, alone], atol=1e-6)
    order = rng.permutation(12)
    moved = prepare(X[:, order]).groups
    same = first.groups[order]
    np.testing.assert_array_equal(moved[:, None] == moved, same[:, None] == same)
    np.testing.assert_array_equal(moved == -1, same == -1)


def test_all_dead_or_nothing() -> None:
    assert prepare(np.ones((5, 3))).groups.tolist() == [-1, -1, -1]
    assert prepare(np.ones((5, 3))).Z.shape == (5, 0)


# ---- statistics of rows ---------------------------------------------------------------------------------------------


def planted(n: int = 200, p: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n, p))
    Z = (Z - Z.mean(axis=0)) / Z.std(axis=0)
    return Z, Z[:, :3] @ np.array([2.0, -1.0, 0.5]) + 0.5 * rng.normal(size=n)


@given(st.integers(0, 1000), st.sets(st.integers(0, 7), min_size=1))
@settings(max_examples=15, deadline=None)
def test_exchanging_a_neuron_and_its_knockoff_changes_the_sign(seed: int, exchanged: set[int]) -> None:
    Z, y = planted(seed=seed)
    Zk = np.random.default_rng(seed).permuted(Z, axis=0)
    y = (y - y.mean()) / y.std()
    swap = np.isin(np.arange(8), list(exchanged))
    W = lasso(Z, Zk, y, np.random.default_rng(1))
    other = lasso(np.where(swap, Zk, Z), np.where(swap, Z, Zk), y, np.random.default_rng(1))
    np.testing.assert_allclose(other, np.where(swap, -W, W), atol=2e-3)  # the solver's tolerance
    assert np.abs(W[:2]).min() > 0.05


def test_lasso_finds_what_is_planted() -> None:
    Z, y = planted()
    Zk = np.random.default_rng(9).normal(size=Z.shape)
    W = lasso(Z, Zk, (y - y.mean()) / y.std(), np.random.default_rng(0))
    assert W.argsort()[::-1][:3].tolist() == [0, 1, 2] and np.abs(W[3:]).max() < 0.1


def spread(Z: np.ndarray, Zk: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A plain statistic: difference of absolute correlations."""
    return np.abs(Z.T @ y) / len(y) - np.abs(Zk.T @ y) / len(y)


@pytest.mark.parametrize("statistic", [spread, lasso])
def test_statistics_ignore_scale_and_shift_of_the_response(statistic: Callable[..., np.ndarray]) -> None:
    Z, y = planted()
    given = {"sampler": GaussianSampler(), "statistic": statistic, "draws": 2}
    W = row_statistics(Z, y, rng=np.random.default_rng(0), **given)
    for scale, shift in [(1e-3, 0), (50, -7), (-2, 1e3)]:
        other = row_statistics(Z, scale * y + shift, rng=np.random.default_rng(0), **given)
        np.testing.assert_allclose(other, W, atol=1e-6)
    assert np.abs(W).max() > 0.1


def test_draws_differ_and_do_not_depend_on_their_number() -> None:
    Z, y = planted()
    few = row_statistics(Z, y, GaussianSampler(), spread, 2, np.random.default_rng(0))
    many = row_statistics(Z, y, GaussianSampler(), spread, 5, np.random.default_rng(0))
    np.testing.assert_array_equal(few, many[:2])
    assert len(np.unique(many[:, 0])) == 5
    assert not np.array_equal(few, row_statistics(Z, y, GaussianSampler(), spread, 2, np.random.default_rng(1)))


def test_a_constant_response_needs_no_neuron() -> None:
    Z, _ = planted()
    for constant in (np.zeros(200), np.full(200, 1e6 / 3)):
        W = row_statistics(Z, constant, GaussianSampler(), lasso, 3, np.random.default_rng(0))
        assert W.shape == (3, 8) and not W.any()
    assert row_statistics(Z[:, :0], np.arange(200.0), GaussianSampler(), lasso, 3, np.random.default_rng(0)).shape == (
        3,
        0,
    )


def test_progress_is_told_of_every_draw() -> None:
    Z, y = planted()
    told: list[int] = []
    row_statistics(Z, y, GaussianSampler(), spread, 4, np.random.default_rng(0), advance=told.append)
    assert sum(told) == 4


def test_a_large_offset_costs_no_precision() -> None:
    """One pass leaves the rounding error of a sum of a million large numbers in the mean."""
    x = np.arange(200_000) % 7
    want = (x - x.mean()) / x.std()
    for offset in (0.0, 1e9, 1e13):
        np.testing.assert_allclose(standardised((x + offset)[:, None])[:, 0], want, atol=1e-12)
    moments = Moments.of((x + 1e13)[:, None], x[:, None] + 1e13)
    np.testing.assert_allclose(moments.standardised().scatter / len(x), 1, rtol=1e-12)
    parts = [((x + 1e9)[k::5, None], np.full((len(x[k::5]), 1), 0.1)) for k in range(5)]
    whole = Moments.stream(parts)
    assert (whole.inverse_deviation > 0).tolist() == [True, False]
    np.testing.assert_allclose(whole.inverse_deviation[0], 1 / x.std(), rtol=1e-9)


def test_moments_that_would_overflow_are_refused() -> None:
    with pytest.raises(InputError, match="squares"):
        Moments.of(np.array([[1e200], [-1e200]]), np.zeros((2, 1)))


@pytest.mark.parametrize("copies", [1, 3])
def test_where_a_draw_stops(copies: int) -> None:
    """The plain scan of thresholds, from the smallest up."""
    rng = np.random.default_rng(3)
    for _ in range(100):
        W = np.round(rng.normal(0.7, 1.5, (2, 30)), 1)
        q = float(rng.choice([0.1, 0.2, 0.4]))
        expected = np.zeros(30)
        for w in W:
            for t in sorted({abs(x) for x in w if x}):
                above, below = sum(w >= t), sum(w <= -t)
                enough = above * q * copies >= 1 - 1e-9
                if (1 + below) <= q / 2 * copies * above + 1e-9 or not enough or below == 0:
                    expected += 30 * copies * (w >= t) / (1 + below) / 2
                    break
        np.testing.assert_allclose(stopped_evalues(W, q, copies), expected)
