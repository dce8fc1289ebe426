"""Critical neurons: Algorithm 1, and equations (3) and (10), on a Recording."""

from neucept.discovery.algorithm import OBJECTIVES, NothingSelectedWarning, discover
from neucept.discovery.selection import CriticalNeurons, Promise, Selection

__all__ = [
    "OBJECTIVES",
    "CriticalNeurons",
    "NothingSelectedWarning",
    "Promise",
    "Selection",
    "discover",
]
