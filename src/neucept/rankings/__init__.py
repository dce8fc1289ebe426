"""Rank neurons by any method, so that methods can be compared: attributions, activations, NeuCEPT, or one's own.

A method is anything with a ``name`` and ``scores(subject) -> {layer: (k,) scores}``, see `Method`.
"""

from neucept.rankings.attributions import DeepLift, GradientShap, IntegratedGradients, Saliency
from neucept.rankings.critical import NeuCEPT
from neucept.rankings.ranking import rank
from neucept.rankings.simple import Activation, Random, Variance
from neucept.rankings.subject import Method, Subject

__all__ = [
    "Activation",
    "DeepLift",
    "GradientShap",
    "IntegratedGradients",
    "Method",
    "NeuCEPT",
    "Random",
    "Saliency",
    "Subject",
    "Variance",
    "rank",
]
