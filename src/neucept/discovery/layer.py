"""One layer on some inputs, prepared and calibrated: tests of any responses against its neurons."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neucept.calibration.calibration import Calibration
from neucept.calibration.evidence import gather
from neucept.calibration.layer import cached_calibration, prepared_neurons
from neucept.knockoffs import GramStatistic, Sampler, Statistic, knockoff_statistics
from neucept.knockoffs.preprocessing import standardised, unit_size
from neucept.knockoffs.samplers import SamplerName
from neucept.knockoffs.statistics import StatisticName
from neucept.recording import Recording

WIDE = 500  # neurons, from which on fewer sets of knockoffs are drawn where a calibration decides
FEWEST_DRAWS = 3


@dataclass(frozen=True)
class Examiner:
    """One layer on some inputs, prepared for tests against any responses.

    Attributes
    ----------
    layer : str
        Name of the layer.
    Z : array
        (n, p) standardised neurons, one of each set of collinear ones.
    neurons : array
        (p,) numbers of these neurons in the layer.
    member_of : array
        (k,) column of Z that stands for each neuron of the layer, -1 for dead ones.
    groups : array
        (p,) group of each column.
    calibration : Calibration or None
        What simulated responses say about the layer.
    """

    layer: str
    Z: np.ndarray
    neurons: np.ndarray
    member_of: np.ndarray
    groups: np.ndarray
    calibration: Calibration | None

    @classmethod
    def of(
        cls,
        recording: Recording,
        layer: str,
        rows: np.ndarray,
        groups: np.ndarray | None,
        calibrated: bool,
        progress: bool,
    ) -> Examiner:
        """Prepare a layer, and calibrate it or take the calibration kept with the recording."""
        prepared, given = prepared_neurons(recording.activations(layer), rows, groups)
        calibration = cached_calibration(recording, layer, rows, prepared.Z, given, progress) if calibrated else None
        if calibration is not None:
            given = calibration.groups
        elif given is None:
            given = np.arange(prepared.Z.shape[1])
        return cls(layer, prepared.Z, prepared.representatives, prepared.groups, given, calibration)

    def examine(
        self,
        responses: Sequence[tuple[np.ndarray, np.ndarray]],
        sampler: SamplerName | Sampler,
        statistic: StatisticName | Statistic | GramStatistic,
        draws: int,
        seed: int,
    ) -> list[tuple[np.ndarray | None, dict[str, Any]]]:
        """Test several targets, each with (n, R) responses and (R,) weights.

        For each target: the local false discovery rates of the groups, (g,), with a calibration, and the fields of its
        `Selection`.

        A group is null for a target when it is null for all of its responses. Its local false discovery rate is the
        weighted harmonic mean of those for the responses (as averages of e-values are e-values). The arithmetic mean,
        an upper bound, is too large to be useful, and the minimum is wrong too often
        (experiments/several_responses.py).
        """
        Y = np.hstack([part for part, _ in responses])
        rng = np.random.default_rng([seed, zlib.crc32(self.layer.encode())])
        g = int(self.groups.max()) + 1
        alone = g == len(self.groups)
        if self.calibration is not None:  # which decides: the draws of a wide layer would take longer than all else
            draws = min(draws, max(FEWEST_DRAWS, int(draws * (WIDE / self.Z.shape[1]) ** 2)))
        W = knockoff_statistics(
            self.Z, Y, sampler=sampler, statistic=statistic, draws=draws, rng=rng, groups=None if alone else self.groups
        )
        if self.calibration is not None:
            rows = self.calibration.rows
            evidence, single = gather(self.Z[rows], Y[rows], self.groups, seed)
            probability = self.calibration.model.predict(evidence)
        results: list[tuple[np.ndarray | None, dict[str, Any]]] = []
        start = 0
        for part, weights in responses:
            own = slice(start, start + part.shape[1])
            start += part.shape[1]
            joined = np.tensordot(W[:, own], weights, axes=(1, 0))  # (draws, g)
            strength = weights @ single[own] if self.calibration is not None else None
            marginal = np.abs(self.Z.T @ (unit_size(part) @ weights))
            best = self._representatives(marginal if strength is None else strength)
            fields: dict[str, Any] = {
                "statistics": self._spread(joined, 0.0),
                "groups": self._spread(np.arange(g), -1),
                "representatives": self.neurons[best],
            }
            local_fdr = None
            if strength is not None:
                fields["importance"] = np.where(self.member_of >= 0, np.append(strength, 0.0)[self.member_of], 0.0)
                local_fdr = 1 / (weights @ (1 / np.maximum(probability[own], 1e-9)))
            results.append((local_fdr, fields))
        return results

    def _representatives(self, strength: np.ndarray) -> np.ndarray:
        """Strongest column of each group, (g,)."""
        order = np.lexsort((-strength, self.groups))
        return np.asarray(order[np.unique(self.groups[order], return_index=True)[1]])

    def _spread(self, of_groups: np.ndarray, dead: float) -> np.ndarray:
        """From values of groups, (..., g), to values of the layer's neurons, (..., k)."""
        padded = np.concatenate([of_groups, np.full_like(of_groups[..., :1], dead)], axis=-1)
        group = np.where(self.member_of >= 0, np.append(self.groups, 0)[self.member_of], -1)
        return np.asarray(padded[..., group])


ALIKE = 1e-3  # share of a neuron's variance that those before it must leave unexplained
LEAST = 1e-6  # share of the responses' variance that a neuron must add to be in the order


def forward_order(Z: np.ndarray, Y: np.ndarray, weights: np.ndarray, local_fdr: np.ndarray | None = None) -> np.ndarray:
    """Order neurons by how much of the responses' variance each adds to those before it.

    The greedy solution of equation (3) of the NeuCEPT paper, with the variance of the responses that a set of neurons
    explains linearly in the place of the information that it has on them. Unlike an order by a statistic of single
    neurons, it does not repeat the same information.

    Parameters
    ----------
    Z : array
        (n, p) neurons.
    Y : array
        (n, R) responses; each is scaled to variance 1.
    weights : array
        (R,) of the responses, not negative.
    local_fdr : array, optional
        (p,) probability that a neuron is null; what it adds counts less accordingly.

    Returns
    -------
    array
        At most p neurons, in order; those that add nothing are left out.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> a, b, noise = rng.normal(size=(3, 200))
    >>> Z = np.column_stack([noise, a, a + 0.1 * noise, b])
    >>> forward_order(Z, np.column_stack([2 * a, b]), np.array([2.0, 1.0])).tolist()
    [1, 3]
    """
    Z, Y = standardised(Z), standardised(Y) * np.sqrt(weights)
    G, C = Z.T @ Z / len(Z), Z.T @ Y / len(Z)
    trust = np.ones(len(G)) if local_fdr is None else 1.0 - local_fdr
    alive = np.diag(G) > 0.5
    enough = LEAST * float(weights.sum())
    order: list[int] = []
    while True:
        own = np.diag(G)
        free = alive & (own > ALIKE)
        free[order] = False
        gain = np.where(free, (C**2).sum(axis=1) / np.maximum(own, ALIKE), 0.0)
        believed = np.where(gain > enough, gain, 0.0) * trust
        best = int(np.argmax(believed))
        if not believed[best] > 0:
            return np.array(order, dtype=np.intp)
        order.append(best)
        share = G[:, best] / G[best, best]
        C = C - np.outer(share, C[best])
        G = G - np.outer(share, G[best])
