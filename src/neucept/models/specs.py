"""What ``--model`` and ``--weights`` say, checked before anything is imported."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from neucept.errors import InputError, closest, missing

FORMS = "'package.module:factory', 'file.py:factory', 'torchvision:NAME' or 'timm:NAME'"
PUBLISHERS = ("torchvision", "timm")
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
_NAMED = 5  # files that a message names
_REGISTERED = re.compile(r'^@register_model(?:\(name="(\w+)"\))?[\s\S]*?^def (\w+)', re.M)


def split_spec(spec: str) -> tuple[str, str]:
    """Split ``origin:name``.

    Examples
    --------
    >>> split_spec("torchvision:resnet18")
    ('torchvision', 'resnet18')
    """
    origin, separator, name = spec.rpartition(":")
    if not (separator and origin and name):
        raise InputError(f"{spec!r} does not say what to load. Expected {FORMS}.")
    return origin, name


def check_spec(spec: str) -> None:
    """Refuse a spec whose file, module or published name does not exist; imports none of them.

    Raises
    ------
    InputError
        There is no such file or module, torchvision or timm has no such network, or is not installed.

    Examples
    --------
    >>> check_spec("neucept.models:LeNet")
    >>> check_spec("torchvision:resnet19")
    Traceback (most recent call last):
    ...
    neucept.errors.InputError: torchvision has no model 'resnet19' (it has ...). Did you mean 'resnet18'?
    """
    origin, name = split_spec(spec)
    if origin in PUBLISHERS:
        _check_published(origin, name)
    else:
        check_code(spec)


def check_code(spec: str) -> None:
    """Refuse the spec of a function whose file or package does not exist."""
    origin, _ = split_spec(spec)
    if origin.endswith(".py"):
        check_file(Path(origin))
    else:
        top = origin.partition(".")[0]
        with first_on_path(Path.cwd()):
            found = top in sys.modules or importlib.util.find_spec(top) is not None
        if not found:
            raise no_module(top, spec)


def check_file(path: Path) -> None:
    """Raise an InputError unless a file of Python code is there."""
    if not path.is_file():
        near = closest(path.name, [other.name for other in path.parent.glob("*.py")])
        raise InputError(f"There is no file {path}.{near}")


def check_weights_file(path: Path) -> None:
    """Raise an InputError unless a weights file is there."""
    if path.is_dir():
        files = sorted(file.name for file in path.iterdir() if file.suffix in SUFFIXES)
        more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
        inside = (
            f"; give one of the files in it: {', '.join(files[:_NAMED])}{more}" if files else " without a weights file"
        )
        raise InputError(f"{path} is a folder{inside}.")
    if not path.is_file():
        near = ""
        if path.parent.is_dir():
            near = closest(path.name, [file.name for file in path.parent.iterdir() if file.suffix in SUFFIXES])
        raise InputError(f"There is no weights file {path}.{near} Expected a .safetensors or .pt file.")


def check_weights(spec: str, weights: str) -> None:
    """Refuse a weights file that does not exist, and published weights for a network of one's own."""
    if weights != "pretrained":
        check_weights_file(Path(weights))
    elif split_spec(spec)[0] not in PUBLISHERS:
        raise InputError(f"Only torchvision and timm publish weights; {spec!r} needs a file: --weights FILE.")


def no_module(module: str, spec: str) -> InputError:
    """Say that there is no module for a spec, and what was probably meant."""
    origin, name = split_spec(spec)
    hint = closest(origin, PUBLISHERS) or f" For a file, write {origin}.py:{name}."
    return InputError(f"There is no module {module!r} for {spec!r}. Expected {FORMS}.{hint}")


def no_model(origin: str, name: str, names: list[str]) -> InputError:
    """Say that torchvision or timm has no network of a name, and which was probably meant."""
    return InputError(f"{origin} has no model {name!r} (it has {len(names)}).{closest(name, names)}")


@contextmanager
def first_on_path(folder: Path) -> Iterator[None]:
    """Put a folder first on the import path, so that the modules beside the user's file are found."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _check_published(origin: str, name: str) -> None:
    """Look for a name in the sources of torchvision or timm, which take seconds to import.

    A name that stands nowhere in them as a word is the name of no network; any other is left to the package itself.
    """
    found = importlib.util.find_spec(origin)
    if found is None or found.origin is None:
        raise missing(origin, "vision")
    architecture = name.partition(".")[0]  # what follows names the weights
    names: list[str] = []
    for path in sorted((Path(found.origin).parent / "models").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if re.search(rf"\b{re.escape(architecture)}\b", source):
            return
        names += [given or function for given, function in _REGISTERED.findall(source)]
    raise no_model(origin, name, names)
