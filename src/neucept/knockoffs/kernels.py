"""Compiled inner loops: functions of arrays, nothing else."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

MVR, MAXENT, SDP = 0, 1, 2  # what `coordinate_steps` minimises


@njit(cache=True, fastmath=True)
def lasso_descent(G, c, order, penalty, b, tolerance, sweeps):  # type: ignore[no-untyped-def]
    """Minimise ``b'Gb/2 - c'b + penalty |b|_1`` from b on, in place, by coordinate descent with an active set.

    Coordinates are visited in the order given. Stops when the duality gap is at most ``tolerance`` (in units of the
    response's variance, which is 1), or after so many sweeps. Returns the gap.
    """
    m = len(c)
    r = c.copy()  # minus the gradient of the smooth part
    for j in range(m):
        if b[j] != 0.0:
            for i in range(m):
                r[i] -= G[j, i] * b[j]
    active = np.empty(m, np.int64)
    gap = np.inf
    done = 0
    while done < sweeps:
        # A sweep over all coordinates finds the active ones ...
        size = 0
        for k in range(m):
            j = order[k]
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
            if new != 0.0:
                active[size] = j
                size += 1
        done += 1
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
        quadratic = bc - br
        residual = max(1.0 - 2.0 * bc + quadratic, 0.0)  # |y - Xb|^2 / n with |y|^2 / n = 1
        s = 1.0 if worst <= penalty else penalty / worst
        covariance = 1.0 - bc  # y'(y - Xb) / n
        primal = 0.5 * residual + penalty * l1
        dual = s * covariance - 0.5 * s * s * residual
        gap = primal - dual
        if gap <= tolerance:
            return gap
        # ... and sweeps over those alone go most of the way.
        for _ in range(20):
            largest = 0.0
            for k in range(size):
                j = active[k]
                old = b[j]
                g = G[j, j]
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
            done += 1
            if largest * largest < 0.1 * tolerance:
                break
    return gap


@njit(cache=True, parallel=True)
def lasso_many(G, C, orders, penalties, B, tolerance, sweeps):  # type: ignore[no-untyped-def]
    """Solve problem (d, l) in place: G[d], covariances C[d, l], order orders[d], penalties[d, l], from B[d, l] on."""
    draws, L, _ = C.shape
    gaps = np.empty((draws, L))
    for k in prange(draws * L):
        d, response = k // L, k % L
        gaps[d, response] = lasso_descent(
            G[d], C[d, response], orders[d], penalties[d, response], B[d, response], tolerance, sweeps
        )
    return gaps


@njit(cache=True)
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
