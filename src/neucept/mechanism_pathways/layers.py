"""Which neurons of which activation sites the neurons of recorded layers become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neucept.pathways.inputs import fresh
from neucept.pathways.tracing.network import Network
from neucept.pathways.tracing.sites import at_work, readable
from neucept.recording.batches import to_device
from neucept.recording.hooks import modules_by_name, split_call
from neucept.recording.units import channel_axis, first_tensor


@dataclass(frozen=True)
class _Event:
    """A site visited, or a layer left (with the site whose output it returns), in the order in which it happens."""

    layer: str | None
    site: str
    shape: tuple[int, ...]
    axis: int = 0


def masks_of_layers(
    network: Network, inputs: Any, neurons: Mapping[str, Sequence[int]], pooling: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """Mark neurons of recorded layers at the sites that they become.

    A layer that ends in an activation, or is one, is that site. Any other becomes the first site of the same shape that
    follows: normalisation and residual sums between them leave neurons in their places. Layers without such a site are
    left out, as are those pooled by a callable and the input.

    Parameters
    ----------
    network : Network
        The recorded model.
    inputs : tensor, tuple or mapping of tensors
        One input is enough.
    neurons : mapping of str to numbers
        By layer.
    pooling : mapping of str to str
        How the layers' neurons were recorded; a channel is every place of it.

    Returns
    -------
    dict of str to array
        (*shape) bool by site, in forward order; sites without a marked neuron are left out.

    Examples
    --------
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    >>> masks = masks_of_layers(Network(model), torch.zeros(1, 1, 4, 4), {"0": [1], "4": [2]}, {})
    >>> {site: mask.tolist() for site, mask in masks.items()}
    {'2': [[[False, False], [False, False]], [[True, True], [True, True]]]}
    """
    events = _events(network, inputs, list(neurons))
    names = readable([event.site for event in events if event.layer is None])
    masks: dict[str, np.ndarray] = {}
    for number, event in enumerate(events):
        if event.layer is None or pooling.get(event.layer, "auto") == "callable":
            continue
        following = (after.site for after in events[number:] if after.layer is None and after.shape == event.shape)
        site = event.site or next(following, None)
        if site is None:
            continue
        channels = len(event.shape) >= 2 and pooling.get(event.layer, "auto") in ("auto", "channel")
        mask = np.zeros(event.shape, bool)
        chosen = list(map(int, neurons[event.layer]))
        if channels:
            np.moveaxis(mask, event.axis - 1, 0)[chosen] = True
        else:
            mask.reshape(-1)[chosen] = True
        masks[names[site]] = masks.get(names[site], False) | mask
    return {site: masks[site] for site in names.values() if site in masks and masks[site].any()}


def _events(network: Network, inputs: Any, layers: Sequence[str]) -> list[_Event]:
    """Run the network once and note when sites are visited and layers left."""
    events: list[_Event] = []
    modules = modules_by_name(network.model)
    calls = dict.fromkeys(modules, 0)

    last: list[tuple[str, Tensor]] = []

    def visit(raw: str, output: Tensor) -> Tensor:
        last[:] = [(raw, output)]
        events.append(_Event(None, raw, tuple(output.shape[1:])))
        return output

    def leave(name: str, module: nn.Module, given: Any, returned: Any) -> None:
        call = calls[name]
        calls[name] += 1
        for layer in layers:
            if split_call(layer) in ((name, None), (name, call)):
                output = first_tensor(returned)
                ends = "".join(raw for raw, value in last if torch.equal(value, output))
                events.append(_Event(layer, ends, tuple(output.shape[1:]), _axis(module, output)))

    named = {split_call(layer)[0] for layer in layers} & set(modules)
    handles = [modules[name].register_forward_hook(partial(leave, name)) for name in named]
    try:
        with at_work(network.model, gradients=False) as device:
            network.run(fresh(to_device(inputs, device)), visit)
    finally:
        for handle in handles:
            handle.remove()
    return events


def _axis(module: nn.Module, output: Tensor) -> int:
    axis = channel_axis(module, output)
    return axis if axis is not None else output.ndim - 1 if output.ndim == 3 else 1
