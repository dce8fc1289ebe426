"""The papers' networks, and any network by its name."""

from neucept.models.layer_choice import default_layers
from neucept.models.loading import load_function, load_model, preprocessing
from neucept.models.networks import VGG11, LeNet

__all__ = ["VGG11", "LeNet", "default_layers", "load_function", "load_model", "preprocessing"]
