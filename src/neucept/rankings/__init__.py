"""Rank neurons by any method, so that methods can be compared: attributions, activations, NeuCEPT, or one's own.

A method is anything with a ``name`` and ``scores(subject) -> {layer: (k,) scores}``, see `Method`.
"""

from neucept.rankings.attributions import DeepLift, GradientShap, IntegratedGradients, Saliency
from neucept.rankings.ranking import Method, Subject, rank
from neucept.rankings.recorded import Activation, NeuCEPT, Random, Variance

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
