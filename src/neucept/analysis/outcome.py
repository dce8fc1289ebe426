"""What became of one class of an audit."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from neucept import storage
from neucept.short_repr import ShortRepr

KIND, KIND_OF_CLASS = "Audit", "AuditedClass"
MEASURED = "Measured"  # what a report shows beside critical neurons and mechanisms
THUMBNAILS = "thumbnails"  # folder of the small pictures of all inputs


@dataclass(frozen=True, eq=False, repr=False)
class Outcome(ShortRepr):
    """What became of one class.

    Attributes
    ----------
    target : int or str
        Its number, or another target of the task.
    name : str
        Its name.
    reason : str
        Why it was not audited; empty where it was.
    notes : tuple of str
        What was left out, such as layers that are constant on its inputs.
    rows : DataFrame
        One row per mechanism: its reliability, size, stability and neurons.
    selected : mapping of str to int
        Selected neurons or groups of each layer.
    seconds : float
        Time that it took.
    """

    target: int | str
    name: str
    reason: str = ""
    notes: tuple[str, ...] = ()
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)
    selected: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def folder(self) -> str:
        """Name of its folder, and of its page."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")[:40]
        start = f"{self.target:04d}" if isinstance(self.target, int) else f"{zlib.crc32(self.target.encode()):08x}"
        return f"{start}-{slug}".rstrip("-")

    def facts(self) -> dict[str, Any]:
        """All of it, for JSON."""
        facts = {name: getattr(self, name) for name in ("target", "name", "reason", "seconds")}
        return facts | {
            "notes": list(self.notes),
            "rows": self.rows.to_dict("list"),
            "selected": dict(self.selected),
        }

    @classmethod
    def open(cls, path: Path) -> Outcome:
        """Read what became of a class from its folder."""
        with storage.opened(path, KIND_OF_CLASS) as (facts, _):
            return cls(**facts | {"notes": tuple(facts["notes"]), "rows": pd.DataFrame(facts["rows"])})
