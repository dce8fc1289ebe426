"""A page with the calibration of some layers: realised precision and power by kind of planted response."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from neucept.calibration import Calibration
from neucept.cli.printing import family_name
from neucept.page.palette import ACCENT, GRID, MUTED, TEXT, colour

if TYPE_CHECKING:
    import plotly.graph_objects as go

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Calibration</title>
<style>
:root {{ color-scheme: light dark; font-family: system-ui, sans-serif; line-height: 1.5; }}
body {{ max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; }} h2 {{ font-size: 1.15rem; margin: 2rem 0 0; overflow-wrap: anywhere; }}
p {{ max-width: 46rem; margin: .5rem 0; }}
</style></head><body>
<h1>What a precision of {precision:g} is worth on these layers</h1>
<p>On each layer's own activations responses were planted whose critical neurons are known. Filled dots: the precision
that the calibrated selection realises, judged by a model that had not seen that kind of response, with 95% intervals.
Rings: equation (9) on Gaussian knockoffs alone. The dotted line is the precision asked. Power is the share of the
critical neurons that were found; with pure noise there are none to find. This is evidence for responses like these,
not a proof.</p>
{layers}
</body></html>
"""


def write_calibrations(calibrations: Mapping[str, Calibration], precision: float, page: Path) -> Path:
    """Write one self-contained page that opens without a network."""
    from plotly.io import to_html

    parts = []
    for number, (layer, calibration) in enumerate(calibrations.items()):
        table = calibration.table(precision)
        everything = table.set_index("family").loc["all"]
        units = "neurons" if calibration.cut == 0 else f"{len(calibration.sizes)} groups of neurons"
        words = (
            f"{len(calibration.groups)} {units}; over all {everything['responses']} responses a precision of"
            f" {everything['precision']:.3f} ({everything['low']:.3f} to {everything['high']:.3f}) and a power of"
            f" {everything['power']:.2f}. Without calibration the precision is {everything['uncalibrated']:.3f}."
        )
        if calibration.cut != 0:
            words = words.replace(units, f"neurons in {units} that can be told apart", 1)
        config = {"displaylogo": False, "responsive": True}
        figure = to_html(calibration_figure(table, precision), config, full_html=False, include_plotlyjs=number == 0)
        parts.append(f"<h2>{escape(layer)}</h2>\n<p>{escape(words)}</p>\n{figure}")
    page.write_text(_PAGE.format(precision=precision, layers="\n".join(parts)), encoding="utf-8")
    return page


def calibration_figure(table: pd.DataFrame, precision: float) -> go.Figure:
    """Draw realised precision and power by kind of response.

    Parameters
    ----------
    table : DataFrame
        Of `Calibration.table`.
    precision : float
        Asked.
    """
    from plotly.subplots import make_subplots

    names = [family_name(family) for family in table["family"]]
    figure = make_subplots(1, 2, shared_yaxes=True, column_widths=[0.62, 0.38], horizontal_spacing=0.04)
    spread = {
        "type": "data",
        "symmetric": False,
        "array": table["high"] - table["precision"],
        "arrayminus": table["precision"] - table["low"],
        "thickness": 1.5,
        "width": 0,
    }
    figure.add_scatter(
        x=table["uncalibrated"],
        y=names,
        mode="markers",
        name="uncalibrated",
        marker={"symbol": "circle-open", "size": 10, "color": MUTED, "line": {"width": 2}},
        hovertemplate="%{y}, uncalibrated: %{x:.3f}<extra></extra>",
        row=1,
        col=1,
    )
    figure.add_scatter(
        x=table["precision"],
        y=names,
        error_x=spread,
        mode="markers",
        name="calibrated",
        marker={"size": 10, "color": ACCENT},
        hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        row=1,
        col=1,
    )
    figure.add_bar(
        x=table["power"],
        y=names,
        orientation="h",
        marker={"color": colour(2)},
        width=0.45,
        showlegend=False,
        hovertemplate="%{y}: %{x:.2f}<extra></extra>",
        row=1,
        col=2,
    )
    figure.add_vline(x=precision, line={"color": colour(1), "width": 2, "dash": "dot"}, row=1, col=1)
    lowest = float(table[["precision", "low", "uncalibrated"]].min().min())
    figure.update_xaxes(title="realised precision", range=[min(lowest - 0.03, precision - 0.1), 1.01], row=1, col=1)
    figure.update_xaxes(title="power", range=[0, 1.01], row=1, col=2)
    figure.update_xaxes(gridcolor=GRID, zeroline=False)
    figure.update_yaxes(gridcolor=GRID, autorange="reversed", automargin=True)
    figure.update_layout(
        template="none",
        height=110 + 28 * len(table),
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"size": 12, "color": TEXT},
        margin={"l": 10, "r": 10, "t": 30, "b": 50},
        legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
    )
    return figure
