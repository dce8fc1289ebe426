"""Neurons null for all of several responses: how to combine what is known for each. For the sequential objective.

Equation (3) asks for the neurons that matter to any of the next layer's critical neurons. On real layers, fifteen
responses at a time are simulated on a fifth of the groups of neurons, so that all others are null for each of them;
half of the times with families that no layer is calibrated on.
"""

from __future__ import annotations

import numpy as np
from common import Results, Scale, main
from networks import pairs, recorded
from tasks import TASKS

import neucept
from neucept.calibration import FAMILIES, HELD_OUT, gather, simulate
from neucept.knockoffs import largest_set, prepare

QS = (0.1, 0.2, 0.4)
RESPONSES, TARGETS = 15, 12
WAYS = {
    "mean": lambda p: p.mean(axis=0),
    "least": lambda p: p.min(axis=0),
    "second least": lambda p: np.sort(p, axis=0)[1],
    "harmonic mean": lambda p: 1 / (1 / np.maximum(p, 1e-9)).mean(axis=0),
}


def measure(recording: neucept.Recording, layer: str, label: int) -> dict[str, list[float]]:
    """Return the false discovery rate and power over groups, for each way of joining and level."""
    Z = prepare(np.asarray(recording.activations(layer)[recording.samples(label)])).Z
    calibration = neucept.calibrate(recording, layer, target=label, progress=False)
    groups, rows = calibration.groups, calibration.rows
    count = len(calibration.sizes)
    rng = np.random.default_rng(5)
    results: dict[str, list[tuple[float, float]]] = {}
    for target in range(TARGETS):
        pool = rng.permutation(count)[: max(4, count // 5)]
        columns = np.flatnonzero(np.isin(groups, pool))
        members, within = np.unique(groups[columns], return_inverse=True)
        simulated = simulate(Z[:, columns], within, rng, FAMILIES if target % 2 else HELD_OUT)
        live = np.flatnonzero(~simulated.null.all(axis=1))
        chosen = rng.permutation(live)[:RESPONSES]
        null = np.ones(count, bool)
        null[members] = simulated.null[chosen].all(axis=0)
        evidence, _ = gather(Z[rows], simulated.Y[np.ix_(rows, chosen)], groups, target)
        probabilities = calibration.model.predict(evidence)
        for way, join in WAYS.items():
            joined = join(probabilities)
            for q in QS:
                mask = largest_set(joined, calibration.level(q))
                rates = float(mask[null].sum() / max(mask.sum(), 1)), float(mask[~null].mean())
                results.setdefault(f"{way} {q}", []).append(rates)
    return {key: np.mean(values, axis=0).round(4).tolist() for key, values in results.items()}


def run(scale: Scale) -> dict:
    cells = {}
    for task, seed in pairs(scale, "lenet", "vgg11")[: 2 if scale.reduced else None]:
        if seed > 1:
            continue
        for name, layer in TASKS[task].layers:
            cells[f"{task} {seed} pkt {name}"] = lambda t=task, s=seed, at=layer: measure(
                recorded(t, s, "pkt", scale), at, 0
            )
    return Results("several_responses", scale).fill(cells)


if __name__ == "__main__":
    main(__file__, run)
