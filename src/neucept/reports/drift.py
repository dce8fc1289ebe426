"""The page on new inputs: which mechanisms, classes and confidences have changed, and which inputs are unlike all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neucept.analysis.assignment import UNLIKE
from neucept.analysis.drifting import Drift
from neucept.reports.components import Child, Html, chip, image, statistics, table, tag, text
from neucept.reports.phrases import between, number, p_value, percent

MOST_ROWS = 200
_PICTURES = 24


@dataclass(frozen=True)
class Subject:
    """A drift with the new inputs, for their pictures."""

    drift: Drift
    inputs: Any = None


def drift_summary(drift: Drift, heading: str) -> Html:
    """Write the head of the page: what has changed, in sentences."""
    share, low, high = drift.unlike
    moved = int((drift.mechanisms["verdict"] != "").sum())
    tiles = [
        ("unlike inputs", percent(share), f"{percent(low)} to {percent(high)}; {UNLIKE:.0%} is to be expected"),
        ("changed mechanisms", number(moved), f"of {number(len(drift.mechanisms))}"),
        ("new inputs", number(drift.now), f"against {number(drift.then)}"),
    ]
    if drift.accuracy_now is not None:
        then = "" if drift.accuracy_then is None else f"then {between(*drift.accuracy_then)}"
        tiles.append(("accuracy now", between(*drift.accuracy_now), then))
    return tag(
        "header",
        tag("p", "NeuCEPT: critical neurons and mechanisms", class_="brand"),
        tag("h1", heading),
        tag("ul", *(tag("li", sentence) for sentence in drift.findings), class_="finding plain"),
        statistics(tiles),
        id="summary",
    )


def mechanisms(subject: Subject) -> Html:
    """List the mechanisms, those that changed first."""
    known = subject.drift.mechanisms
    known = known.assign(order=known["p_corrected"].fillna(2)).sort_values("order", kind="stable")
    rows: list[list[Child]] = []
    for row in known.head(MOST_ROWS).to_dict("records"):
        precise = "–"
        if np.isfinite(row["precision"]):
            precise = between(row["precision"], row["low"], row["high"])
        rows.append(
            [
                text(chip(row["mechanism"]), f"{row['class']} {row['mechanism']}"),
                _share(row["share_then"]),
                _share(row["share_now"]),
                number(row["inputs_now"]),
                _p(row["p_corrected"]),
                row["verdict"] or "–",
                precise,
                row["confidence_verdict"] or "–",
            ]
        )
    head = ["mechanism", "share then", "share now", "inputs now", "p", "change", "precision then", "verdict then"]
    return table(head, rows, "Mechanisms, then and now", (1, 2, 3, 4))


def classes(subject: Subject) -> Html:
    """List the classes."""
    rows: list[list[Child]] = []
    for row in subject.drift.classes.to_dict("records"):
        rows.append(
            [
                row["class"],
                _share(row["share_then"]),
                _share(row["share_now"]),
                _p(row["p_corrected"]),
                row["verdict"] or "–",
                f"{_share(row['confidence_then'])} and {_share(row['confidence_now'])}",
                _p(row["p_confidence"]),
                _share(row["precision_then"]),
                _share(row["precision_expected"]),
            ]
        )
    head = ["class", "share then", "share now", "p", "change", "confidence then and now", "p", "precision then"]
    return table([*head, "expected precision"], rows, "Classes, then and now", (1, 2, 3, 6, 7, 8))


def unlike(subject: Subject) -> Html | None:
    """Show the inputs that are most unlike all recorded ones."""
    assigned = subject.drift.assigned
    known = assigned[assigned["p_unlike"] <= UNLIKE].sort_values("p_unlike", kind="stable").head(_PICTURES)
    if not len(known):
        return None
    note = tag("p", "The most unlike first. No precision holds for them.", class_="note")
    if subject.inputs is None or subject.inputs.picture(0) is None:
        rows = [[row["input"], row["prediction"], percent(row["confidence"], 0)] for row in known.to_dict("records")]
        return text(note, table(["input", "predicted", "confidence"], rows, "Unlike inputs", (2,)))
    tiles = []
    for row in known.to_dict("records"):
        said = f"{row['input']}: predicted {row['prediction']} with confidence {percent(row['confidence'], 0)}"
        words = tag("figcaption", tag("b", row["prediction"]), " ", tag("span", percent(row["confidence"], 0)))
        picture = image(subject.inputs.picture(int(row["row"])), said)
        tiles.append(tag("figure", picture, words, class_="tile", title=said))
    return text(note, tag("div", *tiles, class_="tiles"))


def provenance(subject: Subject) -> Html | None:
    """Say of which run and data it is."""
    rows = [[name, str(value)] for name, value in subject.drift.provenance.items() if value not in (None, "", {})]
    return table(["of", ""], rows, "Provenance") if rows else None


def _share(value: float) -> str:
    return percent(value, 0) if np.isfinite(value) else "–"


def _p(value: float) -> str:
    return p_value(value) if np.isfinite(value) else "–"
