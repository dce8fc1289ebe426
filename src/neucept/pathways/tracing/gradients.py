"""Take activations and gradients at all sites of a network in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from neucept.errors import InputError
from neucept.pathways.targets import Response
from neucept.pathways.tracing.calls import Visit
from neucept.pathways.tracing.network import Network, Values
from neucept.pathways.tracing.sites import readable

_FLAT = {f"{name}Backward0" for name in ("Round", "Floor", "Ceil", "Trunc", "Sign", "Heaviside", "FloorDivide")}


@dataclass(frozen=True)
class Pass:
    """One forward pass: its logits, and by the raw name of each site its activations and place in the graph."""

    logits: Tensor
    values: Values
    edges: dict[str, GradientEdge | None]

    @property
    def names(self) -> dict[str, str]:
        """Readable names of the sites by their raw ones."""
        return readable(self.values)


@dataclass
class _Taking:
    """A visitor that notes what sites return; with ``copy``, apart from what the network may write over later."""

    change: Visit | None
    copy: bool
    values: Values = field(default_factory=dict)
    edges: dict[str, GradientEdge | None] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)

    def __call__(self, raw: str, output: Tensor) -> Tensor:
        if self.change is not None:
            output = self.change(raw, output)
        if not output.requires_grad:  # frozen weights, inputs without gradient: the graph begins here
            output = output + torch.zeros((), dtype=output.dtype, device=output.device, requires_grad=True)
        self.edges[raw] = get_gradient_edge(output) if output.requires_grad else None
        self.values[raw] = output.detach()
        self.versions[raw] = output._version
        return output.clone() if self.copy else output

    def whole(self) -> bool:
        """Say whether everything noted is still what the sites returned."""
        return all(self.values[raw]._version == version for raw, version in self.versions.items())

    def drop(self, raw: str) -> None:
        """Forget a call that turned out to be no site."""
        for noted in (self.values, self.edges, self.versions):
            del noted[raw]


def take(network: Network, inputs: Any, change: Visit | None = None) -> Pass:
    """Run the network once and take the activations of all sites, ready for `gradients`.

    Parameters
    ----------
    network : Network
        In evaluation mode, with gradients on; see `neucept.pathways.tracing.sites.at_work`.
    inputs : tensor, tuple or mapping of tensors
        A batch, on the model's device.
    change : callable (raw name, Tensor) -> Tensor, optional
        Changes what a site returns, such as `masking`; the changed is what is taken.
    """
    noted = _Taking(change, copy=False)
    calls = network.calls(noted, inputs, watches=change is None)
    logits = network.watched(inputs, calls)
    if network.known is None:
        network = network.confirmed(inputs, calls)
        for raw in set(noted.values) - (network.known or set()):
            noted.drop(raw)
    if not noted.whole():
        noted = _Taking(change, copy=True)
        logits = network.run(inputs, noted)
    return Pass(logits, noted.values, noted.edges)


def gradients(taken: Pass, response: Response) -> dict[str, Tensor | None]:
    """Give the gradients of each input's response with respect to the activations of all sites, by raw name."""
    edges = {raw: edge for raw, edge in taken.edges.items() if edge is not None}
    found: dict[str, Tensor | None] = dict.fromkeys(taken.edges)
    if edges and taken.logits.requires_grad:
        total = response.of(taken.logits).sum()
        found.update(zip(edges, torch.autograd.grad(total, list(edges.values()), allow_unused=True), strict=True))
    return found


def contribution(value: Tensor, gradient: Tensor) -> Tensor:
    """Give ``|a * df/da|``, in single precision at least: products of small numbers vanish in half precision."""
    return (single(value) * single(gradient)).abs_()


def single(value: Tensor) -> Tensor:
    """Give a tensor in single precision at least."""
    return value.to(torch.promote_types(value.dtype, torch.float32))


def checked(network: Network, inputs: Any, taken: Pass, found: Mapping[str, Tensor | None]) -> Values:
    """Check that a gradient that is missing or zero everywhere is so because the site plays no part.

    Returns
    -------
    dict
        The gradients, zeros where there are none.

    Raises
    ------
    InputError
        When the logits change with a site, and still no gradient comes back to it.
    """
    whole: Values = {}
    for raw, gradient in found.items():
        whole[raw] = torch.zeros_like(taken.values[raw]) if gradient is None else gradient
        if gradient is not None and bool(gradient.amax() > gradient.amin()):
            continue
        flat = None if gradient is None else _flat_between(taken, raw)
        if (gradient is None or flat) and _matters(network.only(found), inputs, raw, taken.logits):
            what = f"the function {flat}, flat almost everywhere," if flat else "an operation without gradient"
            raise InputError(
                f"No gradient reaches the site '{taken.names[raw]}', although the logits depend on it: {what} lies"
                " between them (such as argmax, round, detach or torch.no_grad). Take it out of the forward pass."
            )
    return whole


def check_finite(scores: Mapping[str, Tensor], names: Mapping[str, str]) -> None:
    """Raise an InputError for scores, by raw name, that are infinite or not a number."""
    for raw, score in scores.items():
        if not bool(score.amax().isfinite()):  # which not-a-number passes through; scores are not negative
            raise InputError(f"The scores of site '{names[raw]}' are not finite; check the inputs and the weights.")


def _matters(network: Network, inputs: Any, raw: str, logits: Tensor) -> bool:
    """Say whether the logits change when a site gives zeros."""
    with torch.no_grad():
        without = network.run(inputs, lambda name, output: torch.zeros_like(output) if name == raw else output)
    return not torch.equal(without, logits.detach())


def _flat_between(taken: Pass, raw: str) -> str:
    """Name a function with gradient zero everywhere on the way from a site to the logits; empty for none."""
    edge = taken.edges[raw]
    for node in _reachable(taken.logits.grad_fn):
        if node.name() in _FLAT and edge is not None and edge.node in _reachable(node):
            return str(node.name()).removesuffix("Backward0").lower()
    return ""


def _reachable(start: Any) -> set[Any]:
    seen, left = set(), [start]
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen.add(node)
            left += [following for following, _ in node.next_functions]
    return seen
