"""The ball in which a network is affine: against line searches that know nothing of kinks or gradients of neurons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neucept import InputError
from neucept.batches import Batch
from neucept.pathways import NeuronMCT, Pathway
from neucept.pathways.linear_regions import LinearRegion
from neucept.pathways.linearity import LinearBall, linear_ball, local_radius
from neucept.pathways.tracing.network import Network, mask_sites


class Residual(nn.Module):
    """One in-place ReLU called four times, batch normalisation, a sum, and overlapping padded max pooling."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.first, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(3, 2, padding=1, ceil_mode=True)
        self.a, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 3)
        self.norm.running_mean.uniform_(-0.3, 0.3)
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.act(self.norm(self.first(x))))
        inner = self.act(self.a(x))
        inner = self.b(inner)
        inner += x
        return self.head(self.act(inner).mean((2, 3)))


def lenet() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(6, 8), nn.ReLU6(), nn.Linear(8, 3)),
    )


def others() -> nn.Module:
    """Both kinks of hard tanh and ReLU6 within reach, leaky ones, pooling along one axis and pooling by counts."""
    torch.manual_seed(3)
    network = nn.Sequential(
        *(nn.Conv1d(2, 4, 3), nn.Hardtanh(-0.5, 0.4, inplace=True), nn.MaxPool1d(3, 1, 1), nn.Conv1d(4, 4, 3)),
        *(nn.LeakyReLU(0.2), nn.AdaptiveMaxPool1d(3), nn.Flatten(), nn.Linear(12, 6), nn.PReLU(6), nn.Softshrink(0.05)),
        nn.Linear(6, 3),
    )
    network[0].weight.data.mul_(3)
    return network


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "lenet": (lenet, (2, 8, 8)),
    "residual": (Residual, (2, 6, 6)),
    "others": (others, (2, 10)),
}


@pytest.fixture(scope="module", params=NETWORKS)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor, Pathway]:
    build, shape = NETWORKS[request.param]
    model = build().double().eval()
    inputs = torch.randn(6, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    return model, inputs, NeuronMCT(model).score(inputs).select(sparsity=0.8)


@pytest.fixture(scope="module", params=[True, False], ids=["masked", "whole"])
def measured(request: pytest.FixtureRequest, case: Any) -> tuple[Callable[[Tensor], Tensor], Tensor, LinearBall]:
    """The response as a plain function of the batch, the inputs, and what was measured."""
    model, inputs, pathway = case

    def response(points: Tensor) -> Tensor:
        if request.param:
            with pathway.masked(model):
                logits = model(points)
        else:
            logits = model(points)
        return logits.gather(1, pathway.target[:, None])[:, 0]

    given = pathway if request.param else None
    return response, inputs, linear_ball(model, inputs, given, pathway.target, progress=False)


def along(radii: Tensor, directions: Tensor) -> Tensor:
    return radii.reshape(-1, *[1] * (directions.ndim - 1)) * directions


def units(like: Tensor, seed: int) -> Tensor:
    drawn = torch.randn(like.shape, dtype=like.dtype, generator=torch.Generator().manual_seed(seed))
    return drawn / drawn.flatten(1).norm(dim=1).reshape(-1, *[1] * (like.ndim - 1))


def test_affine_inside(measured: Any) -> None:
    response, inputs, ball = measured
    assert bool((ball.radius > 0).all()) and bool(ball.radius.isfinite().all())
    leaf = inputs.clone().requires_grad_()
    gradient = torch.autograd.grad(response(leaf).sum(), leaf)[0]
    at = response(inputs).detach()
    for direction in [ball.direction, -ball.direction, *(units(inputs, seed) for seed in range(40))]:
        step = along(0.999 * ball.radius, direction)
        with torch.no_grad():
            found = response(inputs + step)
        expected = at + (gradient * step).flatten(1).sum(1)
        scale = (gradient * step).flatten(1).abs().sum(1) + at.abs()
        assert float(((found - expected).abs() / scale).max()) < 1e-10


def test_bends_at_the_radius_and_nowhere_before(measured: Any) -> None:
    """Second differences along the critical direction: bisected, without the ball's radius."""
    response, inputs, ball = measured

    def bent(radii: Tensor) -> Tensor:
        """Whether the response between x and x + r u is not the straight line."""
        with torch.no_grad():
            first, middle, last = (response(inputs + along(radii * part, ball.direction)) for part in (0, 0.5, 1))
        return (first + last - 2 * middle).abs() > 1e-12 * (first.abs() + last.abs() + middle.abs())

    assert bool(ball.reaches.any())
    low, high = torch.zeros_like(ball.radius), ball.radius * 1.05
    assert not bool(bent(0.9999 * ball.radius).any())
    assert bool(bent(high)[ball.reaches].all())
    for _ in range(60):
        middle = (low + high) / 2
        found = bent(middle)
        low, high = torch.where(found, low, middle), torch.where(found, middle, high)
    assert torch.allclose(high[ball.reaches], ball.radius[ball.reaches], rtol=1e-6)


def test_the_bend_is_the_change_of_slope(measured: Any) -> None:
    response, inputs, ball = measured
    h = 1e-4 * ball.radius
    with torch.no_grad():
        before, at, behind = (response(inputs + along(ball.radius + part * h, ball.direction)) for part in (-1, 0, 1))
    assert torch.allclose((behind + before - 2 * at) / h, ball.bend, atol=1e-6)


def test_every_layer_is_affine_inside(case: Any) -> None:
    """Kinks that do not reach the response too: what each convolution and linear layer is given goes straight."""
    model, inputs, pathway = case
    ball = linear_ball(model, inputs, pathway, progress=False)
    given: list[Tensor] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, args: given.append(args[0].clone()))
        for module in model.modules()
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv1d)
    ]

    def values(points: Tensor) -> list[Tensor]:
        given.clear()
        with torch.no_grad(), pathway.masked(model):
            model(points)
        return list(given)

    middle = values(inputs)
    for direction in [ball.direction, *(units(inputs, seed) for seed in range(20))]:
        step = along(0.999 * ball.radius, direction)
        for a, b, c in zip(values(inputs - step), middle, values(inputs + step), strict=True):
            assert float((a + c - 2 * b).abs().max()) < 1e-12 * float(b.abs().max() + a.abs().max())
    for hook in hooks:
        hook.remove()


def test_the_piece_is_the_network_at_the_input(case: Any) -> None:
    model, inputs, pathway = case
    for masks in ({}, pathway.raw):
        with torch.no_grad():
            expected = Network(model).run(Batch(inputs.clone()), mask_sites(masks))
            for row in range(len(inputs)):
                mine = slice(row, row + 1)
                found = LinearRegion(Network(model), {raw: mask[mine] for raw, mask in masks.items()}).run(inputs[mine])
                assert torch.allclose(found, expected[mine], rtol=1e-12)


def test_random_directions_find_no_smaller_radius(measured: Any) -> None:
    """A line search: the first point of a grid that is off the line lies outside the ball, whatever the direction."""
    response, inputs, ball = measured
    leaf = inputs.clone().requires_grad_()
    gradient = torch.autograd.grad(response(leaf).sum(), leaf)[0]
    at = response(inputs).detach()
    outside = 0
    for seed in range(15):
        direction = units(inputs, 100 + seed)
        slope = (gradient * direction).flatten(1).sum(1)
        for factor in (0.5, 0.99, 3.0, 30.0):
            with torch.no_grad():
                found = response(inputs + along(factor * ball.radius, direction))
            bent = (found - at - factor * ball.radius * slope).abs() > 1e-11 * (found.abs() + at.abs())
            assert factor > 1 or not bool(bent.any())
            outside += int(bent.sum()) if factor > 1 else 0
    assert outside > 0


def test_known_radius() -> None:
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False))
    model[0].weight.data = torch.tensor([[3.0, 4.0], [1.0, 0.0], [-1.0, -1.0]])
    model[2].weight.data = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    x = torch.tensor([[1.0, 2.0]])  # at distance 11/5, 1 and 3/sqrt(2) of the three kinks
    whole = linear_ball(model, x, target=0)
    assert whole.radius.tolist() == [1.0] and whole.boundaries == (("1", (1,)),)
    assert whole.direction.tolist() == [[-1.0, 0.0]]
    assert not bool(whole.reaches[0]) and whole.bend.tolist() == [0.0]  # class 0 does not look at neuron 1
    assert (whole.neurons.tolist(), whole.inactive.tolist()) == ([3], [1])
    other = linear_ball(model, x, target=1)
    assert bool(other.reaches[0]) and other.bend.tolist() == pytest.approx([1.0])  # from slope -1 to 0
    pair = linear_ball(model, x, target=(0, 1))
    assert bool(pair.reaches[0]) and pair.bend.tolist() == pytest.approx([-1.0])
    pathway = NeuronMCT(model).score(x, target=0).select(sparsity=0.6)
    masked = linear_ball(model, x, pathway)
    assert masked.radius.tolist() == pytest.approx([2.2]) and masked.boundaries == (("1", (0,)),)
    assert (masked.neurons.tolist(), masked.inactive.tolist()) == ([1], [0])
    table = local_radius(model, x, pathway)
    assert table["network"].tolist() == ["pathway", "whole"] and table["radius"].tolist() == pytest.approx([2.2, 1.0])
    assert table["reaches"].tolist() == [True, False]


def test_kept_neurons_that_masking_turns_off_count() -> None:
    """Neuron 1 of the second site is kept, but what it lived on is masked: its kink is still one."""
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    for layer, weight, bias in zip(
        (model[0], model[2], model[4]),
        ([[1.0], [1.0]], [[1.0, 0.0], [1.0, 5.0]], [[1.0, 1.0]]),
        ([0.0, 0.0], [0.0, -4.0], [0.0]),
        strict=True,
    ):
        layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor(bias)
    x = torch.ones(1, 1)
    whole = NeuronMCT(model).score(x, target=1)
    pathway = Pathway(
        masks={"1": torch.tensor([[True, False]]), "3": torch.tensor([[True, True]])},
        active=whole.active,
        zero_share=torch.zeros(1),
        whole_response=whole.response,
        predictions=whole.predictions,
        target=torch.tensor([1]),
        sparsity=0.25,
    )
    ball = linear_ball(model, x, pathway)
    assert ball.inactive.tolist() == [1] and ball.neurons.tolist() == [3]
    assert ball.radius.tolist() == [1.0] and ball.boundaries == (("1", (0,)),)  # x = 0, the other kink at x = 4
    ball = linear_ball(model, x + 2, pathway)
    assert ball.radius.tolist() == [1.0] and ball.boundaries == (("3", (1,)),) and bool(ball.reaches[0])


def test_pool_windows_are_found_by_name() -> None:
    model = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.ReLU(), nn.Linear(1, 2))
    x = torch.tensor([[[[5.0, 4.0], [1.0, 0.0]]]])
    ball = linear_ball(model, x)
    assert ball.boundaries == (("0 (max_pool2d)", (0, 0, 0, 1)),)
    assert ball.radius.tolist() == pytest.approx([2**-0.5]) and bool(ball.reaches[0])


def test_ties_of_dead_neurons_are_no_kinks() -> None:
    """Windows all of zeros: no entry can become the largest before a neuron wakes."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 2))
    model[0].bias.data = torch.tensor([-9.0, -9.0, 9.0])
    x = 0.1 * torch.randn(4, 1, 6, 6)
    assert bool((linear_ball(model, x).radius > 1e-3).all())


def test_gradients_of_rounding_are_none() -> None:
    """Neurons in which the input cancels: what is left of them, about 1e-17, has no kink to reach."""

    class Cancels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Linear(99, 8, bias=False), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(torch.cat([x, x, x], 1)).relu())

    model = Cancels().double()
    model.a.weight.data[:7, 66:] = -model.a.weight.data[:7, :33] - model.a.weight.data[:7, 33:66]
    x = torch.randn(4, 33)
    assert bool((model.a(torch.cat([x, x, x], 1).double())[:, :7] != 0).any())
    w = model.a.weight[7].detach().reshape(3, 33).sum(0)
    expected = (x.double() @ w).abs() / w.norm()
    assert linear_ball(model, x).radius.tolist() == pytest.approx(expected.tolist())


def test_nowhere_a_kink() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))
    model[0].weight.data.zero_()
    model[0].bias.data = torch.tensor([1.0, -1.0])
    ball = linear_ball(model, torch.ones(2, 3))
    assert ball.radius.tolist() == [float("inf")] * 2 and ball.boundaries == (("", ()),) * 2
    assert not bool(ball.direction.any()) and not bool(ball.reaches.any())


def test_batches_chunks_and_the_model(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs, pathway = case
    model = model.float()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    rows = inputs.float()
    whole = local_radius(model, rows, pathway, progress=False)
    assert model.training and all(value.dtype == before[name].dtype for name, value in model.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    monkeypatch.setattr("neucept.pathways.linearity._ELEMENTS", 1)  # a row at a time
    single = linear_ball(model, rows[:1], NeuronMCT(model).score(rows[:1]).select(0.8), progress=False)
    assert single.radius.tolist() == pytest.approx(whole["radius"][:1].tolist(), rel=1e-9)
    model.double()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 2)), "site '1' calls gelu"),
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Tanh(), nn.Linear(4, 2)), "site '2' calls tanh"),
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Softmax(1)), "after the last site"),
        (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2)), "before '2'"),
        (nn.Sequential(nn.Linear(4, 4), nn.Tanhshrink(), nn.ReLU(), nn.Linear(4, 2)), "before '2'"),
        (nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), "no activation function"),
    ],
)
def test_what_is_not_piecewise_linear(model: nn.Module, said: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(InputError, match=said):
        linear_ball(model, torch.randn(2, 4))


def test_wrong_input() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    pathway = NeuronMCT(model).score(torch.randn(3, 4)).select(0.5)
    with pytest.raises(InputError, match="3 inputs at '1#0', but 2"):
        linear_ball(model, torch.randn(2, 4), pathway)
    for wrong in (torch.ones(2, 4, dtype=torch.long), (torch.ones(2, 4),), torch.ones(0, 4)):
        with pytest.raises(InputError, match="floating-point tensor"):
            linear_ball(model, wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="never calls the pathway's site '1#0'"):
        linear_ball(nn.Sequential(nn.ReLU(), nn.Linear(4, 2)), torch.randn(3, 4), pathway)
    with pytest.raises(InputError, match="give the model that was scored"):
        linear_ball(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)), torch.randn(3, 4), pathway)


def test_functional_pooling_that_returns_places() -> None:
    class Pooled(nn.Module):
        def __init__(self, way: Any) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.conv, self.head, self.way = nn.Conv2d(1, 3, 3), nn.Linear(12, 2), way

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.way(self.conv(x)).flatten(1).relu())

    x = torch.randn(2, 1, 6, 6)
    ways = [
        nn.MaxPool2d(2),
        lambda y: F.max_pool2d(y, (2, 2), return_indices=True)[0],
        lambda y: torch.max_pool2d(y, 2, 2),
        lambda y: F.adaptive_max_pool2d(y, 2),
        lambda y: F.max_pool2d(y, kernel_size=2),
    ]
    radii = [linear_ball(Pooled(way), x).radius for way in ways]
    assert all(torch.allclose(radius, radii[0], rtol=1e-12) for radius in radii)
