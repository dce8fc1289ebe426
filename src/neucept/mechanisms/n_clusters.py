"""A guide to the number of mechanisms, and a test whether there is more than one at all."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import diptest
import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.mixture import GaussianMixture

from neucept.errors import InputError, check_whole
from neucept.mechanisms.clustering import Method, cluster
from neucept.progress import progress as show_progress

ALPHA = 0.05  # level of the test against one single mechanism
STABLE = 0.6  # mean adjusted Rand index from which clusters are called stable
MOST_INPUTS = 3000  # silhouettes grow with the square of the inputs


@dataclass(frozen=True)
class NumberOfClusters:
    """How many clusters, and so mechanisms, the inputs form.

    Attributes
    ----------
    table : DataFrame
        One row per number of clusters K: ``mechanisms`` (K), ``stability`` (mean adjusted Rand index of two
        clusterings, each fitted on another half of the inputs), ``stability_low`` and ``stability_high`` (the middle
        90% over the halvings), ``silhouette`` and ``bic`` (of a Gaussian mixture; lower is better).
    p_one : float
        P-value of the hypothesis that there is one single mechanism, see `one_mechanism`.
    suggested : int
        1 where a single mechanism cannot be rejected at 5%, or where no other number could be compared; otherwise, of
        the numbers that are stable, the one with the best silhouette (2 where none is stable).
    """

    table: pd.DataFrame
    p_one: float
    suggested: int

    def __str__(self) -> str:
        p_one = f"p = {self.p_one:.2g}" if self.p_one >= 1e-3 else "p < 0.001"
        if self.suggested == 1 and self.p_one <= ALPHA:
            return f"More than one mechanism ({p_one}), but too few inputs, or numbers to compare, to say how many."
        if self.suggested == 1:
            return f"A single mechanism cannot be rejected (p = {self.p_one:.2g}): there may be only one."
        row = self.table.set_index("mechanisms").loc[self.suggested]
        shaky = "" if row["stability"] >= STABLE else " No number of clusters is stable."
        return (
            f"More than one mechanism ({p_one}); {self.suggested} suggested (stability"
            f" {row['stability']:.2f}, silhouette {row['silhouette']:.2f}).{shaky}"
        )


def one_mechanism(V: np.ndarray, seed: int = 0, most: int = 5) -> float:
    """Test the hypothesis that the inputs form one single cloud.

    Along every direction a single cloud has one mode. One half of the inputs proposes a direction: of those that best
    separate some clusters from the others (linear discriminants, K-means with 2 to ``most`` centres), the one along
    which that half looks least like one mode. The other half is projected on it, and Hartigan's dip test judges whether
    it has one mode. This is done both ways, and the p-value is corrected for the two tests. The test is conservative:
    to see a small cluster beside a large one (15% of the inputs, say), it needs thousands of inputs. Neurons that
    saturate have two modes each.

    Parameters
    ----------
    V : array
        (n, f) scaled neurons.
    seed : int
        Seed for the halves.
    most : int
        Largest number of centres.

    Returns
    -------
    float
        P-value; 1 where there are too few inputs to say (fewer than 20).

    Raises
    ------
    InputError
        When V is no table of finite numbers.

    References
    ----------
    Hartigan and Hartigan, "The dip test of unimodality", 1985.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> cloud = rng.normal(size=(300, 4))
    >>> one_mechanism(cloud) > 0.05, one_mechanism(cloud + 5 * (np.arange(300)[:, None] % 2)) < 0.001
    (True, True)
    """
    V = np.asarray(V)
    if V.ndim != 2 or V.dtype.kind not in "biuf" or not np.isfinite(V).all():
        raise InputError(f"V has shape {V.shape} and type {V.dtype}; expected (n, f) finite numbers.")
    check_whole("most", most, 2)
    if len(V) < 20:
        return 1.0
    order = np.random.default_rng(seed).permutation(len(V))
    halves = order[: len(V) // 2], order[len(V) // 2 :]
    best = 1.0
    for fitted, judged in (halves, halves[::-1]):
        directions = _directions(V[fitted], most, seed)
        if directions:  # none where all inputs are the same
            direction = max(directions, key=lambda d: float(diptest.dipstat(V[fitted] @ d)))
            best = min(best, float(diptest.diptest(V[judged] @ direction)[1]))
    return min(2 * best, 1.0)


def choose(
    V: np.ndarray, numbers: Sequence[int], method: Method, seed: int = 0, halvings: int = 10, progress: bool = True
) -> NumberOfClusters:
    """Compare numbers of clusters.

    Parameters
    ----------
    V : array
        (n, f) scaled neurons.
    numbers : sequence of int
        The K to compare; those that leave fewer than ten inputs per cluster in a half are left out.
    method : {"kmeans", "gmm", "agglomerative"} or Clusterer
        As in `neucept.learn`.
    seed : int
        Seed for halvings and clusterings.
    halvings : int
        How many times the inputs are halved for the stability.
    progress : bool
        Show progress when it takes more than two seconds.

    Returns
    -------
    NumberOfClusters
    """
    rng = np.random.default_rng(seed)
    if len(V) > MOST_INPUTS:
        V = V[rng.permutation(len(V))[:MOST_INPUTS]]
    numbers = [K for K in numbers if K >= 2 and len(V) >= 20 * K]
    rows = []
    with show_progress("comparing numbers of mechanisms", len(numbers), progress) as advance:
        for K in numbers:
            agreement = []
            for _ in range(halvings):
                order = rng.permutation(len(V))
                parts = [cluster(V[half], K, method, seed)[1].predict(V) for half in np.array_split(order, 2)]
                agreement.append(adjusted_rand_score(*parts))
            labels, _ = cluster(V, K, method, seed)
            rows.append(
                {
                    "mechanisms": K,
                    "stability": float(np.mean(agreement)),
                    "stability_low": float(np.quantile(agreement, 0.05)),
                    "stability_high": float(np.quantile(agreement, 0.95)),
                    "silhouette": float(silhouette_score(V, labels)) if len(np.unique(labels)) > 1 else 0.0,
                    "bic": _bic(V, K, seed),
                }
            )
            advance(1)
    columns = ["mechanisms", "stability", "stability_low", "stability_high", "silhouette", "bic"]
    one = {"mechanisms": 1, "stability": 1.0, "stability_low": 1.0, "stability_high": 1.0, "silhouette": np.nan}
    table = pd.DataFrame([{**one, "bic": _bic(V, 1, seed)}, *rows], columns=columns)
    p = one_mechanism(V, seed)
    several = table[table["mechanisms"] > 1]
    stable = several[several["stability"] >= STABLE]
    if p > ALPHA or several.empty:
        suggested = 1
    elif stable.empty:
        suggested = 2
    else:
        suggested = int(stable["mechanisms"].to_numpy()[stable["silhouette"].to_numpy().argmax()])
    return NumberOfClusters(table, p, suggested)


def _directions(V: np.ndarray, most: int, seed: int) -> list[np.ndarray]:
    """Linear discriminants of any clusters against the others, of K-means with 2 to ``most`` centres."""
    directions = []
    covariance = np.cov(V.T, bias=True).reshape(V.shape[1], V.shape[1]) + 1e-3 * np.eye(V.shape[1])
    for K in range(2, most + 1):
        if len(V) < 5 * K:
            break
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct inputs than centres
            clusters = KMeans(K, n_init=3, random_state=seed).fit_predict(V)
        for size in range(K - 1):
            for others in combinations(range(1, K), size):
                one = np.isin(clusters, [0, *others])
                if one.any() and not one.all():
                    direction = np.linalg.solve(covariance, V[one].mean(axis=0) - V[~one].mean(axis=0))
                    directions.append(direction / max(float(np.linalg.norm(direction)), 1e-12))
    return directions


def _bic(V: np.ndarray, K: int, seed: int) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        kind = "full" if V.shape[1] <= 30 else "diag"
        return float(GaussianMixture(K, covariance_type=kind, reg_covar=1e-4, random_state=seed).fit(V).bic(V))
