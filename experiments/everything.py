"""Run every experiment and write the results page.

    python experiments/everything.py --reduced     first look: all in less than 15 minutes on 2 cores; a page of its own
    python experiments/everything.py               in full: hours; goes on where it stopped; docs/results.md
    python experiments/everything.py --page        only the page, from results that are there

Two processes run side by side. An experiment that fails is named at the end; the others go on.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import HERE, PROJECT, Scale, figure_path, scale

# In the order of the page.
NEUCEPT = ("networks", "clusters", "ablation", "input_layer", "running_time", "precisions", "two_networks", "probes")
NEUCEPT += ("explainability", "non_redundancy", "photographs", "chest_xrays", "objectives", "several_responses")
PATHWAYS = ("pathway_overlap", "pathway_sanity", "pathway_degradation", "roar", "pathway_decoding")
LONGEST = ("clusters", "ablation", "running_time", "roar")  # begun first, so that neither process waits for the other
HEAD = """# Results

The tables and figures of the two papers, measured again with this library's public calls. Each section says what the
paper claims, what was measured, and whether it holds; the table below says it in a line. Intervals are 95%, over
networks trained from different seeds or, for pathways, over images; of two values their range stands in brackets.
Figures 1, 3, 4 and 6 of the NeuCEPT paper are drawings of the method. Figures 5, 11 and 12 are measured on other
networks than the paper's, which the sections say.
`python experiments/<name>.py` measures one of them, `python experiments/everything.py` all, and writes this page from
the JSON files in `experiments/results`.
"""


def start(name: str, chosen: Scale, beside: int = 1) -> tuple[str, int, float]:
    """Run an experiment in a process of its own, which shares the cores; give its exit status and seconds."""
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
    seconds = time.perf_counter() - began
    print(f"{name}: {'done' if status == 0 else f'failed, see {log}'}, {seconds:.0f} s", flush=True)
    return name, status, seconds


def page(chosen: Scale) -> Path:
    """Write the page from the results that are there."""
    path = HERE / "results" / "reduced" / "results.md" if chosen.reduced else PROJECT / "docs" / "results.md"
    parts = [HEAD, summary(chosen)]
    for heading, names in (("NeuCEPT", NEUCEPT), ("Critical Pathways", PATHWAYS)):
        sections = [section(name, chosen, path) for name in names]
        if any(sections):
            parts += [f"# {heading}\n", *filter(None, sections)]
    path.write_text("\n".join(parts))
    return path


def summary(chosen: Scale) -> str:
    """Write the table at the head of the page: a row a claim."""
    lines = ["| | the paper | measured | holds |", "|---|---|---|---|"]
    for name in NEUCEPT + PATHWAYS:
        module = importlib.import_module(name)
        anchor = "".join(c for c in module.TITLE.lower().replace(" ", "-") if c.isalnum() or c in "-_")
        results = results_path(name, chosen)
        try:
            verdicts = module.verdicts(json.loads(results.read_text())) if results.exists() else []
        except (IndexError, KeyError, ValueError):
            verdicts = []
        lines += [f"| [{v.what}](#{anchor}) | {v.claim} | {v.measured} | {v.holds} |" for v in verdicts]
    return "\n".join([*lines, ""])


def results_path(name: str, chosen: Scale) -> Path:
    return (HERE / "results" / "reduced" if chosen.reduced else HERE / "results") / f"{name}.json"


def section(name: str, chosen: Scale, page_path: Path) -> str:
    results = results_path(name, chosen)
    if not results.exists():
        return ""
    module = importlib.import_module(name)
    try:
        measured = module.finding(json.loads(results.read_text()))
    except (IndexError, KeyError, ValueError) as error:  # half of a pair of networks, say
        measured = f"not complete yet ({type(error).__name__}); started again, it goes on where it stopped."
    measured = measured.strip("\n")
    space = "\n\n" if measured.startswith("|") else " "  # a table begins a line
    lines = [f"## {module.TITLE}\n", f"**The paper:** {module.CLAIM}\n", f"**Measured:**{space}{measured}\n"]
    figure = figure_path(name, chosen)
    if figure.exists():
        lines.append(f"![{module.TITLE}]({figure.relative_to(page_path.parent)})\n")
    lines.append(f"`python experiments/{name}.py`\n")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reduced", action="store_true")
    parser.add_argument("--page", action="store_true", help="only write the page")
    parser.add_argument("--shared", type=Path, default=PROJECT.parent / "shared", help="where the data lies")
    options = parser.parse_args()
    chosen = scale(options.reduced, options.shared)
    failed = []
    if not options.page:
        first, *others = NEUCEPT + PATHWAYS
        others.sort(key=lambda name: name not in LONGEST)
        outcomes = [start(first, chosen)]  # the networks, which the others need
        with ThreadPoolExecutor(2) as pool:
            outcomes += pool.map(lambda name: start(name, chosen, beside=2), others)
        failed = [name for name, status, _ in outcomes if status]
    print(f"The page: {page(chosen)}")
    if failed:
        sys.exit(f"These failed: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
