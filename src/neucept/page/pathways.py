"""The pathways of a mechanism on its card: what they respond to, and how much they overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from neucept.errors import InputError
from neucept.mechanism_pathways import MechanismPathways, trace_pathways
from neucept.mechanisms import Mechanisms
from neucept.page.markup import Html, tag
from neucept.page.pictures import encode
from neucept.page.pieces import image
from neucept.page.words import number, p_value, percent
from neucept.pathways import signed_map

if TYPE_CHECKING:
    from neucept.page.material import Material

MOST = 16  # inputs of each mechanism whose pathways a page selects by itself
TYPICAL = 8  # as many as the typical pictures of a card
_FULL = 99.5  # percentile of the magnitudes at which the colour is full
_HIGH, _LOW, _ZERO = (np.array(rgb, float) for rgb in ((214, 69, 61), (47, 111, 196), (246, 247, 249)))


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
    given: MechanismPathways | bool, mechanisms: Mechanisms, model: nn.Module | None, data: Any, progress: bool
) -> tuple[MechanismPathways | None, str]:
    """Give the pathways that a page shows; where they cannot be followed, None and a sentence that says why."""
    if not isinstance(given, bool):
        return given, ""
    if not given:
        return None, ""
    if model is None or data is None:
        return None, "For the pathways of the mechanisms, give report() the model (model=) and the data (data=)."
    try:
        found = trace_pathways(mechanisms, model, data, most=MOST, typical=TYPICAL, progress=progress)
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
        f" The pathway gradient is that of the response in the network masked by the pathway, mean over up to"
        f" {found.settings['typical']} most typical inputs: red raises the response, blue lowers it."
    )
    if len(found) > 1:
        words += (
            f" Of {number(len(found.rows))} inputs drawn at random, those of one mechanism overlap"
            f" {'more than' if found.p_value < 0.05 else 'no more, surely, than'} those of different ones"
            f" (permutation test, {p_value(found.p_value)})."
        )
    return tag("p", words, class_="note")


def pathways_part(material: Material, mechanism: int) -> Html | None:
    """Show a mechanism's mean pathway gradient, where inputs are pictures, and how its pathways overlap."""
    found = material.pathways
    if found is None:
        return None
    row = found.table().iloc[mechanism]
    words = [f"Two inputs of this mechanism overlap by {percent(row['within'])}"]
    if len(found) > 1:
        words.append(f"one of it and one of the others by {percent(row['others'])}")
    said = f"{', '.join(words)}" + (f" (corrected {p_value(row['p_corrected'])})." if len(found) > 1 else ".")
    if np.isfinite(row["kept_critical"]) and np.isfinite(row["kept_rest"]):
        said += (
            f" Behind the recorded layers a pathway holds {percent(row['kept_critical'])} of the"
            f" {found.settings['critical']} neurons, and {percent(row['kept_rest'])} of the others."
        )
    text = tag("p", said, class_="small")
    heading = tag("h4", "Pathway ", tag("small", "what carries the response, and which parts of the input it looks at"))
    picture = _picture(material, mechanism)
    tile = tag("figure", picture, class_="tile") if picture is not None else None
    return tag("div", heading, tag("div", tile, text, class_="pathway"))


def _picture(material: Material, mechanism: int) -> Html | None:
    """Draw a mean pathway gradient, (channels, H, W), red where positive and blue where negative."""
    found = material.pathways
    if found is None or found.gradients is None or material.pictures is None or found.gradients.ndim != 4:
        return None
    flat = signed_map(torch.from_numpy(found.gradients[mechanism : mechanism + 1]))[0, 0].numpy()
    words = (
        f"mean pathway gradient of mechanism {mechanism}, red where more raises the response, blue where it lowers it"
    )
    return image(*encode(heat(flat)), words)


def heat(values: np.ndarray) -> np.ndarray:
    """Colour signed values, (H, W), as uint8 (H, W, 3): red above zero, blue below, nearly white at zero.

    >>> heat(np.array([[1.0, 0.0, -1.0]])).tolist()
    [[[214, 69, 61], [246, 247, 249], [47, 111, 196]]]
    """
    limit = max(float(np.percentile(np.abs(values), _FULL)), 1e-30)
    strength = (values / limit).clip(-1, 1)[..., None]
    return np.asarray(_ZERO + np.abs(strength) * (np.where(strength > 0, _HIGH, _LOW) - _ZERO)).astype(np.uint8)
