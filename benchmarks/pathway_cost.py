"""What pathways cost, against a bare network and against the plain ways, on VGG11 and ResNet-18 at 32 x 32.

- NeuronMCT over one bare forward and backward pass to the input, the predicted logit's, same batch.
- NeuronIntGrad over all sites, against the plain way that runs the whole network for each site and alpha: a forward
  hook puts alpha times the site's output in its place, and the gradient goes back to the site, no further.
- Pathway gradients of 256 images at once, against the same call for one image after the other.

Untrained weights: costs do not depend on them. All in one process, what is compared by turns, medians of the ratios.
Run with ``python benchmarks/pathway_cost.py``; it writes ``pathway_cost.json`` and ``pathway_cost.md`` beside itself.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from neucept.models import VGG11
from neucept.pathways import NeuronIntGrad, NeuronMCT, PathwayGradient

STEPS = 11


def resnet18() -> nn.Module:
    from torchvision.models import resnet18 as make

    return make(num_classes=10)


NETWORKS: dict[str, Callable[[], nn.Module]] = {"VGG11": VGG11, "ResNet-18": resnet18}


def bare(model: nn.Module, inputs: Tensor) -> Tensor:
    leaf = inputs.clone().requires_grad_()
    logits = model(leaf)
    return torch.autograd.grad(logits.amax(1).sum(), leaf)[0]


def plain_integrated_gradients(model: nn.Module, inputs: Tensor) -> list[Tensor]:
    """Site by site and alpha by alpha, the whole network each time."""
    nodes, weights = np.polynomial.legendre.leggauss(STEPS)
    relus = [module for module in model.modules() if isinstance(module, nn.ReLU)]
    count, site, alpha, seen = 0, -1, 1.0, []

    def hook(module: nn.Module, given: object, output: Tensor) -> Tensor | None:
        nonlocal count
        count += 1
        if count - 1 != site:
            return None
        seen[:] = [output.detach().clone(), (alpha * output).detach().requires_grad_()]
        return seen[1]

    handles = [relu.register_forward_hook(hook) for relu in relus]
    try:
        with torch.no_grad():
            classes = model(inputs).argmax(1)
        n_sites, scores = count, []
        for site in range(n_sites):  # noqa: B007 (the hook reads it)
            mean: Tensor | float = 0.0
            for node, weight in zip(nodes, weights, strict=True):
                count, alpha = 0, float(node + 1) / 2
                response = model(inputs).gather(1, classes[:, None]).sum()
                mean = mean + float(weight) / 2 * torch.autograd.grad(response, seen[1])[0]
            scores.append((seen[0] * mean).abs())
        return scores
    finally:
        for handle in handles:
            handle.remove()


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ratio(ours: Callable[[], object], theirs: Callable[[], object], repetitions: int) -> dict[str, float]:
    """Median and range of ours / theirs, which of them first by turns."""
    ours(), theirs()
    ratios, times = [], []
    for repetition in range(repetitions):
        first, second = (ours, theirs) if repetition % 2 else (theirs, ours)
        pair = (seconds(first), seconds(second))
        mine, other = pair if repetition % 2 else pair[::-1]
        ratios.append(mine / other)
        times.append(mine)
    return {
        "ratio": round(float(np.median(ratios)), 4),
        "lowest": round(min(ratios), 4),
        "highest": round(max(ratios), 4),
        "seconds": round(float(np.median(times)), 4),
    }


def measure(name: str, batch: int, small: int, images: int, repetitions: int) -> dict[str, dict[str, float]]:
    torch.manual_seed(0)
    model = NETWORKS[name]().eval()
    inputs = torch.randn(batch, 3, 32, 32)
    few = inputs[:small]
    contribution, integrated = NeuronMCT(model), NeuronIntGrad(model, steps=STEPS)
    for mine, other in zip(integrated.score(few).values(), plain_integrated_gradients(model, few), strict=True):
        worst = float((mine - other).abs().max() / other.abs().max())
        assert worst < 0.05, worst  # single precision: a kink of a ReLU may be crossed or not
    many = torch.randn(images, 3, 32, 32)
    gradient = PathwayGradient(contribution, sparsity=0.9)
    return {
        "NeuronMCT / bare pass": ratio(lambda: contribution.score(inputs), lambda: bare(model, inputs), repetitions),
        "NeuronIntGrad / plain way": ratio(
            lambda: integrated.score(few), lambda: plain_integrated_gradients(model, few), max(1, repetitions // 5)
        ),
        "pathway gradients, at once / one by one": ratio(
            lambda: gradient.attribute(many),
            lambda: [gradient.attribute(image[None]) for image in many],
            max(1, repetitions // 5),
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--small", type=int, default=8, help="batch of the integrated gradients")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = {
        name: measure(name, options.batch, options.small, options.images, options.repetitions) for name in NETWORKS
    }
    facts = {**vars(options), "steps": STEPS, "torch": torch.__version__, "device": "cpu"}
    Path(__file__).with_suffix(".json").write_text(json.dumps({**facts, "results": results}, indent=1) + "\n")
    rows = "\n".join(
        f"| {name} | {what} | **{row['ratio']:.3f}** | {row['lowest']:.3f} to {row['highest']:.3f}"
        f" | {row['seconds']} s |"
        for name, found in results.items()
        for what, row in found.items()
    )
    table = (
        "# What pathways cost, 32 x 32 images\n\n"
        f"CPU, {options.threads} threads; batch {options.batch}, for integrated gradients {options.small} with {STEPS}"
        f" alphas; {options.images} images for pathway gradients. Medians of ratios of times in one run.\n\n"
        f"| network | | ratio | lowest to highest | ours takes |\n|---|---|---|---|---|\n{rows}\n"
    )
    Path(__file__).with_suffix(".md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()
