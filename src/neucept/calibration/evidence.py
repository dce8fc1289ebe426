"""The evidence on groups of neurons, and their local false discovery rate: the probability of being null, given it.

The term is Efron's (Efron and others, 2001). Here a classifier estimates it from simulated responses, for which the
null groups are known.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits
from torch import Tensor


def group_importance(importance: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Root of the summed squares over a group's members, (L, g), from (L, p)."""
    total = np.zeros((len(importance), int(groups.max()) + 1))
    np.add.at(total.T, groups, (importance**2).T)
    return np.sqrt(total)


def features(importance: np.ndarray, residual: np.ndarray, W: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Describe the evidence for every group of every response, free of units.

    Parameters
    ----------
    importance : array
        (L, g) of `group_importance`.
    residual : array
        (L,) training error of the networks that gave the importance.
    W : array
        (L, g) mean knockoff statistics.
    sizes : array
        (g,) neurons of each group.

    Returns
    -------
    array
        (L, g, 12).
    """
    g = importance.shape[1]
    small = 1e-12
    ordered = np.sort(importance, axis=1)
    top = ordered[:, -max(1, g // 20) :].mean(axis=1, keepdims=True) + small
    middle = np.median(importance, axis=1, keepdims=True) + small
    bottom = ordered[:, : max(1, g // 4)].mean(axis=1, keepdims=True) + small
    log = np.log(importance + small)
    against = np.maximum(-W.min(axis=1, keepdims=True), 0) + 1e-9
    most = np.maximum(W.max(axis=1, keepdims=True), 1e-9)
    columns = (
        log - np.log(top),
        log - np.log(middle),
        log - np.log(bottom),
        _log_rank(importance),
        np.log(top / middle),
        np.log(top / bottom),
        np.log(np.clip(residual, 1e-3, 2))[:, None],
        np.log(sizes)[None, :],
        np.arcsinh(W / against),
        W / most,
        _log_rank(W),
        np.log(most / against),
    )
    return np.stack([np.broadcast_to(column, importance.shape) for column in columns], axis=-1)


def _log_rank(values: np.ndarray) -> np.ndarray:
    """Logit of the rank from the top, (L, g)."""
    rank = (np.argsort(np.argsort(-values, axis=1), axis=1) + 0.5) / values.shape[1]
    return np.asarray(np.log(rank / (1 - rank + 1e-9)))


class NullModel:
    """Boosted trees that estimate the local false discovery rate of a group from its evidence."""

    def fit(self, evidence: np.ndarray, null: np.ndarray) -> NullModel:
        """Train on (L, g, f) evidence and (L, g) groups that are known to be null or not."""
        self._model = HistGradientBoostingClassifier(
            max_iter=80,
            max_leaf_nodes=8,
            learning_rate=0.08,
            l2_regularization=10.0,
            min_samples_leaf=min(100, max(1, null.size // 20)),
            early_stopping=False,
            random_state=0,
        )
        self._constant = float(null.mean()) if null.all() or not null.any() else None
        if self._constant is None:
            with threadpool_limits(1, "openmp"):  # its threads would not survive a fork
                self._model.fit(evidence.reshape(-1, evidence.shape[-1]), null.ravel())
        return self

    def predict(self, evidence: np.ndarray) -> np.ndarray:
        """Estimate the local false discovery rate of each group, (L, g)."""
        if self._constant is not None:
            return np.full(evidence.shape[:2], self._constant)
        with threadpool_limits(1, "openmp"):
            flat = self._model.predict_proba(evidence.reshape(-1, evidence.shape[-1]))[:, 1]
        return np.asarray(flat.reshape(evidence.shape[:2]))


def proportions(masks: np.ndarray, null: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the false discovery proportion (0 for no discovery) and power (NaN with nothing to find) of (L, g) masks."""
    false = (masks & null).sum(axis=1) / np.maximum(masks.sum(axis=1), 1)
    critical = (~null).sum(axis=1)
    power = np.where(critical > 0, (masks & ~null).sum(axis=1) / np.maximum(critical, 1), np.nan)
    return np.asarray(false), np.asarray(power)


HIDDEN = 32
PASSES = 30  # over the rows
BATCH = 256
RATE = 1e-2
SPARSITY = 3e-3  # weight of the group lasso on the neurons
DECAY = 1e-3
PROBES = 512  # rows at which gradients are taken


def importance(
    Z: np.ndarray, Y: np.ndarray, seed: int = 0, advance: Callable[[int], None] = lambda steps: None
) -> tuple[np.ndarray, np.ndarray]:
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
    residual : array
        (L,) training error (mean squared) of the networks; 1 where nothing was learnt.

    Notes
    -----
    It runs on one thread: sums in another order would lead training elsewhere, and the same seed must give the same
    result on every number of threads.
    """
    with _one_thread(), torch.no_grad():
        return _train(torch.as_tensor(Z, dtype=torch.float32), torch.as_tensor(Y, dtype=torch.float32), seed, advance)


def _train(X: Tensor, Y: Tensor, seed: int, advance: Callable[[int], None]) -> tuple[np.ndarray, np.ndarray]:
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
    total = torch.zeros(L, p)
    for response in range(L):
        slope = (torch.addmm(bias[response], probes, first[:, response]) > 0) * second[response]
        total[response] = (slope @ first[:, response].T + straight[:, response]).square().mean(dim=0).sqrt()
    residual = (learnt(X[:2048]) - Y[:2048]).square().mean(dim=0)
    return total.numpy().astype(np.float64), residual.numpy().astype(np.float64)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Pin PyTorch to one thread, and round tiny numbers to zero: weights on their way there are very slow otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)
