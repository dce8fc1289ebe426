"""Which calls are sites does not depend on how many inputs there are, nor any result on how many run at a time."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neucept import InputError
from neucept.pathways import (
    ACTIVATIONS,
    DistillationGuidedRouting,
    GreedyPruning,
    NeuronIntGrad,
    NeuronMCT,
    PathwayGradient,
    RandomPathway,
    linear_ball,
    local_radius,
    sites,
)

METHODS: dict[str, Callable[..., Any]] = {
    "mct": NeuronMCT,
    "intgrad": lambda model, **more: NeuronIntGrad(model, steps=3, **more),
    "greedy": lambda model, **more: GreedyPruning(model, sparsity=0.9, n_steps=2, **more),
    "routing": lambda model, **more: DistillationGuidedRouting(model, "random", steps=30, patience=3, lr=0.5, **more),
    "random": RandomPathway,
}
pytestmark = pytest.mark.filterwarnings("ignore:.* never kept their prediction")


class Table(nn.Module):
    """Beside the inputs, activations of a table of the model's own, of so many rows."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c, self.out = nn.Linear(6, 8), nn.Linear(3, 5), nn.Linear(5, 8), nn.Linear(8, 3)
        self.register_buffer("table", torch.randn(rows, 3))
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.shapes.append(tuple(x.shape))
        own = self.c(F.gelu(self.b(self.table[:, [2, 1, 0]]))).mean(0)
        return self.out(F.relu(self.a(x)) + own)


class Later(nn.Module):
    """The activations of a linear layer, and those of the batch's mean, which come from the inputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.out = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.relu(self.a(x)) + F.gelu(self.b(x.mean(0, keepdim=True))))


class Sequence(nn.Module):
    """A transformer; with ``first`` the batch comes first inside of it."""

    def __init__(self, first: bool, convolution: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = first
        self.start = nn.Sequential(nn.Linear(8, 8), nn.ReLU()) if convolution else nn.Identity()
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=first)
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.start(x)
        x = self.layer(x) if self.first else self.layer(x.transpose(0, 1)).transpose(0, 1)
        return self.out(x.mean(1))


def rows_seen(model: nn.Module) -> list[int]:
    """The numbers of rows that the first layer of a network is given from now on."""
    seen: list[int] = []
    first = next(module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d))
    first.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    return seen


@pytest.mark.filterwarnings("ignore:These calls are no sites")
@pytest.mark.parametrize("rows", [1, 2, 4])
def test_a_table_of_the_model_is_no_site_whatever_its_length(rows: int) -> None:
    model, inputs = Table(rows), torch.randn(4, 6)
    whole = NeuronMCT(model).score(inputs)
    for n in range(1, 5):
        for method in METHODS.values():
            assert list(method(model).score(inputs[:n])) == ["relu"], (n, method)
        assert sites(model, inputs[:n])["site"].tolist() == ["relu"]
    chunks = PathwayGradient(NeuronIntGrad(model, steps=2), 0.5).attribute(inputs, internal_batch_size=3)
    torch.testing.assert_close(chunks, PathwayGradient(NeuronIntGrad(model, steps=2), 0.5).attribute(inputs))
    chunked = NeuronIntGrad(model, steps=2, internal_batch_size=1).score(inputs)
    torch.testing.assert_close(chunked["relu"], NeuronIntGrad(model, steps=2).score(inputs)["relu"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert whole.select(0.5).response(model, inputs).logits.shape == (4, 3)


def test_a_table_counts_no_neurons_in_a_ball() -> None:
    class Own(Table):
        def forward(self, x: Tensor) -> Tensor:
            return self.out(F.relu(self.a(x)) + self.c(F.relu(self.b(self.table))).mean(0))

    with pytest.warns(UserWarning, match="no sites"):
        ball = linear_ball(Own(1), torch.randn(3, 6), progress=False)
    assert ball.neurons.tolist() == [8] * 3


@pytest.mark.filterwarnings("ignore:These calls are no sites")
def test_activations_of_the_whole_batch_are_no_sites_at_one_input_either() -> None:
    for n in (1, 2, 4):
        assert list(NeuronMCT(Later()).score(torch.randn(n, 6))) == ["relu"]
        assert sites(Later(), torch.randn(n, 6))["site"].tolist() == ["relu"]


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("name", list(METHODS))
def test_sequence_first_is_refused_whatever_the_length(name: str, n: int) -> None:
    """Three tokens: a batch of three is as long."""
    with pytest.raises(InputError, match=r"relu in 'layer' returns \(3, \d, 12\).*batch_first"):
        METHODS[name](Sequence(first=False)).score(torch.randn(n, 3, 8))
    assert list(METHODS[name](Sequence(first=True)).score(torch.randn(n, 3, 8))) == ["layer.relu"]


def test_sequence_first_behind_other_sites_is_left_alone_and_named_once() -> None:
    model = Sequence(first=False, convolution=True)
    for n in (1, 3, 4):
        with pytest.warns(UserWarning, match=r"relu in 'layer' returns \(3, \d, 12\)") as said:
            assert list(GreedyPruning(model, n_steps=5).score(torch.randn(n, 3, 8))) == ["start.1"]
        assert len(said) == 1
    with pytest.warns(UserWarning, match="no sites") as said:
        PathwayGradient(NeuronIntGrad(model, steps=2), 0.5).attribute(torch.randn(7, 3, 8), internal_batch_size=2)
    assert len(said) == 1


def test_inputs_in_the_place_of_tokens() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=False)

    class Wrong(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.out = layer, nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.layer(x).mean(0))

    for n in (1, 3):
        with pytest.raises(InputError, match="those must come first"):
            NeuronMCT(Wrong()).score(torch.randn(3, n, 8))


@pytest.mark.parametrize(("n", "passes"), [(1, 2), (2, 1), (3, 1), (6, 1), (8, 2)])
def test_another_pass_only_where_shapes_can_deceive(n: int, passes: int) -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    seen = rows_seen(model)
    NeuronMCT(model).score(torch.randn(n, 6))
    assert len(seen) == passes
    assert sum(seen) <= n + 2


def test_a_network_that_runs_on_its_own_batch_size_alone() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.out = nn.Linear(6, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(F.relu(self.a(x)).view(4, 4))

    with pytest.warns(UserWarning, match="does not run on 2 inputs"):
        assert list(NeuronMCT(Fixed()).score(torch.randn(4, 6))) == ["relu"]


# How many run at a time


def network() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(4, 6, 2), nn.GELU()),
        *(nn.Flatten(), nn.Linear(24, 10), nn.Tanh(), nn.Linear(10, 3)),
    ).double()


def few_images() -> Tensor:
    return torch.randn(7, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", list(METHODS))
def test_results_do_not_depend_on_how_many_run_at_a_time(name: str) -> None:
    model, inputs = network(), few_images()
    classes = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    for target in (None, classes, (classes, 1)):
        whole = METHODS[name](model).score(inputs, target)
        gradient = PathwayGradient(METHODS[name](model), 0.5).attribute(inputs, target)
        for size in (1, 3):
            parts = METHODS[name](model, internal_batch_size=size).score(inputs, target)
            assert list(parts) == list(whole)
            for site, score in whole.items():
                torch.testing.assert_close(parts[site], score, rtol=1e-9, atol=1e-12)
                assert torch.equal(parts.active[site], whole.active[site])
            torch.testing.assert_close(parts.response, whole.response)
            again = PathwayGradient(METHODS[name](model), 0.5).attribute(inputs, target, internal_batch_size=size)
            torch.testing.assert_close(again, gradient, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", list(METHODS))
def test_no_more_than_asked_run_at_a_time(name: str) -> None:
    model = network()
    seen = rows_seen(model)
    with_size = METHODS[name](model, internal_batch_size=3)
    with_size.score(few_images())
    assert max(seen) == 3
    seen.clear()
    PathwayGradient(with_size, 0.5).attribute(few_images())
    assert max(seen) == 3
    seen.clear()
    METHODS[name](model).score(few_images())
    assert max(seen) > 3


def test_random_draws_are_of_the_input_not_of_its_place() -> None:
    model, inputs = network(), few_images()
    scores = RandomPathway(model).score(inputs)
    matrix = scores["1"].flatten(1)
    assert len(matrix.unique(dim=0)) == len(inputs)  # in one batch, and one by one
    singles = torch.cat([RandomPathway(model).score(image[None])["1"] for image in inputs]).flatten(1)
    assert torch.equal(singles, matrix)
    order = torch.tensor([3, 0, 6, 1, 2, 5, 4])
    assert torch.equal(RandomPathway(model).score(inputs[order])["1"].flatten(1), matrix[order])
    other = RandomPathway(model, seed=1).score(inputs)["1"].flatten(1)
    assert abs(float(torch.corrcoef(torch.stack([matrix.flatten(), other.flatten()]))[0, 1])) < 0.1
    assert abs(float(torch.corrcoef(matrix[:2])[0, 1])) < 0.25
    assert float(matrix.min()) > 0 and float(matrix.max()) < 1 and abs(float(matrix.mean()) - 0.5) < 0.05


# Calls that would go unnoticed


def every_added_way(net: Any, x: Tensor) -> Tensor:
    for activate in (
        *(F.softsign, nn.Softsign(), F.logsigmoid, nn.LogSigmoid(), F.hardshrink, Tensor.hardshrink, nn.Hardshrink()),
        *(F.softshrink, nn.Softshrink(0.1), nn.Threshold(0.1, 0.2, inplace=True)),
        *(lambda y: F.threshold(y, 0.1, 0.2), lambda y: torch.threshold(y, 0.1, 0.2)),
        *(lambda y: F.threshold_(y, 0.1, 0.2), lambda y: F.glu(torch.cat([y, y], 1)), nn.RReLU(0.1, 0.2)),
    ):
        x = activate(x + 0)
    return net(x)


class Run(nn.Module):
    def __init__(self, run: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.run = nn.Linear(6, 3), run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self.net, x)


def test_more_functions_are_sites() -> None:
    table = sites(Run(every_added_way), torch.randn(3, 6))
    assert table["function"].tolist() == [
        *["softsign"] * 2,
        *["logsigmoid"] * 2,
        *["hardshrink"] * 3,
        *["softshrink"] * 2,
        *["threshold"] * 4,
        *("glu", "rrelu"),
    ]
    assert set(table["function"]) <= ACTIVATIONS


@pytest.mark.parametrize("wrong", ["relu", [], ["rellu"], [F.relu], None, {"relu": 1, "no such": 2}])
def test_names_of_activations(wrong: Any) -> None:
    model, inputs = network(), few_images()
    calls: list[Callable[[], Any]] = [
        lambda: NeuronMCT(model, activations=wrong),
        lambda: sites(model, inputs, activations=wrong),
    ]
    if wrong is not None:
        pathway = NeuronMCT(model).score(inputs).select(0.5)
        calls.append(lambda: pathway.response(model, inputs, activations=wrong))
        calls.append(lambda: linear_ball(model, inputs, activations=wrong))
    for call in calls:
        with pytest.raises(InputError, match="activations="):
            call()
    with pytest.raises(InputError, match="Did you mean 'relu'"):
        NeuronMCT(model, activations=["rellu"])


def test_other_spellings_of_names() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.LogSigmoid(), nn.ReLU(inplace=True), nn.Linear(6, 3))
    assert sites(model, torch.randn(2, 6), activations=["log_sigmoid", "relu_"])["site"].tolist() == ["1", "2"]


def test_a_positional_true_is_not_in_place() -> None:
    """The ``training`` of rrelu, drawn anew each time: compared with the bounds of its slopes."""
    kept: list[Tensor] = []

    def run(net: Any, x: Tensor) -> Tensor:
        y = x * 1
        z = torch.rrelu(y, 0.1, 0.2, True)
        kept.append(y.detach().clone())
        return net(z)

    inputs = -torch.rand(3, 6) - 0.5
    NeuronMCT(Run(run)).score(inputs)
    assert torch.equal(kept[0], inputs)


def test_scripted_models() -> None:
    model, inputs = network().float(), few_images().float()
    pathway = NeuronMCT(model).score(inputs).select(0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripting is on its way out
        scripted, part = torch.jit.trace(model, inputs), copy.deepcopy(model)
        part[6] = torch.jit.script(part[6])
    for hidden, said in (
        (scripted, "The model is a scripted or traced module"),
        (part, "'6' is a scripted or traced module"),
        (lambda x: x, "model is function"),
    ):
        for call in (
            lambda m: NeuronMCT(m),
            lambda m: sites(m, inputs),
            lambda m: pathway.response(m, inputs),
            lambda m: linear_ball(m, inputs),
        ):
            with pytest.raises(InputError, match=said):
                call(hidden)


def test_compiled_models_are_followed_as_the_original() -> None:
    model, inputs = network().float(), few_images().float()
    expected = NeuronMCT(model).score(inputs)
    own, inner = copy.deepcopy(model), copy.deepcopy(model)
    own.compile(backend="eager")
    inner[0] = torch.compile(inner[0], backend="eager")
    method = NeuronMCT(later := copy.deepcopy(model))
    later.compile(backend="eager")  # after the method was made
    for compiled in (torch.compile(model, backend="eager"), own, inner, later):
        compiled(inputs)
        scores = (method if compiled is later else NeuronMCT(compiled)).score(inputs)
        assert list(scores) == list(expected) == list(sites(compiled, inputs)["site"])
        assert all(torch.equal(score, expected[site]) for site, score in scores.items())
        kept = scores.select(0.5).response(compiled, inputs)
        assert torch.equal(kept.logits, expected.select(0.5).response(model, inputs).logits)


def test_hooks_on_saved_tensors_around_the_call() -> None:
    model, inputs = network(), few_images()
    with torch.autograd.graph.save_on_cpu(), pytest.raises(InputError, match="Hooks on saved tensors are active"):
        NeuronMCT(model).score(inputs)
    with torch.autograd.graph.save_on_cpu():  # and they still work
        model(inputs).sum().backward()
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", list(METHODS))
def test_on_a_gpu(name: str) -> None:
    model, inputs = network().cuda(), few_images()
    for given in (inputs, inputs.cuda()):
        scores = METHODS[name](model, internal_batch_size=3).score(given, np.full(7, 1))
        assert PathwayGradient(METHODS[name](model), 0.5).attribute(given, [1] * 7).device == given.device
        pathway = scores.select(0.5).to("cpu")
        with pytest.raises(InputError, match=r"\.to\('cuda:0'\)"):
            pathway.response(model, given)
        assert pathway.to("cuda").rows([1, 2]).response(model, given[1:3]).logits.shape == (2, 3)
    here = METHODS[name](network()).score(inputs, 1)
    if name not in ("greedy", "routing"):  # where rounding may exchange neighbours
        for site, score in scores.items():
            torch.testing.assert_close(score.cpu(), here[site], rtol=1e-6, atol=1e-9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_balls_lie_where_the_inputs_do() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).cuda()
    for device in ("cpu", "cuda"):
        inputs = torch.randn(2, 4, device=device)
        pathway = NeuronMCT(model).score(inputs).select(0.5).to("cpu")
        ball = linear_ball(model, inputs, pathway, progress=False)
        fields = (ball.radius, ball.direction, ball.bend, ball.reaches, ball.neurons, ball.inactive)
        assert {tensor.device.type for tensor in fields} == {device}
        assert len(local_radius(model, inputs, pathway, progress=False)) == 4
