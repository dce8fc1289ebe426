"""Tell Figure 11: an unreliable mechanism of pneumonia."""

from __future__ import annotations

from typing import Any

import numpy as np
from chest_xrays import HALVINGS, K
from claims import NO, YES, Claim, counted, table
from common import plus_minus
from image_mechanisms import RANDOM
from read.chest_xrays import beyond_margin, networks, picked_interval, random_as_good, unreliable
from read.image_mechanisms import least_and_most, p_words, selected
from template import Template

HEAD = ["network", "predicted pneumonia", "right", "critical at 0.9 and 0.6"]
HEAD += ["least reliable, on images that did not pick it", "least and most reliable of all images"]
HEAD += ["beyond the margin, p", "as much by random neurons"]
HEAD += ["explanation in the border: least reliable, others"]


def claims(results: dict[str, Any]) -> list[Claim]:
    cells = networks(results)
    least, whole = precisions(cells)
    return [
        Claim(
            source="Figure 11",
            what="one mechanism of pneumonia is right in 36.7%, the class in 60.6%",
            value=f"another network: {least}%, the class {whole}% ({len(cells)} networks; beyond their margin"
            f" in {beyond_margin(cells)})",
            holds=YES if unreliable(cells) else NO,
        )
    ]


def tell(results: dict[str, Any]) -> str:
    cells = networks(results)
    least, whole = precisions(cells)
    least_border, others_border = (np.mean([cell["border"][which] for cell in cells]) for which in ("least", "others"))
    area = cells[0]["border"]["area"]
    return Template("chest_xrays").fill(
        networks=counted(len(cells), "seed"),
        accuracy=np.mean([cell["accuracy"] for cell in cells]),
        K=K,
        halvings=HALVINGS,
        table=table(HEAD, [row(number, cell) for number, cell in enumerate(cells, 1)]),
        exists="exists" if unreliable(cells) else "is not sure",
        least=least,
        whole=whole,
        n=len(cells),
        beyond=beyond_margin(cells),
        often=RANDOM - RANDOM // 20,
        random=RANDOM,
        rare=sum(random_as_good(cell) <= RANDOM // 20 for cell in cells),
        more=sum(cell["border"]["least"] > cell["border"]["others"] and cell["border"]["p"] < 0.05 for cell in cells),
        least_border=least_border,
        others_border=others_border,
        area=area,
        boundary="is not what marks the subclass here" if least_border < area else "carries more than its share",
    )


def precisions(cells: list[dict[str, Any]]) -> tuple[str, str]:
    """Return the precision of the least reliable mechanism, and of the class, in percent."""
    values = ([100 * c["picked"]["precision"] for c in cells], [100 * c["precision"] for c in cells])
    return plus_minus(values[0], 1), plus_minus(values[1], 1)


def row(number: int, cell: dict[str, Any]) -> list[str]:
    low, high = picked_interval(cell)
    picked, border = cell["picked"], cell["border"]
    return [
        str(number),
        str(cell["inputs"]),
        f"{cell['precision']:.1%}",
        selected(cell),
        f"{picked['precision']:.1%} ({low:.0%} to {high:.0%}) of {picked['judged']:.0f}",
        least_and_most(cell),
        p_words(cell["beyond margin"]),
        f"{random_as_good(cell)} of {RANDOM}",
        f"{border['least']:.0%}, {border['others']:.0%} (p {p_words(border['p'])})",
    ]
