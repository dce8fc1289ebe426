"""What a selection holds, in numbers and plain words: single neurons, or groups of neurons that move together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from neucept.calibration.simulation import NONE
from neucept.discovery import Selection

LEVELS = (0.6, 0.7, 0.8, 0.9, 0.95)  # of precision, to look at beside the one asked
_FAMILIES = {NONE: "pure noise", "all": "all together"}


def is_grouped(selection: Selection) -> bool:
    """Say whether some neurons share a group: precision is then over groups."""
    return int((selection.groups >= 0).sum()) > len(selection.representatives)


def members(selection: Selection, neuron: int) -> list[int]:
    """Neurons of the group of one, itself first; it alone where it is dead."""
    group = selection.groups[neuron]
    same = np.flatnonzero(selection.groups == group) if group >= 0 else np.array([neuron])
    return [int(neuron), *(other for other in same.tolist() if other != neuron)]


def covered(selection: Selection) -> int:
    """Count the neurons of all selected groups."""
    return int(np.isin(selection.groups, selection.groups[selection.neurons]).sum())


def group_label(neurons: Sequence[int], most: int = 4) -> str:
    """Name a neuron, or the members of its group, briefly.

    >>> group_label([7]), group_label([7, 21]), group_label([7, 3, 4, 9, 11, 12])
    ('neuron 7', 'neurons 7, 21', 'neurons 7, 3, 4, 9 and 2 more')
    """
    listed = ", ".join(map(str, neurons[:most]))
    more = f" and {len(neurons) - most} more" if len(neurons) > most else ""
    return f"neuron{'s' if len(neurons) > 1 else ''} {listed}{more}"


def group_importance(selection: Selection, representatives: np.ndarray) -> np.ndarray:
    """Give the importance of some neurons' groups: root of the summed squares of its members, zeros where not known."""
    if selection.importance is None:
        return np.zeros(len(representatives))
    alive = selection.groups >= 0
    squares = np.bincount(selection.groups[alive], selection.importance[alive] ** 2)
    return np.asarray(np.sqrt(squares[selection.groups[representatives]]))


def counted(selection: Selection) -> str:
    """Say how many of how many neurons or groups are selected."""
    chosen = len(selection.neurons)
    if not is_grouped(selection):
        return f"{chosen or 'none'} of the {len(selection.groups)} neurons"
    held = f" ({covered(selection)} of {len(selection.groups)} neurons)" if chosen else ""
    return f"{chosen or 'none'} of the {len(selection.representatives)} groups of neurons{held}"


def grouping(selection: Selection) -> str | None:
    """Explain groups in a sentence; None where each neuron stands for itself."""
    if not is_grouped(selection):
        return None
    groups, alive = len(selection.representatives), int((selection.groups >= 0).sum())
    if selection.calibration is not None and np.isnan(selection.calibration.cut):
        return f"Precision is over the groups that were given: {groups} groups of {alive} neurons."
    copies = 0 if selection.calibration is None else alive - len(selection.calibration.groups)
    near = f", {copies} of which are near copies of others" if copies else ""
    return (
        f"Neurons that move together cannot be told apart and count as one: {groups} groups of {alive} neurons{near}."
        " A critical group holds at least one critical neuron; which of its members it is stays open."
    )


def why_none(selection: Selection) -> str:
    """Say what an empty selection means, and what would be needed for another."""
    reason = selection.why_empty
    if selection.calibration is None:
        reason += " A lower precision or more inputs may select some."
    else:
        for precision in (level for level in LEVELS[::-1] if level < selection.precision):
            if chosen := len(selection.at(precision).neurons):
                reason += f" A precision of {precision:g}, had it been asked for, would select {chosen}."
                break
    return f"That is an answer, not an error. {reason} The ranking holds all the same."


def family_name(family: str) -> str:
    """Name a kind of planted responses as a person does.

    >>> family_name("none"), family_name("trees")
    ('pure noise', 'trees')
    """
    return _FAMILIES.get(family, family)


def promise_clause(selections: Mapping[str, Selection]) -> str:
    """Say in one honest sentence or two what the precision of some layers rests on."""
    checked = [s for s in selections.values() if s.calibration is not None]
    others = [s for s in selections.values() if s.calibration is None]
    parts = []
    if checked:
        where = _where(checked, len(selections))
        tables = [s.calibration.table(s.precision).set_index("family") for s in checked if s.calibration is not None]
        realised = listed([f"{table['precision'].tolist()[-1]:.2f}" for table in tables])
        kinds = pd.concat([table.drop(index="all")["precision"] for table in tables])
        lowest, worst = min(zip(kinds.tolist(), map(str, kinds.index.tolist()), strict=True))
        verb = "was" if len(checked) == 1 else "were"
        parts.append(
            f"On responses planted on {where}, {realised} {verb} realised on average and {lowest:.2f} on the worst"
            f" kind ({family_name(worst)}): evidence, not a proof."
        )
    if others:
        for short in dict.fromkeys(s.guarantee.short for s in others):
            where = _where([s for s in others if s.guarantee.short == short], len(selections))
            parts.append(f"On {where}: {short[0].lower()}{short[1:]}")
    return " ".join(parts)


def _where(some: Sequence[Selection], total: int) -> str:
    if len(some) == total:
        return "this layer" if total == 1 else "these layers"
    return listed([selection.layer for selection in some])


def listed(parts: Sequence[str]) -> str:
    """Join words as a person lists them.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
