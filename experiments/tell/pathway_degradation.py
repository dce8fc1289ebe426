"""Tell input degradation: how the response changes without the pixels that a method ranks lowest."""

from __future__ import annotations

from typing import Any

import numpy as np
from claims import NO, NOT_IN_THE_PAPER, PARTLY, YES, Claim, table
from common import interval, plus_minus
from pathway_common import COLOURS
from pathway_degradation import CHUNK, FILLS, PATHWAYS, PEERS, SHOWN, SPARSITY
from read.pathway_degradation import (
    ORDERS,
    by_channel,
    cam_is_least,
    cells_of,
    counts,
    differences,
    most_first,
    outcome,
    values,
)
from template import Template

# Neuron methods and gradients, at 1, 5 and 10%, in the paper.
PUBLISHED = {"pathway gradients": (0.039, 0.10, 0.15), "gradient": (0.216, 0.39, 0.54)}
VERDICT = {YES: "holds", PARTLY: "holds in part", NO: "does not hold"}
MEAN_COLOUR, ANOTHER = FILLS
INTEGRATED = "integrated gradients"


def claims(results: dict[str, Any]) -> list[Claim]:
    n = images(results)
    if n < 2 * CHUNK:
        return []
    return [
        Claim(
            source="LeRF, against gradients",
            what="the change is smaller at 1, 5 and 10% removed (at 1%: 0.039 against 0.216)",
            value=f"at 1% {at_first(results)}; {compared(results, MEAN_COLOUR, 'gradient')}"
            f" (another image's pixels: {compared(results, ANOTHER, 'gradient')}; VGG11, {n} images)",
            holds=outcome(results),
        ),
        Claim(
            source="LeRF, against integrated gradients",
            what="nothing in the text we have; a question of ours",
            value=f"pixels filled with the mean colour, their baseline: {compared(results, MEAN_COLOUR, INTEGRATED)};"
            f" with another image's pixels: {compared(results, ANOTHER, INTEGRATED)} ({n} images)",
            holds=NOT_IN_THE_PAPER,
        ),
    ]


def tell(results: dict[str, Any]) -> str:
    template = Template("pathway_degradation")
    cam = [f"{share:.0%} ({fill})" for fill in FILLS for share in SHOWN if cam_is_least(results, fill, share)]
    apart, of = count_apart(most_first(results, MEAN_COLOUR)), len(PATHWAYS) * len(SHOWN)
    changes = [
        f"{method} {plus_minus(values(results, MEAN_COLOUR, method, 'MoRF', SHOWN[-1]), 3)}"
        for method in (*PATHWAYS, *PEERS)
    ]
    return template.fill(
        verdict=VERDICT[outcome(results)],
        smaller=smaller(results),
        mean_colour=compared(results, MEAN_COLOUR, "gradient"),
        another=compared(results, ANOTHER, "gradient"),
        at_first=at_first(results),
        least_first=least_first_table(results),
        images=images(results),
        sparsity=SPARSITY,
        integrated_mean=compared(results, MEAN_COLOUR, INTEGRATED),
        integrated_another=compared(results, ANOTHER, INTEGRATED),
        most_first=", ".join(changes),
        apart=f"differ from gradients in {apart} of {of} comparisons" if apart else "do not differ from gradients",
        cam=template.fill("cam", places=" and ".join(cam)) if cam else "",
        all_methods="\n\n".join(all_methods_table(results, fill) for fill in FILLS),
        differences=differences_table(results),
        channel=channel(template, results),
    )


def images(results: dict[str, Any]) -> int:
    return CHUNK * len(cells_of(results, "vgg11"))


def compared(results: dict[str, Any], fill: str, peer: str) -> str:
    """Say in how many comparisons with a peer the change is smaller, or larger."""
    n = counts(results, fill, peer)
    if n["less"] == 0:
        return f"larger in {n['of']} of {n['of']}, beyond the interval in {n['surely more']}"
    more = f", larger beyond it in {n['surely more']}" if n["surely more"] else ""
    return f"smaller in {n['less']} of {n['of']}, beyond the interval in {n['surely less']}{more}"


def at_first(results: dict[str, Any]) -> str:
    """Return the changes with NeuronMCT and with the gradient, with the least share removed."""
    least = [values(results, MEAN_COLOUR, method, "LeRF", SHOWN[0]) for method in ("NeuronMCT", "gradient")]
    return " against ".join(plus_minus(change, 3) for change in least)


def smaller(results: dict[str, Any]) -> str:
    """Say so where the effect is less than a third of the paper's, with the least share removed."""
    ours = -np.mean(differences(results, MEAN_COLOUR, "gradient")["NeuronMCT", SHOWN[0]])
    paper = PUBLISHED["gradient"][0] - PUBLISHED["pathway gradients"][0]
    return ", with a far smaller effect than the paper's" if ours < paper / 3 else ""


def count_apart(values: list[list[float]]) -> int:
    """Count the differences whose interval lies on one side of zero."""
    return sum(abs(mean) > half for mean, half in map(interval, values))


def least_first_table(results: dict[str, Any]) -> str:
    rows = [
        [method, *(plus_minus(values(results, fill, method, "LeRF", s), 3) for fill in FILLS for s in SHOWN)]
        for method in (*PATHWAYS, *PEERS, "GradCAM", "random")
    ]
    rows += [
        [f"the paper, {name}", *(f"{value:.3f}" for value in published), *[""] * len(SHOWN)]
        for name, published in PUBLISHED.items()
    ]
    return table(["LeRF, share removed", *(f"{fill}, {s:.0%}" for fill in FILLS for s in SHOWN)], rows)


def all_methods_table(results: dict[str, Any], fill: str) -> str:
    places = [(order, share) for order in ORDERS for share in SHOWN]
    rows = [
        [method, *(plus_minus(values(results, fill, method, order, share), 3) for order, share in places)]
        for method in COLOURS
    ]
    return table([fill, *(f"{order} {share:.0%}" for order, share in places)], rows)


def differences_table(results: dict[str, Any]) -> str:
    rows = [
        [f"minus {peer}, {fill}", *(plus_minus(d, 3) for d in differences(results, fill, peer).values())]
        for fill in FILLS
        for peer in PEERS
    ]
    return table(["LeRF, difference", *(f"{m}, {share:.0%}" for m in PATHWAYS for share in SHOWN)], rows)


def channel(template: Template, results: dict[str, Any]) -> str:
    """Tell what ranking pixels by the channel of largest magnitude changes, where that was measured."""
    changes = by_channel(results)
    if not changes:
        return ""
    largest = max(changes.values(), key=lambda change: abs(np.mean(change)))
    return template.fill(
        "channel",
        images=CHUNK * len(largest),
        largest=plus_minus(largest, 3),
        means=len(changes),
        methods=len(PATHWAYS + PEERS),
        beyond=count_apart(list(changes.values())),
    )
