"""Read the neurons of some layers in one pass of a network: what recording, checking and intervening share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from neucept.errors import InputError
from neucept.inputs import Batch
from neucept.recording.hooks import calls_of, never_called, split_call
from neucept.recording.padding import token_mask
from neucept.recording.units import Units, neurons_of


def read_neurons(model: nn.Module, batch: Batch, units: Mapping[str, Units]) -> tuple[dict[str, Tensor], Any]:
    """Run a batch and read the neurons of some layers; only neurons are kept, never whole outputs.

    Parameters
    ----------
    model : Module
        Ready to run the batch, see `neucept.recording.hooks.left_as_found`.
    batch : Batch
        Inputs, where the model is and of its precision.
    units : mapping of str to Units
        By layer or call, resolved (`neucept.recording.layout.resolve_units`).

    Returns
    -------
    neurons : dict of str to Tensor
        {layer: (batch, k)}, float32.
    returned : any
        What the model returned.

    Raises
    ------
    InputError
        When a layer is never called, or is called more often than when its units were resolved.
    """
    neurons: dict[str, Tensor] = {}
    inside = {layer: "decoder" if "decoder" in layer.split(".") else "" for layer in units}
    masks = {part: token_mask(model, batch, part) for part in set(inside.values())}

    def visit(layer: str, call: int, module: nn.Module | None, returned: Any) -> None:
        neurons[layer] = neurons_of(returned, units[layer], module, layer, masks[inside[layer]])

    with calls_of(model, list(units), visit) as counts:
        returned = batch.call(model)
    for layer in units:
        name, call = split_call(layer)
        times = counts[name if name in counts else layer]
        if layer not in neurons:
            raise never_called(layer, counts)
        if call is None and times > 1:
            raise InputError(f"Layer '{layer}' was called {times} times in one forward pass, and once before.")
    return {layer: neurons[layer] for layer in units}, returned


def float_type(model: nn.Module) -> torch.dtype | None:
    """Precision of a model's parameters, where all have the same; inputs are cast to it."""
    kinds = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    return kinds.pop() if len(kinds) == 1 else None


def call_first(model: nn.Module, batch: Batch) -> Any:
    """Run a first batch, and say what was given where the model does not take it.

    Raises
    ------
    InputError
        When the model raises an error.
    """
    try:
        return batch.call(model)
    except (InputError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a network of the user's may raise anything
        given = ", ".join(
            f"{tuple(tensor.shape[1:])} {tensor.dtype}".replace("torch.", "") for tensor in batch.tensors()
        )
        raise InputError(
            f"The model does not take inputs of shape and type {given}: {type(error).__name__}: {error}. Bring the"
            " inputs to what it was trained on."
        ) from error
