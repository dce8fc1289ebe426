"""Draw a report, one self-contained HTML file. `SECTIONS` lists its sections; ``sections=`` takes further ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import pandas as pd
from torch import nn

from neucept import storage
from neucept.analysis import Analysis, Audit, analyse
from neucept.analysis.analysis import check_together
from neucept.analysis.drifting import Drift
from neucept.comparison import Comparison
from neucept.discovery import CriticalNeurons
from neucept.errors import InputError, check_whole
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
from neucept.reports.layers import gallery, layer_cards
from neucept.reports.mechanisms import mechanism_cards
from neucept.reports.page import Part, Section, check_installed, check_sections, check_writable, document, write_text
from neucept.reports.provenance import READING, provenance

SECTIONS = (
    Part("Mechanisms", "mechanisms", mechanism_cards),
    Part("Finding errors", "errors", overview.finding_errors),
    Part("Map of the inputs", "map", overview.input_map),
    Part("Separating neurons", "separation", overview.separating_neurons),
    Part("Critical neurons by layer", "layers", layer_cards),
    Part("What activates neurons", "gallery", gallery),
    Part("How many mechanisms?", "number", overview.number_of_clusters),
)
CLOSING = (Part("Provenance", "provenance", provenance),)


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
        check_sections((*SECTIONS, *sections, *CLOSING))
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
        )
        top = two_networks.comparison_summary(subject, heading)
        return write_text(path, document(subject, heading, top, parts))
    return write_text(path, _analysis(subject, title, sections))


def _analysis(analysis: Analysis, title: str | None, sections: Sequence[Section[Any]], back: str | None = None) -> str:
    """Put the page of one target together, with a link back to the index of its audit."""
    heading = title or f"How {analysis.model_name} decides “{analysis.target_name}”"
    top = overview.summary(analysis, heading, back)
    return document(analysis, heading, top, (*SECTIONS, *sections, *CLOSING), reading=READING)


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
                page.parent.mkdir(exist_ok=True)
                write_text(page, _analysis(analysis, None, (), back=f"../{path.name}"))
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
        Part("Provenance", "provenance", all_classes.settings),
    )
    return write_text(path, document(index, heading, all_classes.audit_summary(audit, heading), parts, figures=False))


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
    )
    top = new_inputs.drift_summary(drift, heading)
    return write_text(path, document(subject, heading, top, parts, figures=False))
