"""The calibrated promise, on neurons that are not Gaussian and on families that no layer is calibrated on."""

from __future__ import annotations

import numpy as np
import pytest

import neucept
from neucept.calibration.null_model import proportions
from neucept.calibration.simulation import HELD_OUT, simulate
from neucept.knockoffs import prepare

pytestmark = pytest.mark.validity


@pytest.mark.parametrize("seed", [0, 1])
def test_realised_false_discovery_rate_is_at_most_the_one_asked(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, p = 2500, 50
    causes = rng.standard_normal((n, 15)) + 2 * rng.choice([-1, 1], (n, 1))
    Z = np.tanh(causes @ rng.standard_normal((15, p)) / 3 + 0.4 * rng.standard_normal((n, p)))
    recording = neucept.Recording({"layer": Z.astype(np.float32)}, np.zeros((n, 2), np.float32), None, ("a", "b"))
    groups = neucept.calibrate(recording, "layer", progress=False).groups
    planted = simulate(prepare(Z).Z, groups, rng, HELD_OUT, nothing=20)
    with pytest.warns(neucept.NothingSelectedWarning):
        found = neucept.discover(recording, list(planted.Y.T), layers=["layer"], draws=10, seed=3, progress=False)
    for q in (0.1, 0.2, 0.4):
        masks = np.zeros(planted.null.shape, bool)
        for i, critical in found.items():
            selection = critical["layer"].at(1 - q)
            masks[i, selection.groups[selection.neurons]] = True
        false, power = proportions(masks, planted.null)
        standard_error = false.std(ddof=1) / np.sqrt(len(false))
        assert false.mean() - 1.96 * standard_error <= q
        assert np.nanmean(power) > 0.2, "a filter that selects nothing keeps every promise"
