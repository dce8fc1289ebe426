"""The promise of precision, checked on a layer's own activations with responses whose critical neurons are known."""

from neucept.calibration.calibration import Calibration, calibrate
from neucept.calibration.exchangeability import exchangeability

__all__ = ["Calibration", "calibrate", "exchangeability"]
