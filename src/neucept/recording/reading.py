"""Read the neurons of some layers in one pass of a network: what recording, checking and intervening share."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from neucept.errors import InputError
from neucept.inputs import Batch
from neucept.recording.hooks import calls_of, never_called, split_call
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


_REAL = ("attention_mask", "mask", "masks", "input_mask", "token_mask", "valid_mask")  # True or 1 is a real token
_HIDES = ("src_key_padding_mask", "key_padding_mask")  # True is padding
_EITHER = ("padding_mask", "pad_mask")  # libraries differ
_LENGTHS = ("lengths", "length", "input_lengths", "src_lengths", "seq_lengths", "seq_lens")
_DECODER = "decoder_"


def token_mask(model: nn.Module, batch: Batch, layer: str = "") -> Tensor | None:
    """Find which tokens of a batch are real.

    The inputs called ``attention_mask`` or ``mask`` say it, ``src_key_padding_mask`` says the contrary, ``lengths``
    counts them; without one, the padding number of an embedding does. Layers of a decoder have the mask of its inputs,
    ``decoder_attention_mask``.

    Parameters
    ----------
    model : Module
        Whose arguments name the parts of a tuple.
    batch : Batch
        As the model takes it.
    layer : str
        Name of the module whose tokens are asked for.

    Returns
    -------
    Tensor or None
        (batch, tokens) bool; None where nothing says it.
    """
    tree = batch.tree
    if isinstance(tree, tuple):
        with suppress(TypeError, ValueError):
            tree = dict(zip(inspect.signature(model.forward).parameters, tree, strict=False))
    named = tree if isinstance(tree, Mapping) else {}
    if "decoder" in layer.split(".") and any(str(name).startswith(_DECODER) for name in named):
        mask = named.get(f"{_DECODER}attention_mask")
        return _real(mask, True) if isinstance(mask, Tensor) and mask.ndim > 1 else None
    for name in (*_REAL, *_HIDES, *_EITHER):
        mask = named.get(name)
        if isinstance(mask, Tensor) and mask.ndim >= 2:
            return _real(mask, name in _REAL or (name in _EITHER and _says_real(mask)))
    ids = [tensor for tensor in batch.tensors() if tensor.ndim == 2 and tensor.dtype in (torch.int64, torch.int32)]
    main = named.get("input_ids", ids[0] if len(ids) == 1 else None)
    if not isinstance(main, Tensor) or main.ndim != 2:
        return None
    for name in _LENGTHS:
        count = named.get(name)
        if isinstance(count, Tensor) and count.ndim == 1:
            return torch.arange(main.shape[1], device=main.device) < count.to(main.device)[:, None]
    paddings = {m.padding_idx for m in model.modules() if isinstance(m, nn.Embedding) and m.padding_idx is not None}
    return main != paddings.pop() if len(paddings) == 1 else None


def _real(mask: Tensor, true_is_real: bool) -> Tensor:
    """Read a mask (batch, ..., tokens): of any type, or added to the scores of attention (0 for real tokens)."""
    if mask.is_floating_point() and not (mask > 0).any():
        real = mask > -1
    else:
        real = (mask > 0) == true_is_real
    return real if real.ndim == 2 else real.flatten(1, -2).any(1)


def _says_real(mask: Tensor) -> bool:
    """Tell whether True is a real token: the longest text of a batch has no padding, and a text begins with a token."""
    flags = mask.flatten(1) > 0
    whole = flags[(flags == flags[:, :1]).all(1), 0]
    return bool(whole.all() if len(whole) else flags[:, 0].all())
