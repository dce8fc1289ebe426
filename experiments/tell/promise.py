"""Tell whether the precision asked is the precision realised: docs/promise.md."""

from __future__ import annotations

from typing import Any

import numpy as np
from claims import table
from promise import QS
from template import Template

HELD_OUT, CALIBRATED = "held-out families", "calibrated families"
DEFAULT, EQUATION = "default", "eq. (9)"
HEAD = ["network, layer, class", "inputs", "groups", "q", "held out: FDR", "power", "localised"]
HEAD += ["eq. (9): FDR", "power"]
HEAD += ["calibrated: FDR", "(9)"]


def tell(results: dict[str, Any]) -> str:
    template = Template("promise")
    cells = [
        (q, row[f"{families} | {DEFAULT} | {q}"])
        for row in results.values()
        for q in QS
        for families in (HELD_OUT, CALIBRATED)
    ]
    worst = [
        f"- {family}, asked {q}: {fdr} ({key.rsplit(' | ', 1)[0]})"
        for key, row in results.items()
        for q in QS
        for family, fdr in row[f"{CALIBRATED} | {DEFAULT} | {q}"]["by_family"].items()
        if fdr > 1.5 * q
    ]
    return template.fill(
        cells=cells_table(results),
        means=means_table(results),
        broken=sum(cell["fdr"] - cell["half"] > q for q, cell in cells),
        total=len(cells),
        worst=template.fill("worst", families="\n".join(worst)) if worst else "",
    )


def rate(cell: dict[str, float]) -> str:
    return f"{cell['fdr']:.3f} ± {cell['half']:.3f}"


def cells_table(results: dict[str, Any]) -> str:
    rows = []
    for key, row in results.items():
        network, layer, label, _ = key.split(" | ")
        groups = f"{row['groups']} of {row['neurons']}"
        for q in QS:
            held, plain, known, known_plain = (
                row[f"{families} | {way} | {q}"] for families in (HELD_OUT, CALIBRATED) for way in (DEFAULT, EQUATION)
            )
            powers = [f"{cell['power']:.2f}" for cell in (held, plain)]
            cells = [
                rate(held),
                powers[0],
                f"{held['localised']:.2f}",
                rate(plain),
                powers[1],
                rate(known),
                rate(known_plain),
            ]
            rows.append([f"{network}, {layer}, {label}", str(row["inputs"]), groups, str(q), *cells])
    return table(HEAD, rows)


def means_table(results: dict[str, Any]) -> str:
    rows = []
    for kind in ("fresh-lenet", "fresh-vgg11", "lenet", "vgg11"):
        layers = [row for key, row in results.items() if key.startswith(kind)]
        for q in QS if layers else ():
            held = [row[f"{HELD_OUT} | {DEFAULT} | {q}"] for row in layers]
            fdr, power, localised = (mean_of([cell[what] for cell in held]) for what in ("fdr", "power", "localised"))
            plain = np.mean([row[f"{HELD_OUT} | {EQUATION} | {q}"]["fdr"] for row in layers])
            known = [row[f"{CALIBRATED} | {DEFAULT} | {q}"]["by_family"] for row in layers]
            family, worst = max(
                ((name, float(np.mean([cell[name] for cell in known]))) for name in known[0]), key=lambda pair: pair[1]
            )
            rows.append(
                [kind, str(len(layers)), str(q), fdr, power, localised, f"{worst:.3f} ({family})", f"{plain:.3f}"]
            )
    head = ["networks", "cells", "asked", "held out: FDR", "power", "localised", "worst family", "eq. (9): FDR"]
    return table(head, rows)


def mean_of(values: list[float]) -> str:
    """Mean over cells with the half-width of its 95% interval."""
    half = 1.96 * np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{np.mean(values):.3f} ± {half:.3f}"
