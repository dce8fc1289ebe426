"""The sites of a model: their names, and the state in which a model is traced.

*Raw* names number every call, ``layer1.0.relu#1``; *readable* ones drop the number of a module or function that is
called once, see `readable_names`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from neucept.errors import InputError
from neucept.pathways.tracing.calls import Call
from neucept.recording.hooks import left_as_found


def readable_names(raw: Iterable[str]) -> dict[str, str]:
    """Map raw names to readable ones, which have no number if there is one call only.

    Examples
    --------
    >>> readable_names(["features.1#0", "block.relu#0", "block.relu#1"])
    {'features.1#0': 'features.1', 'block.relu#0': 'block.relu#0', 'block.relu#1': 'block.relu#1'}
    """
    raw = list(raw)
    times = Counter(name.rpartition("#")[0] for name in raw)
    # Where the first call is no site, a later one keeps its number: the name has to lead back to it.
    return {name: base if times[base := name.rpartition("#")[0]] == 1 and name == f"{base}#0" else name for name in raw}


def raw_name(site: str) -> str:
    """Return the raw name of a readable one.

    Examples
    --------
    >>> raw_name("features.1"), raw_name("block.relu#1")
    ('features.1#0', 'block.relu#1')
    """
    base, _, number = site.rpartition("#")
    return site if base and number.isdigit() else f"{site}#0"


@contextmanager
def evaluation(model: nn.Module, gradients: bool = True) -> Iterator[torch.device]:
    """Put a model into evaluation mode, with gradients on or off whatever they are outside; leaving restores all.

    Compiled parts run as plain Python meanwhile, and weights made in inference mode are replaced by copies, which can
    have gradients behind them.

    Yields
    ------
    torch.device
        Where the inputs have to be.

    Raises
    ------
    InputError
        When the model lies on several devices.
    """
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    if len(devices) > 1:
        raise InputError(
            f"The model lies on several devices ({', '.join(sorted(map(str, devices)))}); move it to one, for example"
            " with model.to('cuda')."
        )
    with (
        left_as_found(model) as device,
        _ordinary_tensors(model),
        torch.set_grad_enabled(gradients),
    ):
        yield device


@contextmanager
def _ordinary_tensors(model: nn.Module) -> Iterator[None]:
    """Replace the tensors that a model holds and that inference mode made by ordinary copies; leaving restores them."""
    copies: dict[int, Tensor] = {}
    replaced: list[tuple[Any, str, Tensor]] = []
    for module in model.modules():
        for held in (module._parameters, module._buffers, vars(module)):
            for name, value in held.items():
                if isinstance(value, Tensor) and value.is_inference():
                    replaced.append((held, name, value))
    try:
        for held, name, value in replaced:
            copy = copies.setdefault(id(value), value.clone())
            held[name] = nn.Parameter(copy, value.requires_grad) if isinstance(value, nn.Parameter) else copy
        yield
    finally:
        for held, name, value in replaced:
            held[name] = value


def no_sites(model: nn.Module, activations: Iterable[str], skipped: Sequence[Call] = ()) -> InputError:
    """Return the error for a model without activation sites."""
    name = type(model).__name__
    if skipped:
        return InputError(
            f"{name} has no activation call that returns one row per input: {list_calls(skipped)}. Inputs must come"
            " first in what activations return, (batch, ...): use batch_first=True, or transpose before the activation."
        )
    return InputError(
        f"{name} calls no activation function that can be followed: expected one of {', '.join(sorted(activations))}."
        " Name others with activations=. Formulas such as x * torch.sigmoid(x) and activations of a C extension cannot"
        " be followed."
    )


def never_called(site: str) -> InputError:
    """Return the error for a pathway's site that a model never calls."""
    return InputError(f"The model never calls the pathway's site '{site}': give the model that was scored.")


def list_calls(calls: Sequence[Call]) -> str:
    """Describe the first three of some calls.

    Examples
    --------
    >>> list_calls([Call("0.relu#0", "relu", "0", "Net", torch.Size([7, 2]))] * 5)
    "relu in '0' returns (7, 2); relu in '0' returns (7, 2); relu in '0' returns (7, 2); 2 more"
    """
    more = [f"{len(calls) - 3} more"] if len(calls) > 3 else []
    return "; ".join([*map(str, calls[:3]), *more])
