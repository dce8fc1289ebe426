"""Samplers draw knockoffs: they are fitted once to a layer and draw many times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from sklearn.base import clone
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import cross_val_predict
from threadpoolctl import threadpool_limits

from neucept.errors import InputError
from neucept.knockoffs.moments import Moments
from neucept.knockoffs.smatrix import s_matrix
from neucept.short_repr import ShortRepr

_FLOOR = 1e-5  # smallest eigenvalue of a correlation matrix that knockoffs are made from


class Sampler(Protocol):
    """What draws knockoffs: any object with these two methods.

    It can be given as ``sampler=`` to `neucept.discover`, `KnockoffFilter` and `knockoff_statistics`. Some attributes
    are optional:

    - ``copies``: knockoffs of each neuron in one draw, 1 by default.
    - ``groups``: (p,) group of each neuron, where whole groups are exchangeable with their knockoffs only.
    - ``laws`` and ``labels``, once it is fitted: where knockoffs are Gaussian given the neurons and a label of each
      row, a sequence of `Law`, and (n,) which of them each row follows, or None when there is only one. Gram matrices
      of its knockoffs are then drawn without rows.
    - ``name``: under which settings are saved, the name of the class by default.

    Examples
    --------
    Knockoffs of independent neurons are new draws of each, here from its own values:

    >>> class Independent:
    ...     def fit(self, Z):
    ...         return self
    ...
    ...     def draw(self, Z, rng):
    ...         return rng.permuted(Z, axis=0)
    >>> from neucept.knockoffs import knockoff_statistics
    >>> rng = np.random.default_rng(0)
    >>> Z = rng.exponential(size=(400, 8))
    >>> W = knockoff_statistics(Z, Z[:, 0] - Z[:, 1], sampler=Independent(), draws=2, rng=rng)
    >>> (W.mean(axis=(0, 1)) > 0.3).tolist()
    [True, True, False, False, False, False, False, False]
    """

    def fit(self, Z: np.ndarray) -> Any:
        """Learn the distribution of (n, p) standardised neurons; what is returned is not looked at."""
        ...

    def draw(self, Z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw one set of knockoffs, (n, copies p), copy after copy, of the rows it was fitted to."""
        ...


@dataclass(frozen=True, repr=False)
class Law(ShortRepr):
    """Knockoffs of m copies given a row z of neurons: mean ``mean + (z - mean) P``, covariance ``root root'``.

    Attributes
    ----------
    mean : array
        (p,) means of the neurons.
    P : array
        (p, m p), copy after copy: ``I - Sigma^-1 D`` for each.
    root : array
        (m p, m p) with ``root root' = V``: within a copy ``2 D - D Sigma^-1 D``, between two ``D - D Sigma^-1 D``.
    """

    mean: np.ndarray
    P: np.ndarray
    root: np.ndarray

    @property
    def copies(self) -> int:
        """Knockoffs of each neuron in one draw."""
        return self.P.shape[1] // max(len(self.P), 1) if len(self.P) else 1

    def draw(self, Z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw knockoffs of (n, p) rows: (n, m p)."""
        noise = rng.standard_normal((len(Z), len(self.root))) @ self.root.T
        return np.asarray(np.tile(self.mean, self.copies) + (Z - self.mean) @ self.P + noise)


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
        (p, p) covariance or correlations of the neurons, where they are known; estimated by default.

    Attributes
    ----------
    Sigma : array
        (p, p) the covariance used.
    """

    labels: np.ndarray | None = None
    options: ClassVar[tuple[str, ...]] = ("groups", "copies", "s")

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
        Seed for the fit and for the components of the rows.
    """

    options: ClassVar[tuple[str, ...]] = ("groups", "copies", "s")

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
        with threadpool_limits(1, "openmp"):  # its threads would not survive a fork
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
        Number of folds for the regressor's predictions.
    seed : int
        Seed for a regressor that takes ``random_state``.
    """

    options: ClassVar[tuple[str, ...]] = ("copies",)

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


def gaussian_law(
    mean: np.ndarray, Sigma: np.ndarray, s: str = "mvr", groups: np.ndarray | None = None, copies: int = 1
) -> Law:
    """Law of the knockoffs of Gaussian neurons (Candes and others, 2018, section 3.1.1).

    Parameters
    ----------
    mean : array
        (p,) means of the neurons.
    Sigma : array
        (p, p) their covariance.
    s : str
        How D is chosen, see `s_matrix`.
    groups : array, optional
        (p,) group number of each neuron, for group knockoffs.
    copies : int
        Knockoffs of each neuron in one draw (Gimenez and Zou, 2019).
    """
    p = len(Sigma)
    scale = np.sqrt(np.where(np.diag(Sigma) > 0, np.diag(Sigma), 1.0))
    correlation = well_inside(Sigma / np.outer(scale, scale))
    D = s_matrix(correlation, s, groups, copies)
    solved = np.linalg.solve(correlation, D) if p else D
    # The mean of the copies' noise has covariance (m C + D) / m with C = D - D Sigma^-1 D; around it each copy has
    # noise of covariance D. An orthogonal matrix H whose first column is constant separates the two.
    mean_root = _root((copies + 1) * D - copies * (D @ solved))
    if copies == 1:
        root = mean_root
    else:
        H = np.linalg.qr(np.column_stack([np.ones(copies), np.eye(copies)[:, : copies - 1]]))[0]
        root = np.hstack([np.kron(H[:, :1], mean_root), np.kron(H[:, 1:], _root(D))])
    P = (np.eye(p) - solved) * (scale / scale[:, None])
    return Law(np.asarray(mean, np.float64), np.tile(P, copies), np.tile(scale, copies)[:, None] * root)


def shrunk(scatter: np.ndarray, n: int) -> np.ndarray:
    """Covariance of standardised neurons, shrunk to the identity, from their moments alone.

    Oracle-approximating shrinkage (Chen and others, 2010), which needs no rows; variances are 1 again afterwards.

    Parameters
    ----------
    scatter : array
        (p, p) sums of products of the centred columns.
    n : int
        Rows.
    """
    p = len(scatter)
    S = scatter / max(n, 1)
    np.fill_diagonal(S, np.where(np.diag(S) > 0, np.diag(S), 1.0))
    scale = np.sqrt(np.diag(S))
    S = S / np.outer(scale, scale)
    if p < 2:
        return np.asarray(S)
    size = float(np.mean(S**2))
    excess = (n + 1) * (size - 1 / p)
    share = 1.0 if excess <= 0 else min((size + 1) / excess, 1.0)
    return well_inside((1 - share) * S + share * np.eye(p))


def well_inside(correlation: np.ndarray) -> np.ndarray:
    """Shrink a correlation matrix further where exact dependencies leave an eigenvalue near zero, or below."""
    if not len(correlation):
        return correlation
    lowest = float(np.linalg.eigvalsh(correlation)[0])
    share = max((_FLOOR - lowest) / (1 - lowest), 0.0) if lowest < _FLOOR else 0.0
    return np.asarray((1 - share) * correlation + share * np.eye(len(correlation)))


def _root(V: np.ndarray) -> np.ndarray:
    """Matrix R with R R' = V, negative rounding errors of V's eigenvalues cut off."""
    values, vectors = np.linalg.eigh((V + V.T) / 2) if len(V) else (np.zeros(0), V)
    return np.asarray(vectors * np.sqrt(values.clip(0)))


SamplerName = Literal["gaussian", "mixture", "conditional"]
SAMPLERS: dict[str, Any] = {
    "gaussian": GaussianSampler,
    "mixture": MixtureSampler,
    "conditional": ConditionalSampler,
}
