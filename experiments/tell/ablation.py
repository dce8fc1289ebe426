"""Tell Figures 8 and 13 to 17: accuracy under noise that spares the neurons a method calls important."""

from __future__ import annotations

from typing import Any

import pandas as pd
from ablation import BY_EVIDENCE, MORE, SIGNS, SWEEP
from claims import NO, PARTLY, YES, Claim, counted, table
from common import plus_minus
from read.ablation import OURS, areas, best, by_layer, parts, place, won
from tasks import TASKS
from template import Template

NOISE = {"positive": "the published noise", "both": "noise of both signs"}


def claims(results: dict[str, Any]) -> list[Claim]:
    values, best_two = [], []
    for signs, one in parts(results).items():
        form = min(forms(one), key=lambda m: place(one, m))
        best_two.append(place(one, OURS[0]) <= 2)
        values.append(
            f"{NOISE[signs]}: ours {place(one, OURS[0])} of {one['method'].nunique()} on average over layers (best"
            f" form: {form}, {place(one, form)}), best in {won(one, OURS[0])} of {one['setting'].nunique()} settings;"
            f" first: {by_layer(one).index[0]}"
        )
    return [
        Claim(
            source="Figures 8 and 13 to 17",
            what="accuracy falls least when noise spares NeuCEPT's neurons, in most experiments",
            value="; ".join(values),
            holds=YES if all(best_two) else PARTLY if any(best_two) else NO,
        )
    ]


def tell(results: dict[str, Any]) -> str:
    template, tables = Template("ablation"), parts(results)
    networks = [
        f"{counted(rows['seed'].nunique(), 'pair')} of {TASKS[task].model}s"
        for task, rows in tables["both"].groupby("task", sort=False)
    ]
    # The two classes of a setting, and the choices of the sweep.
    by_class = ["seed", "layer", "kind", "top", "gamma", "method"]
    spread = tables["positive"].groupby(by_class)["area"].agg(["min", "max"])
    sweep = areas({k: c for k, c in results.items() if not k.endswith(MORE)}, ("change", "top"), "sweep")
    changed = sweep.groupby(["change", "method"])["area"].mean()
    signed, converse = changed.xs("integrated gradients", level="method"), changed["converse"]
    columns = [template.fill("column", noise=NOISE[s], table=by_column(tables[s])) for s in SIGNS]
    held = all(place(one, OURS[0]) <= 2 for one in tables.values())
    return template.fill(
        verdict="holds" if held else "does not hold",
        networks=", ".join(networks),
        signs="\n\n".join(of_noise(template, signs, one) for signs, one in tables.items()),
        spread=(spread["max"] - spread["min"]).mean(),
        spared=signed[next(iter(SWEEP))],
        hit=signed["converse"],
        worst=converse.idxmin(),
        worst_area=converse.min(),
        neucept=converse["NeuCEPT"],
        random=converse["random"],
        columns="\n\n".join(columns),
        changes=by_change(sweep),
    )


def forms(one: pd.DataFrame) -> list[str]:
    """Return the forms of NeuCEPT that were measured."""
    return [method for method in (*OURS, BY_EVIDENCE) if method in set(one["method"])]


def of_noise(template: Template, signs: str, one: pd.DataFrame) -> str:
    lines = [
        template.fill(
            "method",
            method=method,
            place=place(one, method),
            within="within" if place(one, method) <= 2 else "not within",
            won=won(one, method),
            settings=one["setting"].nunique(),
            saliency=paired(one, method, "saliency"),
            random=paired(one, method, "random"),
        )
        for method in forms(one)
    ]
    return template.fill("sign", noise=NOISE[signs], table=by_layer_table(one), methods="\n".join(lines))


def by_column(one: pd.DataFrame) -> str:
    """Return a table of areas, methods by columns."""
    columns = list(one["column"].unique())
    lines = []
    for method, rows in one.groupby("method", sort=False):
        cells = rows.groupby(["column", "seed"])["area"].mean()
        lines.append([str(method), *(plus_minus(cells[column].to_list()) for column in columns)])
    return table(["method", *columns], lines)


def by_change(sweep: pd.DataFrame) -> str:
    """Return a table of areas, one row per change."""
    methods, lines = list(sweep["method"].unique()), []
    for change, rows in sweep.groupby("change", sort=False):
        mean = rows.groupby("method")["area"].mean()
        wins = best(rows.assign(area=-rows["area"] if change == "converse" else rows["area"]))
        cells = [f"{mean[method]:.2f}" for method in methods]
        lines.append([str(change), *cells, f"{wins[list(OURS)].sum()} of {wins.sum()}"])
    return table(["changed", *methods, "NeuCEPT, either form, is best in"], lines)


def by_layer_table(one: pd.DataFrame) -> str:
    wide = by_layer(one)
    ranks = wide.rank(ascending=False, method="min").astype(int)
    lines = [
        [str(method), *(f"{value:.3f} ({ranks.loc[method, column]})" for column, value in row.items())]
        for method, row in wide.iterrows()
    ]
    return table(["method", *wide.columns], lines)


def paired(one: pd.DataFrame, method: str, other: str) -> str:
    """Return by layer how far a method's area is from another's, paired by network."""
    area = one.groupby(["layer", "method", "seed"])["area"].mean()
    return ", ".join(
        f"{layer} {plus_minus((area[layer, method] - area[layer, other]).to_list(), 3)}"
        for layer in one["layer"].unique()
        if method in area[layer]
    )
