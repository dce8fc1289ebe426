"""Compare the spaces in which mechanisms are clustered: are they found again, and do they show the fine classes.

    python experiments/spaces.py [--groups given fresh baselines pair vgg11 fresh-vgg11] [--page]

LeNets, the inputs predicted "even", K = 5: critical neurons, weights, components and clusters are all found anew on
each random half of the inputs. *Again*: AMI of the two halves' mechanisms, both assigned to all inputs. *CE*: bits of
the digit that the mechanisms of one half leave on the other half. The networks of ../shared/models ("given") are those
that the spaces were worked out on; "fresh" pairs were trained after all choices, and measured once. "pair": the same
for VGG11s that tell animals from objects. "baselines": CE of PKT networks as `experiments/clusters.py` measures it, of
mechanisms by default beside the ten first neurons of other rankings. VGG11 with ten classes (test images): mechanisms
of each class learnt on one half with the number chosen there, their precision on that half and on the other. "fresh"
VGG11s lie in runs/fresh-vgg. Writes docs/mechanism-space.md.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import product
from typing import Any

import numpy as np
import torch
from common import PROJECT, SHARED, Results, Scale, scale
from discovery import quiet
from networks import trained
from spaces_vgg import (
    DISCOVERED,
    FRESH_VGG,
    K,
    again_and_entropy,
    given,
    halves,
    largest_variance,
    real_classes,
    vgg_pair,
)
from tasks import CONV3, LINEAR0, TASKS, tensors
from torch.utils.data import TensorDataset

import neucept
from neucept.rankings import Activation, DeepLift, IntegratedGradients, Random, Saliency, Variance, rank

GIVEN, FRESH = range(3), (*range(5), *range(10, 13))
IN_SHORT = [("fresh", seed) for seed in range(5)]  # networks measured with K-means, without spaces of critical neurons
LAYERS = {"conv3": [CONV3], "linear0": [LINEAR0], "both": [CONV3, LINEAR0]}
METHODS = ("kmeans", "gmm")
WEIGHTED = ("contribution", "posterior", "metric", "all")
SPACES = ("top", "variance", *WEIGHTED)
KINDS = ("pkt", "normal")
BASELINES = (IntegratedGradients(baseline="zero"), DeepLift(baseline="zero"), Saliency(), Activation(), Variance())
RANDOM_SETS = 3
GROUPS = ("given", "fresh", "baselines", "pair", "vgg11", "fresh-vgg11")


@lru_cache(1)
def discovered(group: str, seed: int, kind: str, scale: Scale) -> tuple[Any, ...]:
    """Return model, data, recording, and the halves of the even inputs with their critical neurons."""
    of_group = {
        "given": partial(given, f"lenet-{kind}-{seed}", 2, scale.shared),
        "fresh": lambda: trained("lenet", seed, scale)[kind],
    }
    model = of_group[group]()
    X, digits = tensors("lenet", "test", scale.shared, scale.inputs)
    data = TensorDataset(X, torch.as_tensor(TASKS["lenet"].coarse(digits)))
    recording = neucept.record(model, data, LAYERS["both"], progress=False)
    parts = halves(recording.samples(0))
    calibration = "auto" if (group, seed) not in IN_SHORT else None  # other spaces take the response alone
    options: dict[str, Any] = {"calibration": calibration, "progress": False}
    critical = [quiet(neucept.discover, recording, 0, samples=part, **options) for part in parts]
    return model, data, recording, parts, critical


def spaces(group: str, seed: int, kind: str, method: str, scale: Scale) -> dict[str, dict[str, list[float]]]:
    """Measure every space on one LeNet: {layer: {space: [again, CE]}}."""
    model, data, recording, parts, critical = discovered(group, seed, kind, scale)
    _, digits = tensors("lenet", "test", scale.shared, scale.inputs)
    rows = np.concatenate(parts)
    results: dict[str, dict[str, list[float]]] = {}
    for (name, layers), space in product(LAYERS.items(), SPACES):
        if space in DISCOVERED and (group, seed) in IN_SHORT:
            continue
        found = []
        for part, own in zip(parts, critical, strict=True):
            options: dict[str, Any] = {"method": method, "layers": layers, "samples": part, "target": 0}
            if space == "variance":
                mechanisms = neucept.learn(recording, largest_variance(recording, part, layers), K, **options)
            else:
                options |= {"model": model, "data": data} if space == "metric" else {}
                mechanisms = quiet(neucept.learn, recording, own, K, reduce=space, **options)
            found.append(mechanisms.assign(recording)[0])
        results.setdefault(name, {})[space] = again_and_entropy(found, parts, rows, digits)
    return results


def baselines(seed: int, scale: Scale) -> dict[str, dict[str, float]]:
    """CE of a PKT network, K = 5, all inputs of a class: {"layer class": {method: CE}}; "NeuCEPT" by default."""
    X, digits = tensors("lenet", "test", scale.shared, scale.inputs)
    model = trained("lenet", seed, scale)["pkt"]
    data = TensorDataset(X, torch.as_tensor(TASKS["lenet"].coarse(digits)))
    recording = neucept.record(model, data, LAYERS["both"], progress=False)
    methods = [*BASELINES, *(Random(number, f"random #{number}") for number in range(RANDOM_SETS))]
    results: dict[str, dict[str, float]] = {}
    for number, label in enumerate(TASKS["lenet"].classes):
        table = rank(recording, number, methods, model, X)
        rows = recording.samples(number)
        for name in ("conv3", "linear0"):
            (layer,) = LAYERS[name]
            chosen = {m: part["neuron"].to_numpy() for m, part in table[table["layer"] == layer].groupby("method")}
            parts: dict[str, list[float]] = {}
            for method, order in chosen.items():
                learnt = neucept.learn(recording, {layer: order[:10]}, K, reduce="top", samples=rows)
                entropy = neucept.metrics.cluster_entropy(digits[rows], learnt.labels)
                parts.setdefault(method.partition(" #")[0], []).append(entropy)
            every = {layer: range(recording.activations(layer).shape[1])}
            ours = neucept.learn(recording, every, K, reduce="all", target=number)
            parts["NeuCEPT"] = [neucept.metrics.cluster_entropy(digits[ours.samples], ours.labels)]
            results[f"{name} {label}"] = {method: round(float(np.mean(values)), 4) for method, values in parts.items()}
    return results


def run(scale: Scale, groups: Sequence[str] = GROUPS) -> dict[str, Any]:
    cells: dict[str, Callable[[], Any]] = {}
    for group, seeds in (("given", GIVEN), ("fresh", FRESH)):
        for seed, kind, method in product(seeds, KINDS, METHODS):
            if method == "gmm" and (group, seed) in IN_SHORT:
                continue
            cells[f"{group} {seed} {kind} {method}"] = partial(spaces, group, seed, kind, method, scale)
    for group, kind in product(("given", "fresh"), KINDS):
        if group == "given" or (FRESH_VGG / f"{kind}.safetensors").exists():
            cells[f"pair {group} {kind}"] = partial(vgg_pair, group, kind, scale)
    for space in ("contribution", "all", "top"):
        cells[f"vgg11 {space} kmeans"] = partial(real_classes, space, "kmeans", scale)
    if (FRESH_VGG / "prior.safetensors").exists():
        for space in ("contribution", "all"):
            cells[f"fresh-vgg11 {space} kmeans"] = partial(real_classes, space, "kmeans", scale, "fresh")
    for _, seed in IN_SHORT:
        cells[f"baselines {seed}"] = partial(baselines, seed, scale)
    return Results("spaces", scale).fill({key: cell for key, cell in cells.items() if key.split()[0] in groups})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", nargs="*", default=list(GROUPS), help="only these networks")
    parser.add_argument("--page", action="store_true", help="only write docs/mechanism-space.md from what is there")
    options = parser.parse_args()
    chosen = scale(reduced=False, shared=SHARED)
    if not options.page:
        run(chosen, options.groups)
    page = importlib.import_module("tell.spaces").tell(Results("spaces", chosen).cells)
    (PROJECT / "docs" / "mechanism-space.md").write_text(page + "\n")


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    main()
