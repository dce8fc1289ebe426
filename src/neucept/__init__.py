"""NeuCEPT: which neurons decide, in which different ways, and which of those ways are unreliable."""

from neucept import metrics
from neucept.calibration import Calibration, calibrate
from neucept.comparison import Comparison, compare
from neucept.discovery import CriticalNeurons, NothingSelectedWarning, Promise, Selection, discover
from neucept.errors import InputError
from neucept.mechanism_pathways import MechanismPathways, trace_pathways
from neucept.mechanisms import Choice, Mechanisms, choose_n_mechanisms, learn, one_mechanism, reliability
from neucept.page import report
from neucept.recording import Recording, record
from neucept.sufficiency import sufficiency
from neucept.training import PriorTraining, train_with_prior

__version__ = "0.1.0"

__all__ = [
    "Calibration",
    "Choice",
    "Comparison",
    "CriticalNeurons",
    "InputError",
    "MechanismPathways",
    "Mechanisms",
    "NothingSelectedWarning",
    "PriorTraining",
    "Promise",
    "Recording",
    "Selection",
    "calibrate",
    "choose_n_mechanisms",
    "compare",
    "discover",
    "learn",
    "metrics",
    "one_mechanism",
    "record",
    "reliability",
    "report",
    "sufficiency",
    "trace_pathways",
    "train_with_prior",
]
