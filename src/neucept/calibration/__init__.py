"""The precision of selections, measured on a layer's own activations with simulated responses."""

from neucept.calibration.calibration import Calibration
from neucept.calibration.layer import calibrate
from neucept.calibration.two_sample import exchangeability

__all__ = ["Calibration", "calibrate", "exchangeability"]
