"""Figure 18: the ablation test at the input of LeNet, whose pixels are too many and too alike for knockoffs.

As in Appendix H.3, the 32 x 32 pixels form 64 patches of 4 x 4, the mean of a patch stands for it, NeuCEPT ranks the
patches, and a pixel has the score of its patch. Captum's attributions rank pixels, each by its sum over the inputs
predicted as the class. Noise is added to the pixels; it spares them in proportion to the rank of their score
(continuous), or spares the first 100 (the seventh patch in part: of equal scores the upper left pixels come first).
Networks, gamma, levels, classes and the summary are as in ablation.py.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from ablation import GAMMAS, KINDS, MAGNITUDES, SIGNS, areas, by_column, curves, panels, plot, save, setting, summary
from common import Results, Scale, Verdict, interval, main, shown
from networks import TASKS, pairs, tensors, trained
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

import neucept
from neucept import rankings
from neucept.evaluation.ablation import ablate

TITLE = "The input layer: patches of pixels"
CLAIM = (
    "With representatives of patches, NeuCEPT works at the input too: the explainability power of its features is"
    " comparable with that of local explanation methods (Figure 18)."
)
LEVELS = (0, 0.5, 1, 2, 4, 8)  # multiples of the images' mean norm
TOPS = (100, None)
LOCAL = ("saliency", "integrated gradients", MAGNITUDES, "DeepLIFT", "gradient SHAP")
CHANCE = ("random", "random patches")
WORDS = {"positive": "published noise", "both": "noise of both signs"}
NAMES = {"random": "random pixels", "NeuCEPT, published": "NeuCEPT, published form"}
SHOWN = (
    "NeuCEPT",
    "NeuCEPT, published",
    "saliency",
    MAGNITUDES,
    "integrated gradients",
    "variance of patches",
    *CHANCE,
)
STEPS = 20  # of integrated gradients: the network, not its last layers, is run for each


def patches(images: Tensor) -> Tensor:
    """Give the means of the patches, (n, 64)."""
    return avg_pool2d(images, 4).flatten(1)


def scored(network: nn.Module, images: Tensor, seed: int) -> dict[str, np.ndarray]:
    """Give {method: (2, 1024) scores of the pixels, a row a class}."""
    by_patch = [
        rankings.NeuCEPT(),
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
    found = {}
    for methods, neurons in ((by_patch, patches), (by_pixel, "element")):
        recording = neucept.record(network, images, ["input"], neurons=neurons, progress=False)
        subjects = [rankings.Subject.of(recording, label, network, images) for label in (0, 1)]
        for method in methods:
            scores = np.stack([method.scores(subject)["input"] for subject in subjects])
            found[method.name] = spread(scores) if methods is by_patch else scores
    return found


def spread(scores: np.ndarray) -> np.ndarray:
    """Give each pixel the score of its patch: (2, 64) to (2, 1024)."""
    return scores.reshape(-1, 8, 8).repeat(4, axis=1).repeat(4, axis=2).reshape(len(scores), -1)


def measure(seed: int, kind: str, scale: Scale) -> dict:
    network = trained("lenet", seed, scale)[kind]
    images, digits = tensors("lenet", "test", scale.shared, 1000 if scale.reduced else 4000)
    labels = TASKS["lenet"].coarse(digits)
    few = slice(len(images) // 4)
    given = (network, images[few], labels[few], scored(network, images, seed), LEVELS, GAMMAS, TOPS)
    tables = {signs: ablate(*given, normalise="rank", low=low, progress=False) for signs, low in SIGNS.items()}
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


def draw(found: dict, path: Path) -> None:
    figure, axes = panels(2, 4, 2.8)
    columns = list(product((0, 100), GAMMAS))
    for row, signs in zip(axes, SIGNS, strict=True):
        for axis, (top, gamma) in zip(row, columns, strict=True):
            name = setting((signs, top, gamma))
            cells = [cell["curves"][name] for cell in found.values()]
            plot(axis, LEVELS, {method: np.mean([cell[method] for cell in cells], axis=0) for method in cells[0]})
            axis.set_ylim(0, 1.02)
            axis.set_title(f"{f'top {top}' if top else 'continuous'}, γ = {gamma}", fontsize=10)
        row[0].set_ylabel(f"accuracy, {'positive noise' if signs == 'positive' else 'noise of both signs'}")
    save(figure, path, "norm of the noise, in mean norms of the images")


def by_seed(found: dict) -> dict[str, pd.DataFrame]:
    """Give {signs: areas, a row a pair of networks and a column a method}: mean of networks, gammas, tops, classes."""
    table = areas(found, ("signs", "top", "gamma", "class"))
    each = table.groupby(["signs", "method", "seed"])["area"].mean().unstack("method")
    return {signs: each.loc[signs] for signs in SIGNS}


def less(one: pd.DataFrame, other: str, ours: str = "NeuCEPT") -> list[float]:
    """Our area minus another method's, a value a pair of networks."""
    return (one[ours] - one[other]).to_list()


def within(one: pd.DataFrame) -> bool:
    """Whether NeuCEPT's mean area lies between the least and the largest of the attributions."""
    of_others = one[list(LOCAL)].mean()
    return bool(of_others.min() <= one["NeuCEPT"].mean() <= of_others.max())


def above(values: list[float]) -> bool:
    """Whether the interval, of three values or more, lies above zero."""
    mean, half = interval(values)
    return len(values) > 2 and mean - half > 0


def signed(values: list[float]) -> str:
    text = shown(values)
    return text if text.startswith("-") else f"+{text}"


def networks(found: dict) -> str:
    pairs_of = len({key.split()[1] for key in found})
    return f"{len(found)} LeNet{'s' * (len(found) > 1)}, {pairs_of} pair{'s' * (pairs_of > 1)}"


def verdicts(found: dict) -> list[Verdict]:
    if not found:
        return []
    each = by_seed(found)
    comparable = all(within(one) for one in each.values())
    informed = all(above(less(one, name)) for one in each.values() for name in CHANCE)
    one = each["positive"]
    best = one[list(LOCAL)].mean().idxmax()
    return [
        Verdict(
            "Figure 18",
            "at the input, NeuCEPT's features explain about as well as local attributions",
            f"area with published noise: {signed(less(one, best))} beside {best}, within the range of the attributions,"
            f" {signed(less(one, 'random'))} beside random pixels ({networks(found)})"
            if within(one)
            else f"area with published noise: {signed(less(one, best))} beside {best}, outside the range of the"
            f" attributions, {signed(less(one, 'random'))} beside random pixels ({networks(found)})",
            "yes" if comparable and informed else "partly" if comparable else "no",
        )
    ]


def finding(found: dict) -> str:
    each = by_seed(found)
    lines = [
        f"{judged(each)} ({networks(found)}).",
        "",
        f"Area under accuracy against noise of 0 to {LEVELS[-1]} mean norms, mean over PKT and normal networks, gammas,"
        " first 100 and continuous, and classes; and NeuCEPT's minus it, paired:\n",
        "| noise spares first the pixels by | " + " | ".join(f"{w} | NeuCEPT minus it" for w in WORDS.values()) + " |",
        "| --- |" + " --- | --- |" * len(SIGNS),
    ]
    lines += [row(each, name) for name in SHOWN]
    lines += ["", *further(found, each)]
    return "\n".join(lines)


def row(each: dict[str, pd.DataFrame], name: str) -> str:
    cells = []
    for one in each.values():
        cells += [shown(one[name].to_list()), "" if name == "NeuCEPT" else signed(less(one, name))]
    return f"| {NAMES.get(name, name)} | {' | '.join(cells)} |"


def judged(each: dict[str, pd.DataFrame]) -> str:
    """Set NeuCEPT beside the attributions and chance."""
    comparable = all(within(one) for one in each.values())
    informed = all(above(less(one, name)) for one in each.values() for name in CHANCE)
    head = "NeuCEPT at the input is comparable with the attributions: its area is within their range"
    if not comparable:
        head = "NeuCEPT at the input is not comparable with the attributions: its area is not within their range"
    best = {signs: one[list(LOCAL)].mean().idxmax() for signs, one in each.items()}
    said = " and ".join(f"{signed(less(one, best[s]))} with {WORDS[s]} ({best[s]})" for s, one in each.items())
    text = f"{head}, beside the best of them {said}."
    if comparable and not informed:
        unclear = [
            f"{NAMES.get(name, name)} with {WORDS[signs]} ({signed(less(one, name))})"
            for signs, one in each.items()
            for name in CHANCE
            if not above(less(one, name))
        ]
        text += f" This says little for it, as it is not shown to be better than {', '.join(unclear)}"
    return text.removesuffix(".")


def further(found: dict, each: dict[str, pd.DataFrame]) -> list[str]:
    table = areas(found, ("signs", "top", "gamma", "class"))
    table["column"] = table["column"].str.removeprefix("input, ") + ", " + table["signs"].map(WORDS)
    positive = table[table["signs"] == "positive"]
    spread = positive.groupby(["seed", "kind", "top", "gamma", "method"])["area"].agg(["min", "max"])
    published = ", ".join(
        f"{signed(less(each[signs], name, 'NeuCEPT, published'))} beside {NAMES.get(name, name)} ({WORDS[signs]})"
        for signs in SIGNS
        for name in ("saliency", *CHANCE)
    )
    return [
        "<details><summary>All methods, by first 100 and continuous scores; the published form</summary>\n",
        *by_column(table),
        "",
        f"The published form's area is {published}.",
        "",
        "Published noise is never negative: it brightens the image, and one class gains what the other loses. Areas of"
        f" the two classes differ by {(spread['max'] - spread['min']).mean():.2f} on average. “random”: random pixels.",
        "",
        "</details>",
    ]


if __name__ == "__main__":
    main(sys.modules[__name__])
