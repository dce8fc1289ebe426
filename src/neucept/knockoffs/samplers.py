"""Samplers draw knockoffs: fitted once to a layer, drawn many times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from sklearn.base import clone
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import cross_val_predict

from neucept.errors import InputError
from neucept.knockoffs.laws import Law, gaussian_law, shrunk
from neucept.knockoffs.moments import Moments


class Sampler(Protocol):
    """What draws knockoffs.

    A sampler whose knockoffs are Gaussian given the neurons, and given a label of each row, says so in two attributes
    once it is fitted: ``laws``, a sequence of `Law`, and ``labels``, (n,) which of them each row follows, or None when
    there is only one. Gram matrices of its knockoffs are then drawn without rows.
    """

    copies: int

    def fit(self, Z: np.ndarray) -> Sampler:
        """Learn the distribution of (n, p) standardised neurons."""
        ...

    def draw(self, Z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw one set of knockoffs, (n, copies p), copy after copy, of the rows it was fitted to."""
        ...


class GaussianSampler:
    """Gaussian Model-X knockoffs: ``Zk = Z P + U``, rows of U iid N(0, V).

    With Sigma the shrunk covariance of the standardised neurons and D by ``s``: ``P = I - Sigma^-1 D`` and
    ``V = 2 D - D Sigma^-1 D`` (Candes and others, 2018, section 3.1.1).

    Parameters
    ----------
    s : {"mvr", "maxent", "sdp", "equicorrelated"}
        How D is chosen, see `neucept.knockoffs.s_matrix`.
    groups : array, optional
        (p,) group number of each neuron, for group knockoffs.
    copies : int
        Knockoffs of each neuron in one draw.
    covariance : array, optional
        (p, p) covariance of the neurons, where it is known (their correlations do as well); otherwise it is estimated.

    Attributes
    ----------
    Sigma : array
        (p, p) the covariance used.
    """

    labels: np.ndarray | None = None

    def __init__(
        self,
        s: str = "mvr",
        groups: np.ndarray | None = None,
        copies: int = 1,
        covariance: np.ndarray | None = None,
    ):
        self.s, self.groups, self.copies, self.covariance = s, groups, copies, covariance

    def fit(self, Z: np.ndarray) -> GaussianSampler:
        """Estimate the covariance of (n, p) standardised neurons and what follows from it."""
        return self.fit_moments(Moments.of(Z, np.zeros((len(Z), 0))))

    def fit_moments(self, moments: Moments) -> GaussianSampler:
        """Fit to moments of standardised neurons; responses among them are not looked at."""
        p = moments.p
        if self.covariance is None:
            self.Sigma = shrunk(moments.scatter[:p, :p], moments.n)
        else:
            self.Sigma = _in_units_of(moments, self.covariance)
        law = gaussian_law(moments.mean[:p], self.Sigma, self.s, self.groups, self.copies)
        self.laws: tuple[Law, ...] = (law,)
        self.P, self.root = law.P, law.root
        return self

    def draw(self, Z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw knockoffs of (n, p) rows."""
        return self.laws[0].draw(Z, rng)


def _in_units_of(moments: Moments, covariance: np.ndarray) -> np.ndarray:
    """Give a known covariance in the units of the neurons: the correlations, where these are standardised."""
    covariance, p = np.asarray(covariance, np.float64), moments.p
    if covariance.shape != (p, p):
        raise InputError(
            f"covariance has shape {covariance.shape}; expected {(p, p)}: one row and column for each of the {p}"
            " neurons that vary and are no duplicates."
        )
    variances = np.diag(covariance)
    if not (np.isfinite(covariance).all() and (variances > 0).all()):
        raise InputError("covariance must be finite, with variances above 0.")
    here = np.diag(moments.scatter)[:p] / max(moments.n, 1)
    standardised = np.allclose(here[here > 0], 1)
    return covariance / np.sqrt(np.outer(variances, variances)) if standardised else covariance


class MixtureSampler:
    """Knockoffs of a mixture of Gaussians (Gimenez, Ghorbani and Zou, 2019).

    The component of each row is sampled once from its posterior; given it, knockoffs are those of its Gaussian. (The
    most probable component instead would break the exchangeability of neurons and knockoffs.)

    Parameters
    ----------
    components : int
        Gaussians, of full covariance.
    s, groups, copies
        As for `GaussianSampler`.
    regularisation : float
        Added to the variances of the components, in units of the neurons' variance.
    seed : int
        Of the fit and of the components of the rows.
    """

    def __init__(
        self,
        components: int = 5,
        s: str = "mvr",
        groups: np.ndarray | None = None,
        copies: int = 1,
        regularisation: float = 1e-2,
        seed: int = 0,
    ):
        if components < 1:
            raise InputError(f"components={components}: expected at least 1.")
        self.components, self.regularisation, self.seed = components, regularisation, seed
        self.s, self.groups, self.copies = s, groups, copies

    def fit(self, Z: np.ndarray) -> MixtureSampler:
        """Fit the mixture to (n, p) standardised neurons, and sample the component of every row."""
        rng = np.random.default_rng(self.seed)
        mixture = GaussianMixture(
            min(self.components, len(Z)), reg_covar=self.regularisation, random_state=int(rng.integers(2**31))
        ).fit(Z)
        # Inverse transform: the first component whose cumulated probability exceeds a uniform number.
        cumulated = np.cumsum(mixture.predict_proba(Z), axis=1)
        self.labels = (rng.random((len(Z), 1)) * cumulated[:, -1:] >= cumulated).sum(axis=1)
        self.laws: tuple[Law, ...] = tuple(
            gaussian_law(mean, covariance, self.s, self.groups, self.copies)
            for mean, covariance in zip(mixture.means_, mixture.covariances_, strict=True)
        )
        return self

    def draw(self, Z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw knockoffs of the (n, p) rows it was fitted to."""
        knockoffs = np.empty((len(Z), self.copies * Z.shape[1]))
        for number, law in enumerate(self.laws):
            rows = self.labels == number
            knockoffs[rows] = law.draw(Z[rows], rng)
        return knockoffs


class ConditionalSampler:
    """Knockoffs from predicted conditional means and permuted residuals (Blain and others, arXiv 2407.06892).

    Each neuron is predicted from the others; its knockoff is the prediction plus the residual of another row. Neurons
    need not be Gaussian, but their residuals should not depend on the prediction, and dependence between the
    residuals of two neurons is lost.

    Parameters
    ----------
    regressor : scikit-learn regressor, optional
        Predicts a neuron from the others, out of fold; by default the linear regression that follows from the shrunk
        covariance, all neurons at once.
    copies : int
        Knockoffs of each neuron in one draw.
    folds : int
        For the regressor's predictions.
    seed : int
        For a regressor that takes ``random_state``.
    """

    def __init__(self, regressor: Any = None, copies: int = 1, folds: int = 5, seed: int = 0):
        self.regressor, self.copies, self.folds, self.seed = regressor, copies, folds, seed

    def fit(self, Z: np.ndarray) -> ConditionalSampler:
        """Predict each of (n, p) standardised neurons from the others."""
        p = Z.shape[1]
        if self.regressor is None or p == 1:
            precision = np.linalg.inv(shrunk(Z.T @ Z, len(Z)))
            self.residuals = Z @ precision / np.diag(precision)
        else:
            regressor = clone(self.regressor)
            if "random_state" in regressor.get_params():
                regressor.set_params(random_state=self.seed)
            self.residuals = np.empty(Z.shape)
            for j in range(p):
                others = np.delete(Z, j, axis=1)
                self.residuals[:, j] = Z[:, j] - cross_val_predict(regressor, others, Z[:, j], cv=self.folds)
        return self

    def draw(self, Z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw knockoffs of the (n, p) rows it was fitted to."""
        predicted = Z - self.residuals
        return np.hstack([predicted + rng.permuted(self.residuals, axis=0) for _ in range(self.copies)])


SAMPLERS: dict[str, Callable[..., Any]] = {
    "gaussian": GaussianSampler,
    "mixture": MixtureSampler,
    "conditional": ConditionalSampler,
}
