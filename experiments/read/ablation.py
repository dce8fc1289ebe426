"""Numbers of the figures and tables from results/ablation.json."""

from __future__ import annotations

from typing import Any

import pandas as pd
from ablation import SIGNS

OURS = ("NeuCEPT", "NeuCEPT, published")


def areas(results: dict[str, Any], names: tuple[str, ...], part: str | None = None) -> pd.DataFrame:
    """Return one row per network, setting and method, with its area and the parts of the setting."""
    rows = []
    for key, cell in results.items():
        task, seed, kind, layer = key.split()[:4]
        chosen = cell[part] if part else cell
        for method, values in chosen["areas"].items():
            for which, value in zip(chosen["settings"], values, strict=True):
                parts = dict(zip(names, which.split(" | "), strict=True))
                words = "continuous" if parts["top"] == "0" else "top k"
                family = method.partition(" #")[0]
                rows.append({"task": task, "seed": seed, "layer": layer, "kind": kind, "method": family, "area": value})
                rows[-1] |= {"column": f"{layer}, {words}", "setting": f"{layer} {kind} {which}", **parts}
    return pd.DataFrame(rows)


def best(table: pd.DataFrame) -> pd.Series:
    """Count the settings in which each method has the largest area, mean over the seeds; most often first."""
    mean = table.groupby(["setting", "method"], sort=False)["area"].mean().unstack(sort=False)
    return mean.idxmax(axis=1).value_counts().reindex(mean.columns, fill_value=0).sort_values(ascending=False)


def by_layer(table: pd.DataFrame) -> pd.DataFrame:
    """Area of each method at each layer, one row per method: the mean over seeds of a network's mean over settings."""
    cells = table.groupby(["method", "layer", "seed"], sort=False)["area"].mean()
    wide = cells.groupby(["method", "layer"], sort=False).mean().unstack("layer", sort=False)
    return wide.assign(**{"mean of layers": wide.mean(axis=1)}).sort_values("mean of layers", ascending=False)


def place(table: pd.DataFrame, method: str) -> int:
    """Return a method's place, 1 for the largest area on average over the layers."""
    return list(by_layer(table).index).index(method) + 1


def won(table: pd.DataFrame, method: str) -> int:
    """Count the settings in which no other method has a larger area, mean over the seeds."""
    mean = table.groupby(["setting", "method"], sort=False)["area"].mean().unstack(sort=False)
    return int((mean[method] >= mean.max(axis=1)).sum())


def parts(results: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """Return the main settings' areas by the sign of the noise, of the methods that were measured everywhere."""
    table = areas(results, ("signs", "top", "gamma", "class"))
    networks = table.groupby("method", sort=False)[["task", "seed", "kind", "layer"]].agg(tuple)
    whole = {method: len(set(zip(*row, strict=True))) for method, row in networks.iterrows()}
    table = table[table["method"].map(whole) == max(whole.values())]
    return {signs: table[table["signs"] == signs] for signs in SIGNS}
