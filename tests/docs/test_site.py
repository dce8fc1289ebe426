"""The documentation site builds without warnings or network, describes every public name, and fetches nothing."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import zlib
from importlib.util import find_spec
from pathlib import Path

import pytest

import neucept

ROOT = Path(__file__).parents[2]
WITHOUT_PAGE = {"neucept.cli"}  # has a page of its own: command-line.md


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with every warning an error and a proxy that refuses all connections."""
    missing = [name for name in ("mkdocs", "material", "mkdocstrings") if find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | nowhere | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    return folder


def public() -> dict[str, object]:
    """``package.name`` of all that packages export, with what it is."""
    found = {}
    for info in pkgutil.iter_modules(neucept.__path__, "neucept."):
        if info.ispkg and info.name not in WITHOUT_PAGE:
            package = importlib.import_module(info.name)
            found |= {f"{info.name}.{name}": getattr(package, name) for name in getattr(package, "__all__", ())}
    return found


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    data = (site / "objects.inv").read_bytes()
    described = {line.split(" ")[0] for line in zlib.decompress(data.split(b"\n", 4)[4]).decode().splitlines()}
    named = {name: getattr(value, "__name__", None) for name, value in public().items()}
    names = {name for name, own in named.items() if name.endswith(f".{own}")}  # neither tables nor aliases
    assert len(names) > 60
    assert names - described == set()


def test_no_module_has_the_name_of_a_function_that_its_package_exports() -> None:
    """Such a function hides the module, and ``import package.name as n`` gives a function."""
    hidden = {name for name, value in public().items() if not inspect.ismodule(value) and find_spec(name)}
    assert hidden == set()


def test_pages_fetch_nothing_from_third_parties(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(r"<(?:script|img|iframe|source|video)[^>]+src=[\"']?(?:https?:)?//[^\s\"'>]+", text)
        fetched += re.findall(
            r"<link[^>]+rel=[\"']?(?:stylesheet|preconnect|icon)[^>]*href=[\"']?(?:https?:)?//[^>]+", text
        )
        fetched += re.findall(r"<link[^>]+href=[\"']?(?:https?:)?//[^>]+rel=[\"']?(?:stylesheet|preconnect|icon)", text)
        assert not fetched, f"{page.relative_to(site)}: {fetched}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()[\s\"']*(?:https?:)?//", style.read_text(encoding="utf-8")), style


def test_links_out_of_the_documentation_become_text(site: Path) -> None:
    """docs/pathways.md links to the README and to an experiment, which the site does not hold."""
    assert "](../" in (ROOT / "docs" / "pathways.md").read_text(encoding="utf-8")
    assert not re.search(r"href=\"\.\./[^\"]*\.(?:py|cff)", (site / "pathways.html").read_text(encoding="utf-8"))
