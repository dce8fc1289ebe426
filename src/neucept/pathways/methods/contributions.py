"""Neurons by their contribution: NeuronMCT, to first order, and NeuronIntGrad, integrated site by site."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor, nn

from neucept.batches import Batch
from neucept.errors import check_whole, one_of
from neucept.pathways.methods.base import Method, SiteScores
from neucept.pathways.targets import Response
from neucept.pathways.tracing.activations import ACTIVATIONS
from neucept.pathways.tracing.gradients import Trace, at_least_single, contribution
from neucept.pathways.tracing.network import Network, Values
from neucept.pathways.tracing.replay import Remainder, Replay
from neucept.recording.outputs import Output

RULES = ("gauss-legendre", "equal")
# By default so many rows run at a time, or as many as have so many elements; never fewer than a batch.
_ROWS, _ELEMENTS = 128, 2**19


def points(steps: int, rule: str) -> tuple[np.ndarray, np.ndarray]:
    """Return alphas in [0, 1] and their weights, which add up to 1.

    Parameters
    ----------
    steps : int
        Number of alphas.
    rule : {"gauss-legendre", "equal"}
        The nodes of Gauss-Legendre quadrature, or equidistant points from 0 to 1 with equal weights.

    Examples
    --------
    >>> points(3, "equal")[0]
    array([0. , 0.5, 1. ])
    """
    one_of("rule", rule, RULES)
    steps = check_whole("steps", steps)
    if rule == "equal":
        return np.linspace(0, 1, steps), np.full(steps, 1 / steps)
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return (nodes + 1) / 2, weights / 2


class NeuronIntGrad(Method):
    """Score a neuron by its integrated gradient: ``|a * mean over alpha in [0, 1] of df/da at alpha a|``.

    Site by site: the site's output is scaled by alpha, everything before it stays. Only the part of the network after
    the site runs again, from a record of the forward pass (see `neucept.pathways.tracing.replay`). Where a network does
    something that cannot be replayed, all of it runs.

    The signed contributions of a site's neurons add up to the change of the response when the site falls to zero, up
    to the error of the rule: ``scores.residual`` is that error and ``scores.change`` the change, for each input and
    site.

    Parameters
    ----------
    model : Module
        Any network that ends in logits; left as it was found.
    steps : int
        Number of alphas.
    rule : {"gauss-legendre", "equal"}
        Where the alphas lie; see `points`.
    internal_batch_size : int, optional
        Most rows (inputs times alphas) that run at a time, which bounds memory; None is the batch, or up to 128 if
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

    def rows_at_a_time(self, inputs: Batch) -> int:
        """Return how many rows, inputs times alphas, run at a time."""
        size = sum(tensor[0].numel() for tensor in inputs.tensors())
        return self.internal_batch_size or max(inputs.n, min(_ROWS, _ELEMENTS // max(size, 1)))

    def neuron_scores(self, trace: Trace) -> SiteScores:
        """Return the integrated gradients with residual and change; see `Method.neuron_scores`."""
        network, inputs, response = trace.network, trace.inputs, trace.response
        trace.gradients()  # an error where none reaches a site; and frees the graph
        rows = self.rows_at_a_time(inputs)
        alphas, weights = points(self.steps, self.rule)
        # The response at alpha = 0, for the residual, is one more point, with no weight.
        alphas, weights = np.append(alphas, 0.0), np.append(weights, 0.0)
        groups = math.ceil(len(alphas) / max(1, rows // inputs.n))
        copies = math.ceil(len(alphas) / groups)
        long = Replay(network, inputs.repeat(copies))
        # The affine part after a site runs on one copy of the batch, the rest on all: sizes are part of a record.
        short = long if copies == 1 else Replay(network, inputs)
        batched = long.batched(short)
        scores, residual, change = {}, {}, {}
        for raw, values in trace.values.items():
            head, tail = short.after(raw, batched), long.after(raw, batched)
            if head is not None and tail is not None:
                remainder, times = Remainder(head.head, tail.tail), copies
            else:  # without copies: a network that reads values may look at the whole batch
                remainder, times = _whole_network(network, inputs, raw), 1
            mean, at_zero = _mean_gradient(remainder, values, response, alphas, weights, times)
            contributions = at_least_single(values) * at_least_single(mean)
            change[raw] = response.of(trace.logits) - at_zero
            residual[raw] = (contributions.flatten(1).sum(1) - change[raw]).abs()
            scores[raw] = contributions.abs_()
        return SiteScores(scores, residual=residual, change=change)


def _mean_gradient(
    remainder: Remainder, values: Tensor, response: Response, alphas: np.ndarray, weights: np.ndarray, copies: int
) -> tuple[Tensor, Tensor]:
    """Return the mean of a site's gradients over alphas, and the responses at the last alpha.

    ``copies`` alphas run at a time. Through the affine part after the site, alpha times the site's output is a straight
    line, and the mean of the gradients is the gradient of the mean: that part runs forward twice and backward once,
    whatever the number of alphas.
    """
    leaf = values.detach().requires_grad_()
    ends = remainder.head(leaf)
    with torch.no_grad():
        starts = remainder.head(torch.zeros_like(values))
        spans = [end - start for start, end in zip(starts, ends, strict=True)]
    means = [torch.zeros_like(at_least_single(start)) for start in starts]
    answers = torch.empty(0)
    for first in range(0, len(alphas), copies):
        scale, weight = torch.zeros(2, copies, dtype=at_least_single(values).dtype, device=values.device)
        count = len(alphas[first : first + copies])
        scale[:count] = torch.from_numpy(alphas[first : first + copies])
        weight[:count] = torch.from_numpy(weights[first : first + copies])
        between = [
            (start + scale.reshape(-1, *[1] * start.ndim) * span).to(start.dtype).flatten(0, 1).requires_grad_()
            for start, span in zip(starts, spans, strict=True)
        ]
        with torch.set_grad_enabled(bool(weight.any())):
            answers = response.of(remainder.tail(between))
        if answers.requires_grad:
            gradients = torch.autograd.grad(answers.sum(), between, allow_unused=True)
            for mean, gradient in zip(means, gradients, strict=True):
                if gradient is not None:
                    mean += torch.tensordot(weight, at_least_single(gradient).reshape(copies, *mean.shape), 1)
        answers = answers.detach().reshape(copies, -1)[count - 1]
    (mean,) = torch.autograd.grad(ends, leaf, [mean.to(end.dtype) for mean, end in zip(means, ends, strict=True)])
    return mean, answers


def _whole_network(network: Network, inputs: Batch, site: str) -> Remainder:
    """Return the way from a site's output to the logits that runs the whole network."""

    def tail(given: list[Tensor]) -> Tensor:
        # A copy: a leaf cannot be overwritten.
        return network.run(inputs, lambda raw, output: given[0].clone() if raw == site else output)

    return Remainder(lambda value: [value], tail)


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
