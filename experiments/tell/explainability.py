"""Tell Section 3.1: how much of the response the selection and the first neurons of each ranking keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from ablation import MAGNITUDES
from claims import NO, NOT_IN_THE_PAPER, YES, Claim, counted, table
from common import plus_minus, signed
from explainability import SELECTED
from read.ablation import OURS
from read.explainability import MEASURES, SHOWN, beside, enough, first, kept, of_rankings, table_of
from tasks import TASKS
from template import Template

# Position in a cell (count, R², predictions), decimals, and set of neurons.
COLUMNS = [(0, 0, "selected")]
COLUMNS += [(1, 2, name) for name in ("selected", "top 10", "10 random", "all alive")]
COLUMNS += [(2, 2, name) for name in ("selected", "top 10", "10 random")]
HEAD = ["layer", "neurons selected", "R²: selected", "first 10", "10 random", "all"]
HEAD += ["predictions that stay: selected", "first 10", "10 random"]
BESIDE = ("saliency", "NeuCEPT, published", "random")
ROWS = ("NeuCEPT", "NeuCEPT, published", "saliency", MAGNITUDES, "variance", "random")
HOLD = {True: "hold", False: "do not hold"}


def claims(results: dict[str, Any]) -> list[Claim]:
    rows, values = [], table_of(results)
    counts, *shares = kept(results)
    if counts:
        rows.append(
            Claim(
                source="Section 3.1, the selection",
                what="given the selected neurons, the layer's others add nothing to the prediction",
                value=f"selected at 0.9 ({np.mean(counts):.0%} of the neurons): {plus_minus(shares[0])} of the R² of"
                f" all, and {plus_minus(shares[1])} of predictions stay with the others resampled"
                f" ({networks(of_selections(results))})",
                holds=YES if enough(shares) else NO,
            )
        )
    if len(values):
        r2, stay = first(values)
        rows.append(
            Claim(
                source=f"Section 3.1, the first {SHOWN} neurons",
                what="nothing on how many of the first neurons are enough",
                value=f"{plus_minus(r2)} of the R² of all (random neurons {plus_minus(first(values, 'random')[0])});"
                f" {plus_minus(stay)} of predictions stay with the others resampled"
                f" ({networks(of_rankings(results))})",
                holds=NOT_IN_THE_PAPER,
            )
        )
    return rows


def tell(results: dict[str, Any]) -> str:
    template, values, selections = Template("explainability"), table_of(results), of_selections(results)
    return template.fill(
        selection=of_selection(template, selections) if selections else "",
        first=of_first(template, values, networks(of_rankings(results))) if len(values) else "",
    )


def of_selections(results: dict[str, Any]) -> dict[str, Any]:
    """Return the cells of the selection."""
    return {key: cell for key, cell in results.items() if key.startswith(SELECTED)}


def networks(results: dict[str, Any]) -> str:
    """Say how many networks the cells are from."""
    known = {tuple(key.removeprefix(f"{SELECTED} ").split()[:3]) for key in results}
    count = {task: sum(name == task for name, _, _ in known) for task in ("lenet", "vgg11")}
    return " and ".join(counted(n, TASKS[task].model) for task, n in count.items() if n)


def of_selection(template: Template, selections: dict[str, Any]) -> str:
    """Say what the set selected at 0.9 keeps."""
    counts, *shares = kept(selections)
    by_layer: dict[tuple[str, str], list[dict[str, list[float]]]] = {}
    for key, cell in selections.items():
        for name, by_set in cell.items():
            by_layer.setdefault((key.split()[1], name), []).append(by_set)
    rows = [
        [
            f"{TASKS[task].model}, {name}",
            *(plus_minus([cell[which][at] for cell in cells], digits) for at, digits, which in COLUMNS),
        ]
        for (task, name), cells in by_layer.items()
    ]
    return template.fill(
        "selection",
        share=f"{np.mean(counts):.0%}",
        hold=HOLD[enough(shares)],
        r2=plus_minus(shares[0]),
        stay=plus_minus(shares[1]),
        networks=networks(selections),
        table=table(HEAD, rows),
    )


def of_first(template: Template, values: pd.DataFrame, networks: str) -> str:
    """Say what the first neurons of each ranking keep."""
    r2, stay = first(values)
    differences = [
        template.fill(
            "beside",
            measure=MEASURES[kind],
            count=SHOWN,
            differences=" and ".join(
                f"{signed(beside(values, kind, other))} compared with {other}" for other in BESIDE
            ),
        )
        for kind in ("kernel", "agreement")
    ]
    return template.fill(
        "first",
        count=SHOWN,
        hold=HOLD[enough([r2, stay])],
        r2=plus_minus(r2),
        stay=plus_minus(stay),
        networks=networks,
        table=first_table(values, ROWS),
        all_methods=first_table(values, tuple(values["method"].unique())),
        beside="\n".join(differences),
        best="\n".join(best(template, values[values["count"] != "all"], kind) for kind in MEASURES),
    )


def first_table(values: pd.DataFrame, methods: tuple[str, ...]) -> str:
    columns = [(m, layer) for m in ("kernel", "agreement") for layer in values["layer"].unique()]
    by = values.groupby(["count", "method", "measure", "layer", "seed"])["value"].mean()

    def row(label: str, count: str, method: str) -> list[str]:
        return [label, *(plus_minus(by[count, method, m, layer].to_list()) for m, layer in columns)]

    rows = [row(f"{method}, first {SHOWN}", str(SHOWN), method) for method in methods]
    rows.append(row("all neurons", "all", "NeuCEPT"))
    return table(["method", *(f"{MEASURES[m]}, {layer}" for m, layer in columns)], rows)


def best(template: Template, values: pd.DataFrame, kind: str) -> str:
    """Say how often NeuCEPT is best by one measure, and how far it is from random neurons."""
    one = values[values["measure"] == kind]
    mean = one.groupby(["layer", "kind", "count", "method"], sort=False)["value"].mean().unstack(sort=False)
    wins = mean.idxmax(axis=1).value_counts().reindex(mean.columns, fill_value=0).sort_values(ascending=False)
    by_seed = one.groupby(["task", "method", "seed"])["value"].mean()
    gains = [
        f"{name} {signed((by_seed[task, name] - by_seed[task, 'random']).to_list())} ({TASKS[task].model})"
        for name in OURS
        for task in one["task"].unique()
    ]
    other = wins.drop(list(OURS)).index[0]
    return template.fill(
        "best",
        measure=MEASURES[kind],
        settings=wins.sum(),
        ours=wins[OURS[0]],
        published=wins[OURS[1]],
        other=other,
        other_wins=wins[other],
        gains=", ".join(gains),
    )
