"""The noun: what a network did on n inputs, at some layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax
from torch import nn

from neucept import storage
from neucept.errors import InputError, closest
from neucept.inputs import Inputs
from neucept.names import name_of, pack, unpack
from neucept.recording.hooks import check_layers, check_model, left_as_found
from neucept.recording.layout import resolve_units
from neucept.recording.outputs import Output, logits_of, recorded_output
from neucept.recording.reading import float_type, read_neurons
from neucept.recording.task import Binary, Classes, MultiLabel, Task, task_from_facts, task_to_facts
from neucept.recording.units import Units, as_units, neuron_names, readable, units_from_facts, units_to_facts
from neucept.short_repr import shortened

Target = int | str | tuple[float, float] | np.ndarray
ALIKE = 0.02  # largest difference from what was recorded, as a share of the largest value, that is called the same

__all__ = ["Recording", "Target"]


@dataclass(frozen=True, eq=False)
class Recording:
    """Neurons, logits and labels of n inputs; made by `neucept.record`.

    Attributes
    ----------
    neurons : mapping of str to array
        {layer: (n, k)}, float32; see `activations`.
    logits : array
        (n, C), float32: the outputs of the task.
    labels : array or None
        (n,) int64, class numbers as the data gave them; (n,) float64, values of a regression; (n, C), one column per
        label of a multi-label task.
    class_names : tuple of str
        The C names.
    units : mapping of str to Units
        How each layer became neurons; a name such as ``"element"`` will do.
    task : Task
        What the outputs mean.
    names : tuple of str or None
        (n,), what a person finds each input by: a file, a row of a table; None where the data names none.
    facts : mapping
        The settings of the recording, for reports.
    output : Output
        The way to the outputs as it was given, where it is a function: it is not saved, and asked for again.
    path : Path or None
        Where it lies on disk, if it was opened from there.
    cache : dict
        What was computed from it once and is kept for the next time, by keys that name the content it depends on.

    Examples
    --------
    >>> recording = Recording({"hidden": np.ones((4, 3), np.float32)}, np.eye(4, 2, dtype=np.float32), None, ("a", "b"))
    >>> len(recording), recording.layers, recording.predictions.tolist()
    (4, ('hidden',), [0, 1, 0, 0])
    >>> recording.samples("b").tolist()
    [1]
    """

    neurons: Mapping[str, np.ndarray]
    logits: np.ndarray
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    units: Mapping[str, Units] = field(default_factory=dict)
    task: Task = field(default_factory=Classes)
    facts: Mapping[str, Any] = field(default_factory=dict)
    output: Output = None
    path: Path | None = None
    names: tuple[str, ...] | None = None
    cache: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        units = {layer: as_units(self.units.get(layer, "auto"), layer) for layer in self.neurons}
        object.__setattr__(self, "units", units)
        n = len(self.logits)
        for name, array in {**self.neurons, "labels": self.labels, "names": self.names}.items():
            if array is not None and len(array) != n:
                raise InputError(f"{len(array)} rows of '{name}' but {n} of the logits.")
        if len(self.class_names) != self.logits.shape[1]:
            raise InputError(
                f"{len(self.class_names)} class names were given, but the model has {self.logits.shape[1]} outputs."
            )

    def __len__(self) -> int:
        return len(self.logits)

    def __repr__(self) -> str:
        layers = ", ".join(f"{layer} ({array.shape[1]} neurons)" for layer, array in self.neurons.items())
        many = "labels" if isinstance(self.task, MultiLabel) else "outputs"
        kind = "classes" if isinstance(self.task, Classes) else many if len(self.class_names) > 1 else "output"
        return shortened(f"Recording({len(self)} inputs, {len(self.class_names)} {kind}; {layers})")

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the recorded layers, in the order asked."""
        return tuple(self.neurons)

    @property
    def pooling(self) -> dict[str, str]:
        """Names of the units of each layer: ``channel``, ``element``, ``token``, ``callable`` or ``auto``."""
        return {layer: units.name for layer, units in self.units.items()}

    def name(self, row: int) -> str:
        """Name of an input; ``#row`` where it has none."""
        return name_of(self.names, row)

    @property
    def predictions(self) -> np.ndarray:
        """Number of the largest output of each input, (n,); the predicted class where the task is one of classes."""
        return np.asarray(self.logits.argmax(axis=1))

    @property
    def single_label(self) -> bool:
        """Whether each input is predicted as one of several classes, whose outputs are logits."""
        return type(self.task) in (Classes, Binary) and self.logits.shape[1] > 1

    def confidence(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Softmax probability of the predicted class of each input, (n,), not calibrated; NaN for other tasks.

        Parameters
        ----------
        rows : array of int, optional
            Which inputs; all by default.
        """
        logits = np.asarray(self.logits if rows is None else self.logits[rows], np.float64)
        if not self.single_label or not len(logits):
            return np.full(len(logits), np.nan)
        return np.asarray(softmax(logits, axis=1).max(axis=1))

    def label_names(self, rows: np.ndarray) -> list[str]:
        """Label of each of some inputs in words; empty strings without labels.

        A class number that the outputs do not have is given as it is, a value of a regression with four digits.
        """
        if self.labels is None:
            return [""] * len(rows)
        own, names = self.labels[rows], self.class_names
        if own.ndim == 2:
            chosen = [[name for name, on in zip(names, row, strict=False) if on > 0.5] for row in own]
            return [", ".join(some) or "none" for some in chosen]
        if own.dtype.kind == "f":
            return [f"{value:.4g}" for value in own]
        return [names[label] if 0 <= label < len(names) else str(label) for label in own.tolist()]

    def predicted(self, target: int | str | tuple[float, float]) -> np.ndarray:
        """Which inputs are predicted as a target, (n,) bool."""
        return self.task.predicted(self.logits, self.class_number(target))

    def right(self, target: int | str, labels: np.ndarray | None = None) -> np.ndarray | None:
        """Whether a target is true of each input, (n,) bool; None without labels.

        Parameters
        ----------
        target : int or str
            A class, or another target of the task.
        labels : array, optional
            Others than those recorded.
        """
        labels = self.labels if labels is None else labels
        return None if labels is None else self.task.right(self.logits, labels, self.class_number(target))

    def way(self, output: Output = None) -> Output:
        """Return the way from what the model returns to the outputs: the recording's own, unless one is given.

        Raises
        ------
        InputError
            When the recording was opened from disk and made with a function, which must be given again.
        """
        return recorded_output(self.facts, self.output if output is None else output)

    def target_name(self, target: int | str) -> str:
        """Name a target, for tables and reports."""
        return self.task.target_name(self.class_number(target), self.class_names)

    def activations(self, layer: str) -> np.ndarray:
        """Neurons of a layer, (n, k) float32.

        Raises
        ------
        InputError
            When the layer was not recorded, or is a module called several times (its calls are layers ``name#0``, ...).
        """
        if layer in self.neurons:
            return self.neurons[layer]
        calls = [name for name in self.neurons if name.startswith(f"{layer}#")]
        hint = f" '{layer}' was called {len(calls)} times: choose among {', '.join(calls)}." if calls else ""
        raise InputError(
            f"Layer '{layer}' was not recorded; there are {', '.join(self.layers)}."
            + (hint or closest(layer, self.layers))
        )

    def neuron_names(self, layer: str) -> np.ndarray | None:
        """Names of a layer's neurons, (k,): the columns of a data frame, or ``names=`` of its units; None without."""
        units = self.units[layer]
        return np.array(neuron_names(units, self.activations(layer).shape[1])) if units.labels else None

    def class_number(self, target: Any) -> Any:
        """Find a target of the task, given by number or name: the number of a class, or the text of a range.

        Raises
        ------
        InputError
            When there is no such target.
        """
        return self.task.target(target, self.class_names)

    def response(self, target: Target, kind: str = "logit") -> np.ndarray:
        """Compute what is to be explained, (n,) float64.

        Parameters
        ----------
        target : int, str or array
            A class, or an (n,) array, which is its own response.
        kind : {"logit", "margin", "log_prob"}
            The class's logit, the logit minus the largest other, or the logarithm of its probability.
        """
        if isinstance(target, np.ndarray):
            if target.shape != (len(self),):
                raise InputError(
                    f"The target array has shape {target.shape}; expected ({len(self)},), one number an input."
                )
            if not np.isfinite(target).all():
                raise InputError(
                    f"The target array is not finite at input {int(np.flatnonzero(~np.isfinite(target))[0])}."
                )
            return target.astype(np.float64)
        return self.task.response(self.logits, self.class_number(target), kind)

    def samples(self, target: Target, samples: str | np.ndarray | Sequence[int] | None = None) -> np.ndarray:
        """Choose the inputs to look at, as row numbers in ascending order.

        Parameters
        ----------
        target : int, str or array
            The class, or an array response.
        samples : {"predicted", "all"}, mask, row numbers, or None
            ``predicted``: those predicted as the class (the default for a class); ``all`` (the default for an array).
        """
        if samples is None:
            samples = "all" if isinstance(target, np.ndarray) else "predicted"
        if isinstance(samples, str):
            if samples == "all":
                return np.arange(len(self))
            if samples == "predicted" and not isinstance(target, np.ndarray):
                return np.flatnonzero(self.predicted(target))
            raise InputError(f"samples={samples!r}: expected 'predicted' (for a class), 'all', a mask or row numbers.")
        chosen = np.asarray(samples)
        if chosen.dtype == bool and chosen.shape == (len(self),):
            return np.flatnonzero(chosen)
        if chosen.ndim == 1 and np.issubdtype(chosen.dtype, np.integer):
            if chosen.size and (chosen.min() < 0 or chosen.max() >= len(self)):
                wrong = chosen[(chosen < 0) | (chosen >= len(self))][0]
                raise InputError(f"samples= names row {wrong}, but there are {len(self)} inputs, 0 to {len(self) - 1}.")
            return np.unique(chosen)
        raise InputError(
            f"samples= has shape {chosen.shape} and type {chosen.dtype}; expected a mask ({len(self)},) or row numbers."
        )

    def subset(self, rows: np.ndarray) -> Recording:
        """Keep the inputs of a mask or of row numbers, in that order."""
        labels = None if self.labels is None else self.labels[rows]
        names = None if self.names is None else tuple(self.names[i] for i in np.arange(len(self))[rows])
        return replace(
            self,
            names=names,
            neurons={k: v[rows] for k, v in self.neurons.items()},
            logits=self.logits[rows],
            labels=labels,
            path=None,
            cache={},
        )

    def verify(
        self,
        model: nn.Module,
        data: Any,
        output: Output = None,
        layers: Sequence[str] | None = None,
        rows: int = 4,
    ) -> Inputs:
        """Check that a model and data are the recorded ones: logits and activations of a few inputs.

        Parameters
        ----------
        model : Module
            Left as it was found.
        data : Inputs or data of any kind
            See `neucept.inputs.Inputs.of`.
        output : None, str, int or callable
            As in `neucept.record`; that of the recording by default.
        layers : sequence of str, optional
            Recorded layers to compare; all by default. Those of functions that were not saved are left out.
        rows : int
            How many inputs to compare.

        Returns
        -------
        Inputs
            The data, read.

        Raises
        ------
        InputError
            When the data holds another number of inputs, or the model gives other logits or activations for them.
        """
        model = check_model(model)
        inputs = Inputs.of(data, model)
        if inputs.dataset is not None and inputs.n != len(self):  # inputs that cannot be found by number are an error
            raise InputError(
                f"data holds {inputs.n} inputs, the recording {len(self)}; give the recorded inputs, in their order."
            )
        chosen = np.unique(np.linspace(0, len(self) - 1, rows).astype(int))
        wanted = self.layers if layers is None else layers
        for layer in wanted:
            self.activations(layer)
        check_layers(model, list(wanted))
        with left_as_found(model) as device:
            batch = inputs[chosen].to(device, float_type(model))
            way = self.way(output)
            units = {layer: self.units[layer] for layer in wanted if readable(self.units[layer])}
            units, _ = resolve_units(model, batch, units, way)
            neurons, returned = read_neurons(model, batch, units)
            values = {"": logits_of(returned, way), **neurons}
        # Dynamically quantised layers round by the largest value of their batch.
        quantised = any(".quantized." in type(module).__module__ for module in model.modules())
        alike = 10 * ALIKE if quantised else ALIKE
        for layer, again in values.items():
            held = np.asarray(self.activations(layer)[chosen] if layer else self.logits[chosen])
            got = again.cpu().numpy()
            if got.shape != held.shape or np.abs(got - held).max() > alike * max(float(np.abs(held).max()), 1e-6):
                what = f"activations at layer '{layer}'" if layer else "logits"
                raise InputError(
                    f"The model gives other {what} for inputs {', '.join(map(str, chosen))} than the recording holds."
                    " Give the model and the data, in the order, that were recorded."
                )
        return inputs

    def save(self, path: str | Path) -> Path:
        """Write the recording to a folder; `Recording.open` reads it."""
        with storage.new_folder(path, "Recording") as draft:
            self.write(draft)
        return Path(path)

    def write(self, folder: Path) -> None:
        """Write into a folder that exists; arrays that lie there already are only listed."""
        facts = {
            "layers": list(self.layers),
            "class_names": list(self.class_names),
            "units": {layer: units_to_facts(units) for layer, units in self.units.items()},
            "task": task_to_facts(self.task),
            "facts": dict(self.facts),
        }
        arrays = {f"neurons/{layer}": array for layer, array in self.neurons.items()}
        storage.write(
            folder, "Recording", facts, {**arrays, "logits": self.logits, "labels": self.labels, **pack(self.names)}
        )

    @classmethod
    def open(cls, path: str | Path, task: Task | None = None) -> Recording:
        """Open a saved recording; activations stay on disk until they are used.

        Parameters
        ----------
        path : path
            The folder that `save` made.
        task : Task, optional
            What the outputs mean, where the recording was made with a task of the user's own.
        """
        with storage.opened(path, "Recording", lazy=True) as (facts, arrays):
            units = facts["units"] if "units" in facts else facts["pooling"]  # names alone, in the first format
            return cls(
                neurons={layer: arrays[f"neurons/{layer}"] for layer in facts["layers"]},
                logits=np.asarray(arrays["logits"]),
                labels=np.asarray(arrays["labels"]) if "labels" in arrays else None,
                class_names=tuple(facts["class_names"]),
                units={layer: units_from_facts(described) for layer, described in units.items()},
                task=task if task is not None else task_from_facts(facts.get("task")),
                facts=facts["facts"],
                names=unpack(arrays),
                path=Path(path),
            )
