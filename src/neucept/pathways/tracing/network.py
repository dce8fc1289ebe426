"""A network whose sites can be visited: run it, find its sites, mask them."""

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

from neucept.batches import Batch
from neucept.errors import InputError
from neucept.pathways.tracing.activations import ACTIVATIONS, check_activations
from neucept.pathways.tracing.calls import Calls, Visit, follow_calls
from neucept.pathways.tracing.sites import evaluation, list_calls, no_sites, readable_names
from neucept.recording.hooks import check_model
from neucept.recording.outputs import Output, guessed_among, pick_logits
from neucept.recording.reading import call_first, float_type

Values = dict[str, Tensor]


@dataclass(frozen=True)
class Network:
    """A model, where its logits are in what it returns, which functions are its activations, and its sites if known.

    Attributes
    ----------
    model, output, activations
        As for `neucept.pathways.Method`. A model compiled by ``torch.compile`` is replaced by the original one.
    known : frozenset of str, optional
        Raw names of the sites, if already known: all other calls are left alone.
    """

    model: nn.Module
    output: Output = None
    activations: Collection[str] = ACTIVATIONS
    known: frozenset[str] | None = field(default=None, repr=False)
    # Results of `_rows_first`, by the calls they were found for: not again for every batch of the same shape.
    _verified: dict[Any, set[str] | None] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", check_model(self.model))
        object.__setattr__(self, "activations", check_activations(self.activations))

    @property
    def on_cpu(self) -> bool:
        """Whether the model lies on the CPU; one without parameters and buffers does."""
        tensors = chain(self.model.parameters(), self.model.buffers())
        return next((tensor.device.type == "cpu" for tensor in tensors), True)

    def run(self, inputs: Batch, visit: Visit | Calls) -> Tensor:
        """Run one forward pass in which every site is visited.

        Without known sites, every call is visited that may be one, as far as this pass shows; see `find_sites`.

        Parameters
        ----------
        inputs : Batch
            On the model's device.
        visit : callable (raw name, Tensor) -> Tensor, or Calls
            What happens at each site; see `Calls`.

        Returns
        -------
        Tensor
            Logits, (batch, C).
        """
        calls = visit if isinstance(visit, Calls) else self._calls(inputs, visit)
        returned = self._returned(inputs, calls)
        if self.output is None and self.known is None and (what := guessed_among(returned)) is not None:
            warnings.warn(
                f"The model returns a {what}; the first one is taken for the logits. Give output=: a key, a position or"
                " a function.",
                stacklevel=2,
            )
        return self._logits(returned, calls.n_inputs)

    def find_sites(self, inputs: Batch, calls: Calls | None = None, logits: bool = True) -> Network:
        """Return the network with its sites known.

        Which calls are sites must not depend on the number of inputs. A shape can deceive: a single input, or as many
        inputs as tokens. Only then a few inputs run again, to see whether the first axis is as long as they are.

        Parameters
        ----------
        inputs : Batch
            On the model's device.
        calls : Calls, optional
            Without known sites, after a forward pass of these inputs; None runs one, without gradients.
        logits : bool
            Whether the model returns logits.

        Raises
        ------
        InputError
            When there are no sites.
        """
        if calls is None:
            calls = self._calls(inputs)
            with torch.no_grad():
                self.run(inputs, calls) if logits else self._returned(inputs, calls)
        visited, skipped = calls.visited, calls.skipped
        n = calls.n_inputs
        # Maps, (batch, channels, height, width), are as high as a batch is long by chance, not by another order.
        if any(n == 1 or n in (call.shape[1:2] if len(call.shape) > 3 else call.shape[1:]) for call in visited):
            key = (n, *visited, *skipped)
            if key not in self._verified:
                self._verified[key] = self._rows_first(inputs, 3 if n == 2 else 2, logits)
            rows_first = self._verified[key]
            if rows_first is not None:
                skipped = skipped + [call for call in visited if call.raw not in rows_first]
                visited = [call for call in visited if call.raw in rows_first]
        if not visited:
            raise no_sites(self.model, self.activations, skipped)
        if skipped:
            warnings.warn(
                f"These calls are no sites and stay unchanged, because they do not return one row for each of the {n}"
                f" inputs, or do not depend on the inputs: {list_calls(skipped)}.",
                stacklevel=2,
            )
        return self.with_sites(call.raw for call in visited)

    def with_sites(self, raw: Iterable[str]) -> Network:
        """Return the network with these sites, by raw name."""
        network = copy(self)  # checked already
        object.__setattr__(network, "known", frozenset(raw))
        return network

    def _calls(self, inputs: Batch, visit: Visit = lambda raw, output: output, watches: bool = False) -> Calls:
        return Calls(visit, inputs.n, self.activations, watches, self.known)

    def _returned(self, inputs: Batch, calls: Calls, trusted: bool = False) -> Any:
        with follow_calls(self.model, calls):
            # Copies: a network that writes into its input must find it unchanged next time.
            copies = inputs.map(lambda tensor: tensor.clone())
            return copies.call(self.model) if trusted or self.known is not None else call_first(self.model, copies)

    def _logits(self, returned: Any, n: int) -> Tensor:
        logits = pick_logits(returned, self.output)
        if len(logits) != n:
            raise InputError(
                f"The model gave {len(logits)} rows of logits for {n} inputs: those must come first in what it is given"
                " and in what it returns, (batch, ...)."
            )
        return logits

    def _rows_first(self, inputs: Batch, rows: int, logits: bool) -> set[str] | None:
        """Raw names of the calls that return as many rows as there are inputs; None if so few inputs cannot run."""
        few = (inputs.repeat(3) if inputs.n < 3 else inputs).part(slice(rows))
        calls = self._calls(few)
        try:
            with torch.no_grad():
                returned = self._returned(few, calls, trusted=True)
                if logits:
                    self._logits(returned, few.n)
        except InputError:
            raise
        except Exception as error:
            warnings.warn(
                "It could not be verified that inputs come first in what activations return, because the model does not"
                f" run on {rows} inputs ({error}).",
                stacklevel=3,
            )
            return None
        return {call.raw for call in calls.visited}


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
        One row per site: ``site`` (the name: the module that makes the call; also the function where the module does
        more than that, and ``#0``, ``#1``... where it is called several times), ``function``, ``module`` (its class),
        ``shape`` of one input's neurons, and the number of ``neurons``.

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
    with evaluation(network.model, gradients=False) as device:
        batch = Batch(inputs).to(device, float_type(network.model)).fresh()
        calls = network._calls(batch)
        network._returned(batch, calls)
        known = network.find_sites(batch, calls, logits=False).known or ()
    listed = [call for call in calls.visited if call.raw in known]
    names = readable_names(call.raw for call in listed)
    rows = [
        (names[call.raw], call.function, call.module, tuple(call.shape[1:]), call.shape[1:].numel()) for call in listed
    ]
    return pd.DataFrame(rows, columns=["site", "function", "module", "shape", "neurons"])


def mask_sites(masks: Mapping[str, Tensor]) -> Callable[[str, Tensor], Tensor]:
    """Return a visitor that sets to zero what masks, by raw name, leave out; sites without a mask stay.

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
                " fits only the batch that it was selected for; pathway.rows(...) gives that of some of the inputs."
            )
        if mask.device != output.device:
            raise InputError(
                f"The pathway lies on {mask.device}, the model's activations on {output.device}: move the pathway with"
                f" .to('{output.device}')."
            )
        # By way of bytes, which are converted several times faster than truth values.
        return output * mask.view(torch.uint8).to(output.dtype)

    return visit
