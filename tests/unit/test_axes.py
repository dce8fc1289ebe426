"""Which axes count the inputs and the channels: networks of many kinds, against a plain hook and an explicit mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neucept


class Net(nn.Module):
    """A forward pass that is a function of the modules."""

    def __init__(self, run: Callable[[Any, Tensor], Tensor], **modules: Any) -> None:
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)
        self.run, self.seen = run, nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return two logits: of the output of ``run``, seen by the module that is recorded."""
        return self.seen(self.run(self, x)).flatten(1)[:, :2]


def split_heads(net: Any, x: Tensor) -> list[Tensor]:
    return [layer(x).view(len(x), -1, 2, 4).transpose(1, 2) for layer in (net.q, net.k, net.v)]


def merged(heads: Tensor) -> Tensor:
    return heads.transpose(1, 2).reshape(len(heads), -1, 8)


def by_einsum(net: Any, x: Tensor) -> Tensor:
    q, k, v = (layer(x).reshape(len(x), -1, 2, 4) for layer in (net.q, net.k, net.v))
    weights = torch.einsum("bihd,bjhd->bhij", q, k).softmax(-1)
    return torch.einsum("bhij,bjhd->bihd", weights, v).reshape(len(x), -1, 8)


def by_products(net: Any, x: Tensor) -> Tensor:
    q, k, v = split_heads(net, x)
    return merged((q @ k.transpose(-2, -1)).softmax(-1) @ v)


def packed(net: Any, x: Tensor) -> Tensor:
    rows = nn.utils.rnn.pack_padded_sequence(x, [x.shape[1]] * len(x), batch_first=True)
    return nn.utils.rnn.pad_packed_sequence(net.lstm(rows)[0], batch_first=True)[0]


def with_class_token(net: Any, x: Tensor) -> Tensor:
    return torch.cat([net.token.expand(len(x), 1, 16), net.conv(x).flatten(2).mT], 1)


def qkv() -> dict[str, nn.Module]:
    return {name: nn.Linear(8, 8) for name in "qkv"}


def conv(channels: int = 16) -> nn.Conv2d:
    return nn.Conv2d(3, channels, 3)


IMAGES, TEXTS, SERIES = (3, 18, 18), (5, 8), (18, 8)  # 16 channels of 16 x 16 maps: sizes say nothing
TABLE: list[tuple[str, Any, tuple[int, ...], tuple[int, ...]]] = [
    ("attention by einsum", Net(by_einsum, **qkv()), TEXTS, (1,)),
    ("attention by products", Net(by_products, **qkv()), TEXTS, (1,)),
    (
        "fused attention",
        Net(lambda n, x: merged(F.scaled_dot_product_attention(*split_heads(n, x))), **qkv()),
        (8, 8),
        (1,),
    ),
    ("swapped axes", Net(lambda n, x: n.conv(x.mT).mT, conv=nn.Conv1d(8, 16, 3)), SERIES, (1,)),
    ("a stack of two maps", Net(lambda n, x: torch.stack([n.conv(x), n.conv(x)], 1), conv=conv(2)), IMAGES, (1, 3, 4)),
    ("a class token", Net(with_class_token, conv=conv(), token=nn.Parameter(torch.randn(1, 1, 16))), IMAGES, (1,)),
    ("mean over rows", Net(lambda n, x: n.conv(x).mean(2), conv=conv()), IMAGES, (2,)),
    ("one row", Net(lambda n, x: n.conv(x)[:, :, 3], conv=conv()), IMAGES, (2,)),
    ("first of the rows", Net(lambda n, x: n.conv(x).unbind(2)[0], conv=conv()), IMAGES, (2,)),
    (
        "frames",
        Net(lambda n, x: n.conv(x.flatten(0, 1)).unflatten(0, (len(x), 5)), conv=conv()),
        (5, *IMAGES),
        (1, 3, 4),
    ),
    ("packed texts", Net(packed, lstm=nn.LSTM(8, 12, batch_first=True)), TEXTS, (1,)),
    ("a sum over tokens", Net(lambda n, x: n.linear(x).sum(2), linear=nn.Linear(8, 16)), (5, 16, 8), (1,)),
    (
        "joined channels",
        Net(lambda n, x: torch.cat([n.conv(x), n.other(x)], 1), conv=conv(), other=conv(4)),
        IMAGES,
        (2, 3),
    ),
    ("one channel", Net(lambda n, x: n.conv(x).permute(0, 2, 3, 1), conv=conv(1)), IMAGES, (1, 2)),
    ("video", Net(lambda n, x: n.conv(x).relu(), conv=nn.Conv3d(3, 6, 2)), (3, 4, 6, 6), (2, 3, 4)),
    ("pixel shuffle", Net(lambda n, x: F.gelu(F.pixel_shuffle(n.conv(x), 2)), conv=conv()), IMAGES, (2, 3)),
    ("a gate", Net(lambda n, x: F.glu(n.conv(x.mT), 1), conv=nn.Conv1d(8, 16, 3)), SERIES, (2,)),
    (
        "sequence first",
        Net(lambda n, x: n.a(*[x.transpose(0, 1)] * 3)[0].relu().transpose(0, 1), a=nn.MultiheadAttention(8, 2)),
        (3, 8),
        (1,),
    ),
]


@pytest.mark.parametrize(("net", "shape", "rest"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_channels_are_those_of_a_plain_hook(net: Net, shape: tuple[int, ...], rest: tuple[int, ...]) -> None:
    x = torch.randn(6, *shape)
    seen: list[Tensor] = []
    handle = net.eval().seen.register_forward_hook(lambda module, given, returned: seen.append(returned.detach()))
    net(x)
    handle.remove()
    wanted = seen[0].mean(rest).numpy()
    recorded = neucept.record(net, x, ["seen"], progress=False).activations("seen")
    assert recorded.shape == wanted.shape
    np.testing.assert_allclose(recorded, wanted, atol=1e-5)


REFUSED: list[tuple[str, Any, tuple[int, ...]]] = [
    ("mean over channels", Net(lambda n, x: n.conv(x).mean(1), conv=conv()), IMAGES),
    ("one channel of all", Net(lambda n, x: n.conv(x)[:, 3], conv=conv()), IMAGES),
    ("patches of channels", Net(lambda n, x: F.unfold(n.conv(x), 2), conv=conv()), IMAGES),
    ("heads", Net(lambda n, x: split_heads(n, x)[0], **qkv()), TEXTS),
    (
        "tokens mixed",
        Net(lambda n, x: n.tokens(n.linear(x).mT).relu().mT, linear=nn.Linear(8, 16), tokens=nn.Linear(5, 5)),
        TEXTS,
    ),
    ("nothing before", Net(lambda n, x: x.relu()), TEXTS),
]


@pytest.mark.parametrize(("net", "shape"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_channels_that_nothing_says_are_asked_for(net: Net, shape: tuple[int, ...]) -> None:
    with pytest.raises(neucept.InputError, match=r"Channels\(axis=") as raised:
        neucept.record(net, torch.randn(6, *shape), ["seen"], progress=False)
    assert "seen" in str(raised.value)


def test_a_mixed_branch_does_not_hide_the_channels_of_the_sum() -> None:
    def mix(net: Any, x: Tensor) -> Tensor:
        x = net.linear(x)
        return x + net.tokens(net.norm(x).mT).mT

    net = Net(mix, linear=nn.Linear(8, 16), norm=nn.LayerNorm(16), tokens=nn.Linear(5, 5))
    assert neucept.record(net, torch.randn(6, 5, 8), ["seen"], progress=False).activations("seen").shape == (6, 16)


def test_windows_merged_with_the_inputs_are_refused() -> None:
    def windows(net: Any, x: Tensor) -> Tensor:
        inside = net.linear(x.reshape(-1, 4, 8))
        return inside.reshape(len(x), -1)

    net = Net(windows, linear=nn.Linear(8, 6))
    with pytest.raises(neucept.InputError, match="does not give one row per input"):
        neucept.record(net, torch.randn(6, 16, 8), ["linear"], progress=False)
