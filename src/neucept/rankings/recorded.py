"""Rankings that need what was recorded alone: activation, variance, chance, and NeuCEPT beside them."""

from __future__ import annotations

import warnings
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from neucept.discovery import NothingSelectedWarning, Selection, discover
from neucept.errors import one_of
from neucept.knockoffs import Frequency
from neucept.rankings.ranking import Subject
from neucept.vocabulary import ORDERS

_PHRASES = {"robust": "robustness", "sufficient": "sufficiency"}
OLD = {"ranking": "information"}  # its name in version 0.1


class NeuCEPT:
    """Rank neurons by `neucept.discover`.

    Which order to take depends on what the ranking is for, see `neucept.discover`. *sufficient* and *contribution*
    put those first that carry the decision. *robust* is for tests that protect or disturb neurons by noise.
    *information* names each piece of information once, so that its first ten neurons say most together: a neuron that
    says the same as one before it comes late, however important it is. *evidence* judges each neuron by itself, all
    that say the same alike.

    Parameters
    ----------
    order : {"sufficient", "robust", "contribution", "information", "evidence"}, optional
        By default that of `neucept.discover`: ``sufficient`` where the subject holds the model and the data, else
        ``contribution``. ``evidence``: the least probably null first, then the most important (without calibration: of
        the largest mean statistic), and dead neurons last; neurons on which the evidence is the same share a place.
    name : str, optional
        What tables and figures call it.
    **settings
        Arguments of `neucept.discover`, its defaults where none is given; ``samples`` is the subject's inputs by
        default. With ``calibration=None`` and ``aggregate="frequency"``, neurons are ranked by how often they are
        selected, as published, those selected equally often by their mean statistic, unless an order is given. Orders
        that need no selection are found without calibration.

    Attributes
    ----------
    name : str
        As given; by default "NeuCEPT", "NeuCEPT, by evidence" and so on, or "NeuCEPT, published" from `published`.

    Raises
    ------
    InputError
        For an unknown order.
    """

    def __init__(self, *, order: str | None = None, name: str | None = None, **settings: Any) -> None:
        if order is not None:
            one_of("order", order, (*ORDERS, *OLD))
        self.order: Any = OLD.get(str(order), order)
        phrase = _PHRASES.get(str(order), str(order))
        self.name = name or ("NeuCEPT" if order is None or order in OLD else f"NeuCEPT, by {phrase}")
        self.settings = settings

    @classmethod
    def published(cls, **settings: Any) -> NeuCEPT:
        """Give the method as published: knockoffs alone, on all inputs, neurons ranked by frequency over 50 draws."""
        published = {"calibration": None, "samples": "all", "aggregate": "frequency", "name": "NeuCEPT, published"}
        return cls(**{**published, **settings})

    def scores(self, subject: Subject) -> dict[str, np.ndarray]:
        """Score neurons by their place: k for the first, one less for each neuron before."""
        settings = {"samples": subject.rows, "progress": False, "effect": False, **self.settings}
        by_frequency = settings.get("calibration", "auto") is None and settings.get("aggregate") == "frequency"
        by_frequency = (by_frequency or isinstance(settings.get("aggregate"), Frequency)) and self.order is None
        network = {} if by_frequency else {"model": subject.model, "data": subject.data, "output": subject.output}
        if self.order not in ("information", "evidence") and not by_frequency:
            settings = {"calibration": None, "draws": 1, **settings}  # they need no statistics
        if subject.model is None or subject.data is None or isinstance(subject.target, np.ndarray):
            network = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NothingSelectedWarning)  # the order of neurons needs no selection
            critical = discover(
                subject.recording, subject.target, list(subject.layers), order=self.order, **{**network, **settings}
            )
        if self.order == "evidence":
            return {layer: _by_evidence(selection) for layer, selection in critical.items()}
        return {layer: _places(selection, by_frequency) for layer, selection in critical.items()}


def _places(selection: Selection, by_frequency: bool) -> np.ndarray:
    order = selection.ranking
    if by_frequency:
        order = np.lexsort((-selection.mean_statistic, -selection.frequency, selection.groups < 0))
    scores = np.empty(len(order))
    scores[order] = np.arange(len(order), 0, -1)
    return scores


def _by_evidence(selection: Selection) -> np.ndarray:
    keys = [-selection.mean_statistic]
    if selection.local_fdr is not None and selection.importance is not None:
        keys = [selection.local_fdr, -selection.importance]
    # Rows in ascending order: the alive first, then by the first key, those equal in it by the second.
    evidence = np.column_stack([selection.groups < 0, *keys])
    _, place, count = np.unique(evidence, axis=0, return_inverse=True, return_counts=True)
    before = np.cumsum(count) - count
    return np.asarray(len(evidence) - before[place.ravel()], np.float64)


@dataclass(frozen=True)
class Activation:
    """The mean activation over the inputs, "the simplest form of attribution method" (NeuCEPT, Appendix A.3).

    Examples
    --------
    >>> from neucept import Recording
    >>> recording = Recording({"a": np.array([[0, 3], [1, 2]], np.float32)}, np.eye(2, 2), None, ("0", "1"))
    >>> Activation().scores(Subject.of(recording, 0, rows="all"))
    {'a': array([0.5, 2.5])}
    """

    name: str = "activation"

    def scores(self, subject: Subject) -> dict[str, np.ndarray]:
        """Mean over the inputs."""
        return {layer: subject.activations(layer).mean(axis=0) for layer in subject.layers}


@dataclass(frozen=True)
class Variance:
    """The variance of the activation within the inputs."""

    name: str = "variance"

    def scores(self, subject: Subject) -> dict[str, np.ndarray]:
        """Variance over the inputs."""
        return {layer: subject.activations(layer).var(axis=0) for layer in subject.layers}


@dataclass(frozen=True)
class Random:
    """Scores drawn at random, uniform on [0, 1); a layer's do not depend on which others are ranked with it."""

    seed: int = 0
    name: str = "random"

    def scores(self, subject: Subject) -> dict[str, np.ndarray]:
        """Draw the scores."""
        found = {}
        for layer in subject.layers:
            rng = np.random.default_rng([self.seed, zlib.crc32(layer.encode())])
            found[layer] = rng.random(size=(subject.recording.activations(layer).shape[1],))
        return found
