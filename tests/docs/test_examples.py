"""Every example of the README and of docs/ runs, on small data, unless the page says why it does not.

A block of Python or of commands runs in the order of its page. Two comments before a block change that:
``<!-- needs PACKAGE -->`` skips it where the package is missing, ``<!-- not run: REASON -->`` always. Data and weights
that a page takes as given are replaced by small stand-ins, so the numbers that commands print are not compared; the
titles and sentences are.
"""

from __future__ import annotations

import io
import re
import runpy
import shlex
import shutil
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"(?:<!-- (?P<mark>needs \w+|not run: [^>]+) -->\n)?```(?P<kind>python|console)\n(?P<text>.*?)```", re.S
)
FENCE = re.compile(r"^```(python|console)$", re.M)
SAID = re.compile(r"print\((?P<what>.*)\)  # (?P<said>.*)")
LITERAL = re.compile(r"[\[{(]|tensor|torch\.Size|True$|False$|\d")


class Example(NamedTuple):
    """A block of a page: Python or commands with what they print, and the mark before it."""

    kind: str
    text: str
    mark: str

    @property
    def runs(self) -> bool:
        needed = self.mark.removeprefix("needs ")
        return not self.mark or (self.mark.startswith("needs ") and find_spec(needed) is not None)


def examples(page: Path) -> list[Example]:
    text = page.read_text(encoding="utf-8")
    blocks = [Example(match["kind"], match["text"], match["mark"] or "") for match in BLOCK.finditer(text)]
    assert len(blocks) == len(FENCE.findall(text)), "a block that is not closed, or a mark that is not understood"
    return blocks


WITH_PYTHON = [page for page in PAGES if any(x.kind == "python" and x.runs for x in examples(page))]
WITH_COMMANDS = [page for page in PAGES if any(x.kind == "console" and x.runs for x in examples(page))]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# ---------------------------------------------------------------- stand-ins for the data and networks of the reader

MY_MODEL = """
import torch
from torch import nn


class Network(nn.Module):
    def __init__(self, n_classes=10):
        super().__init__()
        convolutions = [nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.ReLU(), nn.Conv2d(12, 12, 3)]
        self.features = nn.Sequential(*convolutions, nn.ReLU(), nn.AdaptiveAvgPool2d(2))
        self.classifier = nn.Sequential(nn.Linear(48, 10), nn.ReLU(), nn.Linear(10, n_classes))

    def forward(self, images):
        return self.classifier(self.features(images).flatten(1))


def make_model():
    return Network()
"""
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def picture(rng: np.random.Generator, size: int, spots: int, channels: int) -> Image.Image:
    """Noise with bright spots, as many as are asked."""
    pixels = rng.normal(90, 25, (size, size, channels))
    for _ in range(spots):
        y, x = rng.integers(0, size - size // 4, 2)
        pixels[y : y + size // 4, x : x + size // 4] += 90
    array = pixels.clip(0, 255).astype(np.uint8)
    return Image.fromarray(array[:, :, 0] if channels == 1 else array)


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with X-rays, photographs, a network and weights; all small and made up."""
    rng = np.random.default_rng(0)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "chest-xray").mkdir()
    labels = np.arange(560) % 2
    rows = [encoded(picture(rng, 64, int(rng.integers(2, 5)) if label else 0, 1)) for label in labels]
    splits = np.where(np.arange(560) < 320, "train", "test")
    table = pd.DataFrame({"image": rows, "label": labels, "split": splits})
    table.to_parquet(tmp_path / "chest-xray" / "chest-xray-160.parquet")
    for kind in CLASSES:
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for number in range(8):
            picture(rng, 32, number % 4, 3).save(tmp_path / "photos" / kind / f"{number}.png")
    (tmp_path / "my_model.py").write_text(MY_MODEL)
    torch.manual_seed(0)
    network = runpy.run_path(str(tmp_path / "my_model.py"))["make_model"]()
    network.classifier[2].bias.data[CLASSES.index("cat")] += 5
    save_file(network.state_dict(), tmp_path / "my_model.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def given(page: Path, folder: Path) -> dict[str, Any]:
    """What the examples of the README take as given: ``model``, ``data`` and ``inputs``."""
    if page.name != "README.md":
        return {}
    from neucept.datasets import load_data
    from neucept.models import load_model

    model = load_model("my_model.py:make_model", folder / "my_model.safetensors")
    data = load_data(folder / "photos", progress=False)
    return {"model": model, "data": data, "inputs": torch.stack([data[i][0] for i in range(4)])}


# ---------------------------------------------------------------- Python


@pytest.mark.filterwarnings("ignore::neucept.NothingSelectedWarning", "ignore:.*are beyond the selection")
@pytest.mark.parametrize("page", WITH_PYTHON, ids=name)
def test_python_runs_and_prints_what_it_says(page: Path, stand_ins: Path) -> None:
    printed: list[str] = []
    names = given(page, stand_ins)
    names["print"] = lambda *values: printed.append(" ".join(map(str, values)))
    blocks = [x.text for x in examples(page) if x.kind == "python" and x.runs]
    for code in blocks:
        exec(compile(code, name(page), "exec"), names)
    said = [match["said"] for code in blocks for match in SAID.finditer(code)]
    for words in (words for words in said if LITERAL.match(words)):
        assert any(words.startswith(line) for line in printed if line), words


def test_the_examples_of_pathways_say_what_they_print() -> None:
    """Enough of them say a result, and some are skipped only for a package, so the test above compares something."""
    page = (ROOT / "docs" / "pathways.md").read_text(encoding="utf-8")
    assert sum(bool(LITERAL.match(match["said"])) for match in SAID.finditer(page)) >= 6


# ---------------------------------------------------------------- commands


def commands(block: str) -> list[tuple[list[str], list[str]]]:
    """Each command of a block, as words, and the lines that it prints."""
    found: list[tuple[str, list[str]]] = []
    for line in block.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line)
    return [(shlex.split(command, comments=True), lines) for command, lines in found]


def execute(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Run ``neucept ...`` or ``python FILE ...`` in this process, and give what it prints."""
    from neucept.cli import app

    if words[0] == "neucept":
        with warnings.catch_warnings(action="ignore"):
            done = CliRunner().invoke(app, words[1:])
        assert done.exit_code == 0, f"{shlex.join(words)}\n{done.output}\n{done.exception!r}"
        return done.output
    assert words[0] == "python", f"cannot be run here, so it needs '<!-- not run: REASON -->': {shlex.join(words)}"
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", words[1:])
    runpy.run_path(words[1], run_name="__main__")
    return capsys.readouterr().out


def prose(line: str) -> bool:
    """Whether a line of output is a title or a sentence, which does not depend on the data."""
    return bool(re.fullmatch(r"[A-Z][A-Za-z' ,;.:()]{8,}", line)) and not line.startswith(("Warning", "Layers", "On '"))


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name)
def test_commands_run(
    page: Path, stand_ins: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for block in (x.text for x in examples(page) if x.kind == "console" and x.runs):
        for words, lines in commands(block):
            output = " ".join(execute(words, monkeypatch, capsys).split())
            for line in filter(prose, lines):
                assert " ".join(line.split()) in output, f"{line!r} is not in\n{output}"


# ---------------------------------------------------------------- links


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the usual forges make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        if path.startswith(("http://", "https://")):
            continue
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
