"""The exact optima of the paper's objectives on tiny discrete networks, by enumeration: an oracle for the fast ways.

A network is given by a table of what its neurons do: row i holds the values of all neurons in the i-th case, and the
integer weight of that case is proportional to its probability (noise is a case like any other). Sets of neurons are
compared in integer arithmetic, so "optimal", "tied" and "independent" are exact; only the bits reported are rounded.

What the paper says of these objectives holds on such networks as follows (``tests/unit/test_exact.py`` has each case).

Theorem 1, ``M_l(Y)`` is a subset of ``S_l``
    Holds where the layers are a Markov chain and layer l has only *one* set from which nothing can be left out
    (`Optimum.unique`); every combination of values of the layer having a positive probability is enough for that.
    That the *smallest* set is unique is not enough: with ``Z_0 = (a, b, a and b)``, ``Z_1 = (a, b)``, ``Y = a and b``
    every smallest set is unique, ``M_0(Y)`` is the third neuron and ``S_0`` the other two. Neurons of a trained layer
    that determine each other can break it in the same way, and a connection that skips a layer too.
    Without any uniqueness `Optimum.shared`, the neurons on which Y depends given all others, is a subset of ``S_l``
    (on a Markov chain); it can be empty, as it is in this example.
Corollary 1, precision with respect to ``M_l(Y)`` is precision with respect to ``S_l``
    Fails where Theorem 1 fails, but always holds (on a Markov chain) for a solver that controls its errors with respect
    to `Optimum.shared`, as exact knockoffs do. It is about precision alone: ``S_l`` can be larger than ``M_l(Y)``.
Section 2.2, the Markov blanket solves (2)
    Holds without a limit on the size; within a limit the optimum and the blanket can be disjoint.
Appendix G, the sum of the objectives (10) is not below the sum of (2)
    Holds, layer by layer, for exact optima within the same limit. The sum of (2) itself can depend on how ties are
    broken at later layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from neucept.errors import InputError

SUBSETS = 2**14  # sets that one problem may enumerate (0.2 ms each with 32 cases, 2 ms with 1,000), and optimal chains
TOTAL = 10_000  # sum of the weights without a common factor: the integers compared have up to four times as many digits

Neurons = tuple[int, ...]


@dataclass(frozen=True)
class Optimum:
    """The sets that hold the most information about a target, within the limit on their size.

    Attributes
    ----------
    information : float
        Their mutual information with the target, in bits.
    sets : tuple of tuple of int
        Every optimal set from which no neuron can be left out, smaller ones first. The other optimal sets are these
        with neurons added, up to the limit.
    """

    information: float
    sets: tuple[Neurons, ...]

    @property
    def smallest(self) -> tuple[Neurons, ...]:
        """The optimal sets with the fewest neurons."""
        return tuple(S for S in self.sets if len(S) == len(self.sets[0]))

    @property
    def unique(self) -> bool:
        """Whether only one set is left."""
        return len(self.sets) == 1

    @property
    def shared(self) -> Neurons:
        """The neurons in every optimal set; without a limit, those on which the target depends given all others."""
        return tuple(sorted(set.intersection(*map(set, self.sets))))


@dataclass(frozen=True)
class Chain:
    """One solution of problem (2) for all layers.

    Attributes
    ----------
    sets : tuple of tuple of int
        ``S_0, ..., S_{L-1}``.
    information : tuple of float
        The objective (2) at each of these layers, in bits.
    """

    sets: tuple[Neurons, ...]
    information: tuple[float, ...]


def entropy(Z: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Entropy of discrete columns taken together, in bits.

    Parameters
    ----------
    Z : array
        (m, k) or (m,) integers or booleans, one row a case.
    weights : array, optional
        (m,) non-negative integers, proportional to the probabilities of the cases. Equal without.

    Raises
    ------
    InputError
        Where the values are not discrete, or the weights not non-negative integers whose sum, without a
        common factor, is from 1 to 10,000.

    Examples
    --------
    >>> entropy([[0, 0], [0, 1], [1, 1]], weights=[2, 1, 1])
    1.5
    """
    table, w = _table((Z,), weights)
    counts = np.bincount(_groups(table[0]), w)
    return float(np.log2(w.sum()) - np.sum(counts * np.log2(counts)) / w.sum())


def mutual_information(Z: ArrayLike, T: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Mutual information of two groups of discrete columns, each taken together, in bits.

    Parameters
    ----------
    Z, T : array
        (m, k) and (m, t), or (m,), integers or booleans.
    weights : array, optional
        As in `entropy`, which says the errors too.

    Examples
    --------
    >>> mutual_information([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0])
    1.0
    """
    (left, right), w = _table((Z, T), weights)
    return max(0.0, entropy(left, w) + entropy(right, w) - entropy(np.hstack([left, right]), w))


def best_sets(Z: ArrayLike, T: ArrayLike, k: int | None = None, weights: ArrayLike | None = None) -> Optimum:
    """Solve problem (4), DISCRETE-CNI: ``argmax I(Z^S; T)`` over the sets of at most k columns, with all ties.

    Parameters
    ----------
    Z : array
        (m, N) integers or booleans.
    T : array
        (m, t) or (m,) integers or booleans, taken together.
    k : int, optional
        Most columns of a set. No limit without.
    weights : array, optional
        As in `entropy`.

    Raises
    ------
    InputError
        Where more than 16,384 sets would have to be enumerated (more than 14 columns without a limit), k is negative,
        or for what `entropy` says.

    Examples
    --------
    >>> Z = [[0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 1]]
    >>> best_sets(Z, [0, 1, 2, 3], k=2).sets
    ((0, 1),)
    >>> best_sets(Z, [0, 0, 0, 1]).sets
    ((2,), (0, 1))
    """
    (layer, target), w = _table((Z, T), weights)
    if k is not None and k < 0:
        raise InputError(f"A set has at most k = {k} neurons: expected 0 or more.")
    columns = layer.shape[1]
    most = columns if k is None else min(k, columns)
    enumerated = sum(math.comb(columns, size) for size in range(most + 1))
    if enumerated > SUBSETS:
        raise InputError(
            f"{columns} neurons have {enumerated:,} sets of at most {most}; {SUBSETS:,} can be enumerated. "
            "Use fewer neurons or a smaller k."
        )
    groups = _groups(target)
    scores = {
        S: _likelihood(layer[:, S], groups, w) for size in range(most + 1) for S in combinations(range(columns), size)
    }
    best = max(scores.values())
    minimal: list[Neurons] = []
    for S, score in scores.items():
        if score == best and not any(set(kept) <= set(S) for kept in minimal):
            minimal.append(S)
    return Optimum(mutual_information(layer[:, minimal[0]], target, w), tuple(minimal))


def markov_blanket(Z: ArrayLike, T: ArrayLike, weights: ArrayLike | None = None) -> Optimum:
    """Find the sets S of columns given which T is independent of all others (Section 2.2).

    T is independent of the rest given ``Z^S`` exactly where ``I(Z^S; T) = I(Z; T)``: this is `best_sets` without a
    limit. The paper's ``M(T)`` is one of the ``smallest``; the others in ``sets`` are larger, but no column can be left
    out of them either. `best_sets` says the parameters and errors.

    Examples
    --------
    >>> twice = markov_blanket([[0, 0, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1]], [0, 0, 1, 1])
    >>> twice.sets, twice.unique, twice.shared
    (((0,), (1,)), False, ())
    """
    return best_sets(Z, T, None, weights)


def critical_neurons_exact(
    layers: Sequence[ArrayLike],
    output: int = 0,
    k: int | None = None,
    weights: ArrayLike | None = None,
    smallest: bool = True,
) -> tuple[Chain, ...]:
    """Solve problem (2) from the last layer to the first, with all ties; without a limit this is procedure (3).

    Parameters
    ----------
    layers : sequence of array
        ``Z_0, ..., Z_L``, each (m, k_l) or (m,) integers or booleans; the last holds the outputs.
    output : int
        Number o of the output examined: ``Y = Z_L^{o}``.
    k : int, optional
        Most neurons of a layer. No limit without.
    weights : array, optional
        As in `entropy`.
    smallest : bool
        Follow, at every layer, the optimal sets with the fewest neurons (as the paper does); otherwise every optimal
        set from which none can be left out.

    Returns
    -------
    tuple of Chain
        Every way to break the ties; they can differ in their information at earlier layers.

    Raises
    ------
    InputError
        For fewer than two layers, no such output, more than 16,384 chains, and what `best_sets` says.

    Examples
    --------
    >>> a, b = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]).T
    >>> network = [np.stack([a, b], 1), np.stack([a ^ b, b], 1), (a ^ b) ^ b]
    >>> critical_neurons_exact(network)[0].sets
    ((0, 1), (0, 1))
    >>> markov_blanket(network[0], network[2]).sets  # b cancels
    ((0,),)
    """
    tables, w = _network(layers, weights)
    if not 0 <= output < tables[-1].shape[1]:
        raise InputError(f"There is no output {output}: the last layer has {tables[-1].shape[1]}, counted from 0.")
    chains = [Chain((), ())]
    for layer, following in zip(tables[-2::-1], tables[:0:-1], strict=True):
        solved: dict[Neurons, Optimum] = {}
        extended: list[Chain] = []
        for chain in chains:
            targets = chain.sets[0] if chain.sets else (output,)
            if targets not in solved:
                solved[targets] = best_sets(layer, following[:, targets], k, w)
            optimum = solved[targets]
            for S in optimum.smallest if smallest else optimum.sets:
                extended.append(Chain((S, *chain.sets), (optimum.information, *chain.information)))
        if len(extended) > SUBSETS:
            raise InputError(f"More than {SUBSETS:,} chains are optimal. Use fewer layers, or neurons that tie less.")
        chains = extended
    return tuple(chains)


def global_neurons_exact(
    layers: Sequence[ArrayLike], k: int | None = None, weights: ArrayLike | None = None
) -> tuple[Optimum, ...]:
    """Solve problem (10) at every layer but the last: the most information about all neurons of all later layers.

    `critical_neurons_exact` says the parameters and errors.

    Examples
    --------
    >>> a, b = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]).T
    >>> [best.sets for best in global_neurons_exact([np.stack([a, b], 1), np.stack([a, a & b], 1), a])]
    [((0, 1),), ((0,),)]
    """
    tables, w = _network(layers, weights)
    return tuple(best_sets(Z, np.hstack(tables[i + 1 :]), k, w) for i, Z in enumerate(tables[:-1]))


def is_markov_chain(layers: Sequence[ArrayLike], weights: ArrayLike | None = None) -> bool:
    """Say whether equation (1) holds: given a layer, all earlier ones tell nothing about the later ones.

    `critical_neurons_exact` says the parameters and errors.

    Examples
    --------
    >>> a, b = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]).T
    >>> is_markov_chain([np.stack([a, b], 1), a, a ^ b])  # b skips the second layer
    False
    """
    tables, w = _network(layers, weights)
    for i in range(1, len(tables) - 1):
        later = _groups(np.hstack(tables[i + 1 :]))
        if _likelihood(tables[i], later, w) != _likelihood(np.hstack(tables[: i + 1]), later, w):
            return False
    return True


def min_features(X: ArrayLike, t: ArrayLike, n: int) -> bool:
    """Decide MIN-FEATURES by one call of DISCRETE-CNI (Appendix B): whether some n features determine the target.

    Every sample is as probable as any other; n features determine t exactly where the optimum of (4) with ``k = n``
    reaches the entropy of t. The paper's text is amended in four places. Its ``Pr{Z = x} = 1/|X|`` sums to 1 only where
    no two samples have the same features: here a repeated sample counts as often as it occurs, which leaves the answer
    as it is. Two samples with the same features and different targets, which it sets aside, need no case of their own:
    no information then reaches the entropy. It needs the joint distribution of Z and Y, not that of Z alone.
    And n may be 0 (is the target constant?) or exceed the number of features, where it asks for 1 <= k <= N.

    Parameters
    ----------
    X : array
        (m, N) integers or booleans, the features.
    t : array
        (m,) integers or booleans, the target.
    n : int
        Most features to use, 0 or more.

    Raises
    ------
    InputError
        As `best_sets`; also for no samples at all and more than 10,000.

    Examples
    --------
    >>> X = [[0, 0, 1], [0, 1, 1], [1, 0, 0], [1, 1, 1]]
    >>> min_features(X, [0, 1, 1, 0], n=1), min_features(X, [0, 1, 1, 0], n=2)
    (False, True)
    """
    (features, target), w = _table((X, t), None)
    S = best_sets(features, target, n, w).sets[0]
    # I(Z^S; Y) = H(Y) in integers: the likelihood is 2 to the power -m (H(Y) - I(Z^S; Y)).
    return _likelihood(features[:, S], _groups(target), w) == 1


def _likelihood(Z: np.ndarray, target: np.ndarray, weights: np.ndarray) -> Fraction:
    """Give 2 to the power ``-n H(T | Z)``, n the sum of the weights: greater where ``I(Z; T)`` is, and rational."""
    groups = _groups(Z)
    cells = np.zeros((groups.max() + 1, target.max() + 1), dtype=np.int64)
    np.add.at(cells, (groups, target), weights)
    joint = math.prod(c**c for c in cells.ravel().tolist())  # 0 ** 0 is 1
    return Fraction(joint, math.prod(c**c for c in cells.sum(axis=1).tolist()))


def _groups(Z: np.ndarray) -> np.ndarray:
    """Give equal rows of (m, k) the same number, from 0: (m,)."""
    if Z.shape[1] == 0:
        return np.zeros(len(Z), dtype=np.intp)
    return np.unique(Z, axis=0, return_inverse=True)[1].reshape(-1)


def _network(layers: Sequence[ArrayLike], weights: ArrayLike | None) -> tuple[list[np.ndarray], np.ndarray]:
    if len(layers) < 2:
        raise InputError(f"{len(layers)} layers were given: at least one and the outputs are needed.")
    return _table(layers, weights)


def _table(parts: Sequence[ArrayLike], weights: ArrayLike | None) -> tuple[list[np.ndarray], np.ndarray]:
    """Check columns and weights, and leave out cases without weight."""
    tables = [np.asarray(part) for part in parts]
    for table in tables:
        if table.ndim not in (1, 2) or (table.dtype.kind not in "biu" and table.size):
            raise InputError(
                f"Neurons are given as {table.dtype} of shape {table.shape}: expected integers or booleans, "
                "one row a case and one column a neuron. Give each value a number first."
            )
    tables = [table[:, None] if table.ndim == 1 else table for table in tables]
    cases = {len(table) for table in tables}
    w = np.ones(len(tables[0]), dtype=np.int64) if weights is None else np.asarray(weights)
    if len(cases) > 1 or w.shape != (len(tables[0]),):
        raise InputError(f"Layers have {sorted(cases)} rows and weights the shape {w.shape}: expected one row a case.")
    if w.size and (w.dtype.kind not in "iu" or w.min() < 0):
        raise InputError(
            "Weights must be non-negative integers, so that ties are exact: multiply the probabilities by their "
            "common denominator."
        )
    tables, w = [table[w > 0] for table in tables], w[w > 0].astype(np.int64)
    w //= max(1, np.gcd.reduce(w))
    if not 1 <= w.sum() <= TOTAL:
        raise InputError(f"The weights sum to {w.sum():,}: expected 1 to {TOTAL:,}. Round them, or give fewer cases.")
    return tables, w
