"""The table of moved modules in the changelog is true."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

CHANGELOG = (Path(__file__).parents[2] / "CHANGELOG.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(neucept\.[\w.]+)`( \(the module\))? \| `(neucept\.[\w.]+)` \|$", re.M)


def module_exists(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the package above it is gone too
        return False


def test_moved_modules_are_where_the_changelog_says() -> None:
    rows = ROW.findall(CHANGELOG)
    assert len(rows) > 30
    assert [new for _, _, new in rows if not module_exists(new)] == []
    assert [old for old, _, _ in rows if module_exists(old)] == []
