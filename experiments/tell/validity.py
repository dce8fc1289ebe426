"""Tell false discoveries and power on Gaussian neurons whose covariance is known."""

from __future__ import annotations

from typing import Any

import numpy as np
from claims import table
from template import Template
from validity import LEVELS, gain, lower_bound

WAYS = ("one", "evalue", "knockpy")
HEAD = ["design", "n", "non-null", "q", "repetitions", "one draw", "e-values", "knockpy"]
HEAD.append("power, one draw minus knockpy")


def tell(results: dict[str, Any]) -> str:
    rows, broken, gains = [], 0, []
    for cell, outcomes in results["cells"].items():
        for q in LEVELS:
            ways = {way: np.array(outcomes[f"{way} {q}"]) for way in WAYS if f"{way} {q}" in outcomes}
            broken += sum(lower_bound(v[:, 0]) > q for way, v in ways.items() if way != "knockpy")
            means = [f"{ways[w][:, 0].mean():.3f} / {ways[w][:, 1].mean():.2f}" if w in ways else "" for w in WAYS]
            difference = ""
            if "knockpy" in ways:
                gains.append(gain(outcomes, q))
                difference = "{:+.3f} ± {:.3f}".format(*gains[-1]) + f" ({len(ways['knockpy'])} pairs)"
            rows.append([*cell.split(), str(q), str(len(ways["one"])), *means, difference])
    template = Template("validity")
    return template.fill(
        table=table(HEAD, rows),
        broken=broken,
        worse=sum(mean + half < -0.02 for mean, half in gains),
        gain=of_all(template, gains) if gains else "",
    ).rstrip("\n")


def of_all(template: Template, gains: list[tuple[float, float]]) -> str:
    """Return the mean gain; the levels of a cell share their repetitions, so their deviations are added as one."""
    means, halves = np.array(gains).T
    half = np.sqrt(len(LEVELS) * np.sum(halves**2)) / len(means)
    return template.fill("gain", mean=means.mean(), half=half)
