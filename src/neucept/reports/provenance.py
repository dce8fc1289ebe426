"""What is needed to run it again, and the words that the page uses."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from neucept.errors import InputError
from neucept.mechanisms.clustering import METHODS
from neucept.recording.outputs import recorded_output
from neucept.reports.components import section
from neucept.reports.html import Html, table, tag
from neucept.reports.material import Material

_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "pandas", "plotly")

GLOSSARY = {
    "neuron": "One number that a layer gives for an input: the mean of a channel, or an element of a vector.",
    "target": "What is explained: the output of the network for one class, or another response.",
    "critical neuron": "A neuron that tells something about the target that the others of its layer do not.",
    "null": "Not critical.",
    "knockoff": "A random stand-in for a neuron that relates to the others in the same way, but not to the target.",
    "W": "How much more a neuron helps to predict the response than its knockoff; around zero it does not matter.",
    "precision of a selection": "Share of the selected neurons that are critical, in expectation.",
}
_OF_CALIBRATION = {
    "calibration": "Finding out, on responses with known critical neurons, what evidence and what precision are worth.",
    "planted response": "A random function of some of a layer's neurons, made up to see whether those are found.",
    "importance": "How strongly a small network that has learnt the response depends on a neuron (its gradient).",
    "power": "Share of the critical neurons that are selected.",
    "group": "Neurons of a layer that move together, too alike to tell which of them is critical.",
}
_OF_MECHANISMS = {
    "mechanism": "A cluster of inputs in which the critical neurons act alike; 0 is the largest.",
    "precision of a mechanism": "Share of its inputs whose label is the target.",
    "typicality": "Share of a mechanism's inputs that lie at least as far out: 1 most typical, near 0 an outlier.",
    "deviation": "Standard deviation of a neuron over the inputs looked at; +1 is well above the mean.",
    "stability": "How alike results are that were found on other draws or halves of the data; 1 is the same.",
}


def settings_section(material: Material) -> Html:
    """List the settings of every step, versions and date, and the calls that make the page again."""
    recording, critical, mechanisms = material.recording, material.critical, material.mechanisms
    recorded = {
        **recording.facts,
        "layers": ", ".join(recording.layers),
        "neurons": ", ".join(f"{layer}: {how}" for layer, how in recording.pooling.items()) or "not said",
        "class names": ", ".join(recording.class_names[:20]) + (", …" if len(recording.class_names) > 20 else ""),
        "labels": "yes" if recording.labels is not None else "no",
    }
    discovered = {
        "target": critical.target_name + (f" (class {critical.target})" if critical.target is not None else ""),
        "response": critical.response,
        "inputs": len(critical.samples),
        "precision": ", ".join(f"{layer}: {s.precision:g}" for layer, s in critical.items()),
        **critical.settings,
    }
    if "calibration" in discovered and discovered["calibration"] is None:
        discovered["calibration"] = "none: knockoffs alone decide"
    learnt = {"inputs": len(mechanisms.samples), **mechanisms.settings}
    learnt["neurons used"] = ", ".join(feature.name for feature in mechanisms.features)
    from neucept import __version__

    made = {
        "date": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "neucept": __version__,
        "Python": platform.python_version(),
    }
    made |= {package: found for package in _PACKAGES if (found := _version(package))}
    blocks = [
        tag("div", tag("h3", name), table(["setting", "value"], _rows(facts.items()), name))
        for name, facts in (
            ("Recording", recorded),
            ("Discovery", discovered),
            ("Mechanisms", learnt),
            ("Made with", made),
        )
    ]
    code = tag("pre", tag("code", _calls(material)), tabindex=0)
    again = tag("div", tag("h3", "The calls that make this page"), code)
    return section("settings", "Settings", tag("div", *blocks, class_="panels"), again)


def glossary_section(material: Material) -> Html:
    """How to read the page."""
    steps = (
        "Read the summary, then the mechanisms: one that is marked less reliable is a group of inputs that the network"
        " treats alike and is more often wrong about. Its pictures and the neurons that set it apart say what the group"
        " is; the borderline pictures say where it ends. Critical neurons and mechanisms are found without labels;"
        " labels serve only to judge."
    )
    calibrated = any(selection.calibration is not None for selection in material.critical.values())
    terms = {**GLOSSARY, **(_OF_CALIBRATION if calibrated else {}), **_OF_MECHANISMS}
    listed = tag(
        "dl", *(tag("div", tag("dt", word), tag("dd", meaning)) for word, meaning in terms.items()), class_="words"
    )
    return section("words", "How to read this page", tag("p", steps), listed)


def _rows(facts: Iterable[tuple[str, Any]]) -> list[list[str]]:
    return [[name.replace("_", " "), _value(value)] for name, value in facts if value not in ("", None)]


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {one}" for key, one in value.items())
    return str(value)


def _calls(material: Material) -> str:
    """Write the calls with their settings; model and data are the user's."""
    recording, critical, mechanisms = material.recording, material.critical, material.mechanisms
    samples = critical.settings.get("samples", "default")
    try:
        way: Any = recorded_output(recording.facts)
    except InputError:
        way = _Name("output")
    record = {
        "layers": list(recording.pooling) or list(recording.layers),
        "neurons": dict(recording.pooling),
        "output": way,
    }
    discover = {
        "layers": list(critical),
        "precision": {layer: selection.precision for layer, selection in critical.items()},
        "response": critical.response if critical.target is not None else None,
        **critical.settings,
        "samples": {"default": None, "chosen": _Name("samples")}.get(samples, samples),
    }
    if "calibration" in discover and discover["calibration"] is None:
        discover["calibration"] = _Name("None")
    if any(s.calibration is not None and np.isnan(s.calibration.cut) for s in critical.values()):
        discover["groups"] = _Name("groups")
    learn = dict(mechanisms.settings)
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


class _Name(str):
    """Text that stands for itself in code, without quotes."""

    def __repr__(self) -> str:
        return str(self)


def _arguments(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in settings.items() if value is not None)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
