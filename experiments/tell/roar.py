"""Tell ROAR: the accuracy of networks trained without the pixels that a method ranks highest."""

from __future__ import annotations

from typing import Any

import numpy as np
from claims import NO, NOT_IN_THE_PAPER, PARTLY, YES, Claim, counted, table
from common import written
from read.roar import OURS, complete, difference, outcome, shares_of, values
from roar import DATA, METHODS
from template import Template

# Percent right in the paper, CIFAR-10, at 10, 50 and 90% removed.
PUBLISHED = {
    "NeuronMCT": "74.4, 65.5, 44.4",
    "NeuronIntGrad": "75.1, 61.7, 48.0",
    "gradient": "–, –, 75.5",
    "GradCAM": "74.7, 63.3, 47.6",
}
VERDICT = {YES: "holds", PARTLY: "holds in part", NO: "is not shown"}
CLAIMS = {
    "cifar10": "retrained without their pixels, networks are less accurate than without those of gradients (90%"
    " removed: 44.4% against 75.5%)",
    "mnist": "nothing: its networks are of CIFAR-10",
}


def claims(results: dict[str, Any]) -> list[Claim]:
    rows = []
    for data, what in CLAIMS.items():
        shares = shares_of(results, data)
        if not shares:
            continue
        ours, gradient = (np.mean(values(results, data, method, shares[-1])) for method in ("NeuronMCT", "gradient"))
        rows.append(
            Claim(
                source=f"ROAR, {DATA[data][1]}",
                what=what,
                value=f"{against(results, data)} points against gradients, mean of all shares; {shares[-1]:.0%} removed"
                f" {ours:.1f}% (NeuronMCT) against {gradient:.1f}%; whole images {whole(results, data)}"
                f" ({amount(results, data)})",
                holds=outcome(results, data) if data == "cifar10" else NOT_IN_THE_PAPER,
            )
        )
    return rows


def tell(results: dict[str, Any]) -> str:
    template = Template("roar")
    (_, _, mnist_images, mnist_epochs), (_, _, cifar_images, cifar_epochs) = DATA["mnist"], DATA["cifar10"]
    measured = [data for data in CLAIMS if shares_of(results, data)]
    return template.fill(
        headline=headline(template, results),
        cifar_images=cifar_images,
        cifar_epochs=cifar_epochs,
        cifar_whole=whole(results, "cifar10"),
        mnist_images=mnist_images,
        mnist_epochs=mnist_epochs,
        mnist_whole=whole(results, "mnist"),
        cifar=of_data(template, results, "cifar10") if "cifar10" in measured else "",
        mnist=of_data(template, results, "mnist") if "mnist" in measured else "",
        compared="\n\n".join(compared(template, results, data) for data in measured),
    )


def headline(template: Template, results: dict[str, Any]) -> str:
    """Say whether the claim holds on CIFAR-10."""
    name, shares = DATA["cifar10"][1], shares_of(results, "cifar10")
    if not shares:
        return template.fill("missing", data=name)
    return template.fill(
        "headline",
        verdict=VERDICT[outcome(results, "cifar10")],
        data=name,
        against=against(results, "cifar10"),
        shares=", ".join(f"{share:.0%}" for share in shares),
        amount=amount(results, "cifar10"),
    )


def against(results: dict[str, Any], data: str) -> str:
    """Return the accuracy of the pathway gradients minus the gradient's."""
    return " and ".join(f"{ours} {points(difference(results, data, ours, 'gradient'))}" for ours in OURS)


def points(value: tuple[float, float]) -> str:
    return written(*value, digits=1, sign="+")


def whole(results: dict[str, Any], data: str) -> str:
    accuracies = values(results, data, "whole", 0.0)
    return f"{np.mean(accuracies):.1f}%" if accuracies else "not measured yet"


def amount(results: dict[str, Any], data: str) -> str:
    """Say how many networks each figure is of."""
    numbers = [len(values(results, data, m, share)) for m in METHODS for share in shares_of(results, data)]
    low, high = min(numbers), max(numbers)
    networks = counted(high, "network") if low == high else f"{low} to {high} networks"
    no_interval = ", which gives no interval" if high == 1 else ""
    return f"{networks} per value{no_interval}" + ("" if complete(results, data) else ", not complete yet")


def of_data(template: Template, results: dict[str, Any], data: str) -> str:
    chance = [f"{points(difference(results, data, ours, 'random'))} ({ours})" for ours in OURS]
    return template.fill("data", table=accuracies_table(results, data), chance=" and ".join(chance))


def accuracies_table(results: dict[str, Any], data: str) -> str:
    shares, in_the_paper = shares_of(results, data), data == "cifar10"
    rows = []
    for method in METHODS:
        cells = [f"{np.mean(values(results, data, method, share)):.1f}" for share in shares]
        cells.append("" if method == "gradient" else points(difference(results, data, method, "gradient")))
        rows.append([method, *cells, *[PUBLISHED.get(method, "")] * in_the_paper])
    head = [f"{DATA[data][1]}, accuracy (%)", *(f"{share:.0%} removed" for share in shares), "minus gradient, mean"]
    return table([*head, *["the paper: 10, 50, 90%"] * in_the_paper], rows)


def compared(template: Template, results: dict[str, Any], data: str) -> str:
    """Say which methods the pathway gradients are distinct from: lower accuracy is better."""
    methods = []
    for ours in OURS:
        places: dict[str, list[str]] = {"below": [], "above": [], "not distinct from": []}
        for other in METHODS[2:]:
            mean, half = difference(results, data, ours, other)
            places["below" if mean < -half else "above" if mean > half else "not distinct from"].append(other)
        said = [f"{word} {' and '.join(names)}" for word, names in places.items() if names]
        methods.append(f"{ours} is {', '.join(said)}")
    return template.fill("compared", data=DATA[data][1], amount=amount(results, data), methods="; ".join(methods))
