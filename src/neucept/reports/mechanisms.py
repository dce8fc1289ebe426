"""The mechanisms: all at a glance, then a card each."""

from __future__ import annotations

from collections import Counter

import numpy as np

from neucept.reports.components import chip, interval_bar, section, share_bar, tile
from neucept.reports.graph import STRONG, Column, activation_graph
from neucept.reports.html import Html, tag, text
from neucept.reports.material import Judged, Material, feature_label
from neucept.reports.palette import MUTED, colour
from neucept.reports.pathways import pathways_note, pathways_part
from neucept.reports.phrases import between, number, p_value, percent, shorten

TILES = 8
_DECIDING = 5
_AGREED = 0.7  # agreement below which a card says so
_COLOURS = (
    "Graphs and strips show the activation of the representative neurons: red above the mean of the inputs looked at,"
    f" blue below, full at {STRONG:g} deviations. The graph is the mean of a mechanism, the strip under a picture that"
    " one input."
)
_KINDS = 6  # labels named in the make-up of a mechanism


def mechanisms_section(material: Material) -> Html:
    """All mechanisms at a glance, and a card each."""
    K = len(material.mechanisms)
    none = int((material.mechanisms.labels < 0).sum())
    notes = [
        tag("p", _explained(material), class_="note"),
        tag("p", _COLOURS, class_="note"),
        pathways_note(material),
        tag("p", f"The clusterer assigned {number(none)} inputs to no mechanism.", class_="note") if none else None,
    ]
    cards = [_card(material, mechanism) for mechanism in range(K)]
    return section("mechanisms", "Mechanisms", _glance(material), *notes, *cards)


def _measure(material: Material) -> str:
    return "precision" if material.are_predictions else "labelled as the target"


def _explained(material: Material) -> str:
    if material.judged is None:
        if material.critical.target is None:
            return "Precision needs a target that is a class; these mechanisms are of a response."
        return (
            "Precision needs labels in the model's own classes; this recording has none, so reliability is not judged."
        )
    what = "Precision" if material.are_predictions else "The share labelled as the target"
    return (
        f"{what} is cross-fitted: mechanisms are found on one half of the inputs and judged on the other, both ways."
        " The bar is Wilson's 95% interval, the tick the share of all. A verdict is given at 5%, corrected for the"
        " number of mechanisms (Fisher's exact test). Agreement is how often both ways of finding put an input into the"
        " same mechanism."
    )


def _glance(material: Material) -> Html:
    known = material.judged
    start = 0.0
    if known is not None and material.overall is not None:
        lowest = min(*(row.low for row in known), material.overall[1])
        start = max(0.0, np.floor((lowest - 0.02) * 20) / 20)
    rows = []
    for mechanism, share in enumerate(material.mechanisms.shares):
        fill = colour(mechanism)
        cells = [
            tag("a", chip(mechanism), f"mechanism {mechanism}", href=f"#mechanism-{mechanism}", class_="named"),
            text(share_bar([("share", float(share), fill)], f"{share:.0%}"), tag("span", percent(share))),
        ]
        if known is not None and material.overall is not None:
            row = known[mechanism]
            bar = interval_bar(*row.interval, material.overall[0], start, fill) if row.inputs else None
            cells += [
                text(bar, tag("span", between(*row.interval) if row.inputs else "–")),
                _verdict(row, material.are_predictions),
            ]
        rows.append(tag("li", *(tag("div", cell) for cell in cells)))
    head = ["", "share of inputs"]
    if known is not None:
        head += [f"{_measure(material)}, from {start:.0%} to 100%", "verdict"]
    top = tag("li", *(tag("div", word) for word in head), class_="head", aria_hidden="true")
    return tag("ul", top, *rows, class_="glance")


def _verdict(row: Judged, are_predictions: bool) -> Html:
    words = row.verdict
    kind = {"less reliable": "bad", "more reliable": "good"}.get(words, "plain")
    if not are_predictions:
        words, kind = words.replace("less reliable", "fewer").replace("more reliable", "more"), "plain"
    return tag(
        "span",
        words or "no clear difference",
        class_=f"verdict {kind}",
        title=f"corrected {p_value(row.p_corrected)}",
    )


def _card(material: Material, mechanism: int) -> Html:
    mechanisms = material.mechanisms
    row = material.judged[mechanism] if material.judged is not None else None
    size, share = int(mechanisms.sizes[mechanism]), float(mechanisms.shares[mechanism])
    heading = tag("h3", chip(mechanism), f"Mechanism {mechanism}")
    verdict = _verdict(row, material.are_predictions) if row is not None else None
    facts = [("inputs", f"{number(size)} ({percent(share)})")]
    if row is not None and row.inputs:
        facts += [
            (_measure(material), between(*row.interval)),
            ("elsewhere", percent(row.rest)),
            ("agreement", percent(row.agreement)),
        ]
    listed = tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in facts), class_="facts")
    words = f"Mean activation of the representative neurons in mechanism {mechanism}"
    graph = tag("div", activation_graph(_columns(material, mechanism), words), class_="graph-box", tabindex=0)
    left = tag("div", listed, _unsure(row), _made_of(material, mechanism), _apart(material, mechanism))
    body = tag("div", left, graph, class_="card-body")
    pictures = _pictures(material, mechanism)
    style = f"--own:{colour(mechanism)}"
    return tag(
        "article",
        tag("header", heading, verdict),
        body,
        pathways_part(material, mechanism),
        pictures,
        class_="card",
        id=f"mechanism-{mechanism}",
        style=style,
    )


def _unsure(row: Judged | None) -> Html | None:
    """Say that a mechanism is not found again, so that its precision is that of another group."""
    if row is None or not row.agreement < _AGREED:
        return None
    words = (
        f"Found on half of the inputs, this mechanism holds other inputs: only {percent(row.agreement)} of"
        " those judged belong to it here. Its precision is that of a group that is only similar."
    )
    return tag("p", words, class_="small")


def _columns(material: Material, mechanism: int) -> list[Column]:
    mechanisms = material.mechanisms
    inside = mechanisms.labels == mechanism
    means = material.levels[inside].mean(axis=0)
    columns = [
        Column(layer, [feature_label(mechanisms.features[i]) for i in shown], means[shown])
        for layer, shown in zip(mechanisms.layers, material.shown, strict=True)
    ]
    response = material.response_levels
    level = np.array([np.nan if response is None else response[inside].mean()])
    return [*columns, Column("output", [shorten(material.critical.target_name, 14)], level)]


def _made_of(material: Material, mechanism: int) -> Html | None:
    """Make-up of a mechanism by finer labels, or by those of the model's classes where there are more than two."""
    rows = material.rows[material.mechanisms.labels == mechanism]
    names = material.label_names(rows)
    everywhere = [name for name in material.label_names(material.rows) if name]
    if len(set(everywhere)) < 3:
        return None
    order = [name for name, _ in Counter(everywhere).most_common()]
    counted = Counter(names).most_common()
    parts = [(name, count / len(names), colour(order.index(name))) for name, count in counted[:_KINDS]]
    rest = 1 - sum(share for _, share, _ in parts)
    bar = share_bar([*parts, ("other", rest, MUTED)], "labels of its inputs")
    said = [
        tag("span", tag("span", class_="chip", style=f"background:{fill}"), f"{name}: {percent(share, 0)}")
        for name, share, fill in parts
        if share >= 0.02
    ]
    return tag("div", tag("h4", "Labels of its inputs"), bar, tag("p", *said, class_="small legend"))


def _apart(material: Material, mechanism: int) -> Html | None:
    """List the neurons that set a mechanism apart, as bars to the left (low) or the right (high)."""
    if len(material.mechanisms) < 2:
        return None
    apart = material.mechanisms.separation()[mechanism]
    strongest = apart.abs().sort_values(ascending=False).index[:_DECIDING]
    limit = max(float(material.mechanisms.separation().abs().max().max()), 1e-9)
    items = []
    for name in strongest:
        value = float(apart[name])
        width = 50 * abs(value) / limit
        left = 50.0 if value > 0 else 50 - width
        fill = tag("i", style=f"left:{left:.1f}%;width:{width:.1f}%", class_="high" if value > 0 else "low")
        level = tag("b", f"{value:+.1f}")
        items.append(tag("li", tag("span", name, class_="name", title=name), tag("span", fill, class_="bar"), level))
    heading = tag("h4", "Set apart by ", tag("small", "inside minus outside, in deviations"))
    return tag("div", heading, tag("ul", *items, class_="apart"))


def _pictures(material: Material, mechanism: int) -> Html | None:
    if material.pictures is None:
        return None
    mechanisms = material.mechanisms
    groups = [("Typical", "nearest to the middle of the mechanism", mechanisms.typical(mechanism, TILES))]
    if len(mechanisms) > 1:
        groups.append(("Borderline", "nearest to another mechanism", mechanisms.borderline(mechanism, TILES)))
    wrong = np.flatnonzero((mechanisms.labels == mechanism) & material.wrong)
    if len(wrong):
        order = np.argsort(mechanisms.distances[wrong, mechanism], kind="stable")[:TILES]
        groups.append(("Wrong", f"the most typical of its {number(len(wrong))} wrong predictions", wrong[order]))
    rows = [
        tag(
            "div",
            tag("h4", f"{name} ", tag("small", why)),
            tag("div", *(tile(material, int(p)) for p in positions), class_="tiles"),
        )
        for name, why, positions in groups
    ]
    return tag("div", *rows, class_="pictures")
