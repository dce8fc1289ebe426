"""Meet every call of an activation function in a forward pass, and change what it returns.

A *site* is one CALL: of a module, of a module that is called several times, in place, or of a plain function. Calls
are met where they all pass, at PyTorch's own functions (`torch.overrides.TorchFunctionMode`), so that ``nn.ReLU``,
``F.relu_``, ``x.relu_()`` and ``torch.relu`` are the same thing, and one call is one site however deep it is wrapped.

Everything else in this package is built on three things of this file: `Calls` (what happens at a call), `met` (the
context in which a model's calls are met) and the two forms of a site's name. *Raw* names number every call,
``layer1.0.relu#1``; *readable* ones drop the number where a module or function is called once, see `readable`.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from neucept.errors import InputError
from neucept.pathways.inputs import count_inputs, placed
from neucept.recording.batches import forward
from neucept.recording.hooks import left_as_found

ACTIVATIONS = frozenset(
    {"relu", "relu6", "hardtanh", "tanh", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu"}
    | {"gelu", "silu", "mish", "hardswish", "softplus"}
)
"""Functions whose calls are sites; sigmoid and softmax are mostly gates and are left out unless asked for."""

Visit = Callable[[str, Tensor], Tensor]

# These two keep their result for the backward pass, not their input: the input may be written over afterwards.
_KEEP_RESULT: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "tanh": torch.tanh}


class Calls(TorchFunctionMode):
    """What happens at each activation call of a model; used with `met`.

    Parameters
    ----------
    visit : callable (str, Tensor) -> Tensor
        Given the raw name of a site and its output, (batch, ...), gives what the network goes on with. The output is
        a tensor of its own, in place or not, unless ``watches``; it may be returned as it is.
    n_inputs : int or None
        Inputs in the batch. A call whose output does not have them on its first axis is no site: it is left alone,
        with a warning. None visits every call.
    activations : set of str
        Names of the functions.
    watches : bool
        Promise that ``visit`` mostly returns what it is given: calls in place then stay in place where they can, and
        its output shares memory with what the network goes on with.

    Attributes
    ----------
    described : list of (str, str, str)
        Raw name, function and class of the module of each site met in the last forward pass, in forward order.
    """

    def __init__(
        self,
        visit: Visit,
        n_inputs: int | None,
        activations: Iterable[str] = ACTIVATIONS,
        watches: bool = False,
    ) -> None:
        super().__init__()
        self.visit = visit
        self.watches = watches
        self.n_inputs = n_inputs
        self.activations = frozenset(activations)
        self.described: list[tuple[str, str, str]] = []
        self._inside: list[tuple[str, nn.Module]] = []
        self._counts: Counter[str] = Counter()

    def enter(self, name: str, module: nn.Module, given: object) -> None:
        """Note that a module's forward begins; that of the whole model begins a new count of calls."""
        if not name:
            self._inside.clear()
            self._counts.clear()
            self.described = []
        if not name or self._inside:
            self._inside.append((name, module))

    def leave(self, module: nn.Module, given: object, returned: object) -> None:
        """Note that a module's forward ends."""
        if self._inside:
            self._inside.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Send activation calls inside the model to `activation`, all others to `other`."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").split(".")[0].rstrip("_")
        if self._inside and name in self.activations:
            return self.activation(name, func, args, kwargs)
        return self.other(func, args, kwargs)

    def other(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Call a function that is no activation."""
        return func(*args, **kwargs)

    def activation(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        """Call an activation function; one in place writes what was visited into its input, as its caller expects."""
        if not in_place(func, args, kwargs):
            return self.visited(name, func(*args, **kwargs))
        given = args[0] if args else kwargs["input"]
        # What is written into a view has its place in the graph of the whole, not of the view.
        stays = self.watches and not given._is_view()
        visited = self.visited(name, func(*args, **kwargs) if stays else out_of_place(func, args, kwargs))
        return given if visited is given else given.copy_(visited)

    def visited(self, name: str, output: Tensor) -> Tensor:
        """Name the call and visit it."""
        path, module = self._inside[-1]
        # A module that does nothing but activate is named by itself, a function inside another module by both.
        alone = not any(True for _ in module.children()) and (
            type(module).__module__ == nn.ReLU.__module__ or not any(True for _ in module.parameters())
        )
        base = path if alone and path else f"{path}.{name}".lstrip(".")
        number = self._counts[base]
        self._counts[base] += 1
        if not output.is_floating_point():
            return output
        if self.n_inputs is not None and (output.ndim == 0 or len(output) != self.n_inputs):
            warnings.warn(
                f"The call of {name} in '{path}' gives {tuple(output.shape)}, which does not have the"
                f" {self.n_inputs} inputs on its first axis: it is no site and stays as it is.",
                stacklevel=2,
            )
            return output
        self.described.append((f"{base}#{number}", name, type(module).__name__))
        return self.visit(f"{base}#{number}", output)


def in_place(func: Any, args: Any, kwargs: Any) -> bool:
    """Say whether this call of an activation function writes into its input."""
    return (
        bool(kwargs.get("inplace")) or any(arg is True for arg in args) or getattr(func, "__name__", "").endswith("_")
    )


def out_of_place(func: Any, args: Any, kwargs: Any) -> Tensor:
    """Give what an activation function returns, with memory of its own and the input as it was."""
    if not in_place(func, args, kwargs):
        output: Tensor = func(*args, **kwargs)
        return output
    given = args[0] if args else kwargs["input"]
    plain = _KEEP_RESULT.get(getattr(func, "__name__", "").rstrip("_"))
    if plain is not None:
        return plain(given)
    copied = (given.clone(), *args[1:]) if args else ()
    result: Tensor = func(*copied, **(kwargs if args else {**kwargs, "input": given.clone()}))
    return result


@contextmanager
def met(model: nn.Module, calls: Calls) -> Iterator[None]:
    """Meet the activation calls of every forward pass of a model in this context; leaving removes every hook.

    Raises
    ------
    InputError
        When the model saves memory by computing parts a second time in the backward pass, where no call could be met.
    """
    handles = []
    again = "a forward pass whose parts are computed again (checkpointing)"
    try:
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(partial(calls.enter, name), prepend=True))
            handles.append(module.register_forward_hook(calls.leave, always_call=True))
        with torch.autograd.graph.disable_saved_tensors_hooks(again), calls:
            yield
    except RuntimeError as error:
        if again not in str(error):
            raise
        raise InputError(
            f"The model runs {again}: its activation calls cannot be followed. Turn checkpointing off, such as by"
            " model.set_grad_checkpointing(False)."
        ) from None
    finally:
        for handle in handles:
            handle.remove()


def readable(raw: Iterable[str]) -> dict[str, str]:
    """Map raw names to readable ones: without the number where there is one call only.

    Examples
    --------
    >>> readable(["features.1#0", "block.relu#0", "block.relu#1"])
    {'features.1#0': 'features.1', 'block.relu#0': 'block.relu#0', 'block.relu#1': 'block.relu#1'}
    """
    raw = list(raw)
    times = Counter(name.rpartition("#")[0] for name in raw)
    # Where the first call is no site, a later one keeps its number: the name has to lead back to it.
    return {name: base if times[base := name.rpartition("#")[0]] == 1 and name == f"{base}#0" else name for name in raw}


def raw_name(site: str) -> str:
    """Give the raw name of a readable one.

    Examples
    --------
    >>> raw_name("features.1"), raw_name("block.relu#1")
    ('features.1#0', 'block.relu#1')
    """
    base, _, number = site.rpartition("#")
    return site if base and number.isdigit() else f"{site}#0"


@contextmanager
def at_work(model: nn.Module, gradients: bool = True) -> Iterator[torch.device]:
    """Put a model into evaluation mode, with gradients on or off whatever they are outside; leaving restores all.

    Yields
    ------
    torch.device
        Where inputs have to go.

    Raises
    ------
    InputError
        When the model lies on several devices.
    """
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    if len(devices) > 1:
        raise InputError(
            f"The model lies on several devices ({', '.join(sorted(map(str, devices)))}); move it to one, such as by"
            " model.to('cuda')."
        )
    with torch.inference_mode(False), left_as_found(model) as device, torch.set_grad_enabled(gradients):
        yield device


def no_sites(model: nn.Module, activations: Iterable[str]) -> InputError:
    """Say that a model has no activation sites."""
    return InputError(
        f"{type(model).__name__} calls no activation function that can be met: expected one of"
        f" {', '.join(sorted(activations))}. Name others by activations=; compiled or scripted models and"
        " activations of a C extension cannot be followed."
    )


def sites(model: nn.Module, inputs: Any, activations: Iterable[str] = ACTIVATIONS) -> pd.DataFrame:
    """List a model's sites: every call of an activation function, in forward order.

    Parameters
    ----------
    model : Module
        Left as it was found.
    inputs : tensor, tuple or mapping of tensors
        A batch; one input is enough.
    activations : set of str
        Names of the functions whose calls are sites, such as ``ACTIVATIONS | {"sigmoid"}``.

    Returns
    -------
    DataFrame
        A row a site: ``site`` (the name: the module that makes the call, the function where the module does more than
        that, and ``#0``, ``#1``... where it is called several times), ``function``, ``module`` (its class), ``shape``
        of one input's neurons, and how many ``neurons`` they are.

    Raises
    ------
    InputError
        When there are none.

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    >>> sites(network, torch.zeros(1, 3))
      site function module shape  neurons
    0    1     relu   ReLU  (4,)        4
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def visit(raw: str, output: Tensor) -> Tensor:
        shapes[raw] = tuple(output.shape[1:])
        return output

    calls = Calls(visit, count_inputs(inputs), activations)
    with at_work(model, gradients=False) as device, met(model, calls):
        forward(model, placed(inputs, device))
    if not shapes:
        raise no_sites(model, calls.activations)
    names = readable(shapes)
    rows = [(names[raw], *found, shapes[raw], torch.Size(shapes[raw]).numel()) for raw, *found in calls.described]
    return pd.DataFrame(rows, columns=["site", "function", "module", "shape", "neurons"])
