"""The exact radius of the largest ball around an input in which a network, whole or masked by a pathway, is affine.

A network of piecewise linear activations and max pooling is affine in a polytope around each input, its linear region.
Each face lies in a hyperplane on which one neuron, or one pair of entries in a pooling window, reaches its breakpoint.
The bounding functions are affine in the region, so the distance to a hyperplane is the function's value divided by the
norm of its gradient, and the least distance is the radius.
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

from neucept.batches import Batch
from neucept.errors import InputError
from neucept.pathways.linear_regions import LinearRegion
from neucept.pathways.pathway import Pathway
from neucept.pathways.targets import Response, Target, check_target, respond
from neucept.pathways.tracing.activations import ACTIVATIONS
from neucept.pathways.tracing.network import Network, Values, mask_sites
from neucept.pathways.tracing.sites import evaluation
from neucept.progress import progress as show_progress
from neucept.recording.hooks import check_model
from neucept.recording.outputs import Output
from neucept.short_repr import ShortRepr

_ELEMENTS = 2**23  # values of bounding functions that are held at a time, of 8 bytes each
_ROUNDING = 1e-12  # gradients below this share of the largest one of their site are rounding errors
_BENT = 1e-9  # changes of slope below this, in units of the gradients' norms, are rounding errors


@dataclass(frozen=True, eq=False, repr=False)
class LinearBall(ShortRepr):
    """The ball around each input of a batch in which a network is affine.

    Attributes
    ----------
    radius : Tensor
        (batch,) float64, Euclidean distance from the input to the nearest boundary; infinite where there is none.
    direction : Tensor
        (batch, *shape) float64, unit vectors from the input to that boundary; zero where there is none.
    boundaries : tuple of (str, tuple of int)
        What changes at the boundary: the site and its neuron, or the max pooling (``features.2 (max_pool2d)``) and the
        output of its window, followed by the place in the window of the entry that becomes as large as the largest.
    bend : Tensor
        (batch,) float64, change of the slope of the response along ``direction`` at the boundary.
    reaches : Tensor
        (batch,) bool: whether that change is more than rounding. If not, the response stays affine beyond the ball.
    neurons, inactive : Tensor
        (batch,) number of kept neurons (all of them for the whole network), and of those that are zero as it runs.
    """

    radius: Tensor
    direction: Tensor = field(repr=False)
    boundaries: tuple[tuple[str, tuple[int, ...]], ...]
    bend: Tensor
    reaches: Tensor
    neurons: Tensor
    inactive: Tensor

    @property
    def kinks(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """The former name of `boundaries`."""
        return self.boundaries

    def table(self) -> pd.DataFrame:
        """One row per input: radius, site and place of the boundary, bend, whether it reaches the response, neurons."""
        table = pd.DataFrame(self.boundaries, columns=["site", "place"])
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

    Neurons that a pathway leaves out are zero and bound nothing; the kept ones count as they are in the masked network.
    The gradients of all bounding functions come from running the network, extended from the linear region of the
    input, on one row per input dimension: for every input as many forward rows as the input has values. For one image
    of 3 x 32 x 32, VGG11 takes about 20 seconds on one core, and images of 3 x 224 x 224 are out of reach there: begin
    with one input, and crop or pool large ones.

    Parameters
    ----------
    model : Module
        With ReLU, ReLU6, hard tanh or hard sigmoid, leaky ReLU or PReLU, soft shrinkage and max pooling; a copy in
        double precision runs.
    inputs : Tensor
        (batch, *shape), floating-point.
    pathway : Pathway, optional
        Selected for these inputs; None is the whole network.
    target : None, int, (batch,) whole numbers, or a pair (a, b) of either
        The class whose logit is the response; None is the pathway's, or the predicted one.
    output, activations
        As for `Method`; the default is the pathway's activations.
    progress : bool
        Show progress when it takes more than two seconds.

    Raises
    ------
    InputError
        For an activation that is not piecewise linear (the site is named), any other function between sites that is
        not affine, inputs that are no floating-point tensor, or a pathway of another batch or model.

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1))
    >>> _ = network[0].weight.data.copy_(torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    >>> ball = linear_ball(network, torch.tensor([[1.0, 2.0]]))
    >>> ball.radius, ball.boundaries
    (tensor([2.], dtype=torch.float64), (('1', (1,)),))
    """
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point() or inputs.ndim < 2 or not len(inputs):
        raise InputError("inputs must be a floating-point tensor (batch, ...) with at least one input.")
    model = check_model(model)
    if activations is None:
        activations = ACTIVATIONS if pathway is None else pathway.activations
    doubled = Network(copy.deepcopy(model).double(), output, activations)
    balls = []
    with (
        evaluation(doubled.model) as device,
        show_progress("measuring where the network is affine", inputs[0].numel() * len(inputs), progress) as advance,
    ):
        given = inputs.detach().to(device, torch.float64)
        masks = {} if pathway is None else {raw: mask.to(device) for raw, mask in pathway.raw.items()}
        for raw, mask in masks.items():
            if len(mask) != len(given):
                raise InputError(f"The pathway is of {len(mask)} inputs at '{raw}', but {len(given)} were given.")
        classes = check_target(pathway.target if target is None and pathway is not None else target, len(given))
        doubled = doubled.find_sites(Batch(given))
        with torch.no_grad():
            logits = doubled.run(Batch(given), lambda raw, returned: returned)
        response = respond(classes, logits)
        for row in range(len(given)):
            only = slice(row, row + 1)
            kept = {raw: mask[only] for raw, mask in masks.items()}
            one = Response(response.plus[only], None if response.minus is None else response.minus[only])
            balls.append(_ball(doubled, given[only], kept, one, advance))
    device = inputs.device
    return LinearBall(
        radius=torch.stack([ball.radius for ball in balls]).to(device),
        direction=torch.cat([ball.direction for ball in balls]).to(device),
        boundaries=tuple(ball.boundary for ball in balls),
        bend=torch.tensor([ball.bend for ball in balls], dtype=torch.float64, device=device),
        reaches=torch.tensor([ball.reaches for ball in balls], device=device),
        neurons=torch.tensor([ball.neurons for ball in balls], device=device),
        inactive=torch.tensor([ball.inactive for ball in balls], device=device),
    )


def local_radius(model: nn.Module, inputs: Tensor, pathway: Pathway, **more: Any) -> pd.DataFrame:
    """Measure the radius in which the network masked by a pathway is affine, and that of the whole network.

    Parameters
    ----------
    model, inputs, pathway, more
        As for `linear_ball`, which runs twice; the response is the pathway's for both networks.

    Returns
    -------
    DataFrame
        Two rows per input: ``input``, ``network`` (pathway or whole), ``radius``, ``site`` and ``place`` of the nearest
        boundary, ``bend`` (change of the response's slope there), whether it ``reaches`` the response, kept
        ``neurons``, and those of them that are ``inactive``; see `LinearBall`.

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
    boundary: tuple[str, tuple[int, ...]]
    bend: float
    reaches: bool
    neurons: int
    inactive: int


def _ball(network: Network, x: Tensor, kept: Values, response: Response, advance: Any) -> _Ball:
    region = LinearRegion(network, kept)
    with torch.no_grad():
        region.run(x)
        region.check(x)
        norms = _gradient_norms(region, x, advance)
    nearest, place = "", 0
    least = math.inf
    for name, norm in norms.items():
        distances = torch.where(norm > 0, region.gaps[name] / norm, math.inf).flatten()
        if distances.numel() and float(distances.min()) < least:
            least, nearest, place = float(distances.min()), name, int(distances.argmin())
    if not nearest:
        infinite = torch.tensor(math.inf, dtype=x.dtype)
        return _Ball(infinite, torch.zeros_like(x), ("", ()), 0.0, False, region.neurons, region.inactive)
    leaf = x.clone().requires_grad_()
    region.run(leaf)
    values = region.values[nearest]
    gradient = torch.autograd.grad(values.flatten()[place], leaf)[0]
    norm = gradient.norm()
    radius = (region.gaps[nearest].flatten()[place] / norm).cpu()
    direction = gradient / norm * region.signs[nearest].flatten()[place]
    where = tuple(int(axis) for axis in torch.unravel_index(torch.tensor(place), values.shape))[1:]
    bend, reaches = _bend(network, x, direction, float(radius), kept, response)
    return _Ball(
        radius, direction, (region.readable_name(nearest), where), bend, reaches, region.neurons, region.inactive
    )


def _gradient_norms(region: LinearRegion, x: Tensor, advance: Any) -> Values:
    """Return the norms of the gradients of all bounding functions with respect to the input, (1, ...) each."""
    anchors = region.values
    size, held = x.numel(), sum(value.numel() for value in anchors.values())
    rows = max(1, min(size, _ELEMENTS // max(held, 1)))
    step = max(float(x.abs().max()), 1.0)  # any step would do: the function is affine
    squares = {name: torch.zeros_like(value) for name, value in anchors.items()}
    for start in range(0, size, rows):
        count = min(rows, size - start)
        moved = x.flatten(1).repeat(count, 1)
        moved[torch.arange(count), start + torch.arange(count)] += step
        region.run(moved.reshape(count, *x.shape[1:]))
        for name, value in region.values.items():
            squares[name] += ((value - anchors[name]) / step).square_().sum(0, keepdim=True)
        advance(count)
    norms = {name: square.sqrt_() for name, square in squares.items()}
    return {name: torch.where(n > _ROUNDING * n.max(), n, 0.0) if n.numel() else n for name, n in norms.items()}


def _bend(
    network: Network, x: Tensor, direction: Tensor, radius: float, kept: Values, response: Response
) -> tuple[float, bool]:
    """Return the change of the response's slope across the boundary, and whether there is one."""
    apart = max(1e-6 * radius, 1e-12 * (1 + float(x.norm())))
    points = torch.cat([x + (radius - apart) * direction, x + (radius + apart) * direction]).requires_grad_()
    masks = {raw: mask.repeat(2, *[1] * (mask.ndim - 1)) for raw, mask in kept.items()}
    logits = network.run(Batch(points), mask_sites(masks))
    gradient = torch.autograd.grad(response.of(logits).sum(), points, allow_unused=True)[0]
    if gradient is None:
        return 0.0, False
    slopes = (gradient * direction).flatten(1).sum(1)
    bend = float(slopes[1] - slopes[0])
    return bend, abs(bend) > _BENT * float(gradient.flatten(1).norm(dim=1).sum())
