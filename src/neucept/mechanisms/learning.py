"""Learn the mechanisms behind one prediction: NeuCEPT-learning, Algorithm 2."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.cluster import FeatureAgglomeration

from neucept.discovery import CriticalNeurons
from neucept.errors import InputError, check_whole, closest, one_of
from neucept.knockoffs.preprocessing import deviations, standardised
from neucept.mechanisms.clustering import METHODS, Method, check_method, cluster, cross_fitted_labels
from neucept.mechanisms.mechanisms import Feature, Mechanisms, representatives
from neucept.mechanisms.n_clusters import NumberOfClusters, choose
from neucept.mechanisms.reliability import reliability
from neucept.recording import Recording

Critical = CriticalNeurons | Mapping[str, Any] | pd.DataFrame | np.ndarray | Sequence[int]
REDUCTIONS = ("top", "agglomerate")


def learn(
    recording: Recording,
    critical: Critical,
    n_mechanisms: int | Literal["auto"] = 5,
    method: Method = "kmeans",
    reduce: Literal["top", "agglomerate"] = "top",
    compactness: int | Mapping[str, int] = 10,
    samples: Literal["predicted", "all"] | np.ndarray | Sequence[int] | None = None,
    scale: bool = True,
    seed: int = 0,
    target: int | str | tuple[float, float] | None = None,
) -> Mechanisms:
    """Learn the mechanisms of a target from its critical neurons: NeuCEPT-learning (Algorithm 2).

    The neurons of each layer are reduced to a few representatives, the layers are joined, and the inputs clustered.

    Parameters
    ----------
    recording : Recording
        From `neucept.record`.
    critical : CriticalNeurons, ranking, or neurons
        From `neucept.discover`. Also: the table of `neucept.rankings.rank` with one method; {layer: neuron numbers in
        order, or a mask}; or such an array alone, where one layer was recorded. Neurons of a ranking, or given by
        hand, are taken in their order.
    n_mechanisms : int or "auto"
        The number of clusters K; ``auto`` takes what `choose_n_mechanisms` suggests and keeps the comparison in
        ``Mechanisms.n_clusters``.
    method : {"kmeans", "gmm", "agglomerative"} or Clusterer
        A clusterer of scikit-learn, or of your own (see `neucept.mechanisms.Clusterer`), decides on the number itself.
    reduce : {"top", "agglomerate"}
        ``top``: the first neurons of the ranking, one per group; a warning counts those beyond the selection.
        ``agglomerate``: the selected neurons joined into at most v representatives by feature agglomeration.
    compactness : int or mapping
        Representatives per layer (v), one number or {layer: number}; 10 for layers that are not named.
    samples : {"predicted", "all"}, mask or row numbers, optional
        Inputs to cluster; by default those that the neurons were discovered on.
    scale : bool
        Divide neurons by their standard deviation, so that each counts the same.
    seed : int
        Seed for the clustering.
    target : int, str or (low, high), optional
        The class, or another target of the recording's task, where ``critical`` does not say it.

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
    check_method(method)
    one_of("reduce", reduce, REDUCTIONS)
    auto = isinstance(n_mechanisms, str) and n_mechanisms == "auto"
    if isinstance(n_mechanisms, str) and not auto:
        raise InputError(f"n_mechanisms={n_mechanisms!r}: expected a whole number, 1 or more, or 'auto'.")
    K = 1 if auto else check_whole("n_mechanisms", n_mechanisms)
    neurons = _by_layer(recording, critical)
    number, name = _target(recording, critical, target)
    rows = _rows(recording, critical, samples, number, K)
    sizes = _compactness(compactness, list(neurons))
    features = _features(recording, neurons, reduce, sizes, rows)
    values = representatives(recording, features, rows)
    scaled, mean, divisor = _standardise(values, features, scale)
    n_clusters = choose(scaled, range(1, 11), method, seed) if auto and isinstance(method, str) else None
    K = n_clusters.suggested if n_clusters is not None else K
    labels, assigner = cluster(scaled, K, method, seed)
    mechanisms = Mechanisms(
        target=number,
        target_name=name,
        samples=rows,
        labels=labels,
        cross_fitted=cross_fitted_labels(scaled, labels, K, method, seed),
        features=features,
        values=values,
        mean=mean,
        scale=divisor,
        assigner=assigner,
        units={layer: recording.units[layer] for layer in dict.fromkeys(f.layer for f in features)},
        task=recording.task,
        output_facts={name: str(recording.facts[name]) for name in ("output", "readout") if name in recording.facts},
        n_clusters=n_clusters,
        settings={
            "n_mechanisms": int(labels.max()) + 1,
            "method": method if isinstance(method, str) else repr(method),
            "reduce": reduce,
            "compactness": sizes,
            "scale": scale,
            "seed": seed,
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
    compared = [check_whole("numbers", K) for K in numbers]
    return choose(mechanisms.scaled, compared, method, seed, progress=progress)


def _by_layer(recording: Recording, critical: Any) -> Mapping[str, Any]:
    """Read critical neurons, a ranking or neurons by hand as {layer: selection or neurons}."""
    if isinstance(critical, pd.DataFrame):
        lacking = [column for column in ("layer", "neuron", "method", "rank") if column not in critical]
        methods = [] if lacking else list(critical["method"].unique())
        if lacking or len(methods) != 1:
            got = f"it lacks the column {lacking[0]!r}" if lacking else f"it has the methods {methods}"
            raise InputError(
                f"critical is a table, but not a ranking by one method: {got}. Give the rows of one method of what"
                " neucept.rankings.rank returns: table[table.method == NAME]."
            )
        ordered = critical.sort_values("rank", kind="stable")
        return {
            layer: ordered.loc[ordered["layer"] == layer, "neuron"].to_numpy() for layer in critical["layer"].unique()
        }
    if isinstance(critical, Mapping):
        return critical
    if isinstance(critical, np.ndarray | list | tuple | range):
        if len(recording.layers) == 1:
            return {recording.layers[0]: critical}
        raise InputError(
            f"critical is one list of neurons, but {len(recording.layers)} layers were recorded: give"
            f" {{layer: neurons}}, with layers among {', '.join(recording.layers)}."
        )
    raise InputError(
        f"critical is a {type(critical).__name__}; expected what neucept.discover returns for one target, a ranking of"
        " neucept.rankings.rank, or {layer: neuron numbers}."
    )


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


def _features(
    recording: Recording, neurons: Mapping[str, Any], reduce: str, sizes: Mapping[str, int], rows: np.ndarray
) -> tuple[Feature, ...]:
    """Reduce the neurons of each layer to representatives."""
    features: list[Feature] = []
    for layer, given in neurons.items():
        features += _reduce(recording, given, layer, reduce, sizes[layer], rows)
    if not features:
        raise InputError(
            "No neuron is selected at any layer, so there is nothing to agglomerate. Use reduce='top' (the ranking"
            " is valid all the same) or a lower precision: critical.at(precision=...)."
            if reduce == "agglomerate"
            else "critical holds no neuron of any layer; give at least one."
        )
    return tuple(features)


def _reduce(recording: Recording, given: Any, layer: str, reduce: str, size: int, rows: np.ndarray) -> list[Feature]:
    if isinstance(critical_neurons := getattr(given, "neurons", None), np.ndarray):
        selected = set(critical_neurons.tolist())
        ordered = given.ranking[: len(given.representatives)] if reduce == "top" else critical_neurons
    else:
        ordered = _by_hand(given, layer, recording.activations(layer).shape[1])
        selected = set(ordered.tolist())
    if reduce == "top":
        chosen = ordered[:size]
        beyond = [neuron for neuron in chosen.tolist() if neuron not in selected]
        if beyond:
            warnings.warn(
                f"{len(beyond)} of the {len(chosen)} neurons used at layer '{layer}' are beyond the selection, which"
                f" has {len(selected)}: the guarantee does not cover them.",
                stacklevel=4,
            )
        return [Feature(layer, (int(neuron),), int(neuron) in selected) for neuron in chosen]
    if len(ordered) <= size or len(ordered) < 2:
        return [Feature(layer, (int(neuron),), True) for neuron in ordered]
    Z = standardised(recording.activations(layer)[np.ix_(rows, ordered)])
    groups = FeatureAgglomeration(n_clusters=size).fit(Z).labels_
    firsts = list(dict.fromkeys(groups.tolist()))  # groups in the order of their most important neuron
    return [Feature(layer, tuple(int(n) for n in ordered[groups == group]), True) for group in firsts]


def _by_hand(given: Any, layer: str, width: int) -> np.ndarray:
    """Read neuron numbers, or a mask, that a person gave."""
    neurons = np.asarray(given).ravel()
    if neurons.dtype == bool and len(neurons) == width:
        return np.flatnonzero(neurons)
    if neurons.dtype.kind not in "iuf" and neurons.size:
        got = f"a mask of {len(neurons)} was given" if neurons.dtype == bool else f"{neurons.flat[0]!r} was given"
    elif len(wrong := neurons[(neurons < 0) | (neurons >= width) | (neurons != np.floor(neurons))]):
        got = f"neuron {wrong[0]} was given"
    elif len(np.unique(neurons)) < len(neurons):
        twice = neurons[np.argmax([neuron in neurons[:i] for i, neuron in enumerate(neurons)])]
        got = f"neuron {twice:.0f} was given twice"
    else:
        return neurons.astype(np.intp)
    raise InputError(f"Layer '{layer}' has {width} neurons, 0 to {width - 1}; {got}.")


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
