"""Model-X knockoffs: samplers, statistics, thresholds. Knows arrays, no networks."""

from neucept.knockoffs.aggregation import (
    e_bh,
    evalues,
    frequency,
    levels_for,
    select,
    smallest_selection,
    stopped_evalues,
    threshold,
)
from neucept.knockoffs.draw import knockoff_statistics
from neucept.knockoffs.filter import EmptySelectionWarning, KnockoffFilter
from neucept.knockoffs.gram import GramDraws
from neucept.knockoffs.moments import Moments
from neucept.knockoffs.preprocessing import prepare
from neucept.knockoffs.rows import Statistic, lasso, row_statistics
from neucept.knockoffs.samplers import SAMPLERS, ConditionalSampler, GaussianSampler, MixtureSampler, Sampler
from neucept.knockoffs.smatrix import mvr, s_matrix
from neucept.knockoffs.statistics import STATISTICS, GramStatistic

__all__ = [
    "SAMPLERS",
    "STATISTICS",
    "ConditionalSampler",
    "EmptySelectionWarning",
    "GaussianSampler",
    "GramDraws",
    "GramStatistic",
    "KnockoffFilter",
    "MixtureSampler",
    "Moments",
    "Sampler",
    "Statistic",
    "e_bh",
    "evalues",
    "frequency",
    "knockoff_statistics",
    "lasso",
    "levels_for",
    "mvr",
    "prepare",
    "row_statistics",
    "s_matrix",
    "select",
    "smallest_selection",
    "stopped_evalues",
    "threshold",
]
