"""Numbers of the figures and tables from results/clusters.json."""

from __future__ import annotations

import numpy as np
from clusters import MAIN_TOP, OTHERS, OURS, Found
from common import interval
from tasks import TASKS

SHOWN_K = 5
METHODS = list(dict.fromkeys(m.name.partition(" #")[0] for m in (*OURS, *OTHERS)))


def values(results: Found, task: str, kind: str, what: str, method: str) -> np.ndarray:
    """Return a measure for each seed and K, (seeds, 12); ``what`` is the key in a cell."""
    group = "NeuCEPT" if method == OURS[0].name else "others"
    cells = [
        cell for key, cell in sorted(results.items()) if key.startswith(f"{task} ") and key.endswith(f"{kind} {group}")
    ]
    return np.array([[float(x) for x in cell[what][method].split()] for cell in cells])


def difference(results: Found, task: str, what: str, method: str) -> np.ndarray:
    """Return normal minus PKT, seed by seed, (seeds, 12)."""
    return values(results, task, "normal", what, method) - values(results, task, "pkt", what, method)


def tasks_in(results: Found) -> list[str]:
    return [task for task in TASKS if any(key.startswith(f"{task} ") for key in results)]


def places(task: str) -> list[tuple[str, str]]:
    return [(layer, label.replace(" ", "-")) for layer, _ in TASKS[task].layers for label in TASKS[task].classes]


def at_k(series: np.ndarray) -> np.ndarray:
    """One number per seed, at K = 5."""
    return series[:, SHOWN_K - 1]


def entropies_at_k(results: Found, task: str) -> tuple[dict[str, list[float]], dict[str, np.ndarray]]:
    """Return CE of PKT networks, one number per case, and differences, (cases, seeds), by method."""
    keys = [f"{layer} {label} {MAIN_TOP[task]} kmeans ce" for layer, label in places(task)]
    pkt = {m: [float(at_k(values(results, task, "pkt", key, m)).mean()) for key in keys] for m in METHODS}
    return pkt, {m: np.array([at_k(difference(results, task, key, m)) for key in keys]) for m in METHODS}


def against_variance(results: Found, task: str) -> np.ndarray:
    """Differences of ours at the first layer, both classes together, minus those of the largest variance, by seed."""
    _, differences = entropies_at_k(results, task)
    return (differences[METHODS[0]][:2] - differences["variance"][:2]).sum(axis=0)


def counts(results: Found, task: str, method: str) -> dict[str, int]:
    """Count the cases in which a method's difference is above 0, surely above 0, and its CE the lowest of all."""
    pkt, differences = entropies_at_k(results, task)
    own = differences[method]
    return {
        "cases": len(own),
        "above": int((own.mean(axis=1) > 0).sum()),
        "surely": sum(interval(one)[0] > interval(one)[1] for one in own),
        "lowest": sum(pkt[method][i] <= min(pkt[m][i] for m in METHODS) for i in range(len(own))),
    }


def n_pairs(results: Found, task: str) -> int:
    return entropies_at_k(results, task)[1][METHODS[0]].shape[1]
