"""The metric of a layer: how far apart two inputs are for the rest of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neucept.discovery import Selection
from neucept.errors import InputError
from neucept.inputs import Batch
from neucept.knockoffs.preprocessing import deviations
from neucept.mechanisms.features import by_hand
from neucept.recording import Classes, Recording
from neucept.recording.hooks import INPUT, calls_of, check_model, left_as_found
from neucept.recording.intervention import put_back
from neucept.recording.layout import resolve_units
from neucept.recording.outputs import Output, pick_logits
from neucept.recording.reading import float_type, token_mask
from neucept.recording.units import Units, output_tensor, readable, replaceable

_MOST_INPUTS = 1000  # over which the metric is averaged
_PASSES = 16  # random sums of the next layer's neurons, each with its backward pass


def layer_metrics(
    recording: Recording,
    critical: Mapping[str, Any],
    wanted: Sequence[str],
    model: nn.Module,
    data: Any,
    rows: np.ndarray,
    output: Output = None,
    passes: int = _PASSES,
    batch_size: int = 64,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Compute M = E[J' D J] for each of some layers, from random sums of the next layer's neurons.

    J is the derivative of the next layer's neurons with respect to those of the layer, D the diagonal of their weights:
    the squared mean statistic of each (0 for negative ones) over its variance, for neurons given by hand 1 over the
    variance. The last layer is read by the outputs, of classes by their differences from the mean output. A neuron
    that is a mean moves by moving all it is the mean of. Each backward pass takes one sum with random signs, other
    signs for every input, or one neuron at a time where there are no more neurons than passes: then M is exact.

    Parameters
    ----------
    recording : Recording
        Of the model and data.
    critical : mapping of str to Selection or neurons
        The layers, in the order of the network; each is read by the next of them.
    wanted : sequence of str
        Those whose metric is asked for.
    model, data : Module and data of any kind
        The recorded ones.
    rows : array
        The inputs to cluster; M is averaged over at most 1,000 of them.
    output : None, str, int or callable
        As in `neucept.record`; that of the recording by default.
    passes : int
        Backward passes per layer and batch.
    batch_size : int
        Inputs per batch.
    seed : int
        Seed for the inputs and signs.

    Returns
    -------
    dict of str to array
        {layer: (k, k)} for activations as they were recorded.

    Raises
    ------
    InputError
        When neurons of a layer cannot be moved, when a layer does not depend on the one before it, or when model or
        data are not the recorded ones.
    """
    layers = list(critical)
    for layer in wanted:
        units = recording.units[layer]
        if layer == INPUT or not replaceable(units) or not readable(units):
            raise InputError(
                f"reduce='metric' moves the neurons of layer '{layer}' and sees what the rest of the network makes of"
                " it, but these neurons are the input or a function's and cannot be put back. Use"
                " reduce='contribution'."
            )
    rng = np.random.default_rng(seed)
    some = rows if len(rows) <= _MOST_INPUTS else np.sort(rng.choice(rows, _MOST_INPUTS, replace=False))
    weights = {layer: _importance(recording, layer, critical[layer], rows) for layer in layers}
    model = check_model(model)
    inputs = recording.verify(model, data, output, layers)
    output = recording.way(output)
    sums = {layer: np.zeros((recording.activations(layer).shape[1],) * 2) for layer in layers}
    with left_as_found(model) as device:
        kind = float_type(model)
        first = inputs[some[:3]].to(device, kind)
        resolved = {
            layer: resolve_units(model, first, {layer: recording.units[layer]}, output)[0][layer] for layer in layers
        }
        for start in range(0, len(some), batch_size):
            batch = inputs[some[start : start + batch_size]].to(device, kind)
            with torch.enable_grad():
                moved, read = _run(model, batch, resolved, output, isinstance(recording.task, Classes))
                for layer, following in zip(layers, [*layers[1:], None], strict=True):
                    if layer not in wanted:
                        continue
                    scale = None if following is None else torch.as_tensor(weights[following]).sqrt()
                    for G in _backward(moved[layer], read[following], scale, passes, rng, layer, following):
                        sums[layer] += G.T @ G
    return {layer: sums[layer] / len(some) for layer in wanted}


def _importance(recording: Recording, layer: str, given: Any, rows: np.ndarray) -> np.ndarray:
    """Weight D of each neuron of a layer, (k,)."""
    variance = deviations(recording.activations(layer)[rows]) ** 2
    if isinstance(given, Selection):
        weights = given.mean_statistic.clip(0) ** 2
        weights = weights if weights.any() else (given.groups >= 0).astype(float)
    else:
        weights = np.zeros(len(variance))
        weights[by_hand(given, layer, len(variance))] = 1.0
    return np.asarray(np.where(variance > 0, weights / np.where(variance > 0, variance, 1.0), 0.0))


def _run(
    model: nn.Module, batch: Batch, units: Mapping[str, Units], output: Output, centred: bool
) -> tuple[dict[str, Tensor], dict[str | None, Tensor]]:
    """Run a batch with a step, zero, added to the neurons of each layer; also what layers and outputs (None) are."""
    steps: dict[str, Tensor] = {}
    read: dict[str | None, Tensor] = {}
    mask = token_mask(model, batch)

    def move(layer: str, call: int, module: nn.Module | None, returned: Any) -> Any:
        tensor, own = output_tensor(returned, layer, mask)
        tensor = tensor.clone()  # an in-place module further on must not change what is read
        read[layer] = units[layer].read(tensor, module, own)
        steps[layer] = torch.zeros_like(read[layer]).requires_grad_()
        spread = units[layer].spread(steps[layer], tensor, module)
        still = units[layer].spread(torch.zeros_like(steps[layer]), tensor, module).detach()
        return put_back(returned, tensor + (spread - still).to(tensor.dtype))

    with calls_of(model, list(units), move):
        logits = pick_logits(batch.call(model), output).float()
    read[None] = logits - logits.mean(dim=1, keepdim=True) if centred else logits
    return steps, read


def _backward(
    step: Tensor,
    read: Tensor,
    scale: Tensor | None,
    passes: int,
    rng: np.random.Generator,
    layer: str,
    following: str | None,
) -> list[np.ndarray]:
    """Differentiate weighted sums of the next neurons: matrices G, (batch, k), whose G'G add up to J'DJ on average."""
    q = read.shape[1]
    scale = torch.ones(q) if scale is None else scale
    scale = scale.to(read.device, torch.float32)
    gradients = []
    for number in range(min(q, passes)):
        if q <= passes:
            signs = torch.zeros(read.shape, device=read.device)
            signs[:, number] = 1.0
        else:
            signs = torch.as_tensor(rng.choice([-1.0, 1.0], size=tuple(read.shape)) / np.sqrt(passes))
        total = (read.float() * signs.to(read.device, torch.float32) * scale).sum()
        (gradient,) = torch.autograd.grad(total, step, retain_graph=True, allow_unused=True)
        if gradient is None:
            what = "The outputs do" if following is None else f"Layer '{following}' does"
            raise InputError(
                f"{what} not depend on layer '{layer}': reduce='metric' needs the layers in the order of the network,"
                " each computed from the one before it."
            )
        gradients.append(gradient.double().cpu().numpy())
    return gradients
