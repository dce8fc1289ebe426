"""The noun: what a network did on n inputs, at some layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import log_softmax

from neucept import storage
from neucept.errors import InputError, closest

RESPONSES = ("logit", "margin", "log_prob")
Target = int | str | np.ndarray


@dataclass(frozen=True, eq=False)
class Recording:
    """Neurons, logits and labels of n inputs; made by `neucept.record`.

    Attributes
    ----------
    neurons : mapping of str to array
        {layer: (n, k)}, float32; see `activations`.
    logits : array
        (n, C), float32.
    labels : array or None
        (n,), int64, class numbers as the data gave them.
    class_names : tuple of str
        The C names.
    pooling : mapping of str to str
        How each layer became neurons: ``auto``, ``channel``, ``element`` or ``callable``.
    facts : mapping
        The settings of the recording, for reports.
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
    pooling: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    cache: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        n = len(self.logits)
        for name, array in {**self.neurons, "labels": self.labels}.items():
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
        return f"Recording({len(self)} inputs, {len(self.class_names)} classes; {layers})"

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the recorded layers, in the order asked."""
        return tuple(self.neurons)

    @property
    def predictions(self) -> np.ndarray:
        """Predicted class numbers, (n,)."""
        return np.asarray(self.logits.argmax(axis=1))

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

    def class_number(self, target: int | str) -> int:
        """Find the number of a class given by number or name.

        Raises
        ------
        InputError
            When there is no such class.
        """
        if isinstance(target, str):
            if target in self.class_names:
                return self.class_names.index(target)
            if not target.isdecimal():
                known = ", ".join(self.class_names[:20]) + (", ..." if len(self.class_names) > 20 else "")
                raise InputError(
                    f"No class is called '{target}'.{closest(target, self.class_names)} There are: {known}."
                )
        elif not isinstance(target, int | np.integer):
            raise InputError(f"target is a {type(target).__name__}; expected a class number or name, or an (n,) array.")
        number = int(target)
        if not 0 <= number < len(self.class_names):
            raise InputError(
                f"target={target}: the model has {len(self.class_names)} classes, 0 to {len(self.class_names) - 1}."
            )
        return number

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
        if kind not in RESPONSES:
            raise InputError(f"response={kind!r}: expected one of {', '.join(map(repr, RESPONSES))}.")
        number = self.class_number(target)
        logits = np.asarray(self.logits, np.float64)
        if kind == "log_prob":
            return np.asarray(log_softmax(logits, axis=1)[:, number])
        if kind == "margin":
            return np.asarray(logits[:, number] - np.delete(logits, number, axis=1).max(axis=1))
        return np.asarray(logits[:, number])

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
                return np.flatnonzero(self.predictions == self.class_number(target))
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
        return replace(
            self,
            neurons={k: v[rows] for k, v in self.neurons.items()},
            logits=self.logits[rows],
            labels=labels,
            path=None,
            cache={},
        )

    def save(self, path: str | Path) -> Path:
        """Write the recording to a folder; `Recording.open` reads it."""
        facts = {
            "layers": list(self.layers),
            "class_names": list(self.class_names),
            "pooling": dict(self.pooling),
            "facts": dict(self.facts),
        }
        arrays = {f"neurons/{layer}": array for layer, array in self.neurons.items()}
        return storage.save(path, "Recording", facts, {**arrays, "logits": self.logits, "labels": self.labels})

    @classmethod
    def open(cls, path: str | Path) -> Recording:
        """Open a saved recording; activations stay on disk until they are used."""
        with storage.opened(path, "Recording", lazy=True) as (facts, arrays):
            return cls(
                neurons={layer: arrays[f"neurons/{layer}"] for layer in facts["layers"]},
                logits=np.asarray(arrays["logits"]),
                labels=np.asarray(arrays["labels"]) if "labels" in arrays else None,
                class_names=tuple(facts["class_names"]),
                pooling=facts["pooling"],
                facts=facts["facts"],
                path=Path(path),
            )
