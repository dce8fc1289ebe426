"""The figures of the page: functions of results that return Plotly figures, to be used on their own too."""

from neucept.reports.figures.critical import (
    MOST_JUDGED,
    MOST_RANKED,
    calibration_figure,
    ranked_neurons,
    ranked_statistics,
)
from neucept.reports.figures.mechanisms import CURVES, guide_curve, input_map, neuron_histogram, separating_neurons

__all__ = [
    "CURVES",
    "MOST_JUDGED",
    "MOST_RANKED",
    "calibration_figure",
    "guide_curve",
    "input_map",
    "neuron_histogram",
    "ranked_neurons",
    "ranked_statistics",
    "separating_neurons",
]
