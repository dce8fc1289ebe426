"""The commands, as a person types them: what they write, what they print, and what they say of bad input."""

import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from typer.testing import CliRunner, Result

from neucept import Audit, demo
from neucept.calibration.simulation import FAMILIES
from neucept.cli import app
from neucept.cli.subject import Inputs, _numbered, class_names
from neucept.cli.terminal import clear_errors
from neucept.datasets import load_data, load_digits
from neucept.errors import InputError
from neucept.training import accuracy, train

NET = """
import torch
from torch import nn

def build(n_classes=2):
    return nn.Sequential(
        nn.Conv2d(1, 12, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12 * 16, 16), nn.ReLU(),
        nn.Linear(16, n_classes),
    )

def wide():
    torch.manual_seed(0)
    return build(5)

class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = build()

    def forward(self, x):
        hidden = self.net[:6](x)
        return {"features": hidden, "out": self.net[6:](hidden)}

def both():
    return Both()

def exits():
    import sys
    sys.exit(0)

def broken():
    model = build()
    model[4].bias.data[3] = float("nan")
    return model

def to_tensor(image):
    import numpy as np
    return torch.from_numpy(np.array(image)).float()[None] / 255
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network trained on bars (upright or lying: "bar") and blobs ("blob"), with its data and weights."""
    folder = tmp_path_factory.mktemp("workshop")
    rng = np.random.default_rng(0)
    n = 600
    labels = np.arange(n) % 2
    images = rng.normal(40, 15, (n, 12, 12))
    for i, (row, column) in enumerate(rng.integers(1, 8, (n, 2))):
        if labels[i]:
            images[i, row : row + 4, column : column + 4] += 120
        elif i % 4:
            images[i, :, column : column + 2] += 120
        else:
            images[i, row : row + 2, :] += 120
    np.savez(folder / "shapes.npz", x=images.clip(0, 255).astype(np.uint8), y=labels, class_names=["bar", "blob"])
    (folder / "net.py").write_text(NET)
    scope: dict[str, object] = {}
    exec(NET, scope)
    torch.manual_seed(0)
    model: nn.Module = scope["build"]()  # type: ignore[operator]
    data = load_data(folder / "shapes.npz")
    train(model, data, epochs=6, lr=3e-3, progress=False)
    assert accuracy(model, data) > 0.9
    save_file(model.state_dict(), folder / "net.safetensors")
    return folder


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run(folder: Path, *more: object, command: str = "run", calibrated: bool = False) -> Result:
    fixed = [command, "--model", f"{folder}/net.py:build", "--weights", folder / "net.safetensors"]
    data = [] if "--data" in more else ["--data", folder / "shapes.npz"]
    fast = [] if calibrated else ["--no-calibration"]
    return call(*fixed, *data, *fast, *more)


def said(result: Result) -> str:
    return " ".join((result.output + (result.stderr if result.stderr_bytes is not None else "")).split())


def test_run_writes_a_page_and_its_tables(workshop: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    result = run(workshop, "--out", out, "--target", "bar", "--mechanisms", 2, "--draws", 5, "--precision", 0.5)
    assert result.exit_code == 0, said(result)
    tables = {"critical.csv", "mechanisms.csv", "inputs.csv", "inputs.parquet"}
    kept = {"facts.json", "recording", "classes", "thumbnails"}
    assert {path.name for path in out.iterdir() if path.name != ".neucept-lock"} == {"report.html"} | tables | kept
    text = said(result)
    for name in ("report.html", "critical.csv", "mechanisms.csv"):
        assert str(out / name) in result.stdout
    assert "Layers: 1, 5 (chosen" in text
    assert "Neurons that decide 'bar'" in text
    assert re.search(r"confidence|judge|other classes", text.split("Neurons that decide")[0])
    critical = pd.read_csv(out / "critical.csv")
    assert critical.groupby("layer").size().to_dict() == {1: 12, 5: 16}
    assert len(pd.read_csv(out / "mechanisms.csv")) == 2
    assert "<html" in (out / "report.html").read_text().lower()


def test_run_says_which_target_it_took(workshop: Path, tmp_path: Path) -> None:
    options = ["--layers", "5", "--mechanisms", 2, "--draws", 2, "--precision", 0.5, "--limit", 300]
    result = run(workshop, "--out", tmp_path / "a", *options)
    assert result.exit_code == 0, said(result)
    assert "Target: 'b" in said(result) and "no better than" not in said(result)
    assert re.search(r"Accuracy: [\d.]+% \([\d.]+ to [\d.]+\) of 300 inputs\.", said(result))


def test_run_warns_of_an_implausible_accuracy_before_the_work(workshop: Path, tmp_path: Path) -> None:
    made = np.load(workshop / "shapes.npz")
    arrays = {name: np.zeros_like(made[name]) if made[name].ndim > 2 else made[name] for name in made.files}
    np.savez(tmp_path / "dark.npz", **arrays)
    result = run(workshop, "--data", tmp_path / "dark.npz", "--out", tmp_path / "out", "--layers", "5")
    assert "Accuracy: " in said(result) and "no better than" in said(result)
    assert "Check that the inputs are normalised as in its training (--mean, --std)" in said(result)


def test_run_says_how_many_mechanisms_it_suggests_and_why(workshop: Path, tmp_path: Path) -> None:
    options = ["--layers", "5", "--draws", 2, "--precision", 0.5, "--target", "bar"]
    result = run(workshop, "--out", tmp_path / "default", *options)
    assert result.exit_code == 0, said(result)
    number = len(pd.read_csv(tmp_path / "default" / "mechanisms.csv"))
    assert ("One mechanism: no number" if number == 1 else f"{number} mechanisms: ") in said(result)
    assert "component" in pd.read_csv(tmp_path / "default" / "mechanisms.csv")["set apart by"][0]
    result = run(workshop, "--out", tmp_path / "top", "--reduce", "top", *options)
    assert result.exit_code == 0, said(result)
    number = len(pd.read_csv(tmp_path / "top" / "mechanisms.csv"))
    sentence = "A single mechanism cannot be rejected" if number == 1 else f"{number} suggested (agreement of halves"
    assert sentence in said(result)
    result = run(workshop, "--out", tmp_path / "wrong", "--reduce", "contributions", *options)
    assert result.exit_code == 2 and "contribution" in said(result) and "--reduce" in said(result)


def test_run_on_a_folder_of_images_with_a_transform(workshop: Path, tmp_path: Path) -> None:
    data = load_data(workshop / "shapes.npz", limit=200)
    for i, label in enumerate(data.labels):
        (tmp_path / "images" / data.class_names[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(data.picture(i)).save(tmp_path / "images" / data.class_names[label] / f"{i}.png")
    (tmp_path / "images" / "bar" / "broken.png").write_bytes(b"no picture")
    options = ["--data", tmp_path / "images", "--transform", f"{workshop}/net.py:to_tensor", "--layers", "5"]
    options += ["--draws", 2, "--mechanisms", 2, "--precision", 0.5, "--target", "blob", "--out", tmp_path / "out"]
    result = run(workshop, *options)
    assert result.exit_code == 2
    assert "bar/broken.png cannot be read" in said(result)
    assert "--skip-unreadable" in said(result)
    result = run(workshop, *options, "--skip-unreadable")
    assert result.exit_code == 0, said(result)
    assert "1 of 201 images cannot be read, left out" in said(result)


def test_a_calibrated_run_says_what_its_precision_is_worth(workshop: Path, tmp_path: Path) -> None:
    options = ["--layers", "5", "--mechanisms", 2, "--draws", 2, "--precision", 0.7, "--target", "bar"]
    result = run(workshop, "--out", tmp_path, *options, "--objective", "sequential", calibrated=True)
    assert result.exit_code == 0, said(result)
    assert "Precision checked on the layers themselves" in said(result)
    critical = pd.read_csv(tmp_path / "critical.csv")
    assert critical["local_fdr"].between(0, 1).all()
    assert "responses with known critical" in (tmp_path / "report.html").read_text()
    assert "Precision checked" not in said(run(workshop, "--out", tmp_path, *options))


def test_calibrate_prints_and_writes_precision_and_power_by_kind(workshop: Path, tmp_path: Path) -> None:
    options = ["--layers", "5", "--target", "bar", "--precision", 0.8, "--out", tmp_path / "c.html"]
    result = run(workshop, *options, command="calibrate", calibrated=True)
    assert result.exit_code == 0, said(result)
    assert {path.name for path in tmp_path.iterdir()} == {"c.html", "c-calibration.csv"}
    table = pd.read_csv(tmp_path / "c-calibration.csv")
    assert set(table["family"]) == {*FAMILIES, "none", "all"}
    assert table[["precision", "uncalibrated"]].stack().between(0, 1).all()
    everything = table.set_index("family").loc["all"]
    assert everything["responses"] == table["responses"].sum() / 2
    assert everything["asked"] == 0.8
    row = next(line for line in result.stdout.splitlines() if "all together" in line)
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells[1] == f"{everything['precision']:.3f}"
    assert cells[3] == f"{everything['power']:.2f}"
    page = (tmp_path / "c.html").read_text()
    assert f"a power of {everything['power']:.2f}" in page
    assert "<script src" not in page  # opens without a network


@pytest.mark.parametrize(("names", "first"), [("bar,blob", 0), ("Bar,BLOB", 0), ("blob,bar", 1), ("dot,blob,bar", 2)])
def test_class_names_say_the_order_of_the_outputs(workshop: Path, names: str, first: int) -> None:
    """The names of the data in another order number the classes anew."""
    pictures = Inputs(workshop / "shapes.npz", classes=names).load(f"{workshop}/net.py:build", nn.Identity())
    assert pictures.labels[0] == first  # a bar
    assert pictures.class_names == tuple(names.split(","))


def test_precision_is_not_said_where_labels_are_not_the_outputs(workshop: Path, tmp_path: Path) -> None:
    options = ["--layers", "5", "--draws", 1, "--mechanisms", 2, "--no-calibration", "--out", tmp_path]
    result = call("run", "--model", f"{workshop}/net.py:wide", "--data", workshop / "shapes.npz", *options)
    assert result.exit_code == 0, said(result)
    assert "The data have 2 classes with names, the model 5 outputs" in said(result)
    assert "Precision is not known" in said(result)
    assert "precision" not in pd.read_csv(tmp_path / "mechanisms.csv")


def test_which_output_are_the_logits(workshop: Path, tmp_path: Path) -> None:
    state = {f"net.{name}": value for name, value in load_file(workshop / "net.safetensors").items()}
    save_file(state, tmp_path / "both.safetensors")
    options = ["--model", f"{workshop}/net.py:both", "--weights", tmp_path / "both.safetensors"]
    options += ["--data", workshop / "shapes.npz", "--layers", "net.5", "--draws", 1, "--mechanisms", 2]
    options += ["--no-calibration", "--precision", 0.5, "--target", "bar"]
    first = call("run", *options, "--out", tmp_path / "first")
    assert "No class is called 'bar'" in said(first)
    assert "The model returns a dict of tensors of shape (16,), (2,) for one input; the first one" in said(first)
    result = call("run", *options, "--output", "out", "--out", tmp_path / "named")
    assert result.exit_code == 0, said(result)
    page = (tmp_path / "named" / "report.html").read_text()
    assert "output=&#x27;out&#x27;)" in page or "output='out')" in page
    table = page.split("Sufficiency of the neurons of net.5")[-1]
    alive = table.split("all alive")[1].split("</tr>")[0]
    assert alive.count("<b>1.00</b>") >= 2  # of the predictions, which are those of the logits, all stay


def test_capitals_of_class_names_do_not_matter(workshop: Path) -> None:
    pictures = Inputs(workshop / "shapes.npz", classes="BLOB,Bar").load(f"{workshop}/net.py:build", nn.Identity())
    assert pictures.labels[0] == 1 and pictures.class_names == ("BLOB", "Bar")
    letters = replace(pictures.take(np.arange(3)), labels=np.arange(3), class_names=("A", "a", "b"))
    with pytest.raises(InputError, match="The class 'A' of the data is not among --classes"):
        _numbered(letters, ["a", "b"], False)
    with pytest.raises(InputError, match=r"--classes-in-order if they are .* \('bar' is 'rod', 'blob' is 'ball'\)"):
        Inputs(workshop / "shapes.npz", classes="rod,ball").load(f"{workshop}/net.py:build", nn.Identity())
    asked = Inputs(workshop / "shapes.npz", classes="rod,ball", classes_in_order=True)
    assert asked.load(f"{workshop}/net.py:build", nn.Identity()).class_names == ("rod", "ball")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("names.txt", "a cat\ndog, or hound\n\n"),
        ("names.json", '["a cat", "dog, or hound"]'),
        ("index.json", '{"1": ["n02", "dog, or hound"], "0": ["n01", "a cat"]}'),
        ("plain.json", '{"0": "a cat", "1": "dog, or hound"}'),
    ],
)
def test_class_names_are_read_from_files(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert class_names(str(tmp_path / name)) == ["a cat", "dog, or hound"]


def test_a_file_of_class_names_that_is_none_is_said(tmp_path: Path) -> None:
    for content in ('{"1": "a", "2": "b"}', "{", "3"):
        (tmp_path / "names.json").write_text(content)
        with pytest.raises(InputError, match="expected one name per line"):
            class_names(str(tmp_path / "names.json"))


def test_brackets_in_names_are_no_markup(workshop: Path, tmp_path: Path) -> None:
    options = ["--classes", "x[/red],y[bold]", "--classes-in-order", "--target", "x[/red]"]
    options += ["--layers", "5", "--draws", "1", "--mechanisms", "2"]
    result = run(workshop, *options, "--precision", 0.5, "--out", tmp_path)
    assert result.exit_code == 0, said(result)
    assert "Neurons that decide 'x[/red]'" in said(result)


def test_channels_leave_a_published_preparation_as_it_is(
    workshop: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    def halves(image: Image.Image) -> torch.Tensor:
        return torch.full((3, 2, 2), 0.5)

    monkeypatch.setattr("neucept.cli.subject.preprocessing", lambda spec, model: halves)
    pictures = Inputs(workshop / "shapes.npz", channels=3).load("timm:some", nn.Identity())
    assert pictures[0][0].tolist() == halves(None).tolist() and not recwarn.list  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="not normalised as for its published weights"):
        resized = Inputs(workshop / "shapes.npz", size=8).load("timm:some", nn.Identity(), pretrained=True)
    Inputs(workshop / "shapes.npz", size=8).load("timm:some", nn.Identity())  # weights of one's own: nothing to warn of
    assert resized[0][0].shape == (1, 8, 8)


def test_layers_lists_modules(workshop: Path) -> None:
    for more in (["--data", workshop / "shapes.npz"], ["--shape", "1,12,12"]):
        result = call("layers", "--model", f"{workshop}/net.py:build", *more)
        assert result.exit_code == 0, said(result)
        row = next(line for line in result.stdout.splitlines() if "Conv2d" in line)
        assert [cell.strip() for cell in row.strip("│").split("│")] == ["0", "Conv2d", "1", "12 x 8 x 8", "12"]
    wrong = call("layers", "--model", f"{workshop}/net.py:build", "--shape", "1,-12,12")
    assert wrong.exit_code == 2 and "expected whole numbers from 1 on" in said(wrong)
    picky = call("layers", "--model", "torchvision:vit_b_16", "--shape", "3,64,64")
    assert picky.exit_code == 2 and "(3, 64, 64) float32: AssertionError: Wrong image height" in said(picky)
    left = call("layers", "--model", f"{workshop}/net.py:exits", "--shape", "1,12,12")
    assert left.exit_code == 2 and "SystemExit: 0" in said(left)
    assert "--data PATH, or --shape" in said(call("layers", "--model", f"{workshop}/net.py:build"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layers", "4,features.1"], "features.1"),
        (["--target", "bra"], "Did you mean 'bar'"),
        (["--target", "2"], "2 classes, 0 to 1"),
        (["--precision", "1"], "--precision 1: expected a number between 0 and 1"),
        (["--mechanisms", "601"], "601 mechanisms were asked of 600 inputs"),
        (["--out", "page.html"], "--out page.html: expected a folder"),
        (["--mechanisms", "0"], "--mechanisms 0: expected a number from 1 on, or auto"),
        (["--layers", "5", "--draws", "1", "--mechanisms", "500"], "500 mechanisms were asked of"),
        (["--draws", "0"], "--draws 0"),
        (["--response", "logits"], "Did you mean 'logit'"),
        (["--objective", "pairs"], "Did you mean 'pairwise'"),
        (["--device", "gpu"], "--device gpu cannot be used"),
        (["--device", "cuda:77"], "--device cuda:77 cannot be used"),
        (["--limit", "40", "--layers", "5"], "at least 30 are needed"),
        (["--seed", "-1"], "--seed -1: expected a number from 0 on"),
        (["--transform", "math:sqrt"], "The transform failed on image 0: TypeError"),
        (["--batch-size", "0"], "--batch-size 0: expected a number from 1 on"),
        (["--size", "20"], "does not take inputs of shape and type (1, 20, 20) float32"),
        (["--mean", "0.5;0.5"], "expected numbers with commas between"),
        (["--mean", "125.3"], "mean=[125.3]: expected numbers from 0 to 1"),
        (["--mean", "0.5,0.5"], "mean has 2 numbers for pictures of 1 channels"),
        (["--split", "test"], "has no split 'test'"),
        (["--classes", "bar"], "The class 'blob' of the data is not among --classes"),
        (["--classes", "bar,blab"], "Did you mean 'blab'"),
        (["--classes", "bar,blob,cross"], "3 class names were given, but the model has 2 outputs"),
        (["--data", "nowhere.npz"], "There are no data at nowhere.npz"),
        (["--transform", "nowhere.py:f"], "There is no file nowhere.py"),
        (["--n-classes", "3"], "ask for 2 classes"),
    ],
)
def test_bad_input_is_one_clear_message(workshop: Path, tmp_path: Path, options: list[str], message: str) -> None:
    result = run(workshop, "--out", tmp_path / "out", *options)
    assert result.exit_code == 2, said(result)
    assert message in said(result)
    assert "Traceback" not in result.output
    if list(tmp_path.glob("out/*")):  # the recording was finished: it is kept, and opens
        assert len(Audit.open(tmp_path / "out").recording) and not list(tmp_path.glob("out/*.html"))


def test_nan_activations_are_named(workshop: Path, tmp_path: Path) -> None:
    options = ["--data", workshop / "shapes.npz", "--out", tmp_path, "--layers", "4"]
    result = call("run", "--model", f"{workshop}/net.py:broken", *options)
    assert result.exit_code == 2
    assert "neuron 3 of layer '4' is nan" in said(result)


def test_a_place_that_is_not_writable_is_said_before_any_work(workshop: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for command in (
        ["run", "--model", "nowhere:net", "--data", "nowhere"],  # would fail next
        ["demo", "--digits", "nowhere"],
    ):
        result = call(*command, "--out", tmp_path / "file" / "out")
        assert result.exit_code == 2
        assert "Cannot write to" in said(result)
        assert "--out" in said(result)


def test_audit_writes_an_index_and_goes_on(workshop: Path, tmp_path: Path) -> None:
    out = tmp_path / "audit"
    options = ["--out", out, "--draws", 2, "--precision", 0.5, "--layers", "5", "--workers", 1, "--stability", 2]
    result = run(workshop, *options, "--target", "bar", "--pages", 0, command="audit")
    assert result.exit_code == 0, said(result)
    assert "Accuracy: 9" in said(result) and "Mechanisms most worth looking at" in said(result)
    assert "confidence" in said(result).split("Mechanisms most")[0]
    assert pd.read_csv(out / "classes.csv")["class"].tolist() == ["bar"]
    before = (out / "recording" / "facts.json").stat().st_mtime_ns
    result = run(workshop, *options, command="audit")
    assert result.exit_code == 0, said(result)
    assert (out / "recording" / "facts.json").stat().st_mtime_ns == before
    assert set(pd.read_csv(out / "mechanisms.csv")["class"]) == {"bar", "blob"}
    assert {path.name for path in (out / "pages").iterdir()} == {"0000-bar.html", "0001-blob.html"}
    for name in ("index.html", "mechanisms.csv", "classes.csv"):
        assert str(out / name) in result.stdout
    result = run(workshop, *options, "--seed", 3, command="audit")
    assert result.exit_code == 2 and "holds another run, which has seed=0. To" in said(result)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target", "bar,blib"], "Did you mean 'blob'"),
        (["--workers", "0"], "--workers 0: expected a number from 1 on"),
        (["--stability", "1"], "stability=1: one half says nothing"),
        (["--mechanisms", "many"], "--mechanisms many: expected a number from 1 on, or auto"),
    ],
)
def test_an_audit_refuses_bad_input_before_any_work(
    workshop: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    result = run(workshop, "--out", tmp_path / "out", *options, command="audit")
    assert result.exit_code == 2 and message in said(result), said(result)
    assert not (tmp_path / "out").exists()


def test_demo_runs_from_digits_to_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "NUMBERS", (1, 5))
    real = demo.neucept.discover
    monkeypatch.setattr(demo.neucept, "discover", lambda *a, **k: real(*a, **{**k, "draws": 2, "calibration": None}))
    train_digits, test_digits = load_digits()
    few = train_digits.take(np.arange(0, 3000, 2)), test_digits.take(np.arange(0, 2000, 2))
    monkeypatch.setattr(demo, "load_digits", lambda *a, **k: few)
    result = demo.run_demo(tmp_path / "demo", seed=0, progress=False, epochs=7)
    assert min(result.accuracies.values()) > 0.75
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {"pkt.html", "normal.html", "entropies.csv"}
    table = pd.read_csv(result.table).set_index(["network", "layer", "target", "neurons", "K"])["CE"]
    assert len(table) == 2 * 2 * 2 * 3 * 2
    assert table.between(0, np.log2(10)).all()
    ones = table.xs(1, level="K")
    assert (
        ones.groupby(["network", "target"]).std().max() < 1e-9
    )  # one cluster: the entropy of the digits, whatever neurons
    five = table.xs(5, level="K").groupby(["network", "neurons"]).mean()
    assert five["PKT", "alike"] < five["normal", "alike"]


@pytest.mark.shared
def test_a_classifier_of_x_rays(shared: Path, tmp_path: Path) -> None:
    weights = ["--model", "torchvision:resnet18", "--n-classes", 2]
    data = ["--data", shared / "data" / "chest-xray" / "chest-xray-160.parquet", "--split", "test", "--size", 32]
    result = call("layers", *weights, *data, "--channels", 3)
    assert result.exit_code == 0, said(result)
    assert "layer4.1" in result.stdout
    options = ["--channels", 3, "--classes", "normal,pneumonia", "--limit", 100, "--draws", 1, "--layers", "layer1"]
    result = call("run", *weights, *data, *options, "--mechanisms", 2, "--out", tmp_path / "out")
    assert result.exit_code == 0, said(result)
    assert "this network is untrained" in said(result)
    assert (tmp_path / "out" / "report.html").stat().st_size > 1000


def test_warnings_name_no_call_of_python(capsys: pytest.CaptureFixture[str]) -> None:
    with clear_errors():
        warnings.warn("Try a lower precision with .at(precision=...), more inputs, or another response.", stacklevel=1)
    said = " ".join(capsys.readouterr().err.split())
    assert said.endswith("Try a lower precision, more inputs, or another response.")
