"""Tell Figure 2: what distinguishes LeNet(A) from LeNet(B)."""

from __future__ import annotations

from typing import Any

import numpy as np
from claims import NO, PARTLY, YES, Claim, table
from common import interval, plus_minus, written
from read.two_networks import apart, gap, mean, measurably, over_pairs, over_seeds, seeds, surely
from tasks import TASKS
from template import Template
from two_networks import KINDS, METHODS

POINTS = {"ten": "ten critical neurons", "all": "all neurons"}
PAIRS = ("A, another A", "A, B", "B, another B")
LAYERS = [paper for paper, _ in TASKS["lenet"].layers]
NAMES = {"gradient": "gradients", "integrated gradients": "integrated gradients"}
CRITICAL = {
    True: "The critical neurons distinguish LeNet(A) from LeNet(B), as claimed: in the first ten of a layer the digits"
    " lie further apart in A.",
    False: "The critical neurons do not always distinguish LeNet(A) from LeNet(B): the digits are not shown to lie"
    " further apart in the first ten of A at every layer.",
}
PREDICTIONS = {
    True: "Predictions distinguish them, against the claim.",
    False: "Predictions do not distinguish them, as claimed.",
}
ATTRIBUTIONS = {True: "do, against the claim", False: "are not shown to"}


def claims(results: dict[str, Any]) -> list[Claim]:
    if not seeds(results):
        return []
    networks = f"{2 * len(seeds(results))} LeNets"
    maps = [
        f"{NAMES[m]} correlate {pairs_value(results, 'A, B', 'outputs', m, 'same input')} and"
        f" {pairs_value(results, 'B, another B', 'outputs', m, 'same input')}"
        for m in METHODS
    ]
    alike = [mean(over_seeds(results, "outputs", words, "agreement")) for words in PAIRS[1:]]
    rows = [
        Claim(
            source="Figure 2, outputs and explanations",
            what="predictions and attributions hardly tell LeNet(A) from LeNet(B)",
            value=f"A and B, compared with two Bs: {alike[0]:.1%} and {alike[1]:.1%} of predictions alike;"
            f" {'; '.join(maps)} ({networks})",
            holds=NO if predictions_apart(results) else PARTLY if any(maps_apart(results).values()) else YES,
        )
    ]
    gaps = {paper: gap(results, "ten", paper, "silhouette") for paper in LAYERS}
    if all(gaps.values()):
        shown = [is_clear(values) for values in gaps.values()]
        said = ", ".join(f"{plus_minus(values)} at {paper}" for paper, values in gaps.items())
        rows.append(
            Claim(
                source="Figure 2, critical neurons",
                what="in A's critical neurons the digits lie in more distinct clusters than in B's",
                value=f"silhouette of the digits in ten neurons, A minus B: {said} ({networks})",
                holds=YES if all(shown) else PARTLY if any(shown) else NO,
            )
        )
    return rows


def is_clear(values: list[float]) -> bool:
    """Whether A minus B is above zero in every pair, and its interval too."""
    return bool(values) and min(values) > 0 and surely(interval(values))


def predictions_apart(results: dict[str, Any]) -> bool:
    return measurably(apart(results, "outputs", "B, another B", "A, B", "agreement"))


def maps_apart(results: dict[str, Any]) -> dict[str, bool]:
    """Whether the attributions of A and B are shown to correlate otherwise than those of two Bs."""
    return {m: surely(map_difference(results, m)) for m in METHODS}


def map_difference(results: dict[str, Any], method: str) -> tuple[float, float]:
    return apart(results, "outputs", "B, another B", "A, B", method, "same input")


def tell(results: dict[str, Any]) -> str:
    template, count = Template("two_networks"), len(seeds(results))
    told = {
        words: [NAMES[m] for m, clear in maps_apart(results).items() if clear == key]
        for key, words in ATTRIBUTIONS.items()
    }
    attributions = "; ".join(f"{' and '.join(names)} {words}" for words, names in told.items() if names)
    everything = [gap(results, "all", paper, "silhouette") for paper in LAYERS]
    two_as, a_and_b, two_bs = (pairs_value(results, words, "compared", "ami") for words in PAIRS)
    as_alike = surely(apart(results, "compared", *PAIRS[:2], "ami"))
    a_b_apart = surely(apart(results, "compared", *PAIRS[1:], "ami"))
    differences = [
        template.fill(
            "maps apart", name=NAMES[m].capitalize(), difference=written(*map_difference(results, m), sign="+")
        )
        for m in METHODS
    ]
    return template.fill(
        critical=CRITICAL[all(is_clear(gap(results, "ten", paper, "silhouette")) for paper in LAYERS)],
        predictions=PREDICTIONS[predictions_apart(results)],
        attributions=f"Of the attributions, {attributions}.",
        networks=2 * count,
        pairs=count,
        alike=max(count - 1, 0),
        compared=compared_table(results),
        silhouettes=table(
            ["", *(f"LeNet({name})" for name in KINDS), "A minus B"],
            [cloud_row(results, paper, points, "silhouette") for paper in LAYERS for points in POINTS],
        ),
        maps_apart="\n".join(differences),
        all_neurons="All neurons of a layer show it too. " if all(np.mean(v) > 0 for v in everything) else "",
        silhouette_gaps=gaps(results, "silhouette"),
        ami_gaps=gaps(results, "ami"),
        two_as=two_as,
        a_and_b=a_and_b,
        two_bs=two_bs,
        agreement=": As are like each other, while A and B are not shown to be less alike than two Bs"
        if as_alike and not a_b_apart
        else "",
        maps=maps_table(results),
        clouds=clouds_table(results),
        mechanisms=mechanisms_table(results),
    )


def pairs_value(results: dict[str, Any], words: str, kind: str, *path: str, digits: int = 2) -> str:
    return written(*over_pairs(results, kind, words, *path), digits)


def pairs_row(results: dict[str, Any], label: str, kind: str, *path: str, digits: int = 2) -> list[str]:
    return [label, *(pairs_value(results, words, kind, *path, digits=digits) for words in PAIRS)]


def head(first: str) -> list[str]:
    return [first, *(words.replace(",", " and", 1) for words in PAIRS)]


def compared_table(results: dict[str, Any]) -> str:
    rows = [pairs_row(results, "predictions alike", "outputs", "agreement", digits=3)]
    rows += [pairs_row(results, f"correlation of their {NAMES[m]}", "outputs", m, "same input") for m in METHODS]
    return table(head(""), [*rows, pairs_row(results, "AMI of their mechanisms", "compared", "ami")])


def gaps(results: dict[str, Any], measure: str) -> str:
    """Return A minus B in ten neurons and in all, layer by layer."""
    return ", ".join(
        " and ".join(f"{mean(gap(results, points, paper, measure)):.2f}" for points in POINTS) + f" at {paper}"
        for paper in LAYERS
    )


def cloud_row(results: dict[str, Any], paper: str, points: str, measure: str, words: str = "") -> list[str]:
    columns = [over_seeds(results, "cloud", points, measure, part=(name, paper)) for name in KINDS]
    columns.append(gap(results, points, paper, measure))
    return [f"{paper}, {POINTS[points]}{words}", *map(plus_minus, columns)]


def maps_table(results: dict[str, Any]) -> str:
    rows = [
        [f"{m}: {what}", *(pairs_value(results, words, "outputs", m, what) for words in PAIRS[1:])]
        for m in METHODS
        for what in ("same input", "another of the digit", "any other")
    ]
    return table(["correlation of the maps of", *head("")[2:]], rows)


def clouds_table(results: dict[str, Any]) -> str:
    accuracy = [plus_minus(over_seeds(results, "outputs", f"accuracy {name}"), 3) for name in KINDS]
    words = ": AMI of five clusters and digit"
    rows = [["accuracy", *accuracy, ""]]
    rows += [cloud_row(results, paper, points, "ami", words) for paper in LAYERS for points in POINTS]
    for what, label in (
        ("ce", "CE of the mechanisms (bits)"),
        ("ami with the digit", "AMI of the mechanisms and digit"),
        ("ami with itself", "AMI of the mechanisms and themselves, learnt again on other halves"),
    ):
        rows.append([label, *(plus_minus(over_seeds(results, "compared", name, what)) for name in KINDS), ""])
    return table(["", *(f"LeNet({name})" for name in KINDS), "A minus B"], rows)


def mechanisms_table(results: dict[str, Any]) -> str:
    rows = {
        "matched": "matched, of 5",
        "jaccard": "Jaccard index of matched ones",
        "moved": "share of inputs outside matched pairs",
    }
    return table(head("mechanisms"), [pairs_row(results, label, "compared", what) for what, label in rows.items()])
