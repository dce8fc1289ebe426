"""From what a model returns to logits, one column a class."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from neucept.errors import InputError
from neucept.recording.units import first_tensor

Output = str | int | Callable[[Any], Tensor] | None


def logits_of(returned: Any, output: Output = None) -> Tensor:
    """Pick the logits out of what a model returned, (batch, C) float32 without gradient; see `pick_logits`."""
    return pick_logits(returned, output).detach().float()


def recorded_output(facts: Mapping[str, Any], output: Output = None) -> Output:
    """Give the way to the logits by which a recording was made, unless another one is given.

    Parameters
    ----------
    facts : mapping
        Of the recording.
    output : None, str, int or callable
        What was given; None for that of the recording.

    Raises
    ------
    InputError
        The recording was made with a callable, which cannot be kept: it must be given again.
    """
    known = str(facts.get("output", ""))
    if output is not None or not known:
        return output
    try:
        kept: Output = ast.literal_eval(known)
    except (ValueError, SyntaxError):
        raise InputError(f"The logits were recorded with output={known}; give the same again, output=.") from None
    return kept


def guessed_among(returned: Any) -> str | None:
    """Say what a model returned where it holds several tensors and none is called logits; None elsewhere."""
    named = isinstance(returned, Mapping) and "logits" in returned
    if isinstance(returned, Tensor) or named or isinstance(getattr(returned, "logits", None), Tensor):
        return None
    shapes = [str(tuple(tensor.shape[1:])) for tensor in _tensors(returned)]
    listed = ", ".join(shapes[:4]) + (", ..." if len(shapes) > 4 else "")
    return f"{type(returned).__name__} of tensors of shape {listed} for one input" if len(shapes) > 1 else None


def _tensors(returned: Any) -> Iterator[Tensor]:
    if isinstance(returned, Tensor):
        yield returned
    elif isinstance(returned, Mapping | tuple | list):
        for part in returned.values() if isinstance(returned, Mapping) else returned:
            yield from _tensors(part)


def pick_logits(returned: Any, output: Output = None) -> Tensor:
    """Pick the logits out of what a model returned, with their gradient.

    Parameters
    ----------
    returned : tensor, tuple, list, mapping or an object with attributes
        What the model gave for one batch.
    output : None, str, int or callable
        None: the tensor itself, what is called ``logits``, or the first tensor. A name is a key or an attribute, a
        number a position, and a callable maps what was returned to the logits.

    Returns
    -------
    Tensor
        (batch, C), float32, or float64 where the model is. A single logit z (a binary classifier with one output)
        becomes (-z/2, z/2), whose softmax is the sigmoid of z.

    Raises
    ------
    InputError
        When the output cannot be found or is not (batch, C).
    """
    try:
        if callable(output):
            logits: Any = output(returned)
        elif isinstance(output, str):
            logits = returned[output] if isinstance(returned, Mapping) else getattr(returned, output)
        elif output is not None:
            logits = returned[output]
        elif isinstance(returned, Mapping) and "logits" in returned:
            logits = returned["logits"]
        elif not isinstance(returned, Tensor) and isinstance(getattr(returned, "logits", None), Tensor):
            logits = returned.logits
        else:
            logits = first_tensor(returned)
    except (KeyError, IndexError, AttributeError, TypeError) as error:
        names = list(returned) if isinstance(returned, Mapping) else type(returned).__name__
        raise InputError(
            f"No logits found by output={output!r} in what the model returned ({names}): {error}."
            " Give output= a key, a position or a callable."
        ) from None
    if not isinstance(logits, Tensor) or logits.ndim not in (1, 2) or logits.numel() == 0:
        got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(f"The logits must be (batch, classes); output={output!r} gave {got}.")
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if logits.ndim == 1:
        logits = logits[:, None]
    return torch.cat([-logits / 2, logits / 2], dim=1) if logits.shape[1] == 1 else logits
