"""Select the pathways of some inputs of each mechanism."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neucept.batches import Batch, tensors_of
from neucept.discovery import CriticalNeurons
from neucept.errors import InputError, check_kind, check_whole
from neucept.inputs import Inputs
from neucept.mechanism_pathways.result import MechanismPathways, compare_pathways, permutation_test
from neucept.mechanisms import Mechanisms
from neucept.pathways import Method, NeuronMCT, PathwayGradient
from neucept.pathways.selection import check_sparsity, flatten
from neucept.pathways.tracing.network import Network
from neucept.pathways.tracing.sites import evaluation, readable_names
from neucept.progress import progress as show_progress
from neucept.recording import record
from neucept.recording.hooks import INPUT, calls_of, check_model
from neucept.recording.layout import resolve_units
from neucept.recording.outputs import Output, recorded_output
from neucept.recording.reading import float_type
from neucept.recording.units import Encoder, Units, as_units, output_tensor, readable

_CHECKED = 4  # inputs for which data and model are compared with what was recorded
_TOLERANCE = 0.02  # share of the largest value: more than float32 and batch sizes cause, less than another input


def trace_pathways(
    mechanisms: Mechanisms,
    model: nn.Module,
    data: Any,
    critical: CriticalNeurons | None = None,
    method: Method | Callable[..., Method] = NeuronMCT,
    sparsity: float = 0.9,
    most: int = 64,
    typical: int = 8,
    output: Output = None,
    batch_size: int = 32,
    permutations: int = 999,
    seed: int = 0,
    progress: bool = True,
) -> MechanismPathways:
    """Select the pathways of some inputs of each mechanism, and compare them within and between mechanisms.

    The pathways explain the target's logit; for mechanisms without a class, that of the predicted class.

    Parameters
    ----------
    mechanisms : Mechanisms
        Made by `neucept.learn`.
    model : Module
        The recorded model; left as it was found.
    data : Inputs or data of any kind
        The recorded inputs, in their order; see `neucept.inputs.Inputs.of`.
    critical : CriticalNeurons, optional
        Its selected neurons are the critical ones; by default the mechanisms' representative neurons are.
    method : Method, or a subclass of it
        Scores the neurons, such as ``NeuronMCT`` or ``NeuronIntGrad(model, steps=5)``.
    sparsity : float
        Share of the neurons that a pathway leaves out.
    most : int
        Inputs of each mechanism, drawn at random, whose pathways are selected.
    typical : int
        Most typical inputs of each mechanism, whose pathway gradients are taken.
    output : None, str, int or callable
        As in `neucept.record`; by default the output that was recorded.
    batch_size, permutations, seed : int
        Inputs that run at a time; number of permutations of the labels; seed for drawing inputs and permutations.
    progress : bool
        Show progress when it takes more than two seconds.

    Raises
    ------
    InputError
        For a model without activation sites, and for data or a model that are not the recorded ones.

    Examples
    --------
    >>> import neucept
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> inputs = torch.randn(60, 4)
    >>> recording = neucept.record(model, inputs, layers=["0"])
    >>> mechanisms = neucept.learn(recording, {"0": [0, 3]}, n_mechanisms=2, samples="all")
    >>> pathways = trace_pathways(mechanisms, model, inputs, sparsity=0.5)
    >>> pathways.overlap.shape, pathways.mean_pathways["1"].shape, pathways.gradients.shape
    ((2, 2), (2, 8), (2, 4))
    """
    check_kind("mechanisms", mechanisms, Mechanisms, "what neucept.learn returns")
    check_sparsity(sparsity)
    counts = {"most": most, "typical": typical, "batch_size": batch_size, "permutations": permutations}
    counts = {name: check_whole(name, count) for name, count in counts.items()}
    model = check_model(model)
    output = recorded_output(mechanisms.output_facts, output)
    scorer = _scorer(method, model, output)
    inputs = Inputs.of(data, model)
    rng = np.random.default_rng(seed)
    K, rows = len(mechanisms), mechanisms.samples
    drawn = _draw(mechanisms, most, rng)
    target = 0 if isinstance(mechanisms.target, str) else mechanisms.target  # a range of a regression's output
    middles = [mechanisms.typical(k, typical) for k in range(K)]
    _check_aligned(mechanisms, model, inputs, drawn[:: max(1, len(drawn) // _CHECKED)][:_CHECKED], output)
    first = _take(inputs, rows[drawn[:1]])
    with show_progress("tracing pathways", len(drawn) + sum(map(len, middles)), progress) as advance:
        packed, shapes = _select(scorer, inputs, rows[drawn], target, sparsity, batch_size, advance)
        tensors, gradients = list(first.tensors()), None
        if len(tensors) == 1 and tensors[0].is_floating_point():
            explain = PathwayGradient(scorer, sparsity)
            gradients = _attribute(explain, inputs, rows[np.concatenate(middles)], target, batch_size, advance)
    chosen = _representatives(mechanisms)
    if critical is not None:
        chosen = {layer: selection.neurons.tolist() for layer, selection in critical.items()}
    critical_masks = masks_of_layers(scorer.network, first, chosen, mechanisms.units)
    everywhere = [critical_masks.get(site, np.zeros(shape, bool)).ravel() for site, shape in shapes.items()]
    labels = mechanisms.labels[drawn]
    compared = compare_pathways(packed, labels, K, everywhere)
    p_values, p_value = permutation_test(compared.similarity, labels, K, permutations, rng)
    cut = np.split(compared.shares, np.cumsum([mask.size for mask in everywhere])[:-1], axis=1)
    return MechanismPathways(
        target_name=mechanisms.target_name,
        n_mechanisms=K,
        rows=rows[drawn],
        labels=labels,
        mean_pathways={s: share.reshape(K, *shapes[s]) for s, share in zip(shapes, cut, strict=True)},
        critical=critical_masks,
        similarity=compared.similarity,
        similarity_critical=compared.similarity_critical,
        p_values=p_values,
        p_value=p_value,
        within_by_site=compared.within_by_site,
        others_by_site=compared.others_by_site,
        typical_rows=rows[np.concatenate(middles)],
        typical_labels=np.repeat(np.arange(K), [len(middle) for middle in middles]),
        typical_gradients=gradients,
        settings={
            "method": type(scorer).__name__,
            "sparsity": sparsity,
            "critical": "selected" if critical is not None else "representative",
            "seed": seed,
            **counts,
        },
    )


def _scorer(method: Method | Callable[..., Method], model: nn.Module, output: Output) -> Method:
    """Return a method for the model and the way to its logits."""
    if not isinstance(method, Method):
        if (isinstance(method, type) and not issubclass(method, Method)) or not callable(method):
            raise InputError(
                f"method={getattr(method, '__name__', method)!r}: expected a Method such as NeuronMCT(model), or a"
                " subclass of neucept.pathways.Method."
            )
        return method(model, output=output)
    if method.network.model is not model:
        raise InputError(
            f"method={type(method).__name__} was made for another model than the one given; make it for this model, or"
            f" give the class: method={type(method).__name__}."
        )
    if method.network.output is None and output is not None:
        method = copy(method)
        method.network = replace(method.network, output=output)
    return method


def _draw(mechanisms: Mechanisms, most: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the inputs of each mechanism, at most so many: positions in its samples."""
    members = [np.flatnonzero(mechanisms.labels == k) for k in range(len(mechanisms))]
    return np.concatenate([np.sort(rng.choice(one, min(most, len(one)), replace=False)) for one in members])


def _representatives(mechanisms: Mechanisms) -> dict[str, list[int]]:
    """Return the representative neurons of the mechanisms, by layer; of weighted sums those they are named after."""
    neurons: dict[str, list[int]] = {}
    for feature in mechanisms.features:
        neurons.setdefault(feature.layer, []).extend(feature.main_neurons)
    return {layer: list(dict.fromkeys(own)) for layer, own in neurons.items()}


def _select(
    scorer: Method, inputs: Inputs, rows: np.ndarray, target: Any, sparsity: float, size: int, advance: Any
) -> tuple[np.ndarray, dict[str, tuple[int, ...]]]:
    """Select the pathways of some inputs: masks, (m, bytes), over all sites, and the shape of each site."""
    packed: list[np.ndarray] = []
    shapes: dict[str, tuple[int, ...]] = {}
    for part in _parts(rows, size):
        pathway = scorer.score(_take(inputs, part), target).select(sparsity)
        first, shapes = shapes, {site: tuple(mask.shape[1:]) for site, mask in pathway.items()}
        if first and first != shapes:
            site = next(site for site in shapes if first.get(site) != shapes[site])
            raise InputError(
                f"The inputs differ in length: at site '{site}' {first.get(site)} and {shapes[site]}. Pathways are"
                " compared neuron by neuron: give inputs padded to one length."
            )
        packed.append(np.packbits(flatten(pathway).cpu().numpy(), axis=1))
        advance(len(part))
    return np.concatenate(packed), shapes


def _attribute(
    explain: PathwayGradient, inputs: Inputs, rows: np.ndarray, target: Any, size: int, advance: Any
) -> np.ndarray:
    """Compute the pathway gradients of some inputs, (t, *input shape)."""
    gradients: list[np.ndarray] = []
    for part in _parts(rows, size):
        (attribution,) = tensors_of(explain.attribute(_take(inputs, part).tree, target))
        half = attribution.dtype == torch.bfloat16  # NumPy has none
        gradients.append((attribution.float() if half else attribution).cpu().numpy())
        advance(len(part))
    return np.concatenate(gradients)


def _parts(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _check_aligned(
    mechanisms: Mechanisms, model: nn.Module, inputs: Inputs, positions: np.ndarray, output: Output
) -> None:
    """Raise an InputError unless model and data give the neurons that the mechanisms were found by."""
    if not all(map(readable, mechanisms.units.values())):  # functions, which are not saved
        return
    batch = _take(inputs, mechanisms.samples[positions])
    units, task = dict(mechanisms.units), mechanisms.task
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # all warnings were given when the inputs were recorded
        again = record(model, batch.tree, list(units), neurons=units, output=output, progress=False, task=task)
    got, held = mechanisms.read(again), mechanisms.values[positions]
    if np.abs(got - held).max() > _TOLERANCE * max(float(np.abs(held).max()), 1e-6):
        rows = ", ".join(map(str, mechanisms.samples[positions]))
        raise InputError(
            f"The model gives other activations for the inputs {rows} than the mechanisms hold. Give the model and the"
            " data, in the order, that were recorded."
        )


def _take(inputs: Inputs, rows: np.ndarray) -> Batch:
    """Return some inputs by number, as one batch."""
    if inputs.n is not None and int(rows.max()) >= inputs.n:
        raise InputError(
            f"data holds {inputs.n} inputs, but the mechanisms include input {rows.max()}; give the data that were"
            " recorded, in their order."
        )
    return inputs[rows]


@dataclass(frozen=True)
class _Event:
    """A visit of a site, or the return of a layer, in forward order."""

    site: str  # of a layer: the site whose output it returns, if there is one
    shape: tuple[int, ...]
    mask: np.ndarray | None = None  # of a layer: (*shape) bool, its marked neurons


def masks_of_layers(
    network: Network, inputs: Batch, neurons: Mapping[str, Sequence[int]], units: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Mark the neurons of recorded layers at the corresponding sites.

    A layer that ends in an activation, or is one, corresponds to that site. Any other layer corresponds to the first
    later site of the same shape: normalisation and residual sums between them leave neurons in their places. Layers
    without such a site are left out, as are the input and layers whose neurons a function computes.

    Parameters
    ----------
    network : Network
        The recorded model.
    inputs : Batch
        One input is enough.
    neurons : mapping of str to numbers
        By layer.
    units : mapping of str to str or Units
        How the layers' neurons were recorded; a channel is marked at every position.

    Returns
    -------
    dict of str to array
        (*shape) bool by site, in forward order; sites without a marked neuron are left out.

    Examples
    --------
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    >>> masks = masks_of_layers(Network(model), Batch(torch.zeros(1, 1, 4, 4)), {"0": [1], "4": [2]}, {})
    >>> {site: mask.tolist() for site, mask in masks.items()}
    {'2': [[[False, False], [False, False]], [[True, True], [True, True]]]}
    """
    given = {layer: units.get(layer, "auto") for layer in neurons if layer != INPUT}
    chosen = {layer: as_units(how, layer) for layer, how in given.items() if how != Encoder.name}
    chosen = {layer: how for layer, how in chosen.items() if not isinstance(how, Encoder)}
    events = _events(network, inputs, {layer: neurons[layer] for layer in chosen}, chosen)
    names = readable_names([event.site for event in events if event.mask is None])
    masks: dict[str, np.ndarray] = {}
    for number, event in enumerate(events):
        if event.mask is None:
            continue
        following = (after.site for after in events[number:] if after.mask is None and after.shape == event.shape)
        site = event.site or next(following, None)
        if site is not None:
            masks[names[site]] = masks.get(names[site], False) | event.mask
    return {site: masks[site] for site in names.values() if site in masks and masks[site].any()}


def _events(
    network: Network, inputs: Batch, neurons: Mapping[str, Sequence[int]], units: Mapping[str, Units]
) -> list[_Event]:
    """Run the network once and note when sites are visited and layers return."""
    events: list[_Event] = []
    last: list[tuple[str, Tensor]] = []

    def visit(raw: str, output: Tensor) -> Tensor:
        last[:] = [(raw, output)]
        events.append(_Event(raw, tuple(output.shape[1:])))
        return output

    def leave(layer: str, call: int, module: nn.Module | None, returned: Any) -> None:
        output, _ = output_tensor(returned, layer)
        how = resolved[layer if layer in resolved else f"{layer}#{call}"]
        chosen = torch.zeros(how.read(output, module).shape[1], dtype=torch.bool, device=output.device)
        chosen[list(map(int, neurons[layer]))] = True
        mask = how.spread(chosen, output, module).expand(output.shape)[0].cpu().numpy()
        site = "".join(raw for raw, value in last if torch.equal(value, output))
        events.append(_Event(site, mask.shape, mask))

    with evaluation(network.model, gradients=False) as device:
        batch = inputs.to(device, float_type(network.model)).fresh()
        resolved, _ = resolve_units(network.model, batch, units) if units else ({}, "")
        with calls_of(network.model, list(units), leave):
            network.run(batch, visit)
    return events
