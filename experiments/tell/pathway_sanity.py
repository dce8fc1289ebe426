"""Tell the sanity check: what the maps of pathways keep when weights are drawn anew."""

from __future__ import annotations

from typing import Any

import numpy as np
from claims import NO, PARTLY, YES, Claim, counted, table
from common import plus_minus
from pathway_sanity import METHODS
from read.pathway_sanity import MEASURES, OURS, PUBLISHED, outcome, paired, steps_of, values
from template import Template

COMPARED = (*OURS, "gradient")
VERDICT = {YES: "The claim holds.", PARTLY: "The claim holds in part.", NO: "The claim does not hold."}
FALL = {True: "grow less alike", False: "are not shown to grow less alike"}
REACH = {True: "and reach", False: "but do not reach"}


def claims(results: dict[str, Any]) -> list[Claim]:
    steps = steps_of(results)
    if len(steps) < 2:
        return []
    courses = [
        f"{name} {' to '.join(plus_minus(values(results, name, 'spearman', s)) for s in (steps[0], steps[-1]))}"
        for name in COMPARED
    ]
    return [
        Claim(
            source="Cascading randomisation",
            what="similarity to the trained network's map falls, abs. Spearman from 0.50 to 0.12 and from 0.51 to 0.15"
            " (gradient from 0.49 to 0.04)",
            value=f"{'; '.join(courses)} (first to last layer, VGG11, {draws(results)} draws)",
            holds=outcome(results)[0],
        )
    ]


def tell(results: dict[str, Any]) -> str:
    template, steps = Template("pathway_sanity"), steps_of(results)
    first, last = steps[0], steps[-1]
    verdict, fell, reached = outcome(results)
    return template.fill(
        verdict=VERDICT[verdict],
        fall=FALL[fell],
        reach=REACH[reached],
        at_the_end=at(results, last),
        images=len(results["contributing"]["share"]),
        draws=draws(results),
        table=main_table(results, first, last),
        falls=[np.mean(paired(results, (name, first), (name, last))) for name in COMPARED],
        before=steps[-2],
        last=last,
        before_the_end=at(results, steps[-2]),
        why=why(template, results["contributing"]),
        steps="\n\n".join(steps_table(results, measure) for measure in MEASURES),
    )


def draws(results: dict[str, Any]) -> int:
    return len(values(results, OURS[0], "spearman", steps_of(results)[-1]))


def at(results: dict[str, Any], step: int) -> str:
    """Return abs. Spearman after a step."""
    ours, other, gradient = (np.mean(values(results, name, "spearman", step)) for name in COMPARED)
    return f"{ours:.2f} (NeuronMCT) and {other:.2f} (NeuronIntGrad), the gradient's {gradient:.2f}"


def main_table(results: dict[str, Any], first: int, last: int) -> str:
    rows = []
    for method in METHODS:
        rows.append(
            [
                method,
                *(plus_minus(values(results, method, "spearman", step)) for step in (first, last)),
                plus_minus(paired(results, (method, first), (method, last))),
                "{:.3f} to {:.3f}".format(*PUBLISHED[method]) if method in PUBLISHED else "",
                "" if method == "gradient" else plus_minus(paired(results, (method, last), ("gradient", last))),
            ]
        )
    head = ["abs. Spearman", f"{counted(first, 'layer')} drawn anew", f"all {last}", "fall", "the paper (ResNet50)"]
    return table([*head, f"minus gradient, all {last}"], rows)


def steps_table(results: dict[str, Any], measure: str) -> str:
    steps = steps_of(results)
    rows = [[m, *(f"{np.mean(values(results, m, measure, step)):.2f}" for step in steps)] for m in METHODS]
    return table([f"{MEASURES[measure]}, layers drawn anew", *map(str, steps)], rows)


def why(template: Template, contributing: dict[str, Any]) -> str:
    """Tell why the sparsity is not the paper's."""
    shares, apart = contributing["share"], contributing["apart"]["0.7"]
    return template.fill(
        "why",
        share=plus_minus([100 * share for share in shares], 1),
        same="is exactly" if apart == 0 else "is nearly",
        images=len(shares),
        apart=apart,
    )
