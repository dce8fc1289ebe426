"""Which axes of a layer's output count the inputs and the channels: what the operations before it say.

A few inputs run twice, in batches of two sizes: the axis whose length changes counts the inputs. While they run, every
operation passes on which axis of its result counts the channels: a convolution's second one, a linear layer's last one,
and from there through permutations, sums and activations. Nothing is inferred from sizes that happen to agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from neucept.errors import InputError
from neucept.inputs import Batch, map_tree, tensors_of
from neucept.recording.hooks import calls_of, never_called
from neucept.recording.outputs import Output, Readout, raw_outputs
from neucept.recording.units import Units, channel_axis, neurons_of, output_tensor, resolve

_FIRST = ("conv", "batch_norm", "group_norm", "instance_norm", "pixel_shuffle", "pixel_unshuffle")
_LAST = (
    *("linear", "bilinear", "embedding", "lstm", "gru", "rnn_tanh", "rnn_relu", "multi_head_attention_forward"),
    *("addmm", "pack_padded_sequence", "pad_packed_sequence"),  # of tokens one after the other
)
_SAME = ("layer_norm", "rms_norm")  # channels stay where they are; last where nothing is known
_MOVING = ("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "adjoint")
_SHAPING = ("flatten", "reshape", "view", "unflatten", "unsqueeze", "squeeze", "view_as", "reshape_as", "expand")
_PICKING = ("getitem", "select", "unbind", "stack", "narrow", "chunk", "split", "index_select", "repeat", "tile")
_CASTING = ("clamp", "clip", "rsub", "float", "double", "to", "type_as", "contiguous", "clone")  # 1 - p is one, too
_REDUCING = ("mean", "sum", "max", "min", "amax", "amin", "nanmean", "median", "logsumexp", "norm")
_SWAPPED = (Tensor.T.__get__, Tensor.mT.__get__, Tensor.H.__get__, Tensor.mH.__get__)  # type: ignore[attr-defined]
_UNCLEAR = -1  # two axes could count the channels: a linear layer mixed the tokens of each channel
State = int | Tensor  # the axis of the channels, or the number of each element's channel where they lie on several axes


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
    with suppress(InputError), tracking:  # outputs that cannot be found are an error where they are needed
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
        self.states: Any = WeakTensorKeyDictionary()
        self.made_by: Any = WeakTensorKeyDictionary()

    def channels(self, tensor: Tensor, module: nn.Module | None) -> int | None:
        """Axis of a tensor that counts the channels; None where neither operations nor the module say it."""
        state: State | None = self.states.get(tensor)
        known = isinstance(state, int) and 0 <= state < tensor.ndim
        return state if known else channel_axis(module, tensor)  # type: ignore[return-value]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [tensor for tensor in tensors_of((list(args), kwargs)) if not tensor.is_nested]
        given = [(tuple(tensor.shape), self.states.get(tensor)) for tensor in tensors]
        result = func(*args, **kwargs)
        name = "transpose" if func in _SWAPPED else getattr(func, "__name__", "").strip("_")
        if name in ("get", "set"):  # attributes
            return result
        keeps = name in (*_SHAPING, *_MOVING, *_PICKING, *_CASTING)
        made_by = self.made_by.get(tensors[0], "") if keeps and tensors else name
        with suppress(Exception):  # an axis that cannot be followed is not known
            outputs = [output for output in tensors_of(result) if not output.is_nested]
            for output in outputs:
                self.made_by[output] = made_by
            states = self._follow(func, name, outputs, args, kwargs, given)
            for output, state in zip(outputs, states, strict=True):
                if state is not None:
                    self.states[output] = state
                elif output in self.states:
                    del self.states[output]
            if name.startswith(("conv", "linear")) and self.states.get(tensors[0]) is None:
                self.states[tensors[0]] = 1 if name.startswith("conv") else tensors[0].ndim - 1
        return result

    def _follow(
        self, func: Any, name: str, outputs: Sequence[Tensor], args: Any, kwargs: Any, given: Sequence[Any]
    ) -> list[State | None]:
        """Find the channels in the results of one operation."""
        if name in (*_MOVING, *_SHAPING, *_PICKING, "einsum") or (
            name in _REDUCING and outputs[0].ndim < len(given[0][0])
        ):
            if any(state is not None and not _is_unclear(state) for _, state in given):
                return self._moved(func, name, args, kwargs)
            return [_UNCLEAR if any(_is_unclear(state) for _, state in given) else None] * len(outputs)
        return [_passed_on(name, output, given) for output in outputs]

    def _moved(self, func: Any, name: str, args: Any, kwargs: Any) -> list[State | None]:
        """Give an operation that moves values the numbers of the channels in their place, and see where they go."""
        several = name == "einsum" and sum(t in self.states for t in tensors_of(list(args))) > 1

        def numbers(tensor: Tensor) -> Tensor:
            state = self.states.get(tensor)
            if not tensor.is_floating_point():  # positions, masks
                return tensor
            if isinstance(state, Tensor):
                return state
            shape = list(tensor.shape)
            if state is None or _is_unclear(state) or several:
                # In a sum of products, what is not known weighs all alike; elsewhere it is of no channel.
                return torch.full(shape, 1.0 if name == "einsum" else -1.0, dtype=torch.float64)
            if shape[state] == 1 and name in _MOVING:  # one channel is seen only where it is made two
                shape[state] = 2
            count = torch.arange(shape[state], dtype=torch.float64) + 1
            return count.reshape([-1 if d == state else 1 for d in range(len(shape))]).expand(shape)

        with torch._C.DisableTorchFunction():
            moved = func(*map_tree(numbers, tuple(args)), **map_tree(numbers, kwargs))
        return [_simplified(part) for part in tensors_of(moved)]


def _is_unclear(state: State | None) -> bool:
    return isinstance(state, int) and state == _UNCLEAR


def _simplified(numbers: Tensor) -> State | None:
    """Give the one axis along which the numbers of the channels differ, each once; else the numbers, if they differ."""
    known = numbers >= 0
    for axis in range(numbers.ndim):
        rest = [d for d in range(numbers.ndim) if d != axis]
        low = torch.where(known, numbers, torch.inf).amin(rest) if rest else numbers
        high = numbers.amax(rest) if rest else numbers
        if len(low) > 1 and low.min() >= 0 and torch.equal(low, high) and len(set(low.tolist())) == len(low):
            return axis
    return numbers if numbers.min() != numbers.max() else None


def _passed_on(name: str, output: Tensor, given: Sequence[tuple[tuple[int, ...], State | None]]) -> State | None:
    """Find the channels in the result of an operation that computes new values."""
    if name.startswith(_FIRST):
        return 1 if output.ndim > 2 else None
    if name in _LAST:
        shape, state = given[0]
        mixes = name == "linear" and isinstance(state, int) and len(shape) > 2 and state != len(shape) - 1
        return _UNCLEAR if mixes else output.ndim - 1
    clear = [(shape, state) for shape, state in given if state is not None and not _is_unclear(state)]
    if name in _SAME:
        return given[0][1] if clear else output.ndim - 1
    if not clear:
        return _UNCLEAR if any(_is_unclear(state) for _, state in given) else 1 if _pools(name, output) else None
    axes = {state for shape, state in clear if isinstance(state, int) and len(shape) == output.ndim}
    if axes:
        return axes.pop() if len(axes) == 1 else None
    maps = [state for _, state in clear if isinstance(state, Tensor) and state.shape == output.shape]
    return maps[0] if maps and all(torch.equal(maps[0], other) for other in maps[1:]) else None


def _pools(name: str, output: Tensor) -> bool:
    return "pool" in name and output.ndim > 2
