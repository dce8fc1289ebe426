"""Pathway gradients in the metrics of Captum, and as Quantus asks for explanations."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neucept import InputError
from neucept.pathways import NeuronIntGrad, NeuronMCT, PathwayGradient, explain_func

metrics = pytest.importorskip("captum.metrics")


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3)
    ).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(5, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def _moved(size: float) -> Any:
    """Give Captum's perturbation: steps of a size, and the inputs moved by them."""

    def perturb(inputs: Tensor) -> tuple[Tensor, Tensor]:
        steps = size * torch.randn(inputs.shape, generator=torch.Generator().manual_seed(2))
        return steps, inputs - steps

    return perturb


@pytest.mark.parametrize("target", [1, torch.tensor([0, 1, 2, 1, 0])])
def test_infidelity_of_the_gradient_of_the_whole_network_is_nearly_zero(
    network: nn.Module, images: Tensor, target: Any
) -> None:
    """At sparsity 0 nothing is masked: for small steps the gradient says exactly how the response changes."""
    whole = PathwayGradient(NeuronMCT(network), sparsity=0.0).attribute(images, target)
    tenth = PathwayGradient(NeuronMCT(network), sparsity=0.9).attribute(images, target)
    found, of_tenth, of_nothing = (
        metrics.infidelity(network, _moved(1e-4), images, attribution, target=target, n_perturb_samples=4)
        for attribution in (whole, tenth, torch.zeros_like(images))
    )
    assert found.shape == (5,)
    assert (found < 1e-3 * of_nothing).all() and (of_tenth > 10 * found).all()


def test_sensitivity_calls_attribute_itself(network: nn.Module, images: Tensor) -> None:
    explain = PathwayGradient(NeuronMCT(network), sparsity=0.5).attribute
    target = torch.tensor([0, 1, 2, 1, 0])

    def sensitivity(radius: float) -> Tensor:
        torch.manual_seed(0)
        found: Tensor = metrics.sensitivity_max(explain, images, perturb_radius=radius, target=target)
        return found

    found = sensitivity(0.2)
    assert found.shape == (5,) and bool((found > 0).all()) and bool(found.isfinite().all())
    # Too small a step to change a neuron's sign or a pathway: the network stays as linear as it was.
    assert bool((sensitivity(1e-7) < 1e-3).all())


def test_quantus_gets_arrays(network: nn.Module, images: Tensor) -> None:
    """Called as Quantus' metrics do: model=, inputs= and targets= as arrays, and what else they were told."""
    targets = np.array([0, 1, 2, 1, 0])
    whole = PathwayGradient(NeuronMCT(network), sparsity=0.7).attribute(images, torch.from_numpy(targets))
    for given in (images.numpy(), images.double().numpy(), images.numpy()[:, ::-1][:, ::-1]):
        found = explain_func(model=network, inputs=given, targets=targets, sparsity=0.7, device="cpu")
        assert type(found) is np.ndarray and found.shape == given.shape and found.dtype == np.float32
        assert np.allclose(found, whole.numpy(), atol=1e-6)
    other = explain_func(network, images.numpy(), targets, sparsity=0.7, method=partial(NeuronIntGrad, steps=3))
    assert other.shape == found.shape and not np.allclose(other, found)
    predicted = network(images).argmax(1).numpy()
    assert np.array_equal(explain_func(network, images.numpy()), explain_func(network, images.numpy(), predicted))


def test_quantus_may_change_the_weights(network: nn.Module, images: Tensor) -> None:
    """The randomisation tests hand over other weights each time; what is explained is the model that is given."""
    before = explain_func(network, images.numpy(), np.zeros(5, int))
    nn.init.normal_(network[0].weight)
    assert not np.allclose(before, explain_func(network, images.numpy(), np.zeros(5, int)))


def test_quantus_half_precision_and_wrong_targets(network: nn.Module, images: Tensor) -> None:
    found = explain_func(network.bfloat16(), images.numpy(), np.zeros(5, int))
    assert found.dtype == np.float32 and found.shape == images.shape
    with pytest.raises(InputError, match="classes are 0 to 2"):
        explain_func(network.float(), images.numpy(), np.full(5, 3))
    with pytest.raises(InputError, match="4 targets for 5 inputs"):
        explain_func(network, images.numpy(), np.zeros(4, int))
