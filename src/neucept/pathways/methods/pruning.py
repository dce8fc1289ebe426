"""GreedyPruning: remove the neurons of least marginal contribution, step by step."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from neucept.errors import check_whole
from neucept.pathways.methods.base import Method, SiteScores
from neucept.pathways.selection import check_sparsity, flatten, n_kept, random_order, unflatten
from neucept.pathways.tracing import gradients
from neucept.pathways.tracing.activations import ACTIVATIONS
from neucept.pathways.tracing.gradients import Trace, check_finite, contribution
from neucept.pathways.tracing.network import Values, mask_sites
from neucept.recording.outputs import Output


class GreedyPruning(Method):
    """Score a neuron by when it is removed, if those of least marginal contribution are removed first, step by step.

    After each step the contributions ``|a * df/da|`` of the remaining neurons are computed again, in the network
    without the neurons removed so far. A removed neuron never comes back. The scores are ranks in the order of
    removal, from 1 on; the neurons that remain at the end follow in the order of their contributions. So
    ``.select(s)`` gives the method's pathway at the given sparsity, an earlier stage of it at a lower one, and an
    error at a higher one.

    Parameters
    ----------
    model : Module
        Any network that ends in logits; left as it was found.
    sparsity : float
        Share of the neurons that is removed.
    n_steps : int
        Number of steps, each of which removes the same number of neurons.
    seed : int
        Seed for the order in which neurons of equal contribution are removed.
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

    def neuron_scores(self, trace: Trace) -> SiteScores:
        """Return the ranks in the order of removal; see `Method.neuron_scores`."""
        active = flatten({raw: value.bool() for raw, value in trace.values.items()})
        order = random_order(active.shape[1], self.seed, active.device)
        losses = _contributions(trace.values, trace.gradients())
        check_finite(unflatten(losses, trace.values), trace.names)
        n_neurons = losses.shape[1]
        removals = n_neurons - n_kept(self.sparsity, n_neurons)
        # Single precision counts to 2^24; a network with more neurons needs double.
        rank = torch.zeros_like(losses, dtype=torch.float32 if n_neurons < 2**24 else torch.float64)
        zero = torch.zeros_like(active)
        removed = 0
        for step in range(1, self.n_steps + 1):
            upto = round(removals * step / self.n_steps)
            removed = _remove(losses, active, rank, zero, order, removed, upto)
            mask = mask_sites(unflatten(rank == 0, trace.values))
            remaining = gradients.trace(trace.network, trace.inputs, trace.response, mask)
            losses = _contributions(remaining.values, remaining.raw_gradients())
        _remove(losses, active, rank, zero, order, removed, n_neurons)
        return SiteScores(unflatten(rank, trace.values), zero=unflatten(zero, trace.values))


def _contributions(values: Values, gradients: Mapping[str, Tensor | None]) -> Tensor:
    """Return ``|a * df/da|`` of all sites, (batch, N), zero where there is no gradient."""
    zeros = torch.zeros((), device=next(iter(values.values())).device)
    return flatten(
        {
            raw: contribution(value, zeros if (gradient := gradients[raw]) is None else gradient)
            for raw, value in values.items()
        }
    )


def _remove(losses: Tensor, active: Tensor, rank: Tensor, zero: Tensor, order: Tensor, removed: int, upto: int) -> int:
    """Give the ranks ``removed + 1`` to ``upto`` to those neurons without a rank that have the least loss."""
    # Losses are not negative: of those that are zero, inactive neurons go first.
    left = torch.where(rank > 0, torch.inf, torch.where((losses == 0) & ~active, -1.0, losses))
    # A stable sort of a shuffled row: equal losses go in the order of the shuffle.
    values, lowest = left[:, order].sort(dim=1, stable=True)
    lowest = order[lowest[:, : upto - removed]]
    ranks = torch.arange(removed + 1, upto + 1, dtype=rank.dtype, device=rank.device)
    rank.scatter_(1, lowest, ranks.expand(len(rank), -1))
    zero.scatter_(1, lowest, values[:, : upto - removed] <= 0)
    return upto
