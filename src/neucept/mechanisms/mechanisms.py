"""The noun: the different ways in which a network reaches one prediction."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import pandas as pd
from torch import nn

from neucept import storage
from neucept.errors import InputError
from neucept.knockoffs.preprocessing import deviations
from neucept.mechanisms.clustering import ASSIGNERS, Assigner, OwnPredictions
from neucept.mechanisms.features import Feature, representatives
from neucept.mechanisms.n_clusters import NumberOfClusters
from neucept.mechanisms.spaces import Space
from neucept.recording import Recording, record
from neucept.recording.outputs import Output, recorded_output
from neucept.recording.task import Classes, Task, task_from_facts, task_to_facts
from neucept.recording.units import (
    Auto,
    Channels,
    Elements,
    Token,
    Units,
    neuron_names,
    readable,
    units_from_facts,
    units_to_facts,
)
from neucept.short_repr import shortened


@dataclass(frozen=True, repr=False, eq=False)
class Mechanisms:
    """Mechanisms of one target; made by `neucept.learn` (Algorithm 2).

    Attributes
    ----------
    target : int, str or None
        The number of the class, or the text of another target of the task; None for an array response or neurons given
        by hand.
    target_name : str
        Its name.
    samples : array
        (m,) rows of the recording that were clustered.
    labels : array
        (m,) mechanism C of each, 0 the largest; -1 where a clusterer assigned none.
    cross_fitted : array
        (m,) mechanism of each by the clusters of the half of the inputs that it is not in; what reliability judges.
    features : tuple of Feature
        The f representative neurons; of a weighted space, the part of each layer in each component.
    values : array
        (m, f) their activations.
    mean, scale : array
        (f,) what was subtracted, and what was divided by, before clustering.
    assigner : Assigner
        Assigns further inputs.
    units : mapping of str to Units
        How each layer's output became neurons, as in the recording.
    task : Task
        What the network's outputs mean, as in the recording.
    output_facts : mapping of str to str
        Where the outputs are in what the network returns, and what they are on, as in the recording's facts.
    reliability : DataFrame or None
        See `neucept.reliability`; None where the recording has no labels.
    settings : mapping
        The arguments of `neucept.learn`.
    n_clusters : NumberOfClusters or None
        The comparison that chose their number (``n_mechanisms="auto"``); None where the number was given.
    space : Space or None
        The neurons, weights and components of a weighted space; None where neurons are clustered as they are.
    stability : DataFrame or None
        How well each mechanism is found again, see `neucept.mechanisms.mechanism_stability`; None where it was not
        asked for.
    """

    target: int | str | None
    target_name: str
    samples: np.ndarray
    labels: np.ndarray
    cross_fitted: np.ndarray
    features: tuple[Feature, ...]
    values: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    assigner: Assigner
    units: Mapping[str, Units] = field(default_factory=dict)
    task: Task = field(default_factory=Classes)
    output_facts: Mapping[str, str] = field(default_factory=dict)
    reliability: pd.DataFrame | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    n_clusters: NumberOfClusters | None = None
    space: Space | None = None
    stability: pd.DataFrame | None = None

    def __len__(self) -> int:
        return int(self.labels.max()) + 1

    def __repr__(self) -> str:
        shares = ", ".join(f"{share:.0%}" for share in self.shares)
        used = len(self.features) if self.space is None else len(self.space.neurons)
        return shortened(f"Mechanisms({len(self)} of {self.target_name!r} by {used} neurons; {shares})")

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers of the representative neurons."""
        return tuple(dict.fromkeys(feature.layer for feature in self.features))

    @property
    def pooling(self) -> dict[str, str]:
        """Names of the units of each layer: ``channel``, ``element``, ``token``, ``callable`` or ``auto``."""
        return {layer: units.name for layer, units in self.units.items()}

    @property
    def sizes(self) -> np.ndarray:
        """Inputs of each mechanism, (K,)."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self))

    @property
    def shares(self) -> np.ndarray:
        """Share of the inputs in each mechanism, (K,)."""
        return np.asarray(self.sizes / len(self.labels))

    @cached_property
    def scaled(self) -> np.ndarray:
        """Values as they were clustered: (m, f), or (m, d) components of a weighted space."""
        return self._place(self.values)

    @cached_property
    def distances(self) -> np.ndarray:
        """Distance of each input to each mechanism, (m, K)."""
        return self.assigner.distances(self.scaled)

    @cached_property
    def representation(self) -> np.ndarray:
        """Explained representation E, (m, K): distances (K-means), posteriors (mixture) or memberships (others).

        Memberships are all zero for an input that the clusterer assigned to none.
        """
        E = self.assigner.transform(self.scaled)
        return np.where(self.labels[:, None] < 0, 0.0, E)

    @cached_property
    def typicality(self) -> np.ndarray:
        """Share of its mechanism's inputs that lie at least as far out, (m,): 1 most typical, near 0 an outlier.

        0 for an input that belongs to none.
        """
        return self._typicality(self.distances, self.labels)

    @cached_property
    def ambiguity(self) -> np.ndarray:
        """Distance to the own mechanism divided by that to the nearest other, (m,): near 1 for a borderline input.

        0 where there is one mechanism alone; 1 for an input that belongs to none.
        """
        return _ambiguity(self.distances, self.labels)

    def typical(self, mechanism: int, count: int = 8) -> np.ndarray:
        """Positions (in `samples`) of the most typical inputs of a mechanism, most typical first."""
        inside = np.flatnonzero(self.labels == mechanism)
        return inside[np.argsort(self.distances[inside, mechanism], kind="stable")[:count]]

    def borderline(self, mechanism: int, count: int = 8) -> np.ndarray:
        """Positions (in `samples`) of the inputs of a mechanism nearest to another one, the nearest first."""
        inside = np.flatnonzero(self.labels == mechanism)
        return inside[np.argsort(-self.ambiguity[inside], kind="stable")[:count]]

    def separation(self) -> pd.DataFrame:
        """How far each neuron sets each mechanism apart, (f, K): standardized mean difference, inside minus outside."""
        deviation = self._deviation
        columns = {}
        for mechanism in range(len(self)):
            inside = self.labels == mechanism
            outside = self.values[~inside].mean(axis=0) if (~inside).any() else self.values.mean(axis=0)
            columns[mechanism] = (self.values[inside].mean(axis=0) - outside) / deviation
        return pd.DataFrame(columns, index=self._feature_names)

    @cached_property
    def _neuron_names(self) -> Mapping[str, Sequence[str]]:
        """Names of the neurons of each layer whose units give some."""
        named = {layer: units.labels for layer, units in self.units.items()}
        return {layer: neuron_names(self.units[layer], len(labels)) for layer, labels in named.items() if labels}

    @property
    def _feature_names(self) -> list[str]:
        return [feature.named(self._neuron_names.get(feature.layer, ())) for feature in self.features]

    def deciding_neurons(self) -> tuple[list[str], np.ndarray]:
        """Names of the f neurons, and how far each sets each mechanism apart, (K, f), as `explain` orders them.

        Standardized mean differences, not signed; in a weighted space each neuron's part of the squared distance of the
        mechanism's centre from that of all inputs.
        """
        if self.space is None:
            return self._feature_names, self.separation().abs().to_numpy().T
        apart = self.space.split_distance(self.space.centres - self.space.mean)
        return self.space.named(self._neuron_names), apart

    def set_apart_by(self, most: int = 3) -> list[str]:
        """Name the neurons that set each mechanism apart most, layer by layer: such as ``"conv: 7, 3; fc: 1"``.

        By name where the units give names: columns of a recorded data frame, or ``Encoder(names=...)``.
        """
        names, apart = self.deciding_neurons()
        space = self.space
        of = [f.layer for f in self.features] if space is None else [space.layers[layer] for layer in space.layer]
        named = []
        for own in apart:
            layers: dict[str, list[str]] = {}
            for j in np.argsort(-own, kind="stable")[:most]:
                layers.setdefault(of[j], []).append(names[j].removeprefix(f"{of[j]}:"))
            named.append("; ".join(f"{layer}: {', '.join(neurons)}" for layer, neurons in layers.items()))
        return named

    def table(self) -> pd.DataFrame:
        """One row per mechanism: inputs, share, the neurons that set it apart, its reliability if known."""
        apart = self.separation()
        table = pd.DataFrame({"mechanism": range(len(self)), "inputs": self.sizes, "share": self.shares})
        strongest = {k: apart[k].abs().sort_values(ascending=False).index[:3] for k in range(len(self))}
        table["set apart by"] = [
            ", ".join(f"{name} ({'high' if apart[k][name] > 0 else 'low'})" for name in names)
            for k, names in strongest.items()
        ]
        if self.reliability is not None:
            table = table.merge(self.reliability.drop(columns=["share"]), on="mechanism", how="left")
        if self.stability is not None:
            table = table.merge(self.stability, on="mechanism", how="left")
        return table

    def read(self, recording: Recording, rows: np.ndarray | None = None) -> np.ndarray:
        """Give the representative neurons of a recording's inputs, (n, f)."""
        return representatives(recording, self.features, rows)

    def learnt_on(self, recording: Recording) -> bool:
        """Tell whether a recording holds, in the same rows, the activations that were clustered, but for rounding."""
        if self.samples.max(initial=-1) >= len(recording):
            return False
        difference = np.abs(self.read(recording, self.samples) - self.values).max(axis=0, initial=0.0)
        spread = np.abs(self.values - self.values.mean(axis=0)).max(initial=0.0)
        return bool((difference <= _ALIKE * spread + _ROUNDING * np.abs(self.values).max(axis=0, initial=0.0)).all())

    def assign(
        self, recording: Recording, samples: Literal["all"] | np.ndarray | Sequence[int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Assign inputs to the mechanisms.

        Parameters
        ----------
        recording : Recording
            With the same layers, of any inputs. Those that are not predicted as the target are assigned too; ask for
            ``samples=recording.samples(target)`` to leave them out.
        samples : mask or row numbers, optional
            Which inputs; all by default. Row numbers may come in any order, and more than once.

        Returns
        -------
        labels : array
            (n,) mechanism of each, in the order of the row numbers; -1 for none, where the user's clusterer says so.
        typicality : array
            (n,) share of the mechanism's known inputs that lie at least as far out.

        Raises
        ------
        InputError
            When a layer was not recorded, or its neurons were made in another way.
        """
        labels, typicality, _ = self.place_inputs(recording, samples)
        return labels, typicality

    def place_inputs(
        self, recording: Recording, samples: Literal["all"] | np.ndarray | Sequence[int] | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Assign inputs as `assign` does; return labels, typicality and ambiguity, (n,) each."""
        rows = recording.samples(np.zeros(len(recording)), samples)
        if samples is not None and np.asarray(samples).dtype.kind in "iu":
            rows = np.asarray(samples)
        for layer in self.layers:
            own, other = self.units.get(layer, Auto()), recording.units.get(layer, Auto())
            if not _alike(own, other):
                raise InputError(
                    f"The mechanisms were learnt with neurons={own} of layer '{layer}', but this recording has"
                    f" {other}; record the inputs in the same way."
                )
            if own.labels and other.labels and list(own.labels) != list(other.labels):
                pairs = zip(own.labels, other.labels, strict=False)
                first = next(((i, a, b) for i, (a, b) in enumerate(pairs) if a != b), None)
                which = f"neuron {first[0]} is '{first[2]}', and was '{first[1]}'" if first else "some are missing"
                raise InputError(
                    f"The neurons of layer '{layer}' have other names than those that the mechanisms were learnt on:"
                    f" {which}. Give the columns of the inputs in the same order."
                )
        scaled = self._place(self.read(recording, rows))
        labels, distances = self.assigner.predict(scaled), self.assigner.distances(scaled)
        return labels, self._typicality(distances, labels), _ambiguity(distances, labels)

    @overload
    def explain(self, inputs: Recording) -> pd.DataFrame: ...

    @overload
    def explain(self, inputs: Any, model: nn.Module, output: Output = None) -> pd.DataFrame: ...

    def explain(self, inputs: Any, model: nn.Module | None = None, output: Output = None) -> pd.DataFrame:
        """Explain single inputs: the mechanism, how typical it is, the neurons that decide, how reliable it is.

        Parameters
        ----------
        inputs : Recording, or data of any kind that `neucept.record` takes
            A recording of the inputs, or the inputs themselves together with the model.
        model : Module, optional
            Needed where inputs are not recorded yet.
        output : None, str, int or callable
            As in `neucept.record`, for inputs that are not recorded yet; by default that of the recording which the
            mechanisms were learnt on.

        Returns
        -------
        DataFrame
            One row per input: ``prediction`` (the class, the labels, or the value); ``mechanism`` (-1 for none);
            ``typicality`` (1 most typical); ``runner_up`` (the nearest other mechanism, -1 where there is none);
            ``ambiguity`` (distance to the mechanism divided by that to the runner-up, near 1 between the two);
            ``deciding`` (the neurons that most set this mechanism apart, with the input's values in standard
            deviations); ``distant`` (the neurons that contribute most to the input's distance from the centre of its
            mechanism, with their share of the squared distance); and ``precision``, ``low`` and ``high`` of the
            mechanism where labels were known.

        Raises
        ------
        InputError
            Inputs without a model, or neurons or logits that a function made, which cannot be kept.
        """
        recording = inputs if isinstance(inputs, Recording) else self._record(inputs, model, output)
        labels, typicality = self.assign(recording)
        distances = self.assigner.distances(self._place(self.read(recording)))
        deciding, distant = self._in_words(recording, labels)
        predictions = recording.task.describe(recording.logits, recording.class_names)
        rows = []
        for i, label in enumerate(labels):
            others = np.where(np.arange(len(self)) == label, np.inf, distances[i])
            alone = not np.isfinite(others).any()
            ambiguity = 1.0 if label < 0 else float(distances[i, label] / max(others.min(), 1e-12))
            row: dict[str, Any] = {
                "prediction": predictions[i],
                "mechanism": int(label),
                "typicality": float(typicality[i]),
                "runner_up": -1 if alone else int(others.argmin()),
                "ambiguity": 0.0 if alone else ambiguity,
                "deciding": deciding[i],
                "distant": distant[i],
            }
            if self.reliability is not None:
                known = self.reliability[self.reliability["mechanism"] == label]
                row |= {name: float(known[name].iloc[0]) if len(known) else np.nan for name in _PRECISION}
            rows.append(row)
        return pd.DataFrame(rows)

    def with_stability(self, stability: pd.DataFrame) -> Mechanisms:
        """Keep what `neucept.mechanisms.mechanism_stability` returns: it is saved, and stands in `table`."""
        return replace(self, stability=stability)

    def save(self, path: str | Path) -> Path:
        """Write to a folder; `Mechanisms.open` reads it.

        A clusterer of your own cannot be saved, only its clusters; where it predicts, a warning says that the opened
        mechanisms assign new inputs by their nearest known inputs instead.
        """
        if isinstance(self.assigner, OwnPredictions):
            warnings.warn(
                f"{type(self.assigner.clusterer).__name__} is not saved, only its clusters: when opened, the mechanisms"
                " assign new inputs by the nearest known input, not by its predict.",
                stacklevel=2,
            )
        chosen = self.n_clusters
        facts = {
            "assigner": next(name for name, cls in ASSIGNERS.items() if isinstance(self.assigner, cls)),
            "features": [] if self.space else [[f.layer, list(f.neurons), f.selected] for f in self.features],
            "space": self.space and list(self.space.layers),
            "stability": None if self.stability is None else self.stability.to_dict("list"),
            "reliability": None if self.reliability is None else self.reliability.to_dict("list"),
            "n_clusters": chosen and {**vars(chosen), "table": chosen.table.to_dict("list")},
            **{name: getattr(self, name) for name in ("target", "target_name")},
            **{name: dict(getattr(self, name)) for name in ("settings", "output_facts")},
            "units": {layer: units_to_facts(units) for layer, units in self.units.items()},
            "task": task_to_facts(self.task),
        }
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {f"assigner/{name}": array for name, array in self.assigner.arrays().items()}
        if self.space is not None:
            arrays |= {f"space/{name}": getattr(self.space, name) for name in _SPACE}
        return storage.save(path, "Mechanisms", facts, arrays)

    @classmethod
    def open(cls, path: str | Path, task: Task | None = None) -> Mechanisms:
        """Open what `save` wrote.

        Parameters
        ----------
        path : path
            The folder.
        task : Task, optional
            What the outputs mean, where the recording was made with a task of the user's own.
        """
        with storage.opened(path, "Mechanisms") as (facts, arrays):
            parts = {name.removeprefix("assigner/"): a for name, a in arrays.items() if name.startswith("assigner/")}
            if "found" in parts:  # as neucept 0.1 called them
                parts["labels"] = parts.pop("found")
            known, chosen = facts.pop("reliability"), facts.pop("n_clusters", None)
            stability, weighted = facts.pop("stability", None), facts.pop("space", None)
            space = weighted and Space(tuple(weighted), **{name: arrays[f"space/{name}"] for name in _SPACE})
            meaning, units = facts.pop("task", None), facts.pop("units", None) or facts.pop("pooling", {})
            if known is not None and "rest" not in known:  # neucept 0.1 did not keep it
                known["rest"] = _rest(np.array(known["judged"]), np.array(known["precision"]))
            fields: dict[str, Any] = {name: arrays[name] for name in _ARRAYS} | facts
            features = [Feature(layer, tuple(n), chosen) for layer, n, chosen in fields.pop("features")]
            return cls(
                **fields
                | {
                    "assigner": ASSIGNERS[fields.pop("assigner")](**parts),
                    "features": space.features() if space else tuple(features),
                    "space": space,
                    "stability": None if stability is None else pd.DataFrame(stability),
                    "units": {layer: units_from_facts(described) for layer, described in units.items()},
                    "task": task if task is not None else task_from_facts(meaning),
                    "reliability": None if known is None else pd.DataFrame(known),
                    "n_clusters": chosen and NumberOfClusters(**{**chosen, "table": pd.DataFrame(chosen["table"])}),
                }
            )

    def _record(self, inputs: Any, model: nn.Module | None, output: Output) -> Recording:
        """Record inputs as those were that the mechanisms were learnt on."""
        if model is None:
            raise InputError(
                "explain(inputs) of inputs that are not recorded needs the model: explain(inputs, model=model)."
            )
        if lost := [layer for layer, units in self.units.items() if not readable(units)]:
            raise InputError(
                f"The neurons of layer '{lost[0]}' were recorded by a function, which is not saved; record the inputs"
                " with it and give the Recording."
            )
        output = recorded_output(self.output_facts, output)
        # Without names: those of the inputs, where they have some, are compared with the known ones.
        units = {layer: replace(u, names=None) if isinstance(u, Elements) else u for layer, u in self.units.items()}
        return record(model, inputs, list(units), neurons=units, output=output, progress=False, task=self.task)

    def _place(self, values: np.ndarray) -> np.ndarray:
        """Bring features to where they were clustered."""
        placed = np.asarray((values - self.mean) / self.scale)
        return placed if self.space is None else self.space.join(placed)

    def _in_words(self, recording: Recording, labels: np.ndarray) -> tuple[list[str], list[str]]:
        """Name, for each input, the neurons that set its mechanism apart, and those that take it from the centre."""
        names, apart = self.deciding_neurons()
        if self.space is None:
            Z = self.read(recording)
            mean, deviation = self.values.mean(axis=0), self._deviation
            known = range(len(self))
            centres = np.stack([self.values[self.labels == k].mean(axis=0) for k in known])
        else:
            Z = self.space.activations(recording, np.arange(len(recording)))
            mean, deviation, centres = self.space.mean, self.space.deviation, self.space.centres
        deciding, distant = [], []
        for z, label in zip(Z, labels, strict=True):
            strongest = apart[label].argsort()[::-1][:_IN_WORDS] if label >= 0 else ()
            deciding.append(", ".join(f"{names[j]} ({(z[j] - mean[j]) / deviation[j]:+.1f})" for j in strongest))
            shares = self._distance_shares(z - centres[label], int(label)) if label >= 0 else np.zeros(0)
            farthest = [j for j in shares.argsort()[::-1][:_IN_WORDS] if shares[j] > 0]
            distant.append(", ".join(f"{names[j]} ({shares[j]:.0%})" for j in farthest))
        return deciding, distant

    def _distance_shares(self, difference: np.ndarray, label: int) -> np.ndarray:
        """Share of each neuron in the squared distance of an input from the centre of its mechanism."""
        covariances = self.assigner.arrays().get("covariances")
        metric = None if covariances is None else np.linalg.inv(covariances[label])
        if self.space is not None:
            parts = self.space.split_distance(difference[None], metric)[0]
        else:
            scaled = difference / self.scale
            parts = scaled * (scaled if metric is None else metric @ scaled)
        return np.asarray(parts / max(float(parts.sum()), 1e-300))

    @cached_property
    def _deviation(self) -> np.ndarray:
        deviation = deviations(self.values)
        return np.where(deviation > 0, deviation, 1.0)

    def _typicality(self, distances: np.ndarray, labels: np.ndarray) -> np.ndarray:
        result = np.zeros(len(labels))
        for mechanism in range(len(self)):
            known = np.sort(self.distances[self.labels == mechanism, mechanism])
            members = labels == mechanism
            nearer = np.searchsorted(known, distances[members, mechanism] * (1 - 1e-9), side="left")
            result[members] = (len(known) - nearer) / max(len(known), 1)
        return result


_ALIKE = 0.02  # of the farthest value from a mean: for other batch sizes and devices, but not for another input
_ROUNDING = 0.004  # of the largest value of a feature: for half precision, of which bfloat16 rounds by as much
_IN_WORDS = 5  # neurons named for one input
_PRECISION = ("precision", "low", "high")
_ARRAYS = ("samples", "labels", "cross_fitted", "values", "mean", "scale")
_SPACE = ("layer", "neurons", "selected", "weights", "mean", "deviation", "centres")


def _ambiguity(distances: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Distance to the own mechanism divided by that to the nearest other, (n,); 1 for an input that has none."""
    if distances.shape[1] < 2:
        return np.where(labels < 0, 1.0, 0.0)
    numbers = np.maximum(labels, 0)[:, None]
    own = np.take_along_axis(distances, numbers, axis=1)[:, 0]
    others = distances.copy()
    np.put_along_axis(others, numbers, np.inf, axis=1)
    return np.where(labels < 0, 1.0, own / np.maximum(others.min(axis=1), 1e-12))


def _rest(judged: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Precision of all other mechanisms together, for each of K."""
    hits = np.where(judged > 0, judged * precision, 0.0)
    others = judged.sum() - judged
    return np.where(others > 0, (hits.sum() - hits) / np.maximum(others, 1), np.nan)


def _alike(a: Units, b: Units) -> bool:
    """Whether units read the same neurons, as far as can be known: of vectors, channels are elements."""
    of_vectors: set[Units] = {Channels(), Elements()}
    if "auto" in (a.name, b.name) or {a, b} == of_vectors:
        return True
    if isinstance(a, Channels) and isinstance(b, Channels):
        return None in (a.axis, b.axis) or a.axis == b.axis
    return a.position == b.position if isinstance(a, Token) and isinstance(b, Token) else a.name == b.name
