from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import neucept
from neucept import storage
from neucept.calibration import Calibration, exchangeability, layer
from neucept.calibration import calibration as module
from neucept.calibration.calibration import LEVELS, calibrate_neurons, worst
from neucept.calibration.evidence import PARTS, Layer, Ridge, group_importance
from neucept.calibration.grouping import candidates, resolution
from neucept.calibration.learnt_response import importance
from neucept.calibration.null_model import NullModel, proportions
from neucept.calibration.simulation import FAMILIES, HELD_OUT, NONE, simulate
from neucept.knockoffs import largest_set


def neurons(n: int = 1200, p: int = 30, seed: int = 0) -> np.ndarray:
    """Saturating neurons that share a few causes, standardised."""
    rng = np.random.default_rng(seed)
    Z = np.tanh(rng.standard_normal((n, 12)) @ rng.standard_normal((12, p)) / 2 + 0.5 * rng.standard_normal((n, p)))
    return (Z - Z.mean(axis=0)) / Z.std(axis=0)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return calibrate_neurons(neurons(), progress=False)


def test_planted_responses_depend_on_nothing_but_their_neurons() -> None:
    Z = neurons(300)
    groups = np.arange(30) // 2
    planted = simulate(Z, groups, np.random.default_rng(1), {**FAMILIES, **HELD_OUT}, shares=(0.3,), noises=(0.0,))
    for i, family in enumerate(planted.family):
        if family == NONE:
            assert planted.null[i].all()
            continue
        assert planted.null[i].any()
        assert not planted.null[i].all()
        changed = Z.copy()
        null = planted.null[i][groups]
        changed[:, null] = np.random.default_rng(2).permutation(changed[:, null], axis=0)
        again = simulate(
            changed, groups, np.random.default_rng(1), {**FAMILIES, **HELD_OUT}, shares=(0.3,), noises=(0.0,)
        )
        np.testing.assert_allclose(again.Y[:, i], planted.Y[:, i])


def test_planted_responses_depend_on_every_group_that_is_not_null() -> None:
    Z = neurons(300)
    groups = np.arange(30)
    planted = simulate(Z, groups, np.random.default_rng(1), shares=(0.2,), noises=(0.0,), nothing=0)
    for i in range(len(planted.family)):
        for group in np.flatnonzero(~planted.null[i]):
            changed = Z.copy()
            changed[:, group] = np.random.default_rng(3).permutation(changed[:, group]) + 0.1
            again = simulate(changed, groups, np.random.default_rng(1), shares=(0.2,), noises=(0.0,), nothing=0)
            assert np.abs(again.Y[:, i] - planted.Y[:, i]).max() > 1e-6, planted.family[i]


def test_importance_of_a_linear_response_is_its_slope() -> None:
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((2000, 10))
    slope = np.array([3.0, -2.0, 1.0, 0, 0, 0, 0, 0, 0, 0])
    y = Z @ slope / np.linalg.norm(slope)
    found, _, residual = importance(Z, y[:, None])
    np.testing.assert_allclose(found[0, :3], np.abs(slope[:3]) / np.linalg.norm(slope), atol=0.08)
    assert found[0, 3:].max() < found[0, 2] / 2
    assert residual[0] < 0.02


def test_importance_sees_what_no_line_can() -> None:
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((3000, 12))
    y = Z[:, 0] * Z[:, 1] + np.abs(Z[:, 2])
    found, *_ = importance(Z, ((y - y.mean()) / y.std())[:, None])
    assert set(np.argsort(-found[0])[:3]) == {0, 1, 2}


def test_a_response_is_learnt_the_same_whatever_others_there_are() -> None:
    Z = neurons(600)
    Y = np.random.default_rng(0).standard_normal((600, 4)) + Z[:, :4]
    together, *_ = importance(Z, Y)
    alone, *_ = importance(Z, Y[:, :1])
    np.testing.assert_allclose(alone[0], together[0], rtol=0.02, atol=0.01)


def test_threads_do_not_matter() -> None:
    import torch

    Z = neurons(600)
    found = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(importance(Z, Z[:, :2])[0])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(found)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("n", [200, 40])  # more rows than columns, and fewer: the other of two equal systems
def test_what_a_block_of_columns_adds(n: int) -> None:
    X = neurons(n, 60)
    Y = np.random.default_rng(1).standard_normal((n, 2))
    ridge = Ridge(X, 0.05)
    assert ridge.dual == (n < 60)

    def loss(columns: np.ndarray) -> np.ndarray:
        part = X[:, columns]
        b = np.linalg.solve(part.T @ part / n + 0.05 * np.eye(len(columns)), part.T @ Y / n)
        return np.mean((Y - part @ b) ** 2, axis=0) + 0.05 * np.sum(b**2, axis=0)

    blocks = [np.array([3]), np.array([0, 7, 59])]
    found = ridge.adds(ridge.fit(Y), blocks)
    everything = np.arange(60)
    for k, block in enumerate(blocks):
        plain = loss(np.setdiff1d(everything, block)) - loss(everything)
        np.testing.assert_allclose(found[:, k] * len(block), plain, rtol=1e-8)
    smooth = X @ np.linalg.solve(X.T @ X / n + 0.05 * np.eye(60), X.T) / n
    assert ridge.degrees == pytest.approx(np.trace(smooth))


def test_random_features_in_either_system() -> None:
    Z = neurons(700, 30)
    Y = neurons(700, 3, seed=4)
    many, few = Layer(Z, network=False), Layer(Z[:400], network=False)
    assert (many._dual, few._dual) == (False, True)
    slope, _, error = few._slopes(Y[:400], lambda steps: None)
    F, n = few._features.astype(np.float64), 400  # the plain way: one system of equations a penalty
    for i, y in enumerate(Y[:400].T):
        best = (np.inf, np.zeros(0))
        for penalty in np.geomspace(1e-3, 10, 9):
            gram = F.T @ F / n
            inverse = np.linalg.inv(gram + penalty * np.eye(len(gram)))
            b = inverse @ (F.T @ y) / n
            spent = np.trace(inverse @ gram)
            best = min(best, (np.mean((y - F @ b) ** 2) / max(1 - spent / n, 0.02) ** 2, b), key=lambda pair: pair[0])
        slopes = (few._bent * best[1][30:]) @ few._weights + best[1][:30]
        assert error[i] == pytest.approx(best[0], rel=1e-3)
        np.testing.assert_allclose(slope[i], np.sqrt(np.mean(slopes**2, axis=0)), rtol=1e-2, atol=1e-4)


def test_evidence_sees_slopes_squares_products_and_steps() -> None:
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((1500, 30))
    kinds = {
        "line": Z[:, 0] + Z[:, 1],
        "square": Z[:, 0] ** 2 + Z[:, 1] ** 2,
        "product": Z[:, 0] * Z[:, 1],
        "step": (Z[:, 0] > 0.5) * 1.0 + (Z[:, 1] < -0.5) * 1.0,
    }
    Y = np.stack([(y - y.mean()) / y.std() for y in kinds.values()], axis=1) + 0.5 * rng.standard_normal((1500, 4))
    layer = Layer(Z)
    assert layer.network
    found = layer.find((Y - Y.mean(axis=0)) / Y.std(axis=0))
    curve = layer._curves.adds(found.squares, [np.array([j, j + 30]) for j in range(30)])
    seen = [np.abs(found.linear.T)[0], curve[1], found.of_neurons["product"][2], found.of_neurons["step"][3]]
    seen += list(found.importance)
    for evidence in seen:
        assert set(np.argsort(-evidence)[:2]) == {0, 1}
    described = layer.describe(found, np.arange(30))
    assert np.isfinite(described).all()
    assert [part.start for part in PARTS.values()] == [0, *[part.stop for part in PARTS.values()][:-1]]
    assert described.shape[2] == PARTS["network"].stop


def test_the_null_model_is_calibrated_and_starts_where_another_ended() -> None:
    rng = np.random.default_rng(0)
    evidence = rng.standard_normal((60, 40, 3)).astype(np.float32)
    true = 1 / (1 + np.exp(-2 * np.abs(evidence[..., 0]) + 1))
    null = rng.random(true.shape) < true
    model = NullModel.fit(evidence, null)
    assert np.abs(model.predict(evidence) - true).mean() < 0.04  # a bent line, no straight one
    half = NullModel.fit(evidence[:30], null[:30], model)
    plain = NullModel.fit(evidence[:30], null[:30])
    np.testing.assert_allclose(half.predict(evidence[30:]), plain.predict(evidence[30:]), atol=0.03)


def test_the_worst_family_sets_the_level_but_for_chance() -> None:
    family = ("a",) * 40 + ("b",) * 40
    same = np.tile([0.0, 0.2], 40)
    assert worst(same, family) == pytest.approx(0.1)
    one = np.concatenate([np.tile([0.0, 0.02], 20), np.tile([0.28, 0.3], 20)])
    assert worst(one, family) == pytest.approx(0.29, abs=1e-3)
    little = np.concatenate([np.tile([0.0, 0.2], 20), np.tile([0.01, 0.21], 20)])
    assert worst(little, family) < 0.11


def test_a_calibration_of_an_earlier_version_opens(tmp_path) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    null = rng.random((40, 20)) < 0.7
    evidence = np.where(null, 0.0, 2.0)[:, :, None] + rng.standard_normal((40, 20, 12))
    facts = {"layer": "hidden", "cut": 0.0, "family": ["linear", "none"] * 20}
    arrays = {"groups": np.arange(20), "rows": np.arange(50), "evidence": evidence, "null": null}
    arrays |= {"noise": np.zeros(40), "gaussian": rng.standard_normal((40, 20))}
    opened = Calibration.open(storage.save(tmp_path / "old", "Calibration", facts, arrays))
    assert 0 < opened.level(0.4) <= 0.4
    assert opened.held_out[~null].mean() < opened.held_out[null].mean()
    assert "reached a precision" in opened.evidence_for(0.8)


def test_more_neurons_than_can_be_compared() -> None:
    Z = np.random.default_rng(0).standard_normal((40, 7000)).astype(np.float32)
    recording = neucept.Recording({"wide": Z}, Z[:, :2], None, ("a", "b"))
    with pytest.raises(neucept.InputError, match=r"Layer 'wide' has 7,000 .* 6,000 at most.* 12 GB .* hours"):
        neucept.discover(recording, 0, samples="all")
    with pytest.raises(neucept.InputError, match="Leave some out"):
        neucept.calibrate(recording, "wide")
    with pytest.raises(neucept.InputError, match="7,000 neurons or features"):
        neucept.knockoffs.KnockoffFilter().fit(Z, Z[:, 0])
    groups = np.where(np.arange(7000) < 20, np.arange(7000), -1)
    neucept.discover(recording, Z[:, 0], groups=groups, calibration=None, draws=1, precision=0.5)


def test_select_is_the_largest_set_of_that_mean() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        probability = rng.random(15) ** 2
        mask = largest_set(probability, 0.1)
        assert not mask.any() or probability[mask].mean() <= 0.1
        if not mask.all():
            more = np.append(probability[mask], probability[~mask].min())
            assert more.mean() > 0.1


def test_proportions_by_hand() -> None:
    null = np.array([[True, True, False, False], [True, True, True, True]])
    masks = np.array([[True, False, True, False], [False, False, False, False]])
    false, power = proportions(masks, null)
    np.testing.assert_allclose(false, [0.5, 0.0])
    assert power[0] == 0.5
    assert np.isnan(power[1])


def test_group_importance_is_the_root_of_summed_squares() -> None:
    np.testing.assert_allclose(group_importance(np.array([[3.0, 4.0, 1.0]]), np.array([0, 0, 1])), [[5.0, 1.0]])


def test_neurons_that_move_together_are_joined_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    alone = resolution(Layer(neurons()), rng)
    assert alone.cut == 0
    assert (alone.groups == np.arange(30)).all()
    assert alone.power > 0.6
    causes = rng.standard_normal((1000, 25))
    copies = np.repeat(causes, 3, axis=1) + 0.12 * rng.standard_normal((1000, 75))
    joined = resolution(Layer((copies - copies.mean(axis=0)) / copies.std(axis=0)), rng)
    assert joined.cut > 0
    assert (joined.groups == np.repeat(np.arange(25), 3)).all()


def test_candidates_start_with_single_neurons_and_keep_twenty_groups() -> None:
    found = candidates(neurons(500, 60))
    assert (found[0][1] == np.arange(60)).all()
    assert all(groups.max() + 1 >= 20 for _, groups in found)
    assert [groups.max() for _, groups in found] == sorted((g.max() for _, g in found), reverse=True)


def test_levels_grow_with_q_and_never_pass_it(calibration: Calibration) -> None:
    levels = [calibration.level(q) for q in (0.01, 0.05, 0.1, 0.2, 0.4)]
    assert levels == sorted(levels)
    assert all(level <= q for level, q in zip(levels, (0.01, 0.05, 0.1, 0.2, 0.4), strict=True))
    assert levels[2] > 0


def test_the_level_is_the_largest_that_keeps_the_worst_family(calibration: Calibration) -> None:
    for q in (0.1, 0.3):
        best = 0.0
        for level in LEVELS[q + 1e-9 >= LEVELS]:  # the plain way
            false, _ = proportions(
                np.array([largest_set(row, level) for row in calibration.held_out]), calibration.null
            )
            if worst(false, calibration.family) > q:
                break
            best = float(level)
        assert calibration.level(q) == best > 0


def test_table_counts_what_is_selected(calibration: Calibration) -> None:
    table = calibration.table(0.8).set_index("family")
    masks = np.array([largest_set(row, calibration.level(1 - 0.8)) for row in calibration.held_out])
    false, power = proportions(masks, calibration.null)
    assert table.loc["all", "precision"] == pytest.approx(1 - false.mean())
    assert table.loc["all", "power"] == pytest.approx(np.nanmean(power))
    assert set(table.index) == {*FAMILIES, NONE, "all"}
    assert (table["low"] <= table["precision"]).all()


def test_save_and_open(calibration: Calibration, tmp_path) -> None:  # type: ignore[no-untyped-def]
    again = Calibration.open(calibration.save(tmp_path / "calibration"))
    assert again.level(0.1) == calibration.level(0.1) and again.power == calibration.power
    evidence = np.random.default_rng(0).standard_normal((3, 5, calibration.knots.shape[1]))
    np.testing.assert_array_equal(again.model.predict(evidence), calibration.model.predict(evidence))


def test_a_calibration_says_what_was_found_out_and_what_was_not(calibration: Calibration) -> None:
    told = calibration.evidence_for(0.9)
    assert calibration.power >= 0.6 and told.startswith("The layer's single neurons can be told apart.")
    weak = replace(calibration, power=0.06)
    assert "reaches a power of 0.06 at best" in weak.evidence_for(0.9)
    given = replace(calibration, cut=float("nan"), power=float("nan"))
    assert given.evidence_for(0.9).startswith("The layer's groups were given (single neurons)")


def test_responses_are_planted_on_neurons_that_vary_alone() -> None:
    Z = neurons(300)
    Z[:, 4:10] = 0.0
    planted = simulate(Z, np.arange(30) // 2, np.random.default_rng(0))
    assert planted.null[:, 2:5].all() and np.isfinite(planted.Y).all()


def test_a_neuron_that_is_silent_where_responses_are_planted(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(module, "MOST_ROWS", 400)
    Z = neurons(800).astype(np.float32)
    chosen = np.random.default_rng(20221).choice(800, 400, replace=False)
    Z[:, 5] = np.where(np.arange(800) == np.setdiff1d(np.arange(800), chosen)[0], 1.0, 0.0)
    recording = neucept.Recording({"hidden": Z}, Z[:, :2], None, ("a", "b"))
    found = neucept.discover(recording, Z[:, 0] + Z[:, 1], draws=2, progress=False)["hidden"]
    assert {0, 1} <= set(found.neurons) and found.local_fdr[5] > 0.5


def test_what_is_calibrated_is_what_is_looked_at(recording) -> None:  # type: ignore[no-untyped-def]
    groups = np.repeat(np.arange(-1, 5), 5)
    found = neucept.calibrate(recording, "hidden", groups=groups, progress=False)
    assert found.groups.tolist() == (np.arange(25) // 5).tolist()
    critical = neucept.discover(recording, 0, samples="all", groups=groups, draws=2, progress=False)
    assert critical["hidden"].calibration is found


def test_bad_layers_are_not_calibrated(recording) -> None:  # type: ignore[no-untyped-def]
    broken = recording.activations("hidden").copy()
    broken[7, 3] = np.nan
    bad = {"dead": np.ones((1200, 4)), "broken": broken}
    others = neucept.Recording(bad, recording.logits, None, ("a", "b"))
    with pytest.raises(neucept.InputError, match="Neuron 3 of layer 'broken' is nan at input 7"):
        neucept.calibrate(others, "broken")
    with pytest.raises(neucept.InputError, match="Layer 'dead' is dead: its 4 neurons are constant"):
        neucept.calibrate(others, "dead")
    with pytest.raises(neucept.InputError, match="its 30 neurons that groups= includes are constant"):
        neucept.calibrate(recording, "hidden", groups=-np.ones(30, int))
    with pytest.raises(neucept.InputError, match="3 inputs, but at least 30"):
        neucept.calibrate(recording, "hidden", samples=np.arange(3))
    with pytest.raises(neucept.InputError, match=r"groups of layer 'hidden' has shape \(4,\)"):
        neucept.calibrate(recording, "hidden", groups=np.zeros(4, int))


def test_a_recording_that_may_only_be_read(recording, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    opened = neucept.Recording.open(recording.save(tmp_path / "recording"))

    def refuse(*given, **options):  # type: ignore[no-untyped-def]
        raise neucept.InputError("Cannot write")

    monkeypatch.setattr("neucept.storage.new_folder", refuse)
    one = neucept.calibrate(opened, "hidden", progress=False)
    assert neucept.calibrate(opened, "hidden", progress=False) is one


@pytest.fixture
def recording() -> neucept.Recording:
    Z = neurons().astype(np.float32)
    rng = np.random.default_rng(5)
    first = np.maximum(Z[:, :5], 0).sum(axis=1) + 0.3 * rng.standard_normal(len(Z))
    logits = np.stack([first, -first], axis=1).astype(np.float32)
    return neucept.Recording({"hidden": Z}, logits, None, ("a", "b"))


def test_discover_calibrates_once_and_keeps_it(recording, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    recording.save(tmp_path / "recording")
    opened = neucept.Recording.open(tmp_path / "recording")
    one = neucept.discover(opened, 0, samples="all", draws=3, order="information", progress=False)
    assert set(one["hidden"].ranking[:5]) == {0, 1, 2, 3, 4}
    assert set(one["hidden"].neurons) >= {0, 1, 2, 3, 4}
    assert "simulated" in str(one["hidden"].guarantee)
    monkeypatch.setattr(layer, "calibrate_neurons", lambda *a, **k: pytest.fail("calibrated again"))
    neucept.discover(opened, 1, samples="all", draws=3, seed=7, progress=False)
    again = neucept.Recording.open(tmp_path / "recording")
    two = neucept.discover(again, 0, samples="all", draws=3, order="information", progress=False)
    np.testing.assert_array_equal(one["hidden"].neurons, two["hidden"].neurons)
    saved = neucept.CriticalNeurons.open(two.save(tmp_path / "critical"))
    np.testing.assert_array_equal(saved.at(0.8)["hidden"].neurons, two.at(0.8)["hidden"].neurons)


def test_targets_together_equal_targets_alone(recording) -> None:  # type: ignore[no-untyped-def]
    both = neucept.discover(recording, [0, 1], samples="all", draws=3, progress=False)
    alone = neucept.discover(recording, 0, samples="all", draws=3, progress=False)
    np.testing.assert_allclose(both[0]["hidden"].statistics, alone["hidden"].statistics, atol=1e-9)
    np.testing.assert_allclose(both[0]["hidden"].importance, alone["hidden"].importance, rtol=0.05, atol=0.02)


def test_groups_of_the_user(recording) -> None:  # type: ignore[no-untyped-def]
    groups = np.arange(30) // 3
    groups[29] = -1
    for calibration in ("auto", None):
        found = neucept.discover(
            recording,
            0,
            samples="all",
            draws=20,
            precision=0.7,
            groups=groups,
            calibration=calibration,
            order="information",
            progress=False,
        )["hidden"]
        assert found.groups[29] == -1
        for g in range(10):
            members = found.groups[3 * g : 3 * g + 3]
            assert len(set(members[members >= 0])) == 1
        assert len(found.representatives) == 10
        assert set(found.groups[found.ranking[:2]]) == {0, 1}


def test_bad_groups_are_an_error(recording) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(neucept.InputError, match="groups of layer 'hidden'"):
        neucept.discover(recording, 0, groups=np.zeros(4, int))
    with pytest.raises(neucept.InputError, match="calibration="):
        neucept.discover(recording, 0, calibration="yes")


def test_exchangeability_tells_gaussian_neurons_from_others() -> None:
    rng = np.random.default_rng(0)
    gaussian = rng.standard_normal((1500, 8)) + rng.standard_normal((1500, 1))
    auc, p = exchangeability((gaussian - gaussian.mean(axis=0)) / gaussian.std(axis=0))
    assert 0.4 < auc < 0.56
    assert p > 0.001
    curved = rng.standard_normal((1500, 8))
    curved[:, 4:] = curved[:, :4] ** 2 + 0.1 * curved[:, 4:]
    auc, p = exchangeability((curved - curved.mean(axis=0)) / curved.std(axis=0))
    assert auc > 0.6
    assert p < 1e-6


def test_sequential_finds_what_the_next_layer_needs() -> None:
    rng = np.random.default_rng(0)
    Z = neurons(1500, 24, seed=3)
    hidden = np.stack([np.tanh(Z[:, 2 * i] - Z[:, 2 * i + 1]) for i in range(6)], axis=1)
    hidden = np.hstack([hidden, np.tanh(Z[:, 12:18] + 0.2 * rng.standard_normal((1500, 6)))])
    logit = hidden[:, :3] @ [1.0, 1.0, 1.0] + 0.01 * rng.standard_normal(1500)
    recording = neucept.Recording(
        {"first": Z.astype(np.float32), "second": hidden.astype(np.float32)},
        np.stack([logit, -logit], axis=1).astype(np.float32),
        None,
        ("a", "b"),
    )
    options = {"samples": "all", "draws": 5, "calibration": None, "progress": False, "precision": 0.6}
    options["order"] = "information"
    found = neucept.discover(recording, 0, objective="sequential", **options)
    assert set(found["second"].ranking[:3]) == {0, 1, 2}
    assert set(found["first"].ranking[:6]) == {0, 1, 2, 3, 4, 5}
    everything = neucept.discover(recording, 0, objective="global", **options)
    assert set(everything["first"].ranking[:18]) == set(range(18))
