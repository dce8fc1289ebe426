"""Left for a while for what still asks here: `neucept.inputs` reads data now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from neucept.inputs import Batch, Inputs, map_tree


def by_number(data: Any, collated: bool = False) -> Any:
    """Give what holds the inputs by number."""
    if data is None:
        return None
    inputs = Inputs.of(data)
    return data if inputs.by_tensor else inputs.dataset


def batches(data: Any, batch_size: int) -> Iterator[tuple[Any, Tensor | None]]:
    """Yield (inputs, labels) in batches."""
    for batch, labels in Inputs.of(data).batches(batch_size):
        yield batch.tree, labels


def to_device(inputs: Any, device: torch.device) -> Any:
    """Move every tensor."""
    return map_tree(lambda tensor: tensor.to(device), inputs)


def forward(model: nn.Module, inputs: Any) -> Any:
    """Call a model on inputs of any kind."""
    return Batch(inputs).call(model)
