"""Mechanisms: the different ways in which a network reaches one prediction, and how reliable each is."""

from neucept.mechanisms.clustering import Clusterer
from neucept.mechanisms.confidence import ErrorDetection, calibrate_confidence
from neucept.mechanisms.features import Feature
from neucept.mechanisms.learning import choose_n_mechanisms, learn
from neucept.mechanisms.mechanisms import Mechanisms
from neucept.mechanisms.n_clusters import NumberOfClusters, choose, one_mechanism
from neucept.mechanisms.overconfidence import compare_confidence, correct_over_classes, inputs_needed
from neucept.mechanisms.reliability import error_detection, wilson
from neucept.mechanisms.spaces import Space
from neucept.mechanisms.stability import mechanism_stability

Choice = NumberOfClusters  # the name in neucept 0.1

__all__ = [
    "Choice",
    "Clusterer",
    "ErrorDetection",
    "Feature",
    "Mechanisms",
    "NumberOfClusters",
    "Space",
    "calibrate_confidence",
    "choose",
    "choose_n_mechanisms",
    "compare_confidence",
    "correct_over_classes",
    "error_detection",
    "inputs_needed",
    "learn",
    "mechanism_stability",
    "one_mechanism",
    "wilson",
]
