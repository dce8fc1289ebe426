"""Colours of the report, told apart by colour-blind people too, and an empty figure in its style."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neucept.errors import missing

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Paul Tol's bright scheme, reordered; readable on white and on near-black.
MECHANISMS = ("#4477AA", "#EE6677", "#228833", "#CCA02C", "#AA3377", "#3BB5D6", "#8C6D4F")
SYMBOLS = ("circle", "diamond", "square", "cross", "triangle-up", "star")
ACCENT = "#3B6FD4"
MUTED = "#8A939E"
TEXT = "#7A838E"  # reads on light and dark; the style sheet sharpens it
GRID = "rgba(128, 138, 150, 0.25)"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def colour(number: int) -> str:
    """Colour of a mechanism or label; grey for -1, which is none."""
    return MUTED if number < 0 else MECHANISMS[number % len(MECHANISMS)]


def symbol(number: int) -> str:
    """Marker of a mechanism or label: colours that come again have another shape.

    >>> symbol(0), symbol(7)
    ('circle', 'diamond')
    """
    return SYMBOLS[max(number, 0) // len(MECHANISMS) % len(SYMBOLS)]


def transparent(colour: str, opacity: str) -> str:
    """Make a colour #rrggbb see-through.

    >>> transparent("#ff0080", "0.5")
    'rgba(255,0,128,0.5)'
    """
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def plain(name: str) -> str:
    """Escape what the user named: Plotly reads a little HTML in its texts."""
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def canvas(height: int, legend: bool) -> go.Figure:
    """Make a figure without traces that reads on light and dark."""
    try:
        import plotly.graph_objects as go
    except ImportError as error:
        raise missing("plotly", "report") from error
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
