"""The summary, the map of the inputs, the neurons that separate mechanisms, and the number of clusters."""

from __future__ import annotations

from collections import Counter

import numpy as np

from neucept.analysis import Analysis, Reliability
from neucept.analysis.pictures import Embedding
from neucept.mechanisms.n_clusters import ALPHA, STABLE, NumberOfClusters
from neucept.reports import figures, phrases
from neucept.reports.components import Child, Html, chip, plot, sprite, statistics, table, tag, term, text
from neucept.reports.figures.canvas import plain
from neucept.reports.inputs import shown_inputs
from neucept.reports.mechanisms import few_inputs

_WEIGHTS = {
    "contribution": "each weighted by what it adds to the response",
    "posterior": "each weighted by its probability of being critical",
    "metric": "with the distances that the rest of the network sees",
    "all": "unweighted",
}
_GAIN = 0.02  # of the area under the curve that is worth a sentence
_LABELS = 12  # colours of the map by label; the others share one


def summary(analysis: Analysis, heading: str, back: str | None = None) -> Html:
    """Write the head of the report: what a reader takes away in twenty seconds; ``back`` is the index of an audit."""
    reliability = _about_reliability(analysis)
    finding = "finding bad" if _is_alarming(analysis) else "finding"
    if analysis.least_reliable is not None and not _is_alarming(analysis):
        finding = "finding plain"
    notes = (_about_stability(analysis), _about_selection(analysis), _about_features(analysis))
    return tag(
        "header",
        tag("p", "NeuCEPT: critical neurons and mechanisms", class_="brand"),
        tag("p", tag("a", "← All classes", href=back), class_="back") if back else None,
        tag("h1", heading),
        tag("p", f"{_about_inputs(analysis)} {_about_number(analysis)}", class_="lead"),
        tag("p", reliability, class_=finding) if reliability else None,
        statistics(_numbers(analysis)),
        tag("p", " ".join(filter(None, notes)), class_="note"),
        id="summary",
    )


def _is_alarming(analysis: Analysis) -> bool:
    """Tell an alarm from mistakes that the network's own confidence announces."""
    worst = analysis.least_reliable
    if worst is None or analysis.reliability is None:
        return bool(analysis.overconfident)
    return bool(analysis.overconfident) or analysis.reliability[worst].confidence_verdict != "unsure"


def _about_inputs(analysis: Analysis) -> str:
    m, n = len(analysis.rows), len(analysis.recording)
    model, target, precision = analysis.model_name, analysis.critical.target_name, analysis.precision
    if analysis.are_predictions:
        first = f"{model} predicts “{target}” for {phrases.number(m)} of {phrases.number(n)} inputs"
        if precision is None:
            return f"{first}. Their precision is unknown: the recording has no labels of the model's classes."
        return f"{first}; {phrases.between(*precision)} of these predictions are correct."
    first = f"This report covers {phrases.number(m)} of {phrases.number(n)} inputs of {model}"
    if analysis.critical.target is None:
        return f"{first} and explains a custom response."
    if precision is None:
        return f"{first} and explains “{target}”."
    return f"{first} and explains “{target}”; {phrases.between(*precision)} of these inputs have that label."


def _about_number(analysis: Analysis) -> str:
    """Say how many mechanisms there are, whether there is more than one, and which are too small to say anything of."""
    sizes = analysis.mechanisms.sizes
    small = [str(k) for k in range(len(sizes)) if few_inputs(analysis, k)]
    if not small:
        return _about_choice(analysis)
    which = f"mechanism {small[0]}" if len(small) == 1 else f"mechanisms {phrases.join(small)}"
    return f"{_about_choice(analysis)} Of {which} nothing is said: fewer than {phrases.FEW} inputs each."


def _about_choice(analysis: Analysis) -> str:
    K, comparison = len(analysis.mechanisms), analysis.n_clusters
    p = phrases.p_value(comparison.p_one)
    if comparison.by == "reliability" and comparison.suggested != K:
        treated = "treated as one mechanism" if K == 1 else f"clustered into {K} mechanisms"
        return f"The inputs are {treated} ({comparison.suggested} would be suggested)."
    if K == 1:
        rejected = comparison.by != "reliability" and comparison.p_one <= ALPHA
        tail = f", although the test rejects a single one ({p})" if rejected else ""
        return f"The inputs are treated as one mechanism{tail}."
    if comparison.by == "reliability":
        return f"The inputs form {comparison}"
    if comparison.p_one > ALPHA:
        return (
            f"The test does not reject a single mechanism ({p}): the {K} groups below may be parts of one cluster"
            " rather than different mechanisms."
        )
    other = f" ({comparison.suggested} would be suggested)" if comparison.suggested != K else ""
    return f"The inputs form {K} mechanisms{other}; the test rejects a single one ({p})."


def _about_stability(analysis: Analysis) -> str | None:
    """Warn of clusters that are not found again on other halves of the inputs."""
    compared, K = analysis.n_clusters.table, len(analysis.mechanisms)
    stability = compared.loc[compared["mechanisms"] == K, "stability"].to_numpy(float)
    if K < 2 or not len(stability) or not stability[0] < STABLE:
        return None
    again = analysis.mechanisms.stability
    known = [] if again is None else again["found_again"].tolist()
    one_by_one = " Each by itself is found again, though." if known and set(known) == {"stable"} else ""
    return (
        f"Taken together, clusters of two halves of the inputs agree poorly (agreement of halves {stability[0]:.2f}, at"
        f" best 1): treat the {K} mechanisms as a rough partition.{one_by_one}"
    )


def _about_reliability(analysis: Analysis) -> str | None:
    """Say which mechanism is the least reliable, or that none stands out."""
    rows = analysis.reliability
    if rows is None or not analysis.are_predictions:
        return None
    alarms = [_about_confidence(k, rows[k]) for k in analysis.overconfident]
    told = len(analysis.mechanisms) > 1 and (analysis.least_reliable is not None or not alarms)
    compared = _about_precisions(analysis) if told else ""
    return " ".join(filter(None, [*alarms, compared])) or None


def _about_confidence(mechanism: int, row: Reliability) -> str:
    """Say that a network is confidently wrong, and by how much."""
    share = phrases.percent(row.precision)
    correct = f"Mechanism {mechanism} is confidently wrong: {share} of its predictions are correct"
    own = f" It is {phrases.percent(row.confidence)} confident there." if np.isfinite(row.confidence) else ""
    if row.precision < row.expected_low or not row.expected_elsewhere > row.expected:
        return f"{correct} where the network's own confidence predicts {phrases.percent(row.expected)}.{own}"
    others = phrases.percent(row.expected_elsewhere)
    return f"{correct}; other classes are right in {others} at this confidence.{own}"


def _about_precisions(analysis: Analysis) -> str:
    """Compare the precision of mechanisms with each other."""
    rows, worst = analysis.reliability, analysis.least_reliable
    assert rows is not None
    if worst is None:
        known = [row.precision for k, row in enumerate(rows) if row.inputs and not few_inputs(analysis, k)]
        if not known:
            return ""
        low, high = phrases.percent(min(known), 1), phrases.percent(max(known), 1)
        span = f"ranges from {low} to {high}" if low != high else f"is {low} in each"
        return f"No mechanism is significantly less reliable than the others: precision {span}."
    row = rows[worst]
    share = phrases.percent(float(analysis.mechanisms.shares[worst]))
    rest = phrases.percent(row.rest, 1 if row.high - row.low < 0.04 else None)
    own = ""
    if np.isfinite(row.confidence):
        says = " and says so: a threshold on it finds these mistakes" if row.confidence_verdict == "unsure" else ""
        own = f" The network's own confidence is {phrases.percent(row.confidence)} there{says}."
    return (
        f"Mechanism {worst} accounts for {share} of the predictions; {phrases.between(*row.interval)} of them are"
        f" correct, compared with {rest} of the others.{own}"
    )


def _about_selection(analysis: Analysis) -> str:
    """Say how many neurons were selected where, and what their precision is based on."""
    parts = [f"{phrases.selected_count(selection)} of layer {layer}" for layer, selection in analysis.critical.items()]
    levels = dict.fromkeys(f"{selection.precision:g}" for selection in analysis.critical.values())
    chosen = f"At a required precision of {' / '.join(levels)}, {phrases.join(parts)} are selected as critical."
    return f"{chosen} {phrases.guarantee_clause(analysis.critical)}"


def _about_features(analysis: Analysis) -> str:
    """Say how many representative neurons were clustered."""
    features, space = analysis.mechanisms.features, analysis.mechanisms.space
    layers = phrases.layers_named(analysis.mechanisms.layers)
    if space is not None:
        weights = _WEIGHTS.get(str(analysis.mechanisms.settings.get("reduce")), "weighted")
        return (
            f"Mechanisms are clusters of the inputs in {space.weights.shape[1]} principal components (PC) of"
            f" all {len(space.neurons)} varying neurons of {layers}, {weights}. The required precision does not cover"
            " these neurons."
        )
    beyond = sum(not feature.selected for feature in features)
    some = f"{beyond} of them, which were" if beyond < len(features) else "them: they were"
    tail = f" The required precision does not cover {some} not selected." if beyond else ""
    return f"Mechanisms are clusters of the activations of {len(features)} representative neurons of {layers}.{tail}"


def _numbers(analysis: Analysis) -> list[tuple[Child, str, str]]:
    selections = analysis.critical.values()
    grouped = [phrases.is_grouped(selection) for selection in selections]
    units = "neurons" if not any(grouped) else "groups" if all(grouped) else "neurons or groups"
    chosen = sum(len(s.neurons) for s in selections)
    total = sum(len(s.representatives if phrases.is_grouped(s) else s.groups) for s in selections)
    layers = "one layer" if len(selections) == 1 else f"{len(selections)} layers"
    comparison, K = analysis.n_clusters, len(analysis.mechanisms)
    chosen_elsewhere = comparison.by == "reliability" and comparison.suggested != K
    reason = f"{comparison.suggested} would be suggested" if chosen_elsewhere else comparison.reason
    inputs = term("inputs", "inputs analysed"), phrases.number(len(analysis.rows))
    numbers: list[tuple[Child, str, str]] = [(*inputs, f"of {phrases.number(len(analysis.recording))}")]
    if analysis.precision is not None:
        share, low, high = analysis.precision
        name = "precision" if analysis.are_predictions else "labelled as the target"
        numbers.append((name, phrases.percent(share), f"{low:.1%} to {high:.1%}"))
    if analysis.confidence is not None and analysis.are_predictions:
        sure = float(analysis.confidence[analysis.rows].mean())
        numbers.append(("own confidence", phrases.percent(sure), "mean of these predictions"))
    numbers.append(("mechanisms", str(K), reason))
    numbers.append(
        (term("critical", f"critical {units}"), phrases.number(chosen), f"of {phrases.number(total)}, at {layers}")
    )
    worst = analysis.least_reliable
    if worst is not None and analysis.reliability is not None:
        row = analysis.reliability[worst]
        beside = f"; own confidence {phrases.percent(row.confidence)}" if np.isfinite(row.confidence) else ""
        name = term("precision", f"precision of mechanism {worst}")
        numbers.append((name, phrases.percent(row.precision), f"{row.low:.1%} to {row.high:.1%}{beside}"))
    return numbers


def input_map(analysis: Analysis) -> Html:
    """Show the inputs in the plane, by mechanism and by label."""
    mechanisms, embedding = analysis.mechanisms, analysis.embedding
    positions = embedding.positions
    rows = analysis.rows[positions]
    clusters = mechanisms.labels[positions]
    labels = analysis.label_names(rows)
    known = shown_inputs(analysis.recording, rows, labels, analysis.misclassified[positions])
    typicality = mechanisms.typicality[positions].tolist()
    hover = np.array(
        [
            "<br>".join([*map(plain, one.lines), f"mechanism {cluster}", f"typicality {own:.2f}"])
            for one, cluster, own in zip(known, clusters, typicality, strict=True)
        ]
    )
    maps = [("by mechanism", clusters, [f"mechanism {k}" for k in range(len(mechanisms))])]
    if any(labels):
        kinds = [analysis.label_groups[position] for position in positions]
        common = [name for name, _ in Counter(kinds).most_common(_LABELS)]
        groups = np.array([common.index(name) if name in common else -1 for name in kinds])
        maps.append(("by label", groups, [plain(phrases.shorten(name, 28)) for name in common]))
    axes, words = _axes(embedding, phrases.features_called(mechanisms))
    panels = [
        tag(
            "div",
            tag("h3", f"Coloured {title}"),
            plot(
                figures.input_map(embedding.coordinates, groups, names, hover, axes),
                f"Map of {len(rows)} inputs coloured {title}",
                "map",
            ),
        )
        for title, groups, names in maps
    ]
    use = " Drag to zoom, double-click to reset, click the legend to hide or show groups."
    icons = None if analysis.pictures is None else sprite(analysis.pictures.icons)
    return text(tag("p", words + use, class_="note"), tag("div", *panels, class_="panels"), icons)


def _axes(embedding: Embedding, features: str) -> tuple[tuple[str, str], str]:
    """Give the titles of the axes, and say how the map was made and how to read it."""
    sampled, f = len(embedding.positions), embedding.n_features
    sample = f"A random sample of {sampled:,} of the {embedding.n:,} inputs." if sampled < embedding.n else ""
    sample = sample or f"All {embedding.n:,} inputs."
    if embedding.method == "t-SNE":
        words = (
            f"t-SNE of the {f} {features}: neighbouring inputs are similar, but distances between clusters"
            " and their sizes have no meaning."
        )
        return ("t-SNE 1", "t-SNE 2"), f"{sample} {words}"
    if embedding.method == "jitter":
        return ("activation", ""), f"{sample} Activation of the representative neuron, with random vertical jitter."
    shares = embedding.explained
    words = (
        f"The two directions of largest variance of the {f} {features} explain {sum(shares):.0%} of it; clusters that"
        " overlap here may be separate in other directions."
    )
    titles = [f"component {i + 1} ({share:.0%})" for i, share in enumerate(shares)]
    return (titles[0], titles[1]), f"{sample} {words}"


def separating_neurons(analysis: Analysis) -> Html | None:
    """Draw histograms of the neurons that separate mechanisms best (Figure 12); None with one mechanism."""
    mechanisms = analysis.mechanisms
    best = figures.separating_neurons(mechanisms)
    if not best:
        return None
    everything = mechanisms.read(analysis.recording)
    panels = []
    for feature, a, b, distance in best:
        one, other = (mechanisms.values[mechanisms.labels == n, feature] for n in (a, b))
        figure = figures.neuron_histogram(everything[:, feature], one, other, (a, b))
        figure.update_layout(showlegend=False, margin={"t": 10})
        name = phrases.feature_title(mechanisms.features[feature])
        named = phrases.unit_names(analysis.recording, mechanisms.features[feature])
        both = (tag("span", chip(k), f"mechanism {k}", class_="named") for k in (a, b))
        panels.append(
            tag(
                "div",
                tag("h3", name, " " if named else None, tag("small", named) if named else None),
                plot(figure, f"Activation of {name} in mechanisms {a} and {b} and in all inputs"),
                tag("p", *both, term("standardized mean difference"), f" {distance:.1f}", class_="small legend"),
            )
        )
    note = (
        f"For some of the {phrases.features_called(mechanisms)}, the two mechanisms that each separates best (bars) and"
        " all recorded inputs regardless of the prediction (line)."
    )
    return text(tag("p", note, class_="note"), tag("div", *panels, class_="panels three"))


def finding_errors(analysis: Analysis) -> Html | None:
    """Show how well errors are found by confidence alone and with mechanisms; None where it cannot be said."""
    detection = analysis.error_detection
    if detection is None:
        return None
    alone, both = detection.auc["confidence"], detection.auc["confidence and mechanism"]
    if alone < 0.5:
        said = "Confidence alone is worse than chance: the network is surer of its errors than of what it has right."
    elif both - alone >= _GAIN:
        said = "Mechanisms find errors that confidence does not."
    else:
        said = "Mechanisms add little to what confidence finds."
    words = (
        f"{said} The curve is the share of the {phrases.number(detection.errors)} errors that are found when a share of"
        f" the {phrases.number(detection.inputs)} inputs is checked, the most suspect first. Mechanisms and what is"
        " learnt of labels are found on other inputs than those judged."
    )
    figure = figures.error_curves(detection)
    name = "Errors found by share of inputs checked, by confidence alone and with mechanisms"
    return text(tag("p", words, class_="note"), tag("div", tag("div", plot(figure, name)), class_="panels"))


def _about_gaps(comparison: NumberOfClusters) -> str:
    """Say whether gaps divide the inputs, where something else chose the number of clusters; empty otherwise."""
    if comparison.by != "reliability" or len(comparison.table) == 1:
        return ""
    p = phrases.p_value(comparison.p_one)
    test = f"(Hartigan's dip test: {p}, in directions found on one half of the inputs and tested on the other)"
    if comparison.p_one <= ALPHA:
        return f"A gap between groups of inputs was found {test}."
    if comparison.suggested == 1:
        return f"No gap between groups of inputs was found {test}."
    return f"Clusters are not separated by gaps {test}: the division is one of degree."


def number_of_clusters(analysis: Analysis) -> Html:
    """Show the comparison of numbers of clusters."""
    comparison, used = analysis.n_clusters, len(analysis.mechanisms)
    test = _about_gaps(comparison) or (
        "The test looks for a direction in which the inputs have more than one mode (Hartigan's dip test; directions"
        " are found on one half of the inputs and tested on the other)."
    )
    captions = {
        "stability": "Clusters of two halves compared (1: the same); the band is the middle 90%, the line 0.6.",
        "silhouette": "How much closer inputs are to their own cluster than to the next; higher is better.",
        "bic": "BIC of a Gaussian mixture; lower is better.",
    }
    panels = [
        tag(
            "div",
            tag("h3", term(figures.CURVES[column], _capital(figures.CURVES[column]))),
            plot(figures.cluster_curve(comparison, column, used), f"{figures.CURVES[column]} by number of mechanisms"),
            tag("p", said, class_="small"),
        )
        for column, said in captions.items()
    ]
    cells: list[list[Child]] = [
        [str(K), f"{stability:.2f}", "–" if np.isnan(silhouette) else f"{silhouette:.2f}", f"{bic:,.0f}"]
        for K, stability, silhouette, bic in comparison.table[["mechanisms", *figures.CURVES]].itertuples(index=False)
    ]
    numbers = tag(
        "details",
        tag("summary", "Table"),
        table(["mechanisms", *figures.CURVES.values()], cells, "Numbers of mechanisms compared", range(4)),
    )
    verdict = tag("p", tag("strong", str(comparison)), f" This report uses {used} (circled). {test}")
    return text(verdict, tag("div", *panels, class_="panels three"), numbers)


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]
