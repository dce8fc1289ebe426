"""The order of importance against the slowest way to find it, and what it must not depend on."""

import numpy as np
import pytest

from neucept.discovery.layer import forward_order


def example(seed: int, n: int = 300, p: int = 7, r: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n, p)) @ (np.eye(p) + 0.4 * rng.normal(size=(p, p)))
    return Z, Z @ rng.normal(size=(p, r)) + rng.normal(size=(n, r)), rng.uniform(0.2, 2, r)


def explained(Z: np.ndarray, Y: np.ndarray, weights: np.ndarray) -> float:
    Z, Y = Z - Z.mean(axis=0), (Y - Y.mean(axis=0)) / Y.std(axis=0)
    fitted = Z @ np.linalg.lstsq(Z, Y, rcond=None)[0]
    return float((fitted**2).mean(axis=0) @ weights)


def slowly(Z: np.ndarray, Y: np.ndarray, weights: np.ndarray, doubt: np.ndarray | None = None) -> list[int]:
    """Fit every set anew."""
    order: list[int] = []
    trust = np.ones(Z.shape[1]) if doubt is None else 1 - doubt
    while len(order) < Z.shape[1]:
        before = explained(Z[:, order], Y, weights) if order else 0.0
        rest = [j for j in range(Z.shape[1]) if j not in order]
        order.append(max(rest, key=lambda j: (explained(Z[:, [*order, j]], Y, weights) - before) * trust[j]))
    return order


@pytest.mark.parametrize("seed", range(8))
def test_the_order_is_that_of_fitting_every_set_anew(seed: int) -> None:
    Z, Y, weights = example(seed)
    assert forward_order(Z, Y, weights).tolist() == slowly(Z, Y, weights)
    doubt = np.random.default_rng(seed + 50).uniform(0, 0.9, Z.shape[1])
    assert forward_order(Z, Y, weights, doubt).tolist() == slowly(Z, Y, weights, doubt)


def test_scales_and_signs_do_not_matter_and_neurons_may_change_places() -> None:
    Z, Y, weights = example(3)
    order = forward_order(Z, Y, weights)
    rng = np.random.default_rng(9)
    scaled = Z * rng.choice([-1, 1], 7) * rng.uniform(1e-3, 1e3, 7) + 5
    np.testing.assert_array_equal(forward_order(scaled, Y * 7 - 2, weights), order)
    places = rng.permutation(7)
    np.testing.assert_array_equal(places[forward_order(Z[:, places], Y, weights)], order)


def test_tiny_units_do_not_matter() -> None:
    Z, Y, weights = example(0)
    np.testing.assert_array_equal(forward_order(Z * 1e-15, Y * 1e-15, weights), forward_order(Z, Y, weights))


def test_a_copy_and_a_constant_have_no_place() -> None:
    Z, Y, weights = example(5)
    more = np.column_stack([Z, Z[:, 2], np.full(len(Z), 3.0)])
    order = forward_order(more, Y, weights).tolist()
    assert len(order) == 7
    assert 8 not in order
    assert (2 in order) != (7 in order)


def test_nothing_to_explain_gives_no_order() -> None:
    Z, Y, _ = example(1)
    assert forward_order(Z, Y, np.zeros(4)).size == 0
    assert forward_order(Z, np.ones_like(Y), np.ones(4)).size == 0
    assert forward_order(Z, Y, np.ones(4), np.ones(7)).size == 0
