"""How many predictions some neurons keep, the others resampled or constant: by running the network from a layer on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from neucept.discovery.orders import PAIRS, Aim, Parts, chunks, operations
from neucept.recording import Recording
from neucept.recording.intervention import Rest

STEPS = 40  # of the descent to constants
FOR_CONSTANTS = 256  # inputs that constants are learnt on
WORK = 1e12  # floating-point operations that learning constants for one layer may take
RATE, PENALTY = 0.05, 1.0  # of learnt gates


@dataclass(frozen=True, eq=False)
class Carrying:
    """A layer of a network, and inputs of a target in two halves: one to learn on, one to judge by.

    Attributes
    ----------
    rest : Rest
        The network from the layer on.
    aim : Aim
        The target.
    parts : Parts
        The inputs.
    k : int
        Number of neurons.
    seed : int
        Seed for pairs of inputs.
    """

    rest: Rest
    aim: Aim
    parts: Parts
    k: int
    seed: int

    @classmethod
    def of(cls, rest: Rest, recording: Recording, layer: str, aim: Aim, rows: np.ndarray, seed: int) -> Carrying:
        """Divide the rows as the search for sufficient neurons does with the same seed."""
        parts = Parts.of(recording, rows, rest, seed)
        return cls(rest, aim, parts, recording.activations(layer).shape[1], seed)

    def resampled(self, sets: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Share of predictions that stay with each set of neurons, all others being those of another input."""
        own, here, there = self._judged_pairs
        return {name: self._kept(here, there, self._mask(neurons), own) for name, neurons in sets.items()}

    def constants(self, sets: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Share of predictions that stay with each set, all others held at constants that are learnt to keep them.

        Optimal ablation (Li and Janson, arXiv 2409.09951): the constants, position by position, begin at the mean of
        all inputs and descend on the probability that is lost. On inputs of one class alone a constant would say the
        class by itself. So half of the inputs are of the target and half are not, and what stays is whether the target
        is predicted: no neurons keep a half. NaN without other inputs, or where the work is too much.
        """
        (learn, here), (judge, judged) = self._halves
        passes = len(sets) * STEPS * FOR_CONSTANTS * 3
        if not len(learn) or not len(judge) or operations(self.rest, self.parts) * passes > WORK:
            return dict.fromkeys(sets, float("nan"))
        mean, spread = self._of_all_kinds
        found = {}
        for name, neurons in sets.items():
            mask, step = self._mask(neurons), torch.zeros_like(mean).requires_grad_()
            descent = torch.optim.Adam([step], lr=0.1)
            for _ in range(STEPS if len(neurons) < self.k else 0):
                with torch.enable_grad():
                    constant = (mean + step * spread).to(here.dtype).expand_as(here)
                    mixed = self.rest.mix(here, constant, mask)
                    lost = self.aim.told_apart(self.rest.run(mixed), learn).mean()
                    (step.grad,) = torch.autograd.grad(lost, step)
                descent.step()
            constant = (mean + step.detach() * spread).to(judged.dtype).expand_as(judged)
            outputs = [self.rest.run(self.rest.mix(judged[p], constant[p], mask)) for p in chunks(judged)]
            predicted = self.aim.predicted(torch.cat(outputs).detach().cpu().numpy())
            found[name] = float((predicted == self.aim.predicted_of(judge)).mean())
        return found

    # What the layer returns for these inputs: the network runs once for all sets and orders.

    @cached_property
    def _judged_pairs(self) -> tuple[np.ndarray, Tensor, Tensor]:
        own, others = self.parts.pairs(True, PAIRS, self.seed)
        return own, self._values(own), self._values(others)

    @cached_property
    def _halves(self) -> tuple[tuple[np.ndarray, Tensor], tuple[np.ndarray, Tensor]]:
        half = len(self.parts.others) // 2
        learnt_on = self._both(self.parts.find, self.parts.others[:half])
        return learnt_on, self._both(self.parts.judge, self.parts.others[half:])

    @cached_property
    def _of_all_kinds(self) -> tuple[Tensor, Tensor]:
        values = self.rest.values(self.parts.others).float()  # in half precision Adam divides by 0
        return values.mean(0, keepdim=True), values.std(0, keepdim=True).clamp_min(1e-6)

    def _both(self, own: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, Tensor]:
        """Take as many inputs of the target as others, with what the layer returns for them; none if one is missing."""
        others, own = others[~self.aim.predicted_of(others)], own[self.aim.predicted_of(own)]
        count = min(len(own), len(others), FOR_CONSTANTS // 2)
        rows = np.concatenate([own[:count], others[:count]])
        return rows, self._values(rows) if count else torch.empty(0)

    def saliency(self) -> np.ndarray:
        """Mean absolute gradient of the target's response with respect to each neuron, (k,)."""
        values = self.rest.values(self.parts.find)
        total = torch.zeros(self.k, dtype=torch.float64)
        for part in chunks(values, 3):
            with torch.enable_grad():
                start = values[part].clone().requires_grad_()
                (gradient,) = torch.autograd.grad(self.aim.explained(self.rest.run(start)).sum(), start)
                weights = torch.zeros(self.k, device=start.device, requires_grad=True)
                spread = (self.rest.units.spread(weights, gradient, self.rest.module) * gradient.abs()).sum()
                total += torch.autograd.grad(spread, weights)[0].double().cpu()
        return np.asarray(total.numpy())

    def gates(self, steps: int = 200) -> np.ndarray:
        """Learn how much of each neuron to let through, (k,) in [0, 1], others being those of another input.

        As an information bottleneck (Schulz and others, arXiv 2001.00396), with another input's neurons in place of
        Gaussian noise, and the mean gate in place of the bound on the information.
        """
        own, others = self.parts.pairs(False, PAIRS, self.seed)
        here, there = self._values(own), self._values(others)
        logits = torch.full((self.k,), 1.0, device=here.device).requires_grad_()
        descent = torch.optim.Adam([logits], lr=RATE)
        for _ in range(steps):
            with torch.enable_grad():
                gates = logits.sigmoid()
                lost = self.aim.lost(self.rest.run(self.rest.mix(here, there, gates)), own).mean()
                (logits.grad,) = torch.autograd.grad(lost + PENALTY * gates.mean(), logits)
            descent.step()
        return np.asarray(logits.detach().sigmoid().double().cpu().numpy())

    def _kept(self, here: Tensor, there: Tensor, mask: Tensor, rows: np.ndarray) -> float:
        outputs = [self.rest.run(self.rest.mix(here[part], there[part], mask)) for part in chunks(here)]
        return float(self.aim.stays(torch.cat(outputs).detach().cpu().numpy(), rows).mean())

    def _values(self, rows: np.ndarray) -> Tensor:
        distinct, place = np.unique(rows, return_inverse=True)
        return self.rest.values(distinct)[torch.as_tensor(place)]

    def _mask(self, neurons: np.ndarray) -> Tensor:
        mask = torch.zeros(self.k)
        mask[torch.as_tensor(np.asarray(neurons, np.int64))] = 1.0
        return mask
