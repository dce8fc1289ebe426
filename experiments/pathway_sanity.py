"""Sanity check: attributions have to change when weights are drawn anew, layer by layer from the last to the first.

Weights are drawn from a normal distribution of the same deviation, batch normalisation is as untrained, and the layers
above stay random. Each map is compared with that of the trained network, for the class that this one
predicts: Spearman's correlation and SSIM of magnitudes, the greatest of the channels. A good method forgets.

Pathways have sparsity 90, not 70 as in the paper: less than a fifth of this network's neurons contribute at all (most
are dead or lose in a max-pooling), so that a pathway of sparsity 70 holds them all and its gradient is the plain
gradient; the cell "contributing" measures that.
"""

from __future__ import annotations

import sys
from copy import deepcopy
from pathlib import Path

import matplotlib
import numpy as np
import torch
from common import Results, Scale, Verdict, interval, main, shown
from pathway_common import COLOURS, DASHED, attributions, cifar, mean, vgg11
from scipy.stats import rankdata
from skimage.metrics import structural_similarity
from torch import Tensor, nn

from neucept.pathways import NeuronMCT, PathwayGradient, signed_map

matplotlib.use("Agg")
from matplotlib import pyplot as plt

TITLE = "Sanity check: cascading randomisation"
CLAIM = (
    "Pathway gradients depend on the network's weights: their similarity to the original maps falls as layers are drawn"
    " anew (|Spearman|, ResNet50, sparsity 70, first to last step: NeuronMCT 0.504 to 0.116, NeuronIntGrad 0.514 to"
    " 0.151, gradient 0.485 to 0.042, guided backpropagation 0.991 to 0.149)."
)
SPARSITY = 0.9
METHODS = ("NeuronMCT", "NeuronIntGrad", "gradient", "gradient x input", "integrated gradients")
METHODS += ("guided backpropagation", "GradCAM")
OURS = METHODS[:2]
# First and last step, in the paper.
PUBLISHED = {
    "NeuronMCT": (0.504, 0.116),
    "NeuronIntGrad": (0.514, 0.151),
    "gradient": (0.485, 0.042),
    "guided backpropagation": (0.991, 0.149),
}
MEASURES = {"spearman": "abs. Spearman", "ssim": "SSIM"}


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
    """Give each method's magnitudes, (n, height, width), scaled to [0, 1] image by image."""
    methods = attributions(model, SPARSITY)
    found = {}
    for name in METHODS:
        parts = [methods[name](x, c) for x, c in zip(images.split(20), classes.split(20), strict=True)]
        magnitude = signed_map(torch.cat(parts)).abs()[:, 0]
        found[name] = (magnitude / magnitude.amax((1, 2), keepdim=True).clamp(min=1e-30)).double().numpy()
    return found


def similarity(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Compare maps, (n, height, width); means over images. With a map of one value the correlation counts as 0."""
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
        for sparsity, found in apart.items():
            ours = PathwayGradient(NeuronMCT(model), float(sparsity)).attribute(x).flatten(1)
            found += ((ours - plain).norm(dim=1) / plain.norm(dim=1)).tolist()
    return {"share": [round(share, 4) for share in shares], "apart": {s: round(max(d), 4) for s, d in apart.items()}}


def runs(found: dict) -> dict[tuple[int, int], dict]:
    """Give {(draw, layers drawn anew): {method: {measure: value}}}."""
    return {(int(key.split()[1]), int(key.split()[2])): c for key, c in found.items() if key.startswith("vgg11 ")}


def steps_of(found: dict) -> list[int]:
    return sorted({steps for _, steps in runs(found)})


def values(found: dict, method: str, measure: str, steps: int) -> list[float]:
    return [cell[method][measure] for (_, step), cell in runs(found).items() if step == steps]


def paired(found: dict, a: tuple[str, int], b: tuple[str, int]) -> list[float]:
    """Give |Spearman| of a, a method and a step, minus that of b, in each draw that has both."""
    cells = runs(found)
    draws = [d for d in sorted({d for d, _ in cells}) if (d, a[1]) in cells and (d, b[1]) in cells]
    return [cells[d, a[1]][a[0]]["spearman"] - cells[d, b[1]][b[0]]["spearman"] for d in draws]


def draw(found: dict, path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.3), layout="constrained")
    steps = steps_of(found)
    for axis, (measure, words) in zip(axes, MEASURES.items(), strict=True):
        for method in METHODS:
            means, halves = np.transpose([interval(values(found, method, measure, step)) for step in steps])
            style = {"color": COLOURS[method], "linestyle": "--" if method in DASHED else "-"}
            axis.plot([0, *steps], [1, *means], marker=".", label=method, **style)
            axis.fill_between(steps, means - halves, means + halves, color=COLOURS[method], alpha=0.12, linewidth=0)
        axis.set(title=words, xlabel="layers drawn anew, from the last", ylim=(-0.05, 1.03))
        axis.set_ylabel("similarity to the trained network's map")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def course(found: dict, method: str) -> str:
    """Write abs. Spearman after the first and after the last step."""
    steps = steps_of(found)
    return " to ".join(shown(values(found, method, "spearman", step)) for step in (steps[0], steps[-1]))


def surely(differences: list[float]) -> bool:
    """Whether they are above 0 with their whole interval; of one or two, whether all are."""
    mean, half = interval(differences)
    return bool(mean > half) if len(differences) > 2 else all(d > 0 for d in differences)


def outcome(found: dict) -> tuple[str, bool, bool]:
    """Say whether the claim holds, whether similarity falls, and whether it reaches the gradient's at the end."""
    steps = steps_of(found)
    fell = all(surely(paired(found, (m, steps[0]), (m, steps[-1]))) for m in OURS)
    reached = not any(surely(paired(found, (m, steps[-1]), ("gradient", steps[-1]))) for m in OURS)
    ended = all(np.mean(values(found, m, "spearman", steps[-1])) < 1.5 * PUBLISHED[m][1] for m in OURS)
    return ("yes" if fell and reached and ended else "partly" if fell else "no"), fell, reached


def verdicts(found: dict) -> list[Verdict]:
    if len(steps_of(found)) < 2:
        return []
    draws = len(values(found, OURS[0], "spearman", steps_of(found)[-1]))
    told = "; ".join(f"{name} {course(found, name)}" for name in (*OURS, "gradient"))
    return [
        Verdict(
            "Cascading randomisation",
            "similarity to the trained network's map falls, abs. Spearman from 0.50 to 0.12 and from 0.51 to 0.15"
            " (gradient from 0.49 to 0.04)",
            f"{told} (first to last layer, VGG11, {draws} draws)",
            outcome(found)[0],
        )
    ]


def finding(found: dict) -> str:
    steps = steps_of(found)
    first, last = steps[0], steps[-1]
    draws = len(values(found, OURS[0], "spearman", last))
    word, fell, reached = outcome(found)
    lines = [
        {"yes": "The claim holds.", "partly": "The claim holds in part.", "no": "The claim does not hold."}[word]
        + f" The maps of pathways {'grow' if fell else 'do not surely grow'} less alike as layers are drawn anew,"
        + f" {'and' if reached else 'but do not'} reach the gradient: with all layers random their abs. Spearman is"
        + f" {ends(found, steps[-1])}; in the paper 0.116, 0.151 and 0.042."
        + f" VGG11 on CIFAR-10, 100 images, {draws} draws of weights; intervals over draws.\n",
        f"| abs. Spearman | {first} layer{'s' * (first > 1)} drawn anew | all {last} | fall | the paper (ResNet50) |"
        f" minus gradient, all {last} |",
        "|---" * 6 + "|",
    ]
    for method in METHODS:
        published = "{:.3f} to {:.3f}".format(*PUBLISHED[method]) if method in PUBLISHED else ""
        above = "" if method == "gradient" else shown(paired(found, (method, last), ("gradient", last)))
        ended = " | ".join(shown(values(found, method, "spearman", step)) for step in (first, last))
        fall = shown(paired(found, (method, first), (method, last)))
        lines.append(f"| {method} | {ended} | {fall} | {published} | {above} |")
    falls = [np.mean(paired(found, (name, first), (name, last))) for name in (*OURS, "gradient")]
    lines += [
        "",
        f"Between the first step and the last, pathway gradients lose {falls[0]:.2f} and {falls[1]:.2f}, the gradient"
        f" {falls[2]:.2f}; they begin higher and end higher. With {steps[-2]} of {last} layers random they are still at"
        f" {ends(found, steps[-2])}. The network is another one than the paper's, and the sparsity is 90, not"
        f" 70.{why(found)}",
        "",
        "<details><summary>Step by step, and by SSIM</summary>\n",
    ]
    for measure, words in MEASURES.items():
        lines += ["| " + words + ", layers drawn anew | " + " | ".join(map(str, steps)) + " |"]
        lines += ["|---" * (1 + len(steps)) + "|"]
        for method in METHODS:
            cells = [f"{np.mean(values(found, method, measure, step)):.2f}" for step in steps]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join([*lines, "</details>"])


def ends(found: dict, step: int) -> str:
    ours, other, gradient = (np.mean(values(found, name, "spearman", step)) for name in (*OURS, "gradient"))
    return f"{ours:.2f} (NeuronMCT) and {other:.2f} (NeuronIntGrad), the gradient's {gradient:.2f}"


def why(found: dict) -> str:
    """Tell why the sparsity is not the paper's, where that was measured."""
    if "contributing" not in found:
        return ""
    shares, apart = found["contributing"]["share"], found["contributing"]["apart"]["0.7"]
    same = "is exactly" if apart == 0 else "is nearly"
    return (
        f" Only {shown([100 * share for share in shares], 1)}% of VGG11's neurons contribute to the response at all"
        " (the others are dead or lose in a max-pooling), so a pathway of sparsity 70 holds all of them and its"
        f" gradient {same} the plain gradient (largest relative difference in {len(shares)} images: {apart:.2g})."
    )


if __name__ == "__main__":
    main(sys.modules[__name__])
