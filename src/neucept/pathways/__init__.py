"""Critical pathways: which neurons carry one input's response, and which input features they encode.

Khakzar et al., "Neural Response Interpretation through the Lens of Critical Pathways", CVPR 2021.
"""

from neucept.pathways.chance import RandomPathway
from neucept.pathways.gradient import PathwayGradient, signed_map
from neucept.pathways.intgrad import NeuronIntGrad
from neucept.pathways.linearity import LinearBall, linear_ball, local_radius
from neucept.pathways.pathway import KeptResponse, Pathway
from neucept.pathways.pruning import GreedyPruning
from neucept.pathways.routing import DistillationGuidedRouting
from neucept.pathways.scores import NeuronScores
from neucept.pathways.sites import ACTIVATIONS, sites
from neucept.pathways.taylor import NeuronMCT

__all__ = [
    "ACTIVATIONS",
    "DistillationGuidedRouting",
    "GreedyPruning",
    "KeptResponse",
    "LinearBall",
    "NeuronIntGrad",
    "NeuronMCT",
    "NeuronScores",
    "Pathway",
    "PathwayGradient",
    "RandomPathway",
    "linear_ball",
    "local_radius",
    "signed_map",
    "sites",
]
