"""Mechanisms: planted groups are found, assigned, judged and told apart, whatever finds them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import DBSCAN, AgglomerativeClustering, MiniBatchKMeans, SpectralClustering
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from neucept import (
    Choice,
    InputError,
    Mechanisms,
    NumberOfClusters,
    Recording,
    choose_n_mechanisms,
    discover,
    learn,
    record,
    reliability,
)
from neucept.inputs import Inputs
from neucept.mechanisms import choose, one_mechanism, wilson
from neucept.mechanisms.clustering import Centres, Neighbours, cluster
from neucept.rankings import Activation, rank
from neucept.recording import Auto, Channels, Elements, Encoder, Token

Groups = tuple[Recording, np.ndarray]
ALL_SIX = {"hidden": [0, 1, 2, 3, 4, 5]}
METHODS: dict[str, Any] = {
    "kmeans": "kmeans",
    "gmm": "gmm",
    "agglomerative": "agglomerative",
    "dbscan": DBSCAN(eps=1.6, min_samples=5),
    "spectral": SpectralClustering(3, random_state=0),
    "minibatch": MiniBatchKMeans(3, random_state=0, n_init=5),
}


def learnt(groups: Groups, method: Any = "kmeans", **options: Any) -> Mechanisms:
    given = {"n_mechanisms": 3, "target": "dog", "samples": "all"} | options
    return learn(groups[0], ALL_SIX, method=method, **given)


# ---- what every method must do --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_planted_groups_are_found_from_large_to_small(three_groups: Groups, name: str) -> None:
    mechanisms = learnt(three_groups, METHODS[name])
    known = mechanisms.labels >= 0
    assert adjusted_rand_score(three_groups[1][known], mechanisms.labels[known]) == 1
    np.testing.assert_array_equal(mechanisms.labels[known], three_groups[1][known])  # 150, 90 and 60: largest first
    assert known.mean() > 0.95 and len(mechanisms) == 3
    assert (np.diff(mechanisms.sizes) < 0).all() and mechanisms.shares.sum() == pytest.approx(known.mean())
    assert mechanisms.distances.shape == mechanisms.representation.shape == (300, 3)
    assert mechanisms.settings["n_mechanisms"] == 3


@pytest.mark.parametrize("name", METHODS)
def test_known_inputs_are_assigned_where_they_were_found(three_groups: Groups, name: str) -> None:
    mechanisms = learnt(three_groups, METHODS[name])
    labels, typicality = mechanisms.assign(three_groups[0])
    known = mechanisms.labels >= 0
    np.testing.assert_array_equal(labels[known], mechanisms.labels[known])
    np.testing.assert_allclose(typicality[known], mechanisms.typicality[known])
    some, _ = mechanisms.assign(three_groups[0], np.array([7, 3, 3]))
    np.testing.assert_array_equal(some, labels[[7, 3, 3]])


@pytest.mark.parametrize("name", METHODS)
def test_typicality_is_a_share(three_groups: Groups, name: str) -> None:
    """The share of the mechanism's inputs that lie at least as far out, by counting."""
    mechanisms = learnt(three_groups, METHODS[name])
    for mechanism in range(3):
        mine = np.flatnonzero(mechanisms.labels == mechanism)
        d = mechanisms.distances[mine, mechanism]
        expected = [(d >= own * (1 - 1e-9)).mean() for own in d]
        np.testing.assert_allclose(mechanisms.typicality[mine], expected)
        assert mechanisms.typicality[mine].max() == 1 and mechanisms.typicality[mine].min() == pytest.approx(
            1 / len(mine)
        )
        np.testing.assert_array_equal(mechanisms.typical(mechanism, 5), mine[np.argsort(d, kind="stable")[:5]])
        most_ambiguous = mechanisms.ambiguity[mechanisms.borderline(mechanism, 1)[0]]
        assert most_ambiguous == mechanisms.ambiguity[mine].max()


@pytest.mark.parametrize("name", METHODS)
def test_inputs_far_from_all_are_not_typical_and_centres_are(
    three_groups: Groups, make_recording: Callable[..., Recording], name: str
) -> None:
    mechanisms = learnt(three_groups, METHODS[name])
    centres = np.array([[4.0, 0, 0, 1, 0, 1], [0, 4, 0, 0, 1, 1], [0, 0, 4, 0, 0, 1]])
    new = make_recording(np.vstack([centres, centres * 3]))
    labels, typicality = mechanisms.assign(new)
    assert labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert typicality[:3].min() > 0.8 and (typicality[3:] == 0).all()


@pytest.mark.parametrize("name", METHODS)
def test_reliability_recovers_the_unreliable_group(three_groups: Groups, name: str) -> None:
    """The network is right on all of the first two groups and half of the third."""
    mechanisms = learnt(three_groups, METHODS[name])
    table = mechanisms.reliability
    assert table is not None
    assert table["verdict"].tolist()[2] == "less reliable"
    assert table["precision"].tolist()[:2] == pytest.approx([1, 1], abs=0.02)
    assert table["precision"][2] == pytest.approx(0.5, abs=0.05)
    assert table["judged"].sum() == 300 and (table["agreement"] > 0.97).all()
    for row in table.to_dict("records"):
        assert (row["low"], row["high"]) == wilson(row["precision"] * row["judged"], row["judged"])
    judged, hits = table["judged"], table["judged"] * table["precision"]
    np.testing.assert_allclose(table["rest"], (hits.sum() - hits) / (judged.sum() - judged))
    assert table["p_corrected"][2] < 1e-6
    pd.testing.assert_frame_equal(table, reliability(three_groups[0], mechanisms))


@pytest.mark.parametrize("name", METHODS)
def test_save_and_open(three_groups: Groups, tmp_path: Path, name: str) -> None:
    mechanisms = learnt(three_groups, METHODS[name], seed=np.int64(2))
    opened = Mechanisms.open(mechanisms.save(tmp_path / "mechanisms"))
    for field in (
        "samples",
        "labels",
        "cross_fitted",
        "values",
        "mean",
        "scale",
        "typicality",
        "ambiguity",
        "representation",
    ):
        np.testing.assert_array_equal(getattr(opened, field), getattr(mechanisms, field), err_msg=field)
    assert (opened.target, opened.target_name, opened.features) == (1, "dog", mechanisms.features)
    assert dict(opened.settings) == dict(mechanisms.settings) and dict(opened.pooling) == dict(mechanisms.pooling)
    assert mechanisms.reliability is not None and opened.reliability is not None
    pd.testing.assert_frame_equal(opened.reliability, mechanisms.reliability)
    for mine, theirs in zip(opened.assign(three_groups[0]), mechanisms.assign(three_groups[0]), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    pd.testing.assert_frame_equal(opened.table(), mechanisms.table())


@pytest.mark.parametrize("name", ["kmeans", "gmm", "agglomerative"])
def test_the_seed_decides(three_groups: Groups, name: str, global_random: Callable[[], tuple[bytes, bytes]]) -> None:
    state = global_random()
    first, again = (learnt(three_groups, name, n_mechanisms=6) for _ in range(2))
    np.testing.assert_array_equal(first.labels, again.labels)
    np.testing.assert_array_equal(first.cross_fitted, again.cross_fitted)
    assert global_random() == state


# ---- inputs that belong to no mechanism -----------------------------------------------------------------------------


@pytest.fixture
def with_noise(three_groups: Groups, make_recording: Callable[..., Recording]) -> tuple[Recording, np.ndarray]:
    """The groups, and ten inputs that are like no other and all of the other class."""
    recording, groups = three_groups
    rng = np.random.default_rng(0)
    outliers = rng.normal(size=(10, 6)) * 15 + 30 * rng.choice([-1, 1], size=(10, 6))
    assert recording.labels is not None
    noisy = make_recording(
        np.vstack([recording.activations("hidden"), outliers]),
        labels=np.append(recording.labels, np.zeros(10, np.int64)),
        class_names=("cat", "dog"),
    )
    return noisy, np.append(groups, np.full(10, -1))


def test_noise_belongs_to_no_mechanism(with_noise: Groups, tmp_path: Path) -> None:
    mechanisms = learnt(with_noise, DBSCAN(eps=0.5, min_samples=5))
    np.testing.assert_array_equal(mechanisms.labels, with_noise[1])
    noise = slice(300, 310)
    assert len(mechanisms) == 3 and mechanisms.sizes.tolist() == [150, 90, 60]
    assert mechanisms.shares.sum() == pytest.approx(300 / 310)
    assert (mechanisms.typicality[noise] == 0).all() and (mechanisms.ambiguity[noise] == 1).all()
    assert not mechanisms.representation[noise].any()
    assert (mechanisms.representation[:300].argmax(axis=1) == mechanisms.labels[:300]).all()
    for mechanism in range(3):
        assert (mechanisms.labels[mechanisms.borderline(mechanism, 400)] == mechanism).all()
    assert mechanisms.table()["inputs"].tolist() == [150, 90, 60]
    assert mechanisms.separation().shape == (6, 3)
    explained = mechanisms.explain(with_noise[0])
    assert len(explained) == 310 and (explained["typicality"][300:] == 0).all()
    assert explained["mechanism"].min() >= 0  # the nearest one, which it is not typical of
    opened = Mechanisms.open(mechanisms.save(tmp_path / "noisy"))
    np.testing.assert_array_equal(opened.labels, mechanisms.labels)
    assert mechanisms.reliability is not None
    assert mechanisms.reliability["verdict"][2] == "less reliable"


def test_a_clusterer_that_finds_nothing_on_a_half(three_groups: Groups) -> None:
    """Then there is nothing to judge by, which is said by no input being judged; it is no error."""

    class Picky(ClusterMixin, BaseEstimator):
        def fit_predict(self, V: np.ndarray, y: Any = None) -> np.ndarray:
            return np.where(V[:, 0] > 0, 1, 0) if len(V) == 300 else np.full(len(V), -1)

    mechanisms = learnt(three_groups, Picky())
    assert len(mechanisms) == 2 and (mechanisms.cross_fitted == -1).all()
    table = mechanisms.reliability
    assert table is not None and table["judged"].tolist() == [0, 0] and table["precision"].isna().all()
    assert table[["low", "high"]].to_numpy().tolist() == [[0, 1]] * 2 and (table["verdict"] == "").all()


def test_a_clusterer_that_finds_nothing_at_all(three_groups: Groups) -> None:
    with pytest.raises(InputError, match="DBSCAN assigned none of the 300 inputs to a cluster; change its settings"):
        learnt(three_groups, DBSCAN(eps=1e-6))


def test_a_clusterer_of_the_users_is_not_changed(three_groups: Groups) -> None:
    mine = MiniBatchKMeans(3, random_state=0, n_init=5)
    learnt(three_groups, mine)
    assert not hasattr(mine, "labels_")


# ---- clusterers of the user's, with their own predict ---------------------------------------------------------------


class Bands:
    """Three bands of the first neuron, numbered 7, 5 and 9; what lies beyond 5 is in none. Says no more than asked."""

    def fit_predict(self, V: np.ndarray) -> np.ndarray:
        return self.predict(V)

    def predict(self, V: np.ndarray) -> np.ndarray:
        return np.select([V[:, 0] < 0, V[:, 0] < 0.5, V[:, 0] < 5], [7, 5, 9], -4)


class Probable(Bands):
    def predict_proba(self, V: np.ndarray) -> np.ndarray:
        return np.eye(10)[np.maximum(self.predict(V), 0)] * 0.7


def spread(make_recording: Callable[..., Recording], labels: Any = None) -> Recording:
    """300 inputs: 180 in band 7, 80 in band 9, 40 in band 5; then what a band holds does not follow from neighbours."""
    rng = np.random.default_rng(0)
    first = np.concatenate([rng.uniform(-2, -0.01, 180), rng.uniform(0.01, 0.49, 40), rng.uniform(0.51, 3, 80)])
    return make_recording(np.stack([first, rng.normal(size=300)], axis=1), labels=labels, class_names=("cat", "dog"))


def test_new_inputs_are_assigned_by_the_clusterers_own_predict(
    make_recording: Callable[..., Recording], tmp_path: Path
) -> None:
    recording = spread(make_recording, labels=np.ones(300, int))
    mechanisms = learn(recording, {"hidden": [0, 1]}, method=Bands(), scale=False, target=1)
    assert mechanisms.sizes.tolist() == [180, 80, 40]
    mean = mechanisms.mean[0]  # neurons are centred before they are clustered
    new = make_recording(np.array([[-0.001, 0], [0.001, 0], [0.499, 9], [4.9, 0], [5.1, 0]]) + np.array([mean, 0]))
    labels, typicality = mechanisms.assign(new)
    assert labels.tolist() == [0, 2, 2, 1, -1] and typicality[-1] == 0
    explained = mechanisms.explain(new)
    assert explained["mechanism"].tolist() == [0, 2, 2, 1, -1]
    last = explained.iloc[-1]
    assert (last["ambiguity"], last["runner_up"], last["deciding"]) == (1, 1, "") and np.isnan(last["precision"])
    with pytest.warns(UserWarning, match=r"Bands is not saved, only its clusters") as seen:
        opened = Mechanisms.open(mechanisms.save(tmp_path / "bands"))
    assert seen[0].filename == __file__
    np.testing.assert_array_equal(opened.assign(recording)[0], mechanisms.labels)


def test_probabilities_are_the_representation(make_recording: Callable[..., Recording]) -> None:
    recording = spread(make_recording)
    plain, probable = (learn(recording, {"hidden": [0, 1]}, method=method) for method in (Bands(), Probable()))
    np.testing.assert_array_equal(plain.representation, np.eye(3)[plain.labels])
    np.testing.assert_array_equal(probable.representation, 0.7 * plain.representation)


def test_reliability_uses_the_clusterers_predict(make_recording: Callable[..., Recording]) -> None:
    """Bands are the same on each half, so that each input is judged in its own mechanism."""
    recording = spread(make_recording, labels=np.ones(300, int))
    mechanisms = learn(recording, {"hidden": [0, 1]}, method=Bands(), target=1)
    np.testing.assert_array_equal(mechanisms.cross_fitted, mechanisms.labels)


def answering(answer: Any) -> Any:
    class Answering:
        def fit_predict(self, V: np.ndarray) -> Any:
            return answer(V) if callable(answer) else answer

    return Answering()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            np.zeros(3, int),
            r"Answering.fit_predict gave int64 of shape \(3,\) for 300 inputs; expected one whole",
        ),
        (np.full(300, 0.5), "gave float64"),
        (np.full(300, np.nan), "gave float64"),
        (np.array(["a"] * 300), "expected one whole number per input"),
        (None, "expected one whole number per input"),
        (lambda V: 1 / 0, "Answering.fit_predict failed on 300 inputs: ZeroDivisionError"),
        (np.full(300, -1), "assigned none of the 300 inputs"),
        (lambda V: np.full(len(V), -1000), "assigned none of the 300 inputs"),
    ],
)
def test_answers_that_are_no_clusters(three_groups: Groups, answer: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        learnt(three_groups, answering(answer))


def test_numbers_of_clusters_may_be_anything(three_groups: Groups) -> None:
    """Also so large that a table by number would not fit into memory, or whole numbers stored as floats."""
    names = np.array([10**15, 3, 77])[three_groups[1]]
    for chosen in (names, names.astype(float)):
        mechanisms = learnt(three_groups, answering(chosen))
        np.testing.assert_array_equal(mechanisms.labels, three_groups[1])


# ---- numbers of mechanisms ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kmeans", "gmm", "agglomerative"])
def test_one_mechanism_alone(three_groups: Groups, name: str) -> None:
    mechanisms = learnt(three_groups, name, n_mechanisms=1)
    assert len(mechanisms) == 1 and (mechanisms.labels == 0).all() and mechanisms.shares.tolist() == [1]
    assert (mechanisms.ambiguity == 0).all() and mechanisms.typicality.max() == 1
    table = mechanisms.reliability
    assert table is not None and table["precision"].tolist() == [0.9] and table["verdict"].tolist() == [""]
    explained = mechanisms.explain(three_groups[0])
    assert (explained["runner_up"] == -1).all() and (explained["mechanism"] == 0).all()
    assert mechanisms.separation().notna().all(axis=None)


def test_the_number_is_chosen(three_groups: Groups, make_recording: Callable[..., Recording]) -> None:
    assert len(learnt(three_groups, n_mechanisms="auto", samples=np.arange(120))) == 3
    rng = np.random.default_rng(0)
    assert len(learn(make_recording(rng.normal(size=(60, 4))), {"hidden": [0, 1, 2, 3]}, "auto")) == 1


def test_the_choice_of_the_number_is_kept(three_groups: Groups, tmp_path: Path, monkeypatch: Any) -> None:
    mechanisms = learnt(three_groups, n_mechanisms="auto", samples=np.arange(120), seed=4)
    chosen = mechanisms.n_clusters
    assert chosen is not None and chosen.suggested == len(mechanisms) == 3
    again = choose_n_mechanisms(mechanisms, seed=4, progress=False)
    pd.testing.assert_frame_equal(again.table, chosen.table)
    opened = Mechanisms.open(mechanisms.save(tmp_path / "auto"))
    assert opened.n_clusters is not None and (opened.n_clusters.p_one, opened.n_clusters.suggested) == (
        chosen.p_one,
        3,
    )
    pd.testing.assert_frame_equal(opened.n_clusters.table, chosen.table)
    monkeypatch.setattr("neucept.mechanisms.learning.choose", None)  # not called where the number is known
    assert learnt(three_groups, n_mechanisms=3).n_clusters is None
    assert learnt(three_groups, METHODS["dbscan"], n_mechanisms="auto").n_clusters is None
    assert Choice is NumberOfClusters


def test_a_guide_to_the_number(three_groups: Groups) -> None:
    choice = choose_n_mechanisms(learnt(three_groups), range(1, 6), progress=False)
    table = choice.table.set_index("mechanisms")
    assert table.index.tolist() == [1, 2, 3, 4, 5] and choice.suggested == 3
    assert table["stability"][3] == 1 and table["stability"][5] < 0.95
    assert table["silhouette"].idxmax() == table["bic"].idxmin() == 3
    assert (table["stability_low"] <= table["stability"]).all() and (
        table["stability"] <= table["stability_high"]
    ).all()
    assert choice.p_one < 0.01 and "3 suggested" in str(choice)
    again = choose_n_mechanisms(learnt(three_groups), range(1, 6), progress=False)
    pd.testing.assert_frame_equal(again.table, choice.table)


def test_a_guide_says_when_there_may_be_one_only() -> None:
    V = np.random.default_rng(1).normal(size=(200, 3))
    choice = choose(V, range(1, 5), "kmeans", progress=False)
    assert choice.suggested == 1 and choice.p_one > 0.05
    assert "A single mechanism cannot be rejected" in str(choice)
    few = choose(V[:15], range(1, 5), "kmeans", progress=False)
    assert few.suggested == 1 and few.table["mechanisms"].tolist() == [1] and few.p_one == 1
    apart = choose(V[:36] + 12 * (np.arange(36)[:, None] % 2), range(1, 5), "kmeans", progress=False)
    assert apart.suggested == 1 and apart.p_one < 0.05 and str(apart).startswith("More than one mechanism")


def test_fewer_distinct_inputs_than_mechanisms(make_recording: Callable[..., Recording]) -> None:
    Z = np.repeat(np.array([[0.0, 0], [0, 5], [9, 0]]), [20, 10, 5], axis=0)
    with pytest.warns(match="distinct clusters"):
        mechanisms = learn(make_recording(Z), {"hidden": [0, 1]}, n_mechanisms=5)
    assert len(mechanisms) == 3 and mechanisms.sizes.tolist() == [20, 10, 5]
    assert mechanisms.distances.shape == (35, 3)


def test_a_mixture_with_empty_components(make_recording: Callable[..., Recording]) -> None:
    """A component that is nobody's most probable one is no mechanism."""
    rng = np.random.default_rng(0)
    emptied = 0
    for seed in range(12):
        Z = np.vstack([rng.normal(size=(60, 2)), 0.01 * rng.normal(size=(60, 2))]).astype(np.float32)
        mechanisms = learn(make_recording(Z), {"hidden": [0, 1]}, 8, method="gmm", target=1, samples="all", seed=seed)
        emptied += len(mechanisms) < 8
        assert mechanisms.distances.shape == mechanisms.representation.shape == (120, len(mechanisms))
        assert (mechanisms.sizes > 0).all()
        np.testing.assert_array_equal(mechanisms.assign(make_recording(Z))[0], mechanisms.labels)
        assert len(mechanisms.explain(make_recording(Z))) == 120


# ---- assigners ------------------------------------------------------------------------------------------------------


@given(st.integers(0, 1000), st.sampled_from([2, 40]))
@settings(max_examples=10, deadline=None)
def test_gaussians_predict_as_scikit_learn(seed: int, f: int) -> None:
    rng = np.random.default_rng(seed)
    V = rng.normal(size=(150, f)) + 3 * rng.integers(0, 3, size=(150, 1))
    new = rng.normal(size=(50, f)) * 4
    labels, assigner = cluster(V, 3, "gmm", seed)
    kind = "full" if f <= 30 else "diag"
    gmm = GaussianMixture(3, covariance_type=kind, n_init=3, max_iter=300, reg_covar=1e-4, random_state=seed).fit(V)
    sizes = np.bincount(gmm.predict(V), minlength=3)
    order = np.argsort(-sizes, kind="stable")
    assert (sizes > 0).all()
    np.testing.assert_array_equal(order[labels], gmm.predict(V))
    np.testing.assert_allclose(assigner.transform(new), gmm.predict_proba(new)[:, order], atol=1e-8)
    np.testing.assert_array_equal(order[assigner.predict(new)], gmm.predict(new))
    for k, j in enumerate(order):
        C = gmm.covariances_[j] if kind == "full" else np.diag(gmm.covariances_[j])
        d = new - gmm.means_[j]
        np.testing.assert_allclose(assigner.distances(new)[:, k] ** 2, np.sum(d @ np.linalg.inv(C) * d, axis=1))


def test_centres_are_the_nearest() -> None:
    rng = np.random.default_rng(0)
    V, centres = rng.normal(size=(30, 4)), rng.normal(size=(3, 4))
    d = np.array([[np.sqrt(((v - c) ** 2).sum()) for c in centres] for v in V])
    assigner = Centres(centres)
    np.testing.assert_allclose(assigner.distances(V), d)
    np.testing.assert_array_equal(assigner.predict(V), d.argmin(axis=1))
    np.testing.assert_array_equal(assigner.transform(V), assigner.distances(V))


def test_neighbours_leave_an_input_itself_out() -> None:
    """Mean distance to the ten nearest members, by sorting; clusters of 15, 7 and 1."""
    rng = np.random.default_rng(0)
    V, found = rng.normal(size=(23, 3)), np.repeat([0, 1, 2], [15, 7, 1])
    new = rng.normal(size=(5, 3))
    assigner = Neighbours(V, found)

    def plainly(v: np.ndarray, itself: int | None, mechanism: int) -> float:
        members = [j for j in np.flatnonzero(found == mechanism) if j != itself]
        return float(np.mean(sorted(np.linalg.norm(v - V[j]) for j in members)[:10])) if members else 0.0

    expected = [[plainly(v, i, k) for k in range(3)] for i, v in enumerate(V)]
    np.testing.assert_allclose(assigner.distances(V), expected)
    np.testing.assert_allclose(assigner.distances(new), [[plainly(v, None, k) for k in range(3)] for v in new])
    nearest = [found[np.linalg.norm(V - v, axis=1).argmin()] for v in new]
    assert assigner.predict(new).tolist() == nearest
    np.testing.assert_array_equal(assigner.transform(new), np.eye(3)[nearest])


@given(st.integers(0, 200))
@settings(max_examples=10, deadline=None)
def test_clusters_are_those_of_scikit_learn(seed: int) -> None:
    V = np.random.default_rng(seed).normal(size=(60, 3))
    labels, _ = cluster(V, 4, "agglomerative", seed)
    assert adjusted_rand_score(labels, AgglomerativeClustering(4).fit_predict(V)) == 1
    sizes = np.bincount(labels)
    assert (np.diff(sizes) <= 0).all() and len(sizes) == 4


# ---- neurons --------------------------------------------------------------------------------------------------------


@pytest.fixture
def discovered() -> tuple[Recording, Any]:
    """Two layers; neurons 4 and 9 of "a" follow each other, and so do 0 and 1 of "b", turned round."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(400, 12)), rng.normal(size=(400, 5))
    a[:, 9] = a[:, 4] + 0.3 * rng.normal(size=400)
    b[:, 1] = b[:, 0] + 0.3 * rng.normal(size=400)
    logit = a @ np.linspace(2, 1, 12) + b @ np.linspace(2, 1, 5)
    logits = np.stack([-logit, logit], axis=1)
    recording = Recording(
        {"a": a.astype(np.float32), "b": b.astype(np.float32)}, logits.astype(np.float32), None, ("no", "yes")
    )
    precision = {"a": 0.9, "b": 0.6}
    return recording, discover(recording, "yes", samples="all", precision=precision, calibration=None, progress=False)


@pytest.mark.filterwarnings("ignore:.*are beyond the selection")
def test_layers_are_joined_and_the_top_says_nothing_twice(discovered: tuple[Recording, Any]) -> None:
    recording, critical = discovered
    mechanisms = learn(recording, critical, 2, reduce="top", compactness={"a": 4, "b": 2})
    expected = [(layer, n) for layer, v in (("a", 4), ("b", 2)) for n in critical[layer].ranked("information")[:v]]
    assert [(f.layer, f.neurons[0]) for f in mechanisms.features] == expected
    assert mechanisms.layers == ("a", "b") and mechanisms.values.shape == (400, 6)
    for column, (layer, neuron) in zip(mechanisms.values.T, expected, strict=True):
        np.testing.assert_array_equal(column, recording.activations(layer)[:, neuron])
    np.testing.assert_allclose(mechanisms.scaled.std(axis=0), 1)
    assert [f.selected for f in mechanisms.features] == [n in critical[layer].neurons for layer, n in expected]
    assert mechanisms.reliability is None and mechanisms.target_name == "yes"
    np.testing.assert_array_equal(mechanisms.samples, critical.samples)


def test_neurons_beyond_the_selection_are_warned_of(discovered: tuple[Recording, Any]) -> None:
    recording, critical = discovered
    strict = critical.at(0.99)  # 12 neurons are too few for any selection
    with pytest.warns(
        UserWarning, match="3 of the 3 neurons used at layer 'a' are beyond the selection, which has 0"
    ) as seen:
        mechanisms = learn(recording, strict, 2, reduce="top", compactness=3)
    assert not any(f.selected for f in mechanisms.features)
    assert seen[0].filename == __file__  # the warning points at the call
    with pytest.raises(InputError, match=r"nothing to agglomerate. Use reduce='top'"):
        learn(recording, strict, 2, reduce="agglomerate")


def test_neurons_that_go_together_are_agglomerated(discovered: tuple[Recording, Any]) -> None:
    recording, _ = discovered
    mechanisms = learn(
        recording, {"a": [9, 2, 4, 7], "b": [0, 1, 3]}, 2, reduce="agglomerate", compactness={"a": 3, "b": 2}
    )
    groups = [(f.layer, set(f.neurons)) for f in mechanisms.features]
    assert groups == [("a", {9, 4}), ("a", {2}), ("a", {7}), ("b", {0, 1}), ("b", {3})]
    np.testing.assert_allclose(mechanisms.values[:, 0], recording.activations("a")[:, [4, 9]].mean(axis=1), rtol=1e-6)
    few = learn(recording, {"a": [9, 2]}, 2, reduce="agglomerate", compactness=5)
    assert [f.neurons for f in few.features] == [(9,), (2,)]


def test_neurons_by_hand_as_numbers_or_a_mask(three_groups: Groups) -> None:
    mask = np.array([True, False, True, False, False, True])
    by_mask, by_number = (learn(three_groups[0], {"hidden": given}, 3) for given in (mask, [0, 2, 5]))
    assert by_mask.features == by_number.features
    np.testing.assert_array_equal(by_mask.labels, by_number.labels)
    for wrong, message in [
        ([0, 6], "neuron 6 was given"),
        ([-1], "neuron -1"),
        ([0.5], "neuron 0.5"),
        (mask[:4], "mask of 4"),
    ]:
        with pytest.raises(InputError, match=f"Layer 'hidden' has 6 neurons, 0 to 5; .*{message}"):
            learn(three_groups[0], {"hidden": wrong}, 3)


def test_a_ranking_can_be_handed_to_learn(three_groups: Groups) -> None:
    """By its table, by its columns, or as an array of the only layer."""
    recording = three_groups[0]
    table = rank(recording, "dog", [Activation(), Named(Activation())])
    one = table[table["method"] == "activation"]
    order = one["neuron"].tolist()
    assert order != sorted(order)
    for chosen in (one, one.sample(frac=1, random_state=0), {"hidden": order}, np.array(order), order, tuple(order)):
        mechanisms = learn(recording, chosen, 3, compactness=4, target="dog")
        assert [feature.neurons[0] for feature in mechanisms.features] == order[:4]
        assert (mechanisms.target, len(mechanisms.samples)) == (1, 300)
    two_layers = Recording({"a": recording.activations("hidden"), "b": recording.activations("hidden")}, *WITHOUT)
    ranked = rank(two_layers, 1, [Activation()])
    features = learn(two_layers, ranked, 3, compactness=2, target=1).features
    expected = [(layer, neuron) for layer in ("a", "b") for neuron in order[:2]]
    assert [(feature.layer, feature.neurons[0]) for feature in features] == expected


WITHOUT = (np.tile(np.float32([-1, 1]), (300, 1)), None, ("cat", "dog"))


class Named:
    """A ranking by another name."""

    name = "other"

    def __init__(self, method: Any) -> None:
        self.scores = method.scores


def test_what_is_no_ranking_is_refused(three_groups: Groups) -> None:
    recording = three_groups[0]
    table = rank(recording, "dog", [Activation(), Named(Activation())])
    two_layers = Recording({"a": recording.activations("hidden"), "b": recording.activations("hidden")}, *WITHOUT)
    for chosen, where, message in (
        (table, recording, r"it has the methods \['activation', 'other'\]"),
        (table.iloc[:0], recording, r"it has the methods \[\]"),
        (table.drop(columns="rank"), recording, "it lacks the column 'rank'"),
        ([0, 1], two_layers, "one list of neurons, but 2 layers were recorded: .* a, b"),
        ("hidden", recording, "critical is a str; expected what neucept.discover returns"),
        (None, recording, "critical is a NoneType"),
        ({}, recording, "holds no neuron of any layer"),
        ({"hidden": []}, recording, "holds no neuron of any layer"),
        ({"hidden": [0, 2, 0]}, recording, "neuron 0 was given twice"),
        ({"hidden": ["a"]}, recording, "0 to 5; .*a.* was given"),
        ({"hidden": None}, recording, "0 to 5; None was given"),
    ):
        with pytest.raises(InputError, match=message):
            learn(where, chosen, 2, target=1)  # type: ignore[arg-type]


def test_values_that_are_not_finite_are_named(three_groups: Groups, make_recording: Callable[..., Recording]) -> None:
    Z = three_groups[0].activations("hidden").copy()
    Z[40, 3] = np.nan
    with pytest.raises(InputError, match="Neuron hidden:3 is nan at input 40 of those to cluster"):
        learn(make_recording(Z), ALL_SIX, 3)


def test_scale(three_groups: Groups, make_recording: Callable[..., Recording]) -> None:
    """Scaled, units do not matter; unscaled, the largest numbers decide."""
    recording, groups = three_groups
    rng = np.random.default_rng(0)
    Z = recording.activations("hidden").astype(float)
    units = make_recording(Z * [1e-12, 1e3, 1, 1, 1, 1] + [0, 5, 0, 0, 0, 0])
    np.testing.assert_array_equal(learn(units, ALL_SIX, 3).labels, learnt(three_groups).labels)
    loud = make_recording(np.column_stack([Z[:, :5], 1e4 * rng.normal(size=300)]))
    assert adjusted_rand_score(groups, learn(loud, ALL_SIX, 3, scale=False).labels) < 0.1
    assert adjusted_rand_score(groups, learn(loud, ALL_SIX, 3).labels) > 0.95
    dead = make_recording(np.column_stack([Z[:, :5], np.full(300, 1 / 3)]))
    assert adjusted_rand_score(groups, learn(dead, ALL_SIX, 3).labels) == 1


def test_separation_and_table(three_groups: Groups) -> None:
    mechanisms = learnt(three_groups)
    apart = mechanisms.separation()
    Z, labels = three_groups[0].activations("hidden").astype(float), mechanisms.labels
    for mechanism in range(3):
        inside = labels == mechanism
        expected = (Z[inside].mean(axis=0) - Z[~inside].mean(axis=0)) / Z.std(axis=0)
        np.testing.assert_allclose(apart[mechanism], expected)
        assert apart[mechanism].idxmax() == f"hidden:{mechanism}"
        assert mechanisms.table()["set apart by"][mechanism].startswith(f"hidden:{mechanism} (high)")
    assert list(mechanisms.table()["share"]) == [0.5, 0.3, 0.2]


# ---- explaining one input -------------------------------------------------------------------------------------------


class Passing(nn.Module):
    """Its first layer passes six numbers on; class 1 always wins. The logits are the second of what it returns."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Identity()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.hidden(x)
        return x, torch.stack([x[:, 5] * 0, x[:, 5] * 0 + 1], dim=1)


def test_one_input_is_explained(three_groups: Groups) -> None:
    model = Passing()
    Z = torch.from_numpy(three_groups[0].activations("hidden"))
    recording = record(model, (Z, torch.from_numpy(three_groups[0].labels)), ["hidden"], output=1)  # type: ignore[arg-type]
    mechanisms = learn(recording, ALL_SIX, 3, target=1)
    one = torch.tensor([[0.1, 0.2, 4.2, 0, 0, 1]])
    explained = mechanisms.explain(one, model)  # with the output that was recorded
    pd.testing.assert_frame_equal(mechanisms.explain(one, model, output=1), explained)
    assert len(explained) == 1
    row = explained.iloc[0]
    assert (row["mechanism"], row["prediction"]) == (2, "1")
    assert 0 < row["typicality"] <= 1 and 0 < row["ambiguity"] < 0.5 and row["runner_up"] in (0, 1)
    assert row["deciding"].startswith("hidden:2 (+")
    table = mechanisms.reliability
    assert table is not None and row["precision"] == table["precision"][2] and row["low"] == table["low"][2]
    between = mechanisms.explain(torch.tensor([[2.0, 2.1, 0, 0, 0, 1]]), model, output=1).iloc[0]
    assert between["ambiguity"] > 0.9 and {between["mechanism"], between["runner_up"]} == {0, 1}
    with pytest.raises(InputError, match=r"needs the model: explain\(inputs, model=model\)"):
        mechanisms.explain(one)


def test_calls_of_a_reused_module_are_explained_with_their_pooling() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.same, self.out = nn.Identity(), nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.same(self.same(x) + 1).flatten(1))

    torch.manual_seed(0)
    model, inputs = Twice(), torch.randn(60, 2, 2, 2)
    recording = record(model, inputs, ["same"], neurons="element")
    mechanisms = learn(recording, {"same#1": [0, 7]}, 2)
    explained = mechanisms.explain(inputs[:5], model)
    np.testing.assert_array_equal(explained["mechanism"], mechanisms.labels[:5])


def test_a_way_to_the_logits_that_cannot_be_kept_is_asked_for(three_groups: Groups) -> None:
    Z = torch.from_numpy(three_groups[0].activations("hidden"))
    recording = record(Passing(), Z, ["hidden"], output=lambda returned: returned[1])
    mechanisms = learn(recording, ALL_SIX, 3, target=1)
    with pytest.raises(InputError, match=r"recorded with output=.*lambda.*give the same again"):
        mechanisms.explain(Z[:2], Passing())
    assert len(mechanisms.explain(Z[:2], Passing(), output=lambda returned: returned[1])) == 2


def test_neurons_made_in_another_way_are_refused(tmp_path: Path) -> None:
    maps = torch.randn(40, 2, 2, 2)
    model = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(8, 2))
    by_channel, by_element = (record(model, maps, ["0"], neurons=way) for way in (Channels(axis=1), "element"))
    mechanisms = learn(by_channel, {"0": [0, 1]}, 2)
    assert mechanisms.units == {"0": Channels(axis=1)} and mechanisms.pooling == {"0": "channel"}
    opened = Mechanisms.open(mechanisms.save(tmp_path / "mechanisms"))
    assert opened.units == mechanisms.units
    for known in (mechanisms, opened):
        with pytest.raises(InputError, match=r"neurons=Channels\(axis=1.*\) of layer '0', but this .* Elements"):
            known.assign(by_element)


WAYS = [
    (Auto(), Elements(), True),
    (Channels(axis=1), Auto(), True),
    (Channels(), Elements(), True),  # of a vector
    (Channels(axis=1), Channels(), True),
    (Channels(axis=1), Channels(axis=3), False),
    (Channels(axis=1), Elements(), False),
    (Token(0), Token(0), True),
    (Token(0), Token(-1), False),
    (Token(0), Channels(axis=2), False),
    (Encoder(len), Elements(), False),
    (Encoder(len), Encoder(abs), True),  # functions cannot be compared
]


@pytest.mark.parametrize(("a", "b", "alike"), WAYS)
def test_units_that_read_the_same_neurons(three_groups: Groups, a: Any, b: Any, alike: bool) -> None:
    one, other = (replace(three_groups[0], units={"hidden": units}) for units in (a, b))
    for first, second in ((one, other), (other, one)):
        mechanisms = learn(first, ALL_SIX, 2)
        if alike:
            np.testing.assert_array_equal(mechanisms.assign(second)[0], mechanisms.labels)
        else:
            with pytest.raises(InputError, match="record the inputs in the same way"):
                mechanisms.assign(second)


def test_neurons_of_a_function_are_read_again_until_they_are_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), torch.randn(60, 4)
    recording = record(model, inputs, ["1"], neurons=lambda output: output.square())
    mechanisms = learn(recording, {"1": [0, 1, 2]}, 2)
    np.testing.assert_array_equal(mechanisms.explain(inputs[:9], model)["mechanism"], mechanisms.labels[:9])
    opened = Mechanisms.open(mechanisms.save(tmp_path / "mechanisms"))
    with pytest.raises(InputError, match="of layer '1' were recorded by a function, which is not saved"):
        opened.explain(inputs[:9], model)
    np.testing.assert_array_equal(opened.explain(recording)["mechanism"], mechanisms.labels)


class Rows(Dataset):  # type: ignore[type-arg]
    def __init__(self, x: torch.Tensor, form: Callable[[torch.Tensor], Any]) -> None:
        self.x, self.form = x, form

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Any:
        return self.form(self.x[i])


FORMS: dict[str, Callable[[torch.Tensor], Any]] = {
    "tensor": lambda x: x,
    "array": lambda x: x.numpy(),
    "doubles": lambda x: x.numpy().astype(np.float64),
    "frame": lambda x: pd.DataFrame(x.numpy()),
    "tuple": lambda x: (x,),
    "mapping": lambda x: {"x": x},
    "pair": lambda x: (x, torch.zeros(len(x), dtype=torch.int64)),
    "dataset": TensorDataset,
    "dataset of mappings": lambda x: Rows(x, lambda row: {"x": row}),
    "dataset of pairs": lambda x: Rows(x, lambda row: (row, 1)),
    "loader": lambda x: DataLoader(TensorDataset(x), 4),
    "loader with a collation": lambda x: DataLoader(Rows(x, lambda row: row), 3, collate_fn=torch.stack),
    "inputs": Inputs.of,
}


@pytest.mark.parametrize("form", FORMS)
def test_inputs_of_any_kind_are_explained(three_groups: Groups, form: str) -> None:
    Z = torch.from_numpy(three_groups[0].activations("hidden"))
    model = Passing()
    mechanisms = learn(record(model, Z, ["hidden"], output=1), ALL_SIX, 3, target=1)
    expected = mechanisms.explain(Z[:10], model)
    pd.testing.assert_frame_equal(mechanisms.explain(FORMS[form](Z[:10]), model), expected)


# ---- tasks ----------------------------------------------------------------------------------------------------------


class Linear(nn.Module):
    """Neurons are the inputs; the outputs are a function of them."""

    def __init__(self, outputs: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.hidden, self.outputs = nn.Identity(), outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outputs(self.hidden(x))


def of_task(name: str) -> tuple[nn.Module, torch.Tensor, Any, Any]:
    """A model, inputs in two clusters, labels that are wrong in the second, and a target."""
    generator = torch.Generator().manual_seed(0)
    second = torch.arange(300) % 3 == 2
    x = torch.randn(300, 3, generator=generator) * 0.3 + torch.stack([1 + 0 * second, 6 * second, 0 * second], 1)
    wrong = second & (torch.arange(300) % 2 == 0)
    if name == "binary":
        return Linear(lambda x: x[:, :1]), x, (~wrong).long(), 1
    if name == "sigmoid":
        return Linear(lambda x: torch.sigmoid(x[:, :1])), x, (~wrong).long(), 1
    if name == "multi-label":
        return Linear(lambda x: x), x, torch.stack([~wrong, second, wrong], 1).float(), 0
    return Linear(lambda x: x[:, :1]), x, torch.where(wrong, -9.0, x[:, 0]), (0, 20)


TASKS = ("binary", "sigmoid", "multi-label", "regression")


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.filterwarnings("ignore:The model's output lies between 0 and 1")
def test_mechanisms_of_every_task(name: str, tmp_path: Path) -> None:
    model, x, labels, target = of_task(name)
    recording = record(model, (x, labels), ["hidden"], task="auto" if name == "sigmoid" else name)
    mechanisms = learn(recording, {"hidden": [0, 1, 2]}, 2, target=target, samples="all")
    assert mechanisms.task == recording.task
    table = mechanisms.reliability
    assert table is not None and table["verdict"].tolist() == ["more reliable", "less reliable"]
    assert table["precision"].tolist() == pytest.approx([1, 0.5], abs=0.02)
    explained = mechanisms.explain(x[:7], model)
    assert explained["prediction"].tolist() == mechanisms.explain(recording.subset(np.arange(7)))["prediction"].tolist()
    opened = Mechanisms.open(mechanisms.save(tmp_path / "mechanisms"))
    assert opened.task == mechanisms.task and opened.target == mechanisms.target
    assert dict(opened.output_facts) == dict(mechanisms.output_facts) and "readout" in mechanisms.output_facts
    again = {name: value for name, value in mechanisms.settings.items() if name != "samples"}
    assert len(learn(recording, {"hidden": [0, 1, 2]}, **again)) == 2  # settings are arguments, as reports show them
    pd.testing.assert_frame_equal(opened.explain(x[:7], model), explained)
    pd.testing.assert_frame_equal(reliability(recording, opened), table)


def test_labels_that_do_not_fit_cost_the_reliability_alone(
    three_groups: Groups, make_recording: Callable[..., Recording]
) -> None:
    odd = make_recording(three_groups[0].activations("hidden"), labels=np.full(300, 7))
    with pytest.warns(UserWarning, match=r"No reliability is measured. Labels run from 7 to 7") as seen:
        mechanisms = learn(odd, ALL_SIX, 3, target=1)
    assert mechanisms.reliability is None and seen[0].filename == __file__


# ---- reliability ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
    ],
)
def test_wilson_by_hand(successes: int, n: int, low: float, high: float) -> None:
    """The last two are Newcombe's (1998, table I), without continuity correction."""
    assert wilson(successes, n) == pytest.approx((low, high), abs=6e-5)


def test_wilson_covers() -> None:
    """Exact coverage, averaged over shares; its smallest is known to be low only next to 0 and 1."""
    coverage = []
    for share in np.linspace(0.05, 0.95, 19):
        k = np.arange(61)
        inside = np.array([low <= share <= high for low, high in (wilson(int(i), 60) for i in k)])
        coverage.append(float(binom.pmf(k, 60, share)[inside].sum()))
    assert abs(np.mean(coverage) - 0.95) < 0.01 and min(coverage) > 0.91
    narrow, wide = wilson(30, 60, 0.8), wilson(30, 60, 0.99)
    assert wide[0] < narrow[0] < 0.5 < narrow[1] < wide[1]


def test_clusters_of_halves_are_matched_by_their_inputs(make_recording: Callable[..., Recording]) -> None:
    """By size they could not be: which of four groups of about a hundred is largest in a half is chance."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(4), [101, 100, 99, 98])
    recording = make_recording(
        np.eye(4)[groups] * 5 + 0.3 * rng.normal(size=(398, 4)), labels=(groups != 2).astype(int)
    )
    for seed in range(5):
        mechanisms = learn(recording, {"hidden": [0, 1, 2, 3]}, 4, target=1, seed=seed)
        np.testing.assert_array_equal(mechanisms.cross_fitted, groups)
        table = mechanisms.reliability
        assert table is not None and table["precision"].tolist() == [1, 1, 0, 1]


def test_cross_fitting_does_not_judge_by_the_clusters_it_made(three_groups: Groups) -> None:
    """With random labels and many clusters none is called unreliable, though one would look so by chance."""
    recording, _ = three_groups
    rng = np.random.default_rng(0)
    verdicts = 0
    for _ in range(20):
        labels = (rng.random(300) < 0.7).astype(int)
        mechanisms = learnt((recording, three_groups[1]), n_mechanisms=6)
        verdicts += (reliability(recording, mechanisms, labels)["verdict"] != "").any()
    assert verdicts <= 3


@pytest.mark.parametrize(
    ("labels", "target", "message"),
    [
        (None, None, "belong to no class"),
        (np.zeros(5, int), "dog", r"shape \(5,\); expected \(300,\)"),
        (np.full(300, 7), "dog", "run from 7 to 7, but the model has 2 classes"),
    ],
)
def test_reliability_needs_labels_of_the_models_classes(
    three_groups: Groups, labels: Any, target: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        reliability(three_groups[0], learnt(three_groups, target=target), labels)


def test_reliability_is_that_of_the_inputs_learnt_on(
    three_groups: Groups, make_recording: Callable[..., Recording]
) -> None:
    recording, mechanisms = three_groups[0], learnt(three_groups)
    other = make_recording(recording.activations("hidden")[::-1], labels=np.ones(300, int))
    for wrong in (other, recording.subset(np.arange(100))):
        with pytest.raises(InputError, match="learnt on another recording"):
            reliability(wrong, mechanisms, np.ones(len(wrong), int))
    halved = make_recording(recording.activations("hidden").astype(np.float16), labels=np.ones(300, int))
    assert mechanisms.learnt_on(halved)  # as recorded on another device, or in another precision
    far = make_recording(recording.activations("hidden") + np.array([0, 0, 0, 0, 0, 1000]), labels=np.ones(300, int))
    of_far = learn(far, {"hidden": range(6)}, 3, samples="all", target=1)
    assert of_far.learnt_on(far)  # one neuron is large in all inputs
    assert not of_far.learnt_on(far.subset(np.random.default_rng(0).permutation(300)))
    missing = np.where(np.arange(300) == 3, np.nan, 1.0)
    for labels in (missing, np.full(300, "zebra")):
        with pytest.raises(InputError, match=r"input 3 is not finite|.zebra. is none of the class names"):
            reliability(recording, mechanisms, labels)
    with pytest.raises(InputError, match="confidence=95"):
        reliability(recording, mechanisms, confidence=95)
    whole = reliability(recording, mechanisms, np.ones(300))
    for dtype in (np.int8, object):
        pd.testing.assert_frame_equal(whole, reliability(recording, mechanisms, np.ones(300, int).astype(dtype)))


def test_rows_are_assigned_in_the_order_given(three_groups: Groups) -> None:
    mechanisms = learnt(three_groups)
    everything, typicality = mechanisms.assign(three_groups[0])
    for rows in ([50, 3, 200, 3], np.array([299, 0])):
        labels, mine = mechanisms.assign(three_groups[0], rows)
        np.testing.assert_array_equal(labels, everything[rows])
        np.testing.assert_array_equal(mine, typicality[rows])


def test_tiny_activations_are_told_apart_all_the_same(
    three_groups: Groups, make_recording: Callable[..., Recording]
) -> None:
    tiny = make_recording(three_groups[0].activations("hidden") * np.float64(2.0**-60))
    mechanisms = learn(tiny, ALL_SIX, 3, target=1, samples="all")
    expected = learnt(three_groups).separation()
    np.testing.assert_allclose(mechanisms.separation(), expected, atol=1e-4)


def test_without_labels_there_is_no_reliability(three_groups: Groups, make_recording: Callable[..., Recording]) -> None:
    unlabelled = make_recording(three_groups[0].activations("hidden"))
    mechanisms = learn(unlabelled, ALL_SIX, 3, target=1)
    assert mechanisms.reliability is None and "precision" not in mechanisms.explain(unlabelled).columns
    with pytest.raises(InputError, match="record labelled data, or give labels="):
        reliability(unlabelled, mechanisms)


# ---- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"method": "k-means"},
            "method='k-means': expected one of 'kmeans', 'gmm', 'agglomerative' or a clusterer with",
        ),
        ({"method": 3}, "method=3"),
        ({"method": DBSCAN}, "expected one of"),
        ({"reduce": "pca"}, "reduce='pca': expected one of 'top', 'agglomerate'"),
        ({"n_mechanisms": 0}, "n_mechanisms=0"),
        ({"n_mechanisms": 2.5}, "n_mechanisms=2.5"),
        ({"n_mechanisms": "five"}, "n_mechanisms='five'"),
        ({"n_mechanisms": 301}, "301 mechanisms were asked of 300 inputs"),
        ({"samples": np.arange(4), "n_mechanisms": 5}, "5 mechanisms were asked of 4 inputs"),
        ({"samples": np.arange(1), "n_mechanisms": 1}, "1 inputs to cluster; at least 2"),
        ({"n_mechanisms": None}, "n_mechanisms=None"),
        ({"compactness": 0}, "compactness of layer 'hidden'=0: expected a whole number"),
        ({"compactness": None}, "compactness of layer 'hidden'=None: expected a whole"),
        ({"compactness": {"hiden": 3}}, "compactness= names layer 'hiden'.* Did you mean 'hidden'"),
        ({"target": "dgo"}, "No class is called 'dgo'. Did you mean 'dog'"),
    ],
)
def test_bad_input(three_groups: Groups, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        learnt(three_groups, **options)


def test_bad_input_of_the_number_of_clusters(three_groups: Groups) -> None:
    mechanisms = learnt(three_groups)
    for chosen, numbers, method, message in (
        (three_groups[0], range(3), None, "mechanisms is a Recording; expected what neucept.learn returns"),
        (mechanisms, 5, None, "numbers=5: expected whole numbers to compare"),
        (mechanisms, [2.5], None, "numbers=2.5: expected a whole number"),
        (mechanisms, [2], "k-means", "method='k-means'.*Did you mean 'kmeans'"),
    ):
        with pytest.raises(InputError, match=message):
            choose_n_mechanisms(chosen, numbers, method)  # type: ignore[arg-type]
    for V in (np.zeros(30), np.full((30, 2), np.nan), [["a", "b"]] * 30, None):
        with pytest.raises(InputError, match=r"V has .*expected \(n, f\) finite numbers"):
            one_mechanism(V)  # type: ignore[arg-type]


def test_recordings_that_do_not_fit(three_groups: Groups, make_recording: Callable[..., Recording]) -> None:
    mechanisms = learnt(three_groups)
    with pytest.raises(InputError, match="Layer 'hidden' has 4 neurons here, but neuron 4 is needed"):
        mechanisms.assign(make_recording(np.zeros((3, 4))))
    with pytest.raises(InputError, match="'hidden' was not recorded"):
        mechanisms.assign(make_recording({"other": np.zeros((3, 6))}))
    with pytest.raises(InputError, match=r"'hiden' was not recorded; there are hidden. Did you mean 'hidden'"):
        learn(three_groups[0], {"hiden": [0]}, 2)
