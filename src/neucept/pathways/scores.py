"""The scores of every neuron of a batch, from which pathways are selected."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neucept import storage
from neucept.errors import InputError, check_whole
from neucept.pathways.inputs import Rows, count_inputs, part, placed, rows_of
from neucept.pathways.pathway import Pathway, share
from neucept.pathways.selection import check_sparsity, flat, highest, n_kept, unflat
from neucept.pathways.targets import Checked, Response, Target, check_target, cut
from neucept.pathways.tracing.activations import ACTIVATIONS
from neucept.pathways.tracing.gradients import Pass, check_finite
from neucept.pathways.tracing.network import Network
from neucept.pathways.tracing.sites import at_work, raw_name
from neucept.recording.outputs import Output

_KIND = "neuron scores"


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
    internal_batch_size : int, optional
        Most inputs that run at a time, which bounds memory and changes no score; None runs all of a batch.

    Attributes
    ----------
    by_site : bool
        Whether `NeuronScores.select` keeps the same share of each site unless told otherwise.
    reached : float or None
        The highest sparsity that can be selected, where there is one.
    """

    by_site = False
    reached: float | None = None

    def __init__(
        self,
        model: nn.Module,
        *,
        output: Output = None,
        activations: Collection[str] = ACTIVATIONS,
        internal_batch_size: int | None = None,
    ) -> None:
        self.network = Network(model, output, activations)
        self.internal_batch_size = (
            None if internal_batch_size is None else check_whole("internal_batch_size", internal_batch_size)
        )

    def score(self, inputs: Any, target: Target = None) -> NeuronScores:
        """Score every neuron of every input; how many run at a time changes nothing.

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
        n = count_inputs(inputs)
        classes = check_target(target, n)
        size = self._rows(inputs)
        method, parts = self, []
        with at_work(self.network.model) as device:
            for start in range(0, n, size):
                rows = slice(start, start + size)
                parts.append(method._score(placed(part(inputs, rows), device), cut(classes, rows)))
                if rows.stop < n:  # the sites of all parts are those of the first
                    method = method.knowing(parts[0])
        return joined(parts)

    @abstractmethod
    def _score(self, inputs: Any, target: Checked) -> NeuronScores:
        """Score a batch that lies on the model's device, the model at work; what it holds may be written over."""

    def _rows(self, inputs: Any) -> int:
        """How many inputs of a batch run at a time."""
        return self.internal_batch_size or count_inputs(inputs)

    def knowing(self, scores: NeuronScores) -> Method:
        """Give the method for further inputs, of the same sites as those scored."""
        method = copy(self)
        method.network = self.network.only(map(raw_name, scores))
        return method

    def _scored(self, scores: Mapping[str, Tensor], taken: Pass, response: Response, **more: Any) -> NeuronScores:
        """Name the sites readably and put together what was found, by raw names."""
        names = taken.names
        check_finite(scores, names)
        for key, value in more.items():
            if isinstance(value, Mapping):
                more[key] = {names[raw]: part for raw, part in value.items()}
        logits = taken.logits.detach()
        return NeuronScores(
            scores={names[raw]: score for raw, score in scores.items()},
            method=type(self).__name__,
            active={names[raw]: value.bool() for raw, value in taken.values.items()},
            response=response.of(logits),
            predictions=logits.argmax(1),
            target=response.target,
            by_site=self.by_site,
            reached=self.reached,
            activations=frozenset(self.network.activations),
            **more,
        )


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
    reached : float or None
        Greedy pruning alone: the sparsity to which neurons were removed, beyond which there is no order.
    activations : set of str
        Names of the functions whose calls are the sites.
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
    reached: float | None = None
    activations: frozenset[str] = field(default=ACTIVATIONS, repr=False)

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
            Of each site by itself, or of all sites together. None: together, but for `RandomPathway`. Each site by
            itself keeps one neuron at least.
        seed : int
            Of the order in which neurons of equal score are taken, the same for all inputs and another for each
            method. Among scores of zero, active neurons come first.

        Raises
        ------
        InputError
            For a sparsity outside [0, 1), one that keeps no neuron, or one beyond what greedy pruning has reached.
        """
        sparsity = check_sparsity(sparsity)
        check_reached(self.method, self.reached, sparsity)
        seed = check_whole("seed", seed, least=None)
        drawn = zlib.crc32(f"{self.method} {seed}".encode())
        alone = self.by_site if per_site is None else bool(per_site)
        masks: dict[str, Tensor] = {}
        for number, group in enumerate([[site] for site in self] if alone else [list(self)]):
            scores = {site: self.scores[site] for site in group}
            matrix, active = flat(scores), flat({site: self.active[site] for site in group})
            k = n_kept(sparsity, matrix.shape[1], at_least_one=alone)
            masks |= unflat(highest(matrix, active, k, drawn + number), scores)
        zero = self.zero or {site: score == 0 for site, score in self.items()}
        return Pathway(
            masks=masks,
            active=self.active,
            zero_share=share({site: mask & zero[site] for site, mask in masks.items()}, masks),
            whole_response=self.response,
            predictions=self.predictions,
            target=self.target,
            sparsity=sparsity,
            method=self.method,
            per_site=alone,
            seed=seed,
            activations=self.activations,
        )

    def rows(self, rows: Rows) -> NeuronScores:
        """Give the scores of some inputs: a number, a slice, numbers or a mask.

        Raises
        ------
        InputError
            For inputs that are not there, or none.
        """
        return rows_of(self, rows)

    def save(self, path: str | Path) -> Path:
        """Write the scores to a folder."""
        arrays: dict[str, np.ndarray | None] = {}
        facts: dict[str, Any] = {"sites": list(self), "activations": sorted(self.activations)}
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, Tensor):
                value = {"": value}
            elif isinstance(value, tuple):
                value = dict(zip(("0", "1"), value, strict=True))
            if isinstance(value, Mapping):
                arrays |= {f"{one.name} {key}": tensor.cpu().numpy() for key, tensor in value.items()}
            elif one.name != "activations":
                facts[one.name] = value
        return storage.save(path, _KIND, facts, arrays)

    @classmethod
    def open(cls, path: str | Path) -> NeuronScores:
        """Read what `save` wrote, onto the CPU.

        Raises
        ------
        InputError
            When the folder is missing, incomplete or holds something else.
        """
        with storage.opened(path, _KIND) as (facts, arrays):
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            order = facts.pop("sites")
            more: dict[str, Any] = {**facts, "activations": frozenset(facts["activations"])}
            for name in ("scores", "active", "zero", "residual", "change"):
                found = {site: tensors[f"{name} {site}"] for site in order if f"{name} {site}" in tensors}
                more[name] = found or None
            for name in ("response", "predictions"):
                more[name] = tensors[f"{name} "]
            target = [tensors[f"target {i}"] for i in ("", "0", "1") if f"target {i}" in tensors]
            more["target"] = target[0] if len(target) == 1 else tuple(target)
            return cls(**more)


def check_reached(method: str, reached: float | None, sparsity: float) -> None:
    """Raise an InputError for a sparsity beyond that to which neurons were removed."""
    if reached is not None and sparsity > reached:
        raise InputError(
            f"sparsity={sparsity!r}: {method} removed neurons up to a sparsity of {reached!r} only, beyond which there"
            f" is no order. Give {method}(model, sparsity={sparsity!r}), whose earlier stages can be selected too."
        )


def joined(parts: Sequence[NeuronScores]) -> NeuronScores:
    """Put the scores of consecutive parts of a batch together."""
    if len(parts) == 1:
        return parts[0]
    for other in parts:
        if list(other) != list(parts[0]):
            sites = sorted(set(parts[0]) ^ set(other))
            raise InputError(
                f"The model calls the activations {', '.join(sites)} for some of the inputs only. Score inputs that go"
                " one way through the model together, apart from others."
            )

    def together(values: Sequence[Any]) -> Any:
        if isinstance(values[0], Mapping):
            return {key: torch.cat([value[key] for value in values]) for key in values[0]}
        if isinstance(values[0], tuple):
            return tuple(map(torch.cat, zip(*values, strict=True)))
        return torch.cat(list(values)) if isinstance(values[0], Tensor) else values[0]

    return NeuronScores(
        **{one.name: together([getattr(part, one.name) for part in parts]) for one in fields(NeuronScores)}
    )
