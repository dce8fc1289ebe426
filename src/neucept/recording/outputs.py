"""From what a model returns to its outputs, one column per class."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neucept.batches import tensors_of
from neucept.errors import InputError
from neucept.recording.task import MultiLabel, Regression, Scores, Task
from neucept.recording.units import first_tensor

_LEAST = 1e-7  # the least probability whose logarithm is taken


@dataclass(frozen=True)
class Readout:
    """The way from what a model returns to its outputs: where they are, and what they are on.

    Attributes
    ----------
    output : None, str, int or callable
        As in `neucept.record`.
    kind : {"logits", "probabilities", "sigmoid", "raw"}
        ``logits``: as they are, one logit z as (-z/2, z/2); ``probabilities``: those of a softmax, whose logarithms are
        taken; ``sigmoid``: probabilities of one or several yes-or-no questions, whose logits are taken; ``raw``: as
        they are.
    """

    output: Any = None
    kind: str = "logits"

    def __call__(self, returned: Any) -> Tensor:
        """Give the outputs, (batch, C), with their gradient."""
        raw = raw_outputs(returned, self.output)
        if self.kind == "raw":
            return raw
        if self.kind == "probabilities":
            raw = raw.clamp(min=_LEAST).log()
        elif self.kind == "sigmoid":
            raw = torch.logit(raw, eps=_LEAST)
        return torch.cat([-raw / 2, raw / 2], dim=1) if raw.shape[1] == 1 else raw


Output = str | int | Callable[[Any], Tensor] | Readout | None


def raw_outputs(returned: Any, output: Output = None) -> Tensor:
    """Find the outputs in what a model returned, (batch, C) as they are, float32 or float64, with their gradient.

    Raises
    ------
    InputError
        When the outputs cannot be found or are not (batch, C).
    """
    try:
        if callable(output):
            outputs: Any = output(returned)
        elif isinstance(output, str):
            outputs = returned[output] if isinstance(returned, Mapping) else getattr(returned, output)
        elif output is not None:
            outputs = returned[output]
        elif isinstance(returned, Mapping) and "logits" in returned:
            outputs = returned["logits"]
        elif not isinstance(returned, Tensor) and isinstance(getattr(returned, "logits", None), Tensor):
            outputs = returned.logits
        else:
            outputs = first_tensor(returned)
    except (KeyError, IndexError, AttributeError, TypeError) as error:
        names = list(returned) if isinstance(returned, Mapping) else type(returned).__name__
        raise InputError(
            f"No logits found by output={output!r} in what the model returned ({names}): {error}."
            " Give output= a key, a position or a callable."
        ) from None
    if not isinstance(outputs, Tensor) or outputs.ndim not in (1, 2) or outputs.numel() == 0:
        got = f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
        raise InputError(
            f"The logits must be (batch, classes); output={output!r} gave {got}. For detection or segmentation, give"
            " task=Scores(function), a score per class from what the model returns."
        )
    decided = not outputs.is_floating_point() and (outputs.ndim == 1 or outputs.shape[1] == 1)
    if outputs.is_complex() or decided:
        raise InputError(
            f"The model's outputs have type {str(outputs.dtype).removeprefix('torch.')}; expected logits. Say with"
            " output= where they are, before the class is decided."
        )
    outputs = outputs if outputs.dtype == torch.float64 else outputs.float()
    matrix: Tensor = outputs[:, None] if outputs.ndim == 1 else outputs
    return matrix


def pick_logits(returned: Any, output: Output = None) -> Tensor:
    """Pick the logits out of what a model returned, with their gradient.

    Parameters
    ----------
    returned : tensor, tuple, list, mapping or an object with attributes
        What the model gave for one batch.
    output : None, str, int, callable or Readout
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
    return (output if isinstance(output, Readout) else Readout(output))(returned)


def logits_of(returned: Any, output: Output = None) -> Tensor:
    """Pick the logits out of what a model returned, (batch, C) float32 without gradient; see `pick_logits`."""
    return pick_logits(returned, output).detach().float()


def infer_kind(raw: np.ndarray, task: Task, made_by: str = "") -> tuple[str, str]:
    """Infer what raw outputs (n, C) are on: logits or probabilities.

    Parameters
    ----------
    raw : array
        (n, C).
    task : Task
        What they mean.
    made_by : str
        The operation that computed them, where it is known.

    Returns
    -------
    kind : str
        Of `Readout`.
    notice : str
        What is to be said of it; empty where the outputs are taken as they are.
    """
    if isinstance(task, Regression | Scores):
        return "raw", ""
    if not (raw.size and (raw >= 0).all() and (raw <= 1).all()):
        return "logits", ""
    several = raw.shape[1] > 1
    if several and not isinstance(task, MultiLabel) and (np.abs(raw.sum(axis=1) - 1) < 1e-2).all():
        return (
            "probabilities",
            "The model's outputs are probabilities (they sum to 1): their logarithms are the logits.",
        )
    many = len(raw) >= 100 and (not several or isinstance(task, MultiLabel))
    if made_by in ("sigmoid", "expit", "hardsigmoid") or many:
        what = "outputs lie" if several else "output lies"
        return "sigmoid", f"The model's {what} between 0 and 1: taken for probabilities of yes, not for logits."
    if not several:
        return "logits", "The model's output lies between 0 and 1 for these few inputs, and is taken for a logit."
    return "logits", ""


def convert(raw: np.ndarray, kind: str) -> np.ndarray:
    """Convert raw outputs (n, C) to what a recording holds, as `Readout` does."""
    return Readout(kind=kind)(torch.from_numpy(np.ascontiguousarray(raw, np.float32))).numpy()


def recorded_output(facts: Mapping[str, Any], output: Output = None) -> Output:
    """Return the way to the outputs by which a recording was made, unless another one is given.

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
    known, kind = str(facts.get("output", "")), str(facts.get("readout", "logits"))
    if isinstance(output, Readout):
        return output
    if output is None and known:
        try:
            output = ast.literal_eval(known)
        except (ValueError, SyntaxError):
            raise InputError(f"The logits were recorded with output={known}; give the same again, output=.") from None
    return output if kind == "logits" else Readout(output, kind)


def guessed_among(returned: Any) -> str | None:
    """Say what a model returned where it holds several tensors and none is called logits; None elsewhere."""
    named = isinstance(returned, Mapping) and "logits" in returned
    if isinstance(returned, Tensor) or named or isinstance(getattr(returned, "logits", None), Tensor):
        return None
    shapes = [str(tuple(tensor.shape[1:])) for tensor in tensors_of(returned)]
    first = ", ".join(shapes[:4]) + (", ..." if len(shapes) > 4 else "")
    return f"{type(returned).__name__} of tensors of shape {first} for one input" if len(shapes) > 1 else None
