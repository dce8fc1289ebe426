"""One layer on some inputs, prepared and calibrated: tests of any responses against its neurons."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neucept.calibration.calibration import Calibration, gather
from neucept.calibration.layer import cached_calibration, prepared_neurons
from neucept.knockoffs import GramStatistic, Sampler, Statistic, knockoff_statistics
from neucept.knockoffs.preprocessing import unit_size
from neucept.knockoffs.samplers import SamplerName
from neucept.knockoffs.statistics import StatisticName
from neucept.recording import Recording


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
        prepared, given = prepared_neurons(recording, layer, rows, groups)
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
        W = knockoff_statistics(
            self.Z, Y, sampler=sampler, statistic=statistic, draws=draws, rng=rng, groups=None if alone else self.groups
        )
        if self.calibration is not None:
            rows = self.calibration.rows
            evidence, single, _, _ = gather(self.Z[rows], Y[rows], self.groups, seed)
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
