"""How much of the response some neurons carry, where the answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from neucept import InputError, Recording, discover, record, sufficiency
from neucept.evaluation.sufficiency import _linear_r2, held_out_r2

pytestmark = pytest.mark.filterwarnings("ignore::neucept.NothingSelectedWarning")


def test_share_of_variance_of_a_linear_response() -> None:
    """Independent neurons with coefficients 2 and 1, and noise of variance 1: 4/6 by the first, 5/6 by both."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(4000, 4))
    y = 2 * Z[:, 0] + Z[:, 1] + rng.normal(size=4000)
    for columns, share in [([0], 4 / 6), ([1], 1 / 6), ([0, 1], 5 / 6), ([0, 1, 2, 3], 5 / 6), ([2, 3], 0)]:
        assert held_out_r2(Z[:, columns], y, nonlinear=False) == pytest.approx(share, abs=0.03)
    assert held_out_r2(Z, 100 - 7 * y, nonlinear=False) == pytest.approx(held_out_r2(Z, y, nonlinear=False))
    assert held_out_r2(Z * [1e6, 1, 1e-6, 1], y, nonlinear=False) == pytest.approx(5 / 6, abs=0.03)


def test_what_only_a_nonlinear_fit_sees() -> None:
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(1500, 2))
    y = Z[:, 0] ** 2 + np.abs(Z[:, 1])
    assert abs(held_out_r2(Z, y, nonlinear=False)) < 0.05
    assert held_out_r2(Z, y, nonlinear=True) > 0.9


def test_it_is_held_out() -> None:
    """More neurons than inputs fit anything on the inputs that they were fitted to."""
    rng = np.random.default_rng(0)
    Z, y = rng.normal(size=(100, 150)), rng.normal(size=100)
    for nonlinear in (False, True):
        assert held_out_r2(Z, y, nonlinear) < 0.15


def test_nothing_to_fit() -> None:
    y = np.random.default_rng(0).normal(size=50)
    assert held_out_r2(np.zeros((50, 0)), y, nonlinear=True) == 0
    assert np.isnan(held_out_r2(y[:, None], np.full(50, 3.0), nonlinear=False))
    assert np.isnan(held_out_r2(y[:, None], np.full(50, 0.1), nonlinear=False))  # whose mean is not quite 0.1


class Deciding(nn.Module):
    """A layer of 30 neurons, of which the first 12 alone decide; the class is the sign of their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(30, 30, bias=False), nn.Linear(30, 2, bias=False)
        with torch.no_grad():
            self.hidden.weight.copy_(torch.eye(30))
            self.out.weight.zero_()
            self.out.weight[1, :12] = 1
            self.out.weight[0, :12] = -1

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.hidden(x))


@pytest.fixture(scope="module")
def deciding() -> tuple[nn.Module, Tensor, Recording, Any]:
    model = Deciding()
    inputs = torch.randn(500, 30, generator=torch.Generator().manual_seed(0))
    recording = record(model, inputs, ["hidden", "input"])
    critical = discover(recording, 1, layers=["hidden"], samples="all", calibration=None, progress=False)
    return model, inputs, recording, critical


def test_the_deciding_neurons_carry_all_and_others_nothing(deciding: tuple[nn.Module, Tensor, Recording, Any]) -> None:
    model, inputs, recording, critical = deciding
    table = sufficiency(recording, critical, model, inputs, counts=(), top=12).set_index("neurons")
    assert table.index.tolist() == ["selected", "top 12", "12 random", "all alive"]
    assert table["count"].tolist() == [len(critical["hidden"].neurons), 12, 12, 30]
    top = table.loc["top 12"]
    assert min(top["r2_linear"], top["r2_nonlinear"]) > 0.9 and top["agreement_mean"] == top["agreement_resampled"] == 1
    random = table.loc["12 random"]  # none of the top
    assert abs(random["r2_linear"]) < 0.1
    assert abs(random["agreement_resampled"] - 0.5) < 0.1
    assert table.loc["all alive", "agreement_mean"] == 1
    again = sufficiency(recording, critical, model, inputs, counts=(), top=12).set_index("neurons")
    assert again.equals(table)
    assert (
        sufficiency(recording, critical, model, inputs, counts=(), top=12, seed=1)["r2_linear"].tolist()
        != table["r2_linear"].tolist()
    )


def test_fewer_neurons_carry_less(deciding: tuple[nn.Module, Tensor, Recording, Any]) -> None:
    model, inputs, recording, critical = deciding
    table = sufficiency(recording, critical, model, inputs, counts=(), top=6).set_index("neurons")
    top = table.loc["top 6"]
    assert top["r2_linear"] == pytest.approx(0.5, abs=0.1)
    # sign(a + b) = sign(a + b') of six and six standard normal: 2/3; sign(a + b) = sign(a): 3/4
    assert top["agreement_resampled"] == pytest.approx(2 / 3, abs=0.06)
    assert top["agreement_mean"] == pytest.approx(3 / 4, abs=0.06)


def test_without_a_model_or_where_neurons_cannot_be_replaced(
    deciding: tuple[nn.Module, Tensor, Recording, Any],
) -> None:
    model, inputs, recording, critical = deciding
    table = sufficiency(recording, critical, top=12)
    assert table["agreement_mean"].isna().all() and table["r2_linear"].notna().all()
    at_input = discover(recording, 1, layers=["input"], samples="all", calibration=None, progress=False)
    table = sufficiency(recording, at_input, model, inputs)
    assert table["agreement_resampled"].isna().all() and table["r2_linear"].notna().all()


def test_an_array_response_is_given_again(deciding: tuple[nn.Module, Tensor, Recording, Any]) -> None:
    _, _, recording, _ = deciding
    margin = recording.response(1, "margin")
    by_array = discover(recording, margin, layers=["hidden"], calibration=None, progress=False)
    with pytest.raises(InputError, match="discovered for an array; give it as target="):
        sufficiency(recording, by_array)
    mine = sufficiency(recording, by_array, target=margin, top=12)["r2_linear"]
    assert mine.iloc[1] > 0.95


def test_two_sufficiencies_by_number_beside_other_orders(deciding: tuple[nn.Module, Tensor, Recording, Any]) -> None:
    model, inputs, recording, _ = deciding
    ranking = {"hidden": np.arange(30)}
    table = sufficiency(recording, ranking, model, inputs, target=1, counts=[6, 12], gates=True)
    table = table[table["method"] != ""].set_index(["method", "count"])
    methods = ["critical", "random", "variance", "saliency", "learnt gates"]
    assert table.index.get_level_values(0).unique().tolist() == methods
    for method in ("critical", "saliency", "learnt gates"):  # all find the twelve that decide
        assert table.loc[(method, 12), ["agreement_resampled", "agreement_constant"]].tolist() == [1, 1]
        assert table.loc[(method, 12), "r2_linear"] > 0.95
    assert table.loc[("critical", 6), "agreement_resampled"] == pytest.approx(2 / 3, abs=0.07)
    assert table.loc[("critical", 6), "agreement_constant"] == pytest.approx(3 / 4, abs=0.08)
    assert table.loc[("random", 6), "agreement_constant"] < 0.8  # no constant says the class by itself
    alone = sufficiency(recording, ranking, target=1, counts=[6])
    alone = alone[alone["method"] != ""]
    assert alone["method"].tolist() == ["critical", "random", "variance"]
    assert alone["agreement_resampled"].isna().all() and alone["r2_linear"].between(-0.1, 0.5).all()
    by_default = sufficiency(recording, ranking, target=1)
    assert by_default.loc[by_default["method"] == "critical", "count"].tolist() == [5, 10]
    with pytest.raises(InputError, match="counts=0: expected a whole number"):
        sufficiency(recording, ranking, target=1, counts=[0])


def test_what_suffices_is_judged_on_other_inputs(deciding: tuple[nn.Module, Tensor, Recording, Any]) -> None:
    """With the seed of the discovery, the inputs that judge are those on which the search did not look."""
    model, inputs, recording, _ = deciding
    critical = discover(
        recording, 1, ["hidden"], model=model, data=inputs, calibration=None, draws=2, seed=3, progress=False
    )
    table = sufficiency(recording, critical, model, inputs, counts=[4, 8], seed=7)
    ours = table[table["method"] == "critical"]
    kept = critical["hidden"].kept
    assert kept is not None
    np.testing.assert_allclose(ours["agreement_resampled"], kept[[4, 8]], atol=1e-9)


def test_random_neurons_of_table_and_curve_are_the_same(deciding: tuple[nn.Module, Tensor, Recording, Any]) -> None:
    _, _, recording, critical = deciding
    for given in (critical, {"hidden": critical["hidden"].ranking[:14]}):  # a short ranking: random ones of all others
        for seed in range(3):
            table = sufficiency(recording, given, target=1, counts=[12], top=12, seed=seed)
            drawn = table.loc[table["neurons"] == "12 random", "r2_linear"].item()
            curve = table.loc[table["method"] == "random", "r2_linear"].item()
            assert abs(drawn) < 0.1 and curve == pytest.approx(drawn, abs=0.1)


def test_any_ranking_is_measured(deciding: tuple[nn.Module, Tensor, Recording, Any]) -> None:
    model, inputs, recording, critical = deciding
    expected = sufficiency(recording, critical, model, inputs, counts=(), top=12).set_index("neurons")
    ranking = {"hidden": critical["hidden"].ranking}
    table = pd.DataFrame({"layer": "hidden", "neuron": ranking["hidden"], "method": "own", "rank": np.arange(1, 31)})
    for given in (ranking, table):
        measured = sufficiency(recording, given, model, inputs, top=12, target=1, counts=()).set_index("neurons")
        assert measured.index.tolist() == ["top 12", "12 random", "all alive"]
        assert measured.loc["all alive", "agreement_resampled"] == 1
        # A ranking is measured on the inputs predicted as the class, the critical neurons on all.
        assert measured.loc["top 12", "r2_linear"] == pytest.approx(expected.loc["top 12", "r2_linear"], abs=0.02)
    with pytest.raises(InputError, match="A ranking does not say what it is of: give the class"):
        sufficiency(recording, ranking)
    with pytest.raises(InputError, match="holds 30; expected numbers from 0 to 29"):
        sufficiency(recording, {"hidden": [30]}, target=1)


def test_a_neuron_that_is_nearly_silent_in_one_half_does_no_harm() -> None:
    rng = np.random.default_rng(0)
    Z, y = rng.normal(size=(400, 5)), rng.normal(size=400)
    y += 2 * Z[:, 0]
    silent = np.where(np.arange(400) % 2 == 0, 0, np.abs(rng.normal(size=400)))  # varies in the odd rows alone, ...
    silent[0] = 1e-3  # ... but for this one
    alone = _linear_r2(Z, y)
    assert alone > 0.7
    assert abs(_linear_r2(np.column_stack([Z, silent]), y) - alone) < 0.05
    assert _linear_r2(Z * [1, 1e6, 1, 1e-6, 1] + 100, y) == pytest.approx(alone, abs=1e-6)


def test_constants_of_a_network_of_half_precision(deciding: tuple[nn.Module, Tensor, Recording, Any]) -> None:
    inputs, found = deciding[1], {}
    for kind in (torch.float32, torch.float16, torch.bfloat16):
        model = Deciding().to(kind)
        recording = record(model, inputs, ["hidden"])
        table = sufficiency(recording, list(range(30)), model, inputs, target=1, counts=[12], progress=False)
        found[kind] = float(table.loc[table["method"] == "critical", "agreement_constant"].iloc[0])
    assert min(found.values()) > 0.9
