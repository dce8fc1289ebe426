"""Tell Figures 5 and 12: mechanisms of goldfish and bee."""

from __future__ import annotations

from typing import Any

import numpy as np
from claims import NO, PARTLY, YES, Claim, table
from image_mechanisms import RANDOM
from photographs import LEVEL, K
from read.image_mechanisms import least_and_most, p_words, selected
from read.photographs import agreement, drawn, found_again, measured_cells, tests
from template import Template
from tiny_imagenet import VISIBLE

DIFFER = {True: "Yes, by count:", False: "No:"}
AGAIN = {True: "In part.", False: "Hardly."}


def claims(results: dict[str, Any]) -> list[Claim]:
    cells, ami = drawn(results), agreement(results)
    sure = {key for key, what, p, _ in tests(measured_cells(results)) if what == "object" and p < 0.05}
    size = {name: cell["visible means"]["object"] for name, cell in cells.items()}
    words = ", ".join(f"{name} {min(shares):.0%} to {max(shares):.0%}" for name, shares in size.items())
    again = f"; found again on other images with AMI {min(ami):.2f} to {max(ami):.2f}" if ami else ""
    holds = NO
    if all(f"{name} 22 last" in sure for name in cells):
        holds = YES if ami and min(ami) > 0.5 else PARTLY
    return [
        Claim(
            source="Figures 5 and 12",
            what="mechanisms of goldfish and of bee show different pictures",
            value=f"another network (EfficientNet-Lite0, 22 classes): the object takes {words} of the picture{again}",
            holds=holds,
        )
    ]


def tell(results: dict[str, Any]) -> str:
    template, cells, ami = Template("photographs"), measured_cells(results), agreement(results)
    done = tests(cells)
    sure = [test for test in done if test[2] < 0.05]
    stability = [cell["stability"][str(K)] for cell in cells.values()]
    neurons = [
        f"{name}: {cell['telling']['neuron']}, place {cell['telling']['place']} of {cell['telling']['of']} by mean"
        f" activation, is higher in the one in {cell['telling']['auc']:.0%} of pairs"
        for name, cell in drawn(results).items()
    ]
    return template.fill(
        K=K,
        table=mechanisms_table(cells, results),
        differ=DIFFER[bool(sure)],
        sure=len(sure),
        tests=len(done),
        things=len(VISIBLE),
        rare=sum(reach <= RANDOM // 20 for *_, reach in sure),
        often=RANDOM - RANDOM // 20,
        random=RANDOM,
        most="\n".join(most(template, key, cell) for key, cell in cells.items() if key.split()[1] == "22"),
        again=AGAIN[max(stability + ami) >= 0.5],
        ones=sum(cell["suggested"] == 1 for cell in cells.values()),
        cells=len(cells),
        rand_low=min(stability),
        rand_high=max(stability),
        afresh=afresh(template, results, ami) if ami else "",
        unreliable="\n".join(unreliable(template, name, cell) for name, cell in drawn(results).items()),
        neurons="; ".join(neurons),
        few=few(template, cells),
    )


def mechanisms_table(cells: dict[str, Any], results: dict[str, Any]) -> str:
    rows = []
    for key, cell in cells.items():
        name, reading, which = key.split()
        again = results.get(f"again {name} {which}") if reading == "22" else None
        whole = results.get(f"again {name} {which} all") if reading == "22" else None
        rows.append(
            [
                f"{name}, {int(reading):,}, {which}",
                str(cell["inputs"]),
                f"{cell['precision']:.1%}",
                selected(cell),
                least_and_most(cell),
                f"{unlike(cell)} of {K}",
                p_words(cell["beyond margin"]),
                f"{np.mean(again['AMI']):.2f}" if again else "",
                f"{np.mean(whole['AMI']):.2f}" if whole else "",
            ]
        )
    head = ["class, choice of, layers", "images", "right", "critical at 0.9 and 0.6"]
    head += ["least and most reliable mechanism", "unlike the others", "beyond the margin, p"]
    return table([*head, "found again, AMI", "by all neurons"], rows)


def unlike(cell: dict[str, Any]) -> int:
    """Count the mechanisms that are more or less reliable than the others."""
    return sum(map(bool, cell["verdicts"]))


def most(template: Template, key: str, cell: dict[str, Any]) -> str:
    """Name the property by which the pictures of the mechanisms differ most."""
    name, _, layers = key.split()
    what = max(cell["visible"], key=lambda what: cell["visible"][what][0])
    means = cell["visible means"][what]
    digits = 2 if max(map(abs, means)) < 1 else 0
    return template.fill(
        "most",
        name=name,
        layers=layers,
        what=VISIBLE[what],
        low=f"{min(means):.{digits}f}",
        high=f"{max(means):.{digits}f}",
        share=cell["visible"][what][0],
        random=np.mean(cell["random"][what]),
    )


def afresh(template: Template, results: dict[str, Any], ami: list[float]) -> str:
    shared = np.mean([value for cell in found_again(results) for value in cell["shared neurons"]])
    everything = [value for cell in found_again(results, "all") for value in cell["AMI"]]
    weighted = [value for cell in found_again(results, "contribution") for value in cell["AMI"]]
    default = ""
    if everything and weighted:
        default = template.fill(
            "default",
            **{
                f"{name}_{end.__name__}": end(v)
                for name, v in (("all", everything), ("c", weighted))
                for end in (min, max)
            },
            times=np.mean(everything) / np.mean(ami),
        )
    return template.fill("afresh", shared=shared, low=min(ami), high=max(ami), default=default)


def unreliable(template: Template, name: str, cell: dict[str, Any]) -> str:
    others = cell["random"]["right"]
    return template.fill(
        "unreliable",
        name=name,
        ends=least_and_most(cell),
        precision=cell["precision"],
        wrong=", ".join(f"{count} {what}" for what, count in cell["wrong"].items()),
        explained=cell["right"][0],
        random=np.mean(others),
        reach=sum(value >= cell["right"][0] for value in others),
        draws=len(others),
        p=p_words(cell["beyond margin"]),
        level=LEVEL,
        selected=cell["r2"]["blocks.6 selected"],
        top=cell["r2"]["blocks.6 top 10"],
        chance=cell["r2"]["blocks.6 10 random"],
    )


def few(template: Template, cells: dict[str, Any]) -> str:
    """Tell what was measured with all classes to choose from, in the last block."""
    chosen = {key: cell for key, cell in cells.items() if key.endswith("1000 last")}
    if not chosen:
        return ""
    numbers = [
        f"{key.split()[0]} {cell['inputs']} images, {round(cell['inputs'] * (1 - cell['precision']))} of them wrong"
        for key, cell in chosen.items()
    ]
    return template.fill(
        "few", numbers=", ".join(numbers), unlike=sum(map(unlike, chosen.values())), mechanisms=K * len(chosen)
    )
