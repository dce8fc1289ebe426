"""Does the guarantee hold where the theory says so? Realised false discoveries and power on known Gaussian designs.

``python experiments/validity.py`` repeats the filter on Gaussian neurons whose covariance is known, with a linear
response, for every design, number of rows and number of non-null neurons; for one draw, for the e-values of several,
and for one draw of knockpy's filter where that package is installed. Results are kept in
``experiments/results/validity.json`` as they come: run again, it continues where it stopped, and prints the table.

knockpy takes a second per call, so its repetitions of a cell end when the 95% interval of the difference in power is
narrower than ±0.01 at every level, a rule that looks at the width of the interval and never at where it lies.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import stats

from neucept.knockoffs import GaussianSampler, e_bh, knockoff_statistics, select, stopped_evalues

RESULTS = Path(__file__).parent / "results" / "validity.json"
P = 128
LEVELS = (0.05, 0.1, 0.2)
DESIGNS = ("independent", "ar", "factor", "equicorrelated")
ROWS = (500, 5000)
NON_NULL = (24, 64, 96)
AMPLITUDE = 3.5  # of a coefficient, times the square root of n: a z-value of 3.5 for independent neurons
CHUNK = 20  # repetitions between two savings
NARROW = 0.01  # half-width of the interval of a difference in power at which the peer's repetitions end


def covariance(design: str) -> np.ndarray:
    """Covariance of the neurons, unit diagonal, (P, P)."""
    if design == "independent":
        return np.eye(P)
    if design == "ar":
        return 0.5 ** np.abs(np.subtract.outer(np.arange(P), np.arange(P)))
    if design == "equicorrelated":
        return 0.5 * np.eye(P) + 0.5
    loadings = np.random.default_rng(5).normal(size=(P, 8))
    Sigma = loadings @ loadings.T / 8 + np.eye(P)
    scale = np.sqrt(np.diag(Sigma))
    return Sigma / np.outer(scale, scale)


def simulated(design: str, n: int, k: int, repetition: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neurons, response and mask of the non-null neurons of one repetition."""
    rng = np.random.default_rng([repetition, n, k, DESIGNS.index(design)])
    Z = rng.standard_normal((n, P)) @ np.linalg.cholesky(covariance(design)).T
    non_null = np.zeros(P, bool)
    non_null[rng.permutation(P)[:k]] = True
    b = np.where(non_null, rng.choice([-1.0, 1.0], P), 0.0) * AMPLITUDE / np.sqrt(n)
    return Z, Z @ b + rng.standard_normal(n), non_null


def outcome(selected: np.ndarray, non_null: np.ndarray) -> tuple[float, float]:
    """Return the false discovery proportion and the power."""
    return float(np.sum(selected & ~non_null) / max(selected.sum(), 1)), float(np.mean(selected[non_null]))


def repeat(design: str, n: int, k: int, repetitions: range, draws: int) -> dict[str, list[tuple[float, float]]]:
    """Repeat a cell: false discovery proportions and powers, {"one 0.1": [(proportion, power), ...], ...}."""
    sampler = GaussianSampler(covariance=covariance(design))
    results: dict[str, list[tuple[float, float]]] = {}
    for repetition in repetitions:
        Z, y, non_null = simulated(design, n, k, repetition)
        W = knockoff_statistics(Z, y, sampler=sampler, draws=draws, rng=np.random.default_rng([repetition, 1]))[:, 0]
        for q in LEVELS:
            ways = {"one": select(W[0], q)}
            if draws > 1:
                ways["evalue"] = e_bh(stopped_evalues(W, q), q)
            for way, selected in ways.items():
                results.setdefault(f"{way} {q}", []).append(outcome(selected, non_null))
    return results


def repeat_peer(
    design: str, n: int, k: int, repetitions: range, peer: Callable[..., np.ndarray]
) -> dict[str, list[tuple[float, float]]]:
    """Repeat a cell with the peer, on the same neurons and responses."""
    results: dict[str, list[tuple[float, float]]] = {}
    for repetition in repetitions:
        Z, y, non_null = simulated(design, n, k, repetition)
        W = peer(Z, y, covariance(design), repetition)
        for q in LEVELS:
            results.setdefault(f"knockpy {q}", []).append(outcome(select(W, q), non_null))
    return results


def gain(results: dict[str, list[tuple[float, float]]], q: float) -> tuple[float, float]:
    """Power of one draw minus knockpy's: mean and half-width of its 95% interval over pairs."""
    ours, theirs = np.array(results[f"one {q}"]), np.array(results[f"knockpy {q}"])
    difference = ours[: len(theirs), 1] - theirs[:, 1]
    return float(difference.mean()), float(1.96 * difference.std(ddof=1) / np.sqrt(len(theirs)))


def knockpy() -> Callable[..., np.ndarray] | None:
    """W of one draw of knockpy's Gaussian knockoffs and cross-validated lasso; None where it is not installed."""
    if importlib.util.find_spec("knockpy") is None:
        return None
    from knockpy import KnockoffFilter

    def statistics(Z: np.ndarray, y: np.ndarray, Sigma: np.ndarray, seed: int) -> np.ndarray:
        np.random.seed(seed)  # noqa: NPY002 - it has no other source of chance
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peer = KnockoffFilter(ksampler="gaussian", fstat="lasso")
            peer.forward(X=Z, y=y, mu=np.zeros(P), Sigma=Sigma, fdr=0.1)
        return np.asarray(peer.W)

    return statistics


def lower_bound(values: np.ndarray, confidence: float = 0.9995) -> float:
    """One-sided lower bound of a mean, by the normal approximation."""
    return float(values.mean() - stats.norm.ppf(confidence) * values.std(ddof=1) / np.sqrt(len(values)))


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--draws", type=int, default=20)
    options = parser.parse_args()
    peer = knockpy()
    if peer is None:
        print("knockpy is not installed: its column stays empty (pip install knockpy==1.3.5).")
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"draws": options.draws, "cells": {}}
    cells = [(d, n, k) for d in DESIGNS for n in ROWS for k in NON_NULL]

    def add(cell: tuple[str, int, int], more: dict[str, list[tuple[float, float]]]) -> None:
        results = kept["cells"].setdefault("{} {} {}".format(*cell), {})
        for key, values in more.items():
            results.setdefault(key, []).extend([round(a, 4), round(b, 4)] for a, b in values)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.with_suffix(".part").write_text(json.dumps(kept))
        RESULTS.with_suffix(".part").replace(RESULTS)
        print(*cell, {key: len(values) for key, values in results.items() if key.endswith("0.1")}, flush=True)

    for first in range(0, options.repetitions, CHUNK):  # round by round, so that a table is there early
        last = min(first + CHUNK, options.repetitions)
        for cell in cells:
            results = kept["cells"].get("{} {} {}".format(*cell), {})
            if (done := len(results.get("one 0.1", []))) < last:
                add(cell, repeat(*cell, range(done, last), kept["draws"]))
            results = kept["cells"]["{} {} {}".format(*cell)]
            done = len(results.get("knockpy 0.1", []))
            wide = done < CHUNK or any(gain(results, q)[1] > NARROW for q in LEVELS)
            if peer is not None and done < last and wide:
                add(cell, repeat_peer(*cell, range(done, last), peer))
    told = importlib.import_module("tell.validity").tell(kept)
    print(told)
    RESULTS.with_suffix(".md").write_text(told + "\n")


if __name__ == "__main__":
    main()
