"""Precision beside what the network's own confidence predicts: the map, the test, the words, and finding errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import binom, fisher_exact, hypergeom

import neucept
from neucept.errors import InputError
from neucept.mechanisms import calibrate_confidence, compare_confidence, correct_over_classes, inputs_needed, learn
from neucept.mechanisms import error_detection as detect
from neucept.mechanisms.confidence import confidence_elsewhere, detect_errors, log_odds
from neucept.mechanisms.overconfidence import compare_elsewhere, confidence_verdicts, holm, stratified_p
from neucept.recording import Recording
from neucept.recording.task import Binary, Classes, MultiLabel, Regression, Scores


def recorded(logits: np.ndarray, task: Any, labels: np.ndarray | None = None, groups: np.ndarray | None = None) -> Any:
    n = len(logits)
    hidden = np.eye(4)[np.zeros(n, int) if groups is None else groups] * 8
    hidden = hidden + np.random.default_rng(5).normal(size=hidden.shape)
    names = tuple(f"class {i}" for i in range(logits.shape[1]))
    return Recording({"hidden": hidden.astype(np.float32)}, logits.astype(np.float32), labels, names, task=task)


def planted(n: int = 1200, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log odds, right, groups: group 2 is as confident as can be, and wrong; 0 and 1 differ in confidence alone."""
    rng = np.random.default_rng(seed)
    groups = rng.choice(3, size=n, p=[0.5, 0.35, 0.15])
    odds = np.array([4.0, 1.0, 6.0])[groups] + rng.normal(size=n)
    right = rng.random(n) < np.where(groups == 2, 0.1, expit(odds))
    return odds, right, groups


# ---- the network's own confidence ------------------------------------------------------------------------------------


def test_confidence_is_the_networks_probability_of_the_target() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 3)) * 5
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    odds = log_odds(recorded(logits, Classes()), 1)
    np.testing.assert_allclose(expit(odds), softmax[:, 1], rtol=1e-5)
    np.testing.assert_allclose(log_odds(recorded(logits, MultiLabel()), 1), logits[:, 1], rtol=1e-6)
    z = logits[:, 0]
    halves = np.stack([-z / 2, z / 2], axis=1)
    np.testing.assert_allclose(log_odds(recorded(halves, Binary()), 1), z, rtol=1e-5)
    for none in (recorded(logits[:, :1], Regression()), recorded(logits, Scores())):
        assert log_odds(none, "highest tenth" if isinstance(none.task, Regression) else 1) is None


def test_confidence_does_not_saturate() -> None:
    """Softmax in floating point says 1 for both."""
    odds = log_odds(recorded(np.array([[0.0, 100.0], [0.0, 200.0]]), Classes()), 1)
    assert odds is not None and odds.tolist() == [100, 200]


def test_a_task_of_your_own_says_its_log_odds() -> None:
    class Grades(Classes):
        name = "grades"

    class WithOdds(Grades):
        def log_odds(self, outputs: np.ndarray, target: Any) -> np.ndarray:
            return outputs[:, target] / 2

    logits = np.arange(6.0).reshape(3, 2)
    assert log_odds(recorded(logits, Grades()), 1) is None
    assert log_odds(recorded(logits, WithOdds()), 1).tolist() == [0.5, 1.5, 2.5]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            lambda outputs, target: outputs,
            r"log_odds of the task 'mine' gave float64 of shape \(3, 2\); expected .*\(3,\)",
        ),
        (lambda outputs, target: np.array([1.0, np.inf, 2.0]), "gave inf at input 1; expected finite numbers"),
    ],
    ids=["shape", "infinite"],
)
def test_log_odds_of_a_task_of_your_own_are_checked(answer: Any, message: str) -> None:
    class Mine(Classes):
        name = "mine"
        log_odds = staticmethod(answer)

    with pytest.raises(InputError, match=message):
        log_odds(recorded(np.arange(6.0).reshape(3, 2), Mine()), 1)


def test_a_single_class_has_no_confidence() -> None:
    assert log_odds(recorded(np.ones((3, 1)), Classes()), 0) is None


# ---- the calibration map ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("truth", "error"),
    [
        (lambda x: expit(x), 0.02),
        (lambda x: expit(0.3 * x + 0.3), 0.02),
        (lambda x: 0.97 * expit(x), 0.02),
        (lambda x: np.where(x < 1, 0.4, 0.97), 0.05),  # a jump is smoothed
    ],
    ids=["calibrated", "overfitted", "noisy labels", "jump"],
)
def test_calibration_finds_the_truth(truth: Any, error: float) -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(2, 2.5, size=4000)
    calibrated = calibrate_confidence(odds, rng.random(4000) < truth(odds))
    assert np.abs(calibrated - truth(odds)).mean() < error
    assert calibrated.min() > 0 and calibrated.max() < 1


def saturated(rng: np.random.Generator, n: int) -> np.ndarray:
    """Four of five inputs as sure as each other but for a millionth, as of an output that saturates."""
    return np.where(rng.random(n) < 0.8, 30 + 1e-6 * rng.normal(size=n), 2 * rng.normal(size=n))


def with_one_far(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.append(2 * rng.normal(size=n - 1), 1e6)


@pytest.mark.parametrize("draw", [saturated, with_one_far], ids=lambda draw: draw.__name__)
@pytest.mark.parametrize("n", [300, 2000])
def test_calibration_of_confidence_that_is_unevenly_spread(draw: Any, n: int) -> None:
    """Narrow segments stopped the search, and one far input made the others look equally sure."""
    rng = np.random.default_rng(0)
    odds = draw(rng, n)
    right = rng.random(n) < expit(odds)
    calibrated = calibrate_confidence(odds, right)
    assert np.abs(calibrated - expit(odds)).mean() < 0.06
    groups = np.digitize(odds, np.quantile(odds, [0.1, 0.2]))  # parts of the confidence, and nothing else
    assert compare_confidence(odds, right, groups, 3)["p_confidence"].min() > 0.05


def test_calibration_does_not_depend_on_the_unit() -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(size=500)
    right = rng.random(500) < expit(2 * odds)
    for unit in (1e-20, 1e30):
        np.testing.assert_allclose(
            calibrate_confidence(unit * odds, right), calibrate_confidence(odds, right), atol=1e-3
        )


def test_calibration_never_falls() -> None:
    """Where larger confidence goes with more errors, confidence predicts the same for all."""
    rng = np.random.default_rng(0)
    odds = rng.normal(size=1000)
    calibrated = calibrate_confidence(odds, rng.random(1000) < expit(-3 * odds))
    assert np.ptp(calibrated) < 0.05 and abs(calibrated.mean() - 0.5) < 0.05


def test_an_input_does_not_calibrate_itself() -> None:
    odds, right, _ = planted(300)
    turned = right.copy()
    turned[7] = ~turned[7]
    before, after = calibrate_confidence(odds, right), calibrate_confidence(odds, turned)
    assert before[7] == after[7] and (before != after).any()


@pytest.mark.parametrize("n", [1, 2, 6, 40])
@pytest.mark.parametrize("right", [True, False])
def test_calibration_of_few_inputs_or_without_errors_is_never_certain(n: int, right: bool) -> None:
    calibrated = calibrate_confidence(np.linspace(-3, 30, n), np.full(n, right))
    assert calibrated.shape == (n,) and calibrated.min() > 0 and calibrated.max() < 1
    equal = calibrate_confidence(np.full(n, 2.0), np.full(n, right))
    assert np.isfinite(equal).all()


# ---- the test --------------------------------------------------------------------------------------------------------


def test_in_one_stratum_the_test_is_the_hypergeometric_one() -> None:
    p = stratified_p(np.array([50]), np.array([10]), np.array([20]), 8)
    law = hypergeom(50, 10, 20)
    assert p == pytest.approx(2 * min(law.cdf(8), law.sf(7)), rel=1e-9)
    assert fisher_exact([[8, 12], [2, 28]], alternative="greater")[1] == pytest.approx(law.sf(7))


def test_strata_are_summed_exactly() -> None:
    size, wrong, members = np.array([30, 12, 9]), np.array([4, 6, 0]), np.array([10, 5, 9])
    rng = np.random.default_rng(0)
    counts = rng.hypergeometric(4, 26, 10, size=200_000) + rng.hypergeometric(6, 6, 5, size=200_000)
    for observed in (2, 4, 7):
        simulated = 2 * min((counts <= observed).mean(), (counts >= observed).mean())
        assert stratified_p(size, wrong, members, observed) == pytest.approx(min(simulated, 1), abs=0.01)


def test_tiny_p_values_are_exact() -> None:
    p = stratified_p(np.array([2000]), np.array([1000]), np.array([1000]), 900)
    law = hypergeom(2000, 1000, 1000)
    assert 0 < p < 1e-200 and p == pytest.approx(2 * law.sf(899), rel=1e-6)


def test_a_single_mistake_among_the_surest_is_no_evidence() -> None:
    """Isotonic regression predicts exactly 1 there, and a single mistake would have no variance."""
    odds = np.linspace(0, 20, 1000)
    right = np.ones(1000, bool)
    right[[5, 20, 33, 990]] = False
    table = compare_confidence(odds, right, (odds > 15).astype(int), 2)
    assert table["p_confidence_raw"].min() > 0.1


def test_mechanisms_that_differ_in_confidence_alone_are_not_called_overconfident() -> None:
    rng = np.random.default_rng(1)
    groups = rng.integers(3, size=1500)
    odds = np.array([0.0, 2.0, 5.0])[groups] + rng.normal(size=1500)
    right = rng.random(1500) < expit(odds)
    table = compare_confidence(odds, right, groups, 3)
    precision = [right[groups == k].mean() for k in range(3)]
    assert table["p_confidence"].min() > 0.05 and np.abs(table["expected"] - precision).max() < 0.03
    assert (table["expected_low"] < table["expected"]).all() and (table["expected"] < table["expected_high"]).all()


def test_a_confidently_wrong_mechanism_is_found_and_others_are_not_blamed() -> None:
    odds, right, groups = planted()
    table = compare_confidence(odds, right, groups, 3)
    assert table["expected"][2] > 0.5 and right[groups == 2].mean() < 0.15 and table["p_confidence"][2] < 1e-20
    assert (right[groups < 2].mean() > table["expected"][:2]).all()


def test_intervals_of_the_expected_precision_cover() -> None:
    hits = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        groups = rng.integers(3, size=600)
        odds = np.array([0.0, 1.5, 3.0])[groups] + rng.normal(size=600)
        table = compare_confidence(odds, rng.random(600) < expit(odds), groups, 3)
        truth = np.array([expit(odds[groups == k]).mean() for k in range(3)])
        hits.append((table["expected_low"] <= truth) & (truth <= table["expected_high"]))
    assert np.mean(hits) > 0.9


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm(np.array([0.2, 0.01, np.nan, 0.02])), [0.2, 0.03, np.nan, 0.04])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0] and np.isnan(holm(np.array([np.nan]))).all()


def test_inputs_needed_is_enough_and_half_of_it_is_not() -> None:
    n = int(inputs_needed(0.8))
    rng = np.random.default_rng(0)

    def power(size: int) -> float:
        z = (rng.binomial(size, 0.7, 20_000) / size - 0.8) / np.sqrt(0.16 / size)
        return float((np.abs(z) > 1.96).mean())

    assert power(n) > 0.78 and power(n // 2) < 0.6
    assert inputs_needed(0.8, tests=50) > inputs_needed(0.8) and np.isnan(inputs_needed(np.nan))
    with pytest.raises(InputError, match="difference=0"):
        inputs_needed(0.8, difference=0)


@pytest.mark.parametrize("tests", [1, 5, 20])
@pytest.mark.parametrize("expected", [0.05, 0.3, 0.8, 0.95, 0.99, 0.999])
def test_inputs_needed_have_the_power_promised(expected: float, tests: int) -> None:
    """Of an exact test: by the normal approximation it was .38 at an expected precision of .999."""
    n = int(inputs_needed(expected, tests=tests))
    other = expected - 0.1 if expected > 0.1 else expected + 0.1  # where it cannot be 10 points below

    def power(n: int) -> float:
        x = np.arange(n + 1)
        p = 2 * np.minimum(binom.cdf(x, n, expected), binom.sf(x - 1, n, expected))
        return float(binom.pmf(x, n, other)[p * tests <= 0.05].sum())

    assert power(n) >= 0.8 > power(n - 1)


# ---- neucept.reliability ---------------------------------------------------------------------------------------------


def table_of(odds: np.ndarray, right: np.ndarray, groups: np.ndarray, K: int, **kwargs: Any) -> pd.DataFrame:
    """Reliability of mechanisms of class 1, all inputs clustered, found by four neurons that know the group."""
    logits = np.stack([-odds / 2, odds / 2], axis=1)
    recording = recorded(logits, kwargs.pop("task", Classes()), right.astype(int), groups)
    mechanisms = learn(recording, {"hidden": [0, 1, 2, 3]}, K, samples="all", target=kwargs.pop("target", 1))
    return neucept.reliability(recording, mechanisms)


def test_the_alarm_and_the_unsure() -> None:
    odds, right, groups = planted()
    table = table_of(odds, right, groups, 3)
    words = dict(zip(table["judged"].rank().astype(int), table["confidence_verdict"], strict=True))
    assert words[1] == "overconfident"  # the smallest group; the others stand above the calibration it drags down
    assert "overconfident" not in (words[2], words[3])
    own = (table["judged"] * table["confidence"]).sum() / table["judged"].sum()
    assert own == pytest.approx((1 / (1 + np.exp(-odds))).mean())  # all inputs are judged; softmax of two logits
    odds, right, groups = planted(2000)
    rest = groups < 2
    clean = table_of(odds[rest], right[rest], groups[rest], 2)
    assert sorted(clean["confidence_verdict"]) == ["as confident as right", "unsure"]
    assert clean["confidence_verdict"][clean["precision"].argmin()] == "unsure"


@pytest.mark.parametrize(
    ("precision", "expected", "verdict"),
    [
        (0.70, 0.80, "overconfident"),
        (0.90, 0.80, "underconfident"),
        (0.77, 0.80, "as confident as right"),
        (0.96, 0.99, "overconfident"),  # four times the errors
        (0.991, 0.99, "as confident as right"),
        (1.0, 0.99, "underconfident"),
    ],
)
def test_verdicts_speak_of_differences_that_matter(precision: float, expected: float, verdict: str) -> None:
    row = {"judged": 9e5, "comparable": 9e5, "needed": 9, "p_confidence": 1e-9, "p_elsewhere": np.nan, "verdict": ""}
    table = pd.DataFrame([{**row, "precision": precision, "expected": expected}])
    assert confidence_verdicts(table) == [verdict]
    assert confidence_verdicts(table.assign(p_confidence=0.06)) == ["as confident as right"]
    assert confidence_verdicts(table.assign(p_elsewhere=0.04)) == ["overconfident"]


def test_few_inputs_say_so() -> None:
    odds, _, groups = planted(60, seed=2)
    rest = groups < 2
    table = table_of(odds[rest], np.ones(rest.sum(), bool), groups[rest], 2)
    assert set(table["confidence_verdict"]) == {"too few to tell"} and (table["needed"] > table["comparable"]).all()


def test_one_mechanism_can_be_compared_with_nothing() -> None:
    odds, right, groups = planted()
    table = table_of(odds, right, groups, 1)
    assert table["comparable"][0] == 0 and table["confidence_verdict"][0] == "nothing to compare"
    assert table["p_confidence"][0] == 1


def test_a_regression_has_no_confidence() -> None:
    values = np.random.default_rng(0).normal(size=(200, 1))
    recording = recorded(values, Regression(), values[:, 0] + 0.1)
    mechanisms = learn(recording, {"hidden": [0, 1, 2]}, 2, samples="all", target="highest tenth")
    table = neucept.reliability(recording, mechanisms)
    assert set(table["confidence_verdict"]) == {"no probability"} and table["expected"].isna().all()
    assert table["confidence"].isna().all()
    with pytest.raises(InputError, match="regression task are no probabilities"):
        detect(recording, mechanisms)


def test_several_labels_use_the_sigmoid() -> None:
    odds, right, groups = planted()
    logits = np.stack([odds, np.zeros(len(odds))], axis=1)
    labels = np.stack([right, ~right], axis=1).astype(int)
    recording = recorded(logits, MultiLabel(), labels, groups)
    table = neucept.reliability(recording, learn(recording, {"hidden": [0, 1, 2]}, 3, samples="all", target=0))
    expected = table_of(odds, right, groups, 3)
    np.testing.assert_allclose(table["expected"], expected["expected"], atol=1e-3)


def test_without_labels_it_says_what_cannot_be_said() -> None:
    odds, _, groups = planted(100)
    recording = recorded(np.stack([-odds, odds], axis=1), Classes(), None, groups)
    with pytest.raises(InputError, match="nor whether the network is confidently wrong"):
        neucept.reliability(recording, learn(recording, {"hidden": [0, 1]}, 2, samples="all", target=1))


def test_several_classes_are_corrected_together() -> None:
    one = table_of(*planted(400, seed=3), 3)
    together = correct_over_classes({"cat": one, "dog": one.assign(p_confidence_raw=0.02)})
    assert together["target"].tolist() == ["cat"] * 3 + ["dog"] * 3
    np.testing.assert_allclose(together["p_confidence"], holm(together["p_confidence_raw"].to_numpy()))
    assert (together["needed"][:3] > one["needed"]).all()
    dog = together[together["target"] == "dog"]["confidence_verdict"]
    assert not dog.isin(["overconfident", "underconfident"]).any()
    for wrong in ({}, {"cat": one.drop(columns="p_confidence_raw")}, one):
        with pytest.raises(InputError, match=r"neucept\.reliability"):
            correct_over_classes(wrong)  # type: ignore[arg-type]


def test_a_class_that_is_confidently_wrong_as_a_whole() -> None:
    """Within the class nothing stands out: every prediction of it is wrong; other classes tell."""
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(3000, 4))
    labels = logits.argmax(axis=1)
    labels = np.where(rng.random(3000) < 0.15, rng.integers(4, size=3000), labels)
    groups = rng.integers(3, size=3000)
    recording = recorded(logits, Classes(), labels, groups)

    def judge(target: int, labels: np.ndarray) -> pd.DataFrame:
        mechanisms = learn(recording, {"hidden": [0, 1, 2]}, 3, target=target)
        return neucept.reliability(recording, mechanisms, labels)

    clean = judge(1, labels)
    assert "overconfident" not in set(clean["confidence_verdict"]) and clean["p_elsewhere"].min() > 0.5
    wrong = np.where((logits.argmax(axis=1) == 1) & (rng.random(3000) < 0.85), 2, labels)
    table = judge(1, wrong)
    assert set(table["confidence_verdict"]) == {"overconfident"} and table["p_confidence"].min() > 0.01
    assert table["expected"].max() < 0.25 and table["expected_elsewhere"].min() > 0.7
    assert "overconfident" not in set(judge(3, wrong)["confidence_verdict"])


def test_a_class_that_is_unsure_is_not_held_against_classes_that_never_are() -> None:
    """All predictions of other classes are surer than all of this class, which is right as often as it says."""
    rng = np.random.default_rng(0)
    odds, groups = 0.5 + 0.5 * rng.normal(size=400), rng.integers(2, size=400)
    right = rng.random(400) < expit(odds)
    surer = 3 + 2 * np.abs(rng.normal(size=2000))
    reference = surer, rng.random(2000) < expit(surer)
    assert compare_elsewhere(odds, right, groups, 2, reference).isna().all(axis=None)
    both = compare_elsewhere(np.append(odds, 5), np.append(right, False), np.append(groups, 1), 2, reference)
    assert both["p_elsewhere"].isna().tolist() == [True, False]  # the one input that can be compared is
    assert both["expected_elsewhere"][1] == pytest.approx(expit(5), abs=0.02)


def test_a_class_surer_than_all_others_is_held_against_the_surest_of_them_only() -> None:
    """What other classes are right in at a confidence that they never reach is not made up from a straight line."""
    rng = np.random.default_rng(0)
    lower = rng.uniform(0, 3, 3000)
    reference = lower, rng.random(3000) < expit(lower)
    odds, groups = 6 + rng.random(400), np.zeros(400, int)
    table = compare_elsewhere(odds, np.arange(400) % 20 > 0, groups, 1, reference)  # right in 95%, as its odds of 3 say
    assert table["expected_elsewhere"][0] == pytest.approx(expit(3), abs=0.03)
    assert table["p_elsewhere"][0] > 0.5
    assert compare_elsewhere(odds, np.arange(400) % 2 > 0, groups, 1, reference)["p_elsewhere"][0] < 1e-6


def test_the_confidence_elsewhere_is_that_of_the_other_predictions() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 3))
    labels = np.arange(50) % 3
    odds, right = confidence_elsewhere(recorded(logits, Classes()), 1, labels)
    predicted = logits.argmax(axis=1)
    assert len(odds) == (predicted != 1).sum() and right.sum() == ((predicted == labels) & (predicted != 1)).sum()
    several = np.stack([labels == c for c in range(3)], axis=1).astype(int)
    odds, right = confidence_elsewhere(recorded(logits, MultiLabel()), 1, several)
    assert len(odds) == (logits[:, [0, 2]] >= 0).sum()
    assert right.sum() == ((logits >= 0) & (several > 0))[:, [0, 2]].sum()


def test_columns_survive_a_save(tmp_path: Any) -> None:
    odds, right, groups = planted(300)
    recording = recorded(np.stack([-odds, odds], axis=1), Classes(), right.astype(int), groups)
    mechanisms = learn(recording, {"hidden": [0, 1, 2]}, 3, samples="all", target=1)
    opened = neucept.Mechanisms.open(mechanisms.save(tmp_path / "m"))
    assert opened.reliability is not None and mechanisms.reliability is not None
    pd.testing.assert_frame_equal(opened.reliability, mechanisms.reliability)


# ---- finding errors --------------------------------------------------------------------------------------------------


def test_mechanisms_find_the_errors_that_confidence_hides() -> None:
    odds, right, groups = planted()
    found = detect_errors(odds, right, groups)
    assert found.auc["confidence"] < 0.7 and found.auc["confidence and mechanism"] > 0.85
    assert (found.inputs, found.errors) == (len(right), (~right).sum())
    for _, curve in found.curve.groupby("by"):
        for column in ("checked", "errors_found", "false_alarms"):
            assert curve[column].is_monotonic_increasing and curve[column].iloc[0] == 0 and curve[column].iloc[-1] == 1
    share = found.errors / found.inputs
    mixed = share * found.curve["errors_found"] + (1 - share) * found.curve["false_alarms"]
    np.testing.assert_allclose(found.curve["checked"], mixed)


def test_where_mechanisms_know_nothing_the_curve_stays() -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(1.5, 2, size=3000)
    right = rng.random(3000) < expit(odds)
    auc = detect_errors(odds, right, rng.integers(4, size=3000)).auc
    assert abs(auc["confidence"] - auc["confidence and mechanism"]) < 0.015


@pytest.mark.parametrize("K", [1, 3])
def test_where_nothing_is_known_errors_are_found_by_chance(K: int) -> None:
    """Neither confidence nor mechanisms know anything. Folds ranked together made it .39, worse than chance."""
    areas = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found = detect_errors(rng.normal(size=100), rng.random(100) < 0.75, rng.integers(K, size=100))
        areas.append(found.auc["confidence and mechanism"])
    assert abs(np.mean(areas) - 0.5) < 0.04


def test_no_input_to_find_errors_among() -> None:
    with pytest.raises(InputError, match="No input was judged"):
        detect_errors(np.zeros(3), np.ones(3, bool), np.full(3, -1))


def test_inputs_without_a_label_are_named() -> None:
    odds, right, groups = planted(100)
    labels = right.astype(int)
    labels[7] = -1
    recording = recorded(np.stack([-odds, odds], axis=1), Classes(), None, groups)
    mechanisms = learn(recording, {"hidden": [0, 1]}, 2, samples="all", target=1)
    with pytest.raises(InputError, match=r"label of input 7 is -1: .* 0 to 1.*recording\.subset"):
        neucept.reliability(recording, mechanisms, labels)


@pytest.mark.parametrize(("row", "message"), [([0, 0], "No label is true of input 3"), ([1, 1], "Several labels are")])
def test_columns_of_labels_of_which_one_must_be_true(row: list[int], message: str) -> None:
    labels = np.eye(2, dtype=int)[np.arange(10) % 2]
    labels[3] = row
    with pytest.raises(InputError, match=message):
        Classes().right(np.eye(2)[np.arange(10) % 2], labels, 1)


def test_shares_are_cross_fitted() -> None:
    """With a group for every second input and random labels, knowing the group in sample would find every error."""
    rng = np.random.default_rng(0)
    auc = detect_errors(rng.normal(size=600), rng.random(600) < 0.5, np.arange(600) // 2).auc
    assert abs(auc["confidence and mechanism"] - 0.5) < 0.1


def test_error_detection_is_of_the_mechanisms() -> None:
    odds, right, groups = planted()
    recording = recorded(np.stack([-odds / 2, odds / 2], axis=1), Classes(), right.astype(int), groups)
    mechanisms = learn(recording, {"hidden": [0, 1, 2]}, 3, samples="all", target=1)
    found = detect(recording, mechanisms)
    direct = detect_errors(log_odds(recording, 1), right, mechanisms.cross_fitted)
    assert found.auc == direct.auc and found.auc["confidence and mechanism"] > 0.85
    with pytest.raises(InputError, match="All 1200 inputs judged are right"):
        detect(recording, mechanisms, np.ones(1200, int))


def test_area_is_the_probability_of_ranking_an_error_first() -> None:
    odds, right, groups = planted(200)
    pairs = odds[~right][:, None] - odds[right]
    assert detect_errors(odds, right, groups).auc["confidence"] == pytest.approx(
        ((pairs < 0) + 0.5 * (pairs == 0)).mean(), abs=1e-9
    )
