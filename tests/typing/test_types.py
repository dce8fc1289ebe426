"""The types of the public calls serve a user: a script of theirs passes ``mypy --strict``, and a wrong one does not."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WRONG = """
import neucept
from pathlib import Path
from torch import nn, zeros

recording: int = neucept.record(nn.ReLU(), zeros(2, 2), layers=["a"])
neucept.Recording.open(Path("x")).layers.append("b")
neucept.learn("no recording", {})
critical: int = neucept.discover(neucept.Recording.open("x"), 1)
"""
SETTINGS = """
[mypy]
strict = true
[mypy-neucept.*]
ignore_errors = true
"""  # mypy reports nothing inside installed packages; here the package is found in the source tree


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory):
    """Type-check a file as a user would, with the library's own types, outside the checkout."""
    if find_spec("mypy") is None:
        pytest.skip("mypy is not installed: pip install -e '.[dev]'")
    folder = tmp_path_factory.mktemp("types")
    settings = folder / "mypy.ini"
    settings.write_text(SETTINGS)
    cache = ROOT / ".mypy_cache" / "user"  # other settings than the checkout's own

    def run(script: Path) -> subprocess.CompletedProcess[str]:
        options = ["--config-file", settings, "--cache-dir", cache]
        command = [sys.executable, "-m", "mypy", *options, script]
        environment = os.environ | {"MYPYPATH": str(ROOT / "src")}
        return subprocess.run(
            [*map(str, command)], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    return run


def test_a_script_of_a_user_passes_the_strict_check(check) -> None:
    done = check(HERE / "user_script.py")
    assert done.returncode == 0, done.stdout + done.stderr


def test_wrong_calls_are_seen(check, tmp_path: Path) -> None:
    """Otherwise the test above would pass with types that are all ``Any``."""
    script = tmp_path / "wrong.py"
    script.write_text(WRONG)
    done = check(script)
    lines = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    assert lines == {6, 7, 8, 9}, done.stdout + done.stderr
