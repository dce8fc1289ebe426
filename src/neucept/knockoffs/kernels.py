"""Compiled inner loops: functions of arrays, nothing else.

Compiled code holds no pool of threads: a pool would not survive a fork, and would not be safe to enter from two Python
threads at once. Threads are Python's own, started and ended within a call.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np

MVR, MAXENT, SDP = 0, 1, 2  # what `coordinate_steps` minimises
_WORTH_THREADS = 2**16  # numbers in Gram matrices; below, starting threads takes longer than solving
_ROUNDS = 10  # most sweeps over the active coordinates before the Newton steps ...
_SETTLED = 1e-5  # ... fewer where the square of every move is below this share of the objective


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function that runs without Python's lock; compiled code is kept on disk where that is possible.

    Where nothing can be written, or the disk is full, it is compiled anew in each process.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            dispatcher = numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # no place for a cache
            return numba.njit(nogil=True, **options)(function)
        save = dispatcher._cache.save_overload

        def save_if_possible(*given: Any) -> None:
            with contextlib.suppress(OSError):
                save(*given)

        dispatcher._cache.save_overload = save_if_possible
        return dispatcher

    return decorate


@compiled(fastmath=True)
def sweep(G, b, r, penalty, coordinates, size, active):  # type: ignore[no-untyped-def]
    """Move each of the first ``size`` coordinates to its best value; r stays ``c - G b``.

    Writes those that are not zero to ``active``, and returns how many, and the largest move.
    """
    m = len(b)
    kept = 0
    largest = 0.0
    for k in range(size):
        j = coordinates[k]
        old = b[j]
        g = G[j, j]
        if g <= 0.0:
            continue
        z = r[j] + g * old
        new = 0.0
        if z > penalty:
            new = (z - penalty) / g
        elif z < -penalty:
            new = (z + penalty) / g
        if new != old:
            d = new - old
            b[j] = new
            for i in range(m):
                r[i] -= G[j, i] * d
            largest = max(largest, abs(d))
        if new != 0.0:
            active[kept] = j
            kept += 1
    return kept, largest


@compiled(fastmath=True)
def newton(G, b, r, penalty, active, size):  # type: ignore[no-untyped-def]
    """Go to the minimum over the active coordinates, dropping one whenever its sign would change on the way.

    With ``g = r_A - penalty sign(b_A)`` the way is ``G_AA^-1 g``, by Cholesky's decomposition, from which a dropped
    coordinate is taken by rotations; after a share t of the way g is (1 - t) g. Does nothing where G_AA is singular.
    Returns how many coordinates are active still; r stays ``c - G b``.
    """
    L = np.empty((size, size))
    g = np.empty(size)
    for a in range(size):
        j = active[a]
        g[a] = r[j] - penalty * np.sign(b[j])
        for e in range(a):
            total = G[j, active[e]]
            for t in range(e):
                total -= L[a, t] * L[e, t]
            L[a, e] = total / L[e, e]
        total = G[j, j]
        for t in range(a):
            total -= L[a, t] * L[a, t]
        if total <= 1e-10 * G[j, j]:
            return size
        L[a, a] = np.sqrt(total)
    members = active[:size].copy()
    before = b[members]
    k = size
    d = np.empty(size)
    while k > 0:
        for a in range(k):
            total = g[a]
            for t in range(a):
                total -= L[a, t] * d[t]
            d[a] = total / L[a, a]
        for a in range(k - 1, -1, -1):
            d[a] /= L[a, a]
            for t in range(a):
                d[t] -= L[a, t] * d[a]
        step = 1.0
        first = -1
        for a in range(k):
            old = b[active[a]]
            if (old + d[a]) * old <= 0.0 and abs(old) < step * abs(d[a]):
                step = abs(old) / abs(d[a])
                first = a
        for a in range(k):
            b[active[a]] += step * d[a]
            g[a] *= 1.0 - step
        if first < 0:
            break
        b[active[first]] = 0.0
        k -= 1
        for a in range(first, k):
            active[a] = active[a + 1]
            g[a] = g[a + 1]
            L[a, : a + 2] = L[a + 1, : a + 2]
        for e in range(first, k):
            x = L[e, e]
            y = L[e, e + 1]
            h = np.sqrt(x * x + y * y)
            for a in range(e, k):
                u = L[a, e]
                v = L[a, e + 1]
                L[a, e] = (x * u + y * v) / h
                L[a, e + 1] = (x * v - y * u) / h
    for a in range(size):
        j = members[a]
        move = b[j] - before[a]
        if move != 0.0:
            for i in range(len(b)):
                r[i] -= G[j, i] * move
    return k


@compiled(fastmath=True)
def lasso_descent(G, c, order, penalty, b, tolerance, sweeps):  # type: ignore[no-untyped-def]
    """Minimise ``b'Gb/2 - c'b + penalty |b|_1`` from b on, in place.

    Coordinate descent, in the order given, finds the active coordinates and their signs; Newton steps among them find
    the values, and drop those whose sign they would change. Stops when the duality gap is at most ``tolerance`` of the
    objective, for a response of variance 1, or after so many rounds. Returns the gap as a share of the objective.
    """
    m = len(c)
    r = c.copy()  # minus the gradient of the smooth part
    for j in range(m):
        if b[j] != 0.0:
            for i in range(m):
                r[i] -= G[j, i] * b[j]
    active = np.empty(m, np.int64)
    gap = np.inf
    for _ in range(sweeps):
        size, largest = sweep(G, b, r, penalty, order, m, active)
        # The duality gap, from G and c alone: b'(c - r) is b'Gb.
        l1 = 0.0
        br = 0.0
        bc = 0.0
        worst = 0.0
        for j in range(m):
            l1 += abs(b[j])
            br += b[j] * r[j]
            bc += b[j] * c[j]
            worst = max(worst, abs(r[j]))
        residual = max(1.0 - bc - br, 0.0)  # |y - Xb|^2 / n with |y|^2 / n = 1
        s = 1.0 if worst <= penalty else penalty / worst
        value = 0.5 * residual + penalty * l1
        gap = value - s * (1.0 - bc) + 0.5 * s * s * residual
        if gap <= tolerance * value:
            return gap / value
        for _ in range(_ROUNDS):
            size, largest = sweep(G, b, r, penalty, active, size, active)
            if largest * largest < _SETTLED * value:
                break
        newton(G, b, r, penalty, active, size)
    return gap / value


@compiled()
def _solve(G, C, orders, penalties, B, tolerance, sweeps, gaps, first, last):  # type: ignore[no-untyped-def]
    for k in range(first, last):
        d, response = k // C.shape[1], k % C.shape[1]
        gaps[d, response] = lasso_descent(
            G[d], C[d, response], orders[d], penalties[d, response], B[d, response], tolerance, sweeps
        )


def lasso_many(
    G: np.ndarray,
    C: np.ndarray,
    orders: np.ndarray,
    penalties: np.ndarray,
    B: np.ndarray,
    tolerance: float,
    sweeps: int,
) -> np.ndarray:
    """Solve problem (d, l) in place: G[d], covariances C[d, l], order orders[d], penalties[d, l], from B[d, l] on.

    Returns the gaps, (draws, L). On `numba.config.NUMBA_NUM_THREADS` threads; each problem is solved by one of them, so
    that results do not depend on their number.
    """
    draws, L, m = C.shape
    gaps = np.empty((draws, L))
    given = (G, C, orders, penalties, B, tolerance, sweeps, gaps)
    threads = min(int(numba.config.NUMBA_NUM_THREADS), draws * L)
    if threads < 2 or draws * L * m * m < _WORTH_THREADS:
        _solve(*given, 0, draws * L)
        return gaps
    problems = itertools.count()  # taken one by one, as some take much longer than others

    def work(_: int) -> None:
        while (k := next(problems)) < draws * L:
            _solve(*given, k, k + 1)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    return gaps


@compiled()
def coordinate_steps(slab, first, s, rule, copies, barrier):  # type: ignore[no-untyped-def]
    """Take the best step along each of the coordinates first, first + 1, ... of s in turn.

    slab : (b, p) rows first, ... of the inverse of ``A = (copies + 1) / copies Sigma - diag(s)``; it is used up. After
    a step d along j the inverse gains ``d / (1 - d x) u u'``, u its row j and x = u_j. Returns these u, (b, p), and
    factors, (b,), so that the rest of the inverse is brought up to date by one product of matrices.
    """
    b, p = slab.shape
    factors = np.empty(b)
    for k in range(b):
        j = first + k
        x = slab[k, j]
        if rule == MVR:
            y = 0.0
            for i in range(p):
                y += slab[k, i] * slab[k, i]
            y = np.sqrt(y)
            d = (copies - y * s[j]) / (y + copies * x)
        elif rule == MAXENT:
            d = (copies - x * s[j]) / (x * (copies + 1))
        else:
            d = min(max(1.0 / x - barrier, -s[j]), 1.0 - s[j])
        s[j] += d
        factors[k] = d / (1.0 - d * x)
        for i in range(k + 1, b):
            w = factors[k] * slab[i, j]
            for t in range(p):
                slab[i, t] += w * slab[k, t]
    return slab, factors
