"""Select the pathways of some inputs of each mechanism."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Subset, TensorDataset

from neucept.discovery import CriticalNeurons
from neucept.errors import InputError
from neucept.mechanism_pathways.layers import masks_of_layers
from neucept.mechanism_pathways.overlap import compared, permutation_test
from neucept.mechanism_pathways.result import MechanismPathways
from neucept.mechanisms import Mechanisms
from neucept.pathways import NeuronMCT, PathwayGradient
from neucept.pathways.scores import Method
from neucept.pathways.selection import check_sparsity, flat
from neucept.progress import progress as show_progress
from neucept.recording import record
from neucept.recording.batches import batches, by_number
from neucept.recording.outputs import Output

_CHECKED = 4  # inputs on which data and model are held against what was recorded
_TOLERANCE = 0.02  # of the largest value: of float32 and of other batch sizes, but not of another input


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

    The pathways are those of the target's logit; for mechanisms of no class, of the predicted one.

    Parameters
    ----------
    mechanisms : Mechanisms
        Of `neucept.learn`.
    model : Module
        The recorded one; left as it was found.
    data : Dataset, tensor, mapping of tensors or (inputs, labels)
        The recorded inputs, by number.
    critical : CriticalNeurons, optional
        Whose selected neurons are the critical ones; by default the mechanisms' representative neurons.
    method : Method, or a class of one
        Scores the neurons, such as ``NeuronMCT`` or ``NeuronIntGrad(model, steps=5)``.
    sparsity : float
        Share of neurons that a pathway leaves out.
    most : int
        Inputs of each mechanism, drawn at random, whose pathways are selected.
    typical : int
        Most typical inputs of each mechanism, whose pathway gradients are taken.
    output : None, str, int or callable
        As in `neucept.record`.
    batch_size, permutations, seed : int
        Inputs at a time; labels drawn for the test; of the inputs drawn and the permutations.
    progress : bool
        Show progress when it takes more than two seconds.

    Raises
    ------
    InputError
        For a model without activation sites, and data or a model that are not those recorded.

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
    check_sparsity(sparsity)
    counts = {"most": most, "typical": typical, "batch_size": batch_size, "permutations": permutations}
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise InputError(f"{name}={count!r}: expected a whole number, one or more.")
    scorer = method if isinstance(method, Method) else method(model, output=output)
    rng = np.random.default_rng(seed)
    K, rows = len(mechanisms), mechanisms.samples
    drawn = _drawn(mechanisms, most, rng)
    target = 0 if isinstance(mechanisms.target, str) else mechanisms.target  # a range of a regression's output
    middles = [mechanisms.typical(k, typical) for k in range(K)]
    _check_aligned(mechanisms, model, data, drawn[:_CHECKED], output)
    first = _inputs(data, rows[drawn[:1]])
    packed: list[np.ndarray] = []
    shapes: dict[str, tuple[int, ...]] = {}
    gradients: list[np.ndarray] = []
    with show_progress("following pathways", len(drawn) + sum(map(len, middles)), progress) as advance:
        for positions in _parts(drawn, batch_size):
            pathway = scorer.score(_inputs(data, rows[positions]), target).select(sparsity)
            shapes = {site: tuple(mask.shape[1:]) for site, mask in pathway.items()}
            packed.append(np.packbits(flat(pathway).cpu().numpy(), axis=1))
            advance(len(positions))
        if isinstance(first, Tensor) and first.is_floating_point():
            explain = PathwayGradient(scorer, sparsity)
            for positions in _parts(np.concatenate(middles), batch_size):
                gradients.append(explain.attribute(_inputs(data, rows[positions]), target).cpu().numpy())
                advance(len(positions))
    chosen = _used(mechanisms)
    if critical is not None:
        chosen = {layer: selection.neurons.tolist() for layer, selection in critical.items()}
    critical_masks = masks_of_layers(scorer.network, first, chosen, mechanisms.pooling)
    everywhere = [critical_masks.get(site, np.zeros(shape, bool)).ravel() for site, shape in shapes.items()]
    labels = mechanisms.labels[drawn]
    found = compared(np.concatenate(packed), labels, K, everywhere)
    p_values, p_value = permutation_test(found.similarity, labels, K, permutations, rng)
    cut = np.split(found.shares, np.cumsum([mask.size for mask in everywhere])[:-1], axis=1)
    return MechanismPathways(
        target_name=mechanisms.target_name,
        n_mechanisms=K,
        rows=rows[drawn],
        labels=labels,
        mean_pathways={s: share.reshape(K, *shapes[s]) for s, share in zip(shapes, cut, strict=True)},
        critical=critical_masks,
        similarity=found.similarity,
        similarity_critical=found.similarity_critical,
        p_values=p_values,
        p_value=p_value,
        within_by_site=found.within_by_site,
        others_by_site=found.others_by_site,
        typical_rows=rows[np.concatenate(middles)],
        typical_labels=np.repeat(np.arange(K), [len(middle) for middle in middles]),
        typical_gradients=np.concatenate(gradients) if gradients else None,
        settings={
            "method": type(scorer).__name__,
            "sparsity": sparsity,
            "critical": "selected" if critical is not None else "representative",
            "seed": seed,
            **counts,
        },
    )


def _drawn(mechanisms: Mechanisms, most: int, rng: np.random.Generator) -> np.ndarray:
    """Positions in the samples of inputs drawn from each mechanism, at most so many."""
    mine = [np.flatnonzero(mechanisms.labels == k) for k in range(len(mechanisms))]
    return np.concatenate([np.sort(rng.choice(one, min(most, len(one)), replace=False)) for one in mine])


def _used(mechanisms: Mechanisms) -> dict[str, list[int]]:
    """Neurons by which the mechanisms were found, by layer."""
    used: dict[str, list[int]] = {}
    for feature in mechanisms.features:
        used.setdefault(feature.layer, []).extend(feature.neurons)
    return used


def _parts(positions: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(positions), size):
        yield positions[start : start + size]


def _inputs(data: Any, rows: np.ndarray) -> Any:
    """Give some inputs by number, as one batch, whatever holds them."""
    data = by_number(data)
    if isinstance(data, tuple) and len(data) == 2 and isinstance(data[0], tuple | Mapping):
        data = data[0]
    if isinstance(data, Mapping):
        return {name: torch.as_tensor(values)[rows] for name, values in data.items()}
    if isinstance(data, tuple):
        data = TensorDataset(*map(torch.as_tensor, data))
    try:
        return next(batches(Subset(data, rows.tolist()), len(rows)))[0]
    except (IndexError, KeyError, TypeError) as error:
        raise InputError(
            f"data is a {type(data).__name__} that does not give input {rows.max()} ({error!r}); give the data that"
            " were recorded, by number: data[i]."
        ) from None


def _check_aligned(mechanisms: Mechanisms, model: nn.Module, data: Any, positions: np.ndarray, output: Output) -> None:
    """Raise an InputError unless model and data give the neurons that the mechanisms were found by."""
    if "callable" in mechanisms.pooling.values():
        return
    batch = _inputs(data, mechanisms.samples[positions])
    pooling = dict(mechanisms.pooling)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what there is to warn of was said when the inputs were recorded
        again = record(model, batch, list(pooling), neurons=pooling, output=output, progress=False)
    got, held = mechanisms.read(again), mechanisms.values[positions]
    if np.abs(got - held).max() > _TOLERANCE * max(float(np.abs(held).max()), 1e-6):
        rows = ", ".join(map(str, mechanisms.samples[positions]))
        raise InputError(
            f"The model gives other activations for the inputs {rows} than the mechanisms hold. Give the model and the"
            " data, in the order, that were recorded."
        )
