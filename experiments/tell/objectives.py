"""Tell equation (3) and Algorithm 1: objectives, and orders of the neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
from claims import NOT_IN_THE_PAPER, Claim, counted, table
from common import above_zero, plus_minus, signed
from read.objectives import counts, differences, minus, names
from tasks import TASKS
from template import Template

DEFAULT = "pairwise, calibrated, in order"
CLASSES = TASKS["lenet"].classes


def claims(results: dict[str, Any]) -> list[Claim]:
    if not differences(results, "variance"):
        return []
    best = max(names(results, "in order"), key=lambda way: mean_difference(results, way))
    return [
        Claim(
            source="Equation (3), Algorithm 1",
            what="solving against the output instead of (3) keeps the precision; their clusters are not compared",
            value="CE difference at conv3 beyond that by variance (bits): the default"
            f" {signed(minus(results, DEFAULT, 'variance'))}, the best of four ({best.removesuffix(', in order')})"
            f" {signed(minus(results, best, 'variance'))} ({networks(results)})",
            holds=NOT_IN_THE_PAPER,
        )
    ]


def tell(results: dict[str, Any]) -> str:
    template, ordered = Template("objectives"), names(results, "in order")
    chosen = counts(results, DEFAULT)
    others = [is_shown(minus(results, way, "variance")) for way in ordered if way != DEFAULT]
    minus_variance = minus(results, DEFAULT, "variance")
    return template.fill(
        default=DEFAULT,
        place=place(results, ordered),
        difference=plus_minus(list(differences(results, DEFAULT).values())),
        minus_variance=signed(minus_variance),
        clear="shown" if is_shown(minus_variance) else "not shown",
        others=sum(others),
        verb="is" if sum(others) == 1 else "are",
        low=min(chosen),
        high=max(chosen),
        median=np.median(chosen),
        networks=networks(results),
        ordered=template.fill("table", table=ways_table(results, [*ordered, "variance"])),
        by_statistic=template.fill("table", table=ways_table(results, names(results, "by statistic"))),
    )


def is_shown(values: list[float]) -> bool:
    """Whether an interval, which takes three pairs, lies above zero."""
    return len(values) > 2 and above_zero(values)


def mean_difference(results: dict[str, Any], way: str) -> float:
    return float(np.mean(list(differences(results, way).values())))


def place(results: dict[str, Any], ways: list[str]) -> str:
    """Say where the default's difference stands among those of all ways."""
    order = sorted(ways, key=lambda way: mean_difference(results, way))
    return {order[0]: "the smallest", order[-1]: "the largest"}.get(DEFAULT, "neither the smallest nor the largest")


def networks(results: dict[str, Any]) -> str:
    count = len(differences(results, "variance"))
    return f"{2 * count} LeNets, {counted(count, 'pair')}"


def ways_table(results: dict[str, Any], ways: list[str]) -> str:
    def mean(kind: str, key: str) -> float:
        return float(np.mean([cell[key] for name, cell in results.items() if name.endswith(f" {kind}")]))

    rows = []
    for way in ways:
        cells = [" / ".join(f"{mean(kind, f'{label} {way}'):.2f}" for kind in ("pkt", "normal")) for label in CLASSES]
        cells.append(plus_minus(list(differences(results, way).values())))
        cells += ["" if way == other else signed(minus(results, way, other)) for other in (DEFAULT, "variance")]
        chosen = [] if way == "variance" else counts(results, way)
        cells.append(f"{np.mean(chosen):.0f} ({min(chosen)} to {max(chosen)})" if chosen else "")
        rows.append([way, *cells])
    head = ["ten neurons by", "even: PKT / normal", "odd: PKT / normal", "difference", "minus the default's"]
    return table([*head, "minus variance's", "selected"], rows)
