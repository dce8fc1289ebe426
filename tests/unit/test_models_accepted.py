"""Pathways and recordings accept the same models, with the numbers of the plain model, and refuse others alike."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neucept
from neucept import InputError
from neucept.pathways import NeuronIntGrad, NeuronMCT, RandomPathway

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(deprecat|TorchScript|jit|nested tensors|quantiz|TypedStorage|kl_divergence).*",
    "ignore:These calls are no sites",
)


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


def inputs(n: int = 12) -> Tensor:
    return torch.randn(n, 9, generator=torch.Generator().manual_seed(1))


class Returning(nn.Module):
    """The plain network, which returns more than its logits."""

    def __init__(self, form: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.net, self.form = plain(), form

    def forward(self, x: Tensor) -> Any:
        return self.form(self.net(x))


class Buffers(nn.Module):
    """Weights that are buffers; no parameter at all."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        generator = torch.Generator().manual_seed(2)
        self.register_buffer("first", torch.randn(9, 8, generator=generator))
        self.register_buffer("last", torch.randn(8, 3, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x @ self.first) @ self.last


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.lstm, self.head = (
            nn.LSTM(9, 8, batch_first=True),
            nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


class Padded(nn.Module):
    """A transformer of torch, whose fast path makes nested tensors of padded texts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.embedding, self.head = nn.Embedding(50, 16, padding_idx=0), nn.Linear(16, 3)
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=True)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.encoder(self.embedding(ids), src_key_padding_mask=ids == 0)[:, 0])


class Raising(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = plain()

    def forward(self, x: Tensor) -> Tensor:
        raise ZeroDivisionError("broken inside")


class Merging(nn.Linear):
    """A layer with an adapter that is merged into the weight in evaluation mode, as LoRA layers are."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out)
        self.A, self.B, self.merged = nn.Parameter(torch.randn(2, n_in)), nn.Parameter(torch.randn(n_out, 2)), False

    def train(self, mode: bool = True) -> Merging:
        super().train(mode)
        if mode == self.merged:
            self.weight.data += (-1 if mode else 1) * self.B @ self.A
            self.merged = not mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.merged else super().forward(x) + x @ self.A.T @ self.B.T


def merging() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(Merging(9, 8), nn.ReLU(), nn.Linear(8, 3)).train()


def compiled() -> Any:
    model: Any = torch.compile(plain(), backend="eager")
    model(inputs())  # a compiled model does not call hooks that come later
    return model


def compiled_in_place() -> nn.Module:
    model = plain()
    model.compile(backend="eager")
    model(inputs())
    return model


def compiled_in_part() -> nn.Module:
    model: Any = plain()
    model[0] = torch.compile(model[0], backend="eager")
    model(inputs())
    return model  # type: ignore[no-any-return]


def of_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return plain()


def inference_inputs() -> Tensor:
    with torch.inference_mode():
        return inputs().clone()


def with_norm(norm: Callable[[nn.Module], nn.Module]) -> nn.Module:
    model = plain()
    model[0] = norm(model[0])
    return model.eval()


def texts() -> Tensor:
    ids = torch.randint(1, 50, (12, 10), generator=torch.Generator().manual_seed(6))
    for row in range(12):
        ids[row, 3 + row % 7 :] = 0
    return ids


IN_PARTS = torch.nn.utils.parametrizations
ACCEPTED: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any], str]] = {
    "plain": (plain, inputs, "1"),
    "frozen": (lambda: plain().requires_grad_(False), inputs, "1"),
    "compiled": (compiled, inputs, "1"),
    "compiled in place": (compiled_in_place, inputs, "1"),
    "compiled in part": (compiled_in_part, inputs, "1"),
    "weights of inference mode": (of_inference_mode, inputs, "1"),
    "inputs of inference mode": (plain, inference_inputs, "1"),
    "float16": (lambda: plain().half(), lambda: inputs().half(), "1"),
    "float16, single inputs": (lambda: plain().half(), inputs, "1"),
    "bfloat16": (lambda: plain().bfloat16(), lambda: inputs().bfloat16(), "1"),
    "float64": (lambda: plain().double(), lambda: inputs().double(), "1"),
    "single, float64 inputs": (plain, lambda: inputs().double(), "1"),
    "weight norm": (lambda: with_norm(IN_PARTS.weight_norm), inputs, "1"),
    "spectral norm": (lambda: with_norm(IN_PARTS.spectral_norm), inputs, "1"),
    "DataParallel": (lambda: nn.DataParallel(plain()), inputs, "module.1"),
    "buffers alone": (Buffers, inputs, "relu"),
    "a mapping": (lambda: Returning(lambda y: {"features": y[:, :1], "logits": y}), inputs, "net.1"),
    "a tuple": (lambda: Returning(lambda y: (y, y.mean(1))), inputs, "net.1"),
    "a list": (lambda: Returning(lambda y: [y]), inputs, "net.1"),
    "LSTM": (lambda: Recurrent().eval(), lambda: torch.randn(12, 5, 9), "head.1"),
    "padded transformer": (lambda: Padded().eval(), texts, "encoder.layers.1.linear1"),
    "padded transformer in training": (lambda: Padded().train(), texts, "encoder.layers.1.linear1"),
    "merging adapters": (merging, inputs, "1"),
}


def logits_of(returned: Any) -> Tensor:
    if isinstance(returned, dict):
        return returned["logits"]
    return returned if isinstance(returned, Tensor) else returned[0]


@pytest.mark.filterwarnings("ignore:The model returns a tuple")
@pytest.mark.parametrize("inside", [False, True], ids=["", "inside inference mode"])
@pytest.mark.parametrize("name", list(ACCEPTED))
def test_accepted_models_give_their_own_numbers(name: str, inside: bool) -> None:
    make, give, layer = ACCEPTED[name]
    model, data = make(), give()
    modes = [module.training for module in model.modules()]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    oracle = copy.deepcopy(model).eval()
    kinds = {parameter.dtype for parameter in oracle.parameters()}
    cast = data.to(kinds.pop()) if data.is_floating_point() and kinds else data
    with torch.no_grad():
        expected = logits_of(oracle(cast)).float()
    with torch.inference_mode(inside):
        scores = NeuronMCT(model).score(data)
        integrated = NeuronIntGrad(model, steps=2).score(data)
        chance = RandomPathway(model).score(data)
        whole = scores.select(0).response(model, data)
        recording = neucept.record(model, data, [layer], progress=False)
    close = {"rtol": 1e-2, "atol": 1e-2} if "16" in name else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(whole.logits.float(), expected, **close)
    torch.testing.assert_close(torch.from_numpy(recording.logits), expected, **close)
    for result in (scores, integrated, chance):
        assert torch.equal(result.predictions, expected.argmax(1))
        torch.testing.assert_close(result.response.float(), expected.amax(1), **close)
    assert list(scores) == list(integrated) == list(chance)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("name", ["compiled", "compiled in place", "weights of inference mode", "DataParallel"])
def test_scores_are_those_of_the_plain_network(name: str) -> None:
    expected = NeuronMCT(plain()).score(inputs())["1"]
    (score,) = NeuronMCT(ACCEPTED[name][0]()).score(inputs()).values()
    assert torch.equal(score, expected)


def test_padding_is_seen_by_scores() -> None:
    """Scores of a text do not depend on how far the batch pads it."""
    model, ids = Padded().eval(), texts()
    row = NeuronMCT(model).score(ids[:1, :5])
    (site, *_) = row
    padded = NeuronMCT(model).score(ids)
    torch.testing.assert_close(padded[site][:1, :3], row[site][:, :3], rtol=1e-4, atol=1e-6)


def test_weights_of_inference_mode_are_the_same_afterwards() -> None:
    model = of_inference_mode()
    held = list(model.parameters())
    NeuronMCT(model).score(inputs())
    assert all(now is then for now, then in zip(model.parameters(), held, strict=True))


REFUSED: dict[str, tuple[Callable[[], Any], Callable[[], Any], str]] = {
    "scripted": (lambda: torch.jit.script(plain()), inputs, "is a scripted or traced module"),
    "traced": (lambda: torch.jit.trace(plain(), inputs()), inputs, "is a scripted or traced module"),
    "scripted in part": (
        lambda: nn.Sequential(torch.jit.script(plain()[:1]), nn.ReLU(), nn.Linear(8, 3)),
        inputs,
        "'0' is a scripted or traced module",
    ),
    "exported": (lambda: torch.export.export(plain(), (inputs(),)).module(), inputs, "evaluation mode"),
    "meta device": (lambda: plain().to("meta"), inputs, "on the meta device"),
    "without values": (lambda: nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 3)), inputs, "not initialised"),
    "raising": (Raising, inputs, "ZeroDivisionError: broken inside"),
    "other width": (plain, lambda: torch.randn(12, 7), "does not take inputs of shape and type"),
    "whole numbers": (plain, lambda: torch.ones(12, 9, dtype=torch.long), "does not take inputs of shape and type"),
    "complex": (lambda: plain().to(torch.complex64), lambda: inputs().to(torch.complex64), "does not take inputs"),
    "nested inputs": (plain, lambda: torch.nested.nested_tensor([torch.randn(3, 9)]), "nested"),
    "sparse inputs": (plain, lambda: inputs().to_sparse(), "sparse"),
    "a function": (lambda: torch.relu, inputs, "expected a torch.nn.Module"),
    "a class": (lambda: nn.ReLU, inputs, "expected a torch.nn.Module"),
    "a name": (lambda: "resnet18", inputs, "expected a torch.nn.Module"),
    "nothing": (lambda: None, inputs, "expected a torch.nn.Module"),
}


class Guarded(nn.Module):
    """The plain network behind a guard that switches gradients off."""

    def __init__(self, guard: Any) -> None:
        super().__init__()
        self.net, self.guard = plain(), guard

    def forward(self, x: Tensor) -> Tensor:
        with self.guard():
            return self.net(x)


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_models_without_gradients_are_recorded_and_have_random_pathways_alone(guard: Any) -> None:
    model, expected = Guarded(guard).eval(), plain()(inputs()).detach()
    recording = neucept.record(model, inputs(), ["net.1"], progress=False)
    torch.testing.assert_close(torch.from_numpy(recording.logits), expected)
    assert torch.equal(RandomPathway(model).score(inputs()).predictions, expected.argmax(1))
    for method in (NeuronMCT(model), NeuronIntGrad(model, steps=2)):
        with pytest.raises(InputError, match=r"No gradient reaches the site 'net\.1'"):
            method.score(inputs())


@pytest.mark.parametrize("name", list(REFUSED))
def test_refused_models_are_refused_alike(name: str) -> None:
    make, give, said = REFUSED[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, data = make(), give()
        layer = {"raising": "net.1", "exported": "0"}.get(name, "1")
        with pytest.raises(InputError, match=said) as of_pathways:
            NeuronMCT(model).score(data)
        with pytest.raises(InputError, match=said) as of_recording:
            neucept.record(model, data, [layer], progress=False)
    first, second = str(of_pathways.value), str(of_recording.value)
    assert first.split(":")[0] == second.split(":")[0]  # details such as the number of rows may differ


def test_quantised_models_are_recorded_and_have_random_pathways_alone() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.ao.quantization.quantize_dynamic(plain(), {nn.Linear}, dtype=torch.qint8)
        recording = neucept.record(model, inputs(), ["1"], progress=False)
    with torch.no_grad():
        expected = model(inputs())
    torch.testing.assert_close(torch.from_numpy(recording.logits), expected)
    assert torch.equal(RandomPathway(model).score(inputs()).predictions, expected.argmax(1))
    with pytest.raises(InputError, match=r"'0' is a quantised layer.*before quantisation"):
        NeuronMCT(model).score(inputs())
