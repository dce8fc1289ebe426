"""What a network's outputs mean: one class, yes or no, several labels at once, a number, or scores by a function."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from scipy.special import expit, log_expit, log_softmax

from neucept.errors import InputError, check_has, check_real, closest, one_of
from neucept.short_repr import ShortRepr
from neucept.vocabulary import RESPONSES, TASK_NAMES


@runtime_checkable
class Task(Protocol):
    """What a network's outputs mean.

    Attributes
    ----------
    name : str
        What a saved recording calls it.

    Examples
    --------
    A task of your own: an ordinal scale, of which a target asks for at least a grade.

    >>> class Grades(Classes):
    ...     name = "grades"
    ...
    ...     def predicted(self, outputs, target):
    ...         return outputs.argmax(axis=1) >= target
    ...
    ...     def right(self, outputs, labels, target):
    ...         return labels >= target
    >>> Grades().predicted(np.eye(3), 1).tolist(), isinstance(Grades(), Task)
    ([False, True, True], True)
    """

    @property
    def name(self) -> str:
        """What a saved recording calls it."""
        ...

    def target(self, target: Any, names: Sequence[str]) -> int | str:
        """Check a target, and return it as it is kept: the number of an output, or a text.

        Raises
        ------
        InputError
            When there is no such target.
        """
        ...

    def target_name(self, target: int | str, names: Sequence[str]) -> str:
        """Name a target, for tables and reports."""
        ...

    def predicted(self, outputs: np.ndarray, target: int | str) -> np.ndarray:
        """Which of (n, C) outputs predict the target, (n,) bool."""
        ...

    def response(self, outputs: np.ndarray, target: int | str, kind: str) -> np.ndarray:
        """Compute what is explained of (n, C) outputs, (n,) float64; ``kind`` as in `neucept.discover`."""
        ...

    def right(self, outputs: np.ndarray, labels: np.ndarray, target: int | str) -> np.ndarray | None:
        """Whether the target is true of each input, (n,) bool; None where the labels do not say."""
        ...

    def describe(self, outputs: np.ndarray, names: Sequence[str]) -> list[str]:
        """Say in words what is predicted of each input."""
        ...


def _output_number(target: Any, names: Sequence[str], what: str = "class") -> int:
    """Find an output by number or name."""
    if isinstance(target, str):
        if target in names:
            return list(names).index(target)
        if not target.isdecimal():
            known = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            raise InputError(f"No {what} is called '{target}'.{closest(target, names)} There are: {known}.")
    elif isinstance(target, bool) or not isinstance(target, int | np.integer):
        raise InputError(f"target is a {type(target).__name__}; expected a {what} number or name, or an (n,) array.")
    number = int(target)
    if not 0 <= number < len(names):
        raise InputError(f"target={target}: the model has {len(names)} {_plural(what)}, 0 to {len(names) - 1}.")
    return number


def _plural(what: str) -> str:
    return "classes" if what == "class" else f"{what}s"


def class_numbers(labels: np.ndarray) -> np.ndarray:
    """Read labels with one column per class, one of them 1, as class numbers, (n,); others stay.

    Raises
    ------
    InputError
        Where several labels, or none, are true of an input.
    """
    if labels.ndim == 1:
        return labels
    if len(wrong := np.flatnonzero(labels.sum(axis=1) != 1)):
        true = "Several labels are" if labels[wrong[0]].sum() > 1 else "No label is"
        raise InputError(f"{true} true of input {wrong[0]}. Record with task='multi-label'.")
    return np.asarray(labels.argmax(axis=1))


@dataclass(frozen=True)
class Classes:
    """One of C classes per input; the outputs are logits, and the largest is the prediction."""

    name = "classes"

    def target(self, target: Any, names: Sequence[str]) -> int:
        """Return a class, by number or name; see `Task.target`."""
        return _output_number(target, names)

    def target_name(self, target: int | str, names: Sequence[str]) -> str:
        """Name of the class."""
        return names[int(target)]

    def predicted(self, outputs: np.ndarray, target: int | str) -> np.ndarray:
        """Where the class has the largest logit."""
        return np.asarray(outputs.argmax(axis=1) == target)

    def response(self, outputs: np.ndarray, target: int | str, kind: str = "logit") -> np.ndarray:
        """Return the logit, the logit minus the largest other (margin), or the logarithm of the probability."""
        one_of("response", kind, RESPONSES)
        logits, number = np.asarray(outputs, np.float64), int(target)
        if kind == "log_prob":
            return np.asarray(log_softmax(logits, axis=1)[:, number])
        if kind == "margin":
            return np.asarray(logits[:, number] - np.delete(logits, number, axis=1).max(axis=1))
        return np.asarray(logits[:, number])

    def right(self, outputs: np.ndarray, labels: np.ndarray, target: int | str) -> np.ndarray | None:
        """Where the class is the label; one column per class, one of them 1, is taken too."""
        return np.asarray(class_numbers(labels) == target)

    def describe(self, outputs: np.ndarray, names: Sequence[str]) -> list[str]:
        """Name the predicted class."""
        return [names[number] for number in outputs.argmax(axis=1)]


@dataclass(frozen=True)
class Binary(Classes):
    """Yes or no from one output z, kept as the two logits (-z/2, z/2), whose softmax is the sigmoid of z."""

    name = "binary"


@dataclass(frozen=True)
class MultiLabel:
    """Any number of C labels per input; the outputs are logits, one per label.

    Attributes
    ----------
    threshold : float
        A label is predicted where its probability, the sigmoid of its logit, is at least this.
    """

    threshold: float = 0.5
    name = "multi-label"

    def __post_init__(self) -> None:
        check_real("threshold", self.threshold, 0, 1, above=True)

    def target(self, target: Any, names: Sequence[str]) -> int:
        """Return a label, by number or name; see `Task.target`."""
        return _output_number(target, names, "label")

    def target_name(self, target: int | str, names: Sequence[str]) -> str:
        """Name of the label."""
        return names[int(target)]

    def predicted(self, outputs: np.ndarray, target: int | str) -> np.ndarray:
        """Where the label's probability reaches the threshold."""
        return np.asarray(expit(np.asarray(outputs[:, int(target)], np.float64)) >= self.threshold)

    def response(self, outputs: np.ndarray, target: int | str, kind: str = "logit") -> np.ndarray:
        """Return the logit (for the margin too: it is against absence), or the logarithm of the probability."""
        one_of("response", kind, RESPONSES)
        logit = np.asarray(outputs[:, int(target)], np.float64)
        return np.asarray(log_expit(logit)) if kind == "log_prob" else logit

    def right(self, outputs: np.ndarray, labels: np.ndarray, target: int | str) -> np.ndarray | None:
        """Where the label's column is 1; class numbers say that one label is true."""
        return np.asarray(labels == target if labels.ndim == 1 else labels[:, int(target)] > 0)

    def describe(self, outputs: np.ndarray, names: Sequence[str]) -> list[str]:
        """Name all predicted labels."""
        masks = np.column_stack([self.predicted(outputs, number) for number in range(len(names))])
        return [", ".join(name for name, on in zip(names, row, strict=True) if on) or "none" for row in masks]


@dataclass(frozen=True, repr=False)
class Scores(ShortRepr, MultiLabel):
    """A score per class that a function computes from what the model returns: for detection and segmentation.

    Attributes
    ----------
    function : callable
        Maps what the model returns for a batch to scores (batch, C).
    threshold : float
        A class is predicted where its score is at least this.

    Examples
    --------
    Of a segmentation network, the share of pixels that each class gets:

    >>> Scores(lambda returned: returned["out"].softmax(1).mean((2, 3)), threshold=0.1).name
    'scores'
    """

    function: Callable[[Any], Any] | None = None
    name = "scores"

    def __init__(self, function: Callable[[Any], Any] | None = None, threshold: float = 0.5) -> None:
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "threshold", float(threshold))

    def predicted(self, outputs: np.ndarray, target: int | str) -> np.ndarray:
        """Where the class's score reaches the threshold."""
        return np.asarray(outputs[:, int(target)] >= self.threshold)

    def response(self, outputs: np.ndarray, target: int | str, kind: str = "logit") -> np.ndarray:
        """Return the score itself."""
        if kind != "logit":
            raise InputError(f"response={kind!r}: scores have no probabilities; use the default, the score itself.")
        return np.asarray(outputs[:, int(target)], np.float64)


_RANGES = {"highest tenth": ("highest", 10.0), "lowest tenth": ("lowest", 10.0)}
_SHARE = re.compile(r"(highest|lowest) (\d+(?:\.\d+)?) ?%")
_INTERVAL = re.compile(r"(-?[\d.eE+-]+|-inf) to (-?[\d.eE+-]+|inf)")


@dataclass(frozen=True)
class Regression:
    """A number per input. A target is a part of its range.

    Targets are ``"highest tenth"``, ``"lowest 5%"`` (of the outputs recorded), or a pair (low, high), also as
    ``"low to high"``; an input is predicted as the target where its output lies there, and right where its label does.

    Attributes
    ----------
    output : int
        Which output, where there are several.

    Examples
    --------
    >>> outputs = np.arange(20.0)[:, None]
    >>> Regression().predicted(outputs, "highest tenth").nonzero()[0].tolist()
    [18, 19]
    >>> Regression().target((3, 5), ("output",))
    '3 to 5'
    """

    output: int = 0
    name = "regression"

    def target(self, target: Any, names: Sequence[str]) -> str:
        """Return a part of the range, as a text; see `Task.target`."""
        if isinstance(target, tuple | list) and len(target) == 2:
            low, high = (check_real("target", bound, -np.inf) for bound in target)
            target = f"{low:.10g} to {high:.10g}"
        if isinstance(target, str) and target in _RANGES:
            return target
        if isinstance(target, str) and (share := _SHARE.fullmatch(target)) and 0 < float(share[2]) < 100:
            return target
        if isinstance(target, str) and (bounds := _INTERVAL.fullmatch(target)) and float(bounds[1]) < float(bounds[2]):
            return target
        raise InputError(
            f"target={target!r}: a regression explains a part of the range, such as 'highest tenth', 'lowest 5%' or"
            " (low, high)."
        )

    def target_name(self, target: int | str, names: Sequence[str]) -> str:
        """Return the text of the range."""
        return str(target)

    def bounds(self, outputs: np.ndarray, target: int | str) -> tuple[float, float]:
        """Lowest and highest value of a range, both included."""
        text = str(target)
        if interval := _INTERVAL.fullmatch(text):
            return float(interval[1]), float(interval[2])
        share = _SHARE.fullmatch(text)
        end, percent = _RANGES[text] if share is None else (share[1], float(share[2]))
        values = np.asarray(outputs[:, self.output], np.float64)
        if end == "highest":
            return float(np.quantile(values, 1 - percent / 100)), np.inf
        return -np.inf, float(np.quantile(values, percent / 100))

    def predicted(self, outputs: np.ndarray, target: int | str) -> np.ndarray:
        """Where the output lies in the range."""
        low, high = self.bounds(outputs, target)
        values = outputs[:, self.output]
        return np.asarray((values >= low) & (values <= high))

    def response(self, outputs: np.ndarray, target: int | str, kind: str = "logit") -> np.ndarray:
        """Return the output itself."""
        if kind != "logit":
            raise InputError(f"response={kind!r}: a regression has no probabilities; use the default, the output.")
        return np.asarray(outputs[:, self.output], np.float64)

    def right(self, outputs: np.ndarray, labels: np.ndarray, target: int | str) -> np.ndarray | None:
        """Where the label lies in the range."""
        low, high = self.bounds(outputs, target)
        values = labels if labels.ndim == 1 else labels[:, self.output]
        return np.asarray((values >= low) & (values <= high))

    def describe(self, outputs: np.ndarray, names: Sequence[str]) -> list[str]:
        """Write the output's value."""
        return [f"{value:.4g}" for value in outputs[:, self.output]]


TASKS: dict[str, Callable[..., Task]] = {
    "classes": Classes,
    "binary": Binary,
    "multi-label": MultiLabel,
    "regression": Regression,
    "scores": Scores,
}


def as_task(task: Any) -> Task | None:
    """Read what was given for ``task=``: a name or a task; None for ``"auto"``.

    Raises
    ------
    InputError
        For anything else.
    """
    if isinstance(task, str):
        name = one_of("task", task, TASK_NAMES)
        return None if name == "auto" else TASKS[name]()
    if isinstance(task, Task) and not isinstance(task, type):
        return task
    if hasattr(task, "predicted"):
        check_has(
            "task", task, ("name", "target", "target_name", "predicted", "response", "right", "describe"), "a task"
        )
    raise InputError(
        f"task={task!r}: expected one of 'auto', 'classes', 'binary', 'multi-label', 'regression', or a task such as"
        " MultiLabel(threshold=0.3) or Scores(function) from neucept.recording."
    )


def infer_task(outputs: np.ndarray, labels: np.ndarray | None) -> Task:
    """Infer what raw outputs (n, C) mean, from their number and the labels.

    Raises
    ------
    InputError
        Where both together do not say.
    """
    width = outputs.shape[1]
    values = labels is not None and labels.ndim == 1 and labels.dtype.kind == "f"
    if labels is not None and labels.ndim == 2:
        if labels.shape[1] != width:
            raise InputError(
                f"The labels have {labels.shape[1]} columns but the model {width} outputs: they do not belong together."
            )
        if not np.isin(labels, (0, 1)).all():
            raise InputError(
                f"The labels have {labels.shape[1]} columns with other values than 0 and 1: say what they mean,"
                " task='regression' or task='multi-label'."
            )
        return Classes() if width > 1 and (labels.sum(axis=1) == 1).all() else MultiLabel()
    if width == 1:
        if values:
            return Regression()
        if labels is not None and not np.isin(labels, (0, 1)).all():
            raise InputError(
                f"The model has one output and the labels go from {labels.min()} to {labels.max()}: say what the output"
                " means, task='binary' or task='regression'."
            )
        return Binary()
    if values:
        raise InputError(
            f"The labels are not whole numbers but the model has {width} outputs: say what they mean, task='classes' or"
            " task='regression'."
        )
    return Classes()


def task_to_facts(task: Task) -> dict[str, Any]:
    """Describe a task as JSON."""
    if isinstance(task, MultiLabel | Scores):
        return {"name": task.name, "threshold": task.threshold}
    return {"name": task.name, **(asdict(task) if isinstance(task, Classes | Regression) else {})}


def task_from_facts(facts: Mapping[str, Any] | None) -> Task:
    """Rebuild a task from its description; a recording from before there were tasks is of classes.

    Raises
    ------
    InputError
        For a task of the user's own, which must be given again.
    """
    held = dict(facts or {"name": "classes"})
    name = held.pop("name")
    if name not in TASKS:
        raise InputError(f"The recording was made with a task of its own, '{name}': open it with task=.")
    return TASKS[name](**held)
