"""Scores, masked passes and pathway gradients against the slowest plain way: one input, site and alpha at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neucept.models import VGG11, LeNet
from neucept.pathways import (
    DistillationGuidedRouting,
    GreedyPruning,
    NeuronIntGrad,
    NeuronMCT,
    PathwayGradient,
    RandomPathway,
)

pytestmark = pytest.mark.filterwarnings("ignore:.* never kept their prediction")  # in a few steps

Edit = Callable[[int, Tensor], Tensor]


class Probe(nn.Module):
    """An activation out of place that lets ``edit`` change what the call with a number returns."""

    def __init__(self, function: Callable[[Tensor], Tensor], oracle: Oracle) -> None:
        super().__init__()
        self.function, self.oracle = function, [oracle]

    def forward(self, x: Tensor) -> Tensor:
        return self.oracle[0].called(self.function(x.clone()))


class Oracle:
    """A copy of a network in which every activation is a `Probe`; one input at a time."""

    def __init__(self, model: nn.Module, twin: Callable[[Oracle], nn.Module] | None = None) -> None:
        self.count, self.edit = 0, None
        if twin is not None:
            self.model = twin(self)
            self.model.load_state_dict(model.state_dict())
        else:
            self.model = copy.deepcopy(model)
            for parent in list(self.model.modules()):
                for name, child in list(parent.named_children()):
                    if type(child).__name__ in ("ReLU", "ReLU6", "Tanh", "GELU", "SiLU"):
                        child.inplace = False
                        setattr(parent, name, Probe(child, self))
        self.model.to(next(model.parameters()).dtype).eval()

    def called(self, output: Tensor) -> Tensor:
        self.count += 1
        return output if self.edit is None else self.edit(self.count - 1, output)

    def run(self, x: Tensor, edit: Edit | None = None) -> Tensor:
        self.count, self.edit = 0, edit
        return self.model(x)[0]

    def activations(self, x: Tensor) -> list[Tensor]:
        found: list[Tensor] = []

        def note(number: int, output: Tensor) -> Tensor:
            found.append(output.detach().clone())
            return output

        self.run(x, note)
        return found

    def gradient(self, x: Tensor, site: int, value: Tensor, target: int, before: Edit | None = None) -> Tensor:
        """Gradient of the target's logit with respect to one site's output, put to ``value``."""
        leaf = value.clone().requires_grad_()

        def put(number: int, output: Tensor) -> Tensor:
            return leaf if number == site else output if before is None else before(number, output)

        logit = self.run(x, put)[target]
        return torch.autograd.grad(logit, leaf)[0]


class ReluLeNet(nn.Module):
    """Functions, methods and modules, in place and not, one module twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 5), nn.Conv2d(4, 6, 5)
        self.fc1, self.fc2, self.out = nn.Linear(150, 20), nn.Linear(20, 12), nn.Linear(12, 5)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu_(self.conv1(x)), 2)
        x = self.conv2(x)
        x.relu_()
        x = F.max_pool2d(x, 2).flatten(1)
        return self.out(self.relu(self.fc2(self.relu(self.fc1(x)))))


class Twin(ReluLeNet):
    """The same network with every activation a probe."""

    def __init__(self, oracle: Oracle) -> None:
        super().__init__()
        self.relu = Probe(torch.relu, oracle)  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.relu(self.conv1(x)), 2)
        x = F.max_pool2d(self.relu(self.conv2(x)), 2).flatten(1)
        return self.out(self.relu(self.fc2(self.relu(self.fc1(x)))))


def randomised(model: nn.Module) -> nn.Module:
    """Batch normalisation as after training, for a network that does not fade with depth."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2), module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.8, 1.6), module.bias.data.normal_(0, 0.2)
    return model


def resnet() -> nn.Module:
    models = pytest.importorskip("torchvision.models")
    return models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=6)


def vit() -> nn.Module:
    timm = pytest.importorskip("timm")
    sizes = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 6}
    model = timm.models.VisionTransformer(**sizes)
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model


class TokensFirst(nn.Module):
    """Affine calls that put the batch behind the tokens, and both on one axis."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.out = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 5)
        self.act, self.last = nn.GELU(), nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.embed(x))
        tokens = self.mix(x.transpose(0, 1)).reshape(-1, 8).softmax(-1).reshape(x.shape[1], -1, 8)
        return self.out(self.last(tokens.transpose(0, 1) * x).mean(1))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "tokens_first": (TokensFirst, (4, 6), 2),
    "lenet": (LeNet, (1, 32, 32), 4),
    "relu_lenet": (ReluLeNet, (1, 32, 32), 4),
    "vgg11": (VGG11, (3, 32, 32), 9),
    "resnet": (resnet, (3, 32, 32), 9),
    "vit": (vit, (3, 16, 16), 3),
}


class Case:
    def __init__(self, name: str) -> None:
        make, shape, self.n_sites = NETWORKS[name]
        torch.manual_seed(3)
        self.model = randomised(make()).double().eval()
        self.inputs = torch.randn(3, *shape, dtype=torch.float64)
        self.oracle = Oracle(self.model, Twin if name == "relu_lenet" else None)
        self.predictions = [int(self.oracle.run(x[None]).argmax()) for x in self.inputs]
        self.activations = [self.oracle.activations(x[None]) for x in self.inputs]

    def rows(self, targets: list[int] | None = None) -> Iterator[tuple[int, Tensor, int, list[Tensor]]]:
        for row, x in enumerate(self.inputs):
            yield row, x[None], (targets or self.predictions)[row], self.activations[row]


@pytest.fixture(scope="module", params=list(NETWORKS))
def case(request: Any) -> Case:
    return Case(request.param)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-10 * float(expected.abs().max()) + 1e-14)


def test_marginal_contributions(case: Case) -> None:
    for targets in (None, [0, 1, 1]):
        scores = NeuronMCT(case.model).score(case.inputs, None if targets is None else torch.tensor(targets))
        assert len(scores) == case.n_sites
        for row, x, target, activations in case.rows(targets):
            for site, (name, score) in enumerate(scores.items()):
                a = activations[site]
                close(score[row], (a * case.oracle.gradient(x, site, a, target)).abs()[0])
                assert torch.equal(scores.active[name][row], a[0] != 0)
            assert scores.response[row] == pytest.approx(case.oracle.run(x)[target].item())
        assert scores.predictions.tolist() == case.predictions


@pytest.mark.parametrize(("rule", "rows"), [("equal", None), ("gauss-legendre", 2), ("gauss-legendre", 7)])
def test_integrated_gradients(case: Case, rule: str, rows: int | None) -> None:
    steps = 5
    scores = NeuronIntGrad(case.model, steps=steps, rule=rule, internal_batch_size=rows).score(case.inputs)
    if rule == "equal":
        alphas, weights = np.linspace(0, 1, steps), np.full(steps, 1 / steps)
    else:
        alphas, weights = np.polynomial.legendre.leggauss(steps)
        alphas, weights = (alphas + 1) / 2, weights / 2
    for row, x, target, activations in case.rows():
        response = float(case.oracle.run(x)[target])
        for site, (name, score) in enumerate(scores.items()):
            a = activations[site]
            mean = sum(
                w * case.oracle.gradient(x, site, alpha * a, target) for alpha, w in zip(alphas, weights, strict=True)
            )
            close(score[row], (a * mean).abs()[0])
            without = case.oracle.run(x, lambda n, out, s=site: torch.zeros_like(out) if n == s else out)[target]
            change = response - float(without)
            assert float(scores.change[name][row]) == pytest.approx(change, abs=1e-9)
            assert float(scores.residual[name][row]) == pytest.approx(abs(float((a * mean).sum()) - change), abs=1e-9)


def test_integrated_gradients_are_complete_with_enough_steps(case: Case) -> None:
    few, many = (NeuronIntGrad(case.model, steps=steps).score(case.inputs) for steps in (1, 32))
    worst = [max(float(scores.residual[site].max()) for site in scores) for scores in (few, many)]
    assert worst[1] < 0.02 * max(float(scores.abs().max()) for scores in many.change.values())
    assert worst[1] < 0.2 * worst[0]


@pytest.mark.parametrize("per_site", [False, True])
def test_masked_passes_and_their_gradient(case: Case, per_site: bool) -> None:
    pathway = NeuronMCT(case.model).score(case.inputs).select(0.85, per_site=per_site)
    masks = list(pathway.values())
    kept = pathway.response(case.model, case.inputs)
    with pathway.masked(case.model) as model:
        inside = model(case.inputs)
    assert torch.equal(inside, kept.logits)
    attribution = PathwayGradient(NeuronMCT(case.model), sparsity=0.85).attribute(case.inputs, internal_batch_size=2)
    for row, x, target, _ in case.rows():
        leaf = x.clone().requires_grad_()
        logits = case.oracle.run(leaf, lambda n, out, r=row: out * masks[n][r])
        close(kept.logits[row], logits)
        assert float(kept.share[row]) == pytest.approx(float(logits[target] / case.oracle.run(x)[target]))
        if not per_site:
            close(attribution[row], torch.autograd.grad(logits[target], leaf)[0][0])
    assert not torch.allclose(kept.logits, case.model(case.inputs))  # the mask does something


def test_greedy_pruning(case: Case) -> None:
    """The same stages as recomputing everything by hand; sets, because equal losses may go in any order."""
    sparsity, n_steps = 0.75, 3
    scores = GreedyPruning(case.model, sparsity, n_steps).score(case.inputs)
    total = sum(score[0].numel() for score in scores.values())
    removals = total - round((1 - sparsity) * total)
    for row, x, target, activations in case.rows():
        sizes = [a.numel() for a in activations]
        kept = torch.ones(total, dtype=torch.bool)
        order = torch.cat([score[row].flatten() for score in scores.values()])
        assert sorted(order.tolist()) == list(range(1, total + 1))
        for step in range(1, n_steps + 1):
            masks = [part.reshape(a.shape) for part, a in zip(kept.split(sizes), activations, strict=True)]

            def masked(number: int, output: Tensor, masks: list[Tensor] = masks) -> Tensor:
                return output * masks[number]

            values: list[Tensor] = []
            case.oracle.run(x, lambda n, out, v=values, m=masked: (v.append(m(n, out).detach()), m(n, out))[1])
            losses = torch.cat(
                [
                    (value * case.oracle.gradient(x, site, value, target, masked)).abs().flatten()
                    for site, value in enumerate(values)
                ]
            )
            upto = round(removals * step / n_steps)
            gone = order <= upto
            assert bool(gone[~kept].all()) and int(gone.sum()) == upto  # nothing comes back, as many as asked
            assert float(losses[gone & kept].max()) <= float(losses[~gone].min()) * (1 + 1e-6) + 1e-14
            kept = ~gone
        selected = torch.cat([mask[row].flatten() for mask in scores.select(sparsity).values()])
        assert torch.equal(selected, kept)


def test_routing(case: Case) -> None:
    """The first steps of the descent by torch's own optimiser, one input at a time."""
    settings = {"gamma": 0.05, "lr": 0.1, "momentum": 0.9, "steps": 4}
    for start in ("ones", "random"):
        scores = DistillationGuidedRouting(case.model, start=start, seed=5, **settings).score(case.inputs)
        generator = torch.Generator().manual_seed(5)
        draws = [torch.rand(score.shape[1:], generator=generator) for score in scores.values()]
        for row, x, target, activations in case.rows():
            gates = [
                (torch.ones_like(a) if start == "ones" else d[None].double()).requires_grad_()
                for a, d in zip(activations, draws, strict=True)
            ]
            optimiser = torch.optim.SGD(gates, lr=0.1, momentum=0.9)
            p = case.oracle.run(x).softmax(0).detach()
            best, least, met = [g.detach().clone() for g in gates], float("inf"), start == "ones"
            for _ in range(4):
                logits = case.oracle.run(x, lambda n, out, g=gates: out * g[n])
                met = met or int(logits.argmax()) == target
                entropy, size = -(p * logits.log_softmax(0)).sum(), sum(g.abs().sum() for g in gates)
                if int(logits.argmax()) == target and float(entropy + 0.05 * size) < least:
                    best, least = [g.detach().clone() for g in gates], float(entropy + 0.05 * size)
                optimiser.zero_grad()
                (entropy + (0.05 if met else 0.005) * size).backward()
                optimiser.step()
                for gate in gates:
                    gate.data.clamp_(0, 100)
            if least == float("inf"):
                best = [g.detach() for g in gates]
            for score, gate in zip(scores.values(), best, strict=True):
                close(score[row], gate[0])


def test_batch_equals_singles_and_permutes(case: Case) -> None:
    order = torch.tensor([2, 0, 1])
    methods = [
        NeuronMCT(case.model),
        NeuronIntGrad(case.model, steps=2),
        GreedyPruning(case.model, 0.95, 2),
        RandomPathway(case.model),
        DistillationGuidedRouting(case.model, steps=2),
        DistillationGuidedRouting(case.model, "random", steps=2),
    ]
    for method in methods:
        whole = method.score(case.inputs)
        permuted = method.score(case.inputs[order])
        singles = [method.score(x[None]) for x in case.inputs]
        for site, score in whole.items():
            if not isinstance(method, GreedyPruning):  # where rounding may exchange two neighbours
                close(permuted[site], score[order])
                close(torch.cat([single[site] for single in singles]), score)
        for sparsity in (0.5, 0.93):
            masks, alone = whole.select(sparsity), [single.select(sparsity) for single in singles]
            other = permuted.select(sparsity)
            for site, mask in masks.items():
                # Rounding may exchange neurons whose scores are equal but for it; no more than one in a thousand.
                assert float((other[site] != mask[order]).float().mean()) < 1e-3
                assert float((torch.cat([one[site] for one in alone]) != mask).float().mean()) < 1e-3


def test_random_pathways_take_the_same_share_of_each_site(case: Case) -> None:
    pathway = RandomPathway(case.model, seed=1).score(case.inputs).select(0.8)
    for mask in pathway.values():
        assert mask.flatten(1).sum(1).tolist() == [round(0.2 * mask[0].numel())] * 3
    assert float(pathway.zero_share.max()) == 0
    torch.testing.assert_close(pathway.dead_share(), pathway.natural_dead_share(), atol=0.06, rtol=0)
