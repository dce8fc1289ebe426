"""NeuCEPT: which neurons decide, in which different ways, and which of those ways are unreliable."""

from __future__ import annotations

from importlib.metadata import version as _version
from typing import TYPE_CHECKING

from neucept.lazy import lazy

if TYPE_CHECKING:
    from neucept import rankings
    from neucept.analysis import Analysis, Audit, Drift, analyse, audit, drift
    from neucept.calibration import Calibration, calibrate
    from neucept.comparison import Comparison, compare
    from neucept.discovery import CriticalNeurons, Guarantee, NothingSelectedWarning, Promise, Selection, discover
    from neucept.errors import InputError
    from neucept.evaluation import ablation, metrics
    from neucept.evaluation.sufficiency import sufficiency
    from neucept.inputs import Inputs
    from neucept.mechanism_pathways import MechanismPathways, trace_pathways
    from neucept.mechanisms import Choice, Mechanisms, NumberOfClusters, choose_n_mechanisms, learn, one_mechanism
    from neucept.mechanisms.reliability import reliability
    from neucept.novelty import Novelty
    from neucept.recording import Recording, record
    from neucept.reports import report
    from neucept.training import PriorTraining, train_with_prior

_PUBLIC = {
    "neucept.analysis": ("Analysis", "Audit", "Drift", "analyse", "audit", "drift"),
    "neucept.calibration": ("Calibration", "calibrate"),
    "neucept.comparison": ("Comparison", "compare"),
    "neucept.discovery": ("CriticalNeurons", "Guarantee", "NothingSelectedWarning", "Promise", "Selection", "discover"),
    "neucept.errors": ("InputError",),
    "neucept.evaluation.sufficiency": ("sufficiency",),
    "neucept.inputs": ("Inputs",),
    "neucept.mechanism_pathways": ("MechanismPathways", "trace_pathways"),
    "neucept.mechanisms": ("Choice", "Mechanisms", "NumberOfClusters", "choose_n_mechanisms", "learn", "one_mechanism"),
    "neucept.mechanisms.reliability": ("reliability",),
    "neucept.novelty": ("Novelty",),
    "neucept.recording": ("Recording", "record"),
    "neucept.reports": ("report",),
    "neucept.training": ("PriorTraining", "train_with_prior"),
}
_MODULES = {
    "ablation": "neucept.evaluation.ablation",
    "metrics": "neucept.evaluation.metrics",
    "rankings": "neucept.rankings",
}

__version__ = _version("neucept")
__all__ = [
    "Analysis",
    "Audit",
    "Calibration",
    "Choice",
    "Comparison",
    "CriticalNeurons",
    "Drift",
    "Guarantee",
    "InputError",
    "Inputs",
    "MechanismPathways",
    "Mechanisms",
    "NothingSelectedWarning",
    "Novelty",
    "NumberOfClusters",
    "PriorTraining",
    "Promise",
    "Recording",
    "Selection",
    "ablation",
    "analyse",
    "audit",
    "calibrate",
    "choose_n_mechanisms",
    "compare",
    "discover",
    "drift",
    "learn",
    "metrics",
    "one_mechanism",
    "rankings",
    "record",
    "reliability",
    "report",
    "sufficiency",
    "trace_pathways",
    "train_with_prior",
]
__getattr__, __dir__ = lazy(__name__, _PUBLIC, _MODULES)
