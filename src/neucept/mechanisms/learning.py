"""Learn the mechanisms behind one prediction: NeuCEPT-learning, Algorithm 2."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from torch import nn

from neucept.discovery import CriticalNeurons
from neucept.discovery.selection import neurons_by_layer
from neucept.errors import InputError, check_kind, check_whole, closest, one_of
from neucept.knockoffs.preprocessing import deviations
from neucept.mechanisms import spaces
from neucept.mechanisms.clustering import METHODS, REGULARISATION, Method, check_method, cluster, cross_fitted_labels
from neucept.mechanisms.features import Feature, reduce_layers, representatives
from neucept.mechanisms.mechanisms import Mechanisms
from neucept.mechanisms.metric import layer_metrics
from neucept.mechanisms.n_clusters import RULES, NumberOfClusters, Rule, choose
from neucept.mechanisms.reliability import reliability
from neucept.mechanisms.spaces import Space, build_space, check_posterior
from neucept.recording import Recording
from neucept.recording.outputs import Output
from neucept.vocabulary import REDUCTIONS, SPACES, SpaceName

Critical = CriticalNeurons | Mapping[str, Any] | pd.DataFrame | np.ndarray | Sequence[int]
AUTO: dict[Rule, Sequence[int]] = {"structure": range(1, 11), "reliability": range(1, 7)}  # numbers compared


def learn(
    recording: Recording,
    critical: Critical,
    n_mechanisms: int | Literal["auto"] = "auto",
    method: Method = "kmeans",
    reduce: Literal["top", "agglomerate"] | SpaceName | None = None,
    compactness: int | Mapping[str, int] = 10,
    samples: Literal["predicted", "all"] | np.ndarray | Sequence[int] | None = None,
    scale: bool = True,
    seed: int = 0,
    target: int | str | tuple[float, float] | None = None,
    model: nn.Module | None = None,
    data: Any = None,
    output: Output = None,
    layers: Sequence[str] | None = None,
) -> Mechanisms:
    """Learn the mechanisms of a target from its critical neurons: NeuCEPT-learning (Algorithm 2).

    The neurons of each layer are weighted, or reduced to a few representatives, the layers are joined, and the inputs
    clustered. The paper's own choice is ``n_mechanisms=5, reduce="top"``; by default all neurons take part, because
    such mechanisms are found again more often and tell more of a network's errors. In a weighted space, unweighted
    neurons included, every live neuron takes part, each layer with the same total variance, and the inputs are
    clustered by their principal components; the guarantee of a selection does not cover these neurons.

    Parameters
    ----------
    recording : Recording
        From `neucept.record`.
    critical : CriticalNeurons, ranking, or neurons
        From `neucept.discover`. Also: the table of `neucept.rankings.rank` with one method; {layer: neuron numbers in
        order, or a mask}; or such an array alone, where one layer was recorded. Neurons of a ranking, or given by
        hand, are taken in their order.
    n_mechanisms : int or "auto"
        The number of clusters K; ``auto``, the default, takes what `choose_n_mechanisms` suggests and keeps the
        comparison in ``Mechanisms.n_clusters``: by structure for ``top`` and ``agglomerate``, by structure and
        reliability for weighted spaces.
    method : {"kmeans", "gmm", "agglomerative"} or Clusterer
        A clusterer of scikit-learn, or of your own (see `neucept.mechanisms.Clusterer`), decides on the number itself.
    reduce : {"contribution", "posterior", "metric", "all", "top", "agglomerate"}, optional
        By default ``all`` for neurons that were discovered, which say the target, layers and inputs, and ``top`` for a
        ranking or neurons given by hand, which are taken as they are.
        ``top``: the first neurons in the order ``information``, which names nothing twice, one per group; a warning
        counts those beyond the selection.
        ``agglomerate``: the selected neurons joined into at most v representatives by feature agglomeration.
        ``contribution``: all neurons, each times its ridge coefficient for the response, standardised.
        ``posterior``: all neurons, standardised, each times its probability of being critical (1 - local fdr).
        ``metric``: all neurons, with the distances that the next layer of ``critical`` sees, the outputs for the last
        (needs ``model`` and ``data``). ``all``: all neurons, standardised and unweighted.
        A mixture in a weighted space has a tenth of the mean variance added to the variances of its components.
    compactness : int or mapping
        Representatives per layer (v), one number or {layer: number}; 10 for layers that are not named. Of a weighted
        space: the number of principal components of all layers together.
    samples : {"predicted", "all"}, mask or row numbers, optional
        Inputs to cluster; by default those that the neurons were discovered on.
    scale : bool
        Divide neurons by their standard deviation, so that each counts the same.
    seed : int
        Seed for the clustering.
    target : int, str or (low, high), optional
        The class, or another target of the recording's task, where ``critical`` does not say it.
    model, data : Module and data of any kind, optional
        The recorded ones, for ``metric``.
    output : None, str, int or callable
        As in `neucept.record`, for ``metric``; that of the recording by default.
    layers : sequence of str, optional
        Those of ``critical`` to cluster by; all by default. ``metric`` takes the next layer from all of them.

    Returns
    -------
    Mechanisms

    Raises
    ------
    InputError
        Before any work, for impossible options, more mechanisms than inputs, or no neurons at all.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> Z = rng.normal(size=(100, 6)).astype(np.float32) + 4 * (np.arange(100)[:, None] % 2)
    >>> recording = Recording({"hidden": Z}, rng.normal(size=(100, 2)).astype(np.float32), None, ("a", "b"))
    >>> learn(recording, {"hidden": [0, 1, 2]}, n_mechanisms=2, samples="all")
    Mechanisms(2 of 'all inputs' by 3 neurons; 50%, 50%)
    """
    check_kind("recording", recording, Recording, "what neucept.record returns")
    check_method(method)
    if reduce is not None:
        one_of("reduce", reduce, REDUCTIONS)
    auto = isinstance(n_mechanisms, str) and n_mechanisms == "auto"
    if isinstance(n_mechanisms, str) and not auto:
        raise InputError(f"n_mechanisms={n_mechanisms!r}: expected a whole number, 1 or more, or 'auto'.")
    K = 1 if auto else check_whole("n_mechanisms", n_mechanisms)
    check_whole("seed", seed, 0)
    every = neurons_by_layer(recording.layers, critical)
    neurons = _chosen_layers(every, layers)
    number, name = _target(recording, critical, target)
    rows = _rows(recording, critical, samples, number, K)
    space, sizes = None, compactness
    way = _default(recording, critical, neurons, rows) if reduce is None else reduce
    if way in SPACES:
        network = model, data, output
        space = _space(recording, critical, every, neurons, way, compactness, rows, number, scale, network, seed)
        features = space.features()
    else:
        sizes = _compactness(compactness, list(neurons))
        features = reduce_layers(recording, neurons, way, sizes, rows)
    values = representatives(recording, features, rows)
    scaled, mean, divisor = _standardise(values, features, scale and space is None)
    if space is not None:
        scaled = space.join(scaled)
    regularisation = REGULARISATION if space is None else spaces.REGULARISATION
    n_clusters = None
    with threadpool_limits(1):  # on tables this small several threads wait for each other more than they work
        if auto and isinstance(method, str):
            right = None if space is None else _right(recording, number, rows)
            by: Rule = "structure" if space is None else "reliability"
            n_clusters = choose(scaled, AUTO[by], method, seed, by=by, right=right, regularisation=regularisation)
        K = n_clusters.suggested if n_clusters is not None else K
        labels, assigner = cluster(scaled, K, method, seed, regularisation)
        again = cross_fitted_labels(scaled, labels, K, method, seed, regularisation)
    if space is not None:
        space = replace(space, centres=space.mechanism_means(recording, rows, labels))
    mechanisms = Mechanisms(
        target=number,
        target_name=name,
        samples=rows,
        labels=labels,
        cross_fitted=again,
        features=features,
        values=values,
        mean=mean,
        scale=divisor,
        assigner=assigner,
        units={layer: recording.units[layer] for layer in dict.fromkeys(f.layer for f in features)},
        task=recording.task,
        output_facts={name: str(recording.facts[name]) for name in ("output", "readout") if name in recording.facts},
        n_clusters=n_clusters,
        space=space,
        settings={
            "n_mechanisms": int(labels.max()) + 1,
            "method": method if isinstance(method, str) else repr(method),
            "reduce": way,
            "compactness": sizes,
            "scale": scale,
            "seed": seed,
            **({} if layers is None else {"layers": list(layers)}),
            "samples": samples if isinstance(samples, str) else "as discovered" if samples is None else "chosen",
        },
    )
    return _with_reliability(mechanisms, recording)


def choose_n_mechanisms(
    mechanisms: Mechanisms,
    numbers: Sequence[int] = range(1, 11),
    method: Method | None = None,
    seed: int = 0,
    progress: bool = True,
    by: Rule = "structure",
    recording: Recording | None = None,
) -> NumberOfClusters:
    """Compare numbers of clusters, on the neurons and inputs that some mechanisms were learnt on.

    Parameters
    ----------
    mechanisms : Mechanisms
        From `neucept.learn`, with any number.
    numbers : sequence of int
        The K to compare.
    method : {"kmeans", "gmm", "agglomerative"} or Clusterer, optional
        By default the method of the mechanisms where it is one of the three with a name, else K-means.
    seed : int
        Seed for halvings and clusterings.
    progress : bool
        Show progress when it takes more than two seconds.
    by : {"structure", "reliability"}
        ``structure``: by the dip test, stability and silhouette. ``reliability``: by BIC, stability, and whether the
        precision of the clusters differs on inputs that they were not fitted to; see `NumberOfClusters`.
    recording : Recording, optional
        The one learnt on, which knows the labels; for ``reliability``.

    Returns
    -------
    NumberOfClusters
        Stability, silhouette and BIC for each K, the test against one single mechanism, and a suggestion.

    Raises
    ------
    InputError
        For what are no mechanisms, an unknown method, and numbers that are not whole and positive.
    """
    if not isinstance(mechanisms, Mechanisms):
        raise InputError(f"mechanisms is a {type(mechanisms).__name__}; expected what neucept.learn returns.")
    if method is None:
        known = mechanisms.settings.get("method")
        method = known if known in METHODS else "kmeans"
    check_method(method)
    if isinstance(numbers, str) or not np.iterable(numbers):
        raise InputError(f"numbers={numbers!r}: expected whole numbers to compare, such as range(1, 11).")
    compared = list(dict.fromkeys(check_whole("numbers", K) for K in numbers))
    check_whole("seed", seed, 0)
    one_of("by", by, RULES)
    regularisation = REGULARISATION if mechanisms.space is None else spaces.REGULARISATION
    right = None
    if by == "reliability":
        if not isinstance(recording, Recording) or not mechanisms.learnt_on(recording):
            raise InputError("by='reliability' judges by labels: give recording=, the one that the mechanisms are of.")
        right = _right(recording, mechanisms.target, mechanisms.samples)
        if right is None:
            raise InputError(
                "by='reliability' judges by labels, but this recording has none that say whether"
                f" '{mechanisms.target_name}' is true of an input. Use by='structure'."
            )
    return choose(
        mechanisms.scaled, compared, method, seed, progress=progress, by=by, right=right, regularisation=regularisation
    )


def _space(
    recording: Recording,
    critical: Critical,
    every: Mapping[str, Any],
    neurons: Mapping[str, Any],
    name: SpaceName,
    compactness: Any,
    rows: np.ndarray,
    target: int | str | None,
    scale: bool,
    network: tuple[nn.Module | None, Any, Output],
    seed: int,
) -> Space:
    """Build a weighted space, after a look at what it needs."""
    if isinstance(compactness, Mapping):
        raise InputError(
            f"compactness={dict(compactness)!r}: reduce='{name}' has one number of principal components for all layers"
            " together, such as compactness=10. Numbers of neurons per layer are for reduce='top'."
        )
    components = check_whole("compactness", compactness)
    if not scale:
        raise InputError(
            f"scale=False: reduce='{name}' always standardises neurons; leave scale=True, or use reduce='top'."
        )
    if not neurons:
        raise InputError("critical names no layer; give at least one.")
    model, data, output = network
    if name == "metric" and (model is None or data is None):
        raise InputError("reduce='metric' runs the network: give model= and data=, those that were recorded.")
    response = None
    if name == "contribution":
        if target is None:
            raise InputError(
                "reduce='contribution' weighs neurons by what they add to a response: give target=, a class or another"
                " target of the task."
            )
        response = recording.response(target, _kind(critical))[rows]
        if not np.ptp(response):
            raise InputError(
                f"The response to '{recording.target_name(target)}' is the same for all {len(rows)} inputs, so that"
                " neurons contribute nothing to it. Use reduce='posterior' or 'top'."
            )
    if name == "posterior":
        check_posterior(neurons)
    metrics = None
    if name == "metric":
        assert model is not None
        metrics = layer_metrics(recording, every, list(neurons), model, data, rows, output, seed=seed)
    return build_space(recording, neurons, name, components, rows, response, metrics, seed)


def _default(
    recording: Recording, critical: Critical, neurons: Mapping[str, Any], rows: np.ndarray
) -> Literal["all", "top"]:
    """Choose the space where none was asked for."""
    live = any(deviations(recording.activations(layer)[rows]).any() for layer in neurons)
    return "all" if live and isinstance(critical, CriticalNeurons) else "top"


def _kind(critical: Critical) -> str:
    """Which response to a target: that of the discovery, where it was for a target."""
    return critical.response if isinstance(critical, CriticalNeurons) and critical.target is not None else "logit"


def _right(recording: Recording, target: int | str | None, rows: np.ndarray) -> np.ndarray | None:
    """Say which inputs the target is true of, (m,) bool; None where the recording does not know."""
    if recording.labels is None or target is None:
        return None
    try:
        right = recording.right(target)
    except InputError:
        return None
    return None if right is None else np.asarray(right[rows])


def _chosen_layers(neurons: Mapping[str, Any], layers: Sequence[str] | None) -> Mapping[str, Any]:
    if layers is None:
        return neurons
    if isinstance(layers, str) or not isinstance(layers, Sequence) or not layers or len(set(layers)) < len(layers):
        raise InputError(f"layers={layers!r}: expected a list of layers with critical neurons, each once.")
    for layer in layers:
        if layer not in neurons:
            raise InputError(f"layers= names '{layer}', which has no critical neurons.{closest(str(layer), neurons)}")
    return {layer: given for layer, given in neurons.items() if layer in layers}


def _target(recording: Recording, critical: Critical, target: Any) -> tuple[int | str | None, str]:
    if target is not None:
        number: int | str = recording.class_number(target)
        return number, recording.target_name(number)
    if isinstance(critical, CriticalNeurons):
        return critical.target, critical.target_name
    return None, "all inputs"


def _rows(recording: Recording, critical: Critical, samples: Any, number: int | str | None, least: int) -> np.ndarray:
    """Choose the inputs to cluster."""
    if samples is None and isinstance(critical, CriticalNeurons):
        samples = critical.samples
    rows = recording.samples(np.zeros(len(recording)) if number is None else number, samples)
    if len(rows) < 2:
        raise InputError(f"{len(rows)} inputs to cluster; at least 2 are needed.")
    if len(rows) < least:
        raise InputError(f"{least} mechanisms were asked of {len(rows)} inputs; ask for fewer.")
    return rows


def _compactness(given: int | Mapping[str, int], layers: list[str]) -> dict[str, int]:
    if isinstance(given, Mapping):
        for layer in given:
            if layer not in layers:
                raise InputError(
                    f"compactness= names layer '{layer}', which has no critical neurons.{closest(str(layer), layers)}"
                )
        sizes = {layer: given.get(layer, 10) for layer in layers}
    else:
        sizes = dict.fromkeys(layers, given)
    for layer, size in sizes.items():
        check_whole(f"compactness of layer '{layer}'", size)
    return {layer: int(size) for layer, size in sizes.items()}


def _standardise(
    values: np.ndarray, features: tuple[Feature, ...], scale: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre values, and divide them by their deviation where asked; also the means and divisors."""
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise InputError(
            f"Neuron {features[column].name} is {values[row, column]} at input {row} of those to cluster; leave that"
            " input or neuron out."
        )
    mean, deviation = values.mean(axis=0), deviations(values)
    divisor = np.where(deviation > 0, deviation, 1.0) if scale else np.ones(len(mean))
    return (values - mean) / divisor, mean, divisor


def _with_reliability(mechanisms: Mechanisms, recording: Recording) -> Mechanisms:
    """Add the reliability where the recording knows the true classes."""
    if recording.labels is None or mechanisms.target is None:
        return mechanisms
    try:
        return replace(mechanisms, reliability=reliability(recording, mechanisms))
    except InputError as error:
        warnings.warn(f"No reliability is measured. {error}", stacklevel=3)
        return mechanisms
