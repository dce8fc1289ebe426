"""Audit every class of a network: one recording, then discovery and mechanisms of each class in parallel processes."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from pickle import PicklingError
from typing import Any, Literal

import joblib
import numpy as np
import torch
from joblib.externals.loky.process_executor import TerminatedWorkerError
from torch import nn

from neucept import storage
from neucept.analysis.accuracy import implausible
from neucept.analysis.every_class import Audit, targets_of
from neucept.analysis.measuring import step_options
from neucept.analysis.one_class import Job, Network, Steps, audit_class, is_done, runs_network
from neucept.analysis.outcome import Outcome
from neucept.analysis.run_folder import alone, by_number, content_of, keep, keep_thumbnails, plain, prepare
from neucept.calibration import calibrate
from neucept.discovery import discover
from neucept.errors import InputError, check_kind, check_precision, check_whole, closest
from neucept.inputs import Inputs
from neucept.mechanisms import learn
from neucept.models import default_layers, early_layer
from neucept.progress import progress as show_progress
from neucept.recording import Recording, list_layers, record
from neucept.recording.hooks import left_as_found
from neucept.recording.outputs import Output, logits_of
from neucept.recording.reading import call_first, float_type
from neucept.recording.task import Task
from neucept.recording.units import Neurons
from neucept.threads import one_thread


def audit(
    model: nn.Module | None = None,
    data: Any = None,
    layers: Sequence[str] | None = None,
    classes: Sequence[int | str] | None = None,
    *,
    recording: Recording | None = None,
    precision: float | Mapping[str, float] = 0.9,
    n_mechanisms: int | Literal["auto"] = "auto",
    stability: int = 10,
    out: str | Path | None = None,
    overwrite: bool = False,
    provenance: Mapping[str, Any] | None = None,
    workers: int | None = None,
    neurons: Neurons | Mapping[str, Neurons] = "auto",
    output: Output = None,
    task: str | Task = "auto",
    class_names: Sequence[str] | None = None,
    device: torch.device | str | None = None,
    batch_size: int = 256,
    discovery: Mapping[str, Any] | None = None,
    learning: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Audit:
    """Audit every class: say where a network is confidently wrong, where it is unsure, and in which ways it decides.

    Everything is recorded once. Critical neurons and mechanisms of each class are then found in parallel processes of
    one thread each, which read the recording from disk; their number does not change any result. What goes wrong with
    one class (too few inputs, layers that are constant on them, an error) does not stop the others: it is the
    ``reason`` in `Audit.classes`.

    With ``out``, the recording and each class are kept in a folder as soon as they are finished. A second call with the
    same settings, model and data goes on where the first one ended; further classes may be asked for. Classes with a
    reason are tried again.

    Parameters
    ----------
    model : Module, optional
        Any classifier; left as it was found. Needed for a recording.
    data : data of any kind, optional
        The inputs with their labels, see `neucept.inputs.Inputs.of`. Without labels nobody can say how often a
        mechanism is right.
    layers : sequence of str, optional
        As in `neucept.record`; by default the last map and the last hidden vector.
    classes : sequence of int or str, optional
        Names or numbers; by default all classes. Of a regression by default ``"highest tenth"`` and
        ``"lowest tenth"``.
    recording : Recording, optional
        Result of `neucept.record`; nothing is recorded then.
    precision : float or mapping
        As in `neucept.discover`.
    n_mechanisms : int or "auto"
        As in `neucept.learn`.
    stability : int
        Number of halves on which each mechanism is found again (`neucept.mechanisms.mechanism_stability`, the selected
        neurons kept); 0 leaves it out.
    out : path, optional
        Folder for the results.
    overwrite : bool
        Begin anew where ``out`` holds an audit, whatever it is of; it is removed.
    provenance : mapping, optional
        Where the network and the data come from, in words and numbers of your own; kept in ``out``, and shown.
    workers : int, optional
        Number of processes; by default as many as there are cores, or classes. 1 runs everything in this process.
    neurons, output, task, class_names, device, batch_size
        As in `neucept.record`.
    discovery, learning : mapping, optional
        Further arguments of `neucept.discover` and `neucept.learn`, such as ``{"calibration": None}``. Orders and
        effects by the network are measured where they are asked for (``{"order": "sufficient"}``); they take longer.
    seed : int
        Seed for every step.
    progress : bool
        Show progress with the time left.

    Returns
    -------
    Audit
        `Audit.table` has a row per mechanism of every class, those most worth looking at first.

    Raises
    ------
    InputError
        Before any work, when something is missing or impossible, or ``out`` holds an audit with other settings, of
        another network or of other data.

    Warns
    -----
    UserWarning
        Before the classes are audited, when the accuracy is no better than chance or the shares of the classes allow.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> Z = rng.normal(size=(400, 6)).astype(np.float32)
    >>> logits = Z[:, :2] + 3 * Z[:, 2:4]
    >>> recording = Recording({"hidden": Z}, logits, logits.argmax(axis=1), ("cat", "dog"))
    >>> with warnings.catch_warnings(action="ignore"):
    ...     result = audit(recording=recording, discovery={"calibration": None}, workers=1, progress=False)
    >>> result.accuracy, list(result.mechanisms), result.table.columns[:4].tolist()
    (1.0, ['cat', 'dog'], ['class', 'mechanism', 'inputs', 'share'])
    """
    steps = _steps(precision, n_mechanisms, stability, seed, discovery, learning)
    workers = joblib.cpu_count() if workers is None else check_whole("workers", workers)
    if recording is None and (model is None or data is None):
        missing = " and ".join(name for name, given in {"model": model, "data": data}.items() if given is None)
        raise InputError(f"Nothing is recorded, without {missing}: call audit(model, data), or give recording=.")
    inputs = None if data is None else Inputs.of(data, model)
    if inputs is not None and class_names is not None and not isinstance(class_names, str):
        inputs = replace(inputs, class_names=inputs.class_names or tuple(map(str, class_names)))  # labels may be texts
    if recording is not None:
        check_kind("recording", recording, Recording, "what neucept.record returns")
        if model is not None and inputs is not None:
            recording.verify(model, inputs, output)
        chosen = list(recording.layers if layers is None else layers)
        for layer in chosen:
            recording.activations(layer)
    else:
        assert model is not None and inputs is not None
        chosen, early = _layers(model, inputs, layers, output)
    settings = {
        "layers": chosen,
        **{name: plain(getattr(steps, name)) for name in ("precision", "n_mechanisms", "stability", "seed")},
        **{name: plain(getattr(steps, name)) for name in ("discovery", "learning")},
        "neurons": plain(neurons),
        "output": plain(output),
        "task": plain(task),
        "class_names": None if class_names is None else list(map(str, class_names)),
    }
    content = content_of(model, inputs, recording)
    asked = [] if classes is None else _asked(classes)
    if recording is not None:
        targets_of(recording, asked)
    elif inputs is not None:
        _check_names(asked, class_names or inputs.class_names, inputs)
    temporary = None
    if out is None:
        temporary = tempfile.TemporaryDirectory(prefix="neucept-audit-", ignore_cleanup_errors=True)
        folder = Path(temporary.name) / "audit"
    else:
        folder = storage.as_path(out).absolute()  # processes may have another working directory
    if model is not None:
        name = type(model).__name__
    else:
        name = str(recording.facts.get("model", "network")) if recording is not None else "network"
    facts = {"settings": settings, "content": content, "model_name": name, "classes": asked}
    prepare(folder, {**facts, "provenance": dict(provenance or {})}, overwrite)
    meaning = recording.task if recording is not None else task if not isinstance(task, str) else None
    with alone(folder):
        place = folder / "recording"
        if not place.exists():
            if recording is None:
                assert model is not None and inputs is not None
                own = (
                    neurons if isinstance(neurons, Mapping) else dict.fromkeys(chosen, neurons)
                )  # the early has its own
                options: dict[str, Any] = {"neurons": own, "output": output, "task": task, "device": device}
                options |= {"class_names": class_names, "batch_size": batch_size, "progress": progress}
                watched = list(dict.fromkeys([*chosen, *early]))
                stored = record(model, inputs, watched, store=None if inputs.n is None else place, **options)
                if inputs.n is None:
                    stored.save(place)
            else:
                recording.save(place)
        elif recording is None and model is not None and inputs is not None and by_number(inputs):
            Recording.open(place, meaning).verify(model, inputs, output)
        if out is not None:
            keep_thumbnails(folder, inputs, progress)
        known = Recording.open(place, meaning)
        targets = targets_of(known, asked)
        if doubt := implausible(known):
            warnings.warn(doubt, stacklevel=2)
        job = Job(place, meaning, folder / "classes", tuple(chosen), steps)
        _run(job, targets, workers, (model, inputs, output), progress)
    rule = steps.discovery.get("aggregate")
    opened = Audit.open(folder, meaning, None if isinstance(rule, str) else rule)
    return replace(
        opened,
        outcomes=tuple(outcome for outcome in opened.outcomes if outcome.target in targets),
        network=(model, inputs, output),
        _kept=temporary,
    )


def _steps(precision: Any, n_mechanisms: Any, stability: Any, seed: Any, discovery: Any, learning: Any) -> Steps:
    """Check the settings of the steps before any work."""
    for level in precision.values() if isinstance(precision, Mapping) else [precision]:
        check_precision(level)
    if n_mechanisms != "auto":
        check_whole("n_mechanisms", n_mechanisms)
    if check_whole("stability", stability, 0) == 1:
        raise InputError("stability=1: one half says nothing; expected 0 (none), or 2 halves or more.")
    for function, given, name in ((discover, discovery, "discovery"), (learn, learning, "learning")):
        if not isinstance(given or {}, Mapping):
            raise InputError(f"{name}={given!r}: expected a mapping, such as {{'seed': 1}}.")
        for option in step_options(function, given or {}, name):
            if option in _OWN:
                raise InputError(f"{name}= names '{option}', which audit() decides for all classes; {_OWN[option]}.")
    seed = check_whole("seed", seed, 0)
    return Steps(precision, n_mechanisms, int(stability), seed, dict(discovery or {}), dict(learning or {}))


_OWN = dict.fromkeys(("layers", "precision", "n_mechanisms", "seed", "progress"), "give it to audit() itself")
_OWN |= dict.fromkeys(("model", "data", "output"), "it hands on its own")
_OWN |= {"recording": "give recording= to audit() itself", "target": "give classes=", "critical": "it finds them"}


def _layers(
    model: nn.Module, inputs: Inputs, layers: Sequence[str] | None, output: Output
) -> tuple[list[str], list[str]]:
    """Name the layers to analyse, by default the last map and the last hidden vector, and an early one to watch."""
    if isinstance(layers, str):
        raise InputError(f"layers={layers!r}: expected a list of names, such as ['{layers}'].")
    if inputs.n == 0:
        raise InputError("The data holds no inputs.")
    try:
        batch = inputs[[0]] if by_number(inputs) else next(inputs.batches(1))[0].part(slice(0, 1))
        table = list_layers(model, Inputs(batch.tree, batch.n))
    except InputError:
        if layers is None:
            raise
        return list(layers), []  # said by the recording
    early = [one for one in [early_layer(table)] if one is not None]
    if layers is not None:
        return list(layers), early
    with left_as_found(model) as device, torch.no_grad():
        outputs = logits_of(call_first(model, batch.to(device, float_type(model))), output)
    return default_layers(table, outputs.shape[1]), early


def _asked(classes: Any) -> list[int | str]:
    """Read the classes asked for."""
    if isinstance(classes, str | int) or not isinstance(classes, Sequence | np.ndarray) or not len(classes):
        shown = [classes] if isinstance(classes, str | int) else ["cat", 3]
        raise InputError(f"classes={classes!r}: expected a list of names or numbers, such as {shown}.")
    return [one if isinstance(one, str) else check_whole("classes", one, 0) for one in classes]


def _check_names(asked: Sequence[int | str], names: Sequence[str] | None, inputs: Inputs) -> None:
    """Refuse names of classes that there are not, before the recording; targets of a regression have no such names."""
    if names is None or (inputs.labels is not None and inputs.labels.dtype.kind == "f"):
        return
    for one in asked:
        if isinstance(one, str) and one not in names:
            listed = ", ".join(names[:20])
            raise InputError(f"classes= names '{one}', but the classes are {listed}.{closest(one, names)}")


# The classes, one after the other or in parallel


def _run(job: Job, targets: Sequence[int | str], workers: int, network: Network, progress: bool) -> None:
    """Audit the classes that are not finished yet, those with most inputs first."""
    recording = Recording.open(job.recording, job.task)
    waiting = [target for target in targets if not is_done(job.folder, recording, target)]
    sizes = _sizes(recording, waiting)
    waiting.sort(key=lambda target: -sizes[target])
    if not runs_network(job.steps):
        network = None, None, None
    workers = min(workers, len(waiting))
    _calibrate_once(recording, job, targets)
    with show_progress("auditing classes", len(waiting), progress) as advance:
        alone = False
        while waiting:
            first = waiting[0]
            try:
                for target in _each(job, recording, network, [first] if alone else list(waiting), workers):
                    waiting.remove(target)
                    advance(1)
            except (PicklingError, BrokenProcessPool) as error:
                if not isinstance(error, TerminatedWorkerError):  # also what the other process cannot read
                    warnings.warn(
                        "The model, the data or an object among the settings cannot be sent to other processes"
                        f" ({error}); classes are audited one after the other in this one.",
                        stacklevel=3,
                    )
                    workers, alone = 1, False
                    continue
                # A process was killed, most often because memory ran out.
                waiting = [target for target in waiting if not is_done(job.folder, recording, target)]
                if alone and first in waiting:
                    waiting.remove(first)
                    why = "The process that audited it was killed, perhaps because memory ran out."
                    keep(job.folder, Outcome(first, recording.target_name(first), why))
                    advance(1)
                alone = True


def _sizes(recording: Recording, targets: Sequence[int | str]) -> dict[int | str, int]:
    """Count the inputs predicted as each class; for classes, of which there may be thousands, in one go."""
    if recording.single_label:
        counts = np.bincount(recording.predictions, minlength=len(recording.class_names))
        return {target: int(counts[int(target)]) for target in targets}
    return {target: len(recording.samples(target)) for target in targets}


def _each(
    job: Job, recording: Recording, network: Network, targets: Sequence[int | str], workers: int
) -> Iterator[int | str]:
    """Audit classes in this process or in others of one thread each, and give each that is finished.

    The processes begin from nothing (no fork, which may deadlock beside the threads of PyTorch) and do not import the
    user's script again, so that it needs no ``if __name__ == "__main__"``. They end when this stops.
    """
    if workers <= 1:
        for target in targets:
            yield audit_class(job, recording, network, target)
        return
    with joblib.parallel_config("loky", n_jobs=workers, inner_max_num_threads=1):
        pool = joblib.Parallel(return_as="generator_unordered", batch_size=1)
        yield from pool(joblib.delayed(audit_class)(job, None, network, target) for target in targets)


def _calibrate_once(recording: Recording, job: Job, targets: Sequence[int | str]) -> None:
    """Calibrate layers before the classes, where all classes look at the same inputs; kept beside the recording."""
    options = job.steps.discovery
    samples, rule = options.get("samples"), options.get("aggregate", "evalue")
    if samples is None or (isinstance(samples, str) and samples == "predicted"):
        return
    if options.get("calibration", "auto") is None or not isinstance(rule, str):
        return
    groups = options.get("groups")
    for layer in job.layers:
        own = groups.get(layer) if isinstance(groups, Mapping) else groups
        with suppress(InputError), one_thread():  # said for each class
            calibrate(recording, layer, target=targets[0], samples=samples, groups=own)
