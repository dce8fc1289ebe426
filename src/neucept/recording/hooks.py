"""Watch named modules during a forward pass, and leave the model as it was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from neucept.errors import InputError, closest
from neucept.recording.units import POOLINGS, Pooling, pool

INPUT = "input"  # the name of layer 0: what the model is given


def modules_by_name(model: nn.Module) -> dict[str, nn.Module]:
    """Name every module of a model, one registered under several names by all of them."""
    return {name: module for name, module in model.named_modules(remove_duplicate=False) if name}


def split_call(layer: str) -> tuple[str, int | None]:
    """Split ``"relu#1"`` into the module's name and the call: ("relu", 1); without ``#`` the call is None."""
    name, mark, call = layer.rpartition("#")
    return (name, int(call)) if mark and call.isdigit() else (layer, None)


def poolings(layers: Sequence[str], neurons: Pooling | Mapping[str, Pooling]) -> dict[str, Pooling]:
    """Give each layer its way from activations to neurons, and check it."""
    if isinstance(neurons, Mapping):
        for layer in neurons:
            if layer not in layers:
                raise InputError(f"neurons= names '{layer}', which is not recorded.{closest(layer, layers)}")
        chosen = {layer: neurons.get(layer, "auto") for layer in layers}
    else:
        chosen = dict.fromkeys(layers, neurons)
    for layer, how in chosen.items():
        if not callable(how) and how not in POOLINGS:
            raise InputError(
                f"neurons={how!r} for layer '{layer}': expected one of {', '.join(map(repr, POOLINGS))}"
                " or a callable (batch, ...) -> (batch, k)."
            )
    return chosen


@contextmanager
def left_as_found(model: nn.Module, device: torch.device | str | None = None) -> Iterator[torch.device]:
    """Put a model into evaluation mode, on a device, without gradients; leaving restores all three.

    Yields
    ------
    torch.device
        Where inputs have to go.
    """
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    found = next(iter(model.parameters()), next(iter(model.buffers()), torch.empty(0))).device
    if device is not None and len(devices) > 1:
        raise InputError(
            f"The model lies on several devices ({', '.join(sorted(map(str, devices)))}); leave device=None, or move"
            " it to one device first."
        )
    modes = {module: module.training for module in model.modules()}
    target = torch.device(device) if device is not None else found
    try:
        model.eval()
        if target != found:
            model.to(target)
        with torch.no_grad():
            yield target
    finally:
        if target != found:
            model.to(found)
        for module, training in modes.items():
            module.training = training


class Watch:
    """Pool the outputs of named modules to neurons while the model runs; a context manager.

    Only the pooled neurons are kept, never the maps. Leaving the context removes every hook, by an error too.

    Parameters
    ----------
    model : Module
        Any network.
    layers : sequence of str
        Names of modules as in ``model.named_modules()``; ``"name#1"`` is the second call alone of a module that is
        called several times; ``"input"`` is what the model is given.
    neurons : str, callable, or mapping of layer to either
        See `neucept.recording.units.pool`.

    Raises
    ------
    InputError
        For an unknown layer (the closest name is given) or an unknown way to pool.
    """

    def __init__(self, model: nn.Module, layers: Sequence[str], neurons: Pooling | Mapping[str, Pooling] = "auto"):
        known = modules_by_name(model)
        if not layers:
            raise InputError("No layers were asked for. `neucept layers` lists a model's modules with their neurons.")
        if isinstance(layers, str):
            raise InputError(f"layers={layers!r}: expected a list of names, such as [{layers!r}].")
        if len(set(layers)) != len(layers):
            raise InputError(f"layers={list(layers)}: the same name stands there twice.")
        for layer in layers:
            name = split_call(layer)[0]
            if name not in known and not (name == INPUT and layer == INPUT):
                raise InputError(
                    f"The model has no module '{name}'.{closest(name, [*known, INPUT])}"
                    " `neucept.recording.list_layers(model, inputs)` lists all."
                )
        self._model = model
        self._known = known
        self._asked = list(layers)
        self._poolings = poolings(self._asked, neurons)
        self._calls: dict[str, list[Tensor]] = {}
        self._count: dict[str, int] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Watch:
        wanted: dict[str, list[str]] = {}
        for layer in self._asked:
            wanted.setdefault(split_call(layer)[0], []).append(layer)
        try:
            for name, layers in wanted.items():
                if name in self._known:
                    self._handles.append(self._known[name].register_forward_hook(self._hook(name, layers)))
                else:
                    self._handles.append(
                        self._model.register_forward_pre_hook(self._input_hook, with_kwargs=True, prepend=True)
                    )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _hook(self, name: str, layers: list[str]) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            call = self._count.get(name, 0)
            self._count[name] = call + 1
            for layer in layers:
                if split_call(layer)[1] in (None, call):
                    self._calls.setdefault(layer, []).append(pool(output, self._poolings[layer], module, layer))

        return hook

    def _input_hook(self, module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self._count[INPUT] = 1
        self._calls[INPUT] = [pool((inputs, keywords), self._poolings[INPUT], None, INPUT)]

    def take(self) -> dict[str, Tensor]:
        """Neurons of the forward pass that just ended, {layer: (batch, k)}, in the order asked; forget them here.

        A module called c > 1 times gives c layers, ``name#0`` to ``name#{c-1}``, in the order of the calls.

        Raises
        ------
        InputError
            When a layer was never called.
        """
        calls, count = self._calls, self._count
        self._calls, self._count = {}, {}
        taken: dict[str, Tensor] = {}
        for layer in self._asked:
            name, call = split_call(layer)
            got = calls.get(layer, [])
            if not got:
                times = count.get(name, 0)
                raise InputError(
                    f"Layer '{layer}' was never called in the forward pass"
                    + (f": '{name}' was called {times} times, '{name}#0' to '{name}#{times - 1}'." if times else ".")
                    + " Record a module that the forward pass uses."
                )
            if call is None and len(got) > 1:
                taken.update({f"{name}#{number}": neurons for number, neurons in enumerate(got)})
            else:
                taken[layer] = got[0]
        return taken
