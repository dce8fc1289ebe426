"""Sites, exact pathways, restored models, awkward networks and what is said of wrong input."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neucept import InputError
from neucept.batches import Batch, tensors_of
from neucept.pathways import (
    ACTIVATIONS,
    DistillationGuidedRouting,
    GreedyPruning,
    Method,
    NeuronIntGrad,
    NeuronMCT,
    NeuronScores,
    Pathway,
    PathwayGradient,
    RandomPathway,
    linear_ball,
    signed_map,
    sites,
)
from neucept.pathways.selection import highest
from neucept.pathways.tracing.network import Network
from neucept.pathways.tracing.replay import Replay
from neucept.pathways.tracing.sites import evaluation

METHODS: dict[str, Callable[..., Any]] = {
    "mct": NeuronMCT,
    "intgrad": lambda model, **more: NeuronIntGrad(model, steps=3, **more),
    "greedy": lambda model, **more: GreedyPruning(model, sparsity=0.95, n_steps=2, **more),
    "routing": lambda model, **more: DistillationGuidedRouting(model, steps=2, **more),
    "random": RandomPathway,
}


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3))


class Net(nn.Module):
    """A network whose forward is a function of three linear layers and the input."""

    def __init__(self, run: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.held = torch.linspace(-1, 1, 6)
        self.run = run

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def names(model: nn.Module, inputs: Any, **more: Any) -> list[str]:
    return sites(model, inputs, **more)["site"].tolist()


# Sites


def every_way(net: Any, x: Tensor) -> Tensor:
    x = net.a(x)
    for activate in (
        *(F.relu, torch.relu, Tensor.relu, F.relu_, Tensor.relu_, torch.relu_, nn.ReLU(), nn.ReLU(inplace=True)),
        *(F.relu6, nn.ReLU6(), F.hardtanh, F.hardtanh_, torch.tanh, Tensor.tanh_, F.tanh, F.leaky_relu, nn.ELU()),
        *(F.selu, F.celu, F.gelu, nn.GELU("tanh"), F.silu, nn.SiLU(inplace=True), F.mish, F.hardswish, F.softplus),
        *(lambda y: F.silu(y, True), lambda y: F.relu(input=y, inplace=True), nn.LeakyReLU(0.1, inplace=True)),
    ):
        x = activate(x + 0)
    return net.c(x)


def test_every_way_to_activate_is_one_site() -> None:
    table = sites(Net(every_way), torch.randn(2, 6))
    assert len(table) == 29
    assert table["site"].is_unique
    assert table["function"].tolist()[:10] == ["relu"] * 8 + ["relu6", "hardtanh"]
    assert set(table["shape"]) == {(6,)} and set(table["neurons"]) == {6}


def test_names_are_readable_and_numbered_only_where_they_must_be() -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        return net.c(F.gelu(net.inner(F.relu(net.b(F.relu(net.a(x)))))))

    model = Net(run)
    model.inner = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.PReLU())
    assert names(model, torch.randn(1, 6)) == ["relu#0", "relu#1", "inner.1", "inner.3", "gelu"]
    assert names(model, torch.randn(1, 6), activations={"tanh"}) == ["inner.1"]


def test_gates_are_no_sites_unless_asked() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.Sigmoid(), nn.ReLU(), nn.Softmax(1))
    assert names(model, torch.randn(2, 6)) == ["2"]
    assert names(model, torch.randn(2, 6), activations=ACTIVATIONS | {"sigmoid"}) == ["1", "2"]


def test_calls_outside_the_model_are_no_sites() -> None:
    model = small()
    pathway = NeuronMCT(model).score(torch.randn(4, 5)).select(0.5)
    with pathway.masked(model):
        assert float(F.relu(torch.ones(4, 12)).min()) == 1


def torchvision_model(name: str) -> nn.Module:
    return getattr(pytest.importorskip("torchvision.models"), name)(num_classes=4)


def timm_model(name: str) -> nn.Module:
    timm = pytest.importorskip("timm")
    if not timm.is_model(name):
        pytest.skip(f"timm {timm.__version__} has no {name}")
    return timm.create_model(name, num_classes=4)


def tiny_vit() -> nn.Module:
    sizes = {"image_size": 32, "patch_size": 16, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 24}
    return pytest.importorskip("torchvision.models").VisionTransformer(**sizes, num_classes=4)


REAL: dict[str, tuple[Callable[[], nn.Module], int, list[str]]] = {
    "resnet18": (lambda: torchvision_model("resnet18"), 17, ["relu", "layer1.0.relu#0", "layer1.0.relu#1"]),
    "vgg11": (lambda: torchvision_model("vgg11"), 10, ["features.1", "features.4", "features.7"]),
    "efficientnet_b0": (lambda: torchvision_model("efficientnet_b0"), 49, ["features.0.2"]),
    "tiny_vit": (tiny_vit, 2, ["encoder.layers.encoder_layer_0.mlp.1", "encoder.layers.encoder_layer_1.mlp.1"]),
    "timm_vit": (lambda: timm_model("test_vit"), 6, ["blocks.0.mlp.act"]),
    "timm_efficientnet": (lambda: timm_model("test_efficientnet"), 11, ["bn1.act"]),
    "timm_convnext": (lambda: timm_model("test_convnext"), 9, ["stages.0.blocks.0.mlp.act"]),
}


def lively(model: nn.Module) -> nn.Module:
    """Random weights that do not fade with depth: nothing starts at zero, and normalisation fits the data."""
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean of all batches so far
    if any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        with torch.no_grad():
            model.train()(torch.randn(8, 3, 32, 32))
    return model.eval()


@pytest.mark.parametrize("name", list(REAL))
def test_networks_work_unchanged(name: str) -> None:
    make, count, first = REAL[name]
    torch.manual_seed(0)
    model = lively(make())
    side = {"timm_vit": 160, "vgg11": 32}.get(name, 32)
    images = torch.randn(2, 3, side, side)
    found = names(model, images)
    assert found[: len(first)] == first
    assert len(found) == count
    before = model(images)
    scores = NeuronMCT(model).score(images)
    assert list(scores) == found
    pathway = scores.select(0.8)
    attribution = PathwayGradient(NeuronMCT(model), 0.4).attribute(images)
    assert attribution.shape == images.shape and bool(attribution.any())
    assert torch.equal(model(images), before)
    everything = scores.select(0.0).response(model, images)
    torch.testing.assert_close(everything.logits, before)
    assert (pathway.response(model, images).logits - before).abs().max().item() > 1e-4


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "tiny_vit", "timm_vit", "timm_convnext"])
def test_real_networks_can_be_replayed_from_every_site(name: str) -> None:
    torch.manual_seed(0)
    model = REAL[name][0]()
    images = torch.randn(1, 3, 160 if name == "timm_vit" else 32, 160 if name == "timm_vit" else 32)
    with evaluation(model):
        tape = Replay(Network(model), Batch(images).repeat(2))
        assert tape._sites and all(tape.after(raw) is not None for raw in tape._sites)


def test_a_transformer_of_torch_is_followed_where_it_has_a_fast_path() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
    model = nn.Sequential(nn.TransformerEncoder(layer, 2, enable_nested_tensor=True), nn.Flatten(), nn.Linear(24, 3))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    inputs = torch.randn(2, 3, 8)
    with torch.no_grad():
        expected = model.eval()(inputs)
    assert names(model, inputs) == ["0.layers.0.relu", "0.layers.1.relu"]
    torch.testing.assert_close(NeuronMCT(model).score(inputs).select(0).response(model, inputs).logits, expected)


# Pathways


def scores_of(values: Tensor, active: Tensor | None = None) -> NeuronScores:
    """Scores of two sites from one matrix (n, N)."""
    active = torch.ones_like(values, dtype=torch.bool) if active is None else active
    cut = max(1, values.shape[1] // 3)
    split = {"a": (slice(None), slice(cut)), "b": (slice(None), slice(cut, None))}
    n = len(values)
    return NeuronScores(
        {site: values[part] for site, part in split.items()},
        "test",
        {site: active[part] for site, part in split.items()},
        torch.ones(n),
        torch.zeros(n, dtype=torch.long),
        torch.zeros(n, dtype=torch.long),
    )


@settings(max_examples=80, deadline=None)
@given(
    n=st.integers(1, 4),
    n_neurons=st.integers(2, 40),
    levels=st.integers(1, 6),
    sparsity=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 9),
)
def test_exactly_the_asked_number_of_the_highest(
    n: int, n_neurons: int, levels: int, sparsity: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, levels, (n, n_neurons), generator=generator).float()
    active = torch.randint(0, 2, (n, n_neurons), generator=generator).bool() | (values > 0)
    scores = scores_of(values, active)
    for site, mask in scores.select(sparsity, per_site=True).items():
        assert mask.sum(1).tolist() == [max(1, round((1 - sparsity) * scores[site].shape[1]))] * n
    k = round((1 - sparsity) * n_neurons)
    if k == 0:
        with pytest.raises(InputError, match=f"keeps none of the {n_neurons} neurons"):
            scores.select(sparsity)
        return
    pathway = scores.select(sparsity, seed=seed)
    kept = torch.cat(list(pathway.values()), 1)
    assert kept.sum(1).tolist() == [k] * n
    key = values * 2 + active  # active neurons come first among zeros, and all others are active
    for row in range(n):
        if k < n_neurons:
            assert float(key[row, kept[row]].min()) >= float(key[row, ~kept[row]].max())
    torch.testing.assert_close(pathway.zero_share, (kept & (values == 0)).sum(1) / k)
    torch.testing.assert_close(pathway.dead_share(), (kept & ~active).sum(1) / k)
    torch.testing.assert_close(pathway.natural_dead_share(), (~active).float().mean(1))
    order = torch.randperm(n, generator=generator)
    permuted = scores_of(values[order], active[order]).select(sparsity, seed=seed)
    assert all(torch.equal(permuted[site], pathway[site][order]) for site in pathway)


def test_equal_scores_are_taken_without_bias() -> None:
    ones, active = torch.ones(1, 10), torch.ones(1, 10, dtype=torch.bool)
    often = torch.stack([highest(ones, active, 5, seed)[0] for seed in range(2000)]).float().mean(0)
    assert float((often - 0.5).abs().max()) < 4 * 0.5 / 2000**0.5
    one, two = (replace(scores_of(torch.ones(1, 300)), method=name).select(0.5) for name in ("one", "two"))
    assert abs(float(one.overlap(two)) - 1 / 3) < 0.1  # two methods do not share their luck


def test_overlaps_are_jaccards() -> None:
    one, two = scores_of(torch.tensor([[3.0, 2, 1, 0, 0, 0]])), scores_of(torch.tensor([[3.0, 0, 1, 2, 0, 0]]))
    a, b = one.select(0.5), two.select(0.5)
    assert float(a.overlap(b)) == pytest.approx(2 / 4)
    assert {site: float(x) for site, x in a.overlap(b, by_site=True).items()} == pytest.approx({"a": 1 / 2, "b": 1 / 2})
    assert float(a.overlap(a)) == 1
    with pytest.raises(InputError, match="differ in sites"):
        a.overlap(scores_of(torch.ones(2, 6)).select(0.5))


def test_greedy_stages_are_nested_and_zero_losses_are_reported() -> None:
    model, inputs = small(), torch.randn(6, 5)
    scores = GreedyPruning(model, 0.8, n_steps=4).score(inputs)
    pathways = [scores.select(sparsity) for sparsity in (0.8, 0.6, 0.4, 0.2)]
    for fewer, more in pairwise(pathways):
        assert all(not bool((fewer[site] & ~more[site]).any()) for site in fewer)
    assert float(scores.select(0.1).zero_share.max()) > 0
    assert scores.zero is not None and bool((scores.zero["1"] >= ~scores.active["1"]).all())


def test_pathways_are_saved_and_opened(tmp_path: Path) -> None:
    model, inputs = small(), torch.randn(3, 5)
    for target in (None, (0, 2)):
        pathway = NeuronMCT(model).score(inputs, target).select(0.7)
        back = Pathway.open(pathway.save(tmp_path / "pathway"))
        assert list(back) == list(pathway)
        assert all(torch.equal(back[site], mask) for site, mask in pathway.items())
        assert torch.equal(back.dead_share(), pathway.dead_share()) and torch.equal(back.zero_share, pathway.zero_share)
        assert torch.equal(back.response(model, inputs).share, pathway.response(model, inputs).share)
        for name in ("sparsity", "method", "per_site", "seed", "activations"):
            assert getattr(back, name) == getattr(pathway, name)
        assert (back.sparsity, back.method) == (0.7, "NeuronMCT")
    with pytest.raises(InputError, match="no saved pathway"):
        Pathway.open(tmp_path)
    assert not list(tmp_path.rglob("*.pkl"))


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("target", [None, (0, 2)])
def test_scores_are_saved_and_opened(name: str, target: Any, tmp_path: Path) -> None:
    scores = METHODS[name](small(), activations=ACTIVATIONS | {"sigmoid"}).score(torch.randn(4, 5), target)
    back = NeuronScores.open(scores.save(tmp_path / "scores"))
    for one in fields(NeuronScores):
        mine, other = getattr(scores, one.name), getattr(back, one.name)
        if isinstance(mine, Mapping):
            assert list(mine) == list(other) and all(torch.equal(mine[site], other[site]) for site in mine)
        elif isinstance(mine, Tensor | tuple):
            assert all(torch.equal(a, b) for a, b in zip(tensors_of([mine]), tensors_of([other]), strict=True))
        else:
            assert mine == other, one.name
    assert list(back) == list(scores)  # in forward order
    if back.reached is None:
        pathway, other = scores.select(0.5), back.select(0.5)
        assert all(torch.equal(pathway[site], other[site]) for site in pathway)
    with pytest.raises(InputError, match="holds a saved neuron scores, not a pathway"):
        Pathway.open(tmp_path / "scores")


def test_some_inputs_of_scores_and_pathways() -> None:
    model, inputs = small(), torch.randn(5, 5)
    for target in (None, ([0, 1, 0, 0, 1], 2)):
        whole = NeuronIntGrad(model, steps=2).score(inputs, target)
        pathway = whole.select(0.7)
        mask = np.array([True, False, True, False, False])
        for rows in (2, slice(1, 4), slice(None, None, 2), [3, 0], np.array([1, 1]), torch.tensor([4]), mask):
            where = torch.arange(5)[
                [rows] if isinstance(rows, int) else torch.as_tensor(rows) if rows is mask else rows
            ]
            some, masks = whole.rows(rows), pathway.rows(rows)
            assert all(torch.equal(some[site], score[where]) for site, score in whole.items())
            assert all(torch.equal(some.residual[site], r[where]) for site, r in whole.residual.items())
            assert all(torch.equal(masks[site], mask[where]) for site, mask in pathway.items())
            assert torch.equal(masks.dead_share(), pathway.dead_share()[where])
            torch.testing.assert_close(
                masks.response(model, inputs[where]).share, pathway.response(model, inputs).share[where]
            )
            again = some.select(0.7)
            assert all(torch.equal(masks[site], again[site]) for site in again)
        for wrong in (5, [0, 7], "first", slice(3, 3), [], torch.ones(4, dtype=torch.bool), [0.5]):
            for noun in (whole, pathway):
                with pytest.raises(InputError, match="rows="):
                    noun.rows(wrong)


def test_a_pathway_knows_its_activations(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(5, 12), nn.Sigmoid(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
    inputs = torch.randn(3, 5)
    scores = NeuronMCT(model, activations={"sigmoid"}).score(inputs)
    pathway = scores.select(0.5, per_site=True, seed=3)
    back = Pathway.open(pathway.save(tmp_path / "pathway"))
    assert list(back) == ["1"] and back.activations == {"sigmoid"} and back.per_site and back.seed == 3
    by_hand = model[4](model[3](model[2](model[1](model[0](inputs)) * pathway["1"])))
    torch.testing.assert_close(back.response(model, inputs).logits, by_hand.detach())
    with back.masked(model) as masked:
        torch.testing.assert_close(masked(inputs), by_hand)
    relu = nn.Sequential(nn.Linear(5, 12), nn.Softshrink(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
    kept = NeuronMCT(relu, activations={"relu"}).score(inputs).select(0.5)
    with pytest.raises(InputError, match="before '3'"):  # and so softshrink is something that bends
        linear_ball(relu, inputs, kept)
    assert linear_ball(relu, inputs, kept, activations=ACTIVATIONS, progress=False).neurons.tolist() == [16] * 3


def test_nothing_is_kept_by_no_one() -> None:
    scores = NeuronMCT(small()).score(torch.randn(2, 5))
    with pytest.raises(InputError, match=r"sparsity=0\.999 keeps none of the 20 neurons; 0\.95 keeps one"):
        scores.select(0.999)
    assert sum(int(mask.sum()) for mask in scores.select(0.95).values()) == 2
    assert [mask.sum(1).tolist() for mask in scores.select(0.999, per_site=True).values()] == [[1, 1], [1, 1]]
    with pytest.raises(InputError, match="keeps none"):
        GreedyPruning(small(), 0.999).score(torch.randn(2, 5))
    assert bool(RandomPathway(small()).score(torch.randn(2, 5)).select(0.999)["3"].sum())


def test_greedy_pruning_is_not_asked_beyond_what_it_removed() -> None:
    model, inputs = small(), torch.randn(2, 5)
    scores = GreedyPruning(model, 0.8).score(inputs)
    assert sum(int(mask.sum()) for mask in scores.select(0.8).values()) == 8
    for call in (
        lambda: scores.select(0.9),
        lambda: scores.rows([0]).select(0.81),
        lambda: PathwayGradient(GreedyPruning(model, 0.8), 0.9),
    ):
        with pytest.raises(InputError, match=r"up to a sparsity of 0\.8 only.*GreedyPruning\(model, sparsity=0\.\d"):
            call()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision(kind: torch.dtype) -> None:
    """The scores of a network in half precision are those of the same numbers in single precision, up to rounding."""
    model = nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
    model.load_state_dict({key: value.to(kind).float() for key, value in model.state_dict().items()})
    inputs = torch.randn(4, 5).to(kind)
    half = copy.deepcopy(model).to(kind)
    settings = {"gamma": 1e-3, "lr": 1e-3, "steps": 40, "show_progress": False}  # steps of less than half precision's
    for make in (
        NeuronMCT,
        lambda m: NeuronIntGrad(m, steps=5),
        lambda m: DistillationGuidedRouting(m, **settings),
        lambda m: DistillationGuidedRouting(m, "random", **settings),
    ):
        expected, found = make(model).score(inputs.float()), make(half).score(inputs)
        for site, score in expected.items():
            assert found[site].dtype == torch.float32
            torch.testing.assert_close(found[site], score, rtol=0.05, atol=0.02 * float(score.max()))
    moved = DistillationGuidedRouting(half, **settings).score(inputs)
    assert float((moved["1"] - 1).abs().max()) > 0


def test_contributions_below_the_least_number_of_half_precision() -> None:
    model = nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 3)).half()
    for layer in (model[0], model[2]):
        layer.weight.data.fill_(2.0**-14), layer.bias.data.zero_()
    scores = NeuronMCT(model).score(torch.full((2, 5), 0.1).half())
    assert float(scores["1"].amin()) > 0


def test_a_pathway_on_another_device() -> None:
    model, inputs = small(), torch.randn(3, 5)
    pathway = NeuronMCT(model).score(inputs).select(0.5)
    away = pathway.to("meta")
    with pytest.raises(InputError, match=r"lies on meta.*\.to\('cpu'\)"):
        away.response(model, inputs)
    with pytest.raises(InputError, match=r"move one with \.to"):
        pathway.overlap(away)


@pytest.mark.shared
def test_dead_shares_on_real_images(shared: Path) -> None:
    """As published: contributions keep no dead neuron, chance as many as there are."""
    from safetensors.torch import load_file

    from neucept.datasets import load_data
    from neucept.models import VGG11

    model = VGG11(n_classes=10)
    model.load_state_dict(load_file(shared / "models" / "vgg11-prior-0.safetensors"))
    data = load_data(
        shared / "data" / "cifar10", split="test", mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.2435, 0.2616)
    )
    images = torch.stack([data[i][0] for i in range(4)])
    for method in (NeuronMCT(model), NeuronIntGrad(model, steps=5)):
        pathway = method.score(images).select(0.9)
        assert pathway.dead_share().tolist() == [0.0] * 4 and pathway.zero_share.tolist() == [0.0] * 4
    chance = RandomPathway(model).score(images).select(0.9)
    assert bool((chance.natural_dead_share() > 0.3).all())
    torch.testing.assert_close(chance.dead_share(), chance.natural_dead_share(), atol=0.02, rtol=0)


def test_a_gate_that_costs_too_much_is_closed() -> None:
    """Two neurons, of which one alone decides: routing leaves it open, and closes the other."""
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[0].weight.fill_(1), model[0].bias.zero_()
        model[2].weight.copy_(torch.tensor([[8.0, 0.0], [0.0, 0.0]]))
    scores = DistillationGuidedRouting(model, gamma=0.05, lr=0.05, steps=300, show_progress=False).score(
        torch.ones(2, 1)
    )
    assert float(scores["1"][:, 1].max()) == 0 and float(scores["1"][:, 0].min()) > 0.3
    assert float(scores.select(0.5).zero_share.max()) == 0
    calls = []
    model.register_forward_pre_hook(lambda *given: calls.append(1))
    DistillationGuidedRouting(model, gamma=0.05, lr=0.05, steps=300, patience=3, show_progress=False).score(
        torch.ones(2, 1)
    )
    assert len(calls) < 300


# The response, the inputs and the model


def test_targets() -> None:
    model, inputs = small(), torch.randn(4, 5)
    logits = model(inputs).detach()
    method = NeuronMCT(model)
    predicted = method.score(inputs)
    assert torch.equal(predicted.target, logits.argmax(1))
    twos = [2, torch.tensor(2), [2] * 4, torch.full((4,), 2), torch.full((4,), 2, dtype=torch.int32)]
    for target in (*twos, np.int64(2), np.uint8(2), np.array(2), np.full(4, 2), [np.int32(2)] * 4):
        for score in (method.score, NeuronMCT(model, internal_batch_size=3).score):
            torch.testing.assert_close(score(inputs, target).response, logits[:, 2])
        torch.testing.assert_close(
            PathwayGradient(method).attribute(inputs, target, internal_batch_size=3),
            PathwayGradient(method).attribute(inputs, 2),
        )
    pair = method.score(inputs, (1, torch.tensor([0, 2, 0, 2])))
    torch.testing.assert_close(pair.response, logits[:, 1] - logits[range(4), [0, 2, 0, 2]])
    one = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 1))
    torch.testing.assert_close(NeuronMCT(one).score(inputs, (1, 0)).response, one(inputs)[:, 0].detach())
    for method in (NeuronIntGrad(model, steps=2, internal_batch_size=3), PathwayGradient(NeuronMCT(model))):
        run = method.score if isinstance(method, NeuronIntGrad) else method.attribute
        for wrong, said in (
            (3, "classes are 0 to 2"),
            (torch.tensor([0, 1]), "2 targets for 4 inputs"),
            (torch.tensor([0.0] * 4), "whole class numbers"),
            ((0, 1, 2), "a tuple of 3"),
            ((0, -1), "classes are 0 to 2"),
            ("cat", "expected"),
            (1.0, "whole class numbers"),
            (np.float32(1), "whole class numbers"),
            (True, "whole class numbers"),
            (["cat", "dog", "cat", "dog"], "expected"),
            ((0, None), "expected"),
            ({0: 1}, "expected"),
            ([[0, 1, 2, 0]], "the shape"),
            (np.zeros((4, 1), int), "the shape"),
            (2**70, "expected"),
            (-1, "classes are 0 to 2"),
        ):
            with pytest.raises(InputError, match=said):
                run(inputs, wrong)


@pytest.mark.parametrize("name", list(METHODS))
def test_the_model_is_left_as_it_was_found(cnn: nn.Sequential, images: Tensor, name: str, global_random: Any) -> None:
    cnn.insert(6, nn.ReLU(inplace=True))
    cnn.train()
    cnn[1].eval()
    cnn[0].weight.requires_grad_(False)
    cnn[3].weight.grad = torch.ones_like(cnn[3].weight)
    images = images.clone().requires_grad_()
    kept = images.detach().clone()
    state = {key: value.clone() for key, value in cnn.state_dict().items()}
    random = global_random()

    def untouched() -> None:
        assert all(torch.equal(value, state[key]) for key, value in cnn.state_dict().items())
        assert [m.training for m in cnn] == [True, False, True, True, True, True, True, True] and cnn.training
        assert [p.requires_grad for p in cnn.parameters()] == [False] + [True] * 7
        assert [p.grad is not None for p in cnn.parameters()] == [p is cnn[3].weight for p in cnn.parameters()]
        assert all(not m._forward_hooks and not m._forward_pre_hooks for m in cnn.modules())
        assert not torch.overrides._get_current_function_mode_stack()
        assert torch.equal(images, kept) and images.grad is None and torch.is_grad_enabled()
        assert global_random() == random

    method = METHODS[name](cnn)
    pathway = method.score(images).select(0.7)
    PathwayGradient(method, 0.7).attribute(images)
    pathway.response(cnn, images)
    with pathway.masked(cnn):
        assert not cnn.training
    untouched()
    handle = cnn[6].register_forward_hook(lambda *given: 1 / 0)
    failing: list[Callable[[], Any]] = [
        lambda: method.score(images),
        lambda: PathwayGradient(method).attribute(images),
        lambda: pathway.response(cnn, images),
    ]
    for run in failing:
        with pytest.raises(InputError, match="ZeroDivisionError"):
            run()
    handle.remove()
    untouched()
    with pytest.raises(ZeroDivisionError), pathway.masked(cnn):
        raise ZeroDivisionError
    untouched()


@pytest.mark.parametrize("name", list(METHODS))
def test_frozen_weights_and_no_gradients_outside(name: str) -> None:
    model, inputs = small(), torch.randn(4, 5)
    expected = METHODS[name](model).score(inputs)
    gradient = PathwayGradient(METHODS[name](model)).attribute(inputs)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for context in (torch.no_grad(), torch.inference_mode(), torch.enable_grad()):
        with context:
            found = METHODS[name](model).score(inputs + 0)
            assert torch.equal(PathwayGradient(METHODS[name](model)).attribute(inputs + 0), gradient)
        assert all(torch.equal(found[site], expected[site]) for site in expected)
        assert not any(score.requires_grad for score in found.values())


class Parts(nn.Module):
    """Takes two tensors, one of them of whole numbers, and gives a mapping."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.body, self.out = nn.Embedding(7, 4), nn.Linear(4, 20), nn.Linear(20, 3)

    def forward(self, x: Tensor, tokens: Tensor) -> dict[str, Tensor]:
        return {"hidden": x, "scores": self.out(F.gelu(self.body(x + self.embed(tokens).mean(1))))}


@pytest.mark.parametrize("name", list(METHODS))
def test_inputs_of_any_kind(name: str) -> None:
    torch.manual_seed(0)
    model, x, tokens = Parts(), torch.randn(4, 4), torch.randint(0, 7, (4, 6))
    method = METHODS[name](model, output="scores")
    by_place, by_name = method.score((x, tokens)), method.score({"tokens": tokens, "x": x})
    assert list(by_place) == ["gelu"] and torch.equal(by_place["gelu"], by_name["gelu"])
    explain = PathwayGradient(method, 0.5)
    first, second = explain.attribute((x, tokens))
    assert first.shape == x.shape and bool(first.any()) and not bool(second.any())
    one_by_one = explain.attribute({"x": x, "tokens": tokens}, internal_batch_size=3)
    torch.testing.assert_close(one_by_one["x"], first)
    kept = by_place.select(0.5).response(model, (x, tokens), output="scores")
    assert kept.logits.shape == (4, 3)


@pytest.mark.parametrize("name", list(METHODS))
def test_a_network_that_writes_into_its_input(name: str) -> None:
    def scaled(net: Any, x: Tensor) -> Tensor:
        return net.c(F.relu(net.b(torch.tanh(net.a(x.sub_(0.5).mul_(2))))))

    def plain(net: Any, x: Tensor) -> Tensor:
        return net.c(F.relu(net.b(torch.tanh(net.a((x - 0.5) * 2)))))

    inputs = torch.randn(4, 6)
    kept = inputs.clone()
    found, expected = METHODS[name](Net(scaled)).score(inputs), METHODS[name](Net(plain)).score(inputs)
    for site in expected:
        torch.testing.assert_close(found[site], expected[site])
    gradients = [PathwayGradient(METHODS[name](Net(run)), 0.5).attribute(inputs) for run in (scaled, plain)]
    torch.testing.assert_close(gradients[0], gradients[1])
    assert torch.equal(inputs, kept)


# Networks that are hard to follow: the record has to be right or step aside


def into_a_view(net: Any, x: Tensor) -> Tensor:
    x = F.gelu(net.a(x))
    y = net.b(x)
    y[:, 0] = x[:, 1]
    view = y[:, :3]
    view.mul_(2)
    return net.c(F.gelu(y) + x)


def into_what_was_before(net: Any, x: Tensor) -> Tensor:
    before = x * 2
    site = torch.tanh(net.a(x))
    before[:, 0] = site[:, 0]
    return net.c(F.gelu(before) * site)


def after_the_site(net: Any, x: Tensor) -> Tensor:
    x = F.gelu(net.a(x))
    x += 1
    x[:, 2] *= 3
    return net.c(F.gelu(net.b(x)))


def in_place_unused(net: Any, x: Tensor) -> Tensor:
    x = net.a(x)
    F.silu(x, inplace=True)
    y = net.b(x)
    y[:, :4].tanh_()
    z = y.view(-1, 2, 3)
    F.elu_(z)
    return net.c(y)


def into_the_site(net: Any, x: Tensor) -> Tensor:
    x = F.gelu(net.a(x))
    x += 1
    x.mul_(2)
    return net.c(F.gelu(net.b(x)))


def in_place_in_a_part(net: Any, x: Tensor) -> Tensor:
    x = net.a(x)
    x[:, :4].tanh_()
    return net.c(x)


class Double(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient * 2


def of_an_extension(net: Any, x: Tensor) -> Tensor:
    x = net.b(F.gelu(net.a(x)))
    return net.c(F.gelu(Double.apply(x) + x))


def by_value(net: Any, x: Tensor) -> Tensor:
    x = torch.tanh(net.a(x))
    x = net.b(x) if float(x.abs().mean()) > 0.2 else net.b(x * 3)
    return net.c(F.gelu(x))


def without_gradient_on_the_side(net: Any, x: Tensor) -> Tensor:
    x = F.gelu(net.a(x))
    with torch.no_grad():
        scale = 1 + x.abs().mean(1, keepdim=True)
    return net.c(F.gelu(net.b(x) / scale + net.held))


def constants_written_over(net: Any, x: Tensor) -> Tensor:
    side = net.b(x)
    mixed = F.gelu(net.a(x)) + side
    side.zero_()
    return net.c(F.gelu(mixed) + side)


def listed(net: Any, x: Tensor) -> Tensor:
    first, second = F.gelu(net.a(x)).chunk(2, dim=1)
    q, k = torch.stack([first, second])
    return net.c(F.gelu(torch.cat([q * k, net.b(x)[:, :3]], 1)))


AWKWARD = [
    *(into_a_view, into_what_was_before, after_the_site, into_the_site, in_place_unused, in_place_in_a_part),
    *(of_an_extension, by_value),
    *(without_gradient_on_the_side, constants_written_over, listed),
]


def plain_integrated(model: nn.Module, inputs: Tensor, target: Tensor, alphas: list[float]) -> list[Tensor]:
    """Scores site by site over the whole network, by replacing the functions that are called."""
    count, site, alpha, leaf, kept = 0, 0, 1.0, torch.empty(0), torch.empty(0)

    def met(function: Callable[..., Tensor], writes: bool) -> Callable[..., Tensor]:
        def called(x: Tensor, *more: Any, **options: Any) -> Tensor:
            nonlocal count, leaf, kept
            output = function(x.clone(), *more, **options)
            count += 1
            if count - 1 == site:
                kept = output.detach()
                leaf = (alpha * kept).requires_grad_()
                output = leaf.clone()
            if not (writes or options.get("inplace")):
                return output.clone()
            return x.copy_(output)

        return called

    with pytest.MonkeyPatch.context() as patch:
        for place, name, writes in (
            *((F, name, False) for name in ("gelu", "silu")),
            *((torch, "tanh", False), (torch.Tensor, "tanh_", True), (F, "elu_", True)),
        ):
            patch.setattr(place, name, met(getattr(place, name), writes))
        model(inputs)
        n_sites, scores = count, []
        for site in range(n_sites):  # noqa: B007 (read by called)
            mean = 0.0
            for value in alphas:
                count, alpha = 0, value
                response = model(inputs).gather(1, target[:, None]).sum()
                mean = mean + torch.autograd.grad(response, leaf)[0] / len(alphas)
            scores.append((kept * mean).abs())
        return scores


@pytest.mark.parametrize("run", AWKWARD, ids=lambda run: run.__name__)
@pytest.mark.parametrize("rows", [None, 4])
def test_awkward_networks(run: Any, rows: int | None) -> None:
    model = Net(run).double()
    model.held = model.held.double()
    inputs = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    scores = NeuronIntGrad(model, steps=4, rule="equal", internal_batch_size=rows).score(inputs)
    expected = plain_integrated(model, inputs, scores.predictions, [0, 1 / 3, 2 / 3, 1])
    assert len(scores) == len(expected)
    for (site, score), other in zip(scores.items(), expected, strict=True):
        assert score.shape == other.shape, site
        torch.testing.assert_close(score, other, rtol=1e-9, atol=1e-12)
    marginal = NeuronMCT(model).score(inputs)
    for score, other in zip(marginal.values(), plain_integrated(model, inputs, marginal.predictions, [1]), strict=True):
        torch.testing.assert_close(score, other, rtol=1e-9, atol=1e-12)


def test_what_steps_aside_and_what_does_not() -> None:
    """Replays where it can: with none, the test above would say nothing of replaying."""
    replayed = {}
    for run in AWKWARD:
        model = Net(run)
        with evaluation(model):
            tape = Replay(Network(model), Batch(torch.randn(2, 6)))
            replayed[run.__name__] = [tape.after(raw) is not None for raw in tape._sites]
    assert replayed == {
        "into_a_view": [False, True],
        "into_what_was_before": [False, True],
        "after_the_site": [False, True],
        "into_the_site": [True, True],
        "in_place_in_a_part": [False],
        "in_place_unused": [False, False, False],
        "of_an_extension": [False, True],
        "by_value": [False, True],
        "without_gradient_on_the_side": [False, True],
        "constants_written_over": [False, True],
        "listed": [True, True],
    }


def test_batch_normalisation_without_running_statistics_is_not_affine() -> None:
    model = Net(lambda net, x: net.c(F.gelu(net.norm(net.b(F.gelu(net.a(x)))))))
    model.norm = nn.BatchNorm1d(6, track_running_stats=False)
    model.double()
    inputs = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    scores = NeuronIntGrad(model, steps=4, rule="equal", internal_batch_size=4).score(inputs)
    expected = plain_integrated(model, inputs, scores.predictions, [0, 1 / 3, 2 / 3, 1])
    for score, other in zip(scores.values(), expected, strict=True):
        torch.testing.assert_close(score, other, rtol=1e-9, atol=1e-12)


def test_a_site_without_part_in_the_response_scores_zero() -> None:
    def run(net: Any, x: Tensor) -> dict[str, Tensor]:
        x = F.relu(net.a(x))
        return {"other": F.relu(net.b(x)), "logits": net.c(x)}

    for method in (NeuronMCT, NeuronIntGrad):
        scores = method(Net(run)).score(torch.randn(3, 6))
        assert bool(scores["relu#0"].any()) and not bool(scores["relu#1"].any())


# What is said of wrong input


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        (lambda x: x.detach(), "an operation without gradient"),
        (lambda x: F.one_hot(x.argmax(1), 6).float(), "an operation without gradient"),
        (lambda x: (x * 3).round(), "the function round"),
        (torch.no_grad()(lambda x: x * 2), "an operation without gradient"),
    ],
    ids=["detach", "argmax", "round", "no_grad"],
)
@pytest.mark.parametrize("name", ["mct", "intgrad", "greedy", "routing"])
def test_a_missing_gradient_is_named(cut: Any, said: str, name: str) -> None:
    model = Net(lambda net, x: net.c(F.relu(net.b(cut(F.gelu(net.a(x)))))))
    with pytest.raises(InputError, match=f"site 'gelu'.*{said}"):
        METHODS[name](model).score(2 * torch.randn(5, 6))


def test_no_gradient_to_the_inputs() -> None:
    model = Net(lambda net, x: net.c(F.relu(net.a(x.detach()))))
    with pytest.raises(InputError, match="reaches the inputs"):
        PathwayGradient(NeuronMCT(model)).attribute(torch.randn(3, 6))
    with pytest.raises(InputError, match="whole numbers"):
        PathwayGradient(NeuronMCT(model)).attribute(torch.ones(3, 6, dtype=torch.long))


@pytest.mark.parametrize("name", list(METHODS))
def test_errors_of_every_method(name: str) -> None:
    method, inputs = METHODS[name], torch.randn(4, 5)
    with pytest.raises(InputError, match="calls no activation function"):
        method(nn.Sequential(nn.Linear(5, 3), nn.Softmax(1))).score(inputs)
    scores = method(small()).score(inputs)
    for sparsity in (1, -0.1, 1.5, "most", True, float("nan")):
        with pytest.raises(InputError, match="sparsity"):
            scores.select(sparsity)
        with pytest.raises(InputError, match="sparsity"):
            PathwayGradient(method(small()), sparsity)
    with pytest.raises(InputError, match="not finite"):
        broken = small()
        broken[0].weight.data[0, 0] = torch.nan
        if name == "random":
            raise InputError("not finite: chance does not look at activations")
        method(broken).score(inputs)
    split = small()
    split[4].to("meta")
    with pytest.raises(InputError, match=r"several devices|meta device"):
        method(split).score(inputs)
    with pytest.raises(InputError, match=r"several devices|meta device"):
        method(small()).score((inputs, inputs.to("meta")))
    with pytest.raises(InputError, match="lengths"):
        method(small()).score((inputs, inputs[:2]))
    with pytest.raises(InputError, match="No logits found"):
        method(small(), output="logits").score(inputs)


def test_errors_of_settings() -> None:
    model = small()
    for make, said in (
        (lambda: NeuronIntGrad(model, steps=0), "steps=0"),
        (lambda: NeuronIntGrad(model, rule="simpson"), "gauss-legendre"),
        (lambda: NeuronIntGrad(model, internal_batch_size=0), "internal_batch_size"),
        (lambda: GreedyPruning(model, sparsity=1.0), "sparsity"),
        (lambda: GreedyPruning(model, n_steps=0), "n_steps"),
        (lambda: GreedyPruning(model, seed=0.5), "seed"),
        (lambda: DistillationGuidedRouting(model, start="zeros"), "start"),
        *(
            (partial(DistillationGuidedRouting, model, **{name: value}), f"{name}=")
            for name, values in {
                "steps": (0, 2.5, "many", True),
                "patience": (-1, 0, 1.5),
                "lr": (float("nan"), 0, -1, float("inf"), "fast"),
                "gamma": (float("nan"), -0.1, None),
                "momentum": (1, float("nan"), -0.5),
                "seed": (0.1,),
            }.items()
            for value in values
        ),
        *(
            (partial(make, model, internal_batch_size=value), "internal_batch_size=")
            for make in METHODS.values()
            for value in (0, -2, 2.0, "4", True)
        ),
        (lambda: PathwayGradient(model), "method=Sequential"),
        (lambda: PathwayGradient(NeuronMCT), "method=NeuronMCT: expected a method made for a model"),
        (lambda: PathwayGradient(NeuronMCT(model)).attribute(torch.ones(2, 5), internal_batch_size=2.5), "internal"),
        (lambda: PathwayGradient(NeuronMCT(model)).attribute(torch.ones(2, 5), additional_forward_args=1), "tuple of"),
        (lambda: NeuronMCT(model).score(torch.ones(2, 5)).select(0.5, seed="a"), "seed="),
        (lambda: RandomPathway(model, seed=None), "seed="),
        (lambda: signed_map(torch.ones(3)), "batch, channels"),
        (lambda: sites(nn.Linear(2, 2), torch.ones(1, 2)), "no activation function"),
        (
            lambda: PathwayGradient(NeuronMCT(model)).attribute(torch.ones(2, 5), internal_batch_size=0),
            "internal_batch",
        ),
    ):
        with pytest.raises(InputError, match=said):
            make()


def test_numbers_of_numpy_are_numbers() -> None:
    model, inputs = small(), torch.randn(3, 5)
    one, five = np.int64(1), np.int32(5)
    DistillationGuidedRouting(
        model, steps=five, patience=one, seed=one, lr=np.float32(0.1), gamma=np.float64(0.1), show_progress=False
    ).score(inputs)
    NeuronIntGrad(model, steps=five, internal_batch_size=one).score(inputs)
    GreedyPruning(model, np.float32(0.75), n_steps=one, seed=one).score(inputs).select(np.float32(0.75), seed=one)
    assert PathwayGradient(RandomPathway(model, seed=one), np.float32(0.5)).attribute(inputs).shape == (3, 5)


def test_a_pathway_of_another_batch_or_model() -> None:
    model, inputs = small(), torch.randn(4, 5)
    pathway = NeuronMCT(model).score(inputs).select(0.5)
    with pytest.raises(InputError, match="fits only the batch"):
        pathway.response(model, inputs[:3])
    with pathway.masked(model), pytest.raises(InputError, match="fits only the batch"):
        model(torch.randn(5, 5))
    with pytest.raises(InputError, match="never calls the pathway's site '3#0'"):
        pathway.response(nn.Sequential(*model[:3]), inputs)
    with pathway.masked(model) as masked:  # and a right one is masked each time
        assert torch.equal(masked(inputs), masked(inputs))


def test_checkpointing_is_refused() -> None:
    from torch.utils.checkpoint import checkpoint

    model = Net(lambda net, x: net.c(checkpoint(lambda y: F.relu(net.a(y)), x, use_reentrant=False)))
    with pytest.raises(InputError, match="checkpointing"):
        NeuronMCT(model).score(torch.randn(2, 6))


def test_calls_without_the_batch_first_are_left_alone() -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        table = F.relu(net.b(net.held[None]))
        return net.c(F.relu(net.a(x)) + table)

    model, inputs = Net(run), torch.randn(4, 6)
    with pytest.warns(UserWarning, match=r"returns \(1, 6\)"):
        pathway = NeuronMCT(model).score(inputs).select(0.5)
    assert len(pathway) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pathway.response(model, inputs).logits.shape == (4, 3)


# With Captum and NumPy


def test_smoothed_by_captums_noise_tunnel() -> None:
    attr = pytest.importorskip("captum.attr")
    model, inputs = small(), torch.randn(4, 5)
    explain = PathwayGradient(NeuronMCT(model), 0.5)
    for target in (1, torch.tensor([0, 1, 2, 0])):
        torch.manual_seed(0)
        smooth = attr.NoiseTunnel(explain).attribute(inputs, nt_samples=6, stdevs=0.2, target=target)
        torch.manual_seed(0)
        noisy = inputs.repeat_interleave(6, 0) + torch.normal(0.0, torch.full((24, 5), 0.2))
        each = target.repeat_interleave(6) if isinstance(target, Tensor) else target
        expected = explain.attribute(noisy, each, additional_forward_args=None).reshape(4, 6, 5).mean(1)
        torch.testing.assert_close(smooth, expected)


def test_arrays_go_in_and_come_out() -> None:
    model, inputs = small(), torch.randn(4, 5)
    explain = PathwayGradient(NeuronMCT(model), 0.5)
    expected = explain.attribute(inputs, 1).numpy()
    for array in (inputs.numpy(), inputs.double().numpy(), np.asfortranarray(inputs.numpy())[:, :]):
        found = explain.attribute(array, np.full(4, 1))
        assert isinstance(found, np.ndarray) and found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    half = PathwayGradient(NeuronMCT(small().bfloat16()), 0.5).attribute(inputs.numpy(), 1)
    assert half.shape == (4, 5) and np.isfinite(half).all()


def test_captums_measures_take_the_pathway_gradient() -> None:
    metrics = pytest.importorskip("captum.metrics")
    model, inputs = small(), torch.randn(4, 5)
    explain = PathwayGradient(NeuronMCT(model), sparsity=0.3)
    attribution = explain.attribute(inputs, target=1)
    sensitivity = metrics.sensitivity_max(explain.attribute, inputs, target=1, n_perturb_samples=3)
    assert sensitivity.shape == (4,) and bool((sensitivity >= 0).all())

    def perturbed(x: Tensor) -> tuple[Tensor, Tensor]:
        noise = 0.01 * torch.randn_like(x)
        return noise, x - noise

    infidelity = metrics.infidelity(model, perturbed, inputs, attribution, target=1)
    assert infidelity.shape == (4,) and bool(infidelity.isfinite().all())


class Own(Method):
    """Scores by a function that a test gives."""

    needs_gradients = False

    def __init__(self, model: nn.Module, scores: Callable[[Any], Any]) -> None:
        super().__init__(model, internal_batch_size=2)
        self.scores = scores

    def neuron_scores(self, trace: Any) -> Any:
        return self.scores(trace)


def test_a_method_of_ones_own() -> None:
    model, inputs = small(), torch.randn(5, 5)
    own = Own(model, lambda trace: {site: -(values.abs()) for site, values in trace.values.items()})
    scores = own.score(inputs, target=1)
    assert scores.method == "Own"
    torch.testing.assert_close(scores.response, model(inputs)[:, 1].detach())
    kept = torch.cat([mask.flatten(1) for mask in scores.select(0.5).values()], 1)
    sizes = torch.cat([-score.flatten(1) for score in scores.values()], 1)
    assert torch.equal(kept, sizes <= sizes.sort(1).values[:, 9:10])  # the highest scores: the ten of least size
    assert PathwayGradient(own, 0.5).attribute(inputs).shape == inputs.shape
    for wrong, said in (
        (lambda trace: None, "returned NoneType; expected a mapping with the sites"),
        (lambda trace: {"1#0": trace.values["1#0"]}, "returned the sites 1#0; expected"),
        (lambda trace: {site: value[:, :1] for site, value in trace.values.items()}, "expected scores of shape"),
        (lambda trace: dict.fromkeys(trace.values, 1.0), "returned float for site"),
        (lambda trace: {site: value / 0 for site, value in trace.values.items()}, "not finite"),
    ):
        with pytest.raises(InputError, match=said):
            Own(model, wrong).score(inputs)
