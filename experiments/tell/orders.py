"""Tell which orders of neurons carry the decision."""

from __future__ import annotations

from typing import Any

import numpy as np
from claims import table
from common import plus_minus, signed
from orders import COUNTS
from tasks import TASKS
from template import Template

OURS = ("sufficient", "robust", "contribution", "information", "evidence")
MEASURES = {"kept": "kept", "constant": "constant", "r2": "R²"}
BARS = {"lenet": ("conv3", 20), "vgg11": ("conv8", 100)}
AGAINST = "against the class"


def tell(results: dict[str, Any]) -> str:
    template = Template("orders")
    known = [(g, task) for g in ("given", "fresh", "vgg11") for task in BARS if cells(results, g, task)]
    fresh = [(group, task) for group, task in known if group != "given"]
    return template.fill(
        given="\n\n".join(of_networks(template, results, *one) for one in known if one[0] == "given"),
        fresh="\n\n".join(of_networks(template, results, *one) for one in fresh),
        bars="\n".join(bar(template, results, *one) for one in known),
        noise="\n\n".join(noise(template, results, *one) for one in known),
    )


def cells(results: dict[str, Any], group: str, task: str) -> dict[str, list[dict[str, Any]]]:
    """Return the networks of each pair, {seed: [one, other]}."""
    found: dict[str, list[dict[str, Any]]] = {}
    for key, cell in results.items():
        own, of, seed, _ = key.split()
        if (own, of) == (group, task):
            found.setdefault(seed, []).append(cell)
    return found


def named(results: dict[str, Any], group: str, task: str) -> str:
    count = len(cells(results, group, task))
    whose = "that lie with the data" if group == "given" else "trained afresh"
    return f"{count} {'pair' if count == 1 else 'pairs'} of {TASKS[task].model}s {whose}"


def by_pair(
    results: dict[str, Any], group: str, task: str, layer: str, what: str, method: str, count: int
) -> list[float]:
    """Return a measure at a number of neurons, one value per pair."""
    place = COUNTS[task].index(count)
    return [
        float(np.mean([cell[layer][what][method][place] for cell in pair]))
        for pair in cells(results, group, task).values()
    ]


def methods(results: dict[str, Any], group: str, task: str) -> list[str]:
    first = next(iter(cells(results, group, task).values()))[0]
    measured = next(iter(first.values()))["kept"]
    return [*OURS, *(method for method in measured if method not in OURS)]


def of_networks(template: Template, results: dict[str, Any], group: str, task: str) -> str:
    """Return a table, one row per method."""
    layers, count = [name for name, _ in TASKS[task].layers], BARS[task][1]
    rows = [
        [
            f"`{method}`" if method in OURS else method,
            *(
                plus_minus(by_pair(results, group, task, layer, what, method, count))
                for layer in layers
                for what in MEASURES
            ),
        ]
        for method in methods(results, group, task)
    ]
    head = [f"first {count}", *(f"{layer}: {MEASURES[what]}" for layer in layers for what in MEASURES)]
    return template.fill("table", networks=named(results, group, task), table=table(head, rows))


def bar(template: Template, results: dict[str, Any], group: str, task: str) -> str:
    layer, count = BARS[task]
    kept = {m: by_pair(results, group, task, layer, "kept", m, count) for m in methods(results, group, task)}
    other = max((m for m in kept if m not in OURS), key=lambda m: float(np.mean(kept[m])))
    ours = kept["sufficient"]
    return template.fill(
        "bars",
        layer=layer,
        count=count,
        networks=named(results, group, task),
        ours=plus_minus(ours, 3),
        other=other,
        best=plus_minus(kept[other], 3),
        difference=signed(list(np.subtract(ours, kept[other])), 3),
        random=plus_minus(kept["random"], 3),
    )


def noise(template: Template, results: dict[str, Any], group: str, task: str) -> str:
    areas = {
        signs: {
            method: [
                float(np.mean([layer[f"noise, {signs}"][method] for cell in pair for layer in cell.values()]))
                for pair in cells(results, group, task).values()
            ]
            for method in next(iter(next(iter(cells(results, group, task).values()))[0].values()))[f"noise, {signs}"]
        }
        for signs in ("both", "positive")
    }
    ranked = {signs: sorted(one, key=lambda m: -float(np.mean(one[m]))) for signs, one in areas.items()}
    rows = [
        [
            f"`{method}`" if method in OURS else method,
            *(f"{plus_minus(areas[s][method], 3)} ({ranked[s].index(method) + 1})" for s in areas),
        ]
        for method in ranked["both"]
    ]
    both = areas["both"]
    other = next(method for method in ranked["both"] if method not in (*OURS, AGAINST))
    return template.fill(
        "noise",
        networks=named(results, group, task),
        table=table(["method", "noise of both signs", "the published noise"], rows),
        other=other,
        difference=signed(list(np.subtract(both["robust"], both[other])), 3),
        saliency=signed(list(np.subtract(both["robust"], both["saliency"])), 3),
        against=plus_minus(areas["positive"][AGAINST], 3),
        against_both=plus_minus(both[AGAINST], 3),
    )
