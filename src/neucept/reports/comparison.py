"""The page of two networks: one file, like the report."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from neucept.comparison.comparison import Comparison
from neucept.errors import InputError
from neucept.recording.batches import by_number
from neucept.reports.compared import Shown
from neucept.reports.components import plot, section
from neucept.reports.figures.comparison import colours, flow, heat_map
from neucept.reports.html import Child, Html, table, tag, text
from neucept.reports.page import check_installed, check_writable, write_text
from neucept.reports.phrases import number, p_value, percent
from neucept.reports.pictures import Pictures, open_pictures

_SECTIONS = {
    "summary": "Summary",
    "flow": "How inputs move",
    "matches": "Mechanisms",
    "together": "What both tell apart",
    "apart": "What one alone tells apart",
    "only": "Predicted by one alone",
    "words": "How to read this page",
}
_WORDS = {
    "mechanism": "A cluster of inputs in which the critical neurons of a network act alike; 0 is its largest.",
    "Jaccard index": "Share of the inputs of two mechanisms that are in both: 1 if they hold the same, 0 if none.",
    "found again": "The index of a mechanism with itself, found on other halves of the inputs: what even the same"
    " network leaves to chance. A match that reaches it is as good as can be.",
    "adjusted mutual information": "How much one division of the inputs tells about the other, beyond chance: 1 if they"
    " are the same, 0 if unrelated.",
    "p": "Probability of an overlap as large between unrelated divisions, corrected for the number of pairs (Holm).",
    "interval": "95%, over inputs drawn anew; the mechanisms themselves are held fixed.",
}


def write_page(comparison: Comparison, path: Path, data: Any = None, title: str | None = None) -> Path:
    """Write the page of a comparison; see `Comparison.report`."""
    check_installed()
    check_writable(path)
    pictures, names = _pictures(data, int(comparison.rows.max()) + 1, comparison.outputs.get("inputs"))
    return write_text(path, build(comparison, pictures, names, title))


def build(
    comparison: Comparison,
    pictures: Pictures | None = None,
    names: Sequence[str] | None = None,
    title: str | None = None,
) -> str:
    """Put the page together, as text.

    Parameters
    ----------
    comparison : Comparison
        Of `neucept.compare`.
    pictures : Pictures, optional
        Of the inputs.
    names : sequence of str, optional
        Name of the label of each input.
    title : str, optional
        Of the page.
    """
    from plotly.offline import get_plotlyjs

    one, other = comparison.names
    heading = title or f"How {one} and {other} decide “{comparison.target_name}”"
    show = Shown(comparison, pictures, names)
    parts = {
        "summary": _summary(comparison, heading),
        "flow": _flow(comparison),
        "matches": _matches(comparison),
        "together": show.together(),
        "apart": show.apart(),
        "only": show.only(),
        "words": section("words", "How to read this page", _listed(_WORDS)),
    }
    links = [tag("li", tag("a", name, href=f"#{key}")) for key, name in _SECTIONS.items() if parts[key] is not None]
    source = files("neucept.reports")
    return Template(source.joinpath("page.html").read_text(encoding="utf-8")).substitute(
        title=text(heading),
        style=source.joinpath("page.css").read_text(encoding="utf-8"),
        contents=tag("ul", *links),
        body=text(*parts.values()),
        plotly=get_plotlyjs(),
        script=source.joinpath("page.js").read_text(encoding="utf-8"),
    )


def _pictures(data: Any, least: int, recorded: float | None) -> tuple[Pictures | None, list[str] | None]:
    """Pictures and label names of the data; without recordings a comparison knows only how many there are at least."""
    if data is None:
        return None, None
    source: Any = by_number(data)
    pair = isinstance(source, tuple | list) and len(source) == 2 and len(source[0]) == len(source[1])
    length = len(source[0]) if pair else len(source)
    if length < least:
        raise InputError(
            f"data has {length} inputs, but the comparison names input {least - 1}; give the recorded ones."
        )
    labels = source[1] if pair else getattr(source, "labels", None)
    pictures = open_pictures(data, length if recorded is None else int(recorded))
    if labels is None:
        return pictures, None
    known = list(getattr(source, "class_names", None) or ())
    return pictures, [known[i] if 0 <= i < len(known) else str(i) for i in np.asarray(labels).tolist()]


def _summary(comparison: Comparison, heading: str) -> Html:
    one, other = comparison.names
    value, low, high = comparison.agreement
    K, common, outputs = comparison.counts, int(comparison.common.sum()), comparison.outputs
    lead = (
        f"Both networks predict “{comparison.target_name}” for {number(common)} inputs. {one} does so by {K[0]}"
        f" mechanisms, {other} by {K[1]}; {len(comparison.matches)} of them are matched, and"
        f" {percent(comparison.moved)} of these inputs are not in matched mechanisms (matching is one to"
        " one: where one network divides a mechanism of the other, only the matched part counts as staying)."
    )
    tiles = [
        ("agreement of the mechanisms", f"{value:.2f}", f"{low:.2f} to {high:.2f}; 1 is the same, 0 unrelated"),
        (
            "inputs of both",
            number(common),
            f"{' and '.join(number(len(rows)) for rows in comparison.only)} of one alone",
        ),
    ]
    if outputs:
        tiles.append(("predictions alike", percent(outputs["agreement"]), f"of {number(outputs['inputs'])} inputs"))
    if "accuracy_a" in outputs:
        a, b = percent(outputs["accuracy_a"]), percent(outputs["accuracy_b"])
        tiles.append(("accuracy", a, f"of {one}; {b} of {other}"))
    return tag(
        "header",
        tag("p", "NeuCEPT: two networks, mechanism by mechanism", class_="brand"),
        tag("h1", heading),
        tag("p", lead, class_="lead"),
        tag("dl", *(tag("div", tag("dt", n), tag("dd", v, tag("small", d))) for n, v, d in tiles), class_="stats"),
        tag("p", _alone(comparison), class_="note"),
        id="summary",
    )


def _alone(comparison: Comparison) -> str:
    """Say which mechanisms one network has that the other lacks."""
    parts = []
    for name, alone in zip(comparison.names, comparison.alone, strict=True):
        if alone:
            listed = ", ".join(map(str, alone))
            parts.append(f"{name}'s {'mechanisms' if len(alone) > 1 else 'mechanism'} {listed}")
    if not parts:
        return "Every mechanism of either network overlaps one of the other's more than chance would have it."
    return f"No better than chance is the overlap of {' and '.join(parts)} with any of the other network's."


def _flow(comparison: Comparison) -> Html:
    one, other = comparison.names
    moves = comparison.movements()
    cells: list[list[Child]] = [[str(name), *(number(v) for v in row)] for name, row in moves.iterrows()]
    panels = [
        tag("div", tag("h3", f"From {one} (left) to {other} (right)"), plot(flow(comparison), "Flow of the inputs")),
        tag("div", tag("h3", "Pairs of mechanisms"), plot(heat_map(comparison), "Jaccard index of each pair")),
    ]
    numbers = tag(
        "details",
        tag("summary", "The numbers"),
        table(["", *moves.columns], cells, "Inputs of each pair of mechanisms", range(1, moves.shape[1] + 1)),
    )
    note = "Matched mechanisms share a colour; of the second network, grey ones have no match."
    return section(
        "flow", "How inputs move", tag("p", note, class_="note"), tag("div", *panels, class_="panels"), numbers
    )


def _matches(comparison: Comparison) -> Html:
    rows: list[list[Child]] = []
    fills = dict(zip(comparison.names, colours(comparison), strict=True))
    other = {comparison.names[0]: comparison.names[1], comparison.names[1]: comparison.names[0]}
    for row in comparison.table().to_dict("records"):
        network, mechanism = row["network"], row["mechanism"]
        chip = tag("span", class_="chip", style=f"background:{fills[network][mechanism]}", aria_hidden="true")
        partner = f"{other[network]} {row['match']}" if row["match"] >= 0 else f"({other[network]} {row['nearest']})"
        rows.append(
            [
                tag("span", chip, f"{network} {mechanism}", class_="named"),
                number(row["inputs"]),
                partner,
                f"{row['jaccard']:.2f} ({row['low']:.2f} to {row['high']:.2f})",
                f"{row['repeated']:.2f}",
                p_value(row["p_corrected"]),
                percent(row["inside"]),
                row["verdict"],
            ]
        )
    head = ["mechanism", "inputs", "match", "Jaccard index", "found again", "corrected p", "in the nearest", "verdict"]
    note = (
        "A match in brackets is only the nearest mechanism of the other network. Being beyond chance says that two"
        " mechanisms are related; the index says how alike they are, beside what the same network reaches when its"
        " mechanisms are found again on other inputs."
    )
    listed = table(head, rows, "Mechanisms of both networks", (1, 3, 4, 5, 6))
    return section("matches", "Mechanisms", tag("p", note, class_="note"), listed)


def _listed(words: dict[str, str]) -> Html:
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", said)) for name, said in words.items()), class_="words")
