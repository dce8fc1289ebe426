"""docs/errors.md lists messages that the code gives: the wording of each is found in the source."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
VARIES = re.compile(r"\.\.\.|'?\b[A-Z]+\b'?|\d+|[=(){}\[\]']")


def texts_of_the_source() -> str:
    """Every string of the package, one per line, with a blank for what a message fills in."""
    texts = []
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (value.value if isinstance(value, ast.Constant) else "\0" for value in node.values)
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def wordings(message: str) -> list[str]:
    """What does not vary in a message of the page: every three words in a row, or a part that has fewer."""
    found = []
    for part in VARIES.split(message):
        words = part.strip(" .,:;").split(" ")
        found += [" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2))]
    return [wording for wording in found if len(wording) > 5] or found


def test_every_message_of_the_page_is_one_of_the_code() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    cells = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| `")]
    messages = [message for cell in cells for message in re.findall(r"`([^`]+)`", cell)]
    option = re.compile(r"--\S+ [A-Z]+")  # an option and its value, of which the code makes the message
    messages = [message for message in messages if not option.fullmatch(message)]
    assert len(messages) > 200
    source = texts_of_the_source()
    unknown = [message for message in messages if not any(wording in source for wording in wordings(message))]
    assert unknown == []
