"""Gram draws and rows once more, with many more draws and at the size of a small layer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from neucept.knockoffs import STATISTICS, GaussianSampler, GramDraws, Moments, knockoff_statistics
from neucept.knockoffs.draw import Part
from neucept.knockoffs.moments import grams

pytestmark = pytest.mark.validity
P, DRAWS = 12, 6000


def layer(n: int, response: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    Z = np.maximum(rng.standard_normal((n, P)) + rng.standard_normal((n, 1)), -0.5)
    Z = (Z - Z.mean(axis=0)) / Z.std(axis=0)
    y = Z[:, :4].sum(axis=1) + (0 if response == "linear" else 1) * rng.standard_normal(n)
    return Z, (y - y.mean()) / y.std()


@pytest.mark.parametrize("n", [400, 20, 10])  # 2p is 24
@pytest.mark.parametrize("response", ["linear", "noisy"])
def test_projections_of_the_whole_gram_matrix(n, response):
    Z, y = layer(n, response)
    sampler = GaussianSampler().fit(Z)
    drawer = GramDraws([Part(Moments.of(Z, y), sampler.laws[0])])
    rng = np.random.default_rng(0)
    upper = np.triu_indices(2 * P + 1)
    gram = np.array([drawer.draw(rng)[0].scatter[upper] for _ in range(DRAWS)])
    rows = np.array([Moments.of(np.hstack([Z, sampler.draw(Z, rng)]), y).scatter[upper] for _ in range(DRAWS)])
    moving = rows.std(axis=0) > 1e-9 * n
    gram, rows = gram[:, moving] / rows[:, moving].std(axis=0), rows[:, moving] / rows[:, moving].std(axis=0)
    directions = rng.standard_normal((gram.shape[1], 40))
    pvalues = np.concatenate(
        [
            stats.ks_2samp(gram @ directions, rows @ directions, axis=0).pvalue,
            stats.ttest_ind(gram, rows, axis=0, equal_var=False).pvalue,
            stats.levene(gram, rows, axis=0).pvalue,
        ]
    )
    assert pvalues.min() * len(pvalues) > 0.001


@pytest.mark.parametrize("n", [400, 20, 10])
@pytest.mark.parametrize("name", ["lasso", "lasso_fixed", "lasso_cv", "lasso_max", "ridge", "marginal"])
def test_statistics(n, name):
    Z, y = layer(n, "noisy")
    sampler, draws = GaussianSampler().fit(Z), 400 if name == "lasso_cv" else 3000
    rng = np.random.default_rng(1)
    statistic = STATISTICS[name]
    found = knockoff_statistics(Z, y, statistic=name, draws=draws, rng=rng)[:, 0]
    folds = rng.permutation(n) % min(statistic.folds, n)
    rows = []
    for _ in range(draws):
        X = np.hstack([Z, sampler.draw(Z, rng)])
        rows.append([Moments.of(X[folds == f], y[folds == f]) for f in range(folds.max() + 1)])
    orders = np.array([rng.permutation(2 * P) for _ in range(draws)])
    expected = statistic.compare(statistic.importance(grams(rows, P, orders)).reshape(draws, 2, P))
    if name == "lasso_cv":  # another split into folds: the two have the same law only over splits
        assert np.abs(found.mean(axis=0) - expected.mean(axis=0)).max() < 0.15
    else:
        assert stats.ks_2samp(found.round(5), expected.round(5), axis=0, method="asymp").pvalue.min() * P > 0.001
