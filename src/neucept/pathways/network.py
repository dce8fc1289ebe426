"""Run a network with its sites visited: take activations and gradients at all of them, mask or scale them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from neucept.errors import InputError
from neucept.pathways.inputs import count_inputs, mapped
from neucept.pathways.responses import Response
from neucept.pathways.sites import ACTIVATIONS, Calls, Visit, met, no_sites, readable
from neucept.recording.batches import forward
from neucept.recording.outputs import Output, pick_logits

Values = dict[str, Tensor]
_FLAT = {f"{name}Backward0" for name in ("Round", "Floor", "Ceil", "Trunc", "Sign", "Heaviside", "FloorDivide")}


@dataclass(frozen=True)
class Network:
    """A model, where its logits are in what it returns, and which functions are its activations."""

    model: nn.Module
    output: Output = None
    activations: Collection[str] = ACTIVATIONS

    @property
    def on_cpu(self) -> bool:
        """Whether the model lies on the CPU; one without parameters and buffers does."""
        tensors = chain(self.model.parameters(), self.model.buffers())
        return next((tensor.device.type == "cpu" for tensor in tensors), True)

    def run(self, inputs: Any, visit: Visit, watches: bool = False) -> Tensor:
        """Give the logits, (batch, C), of one forward pass in which every site is visited; see `Calls`."""
        return self.watched(inputs, Calls(visit, count_inputs(inputs), self.activations, watches))

    def watched(self, inputs: Any, calls: Calls) -> Tensor:
        """Give the logits of one forward pass under given calls."""
        with met(self.model, calls):
            # Copies: a network that writes into its input must find it whole next time.
            copies = mapped(lambda tensor: tensor.clone(), inputs)
            logits = pick_logits(forward(self.model, copies), self.output)
        if not calls.described:
            raise no_sites(self.model, self.activations)
        if len(logits) != calls.n_inputs:
            raise InputError(f"The model gave {len(logits)} rows of logits for {calls.n_inputs} inputs.")
        return logits


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


def take(network: Network, inputs: Any, change: Visit | None = None) -> Pass:
    """Run the network once and take the activations of all sites, ready for `gradients`.

    Parameters
    ----------
    network : Network
        In evaluation mode, with gradients on; see `neucept.pathways.sites.at_work`.
    inputs : tensor, tuple or mapping of tensors
        A batch, on the model's device.
    change : callable (raw name, Tensor) -> Tensor, optional
        Changes what a site returns, such as `masking`; the changed is what is taken.
    """
    noted = _Taking(change, copy=False)
    logits = network.run(inputs, noted, watches=change is None)
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
        if (gradient is None or flat) and _matters(network, inputs, raw, taken.logits):
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


def masking(masks: Mapping[str, Tensor]) -> Callable[[str, Tensor], Tensor]:
    """Give the visitor that sets to zero what masks, by raw name, leave out; sites without a mask stay.

    Raises
    ------
    InputError
        From the visitor, when a mask does not fit the activations.
    """

    def visit(raw: str, output: Tensor) -> Tensor:
        mask = masks.get(raw)
        if mask is None:
            return output
        if mask.shape != output.shape or mask.device != output.device:
            raise InputError(
                f"The mask of site '{raw}' is {tuple(mask.shape)} on {mask.device}, its activations"
                f" {tuple(output.shape)} on {output.device}: a pathway fits the batch that it was selected for only."
            )
        # By way of bytes, which are converted several times faster than truth values.
        return output * mask.view(torch.uint8).to(output.dtype)

    return visit
