"""Figures 8 and 13 to 17: accuracy under noise that spares the neurons a method calls important (Appendix H.3).

The paper does not say which networks, gamma, normalisation of scores and norm it used. Here: the networks with prior
knowledge (pkt) and without (normal), both; gamma 2 and 8; noise of 0 to 8 times the layer's mean L2 norm; for
continuous scores their ranks, so that methods differ by the order of neurons alone. A sweep changes each of these by
itself, and has the converse, noise on the important neurons. The published noise, U[0, 1] before weighting, is never
negative and so shifts the layer; beside it stands noise of both signs, U[-1, 1]. Noise for an input is weighted by the
scores for its true class, which come from the test inputs predicted as the class (from all test inputs for the
published NeuCEPT). A curve is summarised by its mean over the levels, its area. NeuCEPT ranks so that no information is
named twice; "by evidence" ranks each neuron by the evidence on itself, as the other methods do; "by robustness", "by
sufficiency" and "by contribution" are the other orders. "Against the class" is no method: it shows what noise that is
never negative rewards. Random neurons: mean of several orders.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
from common import Results, Scale, main
from networks import pairs, recorded, trained
from tasks import TASKS, tensors

import neucept
from neucept import rankings
from neucept.recording import list_layers, tail

KINDS = ("pkt", "normal")
LEVELS = (0, 1, 2, 3, 4, 6, 8)  # multiples of the layer's mean norm
GAMMAS = (2, 8)
SIGNS = {"positive": 0.0, "both": -1.0}  # the least base noise
TOPS = {"lenet": (5, 10, 20, None), "vgg11": (30, 100, None)}
DRAWN = {"lenet": 10, "vgg11": 30}
BY_EVIDENCE = "NeuCEPT, by evidence"
NEW = ("sufficient", "robust", "contribution")  # orders of version 0.2
MORE = " more"  # the group of methods measured in cells of their own
RANDOM_ORDERS = 6
MAGNITUDES = "IG, magnitudes"  # the others sum signed attributions
SWEEP: dict[str, dict] = {
    "gamma 8, L2, ranks": {},
    **{f"gamma {gamma}": {"gammas": [gamma]} for gamma in (1, 2, 4, 16)},
    "L1 norm": {"norm": 1},
    "largest element": {"norm": float("inf")},
    "scores min-max": {"normalise": "minmax"},
    "scores by maximum": {"normalise": "maximum"},
    "converse": {"protect": "rest"},
}


def methods(seed: int, group: str) -> list[rankings.Method]:
    """Return the methods compared, in two groups that are measured apart under the same noise."""
    if group == MORE:
        orders = [rankings.Random(seed=100 * seed + i, name=f"random #{i}") for i in range(1, RANDOM_ORDERS)]
        return [
            rankings.NeuCEPT(order="evidence", name=BY_EVIDENCE),
            *(rankings.NeuCEPT(order=order) for order in NEW),
            Against(),
            *orders,
        ]
    return [
        rankings.NeuCEPT(order="information", name="NeuCEPT"),
        rankings.NeuCEPT.published(),
        rankings.Saliency(),
        rankings.IntegratedGradients(),
        rankings.IntegratedGradients(absolute=True, name=MAGNITUDES),
        rankings.DeepLift(),
        rankings.GradientShap(),
        rankings.Activation(),
        rankings.Variance(),
        rankings.Random(seed=seed),
    ]


class Against:
    """Protect the neurons that speak against the class: those with the most negative gradient of its margin."""

    name = "against the class"

    def scores(self, subject: rankings.Subject) -> dict[str, np.ndarray]:
        """Sum the gradients over the inputs, with their signs."""
        found, number = {}, subject.recording.class_number(subject.target)
        inputs = subject.data[subject.rows].tree
        for layer in subject.layers:
            Z = outputs(subject.recording.subset(subject.rows), layer, subject.model, inputs).requires_grad_()
            logits = tail(subject.model, layer)(Z)
            (gradient,) = torch.autograd.grad((logits[:, number] - logits[:, 1 - number]).sum(), Z)
            found[layer] = -gradient.flatten(1).double().sum(0).numpy()
        return found


@cache
def scored(task: str, seed: int, kind: str, scale: Scale, group: str = "") -> dict[str, dict[str, np.ndarray]]:
    """Return {layer: {method: (2, k) scores, one row per class}}."""
    recording, network = recorded(task, seed, kind, scale), trained(task, seed, scale)[kind]
    X, _ = tensors(task, "test", scale.shared, scale.inputs)
    subjects = [rankings.Subject.of(recording, label, network, X) for label in (0, 1)]
    results = {m.name: [m.scores(subject) for subject in subjects] for m in methods(seed, group)}
    return {
        layer: {name: np.stack([one[layer] for one in both]) for name, both in results.items()}
        for layer in recording.layers
    }


def outputs(recording: neucept.Recording, layer: str, network: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Shape the recorded neurons as the layer's output, which has one position per channel in all layers here."""
    shape = list_layers(network, inputs[:1]).set_index("layer")["shape"][layer]
    return torch.from_numpy(np.array(recording.activations(layer))).reshape(-1, *shape)


def measure(task: str, seed: int, kind: str, name: str, group: str, scale: Scale) -> dict:
    """Return {"settings": names, "areas": {method: [...]}}, the curves that are drawn, and the same for the sweep."""
    recording, network = recorded(task, seed, kind, scale), trained(task, seed, scale)[kind]
    layer = dict(TASKS[task].layers)[name]
    Z = outputs(recording, layer, network, tensors(task, "test", scale.shared, scale.inputs)[0])
    assert recording.labels is not None
    rest, scores = tail(network, layer), scored(task, seed, kind, scale, group)[layer]

    def table(inputs: int, **changed: Any) -> pd.DataFrame:
        options = {"gammas": [8], "normalise": "rank", "tops": (DRAWN[task], None), "progress": False} | changed
        return neucept.ablation.ablate(rest, Z[:inputs], recording.labels[:inputs], scores, LEVELS, **options)

    draws = 1 if scale.reduced else 3
    tables = {
        signs: pd.concat([table(len(Z), gammas=GAMMAS, tops=TOPS[task], low=low, seed=draw) for draw in range(draws)])
        for signs, low in SIGNS.items()
    }
    keys = ["top", "gamma", "class"]
    main_curves = pd.concat({signs: curves(one, keys) for signs, one in tables.items()}, names=["signs"])
    sweep = {change: curves(table(len(Z) // 4, **options), ["top"]) for change, options in SWEEP.items()}
    drawn = main_curves.xs(DRAWN[task], level="top").round(4)
    return {
        **summary(main_curves),
        "curves": {
            setting(key): by.droplevel([*range(by.index.nlevels - 1)]).T.to_dict("list")
            for key, by in drawn.groupby(level=[0, 1, 2], sort=False)
        }
        if kind == "pkt"
        else {},
        "sweep": summary(pd.concat(sweep, names=["change"])),
    }


def curves(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return accuracy one column per level, and one row per setting and method."""
    return table.groupby([*keys, "method", "level"], sort=False)["accuracy"].mean().unstack(sort=False)


def summary(by_setting: pd.DataFrame) -> dict:
    """Return the settings, and the area of each method in each of them."""
    area = np.trapezoid(by_setting, by_setting.columns) / by_setting.columns[-1]
    wide = pd.Series(area.round(4), by_setting.index).unstack("method", sort=False)
    return {"settings": [setting(key) for key in wide.index], "areas": wide.to_dict("list")}


def setting(key: tuple) -> str:
    return " | ".join(map(str, key))


def run(scale: Scale) -> dict:
    cells = {}
    for task, seed in pairs(scale, "lenet", "vgg11"):
        for kind, (name, _), group in product(KINDS, TASKS[task].layers, ("",) if scale.reduced else ("", MORE)):
            cells[f"{task} {seed} {kind} {name}{group}"] = lambda a=(task, seed, kind, name, group, scale): measure(*a)
    return Results("ablation", scale).fill(cells)


if __name__ == "__main__":
    main(__file__, run)
