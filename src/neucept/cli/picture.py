"""A page with the calibration of some layers: realised precision and power by kind of planted response."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

from neucept.calibration import Calibration

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Calibration of {title}</title>
<style>
:root {{ color-scheme: light dark; font-family: system-ui, sans-serif; line-height: 1.5; }}
body {{ max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; }} h2 {{ font-size: 1.15rem; margin: 2rem 0 0; overflow-wrap: anywhere; }}
p {{ max-width: 46rem; margin: .5rem 0; }}
</style></head><body>
<h1>What a precision of {precision:g} is worth on these layers, for “{title}”</h1>
<p>Responses whose critical neurons are known were planted on each layer's own activations. Dots: the precision that the
calibrated selection realises on each kind, judged by a model that had not seen the response. Rings: the knockoffs' own
threshold, equation (9), on the same responses. Power is the share of the critical neurons that are found; pure noise
has none. This is evidence for responses like these, not a proof.</p>
{layers}
</body></html>
"""


def write_calibrations(
    calibrations: Mapping[str, Calibration], widths: Mapping[str, int], precision: float, title: str, page: Path
) -> Path:
    """Write one self-contained page that opens without a network.

    Parameters
    ----------
    calibrations : mapping of layer to Calibration
        In the order of the page.
    widths : mapping of layer to int
        Neurons of each.
    precision : float
        Asked.
    title : str
        The target.
    page : Path
        The file.
    """
    from plotly.io import to_html

    from neucept.reports.figures import calibration_figure

    parts = []
    for number, (layer, calibration) in enumerate(calibrations.items()):
        table = calibration.table(precision)
        everything = table.set_index("family").loc["all"]
        words = (
            f"{units(calibration, widths[layer])}. Over all {everything['responses']:.0f} responses a precision of"
            f" {everything['precision']:.3f} ({everything['low']:.3f} to {everything['high']:.3f}) and a power of"
            f" {everything['power']:.2f} are realised; on kinds of responses that the model had not seen at all a"
            f" precision of {everything['unseen']:.3f}, by equation (9) alone {everything['uncalibrated']:.3f}."
        )
        figure = to_html(
            calibration_figure(table, precision),
            {"displayModeBar": False, "responsive": True},
            full_html=False,
            include_plotlyjs=number == 0,
        )
        parts.append(f"<h2>{escape(layer)}</h2>\n<p>{escape(words)}</p>\n{figure}")
    text = _PAGE.format(title=escape(title), precision=precision, layers="\n".join(parts))
    page.write_text(text, encoding="utf-8")
    return page


def units(calibration: Calibration, neurons: int) -> str:
    """Say how many of the neurons of a layer can be told apart."""
    groups = len(calibration.sizes)
    if groups == neurons:
        return f"{neurons} neurons, each by itself"
    return f"{neurons} neurons, in {groups} groups that can be told apart (constant ones left out)"
