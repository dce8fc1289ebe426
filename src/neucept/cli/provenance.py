"""What a command was asked, kept with its results: options, command line, hashes of files, versions, date."""

from __future__ import annotations

import hashlib
import platform
import shlex
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import typer

_PACKAGES = ("neucept", "torch", "numpy", "scikit-learn")


def provenance(context: typer.Context) -> dict[str, Any]:
    """Describe the command that runs.

    Returns
    -------
    dict
        ``command`` (as it was typed), ``folder`` (where), ``date``, ``options`` (all that were given; paths are
        absolute), ``model_sha256`` and ``weights_sha256`` (of files; empty for others), and ``versions``.
    """
    given = {name: value for name, value in context.params.items() if _typed(context, name)}
    options = {name: _absolute(value) for name, value in given.items()}
    spec = str(options.get("model", ""))
    if is_code_file(spec):
        file, _, function = spec.rpartition(":")
        options["model"] = f"{Path(file).resolve()}:{function}"
    return {
        "command": shlex.join(["neucept", str(context.info_name), *_arguments(context, given)]),
        "folder": str(Path.cwd()),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "options": options,
        "model_sha256": hash_of_code(str(options.get("model", ""))),
        "weights_sha256": sha256(Path(str(options["weights"]))) if options.get("weights") else "",
        "versions": {**{name: _version(name) for name in _PACKAGES}, "python": platform.python_version()},
    }


def is_code_file(spec: str) -> bool:
    """Tell whether a specification names a function in a file: ``file.py:function``."""
    return spec.rpartition(":")[0].endswith(".py")


def hash_of_code(spec: str) -> str:
    """Hash the file of ``file.py:function``; empty for what names no file."""
    return sha256(Path(spec.rpartition(":")[0])) if is_code_file(spec) else ""


def sha256(path: Path) -> str:
    """Hash a file; empty where there is none, as for weights that a library publishes."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _absolute(value: Any) -> Any:
    """Write a value as JSON can hold it; a path, or the name of a file that is there, in full."""
    if isinstance(value, list | tuple):
        return [_absolute(one) for one in value]
    if isinstance(value, Path) or (isinstance(value, str) and Path(value).is_file()):
        return str(Path(value).resolve())
    return value


def _arguments(context: typer.Context, given: dict[str, Any]) -> list[str]:
    """Write the options that were given as they are typed."""
    words = []
    for parameter in context.command.params:
        if parameter.name is None or parameter.name not in given:
            continue
        value, flag = given[parameter.name], parameter.opts[0]
        if parameter.param_type_name == "argument":
            words += [str(value)] if not isinstance(value, list | tuple) else list(map(str, value))
        elif value is True:
            words.append(flag)
        elif value is not False:
            words += [
                part for one in (value if isinstance(value, list | tuple) else [value]) for part in (flag, str(one))
            ]
    return words


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
