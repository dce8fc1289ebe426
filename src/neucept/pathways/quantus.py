"""Pathway gradients in the form that Quantus requires: a function of a model and arrays that returns an array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from neucept.pathways.gradient import PathwayGradient
from neucept.pathways.methods.base import Method
from neucept.pathways.methods.mct import NeuronMCT


def explain_func(
    model: nn.Module,
    inputs: Any,
    targets: Any = None,
    *,
    method: Callable[[nn.Module], Method] = NeuronMCT,
    sparsity: float = 0.9,
    internal_batch_size: int | None = None,
    device: Any = None,
) -> np.ndarray:
    """Explain a batch with pathway gradients; pass this function to Quantus' metrics as ``explain_func=``.

    The method is made anew in each call: Quantus' randomisation metrics pass models with other weights.

    Parameters
    ----------
    model : Module
        Left as it was found.
    inputs : array or Tensor
        (n, ...), converted to the floating-point type of the model's weights.
    targets : array or Tensor, optional
        (n,) class numbers; None is the predicted class.
    method : callable (Module) -> Method
        Such as ``NeuronMCT``, or ``functools.partial(NeuronIntGrad, steps=5)``.
    sparsity, internal_batch_size
        As for `PathwayGradient`.
    device
        Passed by Quantus and ignored: inputs are moved to the model's device.

    Returns
    -------
    array
        (n, ...), shaped like the inputs, float32.

    Examples
    --------
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> images = np.random.default_rng(0).random((5, 3, 2, 2))
    >>> explained = explain_func(network, images, np.array([0, 1, 1, 0, 1]), sparsity=0.5)
    >>> explained.shape, explained.dtype
    ((5, 3, 2, 2), dtype('float32'))
    """
    kinds = (weights.dtype for weights in model.parameters() if weights.is_floating_point())
    given = torch.as_tensor(inputs).to(next(kinds, torch.get_default_dtype()))
    attribution = PathwayGradient(method(model), sparsity).attribute(given, targets, internal_batch_size)
    explained: np.ndarray = attribution.float().cpu().numpy()
    return explained
