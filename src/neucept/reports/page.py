"""Write the page: the last arrow."""

from __future__ import annotations

import os
import tempfile
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import nn

from neucept.discovery import CriticalNeurons
from neucept.errors import InputError, missing
from neucept.evaluation.sufficiency import sufficiency as measure_sufficiency
from neucept.mechanism_pathways import MechanismPathways
from neucept.mechanisms import Choice, Mechanisms, choose_n_mechanisms
from neucept.recording import Recording
from neucept.recording.outputs import Output, recorded_output

if TYPE_CHECKING:
    from neucept.reports.material import Material

_SECTIONS = {
    "summary": "Summary",
    "mechanisms": "Mechanisms",
    "map": "Map of the inputs",
    "separation": "Separating neurons",
    "layers": "Layers",
    "gallery": "What activates neurons",
    "number": "How many mechanisms?",
    "settings": "Settings",
    "words": "How to read this page",
}


def report(
    recording: Recording,
    critical: CriticalNeurons,
    mechanisms: Mechanisms,
    data: Any = None,
    path: str | Path = "report.html",
    model: nn.Module | None = None,
    guide: Choice | None = None,
    sufficiency: pd.DataFrame | None = None,
    title: str | None = None,
    progress: bool = True,
    pathways: MechanismPathways | bool = True,
    output: Output = None,
) -> Path:
    """Write one self-contained HTML page about one target.

    It opens without a network, in light and dark, on a laptop and on a phone, and prints.

    Parameters
    ----------
    recording : Recording
        Of `neucept.record`.
    critical : CriticalNeurons
        Of `neucept.discover`, for one target.
    mechanisms : Mechanisms
        Of `neucept.learn`.
    data : ImageDataset, Dataset, tensor or (inputs, labels), optional
        Where the pictures come from: item i belongs to row i of the recording. What has ``.picture(i)`` is shown as it
        is; tensors (C, H, W) are scaled each. Where ``data.labels`` with ``data.class_names`` know more than the
        model's classes (ten digits behind even and odd), mechanisms are shown by them too. Without images the page
        leaves pictures out.
    path : path
        The file to write, whole or not at all.
    model : Module, optional
        For the regions that neurons respond to, and for sufficiency by replacing neurons; left as it was found.
    guide : Choice, optional
        From `neucept.choose_n_mechanisms`. By default the comparison that chose their number
        (``n_mechanisms="auto"``), or a new one.
    sufficiency : DataFrame, optional
        Of `neucept.evaluation.sufficiency`, which is called by default (not for an array target).
    title : str, optional
        Of the page.
    progress : bool
        Show progress when it takes more than two seconds.
    pathways : MechanismPathways or bool
        Of `neucept.trace_pathways`, which is called by default, for a few inputs, where model and data are given;
        a page on which that fails says why. False leaves pathways out.
    output : None, str, int or callable
        How the logits are found in what the model returns, as in `neucept.record`; that of the recording by default.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    InputError
        Before any work: when the path cannot be written, the results do not belong together, the data or the model are
        not those that were recorded, or Plotly and Pillow are not installed (``pip install 'neucept[report]'``).
    """
    path = Path(path)
    check_installed()
    check_writable(path)

    from neucept.reports.material import Material, check, check_aligned, finer_labels
    from neucept.reports.pathways import check_pathways, find_pathways
    from neucept.reports.pictures import open_pictures

    check(recording, critical, mechanisms)
    check_pathways(pathways, mechanisms)
    pictures = open_pictures(data, len(recording))
    kinds, kind_names = finer_labels(data, recording)
    if model is not None:
        output = recorded_output(recording.facts, output)
    check_aligned(recording, mechanisms.layers, model, pictures, output)
    if guide is None:
        guide = mechanisms.n_clusters or choose_n_mechanisms(mechanisms, progress=progress)
    if sufficiency is None and critical.target is not None:
        sufficiency = measure_sufficiency(recording, critical, model=model, data=data, output=output, progress=progress)
    found = find_pathways(pathways, mechanisms, model, data, output, progress)
    drawn = (pictures, kinds, kind_names, title, *found)
    material = Material(recording, critical, mechanisms, guide, sufficiency, model, *drawn)
    return write_text(path, build(material, progress))


def build(material: Material, progress: bool = True) -> str:
    """Put the page together, as text."""
    from plotly.offline import get_plotlyjs

    from neucept.reports import phrases
    from neucept.reports.gallery import gallery_section
    from neucept.reports.html import tag, text
    from neucept.reports.layers import layers_section
    from neucept.reports.mechanisms import mechanisms_section
    from neucept.reports.overview import guide_section, map_section, separation_section, summary
    from neucept.reports.provenance import glossary_section, settings_section

    parts = {
        "summary": summary(material),
        "mechanisms": mechanisms_section(material),
        "map": map_section(material),
        "separation": separation_section(material),
        "layers": layers_section(material),
        "gallery": gallery_section(material, progress),
        "number": guide_section(material),
        "settings": settings_section(material),
        "words": glossary_section(material),
    }
    links = [tag("li", tag("a", name, href=f"#{key}")) for key, name in _SECTIONS.items() if parts[key] is not None]
    source = files("neucept.reports")
    return Template(source.joinpath("page.html").read_text(encoding="utf-8")).substitute(
        title=text(phrases.title(material)),
        style=source.joinpath("page.css").read_text(encoding="utf-8"),
        contents=tag("ul", *links),
        body=text(*parts.values()),
        plotly=get_plotlyjs(),
        script=source.joinpath("page.js").read_text(encoding="utf-8"),
    )


def check_installed() -> None:
    """Check that what draws a page is installed."""
    try:
        import PIL  # noqa: F401
        import plotly  # noqa: F401
    except ImportError as error:
        raise missing(str(error.name).replace("PIL", "pillow"), "report") from error


def check_writable(path: Path) -> None:
    """Check, before any work, that a page can be written to a path."""
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
