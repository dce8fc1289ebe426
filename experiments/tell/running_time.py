"""Tell Table 2: running times."""

from __future__ import annotations

from typing import Any

import numpy as np
from claims import PARTLY, YES, Claim, counted, table
from running_time import CAPTUM, NEUCEPT, WAYS, Found
from template import Template


def claims(results: Found) -> list[Claim]:
    one = [cell["one draw"]["one"] for cell in results.values()]
    slow = [cell[f"{m}, one by one"]["seconds"] for cell in results.values() for m in CAPTUM]
    less = sum(is_cheaper(cell) for cell in results.values())
    return [
        Claim(
            source="Table 2",
            what="an iteration takes 1.9 to 26 s, attributions image by image 15 to 709 s (on a GPU)",
            value=f"{min(one):.2g} to {max(one):.2g} s beyond one recording, {min(slow):.3g} to {max(slow):.3g} s on"
            " the same CPU; all classes, 50 draws, cost less than batched saliency of them in"
            f" {less} of {len(results)} cases",
            holds=YES if max(one) < min(slow) else PARTLY,
        )
    ]


def tell(results: Found) -> str:
    template, cells = Template("running_time"), results.values()
    first = next(iter(cells))
    gains = [cell[f"{m}, whole network"]["seconds"] / cell[f"{m}, cut"]["seconds"] for cell in cells for m in CAPTUM]
    growth = [
        template.fill("growth", network=key, times=cell["growth"]) for key, cell in results.items() if "growth" in cell
    ]
    return template.fill(
        inputs=first["inputs"],
        threads=counted(first["threads"], "thread"),
        runs=counted(len({cell["process"] for cell in cells}), "run"),
        load=max(cell["load before"] for cell in cells),
        simple=max(cell[name] for cell in cells for name in ("activation", "variance")),
        seconds=seconds_table(results),
        passes=passes_table(results),
        faster="\n".join(faster(template, results, way) for way in WAYS),
        least=min(gains),
        most=max(gains),
        median=np.median(gains),
        all_classes=all_classes_table(results),
        less=sum(is_cheaper(cell) for cell in cells),
        cases=len(results),
        growth="\n".join(growth),
    )


def slashed(values: list[float], digits: int = 3) -> str:
    return " / ".join(f"{value:.{digits}g}" for value in values)


def seconds_table(results: Found) -> str:
    rows = []
    for key, cell in results.items():
        ours = [slashed([cell[variant][part] for variant in NEUCEPT]) for part in ("one", "all")]
        others = [slashed([cell[f"{m}, {way}"]["seconds"] for way in WAYS]) for m in CAPTUM]
        rows.append([key, f"{cell['recording']:.3g}", *ours, *others])
    return table(["network, layer", "recording", "NeuCEPT", "NeuCEPT, all classes", *CAPTUM], rows)


def passes_table(results: Found) -> str:
    """Return the passes per input, for one network of each architecture."""
    rows = []
    for key in (key for key in results if "pkt" in key):
        for way in WAYS:
            cells = [results[key][f"{m}, {way}"] for m in CAPTUM]
            rows.append([key, way, *(slashed([cell[p] for p in ("whole", "rest", "back")], 4) for cell in cells)])
    return table(["network, layer", "way", *CAPTUM], rows)


def faster(template: Template, results: Found, way: str) -> str:
    """Count the cases in which NeuCEPT is faster than all attributions done one way."""

    def wins(cell: dict[str, Any], variant: str) -> bool:
        return cell["recording"] + cell[variant]["one"] < min(cell[f"{m}, {way}"]["seconds"] for m in CAPTUM)

    counts = {variant: sum(wins(cell, variant) for cell in results.values()) for variant in NEUCEPT}
    said = ", ".join(f"{variant} {count}" for variant, count in counts.items())
    return template.fill("faster", cases=len(results), way=way, counts=said)


def all_classes_table(results: Found) -> str:
    """Compare 50 draws for all classes with saliency for all classes, of every input or of each class's own."""
    rows = []
    for key, cell in results.items():
        once = [cell[f"saliency, {way}"]["seconds"] for way in ("whole network", "cut")]
        k = cell["classes"]
        rows.append([key, str(k), f"{cell['50 draws']['all']:.3g}", slashed([k * s for s in once]), slashed(once)])
    return table(["network, layer", "classes", "NeuCEPT", "saliency, all inputs", "own inputs"], rows)


def is_cheaper(cell: dict[str, Any]) -> bool:
    """Whether 50 draws for all classes take less time than saliency of all inputs for each class, in batches."""
    saliency = min(cell[f"saliency, {way}"]["seconds"] for way in ("whole network", "cut"))
    return bool(cell["50 draws"]["all"] < cell["classes"] * saliency)
