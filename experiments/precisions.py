"""The precisions of Appendix H.2, layer by layer: what is selected, what it shows, and what is realised.

Three questions. What do the precisions that the paper used (0.9 to 0.98 for LeNet, 0.4 to 0.8 for VGG) select, here and
in the published way (no calibration, all inputs, neurons chosen in more than half of 50 draws), and what clusters'
entropy have five mechanisms learnt on the selected neurons of one layer (at most ten representatives)? What precision
and power does eq. (9) realise on responses simulated on that layer, and what the calibrated selection? And Appendix F,
which quotes Candes and others: "the FDR is rarely ever violated even for a loosely estimated covariance", and power is
lost by about 20%: on Gaussian neurons with a layer's covariance, the same filter is given that covariance, or estimates
it from the inputs, all of them or only twice as many as there are neurons (loosely).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from common import Results, Scale, main
from discovery import discovered, quiet
from networks import pairs, recorded
from tasks import TASKS, tensors

import neucept
from neucept.knockoffs import GaussianSampler, knockoff_statistics, prepare, select

KINDS = {"pkt": "PKT", "normal": "normal"}
WAYS: dict[str, dict[str, Any]] = {
    "ours": {},
    "published": {"calibration": None, "samples": "all", "aggregate": "frequency"},
}
PRECISIONS = {"lenet": (0.9, 0.92, 0.94, 0.96, 0.98), "vgg11": (0.4, 0.5, 0.6, 0.7, 0.8)}
SHARE = 0.25  # of the neurons that the response of the Gaussian neurons needs
AMPLITUDE = 10.0  # z-value of a coefficient by least squares, whatever the other neurons
FEW = 2  # inputs, in multiples of the neurons, of the loose estimate
GAUSSIAN_LEVELS = (0.9, 0.8)
REPETITIONS = 10


def entropy(recording: neucept.Recording, selection: Any, label: int, fine: np.ndarray, reduce: str) -> float | None:
    """CE of five mechanisms of the inputs predicted as the class, on one layer; None where nothing is selected."""
    if reduce == "agglomerate" and not len(selection.neurons):
        return None
    options = {"reduce": reduce, "target": label, "samples": "predicted"}
    learnt = quiet(neucept.learn, recording, {selection.layer: selection}, 5, **options)
    return round(neucept.metrics.cluster_entropy(fine[learnt.samples], learnt.labels), 4)


def swept(task: str, seed: int, kind: str, paper: str, label: int, scale: Scale) -> dict[str, Any]:
    """Measure what each precision selects at a layer, by default and in the published way, and what is realised."""
    layer = dict(TASKS[task].layers)[paper]
    recording = recorded(task, seed, kind, scale)
    fine = tensors(task, "test", scale.shared, scale.inputs)[1]
    ways = {way: discovered(task, seed, kind, label, scale, **options)[layer] for way, options in WAYS.items()}
    calibration = ways["ours"].calibration
    assert calibration is not None
    results: dict[str, Any] = {
        "neurons": len(calibration.groups),
        "groups": len(calibration.sizes),
        **{f"CE of the top ten, {way}": entropy(recording, s, label, fine, "top") for way, s in ways.items()},
    }
    needed = ~calibration.null.all(axis=1) & ~np.isnan(calibration.gaussian).any(axis=1)
    for precision in PRECISIONS[task]:
        row: dict[str, Any] = {}
        for way, selection in ways.items():
            at = selection.at(precision)
            row[f"selected, {way}"] = len(at.neurons)
            row[f"CE, {way}"] = entropy(recording, at, label, fine, "agglomerate")
        realised = calibration.table(precision).set_index("family").loc["all"]
        row |= {name: round(float(realised[name]), 4) for name in ("precision", "power", "uncalibrated")}
        masks = np.array([select(W, 1 - precision) for W in np.nan_to_num(calibration.gaussian)])
        hits = (masks & ~calibration.null).sum(axis=1)[needed] / (~calibration.null).sum(axis=1)[needed]
        row["power of eq. (9)"] = round(float(hits.mean()), 4)
        results[str(precision)] = row
    return results


def gaussian(task: str, seed: int, kind: str, paper: str, label: int, scale: Scale) -> dict[str, Any]:
    """Measure false discoveries and power of eq. (9) on Gaussian neurons, covariance known or estimated."""
    layer = dict(TASKS[task].layers)[paper]
    recording = recorded(task, seed, kind, scale)
    Z = prepare(np.asarray(recording.activations(layer)[recording.samples(label)])).Z
    p = Z.shape[1]
    Sigma = 0.999 * np.corrcoef(Z.T) + 0.001 * np.eye(p)  # invertible, and then exactly that of the neurons drawn
    root, unique = np.linalg.cholesky(Sigma), np.diag(np.linalg.inv(Sigma))
    samplers = {"exact": GaussianSampler(covariance=Sigma), "estimated": "gaussian"}
    results: dict[str, Any] = {}
    for words, n in (("all inputs", len(Z)), ("few inputs", min(FEW * p, len(Z)))):
        outcomes: dict[str, list[tuple[float, float]]] = {}
        for repetition in range(REPETITIONS):
            rng = np.random.default_rng([repetition, seed, label])
            G = rng.standard_normal((n, p)) @ root.T
            non_null = np.zeros(p, bool)
            non_null[rng.permutation(p)[: round(SHARE * p)]] = True
            b = np.where(non_null, rng.choice([-1.0, 1.0], p), 0.0) * AMPLITUDE * np.sqrt(unique / n)
            y = G @ b + rng.standard_normal(n)
            for way, sampler in samplers.items():
                draw_rng = np.random.default_rng([repetition, 1])
                W = knockoff_statistics(G, y, sampler=sampler, draws=1, rng=draw_rng)[0, 0]
                for precision in GAUSSIAN_LEVELS:
                    mask = select(W, 1 - precision)
                    false = float((mask & ~non_null).sum() / max(mask.sum(), 1))
                    outcomes.setdefault(f"{words} {way} {precision}", []).append((false, float(mask[non_null].mean())))
        for key, repeated in outcomes.items():
            false, power = np.mean(repeated, axis=0)
            results[key] = {"fdr": round(float(false), 4), "power": round(float(power), 4)}
    return results


def run(scale: Scale) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for task, seed in pairs(scale, *PRECISIONS):
        for kind in KINDS:
            for label in (0, 1):
                for paper, _ in TASKS[task].layers:
                    for name, measure in (("swept", swept), ("gaussian", gaussian)):
                        key = f"{name} {task} {seed} {kind} {paper} {label}"
                        cells[key] = lambda f=measure, t=task, s=seed, k=kind, y=paper, c=label: f(t, s, k, y, c, scale)
    return Results("precisions", scale).fill(cells)


if __name__ == "__main__":
    main(__file__, run)
