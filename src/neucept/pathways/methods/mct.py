"""NeuronMCT: the marginal contribution of every neuron, to first order."""

from __future__ import annotations

from neucept.pathways.methods.base import Method
from neucept.pathways.tracing.gradients import Trace, contribution
from neucept.pathways.tracing.network import Values


class NeuronMCT(Method):
    """Score a neuron by how much the response loses without it, to first order: ``|a * df/da|``.

    One forward and one backward pass for all sites and all inputs of a batch; parameters get no gradient. Parameters
    as for `Method`.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> scores = NeuronMCT(network).score(torch.randn(5, 3))
    >>> {site: tuple(score.shape) for site, score in scores.items()}
    {'1': (5, 4)}
    >>> scores.select(sparsity=0.5)["1"].sum(1)
    tensor([2, 2, 2, 2, 2])
    """

    def neuron_scores(self, trace: Trace) -> Values:
        """Return ``|a * df/da|`` of every neuron; see `Method.neuron_scores`."""
        return {raw: contribution(trace.values[raw], gradient) for raw, gradient in trace.gradients().items()}
