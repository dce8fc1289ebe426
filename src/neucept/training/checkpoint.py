"""The file from which a training goes on, and whether it is of the same training."""

from __future__ import annotations

import hashlib
import math
import os
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from neucept.batches import tensors_of
from neucept.errors import InputError

_LOOKED_AT = 32  # inputs by which one data set is told from another
_ADDRESS = re.compile(r"0x[0-9a-f]+")
_IN_WORDS = {  # settings that are no numbers to be shown
    "network": "the modules of the network are others, or set otherwise",
    "start": "the network begins with other weights (build it from the same seed and the same prior network)",
    "data": "the inputs or labels are others",
}
_LATER = ("frozen_prefix", "output", *_IN_WORDS)  # which the oldest checkpoints do not hold


def identity(
    model: nn.Module, dataset: Dataset[tuple[Tensor, int]], frozen_prefix: str | Sequence[str], output: Any = None
) -> dict[str, Any]:
    """Say which training it is, beyond its numbers: what is frozen, the network, its first weights and the data.

    Parameters
    ----------
    model : Module
        Before the first step.
    dataset : Dataset
        Of (input, label), of which a few are looked at.
    frozen_prefix : str or sequence of str
        As in `neucept.training.train`.
    output : None, str, int or callable
        As in `neucept.training.train`.

    Returns
    -------
    dict
        Names of what is frozen, and a short text for each of the rest, equal where they are equal.
    """
    names = [frozen_prefix] if isinstance(frozen_prefix, str) else frozen_prefix
    first, again = _read(dataset), _read(dataset)
    known = first if _digest(first) == _digest(again) else first[1::2]  # inputs that differ at each reading say nothing
    return {
        "frozen_prefix": sorted(set(names)),
        "output": _ADDRESS.sub("", repr(output)),
        "network": hashlib.sha256(_ADDRESS.sub("", repr(model)).encode()).hexdigest()[:16],
        "start": _digest(value for value in model.state_dict().values() if isinstance(value, Tensor)),
        "data": _digest(known),
    }


def check_writable(path: Path) -> Path:
    """Make the folder of a checkpoint and try to write there, before the work.

    Returns
    -------
    Path
        Where to write: behind a link, what it names.

    Raises
    ------
    InputError
        A checkpoint cannot be written there.
    """
    try:
        path = path.resolve() if path.is_symlink() else path
        if path.is_dir():
            raise InputError(f"The checkpoint {path} is a folder; give a file in it, such as {path / 'training.pt'}.")
        path.parent.mkdir(parents=True, exist_ok=True)
        _partial(path).write_bytes(b"")
        _partial(path).unlink()
    except OSError as error:
        raise InputError(
            f"Cannot write to {path}: {error.strerror}. Choose a checkpoint in a folder that is writable."
        ) from error
    return path


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all.

    Raises
    ------
    InputError
        The disk is full, or the folder has gone. The checkpoint of the epoch before is still there.
    """
    partial = _partial(path)
    try:
        torch.save(dict(state), partial)
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch raises a RuntimeError where the disk is full
        raise InputError(
            f"The checkpoint {path} cannot be written ({str(error).splitlines()[0]}). What was written before is kept."
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    """Name the draft of a checkpoint: short, and the same in each run, so that no drafts pile up."""
    return path.with_name(f".neucept-{hashlib.sha256(path.name.encode()).hexdigest()[:16]}.partial")


def read(path: Path, settings: Mapping[str, Any], device: torch.device) -> dict[str, Any] | None:
    """Read a checkpoint of a training with these settings; None where there is none yet.

    Raises
    ------
    InputError
        When it is no checkpoint, is damaged, or is one of another training.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        _check_parts(state)
    except Exception as error:  # a damaged file can raise anything
        said = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'nothing more is known'}"
        raise InputError(
            f"{path} is no checkpoint of a training, or is damaged ({said[:200]}). Remove or rename it to begin anew."
        ) from error
    kept = {"label_smoothing": 0.0, **state["settings"]}  # which the oldest checkpoints do not hold
    other = [
        _IN_WORDS.get(key, f"{key} {kept.get(key)} there, {value} now")
        for key, value in settings.items()
        if kept.get(key, value if key in _LATER else None) != value
    ]
    if other:
        raise InputError(f"The checkpoint {path} is of another training: {'; '.join(other)}. Remove or rename it.")
    if len(state["losses"]) > settings["epochs"]:
        raise InputError(
            f"{path} is no checkpoint of a training, or is damaged (it holds {len(state['losses'])} losses of"
            f" {settings['epochs']} epochs). Remove or rename it to begin anew."
        )
    return dict(state)


def _check_parts(state: Any) -> None:
    """Raise a ValueError unless something has the parts of a checkpoint."""
    if not isinstance(state, dict):
        raise ValueError(f"it holds a {type(state).__name__}")
    for part, kind in (("settings", dict), ("losses", list), ("model", dict), ("optimizer", dict)):
        if not isinstance(state.get(part), kind):
            raise ValueError(
                f"its part '{part}' is a {type(state[part]).__name__}" if part in state else f"no '{part}'"
            )
    for name, value in state["settings"].items():
        if not isinstance(name, str) or not isinstance(value, str | int | float | list | None):
            raise ValueError(f"it holds the setting {name!r}, a {type(value).__name__}")
    for loss in state["losses"]:
        if not isinstance(loss, float) or not math.isfinite(loss):
            raise ValueError(f"it holds the loss {loss!r}")
    for part in ("model", "optimizer"):
        for tensor in tensors_of(state[part]):
            if tensor.is_meta or bool((tensor.is_floating_point() or tensor.is_complex()) and tensor.isnan().any()):
                raise ValueError(f"its part '{part}' holds values that are not a number")


def load(path: Path, state: Mapping[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put a checkpoint's weights into a network and its optimiser.

    Raises
    ------
    InputError
        When they do not fit; the network is not changed then.
    """
    own = model.state_dict()
    saved, here = ({name: _kind(value) for name, value in part.items()} for part in (state["model"], own))
    differing = [str(name) for name in saved.keys() | here.keys() if saved.get(name) != here.get(name)]
    try:
        if differing:
            raise ValueError(f"the network has other parameters, such as '{min(differing)}'")
        optimizer.load_state_dict(state["optimizer"])
        for parameter, values in optimizer.state.items():
            for name, value in values.items():
                if isinstance(value, Tensor) and name != "step" and value.shape != parameter.shape:
                    raise ValueError(f"the optimiser's '{name}' has the shape {tuple(value.shape)}")
        model.load_state_dict(state["model"])
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"The checkpoint {path} is of another training: {error}. Remove or rename it.") from error


def _kind(value: object) -> object:
    return (value.dtype, tuple(value.shape), value.layout) if isinstance(value, Tensor) else type(value)


def _read(dataset: Dataset[tuple[Tensor, int]]) -> list[Tensor]:
    """Read a few inputs, evenly spread, each followed by its label."""
    n = len(dataset)  # type: ignore[arg-type]
    tensors = []
    with _seeded():
        for i in np.linspace(0, n - 1, min(n, _LOOKED_AT)).astype(int).tolist():
            inputs, labels = default_collate([dataset[i]])
            tensors += [*tensors_of(inputs), labels]
    return tensors


@contextmanager
def _seeded() -> Iterator[None]:
    """Seed the global generators for what inputs draw at random, and restore their states."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            np.random.seed(0)  # noqa: NPY002
            random.seed(0)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


def _digest(tensors: Iterable[Tensor]) -> str:
    """Give a short text that differs where types, shapes or numbers do."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
