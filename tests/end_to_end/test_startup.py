"""Help and errors of arguments come at once: nothing that takes seconds to import is imported for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "pandas", "sklearn", "scipy", "numba", "plotly", "torchvision", "timm")
SCRIPT = """
import sys
from neucept.cli import app
try:
    app(sys.argv[1:])
except SystemExit as left:
    code = left.code or 0
print("imported:", *[name for name in {heavy} if name in sys.modules])
sys.exit(code)
"""


def call(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run a command in a process of its own; the exit code, what it said, and which heavy packages it imported."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(heavy=HEAVY), *arguments], cwd=folder, capture_output=True, text=True
    )
    output, _, imported = done.stdout.rpartition("imported:")
    return done.returncode, " ".join((output + done.stderr).split()), imported.strip()


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *([name, "--help"] for name in ("run", "audit", "layers", "calibrate"))]
)
def test_help_imports_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    assert call(tmp_path, *arguments)[::2] == (0, "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--order", "suficient"], "Did you mean 'sufficient'?"),
        (["--task", "regresion"], "Did you mean 'regression'?"),
        (["--reduce", "al"], "Did you mean 'all'?"),
        (["--precision", "2"], "--precision 2: expected a number between 0 and 1"),
        (["--mechanisms", "none"], "--mechanisms none: expected a number from 1 on, or auto"),
        (["--mean", "a,b"], "expected numbers with commas between"),
        (["--data", "x.npy"], "There are no data at x.npy. Did you mean 'x.npz'?"),
        (["--data", "net.py"], "The format of net.py is not known"),
        (["--weights", "net.pth"], "There is no weights file net.pth. Did you mean 'net.pt'?"),
        (["--weights", "."], ". is a folder; give one of the files in it: net.pt"),
        (["--weights", "pretrained"], "Only torchvision and timm publish weights"),
        (["--model", "net"], "'net' does not say what to load"),
        (["--model", "nets.py:build"], "There is no file nets.py. Did you mean 'net.py'?"),
        (["--model", "torchvison:resnet18"], "There is no module 'torchvison'"),
        (["--model", "torchvision:resnet19"], "torchvision has no model 'resnet19'"),
        (["--model", "timm:tf_efficientnet_lite9"], "timm has no model 'tf_efficientnet_lite9'"),
        (["--transform", "nets.py:gray"], "There is no file nets.py"),
    ],
)
def test_an_argument_is_refused_before_anything_heavy_is_imported(
    tmp_path: Path, options: list[str], message: str
) -> None:
    for name in ("x.npz", "net.py", "net.pt"):
        (tmp_path / name).touch()
    needed = {"--model": "net.py:build", "--data": "x.npz"}
    given = [text for pair in needed.items() if pair[0] not in options for text in pair]
    code, said, imported = call(tmp_path, "run", *given, *options)
    assert code == 2 and message in said, said
    assert "Traceback" not in said
    assert imported == ""


@pytest.mark.parametrize("package", ["torchvision", "timm"])
def test_every_published_network_is_known_by_its_source(package: str) -> None:
    from neucept.models.specs import check_spec

    names = pytest.importorskip("torchvision.models" if package == "torchvision" else "timm").list_models()
    assert len(names) > 100
    for name in names[::25]:
        check_spec(f"{package}:{name}")
