"""A network as attributions want it: logits with their graph, layers' outputs, and no trace left behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neucept.recording.batches import forward
from neucept.recording.hooks import INPUT, modules_by_name, split_call
from neucept.recording.outputs import pick_logits


class Logits(nn.Module):
    """A network that gives logits, (batch, C), with their graph; its in-place modules work on copies from now on.

    Parameters
    ----------
    network : Module
        One of one's own (`neucept.recording.subnetwork`), for it is changed.
    output : None, str, int or callable
        As in `Subject`.
    """

    def __init__(self, network: nn.Module, output: Any = None) -> None:
        super().__init__()
        self.network, self._output = network, output
        for module in network.modules():
            if getattr(module, "inplace", False):  # Captum's hooks keep values that must not change
                module.inplace = False  # type: ignore[assignment]

    def forward(self, *inputs: Any) -> Tensor:
        """Give the logits; a single one, z, becomes (-z/2, z/2), as in a recording."""
        return pick_logits(self.network(*inputs), self._output)


def at_layers(
    model: nn.Module, inputs: Any, layers: Sequence[str], output: Any = None
) -> tuple[dict[str, Any], Tensor]:
    """Run a model and keep what layers return, {layer: ...}, with the logits; in-place modules cannot change it."""
    known, kept = modules_by_name(model), dict[str, Any]()
    counts = dict.fromkeys(layers, 0)

    def hook(layer: str, call: int | None) -> Any:
        def keep(module: nn.Module, given: Any, returned: Any) -> None:
            if call is None or counts[layer] == call:
                kept[layer] = returned.clone() if isinstance(returned, Tensor) else returned
            counts[layer] += 1

        return keep

    with ExitStack() as stack, torch.no_grad():
        for layer in layers:
            name, call = split_call(layer)
            if name in known:
                stack.callback(known[name].register_forward_hook(hook(layer, call)).remove)
            elif layer == INPUT:
                kept[layer] = inputs.clone() if isinstance(inputs, Tensor) else inputs
        returned = forward(model, inputs)
    return kept, pick_logits(returned, output)


def zero_input(inputs: Any) -> Any:
    """Give one input of zeros, shaped like those of a batch."""
    if isinstance(inputs, Tensor):
        return torch.zeros_like(inputs[:1])
    if isinstance(inputs, Mapping):
        return {name: zero_input(part) for name, part in inputs.items()}
    return tuple(zero_input(part) for part in inputs)


@contextmanager
def own_random(seed: int) -> Iterator[None]:
    """Seed the global random generators, which Captum draws from, and put them back afterwards."""
    found = np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            yield
    finally:
        np.random.set_state(found)  # noqa: NPY002
