"""Mechanisms: the different ways in which a network reaches one prediction, and how reliable each is."""

from neucept.mechanisms.choice import Choice, choose, one_mechanism
from neucept.mechanisms.learn import choose_n_mechanisms, learn
from neucept.mechanisms.mechanisms import Feature, Mechanisms
from neucept.mechanisms.reliability import reliability, wilson

__all__ = [
    "Choice",
    "Feature",
    "Mechanisms",
    "choose",
    "choose_n_mechanisms",
    "learn",
    "one_mechanism",
    "reliability",
    "wilson",
]
