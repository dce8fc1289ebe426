"""Figures of the report: functions that take results and return Plotly figures, for use on their own too."""

from neucept.reports.figures.comparison import flow, heat_map
from neucept.reports.figures.critical import (
    MOST_JUDGED,
    MOST_RANKED,
    by_number,
    calibration_figure,
    ranked_neurons,
    ranked_statistics,
)
from neucept.reports.figures.mechanisms import (
    CURVES,
    cluster_curve,
    error_curves,
    input_map,
    neuron_histogram,
    separating_neurons,
)

__all__ = [
    "CURVES",
    "MOST_JUDGED",
    "MOST_RANKED",
    "by_number",
    "calibration_figure",
    "cluster_curve",
    "error_curves",
    "flow",
    "heat_map",
    "input_map",
    "neuron_histogram",
    "ranked_neurons",
    "ranked_statistics",
    "separating_neurons",
]
