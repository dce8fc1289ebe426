"""A network while it is trained: checked, moved and left as found, with its inputs, labels and logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.data import DataLoader, Dataset, default_collate

from neucept.errors import InputError, closest
from neucept.recording.outputs import Output, pick_logits


def count_inputs(model: object, dataset: Dataset[tuple[Tensor, int]]) -> int:
    """Check model and data, and count the inputs."""
    if not isinstance(model, nn.Module):
        raise InputError(f"model is a {type(model).__name__}; expected a torch.nn.Module.")
    if any(is_lazy(tensor) or tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        raise InputError("The model has parameters without values. Load its weights, or call it once on an input.")
    if (
        isinstance(dataset, DataLoader | tuple)
        or not hasattr(dataset, "__getitem__")
        or not hasattr(dataset, "__len__")
    ):
        raise InputError(
            f"The data set is a {type(dataset).__name__}; expected a Dataset with a length and items (input, label),"
            " such as torch.utils.data.TensorDataset(inputs, labels)."
        )
    n = len(dataset)
    if not n:
        raise InputError("The data set holds no inputs.")
    return n


def check_device(device: str | torch.device | None) -> torch.device | None:
    """Read a device, or raise an InputError where tensors cannot be made there."""
    try:
        return None if device is None else torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        raise InputError(f"device={device!r} cannot be used: {str(error).splitlines()[0]}") from error


@contextmanager
def left_in_place(model: nn.Module, device: str | torch.device | None, mixed: bool) -> Iterator[torch.device]:
    """Have a model where it is to be trained; afterwards it is where it was, and in evaluation mode.

    An error leaves the mode of each module as found. Modes are set by ``train()``, as modules may act on it.
    """
    tensors = [*model.parameters(), *model.buffers()]
    devices = {tensor.device for tensor in tensors}
    home = tensors[0].device if tensors else torch.device("cpu")
    place = check_device(device) or home
    if device is not None and len(devices) > 1:
        raise InputError(
            f"The model lies on several devices ({', '.join(sorted(map(str, devices)))}); leave device=None, or move"
            " it to one device first."
        )
    modes = {module: module.training for module in model.modules()}
    strides = {name: tensor.stride() for name, tensor in model.named_parameters() if tensor.ndim == 4}
    try:
        if place != home:
            model.to(place)
        if mixed:
            model.to(memory_format=torch.channels_last)
        yield place
        model.eval()
    except BaseException:
        for module, training in modes.items():  # parents come before what they hold
            if module.training != training:
                module.train(training)
        raise
    finally:
        if place != home:
            model.to(home)
        for name, tensor in model.named_parameters():
            if name in strides and tensor.stride() != strides[name]:
                tensor.data = (
                    torch.empty_strided(tensor.shape, strides[name], dtype=tensor.dtype).to(home).copy_(tensor.data)
                )


def logits_of(model: nn.Module, inputs: Tensor, output: Output) -> Tensor:
    """Give the logits of a model, (n, C), or maps of them (n, C, ...)."""
    try:
        returned = model(inputs)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"The model does not take inputs of shape {tuple(inputs.shape)} and type {inputs.dtype}: {error}"
        ) from error
    maps = output is None and isinstance(returned, Tensor) and returned.ndim > 2
    return returned if maps else pick_logits(returned, output)


def collate(items: list[Any]) -> tuple[Tensor, Tensor]:
    """Join items (input, label) to a batch."""
    try:
        batch = default_collate(items)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"The items of the data set cannot be joined to a batch: {error}") from error
    if not isinstance(batch, tuple | list) or len(batch) != 2 or not isinstance(batch[0], Tensor):
        got = f"{len(batch)} parts" if isinstance(batch, tuple | list) else f"a {type(batch).__name__}"
        raise InputError(
            f"An item of the data set has {got}; expected (input, label) with a tensor as the input, as those of"
            " torch.utils.data.TensorDataset(inputs, labels)."
        )
    inputs, labels = batch
    if not isinstance(labels, Tensor):
        raise InputError(f"The labels are {type(labels[0]).__name__}; expected class numbers, whole.")
    return inputs, labels


def check_labels(labels: Tensor, logits: Tensor) -> None:
    """Refuse labels that are neither class numbers of the network nor probabilities of its classes."""
    if labels.shape == logits.shape and labels.is_floating_point():
        return
    if labels.is_floating_point():
        raise InputError(f"The labels are {labels.dtype}; expected class numbers, whole.")
    if labels.shape != (len(logits), *logits.shape[2:]):
        raise InputError(
            f"The labels have the shape {tuple(labels.shape)} and the logits {tuple(logits.shape)}; expected one class"
            " number per input."
        )
    if labels.ndim == 1 and (labels.min() < 0 or labels.max() >= logits.shape[1]):
        raise InputError(
            f"The labels run from {int(labels.min())} to {int(labels.max())}, but the network has {logits.shape[1]}"
            f" outputs: classes 0 to {logits.shape[1] - 1}."
        )


def modules_named(model: nn.Module, names: str | Sequence[str]) -> list[nn.Module]:
    """Find the modules to freeze."""
    known = dict(model.named_modules())
    wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if name not in known:
            raise InputError(f"There is no module {name!r} to freeze.{closest(name, known)}")
    return [known[name] for name in wanted]


@contextmanager
def fixed(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Take no gradients for the parameters of some modules."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


@contextmanager
def own_randomness(device: torch.device) -> Iterator[None]:
    """Let random numbers be drawn without a trace in the global generators."""
    devices = (
        [device.index if device.index is not None else torch.cuda.current_device()] if device.type == "cuda" else []
    )
    with torch.random.fork_rng(devices):
        yield
