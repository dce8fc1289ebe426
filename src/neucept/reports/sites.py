"""The activation sites on a mechanism's card: what its pathways keep of each, and how much they overlap there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from neucept.mechanism_pathways import MechanismPathways
from neucept.reports.html import Html, tag, text
from neucept.reports.phrases import number, percent

_SITES, _NEURONS = 10, 12  # a card shows so many sites at first, and critical neurons of each


def of_mechanism(table: pd.DataFrame, mechanism: int) -> pd.DataFrame:
    """Give the rows of one mechanism."""
    return table[table["mechanism"] == mechanism]


def sites_part(found: MechanismPathways, mechanism: int) -> Html:
    """List the sites: the share of neurons that a pathway keeps, overlaps, and the critical neurons of each."""
    table = found.by_site()
    limit = max(float(table["kept"].max()), 1e-9)
    mine, neurons = of_mechanism(table, mechanism), of_mechanism(found.by_critical_neuron(), mechanism)
    rows = [_site(row, limit, neurons[neurons["site"] == row["site"]], len(found) > 1) for _, row in mine.iterrows()]
    first = _first(mine)
    overlap = text("overlap ", tag("i", class_="dot within"), " within")
    critical = text() if neurons.empty else text(f"{found.settings['critical']} neurons")
    if len(found) > 1:
        overlap = text(overlap, tag("i", class_="dot others"), " others")
        critical = critical and text(critical, tag("u"), " others")
    head = [tag("span", cell) for cell in ("site", "neurons kept", overlap, critical)]
    listed = tag("ul", tag("li", *head, class_="head"), *(rows[i] for i in first), class_="sites")
    rest = [rows[i] for i in range(len(rows)) if i not in first]
    more = tag("details", tag("summary", f"the other {len(rest)} sites"), tag("ul", *rest, class_="sites"))
    return text(listed, more if rest else None)


def _first(mine: pd.DataFrame) -> list[int]:
    """Choose the sites that are shown at first: those of critical neurons, and where overlaps differ most."""
    apart = (mine["within"] - mine["others"]).fillna(0).to_numpy()
    order = np.lexsort((np.arange(len(mine)), -apart, mine["critical"].to_numpy() == 0))
    return sorted(int(i) for i in order[:_SITES])


def _site(row: pd.Series[Any], limit: float, neurons: pd.DataFrame, several: bool) -> Html:
    """Write the line of one site."""
    kept = percent(float(row["kept"]))
    bar = tag("i", style=f"width:{100 * row['kept'] / limit:.1f}%")
    cells = [
        tag("span", str(row["site"]), class_="name", title=f"{row['site']}, {number(row['neurons'])} neurons"),
        tag("span", tag("span", bar, class_="bar"), tag("b", kept), class_="kept"),
        _overlaps(float(row["within"]), float(row["others"]) if several else np.nan),
        _columns(neurons) if len(neurons) else tag("span"),
    ]
    return tag("li", *cells)


def _overlaps(within: float, others: float) -> Html:
    """Draw two overlaps as dots on a line from 0 to 1."""
    if not np.isfinite(within) and not np.isfinite(others):
        return tag("span", tag("b", "–"), class_="overlaps", title="no two pathways hold a neuron here")
    dots = [
        tag("i", class_=f"dot {name}", style=f"left:{100 * value:.1f}%")
        for name, value in (("others", others), ("within", within))
        if np.isfinite(value)
    ]
    said = percent(within, 0) + (f" / {percent(others, 0)}" if np.isfinite(others) else "")
    words = f"overlap within {percent(within)}" + (f", with others {percent(others)}" if np.isfinite(others) else "")
    return tag("span", tag("span", *dots, class_="line"), tag("b", said), class_="overlaps", title=words)


def _columns(neurons: pd.DataFrame) -> Html:
    """Draw a column for each critical neuron: how many pathways hold it; a line where those of others do."""
    if len(neurons) > _NEURONS:
        strongest = (neurons["kept"] - neurons["others"]).abs().fillna(0).sort_values(ascending=False, kind="stable")
        shown = neurons.loc[np.sort(strongest.index[:_NEURONS])]
    else:
        shown = neurons
    columns = []
    for _, row in shown.iterrows():
        words = f"neuron {row['neuron']}: in {percent(row['kept'])} of the pathways"
        marks = [tag("i", style=f"height:{100 * row['kept']:.0f}%")]
        if np.isfinite(row["others"]):
            words += f", and {percent(row['others'])} of those of the others"
            marks.append(tag("u", style=f"bottom:{100 * row['others']:.0f}%"))
        columns.append(tag("span", *marks, title=words))
    more = len(neurons) - len(shown)
    words = f"{len(neurons)} critical neurons, kept on average by {percent(float(neurons['kept'].mean()))}"
    return tag(
        "span",
        tag("span", *columns, class_="columns", role="img", aria_label=words),
        tag("b", f"{more} more") if more else None,
        class_="critical",
    )
