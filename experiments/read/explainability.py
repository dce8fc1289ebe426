"""Numbers of the figures and tables from results/explainability.json."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from common import interval
from explainability import COUNTS, KERNEL_COUNTS, SELECTED

MEASURES = {"linear": "linear R²", "kernel": "kernel R²", "agreement": "predictions that stay"}
SHOWN = 20
ENOUGH = 0.99  # of the R2 of all neurons, and of the predictions: less, and the others do add something


def of_rankings(results: dict[str, Any]) -> dict:
    """Leave out the cells of the selection."""
    return {key: cell for key, cell in results.items() if not key.startswith(SELECTED)}


def table_of(results: dict[str, Any]) -> pd.DataFrame:
    rows = []
    for key, cell in of_rankings(results).items():
        task, seed, kind, layer = key.split()
        for measure_name, by_method in cell.items():
            counts = KERNEL_COUNTS if measure_name == "kernel" else COUNTS
            for method, values in by_method.items():
                which = {"task": task, "seed": seed, "kind": kind, "layer": layer, "measure": measure_name}
                pairs_of = zip((*counts, "all"), values, strict=True)
                rows += [which | {"method": method, "count": str(n), "value": value} for n, value in pairs_of]
    return pd.DataFrame(rows)


def kept(results: dict[str, Any]) -> tuple[list[float], list[float], list[float]]:
    """Return the shares of neurons, of the R2 and of predictions that the selection at 0.9 keeps, one per network."""
    shares: list[list[float]] = [[], [], []]
    for key, cell in results.items():
        if key.startswith(SELECTED):
            pairs_of = [(by_set["selected"], by_set["all alive"]) for by_set in cell.values()]
            shares[0].append(float(np.mean([one[0] / every[0] for one, every in pairs_of])))
            shares[1].append(float(np.mean([one[1] / every[1] for one, every in pairs_of])))
            shares[2].append(float(np.mean([one[2] for one, _ in pairs_of])))
    return shares[0], shares[1], shares[2]


def first(table: pd.DataFrame, method: str = "NeuCEPT") -> tuple[list[float], list[float]]:
    """Return the share of the R2 (kernel) and of predictions that the first neurons keep, one value per network."""
    layers = table.groupby(["task", "seed", "kind"])["layer"].transform("nunique")
    rows = table[(table["method"] == method) & (layers == layers.max())]  # networks that are measured whole
    by = rows.groupby(["measure", "count", "task", "seed", "kind"])["value"].mean()
    some, every = by["kernel", str(SHOWN)], by["kernel", "all"]
    return (some / every).to_list(), by["agreement", str(SHOWN)].to_list()


def enough(shares: list[list[float]]) -> bool:
    """Whether intervals of all shares reach what is taken to be everything."""
    return all(np.mean(values) + np.nan_to_num(interval(values)[1]) >= ENOUGH for values in shares)


def beside(table: pd.DataFrame, kind: str, other: str) -> list[float]:
    """Return NeuCEPT minus another method with the first neurons, one value per network."""
    layers = table.groupby(["task", "seed", "kind"])["layer"].transform("nunique")
    at = table[(table["count"] == str(SHOWN)) & (table["measure"] == kind) & (layers == layers.max())]
    each = at.groupby(["method", "task", "seed", "kind"])["value"].mean()
    return (each["NeuCEPT"] - each[other]).to_list()
