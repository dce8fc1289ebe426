"""Weights from a file into a network, or an error that names what does not fit."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from neucept.errors import InputError

_WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys under which training scripts put the weights
_NAMED = 5  # keys that an error names


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict; nothing in the file is ever executed.

    Parameters
    ----------
    path : str or Path
        A ``.safetensors`` file, or one that ``torch.save`` wrote and that holds only tensors (read with
        ``weights_only=True``). A dict under ``state_dict``, ``model_state_dict`` or ``model`` is taken, and the
        prefix ``module.`` of data-parallel training is removed.

    Returns
    -------
    dict of str to Tensor
        On the CPU.

    Raises
    ------
    InputError
        The file is missing, or holds no weights.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no weights file {path}. Expected a .safetensors or .pt file.")
    try:
        if path.suffix == ".safetensors":
            state: object = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise InputError(
            f"{path} cannot be read as weights ({type(error).__name__}). Expected a .safetensors file, or what "
            "torch.save(model.state_dict(), FILE) writes; whole pickled models, and other Python objects beside the "
            "weights, are not opened."
        ) from error
    for key in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
            break
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise InputError(
            f"{path} holds no state dict (names of parameters to tensors). Save torch.save(model.state_dict(), FILE)."
        )
    if state and all(name.startswith("module.") for name in state):
        return {name.removeprefix("module."): value for name, value in state.items()}
    return dict(state)


def fit_weights(model: nn.Module, state: Mapping[str, Tensor], source: str = "the weights") -> None:
    """Copy weights into a network, in place; float16 weights become the network's own precision.

    Parameters
    ----------
    model : Module
        The network.
    state : mapping of str to Tensor
        Its weights, by the names of ``model.state_dict()``.
    source : str
        Where they come from, for the message.

    Raises
    ------
    InputError
        A name is missing or not expected, or a shape differs; nothing has been copied then.

    Examples
    --------
    >>> from torch import nn
    >>> fit_weights(nn.Linear(2, 3), nn.Linear(2, 4).state_dict())
    Traceback (most recent call last):
    ...
    neucept.errors.InputError: the weights do not fit Linear. Other shapes: weight is (4, 2), expected (3, 2);
    bias is (4,), expected (3,).
    """
    expected = model.state_dict()
    absent = [name for name in expected if name not in state and not name.endswith("num_batches_tracked")]
    unknown = [name for name in state if name not in expected]
    misshapen = [name for name in expected if name in state and state[name].shape != expected[name].shape]
    if not (absent or unknown or misshapen):
        model.load_state_dict(dict(state), strict=False)
        return
    parts = [f"{source} do not fit {type(model).__name__}."]
    if absent:
        parts.append(f"Missing: {_some([f'{name} {_shape(expected[name])}' for name in absent])}.")
    if unknown:
        parts.append(f"Not expected: {_some([f'{name} {_shape(state[name])}' for name in unknown])}.")
    if misshapen:
        shapes = [f"{name} is {_shape(state[name])}, expected {_shape(expected[name])}" for name in misshapen]
        parts.append(f"Other shapes: {_some(shapes, '; ')}.")
    raise InputError(" ".join(parts))


def n_outputs(state: Mapping[str, Tensor], model: nn.Module) -> int | None:
    """Say which number of classes would make the weights fit, where only the last layer's width is wrong.

    Parameters
    ----------
    state : mapping of str to Tensor
        Weights that do not fit.
    model : Module
        The network.

    Returns
    -------
    int or None
        None where something else is wrong too.
    """
    expected = model.state_dict()
    if set(expected) != set(state):
        return None
    wrong = [name for name in expected if state[name].shape != expected[name].shape]
    last = list(expected)[-len(wrong) :] if wrong else []
    widths = {state[name].shape[:1] for name in wrong}
    same_inputs = all(state[name].shape[1:] == expected[name].shape[1:] for name in wrong)
    if wrong != last or len(widths) != 1 or not same_inputs:
        return None
    width = widths.pop()
    return width[0] if width else None


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _some(names: list[str], separator: str = ", ") -> str:
    rest = len(names) - _NAMED
    return separator.join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
