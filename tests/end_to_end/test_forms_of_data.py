"""The same data in many forms through every call: the same numbers in all of them, or one clear error."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate

import neucept
from neucept import ablation
from neucept.rankings import Activation, IntegratedGradients, rank
from neucept.recording import tail

N, K = 300, 6


def table() -> tuple[Tensor, Tensor]:
    """Two ways to be of class 1, some of them wrong."""
    torch.manual_seed(0)
    x = torch.randn(N, K)
    y = ((x[:, 0] > 0) ^ (torch.rand(N) < 0.1)).long()
    return x, y


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(K, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        model[4].bias.zero_()
    return model.eval()


class Keywords(nn.Module):
    """The same network with a keyword for its input, for mappings."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.network(x if mask is None else x * mask)


class OfMappings(Dataset[Any]):
    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Any:
        return {"x": self.x[i], "label": int(self.y[i])}


def collate(items: list[Any]) -> Any:
    x, y = default_collate(items)
    return {"x": x, "labels": y}


class Encoding(UserDict[str, Any]):
    """A mapping of its own, such as the BatchEncoding of Hugging Face's tokenizers."""


def of_classes(y: Tensor) -> Tensor:
    """One column per class."""
    return nn.functional.one_hot(y, 2)


FORMS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "tensor": lambda x, y: x,
    "array": lambda x, y: x.numpy().astype(np.float64),
    "tuple of tensors": lambda x, y: (x,),
    "mapping": lambda x, y: {"x": x, "labels": y},
    "pair with labels": lambda x, y: (x, y),
    "Dataset of tuples": lambda x, y: TensorDataset(x, y),
    "Dataset of mappings": lambda x, y: OfMappings(x, y),
    "DataLoader with a collate function": lambda x, y: DataLoader(TensorDataset(x, y), 7, collate_fn=collate),
    "frame": lambda x, y: (pd.DataFrame(x.numpy()), pd.Series(y.numpy())),
    "frame without labels": lambda x, y: pd.DataFrame(x.numpy()).astype(np.float64),
    "frame of mixed columns": lambda x, y: (pd.DataFrame(x.numpy()).astype({0: np.float64, 1: "Float32"}), y.tolist()),
    "frame and series of any index": lambda x, y: (pd.DataFrame(x.numpy()), pd.Series(y.numpy(), np.arange(N)[::-1])),
    "frame and categories": lambda x, y: (pd.DataFrame(x.numpy()), pd.Series(y.numpy()).astype("category")),
    "array and one column per class": lambda x, y: (x.numpy().astype(np.float64), of_classes(y).numpy()),
    "frame and columns of classes": lambda x, y: (pd.DataFrame(x.numpy()), pd.DataFrame(of_classes(y).bool().numpy())),
    "Dataset of columns of classes": lambda x, y: TensorDataset(x, of_classes(y).float()),
    "mapping of its own": lambda x, y: Encoding(x=x.numpy(), label_ids=y.tolist()),
    "list of tensors": lambda x, y: list(x),
    "list of pairs": lambda x, y: list(zip(x, y.tolist(), strict=True)),
    "list of mappings": lambda x, y: [Encoding(x=a, labels=b) for a, b in zip(x, y.tolist(), strict=True)],
    "DataLoader of mappings": lambda x, y: DataLoader(OfMappings(x, y), 64),
}
UNLABELLED = ("tensor", "array", "tuple of tensors", "frame without labels", "list of tensors")


def everything(model: nn.Module, data: Any, labels: Any, folder: Path) -> dict[str, Any]:
    """Every call that takes data, and what it gives."""
    layers = ["network.1", "network.3"]
    recording = neucept.record(model, data, layers, progress=False)
    plain = {"calibration": None, "draws": 5}
    critical = neucept.discover(recording, 1, model=model, data=data, progress=False, **plain)
    # Without labels in the data the mechanisms have no reliability; all else is the same.
    mechanisms = neucept.learn(recording, {"network.1": range(4), "network.3": range(4)}, 3, target=1)
    kept = neucept.sufficiency(recording, critical, model, data, progress=False)
    ranked = rank(recording, 1, [Activation(), IntegratedGradients()], model=model, data=data)
    inputs = neucept.Inputs.of(data, model)[:]
    with torch.no_grad():
        hidden = inputs.to(torch.device("cpu"), torch.float32).call(
            lambda x: model.network[:2](x)  # type: ignore[index]
        )
    scores = {"all": np.arange(12)}
    ablated = ablation.ablate(tail(model, "network.1"), hidden, recording.predictions, scores, [1.0], progress=False)
    pathways = neucept.trace_pathways(mechanisms, model, data, progress=False)
    explained = mechanisms.explain(neucept.Inputs.of(data, model)[:20].tree, model)
    page = neucept.report(
        recording, critical, mechanisms, data=data, model=model, path=folder / "r.html", progress=False
    )
    analysis = neucept.analyse(model, data, layers, 1, n_mechanisms=2, discovery=plain, pathways=False, progress=False)
    audit = neucept.audit(model, data, layers, [1], discovery=plain, stability=0, workers=1, progress=False)
    return {
        "record": recording.activations("network.3"),
        "labels": recording.labels,
        "discover": critical.table(),
        "learn": mechanisms.labels,
        "sufficiency": kept,
        "rank": ranked,
        "ablate": ablated,
        "trace_pathways": pathways.table() if hasattr(pathways, "table") else np.asarray(len(pathways)),
        "explain": explained.drop(columns=[c for c in explained if c in ("precision", "low", "high")]),
        "analyse": analysis.critical.table(),
        "audit": audit.critical[1].table(),
        "report": np.asarray(page.stat().st_size > 10_000),
    }


@pytest.fixture(scope="module")
def expected(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    x, y = table()
    return everything(Keywords(network), (x, y), y, tmp_path_factory.mktemp("expected"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_numbers(
    form: str, network: nn.Module, expected: dict[str, Any], tmp_path: Path
) -> None:
    x, y = table()
    results = everything(Keywords(network), FORMS[form](x, y), y, tmp_path)
    labels = results.pop("labels")
    assert (labels is None) == (form in UNLABELLED)
    assert labels is None or labels.tolist() == y.tolist()
    for call, result in results.items():
        if isinstance(result, pd.DataFrame):
            pd.testing.assert_frame_equal(result, expected[call], obj=call, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_allclose(result, expected[call], rtol=1e-5, atol=1e-6, err_msg=call)


REFUSED: dict[str, tuple[Callable[[Tensor, Tensor], Any], str]] = {
    "texts in a frame": (lambda x, y: pd.DataFrame({"a": x[:, 0], "b": ["u", "v"] * (N // 2)}), r"not numbers: b"),
    "categories in a frame": (
        lambda x, y: pd.DataFrame(x.numpy()).astype({3: "category"}),
        r"not numbers: 3 \(category\)",
    ),
    "numbers kept as objects": (lambda x, y: pd.DataFrame(x.numpy()).astype(object), r"objects: \.astype\(float\)"),
    "labels in a frame": (
        lambda x, y: pd.DataFrame(x.numpy()).rename(columns=str).assign(label=y.numpy()),
        r"frame\['label'\]",
    ),
    "a label that is missing": (lambda x, y: (x, np.where(np.arange(N) == 3, np.nan, y)), "label of input 3 is"),
    "labels that are texts": (lambda x, y: (x, np.where(y > 0, "cat", "dog").tolist()), "class_names="),
    "labels of other classes": (lambda x, y: (x.numpy(), np.eye(4)[y]), "4 columns but the model 2 outputs"),
    "too few labels": (lambda x, y: (x, y[:50]), "300 inputs but 50 labels"),
    "a generator": (lambda x, y: zip(x, y, strict=True), "data is a zip"),
    "a number": (lambda x, y: 3, "data is a int"),
}
CALLS: dict[str, Callable[[nn.Module, Any], Any]] = {
    "record": lambda model, data: neucept.record(model, data, ["network.1"], progress=False),
    "analyse": lambda model, data: neucept.analyse(model, data, ["network.1"], 1, progress=False),
    "audit": lambda model, data: neucept.audit(model, data, ["network.1"], progress=False),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("form", REFUSED)
def test_what_cannot_be_read_is_refused_by_one_clear_error(form: str, call: str, network: nn.Module) -> None:
    make, said = REFUSED[form]
    with pytest.raises(neucept.InputError, match=said):
        CALLS[call](Keywords(network), make(*table()))


@pytest.mark.parametrize("make", [lambda m: m.numpy(), lambda m: m.bool(), lambda m: pd.DataFrame(m.numpy())])
def test_columns_of_classes_are_classes_and_those_of_several_labels_are_said_to_be(
    make: Callable[[Tensor], Any], network: nn.Module
) -> None:
    x, y = table()
    recording = neucept.record(network, (x, make(of_classes(y))), ["1"], progress=False)
    assert recording.task.name == "classes" and recording.labels is not None
    assert recording.labels.tolist() == y.tolist()
    several = of_classes(y)
    several[7] = 1
    with pytest.warns(UserWarning, match=r"1 of 300 inputs have several labels or none: taken as multi-label"):
        recording = neucept.record(network, (x, make(several)), ["1"], progress=False)
    assert recording.task.name == "multi-label" and "2 labels" in repr(recording)
    with pytest.raises(neucept.InputError, match=r"Several labels are true of input 7\."):
        neucept.record(network, (x, make(several)), ["1"], task="classes", progress=False)


def test_a_mask_of_tokens_stays_an_input(network: nn.Module) -> None:
    """Of two parts that both may be inputs, a matrix of zeros and ones as wide as the first is its mask."""
    x, _ = table()
    mask = (torch.arange(K) < torch.randint(2, K + 1, (N, 1))).long()
    recording = neucept.record(Keywords(network), (x, mask), ["network.1"], progress=False)
    alone = neucept.record(network, x * mask, ["1"], progress=False)
    assert recording.labels is None
    np.testing.assert_array_equal(recording.logits, alone.logits)
