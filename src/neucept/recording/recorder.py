"""Run a network once over the data and keep its neurons: the first arrow."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from neucept import storage
from neucept.errors import InputError, check_whole
from neucept.inputs import Batch, Inputs, read_labels
from neucept.progress import progress as show_progress
from neucept.recording.hooks import INPUT, calls_of, check_layers, check_model, left_as_found, modules_by_name
from neucept.recording.layout import Tracking, resolve_units
from neucept.recording.outputs import Output, Readout, guessed_among, infer_kind, raw_outputs
from neucept.recording.reading import call_first, float_type, read_neurons, token_mask
from neucept.recording.recording import Recording
from neucept.recording.task import (
    Binary,
    Classes,
    Regression,
    Scores,
    Task,
    as_task,
    class_numbers,
    infer_task,
)
from neucept.recording.units import Channels, Elements, Neurons, Units, output_tensor, units_of


def record(
    model: nn.Module,
    data: Any,
    layers: Sequence[str],
    neurons: Neurons | Mapping[str, Neurons] = "auto",
    output: Output = None,
    device: torch.device | str | None = None,
    batch_size: int = 256,
    class_names: Sequence[str] | None = None,
    store: str | Path | None = None,
    progress: bool = True,
    task: str | Task = "auto",
) -> Recording:
    """Record neurons of named layers, logits and labels: one forward pass for all of them.

    The model's mode, device, parameters and hooks are as before when this returns, after an error too.

    Parameters
    ----------
    model : Module
        Any classifier.
    data : tensor, array, frame, mapping, tuple, Dataset, DataLoader or Inputs
        Inputs, or inputs with labels, see `neucept.inputs.Inputs.of`. Order is kept.
    layers : sequence of str
        Names as in ``model.named_modules()``; ``"input"`` is the input itself. A module called several times gives one
        layer per call, ``name#0``, ``name#1``, ... (or only the one asked for by that name).
    neurons : str, Units, callable, or mapping of layer to either
        ``"channel"``: means over space or tokens, padding left out; ``"element"``: all elements; ``"auto"``: channel
        for maps and tokens, element for vectors; units such as ``Channels(axis=1)``, ``Token(0)`` or ``Encoder(...)``
        from `neucept.recording`; a callable maps (batch, ...) to (batch, k). Units take ``names=`` for their neurons;
        those of the layer ``"input"`` are the columns, where the data are a data frame.
    output : None, str, int or callable
        Picks the logits out of what the model returns: a key or attribute, a position, or a function of it. By default
        what is called ``logits``, or the first tensor, with a warning where there are several.
    device : device, optional
        Where to run; by default where the model is.
    batch_size : int
        Inputs per batch (a DataLoader has its own).
    class_names : sequence of str, optional
        By default what the data carries as ``class_names`` or ``classes``, else the numbers.
    store : path, optional
        A new folder: activations are written there as they come and not held in memory, and it is the saved recording.
    progress : bool
        Show progress when it takes more than two seconds.
    task : {"auto", "classes", "binary", "multi-label", "regression"} or Task
        What the outputs mean. ``"auto"``: several outputs are classes, one output is binary; several labels per input
        make it multi-label, labels that are not whole numbers a regression. Probabilities are recognised and converted
        to logits, with a warning. ``Scores(function)`` computes a score per class from anything the model returns.

    Returns
    -------
    Recording

    Raises
    ------
    InputError
        Before the first batch for what can be known then (unknown layers, an unusable store, scripted models), in the
        first batch for inputs that the model does not take, layers never called and axes that are not known, and for
        NaN or infinite values with layer, neuron and input.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> record(net, torch.randn(10, 5), layers=["1"], progress=False)
    Recording(10 inputs, 3 classes; 1 (8 neurons))
    """
    model = check_model(model)
    asked = units_of(check_layers(model, layers), neurons)
    inputs = Inputs.of(data, model)
    meaning = as_task(task)
    batch_size = check_whole("batch_size", batch_size)
    if isinstance(meaning, Scores) and output is None:
        output = meaning.function
    if inputs.n == 0:
        raise InputError("The data holds no inputs.")
    if class_names is not None and (
        not isinstance(class_names, Sequence | np.ndarray) or isinstance(class_names, str | bytes)
    ):
        raise InputError(f"class_names={class_names!r}: expected a list of names, in the order of the outputs.")
    if class_names is not None and len(set(map(str, class_names))) < len(class_names):
        raise InputError(f"class_names={list(class_names)}: the same name is given twice.")
    with ExitStack() as stack:
        draft = None
        if store is not None:
            if inputs.n is None:
                raise InputError("store= needs data that knows its length (a Dataset, not a stream).")
            draft = stack.enter_context(storage.new_folder(store, "Recording"))
        names = tuple(map(str, class_names)) if class_names is not None else None
        run = _Run(model, asked, output, inputs.n, draft, names, inputs.class_names, meaning, inputs.columns)
        where = stack.enter_context(left_as_found(model, device))
        advance = stack.enter_context(show_progress("recording", inputs.n, progress))
        kind = float_type(model)
        for batch, labels in inputs.batches(batch_size):
            run.add(batch.to(where, kind), labels)
            advance(batch.n)
        recording = run.finish()
        if inputs.n == len(recording):
            recording = replace(recording, names=inputs.names)
        if draft is not None:
            recording.write(draft)
    return recording if store is None else Recording.open(store, recording.task)


class _Run:
    """What has been recorded so far."""

    def __init__(
        self,
        model: nn.Module,
        asked: Mapping[str, Units],
        output: Output,
        total: int | None,
        draft: Path | None,
        names: tuple[str, ...] | None,
        of_data: tuple[str, ...] | None,
        task: Task | None,
        columns: tuple[str, ...] | None = None,
    ) -> None:
        self.model, self.asked, self.output = model, asked, output
        self.total, self.draft = total, draft
        self.names, self.of_data, self.task, self.features = names, of_data, task, columns
        self.units: dict[str, Units] = {}
        self.made_by = ""
        self.columns: dict[str, _Column] = {}
        self.labels: list[Any] = []
        self.lengths: set[int] = set()
        self.done = 0

    def add(self, batch: Batch, labels: Any) -> None:
        """Run one batch."""
        if not self.units:
            self._begin(batch, labels)
        try:
            neurons, returned = read_neurons(self.model, batch, self.units)
        except InputError:
            raise
        except Exception as error:
            error.add_note(f"This happened on inputs {self.done} to {self.done + batch.n - 1} of the data.")
            raise
        raw = raw_outputs(returned, self.output).detach().float()
        parts = {**{f"neurons/{layer}": values for layer, values in neurons.items()}, "logits": raw}
        if len(raw) != batch.n:
            raise InputError(
                f"The model gave {len(raw)} rows of logits for {batch.n} inputs; they must be (batch, ...)."
            )
        for name, values in parts.items():
            if len(values) != batch.n:
                raise InputError(
                    f"'{name}' has {len(values)} rows where the logits have {batch.n}; neurons must be (batch, k)."
                )
            _check_finite(name, values, self.done)
            if name not in self.columns:
                self.columns[name] = _Column(self.total, self.draft, len(self.columns))
            self.columns[name].add(values)
        if (labels is None) != (not self.labels) and self.done:
            raise InputError(f"From input {self.done} on the data has {'no ' if labels is None else ''}labels.")
        if labels is not None:
            self.labels.append(labels)
        self.lengths |= {t.shape[1] for t in batch.tensors() if t.ndim == 2 and not t.is_floating_point()}
        self.done += batch.n

    def _begin(self, batch: Batch, labels: Any) -> None:
        """Check that the model takes the inputs and fits the labels, and find the axes of its layers."""
        returned = call_first(self.model, batch.part(slice(0, 1)).fresh())
        if self.output is None and (what := guessed_among(returned)) is not None:
            warnings.warn(
                f"The model returns a {what}; the first one is taken for the logits. Say which with"
                " output= (--output).",
                stacklevel=4,
            )
        raw = raw_outputs(returned, self.output)
        outputs = raw.shape[1]
        if isinstance(self.task, Binary) and outputs > 2:
            raise InputError(f"task='binary': expected one output or two, but the model has {outputs}.")
        if labels is not None:
            first = read_labels(labels, self.names or self.of_data)
            if self.task is None:
                infer_task(raw.cpu().numpy(), first)
        if self.names is not None and len(self.names) != outputs and (outputs, len(self.names)) != (1, 2):
            raise InputError(f"{len(self.names)} class names were given, but the model has {outputs} outputs.")
        self.units, self.made_by = resolve_units(self.model, batch, self.asked, self.output)
        own = self.units.get(INPUT)
        if self.features and isinstance(own, Elements) and own.names is None:
            self.units[INPUT] = replace(own, names=self.features)
        self.masked = token_mask(self.model, batch) is not None

    def finish(self) -> Recording:
        """Join the batches, and say what the outputs mean."""
        names = self.names or self.of_data
        if not self.done:
            raise InputError("The data holds no inputs.")
        arrays = {name: column.array(self.done) for name, column in self.columns.items()}
        labels = read_labels(_joined(self.labels), names) if self.labels else None
        task = self.task or infer_task(arrays["logits"], labels)
        as_given = labels
        if labels is not None and isinstance(task, Classes):
            labels = class_numbers(labels)
            _check_labels(labels, max(arrays["logits"].shape[1], 2))
        elif labels is not None and labels.ndim == 2 and self.task is None:
            _say_multi_label(labels)
        kind, notice = infer_kind(arrays["logits"], task, self.made_by)
        if notice:
            warnings.warn(f"{notice} Say task= to settle it.", stacklevel=4)
        if len(self.lengths) > 1 and not self.masked and any(isinstance(u, Channels) for u in self.units.values()):
            warnings.warn(
                f"Batches of token numbers have {min(self.lengths)} to {max(self.lengths)} tokens and no attention mask"
                " was found, so padding counts in the means over tokens. Give the mask as an input called"
                " attention_mask, or use neurons=Token(0).",
                stacklevel=4,
            )
        logits = arrays.pop("logits")
        if kind != "logits" or (logits.shape[1] == 1 and not isinstance(task, Regression)):
            read = Readout(kind=kind)(torch.from_numpy(np.asarray(logits))).numpy()
            logits = logits if np.may_share_memory(read, logits) else read  # a view of the file would be written over
        return Recording(
            neurons={layer: arrays[f"neurons/{layer}"] for layer in self.units},
            logits=logits,
            labels=labels,
            class_names=_fit(self.names, self.of_data, logits.shape[1], task),
            units=self.units,
            task=task,
            output=self.output if callable(self.output) else None,
            facts={
                "model": type(self.model).__name__,
                "inputs": self.done,
                "output": repr(self.output) if self.output is not None else "",
                "readout": kind,
                **({} if as_given is labels else {"labels": "one column per class, read as class numbers"}),
            },
        )


def list_layers(model: nn.Module, inputs: Any) -> pd.DataFrame:
    """List a model's modules with what they return, in the order in which they are first called.

    Parameters
    ----------
    model : Module
        Any network.
    inputs : tensor, tuple, dict or Inputs
        One input or more, to run once.

    Returns
    -------
    DataFrame
        One row per module that is called: ``layer``, ``type``, ``shape`` (without the batch), ``neurons`` (how many
        ``neurons="auto"`` gives; 0 where the axis of its channels is not known) and ``calls``.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten())
    >>> list_layers(net, torch.zeros(1, 1, 6, 6))
      layer     type      shape  neurons  calls
    0     0   Conv2d  (4, 4, 4)        4      1
    1     1     ReLU  (4, 4, 4)        4      1
    2     2  Flatten      (64,)       64      1
    """
    model = check_model(model)
    given = Inputs.of(inputs, model)
    if given.n == 0:
        raise InputError("The data holds no inputs.")
    rows: dict[str, dict[str, Any]] = {}
    tensors: dict[str, tuple[Tensor, nn.Module | None]] = {}

    def visit(layer: str, call: int, module: nn.Module | None, returned: Any) -> None:
        if layer in rows:
            rows[layer]["calls"] += 1
            return
        try:
            tensor, _ = output_tensor(returned, layer)
        except InputError:  # no tensor: nothing to record
            return
        rows[layer] = {"layer": layer, "type": type(module).__name__, "shape": tuple(tensor.shape[1:]), "calls": 1}
        tensors[layer] = (tensor, module)

    with left_as_found(model) as device, Tracking() as tracking, calls_of(model, list(modules_by_name(model)), visit):
        call_first(model, given[:].to(device, float_type(model)))
    for layer, (tensor, module) in tensors.items():
        axis = tracking.channels(tensor, module)
        size = tensor[0].numel() if tensor.ndim <= 2 else 0 if axis is None else tensor.shape[axis]
        rows[layer]["neurons"] = size
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


def _check_labels(labels: np.ndarray, classes: int) -> None:
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        warnings.warn(
            f"{outside.sum():,} of {len(labels):,} labels are no class of the model, whose classes are 0 to"
            f" {classes - 1}: the labels go from {labels.min()} to {labels.max()}. These inputs count as wrong.",
            stacklevel=5,
        )


def _say_multi_label(labels: np.ndarray) -> None:
    """Warn where most inputs have exactly one label, but not all: classes may be meant."""
    one = int((labels.sum(axis=1) == 1).sum())
    if 2 * one >= len(labels):
        warnings.warn(
            f"The labels have {labels.shape[1]} columns, and {len(labels) - one:,} of {len(labels):,} inputs have"
            " several labels or none: taken as multi-label. Say task='multi-label' if that is meant; for classes,"
            " leave out these inputs.",
            stacklevel=5,
        )


def _joined(parts: list[Any]) -> Any:
    """Concatenate the labels of all batches."""
    if isinstance(parts[0], Tensor):
        return torch.cat([part.detach().cpu() for part in parts])
    if isinstance(parts[0], pd.Series):
        return pd.concat(parts)
    if isinstance(parts[0], pd.Categorical):
        return pd.concat([pd.Series(part) for part in parts])
    return np.concatenate([np.asarray(part) for part in parts])


def _fit(given: Sequence[str] | None, of_data: Sequence[str] | None, outputs: int, task: Task) -> tuple[str, ...]:
    """Name the model's outputs; names of the data are of no use where their number differs."""
    if given is not None and len(given) != outputs:
        raise InputError(f"{len(given)} class names were given, but the model has {outputs} outputs.")
    names = given or of_data
    if names is not None and len(names) == outputs:
        return tuple(names)
    return ("output",) if isinstance(task, Regression) and outputs == 1 else tuple(map(str, range(outputs)))
