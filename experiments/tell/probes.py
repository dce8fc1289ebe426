"""Tell Figure 10: linear probes on the labels of the task and of the prior task."""

from __future__ import annotations

from typing import Any

import numpy as np
from claims import NO, NOT_IN_THE_PAPER, PARTLY, YES, Claim, counted, table
from common import plus_minus, signed
from probes import KINDS, LAYERS
from read.probes import gap, holds, probed, side, values
from tasks import TASKS
from template import Template

VERDICT = {
    YES: "distinguish A from B, more clearly than probes on the 2 labels of the task",
    PARTLY: "mostly distinguish A from B, more clearly than probes on the 2 labels of the task",
    NO: "do not distinguish A from B more clearly than probes on the 2 labels of the task",
}
SIDES = {1: "larger at", 0: "not shown to differ at", -1: "smaller at"}
DIFFERENCES = [(what, labels) for what in ("loss", "accuracy") for labels in ("2", "10")]
HEAD = ["layer", *(f"{what}, {labels} labels" for what, labels in DIFFERENCES)]


def claims(results: dict[str, Any]) -> list[Claim]:
    rows = []
    for task in measured(results):
        layers = probed(results, task, "unpooled")
        ends = " and ".join(
            f"{signed(gap(results, task, paper, 'unpooled', '10'), 3)} on 10 labels,"
            f" {signed(gap(results, task, paper, 'unpooled', '2'), 3)} on 2 at {paper}"
            for paper in dict.fromkeys((layers[-1], layers[0]))
        )
        in_the_paper = task == "lenet"
        rows.append(
            Claim(
                source="Figure 10" if in_the_paper else f"Figure 10 with {TASKS[task].model}",
                what="linear probes differ between A and B on the 10 labels of the prior task, hardly on the 2 of the"
                " task",
                value=f"loss of B minus A {ends} ({pairs(results, task)})",
                holds=holds(results, task) if in_the_paper else NOT_IN_THE_PAPER,
            )
        )
    return rows


def tell(results: dict[str, Any]) -> str:
    template, tasks = Template("probes"), measured(results)
    return template.fill(
        outcomes=" ".join(outcome(template, results, task) for task in tasks),
        unpooled=differences(results, "unpooled"),
        pooled=differences(results, "pooled"),
        all=all_values(results),
    )


def measured(results: dict[str, Any]) -> list[str]:
    return [task for task in LAYERS if probed(results, task, "unpooled")]


def pairs(results: dict[str, Any], task: str) -> str:
    count = max(len(gap(results, task, paper, "unpooled", "10")) for paper in LAYERS[task])
    return f"{counted(count, 'pair')} of {TASKS[task].model}s"


def outcome(template: Template, results: dict[str, Any], task: str) -> str:
    pooled = contradicted(results, task)
    return template.fill(
        "outcome",
        verdict=VERDICT[holds(results, task)],
        pairs=pairs(results, task),
        ten=by_side(results, task, "10", (1, 0, -1)),
        two=by_side(results, task, "2", (1, -1)),
        pooled=template.fill("pooled", layers="; ".join(pooled)) if pooled else "",
    )


def by_side(results: dict[str, Any], task: str, labels: str, told: tuple[int, ...]) -> str:
    """Say at which layers B's loss is larger, smaller or neither; where it is neither and not told, say only that."""
    gaps = {paper: gap(results, task, paper, "unpooled", labels) for paper in probed(results, task, "unpooled")}
    places = []
    for sign in told:
        layers = [f"{paper} {signed(values, 3)}" for paper, values in gaps.items() if side(values) == sign]
        places += [f"{SIDES[sign]} {', '.join(layers)}"] if layers else []
    if not places:
        largest = max(gaps, key=lambda paper: abs(np.mean(gaps[paper])))
        return f"not shown to differ at any layer (the most: {largest} {signed(gaps[largest], 3)})"
    untold = [paper for paper, values in gaps.items() if side(values) not in told]
    return "; ".join(places + ["not shown to differ elsewhere"] * bool(untold))


def contradicted(results: dict[str, Any], task: str) -> list[str]:
    """Name the layers whose pooled probes do not distinguish A from B better on 10 labels than on 2."""
    layers = []
    for paper in probed(results, task, "pooled"):
        two, ten = (gap(results, task, paper, "pooled", labels) for labels in ("2", "10"))
        if side(ten) <= 0 or np.mean(ten) <= abs(np.mean(two)):
            layers.append(f"{signed(two, 3)} on 2 labels, {signed(ten, 3)} on 10 at {paper}")
    return layers


def differences(results: dict[str, Any], pooling: str) -> str:
    rows = [
        [
            f"{TASKS[task].model}, {paper}",
            *(signed(gap(results, task, paper, pooling, labels, what), 3) for what, labels in DIFFERENCES),
        ]
        for task in measured(results)
        for paper in probed(results, task, pooling)
    ]
    return table(HEAD, rows)


def all_values(results: dict[str, Any]) -> str:
    rows = []
    for task in measured(results):
        for paper in LAYERS[task]:
            poolings = {"unpooled": ""}
            if any(key.endswith(f"{paper} pooled") for key in results):
                poolings["pooled"] = ", pooled"
            for pooling, words in poolings.items():
                for labels in ("2", "10"):
                    cells = [
                        plus_minus(values(results, task, name, paper, pooling, labels, what), 3)
                        for what in ("loss", "accuracy")
                        for name in KINDS
                    ]
                    rows.append([f"{TASKS[task].model}, {paper}{words}", labels, *cells])
    return table(["layer", "labels", "loss, A", "loss, B", "accuracy, A", "accuracy, B"], rows)
