"""Tell in which space mechanisms are clustered."""

from __future__ import annotations

from typing import Any

from claims import table
from common import plus_minus
from read.spaces import called_less, more_than_one, of_classes, pair_cells, pairs, seeds, values
from template import Template

LAYERS = ("conv3", "linear0", "both")
SPACES = ("top", "variance", "contribution", "posterior", "metric", "all")
NETWORKS = {"vgg11": "given", "fresh-vgg11": "fresh"}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def tell(results: dict[str, Any]) -> str:
    template = Template("spaces")
    return template.fill(
        given=pairs(results, "given", "kmeans"),
        fresh=pairs(results, "fresh", "kmeans"),
        tried=table(
            ["space", *(f"{layer}: {what}" for layer in LAYERS for what in ("again", "CE"))],
            [[f"`{space}`", *tried(results, space)] for space in SPACES],
        ),
        kept=table(
            [
                "layer",
                "clusters",
                "space",
                "pairs",
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
        pair=pair(template, results),
        baselines=baselines(template, results),
        **pair_cells(results),
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
    if "vgg11 all kmeans" not in results:
        return ""
    cells = results["vgg11 all kmeans"]
    less, below = called_less(cells)
    top = ""
    if "vgg11 top kmeans" in results:
        others = results["vgg11 top kmeans"]
        top = f"; with `top` {more_than_one(others)} of {len(others)} halves have more than one mechanism"
    fields = {"several": more_than_one(cells), "ways": len(cells), "less": less, "below": below, "top": top}
    return template.fill("real", **fields)


def tried(results: dict[str, Any], space: str) -> list[str]:
    cells = []
    for layer in LAYERS:
        pkt, normal = values(results, "given", layer, "kmeans", space).mean(axis=0)
        cells += [f"{pkt[what]:.2f} / {normal[what]:.2f}" for what in (0, 1)]
    return cells


def kept(results: dict[str, Any], layer: str, method: str, space: str) -> list[str]:
    own = values(results, "fresh", layer, method, space)
    plain = values(results, "fresh", layer, "kmeans", "variance", seeds(results, "fresh", layer, method, space))
    difference = own[:, 1, 1] - own[:, 0, 1]
    beyond = difference - (plain[:, 1, 1] - plain[:, 0, 1])
    numbers = [own[:, 0, 0], own[:, 1, 0], own[:, 0, 1], own[:, 1, 1]]
    return [str(len(own)), *map(plus_minus, numbers), plus_minus(difference), plus_minus(beyond, sign="+")]


def vgg(template: Template, results: dict[str, Any]) -> str:
    known = {key: cell for key, cell in results.items() if key.partition(" ")[0] in NETWORKS}
    if "vgg11 all kmeans" not in known:
        return ""
    rows = [
        [NETWORKS[network], f"`{space}`", method, *of_classes(cell)]
        for (network, space, method), cell in ((key.split(), cell) for key, cell in known.items())
    ]
    first = "vgg11 all kmeans"
    head = [
        "network",
        "space",
        "clusters",
        "K",
        "more than one",
        "stability",
        "come back",
        "of a class",
        "differ",
        "called less reliable",
        "overconfident",
    ]
    return template.fill(
        "vgg",
        table=table(head, rows),
        first="`all` with K-means on the given network",
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


def pair(template: Template, results: dict[str, Any]) -> str:
    """Tell how VGG11s of two classes are found again."""
    groups = [group for group in ("given", "fresh") if {f"pair {group} pkt", f"pair {group} normal"} <= set(results)]
    if not groups:
        return ""
    rows = [
        [f"{layer}, {group}", f"`{space}`", *(f"{pkt[i]:.2f} / {normal[i]:.2f}" for i in (0, 1))]
        for layer in ("conv8", "conv9", "both")
        for group in groups
        for space in ("variance", "contribution", "all")
        for pkt, normal in [[results[f"pair {group} {kind}"][layer][space] for kind in ("pkt", "normal")]]
    ]
    head = ["layer, pair", "space", "again: PKT / normal", "CE: PKT / normal"]
    return template.fill("pair", table=table(head, rows))


def baselines(template: Template, results: dict[str, Any]) -> str:
    """Tell the CE of PKT networks beside that of other rankings."""
    cells = [cell for key, cell in results.items() if key.startswith("baselines")]
    if not cells:
        return ""
    won = [one["NeuCEPT"] < min(v for m, v in one.items() if m != "NeuCEPT") for cell in cells for one in cell.values()]
    methods = list(cells[0]["conv3 even"])
    rows = [
        [method, *(plus_minus([cell[place][method] for cell in cells]) for place in cells[0])] for method in methods
    ]
    return template.fill(
        "baselines", n=len(cells), won=sum(won), all=len(won), table=table(["ranking", *cells[0]], rows)
    )
