"""A guide to the number of mechanisms, and a test whether there is more than one at all."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

import diptest
import numpy as np
import pandas as pd
from scipy.special import xlogy
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from neucept.errors import InputError, check_whole
from neucept.mechanisms.clustering import REGULARISATION, Method, cluster
from neucept.progress import progress as show_progress
from neucept.short_repr import ShortRepr

ALPHA = 0.05  # level of the test against one single mechanism
STABLE = 0.6  # mean adjusted Rand index from which clusters are called stable
ENOUGH = 0.9  # share of what the best number of clusters tells of errors that a smaller number has to tell
Rule = Literal["structure", "reliability"]
RULES: tuple[Rule, ...] = get_args(Rule)
MOST_INPUTS = 3000  # silhouettes grow with the square of the inputs


@dataclass(frozen=True, repr=False)
class NumberOfClusters(ShortRepr):
    """How many clusters, and so mechanisms, the inputs form.

    Attributes
    ----------
    table : DataFrame
        One row per number of clusters K: ``mechanisms`` (K), ``stability`` (mean adjusted Rand index of two
        clusterings, each fitted on another half of the inputs), ``stability_low`` and ``stability_high`` (the middle
        90% over the halvings), ``silhouette`` and ``bic`` (of a Gaussian mixture; lower is better). By reliability also
        ``p_reliability``: the p-value of the hypothesis that all K have the same precision, on the half of the inputs
        that the clusters were not fitted to, both ways, corrected for the two ways and for all K compared (NaN without
        labels), and ``told``: the share of the uncertainty (entropy) about right and wrong that the clusters of one
        half, with their precisions there, tell on the other; below 0 where they mislead.
    p_one : float
        P-value of the hypothesis that there is one single mechanism, see `one_mechanism`.
    suggested : int
        By structure: 1 where a single mechanism cannot be rejected at 5%, or where no other number could be compared;
        otherwise, of the numbers that are stable, the one with the best silhouette (2 where none is stable).
        By reliability: of the numbers whose clusters differ in precision at 5% corrected, the stable ones if there are
        any, the smallest that tells nine tenths of what the most telling one does. Where none differs, of those that
        are stable and have a lower BIC than 1, the one with the lowest. Where there is none either, 2 if a single
        cloud is rejected at 5%, else 1: one mechanism is suggested only where neither structure nor reliability speaks
        against it.
    by : {"structure", "reliability"}
        The rule.
    """

    table: pd.DataFrame
    p_one: float
    suggested: int
    by: Rule = "structure"

    def __str__(self) -> str:
        if self.by == "reliability":
            return self._reliability_in_words()
        p_one = f"p = {self.p_one:.2g}" if self.p_one >= 1e-3 else "p < 0.001"
        if self.suggested == 1 and self.p_one <= ALPHA:
            return f"More than one mechanism ({p_one}), but too few inputs, or numbers to compare, to say how many."
        if self.suggested == 1:
            return f"A single mechanism cannot be rejected (p = {self.p_one:.2g}): there may be only one."
        row = self.table.set_index("mechanisms").loc[self.suggested]
        shaky = "" if row["stability"] >= STABLE else " No number of clusters is the same on halves."
        return (
            f"More than one mechanism ({p_one}); {self.suggested} suggested (agreement of halves"
            f" {row['stability']:.2f}, silhouette {row['silhouette']:.2f}).{shaky}"
        )

    def _reliability_in_words(self) -> str:
        table = self.table.set_index("mechanisms")
        if len(table) == 1:
            return (
                f"One mechanism: no larger number could be compared (a single cloud: p = {self.p_one:.2g}); each needs"
                " 20 inputs per mechanism."
            )
        if self.suggested == 1:
            return f"One mechanism: {self.reason}."
        stability = table["stability"][self.suggested]
        shaky = "" if stability >= STABLE else " Halves of the inputs give other clusters."
        return f"{self.suggested} mechanisms: {self.reason}; agreement of halves {stability:.2f}.{shaky}"

    @property
    def reason(self) -> str:
        """What the suggestion rests on, in a few words."""
        p_one = "p < 0.001" if self.p_one < 1e-3 else f"p = {self.p_one:.2g}"
        if self.by != "reliability":
            return f"a single one is {'not ' if self.p_one > ALPHA else ''}rejected, {p_one}"
        table = self.table.set_index("mechanisms")
        p_least = table["p_reliability"].min()
        differs = "p < 0.001" if p_least < 1e-3 else f"p = {p_least:.2g}"
        if self.suggested == 1:
            known = "" if np.isnan(p_least) else f", nor does precision differ between clusters ({differs})"
            return f"no number of clusters is stable and fits better than one{known}"
        if p_least <= ALPHA:
            return f"their precision differs on other inputs ({differs}, corrected)"
        bic = table["bic"]
        if bic[self.suggested] < bic[1]:
            return f"a mixture of {self.suggested} fits better than one"
        return f"a single cloud is rejected ({p_one})"

    @property
    def looks(self) -> int:
        """How many numbers labels chose among, so that verdicts by the same labels have to be corrected for them."""
        if "p_reliability" not in self.table:
            return 1
        return max(int(self.table["p_reliability"].notna().sum()), 1)


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
    V: np.ndarray,
    numbers: Sequence[int],
    method: Method,
    seed: int = 0,
    halvings: int = 10,
    progress: bool = True,
    by: Rule = "structure",
    right: np.ndarray | None = None,
    regularisation: float = REGULARISATION,
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
    by : {"structure", "reliability"}
        The rule of the suggestion, see `NumberOfClusters`.
    right : array, optional
        (n,) bool: which inputs the target is true of, for ``reliability``.
    regularisation : float
        Added to the variances of a mixture's components.

    Returns
    -------
    NumberOfClusters
    """
    with threadpool_limits(1):  # on tables this small several threads wait for each other more than they work
        return _choose(V, numbers, method, seed, halvings, progress, by, right, regularisation)


def _choose(
    V: np.ndarray,
    numbers: Sequence[int],
    method: Method,
    seed: int,
    halvings: int,
    progress: bool,
    by: Rule,
    right: np.ndarray | None,
    regularisation: float,
) -> NumberOfClusters:
    rng = np.random.default_rng(seed)
    if len(V) > MOST_INPUTS:
        chosen = rng.permutation(len(V))[:MOST_INPUTS]
        V, right = V[chosen], None if right is None else right[chosen]
    numbers = [K for K in numbers if K >= 2 and len(V) >= 20 * K]
    rows, told = [], []
    with show_progress("comparing numbers of mechanisms", len(numbers), progress) as advance:
        for K in numbers:
            agreement, of_halves = [], []
            for _ in range(halvings):
                halves = np.array_split(rng.permutation(len(V)), 2)
                parts = [cluster(V[half], K, method, seed, regularisation)[1].predict(V) for half in halves]
                agreement.append(adjusted_rand_score(*parts))
                if by == "reliability" and right is not None:
                    of_halves += [
                        _told(right, labels, *way) for labels, way in zip(parts, (halves, halves[::-1]), strict=True)
                    ]
            told.append(float(np.mean(of_halves)) if of_halves else np.nan)
            labels, _ = cluster(V, K, method, seed, regularisation)
            rows.append(
                {
                    "mechanisms": K,
                    "stability": float(np.mean(agreement)),
                    "stability_low": float(np.quantile(agreement, 0.05)),
                    "stability_high": float(np.quantile(agreement, 0.95)),
                    "silhouette": float(silhouette_score(V, labels)) if len(np.unique(labels)) > 1 else 0.0,
                    "bic": _bic(V, K, seed, regularisation),
                }
            )
            advance(1)
    columns = ["mechanisms", "stability", "stability_low", "stability_high", "silhouette", "bic"]
    one = {"mechanisms": 1, "stability": 1.0, "stability_low": 1.0, "stability_high": 1.0, "silhouette": np.nan}
    table = pd.DataFrame([{**one, "bic": _bic(V, 1, seed, regularisation)}, *rows], columns=columns)
    p = one_mechanism(V, seed)
    if by == "structure":
        return NumberOfClusters(table, p, _by_structure(table, p))
    corrected = (
        []
        if right is None
        else [_p_reliability(V, right, K, method, seed, regularisation) * len(numbers) for K in numbers]
    )
    table["p_reliability"] = [np.nan, *(corrected or [np.nan] * len(numbers))]
    table["p_reliability"] = table["p_reliability"].clip(upper=1)
    table["told"] = [0.0, *told]
    return NumberOfClusters(table, p, _by_reliability(table, p), by)


def _told(right: np.ndarray, labels: np.ndarray, fitted: np.ndarray, judged: np.ndarray) -> float:
    """Share of the entropy of right and wrong on some inputs that precisions of clusters on others tell.

    Precisions are pulled towards that of all by one input.
    """
    whole = (right[fitted].sum() + 0.5) / (len(fitted) + 1)
    labels = np.maximum(labels, -1) + 1  # 0 for inputs of no cluster
    sizes = np.bincount(labels[fitted], minlength=int(labels.max()) + 1)
    hits = np.bincount(labels[fitted], right[fitted], minlength=len(sizes))
    own = ((hits + whole) / (sizes + 1))[labels[judged]]
    share = right[judged].mean()
    entropy = -(xlogy(share, share) + xlogy(1 - share, 1 - share))
    if entropy <= 0:
        return 0.0
    gain = np.where(right[judged], np.log(own / whole), np.log((1 - own) / (1 - whole)))
    return float(gain.mean() / entropy)


def _by_structure(table: pd.DataFrame, p_one: float) -> int:
    several = table[table["mechanisms"] > 1]
    stable = several[several["stability"] >= STABLE]
    if p_one > ALPHA or several.empty:
        return 1
    if stable.empty:
        return 2
    return int(stable["mechanisms"].to_numpy()[stable["silhouette"].to_numpy().argmax()])


def _by_reliability(table: pd.DataFrame, p_one: float) -> int:
    several = table[table["mechanisms"] > 1]
    stable = several["stability"] >= STABLE
    differs = several["p_reliability"] <= ALPHA
    fits = several["bic"] < table["bic"].iloc[0]
    for candidates in (several[differs & stable], several[differs]):
        if len(candidates):
            best = float(candidates["told"].max())
            return int(candidates["mechanisms"][candidates["told"] >= best - (1 - ENOUGH) * abs(best)].min())
    if (stable & fits).any():
        candidates = several[stable & fits]
        return int(candidates["mechanisms"].to_numpy()[candidates["bic"].to_numpy().argmin()])
    return 1 if p_one > ALPHA or several.empty else 2


def _p_reliability(
    V: np.ndarray,
    right: np.ndarray,
    K: int,
    method: Method,
    seed: int,
    regularisation: float = REGULARISATION,
    draws: int = 9999,
) -> float:
    """Test whether K clusters of one half differ in precision on the other half, both ways, corrected for the two.

    The chi-squared statistic is compared with that of hits shared out among the clusters by chance.
    """
    rng = np.random.default_rng(seed)
    best = 1.0
    halves = np.array_split(rng.permutation(len(V)), 2)
    for fitted, judged in (halves, halves[::-1]):
        labels = cluster(V[fitted], K, method, seed, regularisation)[1].predict(V[judged])
        hits = right[judged][labels >= 0]
        sizes = np.bincount(labels[labels >= 0])
        sizes, total = sizes[sizes > 0], int(hits.sum())
        own = np.bincount(labels[labels >= 0], weights=hits)[np.bincount(labels[labels >= 0]) > 0]
        if len(sizes) < 2 or total in (0, len(hits)):
            continue
        chance = rng.multivariate_hypergeometric(sizes, total, size=draws, method="marginals")
        expected = sizes * total / sizes.sum()
        statistic = ((np.vstack([own, chance]) - expected) ** 2 / expected).sum(axis=1)
        best = min(best, float((statistic >= statistic[0] * (1 - 1e-12)).mean()))
    return min(2 * best, 1.0)


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


def _bic(V: np.ndarray, K: int, seed: int, regularisation: float) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        kind = "full" if V.shape[1] <= 30 else "diag"
        return float(
            GaussianMixture(K, covariance_type=kind, reg_covar=regularisation, random_state=seed).fit(V).bic(V)
        )
