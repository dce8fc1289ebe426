"""What is needed to make a page again: settings, versions, the command and the calls."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from neucept.analysis import Analysis
from neucept.errors import InputError
from neucept.mechanisms.clustering import METHODS
from neucept.recording.task import TASKS
from neucept.reports.components import Html, table, tag, text

_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "pandas", "plotly")

READING = (
    "Read the summary, then the mechanisms. A mechanism marked less reliable is a group of inputs that the network"
    " processes alike and misclassifies more often. Its pictures and separating neurons show what the group is; its"
    " borderline pictures show where it ends. Critical neurons and clusters are found without labels; labels are used"
    " to evaluate them and, by default, to choose how many there are."
)


def provenance(analysis: Analysis) -> Html:
    """List the settings of every step, versions and date, and the calls that reproduce the report."""
    recording, critical, mechanisms = analysis.recording, analysis.critical, analysis.mechanisms
    run = run_facts(recording.facts)
    recorded = {
        **{name: value for name, value in recording.facts.items() if name != RUN},
        "layers": ", ".join(recording.layers),
        "neurons": ", ".join(f"{layer}: {how}" for layer, how in recording.pooling.items()) or "not stated",
        "class names": ", ".join(recording.class_names[:20]) + (", …" if len(recording.class_names) > 20 else ""),
        "labels": "yes" if recording.labels is not None else "no",
        "task": recording.task.name,
    }
    discovered = {
        "target": critical.target_name + (f" (class {critical.target})" if isinstance(critical.target, int) else ""),
        "response": critical.response,
        "inputs": len(critical.samples),
        "precision": ", ".join(f"{layer}: {s.precision:g}" for layer, s in critical.items()),
        **critical.settings,
    }
    if "calibration" in discovered and discovered["calibration"] is None:
        discovered["calibration"] = "none: selection by knockoffs alone"
    learned = {"inputs": len(mechanisms.samples), **mechanisms.settings}
    learned["neurons used"] = ", ".join(feature.name for feature in mechanisms.features)
    steps = {"Run": run, "Recording": recorded, "Discovery": discovered, "Mechanisms": learned, "Versions": versions()}
    return text(settings_tables(steps), calls_that_make(run, _calls(analysis)))


RUN = "provenance"  # where a recording's facts hold those of the run: its command, files, options


def run_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Give what is known of the run that made a recording; nothing where it was made in Python.

    Parameters
    ----------
    facts : mapping
        Of a recording, or the settings of an audit. ``facts["provenance"]`` is a mapping: ``command`` is the command
        line that makes the page again, all others are shown as they are, such as the file of the weights.
    """
    held = facts.get(RUN)
    return dict(held) if isinstance(held, Mapping) else {}


def calls_that_make(run: Mapping[str, Any], code: str) -> Html:
    """Show the command that makes the page again, where it was made by one, and the calls in Python."""
    blocks = []
    if command := run.get("command"):
        blocks += [tag("h3", "The command that makes this page"), _code(str(command))]
    blocks += [tag("h3", "The calls in Python that make this page"), _code(code)]
    return tag("div", *blocks)


def settings_tables(steps: Mapping[str, Mapping[str, Any]]) -> Html:
    """List settings, a table for each step that has some."""
    blocks = [
        tag("div", tag("h3", name), table(["setting", "value"], rows, name))
        for name, known in steps.items()
        if (rows := _rows((key, value) for key, value in known.items() if key != "command"))
    ]
    return tag("div", *blocks, class_="panels")


def versions() -> dict[str, str]:
    """Give the date, and the versions of what computes."""
    made = {
        "date": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "neucept": version("neucept"),
        "Python": platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            made[package] = version(package)
        except PackageNotFoundError:
            continue
    return made


def _code(lines: str) -> Html:
    return tag("pre", tag("code", lines), tabindex=0)


def _rows(facts: Iterable[tuple[str, Any]]) -> list[list[str]]:
    rows = []
    for name, value in facts:
        if isinstance(value, Mapping):
            value = ", ".join(f"{key}: {one}" for key, one in value.items() if one is not None)
        elif isinstance(value, list | tuple):
            value = ", ".join(map(str, value))
        if value not in ("", None):
            rows.append([name.replace("_", " "), str(value)])
    return rows


def _calls(analysis: Analysis) -> str:
    """Write the calls with their settings; model and data are the user's."""
    recording, critical, mechanisms = analysis.recording, analysis.critical, analysis.mechanisms
    samples = critical.settings.get("samples", "default")
    try:
        output: Any = recording.way()
    except InputError:
        output = _Name("output")
    record = {
        "layers": list(recording.pooling) or list(recording.layers),
        "neurons": dict(recording.pooling),
        "task": recording.task.name if recording.task.name in TASKS else _Name("task"),
        "output": output,
    }
    discover = {
        "layers": list(critical),
        "precision": {layer: selection.precision for layer, selection in critical.items()},
        "response": critical.response if critical.target is not None else None,
        **{name: value for name, value in critical.settings.items() if name != "not run from"},
        "samples": _given(samples),
        "order": _given(critical.settings.get("order")),
    }
    if "calibration" in discover and discover["calibration"] is None:
        discover["calibration"] = _Name("None")
    if any(s.calibration is not None and np.isnan(s.calibration.cut) for s in critical.values()):
        discover["groups"] = _Name("groups")
    learn = {**mechanisms.settings, "samples": _given(mechanisms.settings.get("samples"))}
    if learn.get("reduce") == "metric":
        learn |= {"model": _Name("model"), "data": _Name("data")}
    if learn.get("method") not in METHODS:
        learn["method"] = _Name(learn.get("method"))
    target = "response" if critical.target is None else repr(critical.target_name)
    return "\n".join(
        [
            f"recording = neucept.record(model, data, {_arguments(record)})",
            f"critical = neucept.discover(recording, {target}, {_arguments(discover)})",
            f"mechanisms = neucept.learn(recording, critical, {_arguments(learn)})",
            "neucept.report(recording, critical, mechanisms, data=data, model=model)",
        ]
    )


def _given(setting: Any) -> Any:
    """Write what was given for a setting: nothing by default, and the name of what is too large for a page."""
    return {"default": None, "as discovered": None, "chosen": _Name("samples")}.get(setting, setting)


class _Name(str):
    """Text that represents itself in code, without quotes."""

    def __repr__(self) -> str:
        return str(self)


def _arguments(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in settings.items() if value is not None)
