"""NeuronMCT: the marginal contribution of every neuron, to first order."""

from __future__ import annotations

from typing import Any

from neucept.pathways.scores import Method, NeuronScores
from neucept.pathways.targets import Checked, respond
from neucept.pathways.tracing.gradients import checked, contribution, gradients, take


class NeuronMCT(Method):
    """Score a neuron by how much the response loses without it, to first order: ``|a * df/da|``.

    One forward and one backward pass for all sites and all inputs of a batch; no parameter gets a gradient.
    Parameters as of `Method`.

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

    def _score(self, inputs: Any, target: Checked) -> NeuronScores:
        taken = take(self.network, inputs)
        response = respond(target, taken.logits)
        found = checked(self.network, inputs, taken, gradients(taken, response))
        scores = {raw: contribution(taken.values[raw], gradient) for raw, gradient in found.items()}
        return self._scored(scores, taken, response)
