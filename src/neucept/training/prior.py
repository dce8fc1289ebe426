"""Training from prior knowledge (PKT of the NeuCEPT paper)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from neucept.errors import InputError, check_whole
from neucept.short_repr import ShortRepr
from neucept.training.checkpoint import check_writable
from neucept.training.loop import train
from neucept.training.network import own_randomness


def transfer(prior: nn.Module, model: nn.Module) -> list[str]:
    """Copy all parameters and buffers that fit in name and shape from one network to another, in place.

    Parameters
    ----------
    prior : Module
        Where they come from.
    model : Module
        Where they go.

    Returns
    -------
    list of str
        The names copied.

    Examples
    --------
    >>> transfer(nn.Linear(3, 4), nn.Linear(3, 4)), transfer(nn.Linear(3, 4), nn.Linear(2, 4))
    (['weight', 'bias'], ['bias'])
    """
    own = model.state_dict()
    fitting = {
        name: value for name, value in prior.state_dict().items() if name in own and own[name].shape == value.shape
    }
    model.load_state_dict(fitting, strict=False)
    return list(fitting)


@dataclass(frozen=True, repr=False)
class PriorTraining(ShortRepr):
    """The networks of :func:`train_with_prior`.

    Parameters
    ----------
    prior : Module
        Trained on the prior task.
    pkt : Module
        Trained on the posterior task, from the prior's parameters.
    normal : Module or None
        Trained on the posterior task from a fresh start.
    transferred : tuple of str
        Names of the parameters and buffers that went from `prior` to `pkt`.
    """

    prior: nn.Module
    pkt: nn.Module
    normal: nn.Module | None
    transferred: tuple[str, ...]


def train_with_prior(
    factory: Callable[[int], nn.Module],
    prior_data: Dataset[tuple[Tensor, int]],
    posterior_data: Dataset[tuple[Tensor, int]],
    *,
    n_classes: tuple[int, int] | None = None,
    epochs: int | tuple[int, int] | tuple[int, int, int] = 6,
    normal: bool = True,
    frozen_prefix: str | Sequence[str] = (),
    checkpoints: str | Path | None = None,
    seed: int = 0,
    prior_settings: Mapping[str, Any] | None = None,
    **settings: Any,
) -> PriorTraining:
    """Train on a task with known fine labels, then, from its parameters, on the task to be explained.

    Parameters
    ----------
    factory : callable
        From a number of classes to a fresh network.
    prior_data, posterior_data : Dataset
        Items (input, label): the prior task (ten digits, say) and the posterior one (even or odd).
    n_classes : (int, int), optional
        Numbers of classes of the two tasks; by default the lengths of the data sets' ``class_names``.
    epochs : int, (int, int) or (int, int, int)
        Passes over the data of the two tasks; the third number is for the network without prior knowledge, which may
        need more.
    normal : bool
        Whether to train a third network on the posterior task alone, for comparison.
    frozen_prefix : str or sequence of str
        Modules of the posterior network that keep what the prior task taught them, batch statistics included.
    checkpoints : str or Path, optional
        Folder for checkpoints, from which training goes on after an interruption. After the prior network is trained
        again, the checkpoints of networks that began from its parameters are refused.
    seed : int
        For initial weights and all else.
    prior_settings : dict, optional
        Further arguments of :func:`train` for the prior network alone, such as ``{"label_smoothing": 0.1}``; they
        override those for all.
    **settings
        Further arguments of :func:`train`, for all three networks.

    Returns
    -------
    PriorTraining
        The networks, in evaluation mode.

    Raises
    ------
    InputError
        The number of classes is not known, a setting is not possible, or a checkpoint is of another training.
    """
    if n_classes is not None and np.shape(n_classes) != (2,):
        raise InputError(f"n_classes={n_classes!r}: expected two numbers, such as (10, 2).")
    own = {"epochs", "seed", "checkpoint", "description", "frozen_prefix"} & set(prior_settings or {})
    if own:
        raise InputError(f"prior_settings= holds {min(own)!r}, which is set for all the trainings together.")
    passes = tuple(epochs) if np.iterable(epochs) else (epochs, epochs)
    if isinstance(epochs, str) or len(passes) not in (2, 3):
        raise InputError(f"epochs={epochs!r}: expected one number, (prior, PKT) or (prior, PKT, normal).")
    for count in passes:
        check_whole("epochs", count)
    names = [getattr(data, "class_names", None) for data in (prior_data, posterior_data)]
    if n_classes is None and None in names:
        raise InputError("The data set has no class_names; say how many classes the two tasks have: n_classes=(10, 2).")
    width_prior, width_posterior = n_classes or (len(names[0] or ()), len(names[1] or ()))
    epochs_prior, epochs_pkt, *others = passes
    folder = Path(checkpoints) if checkpoints is not None else None
    if folder is not None:
        for name in ("prior", "pkt", "normal"):
            check_writable(folder / f"{name}.pt")
    check_whole("seed", seed, 0)
    if not callable(factory):
        raise InputError(f"factory is a {type(factory).__name__}; expected a function from a number of classes.")

    def fresh(width: int) -> nn.Module:
        with own_randomness(torch.device("cpu")):
            torch.manual_seed(seed)
            return factory(width)

    def fit(model: nn.Module, data: Dataset[tuple[Tensor, int]], name: str, count: int, **more: Any) -> None:
        file = folder / f"{name}.pt" if folder is not None else None
        more = {**settings, **more}
        train(model, data, epochs=count, seed=seed, checkpoint=file, description=f"Training {name}", **more)

    prior = fresh(width_prior)
    fit(prior, prior_data, "prior", epochs_prior, **(prior_settings or {}))
    pkt = fresh(width_posterior)
    transferred = transfer(prior, pkt)
    fit(pkt, posterior_data, "pkt", epochs_pkt, frozen_prefix=frozen_prefix)
    plain = None
    if normal:
        plain = fresh(width_posterior)
        fit(plain, posterior_data, "normal", (*others, epochs_pkt)[0])
    return PriorTraining(prior, pkt, plain, tuple(transferred))
