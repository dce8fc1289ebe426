"""The finest groups of neurons that can be told apart in a layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from neucept.calibration.evidence import Found, Layer, joined
from neucept.calibration.learnt_response import Advance, nothing
from neucept.calibration.null_model import NullModel
from neucept.calibration.simulation import FAMILIES, Simulated, simulate
from neucept.short_repr import ShortRepr

CUTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)  # average linkage on 1 - |correlation|
FEWEST_GROUPS = 20
KINDS = {name: FAMILIES[name] for name in ("linear", "deep ReLU network", "products", "trees")}
SINGLE_SHARES = (0.03, 0.1, 0.3)  # of the neurons
SINGLE_NOISES = (0.0, 0.5)
REPEATS = 2
RESPONSES = REPEATS * len(KINDS) * len(SINGLE_SHARES) * len(SINGLE_NOISES)
GOOD = 0.7  # power that the ranking alone must be able to reach at a false discovery proportion of 0.1
LITTLE = 0.5  # a power that is worth a word of warning


def candidates(Z: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """List groupings, the finest first: (cut, (p,) groups); all but the first have at least 20 groups."""
    p = Z.shape[1]
    groupings = [(0.0, np.arange(p))]
    if p <= FEWEST_GROUPS:
        return groupings
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.nan_to_num(np.corrcoef(Z.T))  # a neuron that is constant on these rows correlates with none
    distance = np.clip(1 - np.abs(correlation), 0, None)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average")
    for cut in CUTS[1:]:
        _, first, number = np.unique(fcluster(tree, cut, "distance"), return_index=True, return_inverse=True)
        if len(first) < FEWEST_GROUPS:
            break
        if len(first) < 0.95 * (groupings[-1][1].max() + 1):
            groupings.append((cut, np.argsort(np.argsort(first))[number]))
    return groupings


def head_of(score: np.ndarray, null: np.ndarray, proportion: float = 0.1) -> np.ndarray:
    """Mask of the longest head of a ranking, (g,), with at most that proportion of nulls."""
    order = np.argsort(-score, kind="stable")
    false = np.cumsum(null[order]) / np.arange(1, len(order) + 1)
    fit = np.flatnonzero(false <= proportion)
    mask = np.zeros(len(order), bool)
    mask[order[: fit[-1] + 1 if len(fit) else 0]] = True
    return mask


@dataclass(frozen=True, eq=False, repr=False)
class Resolution(ShortRepr):
    """The finest grouping whose neurons can be told apart, and the responses that showed it.

    Attributes
    ----------
    cut : float
        Where the tree was cut; 0 for single neurons.
    groups : array
        (p,) group of each neuron.
    power : float
        The power that the ranking of these groups could reach at a false discovery proportion of 0.1.
    simulated : Simulated
        The responses, with what is null among single neurons.
    found : Found
        The evidence on them.
    """

    cut: float
    groups: np.ndarray
    power: float
    simulated: Simulated
    found: Found


def resolution(examined: Layer, rng: np.random.Generator, advance: Advance = nothing) -> Resolution:
    """Choose the finest grouping whose neurons can be told apart.

    Responses are simulated once, on 3 to 30% of the neurons, and every candidate is judged on the same. The finest is
    taken whose ranking could reach a mean power of 0.7 at a false discovery proportion of 0.1; where none does, the one
    of largest power.
    """
    Z = examined.Z
    simulated = simulate(Z, np.arange(Z.shape[1]), rng, KINDS, SINGLE_SHARES, SINGLE_NOISES, nothing=0, repeats=REPEATS)
    found = examined.find(simulated.Y, advance)
    options = candidates(Z)
    powers = [_reachable_power(examined, found, simulated.null, groups) for _, groups in options]
    good = [i for i, power in enumerate(powers) if power >= GOOD]
    best = good[0] if good else int(np.argmax(powers))
    return Resolution(*options[best], powers[best], simulated, found)


def null_groups(null: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Tell which groups are null, all of whose neurons are, (L, g), from (L, p)."""
    return ~joined(np.logical_or, ~null, groups)


def _reachable_power(examined: Layer, found: Found, null: np.ndarray, groups: np.ndarray) -> float:
    """Mean power of the longest heads with at most a tenth of nulls, ranked by models that saw other responses."""
    evidence, unseen = examined.describe(found, groups), null_groups(null, groups)
    half = np.arange(len(null)) % 2 == 0
    power = []
    for part in (half, ~half):
        model = NullModel.fit(evidence[~part], unseen[~part])
        for probability, empty in zip(model.predict(evidence[part]), unseen[part], strict=True):
            head = head_of(-probability, empty)
            power.append((head & ~empty).sum() / max((~empty).sum(), 1))
    return float(np.mean(power))
