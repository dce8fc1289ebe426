"""Critical pathways: which neurons carry one input's response, and which input features they encode.

Khakzar et al., "Neural Response Interpretation through the Lens of Critical Pathways", CVPR 2021.
"""

from neucept.pathways.activations import ACTIVATIONS
from neucept.pathways.chance import RandomPathway
from neucept.pathways.gradient import PathwayGradient, signed_map
from neucept.pathways.intgrad import NeuronIntGrad
from neucept.pathways.linearity import LinearBall, linear_ball, local_radius
from neucept.pathways.network import sites
from neucept.pathways.pathway import KeptResponse, Pathway
from neucept.pathways.pictures import picture
from neucept.pathways.pruning import GreedyPruning
from neucept.pathways.quantus import explain_func
from neucept.pathways.routing import DistillationGuidedRouting
from neucept.pathways.scores import NeuronScores
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
    "explain_func",
    "linear_ball",
    "local_radius",
    "picture",
    "signed_map",
    "sites",
]
