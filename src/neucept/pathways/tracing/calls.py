"""Follow every call of an activation function in a forward pass, and change what it returns.

A *site* is one CALL: of a module, of a module that is called several times, in place, or of a plain function. All calls
pass through PyTorch's own functions, where `torch.overrides.TorchFunctionMode` sees them. So ``nn.ReLU``, ``F.relu_``,
``x.relu_()`` and ``torch.relu`` are the same, and one call is one site however deeply it is wrapped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from neucept.batches import tensors_of
from neucept.errors import InputError
from neucept.pathways.tracing.activations import ACTIVATIONS, function_name, in_place, out_of_place

Visit = Callable[[str, Tensor], Tensor]


@dataclass(frozen=True)
class Call:
    """One call of an activation function: raw name, function, path and class of the calling module, output shape."""

    raw: str
    function: str
    path: str
    module: str
    shape: torch.Size

    def __str__(self) -> str:
        return f"{self.function} in '{self.path}' returns {tuple(self.shape)}"


class Calls(TorchFunctionMode):
    """What happens at each activation call of a model; used with `follow_calls`.

    Parameters
    ----------
    visit : callable (str, Tensor) -> Tensor
        Takes the raw name of a site and its output, (batch, ...), and returns what the network continues with. The
        output has its own memory, in place or not, unless ``watches``; it may be returned unchanged.
    n_inputs : int
        Inputs in the batch.
    activations : set of str
        Names of the functions.
    watches : bool
        States that ``visit`` mostly returns what it is given. Calls in place then stay in place where possible, and
        the output shares memory with what the network continues with.
    known : set of str, optional
        Raw names of the sites, if already known. Without it, every call is visited except those that cannot be sites:
        their output does not have the inputs on its first axis, or depends on the model's own tensors alone.

    Attributes
    ----------
    visited, skipped : list of Call
        Calls that were visited in the last forward pass and, without ``known``, calls that cannot be sites.
    """

    def __init__(
        self,
        visit: Visit,
        n_inputs: int,
        activations: Iterable[str] = ACTIVATIONS,
        watches: bool = False,
        known: Collection[str] | None = None,
    ) -> None:
        super().__init__()
        self.visit = visit
        self.watches = watches
        self.n_inputs = n_inputs
        self.activations = frozenset(activations)
        self.known = known
        self.visited: list[Call] = []
        self.skipped: list[Call] = []
        self._inside: list[tuple[str, nn.Module]] = []
        self._counts: Counter[str] = Counter()
        # Tensors that do not depend on the inputs, and how often each had been written to when it was noted: those
        # that the model holds, by id, and those computed from them.
        self._held: dict[int, tuple[Tensor, int]] = {}
        self._fixed: MutableMapping[Tensor, int] = WeakTensorKeyDictionary()
        self._now_fixed = False

    def begin(self, model: nn.Module) -> None:
        """Note the tensors that a model holds; they do not depend on the inputs."""
        if self.known is None:
            for module in model.modules():
                held = (*module._parameters.values(), *module._buffers.values(), *vars(module).values())
                self._held |= {id(value): (value, count_writes(value)) for value in held if isinstance(value, Tensor)}

    def enter(self, name: str, module: nn.Module, given: object) -> None:
        """Note that a module's forward begins; that of the whole model begins a new count of calls."""
        if not name:
            self._inside.clear()
            self._counts.clear()
            self.visited, self.skipped = [], []
        if not name or self._inside:
            self._inside.append((name, module))

    def leave(self, module: nn.Module, given: object, returned: object) -> None:
        """Note that a module's forward ends."""
        if self._inside:
            self._inside.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Send activation calls inside the model to `activation`, all others to `other`."""
        kwargs = kwargs or {}
        self._now_fixed = self.known is None and bool(self._inside) and self._only_fixed(args, kwargs)
        fixed = self._now_fixed
        name = function_name(func)
        if self._inside and name in self.activations:
            result = self.activation(name, func, args, kwargs)
        else:
            result = self.other(func, args, kwargs)
        if fixed:
            for tensor in tensors_of(result):
                self._fixed[tensor] = count_writes(tensor)
        return result

    def _only_fixed(self, args: Any, kwargs: Any) -> bool:
        """Return whether a function is given tensors, none of which depends on the inputs."""
        given = False
        for tensor in tensors_of((args, kwargs)):
            given = True
            writes = self._held[id(tensor)][1] if id(tensor) in self._held else self._fixed.get(tensor)
            if writes is None or writes != count_writes(tensor):
                return False
        return given

    def other(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Call a function that is no activation."""
        return func(*args, **kwargs)

    def activation(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        """Call an activation function; a call in place writes the visited output into its input, as expected."""
        if not in_place(func, kwargs):
            return self.visit_call(name, func(*args, **kwargs))
        into = args[0] if args else kwargs["input"]
        # What is written into a view belongs to the graph of the whole tensor, not of the view.
        stays = self.watches and not into._is_view()
        visited = self.visit_call(name, func(*args, **kwargs) if stays else out_of_place(func, args, kwargs))
        return into if visited is into else into.copy_(visited)

    def visit_call(self, name: str, output: Tensor) -> Tensor:
        """Name the call that returned an output, and visit it if it may be a site."""
        path, module = self._inside[-1]
        # A module that only activates gives its name to the site; a function inside another module is named by both.
        alone = not any(True for _ in module.children()) and (
            type(module).__module__ == nn.ReLU.__module__ or not any(True for _ in module.parameters())
        )
        base = path if alone and path else f"{path}.{name}".lstrip(".")
        call = Call(f"{base}#{self._counts[base]}", name, path, type(module).__name__, output.shape)
        self._counts[base] += 1
        if not output.is_floating_point():
            return output
        if self.known is None and (self._now_fixed or output.shape[:1] != (self.n_inputs,)):
            self.skipped.append(call)
            return output
        if self.known is not None and call.raw not in self.known:
            return output
        self.visited.append(call)
        return self.visit(call.raw, output)


def count_writes(tensor: Tensor) -> int:
    """Count the writes into a tensor; inference mode does not count them."""
    return 0 if tensor.is_inference() else tensor._version


@contextmanager
def follow_calls(model: nn.Module, calls: Calls) -> Iterator[None]:
    """Follow the activation calls of every forward pass of a model in this context; leaving removes every hook.

    Raises
    ------
    InputError
        When the model computes parts a second time in the backward pass to save memory (checkpointing), where calls
        cannot be followed, or when hooks on saved tensors are active around this call.
    """
    again = "a forward pass whose parts are computed again (checkpointing)"
    try:
        with torch.autograd.graph.disable_saved_tensors_hooks(again):
            pass
    except RuntimeError:  # they cannot be disabled while some are active
        raise InputError(
            "Hooks on saved tensors are active around this call (such as torch.autograd.graph.save_on_cpu): call it"
            " outside of them."
        ) from None
    handles = []
    calls.begin(model)
    try:
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(partial(calls.enter, name), prepend=True))
            handles.append(module.register_forward_hook(calls.leave, always_call=True))
        with torch.autograd.graph.disable_saved_tensors_hooks(again), calls:
            yield
    except (RuntimeError, InputError) as error:
        if again not in str(error):
            raise
        raise InputError(
            f"The model runs {again}: its activation calls cannot be followed. Turn checkpointing off, for example with"
            " model.set_grad_checkpointing(False)."
        ) from None
    finally:
        for handle in handles:
            handle.remove()
