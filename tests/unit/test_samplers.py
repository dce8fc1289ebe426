"""Samplers: exchangeability where it is promised, copies, groups, seeds; and every combination on awkward data."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from neucept.errors import InputError
from neucept.knockoffs import (
    SAMPLERS,
    STATISTICS,
    ConditionalSampler,
    GaussianSampler,
    MixtureSampler,
    Moments,
    knockoff_statistics,
)
from neucept.knockoffs.samplers import gaussian_law, shrunk


@pytest.mark.parametrize("copies", [1, 2, 5])
@pytest.mark.parametrize("groups", [None, np.array([0, 0, 1, 2, 2])])
@pytest.mark.parametrize("s", ["mvr", "maxent", "equicorrelated"])
def test_neurons_and_copies_are_jointly_exchangeable(copies, groups, s):
    """The joint covariance that P and V imply is Sigma on the diagonal and Sigma - D everywhere else."""
    p = 5
    Sigma = np.cov(np.random.default_rng(0).standard_normal((p, 12)) * np.arange(1, 6)[:, None])  # variances differ
    law = gaussian_law(np.zeros(p), Sigma, s, groups, copies)
    cross = Sigma @ law.P
    joint = np.block([[Sigma, cross], [cross.T, law.P.T @ cross + law.root @ law.root.T]])
    blocks = joint.reshape(copies + 1, p, copies + 1, p).transpose(0, 2, 1, 3)
    D = Sigma - blocks[0, 1]
    member = np.arange(p) if groups is None else groups
    np.testing.assert_allclose(D[member[:, None] != member], 0, atol=1e-8)
    for a in range(copies + 1):
        for b in range(copies + 1):
            np.testing.assert_allclose(blocks[a, b], Sigma if a == b else Sigma - D, atol=1e-8)


def test_shrinkage_is_that_of_scikit_learn():
    from sklearn.covariance import oas

    Z = np.random.default_rng(0).standard_normal((30, 10))
    Z = (Z - Z.mean(axis=0)) / Z.std(axis=0)
    np.testing.assert_allclose(shrunk(Z.T @ Z, 30), oas(Z, assume_centered=True)[0], atol=1e-12)


def test_components_of_a_mixture_are_sampled_not_chosen():
    rng = np.random.default_rng(0)
    Z = np.r_[rng.standard_normal((3000, 2)) - 0.6, rng.standard_normal((3000, 2)) + 0.6]
    sampler = MixtureSampler(components=2, seed=0).fit(Z)
    from sklearn.mixture import GaussianMixture

    posterior = GaussianMixture(2, reg_covar=1e-2, random_state=0).fit(Z).predict_proba(Z)
    sure = np.max(posterior, axis=1).mean()
    agreement = max(
        np.mean(posterior.argmax(axis=1) == sampler.labels), np.mean(posterior.argmin(axis=1) == sampler.labels)
    )
    assert agreement == pytest.approx(sure, abs=0.03) and sure < 0.95
    assert np.array_equal(sampler.labels, MixtureSampler(components=2, seed=0).fit(Z).labels)


@pytest.mark.parametrize("regressor", [None, HistGradientBoostingRegressor(max_iter=20)])
def test_conditional_knockoffs_have_the_variance_and_the_correlations_of_their_neurons(regressor):
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((800, 3)) @ np.linalg.cholesky(0.5 * np.eye(3) + 0.5).T
    Z = (Z - Z.mean(axis=0)) / Z.std(axis=0)
    Zk = ConditionalSampler(regressor, seed=1).fit(Z).draw(Z, rng)
    np.testing.assert_allclose(Zk.var(axis=0), 1, atol=0.2)
    assert np.abs(np.corrcoef(Z.T, Zk.T)[0, [4, 5]] - np.corrcoef(Z.T)[0, 1:]).max() < 0.15


AWKWARD = {
    "many rows": (300, 12),
    "n below 2p": (20, 12),
    "n below p": (9, 12),
    "one neuron": (40, 1),
    "two rows": (2, 3),
}


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("case", AWKWARD)
def test_nothing_fails_on_awkward_data(statistic, sampler, case):
    n, p = AWKWARD[case]
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((n, p)).astype(np.float16)
    if p > 3:
        Z[:, 3], Z[:, 5] = 7, Z[:, 4]  # a dead one, a duplicate
    Y = np.column_stack([Z[:, 0], np.full(n, 3.0), rng.standard_normal(n)])  # exactly linear, constant, noise
    for copies, groups in ((1, None), (2, np.arange(p) // 2)):
        options = {"statistic": statistic, "sampler": sampler, "copies": copies, "groups": groups, "draws": 2}
        W = knockoff_statistics(Z, Y, rng=np.random.default_rng(0), **options)
        assert W.shape == (2, 3, p if groups is None else groups.max() + 1)
        assert np.isfinite(W).all() and not W[:, 1].any()
        assert groups is not None or p < 4 or not W[:, :, 3].any()


def test_the_first_neuron_of_a_linear_response_is_found_whatever_the_way():
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((200, 6))
    for sampler in SAMPLERS:
        for statistic in STATISTICS:
            W = knockoff_statistics(Z, Z[:, 0], sampler=sampler, statistic=statistic, draws=3, rng=rng)
            assert (W[:, 0, 0] > 0).all() and (W.argmax(axis=2) == 0).all()


def test_a_known_covariance_is_in_any_units():
    rng = np.random.default_rng(0)
    Sigma = 0.8 ** np.abs(np.subtract.outer(np.arange(8), np.arange(8)))
    Z = rng.multivariate_normal(np.zeros(8), Sigma, 300)
    scale = 10.0 ** rng.integers(-3, 4, 8)
    y = Z[:, 0] + rng.standard_normal(300)
    plain = knockoff_statistics(Z, y, sampler=GaussianSampler(covariance=Sigma), rng=np.random.default_rng(1))
    known = GaussianSampler(covariance=Sigma * np.outer(scale, scale))
    other = knockoff_statistics(Z * scale, y, sampler=known, rng=np.random.default_rng(1))
    np.testing.assert_allclose(other, plain, atol=1e-8)
    np.testing.assert_allclose(known.Sigma, Sigma)
    with pytest.raises(InputError, match=r"covariance has shape \(3, 3\); expected \(8, 8\)"):
        knockoff_statistics(Z, y, sampler=GaussianSampler(covariance=np.eye(3)), rng=rng)
    with pytest.raises(InputError, match="variances above 0"):
        knockoff_statistics(Z, y, sampler=GaussianSampler(covariance=np.zeros((8, 8))), rng=rng)


def test_a_sampler_must_draw_what_is_compared():
    Z, rng = np.random.default_rng(0).standard_normal((40, 4)), np.random.default_rng(0)
    pairs, y = np.array([0, 0, 1, 1]), Z[:, 0]
    for given in (Z, Moments.of(Z, Z[:, :1])):
        more = {} if given is not Z else {"Y": y}
        with pytest.raises(InputError, match="draws 2 knockoffs of each neuron, but copies=1"):
            knockoff_statistics(given, **more, sampler=GaussianSampler(copies=2), rng=rng)
        with pytest.raises(InputError, match="the same must be given as groups="):
            knockoff_statistics(given, **more, sampler=GaussianSampler(groups=pairs), rng=rng)
        single = GaussianSampler(groups=np.arange(4))
        assert knockoff_statistics(given, **more, sampler=single, draws=2, rng=rng).shape == (2, 1, 4)
        grouped = knockoff_statistics(
            given, **more, sampler=GaussianSampler(groups=pairs), groups=pairs, draws=2, rng=rng
        )
        assert grouped.shape == (2, 1, 2)


def test_mistakes_are_named():
    Z, rng = np.random.default_rng(0).standard_normal((20, 4)), np.random.default_rng(0)
    with pytest.raises(InputError, match="Did you mean 'gaussian'"):
        knockoff_statistics(Z, Z[:, 0], sampler="gausian", rng=rng)
    with pytest.raises(InputError, match="'lasso'"):
        knockoff_statistics(Z, Z[:, 0], statistic="laso", rng=rng)
    with pytest.raises(InputError, match="without a gap"):
        knockoff_statistics(Z, Z[:, 0], groups=np.array([0, 0, 2, 2]), rng=rng)
    with pytest.raises(InputError, match="finite"):
        knockoff_statistics(Z * np.nan, Z[:, 0], rng=rng)
    with pytest.raises(InputError, match="rows"):
        knockoff_statistics(Moments.of(Z, Z[:, :1]), sampler="mixture", rng=rng)
    with pytest.raises(InputError, match="fold"):
        knockoff_statistics(Moments.of(Z, Z[:, :1]), statistic="lasso_cv", rng=rng)


def test_a_row_statistic_serves_many_responses():
    from neucept.knockoffs import lasso

    rng = np.random.default_rng(0)
    Z = rng.standard_normal((60, 5))
    W = knockoff_statistics(Z, Z[:, :2], statistic=lasso, sampler=GaussianSampler(), draws=2, rng=rng)
    assert W.shape == (2, 2, 5) and (W[:, 0, 0] > 0).all() and (W[:, 1, 1] > 0).all()
