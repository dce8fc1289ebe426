"""Pathways of mechanisms: against plain loops, on networks whose pathways are known, and on the page."""

from __future__ import annotations

import copy
import re
import warnings
from dataclasses import fields, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.utils.data import DataLoader, Dataset, TensorDataset

import neucept
from neucept import InputError
from neucept.batches import Batch
from neucept.mechanism_pathways import MechanismPathways, trace_pathways
from neucept.mechanism_pathways import result as overlap_module
from neucept.mechanism_pathways.result import compare_pathways, mean_overlap, permutation_test, within_and_others
from neucept.mechanism_pathways.tracing import masks_of_layers
from neucept.mechanisms import Mechanisms
from neucept.pathways import NeuronIntGrad, NeuronMCT, PathwayGradient
from neucept.pathways.tracing.network import Network
from neucept.reports.pathways import sites_part
from neucept.reports.phrases import percent

CHOSEN = {"0": [1, 4, 5], "3": [0, 2]}


class TwoWays(nn.Module):
    """Looks at the left half of its input through units 0 to 7 of both layers, at the right through 8 to 15."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 2)
        halves = torch.arange(16) < 8
        self.first.weight.data[:, :4] *= halves[:, None]
        self.first.weight.data[:, 4:] *= ~halves[:, None]
        self.second.weight.data *= halves[:, None] == halves
        for layer in (self.first, self.second):
            layer.bias.data.fill_(0)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(relu(self.second(relu(self.first(x)))))


@pytest.fixture(scope="module")
def ways() -> tuple[TwoWays, Tensor, np.ndarray]:
    """The network, 80 inputs of which each has one half that is zero, and which."""
    side = np.arange(80) % 2
    x = torch.randn(80, 8, generator=torch.Generator().manual_seed(1)).abs()
    x[side == 0, 4:] = 0
    x[side == 1, :4] = 0
    return TwoWays(), x, side


@pytest.fixture(scope="module")
def of_ways(ways: Any) -> Mechanisms:
    model, x, side = ways
    recording = neucept.record(model, x, layers=["first", "second"], progress=False)
    mechanisms = neucept.learn(recording, {"first": range(16)}, 2, samples="all", target=1, compactness=16)
    assert len(set(zip(mechanisms.labels, side, strict=True))) == 2  # the two halves, found again
    return mechanisms


def learnt(model: nn.Module, inputs: Any, n: int = 3, **more: Any) -> Mechanisms:
    recording = neucept.record(model, inputs, layers=list(CHOSEN), progress=False)
    return neucept.learn(recording, CHOSEN, n, samples="all", **more)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Conv2d(6, 4, 3), nn.ReLU(inplace=True)),
        *(nn.Flatten(), nn.Linear(64, 3)),
    ).eval()


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return torch.randn(70, 2, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def mechanisms(network: nn.Module, pictures: Tensor) -> Mechanisms:
    return learnt(network, pictures, target=1)


@pytest.fixture(scope="module")
def found(mechanisms: Mechanisms, network: nn.Module, pictures: Tensor) -> MechanismPathways:
    return trace_pathways(mechanisms, network, pictures, sparsity=0.8, most=7, typical=3, batch_size=5)


def test_against_plain_loops(
    found: MechanismPathways, mechanisms: Mechanisms, network: nn.Module, pictures: Tensor
) -> None:
    """One input at a time, sets of neurons, Python's own intersections."""
    masks = [NeuronMCT(network).score(pictures[row : row + 1], 1).select(0.8) for row in found.rows]
    sets = [{(site, *place) for site in mask for place in mask[site][0].nonzero().tolist()} for mask in masks]
    critical = {("2", c, i, j) for c in CHOSEN["0"] for i in range(6) for j in range(6)}
    critical |= {("4", c, i, j) for c in CHOSEN["3"] for i in range(4) for j in range(4)}
    for a, b in combinations(range(len(sets)), 2):
        one, other = sets[a], sets[b]
        assert found.similarity[a, b] == pytest.approx(len(one & other) / len(one | other))
        one, other = one & critical, other & critical
        assert found.similarity_critical[a, b] == pytest.approx(len(one & other) / len(one | other))
    assert {(site, *p) for site, mask in found.critical.items() for p in np.argwhere(mask).tolist()} == critical
    for k in range(3):
        mine = [i for i, label in enumerate(found.labels) if label == k]
        assert np.array_equal(mechanisms.labels[np.isin(mechanisms.samples, found.rows[mine])], [k] * len(mine))
        assert len(mine) == min(7, mechanisms.sizes[k])
        for site in ("2", "4"):
            share = torch.stack([masks[i][site][0].float() for i in mine]).mean(0).numpy()
            assert np.allclose(found.mean_pathways[site][k], share)
        pairs = [found.similarity[a, b] for a, b in combinations(mine, 2)]
        assert found.overlap.iloc[k, k] == pytest.approx(np.mean(pairs))
        rest = [found.similarity[a, b] for a in mine for b in range(len(found.labels)) if b not in mine]
        assert found.table()["others"][k] == pytest.approx(np.mean(rest))
        kept = np.mean([len(sets[i] & critical) / len(critical) for i in mine])
        assert found.table()["kept_critical"][k] == pytest.approx(kept, rel=1e-5)
        typical = pictures[mechanisms.samples[mechanisms.typical(k, 3)]]
        gradients = [PathwayGradient(NeuronMCT(network), 0.8).attribute(one[None], 1)[0] for one in typical]
        assert np.allclose(found.gradients[k], torch.stack(gradients).mean(0), atol=1e-6)
    restricted = found.critical_pathways
    assert restricted["2"][:, [0, 2, 3]].sum() == 0 and restricted["2"][:, [1, 4, 5]].sum() > 0
    assert np.allclose(found.overlap, found.overlap.T)


def test_each_site_and_critical_neuron_against_plain_loops(
    found: MechanismPathways, network: nn.Module, pictures: Tensor
) -> None:
    masks = [NeuronMCT(network).score(pictures[row : row + 1], 1).select(0.8) for row in found.rows]
    rows = found.by_site().set_index(["mechanism", "site"])
    assert list(rows.loc[0].index) == ["2", "4"] and rows["neurons"].tolist() == [216, 64] * 3
    neurons = found.by_critical_neuron().set_index(["mechanism", "site", "neuron"])
    assert list(neurons.loc[1].index) == [("2", 1), ("2", 4), ("2", 5), ("4", 0), ("4", 2)] and len(neurons) == 15
    for k in range(3):
        mine = [i for i, label in enumerate(found.labels) if label == k]
        rest = [i for i in range(len(masks)) if i not in mine]
        for site, layer in (("2", "0"), ("4", "3")):
            sets = [set(map(tuple, mask[site][0].nonzero().tolist())) for mask in masks]

            def mean(pairs: Any, sets: Any = sets) -> float:
                return float(np.mean([len(sets[a] & sets[b]) / len(sets[a] | sets[b]) for a, b in pairs]))

            row = rows.loc[k, site]
            assert row["kept"] == pytest.approx(np.mean([len(sets[i]) / row["neurons"] for i in mine]))
            assert row["within"] == pytest.approx(mean(combinations(mine, 2)))
            assert row["others"] == pytest.approx(mean((a, b) for a in mine for b in rest))
            for channel in CHOSEN[layer]:
                share = [float(mask[site][0, channel].float().mean()) for mask in masks]
                kept, others = neurons.loc[(k, site, channel)]
                assert kept == pytest.approx(np.mean([share[i] for i in mine]))
                assert others == pytest.approx(np.mean([share[i] for i in rest]))
            critical = [neurons.loc[(k, site, channel), "kept"] for channel in CHOSEN[layer]]
            assert row["kept_critical"] == pytest.approx(np.mean(critical))


def test_typical_inputs_have_their_own_gradients(
    found: MechanismPathways, mechanisms: Mechanisms, network: nn.Module, pictures: Tensor
) -> None:
    assert found.typical_labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    for k in range(3):
        rows = mechanisms.samples[mechanisms.typical(k, 3)]
        assert found.typical_rows[3 * k : 3 * k + 3].tolist() == rows.tolist()
    for row, gradient in zip(found.typical_rows, found.typical_gradients, strict=True):
        alone = PathwayGradient(NeuronMCT(network), 0.8).attribute(pictures[row : row + 1], 1)[0]
        assert np.allclose(gradient, alone, atol=1e-6)


@pytest.mark.parametrize("bytes_at_a_time", [1, 2, 2**14])
def test_sites_need_not_end_with_a_byte(bytes_at_a_time: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap_module, "_BYTES", bytes_at_a_time)
    rng = np.random.default_rng(0)
    sizes, labels = (3, 21, 1, 18, 8), np.arange(12) % 3
    masks, marked = rng.random((12, sum(sizes))) < 0.4, [rng.random(size) < 0.5 for size in sizes]

    def jaccard(of: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return (of[:, None] & of).sum(2) / (of[:, None] | of).sum(2)

    result = compare_pathways(np.packbits(masks, axis=1), labels, 3, marked)
    assert np.allclose(result.similarity, jaccard(masks))
    assert np.allclose(result.similarity_critical, jaccard(masks[:, np.concatenate(marked)]), equal_nan=True)
    assert np.allclose(result.shares, [masks[labels == k].mean(0) for k in range(3)])
    for i, site in enumerate(np.split(masks, np.cumsum(sizes)[:-1], axis=1)):
        within, others = within_and_others(jaccard(site), labels, 3)
        assert np.allclose(result.within_by_site[i], within, equal_nan=True)
        assert np.allclose(result.others_by_site[i], others, equal_nan=True)


def test_channels_may_lie_on_any_axis_and_a_single_mechanism_has_no_others(
    found: MechanismPathways, network: nn.Module, pictures: Tensor
) -> None:
    tokens = np.zeros((5, 4), bool)
    tokens[:, [1, 3]] = True
    shares = np.arange(60, dtype=np.float32).reshape(3, 5, 4)
    neurons = replace(found, mean_pathways={"a": shares}, critical={"a": tokens}).by_critical_neuron()
    assert neurons["neuron"].tolist() == [1, 3] * 3
    assert neurons["kept"].tolist() == shares[:, :, [1, 3]].mean(1).ravel().tolist()
    one = trace_pathways(learnt(network, pictures, target=1, n=1), network, pictures, most=4, typical=2)
    assert one.by_critical_neuron()["others"].isna().all() and one.by_site()["within"].notna().all()
    text = sites_part(one, 0)
    assert "others" not in text and text.count("<li") == 3


def test_two_ways_are_told_apart(ways: Any, of_ways: Mechanisms) -> None:
    model, x, side = ways
    found = trace_pathways(of_ways, model, x, sparsity=0.85, most=20, permutations=199)
    table = found.table()
    assert (table["within"] > table["others"] + 0.2).all()
    assert found.p_value == pytest.approx(1 / 200) and (found.p_values <= 0.02).all()
    for k in range(2):
        mine = int(side[found.rows[found.labels == k][0]])
        used = found.mean_pathways["relu#1"][k].reshape(2, 8).sum(1)
        assert used[mine] > 2 * used[1 - mine]
        weight = np.abs(found.gradients[k]).reshape(2, 4).sum(1)
        assert weight[mine] > weight[1 - mine] * 2


def test_labels_that_mean_nothing_give_uniform_p_values() -> None:
    """Under random labels P(p <= 0.1) is at most 0.1: of 300, 47 or more has a chance below 0.1%."""
    rng = np.random.default_rng(0)
    low = np.zeros(4)
    for _ in range(300):
        masks = rng.random((24, 40)) < 0.3
        both = (masks[:, None] & masks).sum(2)
        similarity = both / (masks[:, None] | masks).sum(2)
        p_values, p_value = permutation_test(similarity, np.repeat([0, 1, 2], 8), 3, 19, rng)
        low += np.append(p_values, p_value) <= 0.1
    assert (low < 47).all() and (low > 13).all()


def test_overlaps_where_there_are_no_pairs() -> None:
    similarity = np.array([[1.0, 0.2, np.nan], [0.2, 1.0, 0.4], [np.nan, 0.4, 1.0]])
    labels = np.array([0, 0, 1])
    overlap = mean_overlap(similarity, labels, 2)
    assert overlap[0, 0] == 0.2 and overlap[0, 1] == 0.4 and np.isnan(overlap[1, 1])
    within, others = within_and_others(similarity, labels, 2)
    assert within[0] == 0.2 and np.isnan(within[1]) and others.tolist() == [0.4, 0.4]
    p_values, _ = permutation_test(similarity, labels, 2, 9, np.random.default_rng(0))
    assert p_values[1] == 1.0
    assert permutation_test(similarity, np.zeros(3, int), 1, 9, np.random.default_rng(0)) == (np.ones(1), 1.0)


def test_saved_and_opened(found: MechanismPathways, tmp_path: Path) -> None:
    again = MechanismPathways.open(found.save(tmp_path / "pathways"))
    for one in fields(found):
        a, b = getattr(found, one.name), getattr(again, one.name)
        if isinstance(a, dict) and one.name != "settings":
            assert list(a) == list(b)
            assert all(np.array_equal(a[site], b[site]) and a[site].dtype == b[site].dtype for site in a)
        else:
            assert np.array_equal(a, b, equal_nan=True) if isinstance(a, np.ndarray) else a == b
    assert again.table().equals(found.table())
    assert repr(again) == repr(found) and repr(found).startswith("MechanismPathways(3 of '1'; overlap within 0.")


class OfMappings(Dataset[Any]):
    """Items that are mappings of keyword inputs."""

    def __init__(self, pictures: Tensor) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        return {"input": self.pictures[number]}


def joined(items: list[Any]) -> tuple[Tensor, Tensor]:
    return torch.stack([x for x, _ in items]), torch.tensor([label for _, label in items])


@pytest.mark.parametrize("form", range(9))
def test_data_of_any_kind(
    form: int, found: MechanismPathways, mechanisms: Mechanisms, network: nn.Module, pictures: Tensor
) -> None:
    labels = torch.zeros(len(pictures), dtype=torch.long)
    dataset = TensorDataset(pictures, labels)
    forms: list[Any] = [pictures, pictures.numpy(), (pictures,), {"input": pictures}, (pictures, labels), dataset]
    forms += [OfMappings(pictures), DataLoader(dataset, 9, collate_fn=joined), [(x, 0) for x in pictures]]
    data = forms[form]
    same = trace_pathways(mechanisms, network, data, sparsity=0.8, most=7, typical=3)
    assert np.array_equal(same.rows, found.rows) and np.allclose(same.similarity, found.similarity)
    assert np.allclose(same.gradients, found.gradients, atol=1e-6)


class Both(nn.Module):
    """Features and then the outputs: logits, or the probability of the second of two classes."""

    def __init__(self, probability: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.a, self.relu, self.b = nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 1 if probability else 3)
        self.probability = probability

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.relu(self.a(x))
        outputs = self.b(hidden)
        return hidden, outputs.sigmoid() if self.probability else outputs


@pytest.mark.parametrize("probability", [False, True])
@pytest.mark.filterwarnings("ignore:.*robabilit", "ignore:The model returns a tuple")
def test_pathways_explain_the_recorded_outputs(probability: bool) -> None:
    model, x = Both(probability).eval(), 5 * torch.randn(80, 6, generator=torch.Generator().manual_seed(0))
    recording = neucept.record(model, x, ["relu"], output=1, progress=False)
    mechanisms = neucept.learn(recording, {"relu": [0, 3]}, 2, samples="all")
    rows = mechanisms.samples
    seen: list[Tensor] = []

    class Noting(NeuronMCT):
        def score(self, inputs: Any, target: Any = None) -> Any:
            scores = super().score(inputs, target)
            seen.append(scores.predictions)
            return scores

    made = NeuronMCT(model)
    results = [trace_pathways(mechanisms, model, x, method=method, sparsity=0.5) for method in (NeuronMCT, made)]
    assert made.network.output is None  # the method given is not changed
    trace_pathways(mechanisms, model, x, method=Noting, sparsity=0.5, most=len(rows), batch_size=len(rows))
    assert sorted(seen[0].tolist()) == sorted(recording.predictions.tolist()) and len(set(seen[0].tolist())) > 1
    assert np.array_equal(results[0].similarity, results[1].similarity)


def test_a_method_of_another_model_is_refused(mechanisms: Mechanisms, network: nn.Module, pictures: Tensor) -> None:
    with pytest.raises(InputError, match="made for another model"):
        trace_pathways(mechanisms, network, pictures, method=NeuronMCT(copy.deepcopy(network)))


@pytest.mark.parametrize("method", [dict, "NeuronMCT"])
def test_something_else_than_a_method_is_refused(
    mechanisms: Mechanisms, network: nn.Module, pictures: Tensor, method: Any
) -> None:
    with pytest.raises(InputError, match="expected a Method such as NeuronMCT"):
        trace_pathways(mechanisms, network, pictures, method=method)


def test_inputs_by_keyword_have_no_gradient_picture() -> None:
    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.b(relu(self.a(x + y)))

    data = {"x": torch.randn(30, 4), "y": torch.randn(30, 4)}
    model = Sums()
    recording = neucept.record(model, data, layers=["a"], progress=False)
    mechanisms = neucept.learn(recording, {"a": [0, 1]}, 2, samples="all")
    found = trace_pathways(mechanisms, model, data, sparsity=0.5)
    assert found.gradients is None and found.target_name == "all inputs"
    assert found.mean_pathways["relu"].shape == (2, 6)


def test_methods_and_critical_neurons(mechanisms: Mechanisms, network: nn.Module, pictures: Tensor) -> None:
    recording = neucept.record(network, pictures, layers=["0", "3"], progress=False)
    with pytest.warns(UserWarning):
        critical = neucept.discover(recording, 1, samples="all", draws=2, calibration=None, progress=False)
    method = NeuronIntGrad(network, steps=3)
    found = trace_pathways(mechanisms, network, pictures, critical, method, most=4, typical=2, sparsity=0.8)
    assert found.settings["method"] == "NeuronIntGrad"
    chosen = {layer: set(selection.neurons.tolist()) for layer, selection in critical.items()}
    assert set(found.critical) == {{"0": "2", "3": "4"}[layer] for layer, some in chosen.items() if some}
    table = found.table()
    assert table["kept_critical"].isna().all() == (not found.critical)


def test_wrong_input(mechanisms: Mechanisms, network: nn.Module, pictures: Tensor) -> None:
    with pytest.raises(InputError, match="in the order, that were recorded"):
        trace_pathways(mechanisms, network, pictures.flip(0))
    with pytest.raises(InputError, match="the mechanisms include input"):
        trace_pathways(mechanisms, network, pictures[:1])
    with pytest.raises(InputError, match="most=0"):
        trace_pathways(mechanisms, network, pictures, most=0)
    with pytest.raises(InputError, match="sparsity=1"):
        trace_pathways(mechanisms, network, pictures, sparsity=1)
    linear = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
    x = torch.randn(20, 4)
    of_linear = neucept.learn(neucept.record(linear, x, layers=["0"], progress=False), {"0": [0]}, 2, samples="all")
    with pytest.raises(InputError, match="no activation function"):
        trace_pathways(of_linear, linear, x)


def test_layers_and_their_sites() -> None:
    class Blocks(nn.Module):
        """A residual block, one that ends without an activation, and one activation that is called three times."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.block = nn.Conv2d(1, 3, 3), nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
            self.open = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1))
            self.act, self.head = nn.ReLU(inplace=True), nn.Linear(12, 5)
            self.pool = nn.MaxPool2d(2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.act(self.conv(x))
            x = self.open(self.block(x))
            x = self.act(x + 1)
            return self.act(self.head(self.pool(x).flatten(1)))

    def sites(**neurons: list[int]) -> dict[str, list[int]]:
        named = {name.replace("_", "."): chosen for name, chosen in neurons.items()}
        masks = masks_of_layers(Network(Blocks()), Batch(torch.randn(1, 1, 6, 6)), named, pooling)
        return {site: np.unique(np.argwhere(mask)[:, 0]).tolist() for site, mask in masks.items()}

    pooling: dict[str, str] = {}
    assert sites(conv=[2]) == {"act#0": [2]}
    assert sites(block=[0], block_0=[1]) == {"block.1": [0, 1]}
    assert sites(open=[1], open_1=[2]) == {"open.1": [2], "act#1": [1]}
    assert sites(head=[4]) == {"act#2": [4]}
    assert sites(pool=[1], input=[0]) == {}
    assert sites(act=[1])["act#0"] == [1]
    assert sites(**{"act#1": [2]}) == {"act#1": [2]}
    pooling["conv"] = "element"
    assert sites(conv=[0, 47]) == {"act#0": [0, 2]}
    pooling["conv"] = "callable"
    assert sites(conv=[0]) == {}


# On the page


@pytest.fixture
def page(network: nn.Module, pictures: Tensor, mechanisms: Mechanisms, tmp_path: Path) -> Any:
    """A function that makes the page, with more arguments, and gives its text without scripts."""
    recording = neucept.record(network, (pictures, torch.arange(70) % 3), layers=["0", "3"], progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        critical = neucept.discover(recording, 1, samples="all", draws=2, calibration=None, progress=False)
    compared = neucept.choose_n_mechanisms(mechanisms, range(1, 4), progress=False)
    measured = neucept.sufficiency(recording, critical, progress=False)

    def make(**more: Any) -> str:
        path = tmp_path / "page.html"
        given = {"n_clusters": compared, "sufficiency": measured, "progress": False} | more
        text = neucept.report(recording, critical, mechanisms, path=path, **given).read_text()
        return re.sub("<(script|style)>.*?</(script|style)>", "", text, flags=re.DOTALL)

    return make


def test_cards_show_pathways(page: Any, network: nn.Module, pictures: Tensor, found: MechanismPathways) -> None:
    text = page(data=pictures, model=network, pathways=found)
    assert text.count('class="pathway"') == 3 and "A pathway is the 20% of all neurons" in text
    table = found.table()
    for k in range(3):
        within, others = (f"{100 * table[name][k]:.0f}%" for name in ("within", "others"))
        assert f"The mean overlap is {within} within this mechanism and {others} with other mechanisms" in text
    assert text.count('class="sites"') == 3 and "sites</summary>" not in text
    for row in found.by_site().itertuples():
        assert f'title="{row.site}, {row.neurons} neurons"' in text and f"<b>{percent(row.kept)}</b>" in text
    assert text.count("of the pathways, and by") == 15  # five critical neurons of each
    assert "mean pathway gradient of mechanism" not in text  # of two channels: no pictures on this page
    computed = page(data=pictures, model=network)
    assert "A pathway is the 10% of all neurons" in computed and "(NeuronMCT)" in computed
    assert 'class="pathway"' not in page(data=pictures, model=network, pathways=False)
    assert "need the model (model=) and the data" in page(data=pictures)


def broken(*given: Any) -> Any:
    raise RuntimeError("a bug")


def test_heat_maps_stand_where_inputs_are_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    x = torch.rand(60, 1, 6, 6)
    recording = neucept.record(model, x, layers=["0"], progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        critical = neucept.discover(recording, 0, samples="all", draws=2, calibration=None, progress=False)
        mechanisms = neucept.learn(recording, critical, 2, compactness=3)
    path = neucept.report(recording, critical, mechanisms, x, tmp_path / "a.html", model, progress=False)
    text = path.read_text()
    assert text.count('alt="mean pathway gradient of mechanism') == 2
    for k in range(2):
        shown = mechanisms.samples[mechanisms.typical(k, 7)]
        assert all(f'alt="pathway gradient of {recording.name(row)}, red' in text for row in shown)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="a bug"):  # is no reason to leave them out
        patch.setattr("neucept.mechanism_pathways.tracing.permutation_test", broken)
        neucept.report(recording, critical, mechanisms, x, tmp_path / "d.html", model, progress=False)
    assert not (tmp_path / "d.html").exists()

    class Odd(nn.Module):
        """Works once for each row of the recording, and never under gradients."""

        def __init__(self) -> None:
            super().__init__()
            self.net = model

        def forward(self, x: Tensor) -> Tensor:
            if torch.is_grad_enabled():
                raise RuntimeError("<no> gradients here")
            return self.net(x)

    again = neucept.record(odd := Odd(), x, layers=["net.0"], progress=False)
    mechanisms = neucept.learn(again, {"net.0": [0, 1]}, 2, samples="all", target=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        critical = neucept.discover(again, 0, samples="all", draws=2, calibration=None, progress=False)
    with pytest.raises(RuntimeError, match="<no> gradients here"):  # a bug is no reason to leave pathways out
        neucept.report(again, critical, mechanisms, x, tmp_path / "c.html", odd, progress=False)
    assert not (tmp_path / "c.html").exists()
    with pytest.raises(InputError, match="<no> gradients here"):
        trace_pathways(mechanisms, odd, x)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(36, 3), nn.Linear(3, 2))
    again = neucept.record(linear, x, layers=["1"], progress=False)
    mechanisms = neucept.learn(again, {"1": [0, 1]}, 2, samples="all", target=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        critical = neucept.discover(again, 0, samples="all", draws=2, calibration=None, progress=False)
    text = neucept.report(again, critical, mechanisms, x, tmp_path / "b.html", linear, progress=False).read_text()
    assert "cannot be traced: Sequential calls no activation function" in text


def test_many_sites_are_folded_away_and_those_of_critical_neurons_are_not(found: MechanismPathways) -> None:
    shares = {str(i): np.full((3, 4), i / 20, np.float32) for i in range(14)}
    apart = np.zeros((14, 3))
    apart[[2, 5, 6, 7, 8, 9, 10, 12, 13]] = 0.1
    many = replace(
        found,
        mean_pathways=shares,
        within_by_site=0.2 + apart,
        others_by_site=np.full((14, 3), 0.2),
        critical={"0": np.array([True, False, True, False])},
    )
    shown, folded = sites_part(many, 0).split("<details>")
    assert [i for i in range(14) if f'title="{i}, 4 neurons"' in shown] == [0, 2, 5, 6, 7, 8, 9, 10, 12, 13]
    assert [i for i in range(14) if f'title="{i}, 4 neurons"' in folded] == [1, 3, 4, 11]
    assert "4 other sites" in folded


def test_pathways_of_other_mechanisms_are_refused(page: Any, found: MechanismPathways) -> None:
    with pytest.raises(InputError, match="of other mechanisms"):
        page(pathways=replace(found, labels=(found.labels + 1) % 3))
    with pytest.raises(InputError, match="pathways= is a str"):
        page(pathways="yes")
