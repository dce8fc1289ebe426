"""New inputs that are drawn as the recorded ones were are called unlike in at most the share promised."""

import numpy as np
import pytest
from scipy.stats import binom

from neucept import Recording
from neucept.novelty import Novelty

pytestmark = pytest.mark.validity


def test_the_false_alarms_stay_within_the_level() -> None:
    rng, flagged, fits, each = np.random.default_rng(0), 0, 400, 1
    for seed in range(fits):  # one new input per fit: independent, so that the number of alarms is binomial
        scale = 1 + rng.exponential(size=(301, 1))  # heavy tails; classes of unequal size
        Z = (rng.normal(size=(301, 4)) * scale).astype(np.float32)
        logits = np.stack([Z[:, 0], np.full(301, 1.0)], axis=1)
        everything = Recording({"hidden": Z}, logits, None, ("a", "b"))
        novelty = Novelty.fit(everything.subset(np.arange(300)), seed=seed)
        flagged += int((novelty.p_values(everything.subset(np.array([300]))) <= 0.1).sum())
    assert flagged <= binom.ppf(0.999, fits * each, 0.1)
    assert flagged >= binom.ppf(0.001, fits * each, 0.06)  # of 60 held out, 6/61 is reached


def test_the_number_of_flagged_inputs_is_judged_at_its_level() -> None:
    """A binomial test would raise an alarm in about a fifth of these repetitions."""
    alarms, repetitions = 0, 300
    for seed in range(repetitions):
        Z = np.random.default_rng(1000 + seed).normal(size=(900, 3)).astype(np.float32)
        everything = Recording({"hidden": Z}, Z[:, :2], None, ("a", "b"))
        novelty = Novelty.fit(everything.subset(np.arange(300)), seed=seed)
        flagged = int((novelty.p_values(everything.subset(np.arange(300, 900))) <= 0.1).sum())
        alarms += novelty.p_of_count(flagged, 600, 0.1) < 0.05
    assert alarms <= binom.ppf(0.999, repetitions, 0.05)
    assert alarms >= binom.ppf(0.001, repetitions, 0.02)  # it can raise one
