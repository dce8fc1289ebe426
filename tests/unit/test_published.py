"""Published weights: taken from this machine where they are, and a clear error at once where no host answers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from neucept.errors import InputError
from neucept.models import load_model
from neucept.models.published import check_reachable

TIMM = "test_resnet.r160_in1k"


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches, and a proxy that refuses every connection."""
    hub = pytest.importorskip("huggingface_hub.constants")
    pytest.importorskip("torchvision")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


@pytest.mark.parametrize("spec", ["torchvision:squeezenet1_1", f"timm:{TIMM}"])
def test_without_a_network_the_error_comes_at_once(offline: Path, spec: str) -> None:
    with pytest.raises(InputError, match=r"127.0.0.1 cannot be reached.*--weights FILE"):
        load_model(spec, "pretrained")


def test_a_host_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_late(*_: object, **__: object) -> None:
        time.sleep(2)
        raise TimeoutError

    monkeypatch.setattr("neucept.models.published._PATIENCE", 0.2)
    monkeypatch.setattr("socket.create_connection", refuse_late)
    with pytest.raises(InputError, match=r"cannot be reached .no answer"):
        check_reachable("timm:x", "https://weights.example/x.pt")


def test_weights_of_torchvision_on_this_machine_need_no_network(offline: Path) -> None:
    from torchvision.models import SqueezeNet1_1_Weights

    model = load_model("torchvision:squeezenet1_1")
    (offline / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(model.state_dict(), offline / "hub" / "checkpoints" / Path(SqueezeNet1_1_Weights.DEFAULT.url).name)
    again = load_model("torchvision:squeezenet1_1", "pretrained")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_weights_of_timm_on_this_machine_need_no_network(offline: Path) -> None:
    model = load_model(f"timm:{TIMM}")
    cache = offline / "hub" / f"models--timm--{TIMM}"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("abc")
    (cache / "snapshots" / "abc").mkdir(parents=True)
    save_file(model.state_dict(), cache / "snapshots" / "abc" / "model.safetensors")
    again = load_model(f"timm:{TIMM}", "pretrained")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
