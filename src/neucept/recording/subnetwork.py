"""Cut a network at a layer: the part from the layer's output on."""

from __future__ import annotations

import inspect
import operator
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, fx, nn

from neucept.errors import InputError
from neucept.recording.hooks import INPUT, changed_by_mode, check_layers, check_model, modules_by_name, split_call
from neucept.recording.units import first_tensor

_KEEP_ROWS = {  # functions and methods that leave the first axis of their first argument as it is
    *(operator.add, operator.iadd, operator.sub, operator.isub, operator.mul, operator.imul, operator.truediv),
    *(torch.add, torch.sub, torch.mul, torch.div, torch.relu, torch.sigmoid, torch.tanh),
    *("add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_", "relu", "relu_", "sigmoid", "tanh"),
    *("clone", "contiguous", "float", "to"),
}


def tail(model: nn.Module, layer: str) -> nn.Module:
    """Give the rest of a network after a layer: a module from what the layer returns to what the model returns.

    Attributions and ablations at a layer then need not run the network up to it again. Where the network asks its input
    for the batch size after the layer, the rest takes it from what it is given. To be had from `neucept.recording`.

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
        When the output depends on the input other than through the layer (a skip connection round it, or another size
        of the input than the batch size), when the layer is unknown, never called or called several times, or when the
        network cannot be traced.

    Examples
    --------
    >>> import torch
    >>> net = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> inputs = torch.randn(4, 5)
    >>> torch.equal(tail(net, "0")(net[0](inputs)), net(inputs))
    True
    """
    model = check_model(model)
    check_layers(model, [layer])
    copied = twin(model)
    known = modules_by_name(copied)
    if layer == INPUT and INPUT not in known:
        return copied
    name, call = split_call(layer)
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

    Parameters of modules that may change them with the mode (those with a ``train`` of their own) are copied too.

    Raises
    ------
    InputError
        When a module cannot be copied.
    """
    own = {id(tensor) for tensor in changed_by_mode(model)}
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers()) if id(tensor) not in own}
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
    after = set(waiting)
    batch_sizes = {n for n in graph.nodes if n not in after and _is_batch_size(n)} if _by_input(cut) else set()
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
        if node not in batch_sizes:
            if node not in after and _is_size(node):
                _refuse_size(node, layer)
            waiting += node.all_input_nodes
    found = fx.Graph()
    copies = {cut: found.call_function(_own, (found.placeholder("activations"),))}
    for node in graph.nodes:
        if node in batch_sizes:
            if node in needed:
                copies[node] = found.call_function(_batch_size, (copies[cut],))
        elif node in needed and node is not cut:
            copies[node] = found.node_copy(node, copies.__getitem__)
    return found


def _is_batch_size(node: fx.Node) -> bool:
    """Whether a node is `x.shape[0]`, `x.size()[0]` or `x.size(0)`, with x one row an input."""
    given: list[Any] = [*node.args, *node.kwargs.values()]
    if node.op == "call_method":
        return _is_size(node) and given[1:] == [0] and _by_input(given[0])
    if node.target is not operator.getitem or not isinstance(given[0], fx.Node) or not _is_size(given[0]):
        return False
    whole = given[0].op == "call_function" or len(given[0].args) + len(given[0].kwargs) == 1
    return whole and given[1:] == [0] and _by_input(given[0].args[0])


def _is_size(node: fx.Node) -> bool:
    """Whether a node is `x.shape` or `x.size(...)`."""
    if node.op == "call_method":
        return node.target == "size"
    return node.target is getattr and list(node.args[1:]) == ["shape"]


def _by_input(value: Any) -> bool:
    """Whether a value surely has one row an input: what the network is given, and what keeps the first axis of it."""
    while isinstance(value, fx.Node) and value.op != "placeholder":
        keeps = (
            value.op == "call_module"
            or value.target in _KEEP_ROWS
            or getattr(value.target, "__module__", "") == "torch.nn.functional"
            or (value.target in ("flatten", torch.flatten) and value.args[1:] == (1,))
        )
        if not keeps or not value.args:
            return False
        value = value.args[0]
    return isinstance(value, fx.Node)


def _refuse_size(node: fx.Node, layer: str) -> None:
    """Refuse other sizes than the batch size, which need not be those of what the layer returns."""
    for name in _inputs_of(node):
        raise InputError(
            f"The network cannot be cut at layer '{layer}': after it, a size from before it (of the input '{name}' or"
            " what comes of that) is used. Take sizes there from a value after the layer, as in y.flatten(1) or"
            " y.shape[0], or write them as numbers."
        )


def _inputs_of(node: fx.Node) -> list[str]:
    """Name the inputs of the network that a node depends on."""
    found, waiting = dict[fx.Node, None](), [node]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found[one] = None
            waiting += one.all_input_nodes
    return [str(one.target) for one in found if one.op == "placeholder"]


def _batch_size(value: Any) -> int:
    return len(first_tensor(value))


def _descendants(graph: fx.Graph, cut: fx.Node) -> list[fx.Node]:
    found = {cut}
    for node in graph.nodes:
        if not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return list(found - {cut})


def _own(value: Any) -> Any:
    """Copy what the tail is given, for an in-place module must not change it."""
    return value.clone() if isinstance(value, Tensor) else value
