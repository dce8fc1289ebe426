"""Tell in which space mechanisms are clustered."""

from __future__ import annotations

from typing import Any

import numpy as np
from claims import table
from common import plus_minus
from template import Template

LAYERS = ("conv3", "linear0", "both")
SPACES = ("top", "variance", "contribution", "posterior", "metric", "all")
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def tell(results: dict[str, Any]) -> str:
    template = Template("spaces")
    return template.fill(
        given=pairs(results, "given", "kmeans"),
        fresh=pairs(results, "fresh", "gmm"),
        tried=table(
            ["space", *(f"{layer}: {what}" for layer in LAYERS for what in ("again", "CE"))],
            [[f"`{space}`", *tried(results, space)] for space in SPACES],
        ),
        kept=table(
            [
                "layer",
                "clusters",
                "space",
                "again: PKT",
                "normal",
                "CE: PKT",
                "normal",
                "normal - PKT",
                "beyond variance",
            ],
            [
                [layer, method, f"`{space}`", *kept(results, layer, method, space)]
                for layer in LAYERS
                for method in ("kmeans", "gmm")
                for space in SPACES
            ],
        ),
        vgg=vgg(template, results),
        top_conv3=both_networks(results, "conv3", "kmeans", "top", 0),
        all_conv3=both_networks(results, "conv3", "kmeans", "all", 0),
        contribution_both=both_networks(results, "both", "kmeans", "contribution", 0),
        all_both=both_networks(results, "both", "kmeans", "all", 0),
        metric_ce=both_networks(results, "conv3", "kmeans", "metric", 1),
        all_ce=both_networks(results, "conv3", "kmeans", "all", 1),
        **{f"{space}_gap": gap(results, space) for space in ("metric", "all", "top", "variance")},
        **{
            f"{method}_{what}": f"{values(results, 'fresh', 'both', method, 'contribution')[:, 1, column].mean():.2f}"
            for method in ("gmm", "kmeans")
            for column, what in enumerate(("again", "ce"))
        },
        real=real(template, results),
    )


def both_networks(results: dict[str, Any], layer: str, method: str, space: str, what: int) -> str:
    pkt, normal = values(results, "fresh", layer, method, space)[:, :, what].mean(axis=0)
    return f"{pkt:.2f} / {normal:.2f}"


def gap(results: dict[str, Any], space: str) -> str:
    """CE of the normal network minus that of PKT at conv3 with K-means, with its interval."""
    own = values(results, "fresh", "conv3", "kmeans", space)[:, :, 1]
    return plus_minus(own[:, 1] - own[:, 0])


def real(template: Template, results: dict[str, Any]) -> str:
    if "vgg11 contribution gmm" not in results:
        return ""
    cells = results["vgg11 contribution gmm"]
    less, below = called_less(cells)
    top = ""
    if "vgg11 top kmeans" in results:
        others = results["vgg11 top kmeans"]
        top = f"; with `top`, the default, {more_than_one(others)} of {len(others)} halves have more than one mechanism"
    fields = {"several": more_than_one(cells), "ways": len(cells), "less": less, "below": below, "top": top}
    return template.fill("real", **fields)


def more_than_one(cells: dict[str, Any]) -> int:
    return sum(cell["K"] > 1 for cell in cells.values())


def called_less(cells: dict[str, Any]) -> tuple[int, int]:
    """Count the mechanisms called less reliable, and those of them below their class on the other half."""
    below = [
        cell["other"][k] < cell["class"]
        for cell in cells.values()
        for k, verdict in enumerate(cell["verdicts"])
        if verdict == "less reliable"
    ]
    return len(below), sum(below)


def seeds(results: dict[str, Any], group: str, method: str) -> list[str]:
    """Return the pairs of which both networks were measured."""
    known = [key.split()[1] for key in results if key.startswith(group) and key.endswith(f"pkt {method}")]
    return [seed for seed in known if f"{group} {seed} normal {method}" in results]


def pairs(results: dict[str, Any], group: str, method: str) -> int:
    return len(seeds(results, group, method))


def values(results: dict[str, Any], group: str, layer: str, method: str, space: str) -> np.ndarray:
    """Return (pairs, 2 networks, 2 measures): again and CE of PKT and normal."""
    return np.array(
        [
            [results[f"{group} {seed} {kind} {method}"][layer][space] for kind in ("pkt", "normal")]
            for seed in seeds(results, group, method)
        ]
    )


def tried(results: dict[str, Any], space: str) -> list[str]:
    cells = []
    for layer in LAYERS:
        pkt, normal = values(results, "given", layer, "kmeans", space).mean(axis=0)
        cells += [f"{pkt[what]:.2f} / {normal[what]:.2f}" for what in (0, 1)]
    return cells


def kept(results: dict[str, Any], layer: str, method: str, space: str) -> list[str]:
    own = values(results, "fresh", layer, method, space)
    plain = values(results, "fresh", layer, "kmeans", "variance")
    difference = own[:, 1, 1] - own[:, 0, 1]
    beyond = difference - (plain[: len(own), 1, 1] - plain[: len(own), 0, 1])
    numbers = [own[:, 0, 0], own[:, 1, 0], own[:, 0, 1], own[:, 1, 1]]
    return [*map(plus_minus, numbers), plus_minus(difference), plus_minus(beyond, sign="+")]


def vgg(template: Template, results: dict[str, Any]) -> str:
    known = {key.partition(" ")[2]: cell for key, cell in results.items() if key.startswith("vgg11")}
    if not known:
        return ""
    rows = [[f"`{name.split()[0]}`", name.split()[1], *of_classes(cell)] for name, cell in known.items()]
    first = "contribution gmm"
    head = [
        "space",
        "clusters",
        "K",
        "more than one",
        "stability",
        "come back",
        "of a class",
        "differ",
        "called less reliable",
    ]
    return template.fill(
        "vgg",
        table=table(head, rows),
        first="`contribution` with a mixture",
        classes=table(
            ["class", "K", "stability", "on its half", "on the other", "p"],
            [
                [
                    *(name, str(cell["K"]), f"{cell['stability']:.2f}"),
                    *(listed(cell["own"]), listed(cell["other"]), f"{cell['p']:.1g}"),
                ]
                for number, name in enumerate(CLASSES)
                for cell in [known[first][f"{number} 0"]]
            ],
        ),
    )


def listed(shares: list[float]) -> str:
    return " ".join(f"{share:.2f}" for share in shares)


def of_classes(cell: dict[str, Any]) -> list[str]:
    """Sum up the ten classes, both ways."""
    counts = [one["K"] for one in cell.values()]
    error = [
        np.average(np.abs(np.subtract(one["own"], one["other"])), weights=one["shares"][: len(one["own"])])
        for one in cell.values()
    ]
    whole = [abs(float(np.average(one["own"], weights=one["shares"])) - one["class"]) for one in cell.values()]
    differ = sum(one["p"] < 0.05 for one in cell.values())
    less, below = called_less(cell)
    ways = len(cell)
    return [
        f"{min(counts)} to {max(counts)}",
        f"{more_than_one(cell)} of {ways}",
        f"{np.mean([one['stability'] for one in cell.values()]):.2f}",
        f"{np.mean(error):.3f}",
        f"{np.mean(whole):.3f}",
        f"{differ} of {ways}",
        f"{less}; {below} below",
    ]
