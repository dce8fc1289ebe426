"""Critical neurons: Algorithm 1, and equations (3) and (10), on a Recording."""

from neucept.discovery.critical import CriticalNeurons, Promise, Selection
from neucept.discovery.discover import OBJECTIVES, NothingSelectedWarning, discover

__all__ = [
    "OBJECTIVES",
    "CriticalNeurons",
    "NothingSelectedWarning",
    "Promise",
    "Selection",
    "discover",
]
