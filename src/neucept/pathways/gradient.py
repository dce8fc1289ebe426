"""The pathway gradient: which input features the neurons of a pathway respond to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from neucept.batches import Batch
from neucept.errors import InputError, check_whole
from neucept.pathways.methods.base import Method
from neucept.pathways.methods.contributions import NeuronMCT
from neucept.pathways.scores import NeuronScores, check_reached
from neucept.pathways.selection import check_sparsity
from neucept.pathways.targets import Response, Target, check_target, target_rows
from neucept.pathways.tracing.network import mask_sites
from neucept.pathways.tracing.sites import evaluation
from neucept.recording.reading import float_type

# The activations of a large batch need fresh memory, which costs more than the batch saves.
_ROWS_ON_CPU = 32

Attribute = TypeVar("Attribute", bound=Callable[..., Any])
Tree = TypeVar("Tree")  # what holds the inputs: a tensor, an array, a tuple or a mapping


def _with_arrays(attribute: Attribute) -> Attribute:
    """Let a method take arrays, as tensors in the model's precision, and return arrays."""

    @wraps(attribute)
    def taking(self: PathwayGradient, inputs: Any, *more: Any, **options: Any) -> Any:
        if not isinstance(inputs, np.ndarray):
            return attribute(self, inputs, *more, **options)
        tensor = torch.from_numpy(np.ascontiguousarray(inputs))
        floats = (one for one in self.method.network.model.parameters() if one.is_floating_point())
        if tensor.is_floating_point():
            tensor = tensor.to(next(floats, tensor).dtype)
        result: Tensor = attribute(self, tensor, *more, **options)
        return result.float().numpy() if result.dtype == torch.bfloat16 else result.numpy()

    return cast(Attribute, taking)


@dataclass(frozen=True)
class PathwayGradient:
    """The gradient of the response with respect to the input, in the network masked by each input's pathway.

    Parameters
    ----------
    method : Method
        Scores the neurons, such as ``NeuronMCT(model)``.
    sparsity : float
        Share of the neurons that is left out.

    Examples
    --------
    >>> from torch import nn
    >>> from neucept.pathways import NeuronMCT
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> images = torch.randn(5, 3, 2, 2)
    >>> attribution = PathwayGradient(NeuronMCT(network), sparsity=0.5).attribute(images, target=1)
    >>> attribution.shape, signed_map(attribution).shape
    (torch.Size([5, 3, 2, 2]), torch.Size([5, 1, 2, 2]))
    """

    method: Method
    sparsity: float = 0.9

    def __post_init__(self) -> None:
        if not isinstance(self.method, Method):
            given = self.method.__name__ if isinstance(self.method, type) else type(self.method).__name__
            raise InputError(f"method={given}: expected a method made for a model, such as NeuronMCT(model).")
        object.__setattr__(self, "sparsity", check_sparsity(self.sparsity))
        check_reached(type(self.method).__name__, self.method.reached, self.sparsity)

    @_with_arrays
    def attribute(
        self,
        inputs: Tree,
        target: Target = None,
        internal_batch_size: int | None = None,
        additional_forward_args: None = None,
    ) -> Tree:
        """Attribute the response to the input, as Captum's methods do.

        Parameters
        ----------
        inputs : tensor, array, tuple or mapping of tensors
            A batch; left unchanged, whether or not it requires a gradient.
        target : None, int, (batch,) whole numbers, or a pair (a, b) of either
            The class whose logit is explained, None for the one that the whole network predicts.
        internal_batch_size : int, optional
            Most inputs that run at a time; None is the method's setting, at most 32 on a CPU, where more are slower.
        additional_forward_args : None
            Captum's argument; anything else is refused: give all that the model takes as a tuple of inputs.

        Returns
        -------
        Tensor, array, or tuple or dict of Tensors
            Shaped like the inputs; zeros for inputs that are not floating-point (token numbers, masks).

        Raises
        ------
        InputError
            As `Method.score`, and when no part of the inputs can have a gradient.
        """
        if additional_forward_args is not None:
            raise InputError(
                "additional_forward_args= is not taken; give all that the model takes as a tuple of inputs."
            )
        batch = Batch(inputs)
        n = batch.n
        if not any(tensor.is_floating_point() for tensor in batch.tensors()):
            raise InputError(
                "The inputs are whole numbers, which have no gradient; give floating-point inputs, such as embeddings."
            )
        classes = check_target(target, n)
        size = self._rows(n) if internal_batch_size is None else check_whole("internal_batch_size", internal_batch_size)
        method, parts = self.method, []
        for start in range(0, n, size):
            rows = slice(start, start + size)
            given = batch.part(rows)
            scores = method.score(given, target_rows(classes, rows))
            if rows.stop < n:  # the sites of all parts are those of the first
                method = method.with_sites(scores)
            parts.append(self._attribute(given, scores))
        columns = zip(*(list(one.tensors()) for one in parts), strict=True)
        whole = iter([torch.cat(column) for column in columns])
        return cast(Tree, batch.map(lambda tensor: next(whole)).tree)

    def _rows(self, n: int) -> int:
        bounds = (self.method.internal_batch_size, _ROWS_ON_CPU if self.method.network.on_cpu else None)
        return min([n, *(bound for bound in bounds if bound is not None)])

    def _attribute(self, inputs: Batch, scores: NeuronScores) -> Batch:
        pathway = scores.select(self.sparsity)
        response = Response(*pathway.target) if isinstance(pathway.target, tuple) else Response(pathway.target)
        network = self.method.network.with_sites(pathway.raw)
        with evaluation(network.model) as device:
            given = inputs.to(device, float_type(network.model)).fresh()
            leaves = [tensor.requires_grad_() for tensor in given.tensors() if tensor.is_floating_point()]
            answers = response.of(network.run(given, mask_sites(pathway.raw)))
            grads: tuple[Tensor | None, ...] = (None,) * len(leaves)
            if answers.requires_grad:
                grads = torch.autograd.grad(answers.sum(), leaves, allow_unused=True)
            if all(gradient is None for gradient in grads):
                raise InputError(
                    "No gradient of the response reaches the inputs: an operation without one (such as argmax, detach"
                    " or torch.no_grad) lies between the inputs and the first site."
                )
            gradients = {id(leaf): gradient for leaf, gradient in zip(leaves, grads, strict=True)}

            def attributed(tensor: Tensor) -> Tensor:
                gradient = gradients.get(id(tensor))
                return torch.zeros_like(tensor) if gradient is None else gradient

            whole = given.map(lambda tensor: attributed(tensor).detach())
        return whole.to(next(inputs.tensors()).device)

    # What Captum's NoiseTunnel requires of a method.

    @property
    def forward_func(self) -> Any:
        """The model."""
        return self.method.network.model

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether attributions are gradients times inputs."""
        return False

    def has_convergence_delta(self) -> bool:
        """Whether attributions should add up to a change of the response."""
        return False


def signed_map(attribution: Tensor) -> Tensor:
    """Reduce to one channel: at each place the value of largest magnitude among the channels, with its sign.

    Parameters
    ----------
    attribution : Tensor
        (batch, channels, ...).

    Returns
    -------
    Tensor
        (batch, 1, ...).

    Examples
    --------
    >>> signed_map(torch.tensor([[[1.0, -4.0], [-2.0, 3.0]]]))
    tensor([[[-2., -4.]]])
    """
    if attribution.ndim < 2:
        raise InputError(f"The attribution has the shape {tuple(attribution.shape)}; expected (batch, channels, ...).")
    return attribution.gather(1, attribution.abs().argmax(1, keepdim=True))


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
