"""Figures 5 and 12: mechanisms of the predictions "goldfish" and "bee", seen and counted.

EfficientNet-Lite0 with its ImageNet weights on the 12,100 images of 22 ImageNet classes in Tiny ImageNet, 64 x 64
pixels, enlarged. Its predictions are read twice: the class with the largest of all 1,000 logits, and that with the
largest of the 22 logits of these classes, a network of 22 classes that is more often wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from common import HERE, Results, Scale, Verdict, main
from image_mechanisms import (
    COLOURS,
    RANDOM,
    apart,
    by_random,
    least_and_most,
    p_words,
    pictures_in,
    quiet,
    reliability_of,
    rounded,
)
from pathway_common import efficientnet
from PIL import Image
from scipy.stats import mannwhitneyu
from skimage.color import rgb2lab
from sklearn.metrics import adjusted_mutual_info_score

import neucept
from neucept.datasets import ImageDataset, load_data

mpl.use("Agg")
import matplotlib.pyplot as plt

TITLE = "Mechanisms of photographs (Figures 5 and 12)"
CLAIM = (
    "Clusters of critical neurons (precision 0.6, K = 4) show different ways in which Inception-v3 predicts goldfish"
    " (one fish, a shoal) and bee (a bee, mainly flowers); a neuron that is not among the most active ones tells two of"
    " them apart."
)
CLASSES = ("goldfish", "bee")
READINGS = ("22", "1000")  # classes to choose from
LAYERS = {  # as in Figure 5: the last layers before the last two halvings of the map; and the last block
    "inner": {"blocks.2": 5, "blocks.4": 3},
    "last": {"blocks.6": 10},
}
K, LEVEL = 4, 0.6  # the paper's for Inception-v3
SIZE, TYPICAL, HALVINGS = 128, 8, 2
VISIBLE = {  # name to words
    "brightness": "brightness",
    "green to red": "colour from green to red",
    "blue to yellow": "colour from blue to yellow",
    "colour": "strength of colour",
    "contrast": "contrast",
    "detail": "fine detail",
    "object": "share of the picture that the object's box takes",
    "off centre": "distance of the box from the centre",
}


def enlarged(picture: Image.Image) -> torch.Tensor:
    """Prepare a picture for the network: bicubic, to [-1, 1]."""
    pixels = np.array(picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return torch.from_numpy(pixels).permute(2, 0, 1) / 127.5 - 1


@cache
def photographs(scale: Scale) -> tuple[ImageDataset, np.ndarray]:
    """Give the images, labelled by ImageNet's 1,000 classes, and the box of the object of each, (n, 4)."""
    place = scale.shared / "data"
    file = place / "tiny-imagenet" / "tiny-imagenet-22.parquet"
    data = load_data(file, split="all", channels=3, transform=enlarged, progress=False)
    table = pd.read_parquet(file, columns=["wnid", "bbox"])
    known = pd.read_parquet(place / "imagenet-samples" / "imagenet-samples-224.parquet", columns=["wnid", "name"])
    twice = known["name"].duplicated(keep=False)
    names = [f"{name} ({i})" if twice[i] else name for i, name in enumerate(known["name"])]
    number = {wnid: i for i, wnid in enumerate(sorted(known["wnid"]))}
    data, boxes = data.relabel(table["wnid"].map(number).to_numpy(), names), np.stack(table["bbox"].to_numpy())
    if scale.reduced:
        first = np.flatnonzero(data.labels == names.index(CLASSES[0]))
        others = np.flatnonzero(data.labels != names.index(CLASSES[0]))
        rows = np.r_[first, np.random.default_rng(0).permutation(others)[:600]]
        return data.take(rows), boxes[rows]
    return data, boxes


@cache
def recorded(reading: str, scale: Scale) -> neucept.Recording:
    """Give what the network does on all images, its classes all 1,000 or the 22."""
    place = HERE / "recordings" / scale.name / "efficientnet-tiny-imagenet"
    if not place.exists():
        network = efficientnet().to(memory_format=torch.channels_last)
        place.parent.mkdir(parents=True, exist_ok=True)
        layers = [layer for chosen in LAYERS.values() for layer in chosen]
        neucept.record(network, photographs(scale)[0], layers, batch_size=16, store=place)
    whole = neucept.Recording.open(place)
    if reading == "1000":
        return whole
    classes = np.unique(whole.labels)
    return replace(
        whole,
        logits=np.ascontiguousarray(whole.logits[:, classes]),
        labels=np.searchsorted(classes, whole.labels),
        class_names=tuple(whole.class_names[c] for c in classes),
        path=None,
        cache={},
    )


@cache
def visible(scale: Scale) -> dict[str, np.ndarray]:
    """Count what a person may see in each image; colours in CIELAB."""
    data, boxes = photographs(scale)
    found: dict[str, list[float]] = {name: [] for name in VISIBLE}
    for i, (x0, y0, x1, y1) in enumerate(boxes.astype(float)):
        picture = data.picture(i)
        lab = rgb2lab(np.asarray(picture))
        light = lab[..., 0]
        side = picture.shape[0]
        values = (
            light.mean(),
            lab[..., 1].mean(),
            lab[..., 2].mean(),
            np.hypot(lab[..., 1], lab[..., 2]).mean(),
            light.std(),
            np.abs(np.diff(light, axis=0)).mean() + np.abs(np.diff(light, axis=1)).mean(),
            (x1 - x0 + 1) * (y1 - y0 + 1) / side**2,
            np.hypot((x0 + x1 + 1) / 2 - side / 2, (y0 + y1 + 1) / 2 - side / 2) / side,
        )
        for name, value in zip(VISIBLE, values, strict=True):
            found[name].append(float(value))
    return {name: np.asarray(values) for name, values in found.items()}


def photographs_of(name: str, reading: str, which: str, scale: Scale) -> dict[str, Any]:
    """Measure the mechanisms of one class at some layers."""
    recording, layers = recorded(reading, scale), LAYERS[which]
    rows = recording.samples(name)
    critical = quiet(neucept.discover, recording, name, list(layers), precision=LEVEL, progress=False)
    mechanisms = quiet(neucept.learn, recording, critical, K, compactness=dict(layers))
    choice = neucept.choose_n_mechanisms(mechanisms, range(2, 7), progress=False)
    alone = neucept.sufficiency(recording, critical, progress=False)
    number = recording.class_number(name)
    wrong = pd.Series([recording.class_names[c] for c in recording.labels[rows] if c != number]).value_counts()
    right = {"right": (recording.labels[rows] == number).astype(float)}
    # Of images of the class alone: others look different, and one mechanism has more of them.
    seen = {key: np.where(right["right"] > 0, values[rows], np.nan) for key, values in visible(scale).items()}
    groups = mechanisms.cross_fitted
    means = [[rounded(np.nanmean(values[groups == m])) for m in range(K)] for values in seen.values()]
    return {
        "selected": {layer: [len(critical.at(precision=p)[layer].neurons) for p in (0.9, LEVEL)] for layer in layers},
        "neurons": {layer: len(critical[layer].groups) for layer in layers},
        **reliability_of(recording, mechanisms),
        "wrong": {str(key): int(count) for key, count in wrong.head(3).items()},
        "labelled": int((recording.labels == number).sum()),
        "suggested": choice.suggested,
        "p one": rounded(choice.p_one),
        "stability": {str(r.mechanisms): rounded(r.stability) for r in choice.table.itertuples()},
        "r2": {f"{r.layer} {r.neurons}": rounded(r.r2_nonlinear) for r in alone.itertuples()},
        "visible": {k: [rounded(v) for v in apart(values, groups)] for k, values in seen.items()},
        "visible means": dict(zip(seen, means, strict=True)),
        "right": [rounded(v) for v in apart(right["right"], groups)],
        "random": by_random(recording, mechanisms, seen | right),
        "telling": telling_neuron(recording, mechanisms),
        "typical": [rows[mechanisms.typical(m, TYPICAL)].tolist() for m in range(K)],
        "typical right": [right["right"][mechanisms.typical(m, TYPICAL)].astype(int).tolist() for m in range(K)],
    }


def telling_neuron(recording: neucept.Recording, mechanisms: neucept.Mechanisms) -> dict[str, Any]:
    """Find the neuron that tells two mechanisms apart best (Figure 12), and its place by mean activation.

    Mechanisms of inputs they were not found on. AUC: how often an input of the one lies above one of the other.
    """
    best: dict[str, Any] = {"auc": 0.0}
    groups = mechanisms.cross_fitted
    for column, feature in enumerate(mechanisms.features):
        values = mechanisms.values[:, column]
        for one in range(len(mechanisms)):
            for other in range(len(mechanisms)):
                a, b = values[groups == one], values[groups == other]
                if one == other or not len(a) or not len(b):
                    continue
                auc = float(mannwhitneyu(a, b).statistic / len(a) / len(b))
                if auc > best["auc"]:
                    means = recording.activations(feature.layer)[mechanisms.samples].mean(axis=0)
                    edges = np.histogram_bin_edges(values, 24)
                    best = {
                        "neuron": feature.name,
                        "high": one,
                        "low": other,
                        "auc": rounded(auc),
                        "place": int((means > means[feature.neurons[0]]).sum()) + 1,
                        "of": len(means),
                        "edges": [rounded(e) for e in edges],
                        "counts": [np.histogram(v, edges)[0].tolist() for v in (a, b, values)],
                    }
    return best


def found_again(recording: neucept.Recording, name: str, layers: Mapping[str, int]) -> dict[str, list[float]]:
    """Halve the inputs, find neurons and mechanisms on each half, and compare them on all: AMI, shared neurons."""
    rows = recording.samples(name)
    result: dict[str, list[float]] = {"AMI": [], "shared neurons": []}
    for seed in range(HALVINGS):
        order = np.random.default_rng(100 + seed).permutation(rows)
        parts = []
        for half in np.array_split(order, 2):
            critical = quiet(neucept.discover, recording, name, list(layers), samples=np.sort(half), progress=False)
            parts.append(quiet(neucept.learn, recording, critical, K, compactness=dict(layers)))
        one, other = (part.assign(recording, rows)[0] for part in parts)
        names = [{feature.name for feature in part.features} for part in parts]
        result["AMI"].append(rounded(adjusted_mutual_info_score(one, other)))
        result["shared neurons"].append(rounded(len(names[0] & names[1]) / len(names[0])))
    return result


def run(scale: Scale) -> dict:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    names, readings = (CLASSES[:1], READINGS[:1]) if scale.reduced else (CLASSES, READINGS)
    cells: dict[str, Any] = {
        f"{name} {reading} {which}": lambda a=(name, reading, which, scale): photographs_of(*a)
        for reading in readings
        for name in names
        for which in LAYERS
    }
    if not scale.reduced:
        cells |= {
            f"again {name} {which}": lambda n=name, w=which: found_again(recorded("22", scale), n, LAYERS[w])
            for name in names
            for which in LAYERS
        }
    return Results("photographs", scale).fill(cells) | {"scale": scale}  # for the pictures


def draw(found: dict, path: Path) -> None:
    """Draw typical pictures of each mechanism of the last block, and the neuron that tells two of them apart."""
    cells = drawn(found)
    figure = plt.figure(figsize=(7 * len(cells), 5.6), layout="constrained")
    for part, (name, cell) in zip(np.atleast_1d(figure.subfigures(1, len(cells))), cells.items(), strict=True):
        pictures, neuron = part.subfigures(2, 1, height_ratios=(3.7, 1.6))
        pictures.suptitle(f'predicted "{name}": {cell["inputs"]} images, {cell["precision"]:.0%} right', fontsize=11)
        for m, row in enumerate(pictures.subplots(K, TYPICAL)):
            share, _, precision, low, high, _ = cell["mechanisms"][m]
            words = f"{m + 1}: {share:.0%} of them\nright: {precision:.0%}\n({low:.0%} to {high:.0%})"
            words += f"\nbox: {cell['visible means']['object'][m]:.0%}"
            pictures_in(row, photographs(found["scale"])[0], cell["typical"][m], cell["typical right"][m], words)
        histogram(neuron.subplots(), cell["telling"])
    figure.savefig(path, dpi=100)
    plt.close(figure)


def histogram(axis: Any, told: dict) -> None:
    middles = (np.array(told["edges"][1:]) + told["edges"][:-1]) / 2
    kinds = (f"mechanism {told['high'] + 1}", f"mechanism {told['low'] + 1}", "all")
    for counts, words, colour in zip(told["counts"], kinds, (*COLOURS[:2], "#999999"), strict=True):
        axis.plot(middles, np.array(counts) / sum(counts), color=colour, label=words, drawstyle="steps-mid")
    axis.set_xlabel(f"activation of {told['neuron']}, place {told['place']} of {told['of']} by its mean", fontsize=9)
    axis.set_ylabel("share of images", fontsize=9)
    axis.set_yticks([])
    axis.tick_params(labelsize=8)
    axis.legend(fontsize=8, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)


def drawn(found: dict) -> dict[str, dict]:
    """Give the cells of the figure, by class."""
    return {name: found[f"{name} 22 last"] for name in CLASSES if f"{name} 22 last" in found}


def measured_cells(found: dict) -> dict[str, dict]:
    return {key: cell for key, cell in found.items() if key.split()[0] in CLASSES}


def finding(found: dict) -> str:
    cells = measured_cells(found)
    sentences = [
        seen_sentence(cells),
        *most_seen(cells),
        again_sentence(cells, found),
        *(unreliable_sentence(name, cell) for name, cell in drawn(found).items()),
        neuron_sentence(drawn(found)),
    ]
    few = [key for key in cells if key.endswith("1000 last")]
    if few:
        numbers = ", ".join(
            f"{key.split()[0]} {cells[key]['inputs']} images, {wrong_count(cells[key])} of them wrong" for key in few
        )
        unlike = sum(sum(map(bool, cells[key]["verdicts"])) for key in few)
        sentences.append(
            f"- With all 1,000 classes to choose from ({numbers}), {unlike} of {K * len(few)} mechanisms of the last"
            " block differ from the others: with so few wrong, and so few bees, little can be said."
        )
    sentences.append(
        "\nFigure (last block, 22 classes): the 8 most typical images of each mechanism, nearest its centre, with its"
        " share, its precision and the mean share of the picture that the object's box takes; red: another class."
        " Below: the neuron that best tells two mechanisms apart."
    )
    return "\n".join([*table(cells, found), "", *sentences])


def table(cells: dict[str, dict], found: dict) -> list[str]:
    lines = [
        "Not Inception-v3 and all of ImageNet, but EfficientNet-Lite0 with its ImageNet weights and the 22 classes of"
        " ImageNet that are at hand from Tiny ImageNet: 12,100 images, 550 a class, 64 x 64 pixels enlarged to 128 x"
        " 128, most of them probably among those that the network was trained on. A prediction is the largest of all"
        " 1,000 logits, or of those of these 22 classes, where more images are predicted as the class and more of them"
        " wrongly. Precision is that among these images. Layers: the ends of the stages before the last two halvings of"
        " the map, with 5 and 3 neurons as in Figure 5 (inner), and the end of the last block, with 10 (last); the"
        f" head, which has more channels (1,280) than there are images of a prediction, was left out. K = {K}; each"
        " mechanism is judged on images that it was not found on.\n",
        "| class, choice of, layers | images | right | critical at 0.9 and 0.6 | least and most reliable mechanism |"
        " unlike the others | more than the margin says, p | found again, AMI |",
        "| --- |" + " --- |" * 7,
    ]
    for key, cell in cells.items():
        name, reading, which = key.split()
        selected = "; ".join(f"{a}, {b} of {cell['neurons'][layer]}" for layer, (a, b) in cell["selected"].items())
        again = found.get(f"again {name} {which}") if reading == "22" else None
        ami = f"{np.mean(again['AMI']):.2f}" if again else ""
        lines.append(
            f"| {name}, {int(reading):,}, {which} | {cell['inputs']} | {cell['precision']:.1%} | {selected} |"
            f" {least_and_most(cell)} | {sum(map(bool, cell['verdicts']))} of {K} | {p_words(cell['beyond margin'])} |"
            f" {ami} |"
        )
    return lines


def tests(cells: dict[str, dict]) -> list[tuple[str, str, float, int]]:
    """Give (cell, what is seen, corrected p-value, random sets that differ as much) of all tests."""
    count = len(cells) * len(VISIBLE)
    return [
        (key, what, min(1.0, p * count), sum(other >= share for other in cell["random"][what]))
        for key, cell in cells.items()
        for what, (share, p) in cell["visible"].items()
    ]


def seen_sentence(cells: dict[str, dict]) -> str:
    done = tests(cells)
    sure = [row for row in done if row[2] < 0.05]
    rare = [row for row in sure if row[3] <= RANDOM // 20]
    return (
        f"- **Do their pictures differ?** {'Yes, by count' if sure else 'No'}: on images of the class alone,"
        f" {len(sure)} of {len(done)} tests ({len(VISIBLE)} things that can be seen; Kruskal and Wallis, Bonferroni"
        f" over all) are below 5%. But so they may by any neurons of these layers: {len(rare)} of the {len(sure)}"
        f" differences are larger than those of mechanisms by random neurons in at least {RANDOM - RANDOM // 20} of"
        f" {RANDOM} draws. (One fish or a shoal is labelled nowhere; the box is that of one object.)"
    )


def most_seen(cells: dict[str, dict]) -> list[str]:
    lines = []
    for key, cell in cells.items():
        name, reading, which = key.split()
        if reading != "22":
            continue
        what = max(cell["visible"], key=lambda name, seen=cell["visible"]: seen[name][0])
        means, share = cell["visible means"][what], cell["visible"][what][0]
        digits = 2 if max(map(abs, means)) < 1 else 0
        lines.append(
            f"  - {name}, {which}: most by {VISIBLE[what]}, means {min(means):.{digits}f} to {max(means):.{digits}f}"
            f" ({share:.0%} of the variance of its ranks; by random neurons {np.mean(cell['random'][what]):.0%})."
        )
    return lines


def again_sentence(cells: dict[str, dict], found: dict) -> str:
    ones = sum(cell["suggested"] == 1 for cell in cells.values())
    fours = [cell["stability"][str(K)] for cell in cells.values()]
    again = [cell for key, cell in found.items() if key.startswith("again")]
    ami = [value for cell in again for value in cell["AMI"]]
    words = (
        f"- **Are they found again?** {'Hardly' if max(fours + ami) < 0.5 else 'In part'}. That the images are one"
        f" single cloud cannot be refuted in {ones} of {len(cells)} cases; with the same neurons, the mechanisms of two"
        f" halves of the images agree with an adjusted Rand index of {min(fours):.2f} to {max(fours):.2f}"
    )
    if again:
        shared = np.mean([value for cell in again for value in cell["shared neurons"]])
        words += (
            f"; with neurons found afresh on each half, {shared:.0%} of the neurons are the same and the AMI is"
            f" {min(ami):.2f} to {max(ami):.2f} (0 by chance, 1 the same). Four mechanisms cut a continuum, and other"
            " images are cut elsewhere"
        )
    return words + "."


def unreliable_sentence(name: str, cell: dict) -> str:
    others = cell["random"]["right"]
    reach = sum(value >= cell["right"][0] for value in others)
    wrong = ", ".join(f"{count} {what}" for what, count in cell["wrong"].items())
    ours, top, chance = (cell["r2"][f"blocks.6 {neurons}"] for neurons in ("selected", "top 10", "10 random"))
    return (
        f"- **{name}, last block:** {least_and_most(cell)} are right in the least and the most reliable mechanism,"
        f" {cell['precision']:.0%} in the class; the wrong ones are {wrong} and others. Mechanisms explain"
        f" {cell['right'][0]:.0%} of the variance of being right, by random neurons {np.mean(others):.0%}, as much in"
        f" {reach} of {len(others)} draws; at equal margin, p {p_words(cell['beyond margin'])}. Neurons critical at"
        f" {LEVEL:g} predict {ours:.0%} of the variance of the logit, the ten used {top:.0%}, ten random ones"
        f" {chance:.0%}."
    )


def neuron_sentence(cells: dict[str, dict]) -> str:
    told = "; ".join(
        f"{name}: {cell['telling']['neuron']}, place {cell['telling']['place']} of {cell['telling']['of']} by mean"
        f" activation, is higher in the one in {cell['telling']['auc']:.0%} of pairs"
        for name, cell in cells.items()
    )
    return (
        f"- **A neuron that tells two mechanisms apart and is not among the most active** (last block): {told}; the"
        " best of the ten by which the mechanisms were found, on images that they were not found on."
    )


def wrong_count(cell: dict) -> int:
    return round(cell["inputs"] * (1 - cell["precision"]))


def verdicts(found: dict) -> list[Verdict]:
    cells = drawn(found)
    sure = {key for key, what, p, _ in tests(measured_cells(found)) if what == "object" and p < 0.05}
    differ = all(f"{name} 22 last" in sure for name in cells)
    ami = [value for key, cell in found.items() if key.startswith("again") for value in cell["AMI"]]
    size = [cell["visible means"]["object"] for cell in cells.values()]
    words = ", ".join(f"{name} {min(s):.0%} to {max(s):.0%}" for name, s in zip(cells, size, strict=True))
    measured = f"another network (EfficientNet-Lite0, 22 classes): the object takes {words} of the picture"
    measured += f"; found again on other images with AMI {min(ami):.2f} to {max(ami):.2f}" if ami else ""
    holds = "no" if not differ else "yes" if ami and min(ami) > 0.5 else "partly"
    return [Verdict("Figures 5 and 12", "mechanisms of goldfish and of bee show different pictures", measured, holds)]


if __name__ == "__main__":
    main(sys.modules[__name__])
