"""Model-X knockoffs: samplers, statistics, thresholds. Knows arrays, no networks."""

from neucept.knockoffs.hygiene import prepare
from neucept.knockoffs.rows import row_statistics
from neucept.knockoffs.samplers import SAMPLERS, GaussianSampler, Sampler
from neucept.knockoffs.smatrix import mvr
from neucept.knockoffs.statistics import STATISTICS, Statistic, lasso
from neucept.knockoffs.thresholds import e_bh, evalues, frequency, levels_for, select, smallest_selection, threshold

__all__ = [
    "SAMPLERS",
    "STATISTICS",
    "GaussianSampler",
    "Sampler",
    "Statistic",
    "e_bh",
    "evalues",
    "frequency",
    "lasso",
    "levels_for",
    "mvr",
    "prepare",
    "row_statistics",
    "select",
    "smallest_selection",
    "threshold",
]
