"""An empty figure in the page's style."""

from __future__ import annotations

from neucept.errors import missing
from neucept.reports.palette import GRID, TEXT

try:
    import plotly.graph_objects as go
except ImportError as error:
    raise missing("plotly", "report") from error

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def canvas(height: int, legend: bool) -> go.Figure:
    """Make a figure without traces that reads on light and dark."""
    axis = {"gridcolor": GRID, "linecolor": GRID, "automargin": True, "title": {"standoff": 8}}
    return go.Figure(
        layout={
            "template": "none",
            "height": height,
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": _FONT, "size": 12, "color": TEXT},
            "margin": {"l": 48, "r": 8, "t": 34 if legend else 10, "b": 44},
            "xaxis": axis,
            "yaxis": axis,
            "showlegend": legend,
            "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "itemsizing": "constant"},
            "hoverlabel": {
                "bgcolor": "#20262E",
                "bordercolor": "#20262E",
                "font": {"color": "#F4F6F8", "family": _FONT},
            },
            "hovermode": "closest",
        }
    )


def transparent(colour: str, opacity: str) -> str:
    """Make a colour #rrggbb see-through.

    >>> transparent("#ff0080", "0.5")
    'rgba(255,0,128,0.5)'
    """
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
