"""Selection by size of effect: the share of false discoveries over repetitions, and the coverage of intervals."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats
from torch import nn

from neucept.discovery.effects import EffectTest, measure_effects
from neucept.discovery.orders import Aim
from neucept.recording import Recording
from neucept.recording.intervention import Rest
from neucept.recording.units import Elements

REPETITIONS, K, N, Q, SIZE = 300, 24, 300, 0.2, 0.02


def one(seed: int, coefficients: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Selected neurons of a network with interactions, the share of the truth that intervals cover, and low ends."""
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((N, K)).astype(np.float32)
    weights = torch.tensor(coefficients, dtype=torch.float32)

    def run(values: torch.Tensor) -> torch.Tensor:
        y = (values * weights).sum(dim=1)
        return torch.stack([-y / 2, y / 2], dim=1)

    logits = run(torch.from_numpy(Z)).numpy()
    recording = Recording({"a": Z}, logits, None, ("no", "yes"))
    rest = Rest(run, lambda rows: torch.from_numpy(Z[rows]), Elements(), nn.Identity(), K)
    effects = measure_effects(rest, recording, "a", np.arange(N), np.arange(K), Aim(recording, 1), seed)
    share = coefficients**2 / np.sum(coefficients**2)
    positive = share > 0
    covered = ((effects.alone_low <= share) & (share <= effects.alone_high))[positive].mean()
    return EffectTest(SIZE, effects.p_values(SIZE), None).select(np.zeros((1, K)), Q), float(covered), share


def test_false_discoveries_of_sizes_and_coverage() -> None:
    """Half of the neurons lie exactly at the size, where the test is hardest; a few lie above."""
    above, at = 4, 16
    coefficients = np.zeros(K)
    coefficients[:above] = np.sqrt((1 - at * SIZE) / above)  # shares sum to 1
    coefficients[above : above + at] = np.sqrt(SIZE)
    results = [one(seed, coefficients) for seed in range(REPETITIONS)]
    null = np.arange(K) >= above
    false = np.array([(chosen & null).sum() / max(chosen.sum(), 1) for chosen, _, _ in results])
    found = np.mean([chosen[:above].mean() for chosen, _, _ in results])
    coverage = np.array([covered for _, covered, _ in results])
    allowed = Q + stats.norm.ppf(0.99) * false.std() / np.sqrt(REPETITIONS)
    assert false.mean() <= allowed, (false.mean(), allowed)
    assert found > 0.9
    assert coverage.mean() > 0.9, coverage.mean()
