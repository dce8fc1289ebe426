"""What a ranking looks at, and what a method of ranking is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import nn

from neucept.errors import InputError
from neucept.inputs import Batch, Inputs
from neucept.recording import Recording
from neucept.recording.hooks import check_model
from neucept.recording.recording import Target


@dataclass(frozen=True, eq=False)
class Subject:
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
