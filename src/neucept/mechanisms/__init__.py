"""Mechanisms: the different ways in which a network reaches one prediction, and how reliable each is."""

from neucept.mechanisms.learning import choose_n_mechanisms, learn
from neucept.mechanisms.mechanisms import Feature, Mechanisms
from neucept.mechanisms.n_clusters import Choice, choose, one_mechanism
from neucept.mechanisms.reliability import wilson

__all__ = [
    "Choice",
    "Feature",
    "Mechanisms",
    "choose",
    "choose_n_mechanisms",
    "learn",
    "one_mechanism",
    "wilson",
]
