"""Templates of the results page: Markdown beside the code, with ``{fields}`` for what was measured.

A template reads as prose. A line ``=== name`` begins a part that is filled apart, once for every network, say. All
fields of a part have to be given and all that are given have to be used, so that neither can be forgotten.
"""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

FOLDER = Path(__file__).parent / "tell"


class Template:
    """The section of an experiment.

    Parameters
    ----------
    name : str
        Of the experiment: ``tell/<name>.md``.

    Attributes
    ----------
    title : str
        The first line, without its marks.
    anchor : str
        What a link to the section ends in.
    """

    def __init__(self, name: str) -> None:
        head, *named = re.split(r"^=== (.+)\n", (FOLDER / f"{name}.md").read_text(), flags=re.MULTILINE)
        self._parts = {"": head.strip("\n")} | {k: v.strip("\n") for k, v in zip(named[::2], named[1::2], strict=True)}
        self.title = head.partition("\n")[0].lstrip("# ")
        self.anchor = "".join(c for c in self.title.lower().replace(" ", "-") if c.isalnum() or c in "-_")

    def fill(self, part: str = "", /, **fields: object) -> str:
        """Return a part with its fields filled in; no part is the section itself."""
        text = self._parts[part]
        wanted = {name.partition("[")[0] for _, name, _, _ in Formatter().parse(text) if name}
        if wanted != set(fields):
            raise KeyError(f"fields {sorted(wanted ^ set(fields))} are missing or not used in {part or self.title!r}")
        return re.sub(r"\n{3,}", "\n\n", text.format(**fields))
