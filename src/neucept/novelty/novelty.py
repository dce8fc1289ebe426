"""The noun: how far new inputs lie from those recorded, with p-values that keep their promise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.special import logsumexp
from scipy.stats import betabinom
from sklearn.neighbors import NearestNeighbors

from neucept import storage
from neucept.errors import InputError
from neucept.knockoffs.preprocessing import deviations
from neucept.recording import Recording
from neucept.short_repr import shortened

NEIGHBOURS = 10
MOST_REFERENCE, MOST_HELD_OUT = 5000, 2000
FEWEST = 50  # recorded inputs
_KIND = "Novelty"
_ANY = -1  # the class of inputs that are compared with all


@dataclass(frozen=True, repr=False, eq=False)
class Novelty:
    """What tells inputs that are unlike all those recorded.

    At each layer an input has the distance to its tenth nearest reference input that is predicted as the same class,
    on standardised neurons (after [1]_), and beside the layers the energy of its logits [2]_. Each becomes the share of
    recorded inputs that lie at least as far out, and the score is the sum of their negative logarithms (Fisher's
    combination). Further inputs are held out and turn the score into conformal p-values [3]_: for a new input that is
    drawn as the recorded ones were, the probability that its p-value is at most 0.05 is at most 0.05, whatever the
    network, and however layers depend on each other.

    Attributes
    ----------
    layers : tuple of str
        Layers of the neurons.
    widths : array
        (L,) neurons of each layer.
    mean, scale : array
        (k,) what is subtracted from the neurons of all layers, and what they are divided by; infinite for neurons that
        are constant on the reference inputs, which are left out.
    reference : array
        (r, k) float32 scaled neurons of the reference inputs.
    classes : array
        (r,) class that each is predicted as; -1 for all where outputs are no classes.
    known : array
        (q, L) or (q, L + 1) distances, and the energy where outputs are classes, of other recorded inputs; each column
        ascending.
    held_out : array
        (h,) scores of the inputs held out, ascending.

    References
    ----------
    .. [1] Sun, Y., Ming, Y., Zhu, X. and Li, Y. (2022). Out-of-distribution detection with deep nearest neighbors.
       ICML.
    .. [2] Liu, W., Wang, X., Owens, J. and Li, Y. (2020). Energy-based out-of-distribution detection. NeurIPS.
    .. [3] Bates, S., Candès, E., Lei, L., Romano, Y. and Sesia, M. (2023). Testing for outliers with conformal
       p-values. Annals of Statistics 51.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> Z = rng.normal(size=(400, 5)).astype(np.float32)
    >>> novelty = Novelty.fit(Recording({"hidden": Z}, Z[:, :2], None, ("a", "b")))
    >>> far = Recording({"hidden": Z[:3] + 9}, Z[:3, :2], None, ("a", "b"))
    >>> bool((novelty.p_values(far) < 0.05).all())
    True
    """

    layers: tuple[str, ...]
    widths: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    reference: np.ndarray
    classes: np.ndarray
    known: np.ndarray
    held_out: np.ndarray

    def __repr__(self) -> str:
        sizes = f"{len(self.reference)} reference inputs, {len(self.held_out)} held out"
        return shortened(f"Novelty({sizes}; {', '.join(self.layers)})")

    @classmethod
    def fit(cls, recording: Recording, layers: Sequence[str] | None = None, seed: int = 0) -> Novelty:
        """Keep reference inputs of a recording, and how far out others lie.

        Parameters
        ----------
        recording : Recording
            Of at least 50 inputs. At most 9,000 are used, drawn at random: a fifth to 2,000 are held out, as many tell
            how far out inputs lie at each layer, at most 5,000 are the reference.
        layers : sequence of str, optional
            Recorded layers; all by default.
        seed : int
            Seed for the draw.

        Raises
        ------
        InputError
            For fewer inputs, or a layer that was not recorded.
        """
        n, chosen = len(recording), tuple(recording.layers if layers is None else layers)
        if n < FEWEST:
            raise InputError(f"{n} recorded inputs are too few to tell what is unlike them: expected {FEWEST} or more.")
        order, h = np.random.default_rng(seed).permutation(n), min(MOST_HELD_OUT, n // 5)
        held, others, rows = np.split(order[: 2 * h + MOST_REFERENCE], [h, 2 * h])
        values = _values(recording, chosen, rows)
        spread = deviations(values)
        mean, scale = values.mean(axis=0, dtype=np.float64), np.where(spread > 0, spread, np.inf)
        reference = ((values - mean) / scale).astype(np.float32)
        widths = np.array([recording.activations(layer).shape[1] for layer in chosen])
        none = np.empty((0, 0)), np.empty(0)
        novelty = cls(chosen, widths, mean, scale, reference, _classes(recording, rows), *none)
        novelty = replace(novelty, known=np.sort(novelty.distances(recording.subset(others)), axis=0))
        return replace(novelty, held_out=np.sort(novelty.scores(recording.subset(held))))

    def distances(self, recording: Recording) -> np.ndarray:
        """How far out inputs lie: at each layer, and by their energy where outputs are classes, (n, L) or (n, L + 1).

        Where a class has fewer than twenty reference inputs, all are compared with.

        Raises
        ------
        InputError
            When a layer was not recorded, or has another number of neurons.
        """
        rows = np.arange(len(recording))
        values = _values(recording, self.layers, rows)
        if values.shape[1] != len(self.mean):
            raise InputError(
                f"The layers have {values.shape[1]} neurons, those of the reference inputs {len(self.mean)}; record the"
                " inputs in the same way."
            )
        scaled = ((values - self.mean) / self.scale).astype(np.float32)
        result = np.empty((len(scaled), len(self.layers)))
        ends = np.cumsum(self.widths)
        for own, reference in self._by_class(_classes(recording, rows)):
            for number, (start, end) in enumerate(zip(ends - self.widths, ends, strict=True)):
                search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(reference)), algorithm="brute")
                search.fit(reference[:, start:end])
                result[own, number] = search.kneighbors(scaled[own, start:end])[0][:, -1]
        if not recording.single_label:
            return result
        energy = -logsumexp(np.asarray(recording.logits, np.float64), axis=1)
        return np.concatenate([result, energy[:, None]], axis=1)

    def scores(self, recording: Recording) -> np.ndarray:
        """Score of each input, (n,): larger for inputs that are more unlike those recorded. Raises as `distances`."""
        distances, q = self.distances(recording), len(self.known)
        if distances.shape[1] != self.known.shape[1]:
            raise InputError("The outputs mean something else than those of the reference inputs; record them alike.")
        columns = zip(self.known.T, distances.T, strict=True)
        nearer = np.stack([np.searchsorted(known, own, side="left") for known, own in columns], axis=1)
        return np.asarray(-np.log((1 + q - nearer) / (q + 1)).sum(axis=1))

    def _by_class(self, classes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Give the rows of each class, and the reference inputs to compare them with."""
        for number in np.unique(classes).tolist():
            own = self.classes == number
            enough = own.sum() >= 2 * NEIGHBOURS
            yield np.flatnonzero(classes == number), self.reference[own] if enough else self.reference

    def p_values(self, recording: Recording) -> np.ndarray:
        """Conformal p-value of each input, (n,): share of held-out inputs that lie at least as far out, itself counted.

        The smallest that there can be is 1 / (h + 1), for h inputs held out. They mean nothing for inputs that were
        recorded themselves: a reference input lies at its own place.
        """
        if not len(recording):
            return np.empty(0)
        farther = len(self.held_out) - np.searchsorted(self.held_out, self.scores(recording), side="left")
        return np.asarray((1 + farther) / (len(self.held_out) + 1))

    def p_of_count(self, flagged: int, n: int, level: float) -> float:
        """Probability of so many flagged inputs, or more, among n new ones that are drawn as the recorded ones were.

        All new inputs are held against the same held-out ones. Those may lie nearer than usual, and then more inputs
        are flagged than ``level`` says: the number is beta-binomial, not binomial.

        Parameters
        ----------
        flagged : int
            Inputs with a p-value of at most ``level``.
        n : int
            New inputs.
        level : float
            Between 0 and 1.

        Examples
        --------
        >>> Z = np.random.default_rng(0).normal(size=(500, 3))
        >>> novelty = Novelty.fit(Recording({"hidden": Z}, Z[:, :2], None, ("a", "b")))
        >>> novelty.p_of_count(0, 100, 0.05), novelty.p_of_count(90, 100, 0.05) < 1e-6
        (1.0, True)
        """
        h = len(self.held_out)
        k = int(np.floor(level * (h + 1)))  # the threshold is the k-th largest of the held-out scores
        return 1.0 if flagged == 0 or k == 0 else float(betabinom(n, k, h + 1 - k).sf(flagged - 1))

    def save(self, path: str | Path) -> Path:
        """Write to a folder; `Novelty.open` reads it."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        return storage.save(path, _KIND, {"layers": list(self.layers)}, arrays)

    @classmethod
    def open(cls, path: str | Path) -> Novelty:
        """Open what `save` wrote."""
        with storage.opened(path, _KIND) as (facts, arrays):
            return cls(tuple(facts["layers"]), **{name: arrays[name] for name in _ARRAYS})


_ARRAYS = ("widths", "mean", "scale", "reference", "classes", "known", "held_out")


def _values(recording: Recording, layers: Sequence[str], rows: np.ndarray) -> np.ndarray:
    """Neurons of all layers side by side, (n, k)."""
    return np.concatenate([np.asarray(recording.activations(layer)[rows], np.float32) for layer in layers], axis=1)


def _classes(recording: Recording, rows: np.ndarray) -> np.ndarray:
    """Class that each input is predicted as; -1 where outputs are no classes."""
    if recording.single_label:
        return np.asarray(recording.predictions[rows])
    return np.full(len(rows), _ANY)
