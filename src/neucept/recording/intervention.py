"""Replace some of a layer's neurons while a network runs, to see what the others can do alone (ablation)."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neucept.errors import InputError, check_kind, check_whole
from neucept.inputs import Inputs
from neucept.recording.hooks import INPUT, calls_of, check_model, left_as_found
from neucept.recording.layout import resolve_units
from neucept.recording.outputs import Output, logits_of
from neucept.recording.reading import float_type
from neucept.recording.recording import Recording
from neucept.recording.task import Classes, Regression
from neucept.recording.units import Encoder, Units, first_tensor, replaceable

__all__ = ["agreement", "can_replace", "numbers_of", "put_back"]
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
            expected = _decisions(recording, recording.logits[part], target)
            for name, mask in masks.items():
                for way, source in enumerate((mean, None)):
                    replace = _replacement(units, mask.to(device), len(part), source)
                    with calls_of(model, [layer], replace):
                        logits = logits_of(batch.call(model), output)[: len(part)]
                    kept_ones = _decisions(recording, logits.cpu().numpy(), target) == expected
                    hits[name][way] += kept_ones.sum()
    return {name: (float(count[0] / len(rows)), float(count[1] / len(rows))) for name, count in hits.items()}


def _decisions(recording: Recording, outputs: np.ndarray, target: int | str | None) -> np.ndarray:
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
