"""How many mechanisms: by structure and by reliability together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency

from neucept import InputError, Mechanisms, Recording, choose_n_mechanisms, learn
from neucept.mechanisms import choose
from neucept.mechanisms.clustering import cluster
from neucept.mechanisms.n_clusters import _by_reliability, _p_reliability, _told

Make = Callable[..., Recording]


def cloud(n: int, seed: int = 0, f: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, f))


def test_a_difference_of_precision_alone_is_enough() -> None:
    """One cloud without any gap, of which the network gets one end wrong: dip test and BIC see a single mechanism."""
    V = cloud(1000)
    rng = np.random.default_rng(1)
    right = rng.random(1000) < np.where(V[:, 0] > 0, 0.98, 0.6)
    chosen = choose(V, range(1, 5), "kmeans", by="reliability", right=right, progress=False)
    assert chosen.suggested > 1 and chosen.p_one > 0.05
    assert chosen.table["bic"].to_numpy().argmin() == 0
    assert chosen.table["p_reliability"].min() < 0.01
    assert chosen.reason.startswith("their precision differs on other inputs (p ") and chosen.reason in str(chosen)
    assert choose(V, range(1, 5), "kmeans", progress=False).suggested == 1


def test_structure_alone_is_enough() -> None:
    V = cloud(400) + 6 * (np.arange(400)[:, None] % 2)
    right = np.random.default_rng(2).random(400) < 0.9
    for hits in (right, None):
        chosen = choose(V, range(1, 5), "gmm", by="reliability", right=hits, progress=False)
        assert chosen.suggested == 2 and "2 mechanisms: a mixture of 2 fits better than one" in str(chosen)
    assert chosen.table["p_reliability"].isna().all()


def test_one_where_neither_speaks_against_it() -> None:
    chosen = choose(cloud(500), range(1, 5), "gmm", by="reliability", right=np.arange(500) % 10 > 0, progress=False)
    assert chosen.suggested == 1 and chosen.by == "reliability"
    assert str(chosen) == f"One mechanism: {chosen.reason}." and "nor does precision differ" in str(chosen)
    few = choose(cloud(15), range(1, 5), "gmm", by="reliability", right=np.arange(15) > 2, progress=False)
    assert few.suggested == 1 and few.table["mechanisms"].tolist() == [1]


def table(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"mechanisms": range(1, 5), **columns})


NONE = [np.nan, np.nan, np.nan, np.nan]


@pytest.mark.parametrize(
    ("stability", "bic", "p", "told", "p_one", "suggested"),
    [
        ([1, 0.9, 0.9, 0.9], [10, 8, 7, 9], [np.nan, 1, 1, 0.01], [0, 0.2, 0.3, 0.1], 1, 4),  # the one that differs
        ([1, 0.9, 0.9, 0.9], [10, 8, 7, 9], [np.nan, 0.01, 0.01, 0.01], [0, 0.1, 0.2, 0.21], 1, 3),  # tells enough
        ([1, 0.9, 0.9, 0.9], [10, 8, 7, 9], [np.nan, 0.01, 0.01, 0.01], [0, 0.1, 0.2, 0.3], 1, 4),
        ([1, 0.9, 0.9, 0.9], [10, 8, 7, 9], [np.nan, 0.01, 0.01, 0.01], [0, -0.1, -0.2, -0.3], 1, 2),  # all mislead
        ([1, 0.9, 0.3, 0.9], [10, 8, 7, 9], [np.nan, 0.01, 0.01, 0.01], [0, 0.1, 0.3, 0.1], 1, 2),  # stable ones first
        ([1, 0.3, 0.3, 0.3], [10, 8, 7, 9], [np.nan, 0.01, 1, 1], [0, 0.1, 0.3, 0.3], 1, 2),  # where none is stable
        ([1, 0.9, 0.9, 0.9], [6, 8, 7, 9], [np.nan, 1, 1, 1], [0, 0.1, 0.3, 0.3], 1, 1),
        ([1, 0.9, 0.9, 0.9], [6, 8, 7, 9], [np.nan, 1, 1, 1], [0, 0.1, 0.3, 0.3], 0.01, 2),  # several modes alone
        ([1, 0.3, 0.9, 0.3], [10, 5, 8, 4], NONE, NONE, 1, 3),
    ],
)
def test_the_rule(
    stability: list[float], bic: list[float], p: list[float], told: list[float], p_one: float, suggested: int
) -> None:
    compared = table(stability=stability, bic=bic, p_reliability=p, told=told)
    assert _by_reliability(compared, p_one) == suggested


def test_what_clusters_tell_of_errors_is_the_share_of_the_entropy() -> None:
    rng = np.random.default_rng(0)
    labels, halves = rng.integers(2, size=20_000), np.array_split(np.arange(20_000), 2)
    right = rng.random(20_000) < np.where(labels == 1, 0.95, 0.65)
    entropy = [-(p * np.log(p) + (1 - p) * np.log(1 - p)) for p in (0.95, 0.65, 0.8)]
    expected = 1 - (entropy[0] + entropy[1]) / 2 / entropy[2]
    assert _told(right, labels, *halves) == pytest.approx(expected, abs=0.02)
    assert abs(_told(right, rng.integers(2, size=20_000), *halves)) < 0.001
    assert _told(np.ones(20_000, bool), labels, *halves) == 0
    misled = np.r_[np.zeros(10_000, int), np.ones(10_000, int)]  # a cluster without inputs in the half that was fitted
    assert _told(right, misled, *halves) == pytest.approx(0, abs=1e-3)


def test_the_test_of_reliability_is_that_of_chi_squared_for_many_inputs() -> None:
    V, rng = cloud(4000), np.random.default_rng(3)
    right = rng.random(4000) < np.where(V[:, 0] > 1, 0.87, 0.9)
    order = np.random.default_rng(5).permutation(4000)
    expected = []
    for fitted, judged in ((order[:2000], order[2000:]), (order[2000:], order[:2000])):
        labels = cluster(V[fitted], 3, "kmeans", 5)[1].predict(V[judged])
        counts = [[(right[judged] & (labels == k)).sum(), (~right[judged] & (labels == k)).sum()] for k in range(3)]
        expected.append(chi2_contingency(counts, correction=False)[1])
    assert _p_reliability(V, right, 3, "kmeans", 5) == pytest.approx(min(1, 2 * min(expected)), abs=0.02)


def test_chance_is_seldom_taken_for_a_difference() -> None:
    V = cloud(200)
    p = [
        _p_reliability(V, np.random.default_rng(seed).random(200) < 0.85, 3, "kmeans", seed, draws=199)
        for seed in range(120)
    ]
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 120)
    assert _p_reliability(V, np.ones(200, bool), 3, "kmeans", 0) == 1


def test_it_is_used_in_weighted_spaces_and_can_be_asked_for(make_recording: Make, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    group = np.arange(600) % 3 == 0
    Z = rng.normal(size=(600, 5)) + 5 * group[:, None]
    labels = np.where(group & (rng.random(600) < 0.5), 0, 1)
    logits = np.stack([np.full(600, -100.0), Z[:, 0]], axis=1)
    recording = make_recording(Z, logits, labels)
    mechanisms = learn(recording, {"hidden": [0]}, "auto", "gmm", reduce="contribution", target=1)
    chosen = mechanisms.n_clusters
    assert chosen is not None and chosen.by == "reliability" and len(mechanisms) == 2
    assert chosen.table["p_reliability"][1] < 0.01 and chosen.table["mechanisms"].max() == 6
    opened = Mechanisms.open(mechanisms.save(tmp_path / "auto")).n_clusters
    assert opened is not None and str(opened) == str(chosen) and opened.by == "reliability"
    usual = learn(recording, {"hidden": [0, 1]}, 2, target=1)
    again = choose_n_mechanisms(usual, range(1, 4), by="reliability", recording=recording, progress=False)
    assert again.by == "reliability" and again.suggested == 2
    assert choose_n_mechanisms(usual, range(1, 4), progress=False).by == "structure"
    with pytest.raises(InputError, match="give recording="):
        choose_n_mechanisms(usual, by="reliability")
    unlabelled = make_recording(Z, logits)
    with pytest.raises(InputError, match="this recording has none that say whether '1' is true"):
        choose_n_mechanisms(usual, by="reliability", recording=unlabelled)
    with pytest.raises(InputError, match="by='chance': expected one of 'structure', 'reliability'"):
        choose_n_mechanisms(usual, by="chance")  # type: ignore[arg-type]
    without = learn(unlabelled, {"hidden": [0]}, "auto", "gmm", reduce="contribution", target=1)
    assert len(without) == 2  # by structure alone


def test_where_no_number_can_be_compared_it_says_so() -> None:
    chosen = choose(cloud(30), range(2, 5), "kmeans", by="reliability", right=np.arange(30) > 5, progress=False)
    assert chosen.suggested == 1 and "no larger number could be compared" in str(chosen)


def test_numbers_given_twice_count_once(make_recording: Make) -> None:
    V = cloud(200) + 6 * (np.arange(200)[:, None] % 2)
    mechanisms = learn(make_recording(V), {"hidden": [0, 1, 2]}, 2, samples="all")
    chosen = choose_n_mechanisms(mechanisms, [2, 2, 3], progress=False)
    assert chosen.table["mechanisms"].tolist() == [1, 2, 3] and "2 suggested" in str(chosen)
    for call in (lambda: choose_n_mechanisms(mechanisms, seed=-1), lambda: learn(make_recording(V), [0, 1], seed=-1)):
        with pytest.raises(InputError, match="seed=-1"):
            call()
