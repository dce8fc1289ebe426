"""The mechanisms: an overview of all, then one card each."""

from __future__ import annotations

from collections import Counter

import numpy as np

from neucept.analysis import Analysis, Reliability
from neucept.reports.components import (
    STRONG,
    Column,
    Html,
    activation_graph,
    activation_strip,
    caption,
    chip,
    described,
    image,
    interval_bar,
    share_bar,
    tag,
    text,
)
from neucept.reports.figures.canvas import MUTED, colour
from neucept.reports.pathways import pathways_note, pathways_part
from neucept.reports.phrases import (
    between,
    feature_label,
    feature_title,
    features_called,
    number,
    p_value,
    percent,
    shorten,
    unit_names,
)

_SEPARATING = 5  # neurons that a card names
_AGREEMENT = 0.7  # below it a card warns
_KINDS = 6  # labels named in the composition of a mechanism
_CHARACTERS = 240  # of a text that stands for a mechanism
_COLOURS = (
    "Graphs and strips show standardized activations of the {features}: red above the mean of the analysed"
    f" inputs, blue below, saturated at {STRONG:g} standard deviations. The graph shows the mean of a mechanism, the"
    " strip below a picture that input."
)


def mechanism_cards(analysis: Analysis) -> Html:
    """Show all mechanisms in one list, and a card for each."""
    unassigned = int((analysis.mechanisms.labels < 0).sum())
    notes = [
        tag("p", _how_judged(analysis), class_="note"),
        tag("p", _COLOURS.format(features=features_called(analysis.mechanisms)), class_="note"),
        pathways_note(analysis),
        tag("p", f"The clusterer left {number(unassigned)} inputs unassigned.", class_="note") if unassigned else None,
    ]
    return text(_list(analysis), *notes, *(_card(analysis, k) for k in range(len(analysis.mechanisms))))


def _measure(analysis: Analysis) -> str:
    return "precision" if analysis.are_predictions else "labelled as the target"


def _how_judged(analysis: Analysis) -> str:
    if analysis.reliability is None:
        if analysis.critical.target is None:
            return "Reliability is defined for predictions of a class; these mechanisms explain a custom response."
        return "Reliability needs labels of the model's classes, which this recording does not have."
    what = "Precision" if analysis.are_predictions else "The share labelled as the target"
    return (
        f"{what} is cross-fitted: mechanisms are found on one half of the inputs and evaluated on the other, in both"
        " directions. The bar is Wilson's 95% interval, the tick the value over all inputs. Verdicts use Fisher's exact"
        " test at 5%, corrected for the number of mechanisms. Agreement is the share of inputs that both clusterings"
        " assign to the same mechanism."
    )


def _list(analysis: Analysis) -> Html:
    known = analysis.reliability
    start = 0.0
    if known is not None and analysis.precision is not None:
        lowest = min(*(row.low for row in known), analysis.precision[1])
        start = max(0.0, np.floor((lowest - 0.02) * 20) / 20)
    rows = []
    for mechanism, share in enumerate(analysis.mechanisms.shares):
        fill = colour(mechanism)
        cells = [
            tag("a", chip(mechanism), f"mechanism {mechanism}", href=f"#mechanism-{mechanism}", class_="named"),
            text(share_bar([("share", float(share), fill)], f"{share:.0%}"), tag("span", percent(share))),
        ]
        if known is not None and analysis.precision is not None:
            row = known[mechanism]
            bar = interval_bar(*row.interval, analysis.precision[0], start, fill) if row.inputs else None
            cells += [
                text(bar, tag("span", between(*row.interval) if row.inputs else "–")),
                _verdict(row, analysis.are_predictions) if len(known) > 1 else text(),
            ]
        rows.append(tag("li", *(tag("div", cell) for cell in cells)))
    head = ["", "share of inputs"]
    if known is not None:
        head += [f"{_measure(analysis)}, {start:.0%} to 100%", "verdict" if len(known) > 1 else ""]
    top = tag("li", *(tag("div", word) for word in head), class_="head", aria_hidden="true")
    return tag("ul", top, *rows, class_="glance")


def _verdict(row: Reliability, are_predictions: bool) -> Html:
    words = row.verdict
    kind = {"less reliable": "bad", "more reliable": "good"}.get(words, "plain")
    if not are_predictions:
        words, kind = words.replace("less reliable", "fewer").replace("more reliable", "more"), "plain"
    said = words or "no significant difference"
    return tag("span", said, class_=f"verdict {kind}", title=f"corrected {p_value(row.p_corrected)}")


def _expectation(analysis: Analysis, row: Reliability) -> list[tuple[str, str]]:
    """Give the network's own confidence and the precision that it predicts, where they are known."""
    if not analysis.are_predictions or not np.isfinite(row.expected):
        return []
    own = [("the network's own confidence", percent(row.confidence))] if np.isfinite(row.confidence) else []
    within = ("predicted by its confidence", between(row.expected, row.expected_low, row.expected_high))
    by_others = row.confidence_verdict == "overconfident" and row.precision >= row.expected_low
    elsewhere = [("other classes, as confident", percent(row.expected_elsewhere))] if by_others else []
    return [*own, within, *elsewhere]


def _alarm(row: Reliability | None) -> Html | None:
    """Mark mechanisms whose precision differs from what the confidence predicts."""
    kind = {"overconfident": "bad", "underconfident": "plain", "unsure": "plain"}
    if row is None or row.confidence_verdict not in kind:
        return None
    words = "unsure, as its confidence says" if row.confidence_verdict == "unsure" else row.confidence_verdict
    return tag("span", words, class_=f"verdict {kind[row.confidence_verdict]}")


def _card(analysis: Analysis, mechanism: int) -> Html:
    mechanisms = analysis.mechanisms
    several = len(mechanisms) > 1
    row = analysis.reliability[mechanism] if analysis.reliability is not None else None
    size, share = int(mechanisms.sizes[mechanism]), float(mechanisms.shares[mechanism])
    heading = tag("h3", chip(mechanism), f"Mechanism {mechanism}")
    facts = [("inputs", f"{number(size)} ({percent(share)})")]
    if row is not None and row.inputs:
        facts += [
            (_measure(analysis), between(*row.interval)),
            *_expectation(analysis, row),
            *([("other mechanisms", percent(row.rest))] if several else []),
            ("agreement", percent(row.agreement)),
        ]
    known = tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in facts), class_="facts")
    words = f"Mean activation of the {features_called(analysis.mechanisms)} in mechanism {mechanism}"
    graph = tag("div", activation_graph(_columns(analysis, mechanism), words), class_="graph-box", tabindex=0)
    left = tag("div", known, _unstable(row), _composition(analysis, mechanism), _separating(analysis, mechanism))
    return tag(
        "article",
        tag(
            "header",
            heading,
            _verdict(row, analysis.are_predictions) if row is not None and several else None,
            _alarm(row) if analysis.are_predictions else None,
        ),
        tag("div", left, graph, class_="card-body"),
        pathways_part(analysis, mechanism),
        _examples(analysis, mechanism),
        class_="card",
        id=f"mechanism-{mechanism}",
        style=f"--own:{colour(mechanism)}",
    )


def _unstable(row: Reliability | None) -> Html | None:
    """Warn of a mechanism that is not found again, so that its precision is that of another group."""
    if row is None or not row.agreement < _AGREEMENT:
        return None
    words = (
        f"This mechanism is not stable: of the inputs assigned to its counterpart found on half of the inputs, only"
        f" {percent(row.agreement)} belong to it here. Its precision is that of a similar group."
    )
    return tag("p", words, class_="small")


def _columns(analysis: Analysis, mechanism: int) -> list[Column]:
    mechanisms = analysis.mechanisms
    inside = mechanisms.labels == mechanism
    means = analysis.standardized[inside].mean(axis=0)
    columns = [
        Column(layer, [feature_label(mechanisms.features[i]) for i in numbers], means[numbers])
        for layer, numbers in zip(mechanisms.layers, analysis.graph_features, strict=True)
    ]
    response = analysis.standardized_response
    level = np.array([np.nan if response is None else response[inside].mean()])
    return [*columns, Column("output", [shorten(analysis.critical.target_name, 14)], level)]


def _composition(analysis: Analysis, mechanism: int) -> Html | None:
    """Show the labels of a mechanism's inputs, where there are more than two."""
    everywhere = [name for name in analysis.label_groups if name]
    names = [analysis.label_groups[i] for i in np.flatnonzero(analysis.mechanisms.labels == mechanism)]
    if len(set(everywhere)) < 3:
        return None
    order = [name for name, _ in Counter(everywhere).most_common()]
    common = Counter(names).most_common(_KINDS)
    parts = [(name, count / len(names), colour(order.index(name))) for name, count in common]
    rest = 1 - sum(share for _, share, _ in parts)
    bar = share_bar([*parts, ("other", rest, MUTED)], "labels of its inputs")
    legend = [
        tag("span", tag("span", class_="chip", style=f"background:{fill}"), f"{name}: {percent(share, 0)}")
        for name, share, fill in parts
        if share >= 0.02
    ]
    return tag("div", tag("h4", "Labels"), bar, tag("p", *legend, class_="small legend"))


def _separating(analysis: Analysis, mechanism: int) -> Html | None:
    """List the neurons that separate a mechanism from the others, as bars to the left (low) or the right (high)."""
    if len(analysis.mechanisms) < 2:
        return None
    separation = analysis.mechanisms.separation()
    own = separation[mechanism]
    features = dict(zip(separation.index, analysis.mechanisms.features, strict=True))
    limit = max(float(separation.abs().max().max()), 1e-9)
    items = []
    for name in own.abs().sort_values(ascending=False).index[:_SEPARATING]:
        value = float(own[name])
        width = 50 * abs(value) / limit
        left = 50.0 if value > 0 else 50 - width
        fill = tag("i", style=f"left:{left:.1f}%;width:{width:.1f}%", class_="high" if value > 0 else "low")
        level = tag("b", f"{value:+.1f}")
        named = unit_names(analysis.recording, features[name])
        shown = feature_title(features[name], len(analysis.mechanisms.layers))
        words = f"{shown} {named}" if named else shown
        label = tag("span", words, class_="name unit" if named else "name", title=name)
        items.append(tag("li", label, tag("span", fill, class_="bar"), level))
    small = tag("small", "standardized mean difference from the other inputs")
    bars = tag("ul", *items, class_="apart")
    return tag(
        "div",
        tag("h4", f"Separating {features_called(analysis.mechanisms).split()[-1]} ", small),
        bars,
        _set_apart(analysis, mechanism),
    )


def _set_apart(analysis: Analysis, mechanism: int) -> Html | None:
    """Name the single neurons that set a mechanism apart in a weighted space, those that an audit's index names."""
    if analysis.mechanisms.space is None:
        return None
    return tag("p", f"Set apart by {analysis.mechanisms.set_apart_by()[mechanism]}.", class_="small")


def _examples(analysis: Analysis, mechanism: int) -> Html | None:
    """Show the inputs that stand for a mechanism as pictures or, where there are none, as texts."""
    if analysis.pictures is None and not analysis.texts:
        return None
    examples = analysis.examples(mechanism)
    total = int(((analysis.mechanisms.labels == mechanism) & analysis.misclassified).sum())
    said = {
        "typical": ("Typical", "closest to the centre of the mechanism"),
        "borderline": ("Borderline", "closest to another mechanism"),
        "wrong": ("Misclassified", f"the most typical of {number(total)}"),
    }
    rows = [
        tag(
            "div",
            tag("h4", f"{said[kind][0]} ", tag("small", said[kind][1])),
            tag("div", *(_tile(analysis, int(position)) for position in positions), class_="tiles")
            if analysis.pictures is not None
            else tag("ul", *(_text(analysis, int(analysis.rows[position])) for position in positions), class_="texts"),
        )
        for kind, positions in examples.items()
    ]
    return tag("div", *rows, class_="pictures")


def _text(analysis: Analysis, row: int) -> Html:
    """Show one clustered input by the beginning of its text, with its label and number."""
    label = analysis.label_names(np.array([row]))[0]
    words = shorten(analysis.texts[row], _CHARACTERS)
    return tag("li", words, " ", tag("b", label) if label else None, " ", tag("span", f"#{row}", class_="row"))


def _tile(analysis: Analysis, position: int) -> Html:
    """Show one clustered input: its picture, its activations as a strip, its number and label."""
    assert analysis.pictures is not None
    row = int(analysis.rows[position])
    label = analysis.label_names(np.array([row]))[0]
    wrong = bool(analysis.misclassified[position])
    words = described(row, label) + (", misclassified" if wrong else "")
    columns = analysis.graph_features
    breaks = np.cumsum([0, *map(len, columns)])[:-1].tolist()
    levels = analysis.standardized[position, [feature for column in columns for feature in column]]
    return tag(
        "figure",
        image(analysis.pictures.whole[row], words),
        activation_strip(levels, breaks, f"activations of {words}"),
        caption(row, label),
        class_="tile wrong" if wrong else "tile",
        title=words,
    )
