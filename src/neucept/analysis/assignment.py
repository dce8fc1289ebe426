"""Inputs one by one: which mechanism each belongs to, how reliable that is, and what should be looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit
from torch import nn

from neucept.errors import InputError
from neucept.mechanisms import Mechanisms
from neucept.mechanisms.confidence import log_odds
from neucept.novelty import Novelty
from neucept.recording import Recording, record
from neucept.recording.outputs import Output
from neucept.recording.units import readable

COLUMNS = (
    "input",
    "row",
    "label",
    "predicted",
    "prediction",
    "confidence",
    "mechanism",
    "precision",
    "low",
    "high",
    "verdict",
    "typicality",
    "ambiguity",
    "p_unlike",
    "flags",
)
UNLIKE = 0.05  # level of the flag: the share of inputs like those recorded that get it all the same
_ATYPICAL, _BORDERLINE = 0.01, 0.9
_PRECISION = ("precision", "low", "high")


class Members(NamedTuple):
    """Inputs that are predicted as one target, and what is known of each.

    Attributes
    ----------
    mechanisms : Mechanisms
        Of the target.
    rows : array
        (m,) rows of the recording.
    labels, typicality, ambiguity : array
        (m,) see `neucept.Mechanisms`.
    """

    mechanisms: Mechanisms
    rows: np.ndarray
    labels: np.ndarray
    typicality: np.ndarray
    ambiguity: np.ndarray


def recorded_members(mechanisms: Mechanisms) -> Members:
    """Give the inputs that mechanisms were learnt on."""
    return Members(mechanisms, mechanisms.samples, mechanisms.labels, mechanisms.typicality, mechanisms.ambiguity)


def record_again(
    recording: Recording, data: Any, model: nn.Module | None, output: Output = None, **options: Any
) -> Recording:
    """Record new inputs as those of a recording were: the same layers, neurons, outputs and task.

    ``options`` are further arguments of `neucept.record`, such as ``batch_size`` and ``device``.

    Raises
    ------
    InputError
        Without a model, for layers read by a function that was not saved, and for what `neucept.record` refuses.
    """
    if isinstance(data, Recording):
        for layer in recording.layers:
            data.activations(layer)
        if len(data.class_names) != len(recording.class_names):
            raise InputError(
                f"The recording of the new inputs has {len(data.class_names)} outputs, that of the run"
                f" {len(recording.class_names)}; record them with the same network."
            )
        return data
    if model is None:
        raise InputError("New inputs need the model: assign(data, model).")
    if lost := [layer for layer, units in recording.units.items() if not readable(units)]:
        raise InputError(
            f"The neurons of layer '{lost[0]}' were recorded by a function, which is not saved; record the inputs"
            " with it and give the Recording."
        )
    how: dict[str, Any] = {"neurons": dict(recording.units), "output": recording.way(output), "task": recording.task}
    return record(model, data, list(recording.layers), class_names=recording.class_names, **how, **options)


def assign(
    new: Recording, mechanisms: Iterable[Mechanisms], novelty: Novelty, judged: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Assign new inputs to the mechanisms of what each is predicted as; a row per input, see `neucept.Audit.assign`."""
    members = []
    for some in mechanisms:
        assert some.target is not None  # of a prediction
        rows = np.flatnonzero(new.predicted(some.target))
        if len(rows):
            members.append(Members(some, rows, *some.place_inputs(new, rows)))
    return table_of(new, members, novelty.p_values(new), judged)


def table_of(
    recording: Recording,
    members: Sequence[Members],
    p_unlike: np.ndarray | None = None,
    judged: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Join what is known of single inputs to one table.

    Parameters
    ----------
    recording : Recording
        Of n inputs.
    members : sequence of Members
        By target.
    p_unlike : array, optional
        (n,) see `neucept.Novelty.p_values`. An input that is unlike all that were recorded gets no precision: what
        was measured on others does not hold for it.
    judged : DataFrame, optional
        A row per mechanism with ``class``, ``mechanism`` and ``confidence_verdict``, where verdicts were corrected
        over all classes; by default those of each `Mechanisms`.

    Returns
    -------
    DataFrame
        One row per input, with ``COLUMNS``, in the order of the recording. Where inputs have several targets (several
        labels), one row for each that is predicted.
    """
    parts = [_part(recording, one, judged) for one in members]
    seen = np.zeros(len(recording), bool)
    for one in members:
        seen[one.rows] = True
    rest = np.flatnonzero(~seen)
    parts.append(pd.DataFrame({"row": rest, "mechanism": -1, "verdict": ""}))
    table = pd.concat([part for part in parts if len(part)] or parts[-1:], ignore_index=True)
    table = table.sort_values("row", kind="stable").reset_index(drop=True)
    rows = table["row"].to_numpy(int)
    table["input"] = [recording.name(row) for row in rows.tolist()]
    table["prediction"] = np.array(recording.task.describe(recording.logits, recording.class_names), object)[rows]
    if recording.single_label:
        table["predicted"] = recording.predictions[rows]
        table["confidence"] = recording.confidence(rows)
    table["label"] = recording.label_names(rows)
    table["p_unlike"] = np.nan if p_unlike is None else p_unlike[rows]
    for column in COLUMNS:
        if column not in table:
            table[column] = np.nan
    unlike = table["p_unlike"].to_numpy(float) <= UNLIKE
    table.loc[unlike, list(_PRECISION)] = np.nan
    table["flags"] = _flags(recording, table, unlike)
    return table[list(COLUMNS)]


def _part(recording: Recording, members: Members, judged: pd.DataFrame | None) -> pd.DataFrame:
    """Describe the inputs of one target."""
    mechanisms = members.mechanisms
    part = pd.DataFrame(
        {
            "row": members.rows,
            "predicted": mechanisms.target,
            "mechanism": members.labels,
            "typicality": members.typicality,
            "ambiguity": members.ambiguity,
        }
    )
    odds = log_odds(recording, mechanisms.target, members.rows)
    part["confidence"] = np.nan if odds is None else expit(odds)
    known = mechanisms.reliability
    if known is not None:
        known = known.set_index("mechanism")
        found = known.reindex(members.labels)
        for name in _PRECISION:
            part[name] = found[name].to_numpy(float)
        verdicts = known.get("confidence_verdict")
        if judged is not None:
            own = judged[judged["class"] == mechanisms.target_name].set_index("mechanism")
            verdicts = own["confidence_verdict"]
        part["verdict"] = "" if verdicts is None else verdicts.reindex(members.labels).fillna("").to_numpy(object)
    else:
        part["verdict"] = ""
    return part


def _flags(recording: Recording, table: pd.DataFrame, unlike: np.ndarray) -> list[str]:
    """Name what should be looked at, the most important first, with semicolons between."""
    rows = table["row"].to_numpy(int)
    wrong = np.zeros(len(table), bool)
    if recording.single_label and recording.labels is not None and recording.labels.ndim == 1:
        wrong = recording.predictions[rows] != recording.labels[rows]
    verdict = table["verdict"].to_numpy(object)
    reasons = {
        "unlike": unlike,
        "misclassified": wrong,
        "overconfident mechanism": verdict == "overconfident",
        "unsure mechanism": verdict == "unsure",
        "atypical": table["typicality"].to_numpy(float) < _ATYPICAL,
        "borderline": table["ambiguity"].to_numpy(float) > _BORDERLINE,
        "class without mechanisms": table["typicality"].isna().to_numpy(),
    }
    masks = list(reasons.values())
    return ["; ".join(name for name, on in zip(reasons, row, strict=True) if on) for row in zip(*masks, strict=True)]
