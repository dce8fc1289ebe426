"""The index page of an audit: what is most worth looking at first, with links to the pages of the classes."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from neucept.analysis import Audit
from neucept.reports.components import (
    Child,
    Html,
    chip,
    definitions,
    image,
    interval_bar,
    statistics,
    table,
    tag,
    text,
)
from neucept.reports.figures.canvas import colour
from neucept.reports.phrases import between, confidence_findings, number, percent, verdict_words

MOST_ROWS = 300  # of the table of mechanisms; all are in the table that is written beside it
_CONFUSIONS = 15
_NAMED = 4  # mechanisms of each kind that the summary names
_PICTURES, _PICTURED = 6, 12  # inputs shown of a mechanism, and mechanisms that have some
_VERDICTS = {"overconfident": "bad", "unsure": "plain", "underconfident": "plain", "as confident as right": "good"}

TERMS = {
    "mechanism": "A cluster of the inputs predicted as a class that the network decides in a similar way.",
    "precision": "Share of its inputs that are labelled as the class, on inputs that its clusters were not found on.",
    "own confidence": "The mean probability that the network itself gives the class there: not calibrated.",
    "confidence says": "The precision of inputs of the class with the same probability, calibrated on other inputs.",
    "overconfident": "Less precise than the confidence says, within the class or in other classes. The alarm.",
    "more reliable, less reliable": "Than the rest of its class, by precision alone (Fisher's exact test).",
    "unsure": "Less precise than the rest of its class, and the confidence says so: a threshold finds these mistakes.",
    "underconfident": "More precise than the confidence says.",
    "as confident as right": "No difference, on inputs enough to see one of 10 points.",
    "too few to tell": "No difference was found, but there are too few inputs to compare to see one of 10 points.",
    "nothing to compare": "No other input of the class is as confident, as where the class has one mechanism; compared"
    " with other classes there is no alarm.",
    "extra mistakes": "Inputs judged times the precision that is lacking against what the confidence says.",
    "stability": "Mean Jaccard similarity with the most similar cluster found on random halves of the inputs: stable"
    " from .75 on, doubtful below, dissolved up to .5. A class of one mechanism has none.",
}


@dataclass(frozen=True)
class Index:
    """An audit with where the pages of its classes lie."""

    audit: Audit
    pages: Mapping[str, str]  # by name of the class, relative to the index
    inputs: Any = None

    def link(self, name: str, words: Child, mechanism: int | None = None) -> Html:
        """Link to the page of a class, or to a mechanism on it; the words alone where there is none."""
        if name not in self.pages:
            return text(words)
        anchor = "" if mechanism is None else f"#mechanism-{mechanism}"
        return tag("a", words, href=f"{self.pages[name]}{anchor}", class_="named")


def audit_summary(audit: Audit, heading: str) -> Html:
    """Write the head of the page: accuracy first, then where the network is confidently wrong."""
    alarms = int((audit.table["confidence_verdict"] == "overconfident").sum())
    said = (
        confidence_findings(audit.table, _NAMED) if len(audit.table) else ["No class could be audited; see below why."]
    )
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


def _numbers(audit: Audit, alarms: int) -> list[tuple[str, str, str]]:
    done = len(audit.outcomes) - len(audit.errors)
    unsure = int((audit.table["confidence_verdict"] == "unsure").sum())
    numbers = [
        ("classes audited", number(done), f"of {len(audit.outcomes)}"),
        ("mechanisms", number(len(audit.table)), f"{len(audit.table) / max(done, 1):.1f} per class"),
        ("overconfident", number(alarms), "less right than their confidence says"),
        ("unsure", number(unsure), "less right, as others of their confidence are"),
    ]
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
        lowest = float(known[["low", "expected_low"]].min().min())
        start = max(0.0, float(np.floor((lowest - 0.02) * 20) / 20))
    rows = [
        _row(index, row, start, judged) for row in known.rename(columns={"class": "name"}).head(MOST_ROWS).itertuples()
    ]
    head: list[Child] = ["mechanism"]
    if judged:
        head += ["verdict", f"precision, {start:.0%} to 100%", "own confidence", "confidence says", "extra mistakes"]
    head += ["inputs", "stability", "set apart by"]
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
    return text(tag("p", note, rest, class_="note"), table(head, rows, "Mechanisms of all classes", numbers))


def _row(index: Index, row: Any, start: float, judged: bool) -> list[Child]:
    name = index.link(row.name, text(chip(row.mechanism), f"{row.name} {row.mechanism}"), row.mechanism)
    cells: list[Child] = [name]
    if judged:
        known = row.judged > 0 and np.isfinite(row.precision)
        says = row.expected, row.expected_low, row.expected_high
        tick = row.expected if np.isfinite(row.expected) else row.precision
        own = row.precision, row.low, row.high
        bar = interval_bar(*own, tick, start, colour(row.mechanism), "its confidence says") if known else None
        verdict = verdict_words(row.verdict, row.confidence_verdict) or "–"
        better = row.verdict == "more reliable" and row.confidence_verdict == "too few to tell"
        kind = "good" if better else _VERDICTS.get(row.confidence_verdict, "plain")
        cells += [
            tag("span", verdict, class_=f"verdict {kind}"),
            text(bar, tag("span", between(*own) if known else "–", class_="named")),
            percent(row.confidence, 0) if np.isfinite(row.confidence) else "–",
            between(*says) if np.isfinite(row.expected) else "–",
            f"{round(row.confident_mistakes):+d}" if np.isfinite(row.confident_mistakes) else "–",
        ]
    stable = f"{row.stability:.2f} {row.found_again}" if np.isfinite(row.stability) else "–"
    return [*cells, f"{number(row.inputs)} ({percent(row.share, 0)})", stable, tag("span", row.neurons, class_="wide")]


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
        tiles = [_tile(audit, inputs, int(row)) for row in mechanisms.samples[order]]
        heading = index.link(name, text(chip(mechanism), f"{name}, mechanism {mechanism}"), mechanism)
        top = tag("h3", heading, " ", tag("small", f"{verdict}: the most typical of {len(wrong)} mistakes"))
        cards.append(tag("div", top, tag("div", *tiles, class_="tiles"), class_="neuron"))
    return tag("div", *cards, class_="neurons") if cards else None


def _tile(audit: Audit, inputs: Any, row: int) -> Html:
    label = audit.recording.labels[row] if audit.recording.labels is not None else None
    names = audit.recording.class_names
    words = names[int(label)] if label is not None and np.ndim(label) == 0 and 0 <= label < len(names) else ""
    said = f"input {row}, labelled {words}" if words else f"input {row}"
    caption = tag("figcaption", tag("b", words) if words else None, " ", tag("span", f"#{row}", class_="row"))
    return tag("figure", image(inputs.picture(row), said), caption, class_="tile wrong", title=said)


def class_table(index: Index) -> Html:
    """List the classes that were audited, the least precise first."""
    audit = index.audit
    known = audit.classes[audit.classes["reason"] == ""]
    known = known.sort_values("precision", kind="stable")
    layers = [str(column) for column in known if str(column).startswith("selected ")]
    rows: list[list[Child]] = []
    for row in known.to_dict("records"):
        cells: list[Child] = [index.link(row["class"], row["class"]), number(row["inputs"])]
        cells += [between(row["precision"], row["low"], row["high"]) if pd.notna(row["precision"]) else "–"]
        cells += [percent(row["recall"]) if pd.notna(row["recall"]) else "–", str(row["mechanisms"])]
        cells += [str(row["overconfident"]), str(row["unsure"])]
        rows.append([*cells, *(_count(row[layer]) for layer in layers), tag("span", row["notes"], class_="wide")])
    head = ["class", "predicted", "precision", "recall", "mechanisms", "overconfident", "unsure", *layers, ""]
    unpaged = [name for name in audit.mechanisms if name not in index.pages]
    note = (
        f"{len(unpaged)} classes have no page of their own (pages=, --pages): {', '.join(unpaged[:10])}"
        f"{', …' if len(unpaged) > 10 else ''}."
        if unpaged
        else "Predicted: inputs that the network calls so. Selected: critical neurons, or groups of them, at the"
        f" precision asked for ({audit.settings['precision']})."
    )
    return text(tag("p", note, class_="note"), table(head, rows, "Classes", range(1, 7 + len(layers))))


def _count(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.0f}"


def failed(index: Index) -> Html | None:
    """List the classes that were not audited, with the reason."""
    errors = index.audit.errors
    if not len(errors):
        return None
    return table(["class", "why it was not audited"], errors.itertuples(index=False), "Classes that were not audited")


def confusions(index: Index) -> Html | None:
    """List the most frequent mistakes."""
    known = index.audit.confusions.head(_CONFUSIONS)
    if not len(known):
        return None
    rows = [[a, b, number(n), percent(share)] for a, b, n, share in known.itertuples(index=False)]
    head = ["label", "predicted", "inputs", "share of the label"]
    return table(head, rows, "The most frequent mistakes", (2, 3))


def settings(index: Index) -> Html:
    """List the settings, versions and date."""
    audit = index.audit
    rows = [
        [name.replace("_", " "), str(value)] for name, value in audit.settings.items() if value not in (None, {}, "")
    ]
    rows += [[name, str(value)] for name, value in audit.recording.facts.items() if value != ""]
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    rows += [["date", made], ["neucept", version("neucept")], ["torch", version("torch")]]
    rows += [["Python", platform.python_version()]]
    return table(["setting", "value"], rows, "Settings")


def glossary(index: Index) -> Html:
    """Explain the terms."""
    return definitions(TERMS)
