"""Which axes of a layer's output count the inputs and the channels: what the operations before it say.

A few inputs run twice, in batches of two sizes: the axis whose length changes counts the inputs. While they run, every
operation passes on which axis of its result counts the channels: a convolution's second one, a linear layer's last one,
and from there through permutations, sums and activations. Nothing is inferred from sizes that happen to agree.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from neucept.errors import InputError
from neucept.inputs import Batch, tensors_of
from neucept.recording.hooks import calls_of, never_called
from neucept.recording.outputs import Output, Readout, raw_outputs
from neucept.recording.units import Units, channel_axis, neurons_of, output_tensor, resolve

_FIRST = ("conv", "batch_norm", "group_norm", "instance_norm", "pixel_shuffle", "pixel_unshuffle")
_LAST = ("linear", "bilinear", "embedding", "lstm", "gru", "rnn_tanh", "rnn_relu", "multi_head_attention_forward")
_SAME = ("layer_norm", "rms_norm")  # channels stay where they are; last where nothing is known
_MOVING = ("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "adjoint")
_SHAPING = ("flatten", "reshape", "view", "unflatten", "unsqueeze", "squeeze", "view_as", "reshape_as")


def resolve_units(
    model: nn.Module, batch: Batch, units: Mapping[str, Units], output: Output = None
) -> tuple[dict[str, Units], str]:
    """Fix which axes the units of some layers read.

    Parameters
    ----------
    model : Module
        Ready to run on the batch, in evaluation mode.
    batch : Batch
        Some inputs; a few of them run.
    units : mapping of str to Units
        As asked for, by layer.
    output : None, str, int, callable or Readout
        As in `neucept.record`.

    Returns
    -------
    units : dict of str to Units
        By layer, or by call (``name#0``) where a module is called several times.
    made_by : str
        Name of the operation that computed the model's outputs, such as ``"sigmoid"``; empty where it is not known.

    Raises
    ------
    InputError
        When a layer is never called or does not give one row per input, or its channels are asked for and unknown.
    """
    few = batch.part(slice(0, 3)) if batch.n >= 3 else batch.part(slice(0, 1)).repeat(3)
    larger, tracking, returned, counts = _outputs(model, few, list(units))
    smaller, *_ = _outputs(model, few.part(slice(0, 2)), list(units))
    resolved: dict[str, Units] = {}
    for layer, how in units.items():
        calls = larger[layer]
        if not calls or len(calls) != len(smaller[layer]):
            raise never_called(layer, counts)
        for number, ((tensor, module), (other, _)) in enumerate(zip(calls, smaller[layer], strict=True)):
            name = layer if len(calls) == 1 else f"{layer}#{number}"
            axis = tracking.channels(tensor, module)
            resolved[name] = resolve(how, tensor, _batch_axis(tensor, other, name), axis)
            if resolved[name].name == "channel":  # an unknown axis is asked for now, not in the middle of the data
                neurons_of(tensor, resolved[name], module, name)
    given, made_by = output.output if isinstance(output, Readout) else output, ""
    with suppress(InputError):  # outputs that cannot be found are an error where they are needed
        made_by = "" if callable(given) else str(tracking.made_by.get(raw_outputs(returned, given), ""))
    return resolved, made_by


def _outputs(
    model: nn.Module, batch: Batch, layers: Sequence[str]
) -> tuple[dict[str, list[tuple[Tensor, nn.Module | None]]], Tracking, Any, dict[str, int]]:
    """Run a batch; return each call's output with its module, what was tracked, what the model returned, and counts."""
    outputs: dict[str, list[tuple[Tensor, nn.Module | None]]] = {layer: [] for layer in layers}

    def visit(layer: str, call: int, module: nn.Module | None, returned: Any) -> None:
        outputs[layer].append((output_tensor(returned, layer)[0], module))

    tracking = Tracking()
    with torch.random.fork_rng(devices=[]), calls_of(model, layers, visit) as counts, tracking:
        returned = batch.fresh().call(model)
    return outputs, tracking, returned, counts


def _batch_axis(output: Tensor, smaller: Tensor, layer: str) -> int:
    """Find the axis whose length follows the number of inputs, from outputs for three inputs and for two."""
    if output.ndim == smaller.ndim:
        axes = [d for d in range(output.ndim) if (output.shape[d], smaller.shape[d]) == (3, 2)]
        if len(axes) == 1:
            return axes[0]
    raise InputError(
        f"Layer '{layer}' does not give one row per input: for three inputs its output has the shape"
        f" {tuple(output.shape)}, for two {tuple(smaller.shape)}. Record another module."
    )


class Tracking(TorchFunctionMode):
    """Pass on, from operation to operation, which axis counts the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.axes: Any = WeakTensorKeyDictionary()
        self.made_by: Any = WeakTensorKeyDictionary()

    def channels(self, tensor: Tensor, module: nn.Module | None) -> int | None:
        """Axis of a tensor that counts the channels; None where neither operations nor the module say it."""
        axis: int | None = self.axes.get(tensor)
        return axis if axis is not None and axis < tensor.ndim else channel_axis(module, tensor)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [tensor for tensor in tensors_of((list(args), kwargs)) if not tensor.is_nested]
        given = [(tuple(tensor.shape), self.axes.get(tensor)) for tensor in tensors]
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "").strip("_")
        if name in ("get", "set"):  # attributes
            return result
        made_by = name if name not in (*_SHAPING, *_MOVING, "getitem") else self.made_by.get(tensors[0], "")
        with suppress(Exception):  # an axis that cannot be followed is not known
            for output in tensors_of(result):
                self.made_by[output] = made_by
                axis = None if output.is_nested else _follow(name, output, args, kwargs, given)
                if axis is not None:
                    self.axes[output] = axis
                elif output in self.axes:
                    del self.axes[output]
            if name.startswith(("conv", "linear")) and self.axes.get(tensors[0]) is None:
                self.axes[tensors[0]] = 1 if name.startswith("conv") else tensors[0].ndim - 1
        return result


def _follow(
    name: str, output: Tensor, args: Any, kwargs: Any, given: Sequence[tuple[tuple[int, ...], int | None]]
) -> int | None:
    """Find the axis of the channels in the result of one operation."""
    if name.startswith(_FIRST):
        return 1 if output.ndim > 2 else None
    if name in _LAST:
        return output.ndim - 1
    if name in _SAME:
        return given[0][1] if given[0][1] is not None else output.ndim - 1
    known = [(shape, axis) for shape, axis in given if axis is not None]
    if not known and "pool" in name and output.ndim > 2:
        return 1
    if not known or name == "einsum":
        return None
    shape, axis = known[0]
    if name in _MOVING:  # a small tensor that is marked at the axis goes through the same permutation
        marked = torch.zeros([2 if d == axis else 1 for d in range(len(shape))])
        settings = {key: value for key, value in kwargs.items() if not isinstance(value, Tensor)}
        return list(getattr(marked, name)(*args[1:], **settings).shape).index(2)
    if name not in _SHAPING:
        same = {axis for shape, axis in known if len(shape) == output.ndim}
        if same:
            return same.pop() if len(same) == 1 else None
    # The axis that still has the same length, with as many values before it; it may have been split or joined.
    before, length, new = math.prod(shape[:axis]), shape[axis], output.shape
    axes = [d for d in range(output.ndim) if new[d] == length and math.prod(new[:d]) == before]
    return axes[0] if len(axes) == 1 else None


_MASKS = ("attention_mask", "padding_mask", "mask")  # of which True or 1 is a real token
_HIDES = ("src_key_padding_mask", "key_padding_mask")  # of which True is padding


def token_mask(model: nn.Module, batch: Batch) -> Tensor | None:
    """Find which tokens of a batch are real.

    The inputs called ``attention_mask`` or ``mask`` say it, ``src_key_padding_mask`` says the contrary; without one,
    the padding number of an embedding does.

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
    for names, real in ((_MASKS, True), (_HIDES, False)):
        for name in names:
            mask = named.get(name)
            if isinstance(mask, Tensor) and mask.ndim == 2:
                return (mask > 0) == real
    ids = [tensor for tensor in batch.tensors() if tensor.ndim == 2 and tensor.dtype in (torch.int64, torch.int32)]
    paddings = {m.padding_idx for m in model.modules() if isinstance(m, nn.Embedding) and m.padding_idx is not None}
    return ids[0] != paddings.pop() if len(ids) == 1 and len(paddings) == 1 else None
