"""What is recorded equals what plain hooks, one input at a time, would see; and the model is left as it was found."""

from __future__ import annotations

import copy
import tracemalloc
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from neucept import InputError, Recording, record
from neucept.recording import Channels, Encoder, MultiLabel, list_layers
from neucept.recording.outputs import recorded_output

# ---- the oracle -----------------------------------------------------------------------------------------------------


def slowly(model: nn.Module, inputs: list[Any], layer: str, reduce: Callable[[Tensor], Tensor]) -> list[np.ndarray]:
    """Neurons of each call of a module, (n, k): one input at a time, cloned at once, reduced in float64."""
    module = dict(model.named_modules(remove_duplicate=False))[layer]
    model = model.eval()
    rows: list[list[np.ndarray]] = []
    for one in inputs:
        calls: list[Tensor] = []

        def hook(module: nn.Module, given: Any, returned: Any, calls: list[Tensor] = calls) -> None:
            while not isinstance(returned, Tensor):
                returned = next(iter(returned.values() if isinstance(returned, dict) else returned))
            calls.append(returned.detach().clone().double())

        handle = module.register_forward_hook(hook)
        with torch.no_grad():
            model(**one) if isinstance(one, dict) else model(*one) if isinstance(one, tuple) else model(one)
        handle.remove()
        rows.append([reduce(call[0]).reshape(-1).numpy() for call in calls])
    return [np.stack([row[call] for row in rows]) for call in range(len(rows[0]))]


def singles(inputs: Tensor) -> list[Tensor]:
    return [inputs[i : i + 1] for i in range(len(inputs))]


def space_mean(x: Tensor) -> Tensor:
    return x.flatten(1).mean(1)


def agrees(recorded: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    assert recorded.dtype == np.float32
    assert recorded.shape == expected.shape
    np.testing.assert_allclose(recorded, expected, rtol=tolerance, atol=tolerance)


def hooks_of(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


# ---- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 4, 11, 256])
def test_all_layers_of_a_cnn_equal_the_oracle(cnn: nn.Module, images: Tensor, batch_size: int) -> None:
    layers = ["0", "1", "2", "3", "4", "5", "6"]
    recording = record(cnn, images, layers, batch_size=batch_size)
    assert recording.layers == tuple(layers)
    for layer in ["0", "1", "2", "3", "4"]:
        agrees(recording.activations(layer), slowly(cnn, singles(images), layer, space_mean)[0])
    for layer in ["5", "6"]:
        agrees(recording.activations(layer), slowly(cnn, singles(images), layer, torch.flatten)[0])
    with torch.no_grad():
        np.testing.assert_allclose(recording.logits, cnn.eval()(images).numpy(), rtol=1e-5, atol=1e-6)
    assert (recording.predictions == recording.logits.argmax(1)).all()
    assert recording.labels is None


def test_a_module_before_an_inplace_one_keeps_its_own_values(cnn: nn.Module, images: Tensor) -> None:
    recording = record(cnn, images, ["1", "2"], neurons="element")
    before, after = recording.activations("1"), recording.activations("2")
    assert before.min() < -0.1  # the ReLU that follows in place would have made it zero
    np.testing.assert_array_equal(after, np.maximum(before, 0))


def test_poolings_of_one_layer(cnn: nn.Module, images: Tensor) -> None:
    ways: dict[str, Any] = {"0": "element", "3": lambda x: x.amax(dim=(2, 3)), "6": "channel"}
    recording = record(cnn, images, ["0", "2", "3", "6"], neurons=ways)
    agrees(recording.activations("0"), slowly(cnn, singles(images), "0", torch.flatten)[0])
    agrees(recording.activations("2"), slowly(cnn, singles(images), "2", space_mean)[0])
    agrees(recording.activations("3"), slowly(cnn, singles(images), "3", lambda x: x.amax((1, 2)))[0])
    agrees(recording.activations("6"), slowly(cnn, singles(images), "6", torch.flatten)[0])
    assert recording.pooling == {"0": "element", "2": "channel", "3": "callable", "6": "channel"}
    assert recording.units["2"] == Channels(axis=1)


def test_a_callable_that_returns_a_view_is_copied(images: Tensor) -> None:
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 2))
    recording = record(network, images, ["0"], neurons=lambda x: x[:, :, 0, 0])
    agrees(recording.activations("0"), slowly(network, singles(images), "0", lambda x: x[:, 0, 0])[0])
    assert recording.activations("0").min() < 0


class Reused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.out = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.relu = nn.ReLU(inplace=True)
        self.alias = self.relu

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        return self.out(self.alias(self.second(x)))


def test_a_module_called_twice_gives_a_layer_a_call() -> None:
    torch.manual_seed(0)
    model, inputs = Reused(), torch.randn(9, 5)
    expected = slowly(model, singles(inputs), "relu", torch.flatten)
    recording = record(model, inputs, ["relu", "second"], batch_size=4)
    assert recording.layers == ("relu#0", "relu#1", "second")
    for call in (0, 1):
        agrees(recording.activations(f"relu#{call}"), expected[call])
    with pytest.raises(InputError, match="was called 2 times: choose among relu#0, relu#1"):
        recording.activations("relu")

    one = record(model, inputs, ["relu#1"])
    assert one.layers == ("relu#1",)
    agrees(one.activations("relu#1"), expected[1])
    with pytest.raises(
        InputError, match=r"'relu#2' was never called .* 'relu' was called 2 times, 'relu#0' to 'relu#1'"
    ):
        record(model, inputs, ["relu#2"])


def test_calls_keep_the_pooling_that_was_asked_of_their_module() -> None:
    model, inputs = Reused(), torch.randn(9, 5)
    assert record(model, inputs, ["relu"], neurons="element").pooling == {"relu#0": "element", "relu#1": "element"}
    assert record(model, inputs, ["relu"], neurons=lambda x: x[:, :2]).pooling["relu#1"] == "callable"


def test_a_module_under_two_names_is_recorded_under_both() -> None:
    torch.manual_seed(0)
    model, inputs = Reused(), torch.randn(9, 5)
    recording = record(model, inputs, ["relu", "alias"])
    assert recording.layers == ("relu#0", "relu#1", "alias#0", "alias#1")
    for call in (0, 1):
        np.testing.assert_array_equal(recording.activations(f"relu#{call}"), recording.activations(f"alias#{call}"))


class Wrapped(nn.Module):
    """A linear layer inside a module that returns what ``wrap`` makes of its output."""

    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.inner = nn.Module()
        self.inner.linear = nn.Linear(5, 4)
        self.inner.forward = lambda x: wrap(self.inner.linear(x))  # type: ignore[method-assign]
        self.out = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.inner(x)
        return self.out(x)


Pair = namedtuple("Pair", ["first", "second"])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: (x, x + 1),
        lambda x: [x, None],
        lambda x: {"hidden": x, "other": x + 1},
        lambda x: Pair(x, x + 1),
        lambda x: (None, (x, 3)),
    ],
    ids=["tuple", "list", "dict", "namedtuple", "nested"],
)
def test_the_first_tensor_of_what_a_module_returns(wrap: Callable[[Tensor], Any]) -> None:
    torch.manual_seed(0)
    model, inputs = Wrapped(wrap), torch.randn(7, 5)
    recording = record(model, inputs, ["inner"])
    agrees(recording.activations("inner"), slowly(model, singles(inputs), "inner.linear", torch.flatten)[0])


def test_a_module_that_returns_no_tensor_is_an_error() -> None:
    with pytest.raises(InputError, match="Layer 'inner' returns no tensor in a str; record a module inside it"):
        record(Wrapped(lambda x: "none"), torch.randn(3, 5), ["inner"])


class Tokens(nn.Module):
    """A small vision transformer: patches, a class token, two encoder layers."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(2, 8, 2, stride=2)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(encoder, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], dim=1)
        return self.head(self.norm(self.encoder(tokens))[:, 0])


def test_tokens_are_averaged_to_channels(images: Tensor) -> None:
    torch.manual_seed(0)
    model = Tokens()
    layers = ["patches", "encoder.layers.0", "encoder.layers.1.linear1", "encoder.layers.1.self_attn", "norm", "head"]
    recording = record(model, images, layers, batch_size=3)
    agrees(recording.activations("patches"), slowly(model, singles(images), "patches", space_mean)[0])
    for layer in layers[1:-1]:
        agrees(recording.activations(layer), slowly(model, singles(images), layer, lambda x: x.mean(0))[0], 1e-4)
    assert recording.activations("encoder.layers.1.linear1").shape == (11, 16)


@pytest.mark.parametrize(
    "module",
    [nn.Identity(), nn.BatchNorm1d(6), nn.MaxPool1d(2), nn.AdaptiveMaxPool1d(3)],
    ids=lambda m: type(m).__name__,
)
def test_channels_of_a_convolution_in_one_dimension(module: nn.Module) -> None:
    model = nn.Sequential(nn.Conv1d(2, 6, 3), module, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, 2))
    inputs = torch.randn(7, 2, 14)
    layers = ["0", "1"] if not isinstance(module, nn.Identity) else ["0"]
    recording = record(model, inputs, layers)
    for layer in layers:
        agrees(recording.activations(layer), slowly(model, singles(inputs), layer, lambda x: x.mean(1))[0])


class LayerNorm2d(nn.LayerNorm):
    """As in ConvNeXt: channels are normalised, and stay the second axis."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def test_the_channels_of_a_layer_norm_over_maps() -> None:
    model = nn.Sequential(nn.Conv2d(2, 6, 3), LayerNorm2d(6), nn.Flatten(), nn.Linear(96, 2))
    inputs = torch.randn(7, 2, 6, 6)
    recording = record(model, inputs, ["1"])
    agrees(recording.activations("1"), slowly(model, singles(inputs), "1", space_mean)[0])


def test_the_input_is_a_layer(cnn: nn.Module, images: Tensor) -> None:
    recording = record(cnn, images, ["input", "6"])
    agrees(recording.activations("input"), images.mean((2, 3)).double().numpy())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_give_float32(mlp: nn.Module, dtype: torch.dtype) -> None:
    inputs = torch.randn(9, 5).to(dtype)
    recording = record(mlp.to(dtype), inputs, ["1", "4"])
    agrees(recording.activations("1"), slowly(mlp, singles(inputs), "1", torch.flatten)[0], 2e-2)
    assert recording.logits.dtype == np.float32


# ---- data -----------------------------------------------------------------------------------------------------------


class Stream(IterableDataset[Any]):
    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __iter__(self) -> Iterator[Any]:
        yield from zip(self.x, self.y.tolist(), strict=True)


class Items(Dataset[Any]):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Any:
        return self.items[i]


X = torch.randn(13, 5, generator=torch.Generator().manual_seed(5))
Y = torch.arange(13) % 3
SOURCES: dict[str, Any] = {
    "tensor": X,
    "array": X.numpy(),
    "pair of tensors": (X, Y),
    "pair of arrays": (X.numpy(), Y.numpy().astype(np.uint8)),
    "pair with whole floats": (X, Y.double()),
    "dataset": TensorDataset(X),
    "labelled dataset": TensorDataset(X, Y),
    "labels as numbers": Items([(x, int(y)) for x, y in zip(X, Y, strict=True)]),
    "labels of shape (1,)": Items([(x, y[None]) for x, y in zip(X, Y, strict=True)]),
    "list of inputs": list(X),
    "loader": DataLoader(TensorDataset(X, Y), batch_size=3),
    "loader without labels": DataLoader(list(X), batch_size=3),  # type: ignore[arg-type]
    "stream": DataLoader(Stream(X, Y), batch_size=3),
}


@pytest.mark.parametrize("name", SOURCES)
def test_data_of_any_kind(mlp: nn.Module, name: str) -> None:
    source = SOURCES[name]
    labelled = (
        any(word in name for word in ("pair", "labelled", "labels as", "labels of", "stream")) or name == "loader"
    )
    recording = record(mlp, source, ["1"], batch_size=4)
    np.testing.assert_allclose(recording.activations("1"), record(mlp, X, ["1"]).activations("1"), rtol=1e-5, atol=1e-6)
    if labelled:
        assert recording.labels is not None and recording.labels.dtype == np.int64
        np.testing.assert_array_equal(recording.labels, Y.numpy())
    else:
        assert recording.labels is None


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(5, 4), nn.Linear(2, 4)
        self.out = nn.Linear(4, 3)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.out(torch.relu(self.left(left) + self.right(right)))


RIGHT = torch.randn(13, 2, generator=torch.Generator().manual_seed(6))
TWO: dict[str, tuple[Any, bool]] = {
    "dicts": (Items([{"left": a, "right": b} for a, b in zip(X, RIGHT, strict=True)]), False),
    "dicts with labels": (
        Items([({"left": a, "right": b}, int(y)) for a, b, y in zip(X, RIGHT, Y, strict=True)]),
        True,
    ),
    "tuples": (TensorDataset(X, RIGHT), False),
    "tuples with labels": (Items([((a, b), int(y)) for a, b, y in zip(X, RIGHT, Y, strict=True)]), True),
    "a dict of tensors": ({"left": X, "right": RIGHT}, False),
    "a dict of tensors with labels": (({"left": X, "right": RIGHT}, Y), True),
    "a tuple of tensors": ((X, RIGHT), False),
}


@pytest.mark.parametrize("name", TWO)
def test_inputs_of_two_parts(name: str) -> None:
    torch.manual_seed(0)
    model = Two()
    source, labelled = TWO[name]
    recording = record(model, source, ["out", "right"], batch_size=4)
    one_by_one = [(X[i : i + 1], RIGHT[i : i + 1]) for i in range(13)]
    agrees(recording.activations("out"), slowly(model, one_by_one, "out", torch.flatten)[0])
    agrees(recording.activations("right"), slowly(model, one_by_one, "right", torch.flatten)[0])
    assert (recording.labels is not None) == labelled
    if labelled:
        np.testing.assert_array_equal(recording.labels, Y.numpy())


def test_a_loader_that_drops_or_samples_gives_what_it_gives(mlp: nn.Module) -> None:
    assert len(record(mlp, DataLoader(TensorDataset(X, Y), batch_size=5, drop_last=True), ["1"])) == 10
    some = DataLoader(TensorDataset(X, Y), batch_size=5, sampler=[3, 1, 3, 12, 0, 0])  # type: ignore[arg-type]
    recording = record(mlp, some, ["1"])
    assert recording.labels is not None
    np.testing.assert_array_equal(recording.labels, Y[[3, 1, 3, 12, 0, 0]].numpy())


def test_a_loader_that_shuffles_is_warned_of(mlp: nn.Module) -> None:
    with pytest.warns(UserWarning, match="The DataLoader shuffles"):
        record(mlp, DataLoader(TensorDataset(X, Y), batch_size=5, shuffle=True), ["1"])


def test_class_names(mlp: nn.Module) -> None:
    data = TensorDataset(X, Y)
    assert record(mlp, data, ["1"]).class_names == ("0", "1", "2")
    assert record(mlp, data, ["1"], class_names=["a", "b", "c"]).class_names == ("a", "b", "c")
    data.classes = ["cat", "dog", "owl"]  # type: ignore[attr-defined]  # as torchvision's data sets have
    assert record(mlp, data, ["1"]).class_names == ("cat", "dog", "owl")
    assert record(mlp, DataLoader(data, batch_size=4), ["1"]).class_names == ("cat", "dog", "owl")
    data.classes = ["ten"] * 10  # type: ignore[attr-defined]  # other classes than the model's are of no use
    assert record(mlp, data, ["1"]).class_names == ("0", "1", "2")


# ---- logits ---------------------------------------------------------------------------------------------------------


class Returns(nn.Module):
    def __init__(self, wrap: Callable[[Tensor], Any], classes: int = 3) -> None:
        super().__init__()
        self.linear, self.wrap = nn.Linear(5, classes), wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(self.linear(x))


@pytest.mark.parametrize(
    ("wrap", "output"),
    [
        (lambda z: (z, z.sum()), None),
        (lambda z: {"loss": z.sum(), "logits": z}, None),
        (lambda z: SimpleNamespace(loss=z.sum(), logits=z), None),
        (lambda z: SimpleNamespace(scores=z), "scores"),
        (lambda z: {"scores": z, "logits": z + 1}, "scores"),
        (lambda z: (z + 1, z), 1),
        (lambda z: (z + 1, z), -1),
        (lambda z: [{"boxes": z + 1}, {"scores": z}], lambda r: r[1]["scores"]),
    ],
    ids=["first", "dict", "object", "attribute", "key", "position", "last", "callable"],
)
def test_logits_are_found(wrap: Callable[[Tensor], Any], output: Any) -> None:
    model = Returns(wrap)
    with torch.no_grad():
        expected = model.linear(X).numpy()
    np.testing.assert_allclose(record(model, X, ["linear"], output=output).logits, expected, rtol=1e-5, atol=1e-6)


def test_a_guess_among_several_outputs_is_said(recwarn: pytest.WarningsRecorder) -> None:
    for wrap, output in (
        (lambda z: z, None),
        (lambda z: (z,), None),
        (lambda z: (z + 1, z), 1),
        (lambda z: {"logits": z, "loss": z.sum()}, None),
    ):
        record(Returns(wrap), X, ["linear"], output=output)
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"returns a tuple of tensors of shape \(3,\), \(\) for one input; the first"):
        record(Returns(lambda z: (z, z.sum(1))), X, ["linear"])


def test_the_way_to_the_logits_is_kept() -> None:
    for output in ("scores", 1, -1, None):
        recording = record(Returns(lambda z: z), X, ["linear"])
        facts = {**recording.facts, "output": "" if output is None else repr(output)}
        assert recorded_output(facts) == output and recorded_output(facts, "other") == "other"
    wrapped = record(Returns(lambda z: {"scores": z}), X, ["linear"], output=lambda r: r["scores"])
    with pytest.raises(InputError, match=r"The logits were recorded with output=<function .*give the same again"):
        recorded_output(wrapped.facts)


@pytest.mark.parametrize("wrap", [lambda z: z, lambda z: z.squeeze(1)], ids=["column", "vector"])
def test_a_single_logit_becomes_two_classes(wrap: Callable[[Tensor], Any]) -> None:
    model = Returns(wrap, classes=1)
    recording = record(model, X, ["linear"], batch_size=4)
    assert recording.logits.shape == (13, 2) and recording.class_names == ("0", "1")
    with torch.no_grad():
        z = model.linear(X)[:, 0]
    two = torch.softmax(torch.from_numpy(recording.logits), dim=1)[:, 1]
    torch.testing.assert_close(two, torch.sigmoid(z))
    np.testing.assert_array_equal(recording.predictions, (z > 0).long().numpy())


@pytest.mark.parametrize(
    ("wrap", "output", "message"),
    [
        (lambda z: {"scores": z}, "score", r"No logits found by output='score' .*\['scores'\]"),
        (lambda z: (z,), 3, "No logits found by output=3"),
        (lambda z: z[:, :, None], None, r"must be \(batch, classes\).*shape \(1, 3, 1\)"),
        (lambda z: z, lambda r: "no", "must be .*gave str"),
        (lambda z: {"text": "no"}, None, "No logits found"),
    ],
    ids=["key", "position", "axes", "type", "none"],
)
def test_logits_that_cannot_be_found(wrap: Callable[[Tensor], Any], output: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        record(Returns(wrap), X, ["linear"], output=output)


# ---- left as found --------------------------------------------------------------------------------------------------


class Breaks(nn.Module):
    """Raises, or gives NaN, from the second batch on."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.calls = how, 0  # batches; those of three inputs or fewer only find out about axes

    def forward(self, x: Tensor) -> Tensor:
        self.calls += len(x) > 3
        if self.calls > 1 and self.how == "error":
            raise RuntimeError("the network broke")
        return torch.where(torch.arange(x.shape[1]) == 2, torch.nan, x) if self.calls > 1 and self.how == "nan" else x


def broken(how: str) -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), Breaks(how), nn.Linear(8, 3))
    network.train()
    network[1].eval()  # modes that differ from part to part
    return network


@pytest.mark.parametrize("how", ["well", "error", "nan", "never called"])
def test_the_model_is_left_as_it_was_found(how: str, global_random: Callable[[], tuple[bytes, bytes]]) -> None:
    model = broken(how)
    model[4].bias.requires_grad_(False)
    model[0].weight.grad = torch.ones_like(model[0].weight)
    own = model[3].register_forward_hook(lambda *given: None)
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    identities = [id(parameter) for parameter in model.parameters()]
    model.register_module("unused", nn.Linear(2, 2)) if how == "never called" else None
    if how == "never called":
        model.forward = lambda x: nn.Sequential.forward(model[:5], x)  # type: ignore[method-assign]
        modes = [module.training for module in model.modules()]
        before = copy.deepcopy(model.state_dict())
        identities = [id(parameter) for parameter in model.parameters()]
    random = global_random()

    layers = ["1", "3", "input"] + (["unused"] if how == "never called" else [])
    if how == "well":
        record(model, TensorDataset(X, Y), layers, batch_size=5)
    else:
        with pytest.raises(RuntimeError if how == "error" else InputError):
            record(model, TensorDataset(X, Y), layers, batch_size=5)

    assert [module.training for module in model.modules()] == modes
    assert hooks_of(model) == 1  # the user's own
    own.remove()
    assert [id(parameter) for parameter in model.parameters()] == identities
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [p.requires_grad for p in model[:5].parameters()] == [True] * 5 + [False]
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
    assert all(p.grad is None for p in list(model.parameters())[1:])
    assert torch.is_grad_enabled()
    assert global_random() == random


def test_only_what_is_pooled_is_held() -> None:
    """The maps of all batches would be 16 times the limit asked here, the neurons are a 64th of the maps."""
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2)
    )
    alive: list[Any] = []

    def spy(module: nn.Module, given: Any, returned: Tensor) -> None:
        import weakref

        alive.append(weakref.ref(returned))

    handle = model[0].register_forward_hook(spy)
    held: list[int] = []
    handle2 = model[4].register_forward_hook(lambda *given: held.append(sum(r() is not None for r in alive)))
    record(model, torch.rand(64, 1, 16, 16), ["0", "1"], batch_size=4)
    handle.remove(), handle2.remove()
    assert len(held) == 16 + 3 and max(held) <= 2  # of the map tensors of all batches, that of this one


def test_memory_of_arrays_is_that_of_the_neurons() -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 1), nn.Flatten(), nn.Linear(8 * 64, 2))
    inputs = torch.rand(4096, 1, 8, 8)
    record(model, inputs[:256], ["0"])
    tracemalloc.start()
    recording = record(model, inputs, ["0"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    neurons = recording.activations("0").nbytes + recording.logits.nbytes
    assert neurons < peak < 3 * neurons  # the maps are 64 times the neurons


# ---- stores, saving and opening -------------------------------------------------------------------------------------


@pytest.mark.parametrize("relative", [False, True])
def test_a_store_holds_what_memory_would(
    mlp: nn.Module, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    x, y = torch.randn(3000, 5), torch.arange(3000) % 3
    here = "recorded" if relative else tmp_path / "recorded"
    in_memory = record(mlp, (x, y), ["1", "3"], class_names=["a", "b", "c"])
    on_disk = record(mlp, (x, y), ["1", "3"], class_names=["a", "b", "c"], store=here)
    assert isinstance(on_disk.activations("1"), np.memmap)
    for recording in (on_disk, Recording.open(tmp_path / "recorded")):
        assert recording.layers == in_memory.layers and recording.class_names == ("a", "b", "c")
        assert recording.pooling == in_memory.pooling
        for layer in in_memory.layers:
            np.testing.assert_array_equal(recording.activations(layer), in_memory.activations(layer))
        np.testing.assert_array_equal(recording.logits, in_memory.logits)
        np.testing.assert_array_equal(recording.labels, y.numpy())
    assert [p.name for p in tmp_path.iterdir()] == ["recorded"]


@pytest.mark.parametrize("task", ["classes", "binary", "multi-label", "regression"])
def test_a_store_holds_the_outputs_of_every_task(task: str, tmp_path: Any) -> None:
    """What is not converted is a view of the file: writing it over would leave zeros."""
    model, x = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 1 if task == "binary" else 2)), torch.randn(60, 6)
    y = torch.rand(60) if task == "regression" else torch.randint(2, (60, 2) if task == "multi-label" else (60,))
    held = record(model, (x, y), ["1"], task=task)
    stored = record(model, (x, y), ["1"], task=task, store=tmp_path / "recorded")
    for found in (stored, Recording.open(tmp_path / "recorded")):
        assert np.array_equal(found.logits, held.logits) and held.logits.any()
        assert np.array_equal(found.activations("1"), held.activations("1"))


def test_a_store_behind_a_link(mlp: nn.Module, tmp_path: Any) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    x = torch.randn(3000, 5)
    on_disk = record(mlp, x, ["1"], store=tmp_path / "link" / "recorded")
    np.testing.assert_array_equal(on_disk.activations("1"), record(mlp, x, ["1"]).activations("1"))


@pytest.mark.parametrize("how", ["error", "nan"])
def test_a_failure_leaves_nothing_of_a_store(how: str, tmp_path: Any) -> None:
    with pytest.raises((RuntimeError, InputError)):
        record(broken(how), X, ["1"], batch_size=5, store=tmp_path / "recorded")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_the_older_store(mlp: nn.Module, tmp_path: Any) -> None:
    record(mlp, X, ["1"], store=tmp_path / "recorded")
    with pytest.raises(RuntimeError):
        record(broken("error"), X, ["1"], batch_size=5, store=tmp_path / "recorded")
    assert len(Recording.open(tmp_path / "recorded")) == 13
    assert len(list(tmp_path.iterdir())) == 1
    record(mlp, X[:4], ["1"], store=tmp_path / "recorded")
    assert len(Recording.open(tmp_path / "recorded")) == 4


@pytest.mark.parametrize("labelled", [False, True])
def test_save_and_open(cnn: nn.Module, images: Tensor, tmp_path: Any, labelled: bool) -> None:
    data = (images, torch.arange(11) % 3) if labelled else images
    recording = record(cnn, data, ["0", "5"], class_names=["a", "b", "c"])
    opened = Recording.open(recording.save(tmp_path / "saved"))
    assert (opened.layers, opened.class_names, opened.pooling) == (("0", "5"), ("a", "b", "c"), recording.pooling)
    assert opened.facts == recording.facts
    for layer in recording.layers:
        np.testing.assert_array_equal(opened.activations(layer), recording.activations(layer))
    np.testing.assert_array_equal(opened.logits, recording.logits)
    if labelled:
        np.testing.assert_array_equal(opened.labels, recording.labels)
    else:
        assert opened.labels is None
    again = Recording.open(opened.save(tmp_path / "saved"))  # over itself
    np.testing.assert_array_equal(again.activations("0"), recording.activations("0"))


# ---- errors ---------------------------------------------------------------------------------------------------------


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features, self.classifier, self.spare = nn.Linear(5, 4), nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.relu(self.features(x)))


class Counting(Unused):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ["clasifier"]}, "no module 'clasifier'. Did you mean 'classifier'?"),
        ({"layers": ["features.relu"]}, "no module 'features.relu'. Did you mean 'features'?"),
        ({"layers": []}, "No layers were asked for"),
        ({"layers": "features"}, r"layers='features': expected a list of names, such as \['features'\]"),
        ({"layers": ["features", "features"]}, "the same name is listed twice"),
        ({"neurons": "pixels"}, "neurons='pixels' for layer 'features': expected one of 'auto', 'channel', 'element'"),
        (
            {"neurons": {"feature": "element"}},
            "neurons= names 'feature', which is not recorded. Did you mean 'features'",
        ),
        ({"batch_size": 0}, "batch_size=0: expected a whole number, 1 or more"),
        ({"data": X[:0]}, "The data holds no inputs"),
        ({"data": 7}, "data is a int; expected a tensor"),
        ({"data": (X, Y[:5])}, "13 inputs but 5 labels"),
        ({"data": {"x": X, "y": X[:2]}}, "differ in length: 2, 13"),
    ],
)
def test_bad_input_is_refused_before_any_work(options: dict[str, Any], message: str) -> None:
    model = Counting()
    arguments: dict[str, Any] = {"data": X, "layers": ["features"]} | options
    with pytest.raises(InputError, match=message):
        record(model, **arguments)
    assert model.calls == 0 and hooks_of(model) == 0


def test_what_does_not_fit_the_outputs_is_refused_in_the_first_batch() -> None:
    model = Counting()
    with pytest.raises(InputError, match="labels are not whole numbers but the model has 3 outputs"):
        record(model, (X, Y + 0.5), ["features"])
    assert model.calls == 1
    model = Counting()
    with pytest.raises(InputError, match="2 class names were given, but the model has 3 outputs"):
        record(model, X, ["features"], class_names=["a", "b"], batch_size=1)
    assert model.calls == 1


def test_a_layer_never_called() -> None:
    model = Unused()
    with pytest.raises(
        InputError, match=r"Layer 'spare' was never called .*Record a module that the forward pass uses"
    ):
        record(model, X, ["features", "spare"])
    assert hooks_of(model) == 0


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_values_that_are_not_finite_name_layer_neuron_and_input(mlp: nn.Module, value: str) -> None:
    with torch.no_grad():  # input 7 alone reaches neuron 3 of the second layer with 1e30 squared
        mlp[2].weight[3] = 0
        mlp[2].weight[3, 0] = float("1e38") if value == "inf" else 1
        mlp[0].weight[0] = torch.tensor([1.0, 0, 0, 0, 0])
    inputs = torch.rand(11, 5) * 1e-3
    inputs[7, 0] = 1e20 if value == "inf" else torch.nan
    layer, neuron = ("2", 3) if value == "inf" else ("0", 0)
    with pytest.raises(InputError, match=f"neuron {neuron} of layer '{layer}' is {value} at input 7"):
        record(mlp, inputs, [layer], batch_size=4)


def test_large_finite_values_are_no_error(mlp: nn.Module) -> None:
    """Their sum overflows float32, each of them does not."""
    recording = record(mlp, X, ["1"], neurons=lambda x: torch.full((len(x), 4), 3e38))
    assert np.isfinite(recording.activations("1")).all()


def test_logits_that_are_not_finite_are_named() -> None:
    model = Returns(lambda z: z / 0)
    with pytest.raises(InputError, match=r"The value of logit 0 is -?inf at input 0"):
        record(model, X, ["linear"])


@pytest.mark.parametrize(
    ("neurons", "got"),
    [
        (lambda x: x[:, :, None], r"shape \(4, 8, 1\)"),
        (lambda x: x[0:1], r"shape \(1, 8\)"),
        (lambda x: 3, "int"),
    ],
    ids=["three axes", "fewer rows", "no tensor"],
)
def test_a_callable_must_give_rows_of_neurons(mlp: nn.Module, neurons: Any, got: str) -> None:
    with pytest.raises(
        InputError, match=rf"Layer '1': The function for the neurons must map \(4, 8\) to \(4, k\); it gave {got}"
    ):
        record(mlp, X, ["1"], neurons=neurons, batch_size=4)


def test_a_layer_whose_first_axis_is_not_the_batch() -> None:
    model = nn.Sequential(
        nn.Unflatten(1, (5, 1)), nn.Flatten(0, 1), nn.Unflatten(0, (-1, 5)), nn.Flatten(), nn.Linear(5, 2)
    )
    with pytest.raises(
        InputError, match=r"Layer '1' does not give one row per input: for three inputs .*\(15, 1\), for two \(10, 1\)"
    ):
        record(model, X, ["1"])


def test_a_store_needs_a_place_and_a_length(mlp: nn.Module, tmp_path: Any) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="exists and is no saved Recording; choose another path"):
        record(mlp, X, ["1"], store=tmp_path / "file")
    with pytest.raises(InputError, match=r"Cannot write to .*Choose a folder that is writable"):
        record(mlp, X, ["1"], store=tmp_path / "file" / "below")
    with pytest.raises(InputError, match="store= needs data that knows its length"):
        record(mlp, DataLoader(Stream(X, Y), batch_size=3), ["1"], store=tmp_path / "stream")
    assert (tmp_path / "file").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


# ---- the Recording itself -------------------------------------------------------------------------------------------


def test_responses(make_recording: Callable[..., Recording]) -> None:
    logits = np.random.default_rng(0).normal(size=(20, 4)) * 3
    recording = make_recording(np.zeros((20, 2)), logits=logits, class_names=("a", "b", "c", "d"))
    logits = recording.logits.astype(float)
    for target in (1, "b", np.int64(1)):
        np.testing.assert_array_equal(recording.response(target), logits[:, 1])
    others = np.array([max(row[c] for c in (0, 2, 3)) for row in logits])
    np.testing.assert_allclose(recording.response(1, "margin"), logits[:, 1] - others)
    log_prob = [row[1] - np.log(np.exp(row).sum()) for row in logits]
    np.testing.assert_allclose(recording.response("b", "log_prob"), log_prob)
    own = np.arange(20.0)
    np.testing.assert_array_equal(recording.response(own), own)
    for target, message in [
        ("bb", "No class is called 'bb'. Did you mean 'b'"),
        (4, "target=4: the model has 4 classes, 0 to 3"),
        (-1, "target=-1"),
        (0.7, r"target is a float; expected a class number or name, or an \(n,\) array"),
        ((0, 1), "target is a tuple"),
        (torch.zeros(20), "target is a Tensor"),
        (np.zeros(3), r"shape \(3,\); expected \(20,\)"),
        (np.where(own == 6, np.nan, own), "not finite at input 6"),
    ]:
        with pytest.raises(InputError, match=message):
            recording.response(target)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="response='prob': expected one of 'logit', 'margin', 'log_prob'"):
        recording.response(1, "prob")


def test_samples(make_recording: Callable[..., Recording]) -> None:
    logits = np.eye(3)[[0, 1, 2, 1, 1, 0]]
    recording = make_recording(np.zeros((6, 2)), logits=logits)
    assert recording.samples(1).tolist() == [1, 3, 4]
    assert recording.samples(1, "all").tolist() == recording.samples(np.zeros(6)).tolist() == list(range(6))
    assert recording.samples(1, np.array([True, False] * 3)).tolist() == [0, 2, 4]
    assert recording.samples(1, [5, 0, 5]).tolist() == [0, 5]
    for wrong, message in [
        ("right", "samples='right'"),
        ([0, 6], "names row 6, but there are 6 inputs, 0 to 5"),
        ([-1, 2], "names row -1"),
        (np.array([True, False]), "expected a mask"),
        ([0.5], "expected a mask"),
    ]:
        with pytest.raises(InputError, match=message):
            recording.samples(1, wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"'predicted' .for a class."):
        recording.samples(np.zeros(6), "predicted")


def test_subset_and_unknown_layers(make_recording: Callable[..., Recording]) -> None:
    recording = make_recording({"conv1": np.arange(12).reshape(6, 2), "conv2": np.zeros((6, 1))}, labels=np.arange(6))
    part = recording.subset(np.array([4, 1]))
    assert len(part) == 2 and part.activations("conv1").tolist() == [[8, 9], [2, 3]]
    assert part.labels is not None and part.labels.tolist() == [4, 1]
    with pytest.raises(InputError, match=r"'conv3' was not recorded; there are conv1, conv2. Did you mean 'conv"):
        recording.activations("conv3")


def test_list_layers(cnn: nn.Module, images: Tensor) -> None:
    cnn.train()
    table = list_layers(cnn, images[:1]).set_index("layer")
    assert table["shape"].tolist()[:4] == [(4, 6, 6)] * 3 + [(6, 4, 4)]
    recording = record(cnn, images, list(table.index))
    assert table["neurons"].tolist() == [recording.activations(layer).shape[1] for layer in table.index]
    assert list_layers(Reused(), X[:1]).set_index("layer")["calls"].to_dict()["relu"] == 2
    assert "spare" not in list_layers(Unused(), X[:1])["layer"].tolist()
    assert cnn.training and hooks_of(cnn) == 0


def test_what_a_task_or_an_encoder_lacks_is_named(mlp: nn.Module) -> None:
    class Half:
        name = "half"

        def predicted(self, outputs: Any, target: Any) -> Any:
            return outputs[:, 0] > 0

    with pytest.raises(InputError, match="has no 'target' and no 'target_name' and no 'response' and no 'right' and"):
        record(mlp, X, ["1"], task=Half())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Layer '1': 3 names were given for 8 neurons"):
        record(mlp, X, ["1"], neurons=Encoder(lambda x: x, names=("a", "b", "c")))
    with pytest.raises(InputError, match=r"does not take an output \(13, 8\): RuntimeError"):
        record(mlp, X, ["1"], neurons=lambda x: x @ torch.ones(9, 2))


def test_columns_of_labels_are_names() -> None:
    columns = ["rain", "snow", "wind"]
    labels = pd.DataFrame((X[:, :3] > 0).numpy(), columns=columns)
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    recording = record(model, (X, labels), ["1"])
    assert recording.class_names == tuple(columns) and recording.task.name == "multi-label"
    assert repr(recording).startswith("Recording(13 inputs, 3 labels; ")


def test_what_is_said_of_inputs_one_by_one() -> None:
    logits = np.array([[0.0, 0.0, 0.0], [0.0, 700.0, 0.0], [np.log(3), 0.0, -np.inf]], np.float32)
    recording = Recording({"h": np.ones((3, 1))}, np.maximum(logits, -900), np.array([2, 1, 5]), ("a", "b", "c"))
    assert recording.single_label
    np.testing.assert_allclose(recording.confidence(), [1 / 3, 1, 3 / 4], rtol=1e-6)
    np.testing.assert_allclose(recording.confidence(np.array([2])), [3 / 4], rtol=1e-6)
    assert recording.label_names(np.array([2, 0])) == ["5", "c"]  # 5 is no class of the network
    several = replace(recording, labels=np.eye(3), task=MultiLabel())
    assert not several.single_label and np.isnan(several.confidence()).all()
    assert several.label_names(np.arange(3)) == ["a", "b", "c"]
    assert replace(recording, labels=np.zeros((3, 3)), task=MultiLabel()).label_names(np.arange(1)) == ["none"]
    assert replace(recording, labels=np.array([0.5, 1, 2])).label_names(np.arange(1)) == ["0.5"]
    assert replace(recording, labels=None).label_names(np.arange(2)) == ["", ""]
