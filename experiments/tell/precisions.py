"""Tell Appendices F and H.2: which precision is asked, and which is realised."""

from __future__ import annotations

from typing import Any

import numpy as np
from claims import NO, YES, Claim, counted, table
from common import plus_minus, signed
from precisions import GAUSSIAN_LEVELS, KINDS, PRECISIONS, REPETITIONS, WAYS
from read.precisions import (
    SHORT,
    column,
    exceeded,
    gained,
    keeps,
    loose,
    lost,
    missed,
    of_task,
    realised,
    supported,
    tasks_of,
)
from tasks import TASKS
from template import Template

PUBLISHED, OURS = "uncalibrated", "precision"  # columns of the precision realised


def claims(results: dict[str, Any]) -> list[Claim]:
    rows = []
    for task in tasks_of(results):
        cells = of_task(results, task)
        if estimated := loose(cells, "estimated", "fdr"):
            rows.append(
                Claim(
                    source=f"Appendix F, covariances of {TASKS[task].model}",
                    what="quotes Candès and others: FDR rarely violated with a loosely estimated covariance, 20% less"
                    " power",
                    value=f"Gaussian neurons: FDR minus q {signed(estimated, 3)} with the loose estimate,"
                    f" {signed(loose(cells, 'exact', 'fdr'), 3)} with the exact covariance; power"
                    f" {signed(gained(cells, 'power'), 3)} ({len(estimated)} networks)",
                    holds=YES if supported(cells) else NO,
                )
            )
    for task in tasks_of(results):
        if eq9 := realised(results, task, PUBLISHED):
            rows.append(
                Claim(
                    source=f"Appendix H.2, {TASKS[task].model}",
                    what="the precision asked is kept (Corollary 1, by knockoffs)",
                    value=f"asked {PRECISIONS[task][0]} and {PRECISIONS[task][-1]}: equation (9) realises"
                    f" {both_ends(results, task, PUBLISHED)} on simulated responses, the calibrated selection"
                    f" {both_ends(results, task, OURS)} ({len(eq9)} networks)",
                    holds=YES if keeps(results, task, PUBLISHED) else NO,
                )
            )
    return rows


def tell(results: dict[str, Any]) -> str:
    template, tasks = Template("precisions"), tasks_of(results)
    papers = dict.fromkeys(key.split()[4] for key in results if key.startswith("gaussian "))
    (over, cells), (over_exact, _) = exceeded(results, "estimated"), exceeded(results, "exact")
    by_layer = [f"{paper} {signed(loose(results, 'estimated', 'fdr', f' {paper} '), 3)}" for paper in papers]
    return template.fill(
        guarantees=" ".join(guarantee(template, results, task) for task in tasks),
        covariances=" ".join(covariance(template, of_task(results, task), task) for task in tasks),
        ends=ends_table(results),
        short="\n".join(short(template, results, task) for task in tasks),
        gained=signed(gained(results, "fdr"), 3),
        by_layer=", ".join(by_layer),
        repetitions=REPETITIONS,
        over=over,
        cells=cells,
        margin=SHORT,
        over_exact=over_exact,
        swept=swept_table(results),
        top_ten=top_ten_table(results),
        gaussian=gaussian_table(results),
    )


def both_ends(results: dict[str, Any], task: str, name: str) -> str:
    """Return the precision realised at the lowest and at the highest precision asked."""
    return " and ".join(plus_minus(realised(results, task, name, PRECISIONS[task][end])) for end in (0, -1))


def guarantee(template: Template, results: dict[str, Any], task: str) -> str:
    return template.fill(
        "guarantee",
        networks=counted(len(realised(results, task, PUBLISHED)), TASKS[task].model),
        published="keeps" if keeps(results, task, PUBLISHED) else "does not keep",
        ours="does" if keeps(results, task, OURS) else "does not",
        low=PRECISIONS[task][0],
        high=PRECISIONS[task][-1],
        eq9=both_ends(results, task, PUBLISHED),
        calibrated=both_ends(results, task, OURS),
    )


def covariance(template: Template, cells: dict[str, Any], task: str) -> str:
    exact = loose(cells, "exact", "fdr")
    return template.fill(
        "covariance",
        verdict="is supported" if supported(cells) else "is not supported",
        networks=counted(len(exact), TASKS[task].model),
        loose=signed(loose(cells, "estimated", "fdr"), 3),
        exact=signed(exact, 3),
        power="power is lost" if lost(cells) else "no loss of power is seen",
        gained=signed(gained(cells, "power"), 3),
    )


def short(template: Template, results: dict[str, Any], task: str) -> str:
    (published, cells), (ours, _) = (missed(results, task, name) for name in (PUBLISHED, OURS))
    return template.fill("short", model=TASKS[task].model, margin=SHORT, short=published, cells=cells, ours=ours)


def layers(results: dict[str, Any]) -> list[tuple[str, str]]:
    return [(task, paper) for task in tasks_of(results) for paper, _ in TASKS[task].layers]


def mean(values: list[float], digits: int = 2) -> str:
    return f"{np.mean(values):.{digits}f}" if values else "–"


def ends_table(results: dict[str, Any]) -> str:
    """Return what is selected and realised at the lowest and highest precision asked."""
    rows = []
    for task, paper in layers(results):
        for precision in (PRECISIONS[task][0], PRECISIONS[task][-1]):
            at = (results, "swept", task, paper, str(precision))
            selected = [plus_minus(column(*at, f"selected, {way}", of=of), 0) for way in WAYS for of in KINDS]
            calibrated = f"{mean(column(*at, OURS))}, {mean(column(*at, 'power'))}"
            eq9 = f"{mean(column(*at, PUBLISHED))}, {mean(column(*at, 'power of eq. (9)'))}"
            neurons = mean(column(results, "swept", task, paper, "neurons"), 0)
            layer = f"{TASKS[task].model}, {paper} (of {neurons})"
            rows.append([layer, str(precision), *selected, calibrated, eq9])
    selects = ["ours selects: PKT", "normal", "published selects: PKT", "normal"]
    return table(["layer", "asked", *selects, "calibrated: precision, power", "eq. (9): precision, power"], rows)


def swept_table(results: dict[str, Any]) -> str:
    rows = []
    for task, paper in layers(results):
        for precision in PRECISIONS[task]:
            at = (results, "swept", task, paper, str(precision))
            cells = [
                plus_minus(column(*at, f"{name}, {way}", of=of), digits)
                for way in WAYS
                for of in KINDS
                for name, digits in (("selected", 1), ("CE", 2))
            ]
            names = (OURS, "power", PUBLISHED, "power of eq. (9)")
            realised_here = [plus_minus(column(*at, name)) for name in names]
            rows.append([f"{TASKS[task].model}, {paper}, {precision}", *cells, *realised_here])
    head = ["layer, asked"]
    head += [column for way in ("ours", "published") for column in (f"{way}: PKT", "CE", "normal", "CE")]
    return table([*head, "calibrated: precision", "power", "eq. (9): precision", "power"], rows)


def top_ten_table(results: dict[str, Any]) -> str:
    rows = [
        [
            f"{TASKS[task].model}, {paper}",
            *(
                plus_minus(column(results, "swept", task, paper, f"CE of the top ten, {way}", of=of))
                for way in WAYS
                for of in KINDS
            ),
        ]
        for task, paper in layers(results)
    ]
    return table(["layer", "ours: PKT", "normal", "published: PKT", "normal"], rows)


def gaussian_table(results: dict[str, Any]) -> str:
    rows = []
    for task, paper in layers(results):
        for inputs in ("all inputs", "few inputs"):
            for precision in GAUSSIAN_LEVELS:
                cells = [
                    plus_minus(column(results, "gaussian", task, paper, f"{inputs} {way} {precision}", what))
                    for way in ("exact", "estimated")
                    for what in ("fdr", "power")
                ]
                rows.append([f"{TASKS[task].model}, {paper}, {inputs}, {precision}", *cells])
    return table(["layer, inputs, asked", "exact: FDR", "power", "estimated: FDR", "power"], rows)
