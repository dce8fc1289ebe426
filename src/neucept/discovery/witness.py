"""The network as its own witness: orders and effects of neurons, where the recorded model and data are at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from neucept.discovery.effects import measure_effects
from neucept.discovery.orders import BY_NETWORK, Aim, Carried, Linear, Parts, contributions, robust_scores, search
from neucept.errors import InputError
from neucept.recording import Recording
from neucept.recording.hooks import check_model, left_as_found
from neucept.recording.intervention import Rest, rest_of
from neucept.recording.outputs import Output
from neucept.recording.task import Classes

if TYPE_CHECKING:
    from neucept.discovery.selection import Selection


@dataclass(frozen=True, eq=False)
class Witness:
    """A recording, with the network cut at each of its layers where there is one.

    Attributes
    ----------
    recording : Recording
        The activations.
    model : Module or None
        The recorded network.
    rests : mapping of str to Rest
        By layer; those where the network cannot be cut are left out.
    why : mapping of str to str
        For these: the reason, in a sentence.
    """

    recording: Recording
    model: nn.Module | None = None
    rests: Mapping[str, Rest] = field(default_factory=dict)
    why: Mapping[str, str] = field(default_factory=dict)
    _fits: dict[str, Linear] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        recording: Recording,
        layers: Sequence[str],
        model: nn.Module | None,
        data: Any,
        output: Output = None,
        needed: str | None = None,
    ) -> Witness:
        """Cut the network at some layers.

        Parameters
        ----------
        recording : Recording
            The activations.
        layers : sequence of str
            Recorded layers.
        model, data : Module and data of any kind, or None
            The recorded ones.
        output : None, str, int or callable
            As in `neucept.record`.
        needed : str, optional
            What cannot be done without the network: an order, or an effect.

        Raises
        ------
        InputError
            When one of model and data is missing, or they are not the recorded ones; with ``needed``, when both are
            missing or the network cannot be cut at a layer.
        """
        if (model is None) != (data is None):
            raise InputError("The network is run on the recorded inputs: give both, model= and data=, or neither.")
        by_network = needed is not None and needed not in ("information", "evidence", "contribution")
        if model is None:
            if by_network:
                raise InputError(
                    f"{needed} runs the network: give model= and data= (the recorded inputs), or take"
                    " order='contribution', which needs the recording alone."
                )
            return cls(recording)
        model = check_model(model)
        inputs = recording.verify(model, data, output, layers)
        rests, why = {}, {}
        with left_as_found(model):
            for layer in layers:
                try:
                    rests[layer] = rest_of(model, inputs, recording, layer, output)
                except InputError as error:
                    if by_network:
                        raise InputError(f"{needed} runs the network from layer '{layer}' on. {error}") from error
                    why[layer] = str(error)
        return cls(recording, model, rests, why)

    def best_order(self, layer: str, aim: Aim | None) -> str:
        """Name the order by what carries the decision, as far as it can be known at a layer."""
        return "contribution" if aim is None or layer not in self.rests else "sufficient"

    def order(
        self,
        selection: Selection,
        aim: Aim | None,
        rows: np.ndarray,
        order: str,
        seed: int,
        y: np.ndarray | None = None,
    ) -> Selection:
        """Find an order of the neurons of a layer, unless it is known.

        Parameters
        ----------
        selection : Selection
            Of the layer.
        aim : Aim or None
            The target; None for an array.
        rows : array
            Inputs that the neurons were discovered on.
        order : str
            One of `neucept.discovery.ORDERS`.
        seed : int
            Seed for inputs and noise.
        y : array, optional
            (n,) the response, where there is no aim.

        Raises
        ------
        InputError
            For an order by the network when the response is an array, and for a contribution to one that is not given.
        """
        if order in selection.known_orders:
            return selection
        layer, live = selection.layer, np.flatnonzero(selection.groups >= 0)
        if order not in BY_NETWORK:
            scores = self._contributions(layer, aim, rows, y)
            return _with(selection, order, live[np.argsort(-scores[live], kind="stable")])
        if aim is None or self.model is None:
            raise InputError(
                f"order='{order}' runs the network, which does not compute a response that is an array: use"
                " order='information', 'evidence' or 'contribution'."
            )
        rest, k = self.rests[layer], len(selection.groups)
        with left_as_found(self.model):
            parts = Parts.of(self.recording, rows, rest, seed)
            if order == "robust":
                values = rest.values(parts.find)
                scores = robust_scores(rest, values, aim.margin, k, seed)
                return _with(selection, order, live[np.argsort(-scores[live], kind="stable")])
            found: Carried = search(rest, parts, k, live, aim.lost, aim.stays, seed)
        return replace(_with(selection, order, found.order), kept=found.kept)

    def effects(self, selection: Selection, aim: Aim, rows: np.ndarray, seed: int) -> Selection:
        """Measure what the network does without each neuron of a layer."""
        assert self.model is not None
        with left_as_found(self.model), torch.no_grad():
            rest = self.rests[selection.layer]
            found = measure_effects(rest, self.recording, selection.layer, rows, selection.groups, aim, seed)
        return replace(selection, effects=found)

    def _contributions(self, layer: str, aim: Aim | None, rows: np.ndarray, y: np.ndarray | None) -> np.ndarray:
        Z = self.recording.activations(layer)
        if aim is None:
            if y is None:
                raise InputError(
                    "The neurons were discovered for an array, which is not kept: call discover again, with"
                    " order='contribution'."
                )
            return contributions(Z[rows], y[rows], np.arange(len(rows)))
        kind = "margin" if isinstance(self.recording.task, Classes) else aim.response
        response = self.recording.response(aim.target, kind)
        if layer not in self._fits:
            self._fits[layer] = Linear.of(Z)
        return contributions(Z, response, rows, self._fits[layer])


def _with(selection: Selection, order: str, neurons: np.ndarray) -> Selection:
    return replace(selection, orders={**selection.orders, order: neurons})
