"""Numbers of the figures and tables from results/roar.json."""

from __future__ import annotations

from typing import Any

import numpy as np
from roar import METHODS, SHARES
from scipy import stats

OURS = METHODS[:2]


def by_seed(results: dict[str, Any], data: str, method: str, share: float) -> dict[int, float]:
    """Return {seed: accuracy in percent}."""
    keys = {key: key.split(maxsplit=3) for key in results}
    return {
        int(k[2]): 100 * results[key] for key, k in keys.items() if [k[0], k[1], k[3]] == [data, str(share), method]
    }


def values(results: dict[str, Any], data: str, method: str, share: float) -> list[float]:
    return list(by_seed(results, data, method, share).values())


def shares_of(results: dict[str, Any], data: str) -> list[float]:
    """Return the shares at which every method has been measured."""
    return [share for share in SHARES if all(values(results, data, method, share) for method in METHODS)]


def difference(results: dict[str, Any], data: str, a: str, b: str) -> tuple[float, float]:
    """Mean over the shares of a's accuracy minus b's, and half of its 95% interval over networks (t, pooled).

    Only of networks, by their seed, that both have; of one network a share there is no interval.
    """
    rows = []
    for share in shares_of(results, data):
        ours, theirs = by_seed(results, data, a, share), by_seed(results, data, b, share)
        rows.append(np.array([ours[seed] - theirs[seed] for seed in ours if seed in theirs]))
    rows = [row for row in rows if len(row)]
    if not rows:
        return float("nan"), float("nan")
    mean = float(np.mean([row.mean() for row in rows]))
    freedom = sum(len(row) - 1 for row in rows)
    if not freedom:
        return mean, float("nan")
    variance = sum(float(np.square(row - row.mean()).sum()) for row in rows) / freedom
    error = np.sqrt(variance * sum(1 / len(row) for row in rows)) / len(rows)
    return mean, float(stats.t.ppf(0.975, freedom) * error)


def complete(results: dict[str, Any], data: str) -> bool:
    networks = {len(values(results, data, method, share)) for method in METHODS for share in SHARES}
    return len(networks) == 1 and networks.pop() > 0


def outcome(results: dict[str, Any], data: str) -> str:
    """Return whether both, one or none of the pathway gradients leave less accuracy than gradients, surely."""
    less = [difference(results, data, ours, "gradient") for ours in OURS]
    surely = [mean < -half for mean, half in less]
    if all(surely) and complete(results, data):
        return "yes"
    return "partly" if any(surely) else "no"
