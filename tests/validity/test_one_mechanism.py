"""The test against one single mechanism: clouds of any shape pass, clusters do not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom

from neucept.mechanisms import one_mechanism

pytestmark = pytest.mark.validity

Cloud = Callable[[np.random.Generator, int, int], np.ndarray]


def gaussian(rng: np.random.Generator, n: int, f: int) -> np.ndarray:
    return rng.normal(size=(n, f))


def correlated(rng: np.random.Generator, n: int, f: int) -> np.ndarray:
    return rng.normal(size=(n, f)) @ rng.normal(size=(f, f))


def low_rank(rng: np.random.Generator, n: int, f: int) -> np.ndarray:
    return rng.normal(size=(n, 2)) @ rng.normal(size=(2, f)) + 0.2 * rng.normal(size=(n, f))


def cube(rng: np.random.Generator, n: int, f: int) -> np.ndarray:
    return rng.uniform(size=(n, f))


def student(rng: np.random.Generator, n: int, f: int) -> np.ndarray:
    """Three degrees of freedom: whole inputs far out."""
    return rng.normal(size=(n, f)) / np.sqrt(rng.chisquare(3, size=(n, 1)) / 3)


def exponential_product(rng: np.random.Generator, n: int, f: int) -> np.ndarray:
    return rng.exponential(size=(n, f)) * rng.exponential(size=(n, 1))


def half_zero(rng: np.random.Generator, n: int, f: int) -> np.ndarray:
    """Neurons after a ReLU."""
    return np.maximum(rng.normal(size=(n, f)), 0)


def half_zero_correlated(rng: np.random.Generator, n: int, f: int) -> np.ndarray:
    return np.maximum(rng.normal(size=(n, f)) @ rng.normal(size=(f, f)), 0)


def banana(rng: np.random.Generator, n: int, f: int) -> np.ndarray:
    V = rng.normal(size=(n, f))
    V[:, 1] += V[:, 0] ** 2
    return V


def log_normal(rng: np.random.Generator, n: int, f: int) -> np.ndarray:
    return np.exp(rng.normal(size=(n, f)))


CLOUDS: list[Cloud] = [
    *(gaussian, correlated, low_rank, cube, student, exponential_product),
    *(half_zero, half_zero_correlated, banana, log_normal),
]


def rejections(cloud: Cloud, n: int, f: int, repetitions: int) -> int:
    count = 0
    for repetition in range(repetitions):
        V = cloud(np.random.default_rng([repetition, n, f]), n, f)
        count += one_mechanism((V - V.mean(axis=0)) / V.std(axis=0), seed=repetition) <= 0.05
    return count


@pytest.mark.parametrize("cloud", CLOUDS, ids=lambda cloud: cloud.__name__)
def test_a_single_cloud_is_rejected_at_most_in_one_of_twenty(cloud: Cloud) -> None:
    assert rejections(cloud, 200, 4, 30) + rejections(cloud, 400, 8, 10) <= binom.ppf(0.999, 40, 0.05)
    # So few inputs fall apart along some direction: it must be judged on others than those that gave it.
    assert rejections(cloud, 60, 20, 20) <= binom.ppf(0.999, 20, 0.05)


def two(rng: np.random.Generator, n: int, f: int) -> np.ndarray:
    """Two groups of equal size, 4.3 deviations apart."""
    V = rng.normal(size=(n, f))
    V[::2, :3] += 2.5
    return V


def five(rng: np.random.Generator, n: int, f: int) -> np.ndarray:
    """Five groups, each of a neuron of its own, 7.8 deviations apart (4.9 along the line that parts two from three)."""
    return rng.normal(size=(n, f)) + 5.5 * np.eye(f)[np.arange(n) % 5]


@pytest.mark.parametrize(("clusters", "n", "f"), [(two, 200, 4), (two, 400, 8), (five, 400, 5), (five, 600, 10)])
def test_clusters_are_told_from_a_single_cloud(clusters: Cloud, n: int, f: int) -> None:
    assert rejections(clusters, n, f, 20) >= 18


def test_no_clusters_among_equal_or_few_inputs() -> None:
    assert one_mechanism(np.ones((100, 3))) == 1
    assert one_mechanism(np.repeat([[0.0, 0], [9, 9]], 9, axis=0)) == 1  # fewer than 20 say nothing
    assert one_mechanism(np.repeat([[0.0, 0], [9, 9]], 50, axis=0)) < 0.01
