"""What a person does on the evening before a deadline, by commands alone: run, open again, new inputs, send."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from neucept import Audit, InputError
from neucept import audit as neucept_audit
from neucept.datasets import load_data
from neucept.training import accuracy, train

NET = """
from torch import nn

def build(n_classes=3):
    return nn.Sequential(
        nn.Conv2d(1, 12, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12 * 16, 16), nn.ReLU(),
        nn.Linear(16, n_classes),
    )
"""
CLASSES = ("bar", "blob", "noise")


def draw(kind: str, rng: np.random.Generator) -> np.ndarray:
    image = rng.normal(40, 15, (12, 12))
    row, column = rng.integers(1, 8, 2)
    if kind == "bar":
        (image if rng.random() < 0.5 else image.T)[:, column : column + 2] += 120
    elif kind == "blob":
        image[row : row + 4, column : column + 4] += 120
    else:
        image += rng.normal(0, 30, image.shape)
    return image.clip(0, 255).astype(np.uint8)


def write(folder: Path, each: int, seed: int, classes: bool = True) -> Path:
    rng = np.random.default_rng(seed)
    for kind in CLASSES:
        place = folder / kind if classes else folder
        place.mkdir(parents=True, exist_ok=True)
        for i in range(each):
            Image.fromarray(draw(kind, rng)).save(place / f"{kind}-{i:03d}.png")
    return folder


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained network, images by class, tomorrow's images without, and a finished audit."""
    folder = tmp_path_factory.mktemp("desk")
    write(folder / "photos", 150, 0)
    write(folder / "tomorrow", 20, 1, classes=False)
    odd = np.random.default_rng(2).integers(0, 256, (10, 12, 12)).astype(np.uint8)
    for i, image in enumerate(odd):
        Image.fromarray(255 - image // 4).save(folder / "tomorrow" / f"odd-{i}.png")
    (folder / "net.py").write_text(NET)
    scope: dict[str, object] = {}
    exec(NET, scope)
    for name, seed in (("net", 0), ("other", 1)):
        torch.manual_seed(seed)
        model: nn.Module = scope["build"]()  # type: ignore[operator]
        data = load_data(folder / "photos", progress=False)
        train(model, data, epochs=25, lr=3e-3, progress=False, seed=seed)
        assert accuracy(model, data) > 0.9
        save_file(model.state_dict(), folder / f"{name}.safetensors")
    result = neucept(folder, "audit", *network(), "--data", "photos", "--out", "runs/all", *FAST, "--stability", 0)
    assert "Where the network" in result or "Accuracy" in result
    return folder


QUICK: dict[str, Any] = {
    "discovery": {"calibration": None, "draws": 3},
    "stability": 0,
    "workers": 1,
    "progress": False,
}
FAST = ("--no-calibration", "--draws", 3, "--layers", "1,5")


def network(weights: str = "net") -> tuple[str, ...]:
    return "--model", "net.py:build", "--weights", f"{weights}.safetensors"


def neucept(folder: Path, *arguments: object, fails: bool = False) -> str:
    """Call the command in a process of its own, in a folder; return what it prints, in one line."""
    code = "from neucept.cli import app; app()"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
    )
    said = " ".join((done.stdout + done.stderr).split())
    assert (done.returncode != 0) == fails, said
    assert "Traceback" not in said, said
    return said


def test_a_run_tells_where_it_comes_from_and_every_input_by_its_file(desk: Path) -> None:
    audit = Audit.open(desk / "runs" / "all")
    made = audit.provenance
    assert made["command"].startswith("neucept audit --model net.py:build --data photos")
    assert made["options"]["weights"] == str((desk / "net.safetensors").resolve()) and len(made["weights_sha256"]) == 64
    table = pd.read_csv(desk / "runs" / "all" / "inputs.csv").fillna({"flags": "", "verdict": ""})
    pd.testing.assert_frame_equal(table, pd.read_parquet(desk / "runs" / "all" / "inputs.parquet"), check_dtype=False)
    assert len(table) == 450 and table["input"].str.contains(r"(?:bar|blob|noise)-\d+\.png$").all()
    assert (table["label"] == table["input"].str.extract(r"(bar|blob|noise)-\d", expand=False)).all()
    right = table["label"] == table["prediction"]
    assert (table["flags"].str.contains("misclassified") == ~right).all()
    assert table["confidence"].between(1 / 3, 1).all()
    known = audit.mechanisms["bar"]
    own = table.iloc[known.samples]
    np.testing.assert_array_equal(own["mechanism"], known.labels)
    np.testing.assert_allclose(own["typicality"], known.typicality)
    assert (own["prediction"] == "bar").all()


def test_it_is_shown_and_drawn_again_without_network_and_data(desk: Path, tmp_path: Path) -> None:
    packed = tmp_path / "all.zip"
    neucept(desk, "pack", "runs/all", "--out", packed)
    assert "Mechanisms most worth looking at" in neucept(tmp_path, "show", "all.zip")
    assert "Neurons that decide 'blob'" in neucept(tmp_path, "show", "all.zip", "--target", "blob")
    assert "photos" not in {path.name for path in tmp_path.iterdir()}
    said = neucept(tmp_path, "report", "all.zip", "--target", "bar", "--precision", 0.6, "--mechanisms", 3)
    (page,) = tmp_path.glob("all/*.html")
    assert str(page) in said and "precision-0.6" in page.name and page.read_text().count("data:image") > 8
    assert len(pd.read_csv(page.with_name(f"{page.stem}-mechanisms.csv"))) == 3
    assert "bar-007.png" in neucept(tmp_path, "show", "all.zip", "--input", "bar-007.png")


def test_another_precision_and_number_are_those_of_the_results(desk: Path) -> None:
    audit = Audit.open(desk / "runs" / "all")
    again = audit.analysis("bar", precision=0.6, n_mechanisms=3)
    assert len(again.mechanisms) == 3 and all(s.precision == 0.6 for s in again.critical.values())
    assert again.critical.at(0.9).keys() == audit.critical["bar"].keys()
    for layer, selection in again.critical.at(0.9).items():
        np.testing.assert_array_equal(selection.neurons, audit.critical["bar"][layer].neurons)
    assert again.pictures is not None
    with pytest.raises(InputError, match="Say which class"):
        audit.analysis()


def test_new_inputs_get_mechanisms_and_those_unlike_all_no_precision(desk: Path) -> None:
    said = neucept(desk, "assign", "runs/all", "--data", "tomorrow", "--out", "new.csv")
    assert "70 inputs" in said
    table = pd.read_csv(desk / "new.csv").set_index("input")
    assert table.index.is_unique and table["label"].isna().all()
    odd = table[table.index.str.startswith("odd")]
    assert (
        (odd["p_unlike"] <= 0.05).all() and odd["precision"].isna().all() and odd["flags"].str.contains("unlike").all()
    )
    like = table[~table.index.str.startswith("odd")]
    assert (like["p_unlike"] <= 0.05).sum() <= 10
    assert (like.index.str.startswith("bar") == (like["prediction"] == "bar")).mean() > 0.85
    assert like["mechanism"].ge(0).all()


def test_drift_sees_what_has_changed_and_is_silent_where_nothing_has(desk: Path) -> None:
    said = neucept(desk, "drift", "runs/all", "--data", write(desk / "same", 60, 7), "--out", "same-drift")
    assert "unlike all that were recorded" not in said
    assert (desk / "same-drift" / "drift.html").stat().st_size > 1000
    rows = write(desk / "moved", 60, 8)
    for path in (rows / "noise").glob("*"):
        path.unlink()
    (rows / "noise").rmdir()
    said = neucept(desk, "drift", "runs/all", "--data", rows, "--out", "moved-drift")
    assert "'noise' is predicted less often" in said


def test_a_second_class_is_not_recorded_again_and_another_network_is_refused(desk: Path) -> None:
    fast = [*network(), "--data", "photos", "--out", "runs/one", *FAST]
    neucept(desk, "run", *fast, "--target", "bar")
    before = (desk / "runs" / "one" / "recording" / "facts.json").stat().st_mtime_ns
    assert "The recording in" in neucept(desk, "run", *fast, "--target", "blob")
    assert (desk / "runs" / "one" / "recording" / "facts.json").stat().st_mtime_ns == before
    assert list(Audit.open(desk / "runs" / "one").mechanisms) == ["bar", "blob"]
    assert "its results are used" in neucept(desk, "run", *fast, "--target", "bar")
    other = [*network("other"), "--data", "photos", "--out", "runs/one", *FAST]
    assert "holds another run, which has another network" in neucept(desk, "run", *other, "--target", "bar", fails=True)


def test_two_networks_are_compared_by_their_runs(desk: Path) -> None:
    neucept(desk, "run", *network("other"), "--data", "photos", "--out", "runs/other", *FAST, "--target", "bar")
    said = neucept(desk, "compare", "runs/all", "runs/other", "--target", "bar", "--out", "both")
    assert "matched, AMI" in said and (desk / "both" / "comparison.html").exists()


def test_code_of_a_packed_run_is_not_imported(desk: Path, tmp_path: Path) -> None:
    neucept(desk, "pack", "runs/all", "--out", tmp_path / "run.zip")
    (tmp_path / "tomorrow").symlink_to(desk / "tomorrow")
    said = neucept(tmp_path, "assign", "run.zip", "--data", "tomorrow", fails=True)
    assert "Code that a run names is not run unasked" in said and "net.safetensors" in said
    again = ("--model", desk / "net.py:build", "--weights", desk / "net.safetensors")
    assert "70 inputs" in neucept(tmp_path, "assign", "run.zip", "--data", "tomorrow", *again)
    wrong = ("--model", desk / "net.py:build", "--weights", desk / "other.safetensors")
    assert "other weights than the recorded" in neucept(
        tmp_path, "assign", "run.zip", "--data", "tomorrow", *wrong, fails=True
    )


@pytest.mark.parametrize("name", ["../outside.npy", "/outside.npy", "a/../../outside.npy", "c:outside.npy"])
def test_an_archive_that_would_leave_its_folder_is_refused(desk: Path, tmp_path: Path, name: str) -> None:
    Audit.open(desk / "runs" / "all").pack(tmp_path / "run.zip")
    with zipfile.ZipFile(tmp_path / "run.zip", "a") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(InputError, match="would be written outside"):
        Audit.open(tmp_path / "run.zip")


def test_how_inputs_were_prepared_is_not_guessed(desk: Path, tmp_path: Path) -> None:
    audit = Audit.open(desk / "runs" / "all")
    neucept_audit(recording=audit.recording, layers=["5"], out=tmp_path / "python", **QUICK)
    (tmp_path / "tomorrow").symlink_to(desk / "tomorrow")
    again = ("--model", desk / "net.py:build", "--weights", desk / "net.safetensors")
    said = neucept(tmp_path, "assign", "python", "--data", "tomorrow", *again, fails=True)
    assert "does not say how its inputs were prepared" in said


def test_what_is_no_run_is_said(desk: Path, tmp_path: Path) -> None:
    assert "There is no run at" in neucept(desk, "show", "runs/al", fails=True)
    (tmp_path / "bad.zip").write_bytes(b"PK no")
    assert "is no packed run, or is damaged" in neucept(tmp_path, "show", "bad.zip", fails=True)
    assert "photos is no run" in neucept(desk, "report", "photos", fails=True)
    assert "Did you mean" in neucept(desk, "show", "runs/all", "--target", "blab", fails=True)
    for command in ("assign", "drift"):
        said = neucept(desk, command, "runs/all", "--data", "tomorrow", "--batch-size", 0, fails=True)
        assert "--batch-size 0: expected a number from 1 on" in said
        said = neucept(desk, command, "runs/all", "--data", "tomorrow", "--device", "cuda:77", fails=True)
        assert "--device cuda:77 cannot be used" in said
    assert "--precision 3: expected" in neucept(desk, "report", "runs/all", "--precision", 3, fails=True)
    assert "expected a file that ends with .csv" in neucept(
        desk, "assign", "runs/all", "--data", "tomorrow", "--out", "x.txt", fails=True
    )
