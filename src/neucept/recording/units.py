"""From what a module returns to neurons: one number for each neuron and input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from neucept.errors import InputError

Pooling = str | Callable[[Tensor], Tensor]
POOLINGS = ("auto", "channel", "element")

_CHANNELS_LAST = (nn.Linear, nn.Embedding, nn.MultiheadAttention)
_CHANNELS_FIRST = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.LPPool1d, nn.LPPool2d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
)


def first_tensor(output: Any) -> Tensor:
    """Find the tensor in what a module returned: itself, or the first of a tuple, a list or a mapping."""
    if isinstance(output, Tensor):
        return output
    values = output.values() if isinstance(output, Mapping) else output if isinstance(output, tuple | list) else ()
    for value in values:
        try:
            return first_tensor(value)
        except TypeError:
            continue
    raise TypeError(f"no tensor in a {type(output).__name__}")


def channel_axis(module: nn.Module | None, output: Tensor) -> int:
    """Which axis of a module's output counts its channels.

    The module's type decides where it can (a ``Linear`` has them last, a ``Conv1d`` second); otherwise an output of
    three axes is (batch, tokens, channels) and one of four or more (batch, channels, space...).
    """
    if output.ndim <= 2 or isinstance(module, _CHANNELS_FIRST):
        return 1
    if isinstance(module, nn.LayerNorm):  # the LayerNorm2d of ConvNeXt is one that permutes: what it normalises tells
        return output.ndim - 1 if output.shape[-1] == module.normalized_shape[-1] else 1
    if isinstance(module, _CHANNELS_LAST) or output.ndim == 3:
        return output.ndim - 1
    return 1


def pool(output: Any, how: Pooling, module: nn.Module | None, layer: str) -> Tensor:
    """Neurons of one call of one module.

    Parameters
    ----------
    output : tensor, or a tuple, list or mapping that holds one
        What the module returned, (batch, ...).
    how : {"auto", "channel", "element"} or callable
        ``channel``: mean over space or tokens; ``element``: every element; ``auto``: channel for outputs of three
        axes or more, element for vectors; a callable maps (batch, ...) to (batch, k).
    module : Module or None
        Where the output comes from; its type tells where the channels are.
    layer : str
        Its name, for errors.

    Returns
    -------
    Tensor
        (batch, k), float32, with memory of its own: an in-place module further on cannot change it.

    Raises
    ------
    InputError
        When the module returns no tensor, or a callable something that is not (batch, k).
    """
    try:
        tensor = first_tensor(output).detach()
    except TypeError as error:
        raise InputError(f"Layer '{layer}' returns {error}; record a module inside it instead.") from None
    if tensor.ndim == 0:
        raise InputError(f"Layer '{layer}' returns a single number, not (batch, ...); record another module.")
    if callable(how):
        neurons = how(tensor)
        if not isinstance(neurons, Tensor) or neurons.ndim != 2 or len(neurons) != len(tensor):
            got = f"shape {tuple(neurons.shape)}" if isinstance(neurons, Tensor) else type(neurons).__name__
            raise InputError(
                f"The callable for the neurons of layer '{layer}' must map {tuple(tensor.shape)} to"
                f" ({len(tensor)}, k); it gave {got}."
            )
        neurons = neurons.detach()
    elif tensor.ndim >= 3 and how in ("auto", "channel"):
        axis = channel_axis(module, tensor)
        others = [d for d in range(1, tensor.ndim) if d != axis]
        neurons = tensor.mean(others, dtype=torch.float32)
    else:
        neurons = tensor.reshape(len(tensor), -1)
    # A view, of the module's output or of what a callable was given, would change with the next in-place module.
    shares = neurons.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr()
    return neurons.to(torch.float32, copy=shares)
