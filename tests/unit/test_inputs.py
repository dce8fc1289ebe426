"""What data may be, and what is said of other data: one table of each."""

from __future__ import annotations

from collections import UserDict, namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

import neucept
from neucept import InputError, Inputs

X, Y = torch.randn(10, 4, generator=torch.Generator().manual_seed(0)), torch.arange(10) % 3
IDS = torch.arange(60).reshape(10, 6) % 50
NAMES = ["a", "b", "c"]
TEXTS = [NAMES[number] for number in Y]
Pair = namedtuple("Pair", "x y")


class Made(Dataset[Any]):
    """Items made by a function."""

    classes = NAMES

    def __init__(self, item: Callable[[int], Any]) -> None:
        self.item = item

    def __getitem__(self, row: int) -> Any:
        """Make an item."""
        return self.item(row)

    def __len__(self) -> int:
        """Ten."""
        return 10


class Endless(Dataset[Any]):
    """A Dataset without a length."""

    def __getitem__(self, row: int) -> Any:
        """Give a row."""
        return X[row]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


class Reader(nn.Module):
    """A text classifier whose forward also takes labels."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(50, 8), nn.Linear(8, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None) -> Any:
        """Return logits; labels must not come here."""
        assert labels is None
        return {"logits": self.head(self.embedding(input_ids).mean(1))}


SAME = {
    "pair of a named tuple": Pair(X, Y),
    "list of named tuples": [Pair(x, int(y)) for x, y in zip(X, Y, strict=True)],
    "no labels": (X, None),
    "items without labels": Made(lambda i: (X[i], None)),
    "long double": X.numpy().astype(np.longdouble),
    "needs a gradient": X.clone().requires_grad_(),
    "rows of lists": X.tolist(),
    "text labels of a subset": Subset(Made(lambda i: (X[i], TEXTS[i])), range(10)),
    "parts of a Dataset": ConcatDataset([Subset(TensorDataset(X, Y), range(k, k + 5)) for k in (0, 5)]),
    "bytes as labels": Inputs.of(X, labels=np.array(TEXTS).astype("S")),
    "labels in a tuple": Inputs.of(X, labels=tuple(Y.tolist())),
    "labels in a column": (X, Y[:, None]),
    "nullable labels": (pd.DataFrame(X.numpy()), pd.Series(Y.numpy()).astype("Int64")),
}


@pytest.mark.parametrize("data", SAME.values(), ids=SAME)
def test_the_same_data_in_another_form(data: Any) -> None:
    model = network()
    recording = neucept.record(model, data, ["1"], class_names=NAMES, progress=False)
    expected = neucept.record(model, X, ["1"], progress=False)
    np.testing.assert_array_equal(recording.activations("1"), expected.activations("1"))
    assert recording.labels is None or recording.labels.tolist() == Y.tolist()


def rows(length: Callable[[int], int]) -> list[dict[str, Any]]:
    return [
        {"input_ids": ids[: length(i)].tolist(), "attention_mask": [1] * length(i), "labels": int(y)}
        for i, (ids, y) in enumerate(zip(IDS, Y, strict=True))
    ]


MAPPINGS = {
    "items of lists": rows(lambda i: 6),
    "columns of lists": {"input_ids": IDS.tolist(), "labels": Y.tolist()},
    "another mapping": UserDict(input_ids=IDS, attention_mask=torch.ones_like(IDS), label=Y),
    "text labels": {"input_ids": IDS.tolist(), "labels": TEXTS},
}


@pytest.mark.parametrize("data", MAPPINGS.values(), ids=MAPPINGS)
def test_labels_of_mappings_do_not_reach_the_network(data: Any) -> None:
    model = Reader()
    recording = neucept.record(model, data, ["embedding"], class_names=NAMES, progress=False)
    assert recording.labels is not None and recording.labels.tolist() == Y.tolist()
    np.testing.assert_allclose(recording.activations("embedding"), model.embedding(IDS).mean(1).detach(), atol=1e-6)


REFUSED: dict[str, tuple[Any, str]] = {
    "texts of several lengths": (rows(lambda i: 3 + i % 2), "cannot be stacked .* pads them"),
    "columns of several lengths": ({"input_ids": [[1, 2], [3]]}, "input_ids has rows of different lengths"),
    "items of several shapes": (Made(lambda i: torch.zeros(4 + i % 2)), "cannot be stacked"),
    "items that are nothing": ([None, None], "cannot be stacked"),
    "objects": (Made(lambda i: object()), "cannot be stacked"),
    "no length": (Endless(), "has no length"),
    "a number": (torch.tensor(1.0), "single number"),
    "meta": (torch.zeros(10, 4, device="meta"), "meta device"),
    "sparse": (sparse.csr_matrix(X.numpy()), "data is a csr_matrix"),
    "masked": (np.ma.masked_less(X.numpy(), 0), "masked values"),
    "a network": (network(), "data is a Sequential"),
    "no rows": ((X[:0], Y[:0]), "holds no inputs"),
    "a generator": ((x for x in X), "data is a generator"),
    "text": (np.array(NAMES), "expected numbers"),
}


@pytest.mark.parametrize(("data", "said"), REFUSED.values(), ids=REFUSED)
def test_other_data_is_refused_in_a_sentence(data: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        neucept.record(network(), data, ["1"], progress=False)


@pytest.mark.parametrize("labels", [3, "abc", {"a": 1}, [1]])
def test_labels_of_another_kind_are_refused(labels: Any) -> None:
    with pytest.raises(InputError, match="labels"):
        Inputs.of(X, labels=labels)


@pytest.mark.parametrize("names", [3, "abc", {0: "a", 1: "b", 2: "c"}, {"a", "b", "c"}, ["a", "a", "b"], ["a"]])
def test_class_names_are_a_list_of_different_names(names: Any) -> None:
    with pytest.raises(InputError, match=r"class.names"):
        neucept.record(network(), X, ["1"], class_names=names, progress=False)


@pytest.mark.parametrize(("labels", "least", "most"), [(Y + 1, 1, 3), (Y - 1, -1, 1)])
def test_labels_beyond_the_classes_are_said(labels: Tensor, least: int, most: int) -> None:
    with pytest.warns(UserWarning, match=f"of 10 labels are no class of the model.* from {least} to {most}"):
        neucept.record(network(), (X, labels), ["1"], progress=False)
