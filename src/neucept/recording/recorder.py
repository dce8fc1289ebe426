"""Run a network once over the data and keep its neurons: the first arrow."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from neucept import storage
from neucept.errors import InputError
from neucept.progress import progress as show_progress
from neucept.recording.batches import batches, count, forward, to_device
from neucept.recording.hooks import Watch, left_as_found, modules_by_name, poolings, split_call
from neucept.recording.outputs import Output, guessed_among, logits_of
from neucept.recording.recording import Recording
from neucept.recording.units import Pooling, first_tensor, pool


def record(
    model: nn.Module,
    data: Any,
    layers: Sequence[str],
    neurons: Pooling | Mapping[str, Pooling] = "auto",
    output: Output = None,
    device: torch.device | str | None = None,
    batch_size: int = 256,
    class_names: Sequence[str] | None = None,
    store: str | Path | None = None,
    progress: bool = True,
) -> Recording:
    """Record neurons of named layers, logits and labels: one forward pass for all of them.

    The model's mode, device, parameters and hooks are as before when this returns, after an error too.

    Parameters
    ----------
    model : Module
        Any classifier.
    data : Dataset, DataLoader, tensor or pair of tensors
        Inputs, or pairs of (input, label). Inputs are tensors, tuples or dicts (keyword inputs). Order is kept.
    layers : sequence of str
        Names as in ``model.named_modules()``; ``"input"`` is the input itself. A module called several times gives a
        layer a call, ``name#0``, ``name#1``, ... (or only the one asked for by that name).
    neurons : {"auto", "channel", "element"}, callable, or mapping of layer to either
        ``channel``: means over space or tokens; ``element``: all elements; ``auto``: channel for maps and tokens,
        element for vectors; a callable maps (batch, ...) to (batch, k).
    output : None, str, int or callable
        Picks the logits out of what the model returns: a key or attribute, a position, or a function of it. By default
        what is called ``logits``, or the first tensor, with a warning where there are several.
    device : device, optional
        Where to run; by default where the model is.
    batch_size : int
        Inputs at a time (a DataLoader has its own).
    class_names : sequence of str, optional
        By default what the data carries as ``class_names`` or ``classes``, else the numbers.
    store : path, optional
        A new folder: activations are written there as they come and not held in memory, and it is the saved recording.
    progress : bool
        Show progress when it takes more than two seconds.

    Returns
    -------
    Recording

    Raises
    ------
    InputError
        Before the first batch for what can be known then (unknown layers, an unusable store), in the first batch for
        layers never called, and for NaN or infinite values with layer, neuron and input.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> record(net, torch.randn(10, 5), layers=["1"], progress=False)
    Recording(10 inputs, 3 classes; 1 (8 neurons))
    """
    watch = Watch(model, layers, neurons)
    chosen = poolings(layers, neurons)
    total = count(data)
    names = _class_names(data, class_names)
    if batch_size < 1:
        raise InputError(f"batch_size={batch_size}: expected at least 1.")
    if total == 0:
        raise InputError("The data holds no inputs.")
    with ExitStack() as stack:
        draft = None
        if store is not None:
            if total is None:
                raise InputError("store= needs data that knows its length (a Dataset, not a stream).")
            draft = stack.enter_context(storage.new_folder(store, "Recording"))
        columns: dict[str, _Column] = {}
        done = 0
        stack.enter_context(watch)
        where = stack.enter_context(left_as_found(model, device))
        advance = stack.enter_context(show_progress("recording", total, progress))
        for inputs, labels in batches(data, batch_size):
            returned = forward(model, to_device(inputs, where))
            parts = {f"neurons/{layer}": values for layer, values in watch.take().items()}
            parts["logits"] = logits_of(returned, output)
            if not done and output is None and (what := guessed_among(returned)) is not None:
                warnings.warn(
                    f"The model returns a {what}; the first one is taken for the logits. Say which with"
                    " output= (--output).",
                    stacklevel=2,
                )
            size = len(parts["logits"])
            if labels is not None:
                parts["labels"] = labels
            if not done:
                names = _fit(names, parts["logits"].shape[1], class_names is not None)
            elif parts.keys() != columns.keys():
                changed = ", ".join(sorted(parts.keys() ^ columns.keys()))
                raise InputError(f"From input {done} on other things are recorded than before ({changed}).")
            for name, values in parts.items():
                if len(values) != size:
                    raise InputError(
                        f"'{name}' has {len(values)} rows where the logits have {size}; neurons must be (batch, k)."
                    )
                _check_finite(name, values, done)
                columns.setdefault(name, _Column(total, draft, len(columns))).add(values)
            done += size
            advance(size)
        if not done:
            raise InputError("The data holds no inputs.")
        arrays = {name: column.array(done) for name, column in columns.items()}
        recorded = [name.removeprefix("neurons/") for name in arrays if name.startswith("neurons/")]
        # A call name#0 that was not asked for by that name is pooled as name is.
        ways = {layer: chosen[layer if layer in chosen else split_call(layer)[0]] for layer in recorded}
        pooling = {layer: "callable" if callable(how) else how for layer, how in ways.items()}
        class_names = names or ()
        settings = {
            "model": type(model).__name__,
            "inputs": done,
            "output": repr(output) if output is not None else "",
        }
        if draft is not None:
            facts = {"layers": recorded, "class_names": class_names, "pooling": pooling, "facts": settings}
            storage.write(draft, "Recording", facts, arrays)
    if store is not None:
        return Recording.open(store)
    return Recording(
        neurons={layer: arrays[f"neurons/{layer}"] for layer in recorded},
        logits=arrays["logits"],
        labels=arrays.get("labels"),
        class_names=class_names,
        pooling=pooling,
        facts=settings,
    )


def list_layers(model: nn.Module, inputs: Any) -> pd.DataFrame:
    """List a model's modules with what they return, in the order in which they are first called.

    Parameters
    ----------
    model : Module
        Any network.
    inputs : tensor, tuple or dict
        A batch, of one input or more, to run once.

    Returns
    -------
    DataFrame
        One row a module that is called: ``layer``, ``type``, ``shape`` (without the batch), ``neurons`` (how many
        ``neurons="auto"`` gives) and ``calls``.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten())
    >>> list_layers(net, torch.zeros(1, 1, 6, 6))
      layer     type      shape  neurons  calls
    0     0   Conv2d  (4, 4, 4)        4      1
    1     1     ReLU  (4, 4, 4)        4      1
    2     2  Flatten      (64,)       64      1
    """
    rows: dict[str, dict[str, Any]] = {}

    def hook(name: str) -> Any:
        def keep(module: nn.Module, given: Any, returned: Any) -> None:
            try:
                tensor = first_tensor(returned)
            except TypeError:
                return
            if name in rows:
                rows[name]["calls"] += 1
            elif tensor.ndim >= 1:
                size = pool(tensor, "auto", module, name).shape[1]
                shape = tuple(tensor.shape[1:])
                rows[name] = {"layer": name, "type": type(module).__name__, "shape": shape, "neurons": size, "calls": 1}

        return keep

    with left_as_found(model) as device, ExitStack() as stack:
        for name, module in modules_by_name(model).items():
            stack.callback(module.register_forward_hook(hook(name)).remove)
        forward(model, to_device(inputs, device))
    return pd.DataFrame(list(rows.values()), columns=["layer", "type", "shape", "neurons", "calls"])


class _Column:
    """Rows that arrive in batches: one array from the start where the number of rows is known, on disk if asked."""

    def __init__(self, total: int | None, folder: Path | None, number: int):
        self._total, self._folder, self._number = total, folder, number
        self._array: np.ndarray | None = None
        self._parts: list[np.ndarray] = []
        self._done = 0

    def add(self, values: Tensor) -> None:
        rows = values.cpu().numpy()
        if self._total is None:
            self._parts.append(rows)
            return
        if self._array is None:
            shape = (self._total, *rows.shape[1:])
            if self._folder is None:
                self._array = np.empty(shape, rows.dtype)
            else:
                file = self._folder / f"{self._number:03d}.npy"
                self._array = np.lib.format.open_memmap(file, "w+", rows.dtype, shape)
        if rows.shape[1:] != self._array.shape[1:]:
            raise InputError(
                f"From input {self._done} on there are {rows.shape[1:]} values an input,"
                f" before {self._array.shape[1:]}."
            )
        if self._done + len(rows) > self._total:
            raise InputError(f"The data says that it holds {self._total} inputs, but gives more.")
        self._array[self._done : self._done + len(rows)] = rows
        self._done += len(rows)

    def array(self, done: int) -> np.ndarray:
        if self._array is None:
            return np.concatenate(self._parts)
        if done == self._total:
            return self._array
        if self._folder is not None:
            raise InputError(f"The data says that it holds {self._total} inputs, but gave {done}.")
        return self._array[:done].copy()  # a DataLoader that drops its last batch gives fewer than it says


def _check_finite(name: str, values: Tensor, done: int) -> None:
    # A finite sum has finite terms and is several times faster to find; a sum that overflows is looked at term by term.
    if not values.is_floating_point() or math.isfinite(values.sum().item()) or bool(torch.isfinite(values).all()):
        return
    row, column = (~torch.isfinite(values)).nonzero()[0].tolist()
    what = f"neuron {column} of layer '{name.removeprefix('neurons/')}'" if name != "logits" else f"logit {column}"
    raise InputError(
        f"The value of {what} is {values[row, column].item()} at input {done + row}. Check that input and the model's"
        " weights (half precision overflows easily: try float32)."
    )


def _class_names(data: Any, given: Sequence[str] | None) -> tuple[str, ...] | None:
    if given is not None:
        return tuple(map(str, given))
    source = getattr(data, "dataset", data)
    names = getattr(source, "class_names", None) or getattr(source, "classes", None)
    return tuple(map(str, names)) if names is not None and not isinstance(names, str) else None


def _fit(names: tuple[str, ...] | None, classes: int, strict: bool) -> tuple[str, ...]:
    """Names for the model's outputs; those of the data are of no use where their number differs."""
    if names is not None and len(names) == classes:
        return names
    if names is not None and strict:
        raise InputError(f"{len(names)} class names were given, but the model has {classes} outputs.")
    return tuple(map(str, range(classes)))
