"""Effects: what changes in the response when the network runs on with a neuron changed, tested over inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
import torch
from scipy import stats
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from neucept.discovery.orders import HELD, WORK, Aim, Parts, chunks, operations
from neucept.errors import InputError
from neucept.knockoffs.aggregation import Guarantee, Rule
from neucept.knockoffs.preprocessing import deviations, standardised
from neucept.recording import Recording
from neucept.recording.intervention import Rest
from neucept.short_repr import ShortRepr

PAIRS = 200  # of inputs that exchange neurons
CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False, repr=False)
class Effects(ShortRepr):
    """Effects of the neurons of a layer, and of its groups, on the response.

    An effect is the share of the response's variance that goes when a neuron takes its value from another input of the
    target, ``E[(f(z) - f(z'))²] / (2 Var f)``: the total effect of Sobol and Saltelli. Shares of several neurons can
    sum to more than 1. Intervals are at 95%, over pairs of inputs.

    Attributes
    ----------
    alone, alone_low, alone_high : array
        (k,) share, with the whole value of the neuron taken from another input, and its interval.
    given, given_low, given_high : array
        (k,) the same, with only that part exchanged that the other neurons do not predict (linearly).
    changed : array
        (k,) share of predictions that change in the first way; NaN to first order.
    group_alone, group_low, group_high, group_given, group_changed : array
        (g,) the same for groups, all members together.
    squares, spread : array
        (m, g) squared change by pair of inputs and group, and (m,) squared deviation of the response: for tests.
    first_order : array
        (1,) whether changes are gradients times differences, as where the rest of the network is too large to be run
        for every neuron.
    """

    alone: np.ndarray
    alone_low: np.ndarray
    alone_high: np.ndarray
    given: np.ndarray
    given_low: np.ndarray
    given_high: np.ndarray
    changed: np.ndarray
    group_alone: np.ndarray
    group_low: np.ndarray
    group_high: np.ndarray
    group_given: np.ndarray
    group_changed: np.ndarray
    squares: np.ndarray
    spread: np.ndarray
    first_order: np.ndarray

    def p_values(self, size: float) -> np.ndarray:
        """Test whether the effect of each group is at most ``size``, (g,): a one-sided t-test over pairs of inputs."""
        excess = self.squares - size * self.spread[:, None]
        m = len(excess)
        deviation = excess.std(axis=0, ddof=1) / np.sqrt(m)
        t = excess.mean(axis=0) / np.where(deviation > 0, deviation, np.inf)
        return np.asarray(np.where(deviation > 0, stats.t.sf(t, m - 1), 1.0))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the arrays."""
        return tuple(field.name for field in fields(cls))

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name, to be saved."""
        return {name: getattr(self, name) for name in self.names()}


@dataclass(frozen=True, eq=False, repr=False)
class EffectTest(ShortRepr):
    """Groups whose effect is larger than a size, by the procedure of Benjamini and Yekutieli (2001).

    Parameters
    ----------
    size : float
        The effect that a group must exceed.
    p : array
        (g,) p-values, of any dependence.
    base : Rule
        The rule that would decide without effects.

    Examples
    --------
    >>> EffectTest(0.01, np.array([1e-6, 0.2, 1e-4]), base=None).select(np.zeros((1, 3)), q=0.1).tolist()
    [True, False, True]
    """

    size: float
    p: np.ndarray
    base: Rule | None
    name: ClassVar[str] = "effect"

    def select(self, W: np.ndarray, q: float) -> np.ndarray:
        """See `neucept.knockoffs.Rule.select`."""
        g = len(self.p)
        order = np.argsort(self.p, kind="stable")
        levels = q * np.arange(1, g + 1) / (g * np.sum(1 / np.arange(1, g + 1)))
        passed = np.flatnonzero(self.p[order] <= levels)
        mask = np.zeros(g, bool)
        mask[order[: passed[-1] + 1 if len(passed) else 0]] = True
        return mask

    def guarantee(self, precision: float) -> Guarantee:
        """See `neucept.knockoffs.Rule.guarantee`."""
        return Guarantee(
            precision,
            f"Of the selected groups (named by one neuron each), at least {precision:g} carry more than"
            f" {self.size:.3g} of the response's variance, in expectation.",
            "Tested by running the rest of the network with the neuron's value from another input: t-tests over pairs"
            " of inputs, corrected by Benjamini and Yekutieli for any dependence between neurons.",
            "Effects were tested by running the network.",
        )


def check_effect(effect: float | bool | None) -> float | None:
    """Give the size of effect that is asked for, None where none is."""
    if effect is None or isinstance(effect, bool):
        if effect is True:
            raise InputError("effect=True: expected the share of the variance that matters, such as 0.01.")
        return None
    if not isinstance(effect, int | float | np.floating) or not 0 <= float(effect) < 1:
        raise InputError(f"effect={effect!r}: expected a share of the response's variance from 0 to 1, such as 0.01.")
    return float(effect)


def measure_effects(
    rest: Rest, recording: Recording, layer: str, rows: np.ndarray, groups: np.ndarray, aim: Aim, seed: int
) -> Effects:
    """Measure the effect of each neuron and group of a layer.

    Parameters
    ----------
    rest : Rest
        The network from the layer on.
    recording : Recording
        Of the network.
    layer : str
        Name of the layer.
    rows : array
        Inputs of the target; at most 400 are taken, in pairs that exchange neurons.
    groups : array
        (k,) group of each neuron, -1 for those that do not vary.
    aim : Aim
        Target and response.
    seed : int
        Seed for the pairs.
    """
    most = 2 * min(PAIRS, max(HELD // (2 * rest.numel), 15))
    mixed = np.random.default_rng([seed, 17]).permutation(rows)[:most]
    mixed = mixed[: len(mixed) // 2 * 2]
    m, k = len(mixed) // 2, len(groups)
    own = rest.values(mixed)
    partner = torch.cat([own[m:], own[:m]])
    steps = _unpredicted(recording.activations(layer)[rows], groups, np.flatnonzero(np.isin(rows, mixed)))
    place = np.argsort(np.argsort(mixed))  # `steps` has the inputs in ascending order
    steps = {name: part[place] for name, part in steps.items()}
    live = np.flatnonzero(groups >= 0)
    g = int(groups.max()) + 1
    several = [np.flatnonzero(groups == number) for number in range(g)]
    cost = operations(rest, Parts(mixed[:1], mixed[:1], mixed[:1]))
    larger = sum(len(one) > 1 for one in several)
    exact = cost * len(mixed) * 2 * (len(live) + larger) <= WORK
    outputs = _outputs(rest, own)
    response = aim.of_outputs(outputs)
    alone, given, changed = (np.zeros((len(mixed), k)) for _ in range(3))
    of_groups = tuple(np.zeros((len(mixed), g)) for _ in range(3))
    sets = [np.array([neuron]) for neuron in live] + [one for one in several if len(one) > 1]
    own_steps = [steps["neurons"][:, [neuron]] for neuron in live]
    own_steps += [steps["groups"][:, one] for one in several if len(one) > 1]
    change = _run_again if exact else _first_order
    for number, parts in enumerate(change(rest, own, partner, sets, own_steps, aim, outputs, k)):
        neuron = int(sets[number][0])
        if number < len(live):
            alone[:, neuron], given[:, neuron], changed[:, neuron] = parts
        if number >= len(live) or len(several[groups[neuron]]) == 1:
            for held, part in zip(of_groups, parts, strict=True):
                held[:, groups[neuron]] = part
    group_alone, group_given, group_changed = of_groups
    spread = _by_pair((response - response.mean()) ** 2, m)
    shares = [_share(_by_pair(one**2 / 2, m), spread) for one in (alone, given, group_alone, group_given)]
    return Effects(
        *shares[0],
        *shares[1],
        changed.mean(axis=0),
        *shares[2],
        shares[3][0],
        group_changed.mean(axis=0),
        squares=_by_pair(group_alone**2 / 2, m),
        spread=spread,
        first_order=np.array([not exact]),
    )


def _by_pair(values: np.ndarray, m: int) -> np.ndarray:
    """Average the two inputs of each pair, (m, ...): pairs are independent."""
    return np.asarray((values[:m] + values[m:]) / 2)


def _share(squares: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of the variance with its interval, on a logarithmic scale, (k,) each."""
    m, variance = len(spread), float(spread.mean())
    if not variance > 0:
        nothing = np.full(squares.shape[1], np.nan)
        return nothing, nothing, nothing
    share = squares.mean(axis=0) / variance
    error = (squares - share * spread[:, None]).std(axis=0, ddof=1) / np.sqrt(m) / variance
    positive = np.where(share > 0, share, 1.0)
    factor = np.exp(stats.t.ppf((1 + CONFIDENCE) / 2, m - 1) * np.minimum(error / positive, 50.0))
    return share, share / factor, share * factor


def _unpredicted(Z: np.ndarray, groups: np.ndarray, chosen: np.ndarray) -> dict[str, np.ndarray]:
    """Part of each neuron that the others do not predict, and of each group's members that those outside do not.

    Two (m, k) arrays in the units of the neurons, zero for those that do not vary; linear, with a covariance shrunk as
    by Ledoit and Wolf (2004).
    """
    live = np.flatnonzero(groups >= 0)
    scaled, size = standardised(Z[:, live]), deviations(Z)
    inverse = np.linalg.inv(ledoit_wolf(scaled, assume_centered=True)[0] + 1e-9 * np.eye(len(live)))
    seen = scaled[chosen] @ inverse
    neurons, joined = np.zeros((len(chosen), len(groups))), np.zeros((len(chosen), len(groups)))
    neurons[:, live] = seen / np.diag(inverse) * size[live]
    for group in range(int(groups.max()) + 1):
        inside = np.flatnonzero(groups[live] == group)
        residual = np.linalg.solve(inverse[np.ix_(inside, inside)], seen[:, inside].T).T
        joined[:, live[inside]] = residual * size[live[inside]]
    return {"neurons": neurons, "groups": joined}


def _outputs(rest: Rest, values: Tensor) -> np.ndarray:
    parts = [rest.run(values[part]).detach().cpu().numpy() for part in chunks(values)]
    return np.concatenate(parts)


def _exchanged(steps: np.ndarray) -> np.ndarray:
    """Give what each input gains when it takes the part of the other of its pair."""
    m = len(steps) // 2
    return np.asarray(np.concatenate([steps[m:], steps[:m]]) - steps)


Changes = Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]


def _run_again(
    rest: Rest,
    own: Tensor,
    partner: Tensor,
    sets: Sequence[np.ndarray],
    steps: Sequence[np.ndarray],
    aim: Aim,
    outputs: np.ndarray,
    k: int,
) -> Changes:
    """Give the change of the response with each set exchanged whole, and in its unpredicted part."""
    response, before = aim.of_outputs(outputs), aim.decided(outputs)
    for members, part in zip(sets, steps, strict=True):
        keep = torch.ones(k, device=own.device)
        keep[torch.as_tensor(members)] = 0.0
        move = torch.zeros(len(own), k, device=own.device)
        move[:, torch.as_tensor(members)] = torch.as_tensor(_exchanged(part)).to(move)
        whole = _outputs(rest, rest.mix(own, partner, keep))
        moved = _outputs(rest, rest.move(own, move))
        yield aim.of_outputs(whole) - response, aim.of_outputs(moved) - response, aim.decided(whole) != before


def _first_order(
    rest: Rest,
    own: Tensor,
    partner: Tensor,
    sets: Sequence[np.ndarray],
    steps: Sequence[np.ndarray],
    aim: Aim,
    outputs: np.ndarray,
    k: int,
) -> Changes:
    """Do the same to first order, gradients times differences, in two backward passes; predictions are not known."""
    by_gate, by_step = np.zeros((len(own), k)), np.zeros((len(own), k))
    for part in chunks(own, 3):
        gates = torch.ones(len(own[part]), k, device=own.device, requires_grad=True)
        moves = torch.zeros(len(own[part]), k, device=own.device, requires_grad=True)
        with torch.enable_grad():
            mixed = rest.mix(own[part], partner[part], gates)
            (one,) = torch.autograd.grad(aim.explained(rest.run(mixed)).sum(), gates)
            (two,) = torch.autograd.grad(aim.explained(rest.run(rest.move(own[part], moves))).sum(), moves)
        by_gate[part], by_step[part] = -one.double().cpu().numpy(), two.double().cpu().numpy()
    unknown = np.full(len(own), np.nan)
    for members, step in zip(sets, steps, strict=True):
        yield by_gate[:, members].sum(axis=1), (by_step[:, members] * _exchanged(step)).sum(axis=1), unknown
