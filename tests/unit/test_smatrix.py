"""D against brute-force optimisation of what it is to optimise, on the joint covariance of neurons and knockoffs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from neucept.errors import InputError
from neucept.knockoffs import s_matrix
from neucept.knockoffs.smatrix import METHODS

P = 6
GROUPS = np.array([0, 0, 0, 1, 1, 2])


def correlation(p: int = P, seed: int = 0) -> np.ndarray:
    return np.corrcoef(np.random.default_rng(seed).standard_normal((p, 2 * p)))


def joint(Sigma: np.ndarray, D: np.ndarray, copies: int) -> np.ndarray:
    m = copies + 1
    return np.kron(np.ones((m, m)), Sigma - D) + np.kron(np.eye(m), D)


def loss(method: str, Sigma: np.ndarray, D: np.ndarray, copies: int) -> float:
    G = joint(Sigma, D, copies)
    values = np.linalg.eigvalsh(G)
    if values[0] <= 0:
        return np.inf
    return float(np.sum(1 / values) if method == "mvr" else -np.sum(np.log(values)))


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("method", ["mvr", "maxent"])
@pytest.mark.parametrize("groups", [np.arange(P), GROUPS], ids=["neurons", "groups"])
def test_nothing_nearby_is_better(method, copies, groups):
    Sigma = correlation()
    D = s_matrix(Sigma, method, groups, copies)
    where = [(i, j) for i in range(P) for j in range(i, P) if groups[i] == groups[j]]
    assert np.all(D[groups[:, None] != groups] == 0)

    def of(x: np.ndarray) -> float:
        E = np.zeros((P, P))
        for value, (i, j) in zip(x, where, strict=True):
            E[i, j] = E[j, i] = value
        return loss(method, Sigma, E, copies)

    start = np.array([D[i, j] for i, j in where]) * 0.9
    best = minimize(of, start, method="Nelder-Mead", options={"maxiter": 4000, "maxfev": 4000, "adaptive": True})
    assert best.fun < of(start)
    assert loss(method, Sigma, D, copies) <= best.fun + 1e-4 * abs(best.fun)
    equal = s_matrix(Sigma, "equicorrelated", groups, copies)
    assert loss(method, Sigma, D, copies) < loss(method, Sigma, 0.99 * equal, copies)


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_the_semidefinite_programme_is_feasible_and_nearly_optimal(copies, seed):
    Sigma = correlation(seed=seed)
    bound = (copies + 1) / copies * Sigma
    s = np.diag(s_matrix(Sigma, "sdp", copies=copies))
    assert np.all((s >= 0) & (s <= 1)) and np.linalg.eigvalsh(bound - np.diag(s))[0] > -1e-9

    # Weak duality: for any positive semidefinite M the sum is at most tr(M bound) + sum(max(0, 1 - M_jj)).
    def dual(x: np.ndarray) -> float:
        root = x.reshape(P, P)
        M = root @ root.T
        return float(np.sum(M * bound) + np.maximum(1 - np.diag(M), 0).sum())

    bounds = [
        minimize(dual, np.random.default_rng(k).standard_normal(P * P) * 0.3, method="L-BFGS-B").fun for k in range(4)
    ]
    assert min(bounds) >= s.sum() - 1e-6
    assert s.sum() >= 0.97 * min(bounds)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("copies", [1, 4])
@pytest.mark.parametrize("p", [1, 2, 70, 130])  # more than one chunk of coordinates
def test_knockoffs_exist(method, copies, p):
    Sigma = correlation(p) if p > 1 else np.eye(1)
    D = s_matrix(Sigma, method, copies=copies)
    assert np.linalg.eigvalsh(joint(Sigma, D, copies) if p < 100 else (copies + 1) / copies * Sigma - D)[0] > -1e-8


def test_chunks_change_nothing(monkeypatch):
    from neucept.knockoffs import smatrix

    Sigma = correlation(40)
    for method in ("mvr", "maxent"):
        whole = s_matrix(Sigma, method)
        monkeypatch.setattr(smatrix, "_CHUNK", 7)
        np.testing.assert_allclose(s_matrix(Sigma, method), whole, rtol=1e-8)


def test_equal_s_is_the_largest_that_is_possible():
    Sigma = 0.7 * np.eye(5) + 0.3
    assert np.diag(s_matrix(Sigma, "equicorrelated")).tolist() == pytest.approx([1.0] * 5)
    Sigma = 0.2 * np.eye(5) + 0.8
    assert np.diag(s_matrix(Sigma, "equicorrelated")).tolist() == pytest.approx([0.4] * 5)


def test_unknown_methods_and_sdp_for_groups_say_what_to_use():
    with pytest.raises(InputError, match="'mvr'"):
        s_matrix(np.eye(3), "mrv")
    with pytest.raises(InputError, match="groups"):
        s_matrix(correlation(), "sdp", GROUPS)
