"""The response that is explained: a class's logit, or the difference of two, for each input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neucept.errors import InputError

Classes = int | Tensor | Sequence[int]
Target = None | Classes | tuple[Classes, Classes]


@dataclass(frozen=True)
class Response:
    """What is explained: the logit of ``plus``, less that of ``minus`` where there is one; both (batch,)."""

    plus: Tensor
    minus: Tensor | None = None

    def of(self, logits: Tensor) -> Tensor:
        """Give the responses, (batch,), of logits (batch, C); those may be the batch several times over."""
        times = len(logits) // len(self.plus)
        value = logits.gather(1, self.plus.repeat(times)[:, None])[:, 0]
        if self.minus is None:
            return value
        return value - logits.gather(1, self.minus.repeat(times)[:, None])[:, 0]

    @property
    def target(self) -> Tensor | tuple[Tensor, Tensor]:
        """As it can be given as ``target=`` again."""
        return self.plus if self.minus is None else (self.plus, self.minus)


def respond(target: Target, logits: Tensor) -> Response:
    """Find the response that a target means.

    Parameters
    ----------
    target : None, int, (batch,) whole numbers, or a pair (a, b) of either
        None is the predicted class; a pair means logit a minus logit b.
    logits : Tensor
        (batch, C).

    Raises
    ------
    InputError
        For a class that is not there, or another number of targets than inputs.
    """
    if target is None:
        return Response(logits.detach().argmax(1))
    if isinstance(target, tuple):
        if len(target) != 2:
            raise _no_pair(target)
        return Response(_classes(target[0], logits), _classes(target[1], logits))
    return Response(_classes(target, logits))


def cut(target: Target, start: int, rows: int, n: int) -> Target:
    """Give the targets of some of n inputs, from ``start`` on.

    Raises
    ------
    InputError
        When there are not n targets.
    """
    if isinstance(target, tuple):
        if len(target) != 2:
            raise _no_pair(target)
        first, second = (_cut(each, start, rows, n) for each in target)
        return first, second
    return None if target is None else _cut(target, start, rows, n)


def _cut(target: Classes, start: int, rows: int, n: int) -> Classes:
    if isinstance(target, int) or (isinstance(target, Tensor) and target.ndim == 0):
        return target
    if len(target) != n:
        raise InputError(f"{len(target)} targets for {n} inputs; expected one class, or one for each input.")
    return target[start : start + rows]


def _no_pair(target: tuple[Any, ...]) -> InputError:
    return InputError(
        f"target is a tuple of {len(target)}; expected a pair (a, b), for logit a minus logit b. Give the classes of a"
        " batch as a tensor or list."
    )


def _classes(target: Classes, logits: Tensor) -> Tensor:
    n, n_classes = logits.shape
    try:
        classes = torch.as_tensor(target, device=logits.device)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"target={target!r}: expected a class number, one for each input, or a pair.") from None
    if classes.dtype not in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
        raise InputError(f"target is of type {classes.dtype}; expected whole class numbers, such as target.long().")
    if classes.ndim and classes.shape != (n,):
        raise InputError(f"target has the shape {tuple(classes.shape)} for {n} inputs; expected one class or ({n},).")
    if bool(((classes < 0) | (classes >= n_classes)).any()):
        raise InputError(f"target={target!r}: the classes are 0 to {n_classes - 1}.")
    return classes.long().expand(n).clone()
