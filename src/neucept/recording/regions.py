"""Which part of an input a neuron looks at: the smallest box that holds most of its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from neucept.errors import InputError, closest
from neucept.recording.hooks import INPUT, left_as_found, modules_by_name, poolings, split_call
from neucept.recording.units import Pooling, channel_axis, first_tensor

SHARE = 0.9  # of the absolute gradient, held by the box
_CELLS = 32  # a side; larger inputs are searched on a grid of so many cells


def activating_regions(
    model: nn.Module,
    inputs: Tensor,
    layer: str,
    neuron: int | Sequence[int],
    neurons: Pooling = "auto",
    share: float = SHARE,
    device: torch.device | str | None = None,
    batch_size: int = 64,
) -> np.ndarray:
    """Find the region of each input that a neuron responds to.

    It is the smallest box that holds ``share`` of the neuron's absolute gradient with respect to the input, summed
    over the input's channels. The model is left as it was found, after an error too.

    Parameters
    ----------
    model : Module
        Any network.
    inputs : Tensor
        (n, C, H, W), as the model wants them.
    layer : str
        As in `neucept.record`: a module, ``"name#1"`` for one call of a module called several times, or ``"input"``.
    neuron : int or sequence of int
        Its number in that layer; several stand for their mean.
    neurons : {"auto", "channel", "element"} or callable
        How the layer becomes neurons, as in `neucept.record`.
    share : float
        In (0, 1].
    device : device, optional
        Where to run; by default where the model is.
    batch_size : int
        Inputs at a time.

    Returns
    -------
    array
        (n, 4) int64: top, left, bottom, right, the last two exclusive. Inputs of more than 32 pixels a side are
        searched in steps of a 32nd. Where the gradient is zero everywhere, in double precision too (a saturated tanh
        has one there), the box is the whole input.

    Raises
    ------
    InputError
        For inputs that are not images, an unknown layer, one that is never called or called several times, or a neuron
        that is not there.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())
    >>> activating_regions(net, torch.randn(1, 1, 8, 8), "1", 0)
    array([[0, 0, 3, 3]])
    """
    if inputs.ndim != 4 or not inputs.is_floating_point():
        raise InputError(
            f"Regions need images (n, C, H, W) of real numbers; got {tuple(inputs.shape)} of {inputs.dtype}."
        )
    if not 0 < share <= 1:
        raise InputError(f"share={share!r}: expected a number in (0, 1].")
    poolings([layer], neurons)
    members = [int(neuron)] if isinstance(neuron, int | np.integer) else [int(number) for number in neuron]
    boxes = []
    with left_as_found(model, device) as where, torch.enable_grad():
        for part in torch.split(inputs, batch_size):
            images = part.to(where)
            gradient = _gradient(model, images, layer, members, neurons).double()
            flat = gradient.flatten(1).abs().amax(dim=1) == 0
            if flat.any() and where.type in ("cpu", "cuda"):
                gradient[flat] = _gradient(model, images[flat], layer, members, neurons, exact=True)
            boxes += [smallest_box(image, share) for image in gradient.abs().sum(dim=1).cpu().numpy()]
    return np.array(boxes, dtype=np.int64).reshape(len(boxes), 4)


def smallest_box(weight: np.ndarray, share: float = SHARE) -> tuple[int, int, int, int]:
    """Find the box of the least area that holds a share of the total weight.

    Parameters
    ----------
    weight : array
        (H, W), not negative. Sides of more than 32 are searched on a grid of 32 cells.
    share : float
        Of the sum of all weights.

    Returns
    -------
    tuple
        top, left, bottom, right, the last two exclusive; everything where all weights are zero.

    Examples
    --------
    >>> smallest_box(np.array([[0, 0, 0], [0, 5, 4], [1, 0, 0]]))
    (1, 1, 2, 3)
    """
    height, width = weight.shape
    total = weight.sum()
    if not total > 0:
        return 0, 0, height, width
    rows, columns = _edges(height), _edges(width)
    cells = np.add.reduceat(np.add.reduceat(weight.astype(np.float64), rows[:-1], axis=0), columns[:-1], axis=1)
    integral = np.pad(cells.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    tops, bottoms = np.triu_indices(len(rows), 1)
    lefts, rights = np.triu_indices(len(columns), 1)
    strips = integral[bottoms] - integral[tops]
    held = strips[:, rights] - strips[:, lefts]
    area = (rows[bottoms] - rows[tops])[:, None] * (columns[rights] - columns[lefts])
    best = int(np.where(held >= share * total * (1 - 1e-9), area, height * width + 1).argmin())
    strip, span = divmod(best, len(lefts))
    return int(rows[tops[strip]]), int(columns[lefts[span]]), int(rows[bottoms[strip]]), int(columns[rights[span]])


def _edges(size: int) -> np.ndarray:
    return np.linspace(0, size, min(size, _CELLS) + 1).round().astype(int)


def _gradient(
    model: nn.Module, images: Tensor, layer: str, members: list[int], how: Pooling, exact: bool = False
) -> Tensor:
    """Gradient of the neuron with respect to each image, (n, C, H, W); ``exact`` computes in double precision."""
    leaf = images.detach().to(torch.float64 if exact else images.dtype, copy=True).requires_grad_()
    if layer == INPUT and layer not in modules_by_name(model):
        value = _value(leaf, how, None, layer, members)
    else:
        value = _at_layer(
            model, leaf.clone(), layer, members, how, exact
        )  # a first in-place module must not meet the leaf
    if not value.requires_grad:
        return torch.zeros_like(leaf)
    (gradient,) = torch.autograd.grad(value.sum(), leaf, allow_unused=True)
    return torch.zeros_like(leaf) if gradient is None else gradient


def _at_layer(model: nn.Module, images: Tensor, layer: str, members: list[int], how: Pooling, exact: bool) -> Tensor:
    """Run the model and give the neuron's value for each image, (n,), with its graph."""
    known = modules_by_name(model)
    name, call = split_call(layer)
    if name not in known:
        raise InputError(f"The model has no module '{name}'.{closest(name, known)}")
    values: list[Tensor] = []
    calls = 0

    def keep(module: nn.Module, given: Any, returned: Any) -> None:
        nonlocal calls
        if call in (None, calls):
            values.append(_value(first_tensor(returned), how, module, layer, members))
        calls += 1

    with ExitStack() as stack:
        stack.callback(known[name].register_forward_hook(keep).remove)
        functional_call(model, _doubled(model) if exact else {}, (images,))
    if not values:
        raise InputError(f"Layer '{layer}' was never called in the forward pass; '{name}' was called {calls} times.")
    if len(values) > 1:
        raise InputError(f"'{name}' was called {calls} times: choose among '{name}#0' to '{name}#{calls - 1}'.")
    return values[0]


def _doubled(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers in double precision."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: tensor.detach().double() for name, tensor in tensors.items() if tensor.is_floating_point()}


def _value(tensor: Tensor, how: Pooling, module: nn.Module | None, layer: str, members: list[int]) -> Tensor:
    """Mean of some neurons of a layer, (n,), as `neucept.recording.units.pool` has them, but with their graph."""
    if callable(how):
        neurons = how(tensor)
    elif tensor.ndim >= 3 and how in ("auto", "channel"):
        axis = channel_axis(module, tensor)
        neurons = tensor.mean([d for d in range(1, tensor.ndim) if d != axis])
    else:
        neurons = tensor.reshape(len(tensor), -1)
    if not members or min(members) < 0 or max(members) >= neurons.shape[1]:
        raise InputError(
            f"Layer '{layer}' has {neurons.shape[1]} neurons, 0 to {neurons.shape[1] - 1}; {members} were asked for."
        )
    return neurons[:, members].mean(dim=1)
