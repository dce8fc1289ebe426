"""Cut a network at a layer: the part from the layer's output on."""

from __future__ import annotations

import inspect
from copy import deepcopy
from typing import Any

from torch import Tensor, fx, nn

from neucept.errors import InputError, closest
from neucept.recording.hooks import INPUT, modules_by_name, split_call


def tail(model: nn.Module, layer: str) -> nn.Module:
    """Give the rest of a network after a layer: a module from what the layer returns to what the model returns.

    Attributions and ablations at a layer then need not run the network up to it again.

    Parameters
    ----------
    model : Module
        Any network that `torch.fx` can trace; it is not changed.
    layer : str
        As in `neucept.record`: a module, ``"name#1"`` for one call of a module called several times, or ``"input"``.

    Returns
    -------
    Module
        In evaluation mode, on the model's device. Its modules are its own, so that hooks and settings do not reach the
        model; parameters and buffers are the model's. What it is given is not changed by an in-place module.

    Raises
    ------
    InputError
        When the output depends on the input other than through the layer (a skip connection round it), when the layer
        is unknown, never called or called several times, or when the network cannot be traced.

    Examples
    --------
    >>> import torch
    >>> net = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> inputs = torch.randn(4, 5)
    >>> torch.equal(tail(net, "0")(net[0](inputs)), net(inputs))
    True
    """
    copied = twin(model)
    known = modules_by_name(copied)
    if layer == INPUT and INPUT not in known:
        return copied
    name, call = split_call(layer)
    if name not in known:
        raise InputError(f"The model has no module '{name}'.{closest(name, known)}")
    graph = _trace(copied, known[name], layer)
    calls = [n for n in graph.nodes if n.op == "call_module" and copied.get_submodule(str(n.target)) is known[name]]
    times = len(calls)
    if not calls or (call or 0) >= times:
        raise InputError(f"Layer '{layer}' is never called in the forward pass; '{name}' is called {times} times.")
    if call is None and times > 1:
        raise InputError(f"'{name}' is called {times} times: choose among '{name}#0' to '{name}#{times - 1}'.")
    return fx.GraphModule(copied, _from(graph, calls[call or 0], layer))


def twin(model: nn.Module) -> nn.Module:
    """Copy a model's modules but not its parameters and buffers, in evaluation mode.

    Raises
    ------
    InputError
        When a module cannot be copied.
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    try:
        return deepcopy(model, shared).eval()
    except Exception as error:  # a module of the user's may raise anything
        raise InputError(f"The modules of {type(model).__name__} cannot be copied: {error}") from error


class _Tracer(fx.Tracer):
    """Traces into every module but the layer and those of PyTorch that do not hold it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self._layer = layer

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        holds_it = any(inner is self._layer for inner in m.modules())
        return m is self._layer or (not holds_it and super().is_leaf_module(m, module_qualified_name))


def _trace(model: nn.Module, module: nn.Module, layer: str) -> fx.Graph:
    # An optional argument left out is None, not a tensor to be traced: `if mask is not None` must see that.
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(model.forward).parameters.items()
        if parameter.default is not parameter.empty
    }
    try:
        return _Tracer(module).trace(model, defaults)
    except Exception as error:  # tracing runs the user's code on proxies, which may raise anything
        raise InputError(
            f"The network cannot be cut at layer '{layer}': torch.fx does not trace {type(model).__name__} ({error})."
        ) from error


def _from(graph: fx.Graph, cut: fx.Node, layer: str) -> fx.Graph:
    """Keep what comes of a node, in a graph that takes the node's value."""
    needed: set[fx.Node] = {cut}
    waiting = [node for node in graph.nodes if node.op == "output"]
    waiting += _descendants(graph, cut)  # also those that only change a value in place
    while waiting:
        node = waiting.pop()
        if node in needed:
            continue
        if node.op == "placeholder":
            raise InputError(
                f"The network cannot be cut at layer '{layer}': its output depends on the input '{node.target}' other"
                " than through the layer (a connection that skips it). Take a layer after the two meet."
            )
        needed.add(node)
        waiting += node.all_input_nodes
    found = fx.Graph()
    copies = {cut: found.call_function(_own, (found.placeholder("activations"),))}
    for node in graph.nodes:
        if node in needed and node is not cut:
            copies[node] = found.node_copy(node, copies.__getitem__)
    return found


def _descendants(graph: fx.Graph, cut: fx.Node) -> list[fx.Node]:
    found = {cut}
    for node in graph.nodes:
        if not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return list(found - {cut})


def _own(value: Any) -> Any:
    """Copy what the tail is given, for an in-place module must not change it."""
    return value.clone() if isinstance(value, Tensor) else value
