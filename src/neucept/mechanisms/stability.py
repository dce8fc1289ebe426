"""Stability of each mechanism: whether it is found again when neurons, space and clusters are all found anew."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch import nn

from neucept.discovery import CriticalNeurons, discover
from neucept.errors import InputError, check_whole, one_of
from neucept.mechanisms import spaces
from neucept.mechanisms.clustering import METHODS, REGULARISATION, Method, check_method
from neucept.mechanisms.learning import Critical, learn
from neucept.mechanisms.mechanisms import Mechanisms
from neucept.mechanisms.n_clusters import STABLE, choose
from neucept.progress import progress as show_progress
from neucept.recording import Recording
from neucept.recording.outputs import Output

DISSOLVED, DOUBTFUL = 0.5, 0.75  # mean Jaccard similarity up to which, and below which, a mechanism is called so
_FEWEST = 40  # inputs of a mechanism in which a split is looked for
_WITHOUT_SELECTION = ("contribution", "all")
_DISCOVERY = ("objective", "sampler", "statistic", "aggregate", "calibration", "draws")


def mechanism_stability(
    recording: Recording,
    critical: Critical,
    mechanisms: Mechanisms,
    draws: int = 20,
    selection: Literal["anew", "fixed"] = "anew",
    method: Method | None = None,
    model: nn.Module | None = None,
    data: Any = None,
    output: Output = None,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure how well each mechanism is found again on random halves of its inputs, everything anew.

    On each half the critical neurons are discovered, the space is built and the inputs are clustered as before, with
    the same K; the clusters are then assigned to all inputs. A half drawn without replacement varies as much as a
    bootstrap sample, and has no input twice, which knockoffs and calibrations would take for certainty.

    Parameters
    ----------
    recording : Recording
        The one that the mechanisms were learnt on.
    critical : CriticalNeurons, ranking, or neurons
        What they were learnt from, as in `neucept.learn`. Neurons of a ranking, or given by hand, stay as they are.
    mechanisms : Mechanisms
        From `neucept.learn`.
    draws : int
        Number of halves. Each costs a discovery, with its calibration, unless the space needs none (``contribution``,
        ``all``).
    selection : {"anew", "fixed"}
        ``fixed`` keeps the critical neurons, which takes seconds, and flatters mechanisms of a few neurons.
    method : {"kmeans", "gmm", "agglomerative"} or Clusterer, optional
        That of the mechanisms by default; a clusterer of your own has to be given again.
    model, data : Module and data of any kind, optional
        The recorded ones, for ``reduce="metric"``.
    output : None, str, int or callable
        As in `neucept.record`; that of the recording by default.
    seed : int
        Seed for the halves and what is drawn on them.
    progress : bool
        Show progress when it takes more than two seconds.

    Returns
    -------
    DataFrame
        One row per mechanism: ``mechanism``; ``jaccard``, the mean over draws of its Jaccard similarity with the most
        similar cluster; ``jaccard_low``, the 5% quantile; ``found_again``: ``dissolved`` (mean at most .5),
        ``doubtful`` (below .75) or ``stable``; a single mechanism is found again whatever the inputs, so its numbers
        are NaN and its ``found_again`` is empty; ``split_stability``, the adjusted Rand index of clusterings of its
        inputs in two, on halves (NaN for fewer than 40 inputs); ``splits``, whether two are stable (at least .6) and
        fit better than one cluster by BIC. `Mechanisms.with_stability` keeps it with the mechanisms.

    Raises
    ------
    InputError
        When mechanisms, recording and critical neurons do not belong together, or for neurons that were discovered for
        an array and have to be discovered again.

    References
    ----------
    Hennig, "Cluster-wise assessment of cluster stability", 2007.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> Z = rng.normal(size=(200, 3)) + 6 * (np.arange(200)[:, None] % 2)
    >>> recording = Recording({"hidden": Z.astype(np.float32)}, rng.normal(size=(200, 2)), None, ("a", "b"))
    >>> mechanisms = learn(recording, {"hidden": [0, 1, 2]}, n_mechanisms=2, samples="all")
    >>> mechanism_stability(recording, {"hidden": [0, 1, 2]}, mechanisms, draws=5)["found_again"].tolist()
    ['stable', 'stable']
    """
    check_whole("draws", draws, 2)
    check_whole("seed", seed, 0)
    one_of("selection", selection, ("anew", "fixed"))
    if not isinstance(mechanisms, Mechanisms):
        raise InputError(f"mechanisms is a {type(mechanisms).__name__}; expected what neucept.learn returns.")
    if not mechanisms.learnt_on(recording):
        raise InputError("These mechanisms were learnt on another recording; give the one that they were learnt on.")
    method = _method(mechanisms, method)
    options = {name: mechanisms.settings[name] for name in ("reduce", "compactness", "scale")}
    options |= {"layers": list(mechanisms.layers), "target": mechanisms.target, "method": method}
    options |= {"model": model, "data": data, "output": output}
    again = (
        selection == "anew" and isinstance(critical, CriticalNeurons) and options["reduce"] not in _WITHOUT_SELECTION
    )
    if again and isinstance(critical, CriticalNeurons) and critical.target is None:
        raise InputError(
            "The neurons were discovered for an array, which is not kept, so that they cannot be discovered again. Use"
            " selection='fixed'."
        )
    rng = np.random.default_rng(seed)
    rows, K = mechanisms.samples, len(mechanisms)
    similarities = np.full((draws, K), np.nan)
    draws = draws if K > 1 else 0
    with show_progress("finding mechanisms again", draws, progress) as advance, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said when the mechanisms were learnt
        for draw in range(draws):
            half = np.sort(rng.permutation(rows)[: max(len(rows) // 2, 2)])
            own = _discover(recording, critical, half, draw) if again else critical
            found = learn(recording, own, min(K, len(half)), samples=half, seed=draw, **options)
            similarities[draw] = _best_jaccard(mechanisms.labels, found.assign(recording, rows)[0], K)
            advance(1)
    means = similarities.mean(axis=0)
    splits = [
        _split(mechanisms.scaled[mechanisms.labels == k], method, seed, mechanisms.space is not None) for k in range(K)
    ]
    return pd.DataFrame(
        {
            "mechanism": range(K),
            "jaccard": means,
            "jaccard_low": np.quantile(similarities, 0.05, axis=0),
            "found_again": [_verdict(mean) for mean in means],
            "split_stability": [stability for stability, _ in splits],
            "splits": [split for _, split in splits],
        }
    )


def _method(mechanisms: Mechanisms, method: Method | None) -> Method:
    """Give the method, that of the mechanisms by default."""
    known = mechanisms.settings.get("method")
    if method is None and known not in METHODS:
        raise InputError(f"The mechanisms were learnt with {known}, which is not kept: give it again, method=.")
    chosen: Any = known if method is None else method
    check_method(chosen)
    return chosen  # type: ignore[no-any-return]


def _discover(recording: Recording, critical: Any, rows: np.ndarray, seed: int) -> CriticalNeurons:
    """Discover the critical neurons of the same target on other inputs, as they were."""
    options: Mapping[str, Any] = {name: critical.settings[name] for name in _DISCOVERY if name in critical.settings}
    precision = {layer: selection.precision for layer, selection in critical.items()}
    found: CriticalNeurons = discover(
        recording,
        critical.target,
        list(critical),
        precision,
        samples=rows,
        response=critical.response,
        seed=seed,
        progress=False,
        **options,
    )
    return found


def _best_jaccard(labels: np.ndarray, others: np.ndarray, K: int) -> np.ndarray:
    """Jaccard similarity of each mechanism with the most similar cluster, (K,)."""
    members, clusters = (
        (own[:, None] == np.arange(count)).astype(float)
        for own, count in ((labels, K), (others, int(others.max(initial=-1)) + 1))
    )
    if not clusters.shape[1]:
        return np.zeros(K)
    both = members.T @ clusters
    either = members.sum(axis=0)[:, None] + clusters.sum(axis=0) - both
    return np.asarray((both / np.maximum(either, 1)).max(axis=1))


def _verdict(mean: float) -> str:
    if np.isnan(mean):
        return ""
    return "dissolved" if mean <= DISSOLVED else "doubtful" if mean < DOUBTFUL else "stable"


def _split(V: np.ndarray, method: Method, seed: int, weighted: bool) -> tuple[float, bool]:
    """Say how stable a split of a mechanism in two is, and whether it is stable and fits better."""
    if len(V) < _FEWEST or not isinstance(method, str):
        return float("nan"), False
    regularisation = spaces.REGULARISATION if weighted else REGULARISATION
    table = choose(V, [2], method, seed, progress=False, regularisation=regularisation).table.set_index("mechanisms")
    stability = float(table["stability"][2])
    return stability, bool(stability >= STABLE and table["bic"][2] < table["bic"][1])
