"""The page and its parts, on small synthetic recordings."""

import html
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn.functional import relu
from torch.utils.data import DataLoader

import neucept
from neucept import report
from neucept.analysis.pictures import collect, embed
from neucept.calibration import Calibration
from neucept.errors import InputError
from neucept.inputs import Inputs
from neucept.knockoffs import EValues, Frequency, LocalFDR
from neucept.recording import Channels, Recording, record
from neucept.recording.regions import activating_regions, smallest_box
from neucept.recording.units import units_from_facts
from neucept.reports import figures, tag
from neucept.reports.components import image
from neucept.reports.phrases import guarantee_clause

N = 160


class Small(nn.Module):
    """Two convolutions through one activation that is called twice, and a head."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(6, 12, 3)
        self.head = nn.Linear(12, 2)

    def forward(self, x):
        return self.head(self.act(self.second(self.act(self.first(x)))).mean((2, 3)))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Small()


@pytest.fixture(scope="module")
def images():
    return torch.rand(N, 1, 10, 10, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def recording(model, images):
    labels = torch.arange(N) % 2
    names = ("<b>cat</b> & co", "dog")
    return record(model, (images, labels), ["first", "second"], class_names=names, progress=False)


@pytest.fixture(scope="module")
def critical(recording):
    """Nothing selected, nothing calibrated."""
    with pytest.warns(neucept.NothingSelectedWarning):
        return neucept.discover(recording, 0, samples="all", draws=2, calibration=None, progress=False)


@pytest.fixture(scope="module")
def mechanisms(recording, critical):
    with pytest.warns(UserWarning, match="beyond"):
        return neucept.learn(recording, critical, 3, reduce="top", compactness=4)


@pytest.fixture(scope="module")
def compared(mechanisms):
    return neucept.choose_n_mechanisms(mechanisms, range(1, 4), progress=False)


@pytest.fixture(scope="module")
def measured(recording, critical):
    return neucept.sufficiency(recording, critical)


@pytest.fixture
def page(recording, critical, mechanisms, compared, measured, tmp_path):
    """A function that makes the page, some arguments changed, and gives its text."""

    def make(**changed):
        given = {"recording": recording, "critical": critical, "mechanisms": mechanisms, "n_clusters": compared}
        given |= {"sufficiency": measured, "path": tmp_path / "report.html", "progress": False} | changed
        path = report(given.pop("recording"), **given)
        assert [file.name for file in path.parent.iterdir()] == ["report.html"]
        return path.read_text(encoding="utf-8")

    return make


class Outline(HTMLParser):
    """Headings, images without alternative text, and elements that are not closed."""

    def __init__(self, page):
        super().__init__()
        self.open, self.headings, self.silent, self.loads, self.ids = [], [], 0, [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.silent += tag == "img" and not known.get("alt")
        self.loads += [known[k] for k in ("src", "href") if known.get(k, "").startswith(("http", "//"))]
        self.ids += [known["id"]] if "id" in known else []
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in ("img", "meta", "br", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def well_formed(page):
    outline = Outline(page)
    assert outline.open == []
    assert outline.silent == 0
    assert outline.loads == []
    assert len(set(outline.ids)) == len(outline.ids)
    assert outline.headings[0] == 1 and outline.headings.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(outline.headings, outline.headings[1:], strict=False))
    for spec in re.findall(r'<script type="application/json">(.*?)</script>', page):
        assert json.loads(spec)["data"]
    return outline


def without_scripts(page):
    return re.sub("<(script|style)>.*?</(script|style)>", "", page, flags=re.DOTALL)


def test_full_page(page, model, images, recording):
    text = page(data=images, model=model)
    outline = well_formed(text)
    for part in ("summary", "mechanisms", "map", "separation", "layers", "gallery", "number", "provenance", "glossary"):
        assert part in outline.ids
    assert "<b>cat" not in text  # neither in the page nor in the figures
    assert "How Small decides “&lt;b&gt;cat&lt;/b&gt; &amp; co”" in text
    assert 'class="crop"' in text and "data:image/png;base64," in text
    assert "Content-Security-Policy" in text
    assert len(text) < 10e6


def test_the_code_on_the_page_runs(model, images, tmp_path):
    labels = torch.arange(N) % 2
    recording = record(model, (images, labels), ["first", "second"], progress=False)
    target = int(recording.predictions[0])
    options = {"draws": 2, "samples": "all", "model": model, "data": (images, labels), "calibration": None}
    critical = neucept.discover(recording, target, **options, progress=False)
    mechanisms = neucept.learn(recording, critical, 2)
    path = report(recording, critical, mechanisms, path=tmp_path / "report.html", progress=False)
    code = re.search(r"<pre[^>]*><code>(.*?)</code></pre>", path.read_text(encoding="utf-8"), re.DOTALL)
    lines = html.unescape(code[1]).splitlines()
    scope = {"neucept": neucept, "model": model, "data": (images, labels)}
    exec("\n".join(lines[:3]), scope)
    assert scope["mechanisms"].labels.tolist() == mechanisms.labels.tolist()
    for layer, selection in scope["critical"].items():
        assert selection.neurons.tolist() == critical[layer].neurons.tolist()


def test_promise_stands_verbatim(page, critical):
    text = page()
    for selection in critical.values():
        assert selection.promise.claim in text
        assert selection.promise.evidence in text


def calibration_of(layer, groups, cut, seed=0):
    """A calibration without any training: probabilities that tell the null groups from the others fairly well."""
    rng = np.random.default_rng(seed)
    family = ("linear", "trees", "none") * 8
    g = int(groups.max()) + 1
    null = rng.random((len(family), g)) < 0.5
    null[[name == "none" for name in family]] = True
    held_out = 1 / (1 + np.exp(4 - 8 * null + rng.normal(size=null.shape)))
    gaussian = rng.normal(size=null.shape)
    noise = np.ones(len(family))
    knots, weights = np.zeros((5, 3)), np.zeros((3, 13))
    return Calibration(
        layer, groups, cut, np.arange(N), null, family, noise, gaussian, held_out, held_out, knots, weights
    )


@pytest.fixture(scope="module")
def calibrated(critical):
    """Single neurons at the first layer; at the second six groups of two, some of them selected."""
    first, second = critical.values()
    alone = {
        "importance": np.linspace(1, 0.1, 6),
        "rule": LocalFDR(calibration_of("first", np.arange(6), 0.0), np.linspace(0.95, 0.97, 6)),  # selects nothing
    }
    pairs = np.arange(12) // 2
    joined = {
        "groups": pairs,
        "representatives": np.arange(1, 12, 2),
        "importance": np.linspace(1, 0.1, 12),
        "rule": LocalFDR(calibration_of("second", pairs, 0.3), np.array([0.001, 0.001, 0.01, 0.6, 0.8, 0.9])),
    }
    selections = {"first": replace(first, **alone), "second": replace(second, **joined)}
    return replace(critical, selections=selections, settings={**critical.settings, "calibration": "auto"})


def test_calibrated_page(page, calibrated, images):
    text = page(critical=calibrated, data=images)
    well_formed(text)
    for selection in calibrated.values():
        assert selection.promise.claim in text
        assert selection.promise.evidence in text
    shown = without_scripts(text)
    assert "3 of the 6 groups of neurons (6 of 12 neurons) of layer second are selected" in shown
    assert "On responses simulated on these layers" in shown and "evidence, not a proof" in shown
    assert "6 groups of 12 neurons" in shown
    assert all(f"<li>{pair}</li>" in shown for pair in ("1, 0", "3, 2", "5, 4")) and "<li>7, 6</li>" not in shown
    assert "The strongest candidate has a 5% probability of being critical" in shown  # at the first layer
    assert "critical neurons or groups" in shown
    assert "grouped with neuron 0" in shown
    assert "calibration='auto'" in shown
    assert text.count("Required and realised precision on this layer") == 2


def test_precision_of_empty_selections_is_not_praised(calibrated):
    first = calibrated["first"]
    nothing = replace(first.calibration, held_out=np.full_like(first.calibration.held_out, 0.5))  # tells nothing apart
    assert tuple(nothing.table(0.9)[["precision", "power"]].iloc[-1]) == (1, 0)
    said = guarantee_clause({"first": replace(first, rule=LocalFDR(nothing, first.rule.local_fdr))})
    assert "an empty selection counts as precise" in said
    assert "empty selection" not in guarantee_clause(calibrated)


def test_uncalibrated_page_says_what_was_not_checked(page, critical):
    text = without_scripts(page())
    assert "jointly Gaussian, which was not checked" in text
    assert "Required and realised" not in text and "planted" not in text
    assert "calibration=None" in text
    assert "representative neurons of layers first and second. The required precision does not cover them" in text
    counted = {layer: replace(selection, rule=Frequency()) for layer, selection in critical.items()}
    assert guarantee_clause(counted) == "On these layers: counting draws guarantees no precision."


def test_sufficiency_is_measured_once(page, measured, monkeypatch):
    calls = []
    ours = sys.modules["neucept.analysis.measuring"]
    monkeypatch.setattr(ours, "measure_sufficiency", lambda *given, **named: calls.append(1) or measured)
    page()
    assert calls == []
    page(sufficiency=None)
    assert calls == [1]


def test_without_pictures(page):
    text = well_formed_text(page())
    assert "<img" not in text
    assert "data=" in text


def well_formed_text(page):
    well_formed(page)
    return without_scripts(page)


def test_without_labels(page, recording, mechanisms):
    bare = replace(mechanisms, reliability=None)
    text = well_formed_text(page(recording=replace(recording, labels=None), mechanisms=bare))
    assert "Reliability needs labels of the model's classes" in text
    assert 'class="interval-bar"' not in text


def test_one_mechanism_one_layer(page, recording, critical, measured):
    with pytest.warns(UserWarning, match="beyond"):
        one = neucept.learn(recording, {"second": critical["second"]}, 1, compactness=3, samples="all", target=0)
    compared = neucept.choose_n_mechanisms(one, range(1, 3), progress=False)
    text = well_formed_text(page(mechanisms=one, n_clusters=compared))
    assert 'id="separation"' not in text and 'href="#separation"' not in text
    assert "Borderline" not in text
    assert "no significant difference" not in text and "verdict</div>" not in text  # there is nothing to differ from


def test_what_chose_the_number_of_mechanisms_is_all_that_is_said(page, mechanisms, compared):
    """Where reliability chose it, that no gap was found is a note on the clusters, not a verdict on their number."""
    table = compared.table.assign(p_reliability=1e-3)
    chosen = replace(compared, table=table, by="reliability", suggested=len(mechanisms), p_one=1.0)
    text = well_formed_text(page(n_clusters=chosen))
    assert text.count(chosen.reason) == 3  # the lead, the numbers and the section
    assert "a single one is" not in text and "reject" not in text
    assert "Clusters are not separated by gaps" in text and "the division is one of degree" in text
    text = page(n_clusters=replace(chosen, suggested=1))
    assert "(1 would be suggested)" in text and "one of degree" not in text


def test_principal_components_have_short_names(page, recording, critical):
    """Names that fit beside a circle of the graph, and the single neurons that an index of an audit names too."""
    space = neucept.learn(
        recording, {"second": critical["second"]}, 2, reduce="all", compactness=3, samples="all", target=0
    )
    assert space.space is not None
    text = well_formed_text(
        page(mechanisms=space, n_clusters=neucept.choose_n_mechanisms(space, [1, 2], progress=False))
    )
    assert {"PC 1", "PC 2", "PC 3"} <= set(re.findall(r'class="neuron">([^<]*)<', text))
    assert re.search(r">PC 1 \(\d+, \d+, \d+\)</span>", text)
    for neurons in space.set_apart_by():
        assert re.fullmatch(r"second: \d+, \d+, \d+", neurons) and f"Set apart by</span> {neurons}." in text


def test_curves_of_sufficiency_have_plain_numbers():

    counts = [5, 10, 20, 50, 100, 200, 1000]
    rows = pd.DataFrame({"method": "critical", "count": counts, "r2_linear": 0.5})
    figure = figures.by_number(rows, "r2_linear", "a long title that would be cut")
    assert list(figure.layout.xaxis.ticktext) == ["5", "10", "20", "50", "100", "200", "1,000"]
    assert figure.layout.yaxis.title.text is None


def test_inputs_of_no_mechanism(page, mechanisms, images):
    labels = mechanisms.labels.copy()
    labels[:5] = -1
    text = well_formed_text(page(mechanisms=replace(mechanisms, labels=labels), data=images))
    assert "left 5 inputs unassigned" in text


def test_array_target(recording, tmp_path):
    y = np.asarray(recording.activations("first")[:, 0], np.float64) ** 2
    with pytest.warns(UserWarning):
        critical = neucept.discover(recording, y, draws=2, calibration=None, progress=False)
        mechanisms = neucept.learn(recording, critical, 2, compactness=3)
    compared = neucept.choose_n_mechanisms(mechanisms, range(1, 3), progress=False)
    path = report(
        recording, critical, mechanisms, path=tmp_path / "new" / "page.html", n_clusters=compared, progress=False
    )
    text = well_formed_text(path.read_text())
    assert "a custom response" in text
    assert "Not measured" in text


def test_headline_names_the_unreliable_mechanism(page, recording, critical, measured):
    logits = np.tile(np.float32([1, 0]), (N, 1))  # all are predicted as the target
    predicted = replace(recording, logits=logits)
    with pytest.warns(UserWarning, match="beyond"):
        mechanisms = neucept.learn(predicted, critical, 3, reduce="top", compactness=4)
    known = mechanisms.reliability.copy()
    known["judged"] = [100, 50, 50]
    known["precision"], known["rest"] = [0.9, 0.9, 0.6], [0.75, 0.8, 0.9]
    known["low"], known["high"] = [0.8, 0.8, 0.46], [0.95, 0.95, 0.72]
    known["verdict"] = ["", "", "less reliable"]
    text = page(recording=predicted, mechanisms=replace(mechanisms, reliability=known))
    share = round(mechanisms.shares[2] * 100)
    assert (
        f"Mechanism 2 accounts for {share}% of the predictions; 60% (46 to 72) of them are correct, compared with 90%"
        in text
    )
    assert 'class="finding bad"' in text
    known["verdict"] = ""
    text = page(recording=predicted, mechanisms=replace(mechanisms, reliability=known))
    assert "No mechanism is significantly less reliable" in text and 'class="finding bad"' not in text
    assert "precision ranges from 60.0% to 90.0%." in text
    known["precision"] = 1.0
    assert "precision is 100% in each." in page(recording=predicted, mechanisms=replace(mechanisms, reliability=known))


def test_the_report_leads_with_confident_mistakes(page, recording, critical, measured):
    logits = np.tile(np.float32([1, 0]), (N, 1))
    predicted = replace(recording, logits=logits)
    with pytest.warns(UserWarning, match="beyond"):
        mechanisms = neucept.learn(predicted, critical, 3, reduce="top", compactness=4)
    known = mechanisms.reliability.copy()
    known["judged"], known["precision"], known["low"], known["high"] = 50, [0.9, 0.9, 0.1], 0.05, 0.95
    known["expected"], known["expected_low"], known["expected_high"] = (
        [0.9, 0.9, 0.65],
        [0.85, 0.85, 0.6],
        [0.95, 0.95, 0.7],
    )
    known["expected_elsewhere"] = 0.98
    known["confidence_verdict"] = ["as confident as right", "unsure", "overconfident"]
    text = page(recording=predicted, mechanisms=replace(mechanisms, reliability=known))
    alarm = "Mechanism 2 is confidently wrong: 10% of its predictions are correct"
    assert f"{alarm} where the network's own confidence predicts 65%." in html.unescape(text)
    assert 'class="finding bad"' in text and 'verdict bad">' in text
    assert 'data-term="overconfident"' in text and 'data-term="unsure"' in text
    assert "65% (60 to 70)" in text and text.count("confidence says</span></dt>") >= 3
    known.loc[2, ["expected", "expected_low", "expected_high"]] = 0.1  # a token that took over the whole class
    text = page(recording=predicted, mechanisms=replace(mechanisms, reliability=known))
    assert f"{alarm}; other classes are right in 98.0% at this confidence." in text
    known.loc[2, ["expected", "expected_low", "expected_high", "expected_elsewhere"]] = [0.3, 0.05, 0.6, np.nan]
    text = page(recording=predicted, mechanisms=replace(mechanisms, reliability=known))
    assert f"{alarm} where the network's own confidence predicts 30%." in html.unescape(text) and "nan%" not in text
    text = page(recording=predicted, mechanisms=replace(mechanisms, reliability=known.assign(confidence=0.777)))
    assert len(re.findall(r"own confidence</span></dt><dd>78%", text)) == 3
    without = known.drop(
        columns=["expected", "expected_low", "expected_high", "expected_elsewhere", "confidence_verdict"]
    )
    text = page(recording=predicted, mechanisms=replace(mechanisms, reliability=without))
    assert "confidently wrong" not in text and 'data-term="overconfident"' not in text


def test_inputs_that_are_no_predictions_are_not_called_unreliable(page, mechanisms):
    known = mechanisms.reliability.assign(verdict="less reliable")
    text = without_scripts(page(mechanisms=replace(mechanisms, reliability=known)))
    assert "less reliable than" not in text and 'class="verdict bad"' not in text
    assert "labelled as the target" in text


def test_finer_labels(page, images):
    class Digits(torch.utils.data.Dataset):
        labels = np.arange(N) % 5
        class_names = ("zero", "one", "two", "three", "four")

        def __len__(self):
            return N

        def __getitem__(self, i):
            return images[i], int(self.labels[i])

    text = page(data=Digits())
    assert ">Labels</span></h4>" in text
    assert "labelled three" in text


def test_callable_neurons_have_no_crops(page, recording, images, model):
    units = dict.fromkeys(("first", "second"), units_from_facts("callable"))
    text = without_scripts(page(recording=replace(recording, units=units), data=images, model=model))
    assert "<img" in text and 'class="crop"' not in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: {"path": p}, "is a folder"),
        (lambda p: {"path": p / "file" / "report.html"}, "Cannot write"),
        (lambda p: {"data": torch.rand(3, 1, 8, 8)}, "3 inputs"),
        (lambda p: {"data": DataLoader(torch.rand(N, 1, 8, 8), shuffle=True)}, "shuffles"),
        (lambda p: {"critical": {"a": 1, "b": 2}}, "one target"),
        (lambda p: {"recording": 3}, "expected Recording"),
    ],
)
def test_bad_input(page, tmp_path_factory, change, message):
    folder = tmp_path_factory.mktemp("bad")
    (folder / "file").write_text("in the way")
    with pytest.raises(InputError, match=message):
        page(**change(folder))


def test_other_data_than_recorded(page, images, model):
    with pytest.raises(InputError, match="other activations"):
        page(data=images.flip(0), model=model)


def test_mechanisms_of_another_class(page, mechanisms):
    with pytest.raises(InputError, match="but the mechanisms belong to"):
        page(mechanisms=replace(mechanisms, target=1, target_name="dog"))


def test_without_plotly(page, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(InputError, match=r"neucept\[report\]"):
        page()


def test_failed_page_leaves_the_old_one(page, tmp_path, monkeypatch):
    page()
    before = (tmp_path / "report.html").read_bytes()
    monkeypatch.setattr(sys.modules["neucept.reports.document"], "document", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        page()
    assert (tmp_path / "report.html").read_bytes() == before


# Sections of one's own


class Names:
    title, anchor = "Classes", "classes"

    def render(self, analysis):
        return tag("p", " and ".join(analysis.recording.class_names))


class Nothing(Names):
    anchor = "nothing"

    def render(self, analysis):
        return None


def test_further_sections_stand_before_the_provenance(page):
    text = page(sections=[Names(), Nothing()])
    outline = well_formed(text)
    assert outline.ids.index("number") < outline.ids.index("classes") < outline.ids.index("provenance")
    assert '<h2 id="classes-heading">Classes</h2><p>&lt;b&gt;cat&lt;/b&gt; &amp; co and dog</p></section>' in text
    assert '<a href="#classes">Classes</a>' in text
    assert "nothing" not in outline.ids and "#nothing" not in text


def test_text_of_a_section_is_escaped(page):
    class Plain(Names):
        def render(self, analysis):
            return "<script>alert(1)</script>"

    assert "<script>alert(1)" not in page(sections=[Plain()])


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ([Names(), Names()], "Two sections have the anchor 'classes'"),
        ([object()], "holds a object without title, anchor, render"),
        ([Names], "holds the class Names; expected an object"),
        (Names(), "is a Names; expected a list of them"),
    ],
)
def test_bad_sections(page, monkeypatch, sections, message):
    monkeypatch.setattr(sys.modules["neucept.reports.document"], "analyse", lambda *a, **k: 1 / 0)  # before any work
    with pytest.raises(InputError, match=message):
        page(sections=sections)


def test_names_of_units_are_shown(page, recording):
    names = [f"<{i}> wheels" for i in range(6)]
    units = {**recording.units, "first": units_from_facts({"name": "callable", "labels": names})}
    text = page(recording=replace(recording, units=units))
    shown = set(re.findall(r">first:(\d+) &lt;(\d+)&gt; wheels</span>", text))  # separating neurons of a mechanism
    assert shown and all(neuron == name for neuron, name in shown)
    assert re.search(r"<h3>first:(\d+) <small>&lt;\1&gt; wheels</small></h3>", text)  # panels of separating neurons


# Regions that a neuron responds to


def brute_force(weight, share):
    best = None
    H, W = weight.shape
    for top in range(H):
        for bottom in range(top + 1, H + 1):
            for left in range(W):
                for right in range(left + 1, W + 1):
                    if weight[top:bottom, left:right].sum() >= share * weight.sum() - 1e-12:
                        area = (bottom - top) * (right - left)
                        best = area if best is None else min(best, area)
    return best


@pytest.mark.parametrize("seed", range(5))
def test_smallest_box_is_the_smallest(seed):
    rng = np.random.default_rng(seed)
    weight = rng.exponential(size=(7, 9)) ** 3
    top, left, bottom, right = smallest_box(weight, 0.9)
    assert weight[top:bottom, left:right].sum() >= 0.9 * weight.sum() - 1e-12
    assert (bottom - top) * (right - left) == brute_force(weight, 0.9)


def test_smallest_box_of_large_and_empty_inputs():
    weight = np.zeros((224, 200))
    weight[50:60, 100:110] = 1
    top, left, bottom, right = smallest_box(weight, 1.0)
    assert top <= 50 and left <= 100 and bottom >= 60 and right >= 110
    assert (bottom - top) * (right - left) < 30 * 30
    assert smallest_box(np.zeros((4, 5))) == (0, 0, 4, 5)


class Corner(nn.Module):
    """Neuron 0 sees the upper left quarter, neuron 1 the lower right one."""

    def __init__(self):
        super().__init__()
        self.pick = nn.Identity()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        x = relu(x, inplace=True)
        maps = torch.stack([x[:, 0, :4, :4], x[:, 0, 4:, 4:]], dim=1)
        return self.act(self.act(self.pick(maps)) - 0.2).mean((2, 3))


@pytest.mark.parametrize("layer", ["pick", "act#0", "act#1"])
@pytest.mark.parametrize(("neuron", "box"), [(0, [0, 0, 4, 4]), (1, [4, 4, 8, 8]), ([0, 1], [0, 0, 8, 8])])
def test_regions_are_where_the_neuron_looks(layer, neuron, box):
    inputs = torch.full((3, 1, 8, 8), 0.7)
    boxes = activating_regions(Corner(), inputs, layer, neuron, Channels(axis=1), share=1.0, batch_size=2)
    assert boxes.tolist() == [box] * 3


def test_regions_of_elements_and_of_the_input():
    inputs = torch.rand(2, 1, 8, 8) + 0.5
    assert activating_regions(Corner(), inputs, "pick", 5, "element").tolist() == [[1, 1, 2, 2]] * 2
    assert activating_regions(Corner(), inputs, "input", 10, "element").tolist() == [[1, 2, 2, 3]] * 2


def test_saturated_neurons_have_a_region_too():
    net = nn.Sequential(nn.Conv2d(1, 1, 3, bias=False), nn.Flatten(), nn.Tanh())
    nn.init.ones_(net[0].weight)
    boxes = activating_regions(net, torch.full((1, 1, 6, 6), 1.2), "2", 0, share=1.0)
    assert boxes.tolist() == [[0, 0, 3, 3]]


@pytest.mark.parametrize("layer", ["second", "act", "nowhere"])
def test_regions_leave_the_model_as_it_was(layer):
    model = Small().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    inputs = torch.rand(2, 1, 10, 10)
    kept = inputs.clone()
    try:
        activating_regions(model, inputs, layer, 0)
    except InputError:
        assert layer != "second"
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(inputs, kept) and not inputs.requires_grad


@pytest.mark.parametrize(
    ("layer", "neuron", "message"),
    [
        ("secnd", 0, "mean 'second'"),
        ("act", 0, "called 2 times"),
        ("act#2", 0, "never called"),
        ("second", 12, "12 neurons"),
    ],
)
def test_regions_of_what_is_not_there(layer, neuron, message):
    with pytest.raises(InputError, match=message):
        activating_regions(Small(), torch.rand(1, 1, 10, 10), layer, neuron)


# Parts


def test_ranking_by_probability(calibrated):
    selection = calibrated["second"]
    figure = figures.ranked_neurons(selection)
    selected = [trace for trace in figure.data if trace.name == "selected"]
    assert [list(trace.x) for trace in selected] == [["1", "3", "5"]] * 2
    assert np.allclose(selected[0].y, [0.999, 0.999, 0.99])
    assert selected[0].customdata[1][0] == "neurons 3, 2"
    together = np.hypot(selection.importance[0], selection.importance[1])
    third = np.hypot(selection.importance[4], selection.importance[5]) / together
    assert np.allclose([selected[1].y[0], selected[1].y[2]], [1, third], atol=1e-4)
    with pytest.raises(ValueError, match="not calibrated"):
        figures.ranked_neurons(replace(selection, rule=EValues()))


@pytest.mark.parametrize("g", [40, 41, 3000])
def test_ranking_of_many_neurons(calibrated, g):
    chosen = replace(
        calibrated["second"],
        statistics=np.zeros((2, g)),
        groups=np.arange(g),
        representatives=np.arange(g),
        importance=np.linspace(1, 0, g),
        rule=LocalFDR(calibrated["second"].calibration, np.linspace(0, 1, g)),
    )
    figure = figures.ranked_neurons(chosen)
    dots = [trace for trace in figure.data if trace.type == "scatter"]
    assert sum(len(trace.x) for trace in dots) == min(g, figures.MOST_JUDGED)
    cut = figure.layout.shapes[0].x0
    assert cut == len(chosen.neurons) - 0.5 + (g > 40)


def test_calibration_figure(calibrated):
    table = calibrated["second"].calibration.table(0.9)
    figure = figures.calibration_figure(table, 0.9)
    named = {trace.name: trace for trace in figure.data if trace.name}
    assert list(named["calibrated, with 95% interval"].y) == ["linear", "trees", "pure noise", "all together"]
    assert np.allclose(named["calibrated, with 95% interval"].x, table["precision"], atol=1e-4)
    assert np.allclose(named["equation (9) alone"].x, table["uncalibrated"], atol=1e-4)
    assert set(named["required: 0.9"].x) == {0.9}


def test_figures_can_be_imported_by_name():
    import neucept.reports.figures as own

    assert own.input_map is figures.input_map
    assert callable(neucept.report)


def test_figures_on_their_own(critical, mechanisms, compared):
    ranked = figures.ranked_statistics(critical["second"])
    shown = [label for trace in ranked.data for label in trace.x]
    assert set(shown) == {str(neuron) for neuron in critical["second"].representatives}
    feature, a, b, distance = figures.separating_neurons(mechanisms)[0]
    assert a < b and distance > 0
    one, other = (mechanisms.values[mechanisms.labels == number, feature] for number in (a, b))
    histogram = figures.neuron_histogram(mechanisms.values[:, feature], one, other, (a, b))
    assert [trace.name for trace in histogram.data] == [f"mechanism {a}", f"mechanism {b}", "all inputs"]
    assert all(abs(sum(trace.y) - 1) < 1e-9 for trace in histogram.data)
    assert list(figures.cluster_curve(compared, "bic", used=3).data[0].x) == [1, 2, 3]


@pytest.mark.parametrize("shape", [(40, 5), (60, 5), (60, 1), (60, 2), (900, 3)])
def test_embedding(shape):
    embedding = embed(np.random.default_rng(0).normal(size=shape), most=500)
    assert embedding.coordinates.shape == (min(shape[0], 500 if shape[0] > 800 else 800), 2)
    assert np.isfinite(embedding.coordinates).all()


def test_pictures_of_tensors(images):
    assert collect(Inputs.of(torch.rand(3, 7)), [], [], []) is None
    assert collect(Inputs.of([{"input_ids": torch.ones(2)}] * 3), [], [], []) is None
    inputs = Inputs.of((images, torch.zeros(N)))
    pictures = collect(inputs, [0, 3], [5], [7, 7, 8], [np.array([0, 1])])
    assert list(pictures.whole) == [0, 3] and list(pictures.seen) == [5] and pictures.icons.shape == (3, 32, 32, 3)
    assert pictures.whole[3].shape == (10, 10) and np.array_equal(pictures.whole[3], inputs.picture(3))
    assert (
        np.array_equal(pictures.icons[0], pictures.icons[1]) and (pictures.icons[0] == pictures.icons[0][..., :1]).all()
    )
    mean = images[:2].mean(0)[0]
    assert np.allclose(pictures.means[0], 255 * (mean - mean.min()) / (mean.max() - mean.min()), atol=0.51)
    large = image(np.zeros((300, 200, 3), np.uint8), "a & b")
    assert large.startswith('<img src="data:image/jpeg;base64,') and "sharp" not in large and "a &amp; b" in large


def test_recording_without_pooling_facts(page, recording):
    bare = Recording(recording.neurons, recording.logits, recording.labels, recording.class_names)
    assert "network" in page(recording=bare)
