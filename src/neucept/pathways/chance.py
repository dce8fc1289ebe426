"""RandomPathway: the same share of neurons at random in each site, to compare with."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from neucept.pathways.inputs import count_inputs, placed
from neucept.pathways.network import Pass, Values
from neucept.pathways.responses import Target, respond
from neucept.pathways.scores import Method, NeuronScores, scored
from neucept.pathways.sites import ACTIVATIONS, at_work
from neucept.recording.outputs import Output


class RandomPathway(Method):
    """Score every neuron at random in (0, 1), for each input anew; ``select`` keeps the same share of each site.

    Parameters
    ----------
    model : Module
        Any network that ends in logits; left as it was found.
    seed : int
        Of the draw; an input's scores depend on its place in the batch.
    output, activations
        As for `Method`.
    """

    def __init__(
        self, model: nn.Module, seed: int = 0, *, output: Output = None, activations: Collection[str] = ACTIVATIONS
    ) -> None:
        super().__init__(model, output=output, activations=activations)
        self.seed = seed

    def score(self, inputs: Any, target: Target = None) -> NeuronScores:
        """Score every neuron of every input; see `Method.score`."""
        values: Values = {}

        def visit(raw: str, output: Tensor) -> Tensor:
            values[raw] = output.detach().clone()
            return output

        with at_work(self.network.model, gradients=False) as device:
            logits = self.network.run(placed(inputs, device), visit)
            n = count_inputs(inputs)
            scores = {raw: torch.empty_like(value, dtype=torch.float32) for raw, value in values.items()}
            for row in range(n):
                # A generator an input: how many inputs there are does not change the draws of one.
                generator = torch.Generator().manual_seed(self.seed * 1_000_003 + row)
                for score in scores.values():
                    score[row] = 1 - torch.rand(score.shape[1:], generator=generator)
            return scored(type(self).__name__, scores, Pass(logits, values, {}), respond(target, logits), by_site=True)
