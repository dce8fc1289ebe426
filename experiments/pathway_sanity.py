"""Sanity check: attributions have to change when weights are drawn anew, layer by layer from the last to the first.

Weights are drawn from a normal distribution of the same deviation, batch normalisation is as untrained, and the layers
above stay random. Each map is compared with that of the trained network, for the class that this one
predicts: Spearman's correlation and SSIM of magnitudes, the greatest of the channels. A good method forgets.

Pathways have sparsity 90, not 70 as in the paper: less than a fifth of this network's neurons contribute at all (most
are dead or lose in a max-pooling), so that a pathway of sparsity 70 holds them all and its gradient is the plain
gradient; the cell "contributing" measures that.
"""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from common import Results, Scale, main
from pathway_common import attributions, cifar, mean, vgg11
from scipy.stats import rankdata
from torch import Tensor, nn

from neucept.pathways import NeuronMCT, PathwayGradient, signed_map

SPARSITY = 0.9
METHODS = ("NeuronMCT", "NeuronIntGrad", "gradient", "gradient x input", "integrated gradients")
METHODS += ("guided backpropagation", "GradCAM")


def layers(model: nn.Module) -> list[str]:
    """Name the layers with weights, the last first."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)][::-1]


def randomised(model: nn.Module, steps: int, seed: int) -> nn.Module:
    """Copy a network, its last so many layers drawn anew, each with the batch normalisation that follows."""
    copy = deepcopy(model)
    chosen, drawing = layers(model)[:steps], False
    generator = torch.Generator().manual_seed(seed)
    modules = [(name, m) for name, m in copy.named_modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.BatchNorm2d)]
    for name, module in modules:
        if isinstance(module, nn.BatchNorm2d):
            if drawing:
                module.reset_parameters()
            continue
        drawing = name in chosen
        if drawing:
            weight = module.weight.data
            weight.copy_(weight.std() * torch.randn(weight.shape, generator=generator))
            if module.bias is not None:
                module.bias.data.zero_()
    return copy


def maps(model: nn.Module, images: Tensor, classes: Tensor) -> dict[str, np.ndarray]:
    """Return each method's magnitudes, (n, height, width), scaled to [0, 1] image by image."""
    methods = attributions(model, SPARSITY)
    results = {}
    for name in METHODS:
        parts = [methods[name](x, c) for x, c in zip(images.split(20), classes.split(20), strict=True)]
        magnitude = signed_map(torch.cat(parts)).abs()[:, 0]
        results[name] = (magnitude / magnitude.amax((1, 2), keepdim=True).clamp(min=1e-30)).double().numpy()
    return results


def similarity(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Compare maps, (n, height, width); means over images. With a map of one value the correlation counts as 0."""
    from skimage.metrics import structural_similarity  # an optional dependency, of measuring alone

    ranks = [rankdata(x.reshape(len(x), -1), axis=1) for x in (a, b)]
    x, y = (rank - rank.mean(1, keepdims=True) for rank in ranks)
    product = np.sqrt((x * x).sum(1) * (y * y).sum(1))
    rho = np.divide((x * y).sum(1), product, out=np.zeros(len(x)), where=product > 0)
    ssim = [structural_similarity(p, q, data_range=1.0, gaussian_weights=True) for p, q in zip(a, b, strict=True)]
    return {"spearman": mean(np.abs(rho)), "ssim": mean(ssim)}


def run(scale: Scale) -> dict:
    torch.set_flush_denormal(True)
    n, seeds = (20, 2) if scale.reduced else (100, 3)
    model, images = vgg11(scale), cifar(scale, n)
    with torch.no_grad():
        classes = model(images).argmax(1)
    original: dict[str, np.ndarray] = {}

    def measure(steps: int, seed: int) -> dict:
        if not original:
            original.update(maps(model, images, classes))
        after = maps(randomised(model, steps, seed), images, classes)
        return {name: similarity(original[name], after[name]) for name in METHODS}

    numbers = range(1, len(layers(model)) + 1, 3 if scale.reduced else 1)
    cells = {f"vgg11 {seed} {steps}": lambda a=(steps, seed): measure(*a) for seed in range(seeds) for steps in numbers}
    cells["contributing"] = lambda: contributing(model, images)
    return Results("pathway_sanity", scale).fill(cells)


def contributing(model: nn.Module, images: Tensor) -> dict:
    """Measure the share of neurons that contribute, and how far pathway gradients are from gradients, by sparsity."""
    shares: list[float] = []
    apart: dict[str, list[float]] = {"0.7": [], "0.9": []}
    for x in images.split(10):
        scores = torch.cat([score.flatten(1) for score in NeuronMCT(model).score(x).values()], 1)
        shares += (scores > 0).float().mean(1).tolist()
        leaf = x.clone().requires_grad_()
        plain = torch.autograd.grad(model(leaf).amax(1).sum(), leaf)[0].flatten(1)
        for sparsity, results in apart.items():
            ours = PathwayGradient(NeuronMCT(model), float(sparsity)).attribute(x).flatten(1)
            results += ((ours - plain).norm(dim=1) / plain.norm(dim=1)).tolist()
    return {"share": [round(share, 4) for share in shares], "apart": {s: round(max(d), 4) for s, d in apart.items()}}


if __name__ == "__main__":
    main(__file__, run)
