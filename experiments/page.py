"""The results page: the table of claims, then the section of each experiment, from the results that are there."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from claims import Claim, table
from common import Scale
from template import Template

# In the order of the page.
NEUCEPT: tuple[str, ...] = ("networks", "clusters", "ablation", "input_layer", "running_time", "precisions")
NEUCEPT += ("two_networks", "probes", "explainability", "non_redundancy", "photographs", "chest_xrays")
NEUCEPT += ("objectives", "several_responses")
PATHWAYS = ("pathway_overlap", "pathway_sanity", "pathway_degradation", "roar", "pathway_decoding")
INCOMPLETE = (
    IndexError,
    KeyError,
    ValueError,
)  # what telling raises of results that are there in part: half a pair, say


def results_of(name: str, chosen: Scale) -> dict[str, Any]:
    """Return the results of an experiment, {} where nothing has been measured."""
    path = chosen.results / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def claims_of(name: str, results: dict[str, Any]) -> list[Claim]:
    claims: list[Claim] = importlib.import_module(f"tell.{name}").claims(results)
    return claims


def section(name: str, results: dict[str, Any], chosen: Scale) -> str:
    """Return an experiment's section, with its figure and its command."""
    template = Template(name)
    try:
        lines = [importlib.import_module(f"tell.{name}").tell(results)]
    except INCOMPLETE as error:
        lines = [
            f"## {template.title}",
            f"Not complete ({type(error).__name__}). Run it again: it continues where it stopped.",
        ]
    figure = chosen.figure(name)
    if figure.exists():
        lines.append(f"![{template.title}]({figure.relative_to(chosen.page.parent)})")
    return "\n\n".join([*lines, f"`python experiments/{name}.py`"])


def summary(chosen: Scale) -> str:
    """Return the table at the head of the page, one row per claim."""
    rows = []
    for name in NEUCEPT + PATHWAYS:
        if results := results_of(name, chosen):
            try:
                rows += [claim.row(Template(name).anchor) for claim in claims_of(name, results)]
            except INCOMPLETE:
                continue
    return table(["", "the paper", "measured", "holds"], rows)


def write(chosen: Scale) -> Path:
    """Write the page."""
    parts = [Template("page").fill(claims=summary(chosen))]
    for heading, names in (("NeuCEPT", NEUCEPT), ("Critical Pathways", PATHWAYS)):
        measured = {name: results for name in names if (results := results_of(name, chosen))}
        if measured:
            parts += [f"# {heading}", *(section(name, results, chosen) for name, results in measured.items())]
    chosen.page.parent.mkdir(parents=True, exist_ok=True)
    chosen.page.write_text("\n\n".join(parts) + "\n")
    return chosen.page
