"""How far around an input a network, whole or masked by a pathway, is affine: the exact radius of that ball.

A network of piecewise linear activations and max pooling is affine on a polytope around each input, bounded by
hyperplanes on which one neuron or one pair in a pooling window has its kink. Each bounding function is affine there,
so the distance to its hyperplane is its value over the norm of its gradient, and the least distance is the radius.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from neucept.errors import InputError
from neucept.pathways.linear_regions import Pieces
from neucept.pathways.pathway import Pathway
from neucept.pathways.targets import Response, Target, check_target, respond
from neucept.pathways.tracing.activations import ACTIVATIONS
from neucept.pathways.tracing.network import Network, Values, masking
from neucept.pathways.tracing.sites import at_work, check_model
from neucept.progress import progress as show_progress
from neucept.recording.outputs import Output

_ELEMENTS = 2**23  # of all bounding functions that are held at a time, of 8 bytes each
_ROUNDING = 1e-12  # gradients below this share of the largest of their site are rounding
_BENT = 1e-9  # change of slope, in units of the gradients' norms, that is more than rounding


@dataclass(frozen=True, eq=False)
class LinearBall:
    """The ball around each input of a batch in which a network is affine.

    Attributes
    ----------
    radius : Tensor
        (batch,) float64, Euclidean distance from the input to the nearest kink; infinite where there is none.
    direction : Tensor
        (batch, *shape) float64, unit vectors from the input to that kink; zero where there is none.
    kinks : tuple of (str, tuple of int)
        Where each lies: the site and its neuron, or the max pooling (``features.2 (max_pool2d)``) and the output of
        its window, followed by the place in the window of what becomes as large as the largest.
    bend : Tensor
        (batch,) float64, how much the slope of the response along ``direction`` changes at the kink.
    reaches : Tensor
        (batch,) bool: whether that is more than rounding. Where not, the response goes on as it was beyond the ball.
    neurons, inactive : Tensor
        (batch,) kept neurons, all of them for the whole network; how many of those are zero in the network as it runs.
    """

    radius: Tensor
    direction: Tensor = field(repr=False)
    kinks: tuple[tuple[str, tuple[int, ...]], ...]
    bend: Tensor
    reaches: Tensor
    neurons: Tensor
    inactive: Tensor

    def table(self) -> pd.DataFrame:
        """One row an input: radius, site and place of the kink, bend, whether it reaches the response, neurons."""
        table = pd.DataFrame(self.kinks, columns=["site", "place"])
        for place, name in enumerate(("input", "radius")):
            table.insert(place, name, range(len(table)) if name == "input" else self.radius.cpu().numpy())
        for name in ("bend", "reaches", "neurons", "inactive"):
            table[name] = getattr(self, name).cpu().numpy()
        return table


def linear_ball(
    model: nn.Module,
    inputs: Tensor,
    pathway: Pathway | None = None,
    target: Target = None,
    *,
    output: Output = None,
    activations: Collection[str] | None = None,
    progress: bool = True,
) -> LinearBall:
    """Measure the ball around each input in which a network is affine, exactly, in double precision.

    Neurons that a pathway leaves out are zero and have no kink; those it keeps are judged as they are in the masked
    network. The gradients of all bounding functions come from running the network on the affine piece of the input, a
    row for each input dimension: as many forward passes as the input has numbers, for every input. For one image of
    3 x 32 x 32, VGG11 takes about 20 seconds on one core, and images of 3 x 224 x 224 are out of reach there: begin
    with one input, and crop or pool large ones.

    Parameters
    ----------
    model : Module
        Of ReLU, ReLU6, hard tanh or sigmoid, leaky ReLU or PReLU, soft shrinkage and max pooling; a copy in double
        precision runs.
    inputs : Tensor
        (batch, *shape), floating-point.
    pathway : Pathway, optional
        Of these inputs; None is the whole network.
    target : None, int, (batch,) whole numbers, or a pair (a, b) of either
        The class whose logit is the response; None is the pathway's, or the predicted one.
    output, activations
        As for `Method`; the pathway's activations unless told otherwise.
    progress : bool
        Show progress when it takes more than two seconds.

    Raises
    ------
    InputError
        For an activation that is not piecewise linear, named by its site, anything else between sites that is not
        affine, inputs that are no floating-point tensor, or a pathway of another batch or model.

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1))
    >>> _ = network[0].weight.data.copy_(torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    >>> ball = linear_ball(network, torch.tensor([[1.0, 2.0]]))
    >>> ball.radius, ball.kinks
    (tensor([2.], dtype=torch.float64), (('1', (1,)),))
    """
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point() or inputs.ndim < 2 or not len(inputs):
        raise InputError("inputs must be a floating-point tensor (batch, ...), one input or more, for a ball to be.")
    check_model(model)
    if activations is None:
        activations = ACTIVATIONS if pathway is None else pathway.activations
    doubled = Network(copy.deepcopy(model).double(), output, activations)
    balls = []
    with (
        at_work(doubled.model) as device,
        show_progress("measuring where the network is affine", inputs[0].numel() * len(inputs), progress) as advance,
    ):
        given = inputs.detach().to(device, torch.float64)
        masks = {} if pathway is None else {raw: mask.to(device) for raw, mask in pathway.raw.items()}
        for raw, mask in masks.items():
            if len(mask) != len(given):
                raise InputError(f"The pathway is of {len(mask)} inputs at '{raw}', but {len(given)} were given.")
        classes = check_target(pathway.target if target is None and pathway is not None else target, len(given))
        doubled = doubled.settled(given)
        with torch.no_grad():
            logits = doubled.run(given, lambda raw, returned: returned)
        response = respond(classes, logits)
        for row in range(len(given)):
            mine = slice(row, row + 1)
            kept = {raw: mask[mine] for raw, mask in masks.items()}
            one = Response(response.plus[mine], None if response.minus is None else response.minus[mine])
            balls.append(_ball(doubled, given[mine], kept, one, advance))
    device = inputs.device
    return LinearBall(
        radius=torch.stack([ball.radius for ball in balls]).to(device),
        direction=torch.cat([ball.direction for ball in balls]).to(device),
        kinks=tuple(ball.kink for ball in balls),
        bend=torch.tensor([ball.bend for ball in balls], dtype=torch.float64, device=device),
        reaches=torch.tensor([ball.reaches for ball in balls], device=device),
        neurons=torch.tensor([ball.neurons for ball in balls], device=device),
        inactive=torch.tensor([ball.inactive for ball in balls], device=device),
    )


def local_radius(model: nn.Module, inputs: Tensor, pathway: Pathway, **more: Any) -> pd.DataFrame:
    """Measure how far the network masked by a pathway is affine, and the whole network beside it.

    Parameters
    ----------
    model, inputs, pathway, more
        As for `linear_ball`, which runs twice, with its costs; the response is the pathway's for both networks.

    Returns
    -------
    DataFrame
        Two rows an input: ``input``, ``network`` (pathway or whole), ``radius``, ``site`` and ``place`` of the nearest
        kink, ``bend`` (change of the response's slope there), whether it ``reaches`` the response, ``neurons`` kept
        and those ``inactive``; see `LinearBall`.

    Examples
    --------
    >>> from neucept.pathways import NeuronMCT
    >>> network = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> inputs = torch.randn(3, 12)
    >>> table = local_radius(network, inputs, NeuronMCT(network).score(inputs).select(sparsity=0.75))
    >>> table["network"].tolist()[:2], table["neurons"].tolist()[:2]
    (['pathway', 'whole'], [2, 8])
    """
    more.setdefault("target", pathway.target)
    tables = {
        "pathway": linear_ball(model, inputs, pathway, **more).table(),
        "whole": linear_ball(model, inputs, **more).table(),
    }
    both = pd.concat(tables, names=["network", "row"]).reset_index("network")
    both.insert(0, "input", both.pop("input"))
    return both.sort_values(["input", "network"], kind="stable").reset_index(drop=True)


@dataclass(frozen=True)
class _Ball:
    """The ball around one input; fields as of `LinearBall`."""

    radius: Tensor
    direction: Tensor
    kink: tuple[str, tuple[int, ...]]
    bend: float
    reaches: bool
    neurons: int
    inactive: int


def _ball(network: Network, x: Tensor, kept: Values, response: Response, advance: Any) -> _Ball:
    pieces = Pieces(network, kept)
    with torch.no_grad():
        pieces.run(x)
        pieces.check(x)
        norms = _gradient_norms(pieces, x, advance)
    nearest, place = "", 0
    least = math.inf
    for name, norm in norms.items():
        distances = torch.where(norm > 0, pieces.gaps[name] / norm, math.inf).flatten()
        if distances.numel() and float(distances.min()) < least:
            least, nearest, place = float(distances.min()), name, int(distances.argmin())
    if not nearest:
        nowhere = ("", ())
        found = (torch.tensor(math.inf, dtype=x.dtype), torch.zeros_like(x), nowhere, 0.0, False)
        return _Ball(*found, pieces.neurons, pieces.inactive)
    leaf = x.clone().requires_grad_()
    pieces.run(leaf)
    values = pieces.values[nearest]
    gradient = torch.autograd.grad(values.flatten()[place], leaf)[0]
    norm = gradient.norm()
    radius = (pieces.gaps[nearest].flatten()[place] / norm).cpu()
    direction = gradient / norm * pieces.signs[nearest].flatten()[place]
    where = tuple(int(axis) for axis in torch.unravel_index(torch.tensor(place), values.shape))[1:]
    bend, reaches = _bend(network, x, direction, float(radius), kept, response)
    return _Ball(radius, direction, (pieces.readable(nearest), where), bend, reaches, pieces.neurons, pieces.inactive)


def _gradient_norms(pieces: Pieces, x: Tensor, advance: Any) -> Values:
    """Norms of the gradients of all bounding functions with respect to the input, (1, ...) each."""
    anchors = pieces.values
    size, held = x.numel(), sum(value.numel() for value in anchors.values())
    rows = max(1, min(size, _ELEMENTS // max(held, 1)))
    step = max(float(x.abs().max()), 1.0)  # any would do: the piece is affine
    squares = {name: torch.zeros_like(value) for name, value in anchors.items()}
    for start in range(0, size, rows):
        count = min(rows, size - start)
        moved = x.flatten(1).repeat(count, 1)
        moved[torch.arange(count), start + torch.arange(count)] += step
        pieces.run(moved.reshape(count, *x.shape[1:]))
        for name, value in pieces.values.items():
            squares[name] += ((value - anchors[name]) / step).square_().sum(0, keepdim=True)
        advance(count)
    norms = {name: square.sqrt_() for name, square in squares.items()}
    return {name: torch.where(n > _ROUNDING * n.max(), n, 0.0) if n.numel() else n for name, n in norms.items()}


def _bend(
    network: Network, x: Tensor, direction: Tensor, radius: float, kept: Values, response: Response
) -> tuple[float, bool]:
    """Change of the response's slope from just before the kink to just behind it, and whether there is one."""
    apart = max(1e-6 * radius, 1e-12 * (1 + float(x.norm())))
    points = torch.cat([x + (radius - apart) * direction, x + (radius + apart) * direction]).requires_grad_()
    # A copy goes in: a network that writes into its input cannot write into a leaf.
    logits = network.run(
        points.clone(), masking({raw: mask.repeat(2, *[1] * (mask.ndim - 1)) for raw, mask in kept.items()})
    )
    gradient = torch.autograd.grad(response.of(logits).sum(), points, allow_unused=True)[0]
    if gradient is None:
        return 0.0, False
    slopes = (gradient * direction).flatten(1).sum(1)
    bend = float(slopes[1] - slopes[0])
    return bend, abs(bend) > _BENT * float(gradient.flatten(1).norm(dim=1).sum())
