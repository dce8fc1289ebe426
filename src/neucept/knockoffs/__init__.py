"""Model-X knockoffs: samplers, statistics, thresholds. Knows arrays, no networks."""

from neucept.knockoffs.aggregation import (
    RULES,
    EValues,
    Frequency,
    Guarantee,
    LocalFDR,
    OneDraw,
    Rule,
    e_bh,
    evalues,
    frequency,
    largest_set,
    select,
    smallest_selection,
    stopped_evalues,
    threshold,
)
from neucept.knockoffs.draw import GramDraws, knockoff_statistics, row_statistics
from neucept.knockoffs.filter import EmptySelectionWarning, KnockoffFilter
from neucept.knockoffs.moments import Grams, Moments
from neucept.knockoffs.preprocessing import prepare
from neucept.knockoffs.samplers import SAMPLERS, ConditionalSampler, GaussianSampler, MixtureSampler, Sampler
from neucept.knockoffs.smatrix import mvr, s_matrix
from neucept.knockoffs.statistics import STATISTICS, GramStatistic, Statistic, lasso

__all__ = [
    "RULES",
    "SAMPLERS",
    "STATISTICS",
    "ConditionalSampler",
    "EValues",
    "EmptySelectionWarning",
    "Frequency",
    "GaussianSampler",
    "GramDraws",
    "GramStatistic",
    "Grams",
    "Guarantee",
    "KnockoffFilter",
    "LocalFDR",
    "MixtureSampler",
    "Moments",
    "OneDraw",
    "Rule",
    "Sampler",
    "Statistic",
    "e_bh",
    "evalues",
    "frequency",
    "knockoff_statistics",
    "largest_set",
    "lasso",
    "mvr",
    "prepare",
    "row_statistics",
    "s_matrix",
    "select",
    "smallest_selection",
    "stopped_evalues",
    "threshold",
]
