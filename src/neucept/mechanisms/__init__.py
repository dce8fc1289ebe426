"""Mechanisms: the different ways in which a network reaches one prediction, and how reliable each is."""

from neucept.mechanisms.clustering import Clusterer
from neucept.mechanisms.features import Feature
from neucept.mechanisms.learning import choose_n_mechanisms, learn
from neucept.mechanisms.mechanisms import Mechanisms
from neucept.mechanisms.n_clusters import NumberOfClusters, choose, one_mechanism
from neucept.mechanisms.reliability import wilson
from neucept.mechanisms.spaces import Space
from neucept.mechanisms.stability import mechanism_stability

Choice = NumberOfClusters  # the name in neucept 0.1

__all__ = [
    "Choice",
    "Clusterer",
    "Feature",
    "Mechanisms",
    "NumberOfClusters",
    "Space",
    "choose",
    "choose_n_mechanisms",
    "learn",
    "mechanism_stability",
    "one_mechanism",
    "wilson",
]
