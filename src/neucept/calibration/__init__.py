"""The promise of precision, checked on a layer's own activations with responses whose critical neurons are known."""

from neucept.calibration.calibration import Calibration, calibrate
from neucept.calibration.two_sample import exchangeability

__all__ = ["Calibration", "calibrate", "exchangeability"]
