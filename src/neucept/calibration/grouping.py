"""The finest groups of neurons that can be told apart in a layer."""

from __future__ import annotations

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from neucept.calibration.evidence import group_importance, importance
from neucept.calibration.simulation import FAMILIES, simulate

CUTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)  # average linkage on 1 - |correlation|
FEWEST_GROUPS = 20
GOOD = 0.6  # power that the ranking alone must be able to reach at a false discovery proportion of 0.1


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


def reachable_power(score: np.ndarray, null: np.ndarray, proportion: float = 0.1) -> float:
    """Power of the longest head of a ranking, (g,), with at most that proportion of nulls."""
    order = np.argsort(-score)
    false = np.cumsum(null[order]) / np.arange(1, len(order) + 1)
    fit = np.flatnonzero(false <= proportion)
    return float((~null[order[: fit[-1] + 1]]).sum() / max((~null).sum(), 1)) if len(fit) else 0.0


def resolution(Z: np.ndarray, rng: np.random.Generator) -> tuple[float, np.ndarray, float]:
    """Choose the finest grouping whose neurons can be told apart.

    A dozen responses are simulated for every candidate. The finest grouping is taken whose ranking by importance could
    reach a mean power of 0.6 at a false discovery proportion of 0.1; where none does, the one of largest power.

    Returns
    -------
    cut : float
        Where the tree was cut; 0 for single neurons.
    groups : array
        (p,) group of each neuron.
    power : float
        The power that the ranking could reach.
    """
    options = candidates(Z)
    kinds = {name: FAMILIES[name] for name in ("linear", "deep ReLU network", "products")}
    simulated = [
        simulate(Z, groups, rng, kinds, shares=(0.1, 0.3), noises=(0.0, 0.5), nothing=0) for _, groups in options
    ]
    scores, _ = importance(Z, np.hstack([s.Y for s in simulated]))
    powers = []
    for (_, groups), known, part in zip(options, simulated, np.split(scores, len(options)), strict=True):
        pairs = zip(group_importance(part, groups), known.null, strict=True)
        powers.append(float(np.mean([reachable_power(score, null) for score, null in pairs])))
    good = [i for i, power in enumerate(powers) if power >= GOOD]
    best = good[0] if good else int(np.argmax(powers))
    return options[best][0], options[best][1], powers[best]
