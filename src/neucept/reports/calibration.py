"""What a precision is worth on a layer: its calibration, drawn and as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from neucept.discovery import Selection
from neucept.reports import figures
from neucept.reports.components import plot
from neucept.reports.html import Child, Html, table, tag
from neucept.reports.selected import LEVELS, family_name


def calibration_panel(selection: Selection) -> Html | None:
    """Show the precision asked against the one realised on planted responses; None without a calibration."""
    if selection.calibration is None:
        return None
    realised = selection.calibration.table(selection.precision)
    figure = figures.calibration_figure(realised, selection.precision)
    words = f"Precision realised on planted responses of {selection.layer}, by kind, and the precision asked"
    note = (
        "Dots: what the calibrated selection realises on planted responses of each kind, judged by a model that had not"
        " seen the response. Rings: the knockoffs' own threshold, equation (9), on the same responses. Power is the"
        f" share of the critical neurons that are found; pure noise has none. {_short(realised, selection.precision)}"
    )
    return tag(
        "div",
        tag("h4", "Asked and realised precision on this layer"),
        plot(figure, words, "wide"),
        tag("p", note, class_="small"),
        tag(
            "details",
            tag("summary", "The numbers"),
            _kinds(realised, selection),
            tag("p", "Unseen kind: judged by a model that had seen no response of the kind at all.", class_="small"),
            _levels(selection),
            tag(
                "p",
                "The promise is that of a precision chosen before looking; trying several and keeping one"
                " is not covered.",
                class_="small",
            ),
        ),
        class_="calibration",
    )


def _short(realised: pd.DataFrame, precision: float) -> str:
    """Name the kinds of responses on which the precision asked is not reached."""
    kinds = realised[realised["family"] != "all"]
    short = [family_name(name) for name in kinds.loc[kinds["precision"] < precision, "family"]]
    if not short:
        return "Every kind reaches the precision asked."
    return f"The promise is of the average; below it stay: {', '.join(short)}."


def _kinds(realised: pd.DataFrame, selection: Selection) -> Html:
    cells: list[list[Child]] = [
        [
            family_name(row["family"]),
            str(row["responses"]),
            _interval(row),
            _share(row["power"]),
            _share(row["unseen"]),
            _share(row["uncalibrated"]),
        ]
        for row in realised.to_dict("records")
    ]
    head = ["planted responses", "how many", "realised (95%)", "power", "unseen kind", "equation (9)"]
    return table(head, cells, f"Calibration of {selection.layer} by kind of response", range(1, len(head)))


def _levels(selection: Selection) -> Html:
    """Compare some precisions: what is realised over all planted responses, and how many are selected."""
    assert selection.calibration is not None
    cells: list[list[Child]] = []
    for precision in sorted({*LEVELS, selection.precision}):
        row = selection.calibration.table(precision).iloc[-1].to_dict()
        here = tag("b", f"{precision:g}") if precision == selection.precision else f"{precision:g}"
        chosen = str(len(selection.at(precision).neurons))
        cells.append([here, _interval(row), _share(row["power"]), _share(row["uncalibrated"]), chosen])
    head = ["asked", "realised (95%)", "power", "equation (9)", "selected here"]
    return table(head, cells, f"Precision asked and realised on {selection.layer}", range(1, len(head)))


def _interval(row: Mapping[Any, Any]) -> str:
    return f"{row['precision']:.2f} ({row['low']:.2f} to {row['high']:.2f})"


def _share(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.2f}"
