"""Tell Figure 18: the ablation test at the input."""

from __future__ import annotations

from typing import Any

import pandas as pd
from ablation import MAGNITUDES, SIGNS
from claims import NO, PARTLY, YES, Claim, counted, table
from common import clearly_above_zero, plus_minus, signed
from input_layer import LEVELS
from read.ablation import areas
from tell.ablation import by_column
from template import Template

CHANCE = ("random", "random patches")
NOISE = {"positive": "published noise", "both": "noise of both signs"}
PUBLISHED = "NeuCEPT, published"
NAMES = {"random": "random pixels", PUBLISHED: "NeuCEPT, published form"}
ROWS = ("NeuCEPT", PUBLISHED, "saliency", MAGNITUDES, "integrated gradients", "variance of patches", *CHANCE)
RANGE = {True: "within", False: "outside"}
LOCAL = ("saliency", "integrated gradients", MAGNITUDES, "DeepLIFT", "gradient SHAP")


def claims(results: dict[str, Any]) -> list[Claim]:
    each = by_seed(results)
    one = each["positive"]
    best = best_attribution(one)
    holds = NO
    if comparable(each):
        holds = PARTLY if beside_chance(each) else YES
    return [
        Claim(
            source="Figure 18",
            what="at the input, NeuCEPT's features explain about as well as local attributions",
            value=f"area with published noise: {signed(less(one, best))} compared with {best}, {RANGE[within(one)]} the"
            f" range of the attributions, {signed(less(one, 'random'))} compared with random pixels"
            f" ({networks(results)})",
            holds=holds,
        )
    ]


def tell(results: dict[str, Any]) -> str:
    template, each = Template("input_layer"), by_seed(results)
    columns = areas(results, ("signs", "top", "gamma", "class"))
    columns["column"] = columns["column"].str.removeprefix("input, ") + ", " + columns["signs"].map(NOISE)
    positive = columns[columns["signs"] == "positive"]
    spread = positive.groupby(["seed", "kind", "top", "gamma", "method"])["area"].agg(["min", "max"])
    best = {signs: best_attribution(one) for signs, one in each.items()}
    published = [
        f"{signed(less(each[signs], name, PUBLISHED))} compared with {NAMES.get(name, name)} ({NOISE[signs]})"
        for signs in SIGNS
        for name in ("saliency", *CHANCE)
    ]
    unclear = beside_chance(each) if comparable(each) else []
    head = ["noise spares first the pixels by"]
    return template.fill(
        comparable="comparable" if comparable(each) else "not comparable",
        within="within" if comparable(each) else "not within",
        best=" and ".join(f"{signed(less(one, best[s]))} with {NOISE[s]} ({best[s]})" for s, one in each.items()),
        unclear=template.fill("unclear", names=", ".join(unclear)) if unclear else "",
        networks=networks(results),
        level=LEVELS[-1],
        table=table(
            head + [column for noise in NOISE.values() for column in (noise, "NeuCEPT minus it")],
            [row(each, name) for name in ROWS],
        ),
        columns=by_column(columns),
        published=", ".join(published),
        spread=(spread["max"] - spread["min"]).mean(),
    )


def best_attribution(one: pd.DataFrame) -> str:
    return str(one[list(LOCAL)].mean().idxmax())


def comparable(each: dict[str, pd.DataFrame]) -> bool:
    """Whether NeuCEPT is within the range of the attributions, whatever the sign of the noise."""
    return all(within(one) for one in each.values())


def beside_chance(each: dict[str, pd.DataFrame]) -> list[str]:
    """Name the random pixels and patches that NeuCEPT is not shown to be better than."""
    return [
        f"{NAMES.get(name, name)} with {NOISE[signs]} ({signed(less(one, name))})"
        for signs, one in each.items()
        for name in CHANCE
        if not clearly_above_zero(less(one, name))
    ]


def networks(results: dict[str, Any]) -> str:
    pairs = len({key.split()[1] for key in results})
    return f"{counted(len(results), 'LeNet')}, {counted(pairs, 'pair')}"


def row(each: dict[str, pd.DataFrame], name: str) -> list[str]:
    cells = [NAMES.get(name, name)]
    for one in each.values():
        cells += [plus_minus(one[name].to_list()), "" if name == "NeuCEPT" else signed(less(one, name))]
    return cells


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
