"""The papers' networks, and any network by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neucept.lazy import lazy

if TYPE_CHECKING:
    from neucept.models.layer_choice import default_layers, early_layer
    from neucept.models.loading import load_function, load_model
    from neucept.models.networks import VGG11, LeNet
    from neucept.models.published import preprocessing

__all__ = ["VGG11", "LeNet", "default_layers", "early_layer", "load_function", "load_model", "preprocessing"]
__getattr__, __dir__ = lazy(
    __name__,
    {
        "neucept.models.layer_choice": ("default_layers", "early_layer"),
        "neucept.models.loading": ("load_function", "load_model"),
        "neucept.models.networks": ("VGG11", "LeNet"),
        "neucept.models.published": ("preprocessing",),
    },
)
