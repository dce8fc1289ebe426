"""Networks by name, weights that fit, and errors that say why not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from neucept.errors import InputError
from neucept.models import VGG11, LeNet, default_layers, load_function, load_model, preprocessing
from neucept.recording import list_layers

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


@pytest.mark.parametrize("wrapped", ["plain", "state_dict", "module"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_arrive(tmp_path: Path, wrapped: str, suffix: str) -> None:
    trained = LeNet(2)
    state = {("module." if wrapped == "module" else "") + name: value for name, value in trained.state_dict().items()}
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if wrapped == "state_dict" else state, path)
    model = load_model("neucept.models:LeNet", path, n_classes=2)
    for name, value in model.state_dict().items():
        assert torch.equal(value, trained.state_dict()[name])


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
    said = r"Missing: classifier.2.weight \(10, 84\). Not expected: classifier.3.weight \(10, 84\)\.$"
    with pytest.raises(InputError, match=said):
        load_model("neucept.models:LeNet", path)
    with pytest.raises(
        InputError, match=r"Missing: features.0.weight .* and \d+ more. Not expected: classifier.0.bias"
    ):
        load_model("neucept.models:VGG11", path)


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    torch.save(LeNet(), tmp_path / "whole.pt")
    (tmp_path / "noise.safetensors").write_bytes(b"\x00" * 40)
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    torch.save({0: torch.zeros(2)}, tmp_path / "numbered.pt")
    for name, said in (
        ("whole.pt", "whole pickled models, and other Python objects beside the weights, are not opened"),
        ("numbered.pt", "holds no state dict"),
        ("noise.safetensors", "cannot be read"),
        ("list.pt", "holds no state dict"),
        ("gone.pt", "There is no weights file"),
    ):
        with pytest.raises(InputError, match=said):
            load_model("neucept.models:LeNet", tmp_path / name)
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
