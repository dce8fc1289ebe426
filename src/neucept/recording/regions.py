"""Which part of an input a neuron looks at: the smallest box that holds most of its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from neucept.errors import InputError, check_kind, check_real, check_whole
from neucept.inputs import Batch
from neucept.recording.hooks import INPUT, calls_of, check_layers, check_model, left_as_found, modules_by_name
from neucept.recording.layout import resolve_units
from neucept.recording.reading import call_first, float_type
from neucept.recording.units import Neurons, Units, as_units, output_tensor

SHARE = 0.9  # of the absolute gradient, held by the box
_CELLS = 32  # a side; larger inputs are searched on a grid of so many cells


def activating_regions(
    model: nn.Module,
    inputs: Tensor,
    layer: str,
    neuron: int | Sequence[int],
    neurons: Neurons = "auto",
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
    neurons : str, Units or callable
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
    check_kind("inputs", inputs, Tensor, "images, a tensor (n, C, H, W)")
    if inputs.ndim != 4 or not inputs.is_floating_point():
        raise InputError(
            f"Regions need images (n, C, H, W) of real numbers; got {tuple(inputs.shape)} of {inputs.dtype}."
        )
    share = check_real("share", share, 0, np.nextafter(1, 2), above=True)
    check_whole("batch_size", batch_size)
    model, how = check_model(model), as_units(neurons, layer)
    check_layers(model, [layer])
    members = [check_whole("neuron", n, 0) for n in (neuron if isinstance(neuron, Sequence | np.ndarray) else [neuron])]
    boxes: list[tuple[int, int, int, int]] = []
    with left_as_found(model, device) as where:
        kind = float_type(model) or inputs.dtype
        first = Batch(inputs[:3]).to(where, kind)
        call_first(model, first.part(slice(0, 1)).fresh())
        units, _ = resolve_units(model, first, {layer: how})
        if len(units) > 1:
            names = list(units)
            raise InputError(f"'{layer}' was called {len(names)} times: choose among '{names[0]}' to '{names[-1]}'.")
        with torch.enable_grad():
            for part in torch.split(inputs, batch_size):
                images = part.to(where, kind)
                gradient = _gradient(model, images, layer, members, units[layer]).double()
                flat = gradient.flatten(1).abs().amax(dim=1) == 0
                if flat.any() and where.type in ("cpu", "cuda"):
                    gradient[flat] = _gradient(model, images[flat], layer, members, units[layer], exact=True)
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
    model: nn.Module, images: Tensor, layer: str, members: list[int], units: Units, exact: bool = False
) -> Tensor:
    """Gradient of the neuron with respect to each image, (n, C, H, W); ``exact`` computes in double precision."""
    # A copy, also of tensors made in inference mode, which can have no gradient.
    leaf = images.detach().to(torch.float64 if exact else images.dtype, copy=True).requires_grad_()
    values: list[Tensor] = []

    def keep(name: str, call: int, module: nn.Module | None, returned: Any) -> None:
        tensor, _ = output_tensor(returned, layer)
        values.append(_value(tensor, units, module, layer, members))

    if layer == INPUT and layer not in modules_by_name(model):
        values.append(_value(leaf, units, None, layer, members))
    else:
        with calls_of(model, [layer], keep):
            # A first in-place module must not meet the leaf.
            functional_call(model, _doubled(model) if exact else {}, (leaf.clone(),))
    if not values[0].requires_grad:
        return torch.zeros_like(leaf)
    (gradient,) = torch.autograd.grad(values[0].sum(), leaf, allow_unused=True)
    return torch.zeros_like(leaf) if gradient is None else gradient


def _doubled(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers in double precision."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: tensor.detach().double() for name, tensor in tensors.items() if tensor.is_floating_point()}


def _value(tensor: Tensor, units: Units, module: nn.Module | None, layer: str, members: list[int]) -> Tensor:
    """Mean of some neurons of a layer, (n,), with its graph."""
    neurons = units.read(tensor, module)
    if not members or min(members) < 0 or max(members) >= neurons.shape[1]:
        raise InputError(
            f"Layer '{layer}' has {neurons.shape[1]} neurons, 0 to {neurons.shape[1] - 1}; {members} were asked for."
        )
    return neurons[:, members].mean(dim=1)
