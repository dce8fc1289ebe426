"""The response that is explained: for each input a class's logit, or the difference of two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neucept.errors import InputError
from neucept.short_repr import ShortRepr

Classes = int | np.integer[Any] | Tensor | np.ndarray | Sequence[int]
Target = None | Classes | tuple[Classes, Classes]
Checked = None | Tensor | tuple[Tensor, Tensor]


@dataclass(frozen=True, repr=False)
class Response(ShortRepr):
    """What is explained: the logit of ``plus``, minus that of ``minus`` if there is one; both (batch,)."""

    plus: Tensor
    minus: Tensor | None = None

    def of(self, logits: Tensor) -> Tensor:
        """Return the responses, (batch,), of logits (batch, C), or of a batch that is repeated several times."""
        times = len(logits) // len(self.plus)
        value = logits.gather(1, self.plus.repeat(times)[:, None])[:, 0]
        if self.minus is None:
            return value
        return value - logits.gather(1, self.minus.repeat(times)[:, None])[:, 0]

    @property
    def target(self) -> Tensor | tuple[Tensor, Tensor]:
        """The classes in the form of a ``target=`` argument."""
        return self.plus if self.minus is None else (self.plus, self.minus)


def check_target(target: Target, n: int) -> Checked:
    """Return targets of n inputs as tensors: None, (n,) class numbers, or a pair of those.

    Parameters
    ----------
    target : None, int, (n,) whole numbers, or a pair (a, b) of either
        None is the predicted class; a pair means logit a minus logit b.
    n : int
        Inputs.

    Raises
    ------
    InputError
        For targets that are no whole numbers, or not as many as the inputs.

    Examples
    --------
    >>> check_target(2, n=3), check_target((0, [1, 2]), n=2)
    (tensor([2, 2, 2]), (tensor([0, 0]), tensor([1, 2])))
    """
    if target is None:
        return None
    if isinstance(target, tuple):
        if len(target) != 2:
            raise InputError(
                f"target is a tuple of {len(target)}; expected a pair (a, b), which means logit a minus logit b. Give"
                " the classes of a batch as a tensor or list."
            )
        return _classes(target[0], n), _classes(target[1], n)
    return _classes(target, n)


def _classes(target: Classes, n: int) -> Tensor:
    try:
        classes = torch.as_tensor(target)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise InputError(f"target={target!r}: expected a class number, one for each input, or a pair.") from None
    kind = classes.dtype
    if kind.is_floating_point or kind.is_complex or kind == torch.bool:
        raise InputError(f"target={target!r} is of type {kind}; expected whole class numbers, such as target.long().")
    if classes.ndim == 1 and len(classes) != n:
        raise InputError(f"{len(classes)} targets for {n} inputs; expected one class, or one for each input.")
    if classes.ndim > 1:
        raise InputError(f"target has the shape {tuple(classes.shape)} for {n} inputs; expected one class or ({n},).")
    return classes.long().expand(n).clone()


def respond(target: Checked, logits: Tensor) -> Response:
    """Return the response that a target means.

    Parameters
    ----------
    target : None, (batch,) Tensor, or a pair of those
        As `check_target` returns it.
    logits : Tensor
        (batch, C).

    Raises
    ------
    InputError
        For a class that the model does not have.
    """
    if target is None:
        return Response(logits.detach().argmax(1))
    return Response(
        *(_check_classes(classes, logits) for classes in (target if isinstance(target, tuple) else (target,)))
    )


def target_rows(target: Checked, rows: slice) -> Checked:
    """Return the targets of some inputs."""
    if isinstance(target, tuple):
        return target[0][rows], target[1][rows]
    return None if target is None else target[rows]


def _check_classes(classes: Tensor, logits: Tensor) -> Tensor:
    n_classes = logits.shape[1]
    outside = classes[(classes < 0) | (classes >= n_classes)]
    if len(outside):
        raise InputError(f"target={int(outside[0])}: the classes are 0 to {n_classes - 1}.")
    return classes.to(logits.device)
