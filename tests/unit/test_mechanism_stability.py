"""Stability of each mechanism: neurons, space and clusters found anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.cluster import KMeans
from torch import nn

import neucept.mechanisms.stability as stability
from neucept import InputError, Mechanisms, Recording, discover, learn, record
from neucept.mechanisms import mechanism_stability

Make = Callable[..., Recording]
ALL_SIX = {"hidden": [0, 1, 2, 3, 4, 5]}


@pytest.mark.parametrize("method", ["kmeans", "gmm", "agglomerative"])
@pytest.mark.parametrize("reduce", ["top", "all", "contribution"])
def test_planted_groups_are_stable_and_not_to_be_split(
    three_groups: Any, make_recording: Make, method: Any, reduce: Any
) -> None:
    Z = three_groups[0].activations("hidden")
    recording = make_recording(Z, np.stack([np.full(300, -99), Z[:, 0] - Z[:, 1]], axis=1), three_groups[0].labels)
    mechanisms = learn(recording, ALL_SIX, 3, method, reduce, target=1)
    table = mechanism_stability(recording, ALL_SIX, mechanisms, draws=6, progress=False)
    assert table["mechanism"].tolist() == [0, 1, 2]
    assert table["found_again"].tolist() == ["stable"] * 3 and (table["jaccard_low"] > 0.95).all()
    assert not table["splits"].any()


def test_a_cloud_cut_in_pieces_is_not_stable(make_recording: Make) -> None:
    recording = make_recording(np.random.default_rng(0).normal(size=(300, 6)))
    mechanisms = learn(recording, ALL_SIX, 5, target=1)
    table = mechanism_stability(recording, ALL_SIX, mechanisms, draws=10, progress=False)
    assert (table["jaccard"] < 0.75).all() and set(table["found_again"]) <= {"dissolved", "doubtful"}
    assert (table["jaccard_low"] <= table["jaccard"]).all()
    pd.testing.assert_frame_equal(table, mechanism_stability(recording, ALL_SIX, mechanisms, draws=10, progress=False))
    other = mechanism_stability(recording, ALL_SIX, mechanisms, draws=10, seed=1, progress=False)
    assert not np.allclose(table["jaccard"], other["jaccard"])


def test_a_split_inside_a_mechanism_is_said(three_groups: Any) -> None:
    mechanisms = learn(three_groups[0], ALL_SIX, 2, target=1)
    table = mechanism_stability(three_groups[0], ALL_SIX, mechanisms, draws=2, progress=False)
    joined = [len(set(three_groups[1][mechanisms.labels == k])) > 1 for k in range(2)]
    assert table["splits"].tolist() == joined and any(joined)
    assert table["split_stability"][joined.index(True)] > 0.95


def test_jaccard_by_counting() -> None:
    rng = np.random.default_rng(0)
    labels, others = rng.integers(0, 3, 50), rng.integers(-1, 4, 50)
    expected = []
    for k in range(3):
        own = set(np.flatnonzero(labels == k))
        clusters = [set(np.flatnonzero(others == c)) for c in range(4)]
        expected.append(max(len(own & c) / len(own | c) for c in clusters))
    np.testing.assert_allclose(stability._best_jaccard(labels, others, 3), expected)
    assert (stability._best_jaccard(labels, np.full(50, -1), 3) == 0).all()
    assert [stability._verdict(x) for x in (0.5, 0.51, 0.749, 0.75)] == ["dissolved", "doubtful", "doubtful", "stable"]


def test_neurons_are_discovered_anew_with_the_same_settings(make_recording: Make, monkeypatch: Any) -> None:
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(200, 8))
    recording = make_recording(Z, np.stack([np.full(200, -99), Z[:, 0]], axis=1))
    critical = discover(recording, 1, precision=0.7, calibration=None, draws=3, response="margin", progress=False)
    mechanisms = learn(recording, critical, 2, reduce="top", compactness=2)
    asked = []

    def spy(*given: Any, **options: Any) -> Any:
        asked.append((given, options))
        return discover(*given, **options)

    monkeypatch.setattr(stability, "discover", spy)
    mechanism_stability(recording, critical, mechanisms, draws=3, progress=False)
    assert len(asked) == 3
    (_, target, layers, precision), options = asked[0]
    assert (target, layers, precision) == (1, ["hidden"], {"hidden": 0.7})
    assert (options["response"], options["draws"], options["calibration"]) == ("margin", 3, None)
    assert all(len(one["samples"]) == 100 for _, one in asked)
    assert not np.array_equal(asked[0][1]["samples"], asked[1][1]["samples"])
    mechanism_stability(recording, critical, mechanisms, draws=2, selection="fixed", progress=False)
    weighted = learn(recording, critical, 2, reduce="contribution")
    mechanism_stability(recording, critical, weighted, draws=2, progress=False)
    assert len(asked) == 3  # neither needs a discovery


def test_it_is_kept_with_the_mechanisms(three_groups: Any, tmp_path: Path) -> None:
    mechanisms = learn(three_groups[0], ALL_SIX, 3, target=1)
    table = mechanism_stability(three_groups[0], ALL_SIX, mechanisms, draws=2, progress=False)
    assert mechanisms.stability is None
    kept = mechanisms.with_stability(table)
    opened = Mechanisms.open(kept.save(tmp_path / "stable"))
    assert opened.stability is not None
    pd.testing.assert_frame_equal(opened.stability, table, check_dtype=False)
    assert kept.table()["found_again"].tolist() == ["stable"] * 3 and kept.table()["precision"].notna().all()


def test_the_metric_is_found_anew_too() -> None:
    torch.manual_seed(0)
    model, X = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).eval(), torch.randn(120, 4)
    X[::2] += 4
    recording = record(model, X, ["0"], progress=False)
    critical = {"0": [0]}
    mechanisms = learn(recording, critical, 2, reduce="metric", model=model, data=X, samples="all")
    table = mechanism_stability(recording, critical, mechanisms, 4, model=model, data=X, progress=False)
    assert len(table) == 2
    with pytest.raises(InputError, match="give model= and data="):
        mechanism_stability(recording, critical, mechanisms, 4, progress=False)


def test_bad_input(three_groups: Any, make_recording: Make) -> None:
    recording = three_groups[0]
    mechanisms = learn(recording, ALL_SIX, 3, target=1)
    for options, message in (
        ({"draws": 1}, "draws=1: expected a whole number"),
        ({"selection": "old"}, "selection='old': expected one of 'anew', 'fixed'"),
        ({"mechanisms": recording}, "mechanisms is a Recording"),
        ({"method": "k-means"}, "method='k-means'"),
        ({"recording": make_recording(np.zeros((300, 6)))}, "learnt on another recording"),
    ):
        given = {"recording": recording, "critical": ALL_SIX, "mechanisms": mechanisms} | options
        with pytest.raises(InputError, match=message):
            mechanism_stability(**given)
    own = KMeans(3, n_init=2, random_state=0)
    by_own = learn(recording, ALL_SIX, method=own, target=1)
    with pytest.raises(InputError, match="which is not kept: give it again, method="):
        mechanism_stability(recording, ALL_SIX, by_own)
    table = mechanism_stability(recording, ALL_SIX, by_own, 2, method=own, progress=False)
    assert table["found_again"].tolist() == ["stable"] * 3 and table["split_stability"].isna().all()
    Z = np.random.default_rng(0).normal(size=(60, 4))
    some = make_recording(Z)
    critical = discover(some, Z[:, 0], calibration=None, draws=2, progress=False)
    with pytest.raises(InputError, match="discovered for an array, which is not kept"):
        mechanism_stability(some, critical, learn(some, critical, 2, reduce="top"), progress=False)


def test_a_single_mechanism_is_neither_stable_nor_not(three_groups: Any, tmp_path: Path) -> None:
    recording = three_groups[0]
    mechanisms = learn(recording, ALL_SIX, 1, target=1)
    table = mechanism_stability(recording, ALL_SIX, mechanisms, draws=3, progress=False)
    assert table["found_again"].tolist() == [""]
    assert table[["jaccard", "jaccard_low"]].isna().all(axis=None)
    assert table["split_stability"].notna().all()
    mechanisms.with_stability(table).save(tmp_path / "one")
    pd.testing.assert_frame_equal(Mechanisms.open(tmp_path / "one").stability, table)
