"""One forward pass with the activations of all sites, and the gradients at them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from neucept.batches import Batch
from neucept.errors import InputError
from neucept.pathways.targets import Checked, Response, respond
from neucept.pathways.tracing.calls import Calls, Visit, count_writes
from neucept.pathways.tracing.network import Network, Values
from neucept.pathways.tracing.sites import readable_names

_FLAT = {f"{name}Backward0" for name in ("Round", "Floor", "Ceil", "Trunc", "Sign", "Heaviside", "FloorDivide")}


@dataclass
class Trace:
    """One forward pass of a batch, as `neucept.pathways.Method.neuron_scores` gets it.

    Attributes
    ----------
    inputs : Batch
        On the model's device.
    network : Network
        With its sites known; ``network.run(inputs, visit)`` runs it again.
    values : dict of str to Tensor
        By the raw name of each site, in forward order, its activations, (batch, *shape), without gradient.
    logits : Tensor
        (batch, C), without gradient once `gradients` was called.
    response : Response
        What is explained; ``response.of(logits)`` is (batch,).
    """

    inputs: Batch
    network: Network
    values: Values
    logits: Tensor
    response: Response
    _edges: dict[str, GradientEdge | None] = field(repr=False)

    @property
    def names(self) -> dict[str, str]:
        """Readable names of the sites by their raw ones."""
        return readable_names(self.values)

    def gradients(self) -> Values:
        """Return the gradients of each input's response with respect to the activations of all sites; frees the graph.

        Returns
        -------
        dict of str to Tensor
            By raw name, (batch, *shape); zeros where a site plays no part.

        Raises
        ------
        InputError
            When the logits change with a site, and still no gradient reaches it.
        """
        gradients = self.raw_gradients()
        whole: Values = {}
        for raw, gradient in gradients.items():
            whole[raw] = torch.zeros_like(self.values[raw]) if gradient is None else gradient
            if gradient is not None and bool(gradient.amax() > gradient.amin()):
                continue
            flat = None if gradient is None else self._flat_function(raw)
            if (gradient is None or flat) and self._matters(raw):
                raise InputError(self._no_gradient(raw, flat))
        self._edges, self.logits = {}, self.logits.detach()
        return whole

    def raw_gradients(self) -> dict[str, Tensor | None]:
        """Return the gradients as they are, None where there is none; the graph stays, what it saved is freed."""
        edges = {raw: edge for raw, edge in self._edges.items() if edge is not None}
        gradients: dict[str, Tensor | None] = dict.fromkeys(self._edges)
        if edges and self.logits.requires_grad:
            total = self.response.of(self.logits).sum()
            returned = torch.autograd.grad(total, list(edges.values()), allow_unused=True)
            gradients.update(zip(edges, returned, strict=True))
        return gradients

    def _matters(self, raw: str) -> bool:
        """Return whether the logits change when a site gives zeros."""
        with torch.no_grad():
            without = self.network.run(
                self.inputs, lambda name, output: torch.zeros_like(output) if name == raw else output
            )
        return not torch.equal(without, self.logits.detach())

    def _flat_function(self, raw: str) -> str:
        """Name a function with zero gradient everywhere between a site and the logits; empty if there is none."""
        edge = self._edges[raw]
        for node in _reachable(self.logits.grad_fn):
            if node.name() in _FLAT and edge is not None and edge.node in _reachable(node):
                return str(node.name()).removesuffix("Backward0").lower()
        return ""

    def _no_gradient(self, raw: str, flat: str | None) -> str:
        what = f"the function {flat}, flat almost everywhere," if flat else "an operation without gradient"
        quantised = [
            name for name, module in self.network.model.named_modules() if ".quantized" in type(module).__module__
        ]
        if quantised:
            return (
                f"No gradient reaches the site '{self.names[raw]}': '{quantised[0]}' is a quantised layer, which has no"
                " gradient. Give the model as it was before quantisation."
            )
        return (
            f"No gradient reaches the site '{self.names[raw]}', although the logits depend on it: {what} lies between"
            " them (such as argmax, round, detach or torch.no_grad). Take it out of the forward pass."
        )


@dataclass
class _Taking:
    """A visitor that notes what sites return; with ``copy``, copies of what the network may overwrite later."""

    change: Visit | None
    copy: bool
    values: Values = field(default_factory=dict)
    edges: dict[str, GradientEdge | None] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)

    def __call__(self, raw: str, output: Tensor) -> Tensor:
        if self.change is not None:
            output = self.change(raw, output)
        # Frozen weights, inputs without gradient: the graph begins here.
        if torch.is_grad_enabled() and not output.requires_grad and not output.is_inference():
            output = output + torch.zeros((), dtype=output.dtype, device=output.device, requires_grad=True)
        self.edges[raw] = get_gradient_edge(output) if output.requires_grad else None
        self.values[raw] = output.detach()
        self.versions[raw] = count_writes(output)
        return output.clone() if self.copy else output

    def unchanged(self) -> bool:
        """Return whether everything noted is still what the sites returned."""
        return all(count_writes(self.values[raw]) == version for raw, version in self.versions.items())


def trace(network: Network, inputs: Batch, target: Checked | Response = None, change: Visit | None = None) -> Trace:
    """Run the network once and take the activations of all sites, ready for their gradients.

    Parameters
    ----------
    network : Network
        In evaluation mode, with gradients on; see `neucept.pathways.tracing.sites.evaluation`. With gradients off,
        the trace has no gradients.
    inputs : Batch
        On the model's device.
    target : None, Tensor, pair of Tensors or Response
        What is explained, see `neucept.pathways.targets`.
    change : callable (raw name, Tensor) -> Tensor, optional
        Changes what a site returns, such as `mask_sites`; what it returns is taken.
    """
    noted = _Taking(change, copy=False)
    calls = Calls(noted, inputs.n, network.activations, change is None, network.known)
    logits = network.run(inputs, calls)
    if network.known is None:
        network = network.find_sites(inputs, calls)
        for raw in set(noted.values) - (network.known or set()):
            for by_raw in (noted.values, noted.edges, noted.versions):
                by_raw.pop(raw, None)
    if not noted.unchanged():
        noted = _Taking(change, copy=True)
        logits = network.run(inputs, noted)
    response = target if isinstance(target, Response) else respond(target, logits)
    network = network.with_sites(noted.values)
    return Trace(inputs, network, noted.values, logits, response, noted.edges)


def contribution(value: Tensor, gradient: Tensor) -> Tensor:
    """Return ``|a * df/da|``, at least in single precision: products of small numbers vanish in half precision."""
    return (at_least_single(value) * at_least_single(gradient)).abs_()


def at_least_single(value: Tensor) -> Tensor:
    """Convert a tensor of lower than single precision to single precision."""
    return value.to(torch.promote_types(value.dtype, torch.float32))


def check_finite(scores: Mapping[str, Tensor], names: Mapping[str, str]) -> None:
    """Raise an InputError for scores, by raw name, that are infinite or not a number."""
    for raw, score in scores.items():
        low, high = score.aminmax()  # not-a-number passes through both
        if not bool(low.isfinite() & high.isfinite()):
            raise InputError(f"The scores of site '{names[raw]}' are not finite; check the inputs and the weights.")


def _reachable(start: Any) -> set[Any]:
    seen, left = set(), [start]
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen.add(node)
            left += [following for following, _ in node.next_functions]
    return seen
