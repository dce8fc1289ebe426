"""What a precision is worth on the layers of a recording: measured, printed and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

import neucept
from neucept.calibration import exchangeability
from neucept.cli.printing import print_calibrations
from neucept.cli.terminal import console, write_tables
from neucept.knockoffs import prepare
from neucept.reports.calibration import calibration_page

MOST_COMPARED = 3000  # inputs on which neurons are compared with their knockoffs


def calibrate_layers(
    recording: neucept.Recording, layers: Sequence[str], target: int | str, precision: float, page: Path, seed: int
) -> list[Path]:
    """Calibrate each layer, compare its neurons with their knockoffs, and give the files written."""
    calibrations = {layer: neucept.calibrate(recording, layer, precision=precision, target=target) for layer in layers}
    widths = {layer: recording.activations(layer).shape[1] for layer in calibrations}
    print_calibrations(calibrations, widths, precision)
    rows = np.random.default_rng(seed).permutation(recording.samples(target))[:MOST_COMPARED]
    for layer in calibrations:
        auc, p_value = exchangeability(prepare(recording.activations(layer)[rows]).Z)
        console.print(
            f"{layer}: a classifier tells neurons from Gaussian knockoffs with an AUC of {auc:.2f} (0.5: it cannot;"
            f" p = {p_value:.2g}).",
            markup=False,
        )
    tables = [
        calibration.table(precision).assign(layer=layer, asked=precision) for layer, calibration in calibrations.items()
    ]
    table = pd.concat(tables, ignore_index=True)
    first = ["layer", "asked"]
    table = table[[*first, *(column for column in table if column not in first)]]
    calibration_page(calibrations, widths, precision, recording.target_name(target), page)
    return [page, *write_tables(page, calibration=table)]
