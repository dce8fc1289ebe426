"""Tell Table 1: parameters and accuracies of the networks."""

from __future__ import annotations

from typing import Any

from claims import NO, PARTLY, YES, Claim, table
from common import plus_minus
from tasks import KINDS, TASKS
from template import Template

LEAST = {"LeNet": 98.0, "VGG11": 91.0}  # the paper's test accuracy, percent
PARAMETERS = {"LeNet": (61_706, 61_026, 61_026), "VGG11": (2_976_938, 2_974_882, 2_974_882)}
TRAINED = {"LeNet": (61_706, 61_026, 61_026), "VGG11": (2_976_938, 1_772_290, 2_974_882)}
VERDICT = {YES: "Holds.", PARTLY: "Does not hold throughout.", NO: "Does not hold."}


def claims(results: dict[str, Any]) -> list[Claim]:
    rows = []
    for model, least in LEAST.items():
        cells = [cell for key, cell in results.items() if key.split()[0] == model.lower()]
        if not cells:
            continue
        as_printed = all(
            tuple(cell[kind][what] for kind in KINDS) == expected[model]
            for cell in cells
            for what, expected in (("parameters", PARAMETERS), ("trained", TRAINED))
        )
        lowest = {kind: min(100 * cell[kind]["accuracy"] for cell in cells) for kind in KINDS}
        accurate = min(lowest.values()) >= least
        rows.append(
            Claim(
                source=f"Table 1, {model}",
                what=f"numbers of parameters; test accuracies of at least {least:.0f}%",
                value=f"parameters {'as printed' if as_printed else 'differ'}; lowest accuracies "
                + ", ".join(f"{kind} {value:.1f}%" for kind, value in lowest.items())
                + f" ({len(cells)} sets of three networks)",
                holds=(YES if accurate else PARTLY) if as_printed else NO,
            )
        )
    return rows


def tell(results: dict[str, Any]) -> str:
    template = Template("networks")
    below = [
        f"{kind} of {key} ({100 * cell[kind]['accuracy']:.1f}%)"
        for key, cell in results.items()
        for kind in KINDS
        if 100 * cell[kind]["accuracy"] < LEAST[TASKS[key.split()[0]].model]
    ]
    given = [key for key, cell in results.items() if all(cell[kind].get("given", False) for kind in KINDS)]
    outcomes = [
        template.fill("outcome", source=c.source, value=c.value, verdict=VERDICT[c.holds]) for c in claims(results)
    ]
    rows = []
    for task in TASKS:
        cells = [cell for key, cell in results.items() if key.split()[0] == task]
        for kind in KINDS if cells else ():
            sizes = [f"{cells[0][kind][what]:,}" for what in ("parameters", "trained")]
            accuracies = [100 * cell[kind]["accuracy"] for cell in cells]
            rows.append([task, kind, *sizes, f"{plus_minus(accuracies)}%", str(len(cells))])
    return template.fill(
        outcomes="\n".join(outcomes),
        below=less_accurate(template, below) if below else "",
        given=template.fill("given", networks=", ".join(given)) if given else "",
        table=table(["task", "network", "parameters", "trained", "test accuracy", "networks"], rows),
    )


def less_accurate(template: Template, networks: list[str]) -> str:
    explained = "" if any(not name.startswith("prior") for name in networks) else template.fill("explained")
    return template.fill("below", networks=", ".join(networks), epochs=TASKS["vgg11"].epochs[0], explained=explained)
