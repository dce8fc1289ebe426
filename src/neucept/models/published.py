"""The transform that published weights were trained with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from neucept.errors import missing
from neucept.models.loading import split_spec


@dataclass(frozen=True)
class ColourTransform:
    """A transform for pictures that may be gray: they become RGB first.

    Parameters
    ----------
    transform : callable
        From a PIL image in RGB to a tensor (3, H, W).
    """

    transform: Callable[[Any], Tensor]

    def __call__(self, picture: Any) -> Tensor:
        """Transform a PIL image to a tensor (3, H, W)."""
        return self.transform(picture.convert("RGB"))


def preprocessing(spec: str, model: nn.Module) -> ColourTransform | None:
    """Find the transform that fits a torchvision or timm network.

    Parameters
    ----------
    spec : str
        What :func:`load_model` was given.
    model : Module
        What it gave.

    Returns
    -------
    ColourTransform or None
        From a PIL image to a normalised tensor (3, H, W). None for the user's own network, of which nobody
        but the user knows it.

    Examples
    --------
    >>> from neucept.models import LeNet
    >>> preprocessing("neucept.models:LeNet", LeNet()) is None
    True
    """
    origin, name = split_spec(spec)
    if origin == "torchvision":
        try:
            from torchvision import models
        except ImportError as error:
            raise missing("torchvision", "vision") from error
        return ColourTransform(models.get_model_weights(name).DEFAULT.transforms())
    if origin == "timm":
        try:
            from timm.data import create_transform, resolve_model_data_config
        except ImportError as error:
            raise missing("timm", "vision") from error
        return ColourTransform(create_transform(**resolve_model_data_config(model), is_training=False))
    return None
