"""Tell what images decoded from pathways show."""

from __future__ import annotations

from typing import Any

import numpy as np
from claims import NO, PARTLY, YES, Claim, table
from common import plus_minus, signed
from pathway_decoding import METHODS
from read.pathway_decoding import NETWORKS, is_more, more, networks_of, outcome, values
from scipy.stats import binomtest
from template import Template

OURS, CHANCE = METHODS
VERDICT = {YES: "holds", PARTLY: "holds in part", NO: "is not shown"}
MORE = {True: "more", False: "not shown to be more"}


def claims(results: dict[str, Any]) -> list[Claim]:
    rows = []
    for name in networks_of(results):
        value = f"class recovered {recovered(results, name, OURS)}, from random pathways"
        value += f" {recovered(results, name, CHANCE)}; cosine with the input"
        value += f" {plus_minus(values(results, name, OURS, 'cosine'))}"
        if f"own {name}" in results:
            value += f", with others of its class {plus_minus(results[f'own {name}']['its class'])}"
        unfinished = "" if reached(results, name) >= 1 else "; the ascent is not finished"
        rows.append(
            Claim(
                source=f"Pathway decoding, {NETWORKS[name]}",
                what="decoded images show the features of the input that its pathway encodes",
                value=f"{value} ({images(results, name)} images{unfinished})",
                holds=outcome(results, name),
            )
        )
    return rows


def tell(results: dict[str, Any]) -> str:
    template, names = Template("pathway_decoding"), networks_of(results)
    owned = [name for name in names if f"own {name}" in results]
    return template.fill(
        outcomes=" ".join(of_network(template, results, name) for name in names),
        table=main_table(results),
        own="\n\n".join(own(template, name, results[f"own {name}"]) for name in owned),
        differences="\n\n".join(difference(template, results, name) for name in names),
    )


def images(results: dict[str, Any], name: str) -> int:
    return len(values(results, name, OURS, "recovered"))


def reached(results: dict[str, Any], name: str) -> float:
    """Return the masked network's response to decoded images: below 1, the ascent is not finished."""
    return float(np.mean(values(results, name, OURS, "masked response")))


def recovered(results: dict[str, Any], name: str, method: str) -> str:
    """Return the share of decoded images whose class is recognised, with its 95% interval (Wilson)."""
    hits = values(results, name, method, "recovered")
    low, high = binomtest(int(sum(hits)), len(hits)).proportion_ci(method="wilson")
    return f"{100 * np.mean(hits):.0f}% ({100 * low:.0f} to {100 * high:.0f}%)"


def of_network(template: Template, results: dict[str, Any], name: str) -> str:
    share = reached(results, name)
    return template.fill(
        "outcome",
        network=NETWORKS[name],
        verdict=VERDICT[outcome(results, name)],
        ours=recovered(results, name, OURS),
        images=images(results, name),
        chance=recovered(results, name, CHANCE),
        unfinished="" if share >= 1 else template.fill("unfinished", reached=share),
    )


def main_table(results: dict[str, Any]) -> str:
    rows = []
    for name in networks_of(results):
        for method in METHODS:
            masked, probability, cosine = (
                plus_minus(values(results, name, method, what)) for what in ("masked response", "probability", "cosine")
            )
            label, n = f"{NETWORKS[name]}, {method} pathway", str(images(results, name))
            rows.append([label, n, masked, recovered(results, name, method), probability, cosine])
    head = ["", "images", "masked response", "class recovered", "its probability", "cosine with the input"]
    return table(head, rows)


def own(template: Template, name: str, cosines: dict[str, list[float]]) -> str:
    """Tell whether a decoded image shows its own input or only its class."""
    return template.fill(
        "own",
        network=NETWORKS[name],
        itself=plus_minus(cosines["itself"]),
        same=plus_minus(cosines["its class"]),
        others=plus_minus(cosines["other classes"]),
        difference=signed(more(cosines["itself"], cosines["its class"])),
        images=len(cosines["itself"]),
    )


def difference(template: Template, results: dict[str, Any], name: str) -> str:
    """Compare pathways of NeuronIntGrad with random ones, image by image."""
    pairs = {what: [values(results, name, m, what) for m in METHODS] for what in ("probability", "cosine")}
    words = {what: f"{signed(more(*pair))} ({MORE[is_more(*pair)]})" for what, pair in pairs.items()}
    return template.fill("difference", network=NETWORKS[name], **words)
