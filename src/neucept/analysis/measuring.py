"""Measure all that is known of one target. Every forward pass behind a report is made here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import signature
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch import Tensor, nn

from neucept.analysis.analysis import Analysis, TopInputs, check_together
from neucept.analysis.pictures import collect, embed
from neucept.discovery import CriticalNeurons, discover
from neucept.errors import InputError, closest
from neucept.evaluation.sufficiency import sufficiency as measure_sufficiency
from neucept.inputs import Inputs
from neucept.mechanism_pathways import MechanismPathways, trace_pathways
from neucept.mechanisms import Mechanisms, NumberOfClusters, choose_n_mechanisms, learn
from neucept.progress import progress as show_progress
from neucept.recording import Recording, record
from neucept.recording.outputs import Output
from neucept.recording.recording import Target
from neucept.recording.regions import activating_regions
from neucept.recording.task import Regression
from neucept.recording.units import readable

MOST_PATHWAYS = 16  # inputs of each mechanism whose pathways are traced
_TOP_NEURONS, _TOP_INPUTS = 20, 6  # critical neurons whose top inputs are kept, and how many inputs of each
_APART = 3  # neurons that set each mechanism apart, those that its card names


def analyse(
    model: nn.Module | None = None,
    data: Any = None,
    layers: Sequence[str] | None = None,
    target: Target | None = None,
    *,
    recording: Recording | None = None,
    critical: CriticalNeurons | None = None,
    mechanisms: Mechanisms | None = None,
    n_clusters: NumberOfClusters | None = None,
    sufficiency: pd.DataFrame | None = None,
    pathways: MechanismPathways | bool = True,
    precision: float | Mapping[str, float] = 0.9,
    n_mechanisms: int | Literal["auto"] = "auto",
    output: Output = None,
    batch_size: int = 256,
    discovery: Mapping[str, Any] | None = None,
    learning: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Analysis:
    """Measure all that is known of one target: record, discover, learn, and what a report shows beside them.

    A step whose result is given is not run again: ``analyse(model, data, recording=recording, target="cat")`` skips
    the recording, ``analyse(recording=..., critical=..., mechanisms=...)`` measures only what lies beyond them.

    Parameters
    ----------
    model : Module, optional
        Any classifier; left as it was found. Needed for a recording, and for what is measured by running the network:
        sufficiency by replacing neurons, the regions that neurons respond to, and pathways.
    data : data of any kind, optional
        The inputs, see `neucept.inputs.Inputs.of`. Images also give the pictures of the report; labels of a Dataset
        may be finer than the model's classes (ten digits behind even and odd).
    layers : sequence of str, optional
        As in `neucept.record`; needed for a recording.
    target : int, str or array, optional
        As in `neucept.discover`; by default the class that is predicted most.
    recording, critical, mechanisms : optional
        Results of `neucept.record`, `neucept.discover` and `neucept.learn`.
    n_clusters : NumberOfClusters, optional
        Result of `neucept.choose_n_mechanisms`; by default the comparison by which ``n_mechanisms="auto"`` chose, or a
        new one.
    sufficiency : DataFrame, optional
        Result of `neucept.sufficiency`.
    pathways : MechanismPathways or bool
        Result of `neucept.trace_pathways`; True traces a few inputs of each mechanism, where there are model and data,
        False none.
    precision : float or mapping
        As in `neucept.discover`.
    n_mechanisms : int or "auto"
        As in `neucept.learn`.
    output : None, str, int or callable
        As in `neucept.record`; by default as recorded.
    batch_size : int
        Inputs at a time, for the recording.
    discovery, learning : mapping, optional
        Further arguments of `neucept.discover` and `neucept.learn`, such as ``{"draws": 20}``.
    seed : int
        Seed for every step.
    progress : bool
        Show progress of steps that take more than two seconds.

    Returns
    -------
    Analysis
        To be drawn by `neucept.report`, saved, or read from.

    Raises
    ------
    InputError
        When something is missing, the results do not belong together, or model and data are not those recorded.

    Examples
    --------
    >>> import warnings
    >>> import torch
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> options = {"samples": "all", "draws": 2, "calibration": None}
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")  # random neurons: nothing is selected
    ...     analysis = analyse(model, torch.randn(80, 4), ["1"], 0, n_mechanisms=2, discovery=options, progress=False)
    >>> len(analysis.mechanisms), analysis.pathways.n_mechanisms, analysis.sufficiency["layer"].unique().tolist()
    (2, 2, ['1'])
    """
    if mechanisms is None or critical is None:
        recording = _recording(recording, model, data, layers, output, batch_size, progress)
        if critical is None:
            if target is None:
                target = most_predicted(recording)
            network = {} if model is None or data is None else {"model": model, "data": data, "output": output}
            own = {**network, "seed": seed, "progress": progress, **(discovery or {})}
            options = step_options(discover, own, "discovery")
            critical = discover(recording, target, **{"layers": layers, "precision": precision, **options})
        if mechanisms is None and isinstance(critical, CriticalNeurons):
            options = step_options(learn, {"seed": seed, **(learning or {})}, "learning")
            if options.get("reduce") == "metric":
                options = {"model": model, "data": data, "output": output, **options}
            mechanisms = learn(recording, critical, n_mechanisms, **options)
    check_together(recording, critical, mechanisms)
    assert recording is not None and critical is not None and mechanisms is not None  # checked
    _check_pathways(pathways, mechanisms)
    if model is not None:
        output = recording.way(output)
    inputs = None if data is None else _inputs(recording, mechanisms, model, data, output)
    if n_clusters is None:
        n_clusters = mechanisms.n_clusters or choose_n_mechanisms(mechanisms, seed=seed, progress=progress)
    response = target if isinstance(target, np.ndarray) else None
    if sufficiency is None and (critical.target is not None or response is not None):
        more: dict[str, Any] = {"model": model, "data": inputs, "output": output, "target": response, "seed": seed}
        sufficiency = measure_sufficiency(recording, critical, **more, progress=progress)
    traced, why_none = _pathways(pathways, critical, mechanisms, model, inputs, output, seed, progress)
    finer_labels, finer_names = _finer_labels(inputs, recording)
    top, size = _top_inputs(recording, critical, mechanisms, model, inputs, progress)
    analysis = Analysis(
        recording=recording,
        critical=critical,
        mechanisms=mechanisms,
        n_clusters=n_clusters,
        embedding=embed(mechanisms.scaled),
        sufficiency=sufficiency,
        pathways=traced,
        why_no_pathways=why_none,
        top_inputs=top,
        input_size=size,
        finer_labels=finer_labels,
        finer_names=finer_names,
        model_name=str(recording.facts.get("model", "network")) if model is None else type(model).__name__,
        has_model=model is not None,
    )
    return analysis if inputs is None else _with_examples(analysis, inputs)


def _recording(
    given: Recording | None,
    model: nn.Module | None,
    data: Any,
    layers: Sequence[str] | None,
    output: Output,
    batch_size: int,
    progress: bool,
) -> Recording:
    """Give the recording, or make it."""
    if given is not None:
        return given
    needed = {"model": model, "data": data, "layers": layers}
    missing = [name for name, value in needed.items() if value is None]
    if model is None or layers is None or missing:
        raise InputError(
            f"Nothing is recorded, and {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing. Call"
            " analyse(model, data, layers, target), or give the results of earlier steps, such as recording=."
        )
    return record(model, data, layers, output=output, batch_size=batch_size, progress=progress)


def most_predicted(recording: Recording) -> int | str:
    """Find the target that is predicted for most inputs; of a regression, the highest tenth."""
    if isinstance(recording.task, Regression):
        return "highest tenth"
    return int(np.argmax([recording.predicted(number).sum() for number in range(len(recording.class_names))]))


def step_options(function: Any, given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Check further arguments of a step."""
    known = list(signature(function).parameters)
    for option in given:
        if option not in known:
            raise InputError(
                f"{name}= names '{option}', which is no argument of {function.__name__}().{closest(option, known)}"
            )
    return given


def _check_pathways(given: Any, mechanisms: Mechanisms) -> None:
    """Raise an InputError unless pathways given belong to the mechanisms."""
    if isinstance(given, bool):
        return
    if not isinstance(given, MechanismPathways):
        raise InputError(f"pathways= is a {type(given).__name__}; expected MechanismPathways, True or False.")
    known = dict(zip(mechanisms.samples.tolist(), mechanisms.labels.tolist(), strict=True))
    same = all(known.get(row) == label for row, label in zip(given.rows.tolist(), given.labels.tolist(), strict=True))
    if len(given) != len(mechanisms) or not same:
        raise InputError("The pathways are of other mechanisms; call neucept.trace_pathways on these.")


def _inputs(recording: Recording, mechanisms: Mechanisms, model: nn.Module | None, data: Any, output: Output) -> Inputs:
    """Read the data, and check that they are the recorded ones: pictures beside the wrong rows would mislead."""
    if model is not None:
        return recording.verify(model, data, output, layers=mechanisms.layers)
    inputs = Inputs.of(data)
    if inputs.dataset is not None and inputs.n != len(recording):
        raise InputError(
            f"data holds {inputs.n} inputs, the recording {len(recording)}; give the recorded inputs, in their order."
        )
    return inputs


def _pathways(
    given: MechanismPathways | bool,
    critical: CriticalNeurons,
    mechanisms: Mechanisms,
    model: nn.Module | None,
    inputs: Inputs | None,
    output: Output,
    seed: int,
    progress: bool,
) -> tuple[MechanismPathways | None, str]:
    """Give the pathways of the mechanisms; None and the reason for networks that have none."""
    if not isinstance(given, bool):
        return given, ""
    if not given:
        return None, ""
    if model is None or inputs is None:
        return None, "Pathways need the model (model=) and the data (data=)."
    options: dict[str, Any] = {
        "critical": critical,
        "output": output,
        "most": MOST_PATHWAYS,
        "seed": seed,
        "progress": progress,
    }
    try:
        return trace_pathways(mechanisms, model, inputs, **options), ""
    except InputError as error:  # a network without activation functions, for instance
        return None, f"The pathways of this network cannot be traced: {error}"


def _finer_labels(inputs: Inputs | None, recording: Recording) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Labels that the data carry, where they are not those of the recording: ten digits behind even and odd."""
    if inputs is None or inputs.class_names is None or inputs.labels is None:
        return None, ()
    labels, names = inputs.labels, inputs.class_names
    if names == tuple(recording.class_names) or labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        return None, ()
    if labels.min() < 0 or labels.max() >= len(names):
        return None, ()
    return labels, names


def _top_inputs(
    recording: Recording,
    critical: CriticalNeurons,
    mechanisms: Mechanisms,
    model: nn.Module | None,
    inputs: Inputs | None,
    progress: bool,
) -> tuple[tuple[TopInputs, ...], tuple[int, int] | None]:
    """Find the top inputs of some neurons of each layer, and the regions that the neurons respond to there."""
    chosen = _neurons_to_show(critical, mechanisms)
    top, size = [], None
    with show_progress("finding the top inputs of neurons", len(chosen), progress) as advance:
        for layer, neuron, selected in chosen:
            values = recording.activations(layer)[:, neuron]
            rows = np.argsort(-values, kind="stable")[:_TOP_INPUTS]
            boxes, units = None, recording.units[layer]
            if model is not None and inputs is not None and readable(units):
                images = inputs[rows].tree
                if isinstance(images, Tensor) and images.ndim == 4 and images.is_floating_point():
                    boxes = activating_regions(model, images, layer, neuron, units)
                    size = (images.shape[2], images.shape[3])
            top.append(TopInputs(layer, neuron, selected, rows, boxes))
            advance(1)
    return tuple(top), size


def _neurons_to_show(critical: CriticalNeurons, mechanisms: Mechanisms) -> list[tuple[str, int, bool]]:
    """Choose neurons by layer: the first selected ones, else of the ranking, and some that set mechanisms apart."""
    most = max(_TOP_NEURONS // len(critical), 2)
    first = {layer: s.neurons[:most] if len(s.neurons) else s.ranking[:_APART] for layer, s in critical.items()}
    shown = {(layer, int(neuron)): None for layer, neurons in first.items() for neuron in neurons}
    _, apart = mechanisms.deciding_neurons()
    space, features = mechanisms.space, mechanisms.features
    for own in apart if len(mechanisms) > 1 else ():
        for j in np.argsort(-own, kind="stable")[:_APART].tolist():
            if space is None:
                shown[features[j].layer, int(features[j].main_neurons[0])] = None
            else:
                shown[space.layers[space.layer[j]], int(space.neurons[j])] = None
    layers = list(dict.fromkeys((*critical, *mechanisms.layers)))
    ordered = sorted(shown, key=lambda one: (layers.index(one[0]), not _is_selected(critical, *one)))
    return [(layer, neuron, _is_selected(critical, layer, neuron)) for layer, neuron in ordered]


def _is_selected(critical: CriticalNeurons, layer: str, neuron: int) -> bool:
    return layer in critical and bool(critical[layer].is_selected[neuron])


def _with_examples(analysis: Analysis, inputs: Inputs) -> Analysis:
    """Add pictures and texts of the inputs that stand for mechanisms and neurons."""
    K = len(analysis.mechanisms)
    positions = [some for k in range(K) for some in analysis.examples(k).values()]
    whole = dict.fromkeys(analysis.rows[np.concatenate(positions)].tolist())
    whole |= dict.fromkeys(row for top in analysis.top_inputs for row in top.rows.tolist())
    seen = dict.fromkeys(row for top in analysis.top_inputs if top.boxes is not None for row in top.rows.tolist())
    found, means = analysis.pathways, []
    gradients = None if found is None else found.typical_gradients
    if found is not None and gradients is not None and gradients.ndim == 4 and gradients.shape[1] in (1, 3):
        seen |= dict.fromkeys(found.typical_rows.tolist())
        means = [found.typical_rows[found.typical_labels == k] for k in range(K)]
    icons = analysis.rows[analysis.embedding.positions].tolist()
    texts = {row: text for row in whole if (text := inputs.text(row)) is not None}
    return replace(analysis, pictures=collect(inputs, whole, seen, icons, means), texts=texts)
