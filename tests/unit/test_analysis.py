"""The analysis of one target: what it measures, that it survives a file, and that drawing it runs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import neucept
from neucept import Analysis, InputError, analyse, report
from neucept.analysis.pictures import Pictures

N = 120
STEPS: dict[str, Any] = {
    "n_mechanisms": 2,
    "discovery": {"samples": "all", "draws": 2, "calibration": None},
    "learning": {"compactness": 4},
    "progress": False,
}
pytestmark = pytest.mark.filterwarnings("ignore:.*(beyond the selection|No neuron of layer)")


class Stripes(Dataset[tuple[Tensor, int]]):
    """Images with upright or lying stripes, of which every third is brighter: a finer label than the classes."""

    class_names = ("upright", "lying", "bright")

    def __init__(self) -> None:
        self.images = 0.3 * torch.rand(N, 1, 10, 10, generator=torch.Generator().manual_seed(0))
        self.images[::2, :, ::2] += 1
        self.images[1::2, :, :, ::2] += 1
        self.labels = np.where(np.arange(N) % 3 == 0, 2, np.arange(N) % 2)

    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.images[row], row % 2


@pytest.fixture(scope="module")
def data() -> Stripes:
    return Stripes()


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    maps = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU())
    return nn.Sequential(maps, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))


@pytest.fixture(scope="module")
def analysis(model: nn.Module, data: Stripes) -> Analysis:
    pair = (data.images, torch.arange(N) % 2)
    recording = neucept.record(model, pair, ["0.1", "0.3"], class_names=("even", "odd"), progress=False)
    return analyse(model, data, target="even", recording=recording, **STEPS)


def drawn(subject: Analysis, folder: Path) -> str:
    text = report(subject, path=folder / "report.html").read_text(encoding="utf-8")
    return re.sub(r"<td>\d{4}-\d\d-\d\d [^<]*</td>", "", text)  # the date


def test_all_that_a_report_shows_is_measured(analysis: Analysis) -> None:
    assert analysis.pathways is not None and analysis.why_no_pathways == ""
    assert analysis.sufficiency is not None and analysis.sufficiency["agreement_mean"].notna().all()
    assert analysis.finer_names == Stripes.class_names
    assert {len(top.rows) for top in analysis.top_inputs} == {6}
    for layer, selection in analysis.critical.items():  # the selected ones first, and each neuron once
        shown = [(top.neuron, top.selected) for top in analysis.top_inputs if top.layer == layer]
        assert len(dict(shown)) == len(shown) >= 2 and [on for _, on in shown] == sorted((on for _, on in shown))[::-1]
        assert all(on == bool(selection.is_selected[neuron]) for neuron, on in shown)
    assert analysis.input_size == (10, 10) and all(top.boxes is not None for top in analysis.top_inputs)
    pictures = analysis.pictures
    assert pictures is not None and pictures.icons.shape == (N, 32, 32, 3) and pictures.means is not None
    for k in range(2):
        for positions in analysis.examples(k).values():
            assert all(row in pictures.whole for row in analysis.rows[positions].tolist())
    assert {"even", "Sequential"} <= set(re.findall(r"\w+", repr(analysis)))


def test_top_inputs_are_those_of_the_highest_activation(analysis: Analysis) -> None:
    for top in analysis.top_inputs:
        values = analysis.recording.activations(top.layer)[:, top.neuron]
        assert values[top.rows].min() >= np.delete(values, top.rows).max()


def test_the_steps_one_by_one_give_the_same(model: nn.Module, data: Stripes, analysis: Analysis) -> None:
    critical = neucept.discover(analysis.recording, "even", **STEPS["discovery"], progress=False)
    mechanisms = neucept.learn(analysis.recording, critical, 2, compactness=4)
    again = analyse(model, data, recording=analysis.recording, critical=critical, mechanisms=mechanisms, progress=False)
    assert np.array_equal(again.mechanisms.labels, analysis.mechanisms.labels)
    assert again.sufficiency is not None and analysis.sufficiency is not None
    pd.testing.assert_frame_equal(again.sufficiency, analysis.sufficiency)
    pd.testing.assert_frame_equal(again.n_clusters.table, analysis.n_clusters.table)


def test_drawing_runs_no_model(analysis: Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a model runs")

    monkeypatch.setattr(nn.Module, "__call__", refuse)
    monkeypatch.setattr(Stripes, "__getitem__", refuse)
    text = drawn(analysis, tmp_path)
    assert 'class="crop"' in text and 'class="pathway"' in text and "labelled bright" in text


def test_a_saved_analysis_draws_the_same_report(analysis: Analysis, tmp_path: Path) -> None:
    before = drawn(analysis, tmp_path)
    opened = Analysis.open(analysis.save(tmp_path / "saved"))
    assert drawn(opened, tmp_path) == before
    opened.save(tmp_path / "saved")  # over the folder that it was opened from
    assert drawn(Analysis.open(tmp_path / "saved"), tmp_path) == before


def test_an_analysis_with_little_survives_a_file(analysis: Analysis, tmp_path: Path) -> None:
    known = {"recording": analysis.recording, "critical": analysis.critical, "mechanisms": analysis.mechanisms}
    bare = replace(analyse(**known, pathways=False, progress=False), sufficiency=None)
    opened = Analysis.open(bare.save(tmp_path / "saved"))
    for name in ("sufficiency", "pathways", "pictures", "finer_labels", "input_size"):
        assert getattr(bare, name) is None and getattr(opened, name) is None
    assert drawn(opened, tmp_path) == drawn(bare, tmp_path)
    with pytest.raises(InputError, match="holds a saved Recording, not a Analysis"):
        Analysis.open(tmp_path / "saved" / "recording")


@pytest.fixture(params=["one size", "many sizes", "none"])
def pictures(request: pytest.FixtureRequest) -> Iterator[Pictures]:
    rng = np.random.default_rng(0)
    sizes = {"one size": [(5, 6)] * 3, "many sizes": [(5, 6), (4, 4, 3), (1, 9)], "none": []}[request.param]
    some = {10 * i: rng.integers(0, 255, size, dtype=np.uint8) for i, size in enumerate(sizes)}
    yield Pictures(some, dict(list(some.items())[:1]), rng.integers(0, 255, (2, 32, 32, 3), dtype=np.uint8))


def test_pictures_are_packed_and_unpacked(pictures: Pictures) -> None:
    again = Pictures.of({name: array for name, array in pictures.arrays().items() if array is not None})
    assert again is not None and again.means is None and np.array_equal(again.icons, pictures.icons)
    for name in ("whole", "seen"):
        one, other = getattr(pictures, name), getattr(again, name)
        assert list(one) == list(other)
        assert all(np.array_equal(one[row], other[row]) and one[row].shape == other[row].shape for row in one)


def test_texts_stand_where_inputs_are_no_pictures(tmp_path: Path) -> None:
    class Texts(Dataset[tuple[Tensor, int]]):
        def __len__(self) -> int:
            return N

        def __getitem__(self, row: int) -> tuple[Tensor, int]:
            return torch.randn(4, generator=torch.Generator().manual_seed(row)), row % 2

        def text(self, row: int) -> str:
            return f"<b>text {row}</b> " + 300 * "long "

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    found = analyse(model, Texts(), ["1"], 0, **STEPS)
    text = drawn(found, tmp_path)
    shown = {int(row) for row in re.findall(r"<li[^>]*>&lt;b&gt;text (\d+)&lt;/b&gt; long [^<]*…", text)}
    typical = [row for k in range(2) for row in found.rows[found.examples(k)["typical"]].tolist()]
    assert set(typical) <= shown and "<b>text" not in text and "<img" not in text
    assert drawn(Analysis.open(found.save(tmp_path / "saved")), tmp_path) == text


def test_by_default_the_target_is_the_class_predicted_most(model: nn.Module, analysis: Analysis) -> None:
    bare = analyse(model, recording=analysis.recording, **STEPS)
    assert bare.critical.target == np.bincount(analysis.recording.predictions).argmax()


def test_the_number_of_mechanisms_may_be_chosen(analysis: Analysis) -> None:
    auto = STEPS | {"n_mechanisms": "auto"}
    chosen = analyse(recording=analysis.recording, critical=analysis.critical, **auto)
    assert len(chosen.mechanisms) == chosen.n_clusters.suggested


def test_sufficiency_of_a_response_is_measured(analysis: Analysis) -> None:
    response = np.asarray(analysis.recording.activations("0.1")[:, 0], np.float64)
    steps = STEPS | {"discovery": STEPS["discovery"] | {"samples": None}}
    custom = analyse(recording=analysis.recording, target=response, **steps)
    assert custom.sufficiency is not None and custom.sufficiency["r2_linear"].notna().all()


def test_a_regression_is_analysed_by_its_range(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 4, generator=generator)
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    with torch.no_grad():
        y = (model(x)[:, 0] + 0.1 * torch.randn(200, generator=generator)).numpy()
    recording = neucept.record(model, (x, y), ["1"], task="regression", progress=False)
    found = analyse(model, (x, y), target="highest 40%", recording=recording, **STEPS)
    low = np.quantile(recording.logits[:, 0], 0.6)
    assert found.labelled_as_target is not None
    assert np.array_equal(found.labelled_as_target, y[found.rows] >= low)
    assert found.label_names(np.array([3])) == [f"{y[3]:.4g}"] and len(set(found.label_groups)) == 4
    assert "explains “highest 40%”" in drawn(found, tmp_path)
    again = neucept.record(model, torch.cat([x, x]), ["1"], task="regression", progress=False)
    by_default = analyse(recording=again, **STEPS | {"discovery": {"draws": 2, "calibration": None}})
    assert by_default.target_name == "highest tenth" and len(by_default.rows) == 40


def test_labels_of_a_multi_label_task_are_named_together(tmp_path: Path) -> None:
    x = torch.randn(120, 4, generator=torch.Generator().manual_seed(0))
    labels = (x[:, :3] > 0).long()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    names = ("a", "b", "c")
    recording = neucept.record(model, (x, labels), ["1"], task="multi-label", class_names=names, progress=False)
    found = analyse(model, (x, labels), target="b", recording=recording, **STEPS)
    first = ", ".join(name for name, on in zip(names, labels[0].tolist(), strict=True) if on) or "none"
    assert found.label_names(np.array([0])) == [first]
    assert found.labelled_as_target is not None and found.labelled_as_target.tolist() == labels[:, 1].bool().tolist()
    assert np.array_equal(found.misclassified, (recording.logits[:, 1] > 0) != labels[:, 1].bool().numpy())
    assert "task='multi-label'" in drawn(found, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recording": None}, "Nothing is recorded, and data, layers are missing"),
        ({"recording": None, "model": None}, "model, data, layers are missing"),
        ({"discovery": {"drws": 2}}, "no argument of discover.*Did you mean 'draws'"),
        ({"learning": {"sead": 2}}, "no argument of learn.*Did you mean 'seed'"),
        ({"target": ["even", "odd"]}, "An analysis has one target"),
        ({"target": "eve"}, "Did you mean 'even'"),
        ({"pathways": "yes"}, "pathways= is a str"),
    ],
)
def test_bad_input(model: nn.Module, analysis: Analysis, change: dict[str, Any], message: str) -> None:
    given = STEPS | {"model": model, "recording": analysis.recording, "target": "even"} | change
    with pytest.raises(InputError, match=message):
        analyse(**given)


def test_other_data_than_recorded(model: nn.Module, analysis: Analysis, data: Stripes) -> None:
    with pytest.raises(InputError, match="gives other logits for inputs"):
        analyse(model, data.images.flip(0), target="even", recording=analysis.recording, **STEPS)
