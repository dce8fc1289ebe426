"""What is needed to run it again, and the terms that the report uses."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from neucept.analysis import Analysis
from neucept.errors import InputError
from neucept.mechanisms.clustering import METHODS
from neucept.recording.task import TASKS
from neucept.reports.components import Html, definitions, table, tag, text

_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "pandas", "plotly")

GLOSSARY = {
    "neuron": "One number per input that a layer computes: the mean of a channel, or an element of a vector.",
    "target": "What is explained: the network's output for one class, or another response.",
    "critical neuron": "A neuron that carries information about the target that the others of its layer do not.",
    "null": "Not critical.",
    "knockoff": "A random stand-in for a neuron: same relation to the other neurons, no relation to the target.",
    "W": "How much better a neuron predicts the response than its knockoff; near zero for neurons that do not matter.",
    "precision of a selection": "Expected share of the selected neurons that are critical.",
}
_OF_CALIBRATION = {
    "calibration": "Measuring, on responses with known critical neurons, which evidence a required precision needs.",
    "simulated response": "A random function of some of a layer's neurons, planted to see whether those are found.",
    "importance": "Root mean square slope of fits of the response with respect to a neuron.",
    "power": "Share of the critical neurons that are selected.",
    "group": "Neurons of a layer that are too strongly correlated to tell which of them is critical.",
}
_OF_MECHANISMS = {
    "the network's own confidence": "The mean probability that the network gives the target, as it is: not calibrated.",
    "predicted by its confidence": "The precision that the network's own probabilities, calibrated on other inputs,"
    " predict for a mechanism. One that lies below it, or far below what they predict in other classes, is"
    " overconfident.",
    "mechanism": "A cluster of inputs with similar activations; 0 is the largest.",
    "precision of a mechanism": "Share of its inputs whose label is the target.",
    "typicality": "Share of a mechanism's inputs at least as far from its centre: 1 most typical, near 0 an outlier.",
    "standard deviation": "Of a neuron over the analysed inputs; +1 is well above the mean.",
    "stability": "Agreement of results found on other draws or other halves of the data; 1 is identical.",
}


def provenance(analysis: Analysis) -> Html:
    """List the settings of every step, versions and date, and the calls that reproduce the report."""
    recording, critical, mechanisms = analysis.recording, analysis.critical, analysis.mechanisms
    recorded = {
        **recording.facts,
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
    steps = {"Recording": recorded, "Discovery": discovered, "Mechanisms": learned, "Versions": made}
    blocks = [
        tag("div", tag("h3", name), table(["setting", "value"], _rows(facts.items()), name))
        for name, facts in steps.items()
    ]
    code = tag("pre", tag("code", _calls(analysis)), tabindex=0)
    return text(tag("div", *blocks, class_="panels"), tag("div", tag("h3", "Code that reproduces this report"), code))


def glossary(analysis: Analysis) -> Html:
    """Explain how to read the report."""
    steps = (
        "Read the summary, then the mechanisms. A mechanism marked less reliable is a group of inputs that the network"
        " processes alike and misclassifies more often. Its pictures and separating neurons show what the group is; its"
        " borderline pictures show where it ends. Critical neurons and clusters are found without labels; labels are"
        " used to evaluate them and, by default, to choose how many there are."
    )
    calibrated = any(selection.calibration is not None for selection in analysis.critical.values())
    terms = {**GLOSSARY, **(_OF_CALIBRATION if calibrated else {}), **_OF_MECHANISMS}
    return text(tag("p", steps), definitions(terms))


def _rows(facts: Iterable[tuple[str, Any]]) -> list[list[str]]:
    rows = []
    for name, value in facts:
        if isinstance(value, dict):
            value = ", ".join(f"{key}: {one}" for key, one in value.items())
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
