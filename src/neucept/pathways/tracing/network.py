"""Run a network with its sites visited, decide which activation calls are sites, mask them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from neucept.errors import InputError
from neucept.pathways.inputs import count_inputs, mapped, part, placed, repeated
from neucept.pathways.tracing.activations import ACTIVATIONS, named
from neucept.pathways.tracing.calls import Calls, Visit, met
from neucept.pathways.tracing.sites import at_work, check_model, listed, no_sites, readable
from neucept.recording.batches import forward
from neucept.recording.outputs import Output, pick_logits

Values = dict[str, Tensor]


@dataclass(frozen=True)
class Network:
    """A model, where its logits are in what it returns, which functions are its activations, and what is known.

    Attributes
    ----------
    model, output, activations
        As for `neucept.pathways.scores.Method`.
    known : frozenset of str, optional
        Raw names of the sites, where they are known already: all other calls are left alone.
    """

    model: nn.Module
    output: Output = None
    activations: Collection[str] = ACTIVATIONS
    known: frozenset[str] | None = field(default=None, repr=False)
    # What was made sure of, by the calls it was made sure for: not again for every batch of the same shape.
    _sure: dict[Any, set[str] | None] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_model(self.model)
        object.__setattr__(self, "activations", named(self.activations))

    @property
    def on_cpu(self) -> bool:
        """Whether the model lies on the CPU; one without parameters and buffers does."""
        tensors = chain(self.model.parameters(), self.model.buffers())
        return next((tensor.device.type == "cpu" for tensor in tensors), True)

    def only(self, raw: Iterable[str]) -> Network:
        """Give the network with its sites known."""
        network = copy(self)  # checked already
        object.__setattr__(network, "known", frozenset(raw))
        return network

    def run(self, inputs: Any, visit: Visit) -> Tensor:
        """Give the logits, (batch, C), of one forward pass in which every site is visited; see `Calls`.

        Without known sites, every call that may be one, as far as this pass shows: see `confirmed`.
        """
        return self.watched(inputs, self.calls(visit, inputs))

    def calls(self, visit: Visit, inputs: Any, watches: bool = False) -> Calls:
        """Give what happens at the activation calls of one forward pass."""
        return Calls(visit, count_inputs(inputs), self.activations, watches, self.known)

    def watched(self, inputs: Any, calls: Calls) -> Tensor:
        """Give the logits of one forward pass under given calls."""
        logits = pick_logits(self._returned(inputs, calls), self.output)
        if len(logits) != calls.n_inputs:
            raise InputError(
                f"The model gave {len(logits)} rows of logits for {calls.n_inputs} inputs: those must come first in"
                " what it is given and in what it returns, (batch, ...)."
            )
        return logits

    def _returned(self, inputs: Any, calls: Calls) -> Any:
        with met(self.model, calls):
            # Copies: a network that writes into its input must find it whole next time.
            return forward(self.model, mapped(lambda tensor: tensor.clone(), inputs))

    def settled(self, inputs: Any) -> Network:
        """Give the network with its sites known, by a forward pass without gradients; see `confirmed`."""
        calls = self.calls(_unchanged, inputs)
        with torch.no_grad():
            self.watched(inputs, calls)
        return self.confirmed(inputs, calls)

    def confirmed(self, inputs: Any, calls: Calls, logits: bool = True) -> Network:
        """Give the network with its sites known, from the calls of one forward pass.

        Which calls are sites must not depend on how many inputs there are. A shape can deceive: one input, or as many
        as there are tokens. Only then a few inputs run again, to see whether the first axis is as long as they are.

        Parameters
        ----------
        inputs : tensor, tuple or mapping of tensors
            What ran.
        calls : Calls
            Without known sites, after the forward pass.
        logits : bool
            Whether the model returns logits.

        Raises
        ------
        InputError
            When there are no sites.
        """
        found, skipped = calls.visited, calls.skipped
        n = calls.n_inputs
        # Maps, (batch, channels, height, width), are as high as a batch is long by chance, not by another order.
        if any(n == 1 or n in (call.shape[1:2] if len(call.shape) > 3 else call.shape[1:]) for call in found):
            key = (n, *found, *skipped)
            if key not in self._sure:
                self._sure[key] = self._shapes(inputs, 3 if n == 2 else 2, logits)
            shapes = self._sure[key]
            if shapes is not None:
                skipped = skipped + [call for call in found if call.raw not in shapes]
                found = [call for call in found if call.raw in shapes]
        if not found:
            raise no_sites(self.model, self.activations, skipped)
        if skipped:
            warnings.warn(
                f"These calls are no sites and stay as they are, for they do not give one row for each of the {n}"
                f" inputs, or the inputs have no part in them: {listed(skipped)}.",
                stacklevel=2,
            )
        return self.only(call.raw for call in found)

    def _shapes(self, inputs: Any, rows: int, logits: bool) -> set[str] | None:
        """Raw names of the calls that give as many rows as there are inputs, of so many; None when those cannot run."""
        few = part(repeated(inputs, 3) if count_inputs(inputs) < 3 else inputs, slice(rows))
        calls = self.calls(_unchanged, few)
        try:
            with torch.no_grad():
                self.watched(few, calls) if logits else self._returned(few, calls)
        except InputError:
            raise
        except Exception as error:
            warnings.warn(
                f"Whether inputs come first in what activations give could not be made sure of, for the model does not"
                f" run on {rows} inputs ({error}).",
                stacklevel=3,
            )
            return None
        return {call.raw for call in calls.visited}


def _unchanged(raw: str, output: Tensor) -> Tensor:
    return output


def sites(model: nn.Module, inputs: Any, activations: Collection[str] = ACTIVATIONS) -> pd.DataFrame:
    """List a model's sites: every call of an activation function, in forward order.

    Parameters
    ----------
    model : Module
        Left as it was found.
    inputs : tensor, tuple or mapping of tensors
        A batch; one input is enough.
    activations : set of str
        Names of the functions whose calls are sites, such as ``ACTIVATIONS | {"sigmoid"}``.

    Returns
    -------
    DataFrame
        A row a site: ``site`` (the name: the module that makes the call, the function where the module does more than
        that, and ``#0``, ``#1``... where it is called several times), ``function``, ``module`` (its class), ``shape``
        of one input's neurons, and how many ``neurons`` they are.

    Raises
    ------
    InputError
        When there are none.

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    >>> sites(network, torch.zeros(1, 3))
      site function module shape  neurons
    0    1     relu   ReLU  (4,)        4
    """
    network = Network(model, activations=activations)
    calls = network.calls(_unchanged, inputs)
    with at_work(model, gradients=False) as device:
        inputs = placed(inputs, device)
        network._returned(inputs, calls)
        known = network.confirmed(inputs, calls, logits=False).known or ()
    met = [call for call in calls.visited if call.raw in known]
    names = readable(call.raw for call in met)
    rows = [
        (names[call.raw], call.function, call.module, tuple(call.shape[1:]), call.shape[1:].numel()) for call in met
    ]
    return pd.DataFrame(rows, columns=["site", "function", "module", "shape", "neurons"])


def masking(masks: Mapping[str, Tensor]) -> Callable[[str, Tensor], Tensor]:
    """Give the visitor that sets to zero what masks, by raw name, leave out; sites without a mask stay.

    Raises
    ------
    InputError
        From the visitor, when a mask does not fit the activations.
    """

    def visit(raw: str, output: Tensor) -> Tensor:
        mask = masks.get(raw)
        if mask is None:
            return output
        if mask.shape != output.shape:
            raise InputError(
                f"The mask of site '{raw}' is {tuple(mask.shape)}, its activations {tuple(output.shape)}: a pathway"
                " fits the batch that it was selected for only; pathway.rows(...) gives that of some of the inputs."
            )
        if mask.device != output.device:
            raise InputError(
                f"The pathway lies on {mask.device}, the model's activations on {output.device}: move the pathway by"
                f" .to('{output.device}')."
            )
        # By way of bytes, which are converted several times faster than truth values.
        return output * mask.view(torch.uint8).to(output.dtype)

    return visit
