"""The sites of a model: their names, and how a model has to be to be followed.

*Raw* names number every call, ``layer1.0.relu#1``; *readable* ones drop the number where a module or function is called
once, see `readable`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from neucept.errors import InputError
from neucept.pathways.tracing.calls import Call
from neucept.recording.hooks import left_as_found


def readable(raw: Iterable[str]) -> dict[str, str]:
    """Map raw names to readable ones: without the number where there is one call only.

    Examples
    --------
    >>> readable(["features.1#0", "block.relu#0", "block.relu#1"])
    {'features.1#0': 'features.1', 'block.relu#0': 'block.relu#0', 'block.relu#1': 'block.relu#1'}
    """
    raw = list(raw)
    times = Counter(name.rpartition("#")[0] for name in raw)
    # Where the first call is no site, a later one keeps its number: the name has to lead back to it.
    return {name: base if times[base := name.rpartition("#")[0]] == 1 and name == f"{base}#0" else name for name in raw}


def raw_name(site: str) -> str:
    """Give the raw name of a readable one.

    Examples
    --------
    >>> raw_name("features.1"), raw_name("block.relu#1")
    ('features.1#0', 'block.relu#1')
    """
    base, _, number = site.rpartition("#")
    return site if base and number.isdigit() else f"{site}#0"


@contextmanager
def at_work(model: nn.Module, gradients: bool = True) -> Iterator[torch.device]:
    """Put a model into evaluation mode, with gradients on or off whatever they are outside; leaving restores all.

    Yields
    ------
    torch.device
        Where inputs have to go.

    Raises
    ------
    InputError
        When the model lies on several devices, or as of `check_model`.
    """
    check_model(model)
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    if len(devices) > 1:
        raise InputError(
            f"The model lies on several devices ({', '.join(sorted(map(str, devices)))}); move it to one, such as by"
            " model.to('cuda')."
        )
    with torch.inference_mode(False), left_as_found(model) as device, torch.set_grad_enabled(gradients):
        yield device


def check_model(model: object) -> None:
    """Raise an InputError for what is no module, or has compiled or scripted parts, whose calls are hidden."""
    if not isinstance(model, nn.Module):
        raise InputError(f"model is a {type(model).__name__}; expected a torch.nn.Module, such as model.eval().")
    for name, module in model.named_modules():
        # A module compiled by torch.compile wraps the one it was made of; one compiled by .compile() keeps its class.
        compiled = "_orig_mod" in module._modules or module._compiled_call_impl is not None
        if compiled or isinstance(module, torch.jit.ScriptModule):
            what = f"'{name}' of the model" if name else "The model"
            raise InputError(
                f"{what} is {'compiled' if compiled else 'scripted'}: its activation calls cannot be followed. Give the"
                " model as it was before torch.compile, .compile() or torch.jit."
            )


def no_sites(model: nn.Module, activations: Iterable[str], skipped: Sequence[Call] = ()) -> InputError:
    """Say that a model has no activation sites."""
    name = type(model).__name__
    if skipped:
        return InputError(
            f"{name} has no activation call that gives one row an input: {listed(skipped)}. Inputs must come first in"
            " what activations give, (batch, ...): use batch_first=True, say, or transpose before the activation."
        )
    return InputError(
        f"{name} calls no activation function that can be met: expected one of {', '.join(sorted(activations))}. Name"
        " others by activations=; formulas such as x * torch.sigmoid(x), torch.compile and activations of a C extension"
        " cannot be followed."
    )


def listed(calls: Sequence[Call]) -> str:
    """Name the first of some calls.

    Examples
    --------
    >>> listed([Call("0.relu#0", "relu", "0", "Net", torch.Size([7, 2]))] * 5)
    "relu in '0' gives (7, 2); relu in '0' gives (7, 2); relu in '0' gives (7, 2); 2 more"
    """
    more = [f"{len(calls) - 3} more"] if len(calls) > 3 else []
    return "; ".join([*map(str, calls[:3]), *more])
