"""Run a network with some of a layer's neurons replaced, to see what the others can do alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neucept.errors import InputError, check_whole, closest
from neucept.recording.batches import are_labels, by_number, forward, to_device
from neucept.recording.hooks import INPUT, left_as_found, modules_by_name, split_call
from neucept.recording.outputs import Output, logits_of
from neucept.recording.recording import Recording
from neucept.recording.units import channel_axis, first_tensor


def replaceable(recording: Recording, layer: str) -> bool:
    """Say whether neurons of a layer can be replaced: not those of a callable, and not the input."""
    return recording.pooling.get(layer, "auto") != "callable" and layer != INPUT


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
) -> dict[str, tuple[float, float]]:
    """Share of predictions that stay when all but some neurons of a layer are replaced.

    Replaced once by their mean over inputs of all kinds (position by position where a neuron is a map), once by what
    another input, drawn from all of the recording, has there. All replaced neurons come from the same other input.
    To be had from `neucept.recording`.

    Parameters
    ----------
    model : Module
        The recorded one; left as found.
    data : Dataset or tensor
        The recorded inputs, by number.
    recording : Recording
        Its predictions are those to keep.
    layer : str
        Recorded as channels or elements.
    kept : mapping of str to array
        Sets of neurons that stay, by any names: numbers, or a mask over the layer's neurons.
    rows : array
        Inputs to predict: numbers, or a mask over the recorded ones.
    output : None, str, int or callable
        As in `neucept.record`.
    batch_size, seed : int
        Inputs at a time; of the choice of other inputs.

    Returns
    -------
    dict of str to (float, float)
        For each set: share with the others at their mean, share with the others resampled.

    Raises
    ------
    InputError
        When the layer's neurons cannot be replaced, see `replaceable`, when the data does not match the recording, when
        there are no such neurons or inputs, or no inputs at all.
    """
    data = _checked(model, data, recording, layer)
    check_whole("batch_size", batch_size)
    rows, k = numbers_of(rows, len(recording), "rows"), recording.activations(layer).shape[1]
    if not len(rows):
        raise InputError("No inputs were given: rows is empty.")
    masks = {name: torch.zeros(k, dtype=torch.bool) for name in kept}
    for name, neurons in kept.items():
        masks[name][torch.as_tensor(numbers_of(neurons, k, f"kept['{name}']"))] = True
    rng = np.random.default_rng(seed)
    others = rng.choice(len(recording), size=len(rows), replace=len(rows) > len(recording))
    hits = {name: np.zeros(2) for name in kept}
    with left_as_found(model) as device:
        mean = _mean(model, layer, [data[int(i)] for i in others[:512]], device, batch_size)
        for start in range(0, len(rows), batch_size):
            mine, theirs = rows[start : start + batch_size], others[start : start + batch_size]
            inputs = to_device(_collate([data[int(i)] for i in (*mine, *theirs)]), device)
            expected = recording.predictions[mine]
            for name, mask in masks.items():
                for way, source in enumerate((mean, None)):
                    with _replaced(model, layer, mask.to(device), len(mine), source):
                        logits = logits_of(forward(model, inputs), output)[: len(mine)]
                    hits[name][way] += (logits.argmax(1).cpu().numpy() == expected).sum()
    return {name: (float(count[0] / len(rows)), float(count[1] / len(rows))) for name, count in hits.items()}


def _checked(model: nn.Module, data: Any, recording: Recording, layer: str) -> Any:
    """Give the recorded inputs, without labels; refuse layers whose neurons cannot be replaced."""
    if not replaceable(recording, layer):
        raise InputError(f"The neurons of layer '{layer}' are the input or a callable's: they cannot be replaced.")
    if (name := split_call(layer)[0]) not in (known := modules_by_name(model)):
        raise InputError(f"The model has no module '{name}'.{closest(name, known)}")
    data = by_number(data, collated=True)
    data = data[0] if isinstance(data, tuple | list) and len(data) == 2 and len(data[0]) == len(recording) else data
    if not hasattr(data, "__getitem__") or len(data) != len(recording):
        raise InputError("data must hold the recorded inputs, by number, for neurons to be replaced.")
    return data


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


@contextmanager
def _replaced(model: nn.Module, layer: str, keep: Tensor, count: int, source: Tensor | None) -> Iterator[None]:
    """Replace what is not kept in the first ``count`` inputs of a batch, by ``source`` or by the inputs after them."""
    seen = [0]
    name, call = split_call(layer)

    def hook(module: nn.Module, given: Any, returned: Any) -> Any:
        seen[0] += 1
        if call is not None and seen[0] - 1 != call:
            return None
        tensor = first_tensor(returned)
        other = tensor[count : 2 * count] if source is None else source.to(tensor.dtype).expand_as(tensor[:count])
        changed = torch.where(_mask(module, tensor, keep), tensor[:count], other)
        return _put_back(returned, torch.cat([changed, tensor[count:]]))

    handle = modules_by_name(model)[name].register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _mask(module: nn.Module, tensor: Tensor, keep: Tensor) -> Tensor:
    """Shape a mask over neurons as the module's output: a channel each, or an element each."""
    if len(keep) == tensor[0].numel():
        return keep.reshape(tensor.shape[1:])
    axis = channel_axis(module, tensor)
    return keep.reshape([-1 if d == axis else 1 for d in range(1, tensor.ndim)])


def _put_back(returned: Any, tensor: Tensor) -> Any:
    """Return what a module returned with ``tensor`` in the place where `first_tensor` found one."""
    if isinstance(returned, Tensor):
        return tensor
    keys = list(returned) if isinstance(returned, Mapping) else list(range(len(returned)))
    for key in keys:
        try:
            first_tensor(returned[key])
        except TypeError:
            continue
        changed = _put_back(returned[key], tensor)
        if isinstance(returned, Mapping | list):
            copied: Any = copy(returned)
            copied[key] = changed
            return copied
        parts = [changed if number == key else part for number, part in enumerate(returned)]
        return type(returned)(*parts) if hasattr(returned, "_fields") else tuple(parts)
    raise InputError(f"The layer returns a {type(returned).__name__}, in which neurons cannot be replaced.")


def _mean(model: nn.Module, layer: str, items: Sequence[Any], device: torch.device, batch_size: int) -> Tensor:
    """Mean output of a layer, position by position, (1, ...)."""
    name, call = split_call(layer)
    total: list[Tensor] = []
    seen = [0]

    def hook(module: nn.Module, given: Any, returned: Any) -> None:
        seen[0] += 1
        if call is None or seen[0] - 1 == call:
            total.append(first_tensor(returned).detach().sum(0, keepdim=True, dtype=torch.float32))

    handle = modules_by_name(model)[name].register_forward_hook(hook)
    try:
        for start in range(0, len(items), batch_size):
            seen[0] = 0
            forward(model, to_device(_collate(items[start : start + batch_size]), device))
    finally:
        handle.remove()
    return torch.stack(total).sum(0) / len(items)


def _collate(items: Sequence[Any]) -> Any:
    """Stack inputs, labels left out."""
    first = items[0]
    if isinstance(first, Tensor | np.ndarray):
        return torch.stack([torch.as_tensor(item) for item in items])
    if isinstance(first, Mapping):
        return {name: torch.stack([torch.as_tensor(item[name]) for item in items]) for name in first}
    if len(first) == 1 or (len(first) == 2 and are_labels(_stacked([item[1] for item in items]))):
        return _collate([item[0] for item in items])
    return tuple(_collate([item[part] for item in items]) for part in range(len(first)))


def _stacked(parts: Sequence[Any]) -> Any:
    try:
        return torch.stack([torch.as_tensor(part) for part in parts])
    except (TypeError, ValueError, RuntimeError):
        return None
