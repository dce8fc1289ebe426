"""RandomPathway: a baseline that keeps the same share of neurons of each site at random."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import torch
from torch import nn

from neucept.batches import Batch
from neucept.errors import check_whole
from neucept.pathways.methods.base import Method
from neucept.pathways.tracing.activations import ACTIVATIONS
from neucept.pathways.tracing.gradients import Trace
from neucept.pathways.tracing.network import Values
from neucept.recording.outputs import Output


class RandomPathway(Method):
    """Draw a score in (0, 1) for every neuron of each input; ``select`` keeps the same share of each site.

    Parameters
    ----------
    model : Module
        Any network that ends in logits; left as it was found.
    seed : int
        Seed for the draw. An input's draw depends on the seed and its own values, not on its place in the batch:
        equal inputs have the same one.
    output, activations, internal_batch_size
        As for `Method`.
    """

    by_site = True
    needs_gradients = False

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

    def neuron_scores(self, trace: Trace) -> Values:
        """Return random scores; see `Method.neuron_scores`."""
        scores = {raw: torch.empty_like(value, dtype=torch.float32) for raw, value in trace.values.items()}
        for row, seed in enumerate(_seeds(trace.inputs, self.seed)):
            generator = torch.Generator().manual_seed(seed)
            for score in scores.values():
                score[row] = 1 - torch.rand(score.shape[1:], generator=generator)
        return scores


def _seeds(inputs: Batch, seed: int) -> list[int]:
    """Return a seed for each input, from its values; the order of an input's tensors does not matter."""
    seeds = [0] * inputs.n
    key = str(seed).encode()
    for tensor in inputs.tensors():
        held = tensor.detach().cpu().reshape(len(seeds), -1).contiguous().view(torch.uint8).numpy()
        for row, content in enumerate(held):
            digest = hashlib.blake2b(content.tobytes(), digest_size=8, key=key).digest()
            seeds[row] = (seeds[row] + int.from_bytes(digest, "little")) % 2**63
    return seeds
