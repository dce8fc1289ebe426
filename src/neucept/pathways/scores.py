"""The scores of every neuron of a batch, from which pathways are selected."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neucept import storage
from neucept.errors import InputError, check_whole
from neucept.pathways.pathway import Pathway, Rows, select_rows, share
from neucept.pathways.selection import check_sparsity, flatten, highest, n_kept, unflatten
from neucept.pathways.tracing.activations import ACTIVATIONS
from neucept.short_repr import ShortRepr

_KIND = "neuron scores"


@dataclass(frozen=True, eq=False, repr=False)
class NeuronScores(ShortRepr, Mapping[str, Tensor]):
    """The importance of each neuron for each input's response: a mapping {site: (batch, *shape)} in forward order.

    Attributes
    ----------
    method : str
        The class that computed the scores.
    active : mapping of str to Tensor
        (batch, *shape), bool: neurons whose activation is not zero for the input.
    response : Tensor
        (batch,), the response of the whole network.
    predictions : Tensor
        (batch,), predicted classes of the whole network.
    target : Tensor or pair of Tensors
        (batch,), the classes that are explained; a pair (a, b) for a difference.
    zero : mapping of str to Tensor, or None
        (batch, *shape), bool, where scores are ranks: neurons that were ranked with a contribution of zero.
    residual : mapping of str to Tensor, or None
        (batch,), integrated gradients only: absolute difference between the sum of a site's signed contributions and
        the change of the response when the site falls from its activations to zero.
    change : mapping of str to Tensor, or None
        (batch,), that change, with which a residual is compared.
    by_site : bool
        Whether `select` keeps the same share of each site by default.
    reached : float or None
        Greedy pruning only: the sparsity to which neurons were removed, beyond which there are no ranks.
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
        """Keep the neurons with the highest scores, exactly the requested number for each input.

        Parameters
        ----------
        sparsity : float
            Share of the neurons that is left out. Of N neurons, ``round((1 - sparsity) * N)`` are kept.
        per_site : bool, optional
            Apply the sparsity to each site separately, with at least one neuron per site, or to all sites together.
            None: together, except for `RandomPathway`.
        seed : int
            Seed for the order in which ties are broken: the same order for all inputs, a different one for each
            method. Among scores of zero, active neurons come first.

        Raises
        ------
        InputError
            For a sparsity outside [0, 1), one that keeps no neuron, or one beyond that of greedy pruning.
        """
        sparsity = check_sparsity(sparsity)
        check_reached(self.method, self.reached, sparsity)
        seed = check_whole("seed", seed, least=None)
        draw = zlib.crc32(f"{self.method} {seed}".encode())
        alone = self.by_site if per_site is None else bool(per_site)
        masks: dict[str, Tensor] = {}
        for number, group in enumerate([[site] for site in self] if alone else [list(self)]):
            scores = {site: self.scores[site] for site in group}
            matrix, active = flatten(scores), flatten({site: self.active[site] for site in group})
            k = n_kept(sparsity, matrix.shape[1], at_least_one=alone)
            masks |= unflatten(highest(matrix, active, k, draw + number), scores)
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
        """Return the scores of some inputs: a number, a slice, numbers or a mask.

        Raises
        ------
        InputError
            For numbers of inputs that do not exist, or an empty selection.
        """
        return select_rows(self, rows)

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
        """Read what `save` wrote; the tensors lie on the CPU.

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
                by_site = {site: tensors[f"{name} {site}"] for site in order if f"{name} {site}" in tensors}
                more[name] = by_site or None
            for name in ("response", "predictions"):
                more[name] = tensors[f"{name} "]
            target = [tensors[f"target {i}"] for i in ("", "0", "1") if f"target {i}" in tensors]
            more["target"] = target[0] if len(target) == 1 else tuple(target)
            return cls(**more)


def check_reached(method: str, reached: float | None, sparsity: float) -> None:
    """Raise an InputError for a sparsity beyond that to which neurons were removed."""
    if reached is not None and sparsity > reached:
        raise InputError(
            f"sparsity={sparsity!r}: {method} removed neurons up to a sparsity of {reached!r} only and did not rank the"
            f" rest. Use {method}(model, sparsity={sparsity!r}); its earlier stages can be selected too."
        )
