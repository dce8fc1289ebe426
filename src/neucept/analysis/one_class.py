"""Audit one class: find its critical neurons and mechanisms, judge them, and keep what became of it."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch import nn

from neucept.analysis.analysis import Analysis
from neucept.analysis.outcome import Outcome
from neucept.analysis.run_folder import keep
from neucept.discovery import CriticalNeurons, discover
from neucept.discovery.orders import BY_NETWORK
from neucept.errors import InputError
from neucept.knockoffs.preprocessing import alive
from neucept.mechanisms import Mechanisms, error_detection, learn, mechanism_stability
from neucept.recording import Recording
from neucept.recording.outputs import Output
from neucept.recording.task import Task
from neucept.threads import one_thread


@dataclass(frozen=True)
class Steps:
    """What is done for each class."""

    precision: float | Mapping[str, float]
    n_mechanisms: int | Literal["auto"]
    stability: int
    seed: int
    discovery: Mapping[str, Any]
    learning: Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """What a process needs to audit a class: paths and settings, no arrays."""

    recording: Path
    task: Task | None
    folder: Path
    layers: tuple[str, ...]
    steps: Steps


Network = tuple[nn.Module | None, Any, Output]


def runs_network(steps: Steps) -> bool:
    """Tell whether a step runs the network."""
    reduce = steps.learning.get("reduce", signature(learn).parameters["reduce"].default)
    return bool(reduce == "metric") or _discovers_with_network(steps)


def _discovers_with_network(steps: Steps) -> bool:
    """Tell whether orders or effects by the network were asked for, which take their time."""
    effect = steps.discovery.get("effect")
    return steps.discovery.get("order") in BY_NETWORK or (effect is not None and effect is not False)


def is_done(folder: Path, recording: Recording, target: int | str) -> bool:
    """Tell whether a class is finished."""
    place = folder / Outcome(target, recording.target_name(target)).folder
    return place.exists() and not Outcome.open(place).reason


def audit_class(job: Job, recording: Recording | None, network: Network, target: int | str) -> int | str:
    """Audit one class and keep what became of it; no error of the class goes further.

    In another process the recording is opened; its arrays stay on disk until they are used.
    """
    recording = Recording.open(job.recording, job.task) if recording is None else recording
    name, started = recording.target_name(target), time.monotonic()
    critical = mechanisms = None
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty selection is a number in the table
        try:
            outcome, critical, mechanisms = _examine(job, recording, network, target)
        except InputError as error:
            outcome = Outcome(target, name, str(error))
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            said = f"{type(error).__name__}: {error}".removesuffix(": ")
            outcome = Outcome(target, name, f"{said} ({Path(where.filename).name}, line {where.lineno})")
    keep(job.folder, replace(outcome, seconds=round(time.monotonic() - started, 3)), critical, mechanisms)
    return target


def _examine(
    job: Job, recording: Recording, network: Network, target: int | str
) -> tuple[Outcome, CriticalNeurons, Mechanisms]:
    """Find the critical neurons and mechanisms of a class, and judge them."""
    steps, model, data, output = job.steps, *network
    rows = recording.samples(target, steps.discovery.get("samples"))
    varying = [layer for layer in job.layers if alive(np.asarray(recording.activations(layer)[rows])).any()]
    dead = [layer for layer in job.layers if layer not in varying] if varying else []
    layers = varying or list(job.layers)
    precision = steps.precision
    if isinstance(precision, Mapping):
        precision = {layer: level for layer, level in precision.items() if layer not in dead}
    options: dict[str, Any] = {**steps.discovery, "seed": steps.seed, "progress": False}
    if _discovers_with_network(steps):
        options |= {"model": model, "data": data, "output": output}
    critical = discover(recording, target, layers, precision, **options)
    learning: dict[str, Any] = {**steps.learning, "seed": steps.seed, "model": model, "data": data, "output": output}
    mechanisms = learn(recording, critical, steps.n_mechanisms, **learning)
    again = None
    if steps.stability:
        again = mechanism_stability(
            recording,
            critical,
            mechanisms,
            steps.stability,
            "fixed",
            learning.get("method"),
            model,
            data,
            output,
            steps.seed,
            progress=False,
        )
        mechanisms = mechanisms.with_stability(again)
    notes = [f"Layer '{layer}' is constant on these inputs and was left out." for layer in dead]
    selected = {layer: len(selection.neurons) for layer, selection in critical.items()}
    judged = rows_of(mechanisms, again).assign(**areas_of(recording, mechanisms))
    name = recording.target_name(target)
    return Outcome(target, name, "", tuple(notes), judged, selected), critical, mechanisms


def rows_of(mechanisms: Mechanisms, again: pd.DataFrame | None) -> pd.DataFrame:
    """One row per mechanism: its size, reliability, stability, and the neurons that set it apart."""
    rows = pd.DataFrame({"mechanism": range(len(mechanisms)), "inputs": mechanisms.sizes, "share": mechanisms.shares})
    if mechanisms.reliability is not None:
        rows = rows.merge(mechanisms.reliability.drop(columns=["share"]), on="mechanism", how="left")
    if again is not None:
        rows = rows.assign(stability=again["jaccard"].to_numpy(), found_again=again["found_again"].to_numpy())
    rows["neurons"] = mechanisms.set_apart_by()
    return rows


def areas_of(recording: Recording, mechanisms: Mechanisms) -> dict[str, float]:
    """How well errors are told by confidence alone, and with mechanisms; nothing where it cannot be said."""
    if mechanisms.reliability is None or mechanisms.target is None:
        return {}
    if not recording.predicted(mechanisms.target)[mechanisms.samples].all():
        return {}
    try:
        auc = error_detection(recording, mechanisms).auc
    except InputError:
        return {}
    return {"auc_confidence": auc["confidence"], "auc_mechanisms": auc["confidence and mechanism"]}


def keep_analysis(folder: Path, analysis: Analysis, seconds: float = 0.0) -> Outcome:
    """Keep an analysis as one class of the run in a folder: its results, and what a report shows of them."""
    recording, critical, mechanisms = analysis.recording, analysis.critical, analysis.mechanisms
    assert mechanisms.target is not None and not isinstance(mechanisms.target, tuple)  # of a prediction
    outcome = Outcome(
        mechanisms.target,
        recording.target_name(mechanisms.target),
        rows=rows_of(mechanisms, mechanisms.stability).assign(**areas_of(recording, mechanisms)),
        selected={layer: len(selection.neurons) for layer, selection in critical.items()},
        seconds=round(seconds, 3),
    )
    keep(folder / "classes", outcome, critical, mechanisms, analysis)
    return outcome
