"""Input degradation: remove the pixels of least attribution first (LeRF), or those of most first (MoRF).

A pixel's score is the sum over channels of |attribution|; the paper's single-channel maps take the channel of largest
magnitude, which the cells "channel" compare. A removed pixel takes the mean colour of the training set, or
the colour of another test image at that place: the mean colour is the baseline of integrated gradients and of DeepLift,
and a pixel that has it already is no loss to anyone, which methods that multiply by the input know and others do not.
Measured is |change of probability| / probability of the predicted class: VGG11, 500 test images of CIFAR-10.
"""

from __future__ import annotations

import torch
from common import Results, Scale, main
from pathway_common import Attribution, attributions, chunks, cifar, mean, ranked, removed, vgg11
from torch import Tensor, nn

from neucept.pathways import signed_map

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
FILLS = ("mean colour", "another image")
SPARSITY = 0.9
CHUNK = 10
PATHWAYS, PEERS, SHOWN = ("NeuronMCT", "NeuronIntGrad"), ("gradient", "integrated gradients"), (0.01, 0.05, 0.1)


def measure(model: nn.Module, methods: dict[str, Attribution], images: Tensor, seed: int) -> dict:
    """Return {fill: {method: {order: change at each share}}}, means over the images."""
    with torch.no_grad():
        whole, classes = model(images).softmax(1).max(1)
    maps = {name: method(images, classes) for name, method in methods.items()}
    maps["random"] = torch.ones_like(images)  # equal scores come in random order
    ranks = {name: ranked(attribution, seed) for name, attribution in maps.items()}
    results = {}
    for fill, values in zip(FILLS, (torch.zeros_like(images), images.roll(1, 0)), strict=True):

        def changes(order: Tensor, values: Tensor = values) -> list[float]:
            counts = [round(share * order.shape[1]) for share in SHARES]
            degraded = [removed(images, order[:, :count], values) for count in counts]
            return [mean(changed(model, x, classes, whole)) for x in degraded]

        results[fill] = {name: {"LeRF": changes(r), "MoRF": changes(r.flip(1))} for name, r in ranks.items()}
    return results


def by_one_channel(model: nn.Module, methods: dict[str, Attribution], images: Tensor, seed: int) -> dict:
    """Return {fill: {method: LeRF changes}} as `measure`, pixels ranked by the channel of largest magnitude."""
    chosen = {name: methods[name] for name in PATHWAYS + PEERS}
    one = {name: lambda x, c, m=method: signed_map(m(x, c)) for name, method in chosen.items()}
    results = measure(model, one, images, seed)
    return {fill: {name: cell[name]["LeRF"] for name in chosen} for fill, cell in results.items()}


@torch.no_grad()
def changed(model: nn.Module, images: Tensor, classes: Tensor, whole: Tensor) -> Tensor:
    """Return |change of probability| / probability, (n,)."""
    after = model(images).softmax(1).gather(1, classes[:, None])[:, 0]
    return (after - whole).abs() / whole


def run(scale: Scale) -> dict:
    torch.set_flush_denormal(True)
    n = 40 if scale.reduced else 500
    model, images = vgg11(scale), cifar(scale, n)
    methods = attributions(model, SPARSITY)
    cells = {f"vgg11 {p.start}": lambda p=p: measure(model, methods, images[p], p.start) for p in chunks(n, CHUNK)}
    for p in () if scale.reduced else chunks(100, CHUNK):
        cells[f"channel {p.start}"] = lambda p=p: by_one_channel(model, methods, images[p], p.start)
    return Results("pathway_degradation", scale).fill(cells)


if __name__ == "__main__":
    main(__file__, run)
