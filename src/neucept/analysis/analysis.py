"""The noun: all that is known of one target. It holds results and derives from them; it runs no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit
from torch import nn

from neucept import storage
from neucept.analysis.assignment import assign, record_again
from neucept.analysis.pictures import Embedding, Pictures
from neucept.discovery import CriticalNeurons
from neucept.errors import InputError
from neucept.knockoffs import Rule
from neucept.knockoffs.preprocessing import standardised
from neucept.mechanism_pathways import MechanismPathways
from neucept.mechanisms import ErrorDetection, Mechanisms, NumberOfClusters, error_detection, wilson
from neucept.mechanisms.confidence import log_odds
from neucept.novelty import Novelty
from neucept.recording import Recording
from neucept.recording.outputs import Output
from neucept.recording.task import Classes, Regression
from neucept.short_repr import short_repr, shortened

_KIND = "Analysis"
_MOST_IN_GRAPH = 12  # neurons of a layer that a graph shows
EXAMPLES = 8  # inputs of each kind that stand for a mechanism


class Reliability(NamedTuple):
    """Reliability of one mechanism: a row of `neucept.reliability`; ``rest`` is the precision of all the others.

    The last fields compare it with the network's own confidence; they are empty in results from before they were known.
    """

    inputs: int
    precision: float
    rest: float
    low: float
    high: float
    agreement: float
    p_corrected: float
    verdict: str
    expected: float = float("nan")
    expected_low: float = float("nan")
    expected_high: float = float("nan")
    expected_elsewhere: float = float("nan")
    confidence_verdict: str = ""
    confidence: float = float("nan")

    @property
    def interval(self) -> tuple[float, float, float]:
        """Precision with its interval."""
        return self.precision, self.low, self.high

    def __repr__(self) -> str:
        return short_repr(self)


class TopInputs(NamedTuple):
    """The inputs that activate one neuron most.

    Attributes
    ----------
    layer : str
        Where.
    neuron : int
        Number of the neuron.
    selected : bool
        Whether it was selected as critical, alone or with its group; the others set a mechanism apart.
    rows : array
        (t,) rows of the recording, highest activation first.
    boxes : array or None
        (t, 4) region of each input that the neuron responds to: top, left, bottom, right, the last two exclusive.
        None where no model was given, or the inputs are not images.
    """

    layer: str
    neuron: int
    selected: bool
    rows: np.ndarray
    boxes: np.ndarray | None

    def __repr__(self) -> str:
        return short_repr(self)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Analysis:
    """All that is known of one target; made by `neucept.analyse`, drawn by `neucept.report`.

    Attributes
    ----------
    recording : Recording
        Activations, logits and labels.
    critical : CriticalNeurons
        The critical neurons of the target at each layer.
    mechanisms : Mechanisms
        The clusters of inputs.
    n_clusters : NumberOfClusters
        Comparison of numbers of clusters, and the test against one single mechanism.
    embedding : Embedding
        The inputs in the plane.
    sufficiency : DataFrame or None
        See `neucept.sufficiency`; None for an array target whose values are not known.
    pathways : MechanismPathways or None
        The pathways of the mechanisms.
    why_no_pathways : str
        The reason where there are none; empty where nobody asked for them.
    top_inputs : tuple of TopInputs
        Of each layer the critical neurons, in the order of their ranking, and those that set a mechanism apart.
    input_size : (int, int) or None
        Height and width of the images that the boxes of ``top_inputs`` refer to.
    pictures : Pictures or None
        Pictures of the inputs that stand for mechanisms and neurons; None for inputs that are not images.
    texts : mapping of int to str
        Texts of the same inputs, by row of the recording, where the data have them (see `neucept.inputs.Inputs.text`).
    finer_labels : array or None
        (n,) a finer label of each input, where the data hold one: ten digits behind even and odd.
    finer_names : tuple of str
        Names of the finer labels.
    model_name : str
        Type of the network.
    has_model : bool
        Whether the model was given, so that what needs it was measured.
    """

    recording: Recording
    critical: CriticalNeurons
    mechanisms: Mechanisms
    n_clusters: NumberOfClusters
    embedding: Embedding
    sufficiency: pd.DataFrame | None = None
    pathways: MechanismPathways | None = None
    why_no_pathways: str = ""
    top_inputs: tuple[TopInputs, ...] = ()
    input_size: tuple[int, int] | None = None
    pictures: Pictures | None = None
    texts: Mapping[int, str] = field(default_factory=dict)
    finer_labels: np.ndarray | None = None
    finer_names: Sequence[str] = field(default_factory=tuple)
    model_name: str = "network"
    has_model: bool = False

    def __repr__(self) -> str:
        found = ", ".join(f"{layer} {len(s.neurons)} of {len(s.groups)}" for layer, s in self.critical.items())
        said = f"{self.target_name!r} of {self.model_name}: {len(self.mechanisms)} mechanisms; {found} critical"
        return shortened(f"Analysis({said})")

    @property
    def target_name(self) -> str:
        """Name of the target: of the class, or of the response."""
        return self.mechanisms.target_name if self.critical.target is None else self.critical.target_name

    @property
    def rows(self) -> np.ndarray:
        """Rows of the recording that were clustered, (m,)."""
        return self.mechanisms.samples

    @cached_property
    def labelled_as_target(self) -> np.ndarray | None:
        """Whether each clustered input is labelled as the target, (m,); None without labels of the model's classes."""
        target = self.mechanisms.target
        if self.mechanisms.reliability is None or target is None:
            return None
        right = self.recording.right(target)
        return None if right is None else right[self.rows]

    @cached_property
    def misclassified(self) -> np.ndarray:
        """Whether each clustered input is misclassified, (m,); False without labels of the model's classes."""
        labels, target = self.recording.labels, self.mechanisms.target
        if self.labelled_as_target is None or labels is None or target is None:
            return np.zeros(len(self.rows), bool)
        if isinstance(self.recording.task, Classes) and labels.ndim == 1:
            return np.asarray(self.recording.predictions[self.rows] != labels[self.rows])
        return np.asarray(self.recording.predicted(target)[self.rows] != self.labelled_as_target)

    @property
    def are_predictions(self) -> bool:
        """Whether the clustered inputs are exactly predictions of the target."""
        target = self.mechanisms.target
        return target is not None and bool(self.recording.predicted(target)[self.rows].all())

    @cached_property
    def precision(self) -> tuple[float, float, float] | None:
        """Precision over all clustered inputs, with Wilson's 95% interval; None without labels."""
        if self.labelled_as_target is None:
            return None
        correct = self.labelled_as_target
        return (float(correct.mean()), *wilson(int(correct.sum()), len(correct)))

    @cached_property
    def reliability(self) -> tuple[Reliability, ...] | None:
        """Reliability of each mechanism; None without labels."""
        known = self.mechanisms.reliability
        if known is None:
            return None
        columns = ["judged", "precision", "rest", "low", "high", "agreement", "p_corrected", "verdict"]
        later = ["expected", "expected_low", "expected_high", "expected_elsewhere", "confidence_verdict"]
        columns += later if set(later) <= set(known) else []
        columns += ["confidence"] if {*later, "confidence"} <= set(known) else []
        return tuple(map(Reliability, *(known[name].tolist() for name in columns)))

    @cached_property
    def overconfident(self) -> tuple[int, ...]:
        """Mechanisms whose precision lies below what the network's own confidence predicts, the worst first."""
        if not self.are_predictions or self.reliability is None:
            return ()
        rows = self.reliability
        alarms = [k for k, row in enumerate(rows) if row.confidence_verdict == "overconfident"]
        return tuple(sorted(alarms, key=lambda k: rows[k].precision))

    @cached_property
    def confidence(self) -> np.ndarray | None:
        """The network's own confidence: its probability of the target for each recorded input, (n,), not calibrated.

        None without a target, and for outputs that are no probabilities.
        """
        target = self.mechanisms.target
        odds = None if target is None else log_odds(self.recording, target)
        return None if odds is None else np.asarray(expit(odds))

    @cached_property
    def error_detection(self) -> ErrorDetection | None:
        """How well errors are found by confidence alone and with the mechanisms; None where it cannot be said.

        That is without labels, for outputs that are no probabilities, and where all predictions are right, or wrong.
        """
        if not self.are_predictions or self.reliability is None:
            return None
        try:
            return error_detection(self.recording, self.mechanisms)
        except InputError:
            return None

    @cached_property
    def least_reliable(self) -> int | None:
        """Mechanism with the verdict "less reliable", the one of lowest precision if several have it; None if none."""
        if not self.are_predictions or self.reliability is None:
            return None
        significant = [k for k, row in enumerate(self.reliability) if row.verdict == "less reliable"]
        known = self.reliability
        return min(significant, key=lambda k: known[k].precision, default=None)

    @cached_property
    def standardized(self) -> np.ndarray:
        """Activations of the representative neurons, standardized over the clustered inputs, (m, f)."""
        return standardised(self.mechanisms.values)

    @cached_property
    def standardized_response(self) -> np.ndarray | None:
        """Response, standardized over the clustered inputs, (m,); None for an array target."""
        if self.critical.target is None:
            return None
        return standardised(self.recording.response(self.critical.target, self.critical.response)[self.rows])

    @cached_property
    def graph_features(self) -> list[list[int]]:
        """Numbers of the features that graphs show, by layer: of many, those that separate mechanisms best."""
        apart = self.mechanisms.separation().abs().max(axis=1).to_numpy()
        columns = []
        for layer in self.mechanisms.layers:
            own = [i for i, feature in enumerate(self.mechanisms.features) if feature.layer == layer]
            columns.append(sorted(sorted(own, key=lambda i: -apart[i])[:_MOST_IN_GRAPH]))
        return columns

    def examples(self, mechanism: int) -> dict[str, np.ndarray]:
        """Positions (in ``mechanisms.samples``) of a mechanism's ``typical``, ``borderline`` and ``wrong`` inputs.

        Borderline inputs are those nearest to another mechanism that are not among the typical ones; wrong ones are the
        most typical of the misclassified. A kind without inputs is left out.
        """
        mechanisms = self.mechanisms
        kinds = {"typical": mechanisms.typical(mechanism, EXAMPLES)}
        if len(mechanisms) > 1:
            near = mechanisms.borderline(mechanism, 2 * EXAMPLES)
            near = near[~np.isin(near, kinds["typical"])][:EXAMPLES]
            kinds |= {"borderline": near} if len(near) else {}
        wrong = np.flatnonzero((mechanisms.labels == mechanism) & self.misclassified)
        if len(wrong):
            order = np.argsort(mechanisms.distances[wrong, mechanism], kind="stable")
            kinds["wrong"] = wrong[order][:EXAMPLES]
        return kinds

    def label_names(self, rows: np.ndarray) -> list[str]:
        """Label of each of some rows in words, the finer one where there is one; empty strings without labels."""
        if self.finer_labels is not None:
            return [str(self.finer_names[number]) for number in self.finer_labels[rows]]
        return self.recording.label_names(rows)

    @cached_property
    def label_groups(self) -> list[str]:
        """Label of each clustered input as in `label_names`; of a regression, the quarter of the labels, (m,)."""
        labels = self.recording.labels
        if labels is None or self.finer_labels is not None or not isinstance(self.recording.task, Regression):
            return self.label_names(self.rows)
        own = labels[self.rows].astype(np.float64)
        edges = np.quantile(own, [0, 0.25, 0.5, 0.75, 1])
        quarters = np.searchsorted(edges[1:-1], own, side="left")
        return [f"{edges[quarter]:.3g} to {edges[quarter + 1]:.3g}" for quarter in quarters.tolist()]

    def assign(self, data: Any, model: nn.Module | None = None, output: Output = None) -> pd.DataFrame:
        """Assign new inputs that are predicted as the target to its mechanisms, see `neucept.Audit.assign`.

        Parameters
        ----------
        data : data of any kind, or Recording
            New inputs, or a recording of them.
        model : Module, optional
            The network, for inputs that are not recorded.
        output : None, str, int or callable
            As in `neucept.record`; by default as recorded.
        """
        if self.mechanisms.target is None:
            raise InputError("The mechanisms explain no prediction; call mechanisms.assign(recording) for new inputs.")
        new = record_again(self.recording, data, model, output)
        return assign(new, [self.mechanisms], Novelty.fit(self.recording))

    def save(self, path: str | Path) -> Path:
        """Write to a folder; `Analysis.open` reads it. Of the inputs, it keeps the pictures that a report shows."""
        with storage.new_folder(path, _KIND) as draft:
            for name in ("recording", "critical", "mechanisms"):
                getattr(self, name).save(draft / name)
            self.write_measured(draft, _KIND)
        return Path(path)

    def write_measured(self, folder: Path, kind: str) -> None:
        """Write what was measured beside recording, critical neurons and mechanisms into a folder that exists."""
        facts: dict[str, Any] = {
            "n_clusters": {
                "table": self.n_clusters.table.to_dict("list"),
                "p_one": self.n_clusters.p_one,
                "suggested": self.n_clusters.suggested,
                "by": self.n_clusters.by,
            },
            "sufficiency": None if self.sufficiency is None else self.sufficiency.to_dict("list"),
            "embedding": self.embedding.facts(),
            "finer_names": list(self.finer_names),
            "top_inputs": [[top.layer, top.neuron, top.selected] for top in self.top_inputs],
            "texts": {str(row): text for row, text in self.texts.items()},
            **{name: getattr(self, name) for name in _FACTS},
        }
        arrays: dict[str, np.ndarray | None] = {"finer_labels": self.finer_labels, **self.embedding.arrays()}
        for number, top in enumerate(self.top_inputs):
            arrays |= {f"top rows/{number}": top.rows, f"top boxes/{number}": top.boxes}
        if self.pictures is not None:
            arrays |= self.pictures.arrays()
        if self.pathways is not None:
            self.pathways.save(folder / "pathways")
        storage.write(folder, kind, facts, arrays)

    @classmethod
    def open(cls, path: str | Path, rule: Rule | None = None) -> Analysis:
        """Open what `save` wrote; the recording's activations stay on disk until they are used.

        ``rule`` is needed where neurons were selected by a custom rule, see `CriticalNeurons.open`. A folder of
        ``neucept run`` or `neucept.audit` is opened by `Audit.open`.
        """
        folder = storage.as_path(path)
        with storage.opened(folder, _KIND):
            parts = {
                "recording": Recording.open(folder / "recording"),
                "critical": CriticalNeurons.open(folder / "critical", rule),
                "mechanisms": Mechanisms.open(folder / "mechanisms"),
            }
        return cls.open_measured(folder, _KIND, parts)

    @classmethod
    def open_measured(cls, folder: Path, kind: str, parts: Mapping[str, Any]) -> Analysis:
        """Open what `write_measured` wrote; ``parts`` are the recording, the critical neurons and the mechanisms."""
        with storage.opened(folder, kind) as (facts, arrays):
            table, size, compared = facts["sufficiency"], facts["input_size"], facts["n_clusters"]
            fields: dict[str, Any] = {name: facts[name] for name in _FACTS}
            return cls(
                **fields
                | dict(parts)
                | {
                    "pathways": MechanismPathways.open(folder / "pathways") if (folder / "pathways").exists() else None,
                    "n_clusters": NumberOfClusters(**compared | {"table": pd.DataFrame(compared["table"])}),
                    "sufficiency": None if table is None else pd.DataFrame(table),
                    "embedding": Embedding.of(facts["embedding"], arrays),
                    "pictures": Pictures.of(arrays),
                    "top_inputs": tuple(
                        TopInputs(layer, neuron, selected, arrays[f"top rows/{i}"], arrays.get(f"top boxes/{i}"))
                        for i, (layer, neuron, selected) in enumerate(facts.get("top_inputs", ()))
                    ),
                    "input_size": None if size is None else (int(size[0]), int(size[1])),
                    "finer_labels": arrays.get("finer_labels"),
                    "finer_names": tuple(facts["finer_names"]),
                    "texts": {int(row): text for row, text in facts["texts"].items()},
                }
            )


_FACTS = ("why_no_pathways", "input_size", "model_name", "has_model")


def check_together(recording: Any, critical: Any, mechanisms: Any) -> None:
    """Raise an InputError unless the results of the three steps belong together."""
    if isinstance(critical, Mapping) and not isinstance(critical, CriticalNeurons):
        targets = ", ".join(map(repr, critical)) or "none"
        raise InputError(
            f"An analysis has one target, but critical= holds a mapping of targets ({targets}). Give the"
            " CriticalNeurons of one."
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
            f"The critical neurons belong to '{critical.target_name}', but the mechanisms belong to"
            f" '{mechanisms.target_name}'. Learn the mechanisms from these critical neurons."
        )
    for layer in dict.fromkeys((*critical, *mechanisms.layers)):
        recording.activations(layer)
    last = max(int(mechanisms.samples.max()), int(critical.samples.max()))
    if last >= len(recording):
        raise InputError(f"The results refer to input {last}, but the recording has {len(recording)} inputs.")
