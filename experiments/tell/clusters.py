"""Tell Figures 7 and 9: the entropy of clusters, by NeuCEPT's neurons and by those of other methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from claims import NO, PARTLY, Claim, table
from clusters import CLUSTERERS, KS, MAIN_TOP, TOPS, Found
from common import clearly_above_zero, plus_minus
from read.clusters import (
    METHODS,
    SHOWN_K,
    against_variance,
    at_k,
    counts,
    difference,
    entropies_at_k,
    n_pairs,
    places,
    tasks_in,
    values,
)
from template import Template

NAMES = {
    "lenet": "LeNet",
    "lenet-five": "LeNet, multiples of five (a task of the published code alone)",
    "vgg11": "VGG11 (one of the pairs is that of ../shared/models)",
}
OURS, PUBLISHED = METHODS[:2]
LARGER = {  # on average, and beyond chance
    (True, True): "larger, beyond chance",
    (True, False): "larger on average, but not beyond chance",
    (False, False): "not larger",
}


def claims(results: Found) -> list[Claim]:
    rows = []
    for task in tasks_in(results):
        ours, n = counts(results, task, OURS), n_pairs(results, task)
        others = [m for m in METHODS if not m.startswith("NeuCEPT")]
        always = [m for m in others if counts(results, task, m)["above"] == ours["cases"]]
        rows.append(
            Claim(
                source=f"Figures 7 and 9, {NAMES[task]}",
                what="CE lowest by NeuCEPT's neurons, and consistently higher in normal networks; others fluctuate",
                value=f"{n} pairs: CE lowest in {ours['lowest']} of {ours['cases']} cases; higher in normal networks in"
                f" {ours['above']} ({ours['surely']} beyond the interval), as it is for {len(always)} of"
                f" {len(others)} others; {places(task)[0][0]} minus variance"
                f" {plus_minus(against_variance(results, task))} bits",
                holds=PARTLY if ours["above"] == ours["cases"] else NO,
            )
        )
    return rows


def tell(results: Found) -> str:
    return Template("clusters").fill(tasks="\n\n".join(of_task(results, task) for task in tasks_in(results)))


def of_task(results: Found, task: str) -> str:
    template = Template("clusters")
    n, heads, gap = n_pairs(results, task), cases(task), against_variance(results, task)
    pkt = entropies_at_k(results, task)[0]
    curves = [values(results, task, "pkt", f"{head} {MAIN_TOP[task]} kmeans ce", OURS).mean(axis=0) for head in heads]
    lowest_at = [KS[int(curve.argmin())] for curve in curves]
    bend_at = [KS[int(np.diff(curve, 2).argmax()) + 1] for curve in curves]
    always = [m for m in METHODS[2:] if counts(results, task, m)["above"] == len(heads)]
    alike = [m for m in METHODS[2:] if sum(np.allclose(pkt[m], other) for other in pkt.values()) > 1]
    ours = [
        template.fill("ours", method=m, methods=len(METHODS), **counts(results, task, m)) for m in (OURS, PUBLISHED)
    ]
    return template.fill(
        "task",
        name=NAMES[task],
        n=n,
        ours="\n".join(ours),
        layer=places(task)[0][0],
        gap=plus_minus(gap),
        larger=LARGER[bool(gap.mean() > 0), clearly_above_zero(gap)],
        always=", ".join(always) or "none",
        random=" " + template.fill("random").strip() if "random" in always else "",
        lowest="holds" if set(lowest_at) == {5} else "does not hold",
        lowest_at=", ".join(f"{k} ({head})" for k, head in zip(lowest_at, heads, strict=True)),
        bend_at=", ".join(f"{k} ({head})" for k, head in zip(bend_at, heads, strict=True)),
        alike=template.fill("alike", methods=" and ".join(alike)) if alike else "",
        K=SHOWN_K,
        top=MAIN_TOP[task],
        main_table=main_table(results, task),
        held_out_table=held_out_table(results, task),
        clusterers_table=clusterers_table(results, task),
    )


def cases(task: str) -> list[str]:
    return [" ".join(place) for place in places(task)]


def by_method(heads: Sequence[str], cell: Callable[[str, str], str]) -> str:
    """Return a table with one row per method and one column per case."""
    return table(["neurons by", *heads], [[method, *(cell(method, head) for head in heads)] for method in METHODS])


def both(results: Found, task: str, what: str, method: str) -> str:
    """Return a measure at K = 5, of PKT / normal networks."""
    means = [at_k(values(results, task, kind, what, method)).mean() for kind in ("pkt", "normal")]
    return " / ".join(f"{mean:.2f}" for mean in means)


def main_table(results: Found, task: str) -> str:
    """CE of both networks and their difference, K-means."""

    def cell(method: str, head: str) -> str:
        what = f"{head} {MAIN_TOP[task]} kmeans ce"
        return f"{both(results, task, what, method)}, {plus_minus(at_k(difference(results, task, what, method)))}"

    return by_method(cases(task), cell)


def held_out_table(results: Found, task: str) -> str:
    """CE held out of both networks, and AMI of both."""

    def cell(method: str, head: str) -> str:
        measures = [f"{head} {MAIN_TOP[task]} kmeans {measure}" for measure in ("held-out", "ami")]
        return "; ".join(both(results, task, what, method) for what in measures)

    return by_method(cases(task), cell)


def clusterers_table(results: Found, task: str) -> str:
    """CE of PKT networks and the difference for every clusterer and number of neurons, mean over layers and classes."""
    known = {key for name, cell in results.items() if name.startswith(f"{task} ") for key in cell}
    settings = [(c, top) for c in CLUSTERERS for top in TOPS[task] if f"{cases(task)[0]} {top} {c} ce" in known]
    heads = {f"{clusterer}, top {top}": f"{top} {clusterer} ce" for clusterer, top in settings}

    def cell(method: str, head: str) -> str:
        keys = [f"{case} {heads[head]}" for case in cases(task)]
        pkt = np.mean([at_k(values(results, task, "pkt", key, method)).mean() for key in keys])
        return f"{pkt:.2f}, {np.mean([at_k(difference(results, task, key, method)).mean() for key in keys]):+.2f}"

    return by_method(list(heads), cell)
