"""The noun: how new inputs differ from those recorded, by mechanisms, predictions, confidence and likeness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact, ks_2samp

from neucept.analysis.accuracy import accuracy_with_interval
from neucept.analysis.assignment import UNLIKE, record_again
from neucept.analysis.every_class import Audit
from neucept.errors import InputError
from neucept.mechanisms import wilson
from neucept.mechanisms.overconfidence import LEVEL, holm
from neucept.recording.outputs import Output

FEWEST = 5  # new inputs of a class, below which its mechanisms are not tested


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Drift:
    """How new inputs differ from those of an audit; made by `drift`.

    P-values of the tables are two-sided and corrected by Holm's method within their table.

    Attributes
    ----------
    mechanisms : DataFrame
        One row per mechanism of every audited class: ``class``, ``mechanism``, ``inputs_then``, ``inputs_now``,
        ``share_then`` and ``share_now`` (of the inputs predicted as the class), ``change``, ``precision`` with ``low``
        and ``high`` (then), ``confidence_verdict``, ``p_corrected`` (Fisher's exact test of the share) and ``verdict``:
        ``more``, ``fewer`` or empty.
    classes : DataFrame
        One row per class: ``inputs_then``, ``inputs_now``, ``share_then``, ``share_now`` (of all inputs), the
        ``p_corrected`` of that share (Fisher) and its ``verdict``; ``confidence_then`` and ``confidence_now`` (means),
        and the ``p_confidence`` of their distributions (Kolmogorov and Smirnov); ``precision_then``, and
        ``precision_expected``: what the precisions of the mechanisms give at their shares now. The last is a forecast
        from the mixture alone; it does not see mechanisms that have become less reliable themselves.
    assigned : DataFrame
        One row per new input, see `neucept.Audit.assign`.
    then, now : int
        Inputs recorded, and new ones.
    p_unlike : float
        Probability of as many unlike inputs, or more, if the new ones are drawn as those recorded were, see
        `neucept.Novelty.p_of_count`.
    accuracy_then, accuracy_now : (float, float, float) or None
        With Wilson's 95% interval; None without labels.
    """

    mechanisms: pd.DataFrame
    classes: pd.DataFrame
    assigned: pd.DataFrame
    then: int
    now: int
    p_unlike: float
    model_name: str = "network"
    accuracy_then: tuple[float, float, float] | None = None
    accuracy_now: tuple[float, float, float] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        moved = int((self.mechanisms["verdict"] != "").sum())
        share, low, high = self.unlike
        return (
            f"Drift({self.now} new inputs against {self.then}: {share:.1%} unlike ({low:.1%} to {high:.1%}),"
            f" {moved} of {len(self.mechanisms)} mechanisms changed their share)"
        )

    @cached_property
    def unlike(self) -> tuple[float, float, float]:
        """Share of the new inputs that are unlike all recorded, with Wilson's 95% interval; 5% is the false alarm."""
        flagged = int((self.assigned["p_unlike"] <= UNLIKE).sum())
        return (flagged / self.now, *wilson(flagged, self.now))

    @cached_property
    def findings(self) -> list[str]:
        """What has changed, in sentences, the most important first; one sentence where nothing has."""
        said = []
        share, low, high = self.unlike
        if self.p_unlike < LEVEL:
            said.append(
                f"{share:.1%} of the new inputs ({low * 100:.1f} to {high * 100:.1f}) are unlike all that were"
                f" recorded, where {UNLIKE:.0%} is to be expected: the precisions do not hold for them."
            )
        if self.accuracy_then is not None and self.accuracy_now is not None:
            (a, low_then, high_then), (b, low_now, high_now) = self.accuracy_then, self.accuracy_now
            if high_now < low_then or low_now > high_then:
                said.append(f"Accuracy: {b:.1%} now, {a:.1%} then.")
        changed = self.mechanisms[self.mechanisms["verdict"] != ""].sort_values("p_corrected", kind="stable")
        for row in changed.head(10).to_dict("records"):
            alarm = ", and it is overconfident" if row["confidence_verdict"] == "overconfident" else ""
            known = f" Its precision was {row['precision']:.0%}{alarm}." if np.isfinite(row["precision"]) else ""
            said.append(
                f"Mechanism {row['mechanism']} of class '{row['class']}' has {row['verdict']} of its inputs:"
                f" {row['share_now']:.0%} now, {row['share_then']:.0%} then.{known}"
            )
        if len(changed) > 10:
            said.append(f"{len(changed) - 10} further mechanisms changed their share.")
        for row in self.classes[self.classes["verdict"] != ""].to_dict("records"):
            said.append(
                f"'{row['class']}' is predicted {row['verdict']} often: {row['share_now']:.1%} of the inputs now,"
                f" {row['share_then']:.1%} then."
            )
        surer = self.classes[self.classes["p_confidence"] < LEVEL]
        if len(surer):
            names = ", ".join(f"'{name}'" for name in surer["class"].head(5))
            said.append(f"The confidence is distributed otherwise than then in {_classes(len(surer))}: {names}.")
        few = int((self.classes["inputs_now"] < FEWEST).sum())
        if few:
            said.append(
                f"Of {_classes(few)} there are fewer than {FEWEST} new inputs: nothing is said of their mechanisms."
            )
        return said or ["Nothing has changed that these inputs are enough to see."]


def _classes(number: int) -> str:
    return f"{number} class{'' if number == 1 else 'es'}"


def drift(audit: Audit, data: Any, model: Any = None, output: Output = None) -> Drift:
    """Compare new inputs with those of an audit.

    Parameters
    ----------
    audit : Audit
        Of `neucept.audit`, or opened from the folder of a run.
    data : data of any kind, or Recording
        The new inputs, with labels or without.
    model : Module, optional
        The network, see `neucept.Audit.assign`.
    output : None, str, int or callable
        As in `neucept.record`; by default as recorded.

    Returns
    -------
    Drift

    Raises
    ------
    InputError
        When no class was audited, there are no new inputs, or as `neucept.Audit.assign` does.
    """
    if not isinstance(audit, Audit):
        raise InputError(f"audit= is a {type(audit).__name__}; expected an Audit: neucept.Audit.open(RUN).")
    if not len(audit.mechanisms):
        raise InputError("No class of this audit has mechanisms, so new inputs cannot be compared with it.")
    new = record_again(audit.recording, data, audit.network[0] if model is None else model, output)
    if not len(new):
        raise InputError("The data hold no inputs.")
    assigned, known = audit.assign(new), audit.inputs
    return Drift(
        mechanisms=_of_mechanisms(audit, known, assigned),
        classes=_of_classes(audit, known, assigned, len(audit.recording), len(new)),
        assigned=assigned,
        then=len(audit.recording),
        now=len(new),
        p_unlike=audit.novelty.p_of_count(int((assigned["p_unlike"] <= UNLIKE).sum()), len(new), UNLIKE),
        model_name=audit.model_name,
        accuracy_then=accuracy_with_interval(audit.recording),
        accuracy_now=accuracy_with_interval(new),
        provenance=audit.provenance,
    )


def _of_mechanisms(audit: Audit, then: pd.DataFrame, now: pd.DataFrame) -> pd.DataFrame:
    """Compare the shares of the mechanisms of each class."""
    rows = []
    for name in audit.mechanisms:
        mechanisms = audit.mechanisms[name]
        before = then.loc[then["predicted"] == mechanisms.target, "mechanism"].to_numpy(int)
        after = now.loc[now["predicted"] == mechanisms.target, "mechanism"].to_numpy(int)
        judged = audit.table[audit.table["class"] == name].set_index("mechanism")
        for number in range(len(mechanisms)):
            a, b = int((before == number).sum()), int((after == number).sum())
            tested = len(mechanisms) > 1 and len(after) >= FEWEST
            rows.append(
                {
                    "class": name,
                    "mechanism": number,
                    "inputs_then": a,
                    "inputs_now": b,
                    "share_then": a / max(len(before), 1),
                    "share_now": b / len(after) if len(after) else np.nan,
                    **{column: judged[column].get(number, np.nan) for column in ("precision", "low", "high")},
                    "confidence_verdict": judged["confidence_verdict"].get(number, ""),
                    "p": _p_share(a, len(before), b, len(after)) if tested else np.nan,
                }
            )
    table = pd.DataFrame(rows)
    table["change"] = table["share_now"] - table["share_then"]
    table["p_corrected"] = holm(table.pop("p").to_numpy(float))
    table["verdict"] = _verdict(table, "more", "fewer")
    return table


def _of_classes(audit: Audit, then: pd.DataFrame, now: pd.DataFrame, n: int, m: int) -> pd.DataFrame:
    """Compare how often each class is predicted, and how surely."""
    rows = []
    for outcome in audit.outcomes:
        before, after = (some[some["predicted"] == outcome.target] for some in (then, now))
        sure = [some["confidence"].dropna().to_numpy(float) for some in (before, after)]
        testable = min(map(len, sure)) >= FEWEST
        precise = [some["precision"].to_numpy(float) for some in (before, after)]
        rows.append(
            {
                "class": outcome.name,
                "inputs_then": len(before),
                "inputs_now": len(after),
                "share_then": len(before) / n,
                "share_now": len(after) / m,
                "p": _p_share(len(before), n, len(after), m),
                "confidence_then": sure[0].mean() if len(sure[0]) else np.nan,
                "confidence_now": sure[1].mean() if len(sure[1]) else np.nan,
                "p_confidence": float(ks_2samp(*sure).pvalue) if testable else np.nan,
                "precision_then": np.nanmean(precise[0]) if np.isfinite(precise[0]).any() else np.nan,
                "precision_expected": np.nanmean(precise[1]) if np.isfinite(precise[1]).any() else np.nan,
            }
        )
    table = pd.DataFrame(rows)
    table["change"] = table["share_now"] - table["share_then"]
    for column, name in (("p", "p_corrected"), ("p_confidence", "p_confidence")):
        table[name] = holm(table.pop(column).to_numpy(float))
    table["verdict"] = _verdict(table, "more", "less")
    return table


def _p_share(a: int, n: int, b: int, m: int) -> float:
    """Test whether two shares, a of n and b of m, are the same."""
    return float(fisher_exact([[a, n - a], [b, m - b]])[1])


def _verdict(table: pd.DataFrame, more: str, less: str) -> np.ndarray:
    """Name the direction of each change that is significant."""
    words = np.where(table["change"] > 0, more, less)
    return np.where(table["p_corrected"].to_numpy(float) < LEVEL, words, "")
