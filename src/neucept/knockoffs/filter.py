"""The knockoff filter as a scikit-learn selector, for any table of numbers."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from neucept.knockoffs.aggregation import RULES, Rule, RuleName, apply_rule, frequency, rule_of, stopped_evalues
from neucept.knockoffs.draw import knockoff_statistics
from neucept.knockoffs.preprocessing import prepare
from neucept.knockoffs.samplers import Sampler, SamplerName
from neucept.knockoffs.statistics import GramStatistic, Statistic, StatisticName

DUPLICATE = 1 - 1e-9  # features whose absolute correlation is above are the same


class EmptySelectionWarning(UserWarning):
    """No feature is selected at the level asked for; that is a valid result."""


class KnockoffFilter(SelectorMixin, BaseEstimator):  # type: ignore[misc]
    """Select the features that a response depends on, with a bound on the share of false ones among them.

    One draw of knockoffs is the selection of Barber and Candes (2015), equation (9) of NeuCEPT; several are joined by
    e-values (Ren and Barber, 2023). Constant features are never selected; exact duplicates are selected together and
    count as one.

    Several draws make the selection depend less on chance, and usually more precise than was asked. One draw finds more
    where hardly 1 / q features can be told from the others: a feature must be found in most of the draws, and where
    features are nearly the same each draw finds other ones. Both bounds hold for Gaussian features whose covariance is
    known; with near-collinear ones and few rows it is not, and the share of false ones can be twice the level.

    Parameters
    ----------
    fdr : float
        Level q of the false discovery rate, in (0, 1).
    draws : int
        Sets of knockoffs.
    aggregate : {"evalue", "frequency"} or Rule
        How a selection is made from several draws. ``frequency``, selected in more than half of them, guarantees
        nothing. One draw is equation (9), unless a `neucept.knockoffs.Rule` is given.
    statistic : str or object
        See `knockoff_statistics`.
    sampler : str or object
        See `knockoff_statistics`.
    random_state : int, RandomState or None
        The same number gives the same selection.

    Attributes
    ----------
    statistics_ : array
        (draws, p) W of every feature; 0 for constant ones.
    frequency_ : array
        (p,) share of draws that select it.
    evalues_ : array
        (p,) e-values.
    groups_ : array
        (p,) number of each feature, the same for duplicates, -1 for constant ones.
    n_features_in_ : int
        p

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((400, 50))
    >>> y = X[:, :15].sum(axis=1) + rng.standard_normal(400)
    >>> KnockoffFilter(fdr=0.2, random_state=0).fit(X, y).get_support()[:15].all()
    np.True_
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012 - scikit-learn's way
        "fdr": [Interval(Real, 0, 1, closed="neither")],
        "draws": [Interval(Integral, 1, None, closed="left")],
        "aggregate": [StrOptions(set(RULES)), HasMethods(["select", "guarantee"])],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        fdr: float = 0.1,
        draws: int = 1,
        aggregate: RuleName | Rule = "evalue",
        statistic: StatisticName | Statistic | GramStatistic = "lasso",
        sampler: SamplerName | Sampler = "gaussian",
        random_state: Any = None,
    ):
        self.fdr = fdr
        self.draws = draws
        self.aggregate = aggregate
        self.statistic = statistic
        self.sampler = sampler
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> KnockoffFilter:
        """Draw knockoffs of X, (n, p), and compare how much y, (n,), needs each feature and its knockoff.

        An empty selection comes with an `EmptySelectionWarning`.
        """
        self._validate_params()
        X, y = validate_data(
            self, X, y, y_numeric=True, ensure_min_samples=2, dtype=[np.float64, np.float32, np.float16]
        )
        rule = rule_of(self.aggregate, self.draws)
        prepared = prepare(X, collinear=DUPLICATE)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        W = knockoff_statistics(
            prepared.Z,
            y,
            sampler=self.sampler,
            statistic=self.statistic,
            draws=self.draws,
            rng=np.random.default_rng(seed),
        )[:, 0]
        g = W.shape[1]
        e = stopped_evalues(W, self.fdr)
        often = frequency(W, self.fdr)
        chosen = apply_rule(rule, W, self.fdr)
        self.groups_ = prepared.groups
        self.statistics_ = np.hstack([W, np.zeros((self.draws, 1))])[:, self.groups_]
        self.evalues_ = np.append(e, 0.0)[self.groups_]
        self.frequency_ = np.append(often, 0.0)[self.groups_]
        self._support = np.append(chosen, False)[self.groups_]
        if not chosen.any():
            smallest = rule.guarantee(1 - self.fdr).smallest
            cannot = f", and there are only {g} different features" if smallest > g else ""
            warnings.warn(
                f"No feature is selected at fdr={self.fdr:g}. The smallest possible selection there has {smallest}"
                f" feature{'s' if smallest > 1 else ''}{cannot}: ask for a higher fdr, or give more rows.",
                EmptySelectionWarning,
                stacklevel=2,
            )
        return self

    def _get_support_mask(self) -> np.ndarray:
        check_is_fitted(self)
        return np.asarray(self._support)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
