"""Both pages, report and comparison, in a browser: they draw, are quiet, load nothing, and fit a laptop and a phone."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from torch import nn

import neucept

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed"),
    pytest.mark.filterwarnings("ignore:.*beyond the selection"),
]

LONG = "a-class-name-that-is-far-too-long-to-fit-into-the-width-of-any-phone-" * 2
LAPTOP, PHONE = 1366, 390
FIGURES = {"report": 6, "comparison": 2}  # at least

# Draws every figure at once, as before printing, and writes what it measures into the page.
PROBE = """<script>
dispatchEvent(new Event("beforeprint"));
document.querySelectorAll("details").forEach((part) => { part.open = true; });
const box = (part) => part.getBoundingClientRect().toJSON();
addEventListener("load", () => setTimeout(() => {
  const map = document.querySelector(".figure.map");
  if (!map) return measure();
  const point = box(map.querySelector(".point"));
  const mouse = { clientX: (point.left + point.right) / 2, clientY: (point.top + point.bottom) / 2, bubbles: true };
  for (const kind of ["mouseover", "mousemove"]) {
    map.querySelector(".nsewdrag").dispatchEvent(new MouseEvent(kind, mouse));
  }
  setTimeout(measure, 300);
}, 300));
function measure() {
  const hint = document.getElementById("hint");
  const label = document.querySelector(".figure.map .hovertext");
  const wide = [...document.querySelectorAll("main *")].filter((part) =>
    part.getBoundingClientRect().right > innerWidth + 1 &&
    !part.closest(".scroll, pre, .graph-box, .figure, caption, figcaption"));
  const beyond = (part, frame) => box(part).right > box(frame).right + 1 || box(part).left < box(frame).left - 1;
  const cut = [...document.querySelectorAll(".graph .neuron, .critical *")].filter((part) =>
    beyond(part, part.closest(".graph, .sites")));
  const found = {
    width: innerWidth,
    cut: cut.slice(0, 5).map((part) => part.outerHTML.slice(0, 120)),
    content: document.documentElement.scrollWidth,
    wide: wide.slice(0, 5).map((part) => part.outerHTML.slice(0, 120)),
    figures: document.querySelectorAll(".figure").length,
    maps: document.querySelectorAll(".figure.map").length,
    drawn: document.querySelectorAll(".figure:has(.trace, .hm, .sankey)").length,
    broken: [...document.images].filter((image) => !image.naturalWidth).length,
    images: document.images.length,
    hint: !hint || hint.hidden ? null : box(hint),
    label: label && box(label),
  };
  (window.parent ?? window).postMessage(found, "*");
}
</script></body>"""
FRAME = """<body style="margin:0"><pre id="found"></pre><script>
const found = document.getElementById("found");
addEventListener("message", (event) => {{ found.textContent = JSON.stringify(event.data); }});
</script><iframe src="{page}" style="border:0;width:{width}px;height:3000px"></iframe></body>"""


@pytest.fixture(scope="module")
def recorded():
    """Small networks on two kinds of stripes, so that there are mechanisms indeed: data, models and recordings."""
    rng = np.random.default_rng(0)
    pictures = rng.normal(0, 0.3, (300, 1, 12, 12)).astype(np.float32)
    pictures[::2, :, ::2, :] += 1
    pictures[1::2, :, :, ::2] += 1
    data = (torch.from_numpy(pictures), torch.arange(300) % 2)
    models, recordings = [], []
    for seed in range(2):
        torch.manual_seed(seed)
        convolution = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU())
        models.append(nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2)))
        names = (LONG, "<script>alert(1)</script>")
        recordings.append(neucept.record(models[-1], data, ["0"], class_names=names, progress=False))
    return data, models, recordings


@pytest.fixture(scope="module")
def mechanisms(recorded):
    found = []
    for recording in recorded[2]:
        critical = neucept.discover(recording, 0, samples="all", draws=3, progress=False)
        found.append((critical, neucept.learn(recording, critical, 3, compactness=8)))
    return found


@pytest.fixture(scope="module")
def report(recorded, mechanisms, tmp_path_factory):
    data, models, recordings = recorded
    critical, learnt = mechanisms[0]
    path = tmp_path_factory.mktemp("page") / "report.html"
    return neucept.report(recordings[0], critical, learnt, data=data, model=models[0], path=path, progress=False)


@pytest.fixture(scope="module")
def comparison(recorded, mechanisms, tmp_path_factory):
    data, _, recordings = recorded
    found = neucept.compare(*(learnt for _, learnt in mechanisms), names=(LONG, "new & co"), recordings=recordings)
    return neucept.report(found, path=tmp_path_factory.mktemp("page") / "comparison.html", data=data)


def run(page, folder, *options):
    """Open a page without a window; what it printed, and its log."""
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += ["--hide-scrollbars", f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=8000"]
    done = subprocess.run([*command, *options, page.as_uri()], capture_output=True, text=True, timeout=180, check=True)
    return done.stdout, done.stderr


@pytest.fixture(scope="module", params=["report", "comparison"])
def page(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module", params=[LAPTOP, PHONE])
def opened(request, page, tmp_path_factory):
    """What the probe found at one width, the console's lines, and the addresses asked for."""
    folder = tmp_path_factory.mktemp("browser")
    probed = folder / "probed.html"
    probed.write_text(page.read_text().replace("</body>", PROBE), encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(page=probed.as_uri(), width=request.param), encoding="utf-8")
    log = folder / "net.json"
    options = ("--enable-logging=stderr", f"--log-net-log={log}", f"--window-size={max(request.param, 600)},3000")
    text, errors = run(frame, folder, *options, "--dump-dom")
    found = json.loads(html.unescape(re.search(r'<pre id="found">(.*?)</pre>', text).group(1)))
    found["expected"] = FIGURES[page.stem]
    console = [line for line in errors.splitlines() if "CONSOLE" in line]
    return found, console, re.findall(r'"url":\s*"([a-z]+://[^"]*)"', log.read_text()), request.param


def test_everything_is_drawn(opened):
    found, *_ = opened
    assert found["figures"] >= found["expected"]
    assert found["drawn"] == found["figures"]
    assert found["images"] > 20 and found["broken"] == 0


def test_console_is_quiet(opened):
    assert opened[1] == []


def test_nothing_is_loaded(opened):
    """Only the browser's own services, which the page has no part in, may ask for anything."""
    asked = [url for url in opened[2] if not url.startswith(("file:", "data:", "blob:", "chrome"))]
    own = ("google", "gstatic", "gvt1", "chromium.org")
    assert [url for url in asked if not any(name in url for name in own)] == []


def test_page_fits_its_width(opened):
    found, _, _, width = opened
    assert found["width"] == width
    assert found["wide"] == []
    assert found["cut"] == []
    assert found["content"] <= width


def test_picture_stands_beside_the_label(opened):
    """Of a point on a map, which the page of a comparison does not have."""
    found, _, _, width = opened
    if not found["maps"]:
        assert found["expected"] == FIGURES["comparison"]
        return
    hint, label = found["hint"], found["label"]
    assert hint["bottom"] <= label["top"] or hint["top"] >= label["bottom"]
    assert hint["left"] >= 0 and hint["right"] <= width


def test_page_prints(page, tmp_path):
    target = tmp_path / "page.pdf"
    run(page, tmp_path, f"--print-to-pdf={target}", "--no-pdf-header-footer")
    assert target.read_bytes().startswith(b"%PDF") and target.stat().st_size > 50_000
