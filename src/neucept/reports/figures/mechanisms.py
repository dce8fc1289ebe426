"""Figures of the inputs and their mechanisms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from neucept.mechanisms import ErrorDetection, Mechanisms, NumberOfClusters
from neucept.mechanisms.n_clusters import STABLE
from neucept.reports.figures.canvas import ACCENT, MUTED, canvas, colour, symbol, transparent

if TYPE_CHECKING:
    import plotly.graph_objects as go

CURVES = {"stability": "agreement of halves", "silhouette": "silhouette", "bic": "BIC"}


def input_map(
    coordinates: np.ndarray,
    groups: np.ndarray,
    names: Sequence[str],
    hover: np.ndarray | None = None,
    axes: tuple[str, str] = ("", ""),
    height: int = 460,
) -> go.Figure:
    """Draw inputs in the plane, coloured by group.

    Parameters
    ----------
    coordinates : array
        (m, 2).
    groups : array
        (m,) mechanism or label of each; -1 is none.
    names : sequence of str
        Of the groups.
    hover : array, optional
        (m,) text shown at each point.
    axes : (str, str)
        Titles of the axes.
    height : int
        Pixels.

    Examples
    --------
    >>> figure = input_map(np.zeros((3, 2)), np.array([0, 1, -1]), ["mechanism 0", "mechanism 1"])
    >>> [trace.name for trace in figure.data]
    ['mechanism 0', 'mechanism 1', 'none']
    """
    figure = canvas(height, legend=True)
    named = [*((number, name) for number, name in enumerate(names)), (-1, "none")]
    for number, name in named:
        rows = np.flatnonzero(groups == number)
        if not len(rows):
            continue
        figure.add_scatter(
            x=coordinates[rows, 0].astype(np.float32),
            y=coordinates[rows, 1].astype(np.float32),
            mode="markers",
            name=name,
            marker={
                "color": colour(number),
                "symbol": symbol(number),
                "size": 6,
                "opacity": 0.75,
                "line": {"width": 0},
            },
            customdata=rows,
            text=None if hover is None else hover[rows],
            hovertemplate="%{text}<extra></extra>" if hover is not None else name + "<extra></extra>",
        )
    figure.update_xaxes(title=axes[0], showticklabels=False, zeroline=False)
    figure.update_yaxes(title=axes[1], showticklabels=False, zeroline=False)
    return figure


def separating_neurons(mechanisms: Mechanisms, most: int = 6) -> list[tuple[int, int, int, float]]:
    """Find the representative neurons that separate two mechanisms best, as many at each layer.

    Returns
    -------
    list of (feature, mechanism, mechanism, separation)
        One pair for each neuron, the best first; the separation is the difference of the means over the pooled
        standard deviation.
    """
    K = len(mechanisms)
    groups = [mechanisms.values[mechanisms.labels == number] for number in range(K)]
    pairs = [(a, b) for a in range(K) for b in range(a + 1, K) if min(len(groups[a]), len(groups[b])) > 1]
    best: dict[str, list[tuple[int, int, int, float]]] = {layer: [] for layer in mechanisms.layers}
    for number, feature in enumerate(mechanisms.features):
        distances = [_separation(groups[a][:, number], groups[b][:, number]) for a, b in pairs]
        if distances:
            pair = int(np.argmax(distances))
            best[feature.layer].append((number, *pairs[pair], distances[pair]))
    each = -(-most // len(best))
    found = [item for layer in best.values() for item in sorted(layer, key=lambda item: -item[3])[:each]]
    return sorted(found, key=lambda item: -item[3])[:most]


def neuron_histogram(
    everything: np.ndarray, one: np.ndarray, other: np.ndarray, pair: tuple[int, int], bins: int = 24, height: int = 250
) -> go.Figure:
    """Draw the activation of a neuron in two mechanisms and in all inputs (Figure 12).

    Parameters
    ----------
    everything, one, other : array
        Activations of all recorded inputs and of those of the two mechanisms.
    pair : (int, int)
        Their numbers.
    bins, height : int
        Bars, pixels.
    """
    low, high = np.quantile(np.concatenate([everything, one, other]), [0.001, 0.999])
    edges = np.linspace(low, max(high, low + 1e-6), bins + 1)
    middle = (edges[:-1] + edges[1:]) / 2
    figure = canvas(height, legend=True)
    for number, values in zip(pair, (one, other), strict=True):
        figure.add_bar(
            x=middle,
            y=_shares(values, edges),
            name=f"mechanism {number}",
            marker={"color": colour(number), "opacity": 0.7, "line": {"width": 0}},
            hovertemplate="%{y:.1%} near %{x:.3g}<extra></extra>",
        )
    step = edges[1] - edges[0]
    figure.add_scatter(
        x=[middle[0] - step, *middle, middle[-1] + step],
        y=[0, *_shares(everything, edges), 0],
        mode="lines",
        name="all inputs",
        line={"shape": "hvh", "width": 1.5, "color": MUTED},
        hovertemplate="all inputs: %{y:.1%} near %{x:.3g}<extra></extra>",
    )
    figure.update_layout(barmode="overlay", bargap=0)
    figure.update_xaxes(title="activation", showgrid=False, zeroline=False)
    figure.update_yaxes(title="share of inputs", nticks=4, zeroline=False, rangemode="tozero", tickformat=".0%")
    return figure


def cluster_curve(choice: NumberOfClusters, column: str, used: int, height: int = 250) -> go.Figure:
    """Draw stability, silhouette or BIC over the number of mechanisms; the number used is circled.

    Parameters
    ----------
    choice : NumberOfClusters
        Of `neucept.choose_n_mechanisms`.
    column : {"stability", "silhouette", "bic"}
        What to draw.
    used : int
        The number of mechanisms that the report uses.
    height : int
        Pixels.
    """
    table = choice.table.dropna(subset=[column])
    if column != "bic":
        table = table[table["mechanisms"] > 1]
    K, values = table["mechanisms"].to_numpy(), table[column].to_numpy()
    figure = canvas(height, legend=False)
    if column == "stability" and len(table):
        band = np.concatenate([table["stability_high"], table["stability_low"][::-1]])
        ends = np.concatenate([K, K[::-1]])
        fill = transparent(ACCENT, "0.18")
        figure.add_scatter(
            x=ends, y=band, mode="lines", fill="toself", fillcolor=fill, line={"width": 0}, hoverinfo="skip"
        )
        figure.add_hline(y=STABLE, line={"color": MUTED, "width": 1, "dash": "dot"})
    figure.add_scatter(
        x=K,
        y=values,
        mode="lines+markers",
        line={"color": ACCENT, "width": 2},
        marker={"size": 6},
        hovertemplate=f"%{{x}} mechanisms: {CURVES[column]} %{{y:.3g}}<extra></extra>",
    )
    here = np.flatnonzero(used == K)
    ring = {"size": 15, "color": "rgba(0,0,0,0)", "line": {"width": 2, "color": colour(1)}}
    figure.add_scatter(x=K[here], y=values[here], mode="markers", marker=ring, hoverinfo="skip")
    figure.update_xaxes(title="number of mechanisms", dtick=1, showgrid=False, zeroline=False)
    figure.update_yaxes(title=CURVES[column], nticks=5, zeroline=False)
    return figure


def error_curves(detection: ErrorDetection, height: int = 280) -> go.Figure:
    """Draw the share of errors found by the share of inputs checked: by confidence alone, and with the mechanism.

    Parameters
    ----------
    detection : ErrorDetection
        Of `neucept.mechanisms.error_detection`.
    height : int
        Pixels.
    """
    figure = canvas(height, legend=True)
    lines = {"confidence": (MUTED, "dash"), "confidence and mechanism": (ACCENT, "solid")}
    for by, (shade, dash) in lines.items():
        curve = detection.curve[detection.curve["by"] == by]
        figure.add_scatter(
            x=curve["checked"],
            y=curve["errors_found"],
            mode="lines",
            name=f"{by} (AUC {detection.auc[by]:.2f})",
            line={"color": shade, "width": 2.5, "dash": dash},
            hovertemplate="%{x:.0%} checked, %{y:.0%} of the errors found<extra></extra>",
        )
    figure.update_xaxes(title="inputs checked, the most suspect first", tickformat=".0%", range=[0, 1])
    figure.update_yaxes(title="errors found", tickformat=".0%", range=[0, 1.02])
    return figure


def _separation(one: np.ndarray, other: np.ndarray) -> float:
    pooled = np.sqrt((one.var() + other.var()) / 2)
    return float(abs(one.mean() - other.mean()) / max(pooled, 1e-12))


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    inside = np.clip(values, edges[0], edges[-1])
    return np.histogram(inside, edges)[0] / max(len(values), 1)
