"""What the experiments share: a scale, results that survive an interruption, intervals, and pictures.

Each experiment is a file with

- ``TITLE`` and ``CLAIM``, what the paper says;
- ``run(scale) -> dict``: measures what is missing, each cell kept as soon as it is there;
- ``draw(found, path)``: the figure;
- ``finding(found) -> str``: Markdown, what was measured and whether the claim holds;
- ``verdicts(found) -> list[Verdict]``: the same in a line a figure or table, for the head of the results page.

``python experiments/<name>.py`` runs one; ``python experiments/everything.py`` runs all and writes docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from scipy import stats

HERE = Path(__file__).parent
PROJECT = HERE.parent


@dataclass(frozen=True)
class Scale:
    """How large an experiment is.

    Attributes
    ----------
    name : str
        "full", or "reduced": minutes instead of hours, for a first look; its results are kept apart.
    shared : Path
        Where the data lies.
    lenets, vggs : int
        Pairs of networks, one a seed.
    inputs : int
        Of the test set, a random sample (the first ones of a fixed shuffle).
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


def scale(reduced: bool, shared: Path = PROJECT.parent / "shared") -> Scale:
    return Scale("reduced", shared, 2, 1, 2000) if reduced else Scale("full", shared, 5, 2, 10_000)


@dataclass(frozen=True)
class Verdict:
    """Whether one claim holds, in a line of the table at the head of the results page.

    Attributes
    ----------
    what : str
        Which figure, table or section, such as "Figure 7".
    claim : str
        What the paper says of it, in a dozen words.
    measured : str
        The figure that decides, with its interval and the number of networks or images.
    holds : str
        "yes", "partly", "no", or "not in the paper" where it claims nothing.
    """

    what: str
    claim: str
    measured: str
    holds: str


class Results:
    """The cells of an experiment, in one JSON file; each is written as soon as it is measured.

    Parameters
    ----------
    name : str
        Of the file.
    scale : Scale
        Reduced results lie in a folder of their own.
    """

    def __init__(self, name: str, scale: Scale) -> None:
        folder = HERE / "results" / "reduced" if scale.reduced else HERE / "results"
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{name}.json"
        self.cells = self._kept()

    def fill(self, wanted: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
        """Measure the cells that are missing, in the order given; give all that were wanted."""
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
    """Mean and half-width of its 95% interval (Student's t); the half-width of one value is not a number."""
    x = np.asarray(values, float)
    if len(x) < 2:
        return float(x.mean()), float("nan")
    return float(x.mean()), float(stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))


def shown(values: Sequence[float], digits: int = 2) -> str:
    """Write mean ± half-width; of two values, whose interval says nothing, mean (lower to higher)."""
    mean, half = interval(values)
    if len(values) == 2:
        return f"{mean:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
    return f"{mean:.{digits}f}" if np.isnan(half) else f"{mean:.{digits}f} ± {half:.{digits}f}"


def figure_path(module: ModuleType | str, scale: Scale) -> Path:
    name = module if isinstance(module, str) else module.__name__.rpartition(".")[2]
    folder = HERE / "results" / "reduced" if scale.reduced else PROJECT / "docs" / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.png"


def main(module: ModuleType) -> None:
    """Run one experiment from the command line."""
    parser = argparse.ArgumentParser(description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reduced", action="store_true", help="minutes instead of hours; results kept apart")
    parser.add_argument("--shared", type=Path, default=PROJECT.parent / "shared", help="where the data lies")
    options = parser.parse_args()
    chosen = scale(options.reduced, options.shared)
    found = module.run(chosen)
    module.draw(found, figure_path(Path(module.__file__ or "").stem, chosen))
    print(module.finding(found))
