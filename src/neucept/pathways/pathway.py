"""Pathways: which neurons of each site are kept, for each input."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import numpy as np
import torch
from torch import Tensor, nn

from neucept import storage
from neucept.batches import Batch, map_tree, tensors_of
from neucept.errors import InputError
from neucept.pathways.selection import count_true
from neucept.pathways.targets import Response
from neucept.pathways.tracing.activations import ACTIVATIONS, check_activations
from neucept.pathways.tracing.calls import Calls, follow_calls
from neucept.pathways.tracing.network import mask_sites
from neucept.pathways.tracing.sites import evaluation, never_called, raw_name
from neucept.recording.hooks import check_model
from neucept.recording.outputs import Output, pick_logits
from neucept.recording.reading import call_first, float_type
from neucept.short_repr import ShortRepr

_KIND = "pathway"

Rows = int | slice | Sequence[int] | np.ndarray | Tensor
_Noun = TypeVar("_Noun")


@dataclass(frozen=True, repr=False)
class KeptResponse(ShortRepr):
    """The response of a masked network.

    Attributes
    ----------
    logits : Tensor
        (batch, C), of the masked network.
    response : Tensor
        (batch,), its responses.
    share : Tensor
        (batch,), its share of the whole network's responses; may be negative or above 1.
    agree : Tensor
        (batch,), bool: whether it predicts the same class as the whole network.
    """

    logits: Tensor
    response: Tensor
    share: Tensor
    agree: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Pathway(ShortRepr, Mapping[str, Tensor]):
    """The neurons that are kept for each input: a mapping {site: (batch, *shape) bool} in forward order.

    Attributes
    ----------
    active : mapping of str to Tensor
        (batch, *shape), bool: neurons whose activation is not zero for the input.
    zero_share : Tensor
        (batch,), share of the kept neurons whose score is zero; they are kept only to reach the requested number.
    whole_response, predictions : Tensor
        (batch,), of the whole network.
    target : Tensor or pair of Tensors
        (batch,), the classes that are explained.
    sparsity : float
        The requested sparsity.
    method, per_site, seed
        The class that computed the scores, and the arguments of `NeuronScores.select`.
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
        """The masks by the raw names of their sites, as `neucept.pathways.tracing.network.mask_sites` takes them."""
        return {raw_name(site): mask for site, mask in self.masks.items()}

    def dead_share(self) -> Tensor:
        """Share of the kept neurons whose activation is zero for the input, (batch,)."""
        return share({site: mask & ~self.active[site] for site, mask in self.masks.items()}, self.masks)

    def natural_dead_share(self) -> Tensor:
        """Share of all neurons whose activation is zero for the input, (batch,): the value for a random choice."""
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
            With the same sites and number of inputs.
        by_site : bool
            Compute the overlap of each site separately.

        Returns
        -------
        Tensor, or dict of str to Tensor
            (batch,), over all sites together, or for each site; NaN where neither keeps a neuron.

        Raises
        ------
        InputError
            When the sites or shapes differ.
        """
        if {site: mask.shape for site, mask in self.items()} != {site: mask.shape for site, mask in other.items()}:
            raise InputError("The pathways differ in sites, neurons or number of inputs; compare those of one network.")
        if self.predictions.device != other.predictions.device:
            raise InputError(
                f"The pathways lie on {self.predictions.device} and {other.predictions.device}; move one with .to()."
            )
        both = {site: mask & other[site] for site, mask in self.items()}
        either = {site: mask | other[site] for site, mask in self.items()}
        if by_site:
            return {site: share({site: both[site]}, {site: either[site]}) for site in self}
        return share(both, either)

    @contextmanager
    def masked(self, model: nn.Module, activations: Collection[str] | None = None) -> Iterator[nn.Module]:
        """Mask every forward pass of a model in this context: only the kept neurons stay.

        The model is in evaluation mode in the context; gradients are on or off as outside. Only the batch that the
        pathway was selected for can run, in its order.

        Parameters
        ----------
        model : Module
            The model that was scored.
        activations : set of str, optional
            By default those of the method that computed the scores.

        Raises
        ------
        InputError
            From the forward pass, when the batch, the model or the device is a different one.
        """
        model = check_model(model)
        raw = self.raw
        mask = mask_sites(raw)
        missing = set(raw)

        def visit(name: str, output: Tensor) -> Tensor:
            missing.discard(name)
            return mask(name, output)

        def complete(module: nn.Module, given: object, returned: object) -> None:
            if missing:
                raise never_called(min(missing))
            missing.update(raw)

        functions = self.activations if activations is None else check_activations(activations)
        calls = Calls(visit, len(self.predictions), functions, known=set(raw))
        with evaluation(model, gradients=torch.is_grad_enabled()), follow_calls(model, calls):
            handle = model.register_forward_hook(complete)
            try:
                yield model
            finally:
                handle.remove()

    def response(
        self, model: nn.Module, inputs: Any, output: Output = None, activations: Collection[str] | None = None
    ) -> KeptResponse:
        """Run the masked network on the batch and return what is left of the response.

        Parameters
        ----------
        model : Module
            The model that was scored.
        inputs : tensor, tuple or mapping of tensors
            The batch that was scored.
        output
            As for the method that computed the scores.
        activations : set of str, optional
            By default those of the method that computed the scores.

        Raises
        ------
        InputError
            When the batch, the model or the device is a different one.
        """
        model = check_model(model)
        with evaluation(model, gradients=False) as device, self.masked(model, activations):
            batch = Batch(inputs).to(device, float_type(model)).fresh()
            logits = pick_logits(call_first(model, batch), output)
        target = self.target if isinstance(self.target, tuple) else (self.target,)
        response = Response(*target).of(logits)
        agree = logits.argmax(1) == self.predictions
        return KeptResponse(logits, response, response / self.whole_response, agree)

    def save(self, path: str | Path) -> Path:
        """Write the pathway to a folder, eight neurons per byte."""
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
        """Read what `save` wrote; the tensors lie on the CPU.

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
        """Return the pathways of some inputs: a number, a slice, numbers or a mask.

        Raises
        ------
        InputError
            For numbers of inputs that do not exist, or an empty selection.
        """
        return select_rows(self, rows)

    def to(self, device: torch.device | str) -> Pathway:
        """Return the pathway on another device."""
        return _map_fields(self, lambda tensor: tensor.to(device))


def share(part: Mapping[str, Tensor], whole: Mapping[str, Tensor]) -> Tensor:
    """Return which share of ``whole``, (batch, ...), is in ``part`` too, (batch,)."""
    return _count(part) / _count(whole)


def _count(masks: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([count_true(mask) for mask in masks.values()]).sum(0)


def select_rows(noun: _Noun, rows: Rows) -> _Noun:
    """Select some inputs of a dataclass of tensors, each (batch, ...).

    Raises
    ------
    InputError
        For numbers of inputs that do not exist, or an empty selection.
    """
    which: Any = rows
    if not isinstance(rows, slice):
        try:
            which = torch.as_tensor(rows).reshape(-1)
            if which.dtype.is_floating_point and len(which):
                raise TypeError
            which = which if which.dtype == torch.bool else which.long()
        except (TypeError, ValueError, RuntimeError):
            raise InputError(f"rows={rows!r}: expected a slice, numbers of inputs, or a mask.") from None
    try:
        part = _map_fields(noun, lambda tensor: tensor[which.to(tensor.device) if isinstance(which, Tensor) else which])
    except (IndexError, TypeError) as error:
        raise InputError(f"rows={rows!r}: {error}.") from None
    if not len(next(tensors_of([getattr(part, one.name) for one in fields(part)]))):  # type: ignore[arg-type]
        raise InputError(f"rows={rows!r} selects no input.")
    return part


def _map_fields(noun: _Noun, change: Callable[[Tensor], Tensor]) -> _Noun:
    """Replace every tensor in the fields of a dataclass."""
    return replace(noun, **{one.name: map_tree(change, getattr(noun, one.name)) for one in fields(noun)})  # type: ignore[type-var, arg-type]
