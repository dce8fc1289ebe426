"""Ablation against Appendix H.3 followed word by word, one input and one neuron at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neucept import InputError, record
from neucept.evaluation.ablation import ablate, normalised, resample
from neucept.recording import agreement, tail

LEVELS = [0.0, 0.5, 1.5]


@pytest.fixture
def network() -> tuple[nn.Sequential, Tensor]:
    """A network and 60 inputs, which it shares out among three classes."""
    torch.manual_seed(2)
    model = nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(80, 6), nn.Linear(6, 3))
    inputs = 2 * torch.randn(60, 1, 6, 6)
    with torch.no_grad():
        model[4].bias -= model(inputs).mean(0)
    return model, inputs


@pytest.fixture
def cut(network: tuple[nn.Sequential, Tensor]) -> Callable[[int], tuple[nn.Module, Tensor, np.ndarray]]:
    """The network from one of its layers on, the layer's outputs, and labels, some of them wrong."""

    def make(layer: int) -> tuple[nn.Module, Tensor, np.ndarray]:
        model, inputs = network
        with torch.no_grad():
            activations = model[: layer + 1](inputs)
            labels = model(inputs).argmax(1).numpy()
        labels[:10] = 2
        return tail(model, str(layer)), activations, labels

    return make


def noise_by_hand(delta: np.ndarray, importance: np.ndarray, gamma: float, size: float, norm: float) -> np.ndarray:
    """Noise of one input: each element's base noise weighted by its neuron's importance, then rescaled."""
    weighted = np.zeros_like(delta)
    for position in np.ndindex(delta.shape):
        neuron = position[0] if len(importance) == delta.shape[0] else np.ravel_multi_index(position, delta.shape)
        weighted[position] = delta[position] * 2 ** (-gamma * importance[neuron])
    values = [abs(x) for x in weighted.ravel()]
    length = max(values) if norm == float("inf") else sum(x**norm for x in values) ** (1 / norm)
    return weighted * size / length


def importance_by_hand(scores: np.ndarray, top: int | None, normalise: str) -> np.ndarray:
    k = len(scores)
    if top is not None:
        first = sorted(range(k), key=lambda i: (-scores[i], i))[:top]
        return np.array([float(i in first) for i in range(k)])
    if normalise == "minmax":
        return (scores - scores.min()) / (scores.max() - scores.min())
    if normalise == "maximum":
        return np.array([max(x, 0) for x in scores]) / scores.max()
    rank = np.array([sum(y < x for y in scores) + (sum(y == x for y in scores) - 1) / 2 for x in scores])
    return (rank - rank.min()) / (rank.max() - rank.min())


def plain(
    rest: nn.Module,
    activations: Tensor,
    labels: np.ndarray,
    scores: np.ndarray,
    top: int | None,
    gamma: float,
    normalise: str,
    norm: float,
    relative: bool,
    protect: str,
    low: float,
) -> dict[tuple[float, int], float]:
    """Accuracy by (level, class), one input at a time."""
    rest.eval()
    rng = np.random.default_rng(0)
    lengths = [float(torch.linalg.vector_norm(z.double().flatten(), norm)) for z in activations]
    unit = np.mean(lengths) if relative else 1.0
    hits: dict[tuple[float, int], list[bool]] = {}
    for z, label in zip(activations, labels, strict=True):
        delta = low + (1 - low) * rng.random(z.shape)
        s = importance_by_hand(scores[label] if scores.ndim == 2 else scores, top, normalise)
        s = s if protect == "top" else 1 - s
        for level in LEVELS:
            noise = noise_by_hand(delta, s, gamma, level * unit, norm)
            with torch.no_grad():
                logits = rest((z + torch.as_tensor(noise, dtype=torch.float32))[None])
            hits.setdefault((level, int(label)), []).append(int(logits.argmax()) == label)
    return {key: float(np.mean(values)) for key, values in hits.items()}


@pytest.mark.parametrize(
    ("layer", "k", "top", "options"),
    [
        (3, 6, 2, {}),
        (3, 6, None, {"normalise": "rank"}),
        (3, 6, None, {"normalise": "maximum", "norm": 1}),
        (3, 6, 2, {"norm": float("inf"), "relative": False}),
        (3, 6, 2, {"protect": "rest"}),
        (3, 6, None, {"low": -1.0}),
        (0, 5, 2, {}),
        (0, 5, None, {"norm": float("inf")}),
        (1, 80, 20, {"protect": "rest", "norm": 1}),
    ],
)
@pytest.mark.parametrize("by_class", [False, True])
def test_it_equals_the_appendix_one_input_at_a_time(
    cut: Any, layer: int, k: int, top: int | None, options: dict[str, Any], by_class: bool
) -> None:
    rest, activations, labels = cut(layer)
    rng = np.random.default_rng(3)
    scores = {name: rng.normal(size=(3, k) if by_class else k).round(1) for name in ("one", "other")}
    given = {"normalise": "minmax", "norm": 2, "relative": True, "protect": "top", "low": 0.0} | options
    found = ablate(rest, activations, labels, scores, LEVELS, [1.0, 5.0], [top], batch_size=13, **given)
    answers = set()
    for name, row in scores.items():
        for gamma in (1.0, 5.0):
            expected = plain(rest, activations, labels, row, top, gamma, **given)
            cells = found[(found["method"] == name) & (found["gamma"] == gamma)].set_index(["level", "class"])
            assert cells["accuracy"].to_dict() == pytest.approx(expected)
            answers.add(tuple(expected.values()))
    assert len(answers) > 2  # methods and gammas differ, so the comparison can fail


def test_every_method_gets_the_same_base_noise(cut: Any) -> None:
    rest, activations, labels = cut(3)
    rng = np.random.default_rng(0)
    scores = {name: rng.normal(size=6) for name in "abc"}
    together = ablate(rest, activations, labels, scores, LEVELS, [2.0, 4.0], [1, None], seed=5)
    alone = ablate(rest, activations, labels, {"c": scores["c"]}, LEVELS, [4.0], [None], seed=5, batch_size=7)
    chosen = together[(together["method"] == "c") & (together["gamma"] == 4) & (together["top"] == 0)]
    assert chosen.reset_index(drop=True).equals(alone)
    without_weights = ablate(rest, activations, labels, scores, LEVELS, [0.0], [1])
    assert without_weights.groupby(["level", "class"])["accuracy"].nunique().max() == 1
    seeds = [ablate(rest, activations, labels, scores, LEVELS, seed=seed)["accuracy"].tolist() for seed in (5, 6)]
    assert seeds[0] != seeds[1]


def test_half_precision_and_levels_given_twice(cut: Any) -> None:
    rest, activations, labels = cut(3)
    scores = {"any": np.arange(6.0)}
    single = ablate(rest, activations, labels, scores, LEVELS)
    half = ablate(rest.half(), activations.half(), labels, scores, [*LEVELS, LEVELS[1]])
    assert half["level"].tolist() == single["level"].tolist()
    assert half["accuracy"].tolist() == pytest.approx(single["accuracy"].tolist(), abs=0.1)


def test_no_noise_leaves_the_accuracy(cut: Any) -> None:
    rest, activations, labels = cut(1)
    found = ablate(rest, activations, labels, {"any": np.arange(5.0)}, [0.0], tops=[2])
    with torch.no_grad():
        right = rest.eval()(activations).argmax(1).numpy() == labels
    assert found["accuracy"].tolist() == pytest.approx([right[labels == c].mean() for c in np.unique(labels)])
    assert found["inputs"].tolist() == [(labels == c).sum() for c in np.unique(labels)]
    assert 0 < right.mean() < 1


def test_the_converse_destroys_what_protection_keeps(deciding: tuple[nn.Module, Tensor, np.ndarray]) -> None:
    rest, activations, labels = deciding
    scores = {"right": np.array([1.0, 1, 0, 0, 0]), "wrong": np.array([0.0, 0, 0, 1, 1])}
    mean = {
        protect: ablate(rest, activations, labels, scores, [3.0], [30.0], [2], protect=protect)
        .groupby("method")["accuracy"]
        .mean()
        for protect in ("top", "rest")
    }
    assert mean["top"]["right"] == mean["rest"]["wrong"] == 1
    assert mean["rest"]["right"] < 0.7 and mean["top"]["wrong"] < 0.9


@pytest.fixture
def deciding() -> tuple[nn.Module, Tensor, np.ndarray]:
    """Five neurons of which the first two decide: the class is the sign of their sum."""
    rest = nn.Linear(5, 2, bias=False)
    with torch.no_grad():
        rest.weight.copy_(torch.tensor([[-1.0, -1, 0, 0, 0], [1, 1, 0, 0, 0]]))
    Z = torch.randn(3000, 5, generator=torch.Generator().manual_seed(0))
    return rest, Z, (Z[:, :2].sum(1) > 0).long().numpy()


def test_what_holds_on_the_important_neurons_alone(deciding: tuple[nn.Module, Tensor, np.ndarray]) -> None:
    rest, activations, _ = deciding
    scores = {"right": np.array([2.0, 1, 0, 0, 0]), "wrong": np.array([0.0, 0, 0, 1, 1])}
    found = resample(rest, activations, scores, [1, 2, 5]).groupby(["method", "top"])["agreement"].mean()
    assert found["right", 2] == found["right", 5] == found["wrong", 5] == 1
    # sign(a + b) = sign(a + b') of standard normal a, b, b': 2/3
    assert found["right", 1] == pytest.approx(2 / 3, abs=0.03)
    assert found["wrong", 2] == pytest.approx(1 / 2, abs=0.03)


@pytest.mark.parametrize(("layer", "neurons"), [("0", "channel"), ("2", "element"), ("3", "auto")])
def test_resampling_equals_that_of_whole_networks(network: Any, cut: Any, layer: str, neurons: str) -> None:
    model, inputs = network
    rest, activations, _ = cut(int(layer))
    recording = record(model, inputs, [layer], neurons=neurons)
    k = recording.activations(layer).shape[1]
    scores = np.random.default_rng(1).normal(size=(3, k))
    answers = []
    for label in np.unique(recording.predictions):
        rows = recording.samples(int(label))[1:]
        found = resample(rest, activations, {"any": scores}, [1, k // 2], rows, batch_size=9, seed=4)
        assert found["class"].tolist() == [label] * 2 and found["inputs"].tolist() == [len(rows)] * 2
        for top, share in zip(found["top"], found["agreement"], strict=True):
            kept = {"it": np.argsort(-scores[label])[:top]}
            assert share == pytest.approx(agreement(model, inputs, recording, layer, kept, rows, seed=4)["it"][1])
            answers.append(share)
    assert len(set(answers)) > 2


def test_the_network_is_left_as_it_was_found(cut: Any, global_random: Callable[[], Any]) -> None:
    rest, activations, labels = cut(0)
    rest.train()
    before, random = activations.clone(), global_random()
    ablate(rest, activations, labels, {"any": np.arange(5.0)}, LEVELS)
    resample(rest, activations, {"any": np.arange(5.0)}, [2])
    assert rest.training and torch.equal(activations, before) and global_random() == random


def test_channels_of_tokens_and_of_any_axis() -> None:
    """Tokens count their channels last by default; the axis can be given."""
    torch.manual_seed(0)
    tokens, labels = torch.randn(40, 7, 4), np.arange(40) % 2
    by_token = nn.Sequential(nn.Flatten(), nn.Linear(28, 2))
    options: dict[str, Any] = {"levels": LEVELS, "gammas": [6.0], "tops": [2], "seed": 0}
    last = ablate(by_token, tokens, labels, {"any": np.arange(4.0)}, **options)
    spread = ablate(by_token, tokens, labels, {"any": np.tile(np.arange(4.0), 7)}, **options | {"tops": [14]})
    assert last["accuracy"].tolist() == spread["accuracy"].tolist()
    first = ablate(by_token, tokens, labels, {"any": np.arange(7.0)}, **options, axis=1)
    spread = ablate(by_token, tokens, labels, {"any": np.repeat(np.arange(7.0), 4)}, **options | {"tops": [8]})
    assert first["accuracy"].tolist() == spread["accuracy"].tolist() != last["accuracy"].tolist()


def test_scores_that_are_all_equal_are_no_importance() -> None:
    for how in ("minmax", "rank", "maximum"):
        assert normalised(np.zeros((2, 3)), how).tolist() == [[0.0] * 3] * 2
    assert normalised(np.full(3, -2.0), "maximum").tolist() == [0.0] * 3
    ones = [normalised(np.full(3, 2.0), how).tolist() for how in ("minmax", "rank", "maximum")]
    assert ones == [[0.0] * 3, [0.0] * 3, [1.0] * 3]
    with pytest.raises(InputError, match="normalise='max': expected one of 'minmax'"):
        normalised(np.zeros(3), "max")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"scores": {"a": np.zeros(7)}},
            r"scores of 'a' have shape \(7,\); expected .* k = 5 channels \(axis 1\) or 80",
        ),
        ({"scores": {"a": np.zeros((2, 5))}}, "a row for each of 3 classes"),
        ({"scores": {"a": np.array([0, 1, 2, np.nan, 4])}}, "scores of 'a' are not finite"),
        ({"labels": np.zeros(3, int)}, r"60 activations but labels of shape \(3,\)"),
        ({"labels": np.full(60, -1)}, "expected one an input, from 0 on"),
        ({"tops": [5]}, r"tops=\[5\]: expected numbers from 1 to 4"),
        ({"tops": [0]}, r"tops=\[0\]: expected numbers from 1 to 4"),
        ({"levels": [-1.0]}, "levels=.*: expected finite numbers from 0 on"),
        ({"gammas": [float("inf")]}, "gammas=.*: expected finite numbers from 0 on"),
        ({"low": 1.0}, "low=1.0: expected less than 1"),
        ({"norm": 3}, "norm=3: expected one of 1, 2, inf"),
        ({"protect": "all"}, "protect='all': expected one of 'top', 'rest'"),
        ({"activations": torch.zeros(0, 5, 4, 4), "labels": np.zeros(0, int)}, "No inputs were given"),
        ({"labels": np.full(60, 0.5)}, "labels .float64. are not class numbers: .*whole"),
        ({"labels": np.full(60, np.nan)}, "labels .float64. are not class numbers"),
        ({"labels": np.full(60, "cat")}, "labels .<U3. are not class numbers"),
        ({"labels": np.full(60, 3)}, "labels go up to 3, but the tail gives 3 classes"),
        ({"scores": {}}, "scores={}: expected the scores of at least one method"),
        ({"scores": np.arange(5.0)}, "scores=.*: expected the scores of at least one method"),
        ({"scores": {"a": list("abcde")}}, "scores of 'a' are not finite numbers"),
        ({"levels": []}, r"levels=\[\]: expected a list of at least one"),
        ({"levels": 1.0}, r"levels=1.0: expected a list of at least one"),
        ({"levels": ["high"]}, r"levels=\['high'\]: expected finite numbers"),
        ({"gammas": 4}, "gammas=4: expected a list of at least one"),
        ({"tops": 2}, "tops=2: expected a list of at least one"),
        ({"tops": [2.5]}, r"tops=\[2.5\]: expected numbers from 1 to 4"),
        ({"tops": [True]}, r"tops=\[True\]: expected numbers from 1 to 4"),
        ({"batch_size": 0}, "batch_size=0: expected a whole number, 1 or more"),
        ({"tail": len}, "tail is a builtin_function_or_method; expected a Module"),
        (
            {"tail": nn.Linear(7, 3)},
            r"tail does not take activations of shape \(60, 5, 4, 4\) .*one and the same layer",
        ),
        ({"activations": [[1.0]] * 60}, "activations: got list; expected a tensor"),
        ({"activations": torch.zeros(60)}, r"activations: got shape \(60,\); expected a tensor"),
        ({"activations": torch.zeros(60, 5).int(), "tail": nn.Embedding(2, 3)}, "The logits must be"),
    ],
)
def test_what_does_not_fit(cut: Any, change: dict[str, Any], message: str) -> None:
    rest, activations, labels = cut(0)
    given = {"activations": activations, "labels": labels, "scores": {"a": np.arange(5.0)}, "levels": LEVELS} | change
    with pytest.raises(InputError, match=message):
        ablate(**{"tail": rest} | given)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_activations_that_are_not_finite(cut: Any, wrong: float) -> None:
    rest, activations, labels = cut(0)
    activations[41, 2, 1, 3] = wrong
    with pytest.raises(InputError, match="activations of input 41 are not finite"):
        ablate(rest, activations, labels, {"a": np.arange(5.0)}, LEVELS, batch_size=20)
    with pytest.raises(InputError, match="activations of input 41 are not finite"):
        resample(rest, activations, {"a": np.arange(5.0)}, [2], rows=[1, 2], batch_size=20)


def test_whole_activations_take_no_noise() -> None:
    rest = nn.Sequential(nn.Embedding(3, 4), nn.Flatten(), nn.Linear(8, 2))
    tokens = torch.arange(20).reshape(10, 2) % 3
    with pytest.raises(InputError, match=r"activations are torch\.int64, to which no noise can be added"):
        ablate(rest, tokens, np.zeros(10, int), {"a": np.arange(2.0)}, LEVELS)
    assert resample(rest, tokens, {"a": np.arange(2.0)}, [1])["inputs"].sum() == 10


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_arrays_of_activations_and_whole_labels_of_any_type(cut: Any, kind: Any) -> None:
    rest, activations, labels = cut(0)
    scores = {"a": np.arange(5.0)}
    array = activations.numpy().astype(kind)
    found = ablate(rest, array, labels.astype(float), scores, np.array(LEVELS), tops=(2, None))
    assert found.equals(ablate(rest, activations, labels, scores, LEVELS, tops=[2, None]))
    assert resample(rest, array, scores, [2]).equals(resample(rest, activations, scores, [2]))


def test_what_does_not_fit_resampling(cut: Any) -> None:
    rest, activations, _ = cut(0)
    for tops in ([6], [0], [1.5]):
        with pytest.raises(InputError, match="expected numbers from 1 to 5"):
            resample(rest, activations, {"a": np.arange(5.0)}, tops)
    for tops in ([None], [2, None]):
        with pytest.raises(InputError, match="expected numbers of neurons that stay; None"):
            resample(rest, activations, {"a": np.arange(5.0)}, tops)
    for rows in (np.zeros(0, int), [], np.zeros(60, bool)):
        with pytest.raises(InputError, match="No inputs"):
            resample(rest, activations, {"a": np.arange(5.0)}, [1], rows=rows)
    for rows, message in [([60], "rows holds 60"), ([-1], "rows holds -1"), ([0.5], "rows has shape"), (7, "rows has")]:
        with pytest.raises(InputError, match=message):
            resample(rest, activations, {"a": np.arange(5.0)}, [1], rows=rows)
    with pytest.raises(InputError, match="batch_size=0: expected"):
        resample(rest, activations, {"a": np.arange(5.0)}, [1], batch_size=0)


def test_rows_to_resample_may_be_a_mask(cut: Any) -> None:
    rest, activations, _ = cut(0)
    mask = np.arange(60) % 3 > 0
    given: dict[str, Any] = {"scores": {"a": np.arange(5.0)}, "tops": [1, 2]}
    by_mask = resample(rest, activations, rows=mask, **given)
    assert by_mask.equals(resample(rest, activations, rows=np.flatnonzero(mask), **given))
    assert by_mask["inputs"].sum() == 2 * 40
