"""Greedy pruning: remove the neurons of least marginal contribution, a step at a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from neucept.errors import check_whole
from neucept.pathways.scores import Method, NeuronScores
from neucept.pathways.selection import check_sparsity, flat, n_kept, shuffled, unflat
from neucept.pathways.targets import Checked, Response, respond
from neucept.pathways.tracing.activations import ACTIVATIONS
from neucept.pathways.tracing.gradients import check_finite, checked, contribution, gradients, take
from neucept.pathways.tracing.network import Network, Values, masking
from neucept.recording.outputs import Output


class GreedyPruning(Method):
    """Score a neuron by when it is removed, if those of least marginal contribution go first, a step at a time.

    After each step the contributions ``|a * df/da|`` of what is left are computed again, in the network without the
    neurons removed so far. A removed neuron never comes back. The scores are places in the order of removal, from 1
    on; what is left in the end follows by its contribution. So ``.select(s)`` gives the very pathway of the method at
    the asked sparsity, an earlier stage of it at a lesser one, and an error at a higher one.

    Parameters
    ----------
    model : Module
        Any network that ends in logits; left as it was found.
    sparsity : float
        The share of neurons that is removed.
    n_steps : int
        In how many steps, of the same number of neurons each.
    seed : int
        Of the order in which neurons of equal contribution go.
    output, activations, internal_batch_size
        As for `Method`.
    """

    def __init__(
        self,
        model: nn.Module,
        sparsity: float = 0.9,
        n_steps: int = 10,
        seed: int = 0,
        *,
        output: Output = None,
        activations: Collection[str] = ACTIVATIONS,
        internal_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, output=output, activations=activations, internal_batch_size=internal_batch_size)
        self.n_steps = check_whole("n_steps", n_steps)
        self.reached = self.sparsity = check_sparsity(sparsity)
        self.seed = check_whole("seed", seed, least=None)

    def _score(self, inputs: Any, target: Checked) -> NeuronScores:
        whole = take(self.network, inputs)
        network = self.network.only(whole.values)
        response = respond(target, whole.logits)
        found = checked(network, inputs, whole, gradients(whole, response))
        active = flat({raw: value.bool() for raw, value in whole.values.items()})
        order = shuffled(active.shape[1], self.seed, active.device)
        losses = _contributions(whole.values, found)
        check_finite(unflat(losses, whole.values), whole.names)
        del found
        n_neurons = losses.shape[1]
        removals = n_neurons - n_kept(self.sparsity, n_neurons)
        # Single precision counts to 2^24; a network with more neurons needs double.
        place = torch.zeros_like(losses, dtype=torch.float32 if n_neurons < 2**24 else torch.float64)
        zero = torch.zeros_like(active)
        gone = 0
        for step in range(1, self.n_steps + 1):
            upto = round(removals * step / self.n_steps)
            gone = _remove(losses, active, place, zero, order, gone, upto)
            losses = _losses(network, inputs, unflat(place == 0, whole.values), response)
        _remove(losses, active, place, zero, order, gone, n_neurons)
        parts = (unflat(place, whole.values), unflat(zero, whole.values))
        return self._scored(parts[0], whole, response, zero=parts[1])


def _losses(network: Network, inputs: Any, left: dict[str, Tensor], response: Response) -> Tensor:
    """Marginal contributions, (batch, N), in the network of what is left."""
    taken = take(network, inputs, masking(left))
    return _contributions(taken.values, gradients(taken, response))


def _contributions(values: Values, gradients: Mapping[str, Tensor | None]) -> Tensor:
    """Give ``|a * df/da|`` of all sites, (batch, N), zero where there is no gradient."""
    zeros = torch.zeros((), device=next(iter(values.values())).device)
    return flat(
        {
            raw: contribution(value, zeros if (found := gradients[raw]) is None else found)
            for raw, value in values.items()
        }
    )


def _remove(losses: Tensor, active: Tensor, place: Tensor, zero: Tensor, order: Tensor, gone: int, upto: int) -> int:
    """Give the places ``gone + 1`` to ``upto`` to the neurons, of those without a place, that are of least loss."""
    # Losses are not negative: of those that are zero, inactive neurons go first.
    left = torch.where(place > 0, torch.inf, torch.where((losses == 0) & ~active, -1.0, losses))
    # A stable sort of a shuffled row: equal losses go in the order of the shuffle.
    values, lowest = left[:, order].sort(dim=1, stable=True)
    lowest = order[lowest[:, : upto - gone]]
    places = torch.arange(gone + 1, upto + 1, dtype=place.dtype, device=place.device)
    place.scatter_(1, lowest, places.expand(len(place), -1))
    zero.scatter_(1, lowest, values[:, : upto - gone] <= 0)
    return upto
