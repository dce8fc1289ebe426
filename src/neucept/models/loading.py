"""A network by its name: the user's own, torchvision's or timm's."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from neucept.errors import InputError, closest
from neucept.models.published import build
from neucept.models.specs import PUBLISHERS, check_file, check_weights, first_on_path, no_module, split_spec
from neucept.models.weights import fit_weights, read_weights

_WIDTH_NAMES = ("n_classes", "num_classes")


def load_model(spec: str, weights: str | Path | None = None, n_classes: int | None = None) -> nn.Module:
    """Build a network and give it its weights.

    Parameters
    ----------
    spec : str
        ``package.module:factory`` or ``file.py:factory``, where the factory is a class, a function without
        required arguments, or a network itself; ``torchvision:NAME`` or ``timm:NAME``.
    weights : str or Path, optional
        A ``.safetensors`` or ``.pt`` file, also the checkpoint of a training that holds a state dict, or
        ``"pretrained"`` for the weights that torchvision and timm publish (downloaded once). None keeps what the
        factory made.
    n_classes : int, optional
        Number of outputs, passed to the factory as ``n_classes`` or ``num_classes``.

    Returns
    -------
    Module
        In evaluation mode, on the CPU (or where the factory put it).

    Raises
    ------
    InputError
        The network cannot be found or built, or the weights do not fit.

    Examples
    --------
    >>> type(load_model("neucept.models:LeNet", n_classes=2)).__name__
    'LeNet'
    """
    origin, name = split_spec(spec)
    pretrained = weights == "pretrained"
    if weights is not None:
        check_weights(spec, str(weights))
    if origin in PUBLISHERS:
        model = _built(spec, lambda: build(origin, name, pretrained, n_classes))
    else:
        model = _from_factory(spec, n_classes)
    if weights is not None and not pretrained:
        fit_weights(model, read_weights(weights), f"The weights in {weights}")
    return model.eval()


def load_function(spec: str) -> Callable[..., Any]:
    """Import a function from the user's code, such as a transform.

    Parameters
    ----------
    spec : str
        ``file.py:function`` or ``package.module:function``.

    Raises
    ------
    InputError
        The file, the module or the function is not there.

    Examples
    --------
    >>> load_function("math:sqrt")(4.0)
    2.0
    """
    value = _attribute(spec)
    if not callable(value):
        raise InputError(f"{spec!r} is a {type(value).__name__}, expected a function.")
    function: Callable[..., Any] = value
    return function


def _from_factory(spec: str, n_classes: int | None) -> nn.Module:
    factory = _attribute(spec)
    if isinstance(factory, nn.Module):
        if n_classes is not None:
            raise InputError(f"{spec!r} is a finished network, so its number of classes cannot be chosen.")
        return factory
    if not callable(factory):
        raise InputError(
            f"{spec!r} is a {type(factory).__name__}, expected a class, a function or an instance of torch.nn.Module."
        )
    origin = split_spec(spec)[0]
    beside = Path(origin).resolve().parent if origin.endswith(".py") else Path.cwd()
    with first_on_path(beside):
        return _built(spec, lambda: factory(**_width(spec, factory, n_classes)))


def _width(spec: str, factory: Callable[..., Any], n_classes: int | None) -> dict[str, int]:
    """Arguments for a factory: the number of classes, where one is given."""
    try:
        parameters = dict(inspect.signature(factory).parameters)
    except (TypeError, ValueError):  # written in C: nothing is known of its arguments
        parameters = {}
    taken = next((name for name in _WIDTH_NAMES if name in parameters), None)
    if n_classes is not None and taken is None:
        raise InputError(
            f"{spec!r} takes neither n_classes nor num_classes, so {n_classes} classes cannot be asked for."
        )
    required = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and not (name == taken and n_classes is not None)
    ]
    if required == [taken]:
        raise InputError(f"{spec!r} needs the number of classes: --n-classes N.")
    if required:
        raise InputError(
            f"{spec!r} needs the arguments {', '.join(required)}. "
            "Give a function without required arguments that builds the network."
        )
    return {} if n_classes is None or taken is None else {taken: n_classes}


def _built(spec: str, build: Callable[[], Any]) -> nn.Module:
    try:
        model = build()
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # the factory is the user's code, and can raise anything
        raise InputError(f"Building {spec!r} failed: {_what(error)}") from error
    if not isinstance(model, nn.Module):
        raise InputError(f"{spec!r} gave a {type(model).__name__}, expected a torch.nn.Module.")
    return model


def _attribute(spec: str) -> object:
    """Import what ``file.py:name`` or ``package.module:name`` names."""
    origin, name = split_spec(spec)
    module = _import_file(Path(origin)) if origin.endswith(".py") else _import_module(origin, spec)
    try:
        return getattr(module, name)
    except AttributeError:
        options = [key for key, value in vars(module).items() if callable(value) or isinstance(value, nn.Module)]
        own = [key for key in options if getattr(getattr(module, key), "__module__", None) == module.__name__]
        listed = f" It defines {', '.join(own[:10])}." if own else ""
        raise InputError(f"{origin} has no {name!r}.{closest(name, options) or listed}") from None


def _import_module(name: str, spec: str) -> ModuleType:
    with first_on_path(Path.cwd()):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise InputError(f"Importing {name!r} failed: {_what(error)}") from error
            raise no_module(error.name, spec) from error
        except (Exception, SystemExit) as error:
            raise InputError(f"Importing {name!r} failed: {_what(error)}") from error


def _import_file(path: Path) -> ModuleType:
    check_file(path)
    found = importlib.util.spec_from_file_location(f"neucept_user_{path.stem}", path.resolve())
    assert found is not None and found.loader is not None  # a .py file always has a loader
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    with first_on_path(path.resolve().parent):
        try:
            found.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[found.name]
            raise InputError(f"Importing {path} failed: {_what(error)}") from error
    return module


def _what(error: BaseException) -> str:
    """Say what an error of the user's code was, and where in it."""
    if isinstance(error, SyntaxError):  # which says where itself
        return f"{type(error).__name__}: {error}"
    installed = {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith(("<", *installed)) and f.filename != __file__]
    where = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{where}"
