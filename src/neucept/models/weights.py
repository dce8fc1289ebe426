"""Weights from a file into a network, or an error that names what does not fit."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from neucept.errors import InputError
from neucept.models.specs import check_weights_file

# Keys under which training scripts put the weights; of several that are there the first is taken.
_WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "ema",
    "model_ema",
    "ema_state_dict",
    "state_dict_ema",
)
_NAMED = 5  # keys that an error names


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict; nothing in the file is ever executed.

    Parameters
    ----------
    path : str or Path
        A safetensors file, or one that ``torch.save`` wrote and that holds only tensors and plain values (read with
        ``weights_only=True``). In the checkpoint of a training the state dict is looked for under the usual keys, such
        as ``state_dict``, ``model`` or ``ema``, and a warning says which was taken.

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
    check_weights_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(9)
        if path.suffix.lower() == ".safetensors" or (head[8:] == b"{" and head[:2] != b"PK"):
            content: object = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        raise InputError(
            f"{path} cannot be read as weights ({type(error).__name__}). Expected a .safetensors file, or what "
            "torch.save(model.state_dict(), FILE) writes; whole pickled models, and other Python objects beside the "
            "weights, are not opened."
        ) from error
    if _is_state(content):
        return dict(content)  # type: ignore[call-overload, no-any-return]
    found = dict(_state_dicts(content))
    if not found:
        keys = f" It has the keys {_some([repr(key) for key in content])}." if isinstance(content, Mapping) else ""
        raise InputError(
            f"{path} holds no state dict (names of parameters to tensors).{keys} Save torch.save(model.state_dict(),"
            " FILE)."
        )
    known = [key for wrapper in _WRAPPERS for key in found if key.rpartition(".")[2] == wrapper]
    if not known and len(found) > 1:
        raise InputError(
            f"{path} holds several state dicts, {_some(list(found))}. Save one of them: torch.save(state_dict, FILE)."
        )
    key = (known or list(found))[0]
    others = [other for other in found if other != key]
    left_out = f" The state dicts under {_some(others)} are left out." if others else ""
    warnings.warn(f"The weights in {path} are those under the key '{key}'.{left_out}", stacklevel=3)
    return found[key]


def fit_weights(model: nn.Module, state: Mapping[str, Tensor], source: str = "the weights") -> None:
    """Copy weights into a network, in place; they become the network's own precision.

    Where every name begins with a prefix that the network's names do not have (``module.`` of data-parallel training,
    ``_orig_mod.`` of ``torch.compile``, ``model.`` of a wrapper, also several), or the other way round, it is left
    out, and a warning says so. Names that a file leaves out because two layers share one tensor may be missing.

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
        A name is missing or not expected, a shape or kind of number differs, or a parameter is not a number. Nothing
        is copied then.

    Examples
    --------
    >>> from torch import nn
    >>> fit_weights(nn.Linear(2, 3), nn.Linear(2, 4).state_dict())
    Traceback (most recent call last):
    ...
    neucept.errors.InputError: the weights do not fit Linear. Other shapes: weight is (4, 2), expected (3, 2); bias is
    (4,), expected (3,). Only the number of outputs differs: ask for 4 classes (--n-classes 4).
    """
    expected = model.state_dict(keep_vars=True)
    state, said = _without_prefix(dict(state), list(expected))
    absent = [name for name in _absent(expected, state) if not name.endswith("num_batches_tracked")]
    unknown = [name for name in state if name not in expected]
    both = [name for name, value in expected.items() if name in state and not is_lazy(value)]
    misshapen = [name for name in both if _shape(state[name]) != _shape(expected[name])]
    unusable = [f"{name} {told}" for name in both if (told := _unusable(state[name], expected[name]))]
    parts = [f"{source} do not fit {type(model).__name__}."]
    if absent:
        parts.append(f"Missing: {_some([f'{name} {_shape(expected[name])}' for name in absent])}.")
    if unknown:
        parts.append(f"Not expected: {_some([f'{name} {_shape(state[name])}' for name in unknown])}.")
    if misshapen:
        shapes = [f"{name} is {_shape(state[name])}, expected {_shape(expected[name])}" for name in misshapen]
        parts.append(f"Other shapes: {_some(shapes, '; ')}.")
    if unusable:
        parts.append(f"Other values: {_some(unusable, '; ')}.")
    if len(parts) > 1:
        width = None if absent or unknown or unusable else _n_outputs(expected, state, misshapen)
        parts.append(
            "Give the weights of this architecture, or the network that they belong to."
            if width is None
            else f"Only the number of outputs differs: ask for {width} classes (--n-classes {width})."
        )
        raise InputError(" ".join([parts[0], *([f"({said})"] if said else []), *parts[1:]]))
    if said:
        warnings.warn(f"{source}: {said}.", stacklevel=3)
    try:
        model.load_state_dict(state, strict=False)
    except (RuntimeError, TypeError, ValueError, KeyError) as error:  # hooks of the user's modules
        raise InputError(f"{source} do not fit {type(model).__name__}: {error}") from error


def _is_state(content: object) -> bool:
    """Whether something is a state dict: names to tensors, and what modules save beside them."""
    if not isinstance(content, Mapping) or not content:
        return False
    named = all(isinstance(name, str) for name in content)
    plain = [value for name, value in content.items() if named and not name.endswith("_extra_state")]
    return named and bool(plain) and all(isinstance(value, Tensor) for value in plain)


def _state_dicts(content: object, key: str = "", depth: int = 3) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Find the state dicts in a checkpoint, by their keys ("model.state_dict" for a nested one)."""
    if key and isinstance(content, Mapping) and _is_state(content):
        yield key, dict(content)
    elif isinstance(content, Mapping) and depth:
        for name, value in content.items():
            if isinstance(name, str) and "optim" not in name.lower():
                yield from _state_dicts(value, f"{key}.{name}" if key else name, depth - 1)


def _without_prefix(state: dict[str, Tensor], expected: list[str]) -> tuple[dict[str, Tensor], str]:
    """Leave out a prefix of all names, or add one that all of the network's have, where more names fit then."""
    wanted, best, chosen = set(expected), len(set(expected) & set(state)), ("", "")
    for off in _prefixes(list(state)):
        for on in _prefixes(expected):
            fitting = len(wanted & {on + name.removeprefix(off) for name in state})
            if fitting > best:
                best, chosen = fitting, (off, on)
    off, on = chosen
    parts = [f"all names begin with '{off}', which is left out"] if off else []
    parts += [f"'{on}', with which the network's names begin, is put before all names"] if on else []
    return {on + name.removeprefix(off): value for name, value in state.items()}, " and ".join(parts)


def _prefixes(names: list[str]) -> list[str]:
    """Prefixes up to a dot that all names share, from none to the longest."""
    shared = [""]
    while names and len(parts := {name.removeprefix(shared[-1]).partition(".")[:2] for name in names}) == 1:
        first, dot = parts.pop()
        if not dot:
            break
        shared.append(f"{shared[-1]}{first}.")
    return shared


def _absent(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    """Names that are missing, but for those of tensors that are there under another name."""
    there = {id(value) for name, value in expected.items() if name in state}
    return [name for name, value in expected.items() if name not in state and id(value) not in there]


def _unusable(value: object, expected: object) -> str:
    """Say why a tensor of the right shape cannot be copied; empty where it can."""
    if not isinstance(value, Tensor) or not isinstance(expected, Tensor):
        return ""
    if value.is_meta:
        return "has no values (it lies on the device 'meta')"
    if value.is_quantized or value.layout != torch.strided:
        return f"is {'quantised' if value.is_quantized else value.layout}, expected a plain tensor"
    kinds = [(t.is_floating_point(), t.is_complex()) for t in (value, expected)]
    if kinds[0] != kinds[1]:
        return f"is {value.dtype}, expected {expected.dtype}"
    missing = (value.float() if value.element_size() == 1 else value).isnan()
    if isinstance(expected, nn.Parameter) and bool(missing.any()):
        return f"has {int(missing.sum())} values that are not a number (nan)"
    return ""


def _n_outputs(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], misshapen: list[str]) -> int | None:
    """Say which number of classes would make the weights fit, where only the last layer's width is wrong."""
    last = list(expected)[-len(misshapen) :]
    widths = {_shape(state[name])[:1] for name in misshapen}
    same_inputs = all(_shape(state[name])[1:] == _shape(expected[name])[1:] for name in misshapen)
    if misshapen != last or len(widths) != 1 or not same_inputs:
        return None
    width = widths.pop()
    return width[0] if width else None


def _shape(value: object) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, Tensor) and not is_lazy(value) else ()


def _some(names: list[str], separator: str = ", ") -> str:
    rest = len(names) - _NAMED
    return separator.join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
