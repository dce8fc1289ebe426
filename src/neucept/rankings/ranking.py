"""Rank the neurons of a recording by several methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from torch import nn

from neucept.errors import InputError, check_kind
from neucept.inputs import Batch, Inputs
from neucept.recording import Recording
from neucept.recording.hooks import check_model
from neucept.recording.recording import Target
from neucept.short_repr import ShortRepr


def rank(
    recording: Recording,
    target: Target,
    methods: Sequence[Method],
    model: nn.Module | None = None,
    data: Any = None,
    rows: str | np.ndarray | None = None,
    layers: Sequence[str] | None = None,
    output: Any = None,
) -> pd.DataFrame:
    """Rank the neurons of each layer by each method.

    Parameters
    ----------
    recording : Recording
        Of `neucept.record`.
    target : int, str or array
        The class whose neurons are ranked.
    methods : sequence of Method
        Such as ``[Activation(), IntegratedGradients(), NeuCEPT()]``; their names differ.
    model, data, rows, layers, output
        See `Subject`; attributions need the recorded model and inputs.

    Returns
    -------
    DataFrame
        One row a layer, method and neuron: ``layer``, ``neuron``, ``method``, ``score`` and ``rank``, 1 for the most
        important; of equal scores the smaller neuron number comes first.

    Raises
    ------
    InputError
        For what is no method, two methods of one name, and scores that are not one finite number a neuron.

    Examples
    --------
    >>> from neucept.rankings import Activation
    >>> recording = Recording({"a": np.array([[0, 3], [1, 2]], np.float32)}, np.eye(2, 2), None, ("0", "1"))
    >>> rank(recording, 0, [Activation()], rows="all")
      layer  neuron      method  score  rank
    0     a       1  activation    2.5     1
    1     a       0  activation    0.5     2
    """
    check_kind("recording", recording, Recording, "what neucept.record returns")
    methods = _checked(methods)
    subject = Subject.of(recording, target, model, data, rows, layers, output)
    tables = []
    for method in methods:
        found = method.scores(subject)
        if not isinstance(found, Mapping):
            raise InputError(f"'{method.name}' gave a {type(found).__name__}; expected {{layer: (k,) scores}}.")
        for layer in subject.layers:
            scores, k = np.asarray(found.get(layer, ())), recording.activations(layer).shape[1]
            if scores.shape != (k,) or scores.dtype.kind not in "biuf" or not np.isfinite(scores).all():
                raise InputError(f"'{method.name}' must give {k} finite scores for layer '{layer}'; got {scores!r}.")
            order = np.argsort(-scores, kind="stable")
            columns = {"layer": layer, "neuron": order, "method": method.name, "score": scores[order]}
            tables.append(pd.DataFrame({**columns, "rank": np.arange(1, k + 1)}))
    return pd.concat(tables, ignore_index=True)


def _checked(methods: Any) -> list[Method]:
    """Refuse what is no list of methods, each with a name of its own."""
    if isinstance(methods, str) or not isinstance(methods, Iterable):
        raise InputError(f"methods={methods!r}: expected a list of methods, such as [Activation()].")
    found = list(methods)
    for method in found:
        if isinstance(method, type):
            raise InputError(f"methods holds the class {method.__name__}; make a method of it: {method.__name__}().")
        if not isinstance(getattr(method, "name", None), str) or not callable(getattr(method, "scores", None)):
            raise InputError(f"{method!r} is no method: expected a name, which is a text, and scores(subject).")
    names = [method.name for method in found]
    if not names or len(set(names)) != len(names):
        raise InputError(f"The methods are called {names}; expected at least one, each by a name of its own.")
    return found


@dataclass(frozen=True, eq=False, repr=False)
class Subject(ShortRepr):
    """Whose neurons are to be ranked, for what and on which inputs; made by `Subject.of`.

    Attributes
    ----------
    recording : Recording
        Of `neucept.record`.
    target : int, str or array
        A class by number or name; an (n,) array for methods that need no network.
    rows : array
        Inputs of the recording to look at.
    layers : tuple of str
        Recorded layers to rank.
    model : Module or None
        The recorded network, for methods that run it.
    data : Inputs or None
        The recorded inputs, in the order of the recording, for methods that run the network.
    output : None, str, int or callable
        Picks the logits out of what the model returns, as in `neucept.record`; that of the recording by default.
    """

    recording: Recording
    target: Target
    rows: np.ndarray
    layers: tuple[str, ...]
    model: nn.Module | None = None
    data: Inputs | None = None
    output: Any = None

    @classmethod
    def of(
        cls,
        recording: Recording,
        target: Target,
        model: nn.Module | None = None,
        data: Any = None,
        rows: str | np.ndarray | None = None,
        layers: Sequence[str] | None = None,
        output: Any = None,
    ) -> Subject:
        """Check and complete what was given; ``rows`` as ``samples`` in `Recording.samples`, ``layers`` all by default.

        Raises
        ------
        InputError
            For an unknown class or layer, no inputs or layers, or data that cannot be the recorded inputs.
        """
        wanted = recording.layers if layers is None else layers
        if isinstance(wanted, str):
            raise InputError(f"layers={layers!r}: expected a list of names, such as [{layers!r}].")
        wanted = tuple(wanted)
        if not wanted or len(set(wanted)) != len(wanted):
            raise InputError(f"layers={layers!r}: expected at least one name, none twice; None means all recorded.")
        chosen = recording.samples(target, rows)
        if not len(chosen):
            raise InputError(f"There are no inputs to rank neurons on: none is predicted as target={target!r}.")
        for layer in wanted:
            recording.activations(layer)
        model = None if model is None else check_model(model)
        inputs = None if data is None else Inputs.of(data, model)
        if inputs is not None and inputs.n != len(recording):
            raise InputError(f"data holds {inputs.n} inputs, the recording {len(recording)}; give the recorded inputs.")
        output = output if model is None else recording.way(output)
        return cls(recording, target, chosen, wanted, model, inputs, output)

    def activations(self, layer: str) -> np.ndarray:
        """Neurons of a layer on the chosen inputs, (len(rows), k) float64."""
        return np.asarray(self.recording.activations(layer)[self.rows], np.float64)

    def batches(self, batch_size: int) -> Iterator[tuple[np.ndarray, Batch]]:
        """Yield the chosen inputs in batches, with their numbers.

        Raises
        ------
        InputError
            When no data was given.
        """
        if self.data is None:
            raise InputError("This method runs the network on the inputs: give model= and data= (the recorded inputs).")
        for start in range(0, len(self.rows), batch_size):
            rows = self.rows[start : start + batch_size]
            yield rows, self.data[rows]


class Method(Protocol):
    """A way to score neurons.

    Examples
    --------
    One of your own is a name and a function:

    >>> class Peak:
    ...     name = "largest activation"
    ...
    ...     def scores(self, subject):
    ...         return {layer: subject.activations(layer).max(axis=0) for layer in subject.layers}
    >>> recording = Recording({"hidden": np.array([[0, 3], [1, 2]], np.float32)}, np.eye(2, 2), None, ("a", "b"))
    >>> Peak().scores(Subject.of(recording, 0, rows="all"))
    {'hidden': array([1., 3.])}
    """

    @property
    def name(self) -> str:
        """What tables and figures call it."""
        ...

    def scores(self, subject: Subject) -> dict[str, np.ndarray]:
        """Score every neuron of the subject's layers, {layer: (k,)}; higher is more important."""
        ...
