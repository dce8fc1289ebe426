"""Numbers of the figures and tables from results/input_layer.json."""

from __future__ import annotations

from typing import Any

import pandas as pd
from ablation import MAGNITUDES, SIGNS
from common import interval
from read.ablation import areas

LOCAL = ("saliency", "integrated gradients", MAGNITUDES, "DeepLIFT", "gradient SHAP")


def by_seed(results: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """Return {signs: mean areas}, one row per pair of networks and one column per method."""
    table = areas(results, ("signs", "top", "gamma", "class"))
    each = table.groupby(["signs", "method", "seed"])["area"].mean().unstack("method")
    return {signs: each.loc[signs] for signs in SIGNS}


def less(one: pd.DataFrame, other: str, ours: str = "NeuCEPT") -> list[float]:
    """Our area minus another method's, one value per pair of networks."""
    return (one[ours] - one[other]).to_list()


def within(one: pd.DataFrame) -> bool:
    """Whether NeuCEPT's mean area lies between the least and the largest of the attributions."""
    of_others = one[list(LOCAL)].mean()
    return bool(of_others.min() <= one["NeuCEPT"].mean() <= of_others.max())


def above(values: list[float]) -> bool:
    """Whether the interval, of three values or more, lies above zero."""
    mean, half = interval(values)
    return len(values) > 2 and mean - half > 0
