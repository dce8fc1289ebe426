"""The noun: every class of a network, audited. It reads a folder of results, one per class, and derives from them."""

from __future__ import annotations

import re
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from torch import nn

from neucept import storage
from neucept.analysis.analysis import Analysis
from neucept.analysis.measuring import analyse
from neucept.discovery import CriticalNeurons
from neucept.errors import InputError
from neucept.evaluation.sufficiency import sufficiency
from neucept.knockoffs import Rule
from neucept.mechanisms import Mechanisms, correct_over_classes, wilson
from neucept.mechanisms.overconfidence import LEVEL, holm
from neucept.recording import Recording
from neucept.recording.outputs import Output
from neucept.recording.task import Binary, Classes, Regression, Task

RANGES = ("highest tenth", "lowest tenth")  # of a regression, where no classes are named
KIND, KIND_OF_CLASS = "Audit", "AuditedClass"
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
        return f"{{{', '.join(map(repr, self))}}}"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one class.

    Attributes
    ----------
    target : int or str
        Its number, or another target of the task.
    name : str
        Its name.
    reason : str
        Why it was not audited; empty where it was.
    notes : tuple of str
        What was left out, such as layers that are constant on its inputs.
    rows : DataFrame
        One row per mechanism: its reliability, size, stability and neurons.
    selected : mapping of str to int
        Selected neurons or groups of each layer.
    seconds : float
        Time that it took.
    """

    target: int | str
    name: str
    reason: str = ""
    notes: tuple[str, ...] = ()
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)
    selected: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def folder(self) -> str:
        """Name of its folder, and of its page."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")[:40]
        start = f"{self.target:04d}" if isinstance(self.target, int) else f"{zlib.crc32(self.target.encode()):08x}"
        return f"{start}-{slug}".rstrip("-")

    def facts(self) -> dict[str, Any]:
        """All of it, for JSON."""
        facts = {name: getattr(self, name) for name in ("target", "name", "reason", "seconds")}
        return facts | {
            "notes": list(self.notes),
            "rows": self.rows.to_dict("list"),
            "selected": dict(self.selected),
        }

    @classmethod
    def open(cls, path: Path) -> Outcome:
        """Read what became of a class from its folder."""
        with storage.opened(path, KIND_OF_CLASS) as (facts, _):
            return cls(**facts | {"notes": tuple(facts["notes"]), "rows": pd.DataFrame(facts["rows"])})


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
    model_name : str
        Type of the network.
    """

    folder: Path
    recording: Recording
    outcomes: tuple[Outcome, ...]
    settings: Mapping[str, Any]
    model_name: str = "network"
    rule: Rule | None = None
    network: tuple[nn.Module | None, Any, Output] = (None, None, None)
    _kept: Any = None  # a temporary folder, removed with the audit

    def __repr__(self) -> str:
        done = len(self.outcomes) - len(self.errors)
        alarms = int((self.table["confidence_verdict"] == "overconfident").sum())
        known = "" if self.accuracy is None else f", accuracy {self.accuracy:.1%}"
        return (
            f"Audit({done} of {len(self.outcomes)} classes of {self.model_name}, {len(self.table)} mechanisms,"
            f" {alarms} overconfident{known})"
        )

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
        target: int | str,
        model: nn.Module | None = None,
        data: Any = None,
        pathways: bool = True,
        replacing: bool = False,
        progress: bool = True,
    ) -> Analysis:
        """Measure what a report of one class shows beside its mechanisms: `neucept.analyse` on the audited results.

        Parameters
        ----------
        target : int or str
            The class.
        model, data : Module and data of any kind, optional
            Those that were recorded; an audit that was not opened from a folder knows them. Without data the report
            has no pictures, without a model no pathways.
        pathways : bool
            Trace pathways of the mechanisms, where there are model and data.
        replacing : bool
            Measure sufficiency by running the network with neurons replaced, too; it takes most of the time.
        progress : bool
            Show progress of steps that take more than two seconds.
        """
        mechanisms, critical = self.mechanisms[target], self.critical[target]
        own_model, own_data, output = self.network
        model, data = own_model if model is None else model, own_data if data is None else data
        seed = int(self.settings["seed"])
        linear = None if replacing else sufficiency(self.recording, critical, seed=seed, progress=False)
        return analyse(
            model,
            data,
            recording=self.recording,
            critical=critical,
            mechanisms=mechanisms,
            sufficiency=linear,
            pathways=pathways and model is not None and data is not None,
            output=output,
            seed=seed,
            progress=progress,
        )

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
            for layer in self.recording.layers:
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
        counts = _confusion(self.recording)
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
        plain = type(recording.task) in (Classes, Binary)
        predicted = self._predictions == target if plain else recording.predicted(target)
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
            The folder.
        task : Task, optional
            What the outputs mean, where the recording was made with a task of your own.
        rule : Rule, optional
            See `CriticalNeurons.open`.
        """
        path = storage.as_path(path)
        with storage.opened(path, KIND) as (facts, _):
            settings, name, asked = facts["settings"], str(facts["model_name"]), list(facts["classes"])
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
            model_name=name,
            rule=rule,
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


def _right(recording: Recording) -> np.ndarray | None:
    """Whether each input is classified right, (n,); None where nobody can say."""
    labels = recording.labels
    if labels is None or not isinstance(recording.task, Classes) or labels.ndim != 1 or labels.dtype.kind == "f":
        return None
    return np.asarray(recording.predictions == labels)


def _confusion(recording: Recording) -> np.ndarray | None:
    """Count inputs by label and prediction, (C, C); labels that are no class of the model are left out."""
    if _right(recording) is None:
        return None
    assert recording.labels is not None
    C = len(recording.class_names)
    known = (recording.labels >= 0) & (recording.labels < C)
    pairs = recording.labels[known] * C + recording.predictions[known]
    return np.bincount(pairs, minlength=C * C).reshape(C, C)


def accuracy_with_interval(recording: Recording) -> tuple[float, float, float] | None:
    """Share of all inputs that are classified right, with Wilson's 95% interval; None where nobody can say."""
    right = _right(recording)
    return None if right is None else (float(right.mean()), *wilson(int(right.sum()), len(right)))


def implausible(recording: Recording) -> str:
    """Say what speaks against the accuracy of a network on some data; empty where nothing does.

    An accuracy is implausible where it is not above what chance and the shares of the classes allow: naming any class,
    or always the most frequent one. The usual reasons are inputs that are not normalised as in the training, and
    classes in another order; the sentence says so where another order explains the labels.

    Examples
    --------
    >>> labels = np.arange(300) % 3
    >>> Z, logits = np.ones((300, 1), np.float32), np.eye(3, dtype=np.float32)[(labels + 1) % 3]
    >>> print(implausible(Recording({"hidden": Z}, logits, labels, ("a", "b", "c"))))  # doctest: +ELLIPSIS
    The network is right in 0.0% of 300 inputs (0.0 to 1.3), ... class 'a' is called 'b'...
    """
    right, counts = _right(recording), _confusion(recording)
    if right is None or counts is None or not len(right):
        return ""
    n, C = len(right), len(counts)
    share, (low, high) = float(right.mean()), wilson(int(right.sum()), n)
    largest = int(counts.sum(axis=1).argmax())
    shares = float(counts[largest].sum() / n), 1 / C
    if low > max(shares):
        return ""
    names = recording.class_names
    why = f"always naming '{names[largest]}'" if shares[0] >= shares[1] else f"naming one of {C} classes by chance"
    said = (
        f"The network is right in {share:.1%} of {n:,} inputs ({low * 100:.1f} to {high * 100:.1f}), no better than"
        f" {why} ({max(shares):.1%})."
    )
    rows, columns = linear_sum_assignment(-counts)
    reordered = float(counts[rows, columns].sum() / n)
    moved = [(i, j) for i, j in zip(rows.tolist(), columns.tolist(), strict=True) if i != j and counts[i, j]]
    if moved and wilson(round(reordered * n), n)[0] > max(2 * high, 1.5 * max(shares)):
        i, j = max(moved, key=lambda pair: counts[pair])
        said += f" With its classes in another order it would be right in {reordered:.1%}: class '{names[i]}' is called"
        return (
            f"{said} '{names[j]}', for instance. Give the names in the order of the outputs (class_names=, --classes)."
        )
    return (
        f"{said} Check that the inputs are normalised as in its training (--mean, --std), that its classes are in the"
        " order of the labels, and that its weights are loaded."
    )
