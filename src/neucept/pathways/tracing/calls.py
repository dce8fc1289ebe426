"""Meet every call of an activation function in a forward pass, and change what it returns.

A *site* is one CALL: of a module, of a module that is called several times, in place, or of a plain function. Calls
are met where they all pass, at PyTorch's own functions (`torch.overrides.TorchFunctionMode`), so that ``nn.ReLU``,
``F.relu_``, ``x.relu_()`` and ``torch.relu`` are the same thing, and one call is one site however deep it is wrapped.
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

from neucept.errors import InputError
from neucept.pathways.inputs import tensors_in
from neucept.pathways.tracing.activations import ACTIVATIONS, in_place, name_of, out_of_place

Visit = Callable[[str, Tensor], Tensor]


@dataclass(frozen=True)
class Call:
    """One call of an activation function: its raw name, the function, the module's path and class, what it gave."""

    raw: str
    function: str
    path: str
    module: str
    shape: torch.Size

    def __str__(self) -> str:
        return f"{self.function} in '{self.path}' gives {tuple(self.shape)}"


class Calls(TorchFunctionMode):
    """What happens at each activation call of a model; used with `met`.

    Parameters
    ----------
    visit : callable (str, Tensor) -> Tensor
        Given the raw name of a site and its output, (batch, ...), gives what the network goes on with. The output is
        a tensor of its own, in place or not, unless ``watches``; it may be returned as it is.
    n_inputs : int
        Inputs in the batch.
    activations : set of str
        Names of the functions.
    watches : bool
        Promise that ``visit`` mostly returns what it is given: calls in place then stay in place where they can, and
        its output shares memory with what the network goes on with.
    known : set of str, optional
        Raw names of the sites, where they are known already. Without, every call is visited but those that cannot be
        sites: what they give does not have the inputs on its first axis, or comes from the model's tensors alone.

    Attributes
    ----------
    visited, skipped : list of Call
        Those that were visited in the last forward pass and, without ``known``, those that cannot be sites.
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
        # Tensors that no input has a part in, and the number of writes into each until it was noted: those that the
        # model holds, by id, and those computed of them.
        self._held: dict[int, tuple[Tensor, int]] = {}
        self._fixed: MutableMapping[Tensor, int] = WeakTensorKeyDictionary()
        self._now_fixed = False

    def begin(self, model: nn.Module) -> None:
        """Note the tensors that a model holds, which no input has a part in."""
        if self.known is None:
            for module in model.modules():
                held = (*module._parameters.values(), *module._buffers.values(), *vars(module).values())
                self._held |= {id(value): (value, _writes(value)) for value in held if isinstance(value, Tensor)}

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
        name = name_of(func)
        if self._inside and name in self.activations:
            result = self.activation(name, func, args, kwargs)
        else:
            result = self.other(func, args, kwargs)
        if fixed:
            for tensor in tensors_in(result):
                self._fixed[tensor] = _writes(tensor)
        return result

    def _only_fixed(self, args: Any, kwargs: Any) -> bool:
        """Say whether a function is given tensors, and none in which an input has a part."""
        given = False
        for tensor in tensors_in((args, kwargs)):
            given = True
            writes = self._held[id(tensor)][1] if id(tensor) in self._held else self._fixed.get(tensor)
            if writes is None or writes != _writes(tensor):
                return False
        return given

    def other(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Call a function that is no activation."""
        return func(*args, **kwargs)

    def activation(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        """Call an activation function; one in place writes what was visited into its input, as its caller expects."""
        if not in_place(func, kwargs):
            return self.given(name, func(*args, **kwargs))
        into = args[0] if args else kwargs["input"]
        # What is written into a view has its place in the graph of the whole, not of the view.
        stays = self.watches and not into._is_view()
        visited = self.given(name, func(*args, **kwargs) if stays else out_of_place(func, args, kwargs))
        return into if visited is into else into.copy_(visited)

    def given(self, name: str, output: Tensor) -> Tensor:
        """Name the call that gave an output, and visit it where it may be a site."""
        path, module = self._inside[-1]
        # A module that does nothing but activate is named by itself, a function inside another module by both.
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


def _writes(tensor: Tensor) -> int:
    """Count the writes into a tensor; those of inference mode are not counted."""
    return 0 if tensor.is_inference() else tensor._version


@contextmanager
def met(model: nn.Module, calls: Calls) -> Iterator[None]:
    """Meet the activation calls of every forward pass of a model in this context; leaving removes every hook.

    Raises
    ------
    InputError
        When the model saves memory by computing parts a second time in the backward pass, where no call could be met,
        or something around this keeps what the backward pass needs elsewhere.
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
