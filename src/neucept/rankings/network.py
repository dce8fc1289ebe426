"""A network as attributions want it: logits with their graph, layers' outputs, and no trace left behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neucept.inputs import Batch, map_tree
from neucept.recording.hooks import INPUT, calls_of
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
    model: nn.Module, batch: Batch, layers: Sequence[str], output: Any = None
) -> tuple[dict[str, Any], Tensor]:
    """Run a model and keep what layers return, {layer: ...}, with the logits; in-place modules cannot change it."""
    kept: dict[str, Any] = {}

    def keep(layer: str, call: int, module: nn.Module | None, returned: Any) -> None:
        if layer == INPUT and module is None:
            given, keywords = returned
            returned = keywords or (given[0] if len(given) == 1 else given)
        kept[layer] = map_tree(lambda tensor: tensor.clone(), returned)

    with calls_of(model, layers, keep), torch.no_grad():
        returned = batch.call(model)
    return kept, pick_logits(returned, output)


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
