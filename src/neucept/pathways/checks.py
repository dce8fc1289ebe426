"""Checks of numbers that a person gives."""

from __future__ import annotations

import math
import numbers
import operator
from typing import Any

from neucept.errors import InputError


def check_whole(name: str, value: Any, least: int | None = 1) -> int:
    """Give a whole number, of Python or NumPy, or raise an InputError unless it is one, and not too small.

    Examples
    --------
    >>> check_whole("steps", 11)
    11
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or (least is not None and number < least):
        raise InputError(f"{name}={value!r}: expected a whole number{'' if least is None else f', {least} or more'}.")
    return number


def check_rows(value: Any) -> int | None:
    """Give an ``internal_batch_size``: None, or a whole number from 1 on; else raise an InputError."""
    return None if value is None else check_whole("internal_batch_size", value)


def check_real(name: str, value: Any, least: float, below: float = math.inf, above: bool = False) -> float:
    """Give a real number as a float, or raise an InputError unless ``least <= value < below`` (``above``: not least).

    Examples
    --------
    >>> check_real("momentum", 0.9, 0, 1)
    0.9
    """
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not least <= float(value) < below or (above and float(value) == least):
        bounds = f"above {least:g}" if above else f"from {least:g} on"
        raise InputError(
            f"{name}={value!r}: expected a number {bounds}{f', below {below:g}' if below < math.inf else ''}."
        )
    return float(value)
