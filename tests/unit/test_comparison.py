"""Two networks mechanism by mechanism, on divisions of inputs whose relation is known."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import fisher_exact
from sklearn.metrics import adjusted_mutual_info_score

from neucept import InputError, Recording, learn, report
from neucept.comparison import Comparison, compare
from neucept.comparison.comparison import adjusted_information, beyond_chance, contingency, jaccard, resampled
from neucept.mechanisms import Mechanisms
from neucept.recording import MultiLabel
from neucept.reports import figures

N = 300


def mechanisms_of(groups: np.ndarray, rows: np.ndarray | None = None, logits: np.ndarray | None = None):
    """A recording whose only neuron tells groups apart with certainty, and the mechanisms learnt on it."""
    rng = np.random.default_rng(len(groups))
    neuron = (10.0 * groups + rng.uniform(0, 1, len(groups)))[:, None].astype(np.float32)
    if logits is None:
        logits = np.tile([1.0, 0.0], (len(groups), 1)).astype(np.float32)
    labels = np.arange(len(groups)) % 2
    recording = Recording({"hidden": neuron}, logits, labels, ("cat", "dog"))
    K = len(np.unique(groups if rows is None else groups[rows]))
    return recording, learn(recording, {"hidden": [0]}, K, target="cat", samples=rows)


def sized(*sizes: int, seed: int = 0) -> np.ndarray:
    """Groups of these sizes, 0 the largest, in a random order."""
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))


@pytest.fixture(scope="module")
def groups() -> np.ndarray:
    return sized(120, 80, 60, 40)


def test_equal_mechanisms_match_perfectly(groups: np.ndarray) -> None:
    _, a = mechanisms_of(groups)
    found = compare(a, a)
    assert found.matches == [(k, k) for k in range(4)]
    table = found.table()
    assert (table["jaccard"] == 1).all() and (table["verdict"] == "matched").all() and (table["inside"] == 1).all()
    assert found.agreement == pytest.approx((1, 1, 1))
    assert found.churn == 0 and found.alone == ([], []) and all(len(rows) == 0 for rows in found.only)
    assert (found.contingency == np.diag([120, 80, 60, 40])).all()


def test_numbers_do_not_matter(groups: np.ndarray) -> None:
    """The same inputs in clusters of other sizes, hence other numbers: here all but some of one group are looked at."""
    _, a = mechanisms_of(groups)
    largest = np.flatnonzero(groups == 0)[:100]
    rows = np.setdiff1d(np.arange(N), largest)
    _, b = mechanisms_of(groups, rows)
    found = compare(a, b)
    assert found.matches == [(0, 3), (1, 0), (2, 1), (3, 2)]
    assert found.agreement[0] == pytest.approx(1) and (found.table()["jaccard"] == 1).all()  # on common inputs
    assert found.only[0].tolist() == largest.tolist() and len(found.only[1]) == 0


def test_order_of_networks_and_of_inputs_does_not_matter(groups: np.ndarray) -> None:
    other = np.where(np.random.default_rng(1).random(N) < 0.3, sized(120, 80, 60, 40, seed=2), groups)
    a, b = mechanisms_of(groups)[1], mechanisms_of(other)[1]
    found, swapped = compare(a, b), compare(b, a)
    assert found.matches == sorted((i, j) for j, i in swapped.matches)
    assert found.agreement[0] == pytest.approx(swapped.agreement[0])
    assert (found.contingency == swapped.contingency.T).all()
    order = np.random.default_rng(3).permutation(N)
    again = compare(mechanisms_of(groups[order])[1], mechanisms_of(other[order])[1])
    assert (again.contingency == found.contingency).all()
    pd.testing.assert_frame_equal(again.table().drop(columns="repeated"), found.table().drop(columns="repeated"))


def test_unrelated_divisions_match_no_more_than_chance() -> None:
    """Under 5% of unrelated pairs of divisions show any overlap beyond chance; the same test finds weak relations."""
    rng = np.random.default_rng(0)
    first = sized(120, 80, 60, 40)
    false = related = 0
    for _ in range(400):
        other = rng.permutation(first)
        false += bool((beyond_chance(contingency(first, other, (4, 4))) < 0.05).any())
        weak = np.where(rng.random(N) < 0.3, first, other)
        related += bool((beyond_chance(contingency(first, weak, (4, 4))) < 0.05).any())
    assert false <= 30  # 20 expected at most; 30 with probability 0.01 if the rate were 5%
    assert related > 380


def test_a_division_that_has_nothing_to_do_with_the_other(groups: np.ndarray) -> None:
    a, b = mechanisms_of(groups)[1], mechanisms_of(sized(120, 80, 60, 40, seed=5))[1]
    found = compare(a, b)
    assert found.matches == [] and found.alone == ([0, 1, 2, 3], [0, 1, 2, 3])
    table = found.table()
    assert (table["verdict"] == "alone").all() and (table["match"] == -1).all() and (table["p_corrected"] > 0.05).all()
    assert found.agreement[1] < 0 < found.agreement[2] and found.churn == 1


def test_a_mechanism_that_the_other_splits() -> None:
    """One of a, 0, holds the inputs of 0 and 2 of b."""
    b = sized(120, 90, 60, 30)
    a = np.array([0, 1, 0, 2])[b]
    found = compare(mechanisms_of(a)[1], mechanisms_of(b)[1])
    assert found.matches == [(0, 0), (1, 1), (2, 3)]
    of_b = found.table().query("network == 'B'").set_index("mechanism")
    assert of_b["verdict"].tolist() == ["matched", "matched", "overlaps", "matched"]
    assert of_b.loc[2, "nearest"] == 0 and of_b.loc[2, "inside"] == 1 and of_b.loc[2, "match"] == -1
    assert of_b.loc[0, "jaccard"] == pytest.approx(120 / 180)
    of_a = found.table().query("network == 'A'").set_index("mechanism")
    assert of_a.loc[0, "inside"] == pytest.approx(120 / 180)
    assert found.alone == ([], []) and found.churn == pytest.approx(60 / 300)


def test_one_mechanism_alone_is_matched() -> None:
    _, one = mechanisms_of(sized(60))
    same = compare(one, one)
    assert same.matches == [(0, 0)] and same.churn == 0 and same.alone == ([], [])
    assert same.table()["verdict"].tolist() == ["matched", "matched"]
    _, three = mechanisms_of(sized(30, 20, 10))
    divided = compare(one, three)
    assert divided.matches == [(0, 0)] and divided.churn == pytest.approx(0.5)
    assert divided.table()["verdict"].tolist() == ["matched", "matched", "overlaps", "overlaps"]


def test_overlaps_are_tested_as_by_fisher() -> None:
    """Against scipy's test of each two-by-two table, corrected by hand."""
    table = np.random.default_rng(4).integers(0, 30, (3, 4))
    rest = table.sum()
    p = [
        fisher_exact(
            [[n, table[i].sum() - n], [table[:, j].sum() - n, rest - table[i].sum() - table[:, j].sum() + n]], "greater"
        )[1]
        for (i, j), n in np.ndenumerate(table)
    ]
    holm, largest = np.empty(len(p)), 0.0
    for rank, index in enumerate(np.argsort(p)):
        largest = max(largest, min(1.0, p[index] * (len(p) - rank)))
        holm[index] = largest
    assert beyond_chance(table).ravel() == pytest.approx(holm)


def test_agreement_equals_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(6)
    for _ in range(20):
        K = rng.integers(1, 6, 2)
        a, b = (rng.integers(0, k, 80) for k in K)
        table = contingency(a, b, (int(K[0]), int(K[1])))
        value, low, high = adjusted_information(table, resampled(table, 100, 0))
        assert value == pytest.approx(adjusted_mutual_info_score(a, b), abs=1e-9)
        assert low <= value <= high


def test_intervals_hold_what_other_inputs_show() -> None:
    """The index of a whole population lies in about 95% of the intervals of samples of it."""
    rng = np.random.default_rng(7)
    whole = np.array([[40, 10, 5], [5, 30, 10], [10, 5, 20]]) * 1000
    true_index = jaccard(whole)
    true_value = adjusted_information(whole, resampled(whole, 2, 0))[0]
    inside = np.zeros((3, 3))
    held = 0
    for seed in range(200):
        table = rng.multinomial(400, whole.ravel() / whole.sum()).reshape(3, 3)
        tables = resampled(table, 300, seed)
        low, high = np.quantile(jaccard(tables), [0.025, 0.975], axis=0)
        inside += (low <= true_index) & (true_index <= high)
        _, lowest, highest = adjusted_information(table, tables)
        held += lowest <= true_value <= highest
    assert 0.90 < inside.mean() / 200 < 0.985
    assert 0.90 < held / 200 < 0.985


def test_inputs_that_one_alone_predicts(groups: np.ndarray) -> None:
    one, other = (np.tile([1.0, 0.0], (N, 1)).astype(np.float32) for _ in range(2))
    one[:10] = other[5:25] = [0.0, 1.0]
    recordings, found = zip(*(mechanisms_of(groups, logits=logits) for logits in (one, other)), strict=True)
    result = compare(*found, names=("old", "new"), recordings=recordings)
    assert result.only[0].tolist() == list(range(10, 25)) and result.only[1].tolist() == list(range(5))
    moves = result.movements()
    assert moves.to_numpy().sum() == N - 5 and moves.loc["not old", "not new"] == 0
    assert moves["not new"].sum() == 15 and moves.loc["not old"].sum() == 5
    assert moves.index[-1] == "not old" and moves.columns[0] == "new 0"
    labels = recordings[0].labels
    assert result.outputs["agreement"] == (one.argmax(1) == other.argmax(1)).mean()
    assert result.outputs["accuracy_a"] == (one.argmax(1) == labels).mean()
    assert result.right is not None and (result.right == (labels[result.rows] == 0)).all()


def test_inputs_of_no_mechanism_are_not_matched(groups: np.ndarray) -> None:
    _, a = mechanisms_of(groups)
    labels = a.labels.copy()
    labels[:30] = -1
    found = compare(a, replace(a, labels=labels))
    assert found.common.sum() == N - 30 and found.movements()["B: no mechanism"].sum() == 30
    assert len(found.only[0]) == 0


def test_what_is_the_same_network_again(groups: np.ndarray) -> None:
    """Clear clusters are found again; slices of one cloud are not."""
    _, clear = mechanisms_of(groups)
    assert (compare(clear, clear).table()["repeated"] == 1).all()
    noise = np.random.default_rng(0).normal(size=(N, 8)).astype(np.float32)
    recording = Recording({"hidden": noise}, np.tile([1.0, 0.0], (N, 1)), None, ("cat", "dog"))
    vague = learn(recording, {"hidden": range(8)}, 4, target="cat")
    assert compare(vague, vague).table()["repeated"].max() < 0.8


def test_saved_and_opened(groups: np.ndarray, tmp_path: Path) -> None:
    recordings, (a, b) = zip(*(mechanisms_of(g) for g in (groups, sized(120, 80, 60, 40, seed=9))), strict=True)
    found = compare(a, b, recordings=recordings)
    again = Comparison.open(found.save(tmp_path / "comparison"))
    pd.testing.assert_frame_equal(again.table(), found.table())
    pd.testing.assert_frame_equal(again.movements(), found.movements())
    assert repr(again) == repr(found) and again.outputs == found.outputs and (again.right == found.right).all()


def test_mistakes(groups: np.ndarray) -> None:
    recording, a = mechanisms_of(groups)
    with pytest.raises(InputError, match="expected Mechanisms"):
        compare(a, recording)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="two different names"):
        compare(a, a, names=("same", "same"))
    with pytest.raises(InputError, match="'cat', those of B 'dog'"):
        compare(a, replace(a, target=1, target_name="dog"))
    with pytest.raises(InputError, match="No input has a mechanism in both"):
        compare(a, replace(a, samples=a.samples + N))
    with pytest.raises(InputError, match="300 inputs, B on 299"):
        compare(a, a, recordings=(recording, recording.subset(np.arange(N - 1))))
    labels = recording.labels.copy()
    labels[7] = 1 - labels[7]
    with pytest.raises(InputError, match="labels of the recordings differ, first at input 7"):
        compare(a, a, recordings=(recording, replace(recording, labels=labels)))
    with pytest.raises(InputError, match="classes of the recordings differ"):
        compare(a, a, recordings=(recording, replace(recording, class_names=("cat", "bird"))))
    turned = recording.subset(np.arange(N)[::-1])
    with pytest.raises(InputError, match="mechanisms of B were not learnt on"):
        compare(a, a, recordings=(replace(recording, labels=None), turned))
    with pytest.raises(InputError, match="expects the two Recordings"):
        compare(a, a, recordings=(recording,))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="draws=1"):
        compare(a, a, draws=1)


class Outline(HTMLParser):
    """What is open, what is loaded, identifiers and links within the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        known = {key: value or "" for key, value in attributes}
        places = [known[key] for key in ("src", "href") if key in known]
        self.loads += [place for place in places if not place.startswith(("data:", "#"))]
        self.links += [place[1:] for place in places if place.startswith("#")]
        self.ids += [known["id"]] if "id" in known else []
        assert tag != "img" or known.get("alt")
        if tag not in ("img", "meta", "br", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def two(groups: np.ndarray) -> Callable[..., Comparison]:
    def make(other: np.ndarray, **named: object) -> Comparison:
        one, two = np.tile([1.0, 0.0], (2, N, 1)).astype(np.float32)
        one[:10] = two[5:25] = [0.0, 1.0]
        pairs = [mechanisms_of(g, logits=logits) for g, logits in ((groups, one), (other, two))]
        recordings: tuple[Recording, ...] = tuple(r for r, _ in pairs)
        a, b = (m for _, m in pairs)
        return compare(a, b, names=("<b>old</b>", "new & co"), recordings=recordings)  # type: ignore[arg-type]

    return make


def test_the_page_is_one_file(two: Callable[..., Comparison], groups: np.ndarray, tmp_path: Path) -> None:
    split = np.where((groups == 0) & (np.arange(N) % 2 == 0), 4, groups)
    images = torch.rand(N, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    path = report(two(split), path=tmp_path / "page.html", data=(images, torch.arange(N) % 3))
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    page = path.read_text(encoding="utf-8")
    outline = Outline(page)
    assert outline.open == [] and outline.loads == [] and len(set(outline.ids)) == len(outline.ids)
    assert {"summary", "flow", "matches", "together", "apart", "only", "glossary"} <= set(outline.ids)
    assert set(outline.links) <= set(outline.ids)
    assert "default-src 'none'" in page and "<b>old" not in page and "data:image/png;base64," in page
    specs = [json.loads(spec) for spec in re.findall(r'<script type="application/json">(.*?)</script>', page)]
    assert [spec["data"][0]["type"] for spec in specs] == ["sankey", "heatmap"]
    assert "old&lt;/b&gt; 0, divided by new &amp; co" in page


def test_the_page_without_pictures_and_without_matches(two: Callable[..., Comparison], tmp_path: Path) -> None:
    found = two(sized(120, 80, 60, 40, seed=5))
    assert found.matches == []
    page = report(found, path=tmp_path / "page.html", title="A < B").read_text(encoding="utf-8")
    outline = Outline(page)
    assert outline.open == [] and "<img" not in page and "together" not in outline.ids and "A &lt; B" in page
    assert set(outline.links) <= set(outline.ids)
    with pytest.raises(InputError, match="data has 299 inputs"):
        report(found, path=tmp_path / "page.html", data=torch.rand(N - 1, 1, 8, 8))


def test_figures_hold_every_input(two: Callable[..., Comparison], groups: np.ndarray) -> None:
    found = two(np.where(np.arange(N) % 4 == 0, (groups + 1) % 4, groups))
    link = figures.flow(found).data[0].link
    assert sum(link.value) == len(found.rows)
    heat = figures.heat_map(found).data[0]
    assert np.asarray(heat.customdata).sum() == found.common.sum()
    diagonal = np.diag(np.asarray(heat.z))
    assert (diagonal == np.asarray(heat.z).max(axis=1)).all()


def test_mechanisms_given_are_not_changed(groups: np.ndarray) -> None:
    _, a = mechanisms_of(groups)
    before: Mechanisms = replace(a, labels=a.labels.copy(), samples=a.samples.copy())
    compare(a, a).table()
    assert (a.labels == before.labels).all() and (a.samples == before.samples).all()


def test_networks_of_several_labels_are_compared_on_the_target(groups: np.ndarray) -> None:
    """The largest output says nothing where any number of labels hold."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (N, 3))
    pairs = []
    for seed in range(2):
        logits = np.random.default_rng(seed).normal(size=(N, 3)).astype(np.float32)
        neuron = (10.0 * groups + rng.uniform(0, 1, N))[:, None].astype(np.float32)
        recording = Recording({"hidden": neuron}, logits, labels, ("a", "b", "c"), task=MultiLabel())
        pairs.append((recording, learn(recording, {"hidden": [0]}, 4, target="b", samples="all")))
    (one, a), (other, b) = pairs
    found = compare(a, b, recordings=(one, other))
    predicted = [recording.logits[:, 1] > 0 for recording in (one, other)]
    assert found.outputs["agreement"] == np.mean(predicted[0] == predicted[1])
    assert found.outputs["accuracy_a"] == np.mean(predicted[0] == labels[:, 1])
    assert found.right is not None and found.right.tolist() == (labels[:, 1] == 1).tolist()
