"""Weighted spaces: directions that matter count, loud ones that do not stay quiet; against plain oracles."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.cluster import DBSCAN
from sklearn.linear_model import RidgeCV
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from torch import nn

from neucept import (
    CriticalNeurons,
    InputError,
    Mechanisms,
    Recording,
    choose_n_mechanisms,
    discover,
    learn,
    record,
)
from neucept.discovery import Selection
from neucept.knockoffs import LocalFDR
from neucept.mechanisms.features import Feature, representatives
from neucept.mechanisms.metric import layer_metrics
from neucept.mechanisms.spaces import build_space
from neucept.recording import Encoder
from neucept.vocabulary import SPACES

Make = Callable[..., Recording]
N = 400


def planted(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two groups in neurons 0 to 2, which drive the response; two louder ones in 3 to 7, which nothing reads.

    Returns neurons (n, 9), one of them dead, response, and the groups of both kinds.
    """
    matters, loud = np.arange(N) % 2, np.arange(N) // 2 % 2
    Z = rng.normal(size=(N, 9))
    Z[:, :3] = 0.6 * Z[:, :3] + 2.0 * (matters[:, None] - 0.5)
    Z[:, 3:8] = 0.3 * Z[:, 3:8] + 9.0 * (loud[:, None] - 0.5)
    Z[:, 8] = 1.0
    return Z, Z[:, :3].sum(axis=1) + 0.1 * rng.normal(size=N), matters, loud


def logits_of(y: np.ndarray) -> np.ndarray:
    return np.stack([np.full(len(y), -100.0), y], axis=1)


@pytest.fixture
def case(make_recording: Make) -> tuple[Recording, np.ndarray, np.ndarray]:
    Z, y, matters, loud = planted(np.random.default_rng(0))
    return make_recording(Z, logits_of(y), np.where(matters == 1, 1, np.arange(N) % 4 // 2)), matters, loud


class Calibrated:
    """What a calibration says, where only the local false discovery rates matter."""

    def level(self, q: float) -> float:
        return q


def with_posterior(local_fdr: np.ndarray, rows: int = N) -> CriticalNeurons:
    k = len(local_fdr)
    rule = LocalFDR(Calibrated(), local_fdr)  # type: ignore[arg-type]
    selection = Selection("hidden", 0.9, np.ones((1, k)), np.arange(k), np.arange(k), rule)
    return CriticalNeurons({"hidden": selection}, 1, "1", "logit", np.arange(rows), {})


POSTERIOR = np.array([0.1, 0.1, 0.1, 1, 1, 1, 1, 1, 1.0])


class Network(nn.Module):
    """Reads neurons 0 to 2 of its hidden layer alone."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.middle, self.out = nn.Identity(), nn.Linear(9, 4), nn.Linear(4, 2)
        with torch.no_grad():
            self.middle.weight[:, 3:] = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.middle(self.hidden(x))))


def network() -> Network:
    torch.manual_seed(3)
    return Network().eval()


def learnt(name: str, case: tuple[Recording, np.ndarray, np.ndarray], **options: Any) -> Mechanisms:
    critical: Any = with_posterior(POSTERIOR) if name == "posterior" else {"hidden": [0]}
    recording = case[0]
    if name == "metric":
        model, X = network(), torch.from_numpy(recording.activations("hidden"))
        recording = record(model, X, ["hidden"], progress=False)
        options |= {"model": model, "data": X, "samples": "all", "target": 1}
    options = {"n_mechanisms": 2, "target": 1, "reduce": name} | options
    return learn(recording, critical, **options)


# ---- a known answer -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["kmeans", "gmm", "agglomerative"])
@pytest.mark.parametrize("name", ["contribution", "posterior", "metric"])
def test_clusters_lie_in_the_direction_that_matters(case: Any, name: str, method: Any) -> None:
    mechanisms = learnt(name, case, method=method, compactness=2)
    assert adjusted_rand_score(case[1], mechanisms.labels) > 0.9
    everything = learnt("all", case, method=method, compactness=2)
    assert adjusted_rand_score(case[1], everything.labels) < 0.1  # the louder direction
    assert adjusted_rand_score(case[2], everything.labels) > 0.9


def test_every_layer_counts_the_same(make_recording: Make) -> None:
    rng = np.random.default_rng(1)
    groups = np.arange(N) % 2
    small = rng.normal(size=(N, 2)) + 6 * groups[:, None]
    large = 1e3 * rng.normal(size=(N, 40))
    recording = make_recording({"a": small, "b": large}, logits_of(rng.normal(size=N)))
    mechanisms = learn(recording, {"a": [0], "b": [1]}, 2, reduce="all", compactness=42)
    assert adjusted_rand_score(groups, mechanisms.labels) == 1
    size = [mechanisms.values[:, [f.layer == layer for f in mechanisms.features]].var(axis=0).sum() for layer in "ab"]
    assert size[0] == pytest.approx(size[1])
    assert mechanisms.scaled.var() == pytest.approx(1, rel=0.01)


# ---- oracles --------------------------------------------------------------------------------------------------------


def oracle(Z: np.ndarray, w: np.ndarray, d: int) -> np.ndarray:
    """Squared distances of all pairs of inputs on d principal components of weighted, standardised neurons."""
    S = np.zeros((len(Z), int((Z.std(axis=0) > 0).sum())))
    for column, j in enumerate(np.flatnonzero(Z.std(axis=0) > 0)):
        S[:, column] = w[j] * (Z[:, j] - Z[:, j].mean()) / Z[:, j].std()
    values, vectors = np.linalg.eigh(S.T @ S)
    P = S @ vectors[:, np.argsort(-values)[:d]]
    return np.asarray(((P[:, None] - P[None]) ** 2).sum(axis=2))


@pytest.mark.parametrize("name", ["contribution", "posterior", "all"])
@pytest.mark.parametrize("d", [3, 20])
def test_distances_are_those_of_a_plain_computation(case: Any, name: str, d: int) -> None:
    recording = case[0]
    Z = recording.activations("hidden").astype(np.float64)
    mechanisms = learnt(name, case, compactness=d)
    if name == "contribution":
        S = (Z - Z.mean(axis=0))[:, :8] / Z.std(axis=0)[:8]
        y = recording.logits[:, 1].astype(np.float64)
        w = RidgeCV(np.logspace(-4, 4, 9)).fit(S, (y - y.mean()) / y.std()).coef_
    else:
        w = 1 - POSTERIOR if name == "posterior" else np.ones(9)
    expected = oracle(Z, np.append(w, 0)[:9], d)
    V = mechanisms.scaled
    got = ((V[:, None] - V[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(got / got.sum(), expected / expected.sum(), atol=1e-12)


def conv_case() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(27, 5), nn.Tanh(), nn.Linear(5, 3)
    )
    return model.eval(), torch.randn(40, 1, 5, 5)


def test_the_metric_is_that_of_full_jacobians() -> None:
    """A convolution's channels, as a hidden layer of five reads them, and that layer as the outputs read it."""
    model, X = conv_case()
    recording = record(model, X, ["0", "3"], progress=False)
    critical = {"0": [0, 1], "3": [0, 2, 4]}
    got = layer_metrics(recording, critical, ["0", "3"], model, X, np.arange(40))
    h = recording.activations("3").astype(np.float64)
    D = np.diag([1, 0, 1, 0, 1] / h.var(axis=0))
    expected = {"0": np.zeros((3, 3)), "3": np.zeros((5, 5))}
    for x in X:
        z, hidden = model[0](x[None]).detach(), model[:4](x[None]).detach()

        def move(step: torch.Tensor, z: torch.Tensor = z) -> torch.Tensor:
            return model[3](torch.relu(z + step[None, :, None, None]).flatten(1))[0]

        def last(step: torch.Tensor, hidden: torch.Tensor = hidden) -> torch.Tensor:
            logits = model[5](torch.tanh(hidden + step[None]))[0]
            return logits - logits.mean()

        J = torch.autograd.functional.jacobian(move, torch.zeros(3)).double().numpy()
        expected["0"] += J.T @ D @ J / len(X)
        J = torch.autograd.functional.jacobian(last, torch.zeros(5)).double().numpy()
        expected["3"] += J.T @ J / len(X)
    for layer in ("0", "3"):
        np.testing.assert_allclose(got[layer], expected[layer], rtol=1e-4, atol=1e-5)
    random = layer_metrics(recording, critical, ["0"], model, X, np.arange(40), passes=4, seed=1)["0"]  # 4 < 5 neurons
    assert not np.allclose(random, expected["0"], rtol=1e-4)
    many = [
        layer_metrics(recording, critical, ["0"], model, X, np.arange(40), passes=4, seed=s)["0"] for s in range(40)
    ]
    np.testing.assert_allclose(np.mean(many, axis=0), expected["0"], rtol=0.15, atol=0.05 * expected["0"].max())


def test_distances_of_the_metric_are_mahalanobis_by_M() -> None:
    model, X = conv_case()
    recording = record(model, X, ["0", "3"], progress=False)
    critical = {"0": [0], "3": [0, 2, 4]}
    M = layer_metrics(recording, critical, ["0"], model, X, np.arange(40))["0"]
    mechanisms = learn(recording, critical, 2, reduce="metric", model=model, data=X, layers=["0"], samples="all")
    A = recording.activations("0").astype(np.float64)
    difference = A[:, None] - A[None]
    expected = np.einsum("abi,ij,abj->ab", difference, M, difference)
    V = mechanisms.scaled
    got = ((V[:, None] - V[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(got / got.sum(), expected / expected.sum(), atol=1e-8)
    assert mechanisms.layers == ("0",) and mechanisms.settings["layers"] == ["0"]


def test_the_model_is_left_as_it_was() -> None:
    model, X = conv_case()
    model.train()
    recording = record(model, X, ["0", "3"], progress=False)
    before = {name: p.clone() for name, p in model.state_dict().items()}
    learn(recording, {"0": [0], "3": [0]}, 2, reduce="metric", model=model, data=X, samples="all")
    assert model.training and all(p.grad is None for p in model.parameters())
    assert all(torch.equal(before[name], p) for name, p in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


# ---- invariances ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["contribution", "posterior", "all"])
def test_scale_and_order_of_neurons_do_not_matter(make_recording: Make, name: str) -> None:
    Z, y, *_ = planted(np.random.default_rng(0))
    order = np.random.default_rng(2).permutation(9)
    scales = 2.0 ** np.arange(-20, 25, 5)
    results = []
    for neurons, local_fdr in ((Z, POSTERIOR), ((Z * scales)[:, order], POSTERIOR[order])):
        recording = make_recording(neurons, logits_of(y))
        critical: Any = with_posterior(local_fdr) if name == "posterior" else {"hidden": [0]}
        results.append(learn(recording, critical, 3, "gmm", reduce=name, target=1, compactness=3))  # type: ignore[arg-type]
    a, b = results
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_allclose(np.abs(a.scaled), np.abs(b.scaled), atol=1e-5)
    place = np.argsort(order)
    assert a.space is not None and b.space is not None
    np.testing.assert_array_equal(place[a.space.neurons], np.argsort(order)[: len(a.space.neurons)])


def test_the_metric_does_not_depend_on_the_scale_of_neurons() -> None:
    """A neuron ten times larger, read with a tenth of the weight, is the same neuron."""
    results = []
    for factor in (1.0, 8.0):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3)).eval()
        with torch.no_grad():
            model[0].weight *= factor
            model[0].bias *= factor
            model[1].weight /= factor
        X = torch.randn(100, 4, generator=torch.Generator().manual_seed(5))
        recording = record(model, X, ["0"], progress=False)
        results.append(learn(recording, {"0": [0]}, 3, reduce="metric", model=model, data=X, samples="all"))
    np.testing.assert_array_equal(results[0].labels, results[1].labels)
    np.testing.assert_allclose(np.abs(results[0].scaled), np.abs(results[1].scaled), atol=1e-4)
    assert results[0].scaled.shape == (100, 2)  # three outputs less their mean: M is singular, of rank 2


@pytest.mark.parametrize("name", SPACES)
def test_the_seed_decides_and_global_random_state_is_left(case: Any, name: str, global_random: Any) -> None:
    before = global_random()
    first = learnt(name, case, seed=1) if name != "metric" else None
    if name != "metric":  # its network draws its weights
        assert global_random() == before
    again = learnt(name, case, seed=1)
    np.testing.assert_array_equal((first or learnt(name, case, seed=1)).scaled, again.scaled)


# ---- what mechanisms do ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["kmeans", "gmm", "agglomerative"])
@pytest.mark.parametrize("name", SPACES)
def test_known_inputs_are_assigned_and_results_are_opened_again(
    case: Any, tmp_path: Path, name: str, method: Any
) -> None:
    mechanisms = learnt(name, case, method=method)
    recording = case[0]
    if name == "metric":
        recording = record(network(), torch.from_numpy(recording.activations("hidden")), ["hidden"], progress=False)
    labels, typicality = mechanisms.assign(recording)
    np.testing.assert_array_equal(labels[mechanisms.samples], mechanisms.labels)
    np.testing.assert_allclose(typicality[mechanisms.samples], mechanisms.typicality)
    opened = Mechanisms.open(mechanisms.save(tmp_path / "space"))
    assert opened.features == mechanisms.features and dict(opened.settings) == dict(mechanisms.settings)
    for field in ("values", "scaled", "labels", "distances", "representation"):
        np.testing.assert_array_equal(getattr(opened, field), getattr(mechanisms, field), err_msg=field)
    assert opened.explain(recording).equals(mechanisms.explain(recording))
    np.testing.assert_array_equal(opened.assign(recording)[0], labels)
    assert repr(opened) == repr(mechanisms) and "by 8 neurons" in repr(opened)
    assert mechanisms.settings["reduce"] == name and mechanisms.settings["scale"] is True
    assert mechanisms.learnt_on(recording)


def test_features_are_named_after_the_neurons_with_the_largest_share(case: Any) -> None:
    mechanisms = learnt("contribution", case, compactness=2)
    assert len(mechanisms.features) == 2 and mechanisms.space is not None
    first = mechanisms.features[0]
    assert set(first.main_neurons) == {0, 1, 2} and first.component == 0 and not first.selected
    assert first.name == f"hidden component 1 ({', '.join(map(str, first.neurons[:3]))})"
    Z = case[0].activations("hidden").astype(np.float64)
    assert first.weights is not None
    np.testing.assert_allclose(mechanisms.values[:, 0], Z[:, first.neurons] @ np.array(first.weights), rtol=1e-10)
    share = np.abs(first.weights) * Z[:, first.neurons].std(axis=0)
    assert (np.diff(share) <= 1e-12).all()
    assert mechanisms.separation().index[0] == first.name
    assert first.name in mechanisms.table()["set apart by"][0]


def test_representatives_of_all_kinds_together(make_recording: Make) -> None:
    Z = np.random.default_rng(0).normal(size=(5000, 4))
    recording = make_recording(Z)
    features = (
        Feature("hidden", (1,), True),
        Feature("hidden", (2, 0), False, (0.5, -2.0), 0),
        Feature("hidden", (0, 3), True),
        Feature("hidden", (3,), False, (3.0,), 1),
    )
    Z = recording.activations("hidden").astype(np.float64)
    expected = np.stack([Z[:, 1], 0.5 * Z[:, 2] - 2 * Z[:, 0], Z[:, [0, 3]].mean(axis=1), 3 * Z[:, 3]], axis=1)
    np.testing.assert_allclose(representatives(recording, features), expected)
    rows = np.array([7, 3, 3])
    np.testing.assert_allclose(representatives(recording, features, rows), expected[rows])


@pytest.mark.parametrize("method", ["kmeans", "gmm"])
def test_the_neurons_named_are_those_that_make_the_distance(case: Any, method: Any) -> None:
    """Shares of the squared distance to the centre, by their definition."""
    mechanisms = learnt("contribution", case, method=method, compactness=2)
    recording = case[0]
    space = mechanisms.space
    assert space is not None
    Z = recording.activations("hidden").astype(np.float64)[:, :8]
    i, label = 11, int(mechanisms.labels[11])
    centre = Z[mechanisms.labels == label].mean(axis=0)
    np.testing.assert_allclose(space.centres[label], centre)
    metric = np.eye(2) if method == "kmeans" else np.linalg.inv(mechanisms.assigner.arrays()["covariances"][label])
    M = space.weights @ metric @ space.weights.T
    parts = (Z[i] - centre) * (M @ (Z[i] - centre))
    assert parts.sum() == pytest.approx((Z[i] - centre) @ M @ (Z[i] - centre))
    strongest = np.argsort(-parts)[0]
    explained = mechanisms.explain(recording)
    assert explained["distant"][i].startswith(f"hidden:{strongest} ({parts[strongest] / parts.sum():.0%})")
    named = {part.split(" ")[0] for part in explained["deciding"][i].split(", ")[:3]}
    assert named == {"hidden:0", "hidden:1", "hidden:2"}


def test_the_usual_features_have_shares_of_the_distance_too(case: Any) -> None:
    mechanisms = learn(case[0], {"hidden": [0, 3]}, 2, target=1)
    V, label = mechanisms.scaled, int(mechanisms.labels[5])
    parts = (V[5] - V[mechanisms.labels == label].mean(axis=0)) ** 2
    j = int(parts.argmax())
    name = mechanisms.features[j].name
    assert mechanisms.explain(case[0])["distant"][5].startswith(f"{name} ({parts[j] / parts.sum():.0%})")


def test_a_real_calibration_gives_the_weights(make_recording: Make) -> None:
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(300, 12))
    recording = make_recording(Z, logits_of(Z[:, 0] + Z[:, 1]))
    critical = discover(recording, 1, progress=False)
    mechanisms = learn(recording, critical, 2, reduce="posterior")
    local_fdr = critical["hidden"].local_fdr
    assert local_fdr is not None and mechanisms.space is not None
    weights = np.linalg.norm(mechanisms.space.weights, axis=1) * mechanisms.space.deviation
    assert np.argmax(weights) in (0, 1) and np.argmax(1 - local_fdr) in (0, 1)
    assert {f.selected for f in mechanisms.features} == {False}


def test_wide_layers_are_decomposed_by_chance_and_nearly_as_well(make_recording: Make, monkeypatch: Any) -> None:
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(300, 80)) + 4 * rng.normal(size=(300, 3)) @ rng.normal(size=(3, 80))
    recording = make_recording(Z)
    rows = np.arange(300)
    exact = build_space(recording, {"hidden": [0]}, "all", 3, rows)
    monkeypatch.setattr("neucept.mechanisms.spaces._EXACT", 10)
    random = build_space(recording, {"hidden": [0]}, "all", 3, rows, seed=4)
    V, W = ((Z - Z.mean(axis=0)) @ space.weights for space in (exact, random))
    np.testing.assert_allclose(np.abs(V), np.abs(W), atol=0.01)


# ---- wrong input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("posterior", {"critical": {"hidden": [0]}}, "which a calibration gives; layer 'hidden' has none"),
        ("metric", {"model": None}, "runs the network: give model= and data="),
        ("contribution", {"target": None}, "give target=, a class or another target of the task"),
        ("contribution", {"compactness": {"hidden": 3}}, "one number of principal components for all layers"),
        ("all", {"compactness": 0}, "compactness=0: expected a whole number"),
        ("all", {"scale": False}, "scale=False: reduce='all' always standardises"),
        ("all", {"critical": {}}, "critical names no layer"),
        ("all", {"layers": ["hiden"]}, "layers= names 'hiden', which has no critical neurons. Did you mean 'hidden'"),
        ("all", {"layers": "hidden"}, "layers='hidden': expected a list"),
        ("all", {"layers": []}, "layers=.*expected a list of layers"),
        ("posterior", {"critical": with_posterior(np.ones(9))}, "no neuron of hidden has any weight"),
        ("principal", {}, "reduce='principal': expected one of 'top', 'agglomerate', 'contribution', 'posterior'"),
    ],
)
def test_bad_input(case: Any, name: str, options: dict[str, Any], message: str) -> None:
    given = {"critical": {"hidden": [0]}, "target": 1, "n_mechanisms": 2, "samples": "all"} | options
    with pytest.raises(InputError, match=message):
        learn(case[0], reduce=name, **given)  # type: ignore[arg-type]


def test_a_response_that_says_nothing(make_recording: Make) -> None:
    recording = make_recording(np.random.default_rng(0).normal(size=(50, 3)))  # all logits are the same
    with pytest.raises(InputError, match="is the same for all 50 inputs"):
        learn(recording, {"hidden": [0]}, 2, reduce="contribution", target=1)


@pytest.mark.parametrize("name", ["contribution", "all"])
def test_a_dead_layer_is_left_out(case: Any, make_recording: Make, name: Any) -> None:
    recording, _, _ = case
    Z = recording.neurons["hidden"]
    both = Recording({"dead": np.ones((N, 3)), "hidden": Z}, recording.logits, recording.labels, ("a", "b"))
    options: dict[str, Any] = {"reduce": name, "target": 1, "samples": "all"}
    alone = learn(both, {"hidden": range(9)}, 2, **options)
    assert learn(both, {"dead": range(3), "hidden": range(9)}, 2, **options).labels.tolist() == alone.labels.tolist()
    with pytest.raises(InputError, match="no neuron of dead has any weight"):
        learn(both, {"dead": range(3)}, 2, **options)


def test_values_that_are_not_finite_are_named(make_recording: Make) -> None:
    Z = np.random.default_rng(0).normal(size=(50, 3))
    Z[7, 2] = np.nan
    with pytest.raises(InputError, match="Neuron hidden:2 is nan at input 7"):
        learn(make_recording(Z), {"hidden": [0]}, 2, reduce="all")


def test_layers_that_cannot_be_read_by_each_other() -> None:
    model, X = conv_case()
    recording = record(model, X, ["0", "3"], progress=False)
    backwards = {"3": [0], "0": [0]}
    with pytest.raises(InputError, match="Layer '0' does not depend on layer '3'"):
        learn(recording, backwards, 2, reduce="metric", model=model, data=X, samples="all")
    coded = record(model, X, ["3"], neurons=Encoder(lambda output: output[:, :2]), progress=False)
    with pytest.raises(InputError, match=r"cannot be put back\. Use reduce='contribution'"):
        learn(coded, {"3": [0]}, 2, reduce="metric", model=model, data=X, samples="all")
    with pytest.raises(InputError):  # other inputs than those recorded
        learn(recording, {"0": [0]}, 2, reduce="metric", model=model, data=X + 1, samples="all")


def test_a_clusterer_of_ones_own(case: Any) -> None:
    mechanisms = learnt("contribution", case, method=DBSCAN(eps=0.3, min_samples=5), compactness=2)
    assert adjusted_rand_score(case[1][mechanisms.labels >= 0], mechanisms.labels[mechanisms.labels >= 0]) > 0.9
    assert (mechanisms.labels < 0).any()
    assert mechanisms.explain(case[0])["distant"].str.startswith("hidden:").all()  # by the nearest known input


def test_mixtures_of_weighted_spaces_are_regularised(case: Any) -> None:
    """A tenth of the mean variance, in a direction in which inputs hardly differ too; others as they were."""
    weighted = learnt("all", case, method="gmm", compactness=8).assigner.arrays()["covariances"]
    usual = learn(case[0], {"hidden": list(range(8))}, 2, "gmm", target=1).assigner.arrays()["covariances"]
    assert np.linalg.eigvalsh(weighted).min() > 0.1 > np.linalg.eigvalsh(usual).min()
    oracle = GaussianMixture(2, n_init=3, max_iter=300, reg_covar=0.1, random_state=0)
    V = learnt("all", case, method="gmm", compactness=8).scaled
    assert adjusted_rand_score(oracle.fit_predict(V), learnt("all", case, method="gmm", compactness=8).labels) == 1


def discovered(recording: Recording, target: Any = 1) -> CriticalNeurons:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return discover(recording, target, samples="all", draws=2, calibration=None, progress=False)


def test_by_default_all_neurons_of_the_discovered_layers_count(
    case: tuple[Recording, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    recording, _, loud = case
    mechanisms = learn(recording, discovered(recording))
    assert mechanisms.settings["reduce"] == "all" and mechanisms.n_clusters is not None
    assert mechanisms.n_clusters.by == "reliability" and len(mechanisms) > 1
    assert mechanisms.target == 1 and mechanisms.reliability is not None
    by_hand = learn(recording, {"hidden": range(9)}, reduce="all", target=1, samples="all")
    np.testing.assert_array_equal(by_hand.labels, mechanisms.labels)  # which neurons are critical does not matter
    two = learn(recording, discovered(recording), 2)
    assert adjusted_rand_score(two.labels, loud) > 0.95
    assert learn(recording, {"hidden": [0, 3]}, 2, target=1).settings["reduce"] == "top"  # these were asked for
    opened = Mechanisms.open(mechanisms.save(tmp_path / "default"))
    pd.testing.assert_frame_equal(opened.explain(recording), mechanisms.explain(recording))
    np.testing.assert_array_equal(opened.assign(recording)[0], mechanisms.labels)


def test_the_default_needs_no_response(make_recording: Make) -> None:
    Z, y, _, loud = planted(np.random.default_rng(0))
    recording = make_recording(Z, logits_of(y))
    constant = make_recording(Z, np.tile([0.0, 1.0], (N, 1)))
    for own, critical in ((recording, discovered(recording, y)), (constant, discovered(recording))):
        mechanisms = learn(own, replace(critical, samples=np.arange(N)), 2)
        assert mechanisms.settings["reduce"] == "all" and adjusted_rand_score(mechanisms.labels, loud) > 0.95


@pytest.mark.parametrize("reduce", [None, "contribution"])
def test_layers_without_a_live_neuron_do_no_harm(make_recording: Make, reduce: Any) -> None:
    Z, y, matters, loud = planted(np.random.default_rng(0))
    critical = discovered(make_recording({"hidden": Z, "dead": Z}, logits_of(y)))
    recording = make_recording({"hidden": Z, "dead": np.ones((N, 9))}, logits_of(y))
    mechanisms = learn(recording, critical, 2, reduce=reduce)
    assert mechanisms.settings["reduce"] == (reduce or "all") and mechanisms.layers == ("hidden",)
    assert adjusted_rand_score(mechanisms.labels, matters if reduce else loud) > 0.95
    nothing = {layer: np.ones((N, 9)) for layer in ("hidden", "dead")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone = learn(make_recording(nothing, logits_of(y)), critical)
    assert alone.settings["reduce"] == "top" and len(alone) == 1


@pytest.mark.parametrize("n", [2, 3, 12])
def test_a_few_inputs_are_one_mechanism(make_recording: Make, n: int) -> None:
    Z, y, _, _ = planted(np.random.default_rng(0))
    recording = make_recording(Z, logits_of(y), np.arange(N) % 2)
    critical = replace(discovered(recording), samples=np.arange(n))
    mechanisms = learn(recording, critical)
    assert len(mechanisms) == 1 and mechanisms.settings["reduce"] == "all"
    assert len(learn(recording, critical, 2)) == 2


def test_verdicts_are_corrected_for_the_numbers_that_labels_chose_among(
    case: tuple[Recording, np.ndarray, np.ndarray],
) -> None:
    recording, _, _ = case
    chosen = learn(recording, discovered(recording))
    fixed = learn(recording, discovered(recording), len(chosen))
    one, other = chosen.reliability, fixed.reliability
    assert one is not None and other is not None and chosen.n_clusters is not None
    assert set(one["looks"]) == {5} and set(other["looks"]) == {1} and chosen.n_clusters.looks == 5
    np.testing.assert_array_equal(one["p_value"], other["p_value"])
    np.testing.assert_allclose(one["p_corrected"], np.minimum(5 * other["p_corrected"], 1))
    np.testing.assert_allclose(one["p_confidence"], np.minimum(5 * other["p_confidence"], 1))
    assert (one["needed"] >= other["needed"]).all()
    by_structure = choose_n_mechanisms(fixed, range(1, 4), progress=False)
    assert by_structure.looks == 1
