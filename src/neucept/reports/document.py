"""Draw a report, one self-contained HTML file. `SECTIONS` lists its sections; ``sections=`` takes further ones."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, NamedTuple, Protocol, TypeVar, overload

import pandas as pd
from torch import nn

from neucept import storage
from neucept.analysis import Analysis, Audit, analyse
from neucept.analysis.analysis import check_together
from neucept.analysis.drifting import Drift
from neucept.comparison import Comparison
from neucept.discovery import CriticalNeurons
from neucept.errors import InputError, check_whole, missing
from neucept.inputs import Inputs
from neucept.mechanism_pathways import MechanismPathways
from neucept.mechanisms import Mechanisms, NumberOfClusters
from neucept.progress import progress as show_progress
from neucept.recording import Recording
from neucept.recording.outputs import Output
from neucept.reports import audit as all_classes
from neucept.reports import comparison as two_networks
from neucept.reports import drift as new_inputs
from neucept.reports import overview
from neucept.reports.components import Html, definitions, tag, text
from neucept.reports.layers import gallery, layer_cards
from neucept.reports.mechanisms import mechanism_cards
from neucept.reports.provenance import glossary, provenance

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


SECTIONS = (
    Part("Mechanisms", "mechanisms", mechanism_cards),
    Part("Finding errors", "errors", overview.finding_errors),
    Part("Map of the inputs", "map", overview.input_map),
    Part("Separating neurons", "separation", overview.separating_neurons),
    Part("Critical neurons by layer", "layers", layer_cards),
    Part("What activates neurons", "gallery", gallery),
    Part("How many mechanisms?", "number", overview.number_of_clusters),
)
CLOSING = (Part("Provenance", "provenance", provenance), Part("How to read this report", "glossary", glossary))


@overload
def report(
    subject: Analysis,
    /,
    *,
    path: str | Path | None = None,
    title: str | None = None,
    sections: Sequence[Section[Analysis]] = (),
) -> Path: ...


@overload
def report(
    subject: Comparison,
    /,
    *,
    data: Any = None,
    path: str | Path | None = None,
    title: str | None = None,
    sections: Sequence[Section[Comparison]] = (),
) -> Path: ...


@overload
def report(
    subject: Drift,
    /,
    *,
    data: Any = None,
    path: str | Path | None = None,
    title: str | None = None,
    sections: Sequence[Section[new_inputs.Subject]] = (),
) -> Path: ...


@overload
def report(
    subject: Audit,
    /,
    *,
    data: Any = None,
    path: str | Path | None = None,
    model: nn.Module | None = None,
    title: str | None = None,
    sections: Sequence[Section[all_classes.Index]] = (),
    pages: int = ...,
    pathways: bool = ...,
    keep_pages: bool = ...,
    progress: bool = ...,
) -> Path: ...


@overload
def report(
    subject: Recording,
    /,
    critical: CriticalNeurons,
    mechanisms: Mechanisms,
    data: Any = None,
    path: str | Path | None = None,
    model: nn.Module | None = None,
    *,
    n_clusters: NumberOfClusters | None = None,
    sufficiency: pd.DataFrame | None = None,
    pathways: MechanismPathways | bool = True,
    output: Output = None,
    progress: bool = True,
    title: str | None = None,
    sections: Sequence[Section[Analysis]] = (),
) -> Path: ...


def report(
    subject: Analysis | Comparison | Drift | Audit | Recording | None = None,
    /,
    critical: CriticalNeurons | None = None,
    mechanisms: Mechanisms | None = None,
    data: Any = None,
    path: str | Path | None = None,
    model: nn.Module | None = None,
    *,
    title: str | None = None,
    sections: Sequence[Section[Any]] = (),
    **measured: Any,
) -> Path:
    """Draw a self-contained HTML report; nothing is run for an `Analysis` or a `Comparison`.

    It opens without a network, in light and dark, on a laptop and on a phone, and prints.

    Parameters
    ----------
    subject : Analysis, Comparison, Drift, Audit or Recording
        Of `neucept.analyse`, `neucept.compare`, `neucept.drift` or `neucept.audit`. An audit gets an index and, in the
        folder ``pages`` beside it, a page for each class. With a recording, and `critical` and `mechanisms` of
        `neucept.discover` and `neucept.learn`, what is missing is measured by `neucept.analyse`.
    critical, mechanisms : CriticalNeurons, Mechanisms
        With a recording.
    data : ImageDataset, Dataset, tensor or (inputs, labels), optional
        The recorded inputs, in their order, for the pictures; with a comparison or a recording. With a drift, the new
        inputs.
    path : path, optional
        The file, written whole or not at all; ``report.html``, ``comparison.html``, ``drift.html`` or
        ``index.html`` by default.
    model : Module, optional
        With a recording or an audit: the recorded model, as in `neucept.analyse`.
    title : str, optional
        Heading of the report.
    sections : sequence of Section
        Additional sections.
    **measured
        With a recording: ``n_clusters``, ``sufficiency``, ``pathways``, ``output`` and ``progress``, as in
        `neucept.analyse`. With an audit: ``pages``, the largest number of classes that get a page (25), in the order of
        its table; ``pathways`` (False); ``keep_pages``, which does not draw again what is newer than the results
        (False); ``progress``.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        Before any work: when the path cannot be written, the results do not belong together, the data or the model are
        not those that were recorded, or Plotly and Pillow are not installed (``pip install 'neucept[report]'``).
    """
    if subject is None:  # by keyword, as in 0.1
        subject = measured.pop("recording", None)
    default = {Comparison: "comparison.html", Drift: "drift.html", Audit: "index.html"}.get(
        type(subject), "report.html"
    )
    path = storage.as_path(default if path is None else path)
    check_installed()
    check_writable(path)
    if not isinstance(sections, Sequence):
        raise InputError(f"sections= is a {type(sections).__name__}; expected a list of them, such as [MySection()].")
    if isinstance(subject, Audit):
        return _audit(subject, path, data, model, title, sections, **measured)
    if isinstance(subject, Drift):
        return _drift(subject, path, data, title, sections)
    if not isinstance(subject, Analysis | Comparison):
        _check_sections((*SECTIONS, *sections, *CLOSING))
        check_together(subject, critical, mechanisms)
        results: Any = {"recording": subject, "critical": critical, "mechanisms": mechanisms}
        subject = analyse(model, data, **results, **measured)
    if isinstance(subject, Comparison):
        one, other = subject.names
        heading = title or f"How {one} and {other} decide “{subject.target_name}”"
        groups = two_networks.Groups(subject, data)
        parts = (
            Part("Movement of inputs", "flow", two_networks.movements),
            Part("Mechanisms", "matches", two_networks.matches),
            Part("Separated by both networks", "together", groups.shared),
            Part("Separated by one network", "apart", groups.divided),
            Part("Predicted by one network", "only", groups.exclusive),
            *sections,
            Part("How to read this report", "glossary", lambda _: definitions(two_networks.TERMS)),
        )
        top = two_networks.comparison_summary(subject, heading)
    else:
        heading = title or f"How {subject.model_name} decides “{subject.target_name}”"
        parts = (*SECTIONS, *sections, *CLOSING)
        top = overview.summary(subject, heading)
    return write_text(path, _document(subject, heading, top, parts))


def _audit(
    audit: Audit,
    path: Path,
    data: Any,
    model: nn.Module | None,
    title: str | None,
    sections: Sequence[Section[Any]],
    pages: int = 25,
    pathways: bool = False,
    keep_pages: bool = False,
    progress: bool = True,
) -> Path:
    """Draw the pages of the classes most worth looking at, and the index of them all."""
    check_whole("pages", pages, 0)
    order = dict.fromkeys([*audit.table["class"], *audit.mechanisms])
    drawn: dict[str, str] = {}
    with show_progress("drawing the pages of classes", min(pages, len(order)), progress) as advance:
        for name in list(order)[:pages]:
            outcome = audit.outcome(name)
            page = path.parent / "pages" / f"{outcome.folder}.html"
            held = audit.place(outcome)
            if not (keep_pages and page.exists() and page.stat().st_mtime > held.stat().st_mtime):
                analysis = audit.analysis(name, model, data, pathways=pathways, progress=False)
                back = Part("All classes", "audit", lambda _: tag("p", tag("a", "All classes", href=f"../{path.name}")))
                report(analysis, path=page, sections=[back])
            drawn[name] = f"pages/{page.name}"
            advance(1)
    given = audit.network[1] if data is None else data
    index = all_classes.Index(audit, drawn, None if given is None else Inputs.of(given))
    heading = title or f"Where {audit.model_name} can be trusted"
    parts = (
        Part("What is most worth looking at", "mechanisms", all_classes.mechanism_table),
        Part("Mistakes", "mistakes", all_classes.mistakes),
        Part("Not audited", "failed", all_classes.failed),
        Part("Classes", "classes", all_classes.class_table),
        Part("Confusions", "confusions", all_classes.confusions),
        *sections,
        Part("Settings", "provenance", all_classes.settings),
        Part("How to read this page", "glossary", all_classes.glossary),
    )
    return write_text(path, _document(index, heading, all_classes.audit_summary(audit, heading), parts, figures=False))


def _drift(drift: Drift, path: Path, data: Any, title: str | None, sections: Sequence[Section[Any]]) -> Path:
    """Draw the page on new inputs."""
    subject = new_inputs.Subject(drift, None if data is None else Inputs.of(data))
    heading = title or f"What has changed for {drift.model_name}"
    parts = (
        Part("Mechanisms", "mechanisms", new_inputs.mechanisms),
        Part("Classes", "classes", new_inputs.classes),
        Part("Unlike all that was recorded", "unlike", new_inputs.unlike),
        *sections,
        Part("Provenance", "provenance", new_inputs.provenance),
        Part("How to read this page", "glossary", lambda _: definitions(new_inputs.TERMS)),
    )
    top = new_inputs.drift_summary(drift, heading)
    return write_text(path, _document(subject, heading, top, parts, figures=False))


def _document(subject: Any, heading: str, summary: Html, sections: Sequence[Section[Any]], figures: bool = True) -> str:
    """Put the report together, as text."""
    from plotly.offline import get_plotlyjs

    _check_sections(sections)
    links, body = [tag("li", tag("a", "Summary", href="#summary"))], [summary]
    for part in sections:
        content = part.render(subject)
        if content is not None:
            links.append(tag("li", tag("a", part.title, href=f"#{part.anchor}")))
            body.append(tag("section", tag("h2", part.title), content, id=part.anchor))
    source = files("neucept.reports")
    return Template(source.joinpath("report.html").read_text(encoding="utf-8")).substitute(
        title=text(heading),
        style=source.joinpath("report.css").read_text(encoding="utf-8"),
        contents=tag("ul", *links),
        body=text(*body),
        plotly=get_plotlyjs() if figures else "",
        script=source.joinpath("report.js").read_text(encoding="utf-8"),
    )


def _check_sections(sections: Sequence[Section[Any]]) -> None:
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
    if repeated := [anchor for anchor in anchors if anchors.count(anchor) > 1 or anchor == "summary"]:
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
