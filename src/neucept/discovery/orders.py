"""Orders of neurons by what they carry: from a recording alone, or by running the rest of the network.

Orders are scores of use, without a precision; the selection stays what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from neucept.errors import InputError
from neucept.knockoffs.preprocessing import standardised
from neucept.recording import Recording
from neucept.recording.intervention import Rest, decisions
from neucept.recording.task import Classes, Regression
from neucept.vocabulary import OrderName

BY_NETWORK: tuple[OrderName, ...] = ("robust", "sufficient")  # need the model and the data
PAIRS = 500  # of an input and another one, whose neurons replace those not kept
NOISE = (0, 1, 2, 3, 4, 6, 8)  # norms of the noise, in multiples of the layer's mean norm, at which gradients are taken
WORK = 2e12  # floating-point operations that a search may take
ELEMENTS = 2**22  # of a layer's output, that are run at once
HELD = 2**25  # of a layer's output, that each part of the inputs may hold
FEWEST_OTHERS = 30  # inputs of other kinds, from which a class is told


@dataclass(frozen=True)
class Schedule:
    """How thoroughly a search looks: pairs, neurons found one at a time, candidates tried for each, and growth then."""

    pairs: int
    single: int
    tries: int
    growth: float

    def passes(self, k: int) -> float:
        """Count passes of one input through the rest of the network; a gradient counts three."""
        singly = min(self.single, k)
        steps = singly + np.log(max(k / max(singly, 1), 1.0)) / np.log1p(self.growth) + 1 / self.growth
        return float(self.pairs * (3 * min(steps, k) + singly * self.tries))


SCHEDULES = (
    Schedule(PAIRS, 20, 8, 0.1),
    Schedule(300, 20, 0, 0.1),
    Schedule(200, 10, 0, 0.25),
    Schedule(100, 2, 0, 0.5),
    Schedule(64, 1, 0, 1.0),
)
"""From the most thorough to the cheapest; the first whose work is at most WORK is taken."""


@dataclass(frozen=True, eq=False)
class Carried:
    """What a search for sufficient neurons found.

    Attributes
    ----------
    order : array
        (p,) live neurons, the one that carries most first.
    kept : array
        (p + 1,) share of predictions that stay with the first 0, 1, ..., p neurons of the order from the input and all
        others from another input, on inputs that the order was not found on; interpolated between some tens of counts.
    """

    order: np.ndarray
    kept: np.ndarray


@dataclass(frozen=True, eq=False)
class Parts:
    """Inputs of a target for a search: half to find, half to judge, each with others to replace their neurons by.

    Attributes
    ----------
    find, judge : array
        (m,) row numbers, disjoint.
    others : array
        Row numbers of any inputs, in two halves of the same length.
    """

    find: np.ndarray
    judge: np.ndarray
    others: np.ndarray

    @classmethod
    def of(cls, recording: Recording, rows: np.ndarray, rest: Rest, seed: int) -> Parts:
        """Divide the rows at random; the same rows and seed give the same parts. Large layers take fewer inputs."""
        most = min(PAIRS, max(HELD // rest.numel, FEWEST_OTHERS))
        mixed = np.random.default_rng([seed, 11]).permutation(rows)
        half = len(mixed) // 2
        others = np.random.default_rng([seed, 12]).permutation(len(recording))[: 2 * most]
        return cls(mixed[:half][:most], mixed[half:][:most], others[: len(others) // 2 * 2])

    def pairs(self, judged: bool, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Pair inputs with others, (count,) each; inputs are repeated, with others of their own, where they are few."""
        own, half = self.judge if judged else self.find, len(self.others) // 2
        others = self.others[half:] if judged else self.others[:half]
        rng = np.random.default_rng([seed, 13 + judged])
        return np.resize(own, count), np.concatenate(
            [rng.permutation(others) for _ in range(-(-count // len(others)))]
        )[:count]


@dataclass(frozen=True, eq=False)
class Linear:
    """Ridge regressions on the same inputs, for any responses; the penalty by generalised cross-validation.

    Attributes
    ----------
    Z : array
        (n, k) standardised neurons, or centred ones.
    values, vectors : array
        Eigenvalues and eigenvectors of their correlations (covariances), positive ones alone.
    """

    Z: np.ndarray
    values: np.ndarray
    vectors: np.ndarray

    @classmethod
    def of(cls, Z: np.ndarray, scale: bool = True) -> Linear:
        """Prepare for neurons, (n, k); without ``scale`` their scale stays as it is, and only means are taken off."""
        scaled = standardised(Z) if scale else Z - Z.mean(axis=0)
        n, k = scaled.shape
        if n >= k:
            values, vectors = np.linalg.eigh(scaled.T @ scaled / n)
        else:
            values, rows = np.linalg.eigh(scaled @ scaled.T / n)
            vectors = scaled.T @ rows / np.sqrt(np.maximum(values, 1e-300) * n)
        positive = values > 1e-10 * max(float(values[-1]), 1e-300)
        return cls(scaled, values[positive], vectors[:, positive])

    def coefficients(self, y: np.ndarray) -> np.ndarray:
        """Fit a standardised response, (n,): one coefficient per neuron, (k,)."""
        n = len(self.Z)
        along = self.vectors.T @ (self.Z.T @ y) / n
        fits = []
        for penalty in np.logspace(-7, 2, 10):
            kept = self.values / (self.values + penalty)
            left = float(np.mean(y**2)) - float(np.sum(along**2 / self.values * (2 * kept - kept**2)))
            fits.append((max(left, 0.0) / max(1 - kept.sum() / n, 1e-3) ** 2, penalty))
        return np.asarray(self.vectors @ (along / (self.values + min(fits)[1])))


def contributions(Z: np.ndarray, y: np.ndarray, rows: np.ndarray, among: Linear | None = None) -> np.ndarray:
    """Share of each neuron in a response, from a linear fit: what a recording alone says on which neurons carry it.

    Where there are at least 30 other inputs: the coefficient of a neuron, fitted on all inputs, times how far its mean
    over the rows lies from that over all. This is what keeping the neuron does for the response when all others come
    from another input. Without: the coefficient times the correlation with the response, within the rows (Pratt, 1987);
    these shares sum to the explained variance.

    Parameters
    ----------
    Z : array
        (n, k) neurons.
    y : array
        (n,) response.
    rows : array
        Inputs of the target.
    among : Linear, optional
        Prepared for all inputs.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> Z = rng.normal(size=(500, 3)) + np.outer(np.arange(500) % 2, [3, 0, 1])
    >>> contributions(Z, Z @ [1, 2, 0], np.flatnonzero(np.arange(500) % 2)).round(1).tolist()
    [0.6, -0.1, 0.0]
    """
    if len(Z) - len(rows) >= FEWEST_OTHERS:
        fit = Linear.of(Z) if among is None else among
        return np.asarray(fit.coefficients(standardised(y)) * fit.Z[rows].mean(axis=0))
    fit, response = Linear.of(Z[rows]), standardised(y[rows])
    return np.asarray(fit.coefficients(response) * (fit.Z.T @ response) / len(rows))


def robust_scores(rest: Rest, values: Tensor, margin: Callable[[Tensor], Tensor], k: int, seed: int) -> np.ndarray:
    """Root mean square gradient of a margin with respect to each neuron, where noise of both signs takes the network.

    Noise of the same size hurts most where the gradient is largest. Gradients are taken at the values and under noise
    of both signs, as large as the layer itself and up to eight times as large.

    Parameters
    ----------
    rest : Rest
        The network from the layer on.
    values : Tensor
        (n, ...) what the layer returns.
    margin : callable
        From outputs to one number per input.
    k : int
        Number of neurons.
    seed : int
        Seed for the noise.

    Returns
    -------
    array
        (k,), not negative.
    """
    rng = np.random.default_rng([seed, 15])
    unit = torch.linalg.vector_norm(values.flatten(1).double(), dim=1).mean()
    squares = np.zeros(k)
    for level in NOISE:
        noise = torch.from_numpy(rng.uniform(-1, 1, tuple(values.shape))).to(values)
        size = torch.linalg.vector_norm(noise.flatten(1).double(), dim=1).clamp_min(1e-30)
        noise *= (level * unit / size).to(noise.dtype).reshape(-1, *[1] * (values.ndim - 1))
        for part in chunks(values, 3):
            start = (values[part] + noise[part]).requires_grad_()
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(margin(rest.run(start)).sum(), start)
            squares += squared_by_neuron(rest, gradient, k)
    return np.asarray(np.sqrt(squares / (len(NOISE) * len(values))))


def squared_by_neuron(rest: Rest, gradient: Tensor, k: int) -> np.ndarray:
    """Sum squared gradients over the inputs and the elements of each neuron, (k,)."""
    weights = torch.zeros(k, device=gradient.device, requires_grad=True)
    with torch.enable_grad():
        total = (rest.units.spread(weights, gradient, rest.module) * gradient.double() ** 2).sum()
        (found,) = torch.autograd.grad(total, weights)
    return np.asarray(found.double().cpu().numpy())


def search(
    rest: Rest,
    parts: Parts,
    k: int,
    live: np.ndarray,
    lost: Callable[[Tensor, np.ndarray], Tensor],
    stays: Callable[[np.ndarray, np.ndarray], np.ndarray],
    seed: int,
) -> Carried:
    """Search for the neurons that keep the predictions when all others are those of another input.

    Greedy. At the present set, the gradient of the loss with respect to a gate of each neuron (1: from the input, 0:
    from another input) says which neuron helps most. The first 20 are found one at a time, the best eight candidates
    tried exactly; then a tenth more at a time is taken by the gradient. Where the rest of the network is large, fewer
    pairs and larger steps keep the work within bounds.

    Parameters
    ----------
    rest : Rest
        The network from the layer on.
    parts : Parts
        The inputs.
    k : int
        Number of neurons.
    live : array
        (p,) numbers of those that vary.
    lost : callable
        From outputs (m, C), and the row numbers (m,) they are for, to how far each prediction is lost, in [0, 1].
    stays : callable
        The same for numpy arrays, to whether the prediction stays.
    seed : int
        Seed for the pairs.
    """
    cost = operations(rest, parts)
    chosen = next((one for one in SCHEDULES if cost * one.passes(len(live)) <= WORK), SCHEDULES[-1])
    own, others = parts.pairs(False, chosen.pairs, seed)
    here, there = _values(rest, own), _values(rest, others)
    keep = torch.zeros(k, device=here.device)
    order: list[int] = []
    while len(order) < len(live):
        left = len(live) - len(order)
        gain = np.full(k, -np.inf)
        gain[live] = -_gate_gradient(rest, here, there, keep, lambda outputs, part: lost(outputs, own[part]))[live]
        gain[order] = -np.inf
        best = np.argsort(-gain, kind="stable")
        if len(order) < chosen.single:
            added = best[:1]
            if chosen.tries and left > 1:
                tried = best[: min(chosen.tries, left)]
                losses = [_loss_with(rest, here, there, keep, int(one), lost, own) for one in tried]
                added = tried[[int(np.argmin(losses))]]
        else:
            added = best[: min(max(int(chosen.growth * len(order)), 1), left)]
        order += added.tolist()
        keep[added] = 1.0
    found = np.array(order, np.intp)
    return Carried(found, kept_by_count(rest, parts, k, found, stays, cost, seed))


def kept_by_count(
    rest: Rest,
    parts: Parts,
    k: int,
    order: np.ndarray,
    stays: Callable[[np.ndarray, np.ndarray], np.ndarray],
    cost: float,
    seed: int,
) -> np.ndarray:
    """Share of predictions that stay with the first 0, 1, ... neurons of an order, on the inputs to judge by."""
    p = len(order)
    most = 60 if cost * PAIRS * 60 <= WORK else 16
    counts = np.unique(np.concatenate([np.arange(min(p, most // 3) + 1), np.geomspace(1, p + 1, most).astype(int) - 1]))
    counts = np.union1d(counts[counts <= p], [p])
    pairs = PAIRS if cost * PAIRS * most <= WORK else SCHEDULES[-1].pairs
    own, others = parts.pairs(True, pairs, seed)
    here, there = _values(rest, own), _values(rest, others)
    shares = []
    for count in counts.tolist():
        keep = torch.zeros(k, device=here.device)
        keep[torch.as_tensor(order[:count].copy())] = 1.0
        outputs = torch.cat([rest.run(rest.mix(here[part], there[part], keep)) for part in chunks(here)])
        shares.append(float(stays(outputs.detach().cpu().numpy(), own).mean()))
    return np.interp(np.arange(p + 1), counts, shares)


def _values(rest: Rest, rows: np.ndarray) -> Tensor:
    """Give what the layer returns for inputs, some of which come several times."""
    distinct, place = np.unique(rows, return_inverse=True)
    return rest.values(distinct)[torch.as_tensor(place)]


def operations(rest: Rest, parts: Parts) -> float:
    """Count the floating-point operations of the rest of the network for one input; at least those of its values."""
    values = rest.values(parts.find[:1])
    with FlopCounterMode(display=False) as counter:
        rest.run(values)
    return float(max(counter.get_total_flops(), values.numel()))


def chunks(values: Tensor, factor: int = 1) -> Iterator[slice]:
    """Divide the inputs so that not too many elements are run at once."""
    size = max(ELEMENTS // (factor * max(values[0].numel(), 1)), 1)
    return (slice(start, min(start + size, len(values))) for start in range(0, len(values), size))


def _gate_gradient(
    rest: Rest, here: Tensor, there: Tensor, keep: Tensor, lost: Callable[[Tensor, slice], Tensor]
) -> np.ndarray:
    """Gradient of the mean loss with respect to the gates, (k,)."""
    total = torch.zeros(len(keep), dtype=torch.float64)
    for part in chunks(here, 3):
        gates = keep.clone().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(
                lost(rest.run(rest.mix(here[part], there[part], gates)), part).sum(), gates
            )
        total += gradient.double().cpu()
    return (total / len(here)).numpy()


def _loss_with(
    rest: Rest,
    here: Tensor,
    there: Tensor,
    keep: Tensor,
    neuron: int,
    lost: Callable[[Tensor, np.ndarray], Tensor],
    own: np.ndarray,
) -> float:
    """Mean loss with one more neuron kept."""
    gates = keep.clone()
    gates[neuron] = 1.0
    losses = [lost(rest.run(rest.mix(here[part], there[part], gates)), own[part]).sum() for part in chunks(here)]
    return float(torch.stack(losses).double().sum()) / len(here)


@dataclass(frozen=True, eq=False)
class Aim:
    """What the outputs of a network say on a target, for searches: what is lost, what stays, and the margin.

    Attributes
    ----------
    recording : Recording
        Of the network; its predictions are those to keep.
    target : int or str
        A class, or another target of the task.
    response : str
        As in `neucept.discover`.
    """

    recording: Recording
    target: Any
    response: str = "logit"

    def lost(self, outputs: Tensor, rows: np.ndarray) -> Tensor:
        """How far the predictions of some inputs are lost, (m,) in [0, 1]: the probability of other classes.

        Of other tasks, d² / (d² + s²), d the change of the response and s its standard deviation.
        """
        held = self.recording.logits[rows]
        if isinstance(self.recording.task, Classes):
            kept = torch.as_tensor(held.argmax(axis=1), device=outputs.device)
            return 1 - outputs.softmax(dim=1).gather(1, kept[:, None])[:, 0]
        column = self._column
        spread = float(np.std(self.recording.logits[:, column])) or 1.0
        change = (outputs[:, column] - torch.as_tensor(np.asarray(held[:, column])).to(outputs)) / spread
        return change**2 / (1 + change**2)

    def decided(self, outputs: np.ndarray) -> np.ndarray:
        """Give what is predicted, (m,): the class, or whether the target is predicted."""
        return decisions(self.recording, outputs, self.target)

    def stays(self, outputs: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Whether the predictions of some inputs are as recorded, (m,) bool."""
        return np.asarray(self.decided(outputs) == self.decided(np.asarray(self.recording.logits[rows])))

    def predicted(self, outputs: np.ndarray) -> np.ndarray:
        """Say whether the target is predicted, (m,) bool."""
        if isinstance(self.recording.task, Regression):
            return np.asarray(self.decided(outputs))
        return self.recording.task.predicted(outputs, self.target)

    def predicted_of(self, rows: np.ndarray) -> np.ndarray:
        """Say whether the target was predicted for some inputs, (m,) bool."""
        return self.predicted(np.asarray(self.recording.logits[rows]))

    def told_apart(self, outputs: Tensor, rows: np.ndarray) -> Tensor:
        """How far it is lost whether each input is predicted as the target, (m,) in [0, 1]."""
        if not isinstance(self.recording.task, Classes):
            return self.lost(outputs, rows)
        target = outputs.softmax(dim=1)[:, self._column]
        return torch.where(torch.as_tensor(self.predicted_of(rows), device=outputs.device), 1 - target, target)

    def margin(self, outputs: Tensor) -> Tensor:
        """Give the target's output minus the largest other; of other tasks the output, (m,)."""
        column = self._column
        if not isinstance(self.recording.task, Classes) or outputs.shape[1] < 2:
            return outputs[:, column]
        other = outputs.clone()
        other[:, column] = -torch.inf
        return outputs[:, column] - other.amax(dim=1)

    def explained(self, outputs: Tensor) -> Tensor:
        """Give the response that is explained, (m,), with its gradient."""
        if isinstance(self.recording.task, Classes) and self.response == "margin":
            return self.margin(outputs)
        if isinstance(self.recording.task, Classes) and self.response == "log_prob":
            return outputs.log_softmax(dim=1)[:, self._column]
        return outputs[:, self._column]

    def of_outputs(self, outputs: np.ndarray) -> np.ndarray:
        """Give the response that is explained, (m,) float64."""
        return self.recording.task.response(outputs, self.target, self.response)

    @property
    def _column(self) -> int:
        task = self.recording.task
        if isinstance(task, Regression):
            return task.output
        if not isinstance(self.target, int | np.integer):
            raise InputError(
                f"The target {self.target!r} of the task '{task.name}' is no output of the network, so that the rest"
                " of the network says nothing on it: use order='information', 'evidence' or 'contribution'."
            )
        return int(self.target)
