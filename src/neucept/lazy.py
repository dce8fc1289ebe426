"""Packages whose public names are imported when they are first used (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy(
    package: str, names: Mapping[str, Sequence[str]], modules: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make the functions ``__getattr__`` and ``__dir__`` of a package.

    Parameters
    ----------
    package : str
        Its name, ``__name__``.
    names : mapping of str to sequence of str
        Public names by the module that defines them.
    modules : mapping of str to str, optional
        Names of the package that are modules of another name.

    Returns
    -------
    tuple of callable

    Examples
    --------
    >>> get, names = lazy("neucept", {"neucept.errors": ("InputError",)})
    >>> get("InputError").__name__
    'InputError'
    """
    home = {name: module for module, public in names.items() for name in public}
    own = vars(sys.modules[package])

    def __getattr__(name: str) -> Any:
        if name in home:
            value = getattr(import_module(home[name]), name)
        elif modules is not None and name in modules:
            value = import_module(modules[name])
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        own[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*own, *own["__all__"]})

    return __getattr__, __dir__
