"""The sdist and the wheel are built, and the wheel is installed and used, as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FILES = ["pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "CHANGELOG.md", "CITATION.cff"]


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command outside the checkout, without its PYTHONPATH, and give what it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist and, built from it, the wheel."""
    missing = [name for name in ("build", "setuptools") if find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: pip install -e '.[dev]'")
    source = tmp_path_factory.mktemp("source")
    for name in FILES:
        (source / name).write_bytes((ROOT / name).read_bytes())
    copytree(ROOT / "src", source / "src", ignore=ignore_patterns("__pycache__", "*.egg-info"))
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source, cwd=out)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


def test_sdist_and_wheel_hold_every_file_of_the_package(distributions: tuple[Path, Path]) -> None:
    sdist, wheel = distributions
    package = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "neucept").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {Path(name).suffix for name in package} == {".py", ".typed", ".css", ".js", ".html"}
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    assert package - inside == set()
    assert {name for name in inside if ".dist-info/" not in name} == package  # no tests, no examples
    with tarfile.open(sdist) as archive:
        members = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"src/{name}" for name in package} | {"CHANGELOG.md", "CITATION.cff", "LICENSE"} <= members


def test_the_wheel_installs_and_works(distributions: tuple[Path, Path], tmp_path: Path) -> None:
    home = tmp_path / "venv"
    venv.create(home, system_site_packages=True, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-index",
        distributions[1],
        cwd=home,
    )
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))  # PyTorch and the rest, without another copy
    asked = "import neucept, neucept.reports, json; print(json.dumps([neucept.__version__, neucept.__file__]))"
    version, origin = eval(run(python, "-c", asked, cwd=tmp_path))
    assert version == PROJECT["version"]
    assert Path(origin).is_relative_to(site)
    assert run(home / "bin" / "neucept", "--version", cwd=tmp_path).strip().endswith(version)
    files = "from importlib.resources import files; print(*(f.name for f in files('neucept.reports').iterdir()))"
    assert {"report.css", "report.html", "report.js"} <= set(run(python, "-c", files, cwd=tmp_path).split())


def test_the_lowest_versions_are_those_declared() -> None:
    """constraints/lowest.txt pins each lower bound of pyproject.toml, and nothing else."""
    extras = PROJECT["optional-dependencies"]
    bounds: dict[str, set[str]] = {}
    asked = [PROJECT["dependencies"], *(extras[name] for name in ("vision", "report", "demo", "rankings"))]
    for requirement in (requirement for part in asked for requirement in part):
        name, _, bound = requirement.partition(">=")
        if not name.startswith("neucept["):
            bounds.setdefault(name, set()).add(bound)
    assert all(len(found) == 1 for found in bounds.values()), bounds
    lines = (ROOT / "constraints" / "lowest.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert pins.keys() == bounds.keys()
    for name, (bound,) in ((name, tuple(found)) for name, found in bounds.items()):
        assert pins[name] in (bound, f"{bound}.0", f"{bound}.0.0"), name
