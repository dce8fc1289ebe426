"""Some inputs as a network takes them: a tensor, or a tree of tensors for positional and keyword arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from neucept.errors import InputError
from neucept.short_repr import ShortRepr


def tensors_of(tree: Any) -> Iterator[Tensor]:
    """Iterate over the tensors of nested tuples, lists and mappings, in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping | tuple | list):
        for part in tree.values() if isinstance(tree, Mapping) else tree:
            yield from tensors_of(part)


def map_tree(change: Callable[[Tensor], Any], tree: Any) -> Any:
    """Change every tensor of nested tuples, lists and mappings; anything else stays."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, Mapping):
        return {key: map_tree(change, part) for key, part in tree.items()}
    if isinstance(tree, tuple | list):
        parts = [map_tree(change, part) for part in tree]
        return parts if isinstance(tree, list) else tuple(parts)
    return tree


def check_dense(tensor: Tensor) -> Tensor:
    """Return a tensor, or raise an InputError for one whose inputs cannot be selected by number."""
    if tensor.is_nested:
        raise InputError("The inputs are a nested tensor: pad it with torch.nested.to_padded_tensor, and give a mask.")
    if tensor.layout != torch.strided:
        raise InputError("The inputs are a sparse tensor: give a dense one, tensor.to_dense().")
    if tensor.is_meta:
        raise InputError("The inputs are on the meta device: they have no values.")
    return tensor


@dataclass(frozen=True, eq=False, repr=False)
class Batch(ShortRepr):
    """Some inputs, as a network takes them.

    Attributes
    ----------
    tree : Tensor, tuple or dict
        One tensor, positional arguments (tuple) or keyword arguments (dict), possibly nested. The first axis of every
        tensor counts the inputs.

    Examples
    --------
    >>> batch = Batch((torch.zeros(4, 3), {"mask": torch.ones(4)}))
    >>> batch.n, batch.part(slice(0, 2)).n, batch.repeat(3).n
    (4, 2, 12)
    """

    tree: Any

    @cached_property
    def n(self) -> int:
        """Number of inputs.

        Raises
        ------
        InputError
            When there is no tensor, the tensors differ in length or device, or there is not one input.
        """
        tensors = [check_dense(tensor) for tensor in self.tensors()]
        if not tensors or any(tensor.ndim == 0 for tensor in tensors):
            raise InputError(
                f"The inputs are a {type(self.tree).__name__}; expected a tensor (batch, ...), or a tuple or mapping"
                " of them."
            )
        lengths = sorted({tensor.size(0) for tensor in tensors})
        if len(lengths) > 1 or lengths[0] == 0:
            raise InputError(
                f"The parts of the inputs have the lengths {lengths}; expected the same number, one or more."
            )
        devices = sorted({str(tensor.device) for tensor in tensors})
        if len(devices) > 1:
            raise InputError(
                f"The parts of the inputs lie on several devices ({', '.join(devices)}); move them to one."
            )
        return lengths[0]

    def tensors(self) -> Iterator[Tensor]:
        """Iterate over the tensors, in order."""
        return tensors_of(self.tree)

    def map(self, change: Callable[[Tensor], Any]) -> Batch:
        """Change every tensor."""
        return Batch(map_tree(change, self.tree))

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> Batch:
        """Move every tensor to a device; floating-point ones also to a type, where one is given."""

        def move(tensor: Tensor) -> Tensor:
            kind = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
            return tensor.to(device, kind, non_blocking=True)

        return self.map(move)

    def part(self, rows: Any) -> Batch:
        """Select some inputs, by a slice, numbers or a mask."""
        return self.map(lambda tensor: tensor[rows])

    def repeat(self, times: int) -> Batch:
        """Concatenate the whole batch with itself."""
        return self if times == 1 else self.map(lambda tensor: torch.cat([tensor] * times))

    def fresh(self) -> Batch:
        """Copy every tensor, detached: a network that writes into its input must not change the user's data."""
        return self.map(lambda tensor: tensor.detach().clone())

    def call(self, model: Callable[..., Any]) -> Any:
        """Call a model on the inputs: a tensor, a tuple (positional) or a mapping (keywords)."""
        if isinstance(self.tree, Mapping):
            return model(**self.tree)
        return model(*self.tree) if isinstance(self.tree, tuple | list) else model(self.tree)
