"""What objects look like at a prompt: one line, whatever they hold."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import fields
from numbers import Real
from pathlib import Path
from typing import Any

LONGEST = 120  # characters of a line
_PART = 40  # characters of one value


def shortened(text: str, most: int = LONGEST) -> str:
    """Cut a representation that does not fit a line, and close its bracket.

    >>> shortened("Recording(10 inputs, 3 classes; conv (8 neurons))", 30)
    'Recording(10 inputs, 3 cl ...)'
    """
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    end = text[-1] if text[-1] in ")]}'" else ""
    return f"{text[: most - 4 - len(end)].rstrip(' ,;')} ...{end}"


def short_repr(self: Any) -> str:
    """Represent a dataclass or named tuple in one line: its fields, and of arrays and tables the shapes alone."""
    names = self._fields if isinstance(self, tuple) else [one.name for one in fields(self) if one.repr]  # type: ignore[attr-defined]
    return shortened(f"{type(self).__name__}({', '.join(f'{name}={_short(getattr(self, name))}' for name in names)})")


class ShortRepr:
    """For dataclasses with ``repr=False``: see `short_repr`."""

    __repr__ = short_repr


def _short(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, Real):
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    if isinstance(value, str):
        return shortened(repr(value), _PART)
    if isinstance(value, Path):
        return shortened(repr(str(value)), _PART)
    if (shape := getattr(value, "shape", None)) is not None:
        return f"<{type(value).__name__} {tuple(shape)}>"
    if isinstance(value, Mapping):
        return _some([f"{_short(key)}: {_short(part)}" for key, part in list(value.items())[:4]], len(value), "{}")
    if isinstance(value, tuple | list | Set):
        return _some([_short(part) for part in list(value)[:4]], len(value), "[]" if isinstance(value, list) else "()")
    if isinstance(value, ShortRepr):
        return shortened(repr(value), _PART)
    if callable(value) and hasattr(value, "__qualname__"):
        return f"<{value.__name__}>"
    said = repr(value)
    return f"<{type(value).__name__}>" if len(said) > _PART or "\n" in said or " at 0x" in said else said


def _some(parts: list[str], n: int, brackets: str) -> str:
    said = ", ".join(parts)
    if n > 3 or len(said) > _PART:
        return f"{brackets[0]}{n} {'items' if n > 1 else 'item'}{brackets[1]}"
    return f"{brackets[0]}{said}{brackets[1]}"
