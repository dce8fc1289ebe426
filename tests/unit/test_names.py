"""Neurons that have names, columns of a table or latents of an encoder, carry them into tables, words and pages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import neucept
from neucept.recording import Channels, Elements, Encoder, Recording, Token

COLUMNS = ["age", "dose", "mean radius", "a:b", "weight", "height"]
FEATURES = ["input", "1"]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 2)).eval()
    with torch.no_grad():
        model[2].bias -= model(torch.randn(1000, 6)).mean(0)  # both classes are predicted
    return model


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(0).standard_normal((300, 6)), columns=COLUMNS)


@pytest.fixture(scope="module")
def recording(network: nn.Module, frame: pd.DataFrame) -> Recording:
    return neucept.record(network, frame, FEATURES, progress=False)


@pytest.fixture(scope="module")
def critical(recording: Recording) -> neucept.CriticalNeurons:
    return neucept.discover(recording, 1, calibration=None, draws=5, precision=0.5, progress=False)


def test_columns_of_a_frame_name_the_neurons_of_the_input_alone(recording: Recording) -> None:
    assert recording.units["input"].labels == tuple(COLUMNS) and recording.units["1"].labels is None
    names = recording.neuron_names("input")
    assert names is not None and names.tolist() == COLUMNS and recording.neuron_names("1") is None


@pytest.mark.parametrize("form", ["pair", "mapping"])
def test_columns_stay_with_labels_and_keywords(form: str, network: nn.Module, frame: pd.DataFrame) -> None:
    class Keyword(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, table: torch.Tensor) -> torch.Tensor:
            return self.network(table)

    labels = np.zeros(len(frame), int)
    data = (frame, labels) if form == "pair" else {"table": frame, "labels": labels}
    recording = neucept.record(Keyword(), data, ["input"], progress=False)
    assert recording.units["input"].labels == tuple(COLUMNS)


def test_names_stand_in_tables(recording: Recording, critical: neucept.CriticalNeurons) -> None:
    table = critical.table()
    assert list(table)[:3] == ["layer", "neuron", "name"]
    inputs = table[table["layer"] == "input"]
    assert inputs["name"].tolist() == [COLUMNS[neuron] for neuron in inputs["neuron"]]
    assert (table.loc[table["layer"] == "1", "name"] == "").all()
    assert "name" not in critical["1"].table()


@pytest.mark.parametrize("reduce", ["top", "agglomerate", "all"])
def test_mechanisms_speak_of_names(
    reduce: str, recording: Recording, critical: neucept.CriticalNeurons, network: nn.Module, frame: pd.DataFrame
) -> None:
    neurons = critical if reduce == "all" else {"input": [3, 2, 0], "1": [4, 5]}
    mechanisms = neucept.learn(recording, neurons, 2, reduce=reduce, target=1, compactness=5)
    said = " ".join(mechanisms.set_apart_by(20))
    assert "input: " in said and "a:b" in said and "mean radius" in said and "input:" not in said.replace("input: ", "")
    explained = mechanisms.explain(frame[:20], network)
    assert explained["deciding"].str.contains("input:(?:age|mean radius|a:b)").any()
    if reduce == "top":
        assert mechanisms.separation().index[:3].tolist() == ["input:a:b", "input:mean radius", "input:age"]
        assert mechanisms.table()["set apart by"].str.contains("input:").all()


def test_names_are_saved(tmp_path: Path, recording: Recording, critical: neucept.CriticalNeurons) -> None:
    mechanisms = neucept.learn(recording, {"input": [3, 2, 0]}, 2, target=1)
    for name, result in {"r": recording, "c": critical, "m": mechanisms}.items():
        result.save(tmp_path / name)
    assert Recording.open(tmp_path / "r").units["input"].labels == tuple(COLUMNS)
    pd.testing.assert_frame_equal(neucept.CriticalNeurons.open(tmp_path / "c").table(), critical.table())
    assert neucept.Mechanisms.open(tmp_path / "m").set_apart_by() == mechanisms.set_apart_by()


def test_columns_in_another_order_are_refused(recording: Recording, network: nn.Module, frame: pd.DataFrame) -> None:
    mechanisms = neucept.learn(recording, {"input": [3, 2, 0]}, 2, target=1)
    swapped = frame[["dose", "age", *COLUMNS[2:]]]
    with pytest.raises(neucept.InputError, match="neuron 0 is 'dose', and was 'age'"):
        mechanisms.explain(swapped, network)
    without = mechanisms.explain(frame.to_numpy(), network)  # no names, nothing to compare
    pd.testing.assert_frame_equal(without, mechanisms.explain(frame, network))


def test_the_page_names_neurons(
    tmp_path: Path, recording: Recording, critical: neucept.CriticalNeurons, frame: pd.DataFrame
) -> None:
    mechanisms = neucept.learn(recording, {"input": [3, 2, 0], "1": [4]}, 2, target=1)
    page = neucept.report(recording, critical, mechanisms, path=tmp_path / "r.html", progress=False).read_text()
    assert page.count("mean radius") > 3


def test_names_are_given_to_any_units(network: nn.Module, frame: pd.DataFrame) -> None:
    X = torch.tensor(frame.to_numpy(), dtype=torch.float32)
    of = {"input": Elements(names=COLUMNS), "1": Encoder(lambda hidden: hidden[:, :2], names=["first", "first"])}
    recording = neucept.record(network, X, FEATURES, neurons=of, progress=False)
    assert recording.neuron_names("input").tolist() == COLUMNS  # type: ignore[union-attr]
    assert recording.neuron_names("1").tolist() == ["first (0)", "first (1)"]  # type: ignore[union-attr]
    for units in (Elements(names=["a"]), Channels(names=["a"]), Token(names=["a"])):
        with pytest.raises(neucept.InputError, match=r"1 names were given for 10 neurons|needs an output"):
            neucept.record(network, X, ["1"], neurons=units, progress=False)
    with pytest.raises(neucept.InputError, match="expected a list of names"):
        Elements(names="age")


def test_names_do_not_change_what_units_are() -> None:
    assert Elements(names=["age", "dose"]) == Elements() and "age" not in repr(Elements(names=["age", "dose"]))
