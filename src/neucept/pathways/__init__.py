"""Critical pathways: which neurons carry one input's response, and which input features they encode.

Khakzar et al., "Neural Response Interpretation through the Lens of Critical Pathways", CVPR 2021.
"""

from neucept.pathways.gradient import PathwayGradient, explain_func, signed_map
from neucept.pathways.linearity import LinearBall, linear_ball, local_radius
from neucept.pathways.methods.base import Method, SiteScores
from neucept.pathways.methods.contributions import NeuronIntGrad, NeuronMCT
from neucept.pathways.methods.pruning import GreedyPruning
from neucept.pathways.methods.random import RandomPathway
from neucept.pathways.methods.routing import DistillationGuidedRouting
from neucept.pathways.pathway import KeptResponse, Pathway
from neucept.pathways.pictures import picture
from neucept.pathways.scores import NeuronScores
from neucept.pathways.tracing.activations import ACTIVATIONS
from neucept.pathways.tracing.network import sites

__all__ = [
    "ACTIVATIONS",
    "DistillationGuidedRouting",
    "GreedyPruning",
    "KeptResponse",
    "LinearBall",
    "Method",
    "NeuronIntGrad",
    "NeuronMCT",
    "NeuronScores",
    "Pathway",
    "PathwayGradient",
    "RandomPathway",
    "SiteScores",
    "explain_func",
    "linear_ball",
    "local_radius",
    "picture",
    "signed_map",
    "sites",
]
