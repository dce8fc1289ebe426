"""Distillation-guided routing (Wang et al., 2018): gates on all neurons that keep the prediction with few neurons."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from functools import partial

import torch
from torch import Tensor, nn

from neucept.batches import Batch
from neucept.errors import check_real, check_whole, one_of
from neucept.pathways.methods.base import Method
from neucept.pathways.tracing.activations import ACTIVATIONS
from neucept.pathways.tracing.gradients import Trace
from neucept.pathways.tracing.network import Network, Values
from neucept.progress import progress
from neucept.recording.outputs import Output

_HIGHEST = 100.0  # what gates are clamped to, as published


class DistillationGuidedRouting(Method):
    """Score a neuron by its gate g >= 0, where all gates minimise ``cross-entropy(p, p(g)) + gamma |g|_1``.

    p are the network's probabilities for an input, p(g) those with every neuron times its gate. All inputs of a batch
    run at once, each with its own gates and loss. Gates follow stochastic gradient descent with momentum, clamped to
    [0, 100]. The gates with the least loss among those that leave the prediction unchanged are returned. Gates and
    loss are at least in single precision, whatever the model's precision is.

    The gates depend on all of the network's probabilities; a target only names the response that is reported.

    Parameters
    ----------
    model : Module
        Any network that ends in logits; left as it was found.
    start : {"ones", "random"}
        Gates start at one, or uniform in (0, 1) with the same draw for all inputs. With a random start gamma is a tenth
        for an input until its prediction is kept.
    gamma, lr, momentum : float
        Parameters of the loss and of the descent.
    steps : int
        Maximum number of steps.
    patience : int, optional
        An input stops after this many steps without a better loss; None runs all steps.
    seed : int
        Seed for the random start.
    show_progress : bool
        Show progress when it takes more than two seconds.
    output, activations, internal_batch_size
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
        internal_batch_size: int | None = None,
    ) -> None:
        one_of("start", start, ("ones", "random"))
        super().__init__(model, output=output, activations=activations, internal_batch_size=internal_batch_size)
        self.start, self.show_progress = start, show_progress
        self.gamma = check_real("gamma", gamma, 0)
        self.lr = check_real("lr", lr, 0, above=True)
        self.momentum = check_real("momentum", momentum, 0, below=1)
        self.steps = check_whole("steps", steps)
        self.patience = None if patience is None else check_whole("patience", patience)
        self.seed = check_whole("seed", seed, least=None)

    def neuron_scores(self, trace: Trace) -> Values:
        """Return the gates; see `Method.neuron_scores`."""
        trace.gradients()  # an error where none reaches a site
        return self._descend(trace.network, trace.inputs, trace.logits.detach(), self._initial_gates(trace.values))

    def _initial_gates(self, values: Values) -> Values:
        # Steps of a half-precision gate would round to nothing.
        kinds = {raw: torch.promote_types(value.dtype, torch.float32) for raw, value in values.items()}
        if self.start == "ones":
            return {raw: torch.ones_like(value, dtype=kinds[raw]) for raw, value in values.items()}
        generator = torch.Generator().manual_seed(self.seed)
        return {
            raw: torch.rand(value.shape[1:], generator=generator)
            .to(value.device, kinds[raw])
            .repeat(len(value), *[1] * (value.ndim - 1))
            for raw, value in values.items()
        }

    def _descend(self, network: Network, inputs: Batch, logits: Tensor, gates: Values) -> Values:
        """Return the best gates; those of the last step for an input whose prediction was never kept."""
        probabilities, predictions = logits.softmax(1), logits.argmax(1)
        speeds = {raw: torch.zeros_like(gate) for raw, gate in gates.items()}
        best = {raw: gate.clone() for raw, gate in gates.items()}
        least = torch.full_like(logits[:, 0], torch.inf)
        gamma = torch.full_like(least, self.gamma if self.start == "ones" else self.gamma / 10)
        idle = torch.zeros_like(predictions)
        patience = self.steps if self.patience is None else self.patience
        with progress("distillation-guided routing", self.steps, self.show_progress) as advance:
            for _ in range(self.steps):
                leaves = {raw: gate.requires_grad_() for raw, gate in gates.items()}
                gated = network.run(inputs, partial(_gate, leaves))
                entropy = -(probabilities * gated.log_softmax(1)).sum(1)
                gradients = torch.autograd.grad(entropy.sum(), list(leaves.values()), allow_unused=True)
                gates = {raw: gate.detach() for raw, gate in leaves.items()}
                kept = gated.detach().argmax(1) == predictions
                gamma[kept] = self.gamma
                size = sum(gate.flatten(1).sum(1) for gate in gates.values())
                loss = entropy.detach() + self.gamma * size
                running = idle < patience
                better = running & kept & (loss < least)
                least[better] = loss[better]
                lost = running & least.isinf()
                for raw, gradient in zip(gates, gradients, strict=True):
                    gate, speed = gates[raw], speeds[raw]
                    best[raw][better] = gate[better]
                    speed.mul_(self.momentum).add_(gamma.reshape(-1, *[1] * (gate.ndim - 1)))
                    if gradient is not None:
                        speed.add_(gradient)
                    gate.sub_(self.lr * speed).clamp_(0, _HIGHEST)
                    best[raw][lost] = gate[lost]
                advance(1)
                idle = torch.where(better, 0, idle + running)
                if bool((idle >= patience).all()):
                    break
        lost = least.isinf()
        if bool(lost.any()):
            warnings.warn(
                f"{int(lost.sum())} of {len(lost)} inputs never kept their prediction in {self.steps} steps: their"
                " scores are the gates of the last step. Give more steps or a smaller gamma.",
                stacklevel=5,
            )
        return best


def _gate(gates: Values, raw: str, output: Tensor) -> Tensor:
    return (output * gates[raw]).to(output.dtype)
