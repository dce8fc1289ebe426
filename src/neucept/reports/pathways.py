"""The pathways of a mechanism on its card: what they respond to, and how much they overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from neucept.errors import InputError
from neucept.mechanism_pathways import MechanismPathways, trace_pathways
from neucept.mechanisms import Mechanisms
from neucept.pathways import picture
from neucept.recording.outputs import Output
from neucept.reports.components import image
from neucept.reports.html import Html, tag
from neucept.reports.phrases import number, p_value, percent
from neucept.reports.pictures import encode
from neucept.reports.sites import of_mechanism, sites_part

if TYPE_CHECKING:
    from neucept.reports.material import Material

MOST = 16  # inputs of each mechanism whose pathways a page selects by itself
TYPICAL = 8  # as many as the typical pictures of a card
_SHOWN = 7  # typical inputs with their gradients: a line of tiles holds those and the mean
_NAMED, _CLEAR = 3, 0.2  # critical neurons that a card names, and the difference of shares above which it does


def check_pathways(given: Any, mechanisms: Mechanisms) -> None:
    """Raise an InputError unless what a user gave as pathways belongs to the mechanisms."""
    if isinstance(given, bool):
        return
    if not isinstance(given, MechanismPathways):
        raise InputError(f"pathways= is a {type(given).__name__}; expected MechanismPathways, True or False.")
    mine = dict(zip(mechanisms.samples.tolist(), mechanisms.labels.tolist(), strict=True))
    same = all(mine.get(row) == label for row, label in zip(given.rows.tolist(), given.labels.tolist(), strict=True))
    if len(given) != len(mechanisms) or not same:
        raise InputError("The pathways are of other mechanisms; call neucept.trace_pathways on these.")


def find_pathways(
    given: MechanismPathways | bool,
    mechanisms: Mechanisms,
    model: nn.Module | None,
    data: Any,
    output: Output,
    progress: bool,
) -> tuple[MechanismPathways | None, str]:
    """Give the pathways that a page shows; where they cannot be followed, None and a sentence that says why."""
    if not isinstance(given, bool):
        return given, ""
    if not given:
        return None, ""
    if model is None or data is None:
        return None, "For the pathways of the mechanisms, give report() the model (model=) and the data (data=)."
    try:
        found = trace_pathways(mechanisms, model, data, output=output, most=MOST, typical=TYPICAL, progress=progress)
    except Exception as error:  # whatever a network does: a page without pathways is better than none
        return None, f"The pathways of the mechanisms could not be followed: {error}"
    return found, ""


def pathways_note(material: Material) -> Html | None:
    """Say what the pathways on the cards are, or why there are none."""
    found = material.pathways
    if found is None:
        return tag("p", material.no_pathways, class_="note") if material.no_pathways else None
    share = percent(1 - found.settings["sparsity"])
    words = (
        f"A pathway is the {share} of all neurons that contribute most to the response of one input"
        f" ({found.settings['method']}); inputs overlap by the share of the neurons of either pathway that are in both."
        " The pathway gradient is that of the response in the network masked by the pathway: red raises the response,"
        " blue lowers it. A site is one call of an activation function; its bar is the share of its neurons that a"
        " pathway keeps."
    )
    if len(found) > 1:
        words += (
            f" Of {number(len(found.rows))} inputs drawn at random, those of one mechanism overlap"
            f" {'more than' if found.p_value < 0.05 else 'no more, surely, than'} those of different ones"
            f" (permutation test, {p_value(found.p_value)})."
        )
    return tag("p", words, class_="note")


def pathways_part(material: Material, mechanism: int) -> Html | None:
    """Show what a mechanism's pathways respond to, how they overlap, and which neurons of each site they keep."""
    found = material.pathways
    if found is None:
        return None
    heading = tag("h4", "Pathway ", tag("small", "what carries the response, and which parts of the input it looks at"))
    said = tag("p", _overlap_words(found, mechanism), " ", _critical_words(found, mechanism), class_="small")
    return tag("div", heading, _pictures(material, mechanism), said, sites_part(found, mechanism), class_="pathway")


def _overlap_words(found: MechanismPathways, mechanism: int) -> str:
    row = found.table().iloc[mechanism]
    words = f"Two inputs of this mechanism overlap by {percent(row['within'])}"
    if len(found) > 1:
        words += (
            f", one of it and one of the others by {percent(row['others'])} (corrected {p_value(row['p_corrected'])})"
        )
    words += "."
    if np.isfinite(row["kept_critical"]) and np.isfinite(row["kept_rest"]):
        words += (
            f" Behind the recorded layers a pathway holds {percent(row['kept_critical'])} of the"
            f" {found.settings['critical']} neurons, and {percent(row['kept_rest'])} of the others."
        )
    return words


def _critical_words(found: MechanismPathways, mechanism: int) -> str | None:
    """Name the critical neurons that a mechanism's pathways hold much more, or less, often than those of the others."""
    mine = of_mechanism(found.by_critical_neuron(), mechanism)
    apart = (mine["kept"] - mine["others"]).abs()
    clear = apart[apart >= _CLEAR].sort_values(ascending=False, kind="stable").index[:_NAMED]
    if not len(clear):
        return None
    named = [
        f"{row['site']} {row['neuron']} ({percent(row['kept'], 0)} against {percent(row['others'], 0)})"
        for _, row in mine.loc[clear].iterrows()
    ]
    return f"Set apart from the pathways of the others by {', '.join(named)}."


def _pictures(material: Material, mechanism: int) -> Html | None:
    """Draw the mean pathway gradient over the mean of the most typical inputs, then those one by one."""
    found = material.pathways
    if found is None or found.typical_gradients is None or material.pictures is None:
        return None
    mine = np.flatnonzero(found.typical_labels == mechanism)
    gradients = found.typical_gradients[mine]
    if gradients.ndim != 4 or gradients.shape[1] not in (1, 3):
        return None
    rows = found.typical_rows[mine]
    mean = torch.stack([material.pictures.input(int(row)) for row in rows]).float().mean(0)
    sign = "red where more raises the response, blue where it lowers it"
    words = f"mean pathway gradient of mechanism {mechanism} over the mean of its {len(mine)} typical inputs, {sign}"
    tiles = [_tile(gradients.mean(axis=0), mean, words, f"mean of {len(mine)}")]
    tiles += [
        _tile(gradients[i], material.pictures.seen(int(row)), f"pathway gradient of input {row}, {sign}", f"#{row}")
        for i, row in enumerate(rows[:_SHOWN])
    ]
    return tag("div", *tiles, class_="tiles")


def _tile(gradient: np.ndarray, ground: Any, words: str, caption: str) -> Html:
    """Show one gradient, (channels, H, W), over one image."""
    drawn = image(*encode(picture(gradient[None], [ground])[0]), words)
    return tag("figure", drawn, tag("figcaption", caption), class_="tile", title=words)
