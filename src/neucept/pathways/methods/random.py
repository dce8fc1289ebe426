"""RandomPathway: the same share of neurons at random in each site, to compare with."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from neucept.errors import check_whole
from neucept.pathways.inputs import count_inputs, tensors_in
from neucept.pathways.scores import Method, NeuronScores
from neucept.pathways.targets import Checked, respond
from neucept.pathways.tracing.activations import ACTIVATIONS
from neucept.pathways.tracing.gradients import Pass
from neucept.pathways.tracing.network import Values
from neucept.recording.outputs import Output


class RandomPathway(Method):
    """Score every neuron at random in (0, 1), for each input anew; ``select`` keeps the same share of each site.

    Parameters
    ----------
    model : Module
        Any network that ends in logits; left as it was found.
    seed : int
        Of the draw. An input's draw follows from the seed and its own numbers, not from where it stands: equal inputs
        share it.
    output, activations, internal_batch_size
        As for `Method`.
    """

    by_site = True

    def __init__(
        self,
        model: nn.Module,
        seed: int = 0,
        *,
        output: Output = None,
        activations: Collection[str] = ACTIVATIONS,
        internal_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, output=output, activations=activations, internal_batch_size=internal_batch_size)
        self.seed = check_whole("seed", seed, least=None)

    def _score(self, inputs: Any, target: Checked) -> NeuronScores:
        values: Values = {}

        def visit(raw: str, output: Tensor) -> Tensor:
            values[raw] = output.detach().clone()
            return output

        with torch.no_grad():
            network = self.network if self.network.known is not None else self.network.settled(inputs)
            logits = network.run(inputs, visit)
        scores = {raw: torch.empty_like(value, dtype=torch.float32) for raw, value in values.items()}
        for row, seed in enumerate(_seeds(inputs, self.seed)):
            generator = torch.Generator().manual_seed(seed)
            for score in scores.values():
                score[row] = 1 - torch.rand(score.shape[1:], generator=generator)
        return self._scored(scores, Pass(logits, values, {}), respond(target, logits))


def _seeds(inputs: Any, seed: int) -> list[int]:
    """Give a seed for each input, from what it holds; the order of an input's tensors plays no part."""
    seeds = [0] * count_inputs(inputs)
    key = str(seed).encode()
    for tensor in tensors_in(inputs):
        held = tensor.detach().cpu().reshape(len(seeds), -1).contiguous().view(torch.uint8).numpy()
        for row, content in enumerate(held):
            digest = hashlib.blake2b(content.tobytes(), digest_size=8, key=key).digest()
            seeds[row] = (seeds[row] + int.from_bytes(digest, "little")) % 2**63
    return seeds
