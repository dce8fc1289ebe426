"""The clusters' entropy against the paper's formula, written out."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neucept import InputError
from neucept.evaluation.metrics import cluster_entropy

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 3)), min_size=1, max_size=40)


def by_hand(prior: list[int], clusters: list[int]) -> float:
    """Sum over clusters c and labels y of p(y, c) log2(1 / p(y | c)), with counts."""
    n, total = len(prior), 0.0
    sizes = Counter(clusters)
    for (_, c), count in Counter(zip(prior, clusters, strict=True)).items():
        total += count / n * math.log2(sizes[c] / count)
    return total


@given(PAIRS)
def test_it_is_the_formula_of_the_paper(pairs: list[tuple[int, int]]) -> None:
    prior, clusters = map(list, zip(*pairs, strict=True))
    assert cluster_entropy(prior, clusters) == pytest.approx(by_hand(prior, clusters), abs=1e-12)


def test_values_by_hand() -> None:
    assert cluster_entropy([0, 1, 2, 3], [0, 0, 0, 0]) == pytest.approx(2)  # four labels, equally often
    assert cluster_entropy(["cat", "dog"], ["x", "y"]) == 0
    # clusters of 4 (3 + 1) and 2 (2 + 0): 4/6 of the entropy of (3/4, 1/4)
    expected = 4 / 6 * (3 / 4 * math.log2(4 / 3) + 1 / 4 * 2)
    assert cluster_entropy([7, 7, 7, 8, 9, 9], [0, 0, 0, 0, 1, 1]) == pytest.approx(expected)


@given(PAIRS, st.permutations(range(5)), st.permutations(range(-1, 4)), st.randoms(use_true_random=False))
def test_names_and_order_do_not_matter(
    pairs: list[tuple[int, int]], priors: list[int], names: list[int], random: object
) -> None:
    prior, clusters = (np.array(part) for part in zip(*pairs, strict=True))
    order = np.random.default_rng(len(pairs)).permutation(len(pairs))
    renamed = cluster_entropy(np.array(priors)[prior][order], np.array(names)[clusters + 1][order])
    assert renamed == pytest.approx(cluster_entropy(prior, clusters), abs=1e-12)


@given(PAIRS)
def test_bounds(pairs: list[tuple[int, int]]) -> None:
    """Between 0 and the entropy of the prior labels; finer clusters have no more of it."""
    prior, clusters = (np.array(part) for part in zip(*pairs, strict=True))
    ce = cluster_entropy(prior, clusters)
    whole = cluster_entropy(prior, np.zeros(len(prior)))
    assert 0 <= ce <= whole + 1e-12 <= math.log2(len(set(prior.tolist()))) + 2e-12
    finer = clusters * 2 + np.arange(len(clusters)) % 2
    assert cluster_entropy(prior, finer) <= ce + 1e-12
    assert cluster_entropy(prior, np.arange(len(prior))) == 0
    assert math.copysign(1, cluster_entropy(prior, prior)) == 1  # 0, not -0


@pytest.mark.parametrize(("prior", "clusters"), [([], []), ([1, 2], [0]), ([1], [0, 0])])
def test_bad_input(prior: list[int], clusters: list[int]) -> None:
    with pytest.raises(InputError, match=f"{len(prior)} prior labels and {len(clusters)} clusters"):
        cluster_entropy(prior, clusters)
