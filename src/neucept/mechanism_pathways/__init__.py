"""Where mechanisms and critical pathways meet: the pathways that a network's ways of deciding take."""

from neucept.mechanism_pathways.result import MechanismPathways
from neucept.mechanism_pathways.tracing import trace_pathways

__all__ = ["MechanismPathways", "trace_pathways"]
