"""Discovery: planted neurons are found, results follow the seed alone, and bad input is refused before any work."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neucept import CriticalNeurons, Guarantee, InputError, NothingSelectedWarning, Recording, Selection, discover
from neucept.knockoffs import EValues, Frequency, LocalFDR, OneDraw
from neucept.knockoffs.statistics import Marginal

pytestmark = pytest.mark.filterwarnings("ignore::neucept.NothingSelectedWarning")
QUIET: dict[str, Any] = {"draws": 5, "progress": False, "calibration": None}  # knockoffs alone
Make = Callable[..., Recording]


@pytest.fixture
def planted(make_recording: Make) -> Recording:
    """600 inputs, two layers of Gaussian neurons; the logit of class 1 is linear in 20 of "late" and 5 of "early".

    The coefficients of the 20 (of 40) fall from 4.8 to 1, in the order of their numbers; those of the 5 (of 15) are 1.
    """
    rng = np.random.default_rng(0)
    late, early = rng.normal(size=(600, 40)), rng.normal(size=(600, 15))
    logit = late[:, :20] @ np.linspace(4.8, 1, 20) + early[:, :5].sum(axis=1)
    logits = np.stack([-logit, logit, np.full(600, -50.0)], axis=1)
    return make_recording({"early": early, "late": late}, logits=logits, class_names=("cat", "dog", "owl"))


def test_planted_neurons_are_found_in_their_order(planted: Recording) -> None:
    critical = discover(planted, "dog", samples="all", precision=0.9, draws=15, calibration=None, progress=False)
    late = critical["late"]
    assert set(late.neurons) >= set(range(15)) and np.sum(late.neurons >= 20) <= 3
    assert np.corrcoef(late.ranking[:20], range(20))[0, 1] > 0.95
    first = [neuron for neuron in late.ranking if neuron in late.neurons]
    np.testing.assert_array_equal(late.neurons, first)  # most important first
    assert late.mean_statistic[:18].min() > late.mean_statistic[20:].max()
    assert (late.evalues[late.neurons] > 0).all() and (late.frequency[late.neurons[:8]] > 0.5).all()
    assert late.statistics.shape == (15, 40)
    assert (critical.target, critical.target_name, critical.response) == (1, "dog", "logit")
    assert list(critical) == ["early", "late"] and len(critical.samples) == 600


def test_one_draw_is_equation_9(planted: Recording) -> None:
    critical = discover(planted, 1, samples="all", precision=0.8, **(QUIET | {"draws": 1}))
    W = critical["late"].statistics[0]
    t = min(
        (t for t in np.abs(W[W != 0]) if (1 + np.sum(-t >= W)) <= (0.2 + 1e-12) * max(1, np.sum(t <= W))),
        default=np.inf,
    )
    assert np.isfinite(t) and set(critical["late"].neurons) == set(np.flatnonzero(t <= W))
    assert "equation (9)" in critical["late"].promise.claim


def test_only_inputs_predicted_as_the_class_by_default(planted: Recording) -> None:
    by_default = discover(planted, 1, layers=["late"], **QUIET)
    predicted = np.flatnonzero(planted.predictions == 1)
    np.testing.assert_array_equal(by_default.samples, predicted)
    for samples in (planted.predictions == 1, predicted, "predicted"):
        same = discover(planted, 1, layers=["late"], samples=samples, **QUIET)
        np.testing.assert_array_equal(same["late"].statistics, by_default["late"].statistics)
    everything = discover(planted, 1, layers=["late"], samples="all", **QUIET)
    assert len(everything.samples) == 600
    assert not np.array_equal(everything["late"].statistics, by_default["late"].statistics)


def test_an_array_is_its_own_response(planted: Recording) -> None:
    logit = planted.response(1)
    array = discover(planted, logit, layers=["late"], **QUIET)
    by_class = discover(planted, 1, layers=["late"], samples="all", **QUIET)
    np.testing.assert_array_equal(array["late"].statistics, by_class["late"].statistics)
    assert array.target is None and array.response == "array" and len(array.samples) == 600


@pytest.mark.parametrize("samples", ["predicted", "all"])
def test_a_list_of_targets_equals_single_calls(planted: Recording, samples: str) -> None:
    together = discover(planted, ["cat", "dog"], samples=samples, **QUIET)
    assert list(together) == ["cat", "dog"]
    for target, found in together.items():
        alone = discover(planted, target, samples=samples, **QUIET)
        assert found.target_name == target
        for layer in found:
            np.testing.assert_allclose(found[layer].statistics, alone[layer].statistics, atol=1e-9)
            np.testing.assert_array_equal(found[layer].neurons, alone[layer].neurons)


def test_the_seed_and_nothing_else_decides(
    planted: Recording, global_random: Callable[[], tuple[bytes, bytes]]
) -> None:
    state = global_random()
    first = discover(planted, 1, **QUIET)
    again = discover(planted, 1, **QUIET)
    alone = discover(planted, 1, layers=["late"], **QUIET)
    np.testing.assert_array_equal(first["late"].statistics, again["late"].statistics)
    np.testing.assert_allclose(first["late"].statistics, alone["late"].statistics, atol=1e-9)
    other = discover(planted, 1, seed=1, layers=["late"], **QUIET)
    assert not np.array_equal(other["late"].statistics, alone["late"].statistics)
    assert global_random() == state
    copied = Recording({"early": planted.neurons["early"], "same": planted.neurons["early"]}, *_rest(planted))
    both = discover(copied, 1, **QUIET)
    assert not np.array_equal(both["early"].statistics, both["same"].statistics)  # layers have draws of their own


def _rest(recording: Recording) -> tuple[Any, ...]:
    return recording.logits, recording.labels, recording.class_names


def test_scale_of_neurons_and_response_does_not_matter(planted: Recording, make_recording: Make) -> None:
    rng = np.random.default_rng(0)
    scales = 2.0 ** rng.integers(-6, 7, 40)
    scaled = make_recording({"late": planted.neurons["late"] * scales + 4}, logits=planted.logits)
    y = planted.response(1)
    first = discover(planted, y, layers=["late"], **QUIET)["late"]
    other = discover(scaled, 3 * y + 100, **QUIET)["late"]
    np.testing.assert_allclose(other.statistics, first.statistics, atol=1e-4)
    np.testing.assert_array_equal(other.neurons, first.neurons)
    tiny = discover(make_recording({"late": planted.neurons["late"] * 2.0**-50}, logits=planted.logits), y, **QUIET)
    np.testing.assert_array_equal(tiny["late"].order, discover(planted, y, layers=["late"], **QUIET)["late"].order)


def test_precision_of_each_layer(planted: Recording) -> None:
    critical = discover(planted, 1, samples="all", precision={"late": 0.7}, **QUIET)
    assert (critical["early"].precision, critical["late"].precision) == (0.9, 0.7)
    one = discover(planted, 1, samples="all", precision=0.7, **QUIET)
    np.testing.assert_array_equal(critical["late"].neurons, one["late"].neurons)
    moved = critical.at({"early": 0.6})
    assert (moved["early"].precision, moved["late"].precision) == (0.6, 0.7)


def test_at_is_the_same_as_asking_at_once(planted: Recording) -> None:
    critical = discover(planted, 1, samples="all", precision=0.9, **QUIET)
    for precision in (0.5, 0.8, 0.95):
        direct = discover(planted, 1, samples="all", precision=precision, **QUIET)
        for layer in critical:
            moved = critical.at(precision)[layer]
            np.testing.assert_array_equal(moved.statistics, direct[layer].statistics)
            np.testing.assert_array_equal(moved.evalues, direct[layer].evalues)
            np.testing.assert_array_equal(moved.neurons, direct[layer].neurons)
            assert moved.promise.precision == precision
    back = critical.at(0.5).at(0.9)
    np.testing.assert_array_equal(back["late"].neurons, critical["late"].neurons)
    with pytest.raises(InputError, match=r"precision=1\.5: expected a number between 0 and 1"):
        critical.at(1.5)


def test_a_lower_precision_selects_no_less_from_one_draw(planted: Recording) -> None:
    noisy = planted.response(1) + 8 * np.random.default_rng(1).normal(size=600)
    critical = discover(planted, noisy, **(QUIET | {"draws": 1}))
    sizes = [len(critical.at(precision)["late"].neurons) for precision in (0.95, 0.9, 0.8, 0.6, 0.3)]
    assert sizes == sorted(sizes) and sizes[-1] > sizes[1] >= 10


def test_frequency_promises_nothing(planted: Recording) -> None:
    critical = discover(planted, 1, samples="all", aggregate="frequency", **QUIET)["late"]
    assert set(critical.neurons) == set(np.flatnonzero(critical.frequency > 0.5)) and len(critical.neurons)
    assert critical.promise.claim.startswith("No guarantee")
    assert "e-values" in discover(planted, 1, samples="all", **QUIET)["late"].promise.claim


def test_neurons_that_cannot_be_told_apart_share_a_group(make_recording: Make) -> None:
    """Neuron 20 is 0 turned round, 21 is 1 with hardly any noise, 22 is dead."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(500, 23))
    Z[:, 20], Z[:, 21], Z[:, 22] = 3 - 2 * Z[:, 0], Z[:, 1] + 1e-3 * Z[:, 21], 7.0
    y = Z[:, :15] @ np.ones(15) + 0.1 * rng.normal(size=500)
    found = discover(make_recording(Z), y, precision=0.8, **QUIET)["hidden"]
    groups = found.groups
    assert groups[0] == groups[20] and groups[1] == groups[21] and groups[22] == -1
    assert len(found.representatives) == 20 == groups.max() + 1
    assert len({0, 20} & set(found.neurons)) == len({1, 21} & set(found.neurons)) == 1
    assert len(set(groups[found.neurons])) == len(found.neurons)
    assert found.statistics[:, 0].tolist() == found.statistics[:, 20].tolist()
    assert found.mean_statistic[22] == found.evalues[22] == found.frequency[22] == 0
    assert sorted(found.ranking) == list(range(23)) and found.ranking[-1] == 22
    ranking = found.ranked("information")
    assert sorted(ranking) == list(range(23)) and ranking[-1] == 22
    assert len({0, 20} & set(ranking[:20])) == 1  # other members stand behind all representatives


def test_groups_of_the_users(planted: Recording) -> None:
    """Pairs of neurons; the last pair is left out."""
    groups = np.arange(40) // 2
    groups[38:] = -1
    y = planted.response(1)
    found = discover(planted, y, layers=["late"], groups={"late": groups}, precision=0.8, **QUIET)["late"]
    assert (found.groups[38:] == -1).all() and found.groups.max() + 1 == 19 == len(found.representatives)
    np.testing.assert_array_equal(found.groups[:38:2], found.groups[1:38:2])
    selected = found.groups[found.neurons]
    assert len(set(selected)) == len(selected) >= 5
    assert np.mean(found.neurons < 20) >= 0.7 and set(found.neurons) <= set(found.representatives)
    np.testing.assert_array_equal(found.statistics[:, :38:2], found.statistics[:, 1:38:2])


def test_the_sequential_objective_explains_the_next_layer(make_recording: Make) -> None:
    """Neurons 0 to 11 of "first" feed the neurons of "second" that decide; 12 to 23 feed those that do not."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(800, 24))
    second = first.copy()
    second[:, :12] += first[:, np.roll(np.arange(12), 1)] + 0.5 * rng.normal(size=(800, 12))
    second[:, 12:] += 0.5 * rng.normal(size=(800, 12))
    logit = second[:, :12].sum(axis=1)
    recording = make_recording({"first": first, "second": second}, logits=np.stack([-logit, logit], axis=1))
    found = discover(recording, 1, samples="all", objective="sequential", precision=0.8, **QUIET)
    assert list(found) == ["first", "second"]
    for layer in found:
        assert set(found[layer].ranking[:12]) == set(range(12))
    pairwise = discover(recording, 1, samples="all", precision=0.8, **QUIET)
    np.testing.assert_array_equal(found["second"].statistics, pairwise["second"].statistics)
    assert not np.array_equal(found["first"].statistics, pairwise["first"].statistics)
    calibrated = discover(
        recording, 1, samples="all", objective="sequential", precision=0.8, progress=False, layers=["first", "second"]
    )
    responses = calibrated["second"].neurons
    feeding = {*responses.tolist(), *((responses[responses < 12] - 1) % 12).tolist()}
    chosen = calibrated["first"].neurons  # each matters to two of the responses only
    assert len(chosen) >= 8 and np.mean([neuron in feeding for neuron in chosen]) >= 0.8


def test_information_does_not_name_the_same_thing_twice(make_recording: Make) -> None:
    """Neuron 1 nearly repeats neuron 0, which has the larger part; neuron 5 says something else."""
    rng = np.random.default_rng(4)
    first = rng.normal(size=(1500, 30))
    first[:, 1] = 0.9 * first[:, 0] + 0.3 * first[:, 1]
    second = rng.normal(size=(1500, 20))
    second[:, :4] = first[:, [0, 1, 5, 6]] @ np.array([[3, 2, 0, 0.5], [2, 2, 0, 0], [0, 0, 2, 1], [0, 0.4, 0, 2]])
    second[:, :4] += 0.3 * rng.normal(size=(1500, 4))
    logit = second[:, :4].sum(axis=1)
    recording = make_recording({"first": first, "second": second}, logits=np.stack([-logit, logit], axis=1))
    found = discover(recording, 1, samples="all", precision=0.7, order="information", **QUIET)["first"]
    by_statistic = np.argsort(-found.mean_statistic)
    assert set(by_statistic[:2]) == {0, 1}
    assert len({0, 1} & set(found.ranking[:3].tolist())) == 1
    assert set(found.ranking[:4]) == {0, 1, 5, 6}
    assert [n for n in found.ranking if n in set(found.neurons)] == found.neurons.tolist()


def test_tables(planted: Recording) -> None:
    critical = discover(planted, 1, samples="all", **QUIET)
    table = critical.table()
    late = table[table["layer"] == "late"]
    np.testing.assert_array_equal(late["neuron"], critical["late"].ranking)
    np.testing.assert_array_equal(late["neuron"][late["selected"]], critical["late"].neurons)
    np.testing.assert_array_equal(late["statistic"], critical["late"].mean_statistic[late["neuron"]])
    assert len(table) == 55


def test_nothing_selected_is_an_answer_with_a_warning(make_recording: Make) -> None:
    rng = np.random.default_rng(0)
    recording = make_recording(rng.normal(size=(100, 6)))
    with pytest.warns(
        NothingSelectedWarning,
        match=r"smallest possible selection there has 10 neurons.*more than the layer's 6.*\.at\(precision",
    ):
        found = discover(recording, rng.normal(size=100), precision=0.9, **QUIET)
    assert len(found["hidden"].neurons) == 0 and len(found["hidden"].ranking) == 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        discover(recording, recording.activations("hidden").sum(1).astype(float), precision=0.5, **QUIET)


def test_noise_selects_next_to_nothing(make_recording: Make) -> None:
    rng = np.random.default_rng(7)
    recording = make_recording(rng.normal(size=(200, 30)))
    targets = [rng.normal(size=200) for _ in range(10)]
    assert sum(len(discover(recording, y, precision=0.9, **QUIET)["hidden"].neurons) > 0 for y in targets) <= 3


def test_layers_of_one_neuron_and_of_more_neurons_than_inputs(make_recording: Make) -> None:
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(60, 90))
    recording = make_recording({"one": wide[:, :1], "wide": wide})
    found = discover(recording, wide[:, :30].sum(axis=1), precision=0.5, **QUIET)
    assert found["one"].ranking.tolist() == [0] and np.isfinite(found["wide"].statistics).all()
    assert np.mean(found["wide"].ranking[:10] < 30) > 0.5


def test_save_and_open(planted: Recording, tmp_path: Path) -> None:
    for target in (1, planted.response(1)):
        critical = discover(planted, target, precision={"late": 0.8}, seed=np.int64(3), **QUIET)
        opened = CriticalNeurons.open(critical.save(tmp_path / "critical"))
        assert (opened.target, opened.target_name, opened.response) == (
            critical.target,
            critical.target_name,
            critical.response,
        )
        assert dict(opened.settings) == dict(critical.settings)
        np.testing.assert_array_equal(opened.samples, critical.samples)
        for layer in critical:
            assert opened[layer].precision == critical[layer].precision
            assert opened[layer].promise == critical[layer].promise
            for name in ("statistics", "groups", "representatives", "neurons", "ranking", "evalues", "frequency"):
                np.testing.assert_array_equal(getattr(opened[layer], name), getattr(critical[layer], name))
        np.testing.assert_array_equal(opened.at(0.6)["late"].neurons, critical.at(0.6)["late"].neurons)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": 3}, "target=3: the model has 3 classes, 0 to 2"),
        ({"target": "dogg"}, "No class is called 'dogg'. Did you mean 'dog'"),
        ({"target": ["dog", "bird"]}, "No class is called 'bird'"),
        ({"target": []}, r"target=\[\]"),
        ({"target": np.zeros(7)}, r"shape \(7,\); expected \(600,\)"),
        ({"layers": ["lat"]}, "'lat' was not recorded; there are early, late. Did you mean 'late'"),
        ({"precision": 0}, "precision=0: expected a number between 0 and 1"),
        ({"precision": 1.0}, "precision=1.0"),
        ({"precision": "0.9"}, "precision='0.9'"),
        ({"precision": {"lat": 0.9}}, "precision= names layer 'lat', which is not looked at. Did you mean 'late'"),
        ({"precision": {"late": 2}}, "precision=2"),
        ({"target": "owl"}, "0 inputs predicted as 'owl', but at least 30 are needed"),
        ({"samples": np.arange(29)}, "29 inputs, but at least 30 are needed"),
        ({"samples": "right"}, "samples='right'"),
        ({"response": "prob"}, "response='prob'"),
        ({"statistic": "lass"}, "statistic='lass'"),
        ({"sampler": "gausian"}, "sampler='gausian'"),
        ({"aggregate": "mean"}, "aggregate='mean'"),
        ({"objective": "best"}, "objective='best'"),
        ({"calibration": "yes"}, "calibration='yes'"),
        ({"layers": []}, "layers="),
        ({"groups": np.zeros(3, int)}, r"groups of layer 'early' has shape \(3,\); expected \(15,\)"),
        ({"draws": 0}, "draws=0"),
    ],
)
def test_bad_input(planted: Recording, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str) -> None:
    import neucept.knockoffs.samplers as samplers

    def work(*given: Any) -> None:
        raise AssertionError("work began before the input was checked")

    monkeypatch.setattr(samplers.GaussianSampler, "fit", work)
    monkeypatch.setattr(samplers.GaussianSampler, "fit_moments", work, raising=False)
    with pytest.raises(InputError, match=message):
        discover(planted, **({"target": 1} | QUIET | options))


def test_dead_layers_and_values_that_are_not_finite(make_recording: Make) -> None:
    rng = np.random.default_rng(0)
    good, dead, bad = rng.normal(size=(3, 50, 4))
    dead[:] = [1, 2, 3, 4]
    bad[31, 2] = np.inf
    recording = make_recording({"good": good, "dead": dead, "bad": bad})
    with pytest.raises(InputError, match="Layer 'dead' is dead: its 4 neurons are constant over the 50 inputs"):
        discover(recording, 1, layers=["good", "dead"], **QUIET)
    with pytest.raises(InputError, match="Neuron 2 of layer 'bad' is inf at input 31"):
        discover(recording, 1, layers=["good", "bad"], samples=np.arange(10, 50), **QUIET)
    with pytest.raises(KeyError, match=r"'god': there are good. Did you mean 'good'"):
        discover(recording, good.sum(axis=1), layers=["good"], precision=0.5, **QUIET)["god"]


# ---- with calibration -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def calibrated() -> tuple[Recording, CriticalNeurons]:
    """One layer of 12 Gaussian neurons, of which the first four decide; the logit of the other class is noise."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(300, 12)).astype(np.float32)
    logits = np.stack([rng.normal(size=300), Z[:, :4] @ np.array([2, -1.5, 1.5, 1])], axis=1).astype(np.float32)
    recording = Recording({"hidden": Z}, logits, None, ("cat", "dog"))
    return recording, discover(recording, "dog", samples="all", draws=3, progress=False)


def test_calibrated_selections_may_be_small(calibrated: tuple[Recording, CriticalNeurons]) -> None:
    found = calibrated[1]["hidden"]
    assert set(found.ranking[:4]) == {0, 1, 2, 3} == set(found.neurons)  # equation (9) cannot select fewer than ten
    assert found.local_fdr is not None and found.importance is not None
    assert ((found.local_fdr >= 0) & (found.local_fdr <= 1)).all()
    assert found.local_fdr[:4].max() < 0.1 and found.local_fdr[4:].min() > 0.5
    sizes = [len(found.at(precision).neurons) for precision in (0.99, 0.9, 0.7, 0.5)]
    assert sizes == sorted(sizes)
    assert "simulated" in found.guarantee.claim and found.promise == found.guarantee


def test_calibrated_results_are_saved(calibrated: tuple[Recording, CriticalNeurons], tmp_path: Path) -> None:
    critical = calibrated[1]
    opened = CriticalNeurons.open(critical.save(tmp_path / "critical"))
    for precision in (0.95, 0.9, 0.6):
        mine, theirs = critical.at(precision)["hidden"], opened.at(precision)["hidden"]
        np.testing.assert_array_equal(mine.neurons, theirs.neurons)
        np.testing.assert_array_equal(mine.ranking, theirs.ranking)
        assert mine.promise == theirs.promise


def test_a_calibrated_target_does_not_depend_on_the_others(calibrated: tuple[Recording, CriticalNeurons]) -> None:
    recording, alone = calibrated
    for targets in (["dog", "cat"], ["cat", "dog"]):
        together = discover(recording, targets, samples="all", draws=3, progress=False)["dog"]["hidden"]
        mine = alone["hidden"]
        np.testing.assert_allclose(together.statistics, mine.statistics, atol=1e-9)
        np.testing.assert_allclose(together.importance, mine.importance, atol=1e-3)
        np.testing.assert_allclose(together.local_fdr, mine.local_fdr, atol=0.02)
        np.testing.assert_array_equal(together.neurons, mine.neurons)


# ---- rules, samplers and statistics of the user's own ----------------------------------------------------------------


class Best:
    """Select the k neurons with the largest mean statistic."""

    name = "best"

    def __init__(self, k: int) -> None:
        self.k = k

    def select(self, W: np.ndarray, q: float) -> np.ndarray:
        return np.isin(np.arange(W.shape[1]), np.argsort(-W.mean(axis=0))[: self.k])

    def guarantee(self, precision: float) -> Guarantee:
        return Guarantee(precision, f"No guarantee: {self.k} neurons are always selected.", "")


def test_a_rule_of_the_users_own_decides(planted: Recording, tmp_path: Path) -> None:
    critical = discover(planted, 1, samples="all", aggregate=Best(7), draws=3, progress=False)  # calibrates nothing
    assert critical.settings["aggregate"] == "best" and critical.settings["calibration"] is None
    for selection in critical.values():
        assert len(selection.neurons) == 7
        assert set(selection.neurons) == set(np.argsort(-selection.mean_statistic)[:7])
        assert selection.guarantee.claim.startswith("No guarantee: 7") and selection.calibration is None
    path = critical.save(tmp_path / "critical")
    with pytest.raises(InputError, match=r"selected by the rule 'best': give that object, .*rule="):
        CriticalNeurons.open(path)
    with pytest.raises(InputError, match="selected by the rule 'best'"):
        CriticalNeurons.open(path, rule=EValues())
    opened = CriticalNeurons.open(path, rule=Best(7))
    for layer in critical:
        np.testing.assert_array_equal(opened[layer].neurons, critical[layer].neurons)


def test_rules_as_objects_are_those_of_their_names(planted: Recording, tmp_path: Path) -> None:
    for name, rule, draws in [("evalue", EValues(), 5), ("frequency", Frequency(), 5), ("evalue", OneDraw(), 1)]:
        settings: dict[str, Any] = QUIET | {"samples": "all", "draws": draws}
        by_name, by_object = (discover(planted, 1, aggregate=given, **settings) for given in (name, rule))
        opened = CriticalNeurons.open(by_object.save(tmp_path / "critical"))
        for layer in by_name:
            np.testing.assert_array_equal(by_object[layer].neurons, by_name[layer].neurons)
            np.testing.assert_array_equal(opened[layer].neurons, by_name[layer].neurons)
            assert opened[layer].guarantee == by_object[layer].guarantee == by_name[layer].guarantee
            assert opened[layer].rule == rule


def test_results_of_version_0_1_open_again(calibrated: tuple[Recording, CriticalNeurons], tmp_path: Path) -> None:
    """They called the local false discovery rate null_probability, and named how draws were joined, not the rule."""
    critical = calibrated[1]
    facts = critical.save(tmp_path / "critical") / "facts.json"
    index = json.loads(facts.read_text())
    index["facts"]["layers"] = [[layer, precision, "evalue"] for layer, precision, _ in index["facts"]["layers"]]
    arrays = {name.replace("local_fdr/", "null_probability/"): a["file"] for name, a in index["arrays"].items()}
    old = {"kind": "CriticalNeurons", "format": 1, "facts": index["facts"], "arrays": arrays}
    facts.write_text(json.dumps(old))
    opened = CriticalNeurons.open(facts.parent)["hidden"]
    np.testing.assert_array_equal(opened.local_fdr, critical["hidden"].local_fdr)
    np.testing.assert_array_equal(opened.neurons, critical["hidden"].neurons)


class Independent:
    """Knockoffs of independent neurons: each permuted."""

    def fit(self, Z: np.ndarray) -> None:
        pass

    def draw(self, Z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rng.permuted(Z, axis=0)


def correlation(Z: np.ndarray, Zk: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.abs(Z.T @ y) / len(y) - np.abs(Zk.T @ y) / len(y)


def test_samplers_and_statistics_of_the_users_own(planted: Recording, tmp_path: Path) -> None:
    groups = np.arange(40) // 2
    for options in ({"sampler": Independent()}, {"statistic": correlation}, {"statistic": Marginal()}):
        found = discover(planted, 1, layers=["late"], samples="all", precision=0.8, **QUIET, **options)
        assert np.mean(found["late"].ranking[:10] < 20) > 0.8
        (given,) = options
        assert found.settings[given] == {"sampler": "Independent", "statistic": found.settings["statistic"]}[given]
        assert CriticalNeurons.open(found.save(tmp_path / "critical")).settings == found.settings
        paired = discover(planted, 1, layers=["late"], samples="all", groups=groups, **QUIET, **options)["late"]
        assert len(paired.representatives) == 20 and paired.mean_statistic[:10].min() > 0
    rows, gram = (
        discover(planted, 1, layers=["late"], samples="all", statistic=s, **QUIET)["late"].mean_statistic
        for s in (correlation, Marginal())
    )
    assert np.corrcoef(rows, gram)[0, 1] > 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": correlation}, "has no 'fit' and no 'draw', which a sampler"),
        ({"sampler": Independent}, r"sampler=Independent is a class; expected an object, such as Independent\(\)"),
        ({"statistic": Independent()}, "can neither be called with"),
        ({"aggregate": Independent()}, "has no 'select' and no 'guarantee', which a rule needs"),
        ({"aggregate": OneDraw()}, "draws=5: the rule 'one_draw' can use 1 at most"),
        ({"aggregate": 3}, "aggregate=3 has no 'select'"),
        ({"statistic": None}, "statistic=None"),
    ],
)
def test_what_is_missing_is_named(planted: Recording, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        discover(planted, 1, **QUIET, **options)


def test_what_parts_return_is_checked(planted: Recording) -> None:
    class Wide(Independent):
        def draw(self, Z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            return np.hstack([Z, Z])

    class Numbers(Best):
        def select(self, W: np.ndarray, q: float) -> np.ndarray:
            return np.arange(3)

    with pytest.raises(InputError, match=r"The sampler 'Wide' drew shape \(600, 30\); expected \(600, 15\)"):
        discover(planted, 1, layers=["early"], samples="all", sampler=Wide(), **QUIET)
    with pytest.raises(InputError, match=r"The statistic '<lambda>' returned shape \(3,\); expected \(15,\)"):
        discover(planted, 1, layers=["early"], samples="all", statistic=lambda *given: np.zeros(3), **QUIET)
    with pytest.raises(InputError, match=r"The rule 'best' returned int64 of shape \(3,\); expected a boolean mask"):
        discover(planted, 1, layers=["early"], samples="all", aggregate=Numbers(3), **QUIET)


def test_array_targets_of_any_size(planted: Recording) -> None:
    y = planted.response(1)
    groups = np.arange(40) // 2
    for given in (None, {"late": groups}):
        want, *others = (
            discover(planted, y * size, layers=["late"], precision=0.8, groups=given, **QUIET)["late"]
            for size in (1.0, 1e300, 1e-300)
        )
        assert len(want.neurons) >= 10
        for other in others:
            np.testing.assert_array_equal(other.neurons, want.neurons)
            np.testing.assert_allclose(other.statistics, want.statistics, atol=1e-6)


def test_neurons_with_a_large_offset_are_alive(planted: Recording, make_recording: Make) -> None:
    late = planted.neurons["late"].astype(np.float64)
    y = planted.response(1)
    want = discover(planted, y, layers=["late"], **QUIET)["late"]
    moved = discover(Recording({"late": late + 1e9}, *_rest(planted)), y, **QUIET)["late"]
    np.testing.assert_array_equal(moved.ranking, want.ranking)
    single = make_recording({"late": (late + 1e4).astype(np.float32)})
    assert set(discover(single, y, **QUIET)["late"].neurons) == set(want.neurons)


def test_targets_on_the_same_inputs_share_the_work_on_layers(
    planted: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neucept.discovery import algorithm

    checked: list[str] = []
    real = algorithm.check_neurons
    monkeypatch.setattr(algorithm, "check_neurons", lambda *given: (checked.append(given[0]), real(*given)))
    discover(planted, ["cat", "dog", "owl"], samples="all", **QUIET)
    assert checked == ["early", "late"]
    checked.clear()
    discover(planted, ["cat", "dog"], **QUIET)  # each on its own inputs
    assert checked == ["early", "late"] * 2


def test_an_empty_calibrated_selection_says_what_was_missing() -> None:
    class Known:
        single = True

        def level(self, q: float) -> float:
            return q if q < 0.5 else 0.0

        def evidence_for(self, precision: float) -> str:
            return "Known."

    arrays = {"statistics": np.zeros((2, 3)), "groups": np.array([0, 1, -1]), "representatives": np.array([0, 1])}
    selection = Selection("hidden", 0.9, **arrays, rule=LocalFDR(Known(), np.array([0.25, 0.8])))
    assert len(selection.neurons) == 0 and selection.local_fdr.tolist() == [0.25, 0.8, 1.0]
    assert selection.why_empty == (
        "The strongest candidate has a 75% probability of being critical; this layer's calibration requires 90%."
    )
    assert selection.at(0.7).neurons.tolist() == [0]
    assert selection.at(0.4).why_empty.endswith("no probability is enough.")
