"""Every example of docs/pathways.md runs, one after the other, and prints what it says."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "pathways.md"
BLOCK = re.compile(r"(?:<!-- needs (\w+) -->\n)?```python\n(.*?)```", re.DOTALL)
SAID = re.compile(r"print\((?P<what>.*)\)  # (?P<said>.*)")


def test_examples_run_and_print_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("captum")
    monkeypatch.chdir(tmp_path)
    page = PAGE.read_text(encoding="utf-8")
    blocks = BLOCK.findall(page)
    assert len(blocks) == page.count("```python") > 10
    printed: list[str] = []
    names: dict[str, Any] = {"print": lambda *values: printed.append(" ".join(map(str, values)))}
    for needed, code in blocks:
        if needed and find_spec(needed) is None:
            continue
        exec(compile(code, str(PAGE), "exec"), names)
    said = [match["said"] for match in SAID.finditer(page)]
    results = [words for words in said if re.match(r"[\[{(]|tensor|torch\.Size", words)]
    assert len(results) >= 6
    for words in results:
        assert any(words.startswith(line) for line in printed), words
    table = "\n".join(line[2:] for line in page.splitlines() if line.startswith(("#   site", "# 0 ", "# 1 ")))
    assert table in printed
    assert (tmp_path / "first.png").exists() and (tmp_path / "pathway").is_dir()


def test_its_links_lead_somewhere() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)", page):
        assert (PAGE.parent / link).exists(), link
