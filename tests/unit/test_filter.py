from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from neucept.knockoffs import EmptySelectionWarning, KnockoffFilter


@pytest.mark.filterwarnings("ignore::neucept.knockoffs.EmptySelectionWarning", "ignore:No features were selected")
@parametrize_with_checks([KnockoffFilter(random_state=0), KnockoffFilter(draws=3, random_state=0)])
def test_scikit_learn_accepts_it(estimator, check):
    check(estimator)


def planted(n: int = 300, p: int = 40, k: int = 15) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p))
    return X, X[:, :k].sum(axis=1) + rng.standard_normal(n)


@pytest.mark.parametrize("draws, aggregate", [(1, "evalue"), (5, "evalue"), (5, "frequency")])
def test_it_finds_what_the_response_depends_on(draws, aggregate):
    X, y = planted()
    found = KnockoffFilter(0.2, draws, aggregate, random_state=0).fit(X, y)
    support = found.get_support()
    assert support[:15].mean() > 0.9 and support[15:].mean() < 0.3
    assert found.statistics_.shape == (draws, 40) and found.evalues_.shape == found.frequency_.shape == (40,)
    again = KnockoffFilter(0.2, draws, aggregate, random_state=0).fit(X, y)
    assert np.array_equal(again.statistics_, found.statistics_)


def test_duplicates_are_selected_together_and_constant_features_never():
    X, y = planted()
    X = np.column_stack([X, X[:, 0], np.full(300, 5.0), X[:, 20]])
    found = KnockoffFilter(0.2, random_state=0).fit(X, y)
    assert found.get_support()[[0, 40]].all() and not found.get_support()[41]
    assert found.groups_[40] == found.groups_[0] and found.groups_[41] == -1
    assert (found.statistics_[:, 0] == found.statistics_[:, 40]).all() and not found.statistics_[:, 41].any()


AWKWARD = {
    "p = 1": np.random.default_rng(0).standard_normal((30, 1)),
    "n < p": np.random.default_rng(0).standard_normal((10, 60)),
    "all dead": np.ones((30, 5)),
    "float16": np.random.default_rng(0).standard_normal((50, 8)).astype(np.float16),
    "duplicates": np.repeat(np.random.default_rng(0).standard_normal((30, 4)), 3, axis=1),
}


@pytest.mark.parametrize("case", AWKWARD)
@pytest.mark.parametrize("draws", [1, 3])
def test_an_empty_selection_says_how_small_one_may_be(case, draws):
    X = AWKWARD[case]
    for y in (np.ones(len(X)), X[:, 0].astype(float)):
        with pytest.warns(EmptySelectionWarning, match="has 10 features") as caught:
            found = KnockoffFilter(draws=draws, random_state=0).fit(X, y)
        assert not found.get_support().any() and len(caught) == 1
        if case == "all dead":
            assert "only 0 different features" in str(caught[0].message)


def test_wrong_options_are_refused_before_any_work():
    X, y = planted()
    for wrong in (
        {"fdr": 0},
        {"fdr": 1.5},
        {"draws": 0},
        {"aggregate": "union"},
        {"statistic": "laso"},
        {"sampler": "x"},
    ):
        with pytest.raises(ValueError), warnings.catch_warnings():
            KnockoffFilter(**wrong).fit(X, y)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("offset, unit", [(0, 1), (1e4, 1), (2e6, 1), (1.7e9, 3600), (1e12, 1), (0, 1e-20), (1, 1e-9)])
def test_offsets_and_units_are_no_constants(offset, unit, dtype):
    """What varies by more than rounding in its own type is a feature, whatever its offset and unit; y likewise."""
    X, y = planted()
    expected = KnockoffFilter(0.2, random_state=0).fit(X, y)
    moved = (offset + unit * X).astype(dtype)
    exact = dtype == np.float64 or offset == 0 or unit / offset > 1e-5
    if not exact and offset * np.finfo(dtype).eps > 0.25 * unit:  # the values themselves are gone
        pytest.skip("the type cannot hold these values")
    found = KnockoffFilter(0.2, random_state=0).fit(moved, y)
    assert found.groups_.tolist() == expected.groups_.tolist()
    if exact:
        np.testing.assert_allclose(found.statistics_, expected.statistics_, atol=1e-3)
        assert np.array_equal(found.get_support(), expected.get_support())
    if dtype == np.float64:
        of_response = KnockoffFilter(0.2, random_state=0).fit(X, offset + unit * y)
        np.testing.assert_allclose(of_response.statistics_, expected.statistics_, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_rounding_of_a_constant_is_no_feature(dtype):
    X, y = planted()
    X = X.astype(dtype)
    X[:, 3] = np.float64(0.1)
    X[::2, 3] = np.nextafter(X[0, 3], dtype(1))  # off by the last digit
    assert KnockoffFilter(0.2, random_state=0).fit(X, y).groups_[3] == -1


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e160, 1e300])
def test_squares_neither_overflow_nor_vanish(size):
    X, y = planted()
    expected = KnockoffFilter(0.2, random_state=0).fit(X, y).statistics_
    np.testing.assert_allclose(KnockoffFilter(0.2, random_state=0).fit(X, y * size).statistics_, expected, atol=1e-6)
    np.testing.assert_allclose(KnockoffFilter(0.2, random_state=0).fit(X * size, y).statistics_, expected, atol=1e-6)
