"""The precision of selections, measured on a layer's own activations with simulated responses."""

from neucept.calibration.calibration import Calibration
from neucept.calibration.evidence import PARTS, gather
from neucept.calibration.layer import calibrate
from neucept.calibration.null_model import held_out
from neucept.calibration.simulation import FAMILIES, HELD_OUT, Simulated, simulate
from neucept.calibration.two_sample import exchangeability

__all__ = [
    "FAMILIES",
    "HELD_OUT",
    "PARTS",
    "Calibration",
    "Simulated",
    "calibrate",
    "exchangeability",
    "gather",
    "held_out",
    "simulate",
]
