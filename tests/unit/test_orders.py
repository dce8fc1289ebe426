"""Orders and effects by running the network, where it is known which neurons decide."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neucept import CriticalNeurons, InputError, Recording, discover, record
from neucept.discovery.orders import Linear, contributions
from neucept.recording import Encoder
from neucept.recording.intervention import rest_of

pytestmark = pytest.mark.filterwarnings("ignore::neucept.NothingSelectedWarning")
QUIET: dict[str, Any] = {"draws": 2, "progress": False, "calibration": None}
DECIDE = 6


class Deciding(nn.Module):
    """A layer of 20 neurons, of which the first 6 alone decide, the first most; the others are larger."""

    def __init__(self, maps: bool = False) -> None:
        super().__init__()
        self.maps = maps
        self.hidden = nn.Conv2d(20, 20, 1, bias=False) if maps else nn.Linear(20, 20, bias=False)
        self.out = nn.Linear(20, 2, bias=False)
        with torch.no_grad():
            scale = torch.cat([torch.ones(DECIDE), torch.full((20 - DECIDE,), 5.0)])
            self.hidden.weight.copy_(torch.diag(scale).reshape(self.hidden.weight.shape))
            weights = torch.cat([torch.linspace(3, 1, DECIDE), torch.zeros(20 - DECIDE)])
            self.out.weight.copy_(torch.stack([-weights, weights]))

    def forward(self, x: Tensor) -> Tensor:
        values: Tensor = self.hidden(x)
        return self.out(values.mean((2, 3)) if self.maps else values)


class Skipping(Deciding):
    """What goes round the layer decides too."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x[:, :2]


def made(model: nn.Module, shape: tuple[int, ...] = (20,), n: int = 600) -> tuple[Any, Tensor, Recording]:
    data = torch.randn(n, *shape, generator=torch.Generator().manual_seed(0))
    return model, data, record(model, data, layers=["hidden"], progress=False)


@pytest.mark.parametrize("maps", [False, True])
@pytest.mark.parametrize("order", ["sufficient", "robust", "contribution"])
def test_those_that_decide_are_first(order: Any, maps: bool) -> None:
    model, data, recording = made(Deciding(maps), (20, 3, 3) if maps else (20,))
    found = discover(recording, 1, order=order, model=model, data=data, effect=False, **QUIET)["hidden"]
    assert set(found.ranking[:DECIDE]) == set(range(DECIDE))
    assert found.ranking[0] in (0, 1) and sorted(found.ranking) == list(range(20))
    assert found.by == order


def test_what_suffices() -> None:
    model, data, recording = made(Deciding())
    found = discover(recording, 1, model=model, data=data, effect=False, **QUIET)["hidden"]
    assert found.by == "sufficient" and found.kept is not None
    assert found.kept.shape == (21,) and found.kept[DECIDE] == found.kept[-1] == 1
    assert found.kept[0] == pytest.approx(0.5, abs=0.08)  # a coin
    assert 1 <= len(found.sufficient(0.9)) <= DECIDE and len(found.sufficient(0.0)) == 0
    assert f"of the {len(found.sufficient(0.9))} that suffice for 90% of the predictions" in found.suffices
    assert repr(found).endswith(f"; {len(found.sufficient(0.9))} suffice for 90%)")


def test_where_all_that_vary_do_not_suffice_it_says_so() -> None:
    """Neurons that are silent on the target's inputs, and loud on others, decide by being silent."""
    model = Deciding()
    data = torch.cat([torch.randn(300, 20), torch.randn(300, 20)])
    data[:, 0] = torch.where(torch.arange(600) < 300, 0.0, -5.0)
    data[:, 1:DECIDE] = data[:, 1:DECIDE].abs()
    model, data, recording = model, data, record(model, data, layers=["hidden"], progress=False)
    rows = np.arange(300)
    found = discover(recording, 1, model=model, data=data, effect=False, samples=rows, **QUIET)["hidden"]
    assert found.groups[0] == -1 and found.kept is not None and found.kept[-1] < 0.9
    assert "; all 19 that vary keep" in found.suffices and "suffice" not in found.suffices


def test_the_first_is_the_best_of_all_by_trying_each() -> None:
    """On the pairs that the search looks at, no other first neuron keeps more."""
    model, data, recording = made(Deciding())
    found = discover(recording, 1, model=model, data=data, effect=False, **QUIET)["hidden"]
    rng = np.random.default_rng(0)
    rows = recording.samples(1)
    others = rng.choice(600, len(rows))
    kept = []
    for neuron in range(20):
        mixed = data[others].clone()
        mixed[:, neuron] = data[rows][:, neuron]
        kept.append(float((model(mixed).argmax(1) == 1).float().mean()))
    assert found.ranking[0] == int(np.argmax(kept))


def test_the_seed_decides_and_batches_do_not() -> None:
    model, data, recording = made(Deciding(maps=True), (20, 3, 3))
    first, again = (discover(recording, 1, model=model, data=data, **QUIET)["hidden"] for _ in range(2))
    np.testing.assert_array_equal(first.ranking, again.ranking)
    np.testing.assert_array_equal(first.kept, again.kept)
    inputs = recording.verify(model, data)
    small, large = (rest_of(model.eval(), inputs, recording, "hidden", None, size) for size in (7, 200))
    torch.testing.assert_close(small.values(np.arange(50)), large.values(np.arange(50)))


def test_another_order_without_a_new_discovery(tmp_path: Path) -> None:
    model, data, recording = made(Deciding())
    alone = discover(recording, 1, **QUIET)
    assert alone["hidden"].by == "contribution"  # the best that a recording says
    with pytest.raises(InputError, match=r'not known yet.*= critical.ordered\("sufficient", recording, model, data\)'):
        alone.ordered("sufficient")
    with pytest.raises(InputError, match=r'critical.ordered\("sufficient", recording, model, data\)'):
        alone["hidden"].sufficient(0.9)
    later = alone.ordered("sufficient", recording, model, data)
    at_once = discover(recording, 1, order="sufficient", model=model, data=data, effect=False, **QUIET)
    np.testing.assert_array_equal(later["hidden"].ranking, at_once["hidden"].ranking)
    other = discover(recording, 1, seed=7, **QUIET).ordered("sufficient", recording, model, data)  # its seed is 7
    given = alone.ordered("sufficient", recording, model, data, seed=7)
    np.testing.assert_array_equal(other["hidden"].kept, given["hidden"].kept)
    assert not np.array_equal(other["hidden"].kept, later["hidden"].kept)
    np.testing.assert_array_equal(later["hidden"].statistics, alone["hidden"].statistics)
    assert set(later["hidden"].neurons) == set(alone["hidden"].neurons)
    assert later.ordered("contribution")["hidden"].ranking.tolist() == alone["hidden"].ranking.tolist()
    for name in ("information", "evidence"):
        assert sorted(later.ordered(name)["hidden"].ranking) == list(range(20))


def test_saved_and_opened(tmp_path: Path) -> None:
    model, data, recording = made(Deciding())
    found = discover(recording, 1, model=model, data=data, effect=0.01, **QUIET)
    opened = CriticalNeurons.open(found.save(tmp_path / "critical"))
    a, b = found["hidden"], opened["hidden"]
    assert repr(opened) == repr(found) and opened.settings == found.settings
    assert b.by == "sufficient" and a.guarantee == b.guarantee
    np.testing.assert_array_equal(a.neurons, b.neurons)
    assert a.table().equals(b.table()) and a.table("group").equals(b.table("group"))


def test_the_table_has_what_is_known() -> None:
    model, data, recording = made(Deciding())
    bare = discover(recording, 1, **QUIET).table()
    assert not {"effect", "kept", "rank_sufficient"} & set(bare)
    assert {"rank_information", "rank_evidence", "rank_contribution"} <= set(bare)
    critical = discover(recording, 1, model=model, data=data, **QUIET)
    table = critical["hidden"].table()
    assert table["rank_sufficient"].tolist() == list(range(1, 21))
    assert table["sufficiency"].sum() == pytest.approx(1) and table["kept"].iloc[-1] == 1
    assert (table["effect_low"] <= table["effect"]).all() and (table["effect"] <= table["effect_high"]).all()
    decide = table["neuron"] < DECIDE
    assert (table.loc[~decide, ["effect", "effect_given", "changed"]] == 0).all(axis=None)
    assert (table.loc[decide, "effect"] > 0.01).all()
    groups = critical.table(by="group")
    assert groups["members"].tolist() == [1] * 20


def test_where_the_network_cannot_be_cut() -> None:
    model, data, recording = made(Skipping())
    critical = discover(recording, 1, model=model, data=data, **QUIET)
    assert critical["hidden"].by == "contribution" and critical["hidden"].effects is None
    assert "skips it" in critical.settings["not run from"]["hidden"]
    for more in ({"order": "robust"}, {"effect": 0.01}):
        with pytest.raises(InputError, match="runs the network from layer 'hidden' on"):
            discover(recording, 1, model=model, data=data, **more, **QUIET)


def test_what_is_missing_or_impossible_is_said() -> None:
    model, data, recording = made(Deciding())
    for more, message in [
        ({"order": "sufficient"}, "give model= and data="),
        ({"effect": 0.01}, "effect=0.01 runs the network: give model= and data="),
        ({"order": "largest"}, "order='largest': expected one of 'information'"),
        ({"model": model}, "give both, model= and data="),
        ({"model": model, "data": data, "effect": True}, "expected the share of the variance"),
        ({"model": model, "data": data, "effect": 1.5}, "from 0 to 1"),
        ({"model": model, "data": data[:50]}, "data holds 50 inputs"),
    ]:
        with pytest.raises(InputError, match=message):
            discover(recording, 1, **more, **QUIET)
    with pytest.raises(InputError, match="does not compute a response that is an array"):
        discover(recording, recording.logits[:, 1], order="robust", model=model, data=data, **QUIET)
    array = discover(recording, recording.logits[:, 1], model=model, data=data, **QUIET)
    assert array["hidden"].by == "contribution" and set(array["hidden"].ranking[:DECIDE]) == set(range(DECIDE))
    with pytest.raises(InputError, match="call discover again"):
        discover(recording, recording.logits[:, 1], order="evidence", **QUIET).ordered("contribution", recording)


@pytest.mark.parametrize(("task", "target"), [("multi-label", 1), ("regression", "highest tenth"), ("classes", 0)])
def test_other_tasks(task: Any, target: Any) -> None:
    model, data, _ = made(Deciding())
    network = nn.Sequential()
    network.hidden, network.out = model.hidden, model.out
    recording = record(network, data, layers=["hidden"], task=task, progress=False)
    found = discover(recording, target, model=network, data=data, order="sufficient", **QUIET)["hidden"]
    assert set(found.ranking[:DECIDE]) == set(range(DECIDE))
    assert found.kept is not None and found.kept[-1] == 1


def test_latents_of_an_encoder() -> None:
    """Neurons of a function with its inverse are kept and moved as any others."""
    model, data, _ = made(Deciding())
    turned = torch.linalg.qr(torch.randn(20, 20, generator=torch.Generator().manual_seed(1)))[0]
    units = Encoder(lambda values: values @ turned, lambda latent: latent @ turned.T)
    recording = record(model, data, layers=["hidden"], neurons=units, progress=False)
    found = discover(recording, 1, model=model, data=data, **QUIET)["hidden"]
    assert found.by == "sufficient" and found.kept is not None and found.kept[-1] == 1
    assert found.effects is not None and np.isfinite(found.effects.alone).all()


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_networks_of_other_precision(kind: torch.dtype) -> None:
    model, data, _ = made(Deciding())
    model.to(kind)
    recording = record(model, data, layers=["hidden"], progress=False)
    found = discover(recording, 1, model=model, data=data, effect=0.01, **QUIET)["hidden"]
    assert set(found.ranking[:DECIDE]) == set(range(DECIDE)) and set(found.neurons) <= set(range(DECIDE))
    assert found.by == "sufficient"
    robust = discover(recording, 1, order="robust", model=model, data=data, effect=False, **QUIET)["hidden"]
    assert set(robust.ranking[:DECIDE]) == set(range(DECIDE))


def test_the_model_is_left_as_found() -> None:
    model, data, recording = made(Deciding())
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    discover(recording, 1, model=model, data=data, **QUIET)
    assert model.training and all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_effects_of_a_linear_network() -> None:
    """Independent neurons of variance 1: the share of each is its squared weight over their sum."""
    model, data, recording = made(Deciding(), n=1500)
    effects = discover(recording, 1, samples="all", model=model, data=data, **QUIET)["hidden"].effects
    assert effects is not None
    weights = np.append(np.linspace(3, 1, DECIDE), np.zeros(20 - DECIDE)) ** 2
    share = weights / weights.sum()
    np.testing.assert_allclose(effects.alone, share, atol=0.07)
    np.testing.assert_allclose(effects.given, share, atol=0.07)  # nothing is predicted by the others
    inside = (effects.alone_low <= share) & (share <= effects.alone_high)
    assert inside[:DECIDE].sum() >= DECIDE - 1
    np.testing.assert_allclose(effects.group_alone, effects.alone)


def test_what_the_others_predict_has_no_effect_given_them() -> None:
    model, data, _ = made(Deciding(), n=1500)
    with torch.no_grad():
        model.hidden.weight[1] = model.hidden.weight[0] + 0.05 * model.hidden.weight[1]  # nearly neuron 0 again
    recording = record(model, data, layers=["hidden"], progress=False)
    effects = discover(recording, 1, samples="all", model=model, data=data, **QUIET)["hidden"].effects
    assert effects is not None
    assert (effects.alone[:2] > 0.1).all() and (effects.given[:2] < 0.01).all()
    assert effects.given[2] == pytest.approx(effects.alone[2], rel=0.3)


def test_first_order_is_exact_for_a_linear_network(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data, recording = made(Deciding(), n=800)
    groups = np.arange(20) // 2
    options = {"model": model, "data": data, "groups": groups, "order": "contribution", **QUIET}
    exact = discover(recording, 1, **options)["hidden"].effects
    monkeypatch.setattr("neucept.discovery.effects.WORK", 0)
    rough = discover(recording, 1, **options)["hidden"].effects
    assert exact is not None and rough is not None and rough.first_order.all() and not exact.first_order.any()
    for name in ("alone", "given", "group_alone", "group_given", "alone_high"):
        np.testing.assert_allclose(getattr(rough, name), getattr(exact, name), atol=1e-5)
    assert np.isnan(rough.changed).all() and np.isfinite(exact.changed).all()
    assert exact.group_alone[0] == pytest.approx(exact.alone[:2].sum(), rel=0.3)  # they are independent


def test_a_size_that_matters_selects() -> None:
    model, data, recording = made(Deciding(), n=1500)
    critical = discover(recording, 1, samples="all", model=model, data=data, effect=0.02, **QUIET)
    found = critical["hidden"]
    assert 2 <= len(found.neurons) <= DECIDE and set(found.neurons) <= set(range(DECIDE))
    assert "carry more than 0.02 of the response's variance" in found.guarantee.claim
    assert len(critical.at(0.5)["hidden"].neurons) >= len(found.neurons)


def test_work_is_bounded_for_large_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data, recording = made(Deciding())
    monkeypatch.setattr("neucept.discovery.orders.WORK", 1e5)
    found = discover(recording, 1, model=model, data=data, effect=False, **QUIET)["hidden"]
    assert set(found.ranking[:DECIDE]) == set(range(DECIDE)) and found.kept is not None


@pytest.mark.parametrize("n", [300, 25])
def test_the_ridge_is_that_of_the_equations(n: int) -> None:
    rng = np.random.default_rng(0)
    Z, y = rng.normal(size=(n, 40)), rng.normal(size=n)
    fit = Linear.of(Z)
    found = fit.coefficients((y - y.mean()) / y.std())
    scaled, y = fit.Z, (y - y.mean()) / y.std()
    penalties = np.logspace(-7, 2, 10)
    each = [np.linalg.solve(scaled.T @ scaled / n + p * np.eye(40), scaled.T @ y / n) for p in penalties]
    assert min(np.abs(found - one).max() for one in each) < 1e-6


def test_shares_of_all_inputs_sum_to_what_is_explained() -> None:
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(2000, 5))
    shares = contributions(Z, Z @ [3, 2, 1, 0, 0] + np.sqrt(14) * rng.normal(size=2000), np.arange(2000))
    assert shares.sum() == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(shares[:3], np.array([9, 4, 1]) / 28, atol=0.04)


@pytest.mark.filterwarnings("ignore:.*quantiz:DeprecationWarning", "ignore:.*quantiz:UserWarning")
def test_without_gradients_an_order_by_the_network_is_refused() -> None:
    quantise = importlib.import_module("torch.ao.quantization").quantize_dynamic
    torch.manual_seed(0)
    model = quantise(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)), {nn.Linear}, torch.qint8)
    X = torch.randn(300, 5)
    recording = record(model, X, ["1"], progress=False)
    options: dict[str, Any] = {**QUIET, "model": model, "data": X}
    with pytest.raises(InputError, match="No gradient of the outputs reaches layer '1'"):
        discover(recording, 0, order="sufficient", **options)
    assert discover(recording, 0, **options)["1"].by == "contribution"
