"""The same data in nine forms through every call: the same numbers in all of them."""

from __future__ import annotations

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

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)


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
}


def everything(model: nn.Module, data: Any, labels: Any, folder: Path) -> dict[str, Any]:
    """Every call that takes data, and what it gives."""
    layers = ["network.1", "network.3"]
    recording = neucept.record(model, data, layers, progress=False)
    critical = neucept.discover(recording, 1, calibration=None, draws=5, progress=False)
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
    unlabelled = form in ("tensor", "array", "tuple of tensors")
    assert (results.pop("labels") is None) == unlabelled
    for call, result in results.items():
        if isinstance(result, pd.DataFrame):
            pd.testing.assert_frame_equal(result, expected[call], obj=call, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_allclose(result, expected[call], rtol=1e-5, atol=1e-6, err_msg=call)
