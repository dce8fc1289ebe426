"""NeuronIntGrad: integrated gradients of every neuron, site by site."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neucept.errors import InputError, check_whole
from neucept.pathways.inputs import count_inputs, repeated, tensors_in
from neucept.pathways.scores import Method, NeuronScores
from neucept.pathways.targets import Checked, Response, respond
from neucept.pathways.tracing.activations import ACTIVATIONS
from neucept.pathways.tracing.gradients import Pass, checked, gradients, single, take
from neucept.pathways.tracing.network import Network
from neucept.pathways.tracing.replay import Replay, Tape
from neucept.recording.outputs import Output

RULES = ("gauss-legendre", "equal")
# Where nothing else is asked, so many rows run at a time, or as many as have so many elements; never less than a batch.
_ROWS, _ELEMENTS = 128, 2**19


def points(steps: int, rule: str) -> tuple[np.ndarray, np.ndarray]:
    """Give the alphas in [0, 1] and their weights, which add up to 1.

    Parameters
    ----------
    steps : int
        How many.
    rule : {"gauss-legendre", "equal"}
        Gauss and Legendre's points, or points of equal distance from 0 to 1 and of equal weight.

    Examples
    --------
    >>> points(3, "equal")[0]
    array([0. , 0.5, 1. ])
    """
    if rule not in RULES:
        raise InputError(f"rule={rule!r}: expected one of {', '.join(map(repr, RULES))}.")
    steps = check_whole("steps", steps)
    if rule == "equal":
        return np.linspace(0, 1, steps), np.full(steps, 1 / steps)
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return (nodes + 1) / 2, weights / 2


class NeuronIntGrad(Method):
    """Score a neuron by its integrated gradient: ``|a * mean over alpha in [0, 1] of df/da at alpha a|``.

    Site by site: the site's output is scaled by alpha, everything before it stays. Only the network from the site on
    runs again, from a record of the forward pass (see `neucept.pathways.tracing.replay`); where a network does
    something that cannot be replayed, all of it runs.

    The signed contributions of a site's neurons add up to the change of the response when the site falls to zero, up
    to the error of the rule: ``scores.residual`` and ``scores.change`` give both for each input and site.

    Parameters
    ----------
    model : Module
        Any network that ends in logits; left as it was found.
    steps : int
        Number of alphas.
    rule : {"gauss-legendre", "equal"}
        Where they lie; see `points`.
    internal_batch_size : int, optional
        Most rows (inputs times alphas) that run at a time, which bounds memory; None is the batch, or up to 128 where
        inputs are small and few.
    output, activations
        As for `Method`.
    """

    def __init__(
        self,
        model: nn.Module,
        steps: int = 11,
        rule: str = "gauss-legendre",
        internal_batch_size: int | None = None,
        *,
        output: Output = None,
        activations: Collection[str] = ACTIVATIONS,
    ) -> None:
        points(steps, rule)
        super().__init__(model, output=output, activations=activations, internal_batch_size=internal_batch_size)
        self.steps = check_whole("steps", steps)
        self.rule = rule

    def _rows(self, inputs: Any) -> int:
        n, size = count_inputs(inputs), sum(tensor[0].numel() for tensor in tensors_in(inputs))
        return self.internal_batch_size or max(n, min(_ROWS, _ELEMENTS // max(size, 1)))

    def _score(self, inputs: Any, target: Checked) -> NeuronScores:
        taken = take(self.network, inputs)
        network = self.network.only(taken.values)
        response = respond(target, taken.logits)
        checked(network, inputs, taken, gradients(taken, response))
        whole = Pass(taken.logits.detach(), taken.values, {})
        del taken  # and the graph with it
        rows = self._rows(inputs)
        alphas, weights = points(self.steps, self.rule)
        # The response at alpha = 0, for the residual, is one more point, of no weight.
        alphas, weights = np.append(alphas, 0.0), np.append(weights, 0.0)
        groups = math.ceil(len(alphas) / max(1, rows // count_inputs(inputs)))
        copies = math.ceil(len(alphas) / groups)
        tape = Tape(network, repeated(inputs, copies))
        # The affine part after a site runs on one copy of the batch, the rest on all: sizes are part of a record.
        short = tape if copies == 1 else Tape(network, inputs)
        batched = tape.batched(short)
        scores, residual, change = {}, {}, {}
        for raw, values in whole.values.items():
            head, tail = short.after(raw, batched), tape.after(raw, batched)
            if head is not None and tail is not None:
                replay, times = Replay(head.head, tail.tail), copies
            else:  # without copies: a network that reads values may look at the whole batch
                replay, times = _from_the_start(network, inputs, raw), 1
            mean, at_zero = _mean_gradient(replay, values, response, alphas, weights, times)
            contributions = single(values) * single(mean)
            change[raw] = response.of(whole.logits) - at_zero
            residual[raw] = (contributions.flatten(1).sum(1) - change[raw]).abs()
            scores[raw] = contributions.abs_()
        return self._scored(scores, whole, response, residual=residual, change=change)


def _mean_gradient(
    replay: Replay, values: Tensor, response: Response, alphas: np.ndarray, weights: np.ndarray, copies: int
) -> tuple[Tensor, Tensor]:
    """Mean of a site's gradients over alphas, and the responses at the last alpha; ``copies`` alphas at a time.

    Through the affine part after the site, alpha times the site's output is a straight line, and the mean of gradients
    the gradient of the mean: it runs twice and back once, whatever the number of alphas.
    """
    leaf = values.detach().requires_grad_()
    ends = replay.head(leaf)
    with torch.no_grad():
        starts = replay.head(torch.zeros_like(values))
        spans = [end - start for start, end in zip(starts, ends, strict=True)]
    means = [torch.zeros_like(single(start)) for start in starts]
    answers = torch.empty(0)
    for first in range(0, len(alphas), copies):
        scale, weight = torch.zeros(2, copies, dtype=single(values).dtype, device=values.device)
        count = len(alphas[first : first + copies])
        scale[:count] = torch.from_numpy(alphas[first : first + copies])
        weight[:count] = torch.from_numpy(weights[first : first + copies])
        between = [
            (start + scale.reshape(-1, *[1] * start.ndim) * span).to(start.dtype).flatten(0, 1).requires_grad_()
            for start, span in zip(starts, spans, strict=True)
        ]
        with torch.set_grad_enabled(bool(weight.any())):
            answers = response.of(replay.tail(between))
        if answers.requires_grad:
            found = torch.autograd.grad(answers.sum(), between, allow_unused=True)
            for mean, gradient in zip(means, found, strict=True):
                if gradient is not None:
                    mean += torch.tensordot(weight, single(gradient).reshape(copies, *mean.shape), 1)
        answers = answers.detach().reshape(copies, -1)[count - 1]
    (mean,) = torch.autograd.grad(ends, leaf, [mean.to(end.dtype) for mean, end in zip(means, ends, strict=True)])
    return mean, answers


def _from_the_start(network: Network, inputs: Any, site: str) -> Replay:
    """Give the way from what a site returns to the logits, by running all of the network."""

    def tail(given: list[Tensor]) -> Tensor:
        # A copy: a leaf could not be written over.
        return network.run(inputs, lambda raw, output: given[0].clone() if raw == site else output)

    return Replay(lambda value: [value], tail)
