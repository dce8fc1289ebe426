"""The file from which a training goes on, and whether it is of the same training."""

from __future__ import annotations

import hashlib
import os
import pickle
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

from neucept.errors import InputError

_LOOKED_AT = 32  # inputs by which one data set is told from another
_ADDRESS = re.compile(r"0x[0-9a-f]+")
_IN_WORDS = {  # settings that are no numbers to be shown
    "network": "the modules of the network are others, or set otherwise",
    "start": "the network begins with other weights (build it from the same seed and the same prior network)",
    "data": "the inputs or labels are others",
}
_LATER = ("frozen_prefix", *_IN_WORDS)  # which the oldest checkpoints do not hold


def identity(
    model: nn.Module, dataset: Dataset[tuple[Tensor, int]], frozen_prefix: str | Sequence[str]
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

    Returns
    -------
    dict
        Names of what is frozen, and one short text each for the rest, equal where they are equal.
    """
    names = [frozen_prefix] if isinstance(frozen_prefix, str) else frozen_prefix
    first, again = _read(dataset), _read(dataset)
    known = first if _digest(first) == _digest(again) else first[1::2]  # inputs that change, as by chance, say nothing
    return {
        "frozen_prefix": sorted(set(names)),
        "network": hashlib.sha256(_ADDRESS.sub("", repr(model)).encode()).hexdigest()[:16],
        "start": _digest(value for value in model.state_dict().values() if isinstance(value, Tensor)),
        "data": _digest(known),
    }


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    torch.save(dict(state), partial)
    os.replace(partial, path)


def read(path: Path, settings: Mapping[str, Any], device: torch.device) -> dict[str, Any] | None:
    """Read a checkpoint of a training with these settings; None where there is none yet.

    Raises
    ------
    InputError
        When it is no checkpoint or one of another training, or when none can be written here.
    """
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"Cannot write to {path}: {error}.") from error
        return None
    try:
        state = dict(torch.load(path, map_location=device, weights_only=True))
        found, _, _, _ = (state[key] for key in ("settings", "losses", "model", "optimizer"))
        found = {"label_smoothing": 0.0, **found}  # which the oldest checkpoints do not hold
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is no checkpoint of a training ({type(error).__name__}); remove it.") from error
    other = [
        _IN_WORDS.get(key, f"{key} {found.get(key)} there, {value} now")
        for key, value in settings.items()
        if found.get(key, value if key in _LATER else None) != value
    ]
    if other:
        raise InputError(f"The checkpoint {path} is of another training: {'; '.join(other)}. Remove or rename it.")
    return state


def load(path: Path, state: Mapping[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put a checkpoint's weights into a network and its optimiser.

    Raises
    ------
    InputError
        When they do not fit; the network is not changed then.
    """
    shapes = ({name: np.shape(value) for name, value in part.items()} for part in (state["model"], model.state_dict()))
    there, here = shapes
    differing = [name for name in there.keys() | here.keys() if there.get(name) != here.get(name)]
    try:
        if differing:
            raise ValueError(f"the network has other parameters, such as '{min(differing)}'")
        optimizer.load_state_dict(state["optimizer"])
        model.load_state_dict(state["model"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"The checkpoint {path} is of another training: {error}. Remove or rename it.") from error


def _read(dataset: Dataset[tuple[Tensor, int]]) -> list[Tensor]:
    """Read a few inputs, evenly spread, each followed by its label."""
    n = len(dataset)  # type: ignore[arg-type]
    found = []
    with _seeded():
        for i in np.linspace(0, n - 1, min(n, _LOOKED_AT)).astype(int).tolist():
            inputs, labels = default_collate([dataset[i]])
            found += [inputs, labels]
    return found


@contextmanager
def _seeded() -> Iterator[None]:
    """Let what inputs draw at random be the same each time, without a trace in the global generators."""
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
