"""Tell equation (3) and Algorithm 1: objectives, and orders of the neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
from claims import NOT_IN_THE_PAPER, Claim, counted, table
from common import clearly_above_zero, plus_minus, signed
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
    others = [clearly_above_zero(minus(results, way, "variance")) for way in ordered if way != DEFAULT]
    minus_variance = minus(results, DEFAULT, "variance")
    return template.fill(
        default=DEFAULT,
        place=place(results, ordered),
        difference=plus_minus(list(differences(results, DEFAULT).values())),
        minus_variance=signed(minus_variance),
        clear="shown" if clearly_above_zero(minus_variance) else "not shown",
        others=sum(others),
        verb="is" if sum(others) == 1 else "are",
        low=min(chosen),
        high=max(chosen),
        median=np.median(chosen),
        networks=networks(results),
        ordered=template.fill("table", table=ways_table(results, [*ordered, "variance"])),
        by_statistic=template.fill("table", table=ways_table(results, names(results, "by statistic"))),
    )


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


def differences(results: dict[str, Any], way: str) -> dict[str, float]:
    """CE of the normal network minus that of the PKT network, both classes together, for each pair that has both."""
    classes = TASKS["lenet"].classes

    def total(seed: str, kind: str) -> float:
        return sum(results[f"lenet {seed} {kind}"][f"{label} {way}"] for label in classes)

    seeds = dict.fromkeys(key.split()[1] for key in results)
    whole = [seed for seed in seeds if all(f"lenet {seed} {kind}" in results for kind in ("pkt", "normal"))]
    return {seed: total(seed, "normal") - total(seed, "pkt") for seed in whole}


def minus(results: dict[str, Any], way: str, other: str) -> list[float]:
    """How much larger the difference is by one way than by another, one value per pair."""
    one, two = differences(results, way), differences(results, other)
    return [one[seed] - two[seed] for seed in one]


def names(results: dict[str, Any], ending: str = "") -> list[str]:
    """Ways of ranking in the cells."""
    first = TASKS["lenet"].classes[0]
    ways = [key.partition(" ")[2] for key in next(iter(results.values())) if key.startswith(f"{first} ")]
    return [way for way in ways if way.endswith(ending) and not way.endswith("selected")]


def counts(results: dict[str, Any], way: str) -> list[int]:
    """Numbers of neurons selected, one value per network and class."""
    chosen = f"{way.rpartition(', ')[0]}, selected"
    return [cell[f"{label} {chosen}"] for cell in results.values() for label in TASKS["lenet"].classes]
