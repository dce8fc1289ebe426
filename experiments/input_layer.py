"""Figure 18: the ablation test at the input of LeNet, whose pixels are too many and too alike for knockoffs.

As in Appendix H.3, the 32 x 32 pixels form 64 patches of 4 x 4, the mean of a patch stands for it, NeuCEPT ranks the
patches, and a pixel has the score of its patch. Captum's attributions rank pixels, each by its sum over the inputs
predicted as the class. Noise is added to the pixels; it spares them in proportion to the rank of their score
(continuous), or spares the first 100 (the seventh patch in part: of equal scores the upper left pixels come first).
Networks, gamma, levels, classes and the summary are as in ablation.py.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
from ablation import GAMMAS, KINDS, MAGNITUDES, SIGNS, curves, setting, summary
from common import Results, Scale, main
from networks import pairs, trained
from tasks import TASKS, tensors
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

import neucept
from neucept import rankings

LEVELS = (0, 0.5, 1, 2, 4, 8)  # multiples of the images' mean norm
TOPS = (100, None)
STEPS = 20  # of integrated gradients: the network, not its last layers, is run for each


def patches(images: Tensor) -> Tensor:
    """Return the means of the patches, (n, 64)."""
    return avg_pool2d(images, 4).flatten(1)


def scored(network: nn.Module, images: Tensor, seed: int) -> dict[str, np.ndarray]:
    """Return {method: (2, 1024) scores of the pixels, one row per class}."""
    by_patch = [
        rankings.NeuCEPT(order="information", name="NeuCEPT"),
        rankings.NeuCEPT.published(),
        rankings.Variance(name="variance of patches"),
        rankings.Random(seed, name="random patches"),
    ]
    by_pixel = [
        rankings.Saliency(),
        rankings.IntegratedGradients(steps=STEPS),
        rankings.IntegratedGradients(steps=STEPS, absolute=True, name=MAGNITUDES),
        rankings.DeepLift(),
        rankings.GradientShap(),
        rankings.Random(seed),
    ]
    results = {}
    for methods, neurons in ((by_patch, patches), (by_pixel, "element")):
        recording = neucept.record(network, images, ["input"], neurons=neurons, progress=False)
        subjects = [rankings.Subject.of(recording, label, network, images) for label in (0, 1)]
        for method in methods:
            scores = np.stack([method.scores(subject)["input"] for subject in subjects])
            results[method.name] = spread(scores) if methods is by_patch else scores
    return results


def spread(scores: np.ndarray) -> np.ndarray:
    """Give each pixel the score of its patch: (2, 64) to (2, 1024)."""
    return scores.reshape(-1, 8, 8).repeat(4, axis=1).repeat(4, axis=2).reshape(len(scores), -1)


def measure(seed: int, kind: str, scale: Scale) -> dict:
    network = trained("lenet", seed, scale)[kind]
    images, digits = tensors("lenet", "test", scale.shared, 1000 if scale.reduced else 4000)
    labels = TASKS["lenet"].coarse(digits)
    few = slice(len(images) // 4)
    given = (network, images[few], labels[few], scored(network, images, seed), LEVELS, GAMMAS, TOPS)
    tables = {
        signs: neucept.ablation.ablate(*given, normalise="rank", low=low, progress=False)
        for signs, low in SIGNS.items()
    }
    by_class = pd.concat({s: curves(t, ["top", "gamma", "class"]) for s, t in tables.items()}, names=["signs"])
    mean = by_class.groupby(level=["signs", "top", "gamma", "method"], sort=False).mean()
    drawn = {
        setting(key): rows.droplevel([0, 1, 2]).round(4).T.to_dict("list")
        for key, rows in mean.groupby(level=[0, 1, 2], sort=False)
    }
    return {**summary(by_class), "curves": drawn}


def run(scale: Scale) -> dict:
    cells = {
        f"lenet {seed} {kind} input": lambda a=(seed, kind, scale): measure(*a)
        for (_, seed), kind in product(pairs(scale, "lenet"), KINDS)
    }
    return Results("input_layer", scale).fill(cells)


if __name__ == "__main__":
    main(__file__, run)
