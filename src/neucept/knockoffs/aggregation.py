"""Rules that turn knockoff statistics into a selection: equation (9), e-values, counts, local false discovery rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from neucept.errors import InputError, check_has, one_of
from neucept.short_repr import ShortRepr


@dataclass(frozen=True, repr=False)
class Guarantee(ShortRepr):
    """What holds of a selection, and on what evidence.

    Attributes
    ----------
    precision : float
        The precision that was asked for.
    claim : str
        What holds, in a sentence.
    evidence : str
        Why one should believe it, and what was not checked.
    short : str
        The same in one short sentence, for a summary; the claim by default.
    smallest : int
        The fewest neurons (or groups) that can be selected at this precision.
    required : float or None
        Where each neuron has a probability of being critical: the mean probability that the selected ones must have.
    """

    precision: float
    claim: str
    evidence: str
    short: str = ""
    smallest: int = 1
    required: float | None = None

    def __post_init__(self) -> None:
        if not self.short:
            object.__setattr__(self, "short", self.claim)

    def __str__(self) -> str:
        return f"{self.claim} {self.evidence}".strip()


class Rule(Protocol):
    """How a selection is made from knockoff statistics, and what that guarantees.

    Any object with these two methods can be given as ``aggregate=`` to `neucept.discover` and `KnockoffFilter`. It
    holds whatever else it needs. Two attributes are optional: ``name``, under which results are saved (the name of the
    class by default), and ``most_draws``, the largest number of draws that the rule can use.

    Examples
    --------
    >>> class TopFive:
    ...     name = "top five"
    ...
    ...     def select(self, W, q):
    ...         order = np.argsort(-W.mean(axis=0))
    ...         return np.isin(np.arange(W.shape[1]), order[:5])
    ...
    ...     def guarantee(self, precision):
    ...         return Guarantee(precision, "No guarantee: five neurons are always selected.", "")
    >>> from neucept.knockoffs import KnockoffFilter
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((300, 20))
    >>> y = X[:, :5] @ [3, 3, 2, 2, 2] + rng.standard_normal(300)
    >>> KnockoffFilter(draws=3, aggregate=TopFive(), random_state=0).fit(X, y).get_support(indices=True).tolist()
    [0, 1, 2, 3, 4]
    """

    def select(self, W: np.ndarray, q: float) -> np.ndarray:
        """Select neurons.

        Parameters
        ----------
        W : array
            (draws, g) statistics of neurons, or of groups of neurons. A large positive value speaks for a neuron; W of
            a null neuron is positive or negative with equal probability.
        q : float
            Level of the false discovery rate, 1 - precision.

        Returns
        -------
        array
            (g,) boolean mask.
        """
        ...

    def guarantee(self, precision: float) -> Guarantee:
        """State what holds of a selection at ``q = 1 - precision``."""
        ...


_UNCHECKED = (
    "This condition was not checked on this layer. Activations of real networks are not Gaussian, and the realised"
    " precision can be lower; the order of the neurons is more reliable than the cut."
)


def _if_gaussian(precision: float, by: str) -> Guarantee:
    return Guarantee(
        precision,
        f"If the layer's neurons are jointly Gaussian, at least {precision:g} of the selected neurons (one per group)"
        f" are not null, in expectation ({by}).",
        _UNCHECKED,
        "The precision holds if the neurons are jointly Gaussian, which was not checked.",
        smallest_selection(1 - precision),
    )


@dataclass(frozen=True)
class OneDraw:
    """Equation (9) of the NeuCEPT paper, for a single draw of knockoffs (Barber and Candes, 2015).

    >>> OneDraw().select(np.array([[5.0, 4.0, 3.0, 2.0, -1.0]]), q=0.25).tolist()
    [True, True, True, True, False]
    """

    name: ClassVar[str] = "one_draw"
    most_draws: ClassVar[int] = 1

    def select(self, W: np.ndarray, q: float) -> np.ndarray:
        """See `Rule.select`."""
        if len(W) != 1:
            raise InputError(f"OneDraw() selects from one draw, not from {len(W)}: use EValues(), or draws=1.")
        return select(W[0], q)

    def guarantee(self, precision: float) -> Guarantee:
        """See `Rule.guarantee`."""
        return _if_gaussian(precision, "equation (9), one draw")


@dataclass(frozen=True)
class EValues:
    """E-BH over e-values of all draws (Ren and Barber, 2023), stopped as `stopped_evalues` says."""

    name: ClassVar[str] = "evalue"

    def select(self, W: np.ndarray, q: float) -> np.ndarray:
        """See `Rule.select`."""
        return e_bh(stopped_evalues(W, q), q)

    def guarantee(self, precision: float) -> Guarantee:
        """See `Rule.guarantee`."""
        return _if_gaussian(precision, "e-BH over e-values of all draws")


@dataclass(frozen=True)
class Frequency:
    """Selected in more than half of the draws: the published rule, which guarantees nothing."""

    name: ClassVar[str] = "frequency"

    def select(self, W: np.ndarray, q: float) -> np.ndarray:
        """See `Rule.select`."""
        return np.asarray(frequency(W, q) > 0.5)

    def guarantee(self, precision: float) -> Guarantee:
        """See `Rule.guarantee`."""
        return Guarantee(
            precision,
            "No guarantee: how often a neuron is selected over several draws bounds no error rate.",
            "",
            "Counting draws guarantees no precision.",
            smallest_selection(1 - precision),
        )


class Calibrated(Protocol):
    """What `LocalFDR` needs to know of a calibration, see `neucept.Calibration`."""

    @property
    def single(self) -> bool:
        """Whether every group is one neuron."""
        ...

    def level(self, q: float) -> float:
        """Give the nominal level at which the realised false discovery rate is at most q; 0 if there is none."""
        ...

    def evidence_for(self, precision: float) -> str:
        """Say what the guarantee rests on."""
        ...


@dataclass(frozen=True, eq=False, repr=False)
class LocalFDR(ShortRepr):
    """The largest set whose mean local false discovery rate is at most the calibrated level (Sun and Cai, 2007).

    It does not look at the knockoff statistics themselves: they are part of the evidence from which the local false
    discovery rates were estimated.

    Parameters
    ----------
    calibration : Calibrated
        Gives the level at which a false discovery rate is realised.
    local_fdr : array
        (g,) local false discovery rates (Efron and others, 2001): the probability that a group is null, given its
        evidence.
    """

    calibration: Calibrated
    local_fdr: np.ndarray
    name: ClassVar[str] = "local_fdr"

    def select(self, W: np.ndarray, q: float) -> np.ndarray:
        """See `Rule.select`."""
        return largest_set(self.local_fdr, self.calibration.level(q))

    def guarantee(self, precision: float) -> Guarantee:
        """See `Rule.guarantee`."""
        unit = "neurons" if self.calibration.single else "groups of neurons"
        return Guarantee(
            precision,
            f"Of the selected {unit}, at least {precision:g} are not null, on average over responses like those"
            " simulated.",
            self.calibration.evidence_for(precision),
            "The precision was checked on responses simulated on the layer: evidence, not a proof.",
            required=1 - self.calibration.level(1 - precision),
        )


RuleName = Literal["evalue", "frequency"]
RULES: dict[str, Callable[[], Rule]] = {"evalue": EValues, "frequency": Frequency}
"""Rules that can be given by name, as ``aggregate=``."""


def rule_of(given: str | Rule, draws: int) -> Rule:
    """Make a rule of what was given as ``aggregate=``; by name, a single draw is always equation (9).

    >>> rule_of("evalue", draws=1), rule_of("evalue", draws=50), rule_of(Frequency(), draws=1)
    (OneDraw(), EValues(), Frequency())
    """
    if isinstance(given, str) and given == OneDraw.name:
        given = OneDraw()
    if isinstance(given, str):
        rule = RULES[one_of("aggregate", given, RULES)]()
        return OneDraw() if draws == 1 else rule
    check_has("aggregate", given, ("select", "guarantee"), "a rule")
    most = getattr(given, "most_draws", draws)
    if draws > most:
        raise InputError(f"draws={draws}: the rule {name_of(given)!r} can use {most} at most.")
    return given


def apply_rule(rule: Rule, W: np.ndarray, q: float) -> np.ndarray:
    """Select by a rule, (g,), and check that what it returns is a mask of W's (draws, g) columns."""
    mask = np.asarray(rule.select(W, q))
    if mask.shape != W.shape[1:] or mask.dtype != np.bool_:
        raise InputError(
            f"The rule {name_of(rule)!r} returned {mask.dtype} of shape {mask.shape}; expected a boolean mask of shape"
            f" {W.shape[1:]}."
        )
    return mask


def name_of(part: Any) -> str:
    """Name a sampler, statistic or rule in messages and saved settings: its ``name``, or that of its class or function.

    >>> name_of("lasso"), name_of(EValues()), name_of(name_of)
    ('lasso', 'evalue', 'name_of')
    """
    if isinstance(part, str):
        return part
    name = getattr(part, "name", None)
    return name if isinstance(name, str) else getattr(part, "__name__", type(part).__name__)


def threshold(W: np.ndarray, q: float, copies: int = 1, fewest: float = 0.0, clean: float = math.inf) -> float:
    """Find the threshold of equation (9), whose printed text lost a minus sign.

    The smallest t > 0 among the |W_j| with ``(1 + #{W <= -t}) / (copies max(1, #{W >= t})) <= q`` (Gimenez and Zou,
    2019, for several copies). Equal values are in or out together.

    Parameters
    ----------
    W : array
        (p,) statistics.
    q : float
        Level of the false discovery rate, 1 - precision.
    copies : int
        Knockoffs of each neuron in one draw; W is negative where any of them beats the neuron.
    fewest : float
        Go no further down than needed to select so many: the t where fewer are left above will do as well, whatever
        the ratio (early stopping, for e-values only).
    clean : float
        A t with at least so many above and none below will do, too, whatever the ratio (for e-values only).

    Returns
    -------
    float
        Infinity when no t will do.

    Examples
    --------
    >>> threshold(np.array([5.0, 4.0, 3.0, 2.0, -1.0]), q=0.25)
    2.0
    >>> threshold(np.array([5.0, 4.0, 3.0, 2.0, -1.0]), q=0.2)
    inf
    """
    levels = np.unique(np.abs(W[W != 0]))
    if not len(levels):
        return math.inf
    ordered = np.sort(W)
    above = len(W) - np.searchsorted(ordered, levels, side="left")
    below = np.searchsorted(ordered, -levels, side="right")
    allowed = (1 + below) <= q * copies * np.maximum(above, 1) * (1 + 1e-12)
    allowed |= (above < fewest) | ((below == 0) & (above >= clean * (1 - 1e-12)))
    return float(levels[allowed.argmax()]) if allowed.any() else math.inf


def select(W: np.ndarray, q: float, copies: int = 1) -> np.ndarray:
    """Mask of what one draw selects at level q, (p,): ``W >= threshold(W, q, copies)``."""
    return np.asarray(threshold(W, q, copies) <= W)


def smallest_selection(q: float, copies: int = 1) -> int:
    """Fewest neurons that one draw can select at level q: the ceiling of 1 / (copies q).

    >>> smallest_selection(0.1), smallest_selection(0.1, copies=5)
    (10, 2)
    """
    return math.ceil(1 / (copies * q) - 1e-9)


def frequency(W: np.ndarray, q: float, copies: int = 1) -> np.ndarray:
    """Share of draws that select each neuron, (p,), from (draws, p) statistics; it guarantees nothing."""
    return np.asarray(np.mean([select(w, q, copies) for w in W], axis=0))


def evalues(W: np.ndarray, levels: Sequence[float], copies: int = 1) -> np.ndarray:
    """Compute e-values of many draws (Ren and Barber, 2023), averaged over draws and levels.

    ``e_j = mean of p copies 1{W_j >= T} / (1 + #{W <= -T})`` with T the threshold of a draw at a level. Their sum over
    null neurons has an expectation of at most p for each draw and level, hence for the mean.

    Parameters
    ----------
    W : array
        (draws, p) statistics.
    levels : sequence of float
        Fixed before looking at W.
    copies : int
        Knockoffs of each neuron in one draw.

    Returns
    -------
    array
        (p,), not negative.

    Examples
    --------
    >>> evalues(np.array([[5.0, 4.0, 3.0, 2.0, -1.0]]), levels=[0.25])
    array([5., 5., 5., 5., 0.])
    """
    draws, p = W.shape
    total = np.zeros(p)
    for w in W:
        for level in levels:
            T = threshold(w, level, copies)
            total += p * copies * (w >= T) / (1 + np.sum(w <= -T))
    return np.asarray(total / (draws * len(levels)))


def stopped_evalues(W: np.ndarray, q: float, copies: int = 1) -> np.ndarray:
    """Compute e-values for a selection at level q by `e_bh`, see `evalues`.

    A draw stops at the first threshold, from the smallest up, at which one of three things holds: equation (9) at level
    q / 2; no neuron below minus the threshold, and at least 1 / q above; fewer than 1 / q above. That is a stopping
    time for the signs of W, so that the e-values of null neurons sum to at most p in expectation (Ren and Barber,
    2023). The second makes draws agree where only a few neurons are not null: level q / 2 alone needs 2 / q in a draw.

    With 15 of 60 Gaussian features non-null and 20 draws, at q = 0.1, the power is 1.00 where one draw has 1.00 and
    level q / 2 alone none (independent features, and correlations of .6); with near-collinear pairs .61, against .77 of
    one draw and .02 (60 repetitions of 500 rows).
    """
    fewest = 1 / (copies * q)
    total = np.zeros(W.shape[1])
    for w in W:
        T = threshold(w, q / 2, copies, fewest=fewest, clean=fewest)
        total += W.shape[1] * copies * (w >= T) / (1 + np.sum(w <= -T))
    return np.asarray(total / len(W))


def e_bh(e: np.ndarray, q: float) -> np.ndarray:
    """Mask of the e-BH procedure at level q: the k largest, k the largest with ``e_(k) >= p / (q k)``.

    >>> e_bh(np.array([50.0, 40.0, 0.5, 0.0]), q=0.1)
    array([ True,  True, False, False])
    """
    p = len(e)
    ordered = np.sort(e)[::-1]
    enough = np.flatnonzero(ordered * q * np.arange(1, p + 1) >= p * (1 - 1e-12))
    return np.asarray(e >= ordered[enough[-1]]) if len(enough) else np.zeros(p, bool)


def largest_set(local_fdr: np.ndarray, level: float) -> np.ndarray:
    """Mask of the largest set whose mean local false discovery rate is at most ``level``, (g,) (Sun and Cai, 2007).

    >>> largest_set(np.array([0.01, 0.9, 0.2, 0.05]), level=0.1).tolist()
    [True, False, True, True]
    """
    order = np.argsort(local_fdr, kind="stable")
    mean = np.cumsum(local_fdr[order]) / np.arange(1, len(order) + 1)
    mask = np.zeros(len(order), bool)
    mask[order[: int(np.flatnonzero(mean <= level)[-1]) + 1 if (mean <= level).any() else 0]] = True
    return mask
