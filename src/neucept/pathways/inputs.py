"""Batches of inputs of any kind (a tensor, a tuple, keywords): count, copy, cut and repeat them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from neucept.errors import InputError
from neucept.recording.batches import to_device

Rows = int | slice | Sequence[int] | np.ndarray | Tensor
_Noun = TypeVar("_Noun")


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Go through the tensors of nested tuples, lists and mappings, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors_in(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from tensors_in(part)


def mapped(change: Callable[[Tensor], Any], value: Any) -> Any:
    """Change every tensor of nested tuples, lists and mappings; anything else stays."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: mapped(change, part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        parts = [mapped(change, part) for part in value]
        return parts if isinstance(value, list) else tuple(parts)
    return value


def count_inputs(inputs: Any) -> int:
    """Count the inputs of a batch.

    Raises
    ------
    InputError
        When there is no tensor, the tensors differ in length or device, or there is not one input.
    """
    found = list(tensors_in(inputs))
    if not found or any(tensor.ndim == 0 for tensor in found):
        raise InputError(
            f"The inputs are a {type(inputs).__name__}; expected a tensor (batch, ...), or a tuple or mapping of them."
        )
    lengths = sorted({len(tensor) for tensor in found})
    if len(lengths) > 1 or lengths[0] == 0:
        raise InputError(f"The parts of the inputs have the lengths {lengths}; expected the same number, one or more.")
    devices = sorted({str(tensor.device) for tensor in found})
    if len(devices) > 1:
        raise InputError(f"The parts of the inputs lie on several devices ({', '.join(devices)}); move them to one.")
    return lengths[0]


def fresh(inputs: Any) -> Any:
    """Copy the inputs, without their gradients: a network that writes into its input must find it whole next time."""
    return mapped(lambda tensor: tensor.detach().clone(), inputs)


def placed(inputs: Any, device: torch.device) -> Any:
    """Check and copy the inputs, to a device; errors as of `count_inputs`."""
    count_inputs(inputs)
    return fresh(to_device(inputs, device))


def part(inputs: Any, rows: slice) -> Any:
    """Cut out some inputs."""
    return mapped(lambda tensor: tensor[rows], inputs)


def repeated(inputs: Any, times: int) -> Any:
    """Put the whole batch several times behind itself."""
    return mapped(lambda tensor: torch.cat([tensor] * times), inputs) if times > 1 else inputs


def changed(noun: _Noun, change: Callable[[Tensor], Tensor]) -> _Noun:
    """Change every tensor in the fields of a dataclass."""
    return replace(noun, **{one.name: mapped(change, getattr(noun, one.name)) for one in fields(noun)})  # type: ignore[type-var, arg-type]


def rows_of(noun: _Noun, rows: Rows) -> _Noun:
    """Take some inputs of a dataclass of tensors, each (batch, ...).

    Raises
    ------
    InputError
        For rows that are not there, or none.
    """
    which: Any = rows
    if not isinstance(rows, slice):
        try:
            which = torch.as_tensor(rows).reshape(-1)
            if which.dtype.is_floating_point and len(which):
                raise TypeError
            which = which if which.dtype == torch.bool else which.long()
        except (TypeError, ValueError, RuntimeError):
            raise InputError(f"rows={rows!r}: expected a slice, numbers of inputs, or a mask.") from None
    try:
        found = changed(noun, lambda tensor: tensor[which.to(tensor.device) if isinstance(which, Tensor) else which])
    except (IndexError, TypeError) as error:
        raise InputError(f"rows={rows!r}: {error}.") from None
    if not len(next(tensors_in([getattr(found, one.name) for one in fields(found)]))):  # type: ignore[arg-type]
        raise InputError(f"rows={rows!r} takes no input at all.")
    return found
