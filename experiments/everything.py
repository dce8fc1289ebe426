"""Run every experiment and write the results page.

    python experiments/everything.py --reduced     first look: all in less than 15 minutes on 2 cores; a page of its own
    python experiments/everything.py               in full: hours; goes on where it stopped; docs/results.md
    python experiments/everything.py --page        only the page, from results that are there

Two processes run side by side. An experiment that fails is named at the end; the others go on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import HERE, SHARED, Scale, scale
from page import NEUCEPT, PATHWAYS, write

LONGEST = ("clusters", "ablation", "running_time", "roar")  # begun first, so that neither process waits for the other


def start(name: str, chosen: Scale, beside: int = 1) -> tuple[str, int]:
    """Run an experiment in a process of its own, ``beside`` of which share the cores; return its exit status."""
    began = time.perf_counter()
    command = [sys.executable, str(HERE / f"{name}.py"), "--shared", str(chosen.shared)]
    log = HERE / "results" / "reduced" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as out:
        status = subprocess.run(
            command + ["--reduced"] * chosen.reduced,
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
            env={"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // beside)), **os.environ},
        ).returncode
    outcome = "done" if status == 0 else f"failed, see {log}"
    print(f"{name}: {outcome}, {time.perf_counter() - began:.0f} s", flush=True)
    return name, status


def run_all(chosen: Scale) -> list[str]:
    """Run all experiments; return the names of those that failed."""
    first, *others = NEUCEPT + PATHWAYS
    others.sort(key=lambda name: name not in LONGEST)
    outcomes = [start(first, chosen)]  # the networks, which the others need
    with ThreadPoolExecutor(2) as pool:
        outcomes += pool.map(lambda name: start(name, chosen, beside=2), others)
    return [name for name, status in outcomes if status]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reduced", action="store_true")
    parser.add_argument("--page", action="store_true", help="only write the page")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of the data")
    options = parser.parse_args()
    chosen = scale(options.reduced, options.shared)
    failed = [] if options.page else run_all(chosen)
    print(f"The page: {write(chosen)}")
    if failed:
        sys.exit(f"These failed: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
