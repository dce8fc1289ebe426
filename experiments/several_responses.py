"""Null for all of several responses: how to join what is known of each? Evidence for the sequential objective.

Equation (3) asks for the neurons that matter to any of the next layer's critical neurons. On real layers, fifteen
responses at a time are planted on a fifth of the groups of neurons, so that all others are null for every one of them;
half of the times of families that no layer is calibrated on.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from common import Results, Scale, Verdict, main, shown
from networks import TASKS, pairs, recorded

import neucept
from neucept.calibration.calibration import gather
from neucept.calibration.simulation import FAMILIES, HELD_OUT, plant
from neucept.knockoffs import largest_set, prepare

TITLE = "Several responses at once"
CLAIM = "Nothing: the paper leaves equation (3), which has several responses, aside as too costly."
QS = (0.1, 0.2, 0.4)
RESPONSES, TARGETS = 15, 12
WAYS = {
    "mean": lambda p: p.mean(axis=0),
    "least": lambda p: p.min(axis=0),
    "second least": lambda p: np.sort(p, axis=0)[1],
    "harmonic mean": lambda p: 1 / (1 / np.maximum(p, 1e-9)).mean(axis=0),
}


def measure(recording: neucept.Recording, layer: str, label: int) -> dict[str, list[float]]:
    """Give the false discovery rate and power over groups, for each way of joining and level."""
    Z = prepare(np.asarray(recording.activations(layer)[recording.samples(label)])).Z
    calibration = neucept.calibrate(recording, layer, target=label, progress=False)
    groups, rows = calibration.groups, calibration.rows
    count = len(calibration.sizes)
    rng = np.random.default_rng(5)
    found: dict[str, list[tuple[float, float]]] = {}
    for target in range(TARGETS):
        pool = rng.permutation(count)[: max(4, count // 5)]
        columns = np.flatnonzero(np.isin(groups, pool))
        members, within = np.unique(groups[columns], return_inverse=True)
        planted = plant(Z[:, columns], within, rng, FAMILIES if target % 2 else HELD_OUT)
        live = np.flatnonzero(~planted.null.all(axis=1))
        chosen = rng.permutation(live)[:RESPONSES]
        null = np.ones(count, bool)
        null[members] = planted.null[chosen].all(axis=0)
        evidence, _, _, _ = gather(Z[rows], planted.Y[np.ix_(rows, chosen)], groups, target)
        probabilities = calibration.model.predict(evidence)
        for way, join in WAYS.items():
            joined = join(probabilities)
            for q in QS:
                mask = largest_set(joined, calibration.level(q))
                rates = float(mask[null].sum() / max(mask.sum(), 1)), float(mask[~null].mean())
                found.setdefault(f"{way} {q}", []).append(rates)
    return {key: np.mean(values, axis=0).round(4).tolist() for key, values in found.items()}


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


def draw(found: dict, path: Path) -> None:
    """Nothing: a table says it."""


DEFAULT = "harmonic mean"  # what `discover` uses


def rates(found: dict, way: str, q: float, which: int) -> list[float]:
    """FDR (0) or power (1), one value a network, the mean over its layers."""
    values: dict[str, list[float]] = {}
    for key, cell in found.items():
        values.setdefault(" ".join(key.split()[:2]), []).append(cell[f"{way} {q}"][which])
    return [float(np.mean(mine)) for mine in values.values()]


def above(found: dict, way: str) -> int:
    """How many cells (layer, q) have an FDR above q."""
    return sum(cell[f"{way} {q}"][0] > q for cell in found.values() for q in QS)


def measured_on(found: dict) -> str:
    names = [key.split()[:2] for key in found]
    count = {task: len({seed for name, seed in names if name == task}) for task in dict.fromkeys(n for n, _ in names)}
    said = " and ".join(f"{n} {TASKS[task].architecture.__name__}{'s' * (n > 1)}" for task, n in count.items())
    return f"{len(found)} layer{'s' * (len(found) > 1)} of {said}"


def verdicts(found: dict) -> list[Verdict]:
    if not found:
        return []
    powers = " and ".join(f"{shown(rates(found, DEFAULT, q, 1))} at q = {q}" for q in QS[:2])
    return [
        Verdict(
            "Equation (3), several responses",
            "nothing: left aside as too costly",
            f"joined by the {DEFAULT}, FDR above q in {above(found, DEFAULT)} of {len(found) * len(QS)} cells; power"
            f" {powers} ({measured_on(found)})",
            "not in the paper",
        )
    ]


def finding(found: dict) -> str:
    cells = len(found) * len(QS)
    kept = above(found, DEFAULT) == 0
    powers = [cell[f"{DEFAULT} {QS[0]}"][1] for cell in found.values()]
    others = ", ".join(f"{above(found, way)} by the {way}" for way in WAYS if way != DEFAULT)
    lines = [
        f"Joined by the harmonic mean, as `discover` does, the promise {'is kept' if kept else 'is not always kept'}:"
        f" the false discovery rate is above q in {above(found, DEFAULT)} of {cells} cells (layer and q; {others})."
        f" The power at q = {QS[0]} varies from {min(powers):.2f} to {max(powers):.2f} between the layers.",
        "",
        f"Measured on {measured_on(found)} (PKT, inputs predicted as class 0), {TARGETS} targets a layer of {RESPONSES}"
        " responses each; mean over the networks with its interval:\n",
        "| joined by | " + " | ".join(f"FDR at q = {q} | power" for q in QS) + " | FDR above q |",
        "|---|" + "---|---|" * len(QS) + "---|",
    ]
    for way in WAYS:
        each = [shown(rates(found, way, q, which)) for q in QS for which in (0, 1)]
        lines.append(f"| {way} | {' | '.join(each)} | {above(found, way)} of {cells} |")
    lines += [
        "",
        "<details><summary>Layer by layer, joined by the harmonic mean</summary>\n",
        "| layer | " + " | ".join(f"FDR, power at q = {q}" for q in QS) + " |",
        "|---|" + "---|" * len(QS),
    ]
    for key, cell in found.items():
        task, seed, _, paper = key.split()
        said = " | ".join("{:.3f}, {:.2f}".format(*cell[f"{DEFAULT} {q}"]) for q in QS)
        lines.append(f"| {TASKS[task].architecture.__name__} {seed}, {paper} | {said} |")
    return "\n".join([*lines, "", "</details>"])


if __name__ == "__main__":
    main(sys.modules[__name__])
