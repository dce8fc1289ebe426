"""How fast knockoff statistics are, compared with a loop over the published filter, on activations of networks.

The published way calls a filter for every draw and every response. Its time is the median of a few such calls, times
draws, times responses; ours is the median of whole runs, including the fit of the sampler and the moments of the data.
Peers, where installed: knockpy 1.3.5, ``KnockoffFilter(ksampler="gaussian", fstat="lasso")``, and hidimstat's
model-X knockoffs. The networks are those in ``../shared``; without them nothing is measured, and the output says so.

``python benchmarks/knockoff_speed.py`` prints tables and writes ``knockoff_speed.json`` and ``.md`` beside itself.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numba
import numpy as np
import torch

import neucept
from neucept.datasets import load_data
from neucept.errors import InputError
from neucept.knockoffs import Moments, knockoff_statistics, prepare
from neucept.models import load_model

SHARED = Path(__file__).parents[2] / "shared"
CASES = {
    "LeNet conv3, 2 responses": ("lenet", "pkt", "feature_extractor.7"),
    "LeNet conv3, 10 responses": ("lenet", "prior", "feature_extractor.7"),
    "VGG11 conv8, 2 responses": ("vgg11", "pkt", "features.28"),
}
BARS = {"LeNet conv3, 2 responses": 150, "LeNet conv3, 10 responses": 400, "VGG11 conv8, 2 responses": 150}
DRAWS = 50
COLOUR_MEAN, COLOUR_DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def knockpy_draw(Z: np.ndarray, y: np.ndarray) -> None:
    from knockpy import KnockoffFilter

    KnockoffFilter(ksampler="gaussian", fstat="lasso").forward(X=Z, y=y, fdr=0.1)


def hidimstat_draw(Z: np.ndarray, y: np.ndarray) -> None:
    from hidimstat import ModelXKnockoff

    ModelXKnockoff(random_state=0).fit_importance(Z, y)


PEERS = {"knockpy": knockpy_draw, "hidimstat": hidimstat_draw}
LIMIT = 60.0  # seconds that the first call of a peer may take


def limited(draw: Callable[[np.ndarray, np.ndarray], None], Z: np.ndarray, y: np.ndarray) -> float | None:
    """Return the seconds of a call in a process of its own, None where it does not end in time."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        try:
            return float(pool.apply_async(timed, (draw, Z, y)).get(LIMIT))
        except multiprocessing.TimeoutError:
            return None


def timed(draw: Callable[[np.ndarray, np.ndarray], None], Z: np.ndarray, y: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return seconds(lambda: draw(Z, y))


def measure(Z: np.ndarray, Y: np.ndarray, ours: int, theirs: int) -> dict[str, float | str]:
    """Time all draws and responses; calls of peers and of ours alternate, so that both meet the same load."""
    L = Y.shape[1]

    def all_draws() -> None:
        knockoff_statistics(Z, Y, draws=DRAWS, rng=np.random.default_rng(0))

    knockoff_statistics(Z, Y, draws=2, rng=np.random.default_rng(0))  # compiles
    times: dict[str, list[float]] = {"ours": [seconds(all_draws) for _ in range(ours)]}
    result: dict[str, float | str] = {}
    for name, draw in PEERS.items():
        if importlib.util.find_spec(name) is None:
            result[f"{name} skipped"] = "not installed"
            continue
        if limited(draw, Z, Y[:, 0]) is None:
            result[f"{name} skipped"] = f"over {LIMIT:.0f} s"
            continue
        for k in range(theirs):
            times.setdefault(name, []).append(timed(draw, Z, Y[:, k % L]))
            times["ours"].append(seconds(all_draws))
    result["ours, s"] = round(float(np.median(times["ours"])), 4)
    for name in PEERS:
        if name in times:
            one = float(np.median(times[name]))
            result[f"{name}, s per draw and response"] = round(one, 4)
            result[f"{name}, ratio"] = round(one * DRAWS * L / float(np.median(times["ours"])), 1)
        elif str(result[f"{name} skipped"]).startswith("over"):
            result[f"{name}, ratio"] = f"over {LIMIT * DRAWS * L / float(np.median(times['ours'])):.0f}"
    return result


def further_draw(n: int, p: int = 120) -> float:
    """Return the seconds of one more draw with n rows, from the difference between many draws and few."""
    rng = np.random.default_rng(0)
    loadings = rng.standard_normal((p, p)) / np.sqrt(p)

    def rows() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for first in range(0, n, 50_000):
            Z = rng.standard_normal((min(50_000, n - first), p)) @ (np.eye(p) + loadings)
            yield Z, Z[:, :20].sum(axis=1) * 0.2 + rng.standard_normal(len(Z))

    moments = Moments.stream(rows())

    def draws(count: int) -> float:
        return seconds(
            lambda: knockoff_statistics(moments, statistic="ridge", draws=count, rng=np.random.default_rng(1))
        )

    draws(2)
    return float(np.median([(draws(110) - draws(10)) / 100 for _ in range(7)]))


def activations(architecture: str, kind: str, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the standardised neurons of a layer, one per group of collinear ones, and logits, of the test set."""
    if architecture == "lenet":
        spec, data, options = "neucept.models:LeNet", "MNIST", {"size": 32}
    else:
        spec, data, options = "neucept.models:VGG11", "cifar10", {"mean": COLOUR_MEAN, "std": COLOUR_DEVIATION}
    weights = SHARED / "models" / f"{architecture}-{kind}-0.safetensors"
    model = load_model(spec, weights, n_classes=10 if kind == "prior" else 2)
    pictures = load_data(SHARED / "data" / data, split="test", progress=False, **options)
    recording = neucept.record(model, pictures, layers=[layer], progress=False)
    return prepare(recording.activations(layer)).Z, np.asarray(recording.logits, np.float64)


def markdown(facts: dict[str, object], results: dict[str, dict[str, float | str]], flat: dict[str, float]) -> str:
    lines = [
        f"# {DRAWS} draws of knockoffs and their lasso statistics: how many times faster than the published loop",
        "",
        f"{facts['threads']} threads; medians within one run. A peer's time is that of a call for one draw and one"
        " response, times draws, times responses.",
        "",
        "| activations | n x p | ours | knockpy, one call | times faster | required | hidimstat, one call"
        " | times faster |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case, r in results.items():
        cells = [case, r["n x p"], f"{r['ours, s']} s"]
        for name in PEERS:
            one = r.get(f"{name}, s per draw and response")
            cells += [f"{one} s" if one else r[f"{name} skipped"], f"**{r.get(f'{name}, ratio', '')}**"]
            cells += [str(BARS[case])] if name == "knockpy" else []
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    if flat:
        lines += ["", "A further draw (p = 120, ridge, from moments): "]
        lines[-1] += ", ".join(f"{seconds * 1e3:.2f} ms at n = {n}" for n, seconds in flat.items()) + "."
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-calls", type=int, default=5)
    parser.add_argument("--ours", type=int, default=5)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    options = parser.parse_args()
    numba.set_num_threads(min(options.threads, numba.config.NUMBA_NUM_THREADS))
    torch.set_num_threads(options.threads)
    results = {}
    for case, (architecture, kind, layer) in CASES.items():
        try:
            Z, Y = activations(architecture, kind, layer)
        except (InputError, FileNotFoundError) as error:
            print(f"{case}: skipped, its network or data are missing: {error}")
            continue
        results[case] = {"n x p": f"{len(Z)} x {Z.shape[1]}", **measure(Z, Y, options.ours, options.peer_calls)}
        print(case, results[case], flush=True)
    flat = {f"{n:,}": further_draw(n) for n in (10_000, 1_000_000)}
    facts: dict[str, object] = {"threads": options.threads, "draws": DRAWS, "numpy": np.__version__}
    text = markdown(facts, results, flat)
    print(text)
    if results:
        here = Path(__file__)
        here.with_suffix(".json").write_text(
            json.dumps({**facts, "cases": results, "further_draw_s": flat}, indent=1) + "\n"
        )
        here.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
