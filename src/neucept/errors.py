"""What goes wrong when the input is not what it should be, said so that a person can mend it."""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Iterable


class InputError(ValueError):
    """The input cannot be used; the message says what was given, what was expected and what to do."""


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
    by_folded = {option.lower(): option for option in options}
    found = difflib.get_close_matches(name.lower(), by_folded, n=1)
    return f" Did you mean {by_folded[found[0]]!r}?" if found else ""


def missing(package: str, extra: str) -> InputError:
    """Say which extra of neucept brings a package that is not installed.

    Examples
    --------
    >>> print(missing("timm", "vision"))
    This needs the package timm, which is not installed: pip install 'neucept[vision]'
    """
    return InputError(f"This needs the package {package}, which is not installed: pip install 'neucept[{extra}]'")


def check_precision(precision: object) -> float:
    """Give a precision as a float, or raise an InputError unless it lies between 0 and 1.

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
