"""Tell how many neurons of pathways are dead, and how far pathways of different methods overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
from claims import NO, PARTLY, YES, Claim, table
from common import plus_minus
from pathway_overlap import CONTRIBUTION, METHODS, SPARSITIES
from read.pathway_overlap import (
    NETWORKS,
    ROUTED_ROWS,
    above_others,
    agree_more,
    images_of,
    label,
    measured,
    no_dead,
    of,
    overlaps,
    routed,
    short,
)
from template import Template

# Dead neurons, and overlap with NeuronIntGrad, in the paper.
PUBLISHED = {
    "NeuronMCT": ("0", "65.9%"),
    "NeuronIntGrad": ("0", ""),
    "greedy": ("68.8%", ""),
    "DGR from ones": ("7.8%", "29.6%"),
    "DGR from random, gates above zero": ("67.0%", "2 to 4%"),
    "random": ("59.5%", ""),
}
DEAD = {
    True: "holds for contributions: pathways of NeuronMCT and NeuronIntGrad contain no dead neurons",
    False: "does not hold for contributions: pathways of NeuronMCT and NeuronIntGrad contain some",
}
ORDER = {True: "above DGR's and random pathways'", False: "not shown to be above DGR's"}
RANDOM = "DGR (random)"


def claims(results: dict[str, Any]) -> list[Claim]:
    networks = measured(results)
    chance = [
        f"{short(network)}, {images_of(results, network)} images: {dead(results, network, 'NeuronMCT')} and"
        f" {dead(results, network, 'NeuronIntGrad')}, at random {dead(results, network, 'random')}"
        for network in networks
    ]
    rows = [
        Claim(
            source="Dead neurons, contributions",
            what="none in pathways of NeuronMCT and NeuronIntGrad, 59.5% at random",
            value="; ".join(chance),
            holds=YES if all(no_dead(results, network) for network in networks) else NO,
        )
    ]
    if routed(results, RANDOM, "zero"):
        rows += claims_of_routing(results)
    greedy = [
        f"{short(network)}: greedy and NeuronMCT {overlap(results, network, 'greedy', 'NeuronMCT')}, NeuronMCT and"
        f" NeuronIntGrad {overlap(results, network, *CONTRIBUTION)} ({images_of(results, network)} images)"
        for network in networks
    ]
    rows.append(
        Claim(
            source="Overlap, with greedy pruning",
            what="less than between NeuronMCT and NeuronIntGrad (with 68.8% dead it can be 18% at most)",
            value="; ".join(greedy),
            holds=PARTLY if any(agree_more(results, network, "greedy") for network in networks) else NO,
        )
    )
    return rows


def claims_of_routing(results: dict[str, Any]) -> list[Claim]:
    """Return the claims on routing as it is defined, measured on VGG11."""
    ones, chosen, whole = (routed_row(results, *row) for row in ROUTED_ROWS)
    n = len(routed(results, RANDOM, "zero"))
    return [
        Claim(
            source="Dead neurons, pruning objectives",
            what="DGR from ones 7.8%, DGR from random 67.0%, greedy 68.8%",
            value=f"DGR from ones {ones[0]}, from random {chosen[0]} of gates above zero ({whole[0]} filled up to the"
            f" size), {n} images; greedy {dead(results, 'vgg11', 'greedy')}, which follows from its definition",
            holds=PARTLY,
        ),
        Claim(
            source="Overlap, with DGR",
            what="NeuronMCT and NeuronIntGrad 65.9%, DGR with them 30% (from ones), 2 to 4% (from random)",
            value=f"{overlap(results, 'vgg11', *CONTRIBUTION)}; with NeuronIntGrad {ones[2]} and {chosen[2]} (gates"
            f" above zero; {whole[2]} filled up), VGG11, {n} images",
            holds=YES if above_others(results) else NO,
        ),
    ]


def tell(results: dict[str, Any]) -> str:
    template, networks = Template("pathway_overlap"), measured(results)
    n = len(routed(results, RANDOM, "zero"))
    below = [short(network) for network in networks if not agree_more(results, network, "greedy")]
    return template.fill(
        dead=DEAD[all(no_dead(results, network) for network in networks)],
        order=ORDER[bool(n) and above_others(results)],
        below=f", but below that of greedy pruning with NeuronMCT on {' and '.join(below)}" if below else "",
        greedy=dead(results, "vgg11", "greedy"),
        table=main_table(results),
        images=images_of(results, "vgg11"),
        defined_images=n,
        natural=natural(results, "vgg11"),
        large=large(template, results) if "efficientnet-lite0" in networks else "",
        gates=gates(template, results) if n else "",
        sparsities="\n\n".join(sparsities_table(results, network) for network in networks),
        variant=template.fill("variant", overlaps=variant(results)) if n else "",
    )


def percent(shares: list[float], factor: float = 100) -> str:
    return plus_minus([factor * share for share in shares], 1) + "%"


def dead(results: dict[str, Any], network: str, method: str, sparsity: float = 0.9) -> str:
    """Return the share of dead neurons, a plain 0 where it is exactly that in every image."""
    shares = [cell["dead"][method] for cell in of(results, network, sparsity)]
    return percent(shares) if any(shares) else "0"


def natural(results: dict[str, Any], network: str) -> str:
    return percent([cell["natural"] for cell in of(results, network, 0.9)])


def overlap(results: dict[str, Any], network: str, a: str, b: str) -> str:
    return "" if a == b else percent(overlaps(results, network, a, b))


def routed_row(results: dict[str, Any], method: str, kind: str) -> list[str]:
    """Return the share of dead neurons and the overlap with either contribution."""
    cells = [
        routed(results, method, kind, "dead"),
        *(routed(results, method, kind, "overlap", m) for m in CONTRIBUTION),
    ]
    return [percent(values, 1) for values in cells]


def main_table(results: dict[str, Any]) -> str:
    rows = {
        method: [dead(results, "vgg11", method), *(overlap(results, "vgg11", method, m) for m in CONTRIBUTION)]
        for method in (*CONTRIBUTION, "greedy")
    }
    if routed(results, RANDOM, "zero"):
        rows |= {words: routed_row(results, *row) for row, words in ROUTED_ROWS.items()}
    rows["random"] = [dead(results, "vgg11", "random"), *(overlap(results, "vgg11", "random", m) for m in CONTRIBUTION)]
    head = ["VGG11, sparsity 90%", "dead", "overlap with NeuronMCT", "with NeuronIntGrad"]
    lines = [[method, *cells, *PUBLISHED.get(method, ("", ""))] for method, cells in rows.items()]
    return table([*head, "the paper: dead", "with NeuronIntGrad"], lines)


def large(template: Template, results: dict[str, Any]) -> str:
    """Tell the same of the network with ImageNet weights."""
    name = "efficientnet-lite0"
    return template.fill(
        "large",
        images=images_of(results, name),
        natural=natural(results, name),
        between=overlap(results, name, *CONTRIBUTION),
        greedy=overlap(results, name, "NeuronMCT", "greedy"),
        ones=overlap(results, name, "NeuronMCT", "DGR (ones)"),
        random=overlap(results, name, "NeuronMCT", "random"),
    )


def gates(template: Template, results: dict[str, Any]) -> str:
    """Tell how many gates stay above zero."""
    return template.fill(
        "gates",
        gates=percent(routed(results, RANDOM, "gates above zero"), 1),
        zero=percent(routed(results, RANDOM, "zero"), 1),
        chance=percent(routed(results, RANDOM, "above zero", "overlap", "random"), 1),
        most=10 * np.mean(routed(results, RANDOM, "gates above zero")),
    )


def variant(results: dict[str, Any]) -> str:
    """Tell how far the fast variant is from routing as it is defined."""
    return ", ".join(f"{m} {percent(routed(results, m, 'the variant'), 1)}" for m in METHODS if m.startswith("DGR"))


def sparsities_table(results: dict[str, Any], network: str) -> str:
    rows = [
        [
            label(method),
            *(dead(results, network, method, sparsity) for sparsity in SPARSITIES),
            *(overlap(results, network, method, other) for other in CONTRIBUTION),
        ]
        for method in METHODS
    ]
    head = [f"{NETWORKS[network]}, {images_of(results, network)} images"]
    head += [f"dead, sparsity {sparsity:.0%}" for sparsity in SPARSITIES]
    return table([*head, "overlap with NeuronMCT, 90%", "with NeuronIntGrad, 90%"], rows)
