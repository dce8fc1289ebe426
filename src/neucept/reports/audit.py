"""The index page of an audit: what is most worth looking at first, with links to the pages of the classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
import pandas as pd

from neucept.analysis import Audit
from neucept.analysis import audit as neucept_audit
from neucept.inputs import Inputs
from neucept.reports.components import (
    Child,
    Html,
    badge,
    chip,
    image,
    interval_bar,
    statistics,
    table,
    tag,
    term,
    text,
)
from neucept.reports.figures.canvas import colour
from neucept.reports.inputs import shown_inputs
from neucept.reports.phrases import FEW, between, confidence_findings, judgement, number, percent, too_few
from neucept.reports.provenance import RUN, calls_that_make, run_facts, settings_tables, versions

MOST_ROWS = 300  # of the table of mechanisms; all are in the table that is written beside it
_CONFUSIONS = 15
_NAMED = 4  # overconfident mechanisms that the summary names; the table below has them all
_PICTURES, _PICTURED = 6, 12  # inputs shown of a mechanism, and mechanisms that have some


@dataclass(frozen=True)
class Index:
    """An audit with where the pages of its classes lie."""

    audit: Audit
    pages: Mapping[str, str]  # by name of the class, relative to the index
    inputs: Inputs | None = None

    def link(self, name: str, words: Child, mechanism: int | None = None) -> Html:
        """Link to the page of a class, or to a mechanism on it; the words alone where there is none."""
        if name not in self.pages:
            return text(words)
        anchor = "" if mechanism is None else f"#mechanism-{mechanism}"
        return tag("a", words, href=f"{self.pages[name]}{anchor}", class_="named")


def audit_summary(audit: Audit, heading: str) -> Html:
    """Write the head of the page: accuracy first, then where the network is confidently wrong."""
    alarms = int((audit.table["confidence_verdict"] == "overconfident").sum())
    said = ["No class could be audited; see below why."]
    if len(audit.table):
        said = confidence_findings(audit.table, _NAMED, 1)
    loud = [sentence for sentence in said if _kind(sentence) != "plain"]
    quiet = [tag("li", sentence) for sentence in said if sentence not in loud]
    doubt = tag("p", tag("strong", "Check this first: "), audit.doubt, class_="finding bad") if audit.doubt else None
    return tag(
        "header",
        tag("p", "NeuCEPT: critical neurons and mechanisms", class_="brand"),
        tag("h1", heading),
        tag("p", _lead(audit), class_="lead"),
        doubt,
        *(tag("p", sentence, class_=f"finding {_kind(sentence)}") for sentence in loud),
        tag("ul", *quiet, class_="finding plain") if quiet else None,
        statistics(_numbers(audit, alarms)),
        id="summary",
    )


def _kind(sentence: str) -> str:
    """Tell an alarm, good news, or neither."""
    if sentence.endswith("(overconfident)."):
        return "bad"
    return "good" if sentence.endswith("than the confidence, calibrated within its class, says.") else "plain"


def _lead(audit: Audit) -> str:
    n = number(len(audit.recording))
    where = f"Mechanisms are those of the layer{'s' if len(audit.layers) > 1 else ''} {', '.join(audit.layers)}."
    if audit.accuracy is None or audit.accuracy_interval is None:
        return f"{audit.model_name} on {n} inputs. {where}"
    share = between(audit.accuracy, *audit.accuracy_interval)
    return f"{audit.model_name} is right in {share} of {n} inputs. {where}"


def _numbers(audit: Audit, alarms: int) -> list[tuple[Child, str, str]]:
    done = len(audit.outcomes) - len(audit.errors)
    unsure = int((audit.table["confidence_verdict"] == "unsure").sum())
    numbers: list[tuple[Child, str, str]] = [
        ("classes audited", number(done), f"of {len(audit.outcomes)}"),
        ("mechanisms", number(len(audit.table)), f"{len(audit.table) / max(done, 1):.1f} per class"),
        ("overconfident", number(alarms), "less right than their confidence says"),
        ("unsure", number(unsure), "less right, as others of their confidence are"),
    ]
    sure = _confidence_by_class(audit)
    if sure:
        counts = np.bincount(audit.recording.predictions, minlength=len(audit.recording.class_names))
        weighted = sum(sure[name] * n for name, n in zip(audit.recording.class_names, counts, strict=True) if n)
        numbers.insert(0, ("own confidence", f"{weighted / counts.sum():.1%}", "mean of all predictions"))
    if audit.accuracy is not None and audit.accuracy_interval is not None:
        low, high = audit.accuracy_interval
        numbers.insert(0, ("accuracy", f"{audit.accuracy:.1%}", f"{low:.1%} to {high:.1%}"))
    return numbers


def mechanism_table(index: Index) -> Html | None:
    """List the mechanisms of all classes, those first that are most worth looking at."""
    known = index.audit.table
    if not len(known):
        return None
    judged = bool(known["precision"].notna().any())
    start = 0.0
    if judged:
        lowest = float(known.loc[known["judged"] >= FEW, ["low", "expected_low"]].min().min())
        start = max(0.0, float(np.floor((lowest - 0.02) * 20) / 20)) if np.isfinite(lowest) else 0.0
    again = bool(known["stability"].notna().any())
    rows = [
        _row(index, row, start, judged, again)
        for row in known.rename(columns={"class": "name"}).head(MOST_ROWS).itertuples()
    ]
    head: list[Child] = ["mechanism"]
    if judged:
        head += ["verdict", term("precision", f"precision, {start:.0%} to 100%"), "own confidence", "confidence says"]
        head += ["extra mistakes"]
    head += ["inputs", *(["found again"] if again else []), "set apart by"]
    note = (
        "Those most worth looking at come first: the overconfident by their mistakes beyond what the confidence says,"
        " then the unsure, then those that are not found again. The tick on the bar is what the confidence says. Tests"
        " are corrected over all mechanisms of all classes (Holm)."
        if judged
        else "Without labels mechanisms cannot be judged; those that are not found again come first."
    )
    rest = (
        f" The first {MOST_ROWS} of {len(known)}; all are in the table beside this page."
        if len(known) > MOST_ROWS
        else ""
    )
    numbers = [3, 4, 5, 6] if judged else [1]
    made = table(head, rows, "Mechanisms of all classes", numbers, stacked=True)
    return text(tag("p", note, rest, class_="note"), made)


def _row(index: Index, row: Any, start: float, judged: bool, again: bool) -> list[Child]:
    name = index.link(row.name, text(chip(row.mechanism), f"{row.name} {row.mechanism}"), row.mechanism)
    told = row.verdict or row.confidence_verdict in ("overconfident", "unsure")
    few = "" if told else too_few(row.inputs)
    cells: list[Child] = [name]
    if judged and few:
        cells += [badge("too few to say"), few, "–", "–", "–"]
    elif judged:
        known = row.judged > 0 and np.isfinite(row.precision)
        says = row.expected, row.expected_low, row.expected_high
        tick = row.expected if np.isfinite(row.expected) else row.precision
        own = row.precision, row.low, row.high
        bar = interval_bar(*own, tick, start, colour(row.mechanism), "its confidence says") if known else None
        cells += [
            badge(*judgement(row.verdict, row.confidence_verdict)),
            tag("div", bar, tag("span", between(*own) if known else "–", class_="named"), class_="precision"),
            percent(row.confidence, 0) if np.isfinite(row.confidence) else "–",
            tag("span", percent(row.expected), title=between(*says)) if np.isfinite(row.expected) else "–",
            f"{round(row.confident_mistakes):+d}" if np.isfinite(row.confident_mistakes) else "–",
        ]
    stable = f"{row.stability:.2f}, {row.found_again}" if np.isfinite(row.stability) and not few else "–"
    cells += [f"{number(row.inputs)} ({percent(row.share, 0)})", *([stable] if again else [])]
    return [*cells, tag("span", row.neurons if not few else "–", class_="wide")]


def mistakes(index: Index) -> Html | None:
    """Show inputs of the overconfident and unsure mechanisms that are not labelled as their class."""
    audit, inputs = index.audit, index.inputs
    known = audit.table
    shown = known[known["confidence_verdict"].isin(["overconfident", "unsure"])].head(_PICTURED)
    if inputs is None or not len(shown) or inputs.picture(0) is None:
        return None
    cards = []
    for name, mechanism, verdict in shown[["class", "mechanism", "confidence_verdict"]].itertuples(index=False):
        mechanisms, number_ = audit.mechanisms[name], audit.recording.class_number(name)
        right = audit.recording.right(number_)
        if right is None:
            continue
        wrong = np.flatnonzero((mechanisms.labels == mechanism) & ~right[mechanisms.samples])
        order = wrong[np.argsort(mechanisms.distances[wrong, mechanism], kind="stable")][:_PICTURES]
        tiles = _tiles(audit, inputs, mechanisms.samples[order])
        heading = index.link(name, text(chip(mechanism), f"{name}, mechanism {mechanism}"), mechanism)
        small = tag("small", term(verdict), f": the most typical of {len(wrong)} mistakes")
        top = tag("h3", heading, " ", small)
        cards.append(tag("div", top, tag("div", *tiles, class_="tiles"), class_="neuron"))
    return tag("div", *cards, class_="neurons") if cards else None


def _tiles(audit: Audit, inputs: Inputs, rows: np.ndarray) -> list[Html]:
    """Show mistakes: what they are labelled, how surely something else is predicted, and which file each is."""
    recording = audit.recording
    known = shown_inputs(recording, rows, recording.label_names(rows), np.ones(len(rows), bool))
    tiles = []
    for row, one in zip(rows.tolist(), known, strict=True):
        picture = inputs.picture(row)
        assert picture is not None  # all inputs are alike
        tiles.append(tag("figure", image(picture, one.words), one.caption(), class_="tile wrong", title=one.words))
    return tiles


def class_table(index: Index) -> Html:
    """List the classes that were audited, the least precise first."""
    audit = index.audit
    known = audit.classes[audit.classes["reason"] == ""]
    known = known.sort_values("precision", kind="stable")
    confidence = _confidence_by_class(audit)
    layers = [str(column) for column in known if str(column).startswith("selected ")]
    rows: list[list[Child]] = []
    for row in known.to_dict("records"):
        cells: list[Child] = [index.link(row["class"], row["class"]), number(row["inputs"])]
        cells += [between(row["precision"], row["low"], row["high"]) if pd.notna(row["precision"]) else "–"]
        cells += [percent(confidence.get(row["class"], np.nan))]
        cells += [percent(row["recall"]) if pd.notna(row["recall"]) else "–", str(row["mechanisms"])]
        cells += [str(row["overconfident"]), str(row["unsure"])]
        notes = " ".join(filter(None, [row["notes"], *_why_none(audit, row, layers)]))
        rows.append([*cells, *(_count(row[layer]) for layer in layers), tag("span", notes, class_="wide")])
    head: list[Child] = ["class", "predicted", "precision", "own confidence", "recall", "mechanisms", "overconfident"]
    head += ["unsure", *(term("selected", layer) for layer in layers), ""]
    unpaged = [name for name in audit.mechanisms if name not in index.pages]
    note = (
        "Predicted: inputs that the network calls so. Selected: critical neurons, or groups of them, at the precision"
    )
    note += f" asked for ({audit.settings['precision']})."
    if unpaged:
        more = ", …" if len(unpaged) > 10 else ""
        note += f" {len(unpaged)} classes have no page of their own (pages=, --pages): {', '.join(unpaged[:10])}{more}."
    made = table(head, rows, "Classes", range(1, 8 + len(layers)), stacked=True)
    return text(tag("p", note, class_="note"), made)


def _confidence_by_class(audit: Audit) -> dict[str, float]:
    """Mean probability of each class over its predictions, where the outputs are probabilities."""
    recording = audit.recording
    if not recording.single_label:
        return {}
    predictions, surest = recording.predictions, recording.confidence()
    return {
        name: float(surest[predictions == number].mean())
        for number, name in enumerate(recording.class_names)
        if (predictions == number).any()
    }


def _why_none(audit: Audit, row: Mapping[Any, Any], layers: list[str]) -> list[str]:
    """Say why no neuron of a layer was selected for a class, where the class's own notes do not."""
    empty = [layer.removeprefix("selected ") for layer in layers if row[layer] == 0]
    if not empty:
        return []
    critical = audit.critical[row["class"]]
    return [f"{layer}: {critical[layer].why_empty}" for layer in empty if layer in critical]


def _count(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.0f}"


def failed(index: Index) -> Html | None:
    """List the classes that were not audited, with the reason."""
    errors = index.audit.errors
    if not len(errors):
        return None
    rows = errors.itertuples(index=False)
    return table(["class", "why it was not audited"], rows, "Classes that were not audited", stacked=True)


def confusions(index: Index) -> Html | None:
    """List the most frequent mistakes."""
    known = index.audit.confusions.head(_CONFUSIONS)
    if not len(known):
        return None
    rows = [[a, b, number(n), percent(share)] for a, b, n, share in known.itertuples(index=False)]
    head = ["label", term("predicted", "predicted as"), "inputs", "share of the label"]
    return table(head, rows, "The most frequent mistakes", (2, 3))


def settings(index: Index) -> Html:
    """List the settings and versions, and the calls that make this page again."""
    audit = index.audit
    run = run_facts(audit.settings) or run_facts(audit.recording.facts)
    chosen = {name: value for name, value in audit.settings.items() if value not in ({}, "") and name != RUN}
    recorded = {name: value for name, value in audit.recording.facts.items() if name != RUN}
    steps = {"Run": run, "Audit": chosen, "Recording": recorded, "Versions": versions()}
    return text(settings_tables(steps), calls_that_make(run, _calls(audit)))


def _calls(audit: Audit) -> str:
    """Write the calls that make the index and its pages; model and data are the user's."""
    known = signature(neucept_audit).parameters
    given = {
        name: value
        for name, value in audit.settings.items()
        if name in known and value not in (None, {}, "") and value != known[name].default
    }
    given["classes"] = [outcome.name for outcome in audit.outcomes]
    arguments = ", ".join(f"{name}={value!r}" for name, value in given.items())
    return f'audit = neucept.audit(model, data, {arguments}, out="audit")\naudit.report()'
