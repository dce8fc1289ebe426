"""Tell how several responses are combined."""

from __future__ import annotations

from typing import Any

import numpy as np
from claims import NOT_IN_THE_PAPER, Claim, counted, table
from common import plus_minus
from several_responses import QS, RESPONSES, TARGETS, WAYS
from tasks import TASKS
from template import Template

DEFAULT = "harmonic mean"  # what `discover` uses


def claims(results: dict[str, Any]) -> list[Claim]:
    powers = " and ".join(f"{plus_minus(rates(results, DEFAULT, q, 1))} at q = {q}" for q in QS[:2])
    return [
        Claim(
            source="Equation (3), several responses",
            what="nothing: left aside as too costly",
            value=f"combined by the {DEFAULT}, FDR above q in {above(results, DEFAULT)} of {len(results) * len(QS)}"
            f" cells; power {powers} ({networks(results)})",
            holds=NOT_IN_THE_PAPER,
        )
    ]


def tell(results: dict[str, Any]) -> str:
    cells = len(results) * len(QS)
    powers = [cell[f"{DEFAULT} {QS[0]}"][1] for cell in results.values()]
    rows = [
        [
            way,
            *(plus_minus(rates(results, way, q, which)) for q in QS for which in (0, 1)),
            f"{above(results, way)} of {cells}",
        ]
        for way in WAYS
    ]
    return Template("several_responses").fill(
        kept="holds" if above(results, DEFAULT) == 0 else "does not always hold",
        above=above(results, DEFAULT),
        cells=cells,
        others=", ".join(f"{above(results, way)} by the {way}" for way in WAYS if way != DEFAULT),
        q=QS[0],
        low=min(powers),
        high=max(powers),
        networks=networks(results),
        targets=TARGETS,
        responses=RESPONSES,
        ways=table(["combined by", *(h for q in QS for h in (f"FDR at q = {q}", "power")), "FDR above q"], rows),
        layers=layers_table(results),
    )


def networks(results: dict[str, Any]) -> str:
    seeds: dict[str, set[str]] = {}
    for key in results:
        task, seed = key.split()[:2]
        seeds.setdefault(task, set()).add(seed)
    models = " and ".join(counted(len(numbers), TASKS[task].model) for task, numbers in seeds.items())
    return f"{counted(len(results), 'layer')} of {models}"


def layers_table(results: dict[str, Any]) -> str:
    rows = []
    for key, cell in results.items():
        task, seed, _, paper = key.split()
        cells = ["{:.3f}, {:.2f}".format(*cell[f"{DEFAULT} {q}"]) for q in QS]
        rows.append([f"{TASKS[task].model} {seed}, {paper}", *cells])
    return table(["layer", *(f"FDR, power at q = {q}" for q in QS)], rows)


def rates(results: dict[str, Any], way: str, q: float, which: int) -> list[float]:
    """FDR (0) or power (1), one value per network, the mean over its layers."""
    values: dict[str, list[float]] = {}
    for key, cell in results.items():
        values.setdefault(" ".join(key.split()[:2]), []).append(cell[f"{way} {q}"][which])
    return [float(np.mean(group)) for group in values.values()]


def above(results: dict[str, Any], way: str) -> int:
    """How many cells (layer, q) have an FDR above q."""
    return sum(cell[f"{way} {q}"][0] > q for cell in results.values() for q in QS)
