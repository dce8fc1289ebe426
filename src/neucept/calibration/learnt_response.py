"""How strongly a network that has learnt a response depends on each neuron: a part of the evidence."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from neucept.threads import one_thread

Advance = Callable[[int], None]
HIDDEN = 16
PASSES = 15  # over the rows
BATCH = 64
RATE = 1e-2
SPARSITY = 3e-3  # weight of the group lasso on the neurons
DECAY = 1e-3
PROBES = 512  # rows at which gradients are taken


def nothing(steps: int) -> None:
    """Show no progress."""


def importance(
    Z: np.ndarray, Y: np.ndarray, seed: int = 0, advance: Advance = nothing
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Root mean square gradient of a learnt response with respect to each neuron.

    For every response a network of one hidden ReLU layer beside a linear part is trained, with a group lasso over the
    neurons; all of them together, as one wide network.

    Parameters
    ----------
    Z : array
        (n, p) standardised neurons.
    Y : array
        (n, L) standardised responses.
    seed : int
        Seed for initial weights and batches.
    advance : callable
        Called with 1 after every pass over the rows, `PASSES` in all.

    Returns
    -------
    importance : array
        (L, p), not negative.
    spread : array
        (L, p) standard deviation of the gradient, 0 where the response is linear.
    residual : array
        (L,) training error (mean squared) of the networks; 1 where nothing was learnt.

    Notes
    -----
    It runs on one thread: sums in another order would lead training elsewhere, and the same seed must give the same
    result on every number of threads.
    """
    with one_thread(), _tiny_is_zero(), torch.no_grad():
        return _train(torch.as_tensor(Z, dtype=torch.float32), torch.as_tensor(Y, dtype=torch.float32), seed, advance)


def _train(X: Tensor, Y: Tensor, seed: int, advance: Advance) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    (n, p), L = X.shape, Y.shape[1]
    generator = torch.Generator().manual_seed(seed)
    batch = max(1, min(BATCH, n // 4))
    # Every response has a starting point of its own, found from its signs, whatever others there are beside it.
    signs = np.packbits(Y.numpy() > 0, axis=0)
    own = [torch.Generator().manual_seed(zlib.crc32(signs[:, i].tobytes(), seed)) for i in range(L)]

    def drawn(*shape: int, scale: float) -> torch.nn.Parameter:
        return torch.nn.Parameter(torch.stack([torch.randn(shape, generator=g) for g in own], dim=-2) * scale)

    first = drawn(p, HIDDEN, scale=p**-0.5)  # (p, L, HIDDEN)
    bias, second = drawn(HIDDEN, scale=0.1), drawn(HIDDEN, scale=HIDDEN**-0.5)
    straight = torch.nn.Parameter(torch.zeros(p, L))
    offset = torch.nn.Parameter(torch.zeros(L))
    parameters = [first, bias, second, straight, offset]
    optimiser = torch.optim.Adam(parameters, lr=RATE, fused=True)
    steps = PASSES * (n // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)

    def before(x: Tensor) -> Tensor:
        return torch.addmm(bias.view(-1), x, first.view(p, -1)).view(len(x), L, HIDDEN)

    def learnt(x: Tensor) -> Tensor:
        return torch.einsum("blh,lh->bl", before(x).relu_(), second) + x @ straight + offset

    for _ in range(PASSES):
        order = torch.randperm(n, generator=generator)
        for start in range(0, (n // batch) * batch, batch):
            rows = order[start : start + batch]
            x = X[rows]
            H = before(x).relu_()
            error = (torch.einsum("blh,lh->bl", H, second) + x @ straight + offset - Y[rows]) * (2 / batch)
            second.grad = torch.einsum("blh,bl->lh", H, error) + 2 * DECAY * second
            back = (H > 0) * error[:, :, None] * second
            norm = torch.sqrt((first**2).sum(dim=2) + straight**2 + 1e-10)
            first.grad = (x.T @ back.view(batch, -1)).view(p, L, HIDDEN) + 2 * DECAY * first
            first.grad += (SPARSITY / norm)[:, :, None] * first
            straight.grad = x.T @ error + SPARSITY * straight / norm
            bias.grad, offset.grad = back.sum(dim=0), error.sum(dim=0)
            optimiser.step()
            schedule.step()
        advance(1)
    probes = X[torch.randperm(n, generator=generator)[:PROBES]]
    total, spread = torch.zeros(L, p), torch.zeros(L, p)
    for response in range(L):
        slope = (torch.addmm(bias[response], probes, first[:, response]) > 0) * second[response]
        slopes = slope @ first[:, response].T + straight[:, response]
        total[response], spread[response] = slopes.square().mean(dim=0).sqrt(), slopes.std(dim=0)
    residual = (learnt(X[:2048]) - Y[:2048]).square().mean(dim=0)
    size, deviation, error_left = (part.numpy().astype(np.float64) for part in (total, spread, residual))
    return size, deviation, error_left


@contextmanager
def _tiny_is_zero() -> Iterator[None]:
    """Round tiny numbers to zero: weights on their way there are very slow otherwise."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
