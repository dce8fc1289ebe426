"""Replace some of a layer's neurons while a network runs, to see what the others can do alone (ablation)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neucept.errors import InputError, check_kind, check_whole
from neucept.inputs import Inputs
from neucept.recording.hooks import INPUT, calls_of, check_model, left_as_found
from neucept.recording.layout import resolve_units
from neucept.recording.outputs import Output, logits_of, pick_logits
from neucept.recording.reading import float_type
from neucept.recording.recording import Recording
from neucept.recording.subnetwork import tail
from neucept.recording.task import Classes, Regression
from neucept.recording.units import Channels, Elements, Encoder, Token, Units, first_tensor, readable, replaceable

__all__ = ["Rest", "agreement", "can_replace", "decisions", "numbers_of", "put_back", "rest_of"]
_FOR_MEAN = 512  # inputs over which a layer's mean output is taken


def can_replace(recording: Recording, layer: str) -> bool:
    """Say whether neurons of a layer can be replaced: not the input, nor those of a function without an inverse."""
    return replaceable(recording.units[layer]) and layer != INPUT


def agreement(
    model: nn.Module,
    data: Any,
    recording: Recording,
    layer: str,
    kept: Mapping[str, np.ndarray],
    rows: np.ndarray,
    output: Output = None,
    batch_size: int = 128,
    seed: int = 0,
    target: int | str | None = None,
) -> dict[str, tuple[float, float]]:
    """Share of predictions that stay when all but some neurons of a layer are replaced.

    Replaced once by their mean over inputs of all kinds (mean ablation, position by position where a neuron is a map),
    once by what another input, drawn from all of the recording, has there (resample ablation). All replaced neurons
    come from the same other input. Exported by `neucept.recording`.

    Parameters
    ----------
    model : Module
        The recorded one; left as found.
    data : Inputs or data of any kind
        The recorded inputs, see `neucept.inputs.Inputs.of`.
    recording : Recording
        Its predictions are those to keep.
    layer : str
        Whose neurons can be put back into its output, see `can_replace`.
    kept : mapping of str to array
        Sets of neurons that stay, by any names: numbers, or a mask over the layer's neurons.
    rows : array
        Inputs to predict: numbers, or a mask over the recorded ones.
    output : None, str, int or callable
        As in `neucept.record`; that of the recording by default.
    batch_size : int
        Inputs per batch.
    seed : int
        Seed for the choice of other inputs.
    target : int or str, optional
        The prediction that must stay, or stay away, where the task is not one of classes.

    Returns
    -------
    dict of str to (float, float)
        For each set: share with the others at their mean, share with the others resampled.

    Raises
    ------
    InputError
        When the layer's neurons cannot be replaced, when model or data are not the recorded ones
        (`Recording.verify`), when there are no such neurons or inputs, or no inputs at all.
    """
    check_kind("recording", recording, Recording, "what neucept.record returns")
    check_kind("layer", layer, str, "the name of a recorded layer")
    check_kind("kept", kept, Mapping, "{name: neurons that stay}")
    check_whole("seed", seed, 0)
    recording.activations(layer)
    if not can_replace(recording, layer):
        raise InputError(f"The neurons of layer '{layer}' are the input or a callable's: they cannot be replaced.")
    check_whole("batch_size", batch_size)
    rows, k = numbers_of(rows, len(recording), "rows"), recording.activations(layer).shape[1]
    if not len(rows):
        raise InputError("No inputs were given: rows is empty.")
    masks = {name: torch.zeros(k, dtype=torch.bool) for name in kept}
    for name, neurons in kept.items():
        masks[name][torch.as_tensor(numbers_of(neurons, k, f"kept['{name}']"))] = True
    model = check_model(model)
    inputs = recording.verify(model, data, output, [layer])
    output = recording.way(output)
    rng = np.random.default_rng(seed)
    others = rng.choice(len(recording), size=len(rows), replace=len(rows) > len(recording))
    hits = {name: np.zeros(2) for name in kept}
    with left_as_found(model) as device:
        kind = float_type(model)
        first = inputs[rows[:3]].to(device, kind)
        units = resolve_units(model, first, {layer: recording.units[layer]}, output)[0][layer]
        mean = _mean_output(model, layer, units, inputs, others[:_FOR_MEAN], batch_size)
        for start in range(0, len(rows), batch_size):
            part, resampled = rows[start : start + batch_size], others[start : start + batch_size]
            batch = inputs[np.concatenate([part, resampled])].to(device, kind)
            expected = decisions(recording, recording.logits[part], target)
            for name, mask in masks.items():
                for way, source in enumerate((mean, None)):
                    replace = _replacement(units, mask.to(device), len(part), source)
                    with calls_of(model, [layer], replace):
                        logits = logits_of(batch.call(model), output)[: len(part)]
                    kept_ones = decisions(recording, logits.cpu().numpy(), target) == expected
                    hits[name][way] += kept_ones.sum()
    return {name: (float(count[0] / len(rows)), float(count[1] / len(rows))) for name, count in hits.items()}


def decisions(recording: Recording, outputs: np.ndarray, target: int | str | None) -> np.ndarray:
    """Give what must stay: the predicted class, or whether the target is predicted."""
    task = recording.task
    if isinstance(task, Classes):
        return np.asarray(outputs.argmax(axis=1))
    if target is None:
        raise InputError(f"The task is {task.name}: say which prediction must stay, target=.")
    if isinstance(task, Regression):
        low, high = task.bounds(recording.logits, recording.class_number(target))
        return np.asarray((outputs[:, task.output] >= low) & (outputs[:, task.output] <= high))
    return task.predicted(outputs, recording.class_number(target))


@dataclass(frozen=True, eq=False)
class Rest:
    """The network from a layer on; made by `rest_of`.

    Attributes
    ----------
    run : callable
        What the layer returns, (batch, ...), to the outputs, (batch, C), with their graph.
    values : callable
        Numbers of recorded inputs, (m,), to what the layer returns for them, (m, ...).
    units : Units
        How that becomes neurons, and back.
    module : Module or None
        The layer.
    numel : int
        Elements of what the layer returns for one input.
    """

    run: Callable[[Tensor], Tensor]
    values: Callable[[np.ndarray], Tensor]
    units: Units
    module: nn.Module | None
    numel: int

    def mix(self, own: Tensor, others: Tensor, keep: Tensor) -> Tensor:
        """Keep each neuron of ``own`` to a degree ``keep`` in [0, 1], (k,) or (batch, k); the rest is of ``others``."""
        keep = keep.to(own)
        if isinstance(self.units, Encoder):
            codes, other = self.units.read(own, self.module), self.units.read(others, self.module)
            return own + self.units.spread(keep * codes + (1 - keep) * other, own) - self.units.spread(codes, own)
        return own + self.units.spread(1 - keep, own, self.module) * (others - own)

    def move(self, own: Tensor, steps: Tensor) -> Tensor:
        """Add steps, (batch, k), to the neurons; a neuron that is a mean moves by moving all that it is the mean of."""
        steps = steps.to(own)
        if isinstance(self.units, Encoder):
            codes = self.units.read(own, self.module)
            return own + self.units.spread(codes + steps, own) - self.units.spread(codes, own)
        still = self.units.spread(torch.zeros_like(steps), own, self.module)
        return own + (self.units.spread(steps, own, self.module) - still)


def rest_of(
    model: nn.Module,
    inputs: Inputs,
    recording: Recording,
    layer: str,
    output: Output = None,
    batch_size: int = 128,
) -> Rest:
    """Cut a network at a layer.

    What the layer returns for an input is taken from the recording where each element is one neuron; otherwise the
    network runs up to the layer.

    Parameters
    ----------
    model : Module
        The recorded one, in evaluation mode (`neucept.recording.hooks.left_as_found`).
    inputs : Inputs
        The recorded ones, as `Recording.verify` returns them.
    recording : Recording
        Of both.
    layer : str
        Whose neurons can be put back into its output, see `can_replace`.
    output : None, str, int or callable
        As in `neucept.record`; that of the recording by default.
    batch_size : int
        Inputs per batch.

    Raises
    ------
    InputError
        When neurons of the layer cannot be replaced, when the network cannot be cut there, when no gradient reaches the
        layer, or, later, when the layer's output differs in shape between inputs.
    """
    held = recording.units[layer]
    if not can_replace(recording, layer) or not readable(held):
        raise InputError(f"The neurons of layer '{layer}' are the input or a function's: they cannot be replaced.")
    cut, way = tail(model, layer), recording.way(output)
    device = next(iter(model.parameters()), torch.empty(0)).device
    kind = float_type(model)
    found = resolve_units(model, inputs[np.arange(min(len(recording), 3))].to(device, kind), {layer: held}, way)[0]
    if layer not in found:
        raise InputError(f"Layer '{layer}' was recorded as one call, and is now called several times.")
    units = found[layer]
    axis = getattr(units, "batch", 0)
    modules: list[nn.Module | None] = [None]

    def returned_for(rows: np.ndarray) -> Tensor:
        parts: list[Tensor] = []

        def keep(name: str, call: int, module: nn.Module | None, returned: Any) -> None:
            if not isinstance(returned, Tensor):
                raise InputError(
                    f"Layer '{layer}' returns a {type(returned).__name__}, from which the rest of the network cannot"
                    " be run. Record a module inside it, or the next one."
                )
            parts.append(returned.detach().movedim(axis, 0).clone())
            modules[:] = [module]

        with calls_of(model, [layer], keep):
            for start in range(0, len(rows), batch_size):
                inputs[rows[start : start + batch_size]].to(device, kind).call(model)
        if len({part.shape[1:] for part in parts}) > 1:
            raise InputError(
                f"The output of layer '{layer}' differs in shape between inputs, so that neurons of one input cannot"
                " take the place of another's."
            )
        return torch.cat(parts)

    first = returned_for(np.arange(min(len(recording), 2)))
    width = recording.activations(layer).shape[1]
    if axis and isinstance(units, Channels | Elements | Token):
        units = replace(units, batch=0)
        if isinstance(units, Channels) and units.axis is not None:
            units = replace(units, axis=units.axis + (units.axis < axis))

    def recorded(rows: np.ndarray) -> Tensor:
        values = torch.from_numpy(np.array(recording.activations(layer)[rows]))
        return values.reshape(-1, *first.shape[1:]).to(device, first.dtype)

    def run(values: Tensor) -> Tensor:
        return pick_logits(cut(values.movedim(0, axis)), way).float()

    with torch.enable_grad():
        start = first.clone().requires_grad_()
        outputs = run(start)
        reached = outputs.requires_grad and torch.autograd.grad(outputs.sum(), start, allow_unused=True)[0] is not None
    if not reached:
        raise InputError(
            f"No gradient of the outputs reaches layer '{layer}', as in a quantised network: give the network that it"
            " was made from."
        )
    plain = isinstance(units, Channels | Elements) and first[0].numel() == width
    return Rest(run, recorded if plain else returned_for, units, modules[0], first[0].numel())


def numbers_of(given: Any, n: int, name: str) -> np.ndarray:
    """Give numbers from 0 to n - 1 as such, and those that a mask (n,) names.

    Raises
    ------
    InputError
        For a mask of another length, numbers out of range and anything else.

    Examples
    --------
    >>> numbers_of([True, False, True], 3, "rows").tolist(), numbers_of([2, 0], 3, "rows").tolist()
    ([0, 2], [2, 0])
    """
    chosen = np.asarray(given)
    if chosen.ndim == 1 and not chosen.size:
        return np.zeros(0, np.int64)
    if chosen.dtype == bool and chosen.shape == (n,):
        return np.flatnonzero(chosen)
    if chosen.ndim != 1 or not np.issubdtype(chosen.dtype, np.integer):
        raise InputError(
            f"{name} has shape {chosen.shape} and type {chosen.dtype}; expected numbers from 0 to {n - 1}, or a mask"
            f" ({n},)."
        )
    if (wrong := chosen[(chosen < 0) | (chosen >= n)]).size:
        raise InputError(f"{name} holds {wrong[0]}; expected numbers from 0 to {n - 1}.")
    return chosen.astype(np.int64)


def _replacement(units: Units, keep: Tensor, count: int, source: Tensor | None) -> Any:
    """Replace what is not kept in the first ``count`` inputs of a batch, by ``source`` or by the inputs after them."""
    axis = getattr(units, "batch", 0)

    def replace(layer: str, call: int, module: nn.Module | None, returned: Any) -> Any:
        tensor = first_tensor(returned)
        moved = tensor.movedim(axis, 0)
        own, rest = moved[:count], moved[count:]
        other = rest[:count] if source is None else source.to(tensor.dtype).expand_as(own)
        if isinstance(units, Encoder):
            codes, others = units.read(own, module), units.read(other, module)
            changed = own + units.spread(torch.where(keep, codes, others), own) - units.spread(codes, own)
        else:
            replaced = units.spread(~keep, tensor, module).movedim(axis, 0)
            changed = torch.where(replaced, other, own)
        return put_back(returned, torch.cat([changed, rest]).movedim(0, axis))

    return replace


def put_back(returned: Any, tensor: Tensor) -> Any:
    """Return what a module returned with ``tensor`` in the place where `first_tensor` found one."""
    if isinstance(returned, Tensor):
        return tensor
    keys = list(returned) if isinstance(returned, Mapping) else list(range(len(returned)))
    for key in keys:
        try:
            first_tensor(returned[key])
        except TypeError:
            continue
        changed = put_back(returned[key], tensor)
        if isinstance(returned, Mapping | list):
            copied: Any = copy(returned)
            copied[key] = changed
            return copied
        parts = [changed if number == key else part for number, part in enumerate(returned)]
        return type(returned)(*parts) if hasattr(returned, "_fields") else tuple(parts)
    raise InputError(f"The layer returns a {type(returned).__name__}, in which neurons cannot be replaced.")


def _mean_output(
    model: nn.Module, layer: str, units: Units, inputs: Inputs, rows: np.ndarray, batch_size: int
) -> Tensor:
    """Mean output of a layer, (1, ...) with the inputs first: position by position.

    Where outputs differ in length from batch to batch (padded texts), each neuron's mean at all its positions.
    """
    sums: list[Tensor] = []
    outputs: list[Tensor] = []
    codes: list[Tensor] = []
    axis = getattr(units, "batch", 0)

    def add(name: str, call: int, module: nn.Module | None, returned: Any) -> None:
        tensor = first_tensor(returned).detach()
        sums.append(tensor.movedim(axis, 0).sum(0, keepdim=True, dtype=torch.float32))
        codes.append(units.read(tensor, module).sum(0, keepdim=True, dtype=torch.float32))
        outputs[:] = [tensor]

    device = next(iter(model.parameters()), torch.empty(0)).device
    with calls_of(model, [layer], add):
        for start in range(0, len(rows), batch_size):
            inputs[rows[start : start + batch_size]].to(device, float_type(model)).call(model)
    if len({total.shape for total in sums}) == 1:
        return torch.stack(sums).sum(0) / len(rows)
    mean = (torch.stack(codes).sum(0) / len(rows))[0]
    return units.spread(mean, outputs[0]).movedim(axis, 0)[:1]
