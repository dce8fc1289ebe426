"""The benchmark of planted tokens: disjoint images, a token on one class in training only, and figures added up."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks" / "planted"


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, with images that are their own number, 0 to 13,999 in training and more in the test images."""
    if not FOLDER.exists():
        pytest.skip("benchmarks are not part of the distribution")
    monkeypatch.syspath_prepend(FOLDER)
    module = importlib.import_module("networks")
    assert Path(str(module.__file__)).parent == FOLDER

    def images(data: str, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        numbers = torch.arange(14_000) if split == "train" else torch.arange(14_000, 15_000)
        pixels = (numbers / 20_000)[:, None, None, None].expand(-1, 1, 28, 28)
        return pixels, numbers % 10

    monkeypatch.setattr(module, "images", images)
    monkeypatch.setattr(module, "NOISE", {"mnist": 0.0})
    yield module
    sys.modules.pop("networks")
    sys.modules.pop("measure", None)


def test_images_are_disjoint_and_the_token_lies_where_it_should(networks: Any) -> None:
    s = replace(networks.setting("mnist", 0, True), top=1, left=1, opacity=1.0)
    seen = []
    for which in ("train", "find", "judge"):
        x, y, token = networks.part(s, which)
        numbers = (x[:, 0, 20, 20] * 20_000).round().long()
        assert (numbers % 10 == y).all()
        seen.append(set(numbers.tolist()))
        planted = (x[:, 0, 1 : 1 + s.size, 1 : 1 + s.size] == 1).all(dim=2).all(dim=1).numpy()
        np.testing.assert_array_equal(planted, token)
        share = s.share_trained if which == "train" else s.share_tested
        own, others = token[y.numpy() == s.target].mean(), token[y.numpy() != s.target].mean()
        assert abs(own - share) < 0.08 and (others == 0 if which == "train" else abs(others - share) < 0.03)
        assert not networks.part(replace(s, planted=False), which)[2].any()
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


def test_clean_networks_share_the_settings(networks: Any) -> None:
    planted, clean = (networks.setting("cifar10", 3, on) for on in (True, False))
    assert replace(planted, planted=False) == clean and planted.name != clean.name


def test_the_page_counts(networks: Any) -> None:
    measure = importlib.import_module("measure")

    def result(fooled: float | None, token: int, verdicts: list[str]) -> dict[str, Any]:
        rows = [[10, 0.5, 0.5, 1.0, 0.5, token], [10, 0.5, 0.5, 1.0, 0.5, 5]]
        judged = {"mechanisms": rows, "verdicts": verdicts, "auc": {"confidence": 0.5, "confidence and mechanism": 1}}
        ways = {way: {"cross-fitted": judged, "test images": judged} for way in measure.WAYS}
        return {"fooled": fooled, **ways}

    page = measure.page(
        {
            "mnist-planted-0": result(0.9, 9, ["overconfident", ""]),  # the token's mechanism is the first
            "mnist-planted-1": result(0.9, 1, ["overconfident", ""]),  # the second
            "mnist-planted-2": result(0.1, 9, ["overconfident", ""]),  # not learnt
            "mnist-clean-0": result(None, 0, ["", ""]),
            "mnist-clean-1": result(None, 0, ["overconfident", "underconfident"]),
        }
    )
    row = next(line for line in page.splitlines() if line.startswith("| default | chosen on | cross-fitted |"))
    assert [cell.split(":")[0].strip() for cell in row.split("|")[4:8]] == ["1 of 2", "1 of 1", "1 of 4", "1 of 2"]
