"""Is the token's mechanism called overconfident, and how often is a mechanism of a clean network?

Run with ``python benchmarks/planted/measure.py``: it trains what is not trained yet (weights in ``runs/planted``),
measures each network once (a line of ``benchmarks/planted/results.json``; those that are there are kept), and writes
``benchmarks/planted.md``. Mechanisms are found on one set of images and judged in two ways: cross-fitted on the same
images, by ``neucept.reliability``, and on test images that neither training nor discovery saw.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from networks import LAYERS, Setting, network, part, setting

import neucept
from neucept.mechanisms import Mechanisms, compare_confidence, error_detection, wilson
from neucept.mechanisms.confidence import confidence_elsewhere, detect_errors, log_odds
from neucept.mechanisms.overconfidence import compare_elsewhere, confidence_verdicts
from neucept.recording import Recording

RESULTS = Path(__file__).parent / "results.json"
PAGE = Path(__file__).parents[1] / "planted.md"
NUMBERS = range(8)
WAYS: dict[str, dict[str, Any]] = {
    "default": {},
    "contribution, mixture": {"reduce": "contribution", "method": "gmm", "n_mechanisms": "auto"},
}
LEARNT = 0.5  # share of other classes' images with the token that are called the token's class


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--numbers", type=int, nargs="*", default=list(NUMBERS))
    numbers = arguments.parse_args().numbers
    torch.set_num_threads(1)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for number in numbers:
        for data in ("mnist", "cifar10"):
            for planted in (True, False):
                s = setting(data, number, planted)
                if s.name not in results:
                    results[s.name] = measure(s)
                    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
                    print(s.name, json.dumps(results[s.name])[:300], flush=True)
    PAGE.write_text(page(results))


def measure(s: Setting) -> dict[str, Any]:
    """Find and judge the mechanisms of the token's class in every way."""
    started = time.perf_counter()
    model = network(s)
    found, token_found = recorded(model, s, "find")
    judged, token = recorded(model, s, "judge")
    assert judged.labels is not None
    called = judged.predictions == s.target
    others = token & (judged.labels != s.target)
    result: dict[str, Any] = {
        "target": s.target,
        "accuracy": round(float((judged.predictions == judged.labels)[~token].mean()), 4),
        "fooled": round(float(called[others].mean()), 4) if others.any() else None,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        critical = neucept.discover(found, s.target, progress=False)
        for way, options in WAYS.items():
            mechanisms = neucept.learn(found, critical, **options)
            result[way] = {
                "cross-fitted": cross_fitted(found, mechanisms, token_found),
                "test images": on_test_images(judged, mechanisms, token, s.target),
            }
    result["seconds"] = round(time.perf_counter() - started, 1)
    return result


def recorded(model: torch.nn.Module, s: Setting, which: str) -> tuple[Recording, np.ndarray]:
    x, y, token = part(s, which)
    return neucept.record(model, (x, y), layers=LAYERS, progress=False), token


def cross_fitted(recording: Recording, mechanisms: Mechanisms, token: np.ndarray) -> dict[str, Any]:
    """What `neucept.reliability` says."""
    table = neucept.reliability(recording, mechanisms)
    labels = mechanisms.cross_fitted
    rows = rounded(table, token[mechanisms.samples], labels)
    auc = error_detection(recording, mechanisms).auc
    return {
        "mechanisms": rows,
        "verdicts": list(table["confidence_verdict"]),
        "auc": {by: round(a, 3) for by, a in auc.items()},
    }


def on_test_images(judged: Recording, mechanisms: Mechanisms, token: np.ndarray, target: int) -> dict[str, Any]:
    """Judge the mechanisms on other images, with the same test."""
    rows = judged.samples(target)
    labels, _ = mechanisms.assign(judged, rows)
    assert judged.labels is not None
    right, odds = judged.labels[rows] == target, log_odds(judged, target, rows)
    assert odds is not None
    table = compare_confidence(odds, right, labels, len(mechanisms))
    K = range(len(mechanisms))
    table["judged"] = [int((labels == k).sum()) for k in K]
    table["precision"] = [float(right[labels == k].mean()) if (labels == k).any() else np.nan for k in K]
    elsewhere = confidence_elsewhere(judged, target, judged.labels)
    table = pd.concat([table, compare_elsewhere(odds, right, labels, len(mechanisms), elsewhere)], axis=1)
    verdicts = confidence_verdicts(table.assign(verdict=""))
    auc = detect_errors(odds, right, labels).auc
    return {
        "mechanisms": rounded(table, token[rows], labels),
        "verdicts": verdicts,
        "auc": {by: round(area, 3) for by, area in auc.items()},
    }


def rounded(table: Any, token: np.ndarray, labels: np.ndarray) -> list[list[float]]:
    """For each mechanism: inputs, precision, expected, corrected p, expected elsewhere, inputs with the token."""
    return [
        [
            int(row["judged"]),
            *(round(float(row[name]), 4) for name in ("precision", "expected")),
            float(f"{row['p_confidence']:.2g}"),
            round(float(row["expected_elsewhere"]), 4),
            int(token[labels == k].sum()),
        ]
        for k, row in enumerate(table.to_dict("records"))
    ]


def share(hits: int, n: int) -> str:
    if not n:
        return "none"
    low, high = wilson(hits, n)
    return f"{hits} of {n}: {hits / max(n, 1):.1%} ({low:.1%} to {high:.1%})"


def page(results: dict[str, Any]) -> str:
    """Write the figures as a page."""
    planted = {name: r for name, r in results.items() if "planted" in name}
    clean = [r for name, r in results.items() if "clean" in name]
    learnt = [r for r in planted.values() if r["fooled"] >= LEARNT]
    weakly = [r for r in planted.values() if r["fooled"] < LEARNT]
    lines = [
        "# Where a network is confidently wrong: planted tokens",
        "",
        f"{len(planted)} small networks that were trained with a token on a share of one class, and {len(clean)} clean"
        " ones beside them, on noisy MNIST digits and on CIFAR-10. Images for training, for finding mechanisms and for"
        f" judging them are disjoint; on the last two the token tells nothing about the class. {len(learnt)} networks"
        f" learnt the token, so that at least {LEARNT:.0%} of other classes' test images with it are called its class;"
        " the token's mechanism is the one with most images that carry it. Shares with Wilson's 95% interval; a"
        " mechanism is called overconfident at 5%, corrected over the mechanisms of its network. Made by"
        " `benchmarks/planted/measure.py`. The two margins of the verdict (5 points or twice the errors; 5 times the"
        " odds of an error against other classes) were chosen while looking at the networks 0 to 3 of each data set.",
        "",
        "| mechanisms by | judged | token's mechanism overconfident, token learnt | token weaker |"
        " mechanisms of clean networks overconfident | clean networks with one | mechanisms of a planted network |",
        "|---|---|---|---|---|---|---|",
    ]
    areas = [
        "| mechanisms by | judged | networks | errors found by confidence alone, AUC | by confidence and mechanism |",
        "|---|---|---|---|---|",
    ]
    for way in WAYS:
        for how in ("cross-fitted", "test images"):
            of_learnt, of_weak, of_clean = ([r[way][how] for r in group] for group in (learnt, weakly, clean))
            called = [v == "overconfident" for r in of_clean for v in r["verdicts"]]
            networks = sum("overconfident" in r["verdicts"] for r in of_clean)
            size = np.mean([len(r["verdicts"]) for r in of_learnt])
            lines.append(
                f"| {way} | {how} | {share(sum(map(token_called, of_learnt)), len(learnt))} |"
                f" {share(sum(map(token_called, of_weak)), len(weakly))} | {share(sum(called), len(called))} |"
                f" {share(networks, len(clean))} | {size:.1f} |"
            )
            for name, group in (("token learnt", of_learnt), ("clean", of_clean)):
                alone, both = (np.array([list(r["auc"].values())[i] for r in group]) for i in (0, 1))
                areas.append(f"| {way} | {how} | {name} | {spread(alone)} | {spread(both)} |")
    alarms = [
        f"- {name}, {way}, {how}: right {row[1]:.0%}, expected {row[2]:.0%}, {row[0]} images"
        for name, r in results.items()
        if "clean" in name
        for way in WAYS
        for how in ("cross-fitted", "test images")
        for row, verdict in zip(r[way][how]["mechanisms"], r[way][how]["verdicts"], strict=True)
        if verdict == "overconfident"
    ]
    said = "All alarms on clean networks (one that stands for both ways of judging was found again on other images):"
    return "\n".join([*lines, "", "Mean over networks, lowest and highest:", "", *areas, "", said, "", *alarms, ""])


def token_called(judged: dict[str, Any]) -> bool:
    """Whether the mechanism with most images that carry the token is called overconfident."""
    with_token = [row[5] for row in judged["mechanisms"]]
    return bool(judged["verdicts"][int(np.argmax(with_token))] == "overconfident")


def spread(values: np.ndarray) -> str:
    return f"{values.mean():.2f} ({values.min():.2f} to {values.max():.2f})"


if __name__ == "__main__":
    main()
