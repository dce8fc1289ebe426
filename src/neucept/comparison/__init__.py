"""Two networks on the same inputs, mechanism by mechanism."""

from neucept.comparison.compare import compare
from neucept.comparison.comparison import Comparison

__all__ = ["Comparison", "compare"]
