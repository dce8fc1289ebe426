"""Equation (9) by rows keeps its promise: the false discovery rate on designs whose distribution is Gaussian.

Knockoffs are drawn as discovery draws them, from an estimated covariance. The bound is one-sided and honest: the mean
of independent false discovery proportions, each in [0, 1], may exceed the level by no more than chance does once in a
thousand (a normal bound with their own deviation).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from neucept.knockoffs import GaussianSampler, e_bh, evalues, row_statistics, select, threshold

pytestmark = pytest.mark.validity

P, SIGNALS, N, LEVEL = 20, 6, 150, 0.2


def least_squares(Z: np.ndarray, Zk: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    b = np.abs(np.linalg.lstsq(np.hstack([Z, Zk]), y, rcond=None)[0])
    return b[: Z.shape[1]] - b[Z.shape[1] :]


def correlations(Z: np.ndarray, Zk: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.abs(Z.T @ y) - np.abs(Zk.T @ y)


def design(name: str, rng: np.random.Generator) -> np.ndarray:
    Z = rng.normal(size=(N, P))
    if name == "autoregressive":
        for j in range(1, P):
            Z[:, j] = 0.6 * Z[:, j - 1] + 0.8 * Z[:, j]
    elif name == "one factor":
        Z = np.sqrt(0.5) * Z + np.sqrt(0.5) * rng.normal(size=(N, 1))
    return (Z - Z.mean(axis=0)) / Z.std(axis=0)


def response(name: str, Z: np.ndarray, signals: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noise = rng.normal(size=len(Z))
    if name == "nothing":
        return noise
    linear = Z[:, signals] @ rng.choice([-1.0, 1.0], len(signals))
    if name == "kinked":
        return np.maximum(linear, 0) + 0.5 * np.abs(linear) * noise
    return linear * (0.45 if name == "linear" else 1.5) + noise


def proportions(
    kind: tuple[str, str],
    statistic: Callable[..., np.ndarray],
    repetitions: int,
    choose: Callable[[np.ndarray], np.ndarray],
    draws: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """False discovery proportion and share of signals found, (repetitions,)."""
    false, found = [], []
    for repetition in range(repetitions):
        rng = np.random.default_rng([repetition, len(kind[0]), len(kind[1])])
        Z = design(kind[0], rng)
        signals = rng.choice(P, 0 if kind[1] == "nothing" else SIGNALS, replace=False)
        W = row_statistics(Z, response(kind[1], Z, signals, rng), GaussianSampler(), statistic, draws, rng)
        chosen = np.flatnonzero(choose(W))
        true = np.isin(chosen, signals).sum()
        false.append((len(chosen) - true) / max(len(chosen), 1))
        found.append(true / max(len(signals), 1))
    return np.array(false), np.array(found)


def keeps(false: np.ndarray, level: float) -> bool:
    error = max(float(false.std(ddof=1)), 0.05) / np.sqrt(len(false))
    return bool(false.mean() <= level + norm.ppf(0.999) * error)


CASES: list[tuple[tuple[str, str], Any]] = [
    (("autoregressive", "linear"), least_squares),
    (("one factor", "linear"), least_squares),
    (("one factor", "linear"), correlations),  # all neurons correlate with the response: knockoffs must, too
    (("autoregressive", "kinked"), least_squares),  # any response: the model of Y need not be right
    (("independent", "nothing"), least_squares),
]


@pytest.mark.parametrize(
    ("kind", "statistic"), CASES, ids=lambda part: part.__name__ if callable(part) else "-".join(part)
)
def test_one_draw_controls_the_false_discovery_rate(kind: tuple[str, str], statistic: Any) -> None:
    false, found = proportions(kind, statistic, 600, lambda W: select(W[0], LEVEL))
    assert keeps(false, LEVEL), false.mean()
    if kind[1] == "linear" and statistic is least_squares:
        assert found.mean() > 0.3  # the filter does find signals, and errs now and then
        assert false.mean() > 0.03


def test_the_bound_would_notice_a_filter_that_does_not_keep_it() -> None:
    """Without the 1 in its numerator, equation (9) errs too often; permuted neurons are no knockoffs of a factor."""

    def without_one(W: np.ndarray) -> np.ndarray:
        levels = np.unique(np.abs(W[0][W[0] != 0]))
        allowed = [t for t in levels if np.sum(W[0] <= -t) <= LEVEL * max(1, np.sum(W[0] >= t))]
        return np.asarray(min(allowed, default=np.inf) <= W[0])

    false, _ = proportions(("independent", "nothing"), least_squares, 600, without_one)
    assert not keeps(false, LEVEL)

    def permuted(Z: np.ndarray, Zk: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return correlations(Z, rng.permuted(Z, axis=0), y, rng)

    false, _ = proportions(("one factor", "linear"), permuted, 100, lambda W: select(W[0], LEVEL))
    assert not keeps(false, LEVEL)


def test_evalues_of_many_draws_control_it_too() -> None:
    level = 0.3
    false, found = proportions(
        ("autoregressive", "strong"), least_squares, 150,
        lambda W: e_bh(evalues(W, (level / 2, level)), level), draws=8,
    )  # fmt: skip
    assert keeps(false, level), false.mean()
    assert found.mean() > 0.2 and false.max() > 0


def test_the_expected_sum_of_null_evalues() -> None:
    """At most p, on a response that needs no neuron: what e-BH rests on."""
    totals = []
    for repetition in range(400):
        rng = np.random.default_rng([repetition, 9])
        W = row_statistics(design("autoregressive", rng), rng.normal(size=N), GaussianSampler(), correlations, 1, rng)
        totals.append(evalues(W, [0.5]).sum())
    totals = np.array(totals)
    assert totals.mean() <= P + norm.ppf(0.999) * totals.std(ddof=1) / np.sqrt(400)
    assert totals.mean() > 0


def test_signs_of_null_statistics_are_fair_coins() -> None:
    """Whatever the signals: the property that equation (9) rests on."""
    positive, number, first = 0, 0, []
    for repetition in range(200):
        rng = np.random.default_rng([repetition, 5])
        Z = design("autoregressive", rng)
        y = Z[:, ::4].sum(axis=1) + rng.normal(size=N)
        W = row_statistics(Z, y, GaussianSampler(), least_squares, 1, rng)[0]
        null = np.arange(P) % 4 != 0
        positive += int((W[null] > 0).sum())
        number += int(null.sum())
        first.append(W[null][np.abs(W[null]).argmax()] > 0)
        assert np.isfinite(threshold(W, 0.9)) or (W <= 0).all()
    assert abs(positive - number / 2) < 3.3 * np.sqrt(number / 4)
    assert abs(np.mean(first) - 0.5) < 3.3 * 0.5 / np.sqrt(200)  # the largest null, which decides the threshold
