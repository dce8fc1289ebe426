"""Networks by name, weights that fit, and errors that say why not."""

import os
import pickle
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from neucept.errors import InputError
from neucept.models import VGG11, LeNet, default_layers, load_function, load_model, preprocessing
from neucept.models.weights import fit_weights
from neucept.recording import list_layers

State = dict[str, Tensor]
FACTORIES = """
import torch
from helper import WIDTH

class Net(torch.nn.Linear):
    def __init__(self, num_classes=WIDTH):
        super().__init__(3, num_classes)

def build():
    return torch.nn.Linear(3, 2)

def must_be_told(n_classes):
    return torch.nn.Linear(3, n_classes)

def needs_more(path, depth=2):
    return torch.nn.Linear(3, 2)

def no_network():
    return 3

def fails():
    raise KeyError("weights of the backbone")

network = torch.nn.Linear(3, 2)
number = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "helper.py").write_text("WIDTH = 4\n")
    path = tmp_path / "nets.py"
    path.write_text(FACTORIES)
    return path


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameter_counts_of_the_paper() -> None:
    assert [parameters(LeNet(10)), parameters(LeNet(2))] == [61_706, 61_026]
    assert [parameters(VGG11(10)), parameters(VGG11(2))] == [2_976_938, 2_974_882]


def test_named_layers_have_the_papers_neurons() -> None:
    seen = {}
    for model, size, names in (
        (LeNet(), (1, 32, 32), ["feature_extractor.7", "classifier.1"]),
        (VGG11(), (3, 32, 32), ["features.28", "features.31"]),
    ):
        for name in names:
            model.get_submodule(name).register_forward_hook(lambda m, x, y, name=name: seen.update({name: y.shape[1]}))
        model.eval()(torch.zeros(2, *size))
    assert seen == {"feature_extractor.7": 120, "classifier.1": 84, "features.28": 256, "features.31": 256}


@pytest.mark.parametrize(
    ("name", "n_classes", "outputs"),
    [("Net", None, 4), ("Net", 7, 7), ("build", None, 2), ("network", None, 2), ("must_be_told", 5, 5)],
)
def test_factories_of_a_file(file: Path, name: str, n_classes: int | None, outputs: int) -> None:
    model = load_model(f"{file}:{name}", n_classes=n_classes)
    assert model(torch.zeros(1, 3)).shape == (1, outputs)
    assert not model.training


def test_a_package_in_the_current_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert load_model("nets:build").weight.shape == (2, 3)


@pytest.mark.parametrize(
    ("spec", "n_classes", "said"),
    [
        ("{file}:buld", None, "Did you mean 'build'"),
        ("{file}:must_be_told", None, "--n-classes"),
        ("{file}:needs_more", None, "needs the arguments path"),
        ("{file}:no_network", None, "gave a int, expected a torch.nn.Module"),
        ("{file}:fails", None, "KeyError.*weights of the backbone.*nets.py, line"),
        ("{file}:number", None, "is a int, expected"),
        ("{file}:network", 3, "finished network"),
        ("{file}:build", 3, "takes neither n_classes nor num_classes"),
        ("{folder}/net.py:build", None, "There is no file .*Did you mean 'nets.py'"),
        ("no_such_package:build", None, "There is no module 'no_such_package'"),
        ("neucept.modells:LeNet", None, "There is no module 'neucept.modells'"),
        ("neucept.models:lenet", None, "Did you mean 'LeNet'"),
        ("resnet18", None, "does not say what to load. Expected 'package.module:factory'"),
        ("torchvision:resnet19", None, "torchvision has no model 'resnet19'.*Did you mean 'resnet18'"),
        ("timm:resnet_18", None, "timm has no model.*Did you mean"),
    ],
)
def test_what_cannot_be_loaded_is_said(file: Path, spec: str, n_classes: int | None, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_model(spec.format(file=file, folder=file.parent), n_classes=n_classes)


def test_a_file_that_does_not_import(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import a_package_that_is_not_there\n")
    with pytest.raises(InputError, match=r"Importing .*bad.py failed: ModuleNotFoundError.*line 1"):
        load_model(f"{tmp_path}/bad.py:net")
    (tmp_path / "typo.py").write_text("def net(:\n    pass\n")
    with pytest.raises(InputError, match=r"typo.py failed: SyntaxError: (?!.*importlib).*line 1\)") as told:
        load_model(f"{tmp_path}/typo.py:net")
    assert str(told.value).count("line") == 1
    (tmp_path / "asks.py").write_text("import argparse\nargparse.ArgumentParser().parse_args(['--none'])\n")
    with pytest.raises(InputError, match="SystemExit: 2"):
        load_model(f"{tmp_path}/asks.py:net")


def test_maps_that_are_the_outputs_are_no_hidden_layer() -> None:
    fire = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    table = list_layers(fire, torch.zeros(1, 3, 9, 9))
    assert default_layers(table, 5) == ["1"] and default_layers(table, 8) == default_layers(table) == ["3"]


def test_a_factory_may_import_what_lies_beside_it_and_is_named_where_it_fails(tmp_path: Path) -> None:
    (tmp_path / "beside_it.py").write_text("WIDTH = 3\n")
    (tmp_path / "late.py").write_text(
        "from torch import nn\ndef net():\n    from beside_it import WIDTH\n    return nn.Linear(WIDTH, 2)\n"
        "def wrong():\n    return nn.Linear('three', 2)\n"
    )
    assert load_model(f"{tmp_path}/late.py:net").in_features == 3
    with pytest.raises(InputError, match=r"Building .*failed: TypeError.*late\.py, line 6\)"):
        load_model(f"{tmp_path}/late.py:wrong")


def prefixed(*prefixes: str) -> Callable[[State], dict[str, Any]]:
    return lambda state: {"".join(prefixes) + name: value for name, value in state.items()}


def under(*keys: str, **beside: Any) -> Callable[[State], dict[str, Any]]:
    def wrap(state: State) -> dict[str, Any]:
        content: dict[str, Any] = state
        for key in reversed(keys):
            content = {key: content, **beside}
        return content

    return wrap


OPTIMISER = {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}
OLD = {"feature_extractor.0.weight": torch.zeros(6, 1, 5, 5)}
SPELLINGS: dict[str, tuple[Callable[[State], Any], str | None]] = {
    "plain": (dict, None),
    "data parallel": (prefixed("module."), r"all names begin with 'module\.', which is left out"),
    "compiled": (prefixed("_orig_mod."), r"all names begin with '_orig_mod\.'"),
    "wrapper": (prefixed("net."), r"all names begin with 'net\.'"),
    "of any name": (prefixed("student_network."), r"all names begin with 'student_network\.'"),
    "nested": (prefixed("module.", "_orig_mod.", "model."), r"all names begin with 'module\._orig_mod\.model\.'"),
    "state_dict": (under("state_dict", epoch=3, optimizer=OPTIMISER), "those under the key 'state_dict'"),
    "model_state_dict": (under("model_state_dict", lr=0.1), "those under the key 'model_state_dict'"),
    "model": (under("model", names=["a"]), "those under the key 'model'"),
    "ema": (under("ema"), "those under the key 'ema'"),
    "model and ema": (
        lambda state: {"ema": OLD, "model": dict(state)},
        "key 'model'. The state dicts under ema are left out",
    ),
    "two deep": (under("model", "state_dict"), "those under the key 'model.state_dict'"),
    "unusual key": (under("classifier_v2", steps=7), "those under the key 'classifier_v2'"),
    "both": (lambda state: {"state_dict": prefixed("model.")(state)}, r"all names begin with 'model\.'"),
    "half": (lambda state: {name: value.half() for name, value in state.items()}, None),
    "bfloat16": (lambda state: {name: value.bfloat16() for name, value in state.items()}, None),
    "double": (lambda state: {name: value.double() for name, value in state.items()}, None),
    "parameters": (lambda state: {name: nn.Parameter(value) for name, value in state.items()}, None),
    "another order": (lambda state: dict(reversed(state.items())), None),
}


@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".safetensors"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_weights_arrive_however_they_are_spelled(tmp_path: Path, spelling: str, suffix: str) -> None:
    write, said = SPELLINGS[spelling]
    trained, path = LeNet(2), tmp_path / f"weights{suffix}"
    content = write(trained.state_dict())
    if suffix == ".safetensors":
        if not all(isinstance(value, Tensor) for value in content.values()):
            pytest.skip("safetensors holds tensors alone")
        save_file({name: value.detach() for name, value in content.items()}, path)
    else:
        torch.save(content, path)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        model = load_model("neucept.models:LeNet", path, n_classes=2)
    told = [str(warning.message) for warning in seen]
    assert bool(told) == (said is not None) and (said is None or any(re.search(said, one) for one in told)), told
    tolerance = 1e-2 if spelling in ("half", "bfloat16") else 0
    for name, value in model.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, trained.state_dict()[name], rtol=tolerance, atol=tolerance)


def test_a_file_is_read_by_what_it_holds(tmp_path: Path) -> None:
    trained = LeNet(2)
    save_file(trained.state_dict(), tmp_path / "weights.bin")
    model = load_model("neucept.models:LeNet", tmp_path / "weights.bin", n_classes=2)
    assert torch.equal(model.classifier[0].weight, trained.classifier[0].weight)


class Wrapped(nn.Module):
    """A network whose own names begin with a prefix, and two names of which share one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.ModuleDict({"read": nn.Embedding(7, 3), "write": nn.Linear(3, 7, bias=False)})
        self.model["write"].weight = self.model["read"].weight


def test_the_networks_own_prefix_stays_or_is_added() -> None:
    trained, shared = Wrapped().state_dict(), "model.write.weight"
    for state, said in (
        (trained, None),
        ({name: value for name, value in trained.items() if name != shared}, None),  # as safetensors' save_model does
        ({name.removeprefix("model."): value for name, value in trained.items()}, r"'model\.', .* is put before all"),
        ({f"module.{name}": value for name, value in trained.items()}, r"begin with 'module\.', which is left out"),
    ):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            fit_weights(model := Wrapped(), state)
        assert torch.equal(model.model["write"].weight, trained[shared])
        assert bool(seen) == (said is not None) and (said is None or re.search(said, str(seen[0].message)))
    compiled = torch.compile(LeNet(), backend="eager")
    with pytest.warns(UserWarning, match=r"'_orig_mod\.', with which the network's names begin, is put before"):
        fit_weights(compiled, LeNet().state_dict())


def test_layers_that_know_their_inputs_later_take_weights() -> None:
    lazy, trained = nn.LazyLinear(2), nn.Linear(5, 2)
    fit_weights(lazy, trained.state_dict())
    assert torch.equal(lazy.weight, trained.weight)


def changed(value: Any) -> State:
    return LeNet().state_dict() | {"classifier.0.bias": value}


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (changed(torch.zeros(84, dtype=torch.int8)), r"classifier.0.bias is torch.int8, expected torch.float32"),
        (changed(torch.zeros(84, dtype=torch.complex64)), "is torch.complex64, expected torch.float32"),
        (changed(torch.zeros(84, device="meta")), "has no values"),
        (changed(torch.zeros(84).to_sparse()), "is torch.sparse_coo, expected a plain tensor"),
        (changed(torch.quantize_per_tensor(torch.zeros(84), 0.1, 0, torch.qint8)), "is quantised, expected a plain"),
        (changed(torch.full((84,), torch.nan)), "has 84 values that are not a number"),
        (changed(torch.zeros(84, 1)), r"classifier.0.bias is \(84, 1\), expected \(84,\)"),
        (
            {**prefixed("model.")(LeNet().state_dict()), "loss.weight": torch.zeros(3)},
            r"Not expected: loss.weight|and 6",
        ),
        (prefixed("model.")(LeNet(3).state_dict()), r"\(all names begin with 'model\.'.*--n-classes 3"),
        ({}, "Missing: .* and 5 more"),
    ],
)
def test_weights_of_another_kind_are_refused_and_nothing_is_copied(state: State, said: str) -> None:
    model = LeNet()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InputError, match=f"the weights do not fit LeNet.*({said})"):
        fit_weights(model, state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_half_precision_weights_become_single(tmp_path: Path) -> None:
    trained = VGG11(2)
    save_file(
        {name: value.half() if value.is_floating_point() else value for name, value in trained.state_dict().items()},
        tmp_path / "w.safetensors",
    )
    model = load_model("neucept.models:VGG11", tmp_path / "w.safetensors", n_classes=2)
    assert model.classifier.weight.dtype == torch.float32
    assert torch.equal(model.classifier.weight, trained.classifier.weight.half().float())


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(LeNet(2).state_dict(), path)
    with pytest.raises(InputError, match=r"classifier.2.weight is \(2, 84\), expected \(10, 84\).*--n-classes 2"):
        load_model("neucept.models:LeNet", path)
    state = LeNet().state_dict()
    state["classifier.3.weight"] = state.pop("classifier.2.weight")
    save_file(state, path)
    said = (
        r"Missing: classifier.2.weight \(10, 84\). Not expected: classifier.3.weight \(10, 84\)\. Give the weights of"
    )
    with pytest.raises(InputError, match=said):
        load_model("neucept.models:LeNet", path)
    with pytest.raises(
        InputError, match=r"Missing: features.0.weight .* and \d+ more. Not expected: classifier.0.bias"
    ):
        load_model("neucept.models:VGG11", path)


def write_script(path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(2, 3)), path)


def cut_short(path: Path) -> None:
    torch.save(LeNet().state_dict(), path)
    path.write_bytes(path.read_bytes()[:2000])


def noise_inside(path: Path) -> None:
    save_file(LeNet().state_dict(), path)
    path.write_bytes(path.read_bytes()[:8] + b"{" * 300 + path.read_bytes()[308:])


NO_WEIGHTS: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "whole model": ("a.pt", lambda path: torch.save(LeNet(), path), "whole pickled models, and other Python objects"),
    "code": ("a.pt", lambda path: path.write_bytes(pickle.dumps(os.getcwd)), "cannot be read"),
    "script": ("a.pt", write_script, "cannot be read"),
    "cut short": ("a.pt", cut_short, "cannot be read"),
    "noise": ("a.safetensors", lambda path: path.write_bytes(b"\x00" * 40), "cannot be read"),
    "noise in the header": ("a.safetensors", noise_inside, "cannot be read"),
    "empty": ("a.pt", lambda path: path.write_bytes(b""), "cannot be read"),
    "labels": ("classes.txt", lambda path: path.write_text("cat\ndog\n"), "cannot be read"),
    "labels as JSON": ("classes.json", lambda path: path.write_text('{"0": "cat"}'), "cannot be read"),
    "table": ("a.csv", lambda path: path.write_text("file,label\na.png,cat\n"), "cannot be read"),
    "arrays": ("a.npz", lambda path: np.savez(path, x=np.zeros(3)), "cannot be read"),
    "list": ("a.pt", lambda path: torch.save([torch.zeros(2)], path), "holds no state dict"),
    "tensor": ("a.pt", lambda path: torch.save(torch.zeros(2), path), "holds no state dict"),
    "number": ("a.pt", lambda path: torch.save(3, path), "holds no state dict"),
    "no names": ("a.pt", lambda path: torch.save({0: torch.zeros(2)}, path), "holds no state dict.* the keys 0"),
    "nothing": ("a.pt", lambda path: torch.save({}, path), "holds no state dict"),
    "no tensors": ("a.pt", lambda path: torch.save({"epoch": 3, "lr": 0.1}, path), "the keys 'epoch', 'lr'"),
    "optimiser": ("a.pt", lambda path: torch.save({"optimizer": OPTIMISER}, path), "the keys 'optimizer'"),
    "two unknown": ("a.pt", lambda path: torch.save({"a": OLD, "b": OLD}, path), "holds several state dicts, a, b"),
    "missing": ("a.pt", lambda path: None, "There is no weights file"),
    "folder": ("a.pt", lambda path: path.mkdir(), "is a folder without a weights file"),
    "folder of files": (
        "a",
        lambda path: (path.mkdir(), save_file(OLD, path / "m.safetensors")),
        "is a folder; give one of the files in it: m.safetensors",
    ),
}


@pytest.mark.parametrize("kind", NO_WEIGHTS)
def test_files_that_are_no_weights(tmp_path: Path, kind: str) -> None:
    name, write, said = NO_WEIGHTS[kind]
    write(tmp_path / name)
    with pytest.raises(InputError, match=said):
        load_model("neucept.models:LeNet", tmp_path / name)


def test_weights_of_your_own_network_are_published_by_nobody() -> None:
    with pytest.raises(InputError, match="Only torchvision and timm publish weights"):
        load_model("neucept.models:LeNet", "pretrained")


@pytest.mark.parametrize("spec", ["torchvision:resnet18", "timm:resnet18"])
def test_published_networks_and_their_transforms(spec: str) -> None:
    from PIL import Image

    model = load_model(spec, n_classes=3)
    transform = preprocessing(spec, model)
    assert transform is not None
    gray = Image.fromarray(np.full((300, 200), 128, np.uint8))
    tensor = transform(gray)
    assert tensor.shape == (3, 224, 224)
    assert tensor[0, 0, 0] == pytest.approx((128 / 255 - 0.485) / 0.229, abs=1e-4)
    with torch.inference_mode():
        assert model(tensor[None]).shape == (1, 3)


def test_own_networks_have_no_preprocessing(file: Path) -> None:
    assert preprocessing(f"{file}:build", load_model(f"{file}:build")) is None
    assert load_function(f"{file}:build")().weight.shape == (2, 3)
    with pytest.raises(InputError, match="expected a function"):
        load_function(f"{file}:number")


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "factory", "n_classes"),
    [
        ("lenet-prior-0", "LeNet", 10),
        ("lenet-pkt-1", "LeNet", 2),
        ("vgg11-prior-0", "VGG11", 10),
        ("vgg11-normal-0", "VGG11", 2),
    ],
)
def test_trained_networks_load(shared: Path, name: str, factory: str, n_classes: int) -> None:
    model = load_model(f"neucept.models:{factory}", shared / "models" / f"{name}.safetensors", n_classes)
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
