"""Outputs of every kind are taken for what they are, and a model is left as it was found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import neucept

X = torch.randn(12, 4, generator=torch.Generator().manual_seed(1))


class End(nn.Module):
    """A function of one logit per input, or of three."""

    def __init__(self, end: Callable[[Tensor], Tensor], outputs: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.head, self.end = nn.Linear(4, 8), nn.Linear(8, outputs), end

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to the logits."""
        return self.end(self.head(self.hidden(x)))


@pytest.mark.parametrize(
    "end",
    [
        lambda z: torch.sigmoid(z).squeeze(1),
        lambda z: 1 - torch.sigmoid(-z),
        lambda z: torch.sigmoid(z).clamp(1e-6, 1 - 1e-6),
        lambda z: torch.sigmoid(z).double(),
    ],
)
def test_probabilities_of_few_inputs_are_no_logits(end: Callable[[Tensor], Tensor]) -> None:
    model = End(end)
    with pytest.warns(UserWarning, match="taken for probabilities of yes"):
        recording = neucept.record(model, X, ["hidden"], progress=False)
    assert np.array_equal(recording.predictions, (model(X) > 0.5).flatten().long())


def test_one_output_between_0_and_1_is_said_where_it_is_unclear() -> None:
    with pytest.warns(UserWarning, match="is taken for a logit"):
        neucept.record(End(lambda z: 0.5 + 0.1 * z.tanh()), X, ["hidden"], progress=False)


@pytest.mark.parametrize(
    ("end", "outputs"),
    [(lambda z: z.argmax(1), 3), (lambda z: (z > 0).flatten(), 1), (lambda z: z + 1j, 3), (lambda z: z > 0, 1)],
)
def test_outputs_that_are_no_logits_are_refused(end: Callable[[Tensor], Tensor], outputs: int) -> None:
    with pytest.raises(neucept.InputError, match=r"outputs have type \w+; expected logits"):
        neucept.record(End(end, outputs), X, ["hidden"], progress=False)


def test_several_numbers_per_input_are_no_labels() -> None:
    with pytest.raises(neucept.InputError, match="other values than 0 and 1"):
        neucept.record(End(lambda z: z, 3), (X, torch.randn(12, 3)), ["hidden"], progress=False)


def test_binary_has_no_third_output() -> None:
    with pytest.raises(neucept.InputError, match="one output or two, but the model has 3"):
        neucept.record(End(lambda z: z, 3), X, ["hidden"], task="binary", progress=False)


class Counter(nn.Module):
    """A network that counts its calls in buffers: one written into, one replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.register_buffer("written", torch.zeros(()))
        self.register_buffer("replaced", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Count, and compute."""
        self.written += 1
        self.replaced = self.replaced + 1
        return self.linear(x)


@pytest.mark.parametrize(
    "run",
    [
        lambda model: neucept.record(model, X, ["linear"], progress=False),
        lambda model: neucept.recording.list_layers(model, X),
    ],
)
def test_buffers_that_a_forward_pass_changes_are_restored(run: Callable[[Any], Any]) -> None:
    model = Counter()
    held = dict(model.named_buffers())
    run(model)
    assert all(buffer is held[name] and buffer == 0 for name, buffer in model.named_buffers())
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
