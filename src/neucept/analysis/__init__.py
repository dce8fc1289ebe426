"""All that is known of one target: `analyse` measures it, `Analysis` holds it. Draws nothing."""

from neucept.analysis.analysis import Analysis, Reliability, TopInputs
from neucept.analysis.measuring import analyse

__all__ = ["Analysis", "Reliability", "TopInputs", "analyse"]
