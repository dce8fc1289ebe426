"""Inputs unlike all that were recorded: the score against a plain loop, p-values, saving, wrong input."""

from pathlib import Path

import numpy as np
import pytest

from neucept import InputError, Recording
from neucept.novelty import Novelty


def recorded(n: int, seed: int, shift: float = 0.0) -> Recording:
    """Two layers of different width and scale, one neuron constant; the class is the sign of the first neuron."""
    Z = np.random.default_rng(seed).normal(size=(n, 6)).astype(np.float32) + shift
    wide = np.concatenate([100 * Z[:, :4], np.ones((n, 1), np.float32)], axis=1)
    return Recording({"narrow": Z[:, 4:], "wide": wide}, np.stack([Z[:, 0], -Z[:, 0]], axis=1), None, ("a", "b"))


def test_the_score_is_that_of_a_plain_loop() -> None:
    novelty, new = Novelty.fit(recorded(500, 0), seed=1), recorded(20, 2)
    assert novelty.known.shape == (100, 3)  # two layers and the energy
    scores = novelty.scores(new)
    for i in range(len(new)):
        own, score, start = novelty.classes == new.predictions[i], 0.0, 0
        far = []
        for layer in ("narrow", "wide"):
            x = new.activations(layer)[i]
            part = slice(start, start + len(x))
            away = novelty.reference[own][:, part] - (x - novelty.mean[part]) / novelty.scale[part]
            far.append(np.sort(np.sqrt((away**2).sum(axis=1)))[9])
            start += len(x)
        far.append(-np.log(np.exp(new.logits[i].astype(float)).sum()))
        for known, value in zip(novelty.known.T, far, strict=True):
            score -= np.log((1 + (known >= value * (1 - 1e-9 * np.sign(value))).sum()) / 101)
        assert scores[i] == pytest.approx(score, rel=0.02)


def test_constant_neurons_count_not_at_all_and_the_others_alike() -> None:
    novelty = Novelty.fit(recorded(2000, 0))
    spread = (novelty.reference.astype(float) ** 2).mean(axis=0)
    np.testing.assert_allclose(spread[:-1], 1, rtol=0.01)
    assert spread[-1] == 0


def test_p_values_are_small_far_out_and_spread_over_all_values_elsewhere() -> None:
    novelty = Novelty.fit(recorded(2000, 0))
    assert (novelty.p_values(recorded(50, 1, shift=9.0)) < 0.02).all()
    p = novelty.p_values(recorded(2000, 2))
    assert 0.4 < p.mean() < 0.6 and p.max() > 0.9


def test_reference_and_held_out_inputs_are_bounded_and_apart() -> None:
    novelty = Novelty.fit(recorded(9000, 0))
    assert len(novelty.reference) == 5000 and len(novelty.held_out) == len(novelty.known) == 1800


def test_it_is_saved_and_opened_unchanged(tmp_path: Path) -> None:
    novelty, new = Novelty.fit(recorded(300, 0)), recorded(30, 1)
    again = Novelty.open(novelty.save(tmp_path / "novelty"))
    np.testing.assert_array_equal(again.p_values(new), novelty.p_values(new))
    assert "300" not in repr(again) and repr(again) == repr(novelty)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(InputError, match="49 recorded inputs are too few"):
        Novelty.fit(recorded(49, 0))
    with pytest.raises(InputError, match="Layer 'deep' was not recorded"):
        Novelty.fit(recorded(300, 0), ["deep"])
    novelty, new = Novelty.fit(recorded(300, 0)), recorded(5, 1)
    fewer = Recording(
        {"narrow": new.activations("narrow"), "wide": new.activations("wide")[:, 1:]}, new.logits, None, ("a", "b")
    )
    with pytest.raises(InputError, match="The layers have 6 neurons, those of the reference inputs 7"):
        novelty.scores(fewer)
