"""The folder that results are kept in: of what network, data and settings they are, and who may write to it."""

from __future__ import annotations

import hashlib
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from neucept import storage
from neucept.analysis.analysis import Analysis
from neucept.analysis.outcome import KIND, KIND_OF_CLASS, MEASURED, THUMBNAILS, Outcome
from neucept.analysis.thumbnails import keep as small_pictures
from neucept.discovery import CriticalNeurons
from neucept.errors import InputError, MissingDependency
from neucept.inputs import Inputs
from neucept.mechanisms import Mechanisms
from neucept.recording import Recording

_SAMPLED = 64  # inputs by which data are known again


def by_number(inputs: Inputs) -> bool:
    """Tell whether inputs can be found again by their number: not those of a stream, or of a loader that shuffles."""
    try:
        return inputs.dataset is not None and inputs.n is not None
    except InputError:
        return False


def hash_weights(model: nn.Module) -> str:
    """Hash a network's type and all its parameters and buffers.

    >>> a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    >>> hash_weights(a) == hash_weights(a), hash_weights(a) == hash_weights(b)
    (True, False)
    """
    sha = hashlib.sha256(type(model).__name__.encode())
    for name, value in model.state_dict().items():
        sha.update(name.encode())
        _add(sha, value)
    return sha.hexdigest()[:24]


def _add(sha: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_quantized:
        flat = value.detach().cpu().contiguous().reshape(-1)
        sha.update(f"{value.dtype} {tuple(value.shape)}".encode())
        sha.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    else:
        sha.update(_as_text(value).encode())


def hash_data(inputs: Inputs) -> str:
    """Hash the number of inputs, the labels that are known, and some inputs spread over all."""
    sha = hashlib.sha256(str(inputs.n).encode())
    if inputs.labels is not None:
        sha.update(np.ascontiguousarray(inputs.labels).tobytes())
    if by_number(inputs):
        for row in np.unique(np.linspace(0, len(inputs) - 1, _SAMPLED).astype(int)).tolist():
            for tensor in inputs[[row]].tensors():
                _add(sha, tensor)
    return sha.hexdigest()[:24]


def hash_recording(recording: Recording) -> str:
    """Hash all that a recording holds."""
    sha = hashlib.sha256(" ".join(recording.class_names).encode())
    for name, array in {**recording.neurons, " logits": recording.logits, " labels": recording.labels}.items():
        if array is not None:
            sha.update(f"{name} {array.dtype} {array.shape}".encode())
            for start in range(0, len(array), 4096):
                sha.update(np.ascontiguousarray(array[start : start + 4096]).tobytes())
    return sha.hexdigest()[:24]


def content_of(model: nn.Module | None, inputs: Inputs | None, recording: Recording | None) -> dict[str, str]:
    """Hash what results rest on; a folder of results is of one network and of one data set."""
    return {
        "version": version("neucept"),
        "network": "" if model is None else hash_weights(model),
        "data": "" if inputs is None else hash_data(inputs),
        "recording": "" if recording is None else hash_recording(recording),
    }


def keep_thumbnails(folder: Path, inputs: Inputs | None, progress: bool = True) -> None:
    """Keep small pictures, or the texts, of the inputs beside their recording, where there are none yet."""
    place = folder / THUMBNAILS
    if inputs is None or place.exists() or not by_number(inputs):
        return
    with suppress(MissingDependency):  # of Pillow; a run without pictures is whole
        if (thumbnails := small_pictures(inputs, progress=progress)) is not None:
            thumbnails.save(place)


def plain(value: Any) -> Any:
    """Write a setting as JSON can hold it; an object by what it says of itself."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return f"array {hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:24]}"
    if isinstance(value, list | tuple | range):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if value is None or isinstance(value, bool | int | float | str) else _as_text(value)


def _as_text(value: Any) -> str:
    """Describe an object without its address in memory, which differs from run to run."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def prepare(folder: Path, facts: Mapping[str, Any], overwrite: bool) -> None:
    """Make the folder of an audit, or check that the one there is of the same network, data and settings."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    if folder.exists() and (folder / _LOCK).exists():
        with alone(folder):
            pass
    if overwrite or not (folder / "recording").exists():  # nothing is lost
        with storage.new_folder(folder, KIND) as draft:
            (draft / "classes").mkdir()
            storage.write(draft, KIND, facts, {})
        return
    with storage.opened(folder, KIND) as (held, _):
        before, now = held["content"], facts["content"]
        differ = [f"another {name}" for name in ("network", "recording") if before[name] != now[name]]
        differ += ["other data"] if before["data"] != now["data"] else []
        differ += [f"neucept {before['version']}"] if before["version"] != now["version"] else []
        own, other = held["settings"], facts["settings"]
        differ += [f"{name}={own.get(name)!r}" for name in other if own.get(name) != other[name]]
    if differ:
        raise InputError(
            f"{folder} holds another run, which has {', '.join(differ)}. To go on with it, ask for the same; to look at"
            " it in another way, 'neucept report' takes another --precision and number of --mechanisms; for another run"
            " choose another folder (--out, in Python out=), or begin anew, which removes it (--overwrite, in Python"
            " overwrite=True)."
        )


@contextmanager
def writing(
    path: str | Path,
    model: nn.Module,
    inputs: Inputs,
    settings: Mapping[str, Any],
    *,
    provenance: Mapping[str, Any],
    asked: Sequence[int | str],
    overwrite: bool = False,
) -> Iterator[Path]:
    """Hold the folder of a run of one network on some inputs, alone, for a block that writes to it.

    What the folder holds already of the same network, data and settings stays, so that a second class, or a second
    try, goes on from there.

    Yields
    ------
    Path
        The folder.

    Raises
    ------
    InputError
        When it holds results of another network, other data or other settings, or another process writes to it.
    """
    folder = storage.as_path(path).absolute()
    facts: dict[str, Any] = {"settings": dict(settings), "content": content_of(model, inputs, None)}
    facts |= {"model_name": type(model).__name__, "classes": list(asked), "provenance": dict(provenance)}
    prepare(folder, facts, overwrite)
    with alone(folder):
        try:
            yield folder
        finally:
            if not (folder / "recording").exists():  # refused before any work: nothing half-made stays
                shutil.rmtree(folder, ignore_errors=True)


_LOCK = ".neucept-lock"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes from writing to a folder of results; what a killed one left half-written is removed."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"Another process is writing to {folder}; wait for it, or choose another folder (out=, --out)."
            ) from None
        for draft in (*folder.glob(".neucept-*"), *folder.glob("classes/.neucept-*")):
            if draft.is_dir():
                shutil.rmtree(draft, ignore_errors=True)
        yield


def keep(
    folder: Path,
    outcome: Outcome,
    critical: CriticalNeurons | None = None,
    mechanisms: Mechanisms | None = None,
    analysis: Analysis | None = None,
) -> None:
    """Write what became of a class to the folder of the classes, whole or not at all.

    With ``analysis`` also what was measured beside its critical neurons and mechanisms.
    """
    with storage.new_folder(folder / outcome.folder, KIND_OF_CLASS) as draft, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a clusterer of the user's is not saved
        if critical is not None and mechanisms is not None:
            critical.save(draft / "critical")
            mechanisms.save(draft / "mechanisms")
        if analysis is not None:
            (draft / MEASURED).mkdir()
            analysis.write_measured(draft / MEASURED, MEASURED)
        storage.write(draft, KIND_OF_CLASS, outcome.facts(), {})
