"""The lasso on Gram matrices, against scikit-learn's, and what must hold for every statistic."""

from __future__ import annotations

import os
import subprocess
import sys

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso as RowLasso
from sklearn.linear_model import Ridge as RowRidge

from neucept.knockoffs import STATISTICS, Moments, kernels, knockoff_statistics
from neucept.knockoffs.moments import Grams, grams
from neucept.knockoffs.statistics import Lasso, LassoCV, LassoFixed, Ridge, noise


def problem(
    n: int, m: int, correlated: float = 0.0, seed: int = 0, sigma: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, m)) + correlated * rng.standard_normal((n, 1))
    y = X[:, : m // 3].sum(axis=1) + sigma * rng.standard_normal(n)
    return (X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean()) / y.std()


def in_grams(X: np.ndarray, y: np.ndarray) -> Grams:
    m = X.shape[1]
    return grams([[Moments.of(X, y)]], m, np.random.default_rng(0).permutation(m)[None])


@pytest.mark.parametrize("n, m, correlated, sigma", [(200, 30, 0, 1), (200, 30, 3, 1), (20, 60, 0, 1), (100, 40, 1, 0)])
@pytest.mark.parametrize("penalty", [0.3, 0.03, 0.003])
def test_lasso_is_that_of_scikit_learn(n, m, correlated, sigma, penalty):
    X, y = problem(n, m, correlated, sigma=sigma)
    expected = RowLasso(alpha=penalty, tol=1e-14, max_iter=1_000_000, fit_intercept=False).fit(X, y).coef_
    g = in_grams(X, y)
    B = np.zeros((1, 1, m))
    gap = kernels.lasso_many(g.G, g.c, g.orders, np.array([[penalty]]), B, 1e-12, 10_000)
    assert gap.max() <= 1e-12
    np.testing.assert_allclose(B[0, 0], expected, atol=1e-6)


def test_the_gap_is_the_duality_gap():
    X, y = problem(100, 20)
    g = in_grams(X, y)
    B = np.zeros((1, 1, 20))
    gap = kernels.lasso_many(g.G, g.c, g.orders, np.array([[0.1]]), B, 0.0, 1)[0, 0]
    b = np.zeros(20)
    kernels.sweep(g.G[0], b, g.c[0, 0].copy(), 0.1, g.orders[0], 20, np.empty(20, np.int64))
    residual = y - X @ b
    value = residual @ residual / 200 + 0.1 * np.abs(b).sum()
    scale = min(1, 0.1 / np.abs(X.T @ residual / 100).max())
    dual = scale * (residual @ y) / 100 - scale**2 * (residual @ residual) / 200
    assert gap == pytest.approx((value - dual) / value, abs=1e-10)


def test_ridge_is_that_of_scikit_learn():
    X, y = problem(300, 20)
    g = in_grams(X, y)
    variance = float(noise(g)[0, 0]) ** 2
    ridge = RowRidge(alpha=20 * variance / (1 - variance), fit_intercept=False).fit(X, y)
    np.testing.assert_allclose(Ridge().importance(g)[0, 0], np.abs(ridge.coef_), atol=1e-10)


def test_the_noise_is_found_with_many_rows_and_with_few():
    for n, within in [(2000, 0.1), (80, 0.6)]:
        X, _ = problem(n, 60, seed=3)
        y = 2 * X[:, 0] + 2 * X[:, 1] + np.random.default_rng(0).standard_normal(n)
        assert noise(in_grams(X, y))[0, 0] == pytest.approx(1 / y.std(), rel=within)
    X, y = problem(500, 20, sigma=0)
    assert noise(in_grams(X, y))[0, 0] == pytest.approx(0.1)  # the floor


def test_cross_validation_is_that_of_rows():
    X, y = problem(120, 10, sigma=4.0)
    folds = np.arange(120) % 4
    g = grams([[Moments.of(X[folds == f], y[folds == f]) for f in range(4)]], 10, np.arange(10)[None])
    largest = np.abs(X.T @ y / 120).max()
    grid = np.geomspace(1, 1e-3, 30) * largest
    errors = np.zeros(30)
    for f in range(4):
        rest, left = folds != f, folds == f
        for k, penalty in enumerate(grid):
            model = RowLasso(alpha=penalty, tol=1e-10, max_iter=100_000).fit(X[rest], y[rest])
            errors[k] += np.mean((y[left] - model.predict(X[left])) ** 2)
    best = RowLasso(alpha=grid[errors.argmin()], tol=1e-12, max_iter=100_000).fit(X, y)
    found = LassoCV(folds=4, gap=1e-10).importance(g)[0, 0]
    np.testing.assert_allclose(found, np.abs(best.coef_), atol=1e-6)


@pytest.mark.parametrize("name", STATISTICS)
def test_exchanging_columns_exchanges_importances(name):
    X, y = problem(90, 24, correlated=0.5)
    order = np.random.default_rng(1).permutation(24)
    rows = np.arange(90) % 5
    statistic = STATISTICS[name]

    def importance(X: np.ndarray, visit: np.ndarray) -> np.ndarray:
        folds = [Moments.of(X[rows == f], y[rows == f]) for f in range(5)]
        folds = folds if statistic.folds > 1 else [Moments.of(X, y)]
        return statistic.importance(grams([folds], 24, visit[None]))[0, 0]

    swap = np.arange(24)
    swap[[3, 15]] = [15, 3]
    inverse = np.argsort(swap)
    np.testing.assert_allclose(importance(X[:, swap], inverse[order]), importance(X, order)[swap], atol=2e-4)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-6, 6), min_size=8, max_size=8), st.floats(-6, 6), st.sampled_from(sorted(STATISTICS)))
def test_the_scale_of_neurons_and_responses_does_not_matter(exponents, exponent, name):
    X, y = problem(60, 8)
    scaled = X * 10.0 ** np.array(exponents)
    a, b = (
        knockoff_statistics(*data, statistic=name, draws=2, rng=np.random.default_rng(0))
        for data in ((X, y), (scaled, y * 10.0**exponent + 10.0**exponent))
    )
    np.testing.assert_allclose(a, b, atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(8)))
def test_the_order_of_neurons_does_not_matter_when_the_noise_is_permuted_with_them(order):
    from neucept.knockoffs.samplers import gaussian_law
    from neucept.knockoffs.statistics import GramStatistic

    order = np.array(order)
    X, y = problem(60, 8, correlated=0.5)
    noise_of_rows = np.random.default_rng(0).standard_normal((60, 8))
    visit = np.random.default_rng(1).permutation(16)

    def W(columns: np.ndarray, statistic: GramStatistic) -> np.ndarray:
        Z = X[:, columns]
        law = gaussian_law(np.zeros(8), np.corrcoef(Z.T))
        root = law.root @ law.root.T  # the symmetric root goes with the neurons, an arbitrary one would not
        values, vectors = np.linalg.eigh(root)
        symmetric = (vectors * np.sqrt(values.clip(0))) @ vectors.T
        Zk = Z @ law.P + noise_of_rows[:, columns] @ symmetric
        place = np.concatenate([np.argsort(columns), 8 + np.argsort(columns)])
        drawn = [[Moments.of(np.hstack([Z, Zk]), y)]]
        return statistic.compare(statistic.importance(grams(drawn, 8, place[visit][None])).reshape(2, 8))

    for statistic in (Lasso(), LassoFixed(), Ridge()):
        np.testing.assert_allclose(W(order, statistic), W(np.arange(8), statistic)[order], atol=1e-5)


def test_one_and_two_threads_give_the_same(monkeypatch):
    X, y = problem(80, 12)
    Y = np.column_stack([y, X[:, 0], X[:, 1] ** 2])
    monkeypatch.setattr(kernels, "_WORTH_THREADS", 0)
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        results.append(knockoff_statistics(X, Y, draws=6, rng=np.random.default_rng(0)))
    assert np.array_equal(*results[:2]) and np.array_equal(*results[1:])


START = """
import multiprocessing, threading
import numba, numba.core.caching as caching
import numpy as np
numba.config.NUMBA_NUM_THREADS = 2
"""
WORK = """
from neucept.knockoffs import kernels, knockoff_statistics
from neucept.calibration.null_model import NullModel
kernels._WORTH_THREADS = 0
X = np.random.default_rng(0).normal(size=(80, 12))

def work(sampler):
    evidence = np.random.default_rng(1).normal(size=(40, 12, 3))
    NullModel.fit(evidence, evidence[..., 0] > 0).predict(evidence)
    return knockoff_statistics(X, X[:, :3], sampler=sampler, draws=4, rng=np.random.default_rng(0)).tobytes()

samplers = ["gaussian", "mixture"]
before = [work(sampler) for sampler in samplers]
"""


def run(code: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_forked_workers_and_threads_work_after_a_first_run():
    run(
        START
        + WORK
        + """
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map_async(work, samplers).get(timeout=60) == before
after = []
threads = [threading.Thread(target=lambda s=s: after.append(work(s))) for s in 2 * samplers]
[thread.start() for thread in threads], [thread.join() for thread in threads]
assert sorted(after) == sorted(2 * before)
"""
    )


@pytest.mark.parametrize(
    "trouble",
    [
        "caching.CacheImpl._locator_classes = []",  # no place to write to: RuntimeError
        "def full(*given): raise OSError(28, 'No space left on device')\ncaching.IndexDataCacheFile.save = full\n"
        "caching.IndexDataCacheFile.load = lambda *given: None",
    ],
    ids=["nowhere to write", "full disk"],
)
def test_compiled_code_need_not_be_kept(trouble):
    run(f"{START}\n{trouble}\n{WORK}")


def test_draws_do_not_depend_on_responses_or_on_how_many_draws_there_are(monkeypatch):
    from neucept.knockoffs import draw

    X, y = problem(80, 12)
    Y = np.column_stack([X[:, 0] ** 2, y, X[:, 1]])
    together = knockoff_statistics(X, Y, draws=5, rng=np.random.default_rng(0))
    alone = knockoff_statistics(X, y, draws=3, rng=np.random.default_rng(0))
    np.testing.assert_allclose(together[:3, 1], alone[:, 0], atol=1e-8)
    monkeypatch.setattr(draw, "_BATCH", 1)
    assert np.array_equal(knockoff_statistics(X, Y, draws=5, rng=np.random.default_rng(0)), together)
