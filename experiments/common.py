"""What the experiments share: a scale, results that survive an interruption, intervals, and the command line.

Each experiment is in three parts, named after it:

- ``<name>.py`` measures: ``run(scale) -> dict``, each cell kept in ``results/<name>.json`` as soon as it is there;
- ``draw/<name>.py`` draws: ``draw(results, path, scale)``, where there is a figure;
- ``tell/<name>.py`` and ``tell/<name>.md`` tell: ``claims(results) -> list[Claim]`` and ``tell(results) -> str``.

What the last two both need of the results is in ``read/<name>.py``. ``python experiments/<name>.py`` runs one
experiment, ``python experiments/everything.py`` all, and writes docs/results.md.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

HERE = Path(__file__).parent
PROJECT = HERE.parent
SHARED = PROJECT.parent / "shared"


@dataclass(frozen=True)
class Scale:
    """How large an experiment is.

    Attributes
    ----------
    name : str
        "full", or "reduced": minutes instead of hours, for a first look; its results are kept apart.
    shared : Path
        Folder of the data and of networks trained before.
    lenets, vggs : int
        Number of pairs of networks, one pair per seed.
    inputs : int
        Number of test inputs: the first ones of a fixed shuffle.
    """

    name: str
    shared: Path
    lenets: int
    vggs: int
    inputs: int

    @property
    def reduced(self) -> bool:
        """Whether this is the first look."""
        return self.name == "reduced"

    @property
    def results(self) -> Path:
        """Folder of the results."""
        return HERE / "results" / "reduced" if self.reduced else HERE / "results"

    @property
    def page(self) -> Path:
        """The results page."""
        return self.results / "results.md" if self.reduced else PROJECT / "docs" / "results.md"

    def figure(self, name: str) -> Path:
        """Return the path of an experiment's figure."""
        return (self.results if self.reduced else PROJECT / "docs" / "figures") / f"{name}.png"


def scale(reduced: bool, shared: Path = SHARED) -> Scale:
    return Scale("reduced", shared, 2, 1, 2000) if reduced else Scale("full", shared, 5, 2, 10_000)


class Results:
    """The cells of an experiment, in one JSON file; each is written as soon as it is measured.

    Parameters
    ----------
    name : str
        Of the file.
    scale : Scale
        Reduced results are kept in a folder of their own.
    """

    def __init__(self, name: str, scale: Scale) -> None:
        scale.results.mkdir(parents=True, exist_ok=True)
        self.path = scale.results / f"{name}.json"
        self.cells = self._kept()

    def fill(self, wanted: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
        """Measure the missing cells, in the order given; return all that are wanted."""
        missing = [key for key in wanted if key not in self.cells]
        for number, key in enumerate(missing, 1):
            started = time.perf_counter()
            value = wanted[key]()
            self.cells = self._kept() | {key: value}  # another process may have added some
            partial = self.path.with_suffix(f".{os.getpid()}")
            partial.write_text(json.dumps(self.cells, indent=1) + "\n")
            partial.replace(self.path)
            print(f"{self.path.stem} {number}/{len(missing)}: {key}, {time.perf_counter() - started:.1f} s", flush=True)
        return {key: self.cells[key] for key in wanted}

    def _kept(self) -> dict[str, Any]:
        return json.loads(self.path.read_text()) if self.path.exists() else {}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the half-width of its 95% interval (Student's t), which is NaN for one value."""
    x = np.asarray(values, float)
    if len(x) < 2:
        return float(x.mean()), float("nan")
    return float(x.mean()), float(stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))


def written(mean: float, half: float, digits: int = 2, sign: str = "") -> str:
    """Return "mean ± half-width", the mean alone without an interval, a dash without a mean."""
    if np.isnan(mean):
        return "–"
    return f"{mean:{sign}.{digits}f}" if np.isnan(half) else f"{mean:{sign}.{digits}f} ± {half:.{digits}f}"


def plus_minus(values: Sequence[float], digits: int = 2, sign: str = "") -> str:
    """Return "mean ± half-width"; of two values, whose interval says nothing, "mean (lower to higher)"."""
    if len(values) == 2:
        return f"{np.mean(values):{sign}.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
    return written(*interval(values), digits, sign) if len(values) else "–"


def signed(values: Sequence[float], digits: int = 2) -> str:
    """Return a difference as `plus_minus` writes it, with its sign."""
    return plus_minus(values, digits, "+")


def above_zero(values: Sequence[float]) -> bool:
    """Whether the 95% interval lies above zero; of one value or two, whether all do."""
    mean, half = interval(values)
    return bool(mean > half) if len(values) > 2 else min(values) > 0


def clearly_above_zero(values: Sequence[float]) -> bool:
    """Whether the 95% interval, which takes three values, lies above zero."""
    return len(values) > 2 and above_zero(values)


def draw(name: str, results: dict[str, Any], scale: Scale) -> None:
    """Draw the figure of an experiment that has one."""
    if (HERE / "draw" / f"{name}.py").exists():
        path = scale.figure(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        importlib.import_module(f"draw.{name}").draw(results, path, scale)


def main(file: str, run: Callable[[Scale], dict[str, Any]]) -> None:
    """Run one experiment from the command line: measure, draw, tell."""
    name = Path(file).stem
    parser = argparse.ArgumentParser(prog=f"python experiments/{name}.py")
    parser.add_argument("--reduced", action="store_true", help="minutes instead of hours; results kept apart")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of the data")
    options = parser.parse_args()
    chosen = scale(options.reduced, options.shared)
    results = run(chosen)
    draw(name, results, chosen)
    print(importlib.import_module(f"tell.{name}").tell(results))
