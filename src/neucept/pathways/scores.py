"""The scores of every neuron of a batch, from which pathways are selected."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from neucept.pathways.network import Network, Pass, check_finite
from neucept.pathways.pathway import Pathway, share
from neucept.pathways.responses import Response, Target
from neucept.pathways.selection import flat, highest, n_kept, unflat
from neucept.pathways.sites import ACTIVATIONS
from neucept.recording.outputs import Output


class Method(ABC):
    """A way to score the neurons of a network.

    Parameters
    ----------
    model : Module
        Any network that ends in logits; left as it was found.
    output : None, str, int or callable
        Picks the logits out of what the model returns, as in `neucept.record`.
    activations : set of str
        Names of the functions whose calls are sites, such as ``ACTIVATIONS | {"sigmoid"}``.
    """

    def __init__(self, model: nn.Module, *, output: Output = None, activations: Collection[str] = ACTIVATIONS) -> None:
        self.network = Network(model, output, activations)

    @abstractmethod
    def score(self, inputs: Any, target: Target = None) -> NeuronScores:
        """Score every neuron of every input.

        Parameters
        ----------
        inputs : tensor, tuple or mapping of tensors
            A batch.
        target : None, int, (batch,) whole numbers, or a pair (a, b) of either
            The class whose logit is explained, None for the predicted one; a pair for logit a minus logit b.

        Raises
        ------
        InputError
            For a model without sites, a class that is not there, or a site that no gradient reaches.
        """


@dataclass(frozen=True, eq=False)
class NeuronScores(Mapping[str, Tensor]):
    """How much each neuron counts for each input's response: a mapping {site: (batch, *shape)} in forward order.

    Attributes
    ----------
    method : str
        The class that gave the scores.
    active : mapping of str to Tensor
        (batch, *shape), bool: whose activation is not zero for the input.
    response : Tensor
        (batch,), the response of the whole network.
    predictions : Tensor
        (batch,), its predicted classes.
    target : Tensor or pair of Tensors
        (batch,), the classes whose response it is; a pair (a, b) for a difference.
    zero : mapping of str to Tensor, or None
        (batch, *shape), bool, where scores are an order: whose contribution, by which it was placed, is zero.
    residual : mapping of str to Tensor, or None
        (batch,), integrated gradients alone: how far the signed contributions of a site are from adding up to the
        change of the response when the site falls from its activations to zero, in absolute value.
    change : mapping of str to Tensor, or None
        (batch,), that change, against which a residual is large or small.
    by_site : bool
        Whether `select` keeps the same share of each site unless told otherwise.
    """

    scores: Mapping[str, Tensor] = field(repr=False)
    method: str
    active: Mapping[str, Tensor] = field(repr=False)
    response: Tensor
    predictions: Tensor
    target: Tensor | tuple[Tensor, Tensor] = field(repr=False)
    zero: Mapping[str, Tensor] | None = field(default=None, repr=False)
    residual: Mapping[str, Tensor] | None = field(default=None, repr=False)
    change: Mapping[str, Tensor] | None = field(default=None, repr=False)
    by_site: bool = False

    def __getitem__(self, site: str) -> Tensor:
        return self.scores[site]

    def __iter__(self) -> Iterator[str]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, sparsity: float = 0.9, per_site: bool | None = None, seed: int = 0) -> Pathway:
        """Keep the neurons of the highest scores, exactly as many as asked for each input.

        Parameters
        ----------
        sparsity : float
            The share of neurons that is left out. Of N neurons, ``round((1 - sparsity) * N)`` stay.
        per_site : bool, optional
            Of each site by itself, or of all sites together. None: together, but for `RandomPathway`.
        seed : int
            Of the order in which neurons of equal score are taken, the same for all inputs and another for each
            method. Among scores of zero, active neurons come first.

        Raises
        ------
        InputError
            For a sparsity outside [0, 1).
        """
        drawn = zlib.crc32(f"{self.method} {seed}".encode())
        groups = [[site] for site in self] if (self.by_site if per_site is None else per_site) else [list(self)]
        masks: dict[str, Tensor] = {}
        for number, group in enumerate(groups):
            scores = {site: self.scores[site] for site in group}
            matrix, active = flat(scores), flat({site: self.active[site] for site in group})
            masks |= unflat(highest(matrix, active, n_kept(sparsity, matrix.shape[1]), drawn + number), scores)
        zero = self.zero or {site: score == 0 for site, score in self.items()}
        zero_share = share({site: mask & zero[site] for site, mask in masks.items()}, masks)
        return Pathway(masks, self.active, zero_share, self.response, self.predictions, self.target, sparsity)


def scored(method: str, scores: Mapping[str, Tensor], taken: Pass, response: Response, **more: Any) -> NeuronScores:
    """Name the sites readably and put together what a method found, by raw names."""
    names = taken.names
    check_finite(scores, names)
    for key, value in more.items():
        if isinstance(value, Mapping):
            more[key] = {names[raw]: part for raw, part in value.items()}
    logits = taken.logits.detach()
    return NeuronScores(
        scores={names[raw]: score for raw, score in scores.items()},
        method=method,
        active={names[raw]: value.bool() for raw, value in taken.values.items()},
        response=response.of(logits),
        predictions=logits.argmax(1),
        target=response.target,
        **more,
    )


def joined(parts: Sequence[NeuronScores]) -> NeuronScores:
    """Put the scores of consecutive parts of a batch together."""
    if len(parts) == 1:
        return parts[0]

    def together(values: Sequence[Any]) -> Any:
        if isinstance(values[0], Mapping):
            return {key: torch.cat([value[key] for value in values]) for key in values[0]}
        if isinstance(values[0], tuple):
            return tuple(map(torch.cat, zip(*values, strict=True)))
        return torch.cat(list(values)) if isinstance(values[0], Tensor) else values[0]

    return NeuronScores(
        **{one.name: together([getattr(part, one.name) for part in parts]) for one in fields(NeuronScores)}
    )
