"""What a page is made of: the results, checked against each other, and what every section needs of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from neucept.discovery import CriticalNeurons
from neucept.errors import InputError
from neucept.mechanism_pathways import MechanismPathways
from neucept.mechanisms import Choice, Feature, Mechanisms, wilson
from neucept.recording import Recording, record
from neucept.recording.batches import by_number
from neucept.recording.hooks import split_call
from neucept.recording.outputs import Output
from neucept.reports.pictures import Pictures

MOST_IN_GRAPH = 12  # neurons of a layer that a graph shows


class Judged(NamedTuple):
    """Reliability of one mechanism; ``rest`` is the precision of all others together, see `neucept.reliability`."""

    inputs: int
    precision: float
    rest: float
    low: float
    high: float
    agreement: float
    p_corrected: float
    verdict: str

    @property
    def interval(self) -> tuple[float, float, float]:
        """Precision with its interval."""
        return self.precision, self.low, self.high


@dataclass(frozen=True)
class Material:
    """All that the sections of a page draw on.

    Attributes
    ----------
    recording, critical, mechanisms, guide, sufficiency
        As given to `neucept.report`; sufficiency is None where it was not measured.
    model : Module or None
        For the regions that neurons respond to.
    pictures : Pictures or None
        Of the inputs.
    kinds : array or None
        (n,) finer label of each input, where the data know more than the classes of the model.
    kind_names : sequence of str
        Their names.
    title : str or None
        The page's, if the user gave one.
    pathways : MechanismPathways or None
        Of the mechanisms.
    no_pathways : str
        Why there are none; empty where nobody asked for them.
    """

    recording: Recording
    critical: CriticalNeurons
    mechanisms: Mechanisms
    guide: Choice
    sufficiency: pd.DataFrame | None
    model: nn.Module | None = None
    pictures: Pictures | None = None
    kinds: np.ndarray | None = None
    kind_names: Sequence[str] = field(default_factory=tuple)
    title: str | None = None
    pathways: MechanismPathways | None = None
    no_pathways: str = ""

    @property
    def model_name(self) -> str:
        """Type of the network."""
        return (
            type(self.model).__name__ if self.model is not None else str(self.recording.facts.get("model", "network"))
        )

    @property
    def rows(self) -> np.ndarray:
        """Rows of the recording that were clustered, (m,)."""
        return self.mechanisms.samples

    @cached_property
    def right(self) -> np.ndarray | None:
        """Whether each clustered input is labelled as the target, (m,); None where nobody knows."""
        if self.mechanisms.reliability is None or self.recording.labels is None:
            return None
        return np.asarray(self.recording.labels[self.rows] == self.mechanisms.target)

    @cached_property
    def wrong(self) -> np.ndarray:
        """Whether each clustered input is wrongly predicted, (m,); False where nobody knows."""
        labels = self.recording.labels
        if self.right is None or labels is None:
            return np.zeros(len(self.rows), bool)
        return np.asarray(self.recording.predictions[self.rows] != labels[self.rows])

    @property
    def are_predictions(self) -> bool:
        """Whether the inputs clustered are exactly predictions of the target."""
        target = self.mechanisms.target
        return target is not None and bool((self.recording.predictions[self.rows] == target).all())

    @cached_property
    def overall(self) -> tuple[float, float, float] | None:
        """Precision of all inputs clustered, with Wilson's interval."""
        if self.right is None:
            return None
        return (float(self.right.mean()), *wilson(int(self.right.sum()), len(self.right)))

    @cached_property
    def judged(self) -> tuple[Judged, ...] | None:
        """Reliability of each mechanism; None where it is not known."""
        known = self.mechanisms.reliability
        if known is None:
            return None
        number, precision = known["judged"].to_numpy(float), known["precision"].to_numpy(float)
        hits = np.where(number > 0, number * precision, 0.0)
        others = number.sum() - number
        rest = np.where(others > 0, (hits.sum() - hits) / np.maximum(others, 1), np.nan)
        columns = (known[name].tolist() for name in ("low", "high", "agreement", "p_corrected", "verdict"))
        return tuple(map(Judged, number.astype(int).tolist(), precision.tolist(), rest.tolist(), *columns))

    @cached_property
    def levels(self) -> np.ndarray:
        """Activations of the representative neurons in deviations from the mean of all inputs clustered, (m, f)."""
        values = self.mechanisms.values
        return np.asarray((values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-12))

    @cached_property
    def response_levels(self) -> np.ndarray | None:
        """Response in deviations from its mean, (m,); None for an array target, which the results do not hold."""
        if self.critical.target is None:
            return None
        response = self.recording.response(self.critical.target, self.critical.response)[self.rows]
        return np.asarray((response - response.mean()) / max(float(response.std()), 1e-12))

    @cached_property
    def shown(self) -> list[list[int]]:
        """Features that graphs show, layer by layer: of many, those that set mechanisms apart most."""
        apart = self.mechanisms.separation().abs().max(axis=1).to_numpy()
        columns = []
        for layer in self.mechanisms.layers:
            mine = [i for i, feature in enumerate(self.mechanisms.features) if feature.layer == layer]
            best = sorted(mine, key=lambda i: -apart[i])[:MOST_IN_GRAPH]
            columns.append(sorted(best))
        return columns

    def label_names(self, rows: np.ndarray) -> list[str]:
        """Name of the label of some rows, the finer one where there is one; empty without labels."""
        if self.kinds is not None:
            return [str(self.kind_names[kind]) for kind in self.kinds[rows]]
        labels, names = self.recording.labels, self.recording.class_names
        if labels is None:
            return [""] * len(rows)
        return [names[label] if 0 <= label < len(names) else str(label) for label in labels[rows]]


def check(recording: Any, critical: Any, mechanisms: Any) -> None:
    """Raise an InputError unless three results belong together."""
    if isinstance(critical, Mapping) and not isinstance(critical, CriticalNeurons):
        targets = ", ".join(map(repr, critical)) or "none"
        raise InputError(
            f"A page is of one target; critical= holds a mapping ({targets}): give the CriticalNeurons of one."
        )
    for name, given, kind in (
        ("recording", recording, Recording),
        ("critical", critical, CriticalNeurons),
        ("mechanisms", mechanisms, Mechanisms),
    ):
        if not isinstance(given, kind):
            raise InputError(f"{name}= is a {type(given).__name__}; expected {kind.__name__}.")
    if mechanisms.target is not None and critical.target is not None and mechanisms.target != critical.target:
        raise InputError(
            f"The critical neurons are of '{critical.target_name}', but the mechanisms of '{mechanisms.target_name}'."
        )
    for layer in dict.fromkeys((*critical, *mechanisms.layers)):
        recording.activations(layer)
    last = max(int(mechanisms.samples.max()), int(critical.samples.max()))
    if last >= len(recording):
        raise InputError(f"The results name input {last}, but the recording has {len(recording)} inputs.")


def finer_labels(data: Any, recording: Recording) -> tuple[np.ndarray | None, Sequence[str]]:
    """Labels that the data carry, where they are not simply those of the recording: ten digits behind even and odd."""
    source = by_number(data)
    labels, names = getattr(source, "labels", None), getattr(source, "class_names", None)
    if labels is None or names is None or np.shape(labels) != (len(recording),):
        return None, ()
    labels, names = np.asarray(labels), tuple(map(str, names))
    if names == tuple(recording.class_names) or not np.issubdtype(labels.dtype, np.integer):
        return None, ()
    if labels.min() < 0 or labels.max() >= len(names):
        return None, ()
    return labels, names


def pooling_of(recording: Recording, layer: str) -> str:
    """How a layer became neurons; the calls of a module share the module's way."""
    return recording.pooling.get(layer, recording.pooling.get(split_call(layer)[0], "auto"))


def check_aligned(
    recording: Recording,
    layers: Sequence[str],
    model: nn.Module | None,
    pictures: Pictures | None,
    output: Output = None,
    inputs: int = 4,
) -> None:
    """Run the model on a few inputs: pictures beside the wrong rows would mislead.

    Raises
    ------
    InputError
        When model and data do not give what the recording holds.
    """
    known = {layer: pooling for layer in layers if (pooling := pooling_of(recording, layer)) != "callable"}
    if model is None or pictures is None or not known:
        return
    rows = np.unique(np.linspace(0, len(recording) - 1, inputs).astype(int))
    batch = torch.stack([pictures.input(int(row)) for row in rows])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what there is to warn of was said when the inputs were recorded
        again = record(model, batch, list(known), known, output, progress=False)
    for layer in known:
        held = np.asarray(recording.activations(layer)[rows])
        got = again.activations(layer)
        if got.shape != held.shape or np.abs(got - held).max() > 0.02 * max(float(np.abs(held).max()), 1e-6):
            raise InputError(
                f"At layer '{layer}' the model gives other activations for inputs {', '.join(map(str, rows))} than"
                " the recording holds. Give report() the model and the data, in the order, that were recorded."
            )


def feature_label(feature: Feature, most: int = 2) -> str:
    """Name the members of a representative neuron, briefly.

    >>> feature_label(Feature("conv", (7, 21, 3, 4), True))
    '7+21+2 more'
    """
    first = "+".join(map(str, feature.neurons[:most]))
    return first if len(feature.neurons) <= most else f"{first}+{len(feature.neurons) - most} more"
