"""Figures of two networks' mechanisms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neucept.comparison.comparison import Comparison
from neucept.reports.figures.canvas import ACCENT, MUTED, canvas, colour, plain, transparent

if TYPE_CHECKING:
    import plotly.graph_objects as go


def colours(comparison: Comparison) -> tuple[list[str], list[str]]:
    """Colour of each mechanism of either network: matched ones share theirs, others of the second are grey."""
    first = [colour(k) for k in range(comparison.counts[0])]
    partner = {j: i for i, j in comparison.matches}
    return first, [first[partner[k]] if k in partner else MUTED for k in range(comparison.counts[1])]


def orders(comparison: Comparison) -> tuple[list[int], list[int]]:
    """Mechanisms of either network in the order of figures: matched pairs first, the largest overlap before others."""
    pairs = sorted(comparison.matches, key=lambda pair: -comparison.contingency[pair])
    sides = []
    for side, K in enumerate(comparison.counts):
        matched = [pair[side] for pair in pairs]
        sides.append(matched + [k for k in range(K) if k not in matched])
    return sides[0], sides[1]


def flow(comparison: Comparison, height: int = 460) -> go.Figure:
    """Draw how inputs move from the mechanisms of the first network (left) to those of the second (right).

    Parameters
    ----------
    comparison : Comparison
        Of `neucept.compare`.
    height : int
        Pixels.
    """
    table = comparison.movements()
    first, second = colours(comparison)
    order_a, order_b = orders(comparison)
    rows = [*order_a, *range(comparison.counts[0], len(table))]
    columns = [*order_b, *range(comparison.counts[1], table.shape[1])]
    table = table.iloc[rows, columns]
    fill = [first[k] for k in order_a] + [MUTED] * (len(rows) - len(order_a))
    fill += [second[k] for k in order_b] + [MUTED] * (len(columns) - len(order_b))
    values = table.to_numpy()
    left, right = np.nonzero(values)
    figure = canvas(height, legend=False)
    figure.add_sankey(
        arrangement="snap",
        node={
            "label": [plain(name) for name in (*table.index, *table.columns)],
            "color": fill,
            "pad": 14,
            "thickness": 16,
            "line": {"width": 0},
            "hovertemplate": "%{label}: %{value:,} inputs<extra></extra>",
        },
        link={
            "source": left,
            "target": right + len(table),
            "value": values[left, right],
            "color": [transparent(fill[i], "0.35") for i in left],
            "hovertemplate": "%{source.label} to %{target.label}: %{value:,} inputs<extra></extra>",
        },
    )
    figure.update_layout(margin={"l": 8, "r": 8, "t": 10, "b": 10})
    return figure


def heat_map(comparison: Comparison, height: int = 420) -> go.Figure:
    """Draw the Jaccard index and the inputs of each pair of mechanisms; matched pairs come first, on the diagonal.

    Parameters
    ----------
    comparison : Comparison
        Of `neucept.compare`.
    height : int
        Pixels.
    """
    order_a, order_b = orders(comparison)
    cells = np.ix_(order_a, order_b)
    index, counts = comparison.jaccard[cells], comparison.contingency[cells]
    one, other = (plain(name) for name in comparison.names)
    figure = canvas(height, legend=False)
    figure.add_heatmap(
        x=[f"{other} {k}" for k in order_b],
        y=[f"{one} {k}" for k in order_a],
        z=index.round(4),
        customdata=counts,
        text=[[f"{count:,}" if count else "" for count in row] for row in counts],
        texttemplate="%{text}",
        hovertemplate="%{y} and %{x}: %{customdata:,} inputs, Jaccard index %{z:.2f}<extra></extra>",
        zmin=0,
        zmax=1,
        colorscale=[[0, transparent(ACCENT, "0")], [1, ACCENT]],
        colorbar={"title": {"text": "Jaccard index", "side": "right"}, "thickness": 12, "outlinewidth": 0},
        xgap=2,
        ygap=2,
    )
    figure.update_xaxes(side="top", showgrid=False, type="category")
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    figure.update_layout(margin={"l": 60, "r": 8, "t": 40, "b": 10})
    return figure
