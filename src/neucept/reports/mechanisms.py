"""The mechanisms: an overview of all, then one card each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from neucept.analysis import Analysis, Reliability
from neucept.reports.components import (
    STRONG,
    Child,
    Column,
    Html,
    activation_graph,
    activation_strip,
    badge,
    chip,
    facts,
    image,
    interval_bar,
    share_bar,
    table,
    tag,
    term,
    text,
)
from neucept.reports.figures.canvas import MUTED, colour
from neucept.reports.inputs import Shown, file_name, shown_inputs
from neucept.reports.pathways import pathways_note, pathways_part
from neucept.reports.phrases import (
    FEW,
    between,
    feature_label,
    feature_title,
    features_called,
    judgement,
    number,
    percent,
    shorten,
    too_few,
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
    """Show all mechanisms in one table, and a card for each."""
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
        " test at 5%, corrected for the number of mechanisms."
    )


def _list(analysis: Analysis) -> Html:
    """Show a row per mechanism: share, precision beside the network's own confidence, verdict, and if found again."""
    known, again = analysis.reliability, analysis.mechanisms.stability
    start = 0.0
    if known is not None and analysis.precision is not None:
        lowest = min([*(row.low for row in known if row.inputs >= FEW), analysis.precision[1]])
        start = max(0.0, np.floor((lowest - 0.02) * 20) / 20)
    several = len(analysis.mechanisms) > 1
    head: list[Child] = ["mechanism", "share"]
    if known is not None:
        head += [term(_measure(analysis), f"{_measure(analysis)}, {start:.0%} to 100%")]
        head += ["own confidence"] if analysis.are_predictions else []
        head += ["verdict"] if several else []
    head += ["found again"] if again is not None and several else []
    rows = []
    for mechanism, share in enumerate(analysis.mechanisms.shares):
        fill = colour(mechanism)
        cells: list[Child] = [
            tag("a", chip(mechanism), f"mechanism {mechanism}", href=f"#mechanism-{mechanism}", class_="named"),
            tag("div", share_bar([("share", float(share), fill)], f"{share:.0%}"), percent(share), class_="beside"),
        ]
        if known is not None and analysis.precision is not None:
            row, few = known[mechanism], few_inputs(analysis, mechanism)
            judged = row.inputs > 0 and not few
            bar = interval_bar(*row.interval, analysis.precision[0], start, fill) if judged else None
            said = between(*row.interval) if judged else few or "–"
            cells.append(tag("div", bar, tag("span", said, class_=None if few else "named"), class_="beside"))
            if analysis.are_predictions:
                cells.append(percent(row.confidence) if np.isfinite(row.confidence) and not few else "–")
            cells += [_verdict(analysis, mechanism)] if several else []
        cells += [_found_again(analysis, mechanism) or "–"] if again is not None and several else []
        rows.append(cells)
    return tag("div", table(head, rows, "All mechanisms", stacked=True), class_="card glance")


def few_inputs(analysis: Analysis, mechanism: int) -> str:
    """Say that a mechanism has too few inputs to say anything of it; empty where it has enough, or a test says more."""
    size = int(analysis.mechanisms.sizes[mechanism])
    row = None if analysis.reliability is None else analysis.reliability[mechanism]
    told = row is not None and (row.verdict or row.confidence_verdict in ("overconfident", "unsure"))
    return "" if told else too_few(size)


def _verdict(analysis: Analysis, mechanism: int) -> Html | None:
    """Show what tests say of a mechanism, against the others and against its confidence."""
    if analysis.reliability is None:
        return None
    if few_inputs(analysis, mechanism):
        return badge("too few to say")
    row = analysis.reliability[mechanism]
    if not analysis.are_predictions:
        said = row.verdict.replace("less reliable", "fewer").replace("more reliable", "more")
        return badge(said or "no clear difference")
    if len(analysis.mechanisms) == 1 and row.confidence_verdict != "overconfident":
        return None
    words, kind = judgement(row.verdict, row.confidence_verdict)
    return badge(words, kind)


def _found_again(analysis: Analysis, mechanism: int) -> str:
    """Say how well a mechanism is found again, where that was measured."""
    known = analysis.mechanisms.stability
    if known is None or few_inputs(analysis, mechanism):
        return ""
    row = known.set_index("mechanism").loc[mechanism]
    return f"{row['jaccard']:.2f}, {row['found_again']}" if np.isfinite(row["jaccard"]) else ""


def _confidence(analysis: Analysis, row: Reliability) -> list[tuple[Child, Child]]:
    """Give the network's own confidence and the precision that it predicts, where they are known."""
    if not analysis.are_predictions or not np.isfinite(row.expected):
        return []
    own: list[tuple[Child, Child]] = (
        [("own confidence", percent(row.confidence))] if np.isfinite(row.confidence) else []
    )
    within = ("confidence says", between(row.expected, row.expected_low, row.expected_high))
    by_others = row.confidence_verdict == "overconfident" and row.precision >= row.expected_low
    elsewhere = [("other classes", percent(row.expected_elsewhere))] if by_others else []
    return [*own, within, *elsewhere]


def _card(analysis: Analysis, mechanism: int) -> Html:
    mechanisms = analysis.mechanisms
    row = analysis.reliability[mechanism] if analysis.reliability is not None else None
    size, share = int(mechanisms.sizes[mechanism]), float(mechanisms.shares[mechanism])
    few = few_inputs(analysis, mechanism)
    known: list[tuple[Child, Child]] = [("inputs", f"{number(size)} ({percent(share)})")]
    if row is not None and row.inputs and not few:
        known += [(_measure(analysis), between(*row.interval)), *_confidence(analysis, row)]
        if len(mechanisms) > 1:
            known += [("rest of the class", percent(row.rest))] if analysis.are_predictions else []
            known += [("judged on", f"{number(row.inputs)}, {percent(row.agreement)} of them in it")]
    if again := _found_again(analysis, mechanism):
        known.append(("found again", again))
    heading = f"mechanism-{mechanism}-heading"
    header = tag(
        "header", tag("h3", chip(mechanism), f"Mechanism {mechanism}", id=heading), _verdict(analysis, mechanism)
    )
    body: list[Html | None]
    if few:
        body = [facts(known), tag("p", f"{few} about it. It may be a few unusual inputs and no way of deciding.")]
    else:
        words = f"Mean activation of the {features_called(mechanisms)} in mechanism {mechanism}"
        graph = activation_graph(_columns(analysis, mechanism), words)
        right = tag("div", graph, tag("p", _about_graph(analysis), class_="small"), class_="graph-box", tabindex=0)
        left = tag(
            "div", facts(known), _unstable(row), _composition(analysis, mechanism), _separating(analysis, mechanism)
        )
        body = [tag("div", left, right, class_="card-body"), pathways_part(analysis, mechanism)]
    return tag(
        "article",
        header,
        *body,
        _examples(analysis, mechanism),
        class_="card",
        id=f"mechanism-{mechanism}",
        style=f"--own:{colour(mechanism)}",
        aria_labelledby=heading,
    )


def _about_graph(analysis: Analysis) -> str:
    """Say what the circles of the graph are, and that they are no critical neurons where they are none."""
    if analysis.mechanisms.space is not None:
        return "Circles are principal components of all neurons of a layer, not critical neurons."
    if all(feature.selected for feature in analysis.mechanisms.features):
        return "Circles are selected neurons, or the mean of a selected group."
    return "Circles are neurons by which inputs were clustered; dashed: not selected as critical."


def _unstable(row: Reliability | None) -> Html | None:
    """Warn of a mechanism that is not found again, so that its precision is that of another group."""
    if row is None or not row.agreement < _AGREEMENT:
        return None
    words = (
        f"Be careful with this mechanism: of the inputs assigned to its counterpart found on half of the inputs, only"
        f" {percent(row.agreement)} belong to it here. Its precision is that of a similar group."
    )
    return tag("p", words, class_="small")


def _columns(analysis: Analysis, mechanism: int) -> list[Column]:
    mechanisms = analysis.mechanisms
    inside = mechanisms.labels == mechanism
    means = analysis.standardized[inside].mean(axis=0)
    columns = [
        Column(
            layer,
            [feature_label(mechanisms.features[i]) for i in numbers],
            means[numbers],
            [mechanisms.features[i].selected or mechanisms.space is not None for i in numbers],
        )
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
    return tag("div", tag("h4", term("labels", "Labels")), bar, tag("p", *legend, class_="small legend"))


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
    small = tag("small", term("standardized mean difference"), " from the other inputs")
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
    words = f" {analysis.mechanisms.set_apart_by()[mechanism]}."
    return tag("p", term("set apart by", "Set apart by"), words, class_="small")


def _examples(analysis: Analysis, mechanism: int) -> Html | None:
    """Show the inputs that stand for a mechanism as pictures or, where there are none, as texts."""
    if analysis.pictures is None and not analysis.texts:
        return None
    examples = analysis.examples(mechanism)
    inside = analysis.mechanisms.labels == mechanism
    said = {
        "typical": _about_typical(int(inside.sum()), len(examples["typical"])),
        "borderline": ("Borderline", "closest to another mechanism, besides those above"),
        "wrong": ("Misclassified", _about_wrong(int((inside & analysis.misclassified).sum()), examples)),
    }
    rows = []
    for kind, positions in examples.items():
        title, more = said[kind]
        known = _shown(analysis, positions)
        if analysis.pictures is not None:
            tiles = (_tile(analysis, int(at), one) for at, one in zip(positions, known, strict=True))
            body = tag("div", *tiles, class_="tiles")
        else:
            texts = (analysis.texts[row] for row in analysis.rows[positions].tolist())
            body = tag("ul", *map(_text, texts, known), class_="texts")
        heading = tag("h4", term("misclassified" if kind == "wrong" else kind, title), " ", tag("small", more))
        rows.append(tag("div", heading, body))
    return tag("div", *rows, class_="pictures")


def _about_typical(size: int, shown: int) -> tuple[str, str]:
    if size <= shown:
        return ("Its only input", "") if size == 1 else (f"All {size} inputs", "the most typical first")
    return "Typical", "closest to the centre of the mechanism"


def _about_wrong(count: int, examples: Mapping[str, np.ndarray]) -> str:
    """Say how many inputs are misclassified, and that some of them stand above, too."""
    shown = examples.get("wrong", np.empty(0, int))
    words = (
        "the only one"
        if count == 1
        else f"all {count}"
        if count <= len(shown)
        else f"the most typical of {number(count)}"
    )
    above = [kind for kind in ("typical", "borderline") if np.isin(shown, examples.get(kind, [])).any()]
    return f"{words}; some are among the {' and '.join(above)} above" if above else words


def _shown(analysis: Analysis, positions: np.ndarray) -> list[Shown]:
    rows = analysis.rows[positions]
    return shown_inputs(analysis.recording, rows, analysis.label_names(rows), analysis.misclassified[positions])


def _text(words: str, known: Shown) -> Html:
    """Show one clustered input by the beginning of its text, with its label, confidence and name."""
    label = tag("b", known.label) if known.label else None
    sure = None if np.isnan(known.confidence) else tag("span", percent(known.confidence, 0), class_="sure")
    return tag("li", shorten(words, _CHARACTERS), " ", label, " ", sure, " ", file_name(known.name), title=known.words)


def _tile(analysis: Analysis, position: int, known: Shown) -> Html:
    """Show one clustered input: its picture, its activations as a strip, its label, confidence and name."""
    assert analysis.pictures is not None
    columns = analysis.graph_features
    breaks = np.cumsum([0, *map(len, columns)])[:-1].tolist()
    levels = analysis.standardized[position, [feature for column in columns for feature in column]]
    return tag(
        "figure",
        image(analysis.pictures.whole[int(analysis.rows[position])], known.words),
        activation_strip(levels, breaks, f"activations of {known.name}"),
        known.caption(),
        class_="tile wrong" if known.wrong else "tile",
        title=known.words,
    )
