"""What the documentation site changes in its pages: links to files outside ``docs/`` become plain text."""

from __future__ import annotations

import re
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./[^)]*\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Keep the text of a link that leaves the site; from a folder of docs/, ``../`` does not leave it."""
    return markdown if "/" in page.file.src_uri else _OUTSIDE.sub(r"\1", markdown)
