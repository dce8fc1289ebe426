"""Select exactly k neurons of each input by score, with ties broken at random."""

from __future__ import annotations

import numbers
from collections.abc import Mapping

import torch
from torch import Tensor

from neucept.errors import InputError


def check_sparsity(sparsity: object) -> float:
    """Return a sparsity as a float, or raise an InputError unless it lies in [0, 1).

    Examples
    --------
    >>> check_sparsity(0.9)
    0.9
    """
    if isinstance(sparsity, bool) or not isinstance(sparsity, numbers.Real) or not 0 <= float(sparsity) < 1:
        raise InputError(
            f"sparsity={sparsity!r}: expected a share in [0, 1), such as 0.9 (10% of the neurons are kept)."
        )
    return float(sparsity)


def n_kept(sparsity: float, n_neurons: int, at_least_one: bool = False) -> int:
    """Return how many of n neurons are kept: (1 - sparsity) n, rounded as Python rounds (halves to even).

    Parameters
    ----------
    sparsity : float
        In [0, 1).
    n_neurons : int
    at_least_one : bool
        Keep one instead of none, which is an InputError otherwise.

    Examples
    --------
    >>> n_kept(0.9, 1000), n_kept(0.5, 5), n_kept(0.5, 7), n_kept(0.9, 3, at_least_one=True)
    (100, 2, 4, 1)
    """
    kept = round((1 - check_sparsity(sparsity)) * n_neurons)
    if kept == 0 and not at_least_one:
        raise InputError(
            f"sparsity={sparsity!r} keeps none of the {n_neurons} neurons; {1 - 1 / n_neurons:.10g} keeps one."
        )
    return max(kept, 1)


def flatten(values: Mapping[str, Tensor]) -> Tensor:
    """Concatenate the neurons of all sites, (batch, N)."""
    return torch.cat([value.flatten(1) if value.ndim > 1 else value[:, None] for value in values.values()], dim=1)


def unflatten(matrix: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Split (batch, N) into sites again."""
    sizes = [value[0].numel() for value in like.values()]
    parts = torch.split(matrix, sizes, dim=1)
    return {site: part.reshape(value.shape) for (site, value), part in zip(like.items(), parts, strict=True)}


def random_order(n_neurons: int, seed: int, device: torch.device) -> Tensor:
    """Draw the order, (N,), in which ties are broken: the same for all inputs, so the batch does not matter."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(n_neurons, generator=generator).to(device)


def highest(scores: Tensor, active: Tensor, k: int, seed: int) -> Tensor:
    """Mark the k >= 1 highest scores of each row, (n, N).

    Ties at the limit are broken at random; among zeros, active neurons come first.

    Examples
    --------
    >>> highest(torch.tensor([[3.0, 1.0, 2.0], [0.0, 0.0, 5.0]]), torch.tensor([[True] * 3] * 2), k=2, seed=0).sum(1)
    tensor([2, 2])
    """
    n_neurons = scores.shape[1]
    if k == n_neurons:
        return torch.ones_like(scores, dtype=torch.bool)
    limit = scores.topk(k, dim=1, sorted=False).values.amin(1, keepdim=True)
    kept = scores >= limit
    surplus = count_true(kept) - k
    order: Tensor | None = None
    for row in surplus.nonzero()[:, 0].tolist():
        order = random_order(n_neurons, seed, scores.device) if order is None else order
        equal = order[(scores[row] == limit[row])[order]]
        if limit[row] == 0:  # the active ones last, because the first are removed
            equal = equal[active[row, equal].sort(stable=True).indices]
        kept[row, equal[: surplus[row]]] = False
    return kept


def count_true(mask: Tensor) -> Tensor:
    """Count the true values of each row, (n,); bytes are summed several times faster than truth values."""
    return mask.reshape(len(mask), -1).view(torch.uint8).sum(1, dtype=torch.int32)
