"""Predictions with some neurons replaced, against networks cut in two and run by hand, one input at a time."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from neucept import InputError, Recording, record
from neucept.recording.intervention import agreement, can_replace

ALL = np.arange


@pytest.fixture
def cut() -> Callable[[int], tuple[nn.Sequential, Tensor]]:
    def make(n: int = 40) -> tuple[nn.Sequential, Tensor]:
        torch.manual_seed(2)
        model = nn.Sequential(
            nn.Conv2d(1, 5, 3), nn.ReLU(inplace=True), nn.Conv2d(5, 4, 2), nn.Flatten(), nn.Linear(4 * 9, 4)
        )
        return model, 2 * torch.randn(n, 1, 6, 6)

    return make


def by_hand(model: nn.Sequential, inputs: Tensor, at: int, keep: list[int], element: bool) -> tuple[float, np.ndarray]:
    """Agreement with the mean, and which predictions stay with the neurons of each other input, (n, n)."""
    head, tail = model[: at + 1], model[at + 1 :]
    model.eval()
    with torch.no_grad():
        outputs = torch.cat([head(x[None]).clone() for x in inputs])
        predictions = [int(model(x[None]).argmax()) for x in inputs]
        mask = torch.zeros(outputs[0].numel() if element else outputs.shape[1], dtype=torch.bool)
        mask[keep] = True
        mask = mask.reshape(outputs.shape[1:]) if element else mask.reshape(-1, *[1] * (outputs.ndim - 2))
        mean = outputs.mean(0)

        def stays(i: int, other: Tensor) -> bool:
            return int(tail(torch.where(mask, outputs[i], other)[None]).argmax()) == predictions[i]

        n = len(inputs)
        with_mean = float(np.mean([stays(i, mean) for i in range(n)]))
        return with_mean, np.array([[stays(i, outputs[j]) for j in range(n)] for i in range(n)])


@pytest.mark.parametrize(("layer", "neurons"), [("0", "auto"), ("1", "channel"), ("2", "element"), ("3", "auto")])
def test_agreement_equals_a_network_cut_in_two(cut: Any, layer: str, neurons: str) -> None:
    model, inputs = cut()
    recording = record(model, inputs, [layer], neurons=neurons)
    k = recording.activations(layer).shape[1]
    sets = {"few": ALL(2), "none": ALL(0), "half": ALL(0, k, 2), "all": ALL(k)}
    rows = ALL(len(inputs))
    found = [agreement(model, inputs, recording, layer, sets, rows, batch_size=7, seed=seed) for seed in range(8)]
    for name, keep in sets.items():
        with_mean, stays = by_hand(model, inputs, int(layer), keep.tolist(), element=layer in "23")
        assert all(one[name][0] == pytest.approx(with_mean) for one in found)
        share, error = np.mean([one[name][1] for one in found]), np.sqrt(stays.mean() * (1 - stays.mean()) / 320)
        assert abs(share - stays.mean()) < 4 * error + 1e-9
    assert found[0]["all"] == (1.0, 1.0)
    assert found[0]["none"][0] < found[0]["half"][0] < 1.0  # the sets differ, so the comparison can fail


def test_neurons_are_replaced_by_those_of_inputs_of_any_class() -> None:
    """Class 0 decides by neuron 0 alone; with it replaced, an input is predicted as the other it got."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with torch.no_grad():
        for part in model:
            part.weight.copy_(torch.eye(2)), part.bias.zero_()
        model[1].weight.copy_(torch.tensor([[1.0, 0], [-1, 0]]))
    inputs = torch.randn(600, 2)
    recording = record(model, inputs, ["0"])
    rows = recording.samples(0)
    found = agreement(model, inputs, recording, "0", {"it": ALL(1), "other": ALL(1, 2)}, rows)
    assert found["it"] == (1.0, 1.0)
    assert abs(found["other"][1] - len(rows) / 600) < 0.12  # as often as any input is of class 0


Pair = namedtuple("Pair", ["first", "second"])


class Wrapped(nn.Module):
    def __init__(self, wrap: Callable[[Tensor], Any], unwrap: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.inner, self.out = nn.Module(), nn.Linear(4, 3)
        self.inner.linear = nn.Linear(5, 4)
        self.inner.forward = lambda x: wrap(self.inner.linear(x))  # type: ignore[method-assign]
        self.unwrap = unwrap

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.unwrap(self.inner(x)))


@pytest.mark.parametrize(
    ("wrap", "unwrap"),
    [
        (lambda x: x, lambda r: r),
        (lambda x: (x, "other"), lambda r: r[0]),
        (lambda x: [x, None], lambda r: r[0]),
        (lambda x: {"mask": None, "hidden": x}, lambda r: r["hidden"]),
        (lambda x: Pair(x, 1), lambda r: r.first),
        (lambda x: (None, (x, 3)), lambda r: r[1][0]),
    ],
    ids=["tensor", "tuple", "list", "dict", "namedtuple", "nested"],
)
def test_layers_that_return_more_than_a_tensor(wrap: Any, unwrap: Any) -> None:
    torch.manual_seed(0)
    model, inputs = Wrapped(wrap, unwrap), torch.randn(30, 5)
    recording = record(model, inputs, ["inner"])
    found = agreement(model, inputs, recording, "inner", {"none": ALL(0), "two": ALL(2), "all": ALL(4)}, ALL(30))
    plain = nn.Sequential(model.inner.linear, model.out)
    for name, keep in {"none": [], "two": [0, 1], "all": [0, 1, 2, 3]}.items():
        assert found[name][0] == pytest.approx(by_hand(plain, inputs, 0, keep, element=True)[0])
    assert found["none"][0] < 1


class Reused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.relu = nn.Linear(5, 5), nn.Linear(5, 5), nn.ReLU()
        self.out = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.relu(self.second(self.relu(self.first(x)))))


@pytest.mark.parametrize("call", [0, 1])
def test_one_call_of_a_module_called_twice(call: int) -> None:
    torch.manual_seed(1)
    model, inputs = Reused(), 3 * torch.randn(60, 5)
    for layer in (model.first, model.second, model.out):
        layer.weight.data *= 3
    recording = record(model, inputs, ["relu"])
    sets = {str(keep): np.array(keep, int) for keep in ([], [0], [1, 2], [0, 3, 4])}
    found = agreement(model, inputs, recording, f"relu#{call}", sets, ALL(60), batch_size=4)
    unrolled = nn.Sequential(model.first, nn.ReLU(), model.second, nn.ReLU(), model.out)
    expected = [by_hand(unrolled, inputs, 1 + 2 * call, keep.tolist(), element=True)[0] for keep in sets.values()]
    assert [found[name][0] for name in sets] == pytest.approx(expected)
    assert len(set(expected)) > 2


def test_half_precision_means_do_not_overflow() -> None:
    """The mean is about 3,000, whose class is 1; the sum of 40 is more than float16 holds, and its class would be 0."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 1), nn.Linear(1, 2))
    with torch.no_grad():
        model[0].weight.mul_(1000), model[0].bias.fill_(3000)
        model[1].weight.copy_(torch.tensor([[0.0], [1.0]])), model[1].bias.copy_(torch.tensor([2900.0, 0]))
    model.half()
    inputs = torch.randn(40, 4).half()
    recording = record(model, inputs, ["0"])
    found = agreement(model, inputs, recording, "0", {"none": ALL(0)}, ALL(40))
    assert recording.activations("0").mean() > 2950  # the border between the classes is 2,900
    share = (recording.predictions == 1).mean()
    assert found["none"][0] == pytest.approx(share) and 0.5 < share < 1


@pytest.mark.parametrize("kind", ["pair", "dataset", "list", "column of labels", "loader"])
def test_data_of_other_kinds(cut: Any, kind: str) -> None:
    model, inputs = cut()
    labels = torch.zeros(len(inputs), dtype=torch.long)
    data = {
        "pair": (inputs, labels),
        "dataset": TensorDataset(inputs, labels),
        "list": list(inputs),
        "column of labels": TensorDataset(inputs, labels[:, None]),
        "loader": DataLoader(TensorDataset(inputs, labels), 7),
    }[kind]
    recording = record(model, inputs, ["0"])
    rows = ALL(3, 30, 3)
    expected = agreement(model, inputs, recording, "0", {"few": ALL(2)}, rows)
    assert agreement(model, data, recording, "0", {"few": ALL(2)}, rows) == expected


def test_a_second_input_of_one_number_is_no_label() -> None:
    class Aged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.out = nn.Linear(5, 6), nn.Linear(7, 2)

        def forward(self, x: Tensor, age: Tensor) -> Tensor:
            return self.out(torch.cat([self.hidden(x), age], 1))

    torch.manual_seed(0)
    model, data = Aged(), TensorDataset(torch.randn(40, 5), torch.rand(40, 1))
    recording = record(model, data, ["hidden"])
    assert agreement(model, data, recording, "hidden", {"all": ALL(6)}, ALL(40))["all"] == (1, 1)


def test_the_model_is_left_as_it_was_found(cut: Any) -> None:
    model, inputs = cut()
    recording = record(model, inputs, ["0"])
    model.train()
    model[2].eval()
    before, random = [m.training for m in model.modules()], torch.get_rng_state()
    agreement(model, inputs, recording, "0", {"few": ALL(2)}, ALL(40))
    model[4].forward = None  # type: ignore[method-assign]
    with pytest.raises(TypeError):
        agreement(model, inputs, recording, "0", {"few": ALL(2)}, ALL(40))
    assert [m.training for m in model.modules()] == before
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert torch.equal(torch.get_rng_state(), random)


def test_what_cannot_be_replaced(cut: Any) -> None:
    model, inputs = cut()
    recording = record(model, inputs, ["input", "0", "1"], neurons={"1": lambda x: x.amax((2, 3))})
    assert [can_replace(recording, layer) for layer in recording.layers] == [False, True, False]
    for layer in ("input", "1"):
        with pytest.raises(InputError, match=f"'{layer}' are the input or a callable's"):
            agreement(model, inputs, recording, layer, {"few": ALL(2)}, ALL(40))
    own = BatchSampler(RandomSampler(inputs), 7, drop_last=False)
    for loader in (DataLoader(inputs, 7, shuffle=True), DataLoader(inputs, batch_sampler=own)):
        with pytest.raises(InputError, match="data is a DataLoader that shuffles, streams or has a sampler of its own"):
            agreement(model, loader, recording, "0", {"few": ALL(2)}, ALL(40))
    collated = DataLoader(inputs, 7, collate_fn=torch.stack)  # type: ignore[arg-type]
    shares = [agreement(model, data, recording, "0", {"few": ALL(2)}, ALL(40)) for data in (collated, inputs)]
    assert shares[0] == shares[1]
    with pytest.raises(InputError, match="data holds 7 inputs, the recording 40; give the recorded inputs"):
        agreement(model, inputs[:7], recording, "0", {"few": ALL(2)}, ALL(40))


def test_the_callable_of_a_module_called_twice_is_remembered() -> None:
    recording = record(Reused(), torch.randn(6, 5), ["relu"], neurons=lambda x: x[:, :2])
    assert isinstance(recording, Recording)
    assert not can_replace(recording, "relu#1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kept": {"few": [0, 5]}}, r"kept\['few'\] holds 5; expected numbers from 0 to 4"),
        ({"kept": {"few": [-1]}}, r"kept\['few'\] holds -1; expected numbers from 0 to 4"),
        ({"kept": {"few": [0.5]}}, r"kept\['few'\] has shape \(1,\) and type float64"),
        ({"kept": {"few": np.ones(4, bool)}}, r"expected numbers from 0 to 4, or a mask \(5,\)"),
        ({"rows": []}, "No inputs were given: rows is empty"),
        ({"rows": np.zeros(40, bool)}, "No inputs were given: rows is empty"),
        ({"rows": [40]}, "rows holds 40; expected numbers from 0 to 39"),
        ({"batch_size": 0}, "batch_size=0: expected a whole number, 1 or more"),
        ({"model": nn.Sequential(nn.Flatten())}, "has no module '1'"),
    ],
)
def test_no_such_neurons_or_inputs(cut: Any, change: dict[str, Any], message: str) -> None:
    model, inputs = cut()
    given = {"model": model, "data": inputs, "recording": record(model, inputs, ["1"]), "layer": "1"}
    with pytest.raises(InputError, match=message):
        agreement(**{**given, "kept": {"few": [0, 1]}, "rows": np.arange(40)} | change)


def test_masks_name_neurons_and_inputs(cut: Any) -> None:
    model, inputs = cut()
    recording = record(model, inputs, ["0"])
    rows = ALL(40) % 3 == 0
    by_mask = agreement(model, inputs, recording, "0", {"few": [False, True, True, False, False]}, rows)
    assert by_mask == agreement(model, inputs, recording, "0", {"few": [1, 2]}, np.flatnonzero(rows))
    assert by_mask != agreement(model, inputs, recording, "0", {"few": [0, 1]}, np.flatnonzero(rows))
