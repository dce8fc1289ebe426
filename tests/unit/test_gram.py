"""Gram draws have the distribution of rows: every test compares with knockoffs drawn row by row."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from neucept.knockoffs import STATISTICS, GaussianSampler, GramDraws, MixtureSampler, Moments, knockoff_statistics
from neucept.knockoffs import draw as module
from neucept.knockoffs.draw import Part
from neucept.knockoffs.moments import grams
from neucept.knockoffs.samplers import Law, gaussian_law

P, DRAWS = 4, 3000
COVARIANCE = 0.5 * np.eye(P) + 0.5


def data(n: int, linear: bool = False, mean: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    Z = rng.standard_normal((n, P)) @ np.linalg.cholesky(COVARIANCE).T + mean
    Y = Z @ rng.standard_normal((P, 2)) + (0 if linear else rng.standard_normal((n, 2)))
    return Z, Y


def by_rows(Z: np.ndarray, Y: np.ndarray, law: Law, folds: np.ndarray, draws: int = DRAWS) -> list[list[Moments]]:
    rng = np.random.default_rng(1)
    X = [np.hstack([Z, law.draw(Z, rng)]) for _ in range(draws)]
    return [[Moments.of(x[folds == f], Y[folds == f]) for f in np.unique(folds)] for x in X]


def by_gram(Z: np.ndarray, Y: np.ndarray, law: Law, folds: np.ndarray, draws: int = DRAWS) -> list[list[Moments]]:
    parts = [Part(Moments.of(Z[folds == f], Y[folds == f]), law, int(f)) for f in np.unique(folds)]
    drawer, rng = GramDraws(parts), np.random.default_rng(2)
    return [drawer.draw(rng) for _ in range(draws)]


def features(draws: list[list[Moments]], seed: int = 0) -> np.ndarray:
    """Random projections, and single numbers, of the moments of neurons, knockoffs and one response; (draws, many)."""
    m = draws[0][0].p
    flat = []
    for draw in draws:
        numbers = []
        for moments in draw:
            one = np.r_[np.arange(m), m]  # products of knockoffs with two responses are not promised
            scatter = moments.scatter[np.ix_(one, one)]
            numbers += [moments.mean[P:m], scatter[np.triu_indices(m + 1)]]
        flat.append(np.concatenate(numbers))
    flat = np.array(flat)
    directions = np.random.default_rng(seed).standard_normal((flat.shape[1], 12))
    scale = np.where(flat.std(axis=0) > 1e-9, flat.std(axis=0), np.inf)
    centred = (flat - flat.mean(axis=0)) / scale + flat.mean(axis=0) / np.where(np.isinf(scale), np.inf, scale)
    return np.hstack([centred @ directions, centred[:, ~np.isinf(scale)]])


def disagreement(a: list[list[Moments]], b: list[list[Moments]]) -> float:
    """Smallest p-value, times how many, of Kolmogorov-Smirnov and Welch tests of all features."""
    both = features(a + b)
    x, y = both[: len(a)], both[len(a) :]
    ks = stats.ks_2samp(x, y, axis=0, method="asymp").pvalue
    means = stats.ttest_ind(x, y, axis=0, equal_var=False).pvalue
    spread = stats.ttest_ind(np.abs(x - both.mean(axis=0)), np.abs(y - both.mean(axis=0)), axis=0).pvalue
    return float(min(ks.min(), means.min(), spread.min()) * 3 * both.shape[1])


def one_fold(n: int) -> np.ndarray:
    return np.zeros(n, int)


@pytest.mark.parametrize("n", [40, 12, 7, 5, 3])  # 2p is 8; below, the Wishart part is singular; below p too
@pytest.mark.parametrize("linear", [False, True])
def test_gram_draws_agree_with_rows(n, linear):
    Z, Y = data(n, linear, mean=0.7)
    law = gaussian_law(np.full(P, 0.7), COVARIANCE)
    assert disagreement(by_rows(Z, Y, law, one_fold(n)), by_gram(Z, Y, law, one_fold(n))) > 0.001


@pytest.mark.parametrize(
    "options", [{"copies": 3}, {"groups": np.array([0, 0, 1, 1])}, {"copies": 2, "groups": np.array([0, 1, 1, 1])}]
)
def test_gram_draws_of_groups_and_copies_agree_with_rows(options):
    Z, Y = data(15)
    law = gaussian_law(np.zeros(P), COVARIANCE, **options)
    assert disagreement(by_rows(Z, Y, law, one_fold(15)), by_gram(Z, Y, law, one_fold(15))) > 0.001


def test_folds_agree_with_rows():
    Z, Y = data(23)
    law, folds = gaussian_law(np.zeros(P), COVARIANCE), np.arange(23) % 3
    assert disagreement(by_rows(Z, Y, law, folds), by_gram(Z, Y, law, folds)) > 0.001


def test_dead_and_collinear_neurons_agree_with_rows():
    Z, Y = data(20)
    Z[:, 1], Z[:, 2] = 0.0, -2 * Z[:, 0]
    law = gaussian_law(np.zeros(P), COVARIANCE)
    assert disagreement(by_rows(Z, Y, law, one_fold(20)), by_gram(Z, Y, law, one_fold(20))) > 0.001


def test_mixtures_agree_with_rows():
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((60, P)) * np.where(rng.random((60, 1)) < 0.5, 0.3, 2) + rng.integers(0, 2, (60, 1))
    Y = Z[:, :1] ** 2 + rng.standard_normal((60, 1))
    sampler = MixtureSampler(components=2, seed=3).fit(Z)
    rows = [[Moments.of(np.hstack([Z, sampler.draw(Z, rng)]), Y)] for _ in range(DRAWS)]
    labels = sampler.labels
    parts = [Part(Moments.of(Z[labels == k], Y[labels == k]), law) for k, law in enumerate(sampler.laws)]
    drawer = GramDraws(parts)
    assert disagreement(rows, [drawer.draw(rng) for _ in range(DRAWS)]) > 0.001


@pytest.mark.parametrize("mutation", ["V", "P", "centring"])
@pytest.mark.parametrize("n", [13, 7])
def test_the_comparison_notices_slight_changes(mutation, n, monkeypatch):
    Z, Y = data(n)
    law = gaussian_law(np.zeros(P), COVARIANCE)
    right = by_rows(Z, Y, law, one_fold(n))
    if mutation == "V":
        law = Law(law.mean, law.P, law.root * 1.05)
    elif mutation == "P":
        law = Law(law.mean, law.P + 0.05 * np.eye(P), law.root)
    else:  # as though the mean of the noise had not been taken out: one degree of freedom more
        outside = module._outside
        monkeypatch.setattr(module, "_outside", lambda degrees, k, rng: outside(degrees + 1, k, rng))
    assert disagreement(right, by_gram(Z, Y, law, one_fold(n))) < 1e-4


@pytest.mark.parametrize("n", [200, 14, 9])
def test_statistics_agree_with_rows(n):
    p = 6
    rng = np.random.default_rng(n)
    Z = rng.standard_normal((n, p))
    Z = (Z - Z.mean(axis=0)) / Z.std(axis=0)
    y = Z[:, 0] - 0.5 * Z[:, 1] + rng.standard_normal(n)
    y = (y - y.mean()) / y.std()
    sampler = GaussianSampler().fit(Z)
    orders = np.array([rng.permutation(2 * p) for _ in range(800)])
    rows = grams([[Moments.of(np.hstack([Z, sampler.draw(Z, rng)]), y)] for _ in range(800)], p, orders)
    for name in ["lasso", "ridge"]:
        found = knockoff_statistics(Z, y, sampler=sampler, statistic=name, draws=800, rng=rng)[:, 0]
        expected = STATISTICS[name].compare(STATISTICS[name].importance(rows).reshape(800, 2, p))
        # A lasso without any knockoff has the same W in many draws, but for rounding.
        assert stats.ks_2samp(found.round(5), expected.round(5), axis=0).pvalue.min() * p > 0.001


def test_moments_add_up_stream_save_and_open(tmp_path):
    Z, Y = data(50, mean=3.0)
    whole = Moments.of(Z, Y)
    streamed = Moments.stream((Z[k : k + 7], Y[k : k + 7]) for k in range(0, 50, 7))
    whole.save(tmp_path / "moments")
    for other in (
        Moments.of(Z[:13], Y[:13]) + Moments.of(Z[13:], Y[13:]),
        streamed,
        Moments.open(tmp_path / "moments"),
    ):
        assert (other.n, other.p) == (50, P)
        np.testing.assert_allclose(other.mean, whole.mean, rtol=1e-12)
        np.testing.assert_allclose(other.scatter, whole.scatter, rtol=1e-10)


def test_memory_of_moments_is_flat_in_n():
    def peak(parts: int) -> int:
        tracemalloc.start()
        Moments.stream((np.ones((1000, 20)) * k, np.ones((1000, 2))) for k in range(parts))
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(200) < 1.05 * peak(20)


def test_moments_alone_give_the_same_statistics_as_rows_of_data():
    Z, Y = data(80, mean=2.0)
    moments = Moments.of(Z[:30], Y[:30]) + Moments.of(Z[30:], Y[30:])
    a, b = (knockoff_statistics(*given, draws=4, rng=np.random.default_rng(0)) for given in ((Z, Y), (moments,)))
    np.testing.assert_allclose(a, b, atol=1e-9)
    folds = [Moments.of(Z[k::5], Y[k::5]) for k in range(5)]
    W = knockoff_statistics(folds, statistic="lasso_cv", draws=2, rng=np.random.default_rng(0))
    assert W.shape == (2, 2, P)
