"""Find critical neurons: NeuCEPT-discovery, Algorithm 1, on a Recording."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypedDict, TypeVar, Unpack, overload

import numpy as np
from torch import nn

from neucept.calibration.layer import FEWEST_INPUTS, check_neurons, groups_of
from neucept.discovery.effects import EffectTest, check_effect
from neucept.discovery.layer import Examiner, forward_order
from neucept.discovery.orders import BY_NETWORK, Aim
from neucept.discovery.selection import CriticalNeurons, Selection, precisions
from neucept.discovery.witness import Witness
from neucept.errors import InputError, check_kind, check_whole, one_of
from neucept.knockoffs import GramStatistic, LocalFDR, Rule, Sampler, Statistic
from neucept.knockoffs.aggregation import RuleName, name_of, rule_of
from neucept.knockoffs.draw import check_parts
from neucept.knockoffs.preprocessing import standardised
from neucept.knockoffs.samplers import SamplerName
from neucept.knockoffs.statistics import StatisticName
from neucept.progress import progress as show_progress
from neucept.recording import Recording
from neucept.recording.outputs import Output
from neucept.recording.recording import Target
from neucept.vocabulary import OBJECTIVES, ORDERS, Objective, OrderName

MOST_RESPONSES = 15  # of the next layer's critical neurons that equation (3) looks at


class NothingSelectedWarning(UserWarning):
    """No neuron of a layer is selected at the precision asked for; that is a valid result."""


class Options(TypedDict, total=False):
    """Keyword arguments of `discover`."""

    samples: Literal["predicted", "all"] | np.ndarray | Sequence[int] | None
    response: str
    objective: Objective
    sampler: SamplerName | Sampler
    statistic: StatisticName | Statistic | GramStatistic
    aggregate: RuleName | Rule
    groups: np.ndarray | Mapping[str, np.ndarray] | None
    calibration: Literal["auto"] | None
    draws: int
    order: OrderName | None
    model: nn.Module | None
    data: Any
    output: Output
    effect: float | bool | None
    seed: int
    progress: bool


Key = TypeVar("Key", bound=int | str | tuple[float, float])


@overload
def discover(
    recording: Recording,
    target: Target,
    layers: Sequence[str] | None = None,
    precision: float | Mapping[str, float] = 0.9,
    **options: Unpack[Options],
) -> CriticalNeurons: ...


@overload
def discover(
    recording: Recording,
    target: list[Key],
    layers: Sequence[str] | None = None,
    precision: float | Mapping[str, float] = 0.9,
    **options: Unpack[Options],
) -> dict[Key, CriticalNeurons]: ...


@overload
def discover(
    recording: Recording,
    target: list[np.ndarray],
    layers: Sequence[str] | None = None,
    precision: float | Mapping[str, float] = 0.9,
    **options: Unpack[Options],
) -> dict[int, CriticalNeurons]: ...


def discover(
    recording: Recording,
    target: Target | list[Any],
    layers: Sequence[str] | None = None,
    precision: float | Mapping[str, float] = 0.9,
    samples: Literal["predicted", "all"] | np.ndarray | Sequence[int] | None = None,
    response: str = "logit",
    objective: Objective = "pairwise",
    sampler: SamplerName | Sampler = "gaussian",
    statistic: StatisticName | Statistic | GramStatistic = "lasso",
    aggregate: RuleName | Rule = "evalue",
    groups: np.ndarray | Mapping[str, np.ndarray] | None = None,
    calibration: Literal["auto"] | None = "auto",
    draws: int = 50,
    order: OrderName | None = None,
    model: nn.Module | None = None,
    data: Any = None,
    output: Output = None,
    effect: float | bool | None = None,
    seed: int = 0,
    progress: bool = True,
) -> CriticalNeurons | dict[Any, CriticalNeurons]:
    """Find the critical neurons of a target: NeuCEPT-discovery (Algorithm 1).

    At each layer, the Markov blanket of the response is estimated with control of the precision (one minus the false
    discovery rate). By default the layer is calibrated first (`neucept.calibrate`): responses with known critical
    neurons are simulated on the layer's own activations, and show which selections reach a precision.
    With ``calibration=None``, Model-X knockoffs alone decide; their guarantee holds for Gaussian neurons only.

    Selection and ranking are separate. The ranking puts those neurons first that carry the decision, as far as that can
    be known: with the model and the data, those with which the network predicts the same while all others come from
    another input; from a recording alone, those whose linear contribution to the response is largest. Other orders are
    one argument away, and none of them has a precision.

    Parameters
    ----------
    recording : Recording
        Of `neucept.record`.
    target : int, str, list or array
        A class by number or name, a list of them, or an (n,) array: any response.
    layers : sequence of str, optional
        By default all that are recorded; in the order of the network.
    precision : float or mapping
        In (0, 1), for all layers or {layer: precision}; layers that it does not name have 0.9.
    samples : {"predicted", "all"}, mask or row numbers
        Inputs to look at: those predicted as the class (the default for a class) or all (for an array).
    response : {"logit", "margin", "log_prob"}
        What of the class is to be explained.
    objective : {"pairwise", "sequential", "global"}
        ``pairwise``: every layer against the target (Algorithm 1). ``sequential``: the last layer against the target,
        every other against the first 15 critical neurons of the next (equation (3)). ``global``: every layer against
        all neurons of the later layers and all logits (equation (10)).
    sampler : str or Sampler
        How knockoffs are drawn: a name of `neucept.knockoffs.SAMPLERS`, or an object (`neucept.knockoffs.Sampler`).
        With calibration, `sampler`, `statistic` and `draws` bear on the statistics and the ranking, not on what is
        selected.
    statistic : str, Statistic or GramStatistic
        What compares a neuron with its knockoff: a name of `neucept.knockoffs.STATISTICS`, or an object
        (`neucept.knockoffs.Statistic`).
    aggregate : {"evalue", "frequency"} or Rule
        How neurons are selected from the draws without calibration. ``frequency`` (selected in more than half of
        them), as published, guarantees nothing. A rule given as an object (`neucept.knockoffs.Rule`) decides by
        itself; nothing is calibrated then.
    groups : array or mapping of layer to array, optional
        (k,) group of each neuron, -1 to leave it out; precision is then over groups. By default, calibration finds the
        finest groups that can be told apart (single neurons where possible).
    calibration : "auto" or None
        A calibration is kept with the recording for the same layer and inputs; None skips it.
    draws : int
        Sets of knockoffs; one alone is equation (9) itself. Where a calibration decides, fewer are drawn of a layer of
        more than 500 neurons: at 2,000 neurons 3 in the place of 50.
    order : {"sufficient", "robust", "contribution", "information", "evidence"}, optional
        The order of the ranking. ``sufficient``: greedily, the neuron with which the network keeps most of its
        predictions while the neurons not yet taken are those of another input; it solves objective (2) of the paper
        for the network itself. ``robust``: by the root mean square gradient of the class's margin, where noise of both
        signs takes the network. ``contribution``: by the share in the response of a linear fit. ``information``: the
        next neuron adds most to what those before it explain of the critical neurons of the next of the `layers` (of
        the layer itself, for the last), so that no information is named twice; as a reference to equation (3).
        ``evidence``: the surest first. By default ``sufficient`` where the network can be run from the layer on, else
        ``contribution``. All are scores of use, without precision; see docs/method.md.
    model, data : Module and data of any kind, optional
        The recorded ones, for orders and effects by the network, see `neucept.inputs.Inputs.of`.
    output : None, str, int or callable
        As in `neucept.record`; that of the recording by default.
    effect : float, optional
        Select the neurons (groups) that carry more than this share of the response's variance, tested by running the
        network with their values from another input; by default effects are measured with model and data, and do not
        select. False leaves them out.
    seed : int
        The same seed gives the same result, whatever other layers or targets are asked with it.
    progress : bool
        Show progress when it takes more than two seconds.

    Returns
    -------
    CriticalNeurons, or {target: CriticalNeurons} for a list of targets
        An empty selection comes with a `NothingSelectedWarning`.

    Raises
    ------
    InputError
        Before any work, for unknown layers or targets, impossible options, fewer than 30 inputs, activations that are
        not finite, or a layer whose neurons are all constant or of which more than 6,000 vary; for orders by the
        network or an effect without model and data, for an array response, and where the network cannot be cut at a
        layer.

    References
    ----------
    Vu, Nguyen and Thai, "NeuCEPT", Algorithm 1 and equation (9). Candes, Fan, Janson and Lv, "Panning for gold", 2018.
    Ren and Barber, "Derandomised knockoffs: leveraging e-values", 2023.
    """
    check_kind("recording", recording, Recording, "what neucept.record returns")
    draws, seed = check_whole("draws", draws), check_whole("seed", seed, 0)
    one_of("objective", objective, OBJECTIVES)
    size = check_effect(effect)
    if order is not None:
        one_of("order", order, ORDERS)
    if calibration not in ("auto", None):
        raise InputError(f"calibration={calibration!r}: expected 'auto' or None.")
    rule = rule_of(aggregate, draws)
    check_parts(sampler, statistic)
    activations = _activations(recording, layers)
    names = list(activations)
    levels = precisions(precision, names, dict.fromkeys(names, 0.9))
    given_groups = {layer: groups_of(layer, neurons.shape[1], groups) for layer, neurons in activations.items()}
    targets: list[Any] = target if isinstance(target, list) else [target]
    if not targets:
        raise InputError("target=[]: expected a class, a list of classes or an array.")
    jobs = [_Job.of(recording, one, samples, response) for one in targets]
    # Targets on the same inputs share checks, calibration, networks and knockoffs.
    by_rows: dict[bytes, list[_Job]] = {}
    for job in jobs:
        by_rows.setdefault(job.rows.tobytes(), []).append(job)
    for same in by_rows.values():
        for layer in names:
            check_neurons(layer, activations[layer], same[0].rows, given_groups[layer])
    needed = f"effect={size:g}" if size is not None else f"order='{order}'" if order in BY_NETWORK else None
    if needed and any(job.aim(recording, response) is None for job in jobs):
        raise InputError(
            f"{needed} runs the network, which does not compute a response that is an array: leave it out, or give a"
            " class as target."
        )
    witness = Witness.of(recording, names, model, data, output, needed)
    if not isinstance(aggregate, str):
        calibration = None
    examiners = {
        (rows, layer): Examiner.of(
            recording, layer, same[0].rows, given_groups[layer], calibration is not None, progress
        )
        for rows, same in by_rows.items()
        for layer in names
    }
    with show_progress("drawing knockoffs", len(jobs) * len(names), progress) as advance:
        for rows, same in by_rows.items():
            for layer in reversed(names):
                responses = [job.responses(recording, names, layer, objective) for job in same]
                tested = examiners[rows, layer].examine(responses, sampler, statistic, draws, seed)
                for job, (local_fdr, parts) in zip(same, tested, strict=True):
                    known = examiners[rows, layer].calibration
                    decides = rule if known is None or local_fdr is None else LocalFDR(known, local_fdr)
                    job.selections[layer] = Selection(
                        layer, levels[layer], rule=decides, names=recording.neuron_names(layer), **parts
                    )
                    advance(1)
    settings = {
        "samples": samples if isinstance(samples, str) else "default" if samples is None else "chosen",
        "draws": draws,
        "seed": seed,
        "calibration": calibration,
        "sampler": name_of(sampler),
        "statistic": name_of(statistic),
        "aggregate": name_of(aggregate),
        "objective": objective,
        "order": order or "default",
        "not run from": dict(witness.why),
    }
    results = {}
    for number, job in enumerate(jobs):
        job.put_in_order(recording, names, objective)
        job.ask(witness, order, response, effect is not False, size, seed)
        for layer in names:
            _warn_if_empty(job.selections[layer])
        key = number if isinstance(job.target, np.ndarray) else job.target
        results[key] = job.result(recording, names, response, settings)
    return results if isinstance(target, list) else results[key]


def _activations(recording: Recording, layers: Sequence[str] | None) -> dict[str, np.ndarray]:
    """Look up the neurons of some layers, of all recorded ones by default."""
    if isinstance(layers, str) or not isinstance(layers, Iterable | None):
        raise InputError(f"layers={layers!r}: expected a list of names, such as ['{layers}'].")
    names = list(recording.layers if layers is None else layers)
    if not names or len(set(names)) != len(names):
        raise InputError(f"layers={names}: expected names of recorded layers, each once.")
    return {layer: recording.activations(layer) for layer in names}


@dataclass(frozen=True)
class _Job:
    """One target on its inputs."""

    target: Any
    name: str
    rows: np.ndarray
    y: np.ndarray
    selections: dict[str, Selection] = field(default_factory=dict)

    @classmethod
    def of(cls, recording: Recording, target: Any, samples: Any, response: str) -> _Job:
        rows = recording.samples(target, samples)
        y = recording.response(target, response)[rows]
        name = "response" if isinstance(target, np.ndarray) else recording.target_name(target)
        if len(rows) < FEWEST_INPUTS:
            which = "" if samples is not None or isinstance(target, np.ndarray) else f" predicted as '{name}'"
            raise InputError(
                f"{len(rows)} inputs{which}, but at least {FEWEST_INPUTS} are needed (a few times the number of neurons"
                " is better). Record more inputs; in Python, samples='all' takes all that are recorded."
            )
        return cls(target, name, rows, y)

    def responses(
        self, recording: Recording, layers: Sequence[str], layer: str, objective: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Responses of a layer, (n, R), and their weights, (R,), for an objective."""
        later = layers[list(layers).index(layer) + 1 :]
        if objective == "global":
            parts = [np.asarray(recording.activations(name)[self.rows]) for name in later]
            Y = np.hstack([*parts, np.asarray(recording.logits[self.rows])])
            Y = Y[:, standardised(Y).any(axis=0)]
            if not Y.shape[1]:
                raise InputError(f"Layer '{layer}' has nothing to explain: logits and later layers are constant.")
            return Y, np.full(Y.shape[1], 1 / Y.shape[1])
        if objective == "pairwise" or not later:
            return self.y[:, None], np.ones(1)
        following = self.selections[later[0]]
        neurons = (following.neurons if len(following.neurons) else following.ranking)[:MOST_RESPONSES]
        weights = following.importance if following.importance is not None else following.mean_statistic.clip(0)
        chosen = weights[neurons] + 1e-12
        return np.asarray(
            recording.activations(later[0])[np.ix_(self.rows, neurons)], np.float64
        ), chosen / chosen.sum()

    def put_in_order(self, recording: Recording, layers: Sequence[str], objective: str) -> None:
        """Order each layer's neurons by what they add on the critical ones of the next layer, for the last on its own.

        All neurons of the next layer count alike for the global objective.
        """
        for layer, following in zip(layers, [*layers[1:], layers[-1]], strict=True):
            own, later = self.selections[layer], self.selections[following]
            Z = np.asarray(recording.activations(layer)[np.ix_(self.rows, own.representatives)])
            Y = np.asarray(recording.activations(following)[self.rows])
            weights = later.mean_statistic.clip(0) ** 2  # a squared coefficient: variance explained
            if objective == "global" and following != layer:
                weights = np.ones_like(weights)
            local_fdr = own.local_fdr if own.local_fdr is not None else own.mean_statistic <= 0
            order = forward_order(Z, Y, weights, local_fdr[own.representatives])
            self.selections[layer] = replace(own, order=own.representatives[order])

    def aim(self, recording: Recording, response: str) -> Aim | None:
        """Describe what the network says on the target; None for an array."""
        if isinstance(self.target, np.ndarray):
            return None
        return Aim(recording, recording.class_number(self.target), response)

    def ask(
        self, witness: Witness, order: str | None, response: str, measured: bool, size: float | None, seed: int
    ) -> None:
        """Put each layer's neurons in the order asked for, and measure effects where the network can be run."""
        aim = self.aim(witness.recording, response)
        y = self.target if aim is None else None
        for layer, selection in self.selections.items():
            chosen = order or witness.best_order(layer, aim)
            selection = replace(witness.order(selection, aim, self.rows, chosen, seed, y), by=chosen)
            if measured and aim is not None and layer in witness.rests:
                selection = witness.effects(selection, aim, self.rows, seed)
            if size is not None and selection.effects is not None:
                rule = EffectTest(size, selection.effects.p_values(size), selection.rule)
                selection = replace(selection, rule=rule)
            self.selections[layer] = selection

    def result(
        self, recording: Recording, layers: Sequence[str], response: str, settings: Mapping[str, Any]
    ) -> CriticalNeurons:
        """Collect the selections, layers in the order of the network."""
        is_array = isinstance(self.target, np.ndarray)
        return CriticalNeurons(
            selections={layer: self.selections[layer] for layer in layers},
            target=None if is_array else recording.class_number(self.target),
            target_name=self.name,
            response="array" if is_array else response,
            samples=self.rows,
            settings=settings,
        )


def _warn_if_empty(selection: Selection) -> None:
    if len(selection.neurons):
        return
    warnings.warn(
        f"No neuron of layer '{selection.layer}' is selected at precision {selection.precision:g}."
        f" {selection.why_empty} Try a lower precision with .at(precision=...), more inputs, or another response. The"
        " ranking is still valid.",
        NothingSelectedWarning,
        stacklevel=3,
    )
