"""The audit of every class: what it finds, that it goes on where it stopped, and that no class stops the others."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from neucept import Audit, InputError, Recording, audit, report
from neucept.analysis.accuracy import implausible
from neucept.analysis.every_class import NOT_DONE
from neucept.mechanisms import correct_over_classes
from neucept.recording import Encoder
from neucept.reports.phrases import confidence_findings

FAST: dict[str, Any] = {
    "discovery": {"calibration": None, "draws": 3},
    "learning": {"reduce": "contribution"},
    "stability": 2,
    "workers": 1,
    "progress": False,
}
NAMES = ("cat", "dog", "bird")


def tokens(n: int = 900, seed: int = 0, labelled: bool = True) -> Recording:
    """Three classes that a network tells apart, but for a token that makes it sure of "cat", mostly wrongly."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    Z = rng.normal(size=(n, 12))
    Z[:, :3] += 4 * np.eye(3)[labels]
    token = rng.random(n) < 0.12
    Z[token, 8] += 7
    logits = 2 * Z[:, :3]
    logits[token] = [18, 0, 0]
    Z, logits = Z.astype(np.float32), logits.astype(np.float32)
    return Recording({"hidden": Z}, logits, labels if labelled else None, NAMES)


@pytest.fixture(scope="module")
def audited() -> Audit:
    return audit(recording=tokens(), **FAST)


def same(a: Audit, b: Audit) -> None:
    pd.testing.assert_frame_equal(a.table, b.table, check_exact=True)
    pd.testing.assert_frame_equal(a.classes.drop(columns="seconds"), b.classes.drop(columns="seconds"))


def test_the_token_is_the_first_row_and_the_alarm(audited: Audit) -> None:
    first = audited.table.iloc[0]
    assert (first["class"], first["confidence_verdict"]) == ("cat", "overconfident")
    assert first["precision"] < 0.5 < first["expected"]
    lacking = first["judged"] * (first["expected"] - first["precision"])
    assert first["confident_mistakes"] == pytest.approx(lacking)
    assert "8" in first["neurons"].removeprefix("hidden: ").split(", ")
    alarms = audited.table[audited.table["confidence_verdict"] == "overconfident"]
    assert set(alarms["class"]) == {"cat"} and (alarms["precision"] < 0.6).all()  # the token's, in one part or more
    assert audited.classes.set_index("class").loc["cat", "overconfident"] == len(alarms)
    assert f"{len(alarms)} overconfident" in repr(audited)


def test_tests_are_corrected_over_all_classes(audited: Audit) -> None:
    tables = {name: audited.mechanisms[name].reliability for name in NAMES}
    joined = correct_over_classes({name: table for name, table in tables.items() if table is not None})
    own = audited.table.set_index(["class", "mechanism"])["p_confidence"]
    for row in joined.to_dict("records"):
        assert own[row["target"], row["mechanism"]] == row["p_confidence"]
    alone = [table["p_confidence"].max() for table in tables.values() if table is not None]
    assert audited.table["p_confidence"].max() >= max(alone)


def test_rows_are_ordered_by_what_is_worth_looking_at() -> None:
    from neucept.analysis.every_class import _most_worth_first

    table = pd.DataFrame(
        {
            "name": list("abcdefgh"),
            "confidence_verdict": [
                *["as confident as right", "unsure", "overconfident", "overconfident", "unsure"],
                *["as confident as right", "too few to tell", "too few to tell"],
            ],
            "verdict": [*[""] * 7, "more reliable"],
            "found_again": ["stable", "stable", "stable", "dissolved", "stable", "doubtful", "stable", "stable"],
            "judged": 100,
            "precision": [0.9, 0.7, 0.5, 0.2, 0.5, 0.9, 0.8, 0.98],
            "rest": 0.9,
            "confident_mistakes": [1.0, 90.0, 20.0, 40.0, 0.0, 0.0, 0.0, 0.5],
        }
    )
    assert "".join(_most_worth_first(table)["name"]) == "dcebfgah"


def test_processes_change_no_digit(audited: Audit, tmp_path: Path) -> None:
    """In two processes, from a script without a guard, which would otherwise run again in each of them."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nprint('begun', flush=True)\n"
        f"from test_audit import FAST, audit, tokens\nresult = audit(recording=tokens(), out={str(tmp_path / 'out')!r},"
        " **{**FAST, 'workers': 2})\nprint(result)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.count("begun") == 1 and "Audit(3 of 3 classes" in done.stdout, done.stderr
    other = Audit.open(tmp_path / "out")
    same(audited, other)
    for name in NAMES:
        one, two = audited.critical[name]["hidden"], other.critical[name]["hidden"]
        assert np.array_equal(one.statistics, two.statistics) and np.array_equal(one.ranking, two.ranking)
        assert np.array_equal(audited.mechanisms[name].labels, other.mechanisms[name].labels)


def test_goes_on_after_a_kill(audited: Audit, tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_audit import FAST, audit, tokens\n"
        f"audit(recording=tokens(), out={str(out)!r}, **FAST)\n"
    )
    with subprocess.Popen([sys.executable, script]) as process:
        until = time.monotonic() + 240
        while not list(out.glob("classes/0*")):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    finished = {path: path.stat().st_mtime_ns for path in out.glob("classes/0*")}
    partly = Audit.open(out)
    assert len(partly.errors) == 3 - len(finished)
    assert (partly.errors["reason"] == NOT_DONE).all()
    (out / "classes" / ".neucept-0123").mkdir()  # half-written
    whole = audit(recording=tokens(), out=out, **FAST)
    same(audited, whole)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert not (out / "classes" / ".neucept-0123").exists()


def test_no_class_stops_the_others(make_recording: Callable[..., Recording]) -> None:
    recording = tokens()
    logits = recording.logits.copy()
    logits[:12] = [0, 0, 0]
    wide = np.concatenate([logits, np.full((900, 2), -9, np.float32)], axis=1)
    wide[:12, 3] = 99  # 12 inputs of the fourth class, none of the fifth
    Z = recording.neurons["hidden"].copy()
    dead = np.where(wide.argmax(axis=1)[:, None] == 1, np.float32(0.25), Z[:, :2])
    five = Recording({"hidden": Z, "half": dead}, wide, recording.labels, (*NAMES, "few", "none"))
    result = audit(recording=five, **FAST)
    reasons = result.classes.set_index("class")["reason"]
    assert (reasons[["cat", "dog", "bird"]] == "").all() and list(result.mechanisms) == ["cat", "dog", "bird"]
    assert reasons["few"].startswith("12 inputs predicted as 'few'") and reasons["none"].startswith("0 inputs")
    assert result.errors["class"].tolist() == ["few", "none"]
    notes = result.classes.set_index("class")["notes"]
    assert notes["dog"] == "Layer 'half' is constant on these inputs and was left out." and notes["cat"] == ""
    assert result.critical["dog"].keys() == {"hidden"}
    with pytest.raises(KeyError, match="'few' was not audited: 12 inputs"):
        result.mechanisms["few"]


class Breaks:
    """A sampler that fails for one class."""

    def fit(self, Z: np.ndarray) -> Breaks:
        if len(Z) == int((tokens().predictions == 1).sum()):
            raise ZeroDivisionError("of the user")
        return self

    def draw(self, Z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.asarray(rng.permuted(Z, axis=0))


def test_an_error_of_any_kind_is_a_reason() -> None:
    options = {**FAST, "discovery": {"calibration": None, "draws": 2, "sampler": Breaks()}}
    result = audit(recording=tokens(), **options)
    assert result.errors.to_dict("list") == {
        "class": ["dog"],
        "reason": [f"ZeroDivisionError: of the user (test_audit.py, line {_line('of the user')})"],
    }


def _line(words: str) -> int:
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if words in line)


class Ends:
    """A clusterer whose process is killed where it has to cluster the smallest class."""

    def __init__(self, n: int) -> None:
        self.n = n

    def fit_predict(self, V: np.ndarray) -> np.ndarray:
        if len(V) == self.n:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.asarray(V[:, 0] > 0).astype(int)


def test_a_killed_process_costs_one_class() -> None:
    code = f"""
import sys, numpy as np
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_audit import FAST, NAMES, Ends, tokens
from neucept import audit
counts = np.bincount(tokens().predictions)
options = {{**FAST, "learning": {{"reduce": "contribution", "method": Ends(int(counts.min()))}}, "n_mechanisms": 2}}
errors = audit(recording=tokens(), **{{**options, "stability": 0, "workers": 2}}).errors
assert errors["class"].tolist() == [NAMES[int(counts.argmin())]], errors.to_string()
assert "was killed" in errors["reason"][0]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


class Stays(Breaks):
    """A sampler that cannot be sent to another process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def fit(self, Z: np.ndarray) -> Stays:
        return self


class Unread(Stays):
    """A sampler that is sent to another process, and cannot be read there."""

    def __init__(self, made_in: int) -> None:
        if os.getpid() != made_in:
            raise ModuleNotFoundError("what it was made of is not there")
        self.made_in = made_in

    def __reduce__(self) -> tuple[Any, ...]:
        return Unread, (self.made_in,)


@pytest.mark.parametrize("sampler", [Stays(), Unread(os.getpid())])
def test_what_cannot_be_sent_to_processes_is_done_here(sampler: Stays) -> None:
    options = {**FAST, "discovery": {"calibration": None, "draws": 2, "sampler": sampler}}
    with pytest.warns(UserWarning, match="cannot be sent to other processes .*one after the other in this one"):
        result = audit(recording=tokens(300), **{**options, "workers": 2})
    same(result, audit(recording=tokens(300), **options))
    assert len(result.mechanisms) == 3


def test_without_labels_it_says_what_cannot_be_said(tmp_path: Path) -> None:
    result = audit(recording=tokens(labelled=False), **FAST)
    assert result.accuracy is None and result.doubt == "" and not len(result.confusions)
    assert result.table["precision"].isna().all() and len(result.table) >= 3
    (said,) = confidence_findings(result.table)
    assert said.startswith("Without labels nobody can say") and re.search(r"at least \d+ inputs", said)
    page = result.report(tmp_path / "index.html", pages=0).read_text(encoding="utf-8")
    assert "Without labels nobody can say" in page


def test_labels_may_be_names_and_targets_may_be_numbers(tmp_path: Path) -> None:
    X = torch.randn(400, 4, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    labels = [("cat", "dog")[int(x > 0)] for x in X[:, 0]]
    options = {**FAST, "layers": ["1"], "stability": 0}
    named = audit(model, (X, labels), class_names=["cat", "dog"], **options)
    numbered = audit(model, (X, (X[:, 0] > 0).long()), class_names=["cat", "dog"], **options)
    same(named, numbered)
    values = audit(model[:2].append(nn.Linear(8, 1)), (X, X[:, 0] + X[:, 1]), task="regression", **options)
    assert values.recording.logits.std() > 0
    assert values.classes["inputs"].tolist() == [40, 40]
    assert len(values.analysis("highest tenth", progress=False).mechanisms)


# On disk


def test_saves_and_opens_without_the_network(audited: Audit, tmp_path: Path) -> None:
    opened = Audit.open(audited.save(tmp_path / "copy"))
    same(audited, opened)
    assert opened.accuracy == audited.accuracy
    assert opened.mechanisms["cat"].target == opened.mechanisms[0].target == 0
    assert len(opened.analysis("cat", progress=False).mechanisms) == len(audited.mechanisms["cat"])


def test_a_temporary_folder_goes_with_the_audit() -> None:
    result = audit(recording=tokens(300), classes=["dog"], **FAST)
    folder = result.folder
    assert folder.exists()
    del result
    assert not folder.exists()


def test_other_settings_are_refused_and_overwrite_begins_anew(tmp_path: Path) -> None:
    out = tmp_path / "out"
    one = audit(recording=tokens(300), classes=["cat"], out=out, **FAST)
    more = audit(recording=tokens(300), classes=["dog"], out=out, **FAST)
    assert (list(one.mechanisms), list(more.mechanisms)) == (["cat"], ["dog"])
    assert list(Audit.open(out).mechanisms) == ["cat", "dog"]
    with pytest.raises(InputError, match=r"another run, which has another recording\. To go on"):
        audit(recording=tokens(300, seed=1), out=out, **FAST)
    with pytest.raises(InputError, match=r"which has precision=0\.9, n_mechanisms='auto'\. To go on"):
        audit(recording=tokens(300), out=out, precision=0.8, n_mechanisms=2, **FAST)
    anew = audit(recording=tokens(300), classes=["cat"], out=out, overwrite=True, precision=0.8, **FAST)
    assert list(Audit.open(out).mechanisms) == ["cat"] and anew.settings["precision"] == 0.8
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="no saved Audit"):
            audit(recording=tokens(300), out=tmp_path / "other", overwrite=overwrite, **FAST)


def test_two_processes_do_not_write_to_one_folder(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    audit(recording=tokens(300), classes=["cat"], out=tmp_path / "out", **FAST)
    with (tmp_path / "out" / ".neucept-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for overwrite in (False, True):
            with pytest.raises(InputError, match="Another process is writing to"):
                audit(recording=tokens(300), out=tmp_path / "out", overwrite=overwrite, **FAST)
    assert len(audit(recording=tokens(300), classes=["cat"], out=tmp_path / "out", **FAST).table)


def test_processes_have_another_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):  # the processes of the first may serve the second
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        result = audit(recording=tokens(300), out="out", **{**FAST, "workers": 2})
        assert len(result.mechanisms) == 3 and (tmp_path / name / "out" / "recording").exists()


# From a network


@pytest.fixture(scope="module")
def stripes() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    rng = np.random.default_rng(0)
    pictures = rng.normal(0, 0.3, (300, 1, 12, 12)).astype(np.float32)
    pictures[::2, :, ::2, :] += 1
    pictures[1::2, :, :, ::2] += 1
    torch.manual_seed(0)
    maps = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU())
    model = nn.Sequential(maps, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2))
    data = torch.from_numpy(pictures), torch.arange(300) % 2
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(data[0]), data[1]).backward()
        optimiser.step()
    return model.eval(), data


def test_a_network_is_recorded_once(
    stripes: tuple[nn.Module, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = stripes
    out = tmp_path / "out"
    first = audit(model, data, out=out, class_names=["upright", "lying"], **FAST)
    assert first.recording.layers == ("0.1",)  # chosen: the last map
    assert first.accuracy is not None and first.accuracy > 0.9
    from neucept.analysis import auditing

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("this was done already")

    for step in ("record", "audit_class"):
        monkeypatch.setattr(auditing, step, refuse)
    again = audit(model, data, out=out, class_names=["upright", "lying"], **FAST)
    same(first, again)
    other = deepcopy(model)
    other.load_state_dict({name: value + 1e-3 for name, value in model.state_dict().items()})
    with pytest.raises(InputError, match="another run, which has another network"):
        audit(other, data, out=out, class_names=["upright", "lying"], **FAST)
    with pytest.raises(InputError, match="another run, which has other data"):
        audit(model, (data[0] + 0.5, data[1]), out=out, class_names=["upright", "lying"], **FAST)


def test_classes_are_checked_before_the_recording(stripes: tuple[nn.Module, Any], tmp_path: Path) -> None:
    model, data = stripes
    with pytest.raises(InputError, match=r"classes= names 'lyin', but the classes are upright, lying\. Did you mean"):
        audit(model, data, classes=["lyin"], class_names=["upright", "lying"], out=tmp_path / "out", **FAST)
    with pytest.raises(InputError, match="Did you mean"):
        audit(model, data, ["0.l"], out=tmp_path / "out", **FAST)
    again = audit(model, data, ["0.1"], out=tmp_path / "out", **FAST)  # nothing was kept of the attempt
    assert again.recording.layers == ("0.1",)


def test_index_links_pages_that_exist(stripes: tuple[nn.Module, Any], tmp_path: Path) -> None:
    model, data = stripes
    result = audit(model, data, class_names=["upright <b>", "lying"], **FAST)
    index = result.report(tmp_path / "site" / "index.html", progress=False)
    text = index.read_text(encoding="utf-8")
    links = re.findall(r'href="([^"#]+)(?:#([^"]+))?"', text)
    assert len(links) >= len(result.table) + len(result.classes)
    for link, anchor in links:
        page = index.parent / link
        assert page.exists(), link
        assert not anchor or f'id="{anchor}"' in page.read_text(encoding="utf-8"), (link, anchor)
    back = re.findall(r'href="(\.\./[^"]+)"', (index.parent / links[0][0]).read_text(encoding="utf-8"))
    assert [(index.parent / "pages" / link).resolve() for link in back] == [index.resolve()]
    assert "upright &lt;b&gt;" in text and "upright <b>" not in text
    assert not re.search(r"(?:src|href)=[\"']?https?:", text)
    assert len(text) < 400_000


def test_a_page_compares_finding_errors_with_and_without_mechanisms(audited: Audit, tmp_path: Path) -> None:
    analysis = audited.analysis("cat", progress=False)
    detection = analysis.error_detection
    assert detection is not None and detection.auc["confidence and mechanism"] > 0.8 > 0.5 > detection.auc["confidence"]
    areas = audited.table.set_index("class").loc["cat", ["auc_confidence", "auc_mechanisms"]].to_numpy()
    assert np.allclose(areas, [detection.auc["confidence"], detection.auc["confidence and mechanism"]])
    page = report(analysis, path=tmp_path / "cat.html").read_text(encoding="utf-8")
    assert "Confidence alone is worse than chance" in page and f"(AUC {detection.auc['confidence']:.2f})" in page
    unknown = audit(recording=tokens(300, labelled=False), classes=["cat"], **FAST).analysis("cat", progress=False)
    assert unknown.error_detection is None
    assert "Finding errors" not in report(unknown, path=tmp_path / "none.html").read_text(encoding="utf-8")


def test_pages_are_limited_and_kept(stripes: tuple[nn.Module, Any], tmp_path: Path) -> None:
    model, data = stripes
    result = audit(model, data, out=tmp_path / "out", **FAST)
    index = result.report(pages=1, progress=False)
    (page,) = (index.parent / "pages").glob("*.html")
    assert "have no page of their own" in index.read_text(encoding="utf-8")
    before = page.stat().st_mtime_ns
    result.report(pages=1, progress=False, keep_pages=True)
    assert page.stat().st_mtime_ns == before
    result.report(pages=1, progress=False)
    assert page.stat().st_mtime_ns > before


# Accuracy


@pytest.fixture
def warned() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def test_an_implausible_accuracy_is_said_first(warned: list[warnings.WarningMessage]) -> None:
    recording = tokens()
    assert recording.labels is not None
    moved = Recording(recording.neurons, recording.logits, (recording.labels + 1) % 3, NAMES)
    result = audit(recording=moved, classes=["dog"], **FAST)
    assert result.doubt.startswith("The network is right in")
    assert re.search(
        r"With its classes in another order it would be right in 9\d\.\d%: class '\w+' is called", result.doubt
    )
    assert str(warned[0].message) == result.doubt
    rng = np.random.default_rng(0)
    by_chance = Recording(recording.neurons, rng.normal(size=(900, 3)).astype(np.float32), recording.labels, NAMES)
    assert "Check that the inputs are normalised" in implausible(by_chance)
    skewed = Recording(recording.neurons, recording.logits, np.where(np.arange(900) < 890, 0, 1), NAMES)
    assert "always naming 'cat' (98.9%)" in implausible(skewed)
    assert implausible(recording) == ""


def test_confusions_are_counted() -> None:
    recording = tokens()
    result = audit(recording=recording, classes=["dog"], **FAST)
    assert recording.labels is not None
    first = result.confusions.iloc[0]
    wrong = (recording.labels == NAMES.index(first["label"])) & (
        recording.predictions == NAMES.index(first["predicted"])
    )
    assert first["inputs"] == wrong.sum() == result.confusions["inputs"].max()
    assert result.confusions["inputs"].sum() == (recording.labels != recording.predictions).sum()
    assert result.accuracy == (recording.labels == recording.predictions).mean()


# What is said


BETTER = {"verdict": "more reliable"}


def row(confidence_verdict: str, **more: Any) -> dict[str, Any]:
    known = {"class": "cat", "mechanism": 2, "precision": 0.41, "low": 0.33, "high": 0.49, "expected": 0.78}
    known |= {"expected_low": 0.7, "expected_high": 0.84, "expected_elsewhere": 0.8, "rest": 0.9, "judged": 150}
    return known | {"comparable": 80.0, "needed": 124.0, "confidence_verdict": confidence_verdict} | more


@pytest.mark.parametrize(
    ("rows", "sentences"),
    [
        (
            [row("overconfident")],
            ["Mechanism 2 of class 'cat' is right in 41% (33 to 49) where its confidence says 78% (overconfident)."],
        ),
        (
            [row("overconfident", confidence=0.95)],
            [
                "On 'cat' the network is right in 41% and 95% confident: too confident as a whole.",
                "41% (33 to 49); the network's own confidence is 95% there, and inputs of the class with such"
                " confidence"
                " are right in 78% (overconfident).",
            ],
        ),
        (
            [row("overconfident", expected=0.42, expected_low=0.35, confidence=0.48)],
            ["is 48% there, and other classes are right in 80% at this confidence (overconfident)."],
        ),
        (
            [row("overconfident", expected=0.42, expected_low=0.35)],
            ["where other classes are right in 80% at this confidence (overconfident)."],
        ),
        (
            [row("unsure", expected=0.43), row("as confident as right")],
            [
                "None of the mechanisms is less reliable than the confidence, calibrated within its class, says.",
                "the rest of the class in 90%, and its confidence says so (43%) (unsure).",
            ],
        ),
        (
            [row("unsure", expected=0.43, confidence=0.48), row("as confident as right", confidence=0.4)],
            [
                "None of the mechanisms is less",
                "in 90%; the network's own confidence is 48% there, and inputs of the class with such confidence"
                " are right in 43% (unsure).",
            ],
        ),
        (
            [
                row("as confident as right", confidence=0.6),
                row("as confident as right", confidence=0.7, **{"class": "dog"}),
            ],
            [
                "On 'dog' the network is right in 41% and 70% confident, and so on 2 of 2 classes (this is the worst)",
                "None of the mechanisms is less",
            ],
        ),
        (
            [row("too few to tell"), row("as confident as right")],
            ["Of 1 mechanisms to be judged, none", "80 can be compared with others of equal confidence, and 124 are"],
        ),
        (
            [row("too few to tell", **BETTER), row("as confident as right")],
            ["Of 1 mechanisms to be judged, none is less reliable"],
        ),
        (
            [row("too few to tell", **BETTER)],
            ["1 mechanisms are more reliable than the rest of their class; too few inputs are of equal confidence"],
        ),
        ([row("nothing to compare", comparable=0.0)], ["is as good as alone at its confidence"]),
        (
            [row("as confident as right", auc_confidence=0.85, auc_mechanisms=0.854)],
            [
                "On 'cat' mechanisms tell errors no better than the network's own confidence does (AUC 0.85 and 0.85).",
                "None of the mechanisms",
            ],
        ),
        ([row("as confident as right", auc_confidence=0.4, auc_mechanisms=0.4)], ["None of the mechanisms"]),
        ([row("as confident as right", auc_confidence=0.8, auc_mechanisms=0.82)], ["None of the mechanisms"]),
        ([row("no probability")], ["The outputs are no probabilities"]),
        ([{"class": "cat", "mechanism": 0}], ["Without labels nobody can say"]),
    ],
)
def test_findings_in_words(rows: list[dict[str, Any]], sentences: list[str]) -> None:
    said = confidence_findings(pd.DataFrame(rows))
    assert len(said) == len(sentences)
    for sentence, words in zip(said, sentences, strict=True):
        assert words in sentence


def test_both_verdicts_are_shown(capsys: pytest.CaptureFixture[str], audited: Audit) -> None:
    from neucept.cli.printing import print_audit
    from neucept.reports.audit import Index, mechanism_table

    table = audited.table.assign(verdict="more reliable", confidence_verdict="too few to tell")
    shown = replace(audited)
    shown.__dict__["table"] = table
    print_audit(shown)
    assert "are needed" not in (said := " ".join(capsys.readouterr().out.split())) and "too few to tell" not in said
    html = str(mechanism_table(Index(shown, {})))
    assert html.count(">too few of equal confidence to say more</span>") == len(table) and 'verdict good"' in html


# Wrong input


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"recording": None}, "Nothing is recorded, without model and data"),
        ({"recording": 3}, "recording is a int; expected what neucept.record returns"),
        ({"layers": ["hiden"]}, "Did you mean 'hidden'?"),
        ({"classes": ["cow"]}, "cow"),
        ({"classes": "cat"}, r"classes='cat': expected a list of names or numbers, such as \['cat'\]"),
        ({"classes": []}, "classes="),
        ({"classes": [1.5]}, "classes=1.5: expected a whole number"),
        ({"precision": 1.5}, "precision=1.5: expected a number between 0 and 1"),
        ({"n_mechanisms": 0}, "n_mechanisms=0: expected a whole number"),
        ({"stability": 1}, "stability=1: one half says nothing"),
        ({"workers": 0}, "workers=0: expected a whole number, 1 or more"),
        ({"seed": -1}, "seed=-1"),
        ({"discovery": {"drows": 3}}, r"names 'drows', which is no argument of discover\(\)\. Did you mean 'draws'"),
        ({"discovery": {"seed": 3}}, "names 'seed', which audit.. decides for all classes; give it to audit"),
        ({"learning": {"target": 3}}, "names 'target', which audit.. decides for all classes; give classes="),
        ({"learning": 7}, "learning=7: expected a mapping"),
        ({"out": 7}, "path=7: expected the path of a folder"),
    ],
)
def test_wrong_input_is_refused_before_any_work(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match=words):
        audit(**{"recording": tokens(300), "out": out, **FAST, **options})
    assert not out.exists()


def test_a_class_that_was_not_asked_for(audited: Audit) -> None:
    part = audit(recording=tokens(300), classes=["dog"], **FAST)
    with pytest.raises(InputError, match="The class 'cat' is not in this audit of 'dog'"):
        part.mechanisms["cat"]
    with pytest.raises(InputError, match="cow"):
        audited.critical["cow"]
    with pytest.raises(InputError, match="holds a saved Recording, not a Audit"):
        Audit.open(audited.folder / "recording")


def test_new_inputs_are_recorded_in_batches_on_the_device_asked_for(
    stripes: tuple[nn.Module, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from neucept.analysis import assignment

    model, data = stripes
    held, asked = audit(model, data, class_names=["upright", "lying"], **FAST).recording, {}
    real = assignment.record
    monkeypatch.setattr(assignment, "record", lambda *a, **k: asked.update(k) or real(*a, **k))
    new = assignment.record_again(held, data, model, batch_size=7, device="cpu")
    assert (asked["batch_size"], asked["device"]) == (7, "cpu") and len(new) == len(held)


def test_neurons_of_the_user_are_not_those_of_the_early_layer(stripes: tuple[nn.Module, Any]) -> None:
    """An early layer is recorded beside those analysed; units that were meant for these do not fit it."""
    model, data = stripes
    of_the_last = Encoder(lambda hidden: hidden[:, :2], names=["first", "second"])
    found = audit(model, data, ["2"], class_names=["upright", "lying"], neurons=of_the_last, **FAST)
    assert found.layers == ("2",) and found.recording.activations("2").shape[1] == 2
    early = [layer for layer in found.recording.layers if layer != "2"]
    assert [found.recording.units[layer].name for layer in early] == ["channel"]
