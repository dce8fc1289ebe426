"""NeuCEPT as one method among others."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from neucept.discovery import NothingSelectedWarning, Selection, discover
from neucept.rankings.subject import Subject


class NeuCEPT:
    """Rank neurons by `neucept.discover`.

    Parameters
    ----------
    **settings
        Arguments of `neucept.discover`, its defaults where none is given; ``samples`` is the subject's inputs by
        default. With ``calibration=None`` and ``aggregate="frequency"``, neurons are ranked by how often they are
        selected, as published, those selected equally often by their mean statistic; otherwise by
        ``critical[layer].ranking``.

    Attributes
    ----------
    name : str
        "NeuCEPT", or "NeuCEPT, published" from `published`.
    """

    def __init__(self, **settings: Any) -> None:
        self.name = "NeuCEPT"
        self.settings = settings

    @classmethod
    def published(cls, **settings: Any) -> NeuCEPT:
        """Give the method as published: knockoffs alone, on all inputs, neurons ranked by frequency over 50 draws."""
        method = cls(**{"calibration": None, "samples": "all", "aggregate": "frequency", **settings})
        method.name = "NeuCEPT, published"
        return method

    def scores(self, subject: Subject) -> dict[str, np.ndarray]:
        """Score neurons by their place: k for the first, 1 for the last."""
        settings = {"samples": subject.rows, "progress": False, **self.settings}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NothingSelectedWarning)  # the order of neurons needs no selection
            critical = discover(subject.recording, subject.target, list(subject.layers), **settings)
        by_frequency = settings.get("calibration", "auto") is None and settings.get("aggregate") == "frequency"
        return {layer: _places(selection, by_frequency) for layer, selection in critical.items()}


def _places(selection: Selection, by_frequency: bool) -> np.ndarray:
    order = selection.ranking
    if by_frequency:
        order = np.lexsort((-selection.mean_statistic, -selection.frequency, selection.groups < 0))
    scores = np.empty(len(order))
    scores[order] = np.arange(len(order), 0, -1)
    return scores
