"""A network cut at a layer, against the whole network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neucept import InputError
from neucept.models import VGG11, LeNet
from neucept.recording.hooks import modules_by_name, split_call
from neucept.recording.subnetwork import tail


def output_of(model: nn.Module, layer: str, inputs: Tensor) -> tuple[Any, Tensor]:
    """What a layer returns, untouched by in-place modules further on, and what the network does."""
    name, call = split_call(layer)
    kept: list[Any] = []
    handle = modules_by_name(model)[name].register_forward_hook(
        lambda module, given, returned: kept.append(returned.clone() if isinstance(returned, Tensor) else returned)
    )
    with torch.no_grad():
        logits = model.eval()(inputs)
    handle.remove()
    return kept[call or 0], logits


class Block(nn.Module):
    """A residual block, with an in-place function and an activation module used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.relu = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.two(self.relu(self.one(x)))
        y += x
        return self.relu(y)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.block = nn.Conv2d(1, 2, 3), Block()
        self.drop, self.last = nn.Dropout(0.5), nn.Linear(2, 3)
        self.shift = nn.Parameter(torch.randn(3))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = F.relu(self.first(x), inplace=True)
        x = F.dropout(self.block(x), 0.5, self.training).mean((2, 3))
        if mask is not None:
            x = x * mask
        return self.last(self.drop(x)) + self.shift


NETWORKS = {"lenet": (LeNet(2), (1, 32, 32)), "vgg11": (VGG11(2), (3, 32, 32)), "residual": (Net(), (1, 8, 8))}
LAYERS = {
    "lenet": [*(f"feature_extractor.{i}" for i in range(8)), "feature_extractor", "classifier.0", "classifier.2"],
    "vgg11": ["features.0", "features.1", "features.2", "features.3", "features.28", "features.31", "classifier"],
    "residual": ["first", "block", "block.relu#1", "drop", "last"],
}


@pytest.mark.parametrize(("name", "layer"), [(name, layer) for name, layers in LAYERS.items() for layer in layers])
def test_the_rest_of_the_network_is_the_rest_of_the_network(name: str, layer: str) -> None:
    model, shape = NETWORKS[name]
    inputs = torch.randn(5, *shape, generator=torch.Generator().manual_seed(0))
    middle, logits = output_of(model, layer, inputs)
    model.train()  # the tail is in evaluation mode all the same
    rest, given = tail(model, layer), middle.clone()
    with torch.no_grad():
        assert torch.allclose(rest(given), logits, atol=1e-6)
        assert torch.equal(given, middle)
        assert not torch.allclose(rest(given + 1), logits, atol=1e-6)  # it does look at what it is given
    assert all(module.training for module in model.modules())


def test_the_input_as_a_layer() -> None:
    model, inputs = LeNet(2), torch.randn(3, 1, 32, 32)
    assert torch.equal(tail(model, "input")(inputs), model(inputs))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("block.one", "depends on the input 'x' other than through the layer"),
        ("block.relu#0", "depends on the input 'x' other than through the layer"),
        ("block.relu", "'block.relu' is called 2 times: choose among 'block.relu#0' to 'block.relu#1'"),
        ("block.relu#2", "never called .* 'block.relu' is called 2 times"),
        ("block.tow", "no module 'block.tow'. Did you mean 'block.two'?"),
    ],
)
def test_where_there_is_no_cut(layer: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tail(Net(), layer)


class Sized(nn.Module):
    """Uses a size of its input after a layer, in a way of its own."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.norm, self.out = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Linear(48, 2)
        self.run = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def of_shape(net: Any, x: Tensor) -> Tensor:
    n = x.shape[0]
    return net.out(net.norm(net.conv(x)).view(n, -1))


def of_size(net: Any, x: Tensor) -> Tensor:
    n = x.size(0)
    return net.out(net.norm(net.conv(x)).reshape(n, -1))


def of_named_size(net: Any, x: Tensor) -> Tensor:
    n = x.size(dim=0)
    return net.out(net.norm(net.conv(x)).reshape(n, -1))


def of_sizes(net: Any, x: Tensor) -> Tensor:
    n = x.size()[0]
    return net.out(net.norm(net.conv(x)).reshape(n, -1))


def unpacked(net: Any, x: Tensor) -> Tensor:
    n, _, height, _ = x.shape
    return net.out(net.norm(net.conv(x * height)).reshape(n, -1))


def later(net: Any, x: Tensor) -> Tensor:
    x = F.relu(net.conv(x)) + 1
    n = x.shape[0]
    return net.out(net.norm(x).view(n, -1))


@pytest.mark.parametrize("forward", [of_shape, of_size, of_named_size, of_sizes, later])
@pytest.mark.parametrize("layer", ["conv", "norm"])
def test_the_batch_size_of_the_input_is_that_of_the_layer(forward: Any, layer: str) -> None:
    model, inputs = Sized(forward), torch.randn(5, 2, 4, 4)
    middle, logits = output_of(model, layer, inputs)
    rest = tail(model, layer)
    with torch.no_grad():
        assert torch.allclose(rest(middle), logits, atol=1e-6)
        assert torch.allclose(rest(middle[:3]), logits[:3], atol=1e-6)  # other numbers of inputs, too


def of_channels(net: Any, x: Tensor) -> Tensor:
    y = net.norm(net.conv(x))
    return net.out(y.reshape(-1, 24 * x.shape[1]))


def whole_shape(net: Any, x: Tensor) -> Tensor:
    y = net.norm(net.conv(x))
    return net.out(y[:, :2].reshape(x.shape).repeat(1, 2, 1, 1)[:, :3].flatten(1))


def in_parts(net: Any, x: Tensor) -> Tensor:
    """Two rows an input go through the layer: their number is not that of the inputs."""
    n = x.shape[0]
    y = net.norm(net.conv(x.reshape(-1, 2, 4, 4)))
    return net.out(y.reshape(n, 2, -1).mean(1))


@pytest.mark.parametrize("forward", [of_channels, whole_shape, in_parts])
def test_other_sizes_of_the_input_are_refused(forward: Any) -> None:
    with pytest.raises(InputError, match=r"a size from before it \(of the input 'x' .* is used. Take sizes there from"):
        tail(Sized(forward), "norm")


def test_sizes_before_the_layer_are_no_obstacle() -> None:
    model, inputs = Sized(unpacked), torch.randn(5, 2, 4, 4)
    middle, logits = output_of(model, "norm", inputs)
    assert torch.allclose(tail(model, "norm")(middle), logits, atol=1e-6)


class Untraceable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) if x.sum() > 0 else x


class Sideways(nn.Module):
    """The input comes in by a change in place, whose result is not named."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        y.add_(x)
        return y


def test_networks_that_cannot_be_cut() -> None:
    with pytest.raises(InputError, match=r"torch\.fx does not trace Untraceable"):
        tail(Untraceable(), "inner")
    with pytest.raises(InputError, match="other than through the layer"):
        tail(Sideways(), "inner")


def test_a_layer_inside_a_module_of_pytorch() -> None:
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Flatten(), nn.Linear(24, 2))
    inputs = torch.randn(4, 3, 8)
    middle, logits = output_of(model, "0", inputs)
    assert torch.allclose(tail(model, "0")(middle), logits, atol=1e-6)
    with pytest.raises(InputError, match=r"cannot be cut at layer '0\.linear1'"):
        tail(model, "0.linear1")


def test_the_tail_shares_parameters_and_nothing_else() -> None:
    model = VGG11(2).eval()
    rest = tail(model, "features.28")
    assert {id(p) for p in rest.parameters()} <= {id(p) for p in model.parameters()}
    assert {id(m) for m in rest.modules()}.isdisjoint(id(m) for m in model.modules())
    leaf = torch.randn(2, *output_of(model, "features.28", torch.randn(1, 3, 32, 32))[0].shape[1:], requires_grad=True)
    rest(leaf).sum().backward()
    assert leaf.grad is not None and leaf.grad.abs().sum() > 0
