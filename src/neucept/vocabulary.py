"""The names that arguments and options take, apart from what they name, so that they can be checked at once."""

from __future__ import annotations

from typing import Literal, get_args

Objective = Literal["pairwise", "sequential", "global"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)

OrderName = Literal["information", "evidence", "contribution", "robust", "sufficient"]
ORDERS: tuple[OrderName, ...] = get_args(OrderName)

RESPONSES = ("logit", "margin", "log_prob")

SpaceName = Literal["contribution", "posterior", "metric", "all"]
SPACES: tuple[SpaceName, ...] = get_args(SpaceName)
REDUCTIONS = ("top", "agglomerate", *SPACES)

TASK_NAMES = ("auto", "classes", "binary", "multi-label", "regression")
