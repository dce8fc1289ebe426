"""Tell Appendix G: whether mechanisms on globally important neurons are redundant for one prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
from claims import NO, PARTLY, YES, Claim, counted, table
from common import plus_minus, signed
from non_redundancy import WAYS
from read.non_redundancy import MEASURES, apart, by_network, cases, column, holds, label, places, sides
from template import Template

COUNTS = ("none", "one", "two", "all")
VERDICT = {
    YES: "the claim is confirmed",
    PARTLY: "the claim is confirmed in part",
    NO: "the claim is not confirmed, our mechanisms are as redundant as the global ones or more",
}
LABELS = {
    "redundant": "mechanisms not shown (at 5%) to explain anything beyond the other's ten neurons, of 5",
    "beyond": "share of the margin's variance that mechanisms explain beyond the other's ten neurons (%)",
    "changed": "predictions that change when the neurons of one set only are resampled (%)",
    "chance": "the same with as many neurons, drawn at random, that neither ranks among its ten (%)",
}
RESAMPLED = {
    "ours": "the neurons that only ours ranks among its ten",
    "global": "the neurons that only the global objective ranks among its ten",
    "random": "as many others, drawn at random,",
}


def claims(results: dict[str, Any]) -> list[Claim]:
    rows = []
    for case in cases(results):
        redundant, beyond, changed = (apart(results, case, measure) for measure in MEASURES)
        rows.append(
            Claim(
                source=f"Appendix G, {case.lower()}",
                what="mechanisms on globally important neurons are prone to redundancy, ours are not",
                value=f"ours minus global: {signed(redundant, 1)} of 5 mechanisms not shown to add anything,"
                f" {signed(beyond, 1)}% of the margin's variance added, {signed(changed, 1)}% of predictions changed"
                f" ({counted(len(changed), 'network')})",
                holds=holds(results, case),
            )
        )
    return rows


def tell(results: dict[str, Any]) -> str:
    template = Template("non_redundancy")
    return template.fill(
        outcomes=" ".join(outcome(template, results, case) for case in cases(results)),
        measures=measures_table(results),
        layers=layers_table(results),
    )


def outcome(template: Template, results: dict[str, Any], case: str) -> str:
    count, directions = len(apart(results, case, "changed")), sides(results, case).values()
    clear = f"shown to differ from zero: {COUNTS[sum(shown for _, shown in directions)]} of three"
    return template.fill(
        "outcome",
        case=case,
        networks=counted(count, "network"),
        verdict=VERDICT[holds(results, case)],
        against=COUNTS[sum(side < 0 for side, _ in directions)],
        clear=clear if count > 2 else "too few networks for intervals",
    )


def measures_table(results: dict[str, Any]) -> str:
    rows = []
    for measure, (of, _) in MEASURES.items():
        cells = [LABELS[measure]]
        for case in cases(results):
            cells += [f"{np.mean(by_network(results, case, of, way)):.2f}" for way in WAYS]
            cells.append(signed(apart(results, case, measure)))
        rows.append(cells)
    chance = [LABELS["chance"]]
    for case in cases(results):
        others = by_network(results, case, MEASURES["changed"][0], "random")
        chance += [f"{np.mean(others):.2f}", "", ""]
    head = [words for case in cases(results) for words in (f"{case}: ours", "global", "ours minus global")]
    return table(["", *head], [*rows, chance])


def layers_table(results: dict[str, Any]) -> str:
    where = places(results)

    def row(words: str, *path: str, digits: int = 2) -> list[str]:
        return [words, *(plus_minus(column(results, place, *path), digits) for place in where)]

    rows = [
        row("neurons in both sets of ten", "shared neurons", digits=1),
        row("AMI of the mechanisms of both", "mechanisms, AMI"),
        row("mechanisms without a match, of 5", "mechanisms unmatched", digits=1),
    ]
    rows += [
        row(f"predictions that stay when {words} are resampled", "agreement", f"without {name} only", digits=3)
        for name, words in RESAMPLED.items()
    ]
    rows += [
        row(f"predictions that stay with all but the ten of {way} resampled", "agreement", f"{way} alone")
        for way in WAYS
    ]
    for way, other in (WAYS, WAYS[::-1]):
        rows += [
            row(f"{way}: margin predicted by the ten neurons (held-out R²)", way, "r2"),
            row(f"{way}: share of the margin that the mechanisms explain", way, "of the margin"),
            row(f"{way}: share they explain beyond the ten of {other}", way, "beyond the other's neurons", digits=4),
            row(f"{way}: mechanisms not shown to explain anything beyond those, of 5", way, "redundant", digits=1),
            row(f"{way}: CE of the fine labels (bits)", way, "ce"),
            row(f"{way}: AMI with the fine labels", way, "ami"),
        ]
    return table(["", *(label(place) for place in where)], rows)
