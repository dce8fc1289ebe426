"""Errors and checks of arguments: what was given, what was expected, and what to do."""

from __future__ import annotations

import difflib
import math
import numbers
import operator
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

_Name = TypeVar("_Name", bound=str)


class InputError(ValueError):
    """The input cannot be used; the message says what was given, what was expected and what to do."""


class MissingDependency(InputError, ImportError):
    """An optional package is not installed; the message gives the command that installs it."""


def closest(name: str, options: Iterable[str]) -> str:
    """Name the option that was probably meant.

    Parameters
    ----------
    name : str
        What was given.
    options : iterable of str
        What would have been right.

    Returns
    -------
    str
        ``" Did you mean 'x'?"``, to be put behind a message; empty where nothing is close.

    Examples
    --------
    >>> closest("clasifier.1", ["classifier.1", "features.0"])
    " Did you mean 'classifier.1'?"
    >>> closest("zebra", ["classifier.1"])
    ''
    """
    name = str(name)
    by_folded = {option.lower(): option for option in options}
    found = difflib.get_close_matches(name.lower(), by_folded, n=1)
    return f" Did you mean {by_folded[found[0]]!r}?" if found else ""


def missing(package: str, extra: str) -> MissingDependency:
    """Say which extra of neucept installs a package that is not there.

    Examples
    --------
    >>> print(missing("timm", "vision"))
    This needs the package timm, which is not installed: pip install 'neucept[vision]'
    """
    return MissingDependency(
        f"This needs the package {package}, which is not installed: pip install 'neucept[{extra}]'"
    )


def check_precision(precision: object) -> float:
    """Return a precision as a float, or raise an InputError unless it lies between 0 and 1.

    Examples
    --------
    >>> check_precision(0.9)
    0.9
    """
    if isinstance(precision, bool) or not isinstance(precision, numbers.Real) or not 0 < float(precision) < 1:
        raise InputError(
            f"precision={precision!r}: expected a number between 0 and 1, such as 0.9 (10% false discoveries)."
        )
    return float(precision)


def check_whole(name: str, value: Any, least: int | None = 1) -> int:
    """Return a whole number, of Python or NumPy, or raise an InputError unless it is one and at least ``least``.

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


def check_real(name: str, value: Any, least: float, below: float = math.inf, above: bool = False) -> float:
    """Return a real number as a float, or raise an InputError unless ``least <= value < below``.

    With ``above``, ``least`` itself is refused too.

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


def check_kind(name: str, value: Any, kind: type, example: str) -> None:
    """Raise an InputError unless a value is of a kind; the example says what gives one.

    Examples
    --------
    >>> check_kind("recording", 3, dict, "what record() returns")
    Traceback (most recent call last):
    ...
    neucept.errors.InputError: recording is a int; expected what record() returns.
    """
    if not isinstance(value, kind):
        raise InputError(f"{name} is a {type(value).__name__}; expected {example}.")


def check_has(name: str, value: Any, needed: Sequence[str], role: str) -> None:
    """Raise an InputError that names what an object lacks to play a role.

    Examples
    --------
    >>> check_has("sampler", 3, ["fit", "draw"], "a sampler")
    Traceback (most recent call last):
    ...
    neucept.errors.InputError: sampler=3 has no 'fit' and no 'draw', which a sampler needs.
    """
    lacking = [attribute for attribute in needed if not hasattr(value, attribute)]
    if lacking:
        raise InputError(f"{name}={value!r} has no {' and no '.join(map(repr, lacking))}, which {role} needs.")
    if isinstance(value, type):
        raise InputError(f"{name}={value.__name__} is a class; expected an object, such as {value.__name__}().")


def one_of(name: str, value: _Name, options: Iterable[str]) -> _Name:
    """Return a name, or raise an InputError that lists the options unless it is one of them.

    Examples
    --------
    >>> one_of("objective", "pairwise", ["pairwise", "global"])
    'pairwise'
    """
    known = list(options)
    if not isinstance(value, str) or value not in known:
        near = closest(value, known) if isinstance(value, str) else ""
        raise InputError(f"{name}={value!r}: expected one of {', '.join(map(repr, known))}.{near}")
    return value
