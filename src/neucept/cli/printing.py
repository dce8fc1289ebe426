"""What is printed in the terminal, and the tables written beside a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich.markup import escape
from rich.table import Table

import neucept
from neucept.analysis.accuracy import accuracy_with_interval
from neucept.cli.terminal import console
from neucept.mechanisms import ErrorDetection
from neucept.reports.calibration import units
from neucept.reports.phrases import between, confidence_findings, family_name, percent, verdict_words


def print_layers(table: pd.DataFrame) -> None:
    """Print the modules of a model."""
    grid = Table("layer", "type", "calls", "shape", "neurons")
    for row in table.to_dict("records"):
        shape = " x ".join(map(str, row["shape"]))
        grid.add_row(escape(row["layer"]), row["type"], str(row["calls"]), shape, str(row["neurons"]))
    console.print(grid)
    console.print("Shapes are those of one input. A layer with several calls is recorded as NAME#0, NAME#1, ...")


def print_calibrations(
    calibrations: Mapping[str, neucept.Calibration], widths: Mapping[str, int], precision: float
) -> None:
    """Print the realised precision and the power for each layer and family of simulated responses."""
    for layer, calibration in calibrations.items():
        title = escape(f"{layer}: {units(calibration, widths[layer])}; asked: {precision:g}")
        grid = Table("planted responses", *_HEADINGS, "unseen", title=title, title_justify="left")
        for row in calibration.table(precision).to_dict("records"):
            everything = row["family"] == "all"
            if everything:
                grid.add_section()
            cells = [family_name(row["family"]), *_calibrated(row), f"{row['unseen']:.3f}"]
            grid.add_row(*cells, style="bold" if everything else None)
        console.print(grid)
    console.print(
        "precision and power: realised on responses with known critical neurons, planted on the layer, by a model that "
        "had not seen the response; unseen: nor any of its kind; eq. (9): the knockoffs' own threshold. Pure noise has "
        "nothing to find: its precision is the share of responses for which nothing is selected."
    )


_HEADINGS = ("precision", "95% interval", "power", "eq. (9)")


def _calibrated(row: Mapping[Any, Any]) -> list[str]:
    power = "–" if pd.isna(row["power"]) else f"{row['power']:.2f}"
    return [f"{row['precision']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}", power, f"{row['uncalibrated']:.3f}"]


def print_accuracy(recording: neucept.Recording) -> None:
    """Print the share of all inputs that are classified right, where the labels say it."""
    if (known := accuracy_with_interval(recording)) is not None:
        console.print(f"Accuracy: {between(*known)} of {len(recording):,} inputs.", highlight=False)


def print_audit(audit: neucept.Audit) -> None:
    """Print the accuracy, where the network is confidently wrong, and the mechanisms most worth looking at."""
    print_accuracy(audit.recording)
    table = audit.table
    if len(table):
        print_findings(table)
    judged = len(table) and table["precision"].notna().any()
    columns = ["class", "", "inputs", *(["precision", "confidence says", "verdict"] if judged else [])]
    grid = Table(*columns, "found again", title="Mechanisms most worth looking at", title_justify="left")
    for row in table.head(_ROWS).to_dict("records"):
        cells = [escape(str(row["class"])), str(row["mechanism"]), f"{row['inputs']:,}"]
        if judged:
            cells += ["–" if pd.isna(row["precision"]) else between(row["precision"], row["low"], row["high"])]
            words = verdict_words(row["verdict"], row["confidence_verdict"])
            cells += ["–" if pd.isna(row["expected"]) else percent(row["expected"]), words]
        grid.add_row(*cells, str(row["found_again"]) or "–")
    if len(table):
        console.print(grid)
    if len(table) > _ROWS:
        console.print(f"The first {_ROWS} of {len(table)}; all are in mechanisms.csv.")
    for name, reason in audit.errors.itertuples(index=False):
        console.print(f"'{name}' was not audited: {reason}", markup=False, highlight=False)
    if len(audit.confusions):
        often = [f"{n} '{a}' as '{b}'" for a, b, n, _ in audit.confusions.head(3).itertuples(index=False)]
        console.print(f"Most frequent mistakes: {', '.join(often)}.", markup=False, highlight=False)


_ROWS = 15  # of the mechanisms of an audit


def print_findings(table: pd.DataFrame) -> None:
    """Print where a network is confidently wrong or unsure, the alarms in red."""
    for said in confidence_findings(table):
        style = "red" if said.endswith("(overconfident).") else None
        console.print(said, style=style, markup=False, highlight=False)


def print_results(
    critical: neucept.CriticalNeurons, mechanisms: neucept.Mechanisms, errors: ErrorDetection | None = None
) -> None:
    """Print where the network is confidently wrong, the selection, its guarantee, and the mechanisms."""
    judged = mechanisms.reliability
    known = pd.DataFrame({"mechanism": range(len(mechanisms))}) if judged is None else judged
    if errors is not None:
        auc = errors.auc
        known = known.assign(auc_confidence=auc["confidence"], auc_mechanisms=auc["confidence and mechanism"])
    print_findings(known.assign(**{"class": critical.target_name}))
    columns = ["layer", "neurons", "groups", "critical", "one neuron of each"]
    selected = Table(*columns, title=escape(f"Neurons that decide '{critical.target_name}'"), title_justify="left")
    for layer, selection in critical.items():
        first = ", ".join(str(neuron) for neuron in selection.neurons[:8]) or "none"
        more = ", ..." if len(selection.neurons) > 8 else ""
        groups = len(selection.representatives)
        constant = int((selection.groups < 0).sum())
        neurons = f"{len(selection.groups)}" + (f" ({constant} constant)" if constant else "")
        sizes = [neurons, str(groups), str(len(selection.neurons))]
        selected.add_row(escape(layer), *sizes, first + more)
    console.print(selected)
    if any(len(s.representatives) < (s.groups >= 0).sum() for s in critical.values()):
        console.print("Neurons that cannot be told apart form a group; 'critical' counts groups and names one of each.")
    _print_guarantee(critical)
    columns = ["mechanism", "share"]
    columns += ["precision (95%)", "own confidence", "confidence says", "verdict"] if judged is not None else []
    ways = Table(*columns, title="Mechanisms", title_justify="left", pad_edge=False)
    ways.columns[-1].min_width = len("overconfident") if judged is not None else None  # it is never cut
    for number, share in enumerate(mechanisms.shares):
        cells = []
        if judged is not None:
            row: dict[Any, Any] = judged.set_index("mechanism").loc[number].to_dict()
            says = f"{row['expected']:.0%}" if pd.notna(row["expected"]) else "–"
            own = between(row["precision"], row["low"], row["high"]) if row["judged"] else "–"
            itself = f"{row['confidence']:.0%}" if pd.notna(row.get("confidence")) else "–"
            cells = [own, itself, says, verdict_words(row["verdict"], row["confidence_verdict"])]
        ways.add_row(str(number), f"{share:.1%}", *cells)
    console.print(ways)
    if judged is None:
        console.print("Precision is not known: the labels of the data are not the classes of the model.")
    else:
        console.print(
            "precision: share of a mechanism's inputs whose label is the class, on inputs it was not found on;"
            " own confidence: the mean probability that the network gives the class there; confidence says: what these"
            " probabilities predict, calibrated within the class."
        )


def _print_guarantee(critical: neucept.CriticalNeurons) -> None:
    calibrated = {layer: s for layer, s in critical.items() if s.calibration is not None}
    if not calibrated:
        console.print(str(next(iter(critical.values())).guarantee), markup=False, highlight=False)
        return
    grid = Table("layer", "asked", *_HEADINGS, title="Precision checked on the layers themselves", title_justify="left")
    for layer, selection in calibrated.items():
        assert selection.calibration is not None
        table = selection.calibration.table(selection.precision).set_index("family")
        grid.add_row(escape(layer), f"{selection.precision:g}", *_calibrated(table.loc["all"].to_dict()))
    console.print(grid)
    console.print(
        "precision and power: realised on planted responses with known critical neurons; eq. (9): the knockoffs' "
        "own threshold. 'neucept calibrate' shows them by kind."
    )
