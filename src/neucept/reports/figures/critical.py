"""Figures of the critical neurons of a layer and of what their precision rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neucept.discovery import Selection
from neucept.reports.figures.canvas import ACCENT, GRID, MUTED, canvas, colour
from neucept.reports.phrases import family_name, group_label, is_grouped, members, neurons_called, shorten

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_RANKED = 40  # neurons in a ranking by W
MOST_JUDGED = 1000  # neurons or groups in a ranking by probability
_FEW = 40  # neurons that are named on the axis
_TICK = 20  # characters of a name on the axis


def by_number(rows: pd.DataFrame, measure: str, title: str, height: int = 260) -> go.Figure:
    """Draw how much the first neurons of several orders carry, by their number.

    Parameters
    ----------
    rows : DataFrame
        Of `neucept.sufficiency`, those with a method.
    measure : str
        Its column.
    title : str
        What the column is, shown at the pointer; the axis has no title, which would be cut.
    height : int
        Pixels.
    """
    figure = canvas(height, legend=True)
    for number, (method, own) in enumerate(rows.groupby("method", sort=False)):
        ours = method == "critical"
        figure.add_scatter(
            x=own["count"],
            y=own[measure].round(3),
            mode="lines+markers",
            name="this ranking" if ours else str(method),
            line={"color": ACCENT if ours else colour(number), "width": 3 if ours else 1.5},
            hovertemplate=f"{method}, first %{{x}}: %{{y:.2f}}<br>{title}<extra></extra>",
        )
    counts = sorted({int(count) for count in rows["count"]})
    figure.update_xaxes(title="number of neurons", type="log", tickvals=counts, ticktext=[f"{n:,}" for n in counts])
    figure.update_yaxes(rangemode="tozero")
    return figure


def ranked_statistics(selection: Selection, most: int = MOST_RANKED, height: int = 330) -> go.Figure:
    """Draw the mean statistic W of the first neurons of a layer, with the middle 90% over the draws.

    Selected neurons are filled; where all of them are shown, a dotted line marks the smallest.
    """
    order = selection.surest[:most]
    draws = selection.statistics[:, order]
    mean = selection.mean_statistic[order]
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    selected = np.isin(order, selection.neurons)
    called = np.array(neurons_called(order, selection.names), dtype=object)
    figure = canvas(height, legend=True)
    for chosen, name, fill in ((True, "selected", ACCENT), (False, "not selected", MUTED)):
        at = np.flatnonzero(selected == chosen)
        if not len(at):
            continue
        spread = {"type": "data", "symmetric": False, "array": high[at] - mean[at], "arrayminus": mean[at] - low[at]}
        figure.add_scatter(
            x=called[at],
            y=mean[at],
            error_y={**spread, "thickness": 1.2, "width": 0, "color": fill} if len(draws) > 1 else None,
            mode="markers",
            name=name,
            marker={"color": fill, "size": 7, "symbol": "circle" if chosen else "circle-open"},
            customdata=np.stack([at + 1, selection.evalues[order[at]], selection.frequency[order[at]]], axis=1),
            hovertemplate="neuron %{x}, rank %{customdata[0]:.0f}<br>mean W %{y:.3g}<br>e-value %{customdata[1]:.3g}"
            "<br>selected in %{customdata[2]:.0%} of the draws<extra></extra>",
        )
    if 0 < len(selection.neurons) == selected.sum():
        figure.add_hline(y=float(mean[selected].min()), line={"color": ACCENT, "width": 1, "dash": "dot"})
    figure.update_xaxes(
        title="neuron, strongest evidence first", type="category", categoryorder="array", showgrid=False
    )
    figure.update_xaxes(categoryarray=called, tickangle=-90, tickfont={"size": 12})
    if selection.names is not None:
        figure.update_xaxes(tickvals=called, ticktext=[shorten(name, _TICK) for name in called])
    figure.update_yaxes(title="statistic W", zeroline=True, zerolinecolor=GRID, rangemode="tozero")
    return figure


def ranked_neurons(selection: Selection, most: int = MOST_JUDGED, height: int = 380) -> go.Figure:
    """Draw the probability that each neuron (or group) of a calibrated layer is critical, and its importance.

    Parameters
    ----------
    selection : Selection
        With a calibration.
    most : int
        Neurons or groups drawn, those of strongest evidence first; all selected ones are drawn in any case.
    height : int
        Pixels.
    """
    if selection.local_fdr is None:
        raise ValueError(f"Layer '{selection.layer}' is not calibrated; use ranked_statistics.")
    count = min(max(most, len(selection.neurons)), len(selection.representatives))
    order = selection.surest[:count]
    probability = 1 - selection.local_fdr[order]
    importance = _group_importance(selection, order)
    importance = importance / max(float(importance.max(initial=0)), 1e-300)
    few = count <= _FEW
    rank = np.arange(1, count + 1)
    called = np.array(neurons_called(order, selection.names), dtype=object)
    place = called if few else rank
    labels = [group_label(members(selection, neuron), names=selection.names) for neuron in order.tolist()]
    names = np.array(labels, dtype=object)
    known = np.stack(
        [names, rank, probability.round(4), importance.round(4), selection.mean_statistic[order].round(6)], axis=1
    )
    hover = (
        "%{customdata[0]}, rank %{customdata[1]}<br>critical with probability %{customdata[2]:.1%}"
        "<br>importance %{customdata[3]:.2f} of the largest<br>knockoff statistic W %{customdata[4]:.3g}<extra></extra>"
    )
    size = 9 if few else 7 if count <= 200 else 5
    selected = np.isin(order, selection.neurons)
    figure = canvas(height, legend=True)
    for chosen, name, fill in ((True, "selected", ACCENT), (False, "not selected", MUTED)):
        at = np.flatnonzero(selected == chosen)
        if not len(at):
            continue
        same = {"x": place[at], "customdata": known[at], "hovertemplate": hover, "name": name, "legendgroup": name}
        dot = {"color": fill, "size": size, "symbol": "circle" if chosen else "circle-open"}
        figure.add_scatter(y=probability[at].round(4), mode="markers", marker=dot, **same)
        bar = {"color": fill, "opacity": 0.75, "line": {"width": 0}}
        figure.add_bar(y=importance[at].round(4), yaxis="y2", showlegend=False, marker=bar, **same)
    first = 0 if few else 1  # where the axis puts the first: names are counted from 0, ranks from 1
    if 0 < selected.sum() < count:
        cut = float(np.flatnonzero(selected).max()) + first + 0.5
        figure.add_vline(x=cut, line={"color": ACCENT, "width": 1, "dash": "dot"})
    title = "group" if is_grouped(selection) else "neuron"
    ends = [first - 1, count + first]
    figure.update_xaxes(anchor="y2", showgrid=False, zeroline=False, range=ends)
    if few:
        figure.update_xaxes(title=f"{title}, strongest evidence first", type="category", tickangle=-90)
        figure.update_xaxes(categoryorder="array", categoryarray=place, tickfont={"size": 12})
        if selection.names is not None:
            figure.update_xaxes(tickvals=place, ticktext=[shorten(name, _TICK) for name in called])
    else:
        figure.update_xaxes(title=f"rank of the {title}")
    axis = {**figure.layout.yaxis.to_plotly_json(), "zeroline": False}
    above = {"domain": [0.36, 1], "range": [-0.03, 1.03], "tickformat": ".0%", "title": "probability", "nticks": 6}
    below = {"domain": [0, 0.26], "range": [0, 1.03], "tickformat": ".1f", "title": "importance", "nticks": 3}
    figure.update_layout(bargap=0.25, yaxis=axis | above, yaxis2=axis | below)
    return figure


def _group_importance(selection: Selection, representatives: np.ndarray) -> np.ndarray:
    """Give the importance of groups: root of the summed squares of the members; zeros where it is unknown."""
    if selection.importance is None:
        return np.zeros(len(representatives))
    alive = selection.groups >= 0
    squares = np.bincount(selection.groups[alive], selection.importance[alive] ** 2)
    return np.asarray(np.sqrt(squares[selection.groups[representatives]]))


def calibration_figure(table: pd.DataFrame, precision: float, height: int | None = None) -> go.Figure:
    """Draw the precision realised on each family of simulated responses beside the required one, and the power.

    Parameters
    ----------
    table : DataFrame
        Of `Calibration.table`.
    precision : float
        Required.
    height : int, optional
        Pixels; by default by the number of families.
    """
    names = [family_name(family) for family in table["family"]]
    realised = table["precision"]
    figure = canvas(height or 96 + 27 * len(table), legend=True)
    figure.add_scatter(
        x=table["uncalibrated"].round(4),
        y=names,
        mode="markers",
        name="equation (9) alone",
        legendrank=1001,
        marker={"symbol": "circle-open", "size": 9, "color": colour(1), "line": {"width": 2}},
        hovertemplate="%{y}: equation (9) alone realises %{x:.3f}<extra></extra>",
    )
    ends = {"array": (table["high"] - realised).round(4), "arrayminus": (realised - table["low"]).round(4)}
    figure.add_scatter(
        x=realised.round(4),
        y=names,
        error_x={"type": "data", "symmetric": False, **ends, "thickness": 2, "width": 0, "color": ACCENT},
        mode="markers",
        name="calibrated, with 95% interval",
        marker={"size": 9, "color": ACCENT},
        customdata=table[["low", "high", "responses"]].round(3),
        hovertemplate="%{y}: %{x:.3f} (%{customdata[0]:.3f} to %{customdata[1]:.3f}),"
        " %{customdata[2]:.0f} responses<extra></extra>",
    )
    bar = {"color": MUTED, "opacity": 0.7, "line": {"width": 0}}
    hover = "%{y}: power %{x:.2f}<extra></extra>"
    power = {"x": table["power"].round(4), "y": names, "orientation": "h", "xaxis": "x2", "width": 0.4}
    figure.add_bar(**power, marker=bar, showlegend=False, hovertemplate=hover)
    line = {"color": MUTED, "width": 1.5, "dash": "dot"}
    required = {"x": [precision] * len(names), "y": names, "mode": "lines", "name": f"required: {precision:g}"}
    figure.add_scatter(**required, line=line, hoverinfo="skip")
    lowest = float(table[["low", "uncalibrated"]].min().min())
    axis = figure.layout.xaxis.to_plotly_json()
    figure.update_layout(
        xaxis={"title": "realised precision", "domain": [0, 0.7], "range": [max(lowest - 0.05, -0.02), 1.03]},
        xaxis2={**axis, "title": "power", "domain": [0.76, 1], "range": [0, 1.03], "nticks": 3, "zeroline": False},
        yaxis={"autorange": "reversed", "type": "category", "zeroline": False, "showline": False},
    )
    return figure
