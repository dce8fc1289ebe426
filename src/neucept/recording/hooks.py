"""The one registration of hooks, and the model left exactly as it was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from neucept.errors import InputError, closest

INPUT = "input"  # the name of layer 0: what the model is given
Visit = Callable[[str, int, nn.Module | None, Any], Any]


def modules_by_name(model: nn.Module) -> dict[str, nn.Module]:
    """Name every module of a model, one registered under several names by all of them; parametrizations left out."""
    modules = model.named_modules(remove_duplicate=False)
    return {
        name: module
        for name, module in modules
        if name
        and "parametrizations" not in name.split(".")
        and not isinstance(module, parametrize.ParametrizationList)
    }


def split_call(layer: str) -> tuple[str, int | None]:
    """Split ``"relu#1"`` into the module's name and the call: ("relu", 1); without ``#`` the call is None."""
    name, mark, call = layer.rpartition("#")
    return (name, int(call)) if mark and call.isdigit() else (layer, None)


def check_model(model: Any) -> nn.Module:
    """Return the module to observe: that inside ``torch.compile``, or the model itself.

    Raises
    ------
    InputError
        For what is no module, scripted and traced modules, whose layers cannot be observed, and parameters without
        values.
    """
    if not isinstance(model, nn.Module):
        given = model.__name__ if isinstance(model, type) else type(model).__name__
        raise InputError(f"model is {given}; expected a torch.nn.Module, made and with its weights.")
    while isinstance(getattr(model, "_orig_mod", None), nn.Module):
        model = model._orig_mod
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            where = f"Its module '{name}'" if name else "The model"
            raise InputError(
                f"{where} is a scripted or traced module (TorchScript), whose layers cannot be observed. Give the"
                " Python module that it was made from."
            )
    for name, parameter in chain(model.named_parameters(), model.named_buffers()):
        if nn.parameter.is_lazy(parameter):
            raise InputError(f"'{name}' of the model is not initialised: run the model once on a batch first.")
    if any(tensor.is_meta for tensor in chain(model.parameters(), model.buffers())):
        raise InputError("The model is on the meta device: its weights have no values. Load them first.")
    assert isinstance(model, nn.Module)
    return model


def check_layers(model: nn.Module, layers: Sequence[str]) -> list[str]:
    """Return names of layers, or raise an InputError for unknown ones, doubles, and none at all."""
    if isinstance(layers, str) or not isinstance(layers, Sequence):
        example = layers if isinstance(layers, str) else "classifier.1"
        raise InputError(f"layers={layers!r}: expected a list of names, such as [{example!r}].")
    if not len(layers):
        raise InputError("No layers were asked for. `neucept layers` lists a model's modules with their neurons.")
    if len(set(layers)) != len(layers):
        raise InputError(f"layers={list(layers)}: the same name is listed twice.")
    known = modules_by_name(model)
    for layer in layers:
        name = split_call(layer)[0] if isinstance(layer, str) else str(layer)
        if name not in known and layer != INPUT:
            raise InputError(
                f"The model has no module '{name}'.{closest(name, [*known, INPUT])}"
                " `neucept layers` lists all (in Python, neucept.recording.list_layers(model, inputs))."
            )
    return list(layers)


@contextmanager
def calls_of(model: nn.Module, layers: Sequence[str], visit: Visit) -> Iterator[dict[str, int]]:
    """Visit every call of some modules while the model runs; leaving removes every hook, after an error too.

    Parameters
    ----------
    model : Module
        Any network.
    layers : sequence of str
        Names of modules; ``"name#1"`` is the second call alone; ``"input"`` is what the model is given.
    visit : callable
        Called with the layer, the number of the call, the module (None for the input) and what it returned (the
        arguments and keywords for the input). What it returns replaces what the module returned, unless it is None.

    Yields
    ------
    dict of str to int
        How often each module was called in the present forward pass.
    """
    known = modules_by_name(model)
    wanted: dict[str, list[str]] = {}
    for layer in layers:
        wanted.setdefault(split_call(layer)[0], []).append(layer)
    counts = dict.fromkeys(wanted, 0)

    def begin(module: nn.Module, given: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        counts.update(dict.fromkeys(wanted, 0))
        if INPUT in wanted and INPUT not in known:
            counts[INPUT] = 1
            visit(INPUT, 0, None, (given, keywords))

    def hook(name: str) -> Callable[[nn.Module, Any, Any], Any]:
        def after(module: nn.Module, given: Any, returned: Any) -> Any:
            call, counts[name] = counts[name], counts[name] + 1
            replaced = None
            for layer in wanted[name]:
                if split_call(layer)[1] in (None, call):
                    result = visit(layer, call, module, returned if replaced is None else replaced)
                    replaced = replaced if result is None else result
            return replaced

        return after

    with ExitStack() as stack:
        stack.callback(model.register_forward_pre_hook(begin, with_kwargs=True, prepend=True).remove)
        for name in wanted:
            if name in known:
                stack.callback(known[name].register_forward_hook(hook(name)).remove)
        yield counts


def never_called(layer: str, counts: dict[str, int]) -> InputError:
    """Say that a layer was not called, and how often its module was; ``counts`` as `calls_of` yields them."""
    name = split_call(layer)[0]
    times = counts.get(name, 0)
    which = f": '{name}' was called {times} times, '{name}#0' to '{name}#{times - 1}'" if times else ""
    return InputError(
        f"Layer '{layer}' was never called in the forward pass{which}. Record a module that the forward pass uses."
    )


@contextmanager
def left_as_found(model: nn.Module, device: torch.device | str | None = None) -> Iterator[torch.device]:
    """Put a model into evaluation mode, on a device, without gradients; leaving restores everything.

    Compiled modules run uncompiled, so that hooks see their layers, and fused attention, which skips layers, is off.
    Modes are set by ``train()``, so that modules which change their weights with the mode do so; what they changed is
    restored bit for bit.

    Yields
    ------
    torch.device
        Where inputs have to go.
    """
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    found = next(iter(model.parameters()), next(iter(model.buffers()), torch.empty(0))).device
    try:
        target = torch.device(device) if device is not None else found
    except (RuntimeError, TypeError):
        raise InputError(f"device={device!r}: expected a device, such as 'cpu' or 'cuda:0'.") from None
    if device is not None and len(devices) > 1:
        raise InputError(
            f"The model lies on several devices ({', '.join(sorted(map(str, devices)))}); leave device=None, or move"
            " it to one device first."
        )
    modes = {module: module.training for module in model.modules()}
    weights = [(tensor, tensor.detach().clone()) for tensor in changed_by_mode(model)]
    buffers = [(m._buffers, name, tensor) for m in model.modules() for name, tensor in m._buffers.items()]
    fused = torch.backends.mha.get_fastpath_enabled()
    with torch.inference_mode(False), _uncompiled(model):
        try:
            torch.backends.mha.set_fastpath_enabled(False)
            try:
                model.eval()
            except NotImplementedError as error:  # what torch.export gives
                raise InputError(
                    f"The model cannot be put into evaluation mode ({error}). Give the Python module that it was made"
                    " from."
                ) from error
            if target != found:
                model.to(target)
            with torch.no_grad():
                yield target
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)
            if target != found:
                model.to(found)
            _set_modes(modes)
            for held, name, tensor in buffers:  # a forward pass may have put another tensor in its place
                held[name] = tensor
            with torch.no_grad():
                for tensor, before in weights:
                    tensor.data.copy_(before)


def changed_by_mode(model: nn.Module) -> list[Tensor]:
    """List what a run may change: all buffers, and parameters of modules with a ``train`` of their own."""
    own = [module for module in model.modules() if type(module).train is not nn.Module.train]
    tensors = {id(t): t for t in chain(model.buffers(), *(module.parameters() for module in own))}
    return [tensor for tensor in tensors.values() if not tensor.is_inference()]


def _set_modes(modes: dict[nn.Module, bool]) -> None:
    """Restore the mode of each module, parents before children; only those whose mode differs."""
    for module, training in modes.items():
        if module.training != training:
            module.train(training)
    for module, training in modes.items():
        if module.training != training:  # a train() of its own sets something else
            module.training = training


@contextmanager
def _uncompiled(model: nn.Module) -> Iterator[None]:
    """Run compiled modules uncompiled: a compiled one may not call hooks that came after it was compiled."""
    compiled = [m for m in model.modules() if getattr(m, "_compiled_call_impl", None) is not None]
    inner = any(hasattr(module, "_orig_mod") for module in model.modules())
    kept = [(module, module._compiled_call_impl) for module in compiled]
    with torch.compiler.set_stance("force_eager") if inner or compiled else nullcontext():
        try:
            for module in compiled:
                module._compiled_call_impl = None
            yield
        finally:
            for module, implementation in kept:
                module._compiled_call_impl = implementation
