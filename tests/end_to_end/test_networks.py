"""Networks of every common kind, from recording to the report: the right neurons, tasks and axes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

import neucept
from neucept.recording import Channels, Scores, Token

N = 64


@dataclass(frozen=True)
class Case:
    """A network, its data, the layers to look at with the number of neurons they must have, and the task found."""

    model: nn.Module
    data: Any
    neurons: dict[str, int]
    task: str = "classes"
    target: Any = None  # the class predicted most
    settings: dict[str, Any] = field(default_factory=dict)
    pathways: bool = True


def images(side: int = 32) -> Tensor:
    return torch.randn(N, 3, side, side)


def resnet() -> Case:
    models = pytest.importorskip("torchvision.models")
    resnet = importlib.import_module("torchvision.models.resnet")
    model = models.ResNet(resnet.BasicBlock, [1, 1, 1, 1], num_classes=4)
    return Case(model, images(), {"layer2": 128, "layer4.0.relu#1": 512, "avgpool": 512})


def vit() -> Case:
    models = pytest.importorskip("torchvision.models")
    model = models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=4)
    nn.init.normal_(model.heads.head.weight)
    neurons = {"encoder.layers.encoder_layer_0": 16, "encoder.layers.encoder_layer_1.mlp.1": 32}
    return Case(model, images(), neurons, settings={"neurons": {"encoder.layers.encoder_layer_0": Token(0)}})


def swin() -> Case:
    models = pytest.importorskip("torchvision.models")
    model = models.SwinTransformer([2, 2], 16, [1, 1], [2, 2], [4, 4], num_classes=4)
    return Case(model, images(), {"features.1": 16, "features.3.0.mlp.1": 128})


def convnext() -> Case:
    models = pytest.importorskip("torchvision.models")
    convnext = importlib.import_module("torchvision.models.convnext")
    setting = convnext.CNBlockConfig
    model = models.ConvNeXt([setting(16, 24, 1), setting(24, None, 1)], num_classes=4)
    return Case(model, images(), {"features.1.0.block.4": 64, "features.3": 24})


def timm_vit() -> Case:
    timm = pytest.importorskip("timm")
    settings = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 4}
    return Case(timm.models.VisionTransformer(**settings), images(), {"blocks.0": 16, "blocks.1.mlp.act": 64})


def texts() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(4, 12, (N,), generator=generator).tolist()
    return [torch.randint(1, 50, (n,), generator=generator) for n in lengths]


def padded(items: list[Tensor]) -> dict[str, Tensor]:
    ids = pad_sequence(items, batch_first=True)
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}


def bert() -> Case:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=3,
        max_position_embeddings=16,
    )
    model = transformers.BertForSequenceClassification(config)
    loader: Any = DataLoader(texts(), 16, collate_fn=padded)  # type: ignore[arg-type]
    return Case(model, loader, {"bert.encoder.layer.0": 16, "bert.encoder.layer.1.intermediate": 32}, pathways=False)


def gpt2() -> Case:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=50, n_positions=16, n_embd=16, n_layer=2, n_head=2, num_labels=3, pad_token_id=0
    )
    model = transformers.GPT2ForSequenceClassification(config)
    loader: Any = DataLoader(texts(), 16, collate_fn=padded)  # type: ignore[arg-type]
    return Case(model, loader, {"transformer.h.0": 16, "transformer.h.1.mlp.act": 64})


class Lstm(nn.Module):
    """Sequence first inside."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.relu, self.head = nn.LSTM(8, 12), nn.ReLU(), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.lstm(x.transpose(0, 1))[0][-1]))


def lstm() -> Case:
    return Case(Lstm(), torch.randn(N, N, 8), {"lstm": 12, "relu": 12})  # as many steps as inputs


def series() -> Case:
    layers = (nn.Conv1d(2, 8, 5), nn.ReLU(), nn.Conv1d(8, 6, 5), nn.GELU(), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    return Case(nn.Sequential(*layers, nn.Linear(6, 3)), torch.randn(N, 2, 40), {"1": 8, "3": 6})


def mlp(outputs: int = 3, *more: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(9, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, outputs), *more)


def features(seed: int = 0) -> Tensor:
    return torch.randn(300, 9, generator=torch.Generator().manual_seed(seed))


def frame() -> Case:
    columns = [f"measure {i}" for i in range(9)]
    labels = pd.Series(pd.Categorical(["low", "mid", "high"] * 100, categories=["low", "mid", "high"], ordered=True))
    return Case(mlp(), (pd.DataFrame(features().numpy(), columns=columns), labels), {"1": 16, "3": 8})


def one_logit() -> Case:
    x = features()
    return Case(mlp(1), (x, (x[:, 0] > 0).long()), {"1": 16}, "binary")


def sigmoid() -> Case:
    x = features()
    return Case(mlp(1, nn.Sigmoid()), (x, (x[:, 0] > 0).long()), {"1": 16}, "binary")


def softmax() -> Case:
    return Case(mlp(3, nn.Softmax(1)), features(), {"1": 16})


def multi_label() -> Case:
    x = features()
    return Case(mlp(4), (x, (x[:, :4] > 0).float()), {"1": 16, "3": 8}, "multi-label", "1")


def regression() -> Case:
    x = features()
    return Case(mlp(1), (x, x[:, 0] + 0.1 * x[:, 1]), {"1": 16, "3": 8}, "regression", "highest tenth")


class Segmenter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(6, 3, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"out": self.head(self.body(x))}


def segmentation() -> Case:
    share = Scores(lambda returned: returned["out"].softmax(1).mean((2, 3)), threshold=0.3)
    return Case(Segmenter(), images(16), {"body.1": 8, "body.3": 6}, "scores", None, {"task": share})


def half() -> Case:
    return Case(mlp().half(), features(), {"1": 16, "3": 8})


def compiled() -> Case:
    model = torch.compile(mlp(), backend="eager")
    model(features())
    return Case(model, features(), {"1": 16, "3": 8})  # type: ignore[arg-type]


def quantised() -> Case:
    quantise = importlib.import_module("torch.ao.quantization").quantize_dynamic
    return Case(quantise(mlp(), {nn.Linear}, torch.qint8), features(), {"1": 16, "3": 8}, pathways=False)


CASES: dict[str, Callable[[], Case]] = {
    case.__name__: case
    for case in (
        *(resnet, vit, swin, convnext, timm_vit, bert, gpt2, lstm, series, frame, one_logit, sigmoid, softmax),
        *(multi_label, regression, segmentation, half, compiled, quantised),
    )
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_from_recording_to_report(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    case = CASES[name]()
    model, layers = case.model, list(case.neurons)
    before = {k: v.clone() for k, v in model.state_dict().items() if isinstance(v, Tensor)}

    recording = neucept.record(model, case.data, layers, progress=False, **case.settings)
    assert {layer: recording.activations(layer).shape[1] for layer in layers} == case.neurons
    assert recording.task.name == case.task
    shares = (
        [recording.predicted(target).mean() for target in range(len(recording.class_names))]
        if not isinstance(case.target, str) or case.target.isdigit()
        else []
    )
    target = case.target if case.target is not None else int(np.argmax(shares))
    rows = recording.samples(target)
    samples = rows if len(rows) >= 30 else "all"

    critical = neucept.discover(recording, target, samples=samples, calibration=None, draws=3, progress=False)
    assert set(critical) == set(layers)
    mechanisms = neucept.learn(recording, {layers[0]: range(4)}, 2, target=target, samples=samples)
    assert sum(mechanisms.shares) == pytest.approx(1)
    kept = neucept.sufficiency(recording, critical, model, case.data, progress=False)
    everything = kept[kept["neurons"] == "all alive"].set_index("layer")
    if name != "vit":  # one token of many
        assert everything["agreement_resampled"].dropna().min() > 0.9
    if name == "bert":  # texts are padded to the longest of their batch
        with pytest.raises(neucept.InputError, match="The inputs differ in length: at site"):
            neucept.trace_pathways(mechanisms, model, case.data, progress=False)
    if case.pathways:
        pathways = neucept.trace_pathways(mechanisms, model, case.data, output=recording.output, progress=False)
        assert len(pathways) == 2
    path = tmp_path / "report.html"
    page = neucept.report(
        recording,
        critical,
        mechanisms,
        case.data,
        path,
        model if case.pathways else None,
        pathways=False,
        progress=False,
    )
    assert recording.target_name(target) in page.read_text("utf-8")
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items() if isinstance(v, Tensor))


def test_channels_can_be_named() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.from_numpy(x.permute(0, 2, 3, 1).numpy())  # no operation of PyTorch says what was done

    model = nn.Sequential(nn.Conv2d(3, 6, 3), Odd(), nn.Flatten(), nn.Linear(6 * 36, 2))
    x = torch.randn(40, 3, 8, 8)
    with pytest.raises(neucept.InputError, match=r"Layer '1': Which axis .*neurons=Channels\(axis=...\)"):
        neucept.record(model, x, ["1"], progress=False)
    recorded = partial(neucept.record, model, x, progress=False)
    named = recorded(["1"], neurons=Channels(axis=3)).activations("1")
    np.testing.assert_allclose(named, recorded(["0"]).activations("0"), atol=1e-6)
