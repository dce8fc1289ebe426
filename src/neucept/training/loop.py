"""Training of a classifier, reproducible by its seed and resumable after an interruption."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from neucept.errors import InputError, check_real, check_whole, one_of
from neucept.progress import progress as show_progress
from neucept.recording.hooks import left_as_found
from neucept.recording.outputs import Output
from neucept.training import checkpoint as checkpoints
from neucept.training.network import (
    check_device,
    check_labels,
    collate,
    count_inputs,
    fixed,
    left_in_place,
    logits_of,
    modules_named,
    own_randomness,
)

Augment = Callable[[Tensor], Tensor]

_WARM_UP = 0.3  # share of the steps in which the one-cycle rate rises


def train(
    model: nn.Module,
    dataset: Dataset[tuple[Tensor, int]],
    *,
    epochs: int,
    lr: float = 1e-3,
    batch_size: int = 64,
    optimizer: Literal["adam", "sgd"] = "adam",
    weight_decay: float = 0.0,
    augment: Augment | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    checkpoint: str | Path | None = None,
    frozen_prefix: str | Sequence[str] = (),
    mixed_precision: bool = False,
    label_smoothing: float = 0.0,
    progress: bool = True,
    description: str = "Training",
    output: Output = None,
) -> list[float]:
    """Train a classifier, in place.

    An error or an interruption leaves the weights of the last step, and each module's mode, the device and the memory
    format as found.

    Parameters
    ----------
    model : Module
        From inputs (n, ...) to logits (n, C), or to something that holds them, as GoogLeNet gives while it is trained;
        see ``output``.
    dataset : Dataset
        Of (input, label), with a length.
    epochs : int
        Passes over the data.
    lr : float
        Learning rate; the highest, for "sgd".
    batch_size : int
        Inputs per step.
    optimizer : {"adam", "sgd"}
        Adam at a constant rate, or gradient descent with Nesterov momentum 0.9 and a one-cycle rate: up in the first
        30% of the steps, then down to 0 along a cosine.
    weight_decay : float
        L2 penalty.
    augment : callable, optional
        From a batch of inputs to one of the same shape, such as :func:`flip_and_shift`.
    seed : int
        For order, augmentation and dropout. Two runs with one seed on one device give the same weights.
    device : str or torch.device, optional
        Where to train; where the model is, by default. The model goes back where it was.
    checkpoint : str or Path, optional
        A file written after each epoch, whole or not at all. Where it exists, training goes on from it: with the same
        settings, a network that begins with the same weights, and the same data, of which a few inputs are compared.
        `augment` is not compared.
    frozen_prefix : str or sequence of str
        Names of modules, normally the first ones, whose parameters and batch statistics stay fixed, with all in them.
    mixed_precision : bool
        Compute in bfloat16 where that is safe, with channels last; weights stay in float32. Twice as fast for
        convolutions on processors and devices that know bfloat16.
    label_smoothing : float
        Share of the target, from 0 to below 1, that is spread evenly over all classes [1]_.
    progress : bool
        Whether to show progress.
    description : str
        Text in front of the progress.
    output : None, str, int or callable
        Where the logits are in what the model returns, as in `neucept.record`. Auxiliary logits do not count in the
        loss.

    Returns
    -------
    list of float
        Mean loss of each epoch. The model is left in evaluation mode, where it was.

    Raises
    ------
    InputError
        Before the work: a setting is not possible, there are no inputs, a frozen module does not exist, or the
        checkpoint is damaged, of another training or cannot be written. Later: the model does not take the inputs, a
        label is none of its classes, or the loss is not finite.

    References
    ----------
    .. [1] Szegedy, C. and others (2016). Rethinking the Inception architecture for computer vision. CVPR.

    Examples
    --------
    >>> from torch.utils.data import TensorDataset
    >>> inputs = torch.linspace(-1, 1, 64)[:, None]
    >>> losses = train(nn.Linear(1, 2), TensorDataset(inputs, (inputs[:, 0] > 0).long()), epochs=30, lr=0.1)
    >>> losses[-1] < losses[0] / 2
    True
    """
    epochs, batch_size = check_whole("epochs", epochs), check_whole("batch_size", batch_size)
    seed, lr = check_whole("seed", seed, 0), check_real("lr", lr, 0, above=True)
    weight_decay = check_real("weight_decay", weight_decay, 0)
    label_smoothing = check_real("label_smoothing", label_smoothing, 0, 1)
    one_of("optimizer", optimizer, ("adam", "sgd"))
    n = count_inputs(model, dataset)
    frozen = modules_named(model, frozen_prefix)
    file = checkpoints.check_writable(Path(checkpoint)) if checkpoint is not None else None
    with left_in_place(model, device, mixed_precision) as place, own_randomness(place), fixed(frozen):
        run = _Run(model, optimizer, lr, weight_decay, place, mixed_precision, label_smoothing, output)
        settings = {
            "epochs": epochs,
            "lr": lr,
            "batch_size": batch_size,
            "optimizer": optimizer,
            "weight_decay": weight_decay,
            "seed": seed,
            "mixed_precision": mixed_precision,
            "label_smoothing": label_smoothing,
            "inputs": n,
        }
        losses: list[float] = []
        if file is not None:
            settings |= checkpoints.identity(model, dataset, frozen_prefix, output)
            losses = run.resume(file, settings)
        steps = math.ceil(n / batch_size)
        with show_progress(description, (epochs - len(losses)) * steps, progress) as advance:
            for epoch in range(len(losses), epochs):
                order_seed = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
                order = torch.Generator().manual_seed(order_seed)
                torch.manual_seed(order_seed)
                batches = DataLoader(dataset, batch_size, shuffle=True, generator=order, collate_fn=collate)
                model.train()
                for module in frozen:
                    module.eval()
                losses.append(run.epoch(batches, augment, epoch, epochs, advance) / n)
                if file is not None:
                    run.save(file, settings, losses)
    return losses


def accuracy(
    model: nn.Module,
    dataset: Dataset[tuple[Tensor, int]],
    *,
    batch_size: int = 256,
    device: str | torch.device | None = None,
    output: Output = None,
) -> float:
    """Share of inputs whose largest logit is that of their label; the model is left as found.

    Parameters
    ----------
    model : Module
        From inputs (n, ...) to logits (n, C).
    dataset : Dataset
        Of (input, label).
    batch_size : int
        Inputs at once.
    device : str or torch.device, optional
        Where to compute; where the model is, by default.
    output : None, str, int or callable
        Where the logits are in what the model returns, as in `neucept.record`.

    Raises
    ------
    InputError
        There are no inputs, the model does not take them, or a label is none of its classes.

    Examples
    --------
    >>> from torch.utils.data import TensorDataset
    >>> logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
    >>> accuracy(nn.Flatten(), TensorDataset(logits, torch.tensor([0, 1, 1, 1])))
    0.75
    """
    check_whole("batch_size", batch_size)
    n, right = count_inputs(model, dataset), 0
    with left_as_found(model, check_device(device)) as place:
        for inputs, labels in DataLoader(dataset, batch_size, collate_fn=collate):
            logits = logits_of(model, inputs.to(place), output)
            check_labels(labels, logits)
            right += int((logits.argmax(1).cpu() == labels).sum())
    return right / n


def flip_and_shift(pixels: int = 4, flip: bool = True) -> Augment:
    """Give an augmentation for small images: each is flipped sideways with probability 1/2, and shifted.

    Parameters
    ----------
    pixels : int
        The largest shift each way, in pixels; the border is filled with 0.
    flip : bool
        Whether to flip.

    Returns
    -------
    callable
        From a batch (n, C, H, W) to one of the same shape.
    """

    def augment(images: Tensor) -> Tensor:
        n, _, height, width = images.shape
        padded = nn.functional.pad(images, (pixels,) * 4)
        down, right = torch.randint(0, 2 * pixels + 1, (2, n, 1))
        columns = right + torch.arange(width)
        if flip:
            columns = torch.where(torch.rand(n, 1) < 0.5, columns, columns.flip(1))
        rows = down + torch.arange(height)
        index = torch.arange(n)[:, None, None, None], torch.arange(images.shape[1])[None, :, None, None]
        return padded[(*index, rows[:, None, :, None], columns[:, None, None, :])]

    return augment


class _Run:
    """A network in training: its optimiser, one step, and what a checkpoint holds."""

    def __init__(
        self,
        model: nn.Module,
        name: str,
        lr: float,
        weight_decay: float,
        device: torch.device,
        mixed: bool,
        smoothing: float,
        output: Output,
    ) -> None:
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not parameters:
            raise InputError("There is nothing to train: every parameter is frozen.")
        self.model, self.device, self.lr, self.one_cycle = model, device, lr, name == "sgd"
        self.mixed, self.smoothing, self.output = mixed, smoothing, output
        self.optimizer: torch.optim.Optimizer
        if self.one_cycle:
            self.optimizer = torch.optim.SGD(parameters, lr, momentum=0.9, nesterov=True, weight_decay=weight_decay)
        else:
            self.optimizer = torch.optim.Adam(parameters, lr, weight_decay=weight_decay)

    def epoch(
        self,
        batches: DataLoader[tuple[Tensor, int]],
        augment: Augment | None,
        epoch: int,
        epochs: int,
        advance: Callable[[int], None],
    ) -> float:
        """Pass once over the data; give the sum of the losses."""
        total = torch.zeros((), device=self.device)
        for step, (inputs, labels) in enumerate(batches, epoch * len(batches)):
            total += self.step(inputs, labels, augment, step / (epochs * len(batches))) * len(labels)
            advance(1)
        if not math.isfinite(float(total)):
            raise InputError(
                f"The loss is {float(total)} in epoch {epoch + 1}: the training diverged. Lower lr={self.lr}, or check"
                " the inputs for values that are not finite."
            )
        return float(total)

    def step(self, inputs: Any, labels: Tensor, augment: Augment | None, done: float) -> Tensor:
        if self.one_cycle:
            falling = (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP))) / 2
            for group in self.optimizer.param_groups:
                group["lr"] = self.lr * (0.04 + 0.96 * done / _WARM_UP if done < _WARM_UP else falling)
        inputs = augment(inputs) if augment is not None else inputs
        inputs = inputs.to(self.device)
        if self.mixed and inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            logits = logits_of(self.model, inputs, self.output)
        check_labels(labels, logits)
        labels = labels.to(self.device)
        labels = labels if labels.is_floating_point() else labels.long()
        loss = cross_entropy(logits.float(), labels, label_smoothing=self.smoothing)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    def save(self, path: Path, settings: dict[str, Any], losses: list[float]) -> None:
        weights, optimizer = self.model.state_dict(), self.optimizer.state_dict()
        checkpoints.write(path, {"settings": settings, "losses": losses, "model": weights, "optimizer": optimizer})

    def resume(self, path: Path, settings: dict[str, Any]) -> list[float]:
        state = checkpoints.read(path, settings, self.device)
        if state is None:
            return []
        checkpoints.load(path, state, self.model, self.optimizer)
        return list(state["losses"])
