"""The noun: every class of a network, audited. It reads a folder of results, one per class, and derives from them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import pandas as pd
from torch import nn

from neucept import storage
from neucept.analysis import archives
from neucept.analysis.accuracy import accuracy_with_interval, confusion, implausible
from neucept.analysis.analysis import Analysis
from neucept.analysis.assignment import assign, record_again, recorded_members, table_of
from neucept.analysis.measuring import analyse
from neucept.analysis.outcome import KIND, MEASURED, THUMBNAILS, Outcome
from neucept.analysis.thumbnails import Thumbnails
from neucept.discovery import CriticalNeurons
from neucept.errors import InputError
from neucept.evaluation.sufficiency import sufficiency
from neucept.knockoffs import Rule
from neucept.mechanism_pathways import MechanismPathways
from neucept.mechanisms import Mechanisms, correct_over_classes, learn, wilson
from neucept.mechanisms.overconfidence import LEVEL, holm
from neucept.novelty import Novelty
from neucept.recording import Recording
from neucept.recording.outputs import Output
from neucept.recording.task import Regression, Task
from neucept.short_repr import shortened

RANGES = ("highest tenth", "lowest tenth")  # of a regression, where no classes are named
NOT_DONE = "Not done yet: call neucept.audit again with the same out=."
COLUMNS = (
    "class",
    "mechanism",
    "inputs",
    "share",
    "precision",
    "low",
    "high",
    "confidence",
    "expected",
    "expected_low",
    "expected_high",
    "confident_mistakes",
    "confidence_verdict",
    "p_confidence",
    "verdict",
    "p_corrected",
    "stability",
    "found_again",
    "neurons",
    "judged",
    "comparable",
    "needed",
    "rest",
    "expected_elsewhere",
    "auc_confidence",
    "auc_mechanisms",
)
_TEXTS = ("class", "confidence_verdict", "verdict", "found_again", "neurons")
_DOUBTFUL = ("dissolved", "doubtful")
# What is worth looking at first; a mechanism is at the first of these that is true of it.
_ATTENTION = ("overconfident", "unsure", "doubtful", "too few to tell", "nothing to compare", "underconfident")

R = TypeVar("R")


class ByClass(Mapping[str, R], Generic[R]):
    """Results by class, read from disk when they are asked for; a class is given by name or number."""

    def __init__(self, audit: Audit, read: Callable[[Path], R]) -> None:
        self._audit, self._read = audit, read

    def __getitem__(self, target: Any) -> R:
        outcome = self._audit.outcome(target)
        if outcome.reason:
            raise KeyError(f"'{outcome.name}' was not audited: {outcome.reason}")
        return self._read(self._audit.place(outcome))

    def __iter__(self) -> Iterator[str]:
        return (outcome.name for outcome in self._audit.outcomes if not outcome.reason)

    def __len__(self) -> int:
        return sum(not outcome.reason for outcome in self._audit.outcomes)

    def __repr__(self) -> str:
        return shortened(f"{{{', '.join(map(repr, self))}}}")


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Audit:
    """Every class of a network, with its mechanisms; made by `neucept.audit`, opened by `Audit.open`.

    Attributes
    ----------
    folder : Path
        Where the recording and the results of each class lie.
    recording : Recording
        Activations, logits and labels; on disk until they are used.
    outcomes : tuple of Outcome
        What became of each class that was asked for.
    settings : mapping
        All settings that the results depend on.
    content : mapping
        Hashes of the network, the data and the recording.
    provenance : mapping
        Where the network and the data come from, as it was said when the audit was made.
    model_name : str
        Type of the network.
    """

    folder: Path
    recording: Recording
    outcomes: tuple[Outcome, ...]
    settings: Mapping[str, Any]
    content: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    model_name: str = "network"
    rule: Rule | None = None
    network: tuple[nn.Module | None, Any, Output] = (None, None, None)
    _kept: Any = None  # a temporary folder, removed with the audit

    def __repr__(self) -> str:
        done = len(self.outcomes) - len(self.errors)
        alarms = int((self.table["confidence_verdict"] == "overconfident").sum())
        known = "" if self.accuracy is None else f", accuracy {self.accuracy:.1%}"
        return shortened(
            f"Audit({done} of {len(self.outcomes)} classes of {self.model_name}, {len(self.table)} mechanisms,"
            f" {alarms} overconfident{known})"
        )

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers that were analysed; the recording may hold an early one beside them, for `novelty`."""
        return tuple(self.settings.get("layers", self.recording.layers))

    # Results of single classes

    def outcome(self, target: int | str) -> Outcome:
        """Find what became of a class, given by name or number."""
        number = self.recording.class_number(target)
        for outcome in self.outcomes:
            if outcome.target == number:
                return outcome
        asked = ", ".join(repr(outcome.name) for outcome in self.outcomes[:10])
        raise InputError(
            f"The class {target!r} is not in this audit of {asked}{', ...' if len(self.outcomes) > 10 else ''}."
        )

    def place(self, outcome: Outcome) -> Path:
        """Folder with the results of a class."""
        return self.folder / "classes" / outcome.folder

    @property
    def critical(self) -> ByClass[CriticalNeurons]:
        """Critical neurons by class: ``audit.critical["cat"]``."""
        return ByClass(self, lambda place: CriticalNeurons.open(place / "critical", self.rule))

    @property
    def mechanisms(self) -> ByClass[Mechanisms]:
        """Mechanisms by class: ``audit.mechanisms["cat"]``."""
        return ByClass(self, lambda place: Mechanisms.open(place / "mechanisms", self.recording.task))

    def analysis(
        self,
        target: int | str | None = None,
        model: nn.Module | None = None,
        data: Any = None,
        pathways: bool = True,
        replacing: bool = False,
        precision: float | Mapping[str, float] | None = None,
        n_mechanisms: int | Literal["auto"] | None = None,
        progress: bool = True,
    ) -> Analysis:
        """Give what a report of one class shows: as it was measured, or measured now from the audited results.

        Parameters
        ----------
        target : int or str, optional
            The class; not needed where there is one alone.
        model, data : Module and data of any kind, optional
            Those that were recorded; an audit that was not opened from a folder knows them. Without data the pictures
            are the small ones that the folder keeps, without a model there are no new pathways.
        pathways : bool
            Trace pathways of the mechanisms, where there are model and data.
        replacing : bool
            Measure sufficiency by running the network with neurons replaced, too; it takes most of the time.
        precision : float or mapping, optional
            Select critical neurons at another precision, from the same draws of knockoffs.
        n_mechanisms : int or "auto", optional
            Learn another number of mechanisms, as in `neucept.learn`, from the recording.
        progress : bool
            Show progress of steps that take more than two seconds.

        Raises
        ------
        InputError
            When the class was not audited, or several were and none is named.
        """
        outcome = self._one(target)
        critical, mechanisms = self.critical[outcome.target], self.mechanisms[outcome.target]
        own_model, own_data, output = self.network
        model, data = own_model if model is None else model, own_data if data is None else data
        parts = {"recording": self.recording, "critical": critical, "mechanisms": mechanisms}
        measured = self.place(outcome) / MEASURED
        known = Analysis.open_measured(measured, MEASURED, parts) if measured.exists() else None
        if known is not None and model is None and precision is None and n_mechanisms is None:
            return known
        seed = int(self.settings["seed"])
        if precision is not None:
            critical = critical.at(precision)
        if precision is not None or n_mechanisms is not None:  # which neurons are selected is known to the mechanisms
            number = len(mechanisms) if n_mechanisms is None else n_mechanisms
            learning: dict[str, Any] = {**self.settings.get("learning", {}), "seed": seed}
            if learning.get("reduce") == "metric":
                learning |= {"model": model, "data": data, "output": output}
            mechanisms = learn(self.recording, critical, number, **learning)
        traced: MechanismPathways | bool = pathways and model is not None and data is not None
        same = known is not None and np.array_equal(known.mechanisms.labels, mechanisms.labels)
        if known is not None and same and known.pathways is not None and traced is False:
            traced = known.pathways
        linear = None if replacing else sufficiency(self.recording, critical, seed=seed, progress=False)
        if data is None:
            data = self.thumbnails
        return analyse(
            model,
            data,
            recording=self.recording,
            critical=critical,
            mechanisms=mechanisms,
            sufficiency=linear,
            pathways=traced,
            output=output,
            seed=seed,
            progress=progress,
        )

    def _one(self, target: int | str | None) -> Outcome:
        """Find the class asked for, or the only one; it must have been audited."""
        if target is None:
            done = [outcome for outcome in self.outcomes if not outcome.reason]
            if len(done) != 1:
                listed = ", ".join(outcome.name for outcome in done[:20]) or "none"
                raise InputError(f"Say which class (target=, --target): those audited are {listed}.")
            return done[0]
        outcome = self.outcome(target)
        if outcome.reason:
            raise InputError(f"The class '{outcome.name}' was not audited: {outcome.reason}")
        return outcome

    # Single inputs

    @cached_property
    def thumbnails(self) -> Thumbnails | None:
        """Small pictures, or texts, of the inputs; None where the folder has none."""
        place = self.folder / THUMBNAILS
        return Thumbnails.open(place) if place.exists() else None

    @cached_property
    def inputs(self) -> pd.DataFrame:
        """One row per recorded input, in the order of the recording.

        ``input`` (its file or name), ``row``, ``label``, ``predicted`` (number of the class), ``prediction`` (its
        name), ``confidence`` (probability that the network gives it), ``mechanism``, the mechanism's ``precision`` with
        ``low`` and ``high`` and its ``verdict`` on confidence, ``typicality`` and ``ambiguity`` of the input in it,
        and ``flags``: what should be looked at. Inputs predicted as a class that was not audited have no mechanism
        (-1). ``p_unlike`` is for new inputs, see `assign`.
        """
        members = [recorded_members(self.mechanisms[name]) for name in self.mechanisms]
        return table_of(self.recording, members, judged=self.table)

    @cached_property
    def novelty(self) -> Novelty:
        """What tells inputs that are unlike all those recorded; made once, and kept in the folder."""
        place = self.folder / "novelty"
        if place.exists():
            return Novelty.open(place)
        novelty = Novelty.fit(self.recording)
        with suppress(InputError):  # a folder that cannot be written to, such as somebody else's
            novelty.save(place)
        return novelty

    def assign(self, data: Any, model: nn.Module | None = None, output: Output = None) -> pd.DataFrame:
        """Assign new inputs to the mechanisms of what each of them is predicted as.

        Parameters
        ----------
        data : data of any kind, or Recording
            New inputs, with labels or without; or a recording of them at the same layers.
        model : Module, optional
            The network, for inputs that are not recorded; an audit that was not opened from a folder knows it.
        output : None, str, int or callable
            As in `neucept.record`; by default as recorded.

        Returns
        -------
        DataFrame
            One row per input, as in `inputs`. ``p_unlike`` is a conformal p-value: of new inputs like those recorded at
            most 5%, on average, have one of 0.05 or less, which is the flag ``unlike``. No precision stands beside such
            an input, because none was measured on its kind; nor beside one predicted as a class that was not audited.

        Raises
        ------
        InputError
            Without a model, or where the network gives other outputs than those recorded.
        """
        new = record_again(self.recording, data, self.network[0] if model is None else model, output)
        return assign(new, [self.mechanisms[name] for name in self.mechanisms], self.novelty, self.table)

    # All classes together

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per mechanism of every class, those first that are most worth looking at.

        First the overconfident ones, by ``confident_mistakes``: how many of the inputs judged are wrong beyond what the
        network's own confidence predicts. Then the unsure ones by their mistakes beyond those of the rest, those whose
        stability is doubtful, those with too few labels to tell (unless more reliable than the rest of the class), the
        underconfident, and all others. ``p_confidence`` and ``p_corrected`` are corrected by Holm's method over all
        mechanisms of all classes, and the verdicts are at the corrected level; other columns as in
        `neucept.reliability`. ``stability`` is the mean Jaccard similarity of `neucept.mechanisms.mechanism_stability`,
        ``neurons`` names those that set the mechanism apart. ``auc_confidence`` and ``auc_mechanisms`` are those of the
        class, by `neucept.mechanisms.error_detection`: how well errors are told by confidence, and with mechanisms.
        """
        parts = {outcome.name: outcome.rows for outcome in self.outcomes if not outcome.reason}
        if not parts:
            return pd.DataFrame(columns=list(COLUMNS))
        if all("p_confidence_raw" in rows for rows in parts.values()):
            p = holm(np.concatenate([rows["p_value"].to_numpy(float) for rows in parts.values()]))
            ends = np.cumsum([len(rows) for rows in parts.values()])[:-1]
            for (name, rows), corrected in zip(parts.items(), np.split(p, ends), strict=True):
                less = np.where(rows["precision"] < rows["rest"], "less reliable", "more reliable")
                verdict = np.where(corrected < LEVEL, less, "")
                parts[name] = rows.assign(p_corrected=corrected, verdict=verdict)
            table = correct_over_classes(parts, column="class")
        else:
            table = pd.concat(parts, names=["class"]).reset_index(level=0)
        for column in COLUMNS:
            if column not in table:
                table[column] = "" if column in _TEXTS else np.nan
        table["confident_mistakes"] = table["judged"] * (_expected(table) - table["precision"])
        return _most_worth_first(table)[list(COLUMNS)]

    @cached_property
    def classes(self) -> pd.DataFrame:
        """One row per class asked for.

        ``inputs`` (predicted as the class), ``labelled`` (labelled as it), ``precision`` with ``low`` and ``high``
        (Wilson's interval), ``recall``, ``mechanisms``, how many of them are ``overconfident`` and ``unsure``,
        ``selected LAYER`` (critical neurons or groups), ``seconds``, ``notes``, and the ``reason`` where it was not
        audited.
        """
        rows = []
        verdicts = self.table.groupby("class")["confidence_verdict"]
        counts: dict[str, Mapping[Any, int]] = {str(name): own.value_counts().to_dict() for name, own in verdicts}
        for outcome in self.outcomes:
            done = not outcome.reason
            row: dict[str, Any] = {"class": outcome.name, **self._counted(outcome.target)}
            row["mechanisms"] = len(outcome.rows) if done else 0
            for verdict in ("overconfident", "unsure"):
                row[verdict] = int(counts.get(outcome.name, {}).get(verdict, 0))
            for layer in self.layers:
                row[f"selected {layer}"] = outcome.selected.get(layer, np.nan)
            row |= {"seconds": outcome.seconds, "notes": " ".join(outcome.notes), "reason": outcome.reason}
            rows.append(row)
        return pd.DataFrame(rows)

    @cached_property
    def errors(self) -> pd.DataFrame:
        """Classes that were not audited, and why: ``class`` and ``reason``."""
        failed = [(outcome.name, outcome.reason) for outcome in self.outcomes if outcome.reason]
        return pd.DataFrame(failed, columns=["class", "reason"])

    @property
    def accuracy(self) -> float | None:
        """Share of all inputs that are classified right; None without labels, and for tasks that do not classify."""
        known = accuracy_with_interval(self.recording)
        return None if known is None else known[0]

    @property
    def accuracy_interval(self) -> tuple[float, float] | None:
        """Wilson's 95% interval of `accuracy`."""
        known = accuracy_with_interval(self.recording)
        return None if known is None else known[1:]

    @cached_property
    def doubt(self) -> str:
        """What speaks against this being the network and the data that belong together; empty where nothing does."""
        return implausible(self.recording)

    @cached_property
    def confusions(self) -> pd.DataFrame:
        """Mistakes by label and prediction, the most frequent first: ``label``, ``predicted``, ``inputs``, ``share``.

        ``share`` is that of the inputs with the label.
        """
        counts = confusion(self.recording)
        columns = ["label", "predicted", "inputs", "share"]
        if counts is None:
            return pd.DataFrame(columns=columns)
        names, totals = self.recording.class_names, counts.sum(axis=1)
        wrong = np.argwhere((counts > 0) & ~np.eye(len(counts), dtype=bool))
        wrong = wrong[np.argsort(-counts[tuple(wrong.T)], kind="stable")]
        rows = [(names[i], names[j], int(counts[i, j]), float(counts[i, j] / totals[i])) for i, j in wrong.tolist()]
        return pd.DataFrame(rows, columns=columns)

    def _counted(self, target: int | str) -> dict[str, Any]:
        """Count the inputs of a class, and how often its predictions are right."""
        recording = self.recording
        predicted = self._predictions == target if recording.single_label else recording.predicted(target)
        n = int(predicted.sum())
        counted: dict[str, Any] = {"inputs": n}
        true = None
        if recording.labels is not None:
            true = recording.right(target)
        unknown = dict.fromkeys(("labelled", "precision", "low", "high", "recall"), np.nan)
        if true is None:
            return counted | unknown
        hits, labelled = int(true[predicted].sum()), int(true.sum())
        low, high = wilson(hits, n)
        share = hits / n if n else np.nan
        recall = hits / labelled if labelled else np.nan
        return counted | {"labelled": labelled, "precision": share, "low": low, "high": high, "recall": recall}

    @cached_property
    def _predictions(self) -> np.ndarray:
        return self.recording.predictions

    # On disk

    def report(self, path: str | Path | None = None, **options: Any) -> Path:
        """Write the index page, with a page for each class beside it: `neucept.report` of this audit.

        Parameters
        ----------
        path : path, optional
            The index; ``index.html`` in the folder of the audit by default.
        **options
            As in `neucept.report`.
        """
        import neucept  # drawing knows the analysis, and not the other way round

        return neucept.report(self, path=self.folder / "index.html" if path is None else path, **options)

    def pack(self, path: str | Path) -> Path:
        """Write the folder to one file (zip), to be sent to somebody; `Audit.open` and all commands read it."""
        return archives.pack(self.folder, Path(path))

    def save(self, path: str | Path) -> Path:
        """Copy the audit to another folder; `Audit.open` reads it."""
        with storage.new_folder(path, KIND) as draft:
            shutil.copytree(self.folder, draft, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".neucept-*"))
        return Path(path)

    @classmethod
    def open(cls, path: str | Path, task: Task | None = None, rule: Rule | None = None) -> Audit:
        """Open the folder of an audit, finished or not; the network is not needed.

        Parameters
        ----------
        path : path
            The folder, or the file that `pack` made of it.
        task : Task, optional
            What the outputs mean, where the recording was made with a task of your own.
        rule : Rule, optional
            See `CriticalNeurons.open`.
        """
        path, unpacked = storage.as_path(path), None
        if archives.is_archive(path):
            unpacked = archives.unpack(path)
            path = Path(unpacked.name) / "run"
        with storage.opened(path, KIND) as (facts, _):
            settings, name, asked = facts["settings"], str(facts["model_name"]), list(facts["classes"])
            content, provenance = dict(facts["content"]), dict(facts.get("provenance", {}))
        if not (path / "recording").exists():
            raise InputError(f"{path} holds an audit whose recording is not finished. {NOT_DONE}")
        recording = Recording.open(path / "recording", task)
        known = [Outcome.open(place) for place in sorted((path / "classes").glob("[!.]*"))]
        done = {outcome.target for outcome in known}
        waiting = [target for target in targets_of(recording, asked) if target not in done]
        outcomes = [*known, *(Outcome(target, recording.target_name(target), NOT_DONE) for target in waiting)]
        outcomes.sort(key=lambda outcome: (isinstance(outcome.target, str), outcome.target))
        return cls(
            folder=path,
            recording=recording,
            outcomes=tuple(outcomes),
            settings=settings,
            content=content,
            provenance=provenance,
            model_name=name,
            rule=rule,
            _kept=unpacked,
        )


def targets_of(recording: Recording, asked: Sequence[int | str]) -> list[int | str]:
    """Find the classes asked for, each once; all of them where none is named, of a regression both ends."""
    if not asked:
        asked = RANGES if isinstance(recording.task, Regression) else range(len(recording.class_names))
    return list(dict.fromkeys(recording.class_number(one) for one in asked))


def _expected(table: pd.DataFrame) -> pd.Series[float]:
    """Precision that the confidence predicts; for an alarm raised by other classes, what it predicts there."""
    elsewhere = (table["confidence_verdict"] == "overconfident") & (table["precision"] >= table["expected_low"])
    return table["expected"].where(~elsewhere, table["expected_elsewhere"])


def _most_worth_first(table: pd.DataFrame) -> pd.DataFrame:
    """Order rows by what is most worth looking at."""
    verdict = table["confidence_verdict"].where(
        table["confidence_verdict"].isin(["overconfident", "unsure"]) | ~table["found_again"].isin(_DOUBTFUL),
        "doubtful",
    )
    few = verdict == "too few to tell"
    verdict = verdict.where(~few | (table["verdict"] != "more reliable"), "")
    place = {name: number for number, name in enumerate(_ATTENTION)}
    against_rest = table["judged"] * (table["rest"] - table["precision"])
    mistakes = table["confident_mistakes"].where(verdict != "unsure", against_rest)
    order = pd.DataFrame({"place": verdict.map(place).fillna(len(place)), "mistakes": -mistakes.fillna(-np.inf)})
    return table.iloc[np.lexsort((order["mistakes"], order["place"]))].reset_index(drop=True)
