"""Rankings of neurons: attributions against Captum's classes for layers, NeuCEPT against its own selection."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from neucept import InputError, Recording, Selection, discover, record
from neucept.knockoffs import LocalFDR
from neucept.models import LeNet
from neucept.rankings import (
    Activation,
    DeepLift,
    GradientShap,
    IntegratedGradients,
    NeuCEPT,
    Random,
    Saliency,
    Subject,
    Variance,
    rank,
)

captum = pytest.importorskip("captum.attr")

CONV2, CONV3, LINEAR0 = "feature_extractor.3", "feature_extractor.7", "classifier.1"
METHODS = [Saliency, IntegratedGradients, DeepLift]


@pytest.fixture(scope="module")
def lenet() -> tuple[nn.Module, Tensor, Recording]:
    torch.manual_seed(0)
    model = LeNet(2)
    inputs = torch.rand(70, 1, 32, 32)
    with torch.no_grad():  # both classes are predicted
        model.classifier[2].bias -= model(inputs).mean(dim=0)
    return model, inputs, record(model, inputs, [CONV2, CONV3, LINEAR0])


def by_captum(method: type, model: nn.Module, layer: str, inputs: Tensor, target: int) -> np.ndarray:
    """Captum's own class for layers, all inputs at once, summed over inputs and positions."""
    module = model.get_submodule(layer)
    if method is Saliency:
        gradient = captum.LayerGradientXActivation(model, module, multiply_by_inputs=False)
        found = gradient.attribute(inputs, target=target).abs()
    elif method is IntegratedGradients:
        found = captum.LayerIntegratedGradients(model, module).attribute(inputs, target=target, n_steps=50)
    else:
        found = captum.LayerDeepLift(model, module).attribute(inputs, target=target)
    return found.detach().flatten(2).sum((0, 2)).numpy() if found.ndim > 2 else found.detach().sum(0).numpy()


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_attributions_equal_those_of_captums_classes_for_layers(lenet: Any, method: Any, whole: bool) -> None:
    model, inputs, recording = lenet
    subject = Subject.of(recording, 1, model, inputs)
    assert 0 < len(subject.rows) < len(inputs)
    found = method(whole=whole, batch_size=16).scores(subject)
    for layer in recording.layers:
        expected = by_captum(method, model, layer, inputs[subject.rows], 1)
        assert found[layer] == pytest.approx(expected, rel=1e-3, abs=1e-4 * float(np.abs(expected).max()))
        assert np.abs(expected).max() > 0


def test_gradient_shap_is_captums_where_both_mean_the_same(lenet: Any) -> None:
    """After linear0 the network is linear: the gradient is one number, wherever the random points lie."""
    model, inputs, recording = lenet
    subject = Subject.of(recording, 1, model, inputs, layers=[LINEAR0])
    module = model.get_submodule(LINEAR0)
    shap = captum.LayerGradientShap(model, module)
    expected = shap.attribute(inputs[subject.rows], torch.zeros(1, 1, 32, 32), target=1).sum(0).detach().numpy()
    for whole in (False, True):
        assert GradientShap(whole=whole).scores(subject)[LINEAR0] == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_gradient_shap_tends_to_integrated_gradients(lenet: Any) -> None:
    model, inputs, recording = lenet
    subject = Subject.of(recording, 1, model, inputs, layers=[CONV2])
    expected = IntegratedGradients().scores(subject)[CONV2]
    few, many = (
        np.abs(GradientShap(samples=n, seed=1).scores(subject)[CONV2] - expected).max() / np.abs(expected).max()
        for n in (1, 200)
    )
    assert many < 0.01 and many < few


@pytest.mark.parametrize("method", [IntegratedGradients, DeepLift])
def test_attributions_are_complete(lenet: Any, method: Any) -> None:
    """They sum to the difference of the logit from that of the baseline, for every baseline."""
    model, inputs, recording = lenet
    subject = Subject.of(recording, 0, model, inputs)
    logit = recording.logits[subject.rows, 0]
    with torch.no_grad():
        starts = {
            "input": model(torch.zeros(1, 1, 32, 32)),
            "zero": model.classifier[2](torch.zeros(1, 84)),
            "ones": model(torch.ones(1, 1, 32, 32)),
        }
    for name, start in starts.items():
        baseline: Any = torch.ones(1, 1, 32, 32) if name == "ones" else name
        found = method(baseline=baseline).scores(subject)[LINEAR0].sum()
        assert found == pytest.approx((logit - float(start[0, 0])).sum(), rel=1e-3)


def test_in_place_modules_are_no_obstacle_and_the_model_is_left_as_it_was(global_random: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
        *(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64, 3)),
    )
    inputs = torch.randn(12, 2, 8, 8)
    layers = ["3", "4", "5"]  # convolution, normalisation, in-place ReLU
    recording = record(model, inputs, layers)
    subject = Subject.of(recording, 0, model, TensorDataset(inputs, torch.zeros(12)), rows="all")
    model.train()
    model[1].eval()
    modes, random = [m.training for m in model.modules()], global_random()
    for method in (*METHODS, GradientShap):
        for whole in (False, True):
            scores = method(whole=whole).scores(subject)
            assert [scores[layer].shape for layer in layers] == [(4,)] * 3
            if method in (IntegratedGradients, DeepLift):  # complete at each layer
                assert np.ptp([scores[layer].sum() for layer in layers]) < 1e-2 * abs(scores[layers[0]].sum())
    assert [m.training for m in model.modules()] == modes
    assert all(m.inplace for m in model.modules() if isinstance(m, nn.ReLU))
    assert all(not m._forward_hooks and not m._forward_pre_hooks and not m._backward_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())
    assert global_random() == random


class Skip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.act, self.last = nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.act(self.inner(x)) + x)


def test_where_the_network_cannot_be_cut_captums_classes_are_used() -> None:
    torch.manual_seed(0)
    model, inputs = Skip(), torch.randn(20, 5)
    recording = record(model, inputs, ["act"])
    subject = Subject.of(recording, 1, model, inputs, rows="all")
    weight = model.last.weight.detach().numpy()[0] / 2  # the one logit z becomes (-z/2, z/2)
    difference = recording.activations("act") - torch.tanh(model.inner.bias).detach().numpy()
    assert Saliency().scores(subject)["act"] == pytest.approx(20 * np.abs(weight), rel=1e-4)
    assert IntegratedGradients().scores(subject)["act"] == pytest.approx((difference * weight).sum(0), rel=1e-3)
    signless = IntegratedGradients(absolute=True).scores(subject)["act"]
    assert signless == pytest.approx(np.abs(difference * weight).sum(0), rel=1e-3)
    with pytest.raises(InputError, match="With whole=True, random points lie between inputs"):
        GradientShap().scores(subject)
    with pytest.raises(InputError, match="use baseline='input'"):
        DeepLift(baseline="zero").scores(subject)


def test_neurons_are_summed_as_the_recording_has_them(lenet: Any) -> None:
    model, inputs, recording = lenet
    elements = record(model, inputs, [CONV2], neurons="element")
    channels = IntegratedGradients().scores(Subject.of(recording, 1, model, inputs, layers=[CONV2]))[CONV2]
    found = IntegratedGradients().scores(Subject.of(elements, 1, model, inputs))[CONV2]
    assert found.shape == (16 * 100,)
    assert found.reshape(16, -1).sum(1) == pytest.approx(channels, rel=1e-3, abs=1e-4)


def test_activation_variance_and_random(lenet: Any) -> None:
    recording = lenet[2]
    Z = recording.activations(CONV3)[recording.predictions == 1].astype(float)
    subject = Subject.of(recording, 1)
    assert Activation().scores(subject)[CONV3] == pytest.approx(Z.mean(0))
    assert Variance().scores(subject)[CONV3] == pytest.approx(Z.var(0))
    first = Random(3).scores(subject)
    alone = Random(3).scores(Subject.of(recording, 1, layers=[CONV3]))
    assert np.array_equal(first[CONV3], alone[CONV3])
    assert not np.array_equal(first[CONV3], Random(4).scores(subject)[CONV3])


@pytest.fixture
def decided(make_recording: Any) -> Recording:
    """Ten neurons, of which 0 to 3 decide the logit of class 1, and one dead."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(400, 10))
    Z[:, 9] = 0
    y = Z[:, :4] @ [4, 3, 2, 1] + rng.normal(size=400)
    return make_recording(Z, logits=np.stack([np.zeros(400), y], axis=1))


def test_neucept_ranks_as_it_discovers(decided: Recording) -> None:
    settings = {"draws": 5, "calibration": None, "precision": 0.6}
    scores = NeuCEPT(**settings).scores(Subject.of(decided, 1))["hidden"]
    ranking = discover(decided, 1, progress=False, **settings)["hidden"].ranking
    assert np.array_equal(np.argsort(-scores), ranking)
    assert scores.max() == 10 and scores.min() == 1


def test_neucept_as_published_counts_selections(decided: Recording) -> None:
    """On all inputs, by frequency and then by mean statistic, the dead neuron last."""
    method = NeuCEPT.published(draws=20, precision=0.7)
    order = np.argsort(-method.scores(Subject.of(decided, 1))["hidden"])
    critical = discover(
        decided, 1, samples="all", calibration=None, aggregate="frequency", draws=20, precision=0.7, progress=False
    )["hidden"]
    keys = [(-critical.frequency[i], -critical.mean_statistic[i]) for i in order[:-1]]
    assert keys == sorted(keys) and order[-1] == 9
    assert len(set(critical.frequency)) > 2  # so that the count decides, not the statistic alone
    assert method.name == "NeuCEPT, published"


def test_evidence_puts_a_twin_beside_its_like(make_recording: Any) -> None:
    """Neurons 0 and 8 are the same, 9 is dead: the ranking names 8 after all others, the evidence beside 0."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(400, 10))
    Z[:, 8], Z[:, 9] = Z[:, 0], 0
    y = Z[:, :4] @ [4, 3, 2, 1] + rng.normal(size=400)
    recording = make_recording(Z, logits=np.stack([np.zeros(400), y], axis=1))
    settings = {"draws": 5, "calibration": None, "precision": 0.6}
    statistic = discover(recording, 1, progress=False, **settings)["hidden"].mean_statistic
    by_ranking, by_evidence = (
        NeuCEPT(order=order, **settings).scores(Subject.of(recording, 1))["hidden"] for order in ("ranking", "evidence")
    )
    assert by_ranking[[0, 8, 9]].tolist() == [10, 2, 1]
    assert by_evidence[[0, 8, 9]].tolist() == [10, 10, 1]
    assert sorted(by_evidence) == [1, 2, 3, 4, 5, 6, 7, 8, 10, 10]
    assert (np.diff(statistic[np.argsort(-by_evidence)[:9]]) <= 0).all()


def test_the_order_of_the_evidence(lenet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The null probability first, then the importance; the statistic has no say; dead neurons are last."""
    selection = Selection(
        layer=LINEAR0,
        precision=0.9,
        statistics=np.array([[9.0, 0, 0, 0, 0, 8, 0]]),
        groups=np.array([0, 1, 1, 2, 3, -1, 1]),
        representatives=np.array([0, 1, 3, 4]),
        rule=LocalFDR(None, np.array([0.9, 0.2, 0.2, 0.0])),
        importance=np.array([0.1, 0.5, 0.7, 0.6, 0.2, 0.0, 0.5]),
    )
    monkeypatch.setattr("neucept.rankings.recorded.discover", lambda *given, **settings: {LINEAR0: selection})
    scores = NeuCEPT(order="evidence").scores(Subject.of(lenet[2], 1, layers=[LINEAR0]))[LINEAR0]
    assert scores.tolist() == [2, 4, 6, 5, 7, 1, 4]


def test_names_of_the_orders() -> None:
    assert [NeuCEPT(order=order).name for order in ("ranking", "evidence")] == ["NeuCEPT", "NeuCEPT, by evidence"]
    assert [NeuCEPT(order=order).name for order in (None, "robust")] == ["NeuCEPT", "NeuCEPT, by robustness"]
    assert NeuCEPT(name="ours").name == NeuCEPT.published(name="ours").name == "ours"
    with pytest.raises(InputError, match="order='statistic': expected one of 'information', 'evidence'"):
        NeuCEPT(order="statistic")


def test_the_table(lenet: Any) -> None:
    model, inputs, recording = lenet
    table = rank(recording, 1, [Activation(), Saliency()], model, (inputs, np.zeros(70)), layers=[LINEAR0])
    assert list(table.columns) == ["layer", "neuron", "method", "score", "rank"]
    assert len(table) == 2 * 84
    for _, part in table.groupby("method"):
        assert sorted(part["neuron"]) == list(range(84)) and list(part["rank"]) == list(range(1, 85))
        assert (np.diff(part["score"]) <= 0).all()


class Named(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"features": x.flatten(1), "out": self.model(x)}


def test_the_logits_are_those_of_the_recording(lenet: Any) -> None:
    model, inputs, recording = lenet
    named = Named(model)
    again = record(named, inputs, [f"model.{LINEAR0}"], output="out")
    expected = rank(recording, 1, [Saliency()], model, inputs, layers=[LINEAR0])["score"]
    loader = DataLoader(TensorDataset(inputs, torch.zeros(70, dtype=torch.long)), 16)
    np.testing.assert_allclose(rank(again, 1, [Saliency()], named, loader)["score"], expected, rtol=1e-5)


class Broken:
    name = "broken"

    def scores(self, subject: Subject) -> dict[str, np.ndarray]:
        return {layer: np.full(3, np.nan) for layer in subject.layers}


class Giving:
    """A method that gives anything."""

    def __init__(self, given: Any, name: Any = "giving") -> None:
        self.given, self.name = given, name

    def scores(self, subject: Subject) -> Any:
        return self.given


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ([Activation], r"methods holds the class Activation; make a method of it: Activation\(\)"),
        (Activation(), r"methods=Activation.*: expected a list of methods"),
        ("activation", "methods='activation': expected a list of methods"),
        ([lambda subject: {}], "is no method: expected a name"),
        ([Giving({}, name=None)], "is no method: expected a name"),
        (["activation"], "'activation' is no method"),
        ([Giving(None)], r"'giving' gave a NoneType; expected \{layer"),
        ([Giving(np.zeros(84))], r"'giving' gave a ndarray; expected \{layer"),
        ([Giving({LINEAR0: ["high"] * 84})], "'giving' must give 84 finite scores"),
        ([Giving({})], "'giving' must give 84 finite scores"),
    ],
)
def test_what_is_no_method(lenet: Any, methods: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rank(lenet[2], 1, methods, layers=[LINEAR0])


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (LINEAR0, "layers='classifier.1': expected a list of names, such as .'classifier.1'."),
        ([], r"layers=\[\]: expected at least one name"),
        ([LINEAR0, LINEAR0], "expected at least one name, none twice"),
        (["classifier"], "Layer 'classifier' was not recorded"),
    ],
)
def test_layers_that_cannot_be_ranked(lenet: Any, layers: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rank(lenet[2], 1, [Activation()], layers=layers)


def test_what_is_refused(lenet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs, recording = lenet
    for methods in ([], [Activation(), Activation()]):
        with pytest.raises(InputError, match="each by a name of its own"):
            rank(recording, 1, methods)
    with pytest.raises(InputError, match="'broken' must give 16 finite scores"):
        rank(recording, 1, [Broken()])
    with pytest.raises(InputError, match="give model= and data="):
        rank(recording, 1, [Saliency()])
    with pytest.raises(InputError, match="data holds 7 inputs, the recording 70"):
        rank(recording, 1, [Saliency()], model, inputs[:7])
    with pytest.raises(InputError, match="other than was recorded"):
        rank(recording, 1, [Saliency()], model, inputs.flip(0))
    with pytest.raises(InputError, match="got an array as target"):
        rank(recording, recording.logits[:, 0], [Saliency()], model, inputs)
    with pytest.raises(InputError, match="baseline='mean'"):
        IntegratedGradients(baseline="mean")
    with pytest.raises(InputError, match="with whole=True baselines are inputs"):
        IntegratedGradients(baseline="zero", whole=True)
    pooled = record(model, inputs, [CONV2], neurons=lambda x: x.amax((2, 3)))
    with pytest.raises(InputError, match="are a callable's"):
        rank(pooled, 1, [Saliency()], model, inputs)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(InputError, match=r"captum, which is not installed: pip install 'neucept\[rankings\]'"):
        rank(recording, 1, [Saliency()], model, inputs)


@pytest.mark.parametrize(
    ("activation", "method", "said"),
    [
        (nn.ReLU, DeepLift(), None),
        (nn.ReLU6, DeepLift(), r"DeepLIFT at layer '1': .* miss \d+% of it\. Captum's DeepLIFT knows"),
        (nn.ReLU6, IntegratedGradients(steps=200), None),
        (nn.ReLU6, IntegratedGradients(steps=1), r"integrated gradients at layer '1': .* Give more steps="),
    ],
    ids=["exact", "unknown activation", "many steps", "one step"],
)
def test_attributions_that_do_not_add_up_are_said(
    activation: type[nn.Module], method: Any, said: str | None, recwarn: pytest.WarningsRecorder
) -> None:
    torch.manual_seed(0)
    parts = (nn.Linear(10, 16), activation(), nn.Linear(16, 16), activation(), nn.Linear(16, 16), activation())
    model = nn.Sequential(*parts, nn.Linear(16, 3)).eval()
    inputs = 5 * torch.randn(100, 10)
    recording = record(model, inputs, ["1"])
    method.scores(Subject.of(recording, 0, model, inputs, rows="all"))
    messages = [str(warning.message) for warning in recwarn if "add up" in str(warning.message)]
    assert len(messages) == (said is not None)
    assert said is None or re.search(said, messages[0])
