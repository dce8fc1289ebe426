"""Critical neurons: Algorithm 1, and equations (3) and (10), on a Recording."""

from neucept.discovery.algorithm import NothingSelectedWarning, discover
from neucept.discovery.effects import Effects, EffectTest
from neucept.discovery.selection import CriticalNeurons, Promise, Selection
from neucept.knockoffs import Guarantee
from neucept.vocabulary import OBJECTIVES, ORDERS

__all__ = [
    "OBJECTIVES",
    "ORDERS",
    "CriticalNeurons",
    "EffectTest",
    "Effects",
    "Guarantee",
    "NothingSelectedWarning",
    "Promise",
    "Selection",
    "discover",
]
