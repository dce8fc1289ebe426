"""Critical neurons and mechanisms, without the warnings that little or nothing is selected: the numbers say so."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from common import Scale
from networks import recorded

import neucept

T = TypeVar("T")


def quiet(function: Callable[..., T], *given: Any, **options: Any) -> T:
    """Call a function without these warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", neucept.NothingSelectedWarning)
        warnings.filterwarnings("ignore", message=".*beyond the selection")
        return function(*given, **options)


@cache
def discovered(task: str, seed: int, kind: str, label: int, scale: Scale, **options: Any) -> neucept.CriticalNeurons:
    """Return the critical neurons of a class in the two layers of a network."""
    return quiet(neucept.discover, recorded(task, seed, kind, scale), label, progress=False, **options)
