"""The pathways of a mechanism on its card: what they respond to, how they overlap, and what they keep of each site."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from neucept.analysis import Analysis
from neucept.mechanism_pathways import MechanismPathways
from neucept.pathways import picture
from neucept.reports.components import Html, image, tag, term, text
from neucept.reports.inputs import file_name
from neucept.reports.phrases import number, p_value, percent

_TILES = 7  # typical inputs with their gradients: one line holds those and the mean
_NAMED, _CLEAR = 3, 0.2  # critical neurons that a card names, and the difference of shares above which it does
_SITES, _NEURONS = 10, 12  # sites that a card shows unfolded, and critical neurons of each


def pathways_note(analysis: Analysis) -> Html | None:
    """Explain the pathways on the cards, or why there are none."""
    found = analysis.pathways
    if found is None:
        return tag("p", analysis.why_no_pathways, class_="note") if analysis.why_no_pathways else None
    share = percent(1 - found.settings["sparsity"])
    words = (
        f"A pathway is the {share} of all neurons that contribute most to the response of one input"
        f" ({found.settings['method']}). The overlap of two pathways is the Jaccard index of their neurons. The pathway"
        " gradient is the gradient of the response in the network masked by the pathway: red increases the response,"
        " blue decreases it. A site is one call of an activation function; its bar is the share of its neurons that a"
        " pathway keeps."
    )
    if len(found) > 1:
        more = "more than" if found.p_value < 0.05 else "not significantly more than"
        words += (
            f" Among {number(len(found.rows))} inputs drawn at random, pathways of the same mechanism overlap {more}"
            f" those of different mechanisms (permutation test, {p_value(found.p_value)})."
        )
    return tag("p", words, class_="note")


def pathways_part(analysis: Analysis, mechanism: int) -> Html | None:
    """Show the pathways of one mechanism."""
    found = analysis.pathways
    if found is None:
        return None
    small = tag("small", "the neurons that carry the response, and the parts of the input they depend on")
    said = tag("p", _overlap_words(found, mechanism), " ", _critical_words(found, mechanism), class_="small")
    gradients = _gradients(analysis, mechanism)
    return tag(
        "div",
        tag("h4", term("pathway", "Pathway"), " ", small),
        gradients,
        said,
        sites_part(found, mechanism),
        class_="pathway",
    )


def _overlap_words(found: MechanismPathways, mechanism: int) -> str:
    row = found.table().iloc[mechanism]
    words = f"The mean overlap is {percent(row['within'])} within this mechanism"
    if len(found) > 1:
        words += f" and {percent(row['others'])} with other mechanisms (corrected {p_value(row['p_corrected'])})"
    words += "."
    if np.isfinite(row["kept_critical"]) and np.isfinite(row["kept_rest"]):
        words += (
            f" At the recorded layers, a pathway keeps {percent(row['kept_critical'])} of the"
            f" {_named(found)} neurons and {percent(row['kept_rest'])} of the other neurons."
        )
    return words


def _named(found: MechanismPathways) -> str:
    """Call the neurons critical that were selected, and no others."""
    return "critical" if found.settings["critical"] == "selected" else str(found.settings["critical"])


def _of_mechanism(table: pd.DataFrame, mechanism: int) -> pd.DataFrame:
    return table[table["mechanism"] == mechanism]


def _critical_words(found: MechanismPathways, mechanism: int) -> str | None:
    """Name the marked neurons that a mechanism's pathways keep much more, or less, often than those of the others."""
    own = _of_mechanism(found.by_critical_neuron(), mechanism)
    difference = (own["kept"] - own["others"]).abs()
    clear = difference[difference >= _CLEAR].sort_values(ascending=False, kind="stable").index[:_NAMED]
    if not len(clear):
        return None
    named = [
        f"{row['site']}:{row['neuron']} (kept by {percent(row['kept'], 0)} and {percent(row['others'], 0)})"
        for _, row in own.loc[clear].iterrows()
    ]
    return f"Its pathways differ most from the others at {', '.join(named)}."


def _gradients(analysis: Analysis, mechanism: int) -> Html | None:
    """Draw the mean pathway gradient over the mean of the most typical inputs, then those one by one."""
    found, pictures = analysis.pathways, analysis.pictures
    if found is None or found.typical_gradients is None or pictures is None or pictures.means is None:
        return None
    own = np.flatnonzero(found.typical_labels == mechanism)
    gradients, rows = found.typical_gradients[own], found.typical_rows[own].tolist()
    sign = "red where more increases the response, blue where it decreases it"
    words = f"mean pathway gradient of mechanism {mechanism} over the mean of its {len(own)} typical inputs, {sign}"
    tiles = [_tile(gradients.mean(axis=0), pictures.means[mechanism], words, f"mean of {len(own)}")]
    for i, row in enumerate(rows[:_TILES]):
        name = analysis.recording.name(row)
        tiles.append(_tile(gradients[i], pictures.seen[row], f"pathway gradient of {name}, {sign}", file_name(name)))
    return tag("div", *tiles, class_="tiles")


def _tile(gradient: np.ndarray, ground: np.ndarray, words: str, said: str | Html) -> Html:
    """Show one gradient, (channels, H, W), over one picture."""
    drawn = image(picture(gradient[None], [ground])[0], words)
    return tag("figure", drawn, tag("figcaption", said), class_="tile", title=words)


# Sites


def sites_part(found: MechanismPathways, mechanism: int) -> Html:
    """List the sites: the share of neurons that a pathway keeps, overlaps, and the critical neurons of each."""
    table = found.by_site()
    limit = max(float(table["kept"].max()), 1e-9)
    own, neurons = _of_mechanism(table, mechanism), _of_mechanism(found.by_critical_neuron(), mechanism)
    rows = [
        _site(row, limit, neurons[neurons["site"] == row["site"]], len(found) > 1, _named(found))
        for _, row in own.iterrows()
    ]
    # Unfolded are the sites of critical neurons, then those where overlaps differ most.
    difference = (own["within"] - own["others"]).fillna(0).to_numpy()
    order = np.lexsort((np.arange(len(own)), -difference, own["critical"].to_numpy() == 0))
    first = sorted(int(i) for i in order[:_SITES])
    overlap = text(term("overlap"), " ", tag("i", class_="dot within"), " within")
    critical = text() if neurons.empty else text(f"{_named(found)} neurons")
    if len(found) > 1:
        overlap = text(overlap, tag("i", class_="dot others"), " others")
        critical = critical and text(critical, tag("u"), " others")
    head = [tag("span", cell) for cell in (term("site"), term("neurons kept"), overlap, critical)]
    unfolded = tag("ul", tag("li", *head, class_="head"), *(rows[i] for i in first), class_="sites")
    rest = [rows[i] for i in range(len(rows)) if i not in first]
    more = tag("details", tag("summary", f"{len(rest)} other sites"), tag("ul", *rest, class_="sites"))
    return text(unfolded, more if rest else None)


def _site(row: pd.Series[Any], limit: float, neurons: pd.DataFrame, several: bool, called: str) -> Html:
    """Write the line of one site."""
    kept = percent(float(row["kept"]))
    bar = tag("i", style=f"width:{100 * row['kept'] / limit:.1f}%")
    cells = [
        tag("span", str(row["site"]), class_="name", title=f"{row['site']}, {number(row['neurons'])} neurons"),
        tag("span", tag("span", bar, class_="bar"), tag("b", kept), class_="kept"),
        _overlaps(float(row["within"]), float(row["others"]) if several else np.nan),
        _columns(neurons, called) if len(neurons) else tag("span"),
    ]
    return tag("li", *cells)


def _overlaps(within: float, others: float) -> Html:
    """Draw two overlaps as dots on a line from 0 to 1."""
    if not np.isfinite(within) and not np.isfinite(others):
        return tag("span", tag("b", "–"), class_="overlaps", title="no two pathways keep a neuron here")
    dots = [
        tag("i", class_=f"dot {name}", style=f"left:{100 * value:.1f}%")
        for name, value in (("others", others), ("within", within))
        if np.isfinite(value)
    ]
    said = percent(within, 0) + (f" / {percent(others, 0)}" if np.isfinite(others) else "")
    words = f"overlap within {percent(within)}" + (f", with others {percent(others)}" if np.isfinite(others) else "")
    return tag("span", tag("span", *dots, class_="line"), tag("b", said), class_="overlaps", title=words)


def _columns(neurons: pd.DataFrame, called: str) -> Html:
    """Draw a column for each marked neuron: how many pathways keep it; a line where those of others do."""
    strongest = (neurons["kept"] - neurons["others"]).abs().fillna(0).sort_values(ascending=False, kind="stable")
    columns = []
    for _, row in neurons.loc[np.sort(strongest.index[:_NEURONS])].iterrows():
        words = f"neuron {row['neuron']}: kept by {percent(row['kept'])} of the pathways"
        marks = [tag("i", style=f"height:{100 * row['kept']:.0f}%")]
        if np.isfinite(row["others"]):
            words += f", and by {percent(row['others'])} of those of the others"
            marks.append(tag("u", style=f"bottom:{100 * row['others']:.0f}%"))
        columns.append(tag("span", *marks, title=words))
    more = len(neurons) - len(columns)
    words = f"{len(neurons)} {called} neurons, kept on average by {percent(float(neurons['kept'].mean()))}"
    return tag(
        "span",
        tag("span", *columns, class_="columns", role="img", aria_label=words),
        tag("b", f"{more} more") if more else None,
        class_="critical",
    )
