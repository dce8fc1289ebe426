"""Distillation-guided routing (Wang et al., 2018): gates on all neurons that keep the prediction with few of them."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from neucept.errors import InputError
from neucept.pathways.inputs import placed
from neucept.pathways.network import Values, checked, gradients, take
from neucept.pathways.responses import Target, respond
from neucept.pathways.scores import Method, NeuronScores, scored
from neucept.pathways.sites import ACTIVATIONS, at_work
from neucept.progress import progress
from neucept.recording.outputs import Output

_HIGHEST = 100.0  # what gates are clamped to, as published


class DistillationGuidedRouting(Method):
    """Score a neuron by its gate g >= 0, where all gates minimise ``cross-entropy(p, p(g)) + gamma |g|_1``.

    p are the network's probabilities for an input, p(g) those with every neuron times its gate. All inputs of a batch
    run at once, each with its own gates and loss. Gates follow stochastic gradient descent with momentum, clamped to
    [0, 100]; those of the least loss with the prediction unchanged are kept.

    Parameters
    ----------
    model : Module
        Any network that ends in logits; left as it was found.
    start : {"ones", "random"}
        Gates start at one, or uniform in (0, 1), the same draw for all inputs; then gamma is a tenth for an input
        until its prediction is kept.
    gamma, lr, momentum : float
        Of the loss and the descent.
    steps : int
        Most steps.
    patience : int, optional
        Stop when no input of the batch has found a better loss for so many steps; None runs all steps.
    seed : int
        Of the random start.
    show_progress : bool
        Show how far it is, with an estimate of the time left, when it takes longer than two seconds.
    output, activations
        As for `Method`.
    """

    def __init__(
        self,
        model: nn.Module,
        start: str = "ones",
        gamma: float = 0.01,
        lr: float = 0.01,
        momentum: float = 0.9,
        steps: int = 1000,
        seed: int = 0,
        *,
        patience: int | None = None,
        show_progress: bool = True,
        output: Output = None,
        activations: Collection[str] = ACTIVATIONS,
    ) -> None:
        if start not in ("ones", "random"):
            raise InputError(f"start={start!r}: expected 'ones' or 'random'.")
        if steps < 1 or gamma < 0 or lr <= 0 or not 0 <= momentum < 1:
            raise InputError(
                f"steps={steps}, gamma={gamma}, lr={lr}, momentum={momentum}: expected steps of one or more, gamma not"
                " negative, lr above 0 and momentum in [0, 1)."
            )
        super().__init__(model, output=output, activations=activations)
        self.start, self.gamma, self.lr, self.momentum = start, gamma, lr, momentum
        self.steps, self.patience, self.seed, self.show_progress = steps, patience, seed, show_progress

    def score(self, inputs: Any, target: Target = None) -> NeuronScores:
        """Score every neuron of every input; see `Method.score`.

        The gates depend on all of the network's probabilities; the target only names the response to be reported.
        """
        with at_work(self.network.model) as device:
            inputs = placed(inputs, device)
            whole = take(self.network, inputs)
            response = respond(target, whole.logits)
            checked(self.network, inputs, whole, gradients(whole, response))
            gates = self._descend(inputs, whole.logits.detach(), self._first(whole.values))
            return scored(type(self).__name__, gates, whole, response)

    def _first(self, values: Values) -> Values:
        if self.start == "ones":
            return {raw: torch.ones_like(value) for raw, value in values.items()}
        generator = torch.Generator().manual_seed(self.seed + (1 << 40))  # not that of `RandomPathway`
        return {
            raw: torch.rand(value.shape[1:], generator=generator).to(value).expand_as(value).clone()
            for raw, value in values.items()
        }

    def _descend(self, inputs: Any, logits: Tensor, gates: Values) -> Values:
        """Give the best gates found; those of the last step for an input whose prediction was never kept."""
        probabilities, predictions = logits.softmax(1), logits.argmax(1)
        speeds = {raw: torch.zeros_like(gate) for raw, gate in gates.items()}
        best = {raw: gate.clone() for raw, gate in gates.items()}
        least = torch.full_like(logits[:, 0], torch.inf)
        gamma = torch.full_like(least, self.gamma if self.start == "ones" else self.gamma / 10)
        idle = 0
        with progress("distillation-guided routing", self.steps, self.show_progress) as advance:
            for _ in range(self.steps):
                leaves = {raw: gate.requires_grad_() for raw, gate in gates.items()}
                gated = self.network.run(inputs, partial(_times, leaves))
                entropy = -(probabilities * gated.log_softmax(1)).sum(1)
                found = torch.autograd.grad(entropy.sum(), list(leaves.values()), allow_unused=True)
                gates = {raw: gate.detach() for raw, gate in leaves.items()}
                kept = gated.detach().argmax(1) == predictions
                gamma[kept] = self.gamma
                size = sum(gate.flatten(1).sum(1) for gate in gates.values())
                loss = entropy.detach() + self.gamma * size
                better = kept & (loss < least)
                least[better] = loss[better]
                for raw, gradient in zip(gates, found, strict=True):
                    gate, speed = gates[raw], speeds[raw]
                    best[raw][better] = gate[better]
                    speed.mul_(self.momentum).add_(gamma.reshape(-1, *[1] * (gate.ndim - 1)))
                    if gradient is not None:
                        speed.add_(gradient)
                    gate.sub_(self.lr * speed).clamp_(0, _HIGHEST)
                advance(1)
                idle = 0 if bool(better.any()) else idle + 1
                if self.patience is not None and idle >= self.patience:
                    break
        lost = least.isinf()
        if bool(lost.any()):
            warnings.warn(
                f"{int(lost.sum())} of {len(lost)} inputs never kept their prediction in {self.steps} steps: their"
                " scores are the gates of the last step. Give more steps or a lesser gamma.",
                stacklevel=4,
            )
            for raw, gate in gates.items():
                best[raw][lost] = gate[lost]
        return best


def _times(gates: Values, raw: str, output: Tensor) -> Tensor:
    return output * gates[raw]
