"""Learn the mechanisms behind one prediction: NeuCEPT-learning, Algorithm 2."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.cluster import FeatureAgglomeration

from neucept.discovery import CriticalNeurons
from neucept.errors import InputError, closest
from neucept.mechanisms.clustering import check_method, cluster
from neucept.mechanisms.mechanisms import Feature, Mechanisms, representatives
from neucept.mechanisms.n_clusters import Choice, choose
from neucept.mechanisms.reliability import cross_fitted_labels, reliability
from neucept.recording import Recording

Critical = CriticalNeurons | Mapping[str, Any]
REDUCTIONS = ("top", "agglomerate")


def learn(
    recording: Recording,
    critical: Critical,
    n_mechanisms: int | str = 5,
    method: Any = "kmeans",
    reduce: str = "top",
    compactness: int | Mapping[str, int] = 10,
    samples: str | np.ndarray | None = None,
    scale: bool = True,
    seed: int = 0,
    target: int | str | None = None,
) -> Mechanisms:
    """Learn the mechanisms of a target from its critical neurons: NeuCEPT-learning (Algorithm 2).

    The neurons of each layer are reduced to a few representatives, the layers are joined, and the inputs clustered.

    Parameters
    ----------
    recording : Recording
        Of `neucept.record`.
    critical : CriticalNeurons, or mapping of layer to neuron numbers
        Of `neucept.discover`; neurons given by hand are taken in their order.
    n_mechanisms : int or "auto"
        K; ``auto`` takes what `choose_n_mechanisms` suggests.
    method : {"kmeans", "gmm", "agglomerative"} or a scikit-learn clusterer
        A clusterer of the user's decides on the number for itself.
    reduce : {"top", "agglomerate"}
        ``top``: the first neurons of the ranking, one a group; those beyond the selection are warned of.
        ``agglomerate``: the selected neurons joined into at most v representatives by feature agglomeration.
    compactness : int or mapping
        Representatives of each layer (v), one number or {layer: number}; layers not named there have 10.
    samples : {"predicted", "all"}, mask or row numbers, optional
        Inputs to cluster; by default those that the neurons were discovered on.
    scale : bool
        Divide neurons by their standard deviation, so that each counts the same.
    seed : int
        Of the clustering.
    target : int or str, optional
        The class, where ``critical`` does not say it.

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
    if reduce not in REDUCTIONS:
        raise InputError(f"reduce={reduce!r}: expected one of {', '.join(map(repr, REDUCTIONS))}.")
    if n_mechanisms != "auto" and not _counts(n_mechanisms):
        raise InputError(f"n_mechanisms={n_mechanisms!r}: expected a number from 1 on, or 'auto'.")
    number, name = _target(recording, critical, target)
    rows = _rows(recording, critical, samples, number)
    if n_mechanisms != "auto" and int(n_mechanisms) > len(rows):
        raise InputError(f"{n_mechanisms} mechanisms were asked of {len(rows)} inputs; ask for fewer.")
    if len(rows) < 2:
        raise InputError(f"{len(rows)} inputs to cluster; at least 2 are needed.")
    sizes = _compactness(compactness, list(critical))
    features = tuple(
        feature
        for layer in critical
        for feature in _reduce(recording, critical[layer], layer, reduce, sizes[layer], rows)
    )
    if not features:
        raise InputError(
            "No neuron is selected at any layer, so there is nothing to agglomerate. Use reduce='top' (the ranking"
            " holds all the same) or a lower precision: critical.at(precision=...)."
        )
    values = representatives(recording, features, rows)
    mean = values.mean(axis=0)
    deviation = values.std(axis=0)
    varies = deviation > 1e-9 * np.abs(values).max(axis=0)
    divisor = np.where(varies, deviation, 1.0) if scale else np.ones(len(mean))
    scaled = (values - mean) / divisor
    if n_mechanisms == "auto":
        K = choose(scaled, range(1, 11), method, seed).suggested
    else:
        K = int(n_mechanisms)
    labels, assigner = cluster(scaled, K, method, seed)
    found = int(labels.max()) + 1
    pooling = {layer: recording.pooling.get(layer, "auto") for layer in dict.fromkeys(f.layer for f in features)}
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
        pooling=pooling,
        settings={
            "n_mechanisms": found,
            "method": method if isinstance(method, str) else repr(method),
            "reduce": reduce,
            "compactness": sizes,
            "scale": scale,
            "seed": seed,
            "samples": samples if isinstance(samples, str) else "as discovered" if samples is None else "chosen",
        },
    )
    known = recording.labels
    if known is not None and number is not None:
        if known.min() >= 0 and known.max() < len(recording.class_names):
            return replace(mechanisms, reliability=reliability(recording, mechanisms))
        warnings.warn(
            f"Labels run from {known.min()} to {known.max()}, but the model has {len(recording.class_names)} classes:"
            " no reliability is measured. Record labels in the model's classes, or call reliability(labels=...).",
            stacklevel=2,
        )
    return mechanisms


def choose_n_mechanisms(
    mechanisms: Mechanisms,
    numbers: Sequence[int] = range(1, 11),
    method: Any = None,
    seed: int = 0,
    progress: bool = True,
) -> Choice:
    """Guide to the number of mechanisms, on the neurons and inputs that some mechanisms were learnt on.

    Parameters
    ----------
    mechanisms : Mechanisms
        Of `neucept.learn`, with any number.
    numbers : sequence of int
        The K to compare.
    method : str or clusterer, optional
        By default K-means, or the method of the mechanisms where it is one of the three named.
    seed : int
        Of halvings and clusterings.
    progress : bool
        Show progress when it takes more than two seconds.

    Returns
    -------
    Choice
        Stability, silhouette and BIC for each K, the test against one single mechanism, and a suggestion.
    """
    if method is None:
        named = mechanisms.settings.get("method")
        method = named if named in ("kmeans", "gmm", "agglomerative") else "kmeans"
    check_method(method)
    return choose(mechanisms.scaled, numbers, method, seed, progress=progress)


def _target(recording: Recording, critical: Critical, target: int | str | None) -> tuple[int | None, str]:
    if target is not None:
        number = recording.class_number(target)
        return number, recording.class_names[number]
    if isinstance(critical, CriticalNeurons):
        return critical.target, critical.target_name
    return None, "all inputs"


def _rows(recording: Recording, critical: Critical, samples: Any, number: int | None) -> np.ndarray:
    if samples is None and isinstance(critical, CriticalNeurons):
        samples = critical.samples
    return recording.samples(np.zeros(len(recording)) if number is None else number, samples)


def _compactness(given: int | Mapping[str, int], layers: list[str]) -> dict[str, int]:
    if isinstance(given, Mapping):
        for layer in given:
            if layer not in layers:
                raise InputError(
                    f"compactness= names layer '{layer}', which has no critical neurons.{closest(layer, layers)}"
                )
        sizes = {layer: given.get(layer, 10) for layer in layers}
    else:
        sizes = dict.fromkeys(layers, given)
    for layer, size in sizes.items():
        if not _counts(size):
            raise InputError(f"compactness={size!r} for layer '{layer}': expected a number of neurons from 1 on.")
    return {layer: int(size) for layer, size in sizes.items()}


def _counts(value: Any) -> bool:
    """Say whether a value is a whole number from 1 on."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 1


def _reduce(recording: Recording, found: Any, layer: str, reduce: str, size: int, rows: np.ndarray) -> list[Feature]:
    if isinstance(critical_neurons := getattr(found, "neurons", None), np.ndarray):
        selected = set(critical_neurons.tolist())
        ordered = found.ranking[: len(found.representatives)] if reduce == "top" else critical_neurons
    else:
        ordered = _by_hand(found, layer, recording.activations(layer).shape[1])
        selected = set(ordered.tolist())
    if reduce == "top":
        chosen = ordered[:size]
        beyond = [neuron for neuron in chosen.tolist() if neuron not in selected]
        if beyond:
            warnings.warn(
                f"{len(beyond)} of the {len(chosen)} neurons used at layer '{layer}' are beyond the selection, which"
                f" has {len(selected)}: the precision asked does not cover them.",
                stacklevel=4,
            )
        return [Feature(layer, (int(neuron),), int(neuron) in selected) for neuron in chosen]
    if len(ordered) <= size or len(ordered) < 2:
        return [Feature(layer, (int(neuron),), True) for neuron in ordered]
    Z = recording.activations(layer)[np.ix_(rows, ordered)].astype(np.float64)
    Z = (Z - Z.mean(axis=0)) / np.maximum(Z.std(axis=0), 1e-9 * np.abs(Z).max(axis=0) + 1e-300)
    groups = FeatureAgglomeration(n_clusters=size).fit(Z).labels_
    firsts = list(dict.fromkeys(groups.tolist()))  # groups in the order of their most important neuron
    return [Feature(layer, tuple(int(n) for n in ordered[groups == group]), True) for group in firsts]


def _by_hand(given: Any, layer: str, width: int) -> np.ndarray:
    """Read neuron numbers, or a mask, that a person gave."""
    neurons = np.asarray(given).ravel()
    if neurons.dtype == bool and len(neurons) == width:
        return np.flatnonzero(neurons)
    wrong = neurons[(neurons < 0) | (neurons >= width) | (neurons != np.floor(neurons))]
    if len(wrong) or neurons.dtype == bool:
        got = f"neuron {wrong[0]} was given" if len(wrong) else f"a mask of {len(neurons)} was given"
        raise InputError(f"Layer '{layer}' has {width} neurons, 0 to {width - 1}; {got}.")
    return neurons.astype(np.intp)
