"""What every page has in common: sections, the template, a glossary of the words used, and a file written whole."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Sequence
from html import unescape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, NamedTuple, Protocol, TypeVar

from neucept.errors import InputError, missing
from neucept.reports.components import Html, definitions, tag, text
from neucept.reports.glossary import entries

Subject = TypeVar("Subject", contravariant=True)


class Section(Protocol[Subject]):
    """A section of a report: anything with a title, an anchor and a function that renders it.

    Examples
    --------
    A section that lists the classes. Elements are made by `neucept.reports.tag`, which escapes text:

    >>> from neucept.reports import report, tag
    >>> class Classes:
    ...     title, anchor = "Classes", "classes"
    ...
    ...     def render(self, analysis):
    ...         return tag("p", ", ".join(analysis.recording.class_names))

    It is given to `neucept.report` as ``report(analysis, sections=[Classes()])``, and stands before the provenance.
    """

    @property
    def title(self) -> str:
        """Heading, and entry in the table of contents."""
        ...

    @property
    def anchor(self) -> str:
        """Identifier that the table of contents links to, unique in the report."""
        ...

    def render(self, subject: Subject, /) -> Html | None:
        """Render the content under the heading; None leaves the section out."""
        ...


class Part(NamedTuple):
    """A section whose content a function renders."""

    title: str
    anchor: str
    render: Callable[[Any], Html | None]


GLOSSARY = "glossary"  # anchor of the section that explains the words of a page


def document(
    subject: Any, heading: str, summary: Html, sections: Sequence[Section[Any]], reading: str = "", figures: bool = True
) -> str:
    """Put a page together, as text.

    Parameters
    ----------
    subject : any
        What the sections render.
    heading : str
        Title of the page.
    summary : Html
        Its head, with the identifier ``summary``.
    sections : sequence of Section
        Those without content are left out; a glossary of the words used follows them.
    reading : str
        How to read the page, above the glossary.
    figures : bool
        Whether it has figures that need Plotly.
    """
    from plotly.offline import get_plotlyjs

    check_sections(sections)
    links, body = [tag("li", tag("a", "Summary", href="#summary"))], [summary]
    for part in sections:
        content = part.render(subject)
        if content is not None:
            links.append(tag("li", tag("a", part.title, href=f"#{part.anchor}")))
            body.append(_section(part.title, part.anchor, content))
    used = [unescape(word) for word in re.findall(r'data-term="([^"]*)"', "".join(body))]
    title = "How to read this page"
    links.append(tag("li", tag("a", title, href=f"#{GLOSSARY}")))
    body.append(_section(title, GLOSSARY, text(tag("p", reading) if reading else None, definitions(entries(used)))))
    source = files("neucept.reports")
    return Template(source.joinpath("report.html").read_text(encoding="utf-8")).substitute(
        title=text(heading),
        style=source.joinpath("report.css").read_text(encoding="utf-8"),
        contents=tag("ul", *links),
        body=text(*body),
        plotly=get_plotlyjs() if figures else "",
        script=source.joinpath("report.js").read_text(encoding="utf-8"),
    )


def _section(title: str, anchor: str, content: Html) -> Html:
    """Write a section, a region that its heading names."""
    heading = f"{anchor}-heading"
    return tag("section", tag("h2", title, id=heading), content, id=anchor, aria_labelledby=heading)


def check_sections(sections: Sequence[Section[Any]]) -> None:
    """Check that all sections of a report can be rendered and linked."""
    for part in sections:
        if isinstance(part, type):
            raise InputError(
                f"sections= holds the class {part.__name__}; expected an object, such as {part.__name__}()."
            )
        wanting = [name for name in ("title", "anchor", "render") if not hasattr(part, name)]
        if wanting:
            raise InputError(
                f"sections= holds a {type(part).__name__} without {', '.join(wanting)}; a section has a title, an"
                " anchor and render(analysis), see neucept.reports.Section."
            )
    anchors = [part.anchor for part in sections]
    if repeated := [anchor for anchor in anchors if anchors.count(anchor) > 1 or anchor in ("summary", GLOSSARY)]:
        raise InputError(f"Two sections have the anchor '{repeated[0]}'; give each its own.")


def check_installed() -> None:
    """Check that what draws a report is installed."""
    try:
        import PIL  # noqa: F401
        import plotly  # noqa: F401
    except ImportError as error:
        raise missing(str(error.name).replace("PIL", "pillow"), "report") from error


def check_writable(path: Path) -> None:
    """Check, before any work, that a report can be written to a path."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a file in it, such as {path / 'report.html'}.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}."):
            pass
    except OSError as error:
        raise InputError(f"Cannot write to {path}: {error.strerror}. Choose a folder that is writable.") from None


def write_text(path: Path, page: str) -> Path:
    """Write a file whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(page)
        draft.chmod(0o644)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path
