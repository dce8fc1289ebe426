"""Two networks on the same inputs, mechanism by mechanism."""

from neucept.comparison.comparison import Comparison
from neucept.comparison.matching import compare

__all__ = ["Comparison", "compare"]
