"""Which functions are activations, and how PyTorch calls them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from neucept.errors import InputError, closest

ACTIVATIONS = frozenset(
    {"relu", "relu6", "hardtanh", "tanh", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu"}
    | {"gelu", "silu", "mish", "hardswish", "softplus", "softsign", "logsigmoid", "glu"}
    | {"threshold", "hardshrink", "softshrink"}
)
"""Functions whose calls are sites. Sigmoid and softmax mostly act as gates and are left out by default.

Sites are calls of functions, not formulas: ``x.clamp(min=0)`` is a site only if "clamp" is in the set, and then every
other clamp is one too; of ``x * torch.sigmoid(1.702 * x)`` only the sigmoid can be a site. Write ``F.relu(x)`` or
``F.gelu(x)`` where their neurons should be sites.
"""

# These two save their result for the backward pass, not their input: the input may be overwritten afterwards.
_KEEP_RESULT: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "tanh": torch.tanh}
_PLACES = (torch, torch.nn.functional, torch.Tensor, torch.special)


def check_activations(activations: Collection[str]) -> frozenset[str]:
    """Check the names of activation functions and return them in the form of `function_name`.

    Raises
    ------
    InputError
        For a single string, an empty set, or a name that is no function of PyTorch.

    Examples
    --------
    >>> sorted(check_activations(["relu", "gelu"]))
    ['gelu', 'relu']
    """
    if isinstance(activations, str) or not isinstance(activations, Collection) or not len(activations):
        raise InputError(f"activations={activations!r}: expected a set of names, such as {{'relu', 'gelu'}}.")
    for name in activations:
        if not isinstance(name, str) or not any(hasattr(place, _plain(name)) for place in _PLACES):
            near = closest(str(name), ACTIVATIONS | {"sigmoid", "softmax", "hardsigmoid", "clamp"})
            raise InputError(f"activations= has {name!r}, which names no function of PyTorch.{near}")
    return frozenset(map(_plain, activations))


@lru_cache(maxsize=1000)  # called for every function of a forward pass; there are few different ones
def function_name(func: Any) -> str:
    """Return one name for all variants of a function of PyTorch: ``relu`` for ``F.relu_``, ``aten.relu.default``..."""
    return _plain(getattr(func, "__name__", "").split(".")[0])


def _plain(name: str) -> str:
    name = name.strip("_")  # PyTorch calls F.threshold "_threshold", and F.logsigmoid "log_sigmoid"
    return "logsigmoid" if name == "log_sigmoid" else name


def in_place(func: Any, kwargs: Any) -> bool:
    """Return whether this call of an activation function writes into its input."""
    # The Python functions pass ``inplace`` on by name, even if it was positional; a positional True is something else.
    return bool(kwargs.get("inplace")) or getattr(func, "__name__", "").endswith("_")


def out_of_place(func: Any, args: Any, kwargs: Any) -> Tensor:
    """Call an activation function without writing into its input; the result has its own memory."""
    if not in_place(func, kwargs):
        output: Tensor = func(*args, **kwargs)
        return output
    given = args[0] if args else kwargs["input"]
    plain = _KEEP_RESULT.get(function_name(func))
    if plain is not None:
        return plain(given)
    copied = (given.clone(), *args[1:]) if args else ()
    result: Tensor = func(*copied, **(kwargs if args else {**kwargs, "input": given.clone()}))
    return result
