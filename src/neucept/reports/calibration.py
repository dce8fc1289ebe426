"""What a required precision delivers on a layer: a panel of the report, and a page for `neucept calibrate`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from neucept.calibration import Calibration
from neucept.discovery import Selection
from neucept.reports import figures
from neucept.reports.components import Child, Html, plot, table, tag, term, text
from neucept.reports.page import Part, document, write_text
from neucept.reports.phrases import LEVELS, family_name

_DOTS = (
    "Dots: precision that the calibrated selection realises on simulated responses of each family, estimated by a model"
    " that was not trained on the response. Rings: the knockoff threshold of equation (9) on the same responses. Power"
    " is the share of the critical neurons that are selected; pure noise has none."
)


_MEASURES = ("power", "unseen", "uncalibrated")


def calibration_panel(selection: Selection) -> Html | None:
    """Compare required and realised precision on simulated responses; None without a calibration."""
    if selection.calibration is None:
        return None
    realised = selection.calibration.table(selection.precision)
    figure = figures.calibration_figure(realised, selection.precision)
    words = f"Precision realised on simulated responses of {selection.layer} by family, and the required precision"
    unseen = "Unseen family: estimated by a model that was trained on no response of the family."
    chosen = "The guarantee holds for a precision fixed in advance, not for one picked after trying several."
    numbers = tag(
        "details",
        tag("summary", "Tables"),
        _families(realised, selection.layer),
        tag("p", unseen, class_="small"),
        _levels(selection),
        tag("p", chosen, class_="small"),
    )
    return tag(
        "div",
        tag("h4", "Required and realised precision on this layer"),
        plot(figure, words, "wide"),
        tag("p", f"{_DOTS} {_below(realised, selection.precision)}", class_="small"),
        numbers,
        class_="calibration",
    )


def _below(realised: pd.DataFrame, precision: float) -> str:
    """Name the families of responses on which the required precision is not reached."""
    families = realised[realised["family"] != "all"]
    below = [family_name(name) for name in families.loc[families["precision"] < precision, "family"]]
    if not below:
        return "Every family reaches the required precision."
    return f"The guarantee refers to the average over families. Below the required precision: {', '.join(below)}."


def _families(realised: pd.DataFrame, layer: str) -> Html:
    cells: list[list[Child]] = [
        [family_name(row["family"]), str(row["responses"]), _interval(row), *_shares(row, *_MEASURES)]
        for row in realised.to_dict("records")
    ]
    head = [
        "simulated responses",
        "number",
        term("realised", "realised (95%)"),
        "power",
        "unseen family",
        "equation (9)",
    ]
    return table(head, cells, f"Calibration of {layer} by family of responses", range(1, len(head)))


def _levels(selection: Selection) -> Html:
    """Compare several precisions: what is realised over all simulated responses, and how many are selected."""
    assert selection.calibration is not None
    cells: list[list[Child]] = []
    for precision in sorted({*LEVELS, selection.precision}):
        row = selection.calibration.table(precision).iloc[-1].to_dict()
        required = tag("b", f"{precision:g}") if precision == selection.precision else f"{precision:g}"
        count = str(len(selection.at(precision).neurons))
        cells.append([required, _interval(row), *_shares(row, "power", "uncalibrated"), count])
    head = ["required", term("realised", "realised (95%)"), "power", "equation (9)", term("selected", "selected here")]
    return table(head, cells, f"Required and realised precision on {selection.layer}", range(1, len(head)))


def _interval(row: Mapping[Any, Any]) -> str:
    return f"{row['precision']:.2f} ({row['low']:.2f} to {row['high']:.2f})"


def _shares(row: Mapping[Any, Any], *names: str) -> list[Child]:
    return ["–" if pd.isna(row[name]) else f"{row[name]:.2f}" for name in names]


# The page of `neucept calibrate`


def calibration_page(
    calibrations: Mapping[str, Calibration], widths: Mapping[str, int], precision: float, title: str, path: Path
) -> Path:
    """Write one self-contained page on the calibrations of some layers.

    Parameters
    ----------
    calibrations : mapping of layer to Calibration
        In the order of the page.
    widths : mapping of layer to int
        Number of neurons of each.
    precision : float
        Required.
    title : str
        Name of the target.
    path : Path
        The file.
    """

    def part(layer: str) -> Part:
        return Part(
            layer,
            f"layer-{list(calibrations).index(layer)}",
            lambda _: _measured(calibrations, widths, layer, precision),
        )

    heading = f"What a required precision of {precision:g} delivers on these layers, for “{title}”"
    words = (
        f"Responses whose critical neurons are known were simulated on each layer's own activations. {_DOTS} This is"
        " evidence for responses like these, not a proof."
    )
    top = tag(
        "header",
        tag("p", "NeuCEPT: calibration", class_="brand"),
        tag("h1", heading),
        tag("p", words, class_="note"),
        id="summary",
    )
    return write_text(path, document(calibrations, heading, top, [part(layer) for layer in calibrations]))


def _measured(calibrations: Mapping[str, Calibration], widths: Mapping[str, int], layer: str, precision: float) -> Html:
    """Say and draw what is realised on a layer."""
    calibration = calibrations[layer]
    realised = calibration.table(precision)
    total = realised.set_index("family").loc["all"]
    words = (
        f"{units(calibration, widths[layer])}. Over all {total['responses']:.0f} responses, the selection realises a"
        f" precision of {total['precision']:.3f} ({total['low']:.3f} to {total['high']:.3f}) and a power of"
        f" {total['power']:.2f}. On families of responses that the model was not trained on, the precision is"
        f" {total['unseen']:.3f}; by equation (9) alone it is {total['uncalibrated']:.3f}."
    )
    figure = figures.calibration_figure(realised, precision)
    said = f"Precision realised on simulated responses of {layer} by family, and the required precision"
    drawn = tag("div", tag("div", plot(figure, said, "wide")), class_="panels")
    return text(tag("p", words), drawn, _families(realised, layer))


def units(calibration: Calibration, neurons: int) -> str:
    """Say how many of the neurons of a layer can be distinguished."""
    groups = len(calibration.sizes)
    if groups == neurons:
        return f"{neurons} neurons, each its own group"
    return f"{neurons} neurons, of which those that vary form {groups} distinguishable groups"
