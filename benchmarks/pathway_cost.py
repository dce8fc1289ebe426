"""What pathways cost, compared with a bare network and plain implementations, on VGG11 and ResNet-18 at 32 x 32.

- NeuronMCT over one bare forward and backward pass, of the predicted logit to the input, same batch.
- NeuronIntGrad over all sites, against the plain way that runs the whole network for each site and alpha: a forward
  hook replaces the site's output by alpha times itself, and the gradient goes back to the site, no further.
- Pathway gradients of 256 images at once, against the same call for one image after the other.
- Bare passes of 256 images at once, against one image after the other: the most that batches can gain here.

Untrained weights: costs do not depend on them. All in one process, alternating, medians of the ratios.
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
ALONE = 64  # images that run one by one; their time is scaled to the number that run at once
ROWS = 32  # that pathway gradients run at a time on a CPU
MCT, INTGRAD = "NeuronMCT / bare pass", "NeuronIntGrad / plain way"
GRADIENTS, BARE = "pathway gradients, at once / one by one", "bare pass, at once / one by one"
BARS = {MCT: 1.3, INTGRAD: 0.6, GRADIENTS: 0.1}


def resnet18() -> nn.Module:
    from torchvision.models import resnet18 as make

    return make(num_classes=10)


NETWORKS: dict[str, Callable[[], nn.Module]] = {"VGG11": VGG11, "ResNet-18": resnet18}


def bare(model: nn.Module, inputs: Tensor) -> Tensor:
    leaf = inputs.clone().requires_grad_()
    logits = model(leaf)
    return torch.autograd.grad(logits.amax(1).sum(), leaf)[0]


def plain_integrated_gradients(model: nn.Module, inputs: Tensor) -> list[Tensor]:
    """Run the whole network for each site and each alpha."""
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


def ratio(
    ours: Callable[[], object], theirs: Callable[[], object], repetitions: int, times_theirs: float = 1
) -> dict[str, float]:
    """Return median and range of ours / theirs, which take turns in going first; theirs may be part of its work."""
    ours(), theirs()
    ratios, times = [], []
    for repetition in range(repetitions):
        first, second = (ours, theirs) if repetition % 2 else (theirs, ours)
        pair = (seconds(first), seconds(second))
        mine, other = pair if repetition % 2 else pair[::-1]
        ratios.append(mine / (times_theirs * other))
        times.append(mine)
    return {
        "ratio": round(float(np.median(ratios)), 4),
        "lowest": round(min(ratios), 4),
        "highest": round(max(ratios), 4),
        "seconds": round(float(np.median(times)), 4),
    }


def one_by_one(work: Callable[[Tensor], object], images: Tensor) -> None:
    for image in images:
        work(image[None])


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
    few_times, alone = max(1, repetitions // 5), many[:ALONE]
    more = len(many) / len(alone)
    return {
        MCT: ratio(lambda: contribution.score(inputs), lambda: bare(model, inputs), repetitions),
        INTGRAD: ratio(lambda: integrated.score(few), lambda: plain_integrated_gradients(model, few), few_times),
        GRADIENTS: ratio(
            lambda: gradient.attribute(many), lambda: one_by_one(gradient.attribute, alone), few_times, more
        ),
        BARE: ratio(
            lambda: [bare(model, part) for part in many.split(ROWS)],
            lambda: one_by_one(lambda image: bare(model, image), alone),
            few_times,
            more,
        ),
    }


def verdict(what: str, found: dict[str, dict[str, float]]) -> str:
    """Say whether a ratio meets its bar, and why not where batches themselves gain less than required."""
    if what not in BARS:
        return "the most that batches gain here"
    row, bar = found[what], BARS[what]
    if row["ratio"] <= bar:
        return "met"
    if what == GRADIENTS and found[BARE]["ratio"] > bar:
        return f"not met: on this device even bare passes at once take {found[BARE]['ratio']:.3f} of one by one"
    if row["lowest"] <= bar:
        return f"not met: in some repetitions (from {row['lowest']:.3f})"
    return "not met"


def table(facts: dict, results: dict[str, dict[str, dict[str, float]]]) -> str:
    rows = "\n".join(
        f"| {name} | {what} | **{row['ratio']:.3f}** | {row['lowest']:.3f} to {row['highest']:.3f}"
        f" | {f'at most {BARS[what]}' if what in BARS else ''} | {verdict(what, found)} | {row['seconds']:.2f} s |"
        for name, found in results.items()
        for what, row in found.items()
    )
    return (
        "# What pathways cost, 32 x 32 images\n\n"
        f"CPU, {facts['threads']} thread{'s' * (facts['threads'] > 1)}; batch {facts['batch']}, for integrated"
        f" gradients {facts['small']} with {facts['steps']} alphas; {facts['images']} images for pathway gradients,"
        f" which run {ROWS} at a time on a CPU, and so do the bare passes at once; one by one, the first"
        f" {min(ALONE, facts['images'])} run, and their time is scaled. Medians of ratios of times within"
        " one run.\n\n"
        "A bare pass is a forward pass and a backward pass to the input. A pathway gradient is two of them, one for the"
        " scores and one under the mask, and the selection of the neurons between them: where bare passes gain little"
        " from batches, pathway gradients cannot gain ten times.\n\n"
        f"| network | | ratio | lowest to highest | bar | | ours takes |\n|---|---|---|---|---|---|---|\n{rows}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=15, help="of the first ratio; a fifth of them of the others")
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
    written = table(facts, results)
    Path(__file__).with_suffix(".md").write_text(written)
    print(written)


if __name__ == "__main__":
    main()
