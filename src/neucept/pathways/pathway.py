"""Pathways: which neurons of each site are kept, for each input."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from torch import Tensor, nn

from neucept import storage
from neucept.errors import InputError
from neucept.pathways.inputs import Rows, changed, placed, rows_of
from neucept.pathways.selection import counted
from neucept.pathways.targets import Response
from neucept.pathways.tracing.activations import ACTIVATIONS, named
from neucept.pathways.tracing.calls import Calls, met
from neucept.pathways.tracing.network import masking
from neucept.pathways.tracing.sites import at_work, raw_name
from neucept.recording.batches import forward
from neucept.recording.outputs import Output, pick_logits

_KIND = "pathway"


@dataclass(frozen=True)
class KeptResponse:
    """What a masked network still answers.

    Attributes
    ----------
    logits : Tensor
        (batch, C), of the masked network.
    response : Tensor
        (batch,), its responses.
    share : Tensor
        (batch,), as a share of the whole network's responses; may be negative or above 1.
    agree : Tensor
        (batch,), bool: whether the predicted class is that of the whole network.
    """

    logits: Tensor
    response: Tensor
    share: Tensor
    agree: Tensor


@dataclass(frozen=True, eq=False)
class Pathway(Mapping[str, Tensor]):
    """The neurons that are kept, for each input: a mapping {site: (batch, *shape) bool} in forward order.

    Attributes
    ----------
    active : mapping of str to Tensor
        (batch, *shape), bool: whose activation is not zero for the input.
    zero_share : Tensor
        (batch,), the share of kept neurons whose score is zero: those were taken because there was nothing better.
    whole_response, predictions : Tensor
        (batch,), of the whole network.
    target : Tensor or pair of Tensors
        (batch,), the classes whose response it is.
    sparsity : float
        As it was asked.
    method, per_site, seed
        The class that scored, and as it was selected; see `NeuronScores.select`.
    activations : set of str
        Names of the functions whose calls are the sites.
    """

    masks: Mapping[str, Tensor] = field(repr=False)
    active: Mapping[str, Tensor] = field(repr=False)
    zero_share: Tensor
    whole_response: Tensor
    predictions: Tensor
    target: Tensor | tuple[Tensor, Tensor] = field(repr=False)
    sparsity: float
    method: str = ""
    per_site: bool = False
    seed: int = 0
    activations: frozenset[str] = field(default=ACTIVATIONS, repr=False)

    def __getitem__(self, site: str) -> Tensor:
        return self.masks[site]

    def __iter__(self) -> Iterator[str]:
        return iter(self.masks)

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def raw(self) -> dict[str, Tensor]:
        """The masks by the raw names of their sites, as `neucept.pathways.tracing.network.masking` takes them."""
        return {raw_name(site): mask for site, mask in self.masks.items()}

    def dead_share(self) -> Tensor:
        """Share of the kept neurons whose activation is zero for the input, (batch,)."""
        return share({site: mask & ~self.active[site] for site, mask in self.masks.items()}, self.masks)

    def natural_dead_share(self) -> Tensor:
        """Share of all neurons whose activation is zero for the input, (batch,): what chance would give."""
        return 1 - share(self.active, {site: torch.ones_like(mask) for site, mask in self.masks.items()})

    @overload
    def overlap(self, other: Pathway, by_site: Literal[False] = False) -> Tensor: ...
    @overload
    def overlap(self, other: Pathway, by_site: Literal[True]) -> dict[str, Tensor]: ...
    def overlap(self, other: Pathway, by_site: bool = False) -> Tensor | dict[str, Tensor]:
        """Jaccard overlap with another pathway of the same inputs: |both| / |either|.

        Parameters
        ----------
        other : Pathway
            Of the same sites and as many inputs.
        by_site : bool
            Of each site by itself.

        Returns
        -------
        Tensor, or dict of str to Tensor
            (batch,), over all sites together, or for each site. Where neither keeps a neuron it is not a number.

        Raises
        ------
        InputError
            When the sites or shapes differ.
        """
        if {site: mask.shape for site, mask in self.items()} != {site: mask.shape for site, mask in other.items()}:
            raise InputError("The pathways differ in sites, neurons or number of inputs; compare those of one network.")
        if self.predictions.device != other.predictions.device:
            raise InputError(
                f"The pathways lie on {self.predictions.device} and {other.predictions.device}; move one by .to()."
            )
        both = {site: mask & other[site] for site, mask in self.items()}
        either = {site: mask | other[site] for site, mask in self.items()}
        if by_site:
            return {site: share({site: both[site]}, {site: either[site]}) for site in self}
        return share(both, either)

    @contextmanager
    def masked(self, model: nn.Module, activations: Collection[str] | None = None) -> Iterator[nn.Module]:
        """Run a model with only the kept neurons: within the context every forward pass is masked.

        The model is in evaluation mode meanwhile; gradients are on or off as outside. Only the batch that the pathway
        was selected for can run, in its order.

        Parameters
        ----------
        model : Module
            The one that was scored.
        activations : set of str, optional
            Those of the method that scored unless told otherwise.

        Raises
        ------
        InputError
            From the forward pass, when the batch, the model or the device is another.
        """
        raw = self.raw
        mask = masking(raw)
        missing = set(raw)

        def visit(name: str, output: Tensor) -> Tensor:
            missing.discard(name)
            return mask(name, output)

        def complete(module: nn.Module, given: object, returned: object) -> None:
            if missing:
                raise InputError(f"The model never calls the pathway's site '{min(missing)}': give the one scored.")
            missing.update(raw)

        functions = self.activations if activations is None else named(activations)
        calls = Calls(visit, len(self.predictions), functions, known=set(raw))
        with at_work(model, gradients=torch.is_grad_enabled()), met(model, calls):
            handle = model.register_forward_hook(complete)
            try:
                yield model
            finally:
                handle.remove()

    def response(
        self, model: nn.Module, inputs: Any, output: Output = None, activations: Collection[str] | None = None
    ) -> KeptResponse:
        """Run the masked network on the batch and say what is left of the response.

        Parameters
        ----------
        model : Module
            The one that was scored.
        inputs : tensor, tuple or mapping of tensors
            The batch that was scored.
        output
            As the method that scored had it.
        activations : set of str, optional
            Those of the method that scored unless told otherwise.

        Raises
        ------
        InputError
            When the batch, the model or the device is another.
        """
        with at_work(model, gradients=False) as device, self.masked(model, activations):
            logits = pick_logits(forward(model, placed(inputs, device)), output)
        target = self.target if isinstance(self.target, tuple) else (self.target,)
        response = Response(*target).of(logits)
        agree = logits.argmax(1) == self.predictions
        return KeptResponse(logits, response, response / self.whole_response, agree)

    def save(self, path: str | Path) -> Path:
        """Write the pathway to a folder, eight neurons a byte."""
        target = self.target if isinstance(self.target, tuple) else (self.target,)
        arrays: dict[str, np.ndarray | None] = {
            name: getattr(self, name).cpu().numpy() for name in ("zero_share", "whole_response", "predictions")
        }
        arrays |= {f"target {i}": classes.cpu().numpy() for i, classes in enumerate(target)}
        for kind, values in (("mask", self.masks), ("active", self.active)):
            arrays |= {f"{kind} {site}": np.packbits(value.cpu().numpy()) for site, value in values.items()}
        facts = {name: getattr(self, name) for name in ("sparsity", "method", "per_site", "seed")}
        facts["shapes"] = {site: list(mask.shape) for site, mask in self.masks.items()}
        facts["activations"] = sorted(self.activations)
        return storage.save(path, _KIND, facts, arrays)

    @classmethod
    def open(cls, path: str | Path) -> Pathway:
        """Read what `save` wrote, onto the CPU.

        Raises
        ------
        InputError
            When the folder is missing, incomplete or holds something else.
        """
        with storage.opened(path, _KIND) as (facts, arrays):

            def bits(kind: str, site: str, shape: list[int]) -> Tensor:
                count = int(np.prod(shape))
                return torch.from_numpy(np.unpackbits(arrays[f"{kind} {site}"], count=count).astype(bool)).reshape(
                    shape
                )

            target = tuple(torch.from_numpy(arrays[name]) for name in ("target 0", "target 1") if name in arrays)
            return cls(
                masks={site: bits("mask", site, shape) for site, shape in facts["shapes"].items()},
                active={site: bits("active", site, shape) for site, shape in facts["shapes"].items()},
                zero_share=torch.from_numpy(arrays["zero_share"]),
                whole_response=torch.from_numpy(arrays["whole_response"]),
                predictions=torch.from_numpy(arrays["predictions"]),
                target=target[0] if len(target) == 1 else (target[0], target[1]),
                activations=frozenset(facts["activations"]),
                **{name: facts[name] for name in ("sparsity", "method", "per_site", "seed")},
            )

    def rows(self, rows: Rows) -> Pathway:
        """Give the pathways of some inputs: a number, a slice, numbers or a mask.

        Raises
        ------
        InputError
            For inputs that are not there, or none.
        """
        return rows_of(self, rows)

    def to(self, device: torch.device | str) -> Pathway:
        """Give the pathway on another device."""
        return changed(self, lambda tensor: tensor.to(device))


def share(part: Mapping[str, Tensor], whole: Mapping[str, Tensor]) -> Tensor:
    """Give how many of ``whole``, (batch, ...), are in ``part`` too, as a share, (batch,)."""
    return _count(part) / _count(whole)


def _count(masks: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([counted(mask) for mask in masks.values()]).sum(0)
