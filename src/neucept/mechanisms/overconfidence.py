"""Where a network is confidently wrong: precision of mechanisms beside what the network's own confidence predicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import betaln, expit, logit
from scipy.stats import binom, norm

from neucept.errors import InputError, check_real, check_whole
from neucept.mechanisms.confidence import calibrate_confidence, fit_map

WIDTH = 0.6  # of a stratum of equal calibrated confidence, over sqrt(n), on the scale of arcsin(sqrt(p))
LEVEL = 0.05
MATERIAL = 0.1  # smallest difference of precision and expected precision that a verdict speaks of, unless errors
RATIO = 2.0  # are this many times as frequent as expected, or expected this many times as frequent as they are
FACTOR = 5.0  # of the odds of an error, against predictions of other classes: clean classes differed by up to 3.1
LEAST_ELSEWHERE = 50  # predictions of other classes, to compare with
LEAST_BEYOND = 10  # of them at most, and at least, as confident as an input: beyond there is nothing to go by
_EXACT = 2000  # inputs up to which a binomial test is computed exactly
_COLUMNS = ("expected", "expected_low", "expected_high", "p_confidence_raw", "comparable")


def compare_confidence(
    odds: np.ndarray | None,
    right: np.ndarray,
    labels: np.ndarray,
    n_mechanisms: int,
    confidence: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare the precision of groups of inputs with what the confidence of each input predicts.

    *Expected precision* is the mean of the cross-fitted calibrated confidence (`calibrate_confidence`). *The test* asks
    whether, among inputs of equal calibrated confidence, those of a mechanism are right as often as the others: in
    strata of equal calibrated confidence the number of right ones in the mechanism is hypergeometric, given how many of
    the stratum are right, and the sum over strata is compared with its exact distribution [1]_. It conditions on the
    calibration's level in each stratum, so the error of that level is carried exactly: a stratum in which all are right
    but one is no evidence against anybody, where a Poisson-binomial test with estimated probabilities of 1 would be
    certain.

    Parameters
    ----------
    odds : array or None
        (n,) log odds of the network's confidence; None where it has none.
    right : array of bool
        (n,) whether the target is true.
    labels : array of int
        (n,) mechanism of each input; negative for none. Must not depend on ``right``.
    n_mechanisms : int
        K.
    confidence : float
        Level of the interval of the expected precision.
    seed : int
        Seed for the folds.

    Returns
    -------
    DataFrame
        One row per mechanism: ``expected``, ``expected_low``, ``expected_high`` (interval for the error of the
        calibration's level by chance, pointwise; in simulations with 600 inputs it holds the truth in 96 to 97% for
        smooth curves, in 86% where the truth jumps), ``p_confidence`` (two-sided, corrected over mechanisms by Holm's
        method [2]_), ``p_confidence_raw``, ``comparable`` (how many inputs the mechanism's count for: m (n - m) / n
        summed over strata of n inputs, m of them in the mechanism; 0 where no other input is as confident) and
        ``needed`` (comparable inputs needed to see 10 points, see `inputs_needed`).

    References
    ----------
    .. [1] N. Mantel and W. Haenszel (1959), Statistical aspects of the analysis of data from retrospective studies of
       disease, JNCI 22; exact: C. Mehta, N. Patel and R. Gray (1985), JASA 80.
    .. [2] S. Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6.
    """
    rows = []
    if odds is not None and len(odds):
        calibrated = calibrate_confidence(odds, right, seed=seed)
        strata = _strata(fit_map(odds, right)(odds))
        size, wrong = np.bincount(strata), np.bincount(strata, ~right).astype(int)
        posterior = (wrong + 0.5) / (size + 1)  # Jeffreys' prior; its variance is the calibration's in a stratum
        variance = posterior * (1 - posterior) / (size + 2)
        z = float(norm.ppf((1 + confidence) / 2))
    for mechanism in range(n_mechanisms):
        inside = labels == mechanism
        if odds is None or not inside.any():
            rows.append(dict.fromkeys(_COLUMNS, np.nan))
            continue
        members = np.bincount(strata[inside], minlength=len(size))
        expected = float(calibrated[inside].mean())
        error = float(np.sqrt(np.sum((members / members.sum()) ** 2 * variance)))
        low, high = _logit_interval(expected, z * error)
        p = stratified_p(size, wrong, members, int((~right[inside]).sum()))
        comparable = float((members * (size - members) / size).sum())
        rows.append(dict(zip(_COLUMNS, (expected, low, high, p, comparable), strict=True)))
    frame = pd.DataFrame(rows, columns=list(_COLUMNS))
    frame.insert(3, "p_confidence", holm(frame["p_confidence_raw"].to_numpy(float)))
    frame["needed"] = _needed(frame)
    return frame


def compare_elsewhere(
    odds: np.ndarray | None,
    right: np.ndarray,
    labels: np.ndarray,
    n_mechanisms: int,
    elsewhere: tuple[np.ndarray, np.ndarray],
) -> pd.DataFrame:
    """Compare the precision of groups with that of predictions of other classes of the same confidence.

    Where nearly all predictions of a class are confidently wrong, the confidence calibrated within the class says so,
    and no part of it stands out. So each mechanism is also held against the other classes. Classes of a clean network
    differ in calibration as well; therefore the test is whether the odds of an error are more than 5 times those that
    the other classes have at this confidence.

    Parameters
    ----------
    odds, right, labels, n_mechanisms
        As in `compare_confidence`, of inputs that are predicted as the target.
    elsewhere : (array, array)
        Log odds of predictions of other classes, and whether they are right.

    Returns
    -------
    DataFrame
        One row per mechanism: ``expected_elsewhere`` (precision of other classes at its confidence) and
        ``p_elsewhere`` (one-sided, not corrected; binomial with the mean probability, whose tail is the larger one,
        Hoeffding 1956, Ann. Math. Statist. 27). NaN with fewer than 50 predictions of other classes. An input that
        fewer than 10 of those are at most as confident as is left out: what they would be right in is not known. One
        that fewer than 10 are at least as confident as is held against the 10th of these: more confident ones are right
        at least as often.
    """
    table = pd.DataFrame(np.nan, index=range(n_mechanisms), columns=["expected_elsewhere", "p_elsewhere"])
    if odds is None or len(elsewhere[0]) < LEAST_ELSEWHERE:
        return table
    in_order = np.sort(elsewhere[0])
    predicted = fit_map(*elsewhere)(np.minimum(odds, in_order[-LEAST_BEYOND]))
    at_worst = expit(logit(predicted) - np.log(FACTOR))
    known = odds >= in_order[LEAST_BEYOND - 1]
    for mechanism in range(n_mechanisms):
        if (inside := known & (labels == mechanism)).any():
            p = binom.cdf(right[inside].sum(), inside.sum(), at_worst[inside].mean())
            table.loc[mechanism] = float(predicted[inside].mean()), float(p)
    return table


def confidence_verdicts(table: pd.DataFrame) -> list[str]:
    """Say in words how the precision of each mechanism compares with its confidence.

    Parameters
    ----------
    table : DataFrame
        With the columns ``precision``, ``judged``, ``expected``, ``comparable``, ``needed``, ``p_confidence``,
        ``p_elsewhere`` (corrected here, over the table and for ``looks``, if there is such a column) and ``verdict`` of
        `neucept.reliability`.

    Returns
    -------
    list of str
        ``overconfident``: precision below what the confidence predicts, at 5% corrected, and by 10 points or with twice
        the errors, or far below what it predicts for other classes (`compare_elsewhere`); the alarm.
        ``underconfident``: above, by as much. ``unsure``: less reliable than the rest, and the confidence says so. ``as
        confident as right``: none of these, on inputs enough to see 10 points. ``too few to tell``: none of these, on
        fewer. ``nothing to compare``: none of these, and no other input of the class is as confident, as where there
        is one mechanism. ``no probability``: the outputs are no probabilities. Empty where no input of a
        mechanism was judged.

    Notes
    -----
    No network is calibrated exactly in every part of its inputs, and with inputs enough every difference is
    significant; so a verdict speaks of differences that matter only: those that ``needed`` is about.
    """
    verdicts = []
    elsewhere = np.minimum(holm(table["p_elsewhere"].to_numpy(float)) * _looks(table), 1.0)
    for row, p_elsewhere in zip(table.to_dict("records"), elsewhere, strict=True):
        if not row["judged"]:
            verdict = ""
        elif np.isnan(row["expected"]):
            verdict = "no probability"
        elif p_elsewhere < LEVEL:
            verdict = "overconfident"
        elif row["p_confidence"] < LEVEL and _matters(row["precision"], row["expected"]):
            verdict = "overconfident" if row["precision"] < row["expected"] else "underconfident"
        elif row["verdict"] == "less reliable":
            verdict = "unsure"
        elif row["comparable"] < 1:
            verdict = "nothing to compare"
        else:
            verdict = "as confident as right" if row["comparable"] >= row["needed"] else "too few to tell"
        verdicts.append(verdict)
    return verdicts


def _matters(precision: float, expected: float) -> bool:
    """Tell whether two precisions differ by 10 points, or one has twice the errors of the other."""
    few, many = sorted((1 - precision, 1 - expected))
    return many - few >= MATERIAL - 1e-9 or many >= RATIO * few


def correct_over_classes(tables: Mapping[Any, pd.DataFrame], column: str = "target") -> pd.DataFrame:
    """Join the reliability of several classes, and correct ``p_confidence`` over all their mechanisms.

    Parameters
    ----------
    tables : mapping
        {class: what `neucept.reliability` returns for it}.
    column : str
        Name of the column for the class.

    Returns
    -------
    DataFrame
        All rows, with the class in front; ``p_confidence`` is corrected by Holm's method over all of them (and for the
        numbers of mechanisms that were compared), and ``confidence_verdict`` is that at the new level.

    Raises
    ------
    InputError
        For tables that lack the columns, or no table.
    """
    if not isinstance(tables, Mapping) or not tables:
        raise InputError("tables: expected a mapping {class: table of neucept.reliability} of one class or more.")
    for name, table in tables.items():
        if not isinstance(table, pd.DataFrame) or "p_confidence_raw" not in table:
            raise InputError(f"tables[{name!r}] is not what neucept.reliability returns: no column 'p_confidence_raw'.")
    joined: pd.DataFrame = pd.concat(dict(tables), names=[column])
    joined = joined.reset_index(level=0).reset_index(drop=True)
    joined = corrected(joined)
    joined["confidence_verdict"] = confidence_verdicts(joined)
    return joined


def inputs_needed(
    expected: float, difference: float = 0.1, power: float = 0.8, tests: int = 1, level: float = LEVEL
) -> float:
    """Compute how many comparable inputs are needed to see that a mechanism is confidently wrong.

    Parameters
    ----------
    expected : float
        What the confidence predicts.
    difference : float
        How far the precision is below that of other inputs of equal confidence; above it where it cannot be as far
        below.
    power : float
        Probability to see it.
    tests : int
        Number of mechanisms tested together; the strictest level of Holm's method is used.
    level : float
        Of the two-sided test.

    Returns
    -------
    float
        A whole number, of an exact binomial test (by the normal approximation from 2,000); NaN where nothing is
        expected. Comparable inputs are fewer than inputs: see `compare_confidence`.

    Examples
    --------
    >>> inputs_needed(0.9, tests=5)
    143.0
    """
    check_real("difference", difference, 0, 1, above=True)
    check_real("power", power, 0, 1, above=True)
    check_whole("tests", tests)
    if np.isnan(expected):
        return float("nan")
    other = expected - difference if expected >= difference else min(expected + difference, 1.0)
    tail = level / tests / 2
    spread = norm.isf(tail) * np.sqrt(expected * (1 - expected)) + norm.ppf(power) * np.sqrt(other * (1 - other))
    approximate = float(np.ceil((spread / abs(other - expected)) ** 2))
    if approximate > _EXACT:
        return approximate
    n = np.arange(1, 3 * int(approximate) + 50)
    few = binom.ppf(tail, n, expected)
    few -= binom.cdf(few, n, expected) > tail  # at most so many right ones are too few
    many = binom.isf(tail, n, expected) + 1  # at least so many are too many
    enough = binom.cdf(few, n, other) + binom.sf(many - 1, n, other) >= power
    return float(n[enough.argmax()]) if enough.any() else approximate


def holm(p: np.ndarray) -> np.ndarray:
    """Correct p-values over all that are not NaN, by Holm's method.

    >>> holm(np.array([0.01, 0.04, np.nan, 0.03])).round(3)
    array([0.03, 0.06,  nan, 0.06])
    """
    corrected = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return corrected


def corrected(table: pd.DataFrame) -> pd.DataFrame:
    """Correct ``p_confidence_raw`` over the mechanisms of a table and, by Bonferroni, for ``looks``; needed inputs too.

    Whichever of L numbers of mechanisms was chosen, the probability of a false verdict is at most the sum over all L of
    the probability that a verdict on its mechanisms is false, each at a level of 1/L.
    """
    p = holm(table["p_confidence_raw"].to_numpy(float)) * _looks(table)
    table = table.assign(p_confidence=np.minimum(p, 1.0))
    return table.assign(needed=_needed(table))


def _looks(table: pd.DataFrame) -> np.ndarray:
    """Numbers of mechanisms compared, of each row."""
    return table["looks"].fillna(1).to_numpy(float) if "looks" in table else np.ones(len(table))


def _needed(table: pd.DataFrame) -> list[float]:
    """Compute the comparable inputs needed, for each mechanism of a table that is tested as one."""
    tests = max(int(table["p_confidence_raw"].notna().sum()), 1)
    return [
        inputs_needed(expected, tests=tests * int(looks))
        for expected, looks in zip(table["expected"], _looks(table), strict=True)
    ]


def _strata(calibrated: np.ndarray) -> np.ndarray:
    """Group inputs of nearly equal calibrated confidence; number of the stratum of each."""
    scaled = np.arcsin(np.sqrt(calibrated))
    strata, start, number = np.empty(len(scaled), int), -np.inf, -1
    for row in np.argsort(scaled, kind="stable"):
        if scaled[row] > start + WIDTH / np.sqrt(len(scaled)):
            start, number = scaled[row], number + 1
        strata[row] = number
    return strata


def stratified_p(size: np.ndarray, wrong: np.ndarray, members: np.ndarray, observed: int) -> float:
    """Two-sided p of the number of wrong inputs in a group, given those of each stratum: twice the smaller tail."""
    distribution, offset = np.ones(1), 0
    for n, k, m in zip(size, wrong, members, strict=True):
        low, high = max(0, m + k - n), min(m, k)
        offset += low
        if low == high:
            continue
        x = np.arange(low, high + 1)
        log_pmf = _log_binomial(k, x) + _log_binomial(n - k, m - x) - _log_binomial(n, m)
        distribution = np.convolve(distribution, np.exp(log_pmf))
    position = observed - offset
    tails = distribution[: position + 1].sum(), distribution[position:].sum()
    return float(min(1.0, 2 * min(tails)))


def _log_binomial(n: Any, k: Any) -> Any:
    return -betaln(n - k + 1, k + 1) - np.log(n + 1)


def _logit_interval(share: float, half: float) -> tuple[float, float]:
    """Interval of a share from its half-width, on the scale of the logit, so that it stays within 0 and 1."""
    share = float(np.clip(share, 1e-9, 1 - 1e-9))
    half /= share * (1 - share)
    return float(expit(logit(share) - half)), float(expit(logit(share) + half))
