"""The exact optima against definitions written out plainly, and what the paper says of them, where it holds and where
it does not.
"""

import math
from collections import Counter
from itertools import combinations, combinations_with_replacement, pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.exact import (
    best_sets,
    critical_neurons_exact,
    entropy,
    global_neurons_exact,
    is_markov_chain,
    markov_blanket,
    min_features,
    mutual_information,
)

from neucept.errors import InputError

SEEDS = st.integers(0, 2**32 - 1)
A, B = np.array(list(product((0, 1), repeat=2))).T  # two independent fair bits
TRIPLES = np.array(list(product((0, 1), repeat=3)))


def columns(*each: np.ndarray) -> np.ndarray:
    return np.stack(each, axis=1)


def subsets(n: int, most: int | None = None) -> list[tuple[int, ...]]:
    return [S for size in range((n if most is None else min(n, most)) + 1) for S in combinations(range(n), size)]


def random_table(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A layer with columns that often determine each other, a target, weights with zeros among them."""
    rng = np.random.default_rng(seed)
    m = int(rng.integers(1, 9))
    Z = rng.integers(0, 2 + rng.integers(2), (m, rng.integers(1, 5)))
    w = rng.integers(0, 4, m)
    w[0] += 1
    return Z, rng.integers(0, 3, (m, rng.integers(1, 3))), w


def random_chain(seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Z_0 -> Z_1 -> Z_2 -> outputs: random functions of the layer before and, for some, of a bit of noise of their own.

    Half of the Z_0 take all combinations of values, so that blankets are unique there.
    """
    rng = np.random.default_rng(seed)
    inputs = np.unique(TRIPLES[:, : rng.integers(1, 4)], axis=0)
    if rng.random() < 0.5:
        inputs = inputs[rng.permutation(len(inputs))[: rng.integers(1, len(inputs) + 1)]]
    first, second = A, B  # the noise of Z_1 and of Z_2, in all four combinations
    weights = np.outer(rng.integers(1, 4, len(inputs)), rng.integers(1, 4, 2)[first] * rng.integers(1, 4, 2)[second])
    layers = [np.repeat(inputs, 4, axis=0)]
    for noise, outputs in ((first, 3), (second, int(rng.integers(1, 4))), (0 * first, 2)):
        _, state = np.unique(layers[-1], axis=0, return_inverse=True)
        function = rng.integers(0, 2, (8, 2, outputs))
        layers.append(function[state.reshape(-1), np.tile(noise, len(inputs)) * rng.integers(0, 2)])
    return layers, weights.ravel()


def rows(Z: np.ndarray, S: tuple[int, ...] | None = None) -> list[tuple[int, ...]]:
    return [tuple(row) for row in (Z if S is None else Z[:, list(S)]).tolist()]


def plain_information(left: list[tuple[int, ...]], right: list[tuple[int, ...]], w: np.ndarray) -> float:
    """Sum of p(z, t) log2 p(z, t) / p(z) p(t)."""
    joint, one, other = Counter(), Counter(), Counter()
    for z, t, weight in zip(left, right, w.tolist(), strict=True):
        joint[z, t] += weight
        one[z] += weight
        other[t] += weight
    n = w.sum()
    return sum(c / n * math.log2(c * n / (one[z] * other[t])) for (z, t), c in joint.items() if c)


def independent_given(Z: np.ndarray, T: np.ndarray, S: tuple[int, ...], w: np.ndarray) -> bool:
    """P(z, t) P(z^S) = P(z^S, t) P(z) for all z and t, in integers."""
    full, some, target = rows(Z), rows(Z, S), rows(T)
    zt, z, st_, s = Counter(), Counter(), Counter(), Counter()
    for i, weight in enumerate(w.tolist()):
        zt[full[i], target[i]] += weight
        z[full[i]] += weight
        st_[some[i], target[i]] += weight
        s[some[i]] += weight
    of = dict(zip(full, some, strict=True))
    return all(zt[a, t] * s[of[a]] == st_[of[a], t] * z[a] for a in z for t in set(target))


def false_share(selected: tuple[int, ...], true: tuple[int, ...]) -> float:
    return len(set(selected) - set(true)) / max(1, len(selected))


# The parts against their definitions


@settings(deadline=None)
@given(SEEDS)
def test_information_is_the_sum_that_defines_it(seed: int) -> None:
    Z, T, w = random_table(seed)
    expected = plain_information(rows(Z), rows(T), w)
    assert mutual_information(Z, T, w) == pytest.approx(expected, abs=1e-12)
    assert entropy(Z, w) == pytest.approx(plain_information(rows(Z), rows(Z), w), abs=1e-12)
    assert mutual_information(Z, T, 6 * w) == pytest.approx(expected, abs=1e-12)
    assert mutual_information(np.repeat(Z, w, axis=0), np.repeat(T, w, axis=0)) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(SEEDS)
def test_blankets_are_the_sets_that_separate(seed: int) -> None:
    Z, T, w = random_table(seed)
    separating = [S for S in subsets(Z.shape[1]) if independent_given(Z, T, S, w)]
    minimal = [S for S in separating if not any(set(other) < set(S) for other in separating)]
    found = markov_blanket(Z, T, w)
    assert list(found.sets) == minimal
    assert found.unique == (len(minimal) == 1)
    assert {len(S) for S in found.smallest} == {min(map(len, separating))}
    # Dependent given all others: the alternatives that knockoffs test.
    all_columns = range(Z.shape[1])
    needed = [j for j in all_columns if not independent_given(Z, T, tuple(i for i in all_columns if i != j), w)]
    assert list(found.shared) == needed
    # Section 2.2: the blanket maximises (2) without a limit.
    assert found.information == pytest.approx(mutual_information(Z, T, w), abs=1e-12)


@settings(deadline=None)
@given(SEEDS, st.integers(0, 4))
def test_best_sets_are_those_of_most_information(seed: int, k: int) -> None:
    Z, T, w = random_table(seed)
    values = {S: plain_information(rows(Z, S), rows(T), w) for S in subsets(Z.shape[1], k)}
    found = best_sets(Z, T, k, w)
    assert found.information == pytest.approx(max(values.values()), abs=1e-12)
    optimal = {S for S, value in values.items() if value > found.information - 1e-9}
    assert optimal == {S for S in values if any(set(kept) <= set(S) for kept in found.sets)}


def test_the_least_difference_is_no_tie() -> None:
    """2,499 of 4,999 is not 2,500 of 5,000, though it tells less than 1e-8 bits: no tolerance decides."""
    assert 0 < mutual_information(A, B, [2_500, 2_500, 2_499, 2_500]) < 1e-8
    assert markov_blanket(A, B, [2_500, 2_500, 2_499, 2_500]).sets == ((0,),)
    assert markov_blanket(A, B, [2_500, 2_500, 2_499, 2_499]).sets == ((),)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 4).flatmap(
        lambda width: st.lists(st.tuples(*[st.booleans()] * width, st.integers(0, 2)), min_size=1, max_size=12)
    ),
    st.integers(0, 5),
)
def test_min_features_by_discrete_cni_is_brute_force(samples: list[tuple[int, ...]], n: int) -> None:
    """Samples repeat and contradict each other here, which the paper's reduction sets aside."""
    X = np.array(samples, dtype=int)[:, :-1]
    t = np.array([sample[-1] for sample in samples])
    expected = any(len(set(zip(rows(X, V), t, strict=True))) == len(set(rows(X, V))) for V in subsets(X.shape[1], n))
    assert min_features(X, t, n) == expected


@settings(deadline=None)
@given(SEEDS)
def test_cni_is_min_features_of_a_deterministic_layer(seed: int) -> None:
    """Which probabilities the cases have is of no matter where the layer determines the target."""
    Z, _, w = random_table(seed)
    Z = Z[w > 0]
    t = np.random.default_rng(seed).integers(0, 2, 81)[Z @ 3 ** np.arange(Z.shape[1])]
    size = len(markov_blanket(Z, t, w[w > 0]).smallest[0])
    assert min_features(Z, t, size)
    assert size == 0 or not min_features(Z, t, size - 1)


# Theorem 1


@settings(deadline=None)
@given(SEEDS, st.booleans())
def test_theorem_1_where_the_blanket_is_unique(seed: int, smallest: bool) -> None:
    layers, w = random_chain(seed)
    assert is_markov_chain(layers, w)
    for chain in critical_neurons_exact(layers, weights=w, smallest=smallest):
        for layer, S in zip(layers, chain.sets, strict=False):
            blanket = markov_blanket(layer, layers[-1][:, 0], w)
            assert set(blanket.shared) <= set(S)  # always
            assert any(set(M) <= set(S) for M in blanket.sets)  # always: S_l separates Y from the layer
            assert not blanket.unique or set(blanket.smallest[0]) <= set(S)  # Theorem 1


def test_the_random_chains_reach_both_sides_of_theorem_1() -> None:
    unique = several = failures = 0
    for seed in range(150):
        layers, w = random_chain(seed)
        for chain in critical_neurons_exact(layers, weights=w):
            for layer, S in zip(layers, chain.sets, strict=False):
                blanket = markov_blanket(layer, layers[-1][:, 0], w)
                unique += blanket.unique and blanket.information > 0
                several += not blanket.unique
                failures += any(not set(M) <= set(S) for M in blanket.smallest)
    assert unique > 100
    assert several > 20
    assert failures > 5  # only where not unique, by the test above


@settings(deadline=None)
@given(SEEDS)
def test_the_blanket_is_unique_where_every_combination_is_possible(seed: int) -> None:
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, 4))
    layer = np.array(list(product((0, 1), repeat=k)))
    noisy, function = np.repeat(layer, 2, axis=0), rng.integers(0, 2, 2 ** (k + 1))
    assert markov_blanket(layer, function[: 2**k], rng.integers(1, 9, 2**k)).unique
    assert markov_blanket(noisy, function, rng.integers(1, 9, 2 ** (k + 1))).unique


def test_known_blankets() -> None:
    """Y = (u or v) xor noise with u = a and b, v = c; w = a is of no use, though far from independent of Y."""
    a, b, c, noise = np.array(list(product((0, 1), repeat=4))).T
    layers = [columns(a, b, c), columns(a & b, c, a), columns(((a & b) | c) ^ noise)]
    weights = np.where(noise == 1, 1, 5)
    assert mutual_information(layers[1][:, 2], layers[2], weights) > 0.02
    (chain,) = critical_neurons_exact(layers, weights=weights)
    assert chain.sets == ((0, 1, 2), (0, 1))
    for layer, S in zip(layers, chain.sets, strict=False):
        assert markov_blanket(layer, layers[2], weights).sets == (S,)


def test_the_critical_neurons_can_be_more_than_the_blanket() -> None:
    """b is in Z_1 and cancels in Y: M_0(Y) = {a}, S_0 = {a, b}. Both layers take all values, so all is unique."""
    layers = [columns(A, B), columns(A ^ B, B), A]
    assert [c.sets for c in critical_neurons_exact(layers, smallest=False)] == [((0, 1), (0, 1))]
    assert markov_blanket(layers[0], A).sets == ((0,),)


def fails(layers: list[np.ndarray], always: bool) -> bool:
    """Theorem 1 fails at layer 0, for every (or for some) choice among the smallest sets."""
    blankets = markov_blanket(layers[0], layers[-1]).smallest
    inside = {set(M) <= set(c.sets[0]) for c in critical_neurons_exact(layers) for M in blankets}
    return True not in inside if always else False in inside


def test_theorem_1_fails_for_a_choice_with_two_equal_neurons() -> None:
    """The smallest network where it can fail: two cases, two neurons, one neuron, the output."""
    bit = np.array([0, 1])
    layers = [columns(bit, bit), bit, bit]
    assert markov_blanket(layers[0], bit).sets == ((0,), (1,))
    assert {c.sets[0] for c in critical_neurons_exact(layers)} == {(0,), (1,)}
    assert fails(layers, always=False)
    assert not fails(layers, always=True)


AND = [columns(A, B, A & B), columns(A, B), A & B]


def test_theorem_1_fails_though_every_smallest_set_is_unique() -> None:
    """The third neuron of Z_0 is a and b. It alone tells Y, but Z_1 is told by the other two alone."""
    assert is_markov_chain(AND)
    assert markov_blanket(AND[1], AND[2]).sets == ((0, 1),)
    assert [c.sets for c in critical_neurons_exact(AND)] == [((0, 1), (0, 1))]
    assert markov_blanket(AND[0], AND[1]).sets == ((0, 1),)
    blanket = markov_blanket(AND[0], AND[2])
    assert blanket.smallest == ((2,),)  # the paper's M_0(Y), unique
    assert blanket.sets == ((2,), (0, 1))  # but another set has nothing to leave out either
    assert blanket.shared == ()  # and given the others, no neuron matters: a knockoff has nothing to find
    assert fails(AND, always=True)


def test_nothing_smaller_fails_for_every_choice() -> None:
    """All layers of 2 neurons in 4 cases and of 3 neurons in 3 cases, whatever follows them.

    What follows tells some cases apart by Z_1^{S_1}, and no more of them by Y: two partitions of the cases. Neurons are
    partitions too, as the names of their values are of no matter. (With 2 neurons in more cases it cannot be otherwise:
    if S_0 is one neuron, that neuron serves Y as well, and if it is two, nothing is outside.)
    """
    checked = 0
    for cases, width in ((4, 2), (3, 3)):
        partitions = {tuple(map(values.index, values)) for values in product(range(cases), repeat=cases)}
        pairs = [(T, Y) for T, Y in product(partitions, repeat=2) if len(set(T)) == len(set(zip(T, Y, strict=True)))]
        for neurons in combinations_with_replacement(sorted(partitions), width):
            layer = np.array(neurons).T
            possible = {T for T in partitions if len(set(rows(layer))) == len(set(zip(rows(layer), T, strict=True)))}
            smallest = {T: markov_blanket(layer, T).smallest for T in possible}
            for T, Y in pairs:
                if T in possible:
                    assert any(set(M) <= set(S) for M, S in product(smallest[Y], smallest[T]))
                    checked += 1
    assert checked > 1_000


def test_theorem_1_needs_the_markov_chain() -> None:
    """Y = a xor b with b on a connection that skips Z_1: unique everywhere, M_0(Y) = {a, b}, S_0 is empty."""
    layers = [columns(A, B), A, A ^ B]
    assert not is_markov_chain(layers)
    assert markov_blanket(layers[0], layers[2]).sets == ((0, 1),)
    assert [c.sets for c in critical_neurons_exact(layers, smallest=False)] == [((), ())]


def test_within_a_limit_the_optimum_and_the_blanket_can_be_disjoint() -> None:
    """Z_0 = (a, b, a noisy copy of a and b), Y = a and b: one neuron tells most if it is the copy."""
    a, b, noise = TRIPLES.T
    layers = [columns(a, b, (a & b) ^ noise), a & b]
    weights = np.where(noise == 1, 1, 20)
    assert markov_blanket(layers[0], layers[1], weights).sets == ((0, 1),)
    assert critical_neurons_exact(layers, k=1, weights=weights)[0].sets == ((2,),)


def test_a_noisy_output_is_not_determined_by_its_blanket() -> None:
    """Appendix D says "determines"; what its proof needs, and what holds, is independence of the rest."""
    a, noise = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]).T
    found = markov_blanket(a, a ^ noise, [3, 1, 3, 1])
    assert found.sets == ((0,),)
    assert found.information < 0.2 < entropy(a ^ noise, [3, 1, 3, 1])


# Corollary 1


@settings(deadline=None)
@given(SEEDS)
def test_corollary_1_holds_for_every_selection(seed: int) -> None:
    """Its inequality holds selection by selection, so in the mean over any solver's selections."""
    layers, w = random_chain(seed)
    for chain in critical_neurons_exact(layers, weights=w):
        for layer, S in zip(layers, chain.sets, strict=False):
            blanket = markov_blanket(layer, layers[-1][:, 0], w)
            for selected in subsets(layer.shape[1]):
                assert false_share(selected, S) <= false_share(selected, blanket.shared)
                if blanket.unique:
                    assert false_share(selected, S) <= false_share(selected, blanket.smallest[0])


def test_corollary_1_fails_where_theorem_1_does() -> None:
    """A perfect solver for Y has precision 1, and precision 0 with respect to S_0."""
    selected = markov_blanket(AND[0], AND[2]).smallest[0]
    assert false_share(selected, critical_neurons_exact(AND)[0].sets[0]) == 1.0


# Appendix G


@settings(deadline=None)
@given(SEEDS, st.sampled_from([None, 0, 1, 2]))
def test_the_global_objective_is_not_below_ours(seed: int, k: int | None) -> None:
    layers, w = random_chain(seed)
    everything = global_neurons_exact(layers, k, w)
    following = [best_sets(layer, later, k, w) for layer, later in pairwise(layers)]
    for of_all, of_next in zip(everything, following, strict=True):
        assert of_all.sets == of_next.sets  # by the Markov chain, (10) asks for the next layer alone
    for chain in critical_neurons_exact(layers, k=k, weights=w, smallest=False):
        for of_all, ours in zip(everything, chain.information, strict=True):
            assert of_all.information >= ours - 1e-9


def test_the_global_objective_is_not_below_ours_in_all_small_networks() -> None:
    """Two fair bits, two functions of them, one function of these, up to negation and order."""
    possible = [np.array((0, *bits)) for bits in product((0, 1), repeat=3)]
    checked = strict = 0
    for second in combinations(possible, 2):
        for y, k in product(possible, (1, 2)):
            layers = [columns(A, B), columns(*second), y]
            if not is_markov_chain(layers):
                continue
            above = sum(best.information for best in global_neurons_exact(layers, k))
            for chain in critical_neurons_exact(layers, k=k, smallest=False):
                assert above >= sum(chain.information) - 1e-9
                checked += 1
                strict += above > sum(chain.information) + 1e-9
    assert checked > strict > 50


def test_the_global_objective_needs_the_same_limit() -> None:
    layers = [columns(A, B), A ^ B]
    assert global_neurons_exact(layers, k=1)[0].information == 0.0
    assert critical_neurons_exact(layers, k=2)[0].information == (1.0,)


def test_ties_change_the_sum_of_our_objective() -> None:
    """Z_1 = (a, a xor b), Y = a and b, one neuron a layer: both of Z_1 tell as much, one of them is told by Z_0."""
    layers = [columns(A, B), columns(A, A ^ B), A & B]
    first, second = critical_neurons_exact(layers, k=1)
    assert first.information[1] == second.information[1]
    assert (first.information[0], second.information[0]) == (1.0, 0.0)


# Edges


def test_independent_columns_share_no_negative_information() -> None:
    table = np.array(list(product(range(2), range(3))))
    for weights in product(range(1, 5), repeat=3):
        assert 0 <= mutual_information(table[:, 0], table[:, 1], np.tile(weights, 2)) < 1e-12


def test_cases_without_weight_and_constant_layers() -> None:
    assert markov_blanket([[0, 0], [0, 1], [1, 1]], [0, 0, 1], [1, 0, 1]).sets == ((0,), (1,))
    assert markov_blanket(np.zeros((4, 3), bool), A).sets == ((),)
    assert markov_blanket(np.zeros((4, 0), int), A).sets == ((),)
    assert critical_neurons_exact([columns(A, B), np.zeros(4, int), np.zeros(4, int)])[0].sets == ((), ())


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: best_sets(np.zeros((2, 15), int), [0, 1]), "32,768 sets.*smaller k"),
        (lambda: best_sets([0, 1], [0, 1], k=-1), "k = -1"),
        (lambda: best_sets([0.5, 1.0], [0, 1]), "float64.*integers or booleans"),
        (lambda: entropy([0, 1], [0.5, 0.5]), "common denominator"),
        (lambda: entropy([0, 1], [-1, 2]), "non-negative"),
        (lambda: entropy([0, 1], [0, 0]), "sum to 0"),
        (lambda: entropy([0, 1], [10_000, 1]), "sum to 10,001"),
        (lambda: entropy([0, 1], [1]), "one row a case"),
        (lambda: mutual_information([0, 1], [0, 1, 2]), "one row a case"),
        (lambda: min_features(np.zeros((0, 2), int), [], 1), "sum to 0"),
        (lambda: critical_neurons_exact([[0, 1]]), "1 layers"),
        (lambda: critical_neurons_exact([[0, 1], [0, 1]], output=1), "no output 1"),
    ],
)
def test_errors_say_what_to_do(call, says: str) -> None:
    with pytest.raises(InputError, match=says):
        call()


def test_a_set_limit_makes_wide_layers_possible() -> None:
    bits = np.random.default_rng(0).integers(0, 2, (50, 40))
    assert best_sets(bits, bits[:, 7] ^ bits[:, 30], k=2).sets == ((7, 30),)
