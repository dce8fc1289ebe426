"""Attributions drawn over images: colours, scales, what is under them, and wrong input."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from neucept import InputError
from neucept.pathways import picture, signed_map
from neucept.pathways.pictures import HIGH, LOW, ZERO

# Colours as people see them who lack one kind of cone; Machado, Oliveira and Fernandes, 2009, of linear RGB.
COLOUR_BLIND = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def seen(colour: np.ndarray, matrix: Any) -> np.ndarray:
    linear = np.where(colour <= 10.3, colour / 255 / 12.92, ((colour / 255 + 0.055) / 1.055) ** 2.4)
    linear = (np.array(matrix) @ linear).clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("kind", COLOUR_BLIND)
def test_the_three_colours_are_told_apart_by_everybody(kind: str) -> None:
    high, low, zero = (seen(colour, COLOUR_BLIND[kind]) for colour in (HIGH, LOW, ZERO))
    for one, other in ((high, low), (high, zero), (low, zero)):
        assert np.linalg.norm(one - other) > 100, (one, other)


def test_sign_gives_the_hue_and_magnitude_the_strength() -> None:
    values = np.linspace(-1, 1, 21)
    drawn = picture(values.reshape(1, 1, 21), quantile=1)[0, 0].astype(int)
    assert (
        drawn[0].tolist() == LOW.tolist()
        and drawn[-1].tolist() == HIGH.tolist()
        and drawn[10].tolist() == ZERO.tolist()
    )
    assert (drawn[:10, 2] > drawn[:10, 0]).all() and (drawn[11:, 0] > drawn[11:, 2]).all()
    assert (np.diff(drawn[:11, 0]) >= 0).all() and (np.diff(drawn[10:, 2]) <= 0).all()
    assert (picture(np.zeros((1, 3, 3))) == ZERO).all()


def test_the_channel_of_largest_magnitude_is_drawn() -> None:
    attribution = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(picture(attribution), picture(signed_map(attribution)[:, 0]))
    assert np.array_equal(picture(attribution.numpy()), picture(attribution.requires_grad_()))


def test_a_few_large_values_do_not_leave_the_others_pale() -> None:
    values = np.full((1, 20, 20), 0.5)
    values[0, 0, 0] = 1e6
    assert (picture(values)[0] == HIGH).all()
    assert picture(values, quantile=1)[0, 5, 5].tolist() == ZERO.tolist()
    alone = np.zeros((1, 20, 20))
    alone[0, 0, 0] = -1e-12  # nearly all is zero: what is left is seen
    assert picture(alone)[0, 0, 0].tolist() == LOW.tolist() and (picture(alone)[0, 1:] == ZERO).all()


def test_each_by_itself_or_together() -> None:
    values = np.stack([np.full((4, 4), 1.0), np.full((4, 4), 0.5)])
    assert (picture(values) == HIGH).all()
    together = picture(values, together=True)
    assert (together[0] == HIGH).all() and np.abs(together[1, 0, 0] - (HIGH + ZERO) / 2).max() <= 0.5
    assert np.array_equal(picture(values * 1e-20), picture(values)) and np.array_equal(
        picture(-values[:1]), picture(-values[1:])
    )


def test_images_lie_under_the_colours_in_grey() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 6, 7, 3), np.uint8)
    image[0, 0, 0], image[0, 0, 1] = 0, 255
    attribution = torch.zeros(1, 3, 6, 7)
    attribution[0, 1, 2, 3] = 5.0
    drawn = picture(attribution, image)[0]
    assert drawn[2, 3].tolist() == HIGH.tolist()
    rest = np.delete(drawn.reshape(-1, 3), 2 * 7 + 3, axis=0)
    assert (rest[:, 0] == rest[:, 1]).all() and (rest[:, 1] == rest[:, 2]).all()
    luma = image[0] @ np.array([0.299, 0.587, 0.114])
    order = np.delete(luma.ravel(), 2 * 7 + 3).argsort()
    assert (np.diff(rest[order, 0].astype(int)) >= 0).all() and drawn[0, 0, 0] < drawn[0, 1, 0]
    attribution[0, 1, 2, 3] = 0
    assert attribution.abs().sum() == 0 and np.ptp(picture(attribution, image)[0], axis=2).max() == 0


def test_images_in_the_units_of_a_network_need_no_mean_and_deviation() -> None:
    images = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    attribution = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    normalised = (images - 0.4) / 0.2
    assert np.abs(picture(attribution, images).astype(int) - picture(attribution, normalised)).max() <= 1
    grey = picture(attribution, images.mean(1))
    assert np.array_equal(grey, picture(attribution, images.mean(1, keepdim=True)))
    assert np.array_equal(grey, picture(attribution, images.mean(1).numpy()))
    assert grey.shape == (2, 5, 5, 3) and grey.dtype == np.uint8


def test_images_of_other_sizes_are_brought_to_that_of_the_attribution() -> None:
    small = np.zeros((4, 4), np.uint8)
    small[:2] = 200
    large = np.kron(small, np.ones((5, 5), np.uint8))
    drawn = picture(np.zeros((2, 4, 4)), [small, large])
    assert np.abs(drawn[0].astype(int) - drawn[1])[[0, 3]].max() <= 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((torch.ones(3, 3),), "expected \\(n, channels, H, W\\)"),
        ((torch.ones(0, 1, 3, 3),), "expected \\(n, channels, H, W\\)"),
        ((torch.full((1, 1, 3, 3), torch.nan),), "not finite"),
        ((torch.ones(2, 1, 3, 3), torch.ones(1, 1, 3, 3)), "1 images for 2"),
        ((torch.ones(1, 1, 3, 3), torch.ones(1, 2, 3, 3)), "no image"),
        ((torch.ones(1, 1, 3, 3), np.ones((1, 3, 3, 4), np.uint8)), "expected \\(H, W\\) or"),
    ],
)
def test_wrong_input(arguments: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        picture(*arguments)


@pytest.mark.parametrize("quantile", [0, -0.1, 1.1, float("nan")])
def test_wrong_quantile(quantile: float) -> None:
    with pytest.raises(InputError, match="quantile="):
        picture(torch.ones(1, 1, 3, 3), quantile=quantile)


def test_no_pillow_is_needed() -> None:
    code = (
        "import sys; sys.modules['PIL'] = None; sys.modules['plotly'] = None\n"
        "import torch; from neucept.pathways import picture\n"
        "assert picture(torch.ones(1, 3, 4, 4), torch.rand(1, 3, 4, 4)).shape == (1, 4, 4, 3)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
