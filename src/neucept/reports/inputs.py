"""What a page says of one input: the name of its file, its label, what is predicted and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from neucept.recording import Recording
from neucept.reports.components import Html, tag
from neucept.reports.phrases import percent

_SHOWN = 14  # characters of a file name that fit under a picture


@dataclass(frozen=True)
class Shown:
    """One input in words and as a caption.

    Attributes
    ----------
    name : str
        Of its file or row, whole.
    label : str
        What the data call it; empty where that is not known.
    predicted : str
        What the network calls it; empty where that is not known.
    confidence : float
        Of the prediction, the network's own; NaN where the outputs are no probabilities.
    wrong : bool
        Whether it is misclassified.
    """

    name: str
    label: str = ""
    predicted: str = ""
    confidence: float = float("nan")
    wrong: bool = False

    @property
    def words(self) -> str:
        """All that is known of it.

        >>> Shown("photos/cat/17.png", "cat", "dog", 0.93, True).words
        'photos/cat/17.png, labelled cat, predicted dog with confidence 93%, misclassified'
        """
        return ", ".join(self.lines)

    @property
    def lines(self) -> list[str]:
        """All that is known of it, one thing each."""
        sure = "" if np.isnan(self.confidence) else f" with confidence {percent(self.confidence)}"
        parts = [self.name, f"labelled {self.label}" if self.label else ""]
        parts += [f"predicted {self.predicted}{sure}" if self.predicted else "", "misclassified" if self.wrong else ""]
        return [part for part in parts if part]

    def caption(self, mark: Html | None = None) -> Html:
        """Write the lines under its picture: label and confidence, then the name, whole at the pointer."""
        return caption(self.name, self.label, "" if np.isnan(self.confidence) else percent(self.confidence, 0), mark)


def caption(name: str, label: str, sure: str, mark: Html | None = None) -> Html:
    """Write the lines under the picture of an input: its label, how sure the network is, and the name of its file."""
    what = [mark, tag("b", label) if label else None, " ", tag("span", sure, class_="sure") if sure else None]
    return tag("figcaption", tag("span", *what, class_="what"), file_name(name))


def file_name(name: str) -> Html:
    """Show the last part of a name, shortened where it is long, with the whole name at the pointer.

    >>> file_name("photos/cat/alley_cat_s_000777.png")
    '<span class="row" title="photos/cat/alley_cat_s_000777.png">alley…s_000777</span>'
    """
    last = PurePosixPath(name.replace("\\", "/"))
    short = last.name or name
    if len(short) > _SHOWN:
        short = last.stem
    if len(short) > _SHOWN:
        short = f"{short[:5]}…{short[-8:]}"
    return tag("span", short, class_="row", title=name)


def shown_inputs(
    recording: Recording,
    rows: Sequence[int] | np.ndarray,
    labels: Sequence[str],
    wrong: Sequence[bool] | np.ndarray | None = None,
) -> list[Shown]:
    """Say of some rows of a recording what is known of them.

    Parameters
    ----------
    recording : Recording
        With the names, where the data had some.
    rows : sequence of int
        Which.
    labels : sequence of str
        Their labels in words.
    wrong : sequence of bool, optional
        Whether each is misclassified; unknown by default, and not said.
    """
    rows = np.asarray(rows, int)
    sure = recording.confidence(rows)
    predicted = recording.task.describe(recording.logits[rows], recording.class_names)
    flags = np.zeros(len(rows), bool) if wrong is None else wrong
    known = zip(rows.tolist(), labels, predicted, sure.tolist(), flags, strict=True)
    return [Shown(recording.name(row), label, guess, own, bool(flag)) for row, label, guess, own, flag in known]
